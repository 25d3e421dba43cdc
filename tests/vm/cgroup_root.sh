# SPDX-License-Identifier: Apache-2.0
# A host without systemd: the daemon is started by hand on a cgroup v2 directory that was delegated
# to it, and killed in the middle of changes. Slots, limits and the task stay, and the books agree.
# takes: 24
. ./lib.sh

root=/sys/fs/cgroup/byhand home=/run/byhand
slots=$root
export TASKMEM_SOCKET=$home/socket

answers() { tmctl list >/dev/null 2>&1; }
begin() {
	taskmemd --config $home/conf >>$home/log 2>&1 &
	daemon=$!
	wait_for 10 "the daemon answers: $(tail -n 3 $home/log)" answers
}
# books: each slot that is listed has its directory with its guarantee, and there is no other
books() {
	local listed found
	listed=$(tmctl --json list | jq -r '.slots[] | "\(.name) \(.minBytes) \(.maxBytes // "max")"' | sort)
	found=$(find $root -mindepth 2 -maxdepth 2 -type d | while read -r dir; do
		echo "${dir##*/} $(cat "$dir/memory.min") $(cat "$dir/memory.max")"
	done | sort)
	[ "$listed" = "$found" ] || fail "listed: $listed; in the kernel: $found"
}

all_off
rm -rf $home
mkdir -p $home/state $root
echo '+memory +cpuset +cpu +hugetlb' >/sys/fs/cgroup/cgroup.subtree_control || fail "no controllers"
cat >$home/conf <<-EOT
	[daemon]
	cgroup_root=$root
	state_directory=$home/state
	socket=$TASKMEM_SOCKET
	[node default]
	budget=400M
	hugepages=16
EOT

say "slots in the directory"
begin
[ "$(tmctl --json info | jq -r .cgroupPath)" = /byhand ] || fail "at $(tmctl --json info | jq -r .cgroupPath)"
expect add tmctl add a node=0 min=16M max=128M weight=300 pool=4M
expect add tmctl add b node=1 min=8M
expect add tmctl add wide node=any max=64M
tmctl run a -- sleep 1000 &
is_task_in() { [ -n "$(cgroup a cgroup.procs)" ]; }
wait_for 10 "the task is in" is_task_in
task=$(cgroup a cgroup.procs)
[ "$(cgroup a cpuset.mems)" = 0 ] || fail "a is on node $(cgroup a cpuset.mems)"
books

say "kill -9 while slots are made and changed"
for round in 1 2 3; do
	for i in 1 2 3 4; do
		tmctl add "r$round-$i" node=$((i % 2)) min=1M && tmctl set "r$round-$i" min=2M max=32M
	done >/dev/null 2>&1 &
	changes=$!
	sleep 0.$((RANDOM % 8))
	kill -9 $daemon
	wait $daemon $changes 2>/dev/null
	begin
	books
	[ "$(slot a '[.weight, .poolMinBytes] | tojson')" = '[300,4194304]' ] || fail "a: $(tmctl --json show a)"
	[ "$(cgroup a cgroup.procs)" = "$task" ] || fail "the task is not in its slot"
done
tmctl list

say "without a unit the next daemon thaws what the last one had frozen, and nothing else"
freeze_as_daemon $root/node0/a pause
echo 1 >$root/node1/b/cgroup.freeze
kill -9 $daemon
wait $daemon 2>/dev/null
begin
[ "$(cgroup a cgroup.freeze)" = 0 ] || fail "a is still frozen"
[ "$(cgroup b cgroup.freeze)" = 1 ] || fail "b, which was frozen by hand, is thawed"
grep "slot a is thawed: it was found frozen" $home/log || fail "nobody tells of it: $(tail $home/log)"
echo 0 >$root/node1/b/cgroup.freeze

say "a daemon that stood still does not make up for the time"
before=$(loop_turns turns)
kill -STOP $daemon
sleep 10
kill -CONT $daemon
turns=$(($(loop_turns turns) - before)) # four timers would have come forty times
echo "$turns turns of the loop"
[ $turns -lt 30 ] || fail "$turns turns of the loop, at once"

say "it ends when it is told to, and leaves what is there"
kill $daemon
wait $daemon || fail "the daemon ended with status $?"
[ "$(cgroup a memory.min)" = $((16 << 20)) ] && [ "$(cgroup a cgroup.procs)" = "$task" ] || fail "a is not left alone"
begin
books
for name in $(tmctl --json list | jq -r '.slots[].name'); do expect rm tmctl rm "$name" --kill; done
books
kill $daemon
wait $daemon
find $root -depth -type d -exec rmdir {} + || fail "the directory cannot be removed"
exit 0
