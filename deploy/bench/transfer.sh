# clipbridge
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# `deploy/bench.sh transfer`: a file from a web server to S3, beside the tools that people would use instead.

# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

size=${BENCH_SIZE:-1GiB}
tables=1,2,3
tool_names=${BENCH_TOOLS:-clipbridge,rclone,aws,download,upload}
delay_milliseconds=20
clips_at_once=4
proxy_pids=()
mp4_host='the host of the MP4'

usage_transfer() {
    cat <<'TEXT'
Usage: deploy/bench.sh transfer [OPTION]...

Carries a file from a web server to S3 with clipbridge and with the tools that one would use instead, in interleaved
rounds, and prints wall time, CPU time and peak memory as Markdown. nginx is the host of the MP4, SeaweedFS is the S3
server; both run on loopback with their data in a folder of their own, and are stopped and removed at the end.

  --size SIZE      of the file: bytes, or with KiB, MiB or GiB (1GiB)
  --rounds N       how often each tool runs (5)
  --tables LIST    1: one clip; 2: four clips at once, a process for each; 3: one clip with a round trip of 40 ms on
                   both legs, by `tc netem` if this is root and the kernel has it, else by delaying proxies (1,2,3)
  --tools LIST     of clipbridge, rclone, aws, download, upload; the last two are curl's legs alone (all of them)
  --folder FOLDER  where the file, the spool and the S3 server's data go, on one disk (TMPDIR, else /var/tmp)
  --json FILE      also writes every run's figures there

CLIPBRIDGE_BIN names the program to measure; without it clipbridge is built as packaged. Progress goes to standard
error. Exit code: 0, 1 if a tool failed in a round, 64 for a wrong option, 69 if something needed is missing.
TEXT
}

read_transfer_options() {
    while [[ $# -gt 0 ]]; do
        case "$1" in
            --help | -h)
                usage_transfer
                exit 0
                ;;
            --size)
                needs_value "$@"
                size=$2
                shift 2
                ;;
            --tables)
                needs_value "$@"
                tables=$2
                shift 2
                ;;
            --tools)
                needs_value "$@"
                tool_names=$2
                shift 2
                ;;
            *)
                take_common_option "$@"
                shift 2
                ;;
        esac
    done
    [[ "$size" =~ ^[1-9][0-9]*([KMG]iB)?$ ]] || wrong_option "--size is \"$size\"; accepted are 1GiB, 64MiB, 1048576"
    check_number --rounds "$rounds"
    [[ "$tables" =~ ^[123](,[123])*$ ]] || wrong_option "--tables is \"$tables\"; accepted is such as 1,2,3"
    local tool='(clipbridge|rclone|aws|download|upload)'
    [[ "$tool_names" =~ ^$tool(,$tool)*$ ]] || wrong_option "--tools is \"$tool_names\"; see --help for their names"
}

size_in_bytes() {
    numfmt --from=iec-i -- "${size%B}"
}

# The file, what the S3 server keeps, what clipbridge spools, and some air.
check_space() {
    local clips=1 needed free
    if wants "$tables" 2; then
        clips=$clips_at_once
    fi
    needed=$(($(size_in_bytes) * (2 * clips + 1) + (1 << 30)))
    free=$(df --block-size=1 --output=avail -- "$parent" | tail -n 1)
    if ((free < needed)); then
        unavailable "$parent has $(numfmt --to=iec-i --suffix=B "$free") free," \
            "and this needs $(numfmt --to=iec-i --suffix=B "$needed"); see --folder"
    fi
}

# Sets what every part of the script needs; all of it is there already when a namespace is entered.
prepare_tools() {
    prepare_environment bench "$benches/requirements.txt"
    prepare_python
    prepare_nginx "$mp4_host"
}

# One file under several names, so that each clip has its own URL and memory holds it once.
make_source() {
    local clip
    say "Making $size of random bytes"
    mkdir -- "$folder/www"
    head --bytes="$(size_in_bytes)" /dev/urandom >"$folder/www/clip-0.mp4"
    for ((clip = 1; clip < clips_at_once; clip++)); do
        ln -- "$folder/www/clip-0.mp4" "$folder/www/clip-$clip.mp4"
    done
}

# With an ETag and with ranges.
file_is_served() {
    local answer
    answer=$(curl -q --silent --noproxy '*' --head --range 0-0 "http://127.0.0.1:$nginx_port/clip-0.mp4") || answer=
    [[ "$answer" == *" 206 "*ETag:* ]]
}

# Starts a delaying proxy before port $1 and sets `proxy_port`.
start_proxy() {
    local file="$folder/proxy-$1.port"
    "$python" "$benches/delay_proxy.py" serve "$1" "$delay_milliseconds" </dev/null >"$file" &
    proxy_pids+=($!)
    for _ in {1..100}; do
        if [[ -s "$file" ]]; then
            proxy_port=$(<"$file")
            return
        fi
        sleep 0.1
    done
    unavailable "The delaying proxy could not be started."
}

stop_proxies() {
    local pid
    for pid in "${proxy_pids[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    proxy_pids=()
}

start_servers() {
    storage_volumes_max=$((50 + 2 * clips_at_once * $(size_in_bytes) / (256 << 20)))
    start_nginx "root $folder/www;" file_is_served "$mp4_host"
    start_storage "$folder"
}

stop_servers() {
    stop_proxies
    stop_nginx
    stop_storage
}

