#!/bin/sh
# restart.sh DIRECTORY PROGRAMS NAME PORT: ends the PostgreSQL server NAME, if it runs, and starts it with an empty database
# `app` of the user `app`. Comes to an end when it answers queries: before, it refuses sessions that it accepts.
# PROGRAMS is where initdb and its like are. PostgreSQL does not run as root: then it is nobody's.
cd "$1" || exit 1
programs=$2 name=$3 port=$4
as() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
    else
        "$@"
    fi
}
if [ ! -d pristine ]; then
    as "$programs/initdb" -D pristine -U postgres -A trust --locale=C -E UTF8 --no-sync >initdb.log || exit 1
    printf 'CREATE ROLE app LOGIN\nCREATE DATABASE app OWNER app\nALTER SCHEMA public OWNER TO app\n' |
        as "$programs/postgres" --single -D pristine postgres >>initdb.log || exit 1
fi
[ -d "$name" ] && as "$programs/pg_ctl" -D "$name" -m immediate -w stop >/dev/null 2>&1
rm -rf "$name"
as cp -a pristine "$name" || exit 1
options="-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
options="$options -c autovacuum=off -c deadlock_timeout=50 -c lc_messages=C -c max_connections=60"
as "$programs/pg_ctl" -D "$name" -w -t 30 -l "$name.log" -o "$options" start >/dev/null
