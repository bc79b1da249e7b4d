#!/usr/bin/env bash
# clipbridge
# SPDX-License-Identifier: Apache-2.0
#
# Looks through scripts, unit, container and cluster files without building or starting anything; seconds, once its
# tools are there.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

# Ten times the exposure that `systemd-analyze security` may find.
exposure_max=29
folder=
failed=0

clean_up() {
    if [[ -n "$folder" ]]; then
        rm -rf -- "$folder"
    fi
}

# Runs a check, and shows what it said only if it fails.
check() {
    local what=$1
    shift
    if ! "$@" >"$folder/output" 2>&1; then
        say "FAILED: $what"
        cat -- "$folder/output" >&2
        failed=1
    fi
}

trap clean_up EXIT

install_packages shellcheck systemd
prepare_environment check "$here/requirements-check.txt"
binaries=$(dirname -- "$python")
folder=$(mktemp -d "${TMPDIR:-/tmp}/clipbridge-check.XXXXXX")
cd -- "$root"

check "the scripts" shellcheck --external-sources --exclude=SC2119,SC2317 .ci/run deploy/*.sh deploy/bench/*.sh \
    deploy/package/postinst deploy/package/prerm deploy/package/postrm
# A program that is there, for one that is not yet.
mkdir -- "$folder/unit"
sed 's|^ExecStart=/usr/bin/clipbridge|ExecStart=/bin/true|' deploy/systemd/clipbridge.service >"$folder/unit/clipbridge.service"
mkdir -- "$folder/unit/clipbridge.service.d"
check "the unit" systemd-analyze verify --man=no "$folder/unit/clipbridge.service"
check "the unit's exposure" systemd-analyze security --offline=true --threshold="$exposure_max" \
    deploy/systemd/clipbridge.service
cp -- deploy/systemd/clipbridge.service.d/credentials.conf.example "$folder/unit/clipbridge.service.d/credentials.conf"
check "the unit with credentials" systemd-analyze verify --man=no "$folder/unit/clipbridge.service"
check "the Dockerfile" "$binaries/hadolint" deploy/docker/Dockerfile
check "the compose file" "$binaries/check-jsonschema" --builtin-schema vendor.compose-spec deploy/docker/compose.yaml
for file in deploy/kubernetes/*.yaml; do
    if [[ $file != */kustomization.yaml ]]; then
        check "$file" "$binaries/kubernetes-validate" --strict "$file"
    fi
done
check "the torture's comparison" "$python" -B deploy/torture/self_test.py
check "names across files" "$python" deploy/check_names.py "$root/deploy"
exit "$failed"
