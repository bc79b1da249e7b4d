#!/usr/bin/env bash
# clipbridge
# SPDX-License-Identifier: Apache-2.0
#
# Builds clipbridge and runs its demo. Arguments go to `clipbridge demo`, such as `--clips 20 --json`.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

require_swift
install_build_packages
say "Building; the first time takes minutes"
swift build --package-path "$root" --configuration release --product clipbridge >&2
binaries=$(swift build --package-path "$root" --configuration release --show-bin-path)
exec "$binaries/clipbridge" demo "$@"
