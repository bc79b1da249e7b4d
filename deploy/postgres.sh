# clipbridge
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A private PostgreSQL cluster on loopback for tests and benchmarks, thrown away at the end.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

postgres_folder=
postgres_bin=

# Debian's package makes and starts a cluster of its own when it is installed, unless it is told not to.
install_postgres() {
    if ! is_installed postgresql && ! is_installed postgresql-15 && command -v apt-get >/dev/null; then
        as_root mkdir -p /etc/postgresql-common
        if [[ ! -e /etc/postgresql-common/createcluster.conf ]]; then
            printf 'create_main_cluster = false\n' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
        fi
    fi
    install_packages postgresql
    postgres_bin=$(find /usr/lib/postgresql/*/bin -maxdepth 0 2>/dev/null | sort -V | tail -n 1)
    if [[ -z "$postgres_bin" ]]; then
        postgres_bin=$(dirname -- "$(command -v postgres)" 2>/dev/null) || unavailable "PostgreSQL 15 or newer is needed."
    fi
    export CLIPBRIDGE_TEST_POSTGRES_BIN=$postgres_bin
}

# PostgreSQL does not run as root.
as_postgres() {
    if [[ $(id -u) -eq 0 ]]; then
        runuser -u postgres -- "$@"
    else
        "$@"
    fi
}

# Starts it with more settings $@, and exports CLIPBRIDGE_TEST_POSTGRES.
start_postgres() {
    local attempt port setting
    postgres_folder=$(mktemp -d "${TMPDIR:-/tmp}/clipbridge-postgres.XXXXXX")
    if [[ $(id -u) -eq 0 ]]; then
        chown postgres "$postgres_folder"
    fi
    as_postgres "$postgres_bin/initdb" --pgdata="$postgres_folder/data" --username=clipbridge --auth=trust \
        --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$postgres_folder.log" 2>&1 \
        || unavailable "PostgreSQL's cluster could not be made: $(tail -n 3 -- "$postgres_folder.log")"
    {
        printf "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\n"
        for setting in "$@"; do printf '%s\n' "$setting"; done
    } | as_postgres tee -a "$postgres_folder/data/postgresql.conf" >/dev/null
    # Another program may take a port between its choice and its use.
    for attempt in 1 2 3; do
        port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        if as_postgres "$postgres_bin/pg_ctl" start --pgdata="$postgres_folder/data" --wait --silent \
            --log="$postgres_folder/server.log" --options="-p $port" </dev/null >/dev/null 2>&1; then
            export CLIPBRIDGE_TEST_POSTGRES="postgres://clipbridge@127.0.0.1:$port/postgres"
            say "PostgreSQL serves at $CLIPBRIDGE_TEST_POSTGRES"
            return
        fi
        say "PostgreSQL did not start at attempt $attempt"
    done
    tail -n 20 -- "$postgres_folder/server.log" >&2 || true
    unavailable "PostgreSQL could not be started."
}

# Its data is thrown away, so there is nothing that it would have to finish.
stop_postgres() {
    if [[ -n "$postgres_folder" ]]; then
        as_postgres "$postgres_bin/pg_ctl" stop --pgdata="$postgres_folder/data" --mode=immediate --silent \
            >/dev/null 2>&1 || true
        rm -rf -- "$postgres_folder" "$postgres_folder.log"
        postgres_folder=
    fi
}
