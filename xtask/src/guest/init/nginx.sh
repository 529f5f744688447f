#!/bin/sh
# User land: busybox.

network_up() {
    ip address replace "$address/$prefix" dev eth0 && ip link set eth0 up &&
        { [ -z "$gateway" ] || ip route replace default via "$gateway"; }
}

network_down() {
    ip link set eth0 down
}

realtime() {
    chrt -f 99 "$@"
}

serve() {
    start-stop-daemon -S -b -c www-data -x /usr/sbin/fcgiwrap -- \
        -c 4 -s unix:/run/resh/fcgiwrap.socket
    exec nginx -e /run/resh/error.log -c $config
}

