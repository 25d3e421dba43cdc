# SPDX-License-Identifier: Apache-2.0
# A machine whose huge pages somebody else has: a task is refused, or gets transparent ones where the
# configuration allows it. Those lie on the slot's node, are on top of its limits and in no number of
# it, outlive the daemon, and their memory is free when they are given back.
# takes: 20
. ./lib.sh
. ./task.bash
MIB=1048576
shmem=/sys/kernel/mm/transparent_hugepage/shmem_enabled
mode=$(sed 's/.*\[\(.*\)\].*/\1/' $shmem)
trap 'echo "$mode" >$shmem' EXIT

pages_free() { cat "/sys/devices/system/node/node$1/hugepages/hugepages-2048kB/free_hugepages"; }
node_free_is() { [ "$(pages_free 1)" = "$1" ]; }
# at_most SLOT FILE MIB: what the kernel's file says
at_most() { [ "$(cgroup "$1" "$2")" -le $(($3 * MIB)) ]; }
node1() { tmctl --json list | jq -r ".nodes[] | select(.node == 1) | $1"; }
task1() { tmctl --json show sink --pools | jq -r ".tasks[0] | $1"; }
# limits_are MIB: of sink with so much of its pool charged as memory
limits_are() {
	[ "$(cgroup sink memory.min)" = $(((16 + $1) * MIB)) ] || fail "memory.min $(cgroup sink memory.min), $1 MiB apart"
	[ "$(cgroup sink memory.max)" = $(((48 + $1) * MIB)) ] || fail "memory.max $(cgroup sink memory.max), $1 MiB apart"
}
reconnects() {
	ask t1 info
	[ "$(jq .connected <<<"$reply")" = 1 ]
}

echo advise >$shmem || fail "this kernel has no transparent huge pages for files"
fresh_daemon
expect add tmctl add sink node=1 min=16M max=48M pool=32M revoke=force revoke-deadline=300ms
python3 - 61 <<-'PY' &
	import ctypes, mmap, os, signal, sys
	libc = ctypes.CDLL(None, use_errno=True)
	mask = ctypes.c_ulong(2)
	if libc.syscall(238, 2, ctypes.byref(mask), 64):  # set_mempolicy, MPOL_BIND, node 1
	    sys.exit("set_mempolicy")
	size = int(sys.argv[1]) << 21
	m = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)
	for at in range(0, size, 1 << 21):
	    m[at] = 1
	open("/run/thief", "w")
	signal.pause()
PY
thief=$!
wait_for 20 "the pages are taken" test -e /run/thief
node_free_is 3 || fail "$(pages_free 1) free beside the thief"

say "without the fallback a task is refused"
task t1 sink
says t1 "attach 4 0" '.error == "ENOBUFS"'
says t1 "attach 1 0" '.held == 3'
[ "$(slot sink .pages)" = huge ] || fail "pages: $(slot sink .pages)"
tmctl show sink --pools | grep -q '3 of 16 pages of 2M huge' || fail "$(tmctl show sink --pools)"
says t1 detach '.error == null'
tmctl doctor | grep -q '2M huge ones only' || fail "$(tmctl doctor)"

say "with it the task has all it is guaranteed, and every listing says of what"
printf '[daemon]\npages=huge-or-transparent\n[node default]\nbudget=400M\nhugepages=64\n' >/etc/taskmem/taskmemd.conf
systemctl restart taskmemd
wait_for 15 "the daemon is back" daemon_is_up
tmctl doctor | grep -q 'transparent ones where those run short; shmem_enabled: advise' || fail "$(tmctl doctor)"
limits_are 0
says t1 "attach 4 0" '.held == 16'
pid=$(jq .pid <<<"$reply")
[ "$(slot sink .pages)" = transparent ] || fail "pages: $(slot sink .pages)"
[ "$(slot sink .poolTransparentBytes)" = $((32 * MIB)) ] || fail "$(tmctl --json show sink)"
[ "$(node1 .transparentGranted)" = 16 ] || fail "$(tmctl --json list)"
[ "$(task1 .pages)" = transparent ] || fail "$(tmctl --json show sink --pools)"
tmctl list | grep -q 'sink.*32M/32M transparent ' || fail "$(tmctl list)"
tmctl show sink | grep -q 'transparent, 32M of 32M are huge' || fail "$(tmctl show sink)"
tmctl show sink --pools | grep -q '16 of 16 pages of 2M transparent (16 of them huge)' ||
	fail "$(tmctl show sink --pools)"
