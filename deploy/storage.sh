# clipbridge
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A real S3 server (SeaweedFS) on loopback for the tests; prepare_python comes first.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

storage_pid=
storage_bucket=clipbridge-test
storage_access_key=clipbridge-test-key
storage_secret_key=clipbridge-test-secret
# Of 256 MiB each.
storage_volumes_max=50

# Starts it with its data in folder $1 and exports CLIPBRIDGE_TEST_S3_*.
start_storage() {
    local folder=$1 attempt
    cat >"$folder/s3.json" <<JSON
{"identities": [{"name": "test", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
  "credentials": [{"accessKey": "$storage_access_key", "secretKey": "$storage_secret_key"}]}]}
JSON
    # Another program may take a port between its choice and its use.
    for attempt in 1 2 3; do
        launch_storage "$folder"
        if storage_answers "$folder"; then
            export CLIPBRIDGE_TEST_S3_ENDPOINT=$storage_endpoint
            export CLIPBRIDGE_TEST_S3_ACCESS_KEY=$storage_access_key
            export CLIPBRIDGE_TEST_S3_SECRET_KEY=$storage_secret_key
            export CLIPBRIDGE_TEST_S3_BUCKET=$storage_bucket
            say "SeaweedFS serves S3 at $storage_endpoint"
            return
        fi
        stop_storage
        say "SeaweedFS did not start at attempt $attempt; its last words:"
        tail -n 20 -- "$folder/weed.log" >&2 || true
    done
    unavailable "SeaweedFS, the S3 server for the tests, could not be started."
}

launch_storage() {
    local folder=$1 ports
    mapfile -t ports < <("$python" -c '
import socket
sockets = [socket.socket() for _ in range(8)]
for each in sockets:
    each.bind(("127.0.0.1", 0))
    print(each.getsockname()[1])
')
    storage_endpoint="http://127.0.0.1:${ports[6]}"
    rm -rf -- "$folder/data"
    mkdir -- "$folder/data"
    "$tools/python/bin/weed" -logtostderr=true server -dir="$folder/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
        -master.port="${ports[0]}" -master.port.grpc="${ports[1]}" -master.volumeSizeLimitMB=256 \
        -master.telemetry=false -volume.port="${ports[2]}" -volume.port.grpc="${ports[3]}" \
        -volume.max="$storage_volumes_max" -filer.port="${ports[4]}" -filer.port.grpc="${ports[5]}" \
        -s3 -s3.port="${ports[6]}" -s3.port.grpc="${ports[7]}" -s3.port.iceberg=0 -s3.port.lance=0 \
        -s3.config="$folder/s3.json" -iam=false </dev/null >"$folder/weed.log" 2>&1 &
    storage_pid=$!
}

# Waits until the bucket is there and takes objects, for a minute at most.
storage_answers() {
    "$python" "$root/deploy/storage_ready.py" "$storage_endpoint" "$storage_bucket" \
        "$storage_access_key" "$storage_secret_key" "$storage_pid"
}

# Its data is thrown away, so there is nothing that it would have to finish.
stop_storage() {
    if [[ -n "$storage_pid" ]]; then
        kill -KILL "$storage_pid" 2>/dev/null || true
        wait "$storage_pid" 2>/dev/null || true
        storage_pid=
    fi
}
