#!/usr/bin/env bash
# clipbridge
# SPDX-License-Identifier: Apache-2.0
#
# Tries the Debian package in a fresh Debian: installs it, sets it up by an edit of its settings file, checks, serves as
# the unit says, brings a clip from a webhook to `complete`, upgrades, rolls back, removes, purges and installs it again.
#   package_test.sh [PACKAGE]   without one, it is built first by package.sh
# CLIPBRIDGE_DEBIAN_MIRROR and CLIPBRIDGE_DEBIAN_SUITE choose another mirror and release. It needs root, for chroot.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

mirror=${CLIPBRIDGE_DEBIAN_MIRROR:-http://deb.debian.org/debian}
suite=${CLIPBRIDGE_DEBIAN_SUITE:-bookworm}
settings=/etc/clipbridge/clipbridge.env
folder=
inside=
started=()

clean_up() {
    local process
    for process in "${started[@]}"; do
        kill -KILL "$process" 2>/dev/null || true
    done
    if [[ -n "$inside" ]]; then
        umount "$inside/proc" 2>/dev/null || true
    fi
    if [[ -n "$folder" ]] && ! grep --quiet " $folder/" /proc/mounts; then
        rm -rf --one-file-system -- "$folder"
    fi
}

fail() {
    say "FAILED: $*"
    tail -n 20 "$folder"/*.log >&2 || true
    exit 1
}

# Runs a command in the fresh system, with an environment that holds nothing of this one's.
within() {
    chroot "$inside" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/ \
        DEBIAN_FRONTEND=noninteractive "$@"
}

as_clipbridge() {
    within runuser -u clipbridge -- "$@"
}

make_system() {
    say "Making a fresh Debian $suite from $mirror"
    debootstrap --variant=minbase "$suite" "$inside" "$mirror" >"$folder/debootstrap.log" 2>&1 \
        || unavailable "debootstrap failed: $(tail -n 3 "$folder/debootstrap.log")"
    mount -t proc proc "$inside/proc"
    cp -- /etc/resolv.conf "$inside/etc/resolv.conf"
    # No service is to be started by another package either.
    printf '#!/bin/sh\nexit 101\n' >"$inside/usr/sbin/policy-rc.d"
    chmod 755 "$inside/usr/sbin/policy-rc.d"
    within apt-get update --quiet=2
}

# Every file, folder, user and group, but for what a package manager keeps of its own and logs.
take_stock() {
    (
        cd -- "$inside"
        find . -xdev \( -path ./proc -o -path ./run -o -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/cache -o -path ./tmp \
            -o -path ./var/log \) -prune -o -printf '%p %M %U:%G\n' | grep -v -E '^\./etc/(passwd|group|g?shadow|subuid|subgid)-? |^\./etc/ld\.so\.cache '
        cut -d: -f1 etc/passwd etc/group
        # shellcheck disable=SC2016 # dpkg-query's own words
        within dpkg-query --show --showformat '${Package} ${db:Status-Abbrev}\n'
    ) | LC_ALL=C sort >"$1"
}

install_package() {
    cp -- "$1" "$inside/tmp/${1##*/}"
    within apt-get install --yes --allow-downgrades --no-install-recommends "/tmp/${1##*/}" >>"$folder/apt.log" 2>&1 || fail "install of $1"
    rm -f -- "$inside/tmp/${1##*/}"
}

# The value of a key in the unit that the package holds.
of_unit() {
    sed -n "s/^$1=//p" "$inside/usr/lib/systemd/system/clipbridge.service"
}

# The program that the unit starts, in its folder, as its user, with its settings and nothing else in its environment.
start_service() {
    local -a command environment
    local port_was
    read -r -a command <<<"$(of_unit ExecStart)"
    mapfile -t environment < <(grep -E '^[A-Z]' "$inside$(of_unit EnvironmentFile)")
    port_was=$(wc -l <"$folder/serve.log" 2>/dev/null || printf 0)
    chroot --userspec="$(of_unit User):$(of_unit Group)" "$inside" /usr/bin/env -i PATH=/usr/bin:/bin \
        --chdir="$(of_unit WorkingDirectory)" "${environment[@]}" "${command[@]}" </dev/null >>"$folder/serve.log" 2>&1 &
    service=$!
    started+=("$service")
    wait_for "the bridge to be ready" is_ready
    tail -n "+$((port_was + 1))" "$folder/serve.log" | grep --quiet '"serving"' || fail "it said nothing of serving"
}

stop_service() {
    kill -TERM "$service"
    wait "$service" || fail "the service ended with $? at SIGTERM"
}

is_ready() {
    curl --silent --fail --output /dev/null "http://127.0.0.1:$port/readyz"
}

