#!/usr/bin/env bash
# clipbridge
# SPDX-License-Identifier: Apache-2.0
#
# Floods a bridge and looks at what good deliveries see of it; `deploy/flood.sh --help` says how.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=bench/common.sh
. "$here/bench/common.sh"

arguments=()

usage() {
    cat <<'TEXT'
Usage: deploy/flood.sh [OPTION]...

Floods `clipbridge serve` over loopback with one attack after the other, and then with all of them at once, while good
deliveries come in, 20 a second, each on a connection of its own. Prints as Markdown what was sent and how it was
answered, how long good deliveries took, and the most memory that the process had.

  idle         10,000 connections that say nothing, again and again
  slow-heads   2,000 that send a line of a head each second
  slow-bodies  2,000 that send a byte of a body each second
  held-bodies  2,000 that send all of a body of 250 kB but its last byte
  forged       100,000 deliveries a minute with a signature of the right form that no secret made
  giant-heads  heads of 1 MiB: one field, many, tens of thousands, and a path
  too-large    bodies of 1 GiB, declared, and chunked without an end
  compressed   256 MiB of zeros as gzip in 256 KiB, forged and signed
  garbage      bytes that are no HTTP, and requests without end in one piece whose answers nobody reads
  all          all of them at once

  --attacks A,B        only these
  --seconds N          for how long each (20)
  --scale X            how much of it: 0.1 is a tenth of the connections and of the rate (1)
  --rate N             good deliveries a second (20)
  --latency-max S      how long a good delivery may take (5)
  --memory-max MIB     how much memory the process may have (512)
  --folder FOLDER      where the store goes (TMPDIR, else /var/tmp)

CLIPBRIDGE_BIN names the program to flood; without it clipbridge is built as packaged. The limit of open files is raised
as far as it goes; where that is not far enough, it is said. Exit code: 0, 1 if a good delivery was lost or late, if an
attack was answered otherwise than it should be, or if the memory grew beyond its bound; 64 for a wrong option; 69 if
something needed is missing.
TEXT
}

read_options() {
    while [[ $# -gt 0 ]]; do
        case "$1" in
            --help | -h)
                usage
                exit 0
                ;;
            --attacks | --seconds | --scale | --rate | --latency-max | --memory-max | --folder)
                [[ $# -ge 2 ]] || wrong_flood_option "$1 needs a value"
                if [[ $1 == --folder ]]; then
                    parent=$2
                else
                    check_value "$1" "$2"
                    arguments+=("$1" "$2")
                fi
                shift 2
                ;;
            *) wrong_flood_option "unknown option \"$1\"" ;;
        esac
    done
}

check_value() {
    local name
    if [[ $1 != --attacks ]]; then
        [[ "$2" =~ ^[0-9]+(\.[0-9]+)?$ && "$2" =~ [1-9] ]] || wrong_flood_option "$1 is \"$2\"; accepted is a number above 0"
        return
    fi
    for name in ${2//,/ }; do
        [[ " idle slow-heads slow-bodies held-bodies forged giant-heads too-large compressed garbage all " == *" $name "* ]] \
            || wrong_flood_option "there is no attack \"$name\""
    done
}

wrong_flood_option() {
    say "$*"
    say "See deploy/flood.sh --help"
    exit 64
}

clean_up() {
    if [[ -n "$child" ]]; then
        kill -TERM -- "-$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    if [[ -n "$folder" ]]; then
        rm -rf -- "$folder"
    fi
}

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

read_options "$@"
# It needs nothing but Python itself.
install_packages python3
python=$(command -v python3) || unavailable "Python 3 is needed."
prepare_clipbridge
folder=$(mktemp -d -- "$parent/clipbridge-flood.XXXXXX")
run "$python" "$here/flood/flood.py" --clipbridge "$clipbridge" --folder "$folder" "${arguments[@]}"
