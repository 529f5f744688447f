#!/bin/sh
# User land: dash, GNU coreutils, net-tools.

network_up() {
    ifconfig eth0 "$address" netmask "$netmask" up &&
        { [ -z "$gateway" ] || route add default gw "$gateway"; }
}

network_down() {
    ifconfig eth0 down
}

realtime() {
    chrt -f 99 "$@"
}

serve() {
    exec lighttpd -D -f $config
}

