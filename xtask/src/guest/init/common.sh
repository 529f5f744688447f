# PID 1 of a guest: network, web server, and with `resh.faults=1` the faults that tests ask for.
#
# What differs from guest to guest comes before this part: network_up, network_down, realtime, serve.

export PATH=/usr/sbin:/usr/bin
umask 022
site=/var/www/html

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /run/resh
chmod 777 /run/resh
chmod 1777 /tmp

# What is wrong goes to the console; then the machine starts again.
stop() {
    echo "resh: $*; restarting"
    sleep 1
    echo b >/proc/sysrq-trigger
    sleep 60
}

address= gateway= name=guest big=0 faults=0 time=0
read -r command_line </proc/cmdline
for word in $command_line; do
    case $word in
        resh.address=*) address=${word#*=} ;;
        resh.gateway=*) gateway=${word#*=} ;;
        resh.name=*) name=${word#*=} ;;
        resh.big=*) big=${word#*=} ;;
        resh.faults=*) faults=${word#*=} ;;
        resh.time=*) time=${word#*=} ;;
    esac
done
[ -n "$address" ] || stop "no resh.address=<address>/<prefix> on the kernel's command line"

# A server that believes to be older than its files answers conditional requests in its own way.
read -r image_time </etc/resh/time
[ "$time" -gt "$image_time" ] || time=$image_time
[ "$(date +%s)" -ge "$time" ] || date -s "@$time" >/dev/null

while read -r module; do
    [ -z "$module" ] || insmod "/lib/modules/$module.ko" || stop "cannot load the module $module"
done </etc/resh/modules
tries=0
until [ -d /sys/class/net/eth0 ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || stop "no network device"
    sleep 0.05
done

prefix=${address#*/}
address=${address%/*}
netmask=
bits=$prefix
for octet in 1 2 3 4; do
    if [ "$bits" -ge 8 ]; then
        netmask=$netmask.255
        bits=$((bits - 8))
    else
        netmask=$netmask.$((256 - (1 << (8 - bits))))
        bits=0
    fi
done
netmask=${netmask#.}
network_up || stop "cannot set the address $address/$prefix"

# As many MiB as resh.big says, the same as `Site::put_big` in tests/src/site.rs makes.
if [ "$big" -gt 0 ] && [ -f $site/1m.bin ]; then
    mkdir /run/big
    tail -c +17 $site/1m.bin >/run/big/rest
    number=0
    set --
    while [ $number -lt "$big" ]; do
        printf '%015d\n' $number >/run/big/$number
        set -- "$@" /run/big/$number /run/big/rest
        number=$((number + 1))
    done
    cat "$@" >$site/"$big"m.bin
    touch -r $site/1m.bin $site/"$big"m.bin
    rm -r /run/big
fi

# Changes one byte of a file in place, each guest to another value; the file's time stays.
corrupt() {
    saved=/run/resh/${1##*/}
    [ -f "$1" ] || return
    [ -f "$saved" ] || cp -p "$1" "$saved"
    {
        head -c "$2" "$saved"
        printf %.1s "$name"
        tail -c +$(($2 + 2)) "$saved"
    } 1<>"$1"
    touch -r "$saved" "$1"
}

restore() {
    saved=/run/resh/${1##*/}
    [ -f "$saved" ] || return
    cat "$saved" 1<>"$1"
    touch -r "$saved" "$1"
}

# Frames to the gateway as fast as the kernel can, by its packet generator.
flood() {
    mac=02:00:00:00:00:01
    while read -r neighbour _ _ found _; do
        [ "$neighbour" != "$gateway" ] || mac=$found
    done </proc/net/arp
    insmod /lib/modules/pktgen.ko 2>/dev/null
    echo "add_device eth0" >/proc/net/pktgen/kpktgend_0
    for setting in "count 0" "delay 0" "pkt_size 1400" "dst $gateway" "dst_mac $mac"; do
        echo "$setting" >/proc/net/pktgen/eth0
    done
    (echo start >/proc/net/pktgen/pgctrl) &
    generator=$!
    sleep 8
    kill $generator
}

fault() {
    echo "resh: fault $1"
    case $1 in
        panic) echo c >/proc/sysrq-trigger ;;
        reboot) echo b >/proc/sysrq-trigger ;;
        poweroff) echo o >/proc/sysrq-trigger ;;
        loop | hang)
            # What the kernel keeps for others: until Linux 6.11 this, since then that.
            echo -1 >/proc/sys/kernel/sched_rt_runtime_us
            mount -t debugfs debugfs /sys/kernel/debug
            fair=/sys/kernel/debug/sched/fair_server/cpu0/runtime
            [ ! -f $fair ] || echo 0 >$fair
            # The loop ends after 8 s, a hang never.
            if [ "$1" = loop ]; then seconds=8; else seconds=100000; fi
            realtime sh -c 'read -r now _ </proc/uptime
                end=$((${now%%.*} + $0))
                while [ ${now%%.*} -lt $end ]; do read -r now _ </proc/uptime; done' $seconds
            ;;
        nic)
            network_down
            sleep 8
            network_up
            ;;
        unplug) network_down ;;
        flood) flood ;;
        corrupt)
            corrupt $site/index.html 22
            corrupt $site/1k.bin 100
            ;;
        restore)
            restore $site/index.html
            restore $site/1k.bin
            ;;
        *) echo "resh: no such fault" ;;
    esac
}

# The server logs each request below /fault/ to this pipe.
watch_faults() {
    while read -r line; do
        case $line in
            *"/fault/$name/"*)
                kind=${line#*"/fault/$name/"}
                fault "${kind%%[!a-z]*}" &
                ;;
        esac
    done
}

config=/etc/resh/server.conf
if [ "$faults" = 1 ]; then
    config=/etc/resh/faults.conf
    mkfifo /run/faults
    chmod 666 /run/faults
    watch_faults <>/run/faults &
fi

# Whether something listens at port 80 (0x50).
listens() {
    while read -r _ local _ state _; do
        [ "$local" != 00000000:0050 ] || [ "$state" != 0A ] || return 0
    done </proc/net/tcp
    return 1
}

serve &
server=$!
until listens; do
    kill -0 $server 2>/dev/null || break
    sleep 0.05
done
! listens || echo "resh: serving"
wait $server
status=$?
[ ! -f /run/resh/error.log ] || tail -n 3 /run/resh/error.log
stop "the web server ended with status $status"
