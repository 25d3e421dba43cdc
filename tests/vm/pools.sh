# SPDX-License-Identifier: Apache-2.0
# Pools on a real kernel: pages lie on the slot's node and are charged to it, running out is an
# error, what is asked back comes back, and no end of a task or of the daemon leaks a page.
# takes: 45
. ./lib.sh
. ./task.bash
fresh_daemon
MIB=1048576

# free pages of the kernel on a node
pages_free() { cat "/sys/devices/system/node/node$1/hugepages/hugepages-2048kB/free_hugepages"; }
node_free_is() { [ "$(pages_free 1)" = "$1" ]; }
charge_is() { [ "$(cgroup "$1" hugetlb.2MB.current)" = $(($2 * MIB)) ]; }
owes() { [ "$(slot sink .poolOwedBytes)" = $(($1 * MIB)) ]; }

expect add tmctl add sink node=1 pool=32M
before=$(pages_free 1)
[ "$before" = 64 ] || fail "$before free pages on node 1 before anything ran"

say "pages are on the slot's node, of 2 MiB, charged to the slot"
task t1 sink
says t1 "attach 1 0" '.slot == "sink" and .node == 1 and .held == 16'
pid=$(jq .pid <<<"$reply")
says t1 "open 65536 0 0" '.error == null'
says t1 "take 512" '.buffers == 512 and .error == ""'
says t1 nodes '.nodes == [0, 8192, 0, 0] and .absent == 0'
says t1 check '.buffers == 512 and .bad == 0'
pools=$(tmctl show sink --pools --json)
jq -e ".slots[0].name == \"sink\" and .tasks[0].pid == $pid and .tasks[0].heldPages == 16 and
	(.tasks[0].pools | length == 1 and .[0].held == 512 and .[0].bufferBytes == 65536 and
	 .[0].idle == 0 and .[0].pages == 16)" <<<"$pools" >/dev/null || fail "tmctl show --pools: $pools"
tmctl show sink --pools | grep -q "pid $pid: 16 of 16 pages of 2M" || fail "$(tmctl show sink --pools)"
charge_is sink 32 || fail "charged: $(cgroup sink hugetlb.2MB.current)"
[ "$(cgroup sink hugetlb.2MB.numa_stat)" = "total=33554432 N0=0 N1=33554432" ] ||
	fail "numa_stat: $(cgroup sink hugetlb.2MB.numa_stat)"
map=$(grep memfd /proc/"$pid"/numa_maps)
[[ $map = *" N1=16 "* && $map != *" N0="* && $map = *kernelpagesize_kB=2048* ]] || fail "numa_maps: $map"
node_free_is $((before - 16)) || fail "$(pages_free 1) free, $before before"
[ "$(pages_free 0)" = 64 ] || fail "pages of node 0 were taken: $(pages_free 0) free"

say "running out of the share is an error"
says t1 "take 1" '.buffers == 512 and .error == "ETIMEDOUT"'
says t1 "free 512" '.buffers == 0'
says t1 close '.error == null'
says t1 "open 65536 513 0" '.error == "ENOBUFS"'
says t1 detach '.error == null'
charge_is sink 0 || fail "after detach: $(cgroup sink hugetlb.2MB.current)"
says t1 "attach 17 0" '.error == "ENOBUFS"'
node_free_is "$before" || fail "$(pages_free 1) free after a refused attach"

say "and so it is when the node's pages are taken by somebody else"
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
says t1 "attach 4 0" '.error == "ENOBUFS"'
says t1 "attach 1 0" '.held == 3'
says t1 "open 65536 0 0" '.error == null'
says t1 "take 512" '.buffers == 96 and .error == "ETIMEDOUT"'
says t1 check '.bad == 0'
kill -9 $thief
wait $thief 2>/dev/null
wait_for 5 "the thief's pages are back" node_free_is $((before - 3))
sleep 1.1 # after a refusal the library does not ask again within a second
says t1 "take 416" '.buffers == 512 and .error == ""'
says t1 nodes '.nodes == [0, 8192, 0, 0]'

say "a smaller share is owed, and given back as buffers are released"
expect set tmctl set sink pool=8M pool-max=8M
owes 24 || fail "owed: $(slot sink .poolOwedBytes)"
tmctl show sink | grep -q owed || fail "tmctl show does not tell what is owed"
charge_is sink 32 || fail "pages in use were taken away: $(cgroup sink hugetlb.2MB.current)"
says t1 check '.buffers == 512 and .bad == 0'
says t1 "free 64" '.buffers == 448'
wait_for 3 "4 MiB come back" charge_is sink 28
says t1 "drop 320" '.buffers == 128'
wait_for 3 "the rest comes back" charge_is sink 8
node_free_is $((before - 4)) || fail "$(pages_free 1) free, 4 held"
owes 0 || fail "still owed: $(slot sink .poolOwedBytes)"
[ "$(cgroup sink hugetlb.2MB.max)" = $((8 * MIB)) ] || fail "hugetlb.2MB.max $(cgroup sink hugetlb.2MB.max)"
says t1 check '.buffers == 128 and .bad == 0'

