# clipbridge
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# `deploy/bench.sh scale`: what a bridge's history costs it.

# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

sizes=1000,100000,1000000

usage_scale() {
    cat <<'TEXT'
Usage: deploy/bench.sh scale [OPTION]...

Serves SQLite stores of 1 thousand, 100 thousand and 1 million complete clips with their ledgers, in interleaved rounds,
and prints as Markdown how long a start, a page of clips and a webhook take, how many signals a second are decided, what
idling costs, how quickly old deliveries are removed, and the store's size per clip. The largest store takes about 4 GB.

  --sizes LIST       how many clips, comma-separated (1000,100000,1000000)
  --rounds N         how often each is measured (5)
  --folder FOLDER    where the stores go (TMPDIR, else /var/tmp)
  --json FILE        also writes every round's figures there
TEXT
}

scale() {
    while [[ $# -gt 0 ]]; do
        case "$1" in
            --help | -h)
                usage_scale
                exit 0
                ;;
            --sizes)
                needs_value "$@"
                sizes=$2
                shift 2
                ;;
            *)
                take_common_option "$@"
                shift 2
                ;;
        esac
    done
    check_number --rounds "$rounds"
    [[ "$sizes" =~ ^[1-9][0-9]*(,[1-9][0-9]*)*$ ]] || wrong_option "--sizes is \"$sizes\"; accepted are numbers from 1"
    install_packages python3
    python=$(command -v python3) || unavailable "Python 3 is needed."
    prepare_clipbridge
    folder=$(mktemp -d -- "$parent/clipbridge-bench.XXXXXX")
    { machine_facts && clipbridge_fact; } >"$folder/facts.txt"
    run "$python" "$benches/scale.py" --rounds "$rounds" --sizes "$sizes" --folder "$folder" \
        --clipbridge "$clipbridge" --facts "$folder/facts.txt" --json "$json" || fail_at_end
}
