#!/usr/bin/env bash
# clipbridge
# SPDX-License-Identifier: Apache-2.0
#
# Builds the Debian package clipbridge_VERSION_ARCHITECTURE.deb, with Swift's runtime linked in.
#   --output DIR   where to put it (default: .build-package/debian)
#   --no-build     package the program that an earlier run has built
# The last line of its output is the package's path. SOURCE_DATE_EPOCH is the last commit's time if not set.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

scratch="$root/.build-package"
output="$scratch/debian"
builds=yes
stage=

while [[ $# -gt 0 ]]; do
    case $1 in
        --output) output=${2:?--output takes a folder}; shift 2 ;;
        --no-build) builds=no; shift ;;
        *) say "usage: ${0##*/} [--output DIR] [--no-build]"; exit 64 ;;
    esac
done

clean_up() {
    if [[ -n "$stage" ]]; then
        rm -rf -- "$stage"
    fi
}
trap clean_up EXIT

# The program's own version; past or beside the tag of that name, with the commit.
package_version() {
    local version commit
    version=$("$program" --version)
    if commit=$(git -C "$root" rev-parse --short=8 HEAD 2>/dev/null) \
        && [[ "$(git -C "$root" describe --exact-match --tags HEAD 2>/dev/null)" != "v$version" ]]; then
        version+="+git$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M).$commit"
    fi
    printf '%s\n' "$version"
}

# The licences of all that is linked in.
notices() {
    local file
    for file in "$scratch"/checkouts/*/LICENSE* "$scratch"/checkouts/*/NOTICE* "$scratch"/checkouts/*/Sources/*/LICENSE*; do
        if [[ -f "$file" ]]; then
            printf '%s\n\n' "==== ${file#"$scratch/checkouts/"} ===="
            cat -- "$file"
            printf '\n'
        fi
    done
}

put() {
    install -D -m "$1" /dev/stdin "$stage/$2"
}

stage_files() {
    local documentation=usr/share/doc/clipbridge
    mkdir -p -- "$stage/usr/bin"
    strip --strip-all --remove-section=.comment --remove-section=.note -o "$stage/usr/bin/clipbridge" "$program"
    chmod 755 "$stage/usr/bin/clipbridge"
    put 644 usr/lib/systemd/system/clipbridge.service <"$here/systemd/clipbridge.service"
    put 644 "$documentation/examples/credentials.conf" <"$here/systemd/clipbridge.service.d/credentials.conf.example"
    # Found from any folder, unlike the program's own defaults.
    sed -e 's|^#DATABASE_URL=.*|DATABASE_URL=sqlite:/var/lib/clipbridge/clipbridge.sqlite|' \
        -e 's|^#CLIPBRIDGE_SPOOL_DIR=.*|CLIPBRIDGE_SPOOL_DIR=/var/lib/clipbridge/spool|' "$here/example.env" \
        | put 640 etc/clipbridge/clipbridge.env
    "$program" --generate-completion-script bash | sed '1{/^#!/d}' \
        | put 644 usr/share/bash-completion/completions/clipbridge
    "$program" --generate-completion-script zsh | put 644 usr/share/zsh/vendor-completions/_clipbridge
    "$program" --generate-completion-script fish | put 644 usr/share/fish/vendor_completions.d/clipbridge.fish
    python3 "$here/package/manual.py" "$program" "$(LC_ALL=C date --utc --date="@$SOURCE_DATE_EPOCH" '+%B %-d, %Y')" \
        | gzip -9n | put 644 usr/share/man/man1/clipbridge.1.gz
    gzip -9n <"$root/README.md" | put 644 "$documentation/README.md.gz"
    put 644 "$documentation/copyright" <"$here/package/copyright"
    notices | gzip -9n | put 644 "$documentation/NOTICES.gz"
    printf 'clipbridge (%s) unstable; urgency=medium\n\n  * Built from %s.\n\n -- %s  %s\n' "$version" \
        "$(git -C "$root" rev-parse HEAD 2>/dev/null || printf 'a source archive')" "$maintainer" \
        "$(LC_ALL=C date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")" \
        | gzip -9n | put 644 "$documentation/changelog.gz"
    put 644 usr/share/lintian/overrides/clipbridge <"$here/package/lintian-overrides"
}

# What it is linked to, in Debian's names and least versions.
dependencies() {
    local folder="$stage.source"
    mkdir -p -- "$folder/debian"
    printf 'Source: clipbridge\n\nPackage: clipbridge\nArchitecture: any\n' >"$folder/debian/control"
    (cd -- "$folder" && dpkg-shlibdeps -O "$stage/usr/bin/clipbridge" 2>/dev/null) | sed -n 's/^shlibs:Depends=//p'
    rm -rf -- "$folder"
}

stage_control() {
    local depends size script
    depends=$(dependencies)
    [[ -n "$depends" ]] || unavailable "dpkg-shlibdeps found no library that the program is linked to."
    size=$(du --summarize --apparent-size --block-size=1K --exclude=DEBIAN -- "$stage" | cut -f 1)
    mkdir -p -- "$stage/DEBIAN"
    sed -e "s|@VERSION@|$version|" -e "s|@ARCHITECTURE@|$(dpkg --print-architecture)|" \
        -e "s|@MAINTAINER@|$maintainer|" -e "s|@SIZE@|$size|" -e "s|@DEPENDS@|$depends|" \
        "$here/package/control.in" | put 644 DEBIAN/control
    printf '/etc/clipbridge/clipbridge.env\n' | put 644 DEBIAN/conffiles
    for script in postinst prerm postrm; do
        put 755 "DEBIAN/$script" <"$here/package/$script"
    done
    (cd -- "$stage" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) \
        | put 644 DEBIAN/md5sums
}

require_swift
install_build_packages
install_packages binutils dpkg-dev git gzip python3
if [[ $builds == yes ]]; then
    build_packaged clipbridge
fi
program=$(packaged_program clipbridge)
[[ -x "$program" ]] || unavailable "$program is not built; run this without --no-build."
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
maintainer=${CLIPBRIDGE_PACKAGE_MAINTAINER:-clipbridge maintainers <maintainers@clipbridge.invalid>}
version=$(package_version)
stage=$(mktemp -d "${TMPDIR:-/tmp}/clipbridge-package.XXXXXX")
chmod 755 "$stage"
umask 022
stage_files
stage_control
find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
mkdir -p -- "$output"
package="$output/clipbridge_${version}_$(dpkg --print-architecture).deb"
dpkg-deb --root-owner-group -Zxz --build "$stage" "$package" >&2
printf '%s\n' "$package"