tmctl metrics | grep -q '^taskmem_slot_pool_transparent_bytes{slot="sink".* 33554432$' ||
	fail "$(tmctl metrics | grep pool)"

say "they are on the slot's node, mapped huge, on top of its memory, and no huge page is gone"
says t1 "open 65536 0 0" '.error == null'
says t1 "take 512" '.buffers == 512 and .error == ""'
says t1 nodes '.nodes == [0, 8192, 0, 0] and .absent == 0'
says t1 check '.buffers == 512 and .bad == 0'
map=$(grep memfd:grant /proc/"$pid"/numa_maps)
[[ $map = *" N1="* && $map != *" N0="* ]] || fail "numa_maps: $map"
mapped=$(awk '/memfd:grant/ { on = 1 } on && /^ShmemPmdMapped/ { print $2; exit }' /proc/"$pid"/smaps)
[ "$mapped" = 32768 ] || fail "$mapped kB of 32768 are mapped as huge pages"
node_free_is 3 || fail "$(pages_free 1) huge pages free"
[ "$(cgroup sink hugetlb.2MB.current)" = 0 ] || fail "charged: $(cgroup sink hugetlb.2MB.current)"
at_most sink memory.current 31 && fail "memory.current $(cgroup sink memory.current)"
[ "$(slot sink .usageBytes)" -lt $((16 * MIB)) ] || fail "usage: $(slot sink .usageBytes)"
limits_are 32
says t1 "take 1" '.buffers == 512 and .error == "ETIMEDOUT"'

say "the daemon is restarted, and killed, and they stay what they are"
for how in restart kill; do
	case $how in
	restart) systemctl restart taskmemd ;;
	kill) kill -9 "$(daemon_pid)" ;;
	esac
	wait_for 15 "the daemon is back after $how" daemon_is_up
	wait_for 10 "the task reconnects after $how" reconnects
	says t1 check '.buffers == 512 and .bad == 0'
	tmctl show sink --pools | grep -q '16 of 16 pages of 2M transparent (16 of them huge)' ||
		fail "after $how: $(tmctl show sink --pools)"
	[ "$(slot sink .usageBytes)" -lt $((16 * MIB)) ] || fail "usage after $how: $(slot sink .usageBytes)"
	limits_are 32
done

say "what is given back is free memory"
says t1 "free 512" '.buffers == 0'
before=$(cgroup sink memory.current)
expect set tmctl set sink pool=8M pool-max=8M
wait_for 3 "24 MiB come back" slot_is sink .poolGrantedBytes $((8 * MIB))
now=$(cgroup sink memory.current)
close_to $((before - now)) $((24 * MIB)) 10 || fail "memory.current $before, $now after"
wait_for 3 "max follows" at_most sink memory.max 56
limits_are 8
expect set tmctl set sink pool=32M pool-max=32M
says t1 "take 512" '.buffers == 512 and .error == ""'
says t1 check '.bad == 0'
limits_are 32

say "what cannot be taken by force costs the process its life, and is told"
expect set tmctl set sink pool=8M pool-max=8M
task_ends t1
[ "$status" = 137 ] || fail "the task ended with $status"
journalctl -u taskmemd --no-pager -o cat | grep -q 'transparent pages cannot be taken from a process' ||
	fail "$(journalctl -u taskmemd --no-pager -o cat | tail -n 5)"
wait_for 3 "its memory is free" at_most sink memory.current 8
wait_for 3 "max follows" at_most sink memory.max 48
limits_are 0
[ "$(node1 .transparentGranted)" = 0 ] || fail "$(tmctl --json list)"

say "of 4 KiB where the kernel is not to make them huge, and that is said, too"
echo never >$shmem
tmctl doctor | grep -q 'transparent ones are of 4K now' || fail "$(tmctl doctor)"
expect set tmctl set sink pool=32M pool-max=32M
task t2 sink
says t2 "attach 4 0" '.held == 16'
tmctl show sink --pools | grep -q '16 of 16 pages of 2M transparent (0 of them huge)' ||
	fail "$(tmctl show sink --pools)"
says t2 detach '.error == null'

say "once there are huge pages again they are taken first"
kill -9 $thief
wait $thief 2>/dev/null
wait_for 5 "the thief's pages are back" node_free_is 64
says t2 "attach 4 0" '.held == 16'
[ "$(slot sink .pages)" = huge ] || fail "pages: $(slot sink .pages)"
node_free_is 48 || fail "$(pages_free 1) huge pages free"
limits_are 0
says t2 quit ''
task_ends t2
all_off
exit 0
