# clipbridge
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# `deploy/bench.sh ingest`: how many webhooks a second clipbridge takes in for good.

# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=../postgres.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../postgres.sh"

seconds=10
seconds_max=120
connections=256
targets=sqlite
peers=,echo,node,hook,hook-program,hook-waits
echo=
ceiling='the ceiling of the load generator'

usage_ingest() {
    cat <<'TEXT'
Usage: deploy/bench.sh ingest [OPTION]...

Posts signed webhooks, each with a body of its own, to `clipbridge serve` over loopback, in interleaved rounds, and
prints as Markdown how many a second it acknowledged and how long an answer took. After each round the deliveries in the
store are counted: a round in which fewer are stored than were acknowledged fails. wrk is the load generator, on the
same cores; nginx, which answers the same posts and stores nothing, shows how much of the figures is wrk's own limit.
The peers store nothing either: a bare Hummingbird that echoes the post, a Node server that verifies its signature, and
adnanh/webhook with a rule over an HMAC of the body: without a program to start, with /bin/true, which it starts behind
its answer, and with /bin/echo, whose end it waits for.

  --no-peers         only clipbridge and nginx
  --postgres         also with PostgreSQL as the store: a cluster of its own, which syncs at every commit
  --rounds N         how often each is measured (5)
  --seconds N        for how long, up to 120 (10)
  --connections N    how many posts are on their way at a time (256)
  --folder FOLDER    where the stores and the prepared posts go, on one disk (TMPDIR, else /var/tmp)
  --json FILE        also writes every round's figures there

CLIPBRIDGE_BIN names the program to measure; without it clipbridge is built as packaged. Progress goes to standard
error. Exit code: 0, 1 if a round failed, 64 for a wrong option, 69 if something needed is missing.
TEXT
}

read_ingest_options() {
    while [[ $# -gt 0 ]]; do
        case "$1" in
            --help | -h)
                usage_ingest
                exit 0
                ;;
            --postgres)
                targets=sqlite,postgres
                shift
                ;;
            --no-peers)
                peers=
                shift
                ;;
            --seconds)
                needs_value "$@"
                seconds=$2
                shift 2
                ;;
            --connections)
                needs_value "$@"
                connections=$2
                shift 2
                ;;
            *)
                take_common_option "$@"
                shift 2
                ;;
        esac
    done
    check_number --rounds "$rounds"
    check_number --seconds "$seconds"
    check_number --connections "$connections"
    # The signatures of a round are made before it, and are good for 300 s.
    ((seconds <= seconds_max)) || wrong_option "--seconds is \"$seconds\"; accepted is a number from 1 to $seconds_max"
}

prepare_ingest() {
    install_packages curl python3 sqlite3 wrk
    # It needs nothing but Python itself.
    python=$(command -v python3) || unavailable "Python 3 is needed."
    prepare_nginx "$ceiling"
    prepare_clipbridge
    if [[ -n "$peers" ]]; then
        prepare_peers
    fi
    if wants "$targets" postgres; then
        install_postgres
    fi
}

# Debian's package of adnanh/webhook would start a service, so only its program is unpacked.
prepare_peers() {
    install_packages nodejs
    if ! command -v webhook >/dev/null; then
        if [[ ! -x "$tools/webhook/usr/bin/webhook" ]]; then
            say "Unpacking Debian's webhook into $tools/webhook"
            rm -rf -- "$tools/webhook"
            mkdir -p -- "$tools/webhook"
            (cd -- "$tools/webhook" && { apt-get download webhook || { as_root apt-get update && apt-get download webhook; }; }) >&2 \
                || unavailable "Debian's package webhook could not be downloaded."
            dpkg-deb --extract "$tools"/webhook/webhook_*.deb "$tools/webhook"
        fi
        PATH="$PATH:$tools/webhook/usr/bin"
    fi
    require_swift
    run build_packaged bench-echo
    echo=$(packaged_program bench-echo)
}

post_is_answered() {
    [[ "$(curl -q --silent --noproxy '*' --data '{}' "http://127.0.0.1:$nginx_port/")" == *accepted* ]]
}

start_peers() {
    nginx_connections=$((connections + 64))
    start_nginx "keepalive_requests 1000000000;
        default_type application/json;
        return 200 '{\"outcome\":\"accepted\"}';" post_is_answered "$ceiling"
    if wants "$targets" postgres; then
        # Both stores on one disk.
        TMPDIR=$parent start_postgres 'fsync = on' 'synchronous_commit = on'
    fi
}

# It prints its version with its help, and calls that a failure.
wrk_version() {
    { wrk --version || true; } 2>&1 | sed -n '1s/^wrk \([^ ]*\).*/\1/p'
}

ingest_facts() {
    machine_facts
    printf 'Versions: wrk %s; nginx %s; SQLite %s' "$(wrk_version)" "$("$nginx" -v 2>&1 | sed 's|.*nginx/||')" \
        "$(sqlite3 --version | cut --delimiter=' ' --fields=1)"
    if wants "$targets" postgres; then
        printf '; PostgreSQL %s' "$("$postgres_bin/postgres" --version | sed 's/^[^0-9]*//; s/ .*//')"
    fi
    printf '\n'
    clipbridge_fact
}

ingest() {
    local arguments=()
    read_ingest_options "$@"
    prepare_ingest
    folder=$(mktemp -d -- "$parent/clipbridge-bench.XXXXXX")
    ingest_facts >"$folder/facts.txt"
    start_peers
    if wants "$targets" postgres; then
        arguments=(--postgres "$CLIPBRIDGE_TEST_POSTGRES" --psql "$postgres_bin/psql"
            --postgres-pid "$(head -n 1 -- "$postgres_folder/data/postmaster.pid")")
    fi
    run "$python" "$benches/ingest.py" --targets "$targets$peers,nginx" --echo "$echo" --rounds "$rounds" --seconds "$seconds" \
        --connections "$connections" --folder "$folder" --results "$folder/results.json" --clipbridge "$clipbridge" \
        --nginx-port "$nginx_port" --nginx-pid "$nginx_pid" "${arguments[@]}" || fail_at_end
    [[ -e "$folder/results.json" ]] || unavailable "Nothing could be measured."
    if [[ -n "$json" ]]; then
        cp -- "$folder/results.json" "$json"
    fi
    "$python" "$benches/ingest_report.py" "$folder/results.json" "$folder/facts.txt"
}
