#!/bin/sh
# restart.sh DIRECTORY PYTHON APPLICATION PORT: ends the server that ran on PORT, if one did, and starts one that knows
# nothing. Its process id is in PORT.pid, what it says in PORT.log, both in DIRECTORY.
cd "$1" || exit 1
[ -f "$4.pid" ] && kill -9 "$(cat "$4.pid")" 2>/dev/null
setsid "$2" "$3" "$4" >>"$4.log" 2>&1 </dev/null &
echo $! >"$4.pid"
