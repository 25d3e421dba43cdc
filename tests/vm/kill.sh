# SPDX-License-Identifier: Apache-2.0
# kill -9 of the daemon at random points, a hundred times: no task dies, no slot, limit or page
# is lost, and what was not answered can be asked again. Then a state file that was damaged.
. ./lib.sh
storm=/usr/libexec/taskmem/vm_storm
kills=${KILLS:-100}
seed=${SEED:-$RANDOM$RANDOM}

# systemd would wait longer from kill to kill
dropin=/run/systemd/system/taskmemd.service.d
mkdir -p $dropin
printf '[Service]\nRestartSec=1ms\nRestartSteps=0\nRestartMaxDelaySec=infinity\n' >$dropin/kill-test.conf
systemctl daemon-reload
fresh_daemon
trap 'rm -f '$dropin'/kill-test.conf; systemctl daemon-reload' EXIT

free_pages() { cat /sys/devices/system/node/node*/hugepages/hugepages-2048kB/free_hugepages | xargs; }
stored_fds() { systemctl show -P NFileDescriptorStore taskmemd.service; }

say "$kills kills, seed $seed (SEED=$seed KILLS=$kills repeats the choices)"
expect "the storm" $storm "$kills" "$seed"

say "nothing is left behind"
[ "$(free_pages)" = "64 64" ] || fail "free huge pages: $(free_pages), not 64 64"
wait_for 5 "the fd store is empty" test "$(stored_fds)" = 0
exit 0
