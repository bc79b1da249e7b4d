#!/usr/bin/env bash
# clipbridge
# SPDX-License-Identifier: Apache-2.0
#
# Runs the examples of deploy/proxy before a real bridge: a webhook passes, nothing else does from outside, and the
# operator's events come through as they happen.
#   proxy_test.sh PROGRAM   with the built clipbridge
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

program=$(realpath -- "${1:?the path of clipbridge is missing}")
token=operators-token
folder=
started=()

clean_up() {
    local process
    for process in "${started[@]}"; do
        kill -TERM "$process" 2>/dev/null || true
    done
    for process in "${started[@]}"; do
        wait "$process" 2>/dev/null || true
    done
    if [[ -n "$folder" ]]; then
        rm -rf -- "$folder"
    fi
}

fail() {
    say "FAILED: $*"
    tail -n 20 "$folder"/*.log >&2 || true
    exit 1
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Waits half a minute for a command to succeed.
wait_for() {
    local attempt what=$1
    shift
    for attempt in {1..150}; do
        if "$@"; then
            return
        fi
        sleep 0.2
    done
    fail "waited in vain for $what ($attempt attempts)"
}

start() {
    local log=$1
    shift
    "$@" </dev/null >>"$folder/$log.out" 2>>"$folder/$log.log" &
    started+=("$!")
}

answers() {
    curl --silent --output /dev/null "$1"
}

start_bridge() {
    local sandbox_port
    sandbox_port=$(free_port)
    bridge_port=$(free_port)
    start sandbox "$program" sandbox --port "$sandbox_port" --data "$folder/sandbox"
    wait_for "the sandbox's settings" grep --quiet '^CLIPBRIDGE_DOWNLOAD_HOSTS=' "$folder/sandbox.out"
    {
        cat -- "$folder/sandbox.out"
        printf '%s\n' "CLIPBRIDGE_PORT=$bridge_port" "CLIPBRIDGE_ADMIN_TOKEN=$token" "CLOUDFLARE_WEBHOOK_SECRET=secret" \
            "DATABASE_URL=sqlite:$folder/clips.sqlite" "CLIPBRIDGE_SPOOL_DIR=$folder/spool"
    } >"$folder/settings.env"
    start bridge "$program" serve --config "$folder/settings.env"
    wait_for "the bridge" answers "http://127.0.0.1:$bridge_port/readyz"
}

make_certificate() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=bridge.example.com \
        -addext subjectAltName=DNS:bridge.example.com,DNS:operator.example.com \
        -keyout "$folder/key.pem" -out "$folder/certificate.pem" 2>/dev/null
}

# The example with this place's ports, certificate and, for a try of the refusal, another network than this machine's.
nginx_configuration() {
    printf 'daemon off;\npid %s/nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n' "$folder"
    printf '%s_temp_path %s/temporary;\n' client_body "$folder" proxy "$folder" fastcgi "$folder" uwsgi "$folder" \
        scgi "$folder"
    sed -e "s|listen 443|listen 127.0.0.1:$1|" -e '/listen \[::\]/d' -e "s|127.0.0.1:8787|127.0.0.1:$bridge_port|" \
        -e "s|ssl_certificate .*|ssl_certificate $folder/certificate.pem;|" \
        -e "s|ssl_certificate_key .*|ssl_certificate_key $folder/key.pem;|" \
        -e "s|allow 127.0.0.0/8|allow $2|" "$here/proxy/nginx.conf"
    printf '}\n'
}

caddy_configuration() {
    printf '{\n\tadmin off\n\tauto_https off\n}\n'
    sed -e "s|^\(.*example.com\) {|https://\1:$1 {\n\ttls $folder/certificate.pem $folder/key.pem|" \
        -e "s|127.0.0.1:8787|127.0.0.1:$bridge_port|" -e "s|127.0.0.0/8|$2|" "$here/proxy/Caddyfile"
}

start_proxy() {
    port=$(free_port)
    "$1_configuration" "$port" "$2" >"$folder/$1.$port.conf"
    case $1 in
        nginx) start nginx nginx -e stderr -p "$folder" -c "$folder/nginx.$port.conf" ;;
        caddy) start caddy env XDG_DATA_HOME="$folder" XDG_CONFIG_HOME="$folder" \
            caddy run --adapter caddyfile --config "$folder/caddy.$port.conf" ;;
    esac
    wait_for "$1" answers "http://127.0.0.1:$port/"
}

# curl of a site behind the proxy, $1; prints the status.
ask() {
    local site=$1 path=$2
    shift 2
    curl --silent --path-as-is --output "$folder/answer" --write-out '%{http_code}' --cacert "$folder/certificate.pem" \
        --resolve "$site:$port:127.0.0.1" "$@" "https://$site:$port$path"
}

expect() {
    local wanted=$1 status
    shift
    status=$(ask "$@")
    [[ " $wanted " == *" $status "* ]] || fail "$proxy: $1$2 answers $status and not $wanted"
}

# A signed webhook of a clip $1; prints the status.
send_webhook() {
    local body time signature
    body='{"uid":"'$1'","readyToStream":true,"status":{"state":"ready","pctComplete":"100.000000"}}'
    time=$(date +%s)
    signature=$(printf '%s.%s' "$time" "$body" | openssl dgst -sha256 -hmac secret | sed 's/.* //')
    ask bridge.example.com /webhooks/cloudflare-stream -d "$body" -H "Webhook-Signature: time=$time,sig1=$signature"
}

try_events() {
    local listener
    curl --silent --no-buffer --cacert "$folder/certificate.pem" --resolve "operator.example.com:$port:127.0.0.1" \
        -H "Authorization: Bearer $token" "https://operator.example.com:$port/api/events" \
        </dev/null >"$folder/events.$proxy" 2>/dev/null &
    listener=$!
    started+=("$listener")
    [[ $(send_webhook "${proxy}2") == 200 ]] || fail "$proxy: the second webhook was not taken"
    # The connection stays open, so what is there has been passed on at once.
    wait_for "an event through $proxy" grep --quiet "\"uid\":\"${proxy}2\"" "$folder/events.$proxy"
    kill -0 "$listener" || fail "$proxy ended the events"
}

try_proxy() {
    local path
    proxy=$1
    start_proxy "$proxy" 127.0.0.0/8
    [[ $(send_webhook "${proxy}1") == 200 ]] || fail "$proxy: the webhook was not taken"
    grep --quiet '"accepted"' "$folder/answer" || fail "$proxy: the webhook was not accepted"
    expect 401 bridge.example.com /webhooks/cloudflare-stream -d '{}'
    for path in / /api/clips /api/events /metrics /healthz /readyz /openapi.json /webhooks/cloudflare-stream/; do
        expect 404 bridge.example.com "$path" -H "Authorization: Bearer $token"
    done
    for path in /webhooks/cloudflare-stream/../../api/clips /webhooks/cloudflare-stream%2f..%2f..%2fapi/clips //api/clips; do
        expect "400 404" bridge.example.com "$path" -H "Authorization: Bearer $token"
    done
    expect 401 operator.example.com /api/clips
    expect 200 operator.example.com /api/clips -H "Authorization: Bearer $token"
    expect 200 operator.example.com /metrics
    try_events
    # From a network that is not one's own.
    start_proxy "$proxy" 192.0.2.0/24
    expect 403 operator.example.com /api/clips -H "Authorization: Bearer $token"
    [[ $(send_webhook "${proxy}3") == 200 ]] || fail "$proxy: the webhook from elsewhere was not taken"
    say "$proxy: ok"
}

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

install_packages curl openssl python3
unpack_servers nginx caddy
folder=$(mktemp -d "${TMPDIR:-/tmp}/clipbridge-proxy-test.XXXXXX")
# nginx' workers are another user's when root starts it.
chmod 755 "$folder"
make_certificate
start_bridge
try_proxy nginx
try_proxy caddy
