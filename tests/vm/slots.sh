# SPDX-License-Identifier: Apache-2.0
# Slots by tmctl: what is asked is in the kernel's files, refusals have numbers, state survives.
# takes: 23
. ./lib.sh
fresh_daemon

say "add, and what the kernel says"
expect add tmctl add ingest node=0 weight=100 min=8M pool=32M pool-max=64M
expect add tmctl add join node=0 weight=300 max=256M
expect add tmctl add sink node=1 pool=16M
expect add tmctl add wide node=any min=1M
[ "$(cgroup ingest memory.min)" = $((8 << 20)) ] || fail "memory.min $(cgroup ingest memory.min)"
[ "$(cgroup join memory.max)" = $((256 << 20)) ] || fail "memory.max $(cgroup join memory.max)"
[ "$(cgroup sink cpuset.mems)" = 1 ] || fail "cpuset.mems $(cgroup sink cpuset.mems)"
[ "$(cgroup ingest memory.low)" = "$(slot ingest .kernelLowBytes)" ] || fail "memory.low"
[ "$(cgroup ingest hugetlb.2MB.max)" = "$(slot ingest .poolMinBytes)" ] || fail "hugetlb.2MB.max"
tmctl list
names=$(tmctl --json list | jq -r '[.slots[].name] | join(" ")')
[ "$names" = "ingest join sink wide" ] || fail "listed: $names"

say "the same again is no error, other settings are"
expect "add again" tmctl add join node=0 weight=300 max=256M
refuse 1 tmctl add join node=0 weight=5

say "refusals name the number"
message=$(tmctl add huge node=0 min=1G 2>&1)
[ $? -eq 6 ] || fail "a guarantee beyond the budget: status $?"
[[ $message = *392M* ]] || fail "no number in: $message"
refuse 6 tmctl add pages node=0 pool=1G
refuse 2 tmctl add bad weight=many
refuse 2 tmctl set join wieght=3
refuse 5 tmctl set nobody weight=3
refuse 5 tmctl show nobody

say "set on the fly"
expect set tmctl set join weight=100
[ "$(slot join .weight)" = 100 ] || fail weight
[ "$(cgroup join memory.low)" -lt $((256 << 20)) ] || fail "the share did not shrink"

say "a foreign writer is put right and reported"
echo 4096 >"$(echo $slots/*/join/memory.low)"
wait_for 15 "memory.low is written back" slot_is join '.shareBytes - .kernelLowBytes < 4096' true
wait_for 5 "the event" sh -c 'tmctl events | grep -q foreign'
file_is() { [ "$(cat "$1")" = "$2" ]; }
before=$(cat $slots/node0/memory.max)
echo 64M >$slots/node0/join/memory.max
echo 96M >$slots/node0/ingest/memory.high
echo max >$slots/node0/memory.max
wait_for 15 "memory.max is written back" file_is $slots/node0/join/memory.max $((256 << 20))
wait_for 15 "memory.high is written back" file_is $slots/node0/ingest/memory.high max
wait_for 15 "the node's is, too" file_is $slots/node0/memory.max "$before"
wait_for 5 "memory.max in the event" sh -c 'tmctl events | grep -q "memory.max of slot join to 64M; back to 256M"'
wait_for 5 "memory.high in the event" sh -c 'tmctl events | grep -q "memory.high of slot ingest to 96M; back to max"'
wait_for 5 "the node's in the event" sh -c 'tmctl events | grep -q "memory.max of the slots of node 0 to max"'

say "restart, kill -9, stop and start keep slots and limits"
before=$(tmctl --json list | jq -S '[.slots[] | del(.usageBytes, .memoryNodes, .class, .reason, .demandBytes)]')
for how in restart kill stop; do
	case $how in
	restart) systemctl restart taskmemd ;;
	kill) kill -9 "$(daemon_pid)" ;;
	stop) systemctl stop taskmemd && systemctl start taskmemd ;;
	esac
	wait_for 15 "the daemon is back after $how" daemon_is_up
	after=$(tmctl --json list | jq -S '[.slots[] | del(.usageBytes, .memoryNodes, .class, .reason, .demandBytes)]')
	[ "$before" = "$after" ] || fail "after $how: $(diff <(echo "$before") <(echo "$after"))"
done

say "journal fields"
journalctl -o json -t taskmemd TASKMEM_SLOT=join | jq -r .MESSAGE_ID | grep -q ade0b82be9064fe8821b16741fd2ad2e ||
	fail "no MESSAGE_ID of slot-added for slot join"

say "remove"
expect rm tmctl rm join
[ ! -e $slots/node0/join ] || fail "the cgroup is still there"
refuse 5 tmctl rm join

say "a busy slot is not removed, unless its processes may be killed"
tmctl run sink -- sleep 300 &
wait_for 10 "the task is in" sh -c '[ "$(cat '$slots'/node1/sink/cgroup.procs | wc -l)" = 1 ]'
refuse 1 tmctl rm sink
expect "rm --kill" tmctl rm sink --kill
[ ! -e $slots/node1/sink ] || fail "the cgroup is still there"
say "a node that a slot without a node has all of still takes slots of its own, and tasks in them"
fresh_daemon
expect add tmctl add wide node=any tier=0
expect add tmctl add own node=1 tier=1
expect run tmctl run own -- true

say "a slot that names no node is placed anew when a task starts in it, one that does is not"
fresh_daemon
expect add tmctl add roams max=300M
expect add tmctl add stays node=0
expect add tmctl add crowd node=0 min=300M
[ "$(slot roams '.node, .nodeAuto' | xargs)" = "0 true" ] || fail "roams: $(slot roams '.node, .nodeAuto')"
tmctl run roams -- sleep 300 &
wait_for 10 "the task is on node 1" sh -c '[ "$(cat '$slots'/node1/roams/cgroup.procs | wc -l)" = 1 ]'
expect run tmctl run stays -- true
[ "$(slot stays '.node, .nodeAuto' | xargs)" = "0 false" ] || fail "stays was moved"
[ ! -e $slots/node0/roams ] || fail "the old cgroup of roams is still there"
[ "$(cgroup roams cpuset.mems memory.max | xargs)" = "1 $((300 << 20))" ] || fail "limits of roams"
tmctl events | grep -q 'slot-placed.*roams' || fail "no event of the placement"
expect "rm" tmctl rm crowd
expect add tmctl add crowd node=1 min=300M
expect run tmctl run roams -- true
[ "$(slot roams .node)" = 1 ] || fail "roams was moved with a task in it"
kill -9 "$(daemon_pid)"
wait_for 15 "the daemon is back" daemon_is_up
[ "$(slot roams '.node, .nodeAuto' | xargs)" = "1 true" ] || fail "after kill -9: $(slot roams '.node, .nodeAuto')"
expect "rm --kill" tmctl rm roams --kill

say "each file that the controller looks at is read by one call, and to its end"
fresh_daemon
expect add tmctl add own node=1
timeout --signal=INT 3 strace -f -y -e trace=pread64 -o /run/reads -p "$(daemon_pid)" 2>/dev/null
for file in memory.stat memory.current memory.swap.current memory.pressure cpu.stat; do
	size=$(wc -c <"$slots/node1/own/$file")
	was_read=$(sed -n "s|.*/own/$file>.* = ||p" /run/reads | sort -u | xargs)
	[ "$was_read" = "$size" ] || fail "$file has $size bytes, reads gave: $was_read"
done
all_off
exit 0
