# clipbridge
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What deploy/*.sh share. Everything it says goes to standard error, so that a script's own output stays clean.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
tools="$root/.build-tools"
swift_least=6.2

say() {
    printf '%s\n' "$*" >&2
}

# A service or tool is missing: exit code 69, as everywhere in this project.
unavailable() {
    say "$*"
    exit 69
}

require_swift() {
    local version
    if ! command -v swift >/dev/null; then
        unavailable "Swift is not installed: clipbridge needs Swift $swift_least or newer, see https://www.swift.org/install/linux/"
    fi
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1)
    if [[ "$(printf '%s\n%s\n' "$swift_least" "$version" | sort -V | head -n 1)" != "$swift_least" ]]; then
        unavailable "Swift ${version:-of an unknown version} is installed: clipbridge needs Swift $swift_least or newer, see https://www.swift.org/install/linux/"
    fi
}

is_installed() {
    [[ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        unavailable "this needs root, and there is no sudo: $*"
    fi
}

# Installs the Debian packages among the given ones that are missing.
install_packages() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "This is no Debian system; what these packages hold has to be there already: $*"
        return
    fi
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    if [[ ${#missing[@]} -eq 0 ]]; then
        return
    fi
    say "Installing Debian packages: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update --quiet >&2 \
        || say "The package lists could not be renewed; going on with those that are there."
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}" >&2 \
        || unavailable "These packages could not be installed: ${missing[*]}"
}

# Servers for tests, each the program and the Debian package of its name: those on the PATH, else unpacked and put onto it,
# because an installed package would also start its service.
unpack_servers() {
    local folder package
    for package in "$@"; do
        if command -v "$package" >/dev/null; then
            continue
        fi
        folder="$tools/servers/$package"
        if [[ ! -d "$folder/unpacked" ]]; then
            say "Unpacking Debian's $package into $folder"
            mkdir -p -- "$folder"
            (cd -- "$folder" && {
                apt-get download --quiet "$package" || { as_root apt-get update --quiet && apt-get download --quiet "$package"; }
            }) >&2 || unavailable "The package $package could not be had."
            dpkg-deb --extract "$folder"/*.deb "$folder/unpacked"
        fi
        PATH+=":$folder/unpacked/usr/sbin:$folder/unpacked/usr/bin"
    done
}

# What the build needs. Swift's XML library is linked to the system's libxml2.
install_build_packages() {
    install_packages ca-certificates git libcurl4-openssl-dev libpq-dev libsqlite3-dev libxml2-dev pkg-config
}

# Where the product $1 is when it was built as it is packaged.
packaged_program() {
    printf '%s\n' "$root/.build-package/release/$1"
}

# With Swift's runtime inside: it runs where no Swift is, and calls into the runtime are direct.
build_packaged() {
    say "Building $1 as it is packaged; the first time takes minutes"
    swift build --package-path "$root" --scratch-path "$root/.build-package" --configuration release \
        --static-swift-stdlib --product "$1" >&2
}

# A Python that can make virtual environments: the one on the PATH, else Debian's.
find_python() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$python"
            return
        fi
    done
    return 1
}

# The environment of the tests.
prepare_python() {
    prepare_environment python "$root/deploy/requirements.txt"
}

# Makes the virtual environment .build-tools/$1 with what file $2 names, and sets `python` to its interpreter.
prepare_environment() {
    local base environment="$tools/$1" wanted="$2"
    python="$environment/bin/python"
    if [[ -x "$python" ]] && cmp --silent "$wanted" "$environment/installed.txt"; then
        return
    fi
    if ! base=$(find_python); then
        install_packages python3 python3-venv
        base=$(find_python) || unavailable "Python 3 with its module venv is needed."
    fi
    say "Installing into $environment: $(grep -v '^#' "$wanted" | tr '\n' ' ')"
    rm -rf -- "$environment"
    mkdir -p -- "$tools"
    "$base" -m venv "$environment" >&2
    "$python" -m pip install --quiet --disable-pip-version-check --requirement "$wanted" >&2 \
        || unavailable "The Python packages of $wanted could not be installed."
    cp -- "$wanted" "$environment/installed.txt"
}
