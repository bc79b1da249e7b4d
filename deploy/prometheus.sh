# clipbridge
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Prometheus' own checker, and what it says of deploy/grafana.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

promtool=

# Debian's package would set up a server with its data and its daemon, so only its checker is unpacked. Exports
# CLIPBRIDGE_TEST_PROMTOOL.
install_promtool() {
    promtool=$(command -v promtool || true)
    if [[ -z "$promtool" ]]; then
        promtool="$tools/prometheus/usr/bin/promtool"
        [[ -x "$promtool" ]] || unpack_promtool
    fi
    export CLIPBRIDGE_TEST_PROMTOOL=$promtool
}

unpack_promtool() {
    local downloads
    if ! command -v apt-get >/dev/null; then
        unavailable "promtool is needed, which comes with Prometheus."
    fi
    downloads=$(mktemp -d "${TMPDIR:-/tmp}/clipbridge-prometheus.XXXXXX")
    say "Unpacking promtool of Debian's package prometheus into $tools/prometheus"
    download_prometheus "$downloads" || {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update --quiet >&2 && download_prometheus "$downloads"
    } || {
        rm -rf -- "$downloads"
        unavailable "Debian's package prometheus could not be downloaded."
    }
    rm -rf -- "$tools/prometheus" "$downloads/unpacked"
    mkdir -p -- "$tools"
    dpkg-deb --extract "$downloads"/prometheus_*.deb "$downloads/unpacked"
    mkdir -p -- "$tools/prometheus/usr/bin"
    cp -- "$downloads/unpacked/usr/bin/promtool" "$tools/prometheus/usr/bin/promtool"
    rm -rf -- "$downloads"
}

# Into folder $1. Needs no root, so the folder is its user's.
download_prometheus() {
    (cd -- "$1" && apt-get download --quiet prometheus >&2)
}

# The rules with their tests, the example of a configuration, and the dashboard's expressions. Folder $1 is for a file.
check_grafana() {
    local folder="$root/deploy/grafana" status=0
    "$promtool" check rules "$folder/alerts.yaml" >&2 || status=1
    "$promtool" test rules "$folder/alerts.test.yaml" >&2 || status=1
    "$promtool" check config "$folder/prometheus.yaml" >&2 || status=1
    # Grafana's variables are no part of the language; JSON is YAML too.
    "$python" - "$folder/dashboard.json" >"$1/dashboard-rules.yaml" <<'PYTHON' || status=1
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    panels = json.load(file)["panels"]
expressions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
rules = [
    {"record": f"dashboard:{number}", "expr": text.replace("$__rate_interval", "5m").replace("$instance", ".*")}
    for number, text in enumerate(expressions)
]
json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, sys.stdout)
PYTHON
    "$promtool" check rules "$1/dashboard-rules.yaml" >&2 || status=1
    return "$status"
}