say "and grows again"
expect set tmctl set sink pool=32M pool-max=32M
says t1 "take 384" '.buffers == 512 and .error == ""'
says t1 check '.bad == 0'

say "the daemon is restarted, and killed, under a task that holds buffers"
for how in restart kill; do
	case $how in
	restart) systemctl restart taskmemd ;;
	kill) kill -9 "$(daemon_pid)" ;;
	esac
	wait_for 15 "the daemon is back after $how" daemon_is_up
	says t1 check '.buffers == 512 and .bad == 0'
	for _ in {1..40}; do
		ask t1 info
		[ "$(jq .connected <<<"$reply")" = 1 ] && break
		sleep 0.25
	done
	says t1 info '.connected == 1 and .chunks == 16 and .held == 512'
	[ "$(slot sink .poolGrantedBytes)" = $((32 * MIB)) ] || fail "after $how: $(tmctl show sink)"
	charge_is sink 32 || fail "after $how: $(cgroup sink hugetlb.2MB.current)"
	expect set tmctl set sink pool=16M pool-max=16M
	owes 16 || fail "after $how, owed: $(slot sink .poolOwedBytes)"
	says t1 "free 512" '.buffers == 0'
	wait_for 3 "pages come back after $how" charge_is sink 16
	node_free_is $((before - 8)) || fail "after $how: $(pages_free 1) free, 8 held"
	expect set tmctl set sink pool=32M pool-max=32M
	says t1 "take 512" '.buffers == 512 and .error == ""'
	says t1 nodes '.nodes == [0, 8192, 0, 0]'
done

say "a task killed while the daemon is away is noticed later"
systemctl stop taskmemd
kill -9 "$pid"
systemctl start taskmemd
wait_for 5 "its pages are free" node_free_is "$before"
charge_is sink 0 || fail "charged: $(cgroup sink hugetlb.2MB.current)"
task_ends t1

say "the daemon is killed while it hands out pages: they are the task's, or free"
# are_taken N: so many pages, and by the slot
are_taken() { node_free_is $((before - $1)) && charge_is sink $(($1 * 2)); }
# Also all that was asked for and no answer: then the kill came between the daemon's note that the
# task is told and the task, whose next attach takes them over.
are_right() { are_taken "$held" || { [ "$held" = 0 ] && are_taken 16; }; }
task t1 sink
says t1 info '.connected == 0' # it is there: joining the slot needs the daemon, too
n_cut=0
for delay in 0 0.005 0.015 0.04 0.3; do
	pid=$(daemon_pid)
	echo "attach 16 0" >&"${task_in[t1]}"
	[ $delay = 0 ] || pause $delay # a process would take longer to start than the daemon to answer
	kill -9 "$pid"
	read -r -t 30 -u "${task_out[t1]}" reply || fail "no answer to attach"
	echo "killed after $delay s: $reply"
	wait_for 15 "the daemon is back" daemon_is_up
	held=$(jq '.held // 0' <<<"$reply")
	wait_for 5 "the task's $held pages are all that is taken" are_right
	if [ "$held" = 0 ]; then
		n_cut=$((n_cut + 1))
		continue
	fi
	for _ in {1..40}; do
		ask t1 info
		[ "$(jq .connected <<<"$reply")" = 1 ] && break
		sleep 0.25
	done
	says t1 detach '.error == null'
	charge_is sink 0 || fail "after detach: $(cgroup sink hugetlb.2MB.current)"
done
[ $n_cut -gt 0 ] || fail "no attach was cut off: the delays are too long"
says t1 quit ''
task_ends t1

say "two tasks share a slot: what one can spare is the other's"
task t2 sink
says t2 "attach 1 0" '.held == 16'
task t3 sink
says t3 "attach 1 0" '.held == 8 and .target == 8'
says t2 info '.chunks == 8 and .target == 8'
says t3 "open 65536 0 0" '.error == null'
says t3 "take 256" '.buffers == 256 and .error == ""'
charge_is sink 32 || fail "charged: $(cgroup sink hugetlb.2MB.current)"
says t3 quit ''
wait_for 3 "the end of one frees its half" charge_is sink 16
says t2 "open 65536 0 0" '.error == null'
says t2 "take 512" '.buffers == 512 and .error == ""'

say "one that uses all of it keeps a second one out, with an error"
task t3 sink
says t3 "attach 1 0" '.error == "ENOBUFS"'
says t2 check '.buffers == 512 and .bad == 0'

say "kill -9 gives everything back"
kill -9 "${task_pids[t2]}"
wait_for 3 "pages of the killed task" charge_is sink 0
node_free_is "$before" || fail "$(pages_free 1) free"

say "a slot removed by force frees its pages"
says t3 "attach 16 0" '.held == 16'
refuse 1 tmctl rm sink
expect "rm --kill" tmctl rm sink --kill
wait_for 3 "pages of the removed slot" node_free_is "$before"
[ "$(tmctl --json list | jq '[.nodes[].hugePagesGranted] | add')" = 0 ] || fail "$(tmctl list)"
[ "$(systemctl show -P NFileDescriptorStore taskmemd)" = 0 ] ||
	fail "left in the fd store: $(systemctl show -P NFileDescriptorStore taskmemd)"
exit 0
