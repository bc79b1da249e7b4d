#!/usr/bin/env bash
# clipbridge
# SPDX-License-Identifier: Apache-2.0
#
# Checks the format and the deployment's files, builds, and runs every test beside a real S3 server and a real
# PostgreSQL. Arguments go to `swift test`, such as `--filter S3ClientTests`; with them, the proxies are not tried.
#
# `--sanitize thread` and `--sanitize address` build with ThreadSanitizer or with AddressSanitizer in a folder of its own,
# and run the tests within one process, one after the other. Without the simulation, which takes over its process'
# scheduling, and without the real processes, whose time and memory the sanitizers change too much.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=storage.sh
. "$here/storage.sh"
# shellcheck source-path=SCRIPTDIR source=postgres.sh
. "$here/postgres.sh"
# shellcheck source-path=SCRIPTDIR source=prometheus.sh
. "$here/prometheus.sh"

folder=
child=

clean_up() {
    if [[ -n "$child" ]]; then
        kill -TERM -- "-$child" 2>/dev/null || true
    fi
    stop_storage
    stop_postgres
    if [[ -n "$folder" ]]; then
        rm -rf -- "$folder"
    fi
}

# In a process group of its own, so that a signal to this script ends it and all that it started.
run() {
    local status=0
    set -m
    "$@" </dev/null &
    child=$!
    set +m
    wait "$child" || status=$?
    child=
    return "$status"
}

# How tests are built and run, and where.
build=()
sanitizer=
if [[ "${1:-}" == --sanitize ]]; then
    sanitizer=${2:-}
    if [[ "$sanitizer" != thread && "$sanitizer" != address ]]; then
        printf -- '--sanitize is "%s"; accepted are thread and address\n' "$sanitizer" >&2
        exit 64
    fi
    shift 2
    build=(--sanitize "$sanitizer" --scratch-path ".build-$sanitizer")
fi

run_tests() {
    run swift test "${build[@]}" --skip-build "$@"
}

# A finding ends its process, and with it the test that runs it; the reports go to files as well, because a test may not
# show what its processes say.
prepare_sanitizer() {
    local options="exitcode=66:log_path=$folder/sanitizer:log_exe_name=1"
    export TSAN_OPTIONS="$options:halt_on_error=1"
    # Without LeakSanitizer: a Swift string's reference to its storage carries flags that it does not know, so it takes
    # what is in use for lost.
    export ASAN_OPTIONS="$options:detect_leaks=0"
}

# Fails if there are any.
show_findings() {
    local report found=0
    for report in "$folder"/sanitizer.*; do
        [[ -e "$report" ]] || continue
        found=1
        say "Found by the sanitizer, in $report"
        head -n 200 -- "$report"
    done
    return "$found"
}

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

require_swift
install_build_packages
install_postgres
install_packages chromium curl openssl sqlite3 pgbouncer
prepare_python
install_promtool
export CLIPBRIDGE_TEST_PYTHON=$python
cd -- "$root"

say "Checking the format"
run swift format lint --strict --recursive Sources Tests Package.swift
folder=$(mktemp -d "${TMPDIR:-/tmp}/clipbridge-test.XXXXXX")
say "Checking the alerts and the dashboard"
run check_grafana "$folder"
say "Checking the deployment's files"
run "$here/check.sh"
say "Building${sanitizer:+ with --sanitize $sanitizer}"
run swift build "${build[@]}" --build-tests
if [[ -n "$sanitizer" ]]; then
    prepare_sanitizer
fi
start_storage "$folder"
start_postgres
say "Testing"
status=0
if [[ $# -gt 0 ]]; then
    run_tests "$@" || status=$?
elif [[ -n "$sanitizer" ]]; then
    run_tests --no-parallel --skip IntegrationTests --skip SimulationTests || status=$?
else
    # Apart, because dozens of real processes, and what keeps the processor busy, would take the time that the tests of
    # time limits measure.
    run_tests --skip IntegrationTests --skip SimulationTests --skip FuzzTests || status=$?
    run_tests --filter 'SimulationTests|FuzzTests' || status=$?
    run_tests --filter IntegrationTests || status=$?
    say "Testing the same on PostgreSQL"
    CLIPBRIDGE_TEST_DATABASE=postgres run_tests --filter IntegrationTests --skip ReplicaTests --skip StoreCopyTests \
        || status=$?
    say "Testing the proxies' examples"
    run "$here/proxy_test.sh" "$(swift build --show-bin-path)/clipbridge" || status=$?
fi
if [[ -n "$sanitizer" ]]; then
    show_findings || status=1
fi
exit "$status"
