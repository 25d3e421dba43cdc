. ./lib.sh
fresh_daemon
d=/run/systemd/system/taskmemd.service.d; mkdir -p $d
for i in 1 2 3 4 5 6 7 8; do tmctl add s$i node=$((i%2)) min=1M pool=2M >/dev/null; done
measure() { for i in 1 2 3; do rm -f /run/up; t0=$(cut -d' ' -f1 /proc/uptime); systemctl restart taskmemd; t1=$(cut -d' ' -f1 /proc/uptime); echo "$1: restart $t0 exec $(cat /run/up 2>/dev/null) ready $t1"; done; }
printf '[Service]\nExecStart=\nExecStart=/bin/sh -c "cut -d\\" \\" -f1 /proc/uptime >/run/up; exec /usr/sbin/taskmemd"\nReadWritePaths=/run\n' > $d/a.conf; systemctl daemon-reload
measure sandboxed
printf '[Service]\nSystemCallFilter=\n' > $d/b.conf; systemctl daemon-reload; measure nofilter
rm $d/*
systemctl daemon-reload
time /usr/sbin/taskmemd --version
time /usr/sbin/taskmemd --version
systemctl restart taskmemd
rm -rf /run/st.*
systemctl stop taskmemd
NOTIFY_SOCKET= strace -f -c -o /run/st.c timeout -s KILL 5 /usr/sbin/taskmemd & sleep 5.5; head -30 /run/st.c
mkdir -p /run/taskmem
strace -r -e trace=%file,socket,connect,sendmsg,sendto,recvmsg,poll,ppoll,epoll_wait,fsync,clone,clone3,wait4 -o /run/st.r timeout -s KILL 5 /usr/sbin/taskmemd & sleep 5.5; 
strace -w -c -f -o /run/st.w timeout -s KILL 5 /usr/sbin/taskmemd & sleep 5.5; head -20 /run/st.w; cat /run/st.r | cut -c1-150
