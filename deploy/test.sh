#!/usr/bin/env bash
# clipbridge
# SPDX-License-Identifier: Apache-2.0
#
# Checks the format and the deployment's files, builds, and runs every test beside a real S3 server and a real
# PostgreSQL. Arguments go to `swift test`, such as `--filter S3ClientTests`; with them, the proxies are not tried.
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
say "Building"
run swift build --build-tests
start_storage "$folder"
start_postgres
say "Testing"
if [[ $# -gt 0 ]]; then
    run swift test --skip-build "$@"
    exit
fi
# Apart, because dozens of real processes, and what keeps the processor busy, would take the time that the tests of time
# limits measure.
status=0
run swift test --skip-build --skip IntegrationTests --skip SimulationTests --skip FuzzTests || status=$?
run swift test --skip-build --filter 'SimulationTests|FuzzTests' || status=$?
run swift test --skip-build --filter IntegrationTests || status=$?
say "Testing the same on PostgreSQL"
run env CLIPBRIDGE_TEST_DATABASE=postgres swift test --skip-build --filter IntegrationTests --skip ReplicaTests --skip StoreCopyTests || status=$?
say "Testing the proxies' examples"
run "$here/proxy_test.sh" "$(swift build --show-bin-path)/clipbridge" || status=$?
exit "$status"