# Waits a minute for a command to succeed.
wait_for() {
    local attempt what=$1
    shift
    for attempt in {1..300}; do
        if "$@"; then
            return
        fi
        sleep 0.2
    done
    fail "waited in vain for $what ($attempt attempts)"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start_sandbox() {
    chroot --userspec=clipbridge:clipbridge "$inside" /usr/bin/env -i PATH=/usr/bin:/bin --chdir=/tmp clipbridge sandbox \
        --port "$sandbox_port" --data /tmp/sandbox --speed 20 --notify "http://127.0.0.1:$port" </dev/null >"$folder/sandbox.env" 2>"$folder/sandbox.log" &
    sandbox=$!
    started+=("$sandbox")
    wait_for "the sandbox's settings" grep --quiet '^CLIPBRIDGE_DOWNLOAD_HOSTS=' "$folder/sandbox.env"
}

# The one edit that an operator makes: values for settings that stand there commented out.
edit_settings() {
    local line name
    while IFS= read -r line; do
        name=${line%%=*}
        grep --quiet "^#$name=" "$inside$settings" || fail "$name has no place in $settings"
        python3 - "$inside$settings" "$line" <<'END'
import sys
path, line = sys.argv[1:]
text = open(path).read()
open(path, "w").write(text.replace(f"\n#{line.split('=')[0]}=", f"\n{line}\n#was: ", 1))
END
    done < <(cat -- "$folder/sandbox.env"; printf 'CLIPBRIDGE_PORT=%s\nCLIPBRIDGE_SPOOL_MAX_BYTES=1GiB\n' "$port")
}

value() {
    sed -n "s/^$1=//p" "$folder/sandbox.env"
}

# A video that no one registers: the bridge learns of it by Cloudflare's webhook alone.
upload_clip() {
    curl --silent --fail "$(value CLOUDFLARE_API_BASE)/accounts/$(value CLOUDFLARE_ACCOUNT_ID)/stream/copy" \
        -H "Authorization: Bearer $(value CLOUDFLARE_API_TOKEN)" -d '{"url":"sample:5MB","meta":{"name":"A clip"}}' \
        | python3 -c 'import json, sys; print(json.load(sys.stdin)["result"]["uid"])'
}

is_complete() {
    as_clipbridge clipbridge clips show "$1" --config "$settings" 2>/dev/null | grep --quiet '^status: complete'
}

bring_clip() {
    local uid
    uid=$(upload_clip)
    wait_for "clip $uid to be complete" is_complete "$uid"
    as_clipbridge clipbridge clips show "$uid" --config "$settings" | grep --quiet ' webhook: ' \
        || fail "no webhook is in the history of $uid"
    say "Clip $uid is complete, by webhook"
}

# The same package as a later version.
make_later_version() {
    dpkg-deb --raw-extract "$1" "$folder/later"
    sed -i 's/^Version: .*/&+later/' "$folder/later/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$folder/later" "$folder/clipbridge_later.deb" >/dev/null
}

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

[[ $(id -u) -eq 0 ]] || unavailable "package_test.sh needs root, for chroot and its mounts."
install_packages curl debootstrap dpkg-dev python3
package=${1:-$("$here/package.sh" | tail -n 1)}
folder=$(mktemp -d "${TMPDIR:-/tmp}/clipbridge-package-test.XXXXXX")
chmod 755 "$folder"
inside="$folder/debian"
port=$(free_port)
sandbox_port=$(free_port)
make_system
take_stock "$folder/before"

say "Installing ${package##*/}"
install_package "$package"
grep --quiet 'installed and not started' "$folder/apt.log" || fail "it does not say what to do next"
[[ "$(stat -c '%a %U:%G' "$inside$settings" | sed 's/UNKNOWN/clipbridge/')" == "640 root:"* ]] || fail "mode of $settings"
as_clipbridge clipbridge --version >&2
start_sandbox
edit_settings
as_clipbridge clipbridge check --config "$settings" >&2 || fail "check ended with $?"
start_service
bring_clip

say "Upgrading, with the settings kept"
make_later_version "$package"
stop_service
before_upgrade=$(cksum <"$inside$settings")
install_package "$folder/clipbridge_later.deb"
[[ "$(cksum <"$inside$settings")" == "$before_upgrade" ]] || fail "the upgrade changed $settings"
start_service
bring_clip
stop_service

say "Rolling back to the version of before"
install_package "$package"
start_service
bring_clip
stop_service

say "Removing"
within apt-get remove --yes clipbridge >>"$folder/apt.log" 2>&1
[[ -e "$inside$settings" && -e "$inside/var/lib/clipbridge/clipbridge.sqlite" ]] || fail "removal took more than it should"
[[ ! -e "$inside/usr/bin/clipbridge" ]] || fail "removal left the program"

say "Purging"
kill -TERM "$sandbox"
wait "$sandbox" || true
within apt-get purge --yes clipbridge >"$folder/purge.log" 2>&1
grep --quiet "data is left in /var/lib/clipbridge" "$folder/purge.log" || fail "the purge does not say what it leaves"
within apt-get autoremove --purge --yes -o APT::AutoRemove::RecommendsImportant=false \
    -o APT::AutoRemove::SuggestsImportant=false >>"$folder/apt.log" 2>&1
take_stock "$folder/after"
left=$(diff "$folder/before" "$folder/after" | grep '^[<>]' | grep -v '^> \./var/lib/clipbridge[/ ]' || true)
[[ -z "$left" ]] || fail "the purge left, or took: $left"
find "$inside/var/lib/clipbridge" ! -user root | grep --quiet . && fail "what is left is not root's"
say "Nothing is left but data: $(cd -- "$inside/var/lib/clipbridge" && printf '%s ' *)"

say "Installing again, over the data"
install_package "$package"
edit_settings
start_sandbox
start_service
as_clipbridge clipbridge clips list --config "$settings" >&2
[[ $(as_clipbridge clipbridge clips list --config "$settings" | grep --count complete) -eq 3 ]] || fail "the clips are gone"
stop_service
kill -TERM "$sandbox"
wait "$sandbox" || true
started=()
say "ok"