# Table $1 with $2 clips at once and tools $3, the servers as the tools see them at ports $4 and $5, titled $6.
measure() {
    local watched=("--watch=nginx=$nginx_pid" "--watch=seaweedfs=$storage_pid") pid
    for pid in "${proxy_pids[@]}"; do
        watched+=("--watch=proxy-$pid=$pid")
    done
    run "$python" "$benches/transfer.py" --table "$1" --clips "$2" --tools "$3" --title "$6" --rounds "$rounds" \
        --base "http://127.0.0.1:$4" --endpoint "http://127.0.0.1:$5" --server "$CLIPBRIDGE_TEST_S3_ENDPOINT" \
        --access-key "$storage_access_key" --secret-key "$storage_secret_key" --source "$folder/www/clip-0.mp4" \
        --folder "$folder" --results "$folder/results.json" --clipbridge "$clipbridge" \
        --rclone "$tools/bench/bin/rclone" --aws "$tools/bench/bin/aws" --curl "$(command -v curl)" \
        "${watched[@]}" || fail_at_end
}

storage_port() {
    printf '%s\n' "${CLIPBRIDGE_TEST_S3_ENDPOINT##*:}"
}

measure_together() {
    local names=$tool_names
    # rclone can also carry several clips in one process.
    if wants "$names" rclone; then
        names=${names/rclone/rclone,rclone-urls}
    fi
    measure 2 "$clips_at_once" "$names" "$nginx_port" "$(storage_port)" \
        "$clips_at_once clips at once, a process of each tool for each clip"
}

# Delays what goes to and from these ports of the loopback interface, and nothing else.
delay_ports() {
    local port side
    tc qdisc add dev lo root handle 1: prio bands 3 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
    tc qdisc add dev lo parent 1:3 handle 30: netem delay "${delay_milliseconds}ms" limit 200000
    for port in "$@"; do
        for side in sport dport; do
            tc filter add dev lo parent 1: protocol ip u32 match ip "$side" "$port" 0xffff flowid 1:3
        done
    done
}

has_netem() {
    [[ $(id -u) -eq 0 ]] && command -v tc >/dev/null && unshare --net "$root/deploy/bench.sh" try-delay 2>/dev/null
}

# The whole script runs anew inside: its servers' ports are delayed, and what SeaweedFS says to itself is not.
measure_delayed_by_netem() {
    stop_servers
    mkdir -- "$folder/delayed"
    mv -- "$folder/www" "$folder/delayed/www"
    mv -- "$folder/results.json" "$folder/delayed/results.json" 2>/dev/null || true
    run env BENCH_FOLDER="$folder/delayed" BENCH_SIZE="$size" BENCH_ROUNDS="$rounds" BENCH_TOOLS="$tool_names" \
        BENCH_CLIPBRIDGE="$clipbridge" unshare --net "$root/deploy/bench.sh" inside || fail_at_end
    mv -- "$folder/delayed/results.json" "$folder/results.json"
}

inside_namespace() {
    ip link set lo up
    prepare_tools
    start_servers
    delay_ports "$nginx_port" "$(storage_port)"
    measure 3 1 "$tool_names" "$nginx_port" "$(storage_port)" \
        "One clip, round trip of $((2 * delay_milliseconds)) ms on both legs by tc netem"
}

measure_delayed_by_proxies() {
    local download_port one four title
    one=$("$python" "$benches/delay_proxy.py" ceiling "$delay_milliseconds" 1)
    four=$("$python" "$benches/delay_proxy.py" ceiling "$delay_milliseconds" 4)
    start_proxy "$nginx_port"
    download_port=$proxy_port
    start_proxy "$(storage_port)"
    title="One clip, round trip of $((2 * delay_milliseconds)) ms on both legs by delaying proxies"
    title+=" (which alone carry $one MiB/s over one connection, $four over four)"
    measure 3 1 "$tool_names" "$download_port" "$proxy_port" "$title"
}

measure_delayed() {
    if has_netem; then
        measure_delayed_by_netem
    else
        say "There is no tc netem here: delaying proxies stand in for it"
        measure_delayed_by_proxies
    fi
}

transfer_facts() {
    machine_facts
    printf 'Versions: %s; %s; %s; nginx %s; SeaweedFS %s\n' \
        "$("$tools/bench/bin/rclone" version | head -n 1)" \
        "$("$tools/bench/bin/aws" --version 2>&1 | cut --delimiter=' ' --fields=1,2)" \
        "$(curl --version | cut --delimiter=' ' --fields=1,2 | head -n 1)" "$("$nginx" -v 2>&1 | sed 's|.*nginx/||')" \
        "$("$tools/python/bin/weed" version | awk '{print $3}')"
    clipbridge_fact
}

transfer() {
    read_transfer_options "$@"
    install_packages curl
    check_space
    prepare_tools
    if wants "$tool_names" clipbridge; then
        prepare_clipbridge
    fi
    folder=$(mktemp -d -- "$parent/clipbridge-bench.XXXXXX")
    transfer_facts >"$folder/facts.txt"
    make_source
    start_servers
    if wants "$tables" 1; then
        measure 1 1 "$tool_names" "$nginx_port" "$(storage_port)" "One clip"
    fi
    if wants "$tables" 2; then
        measure_together
    fi
    if wants "$tables" 3; then
        measure_delayed
    fi
    [[ -e "$folder/results.json" ]] || unavailable "Nothing could be measured."
    if [[ -n "$json" ]]; then
        cp -- "$folder/results.json" "$json"
    fi
    "$python" "$benches/report.py" "$folder/results.json" "$folder/facts.txt"
}
