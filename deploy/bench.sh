#!/usr/bin/env bash
# clipbridge
# SPDX-License-Identifier: Apache-2.0
#
# Benchmarks beside the programs that people would use instead; `deploy/bench.sh --help` says how.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=bench/transfer.sh
. "$here/bench/transfer.sh"
# shellcheck source-path=SCRIPTDIR source=bench/ingest.sh
. "$here/bench/ingest.sh"
# shellcheck source-path=SCRIPTDIR source=bench/scale.sh
. "$here/bench/scale.sh"
# shellcheck source-path=SCRIPTDIR source=bench/overhead.sh
. "$here/bench/overhead.sh"

usage() {
    usage_transfer
    printf '\n'
    usage_ingest
    printf '\n'
    usage_scale
    printf '\n'
    usage_overhead
}

clean_up() {
    if [[ -n "$child" ]]; then
        kill -TERM -- "-$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    stop_servers
    stop_postgres
    if [[ -n "$folder" && -z "${BENCH_FOLDER:-}" ]]; then
        rm -rf -- "$folder"
    fi
}

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

case "${1:-}" in
    transfer) transfer "${@:2}" ;;
    ingest) ingest "${@:2}" ;;
    scale) scale "${@:2}" ;;
    overhead) overhead "${@:2}" ;;
    inside) inside_namespace ;;
    try-delay) delay_ports 1 ;;
    --help | -h) usage ;;
    *) wrong_option "what to measure is missing or unknown; there are: transfer, ingest, scale, overhead" ;;
esac
has_succeeded
