#!/usr/bin/env bash
# clipbridge
# SPDX-License-Identifier: Apache-2.0
#
# Feeds libFuzzer's inputs to what reads bytes from outside; `deploy/fuzz.sh --help` says how.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

scratch="$root/.build-fuzz"
seconds=120
runs=-1
total=0
child=

usage() {
    cat <<TEXT
usage: ${0##*/} [--seconds N] [--runs N] [TARGET...]

Runs each of these targets, or all: $(targets | tr '\n' ' ')
  --seconds N   at most so long for each target (default: $seconds)
  --runs N      at most so many executions for each target
  --help        this text

Inputs to begin with are in fixtures/; what libFuzzer adds to them is kept in .build-fuzz/corpus. An input that breaks
something ends the run: exit code 1, and its path. The first build takes minutes.
TEXT
}

targets() {
    sed -n 's/^    case \([a-z]*\)$/\1/p' "$root/Tests/FuzzTests/Targets/FuzzTarget.swift"
}

wrong_option() {
    say "$1; see ${0##*/} --help"
    exit 64
}

number() {
    [[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || wrong_option "$1 takes a number"
    printf '%s\n' "$2"
}

chosen=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --seconds) seconds=$(number "$@"); shift 2 ;;
        --runs) runs=$(number "$@"); shift 2 ;;
        --help | -h) usage; exit 0 ;;
        *)
            targets | grep --quiet --line-regexp --fixed-strings -- "$1" || wrong_option "there is no target \"$1\""
            chosen+=("$1")
            shift
            ;;
    esac
done
if [[ ${#chosen[@]} -eq 0 ]]; then
    mapfile -t chosen < <(targets)
fi

clean_up() {
    if [[ -n "$child" ]]; then
        kill -TERM "$child" 2>/dev/null || true
    fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Runs one target, and adds its executions to the total.
fuzz() {
    local target=$1 corpus="$scratch/corpus/$1" crashes="$scratch/crashes/$1-" log="$scratch/$1.log" count status=0 begin=$SECONDS
    mkdir -p -- "$corpus" "$scratch/crashes"
    "$fuzzer" "$target" "$corpus" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
        -max_total_time="$seconds" -runs="$runs" -artifact_prefix="$crashes" >"$log" 2>&1 </dev/null &
    child=$!
    wait "$child" || status=$?
    child=
    count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [[ $status -ne 0 ]]; then
        tail -n 40 -- "$log" >&2
        say "FAILED: $target, by the input $(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)"
        exit 1
    fi
    total=$((total + count))
    printf '%-10s %12s executions in %d s\n' "$target" "$count" $((SECONDS - begin))
}

require_swift
install_build_packages
cd -- "$root"
export CLIPBRIDGE_FUZZ=1 SWIFT_BACKTRACE=enable=no
say "Building; the first time takes minutes"
# Planned anew each time: SwiftPM can not use its last plan when a file of such a target has come or gone.
build=(swift build --scratch-path "$scratch" --configuration release --product Fuzzer --disable-build-manifest-caching)
"${build[@]}" >&2
fuzzer="$("${build[@]}" --show-bin-path)/Fuzzer"
for target in "${chosen[@]}"; do
    fuzz "$target"
done
printf '%-10s %12s executions\n' total "$total"
