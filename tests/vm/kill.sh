# SPDX-License-Identifier: Apache-2.0
# kill -9 of the daemon at random points, a hundred times: no task dies, no slot, limit or page
# is lost, and what was not answered can be asked again. Then a state file that was damaged.
# takes: 135 busy
# timeout: 600
. ./lib.sh
storm=/usr/libexec/taskmem/vm_storm
kills=${KILLS:-100}
seed=${SEED:-$RANDOM$RANDOM}

# systemd would wait longer from kill to kill
dropin=/run/systemd/system/taskmemd.service.d
mkdir -p $dropin
printf '[Service]\nRestartSec=1ms\nRestartSteps=0\nRestartMaxDelaySec=infinity\n' >$dropin/kill-test.conf
trap 'rm -f '$dropin'/{kill-test,unlocked}.conf; systemctl daemon-reload' EXIT

# unlock: out of the sandbox, which systemd needs twice as long to set up as the daemon to start, and
# which leaves nothing behind that a kill could damage
unlock() {
	printf '%s\n' '[Service]' \
		Protect{System,Home,Clock,Hostname,KernelLogs,KernelModules,KernelTunables}=no \
		Private{Tmp,Devices,Network,IPC}=no ProtectProc=default KeyringMode=inherit DevicePolicy=auto \
		MemoryDenyWriteExecute=no RestrictRealtime=no LockPersonality=no ReadWritePaths= \
		RestrictAddressFamilies= IPAddressDeny= SystemCallArchitectures= SystemCallFilter= \
		>$dropin/unlocked.conf
	systemctl daemon-reload
}

free_pages() { cat /sys/devices/system/node/node*/hugepages/hugepages-2048kB/free_hugepages | xargs; }
stored_fds() { systemctl show -P NFileDescriptorStore taskmemd.service; }
is_store_empty() { [ "$(stored_fds)" = 0 ]; }

# kill_it TIMES: of a fresh daemon, which ends by no other hand and leaves nothing behind
kill_it() {
	local began other
	fresh_daemon
	sleep 1
	began=$(date +%s) # other tests' ends of the daemon are in the journal, too
	expect "the storm" $storm "$1" "$seed"
	other=$(journalctl --sync && journalctl -o cat -u taskmemd --since=@$began | grep 'Main process exited' | grep -v '9/KILL')
	[ -z "$other" ] || fail "$other"
	[ "$(free_pages)" = "64 64" ] || fail "free huge pages: $(free_pages), not 64 64"
	wait_for 5 "the fd store is empty" is_store_empty
}

unlock
say "$((kills - kills / 20)) kills out of the sandbox, seed $seed (SEED=$seed KILLS=$kills repeats the choices)"
kill_it $((kills - kills / 20))
rm $dropin/unlocked.conf
systemctl daemon-reload
say "$((kills / 20)) kills in it"
kill_it $((kills / 20))

# What was asked of all slots
policies() {
	tmctl --json list | jq -S '[.slots[] | {name, node, owner, weight, tier, minBytes, maxBytes,
		poolMinBytes, poolMaxBytes}]'
}

# flip FILE: one bit in the middle
flip() {
	local at=$(($(stat -c %s "$1") / 2)) byte
	byte=$(od -An -tu1 -j $at -N1 "$1")
	printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek=$at conv=notrunc status=none
}

set_aside() { journalctl --sync && journalctl -o cat -t taskmemd MESSAGE_ID=c267527702684618ba336f5327b836d9 | wc -l; }

again() {
	local old
	old=$(daemon_pid)
	kill -9 "$old"
	wait_for 20 "the daemon is back" daemon_is_back "$old"
}
daemon_is_back() { [ "$(daemon_pid)" != "$1" ] && daemon_is_up; }

say "a damaged state file is set aside and the slots come from their cgroups"
state=/var/lib/taskmem/state.json
expect add tmctl add even node=0 weight=300 tier=2 min=8M max=256M pool=8M pool-max=16M owner=65534
expect add tmctl add odd node=1 tier=0 min=1M
expect add tmctl add wide node=any max=64M
tmctl run odd -- sleep 1000 &
is_task_in() { [ -n "$(cgroup odd cgroup.procs)" ]; }
wait_for 10 "the task is in" is_task_in
task=$(cgroup odd cgroup.procs)
before=$(policies)
n=0 said=$(set_aside)
for damage in "truncate -s -1" "truncate -s 20" "truncate -s 0" flip; do
	$damage $state
	cp $state /run/damaged
	n=$((n + 1))
	again
	after=$(policies)
	[ "$before" = "$after" ] || fail "after $damage: $(diff <(echo "$before") <(echo "$after"))"
	cmp /run/damaged $state.bad-$n || fail "$damage: the file was not kept as it was"
	[ "$(set_aside)" = $((said + n)) ] || fail "$damage: the journal does not say that it was set aside"
	[ "$(cgroup odd cgroup.procs)" = "$task" ] || fail "$damage: the task is not in its slot"
done
again
[ "$before" = "$(policies)" ] || fail "the new state file is not the old one"
[ ! -e $state.bad-$((n + 1)) ] || fail "the new state file was set aside, too"
exit 0
