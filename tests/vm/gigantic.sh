# SPDX-License-Identifier: Apache-2.0
# Pages of 1 GiB: a pool that is guaranteed whole ones has them where the node does, on that node and
# on the slot's charge, and every listing says so; a pool that can be lent, that is of another size or
# comes too late has not. They outlive the daemon, are free when the task goes, and when somebody
# else has taken them the pool is of 2 MiB pages, or is refused.
# Of its 2.5 GiB node 1 has one whole GiB, at 4 GiB, that nothing else lies in at boot.
# vm: memory=5120 hugepages=1:512 append=nokaslr append=default_hugepagesz=1G append=hugepages=0:1,1:1
# takes: 30
. ./lib.sh
. ./task.bash
MIB=1048576
GIB=$((1024 * MIB))

free_1g() { cat "/sys/devices/system/node/node$1/hugepages/hugepages-1048576kB/free_hugepages"; }
free_1g_is() { [ "$(free_1g "$1")" = "$2" ]; }
node1() { tmctl --json list | jq -c ".nodes[] | select(.node == 1) | $1"; }
reconnects() {
	ask "$1" info
	[ "$(jq .connected <<<"$reply")" = 1 ]
}
journal_says() { journalctl -u taskmemd --no-pager -o cat | grep -q "$1" || fail "no \"$1\" in $(journalctl -u taskmemd --no-pager -o cat | tail -n 8)"; }
# thief NODE: somebody outside of all slots takes a page of 1 GiB there
thief() {
	rm -f /run/thief
	python3 - "$1" <<-'PY' &
		import ctypes, mmap, signal, sys
		libc = ctypes.CDLL(None, use_errno=True)
		mask = ctypes.c_ulong(1 << int(sys.argv[1]))
		if libc.syscall(238, 2, ctypes.byref(mask), 64):  # set_mempolicy, MPOL_BIND
		    sys.exit("set_mempolicy")
		m = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000 | 30 << 26)
		m[0] = 1
		open("/run/thief", "w")
		signal.pause()
	PY
	thief=$!
	wait_for 20 "the page is taken" test -e /run/thief
}
ends() {
	kill -9 "$1"
	wait "$1" 2>/dev/null
}

free_1g_is 1 1 || fail "node 1 has $(free_1g 1) pages of 1 GiB: $(cat /proc/cmdline)"
on_node0=$(free_1g 0)
fresh_daemon <<-'EOF'
	[node default]
	budget=50%
	[node 0]
	hugepages=16
	gigantic=0
	[node 1]
	hugepages=512
EOF

say "which pools are of them is decided with the promise, and shown"
tmctl doctor | grep -q '1G huge pages on node 1.*1 of 1 GiB, 1 free' || fail "$(tmctl doctor)"
[ "$(node1 '[.giganticPages, .giganticPagesFree, .giganticPagesPromised, .hugePages]')" = '[1,1,0,512]' ] ||
	fail "$(tmctl --json list)"
refuse 6 tmctl add zero node=0 pool=1G # not those that the configuration leaves to others
expect add tmctl add lent node=1 pool-max=1G
expect add tmctl add sink node=1 pool=1G
expect add tmctl add late node=1 pool=1G
[ "$(slot lent .poolPageBytes) $(slot sink .poolPageBytes) $(slot late .poolPageBytes)" = "$((2 * MIB)) $GIB $((2 * MIB))" ] ||
	fail "$(tmctl --json list)"
refuse 6 tmctl add more node=1 pool=2M
[ "$(cgroup sink hugetlb.1GB.max) $(cgroup sink hugetlb.2MB.max)" = "$GIB 0" ] ||
	fail "sink: $(cgroup sink hugetlb.1GB.max hugetlb.2MB.max)"
[ "$(cgroup late hugetlb.1GB.max) $(cgroup late hugetlb.2MB.max)" = "0 $GIB" ] ||
	fail "late: $(cgroup late hugetlb.1GB.max hugetlb.2MB.max)"
tmctl list >/run/list
grep -q 'sink.*0/1G 1G huge' /run/list && grep -q '^node 1: 1 pages of 1G huge, 0 granted, 1 promised, 1 free$' /run/list ||
	fail "$(cat /run/list)"

say "a task has one page of 1 GiB, on the slot's node and on its charge"
task t1 sink
says t1 "attach 4 0" '.held == 512 and .target == 512'
pid=$(jq .pid <<<"$reply")
says t1 "open 1048576 0 0" '.error == null'
says t1 "take 16" '.buffers == 16 and .error == ""'
says t1 nodes '.nodes == [0, 4096, 0, 0] and .absent == 0'
says t1 "take 1008" '.buffers == 1024 and .error == ""'
says t1 check '.buffers == 1024 and .bad == 0'
map=$(grep memfd:grant /proc/"$pid"/numa_maps)
[[ $map = *" N1=1 "* && $map != *" N0="* && $map = *" kernelpagesize_kB=1048576"* ]] || fail "numa_maps: $map"
free_1g_is 1 0 && free_1g_is 0 "$on_node0" || fail "$(free_1g 0) and $(free_1g 1) pages are free"
[ "$(cgroup sink hugetlb.1GB.current) $(cgroup sink hugetlb.2MB.current)" = "$GIB 0" ] ||
	fail "charged: $(cgroup sink hugetlb.1GB.current hugetlb.2MB.current)"
