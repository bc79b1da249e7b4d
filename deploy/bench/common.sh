# clipbridge
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
#
# What the benchmarks of deploy/bench.sh share: options, programs, nginx, facts about the machine. Some of its variables
# are used only by the files that read this one.

# shellcheck source-path=SCRIPTDIR source=../storage.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../storage.sh"

benches="$root/deploy/bench"
# What a process in a namespace of its own is told by the script that started it comes in BENCH_ variables.
rounds=${BENCH_ROUNDS:-5}
folder=${BENCH_FOLDER:-}
clipbridge=${BENCH_CLIPBRIDGE:-}
parent=${TMPDIR:-/var/tmp}
json=
child=
nginx_pid=
# For each of its processes; 512 is its own default.
nginx_connections=512
status=0
export PYTHONDONTWRITEBYTECODE=1

wrong_option() {
    say "$*"
    say "See deploy/$(basename -- "$0") --help"
    exit 64
}

needs_value() {
    [[ $# -ge 2 ]] || wrong_option "$1 needs a value"
}

# Takes the first of the arguments, with its value, as an option that rounds of any kind have.
take_common_option() {
    case "$1" in
        --rounds | --folder | --json) needs_value "$@" ;;
        *) wrong_option "unknown option \"$1\"" ;;
    esac
    case "$1" in
        --rounds) rounds=$2 ;;
        --folder) parent=$2 ;;
        --json) json=$(realpath -- "$2") ;;
    esac
}

check_number() {
    [[ "$2" =~ ^[1-9][0-9]*$ ]] || wrong_option "$1 is \"$2\"; accepted is a number from 1"
}

# The other measurements still take place, and the script ends with 1.
fail_at_end() {
    status=1
}

has_succeeded() {
    [[ "$status" -eq 0 ]]
}

wants() {
    [[ ",$1," == *",$2,"* ]]
}

# In a process group of its own, so that a signal to this script ends it and all that it started.
run() {
    local result=0
    set -m
    "$@" </dev/null &
    child=$!
    set +m
    wait "$child" || result=$?
    child=
    return "$result"
}

# Debian's nginx: the system's if it is there, else unpacked into .build-tools, since installing the package would
# start a web server on port 80. $1 says what it is here.
prepare_nginx() {
    if nginx=$(PATH="$PATH:/usr/sbin" command -v nginx); then
        return
    fi
    nginx="$tools/nginx/usr/sbin/nginx"
    if [[ -x "$nginx" ]]; then
        return
    fi
    command -v apt-get >/dev/null || unavailable "nginx is needed as $1, and is not installed."
    say "Unpacking Debian's nginx into $tools/nginx"
    rm -rf -- "$tools/nginx"
    mkdir -p -- "$tools/nginx"
    (cd -- "$tools/nginx" && { apt-get download nginx || { as_root apt-get update && apt-get download nginx; }; }) >&2 \
        || unavailable "Debian's package nginx could not be downloaded."
    dpkg-deb --extract "$tools"/nginx/nginx_*.deb "$tools/nginx"
    "$nginx" -v 2>/dev/null || unavailable "Debian's nginx does not run here: $("$nginx" -v 2>&1)"
}

prepare_clipbridge() {
    if [[ -n "${CLIPBRIDGE_BIN:-}" ]]; then
        clipbridge=$(command -v -- "$CLIPBRIDGE_BIN") \
            || unavailable "CLIPBRIDGE_BIN is \"$CLIPBRIDGE_BIN\", which is no program"
        clipbridge=$(realpath -- "$clipbridge")
        return
    fi
    require_swift
    install_build_packages
    run build_packaged clipbridge
    clipbridge=$(packaged_program clipbridge)
}

free_port() {
    "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Starts it with the lines $1 in its server, and waits until command $2 says that it answers. $3 says what it is here.
start_nginx() {
    local attempt
    for attempt in 1 2 3; do
        launch_nginx "$1"
        if nginx_answers "$2"; then
            say "nginx, $3, is at http://127.0.0.1:$nginx_port"
            return
        fi
        stop_nginx
        say "nginx did not start at attempt $attempt; its last words:"
        tail -n 5 -- "$folder/nginx.log" >&2 || true
    done
    unavailable "nginx, $3, could not be started."
}

launch_nginx() {
    local user=
    nginx_port=$(free_port)
    # As root it would read the file as nobody, who may not enter the folder.
    if [[ $(id -u) -eq 0 ]]; then
        user='user root root;'
    fi
    mkdir -p -- "$folder/nginx"
    cat >"$folder/nginx/nginx.conf" <<CONF
$user
worker_processes auto;
daemon off;
pid $folder/nginx/nginx.pid;
error_log $folder/nginx.log;
events { worker_connections $nginx_connections; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    etag on;
    types { video/mp4 mp4; }
    client_body_temp_path $folder/nginx/body;
    proxy_temp_path $folder/nginx/proxy;
    fastcgi_temp_path $folder/nginx/fastcgi;
    uwsgi_temp_path $folder/nginx/uwsgi;
    scgi_temp_path $folder/nginx/scgi;
    server {
        listen 127.0.0.1:$nginx_port;
        $1
    }
}
CONF
    "$nginx" -p "$folder/nginx" -c "$folder/nginx/nginx.conf" -e "$folder/nginx.log" </dev/null >/dev/null 2>&1 &
    nginx_pid=$!
}

# It must be ours that answers, so it still runs by then.
nginx_answers() {
    for _ in {1..50}; do
        kill -0 "$nginx_pid" 2>/dev/null || return 1
        if "$1"; then
            return
        fi
        sleep 0.1
    done
    return 1
}

stop_nginx() {
    if [[ -n "$nginx_pid" ]]; then
        kill -TERM "$nginx_pid" 2>/dev/null || true
        wait "$nginx_pid" 2>/dev/null || true
        nginx_pid=
    fi
}

machine_facts() {
    local model memory
    model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
    memory=$(awk '/^MemTotal:/ {print $2}' /proc/meminfo)
    printf 'Machine: %s cores, %s, %s RAM, Linux %s, data on %s\n' "$(nproc)" "${model:-$(uname -m)}" \
        "$(numfmt --from-unit=1024 --to=iec-i --suffix=B "$memory")" "$(uname -r)" \
        "$(df --output=fstype -- "$folder" | tail -n 1)"
    printf 'Load average before: %s (what else runs on these cores makes the figures worse)\n' \
        "$(cut --delimiter=' ' --fields=1-3 /proc/loadavg)"
}

clipbridge_fact() {
    if [[ -n "$clipbridge" ]]; then
        printf 'clipbridge: %s\n' "$("$clipbridge" --version 2>/dev/null | head -n 1)"
    fi
}
