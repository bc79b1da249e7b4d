# clipbridge
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# `deploy/bench.sh overhead`: what the bridge itself takes on a clip's way.

# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

clips=100

usage_overhead() {
    cat <<'TEXT'
Usage: deploy/bench.sh overhead [OPTION]...

Uploads tiny clips, one after the other, to a sandbox that finishes everything at once, and prints as Markdown how many
milliseconds pass from the webhook to `complete`, step by step, as the ledger has them.

  --clips N          how many (100)
  --folder FOLDER    where store and sandbox go (TMPDIR, else /var/tmp)
TEXT
}

overhead() {
    while [[ $# -gt 0 ]]; do
        case "$1" in
            --help | -h)
                usage_overhead
                exit 0
                ;;
            --clips | --folder)
                [[ $# -ge 2 ]] || wrong_option "$1 needs a value"
                case "$1" in
                    --clips) clips=$2 ;;
                    --folder) parent=$2 ;;
                esac
                shift 2
                ;;
            *) wrong_option "unknown option \"$1\"" ;;
        esac
    done
    check_number --clips "$clips"
    install_packages python3
    python=$(command -v python3) || unavailable "Python 3 is needed."
    prepare_clipbridge
    folder=$(mktemp -d -- "$parent/clipbridge-bench.XXXXXX")
    { machine_facts && clipbridge_fact; } >"$folder/facts.txt"
    run "$python" "$benches/overhead.py" --clips "$clips" --folder "$folder" --clipbridge "$clipbridge" \
        --facts "$folder/facts.txt" || fail_at_end
}