[[ $(cgroup sink hugetlb.1GB.numa_stat) = *"N1=$GIB"* ]] || fail "$(cgroup sink hugetlb.1GB.numa_stat)"

say "every listing says of what it is"
[ "$(slot sink .pages) $(slot sink .poolGiganticBytes)" = "gigantic $GIB" ] || fail "$(tmctl --json show sink)"
tmctl show sink >/run/show
grep -q 'pages  *1  *1G huge' /run/show && grep -q 'hugetlb.1GB.current  *1G' /run/show ||
	fail "$(cat /run/show)"
tmctl show sink --pools | grep -q '1 of 1 pages of 1G huge' || fail "$(tmctl show sink --pools)"
tmctl list | grep -q 'sink.*1G/1G 1G huge' || fail "$(tmctl list)"
tmctl list | grep -q '^node 1: 1 pages of 1G huge, 1 granted, 1 promised, 0 free$' || fail "$(tmctl list)"
tmctl metrics | grep -q '^taskmem_slot_pool_gigantic_bytes{slot="sink".* 1073741824$' ||
	fail "$(tmctl metrics | grep pool)"
[ "$(node1 '[.hugePagesGranted, .hugePagesPromised]')" = '[0,512]' ] || fail "$(tmctl --json list)"

say "it is the task's until it goes: nothing is asked back, others of the slot are refused"
refuse 6 tmctl set sink pool-max=2G
refuse 6 tmctl set sink pool=512M pool-max=512M
refuse 6 tmctl set sink pool=2G pool-max=2G
expect set tmctl set sink weight=300
task t2 sink
says t2 "attach 1 0" '.error == "ENOBUFS"'
says t1 info '.chunks == 512 and .target == 512'

say "the daemon is restarted, and killed, and the page stays"
for how in restart kill; do
	case $how in
	restart) systemctl restart taskmemd ;;
	kill) kill -9 "$(daemon_pid)" ;;
	esac
	wait_for 15 "the daemon is back after $how" daemon_is_up
	wait_for 10 "the task reconnects after $how" reconnects t1
	says t1 check '.buffers == 1024 and .bad == 0'
	tmctl show sink --pools | grep -q '1 of 1 pages of 1G huge' || fail "after $how: $(tmctl show sink --pools)"
	free_1g_is 1 0 || fail "after $how a page is free"
done

say "it is free when the task detaches, or is killed, and the next task has it"
says t1 "free 1024" '.buffers == 0'
says t1 close '.error == null'
says t1 detach '.error == null'
wait_for 2 "the page is free after detach" free_1g_is 1 1
says t2 "attach 1 0" '.held == 512'
pid=$(jq .pid <<<"$reply")
free_1g_is 1 0 || fail "$(free_1g 1) pages are free"
kill -9 "$pid"
task_ends t2
wait_for 3 "the page is free after a kill" free_1g_is 1 1
[ "$(cgroup sink hugetlb.1GB.current)" = 0 ] || fail "charged: $(cgroup sink hugetlb.1GB.current)"

say "a task that maps one by itself where none was promised finds none"
tmctl run late -- python3 -c 'import mmap
mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000 | 30 << 26)' 2>/run/why &&
	fail "it could"
grep -q 'Cannot allocate memory' /run/why || fail "$(cat /run/why)"

say "somebody else has it: refused, for the 2 MiB pages are promised"
thief 1
says t1 "attach 1 0" '.error == "ENOBUFS"'
[ "$(slot sink .poolPageBytes)" = $GIB ] || fail "$(tmctl --json show sink)"

say "of 2 MiB pages once those are nobody's, and that is said"
expect rm tmctl rm late
says t1 "attach 1 0" '.held == 512'
journal_says 'the pool of slot sink is not of 1G huge pages any more: it takes 1, and node 1 has 0 free'
[ "$(slot sink .pages) $(slot sink .poolPageBytes)" = "huge $((2 * MIB))" ] || fail "$(tmctl --json show sink)"
tmctl show sink --pools | grep -q '512 of 512 pages of 2M huge' || fail "$(tmctl show sink --pools)"
[ "$(cgroup sink hugetlb.1GB.max) $(cgroup sink hugetlb.2MB.current)" = "0 $GIB" ] ||
	fail "sink: $(cgroup sink hugetlb.1GB.max hugetlb.2MB.current)"
says t1 detach '.error == null'

say "and of a 1 GiB page again when there is one"
ends $thief
wait_for 3 "the thief's page is back" free_1g_is 1 1
says t1 "attach 1 0" '.held == 512'
[ "$(slot sink .pages)" = gigantic ] || fail "$(tmctl --json show sink)"
journal_says 'the pool of slot sink is of 1G huge pages from now on: node 1 has the 1 that it takes'
says t1 quit ''
task_ends t1
wait_for 3 "the page is free at the end" free_1g_is 1 1
all_off
exit 0
