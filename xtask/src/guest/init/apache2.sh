#!/bin/sh
# User land: klibc and toybox.

network_up() {
    ipconfig -c none "ip=$address::$gateway:$netmask::eth0:none" >/dev/null
}

network_down() {
    ifconfig eth0 down
}

realtime() {
    chrt -f 99 "$@"
}

serve() {
    export APACHE_RUN_DIR=/run/resh APACHE_LOCK_DIR=/run/resh APACHE_LOG_DIR=/run/resh
    exec apache2 -DFOREGROUND -f $config
}

