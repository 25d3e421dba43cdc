# SPDX-License-Identifier: Apache-2.0
. ./lib.sh
fresh_daemon
for i in 1 2 3 4 5 6 7 8; do tmctl add s$i node=$((i%2)) min=1M pool=2M; done
mkdir -p /run/systemd/system/taskmemd.service.d
printf '[Service]\nRestartSec=1ms\nRestartSteps=0\n' > /run/systemd/system/taskmemd.service.d/x.conf
systemctl daemon-reload
for i in 1 2 3 4; do
 t0=$(date +%s%N); kill -9 $(daemon_pid)
 until tmctl list >/dev/null 2>&1; do :; done
 t1=$(date +%s%N); echo "kill to answer $(((t1-t0)/1000000)) ms"
 systemctl show taskmemd -p ExecMainStartTimestampMonotonic -p ActiveEnterTimestampMonotonic -p InactiveExitTimestampMonotonic -p ActiveExitTimestampMonotonic -p InactiveEnterTimestampMonotonic
done
time tmctl list >/dev/null
journalctl -o short-monotonic -u taskmemd --no-pager | tail -30
if command -v strace; then
 printf '[Service]\nExecStart=\nExecStart=/usr/bin/strace -f -r -o /run/st.out /usr/sbin/taskmemd\nSystemCallFilter=\nNotifyAccess=all\nCapabilityBoundingSet=CAP_SYS_NICE CAP_SYS_PTRACE\n' > /run/systemd/system/taskmemd.service.d/y.conf
 systemctl daemon-reload; systemctl restart taskmemd; systemctl status taskmemd | head -20
 wc -l /run/st.out; cat /run/st.out
fi
systemd-analyze --no-pager blame 2>/dev/null | head -5
