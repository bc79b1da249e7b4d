#!/usr/bin/env bash
# clipbridge
# SPDX-License-Identifier: Apache-2.0
#
# Real processes under kill -9, SIGSTOP, SIGTERM and a full disk; `deploy/torture.sh --help` says how.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=bench/common.sh
. "$here/bench/common.sh"
# shellcheck source-path=SCRIPTDIR source=postgres.sh
. "$here/postgres.sh"

stores=sqlite,postgres
deliveries=100000
clips=40
seconds=120
seed=1
keeps=
in_namespace=()

usage() {
    cat <<'TEXT'
Usage: deploy/torture.sh [OPTION]...

Sends signed deliveries to `clipbridge serve`, one process on SQLite and three on PostgreSQL, while clips go from a
sandbox that fails now and then to its bucket, and all the while kills the processes, stops them for longer than a
lease, ends them by SIGTERM, fills the disk (SQLite, on a tmpfs) and restarts the database (PostgreSQL). When
everything has come to rest, what the clients were told is compared with the stored deliveries, the ledger, the clips
and the bucket: nothing that was acknowledged may be lost, nothing taken twice, no status may have gone back.

  --sqlite            only on SQLite
  --postgres          only on PostgreSQL
  --deliveries N      how many deliveries in all (100000), for a night: 1000000
  --clips N           how many clips are uploaded, for each store (40)
  --seconds N         how long the deliveries take at least, for each store (120)
  --seed N            chooses deliveries, clips, faults and strokes (1)
  --folder FOLDER     where stores and notes go (TMPDIR, else /var/tmp)
  --keep              leaves them there

CLIPBRIDGE_BIN names the program to torture; without it clipbridge is built as packaged. Progress goes to standard
error. Exit code: 0, 1 if anything was violated, 64 for a wrong option, 69 if something needed is missing.
TEXT
}

read_options() {
    while [[ $# -gt 0 ]]; do
        case "$1" in
            --help | -h)
                usage
                exit 0
                ;;
            --sqlite | --postgres)
                stores=${1#--}
                shift
                ;;
            --keep)
                keeps=1
                shift
                ;;
            --deliveries | --clips | --seconds | --seed | --folder)
                [[ $# -ge 2 ]] || wrong_option "$1 needs a value"
                case "$1" in
                    --deliveries) deliveries=$2 ;;
                    --clips) clips=$2 ;;
                    --seconds) seconds=$2 ;;
                    --seed) seed=$2 ;;
                    --folder) parent=$2 ;;
                esac
                shift 2
                ;;
            *) wrong_option "unknown option \"$1\"" ;;
        esac
    done
    check_number --deliveries "$deliveries"
    check_number --clips "$clips"
    check_number --seconds "$seconds"
    check_number --seed "$seed"
}

clean_up() {
    if [[ -n "$child" ]]; then
        kill -TERM -- "-$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    stop_postgres
    if [[ -n "$folder" ]]; then
        if [[ -n "$keeps" ]]; then
            say "Kept: $folder"
        else
            rm -rf -- "$folder"
        fi
    fi
}

prepare() {
    install_packages python3 util-linux
    # It needs nothing but Python itself.
    python=$(command -v python3) || unavailable "Python 3 is needed."
    prepare_clipbridge
    if wants "$stores" postgres; then
        install_postgres
    fi
    folder=$(mktemp -d -- "$parent/clipbridge-torture.XXXXXX")
}

# In a mount namespace of its own the tmpfs ends with the last process, whatever becomes of this script.
find_namespace() {
    local try
    for try in "unshare --mount" "unshare --user --map-root-user --mount"; do
        read -ra in_namespace <<<"$try"
        if "${in_namespace[@]}" mount -t tmpfs clipbridge-torture "$folder" 2>/dev/null; then
            return
        fi
    done
    in_namespace=()
}

torture() {
    local store=$1 result=0
    shift
    run "${in_namespace[@]}" "$python" "$here/torture/torture.py" --store "$store" --folder "$folder/$store" \
        --results "$folder/$store.json" --clipbridge "$clipbridge" --seed "$seed" --clips "$clips" \
        --seconds "$seconds" --deliveries "$share" ${keeps:+--keep} "$@" || result=$?
    if [[ "$result" -gt 1 ]]; then
        exit "$result"
    fi
    if [[ "$result" -ne 0 ]]; then
        fail_at_end
    fi
    [[ -e "$folder/$store.json" ]] || unavailable "The torture on $store came to no end."
    results+=("$folder/$store.json")
}

torture_postgres() {
    local command=("$postgres_bin/pg_ctl" restart --pgdata="$postgres_folder/data" --mode=immediate --wait --silent
        --log="$postgres_folder/server.log")
    if [[ $(id -u) -eq 0 ]]; then
        command=(runuser -u postgres -- "${command[@]}")
    fi
    in_namespace=()
    torture postgres --postgres "$CLIPBRIDGE_TEST_POSTGRES" --psql "$postgres_bin/psql" -- "${command[@]}"
}

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

read_options "$@"
prepare
"$python" "$here/torture/self_test.py" || unavailable "The comparison is wrong, so it would prove nothing."
results=()
share=$deliveries
if [[ "$stores" == *,* ]]; then
    share=$(((deliveries + 1) / 2))
fi
if wants "$stores" sqlite; then
    find_namespace
    torture sqlite
fi
if wants "$stores" postgres; then
    TMPDIR=$parent start_postgres
    torture_postgres
fi
machine_facts
clipbridge_fact
"$python" "$here/torture/report.py" "${results[@]}"
has_succeeded
