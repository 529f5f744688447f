#!/bin/sh
# User land: one static program.

network_up() {
    ip address replace "$address/$prefix" dev eth0 && ip link set eth0 up &&
        { [ -z "$gateway" ] || ip route replace default via "$gateway"; }
}

network_down() {
    ip link set eth0 down
}

# Without chrt: as many busy loops as leave the server next to nothing.
realtime() {
    for copy in 1 2 3 4 5 6; do
        "$@" &
        renice -n -20 -p $!
    done
    wait
}

serve() {
    if [ "$faults" = 1 ]; then
        exec httpd -f -vv -p 80 -u www-data -h $site 2>/run/faults
    fi
    exec httpd -f -p 80 -u www-data -h $site
}

