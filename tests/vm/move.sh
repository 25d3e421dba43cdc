# SPDX-License-Identifier: Apache-2.0
# A slot goes to another node with its tasks: their pages lie there, what stays charged is said and
# drains, nobody dies, and a daemon that is killed on the way goes on.
# takes: 25 busy
. ./lib.sh
. ./task.bash
fresh_daemon
trap '[ $? = 0 ] || journalctl -u taskmemd --no-pager -n 40' EXIT

# pages_on NODE PID: MiB of private memory that the process has there
pages_on() {
	awk -v key="N$1=" '/ heap|anon=/ { size = 4; for (i = 1; i <= NF; i++) if ($i ~ /^kernelpagesize_kB=/) size = substr($i, 19)
		for (i = 1; i <= NF; i++) if (index($i, key) == 1) sum += substr($i, length(key) + 1) * size }
		END { print int(sum / 1024) }' "/proc/$2/numa_maps"
}
has_pages() { [ "$(pages_on "$1" "$2")" -ge "$3" ]; }
in_place() { [ "$(wc -l <"$slots/node$1/$2/cgroup.procs" 2>/dev/null)" -ge "$3" ]; }
# is_left NODE NAME: nobody is in the cgroup there (files of cgroups have no size, so no -s)
is_left() { [ -z "$(cat "$slots/node$1/$2/cgroup.procs" 2>/dev/null)" ]; }
is_gone() { [ ! -e "$slots/node$1/$2" ]; }
current() { cat "$slots/node$1/$2/memory.current"; }
# settled NAME NODE: all processes of the slot are there and nothing is pending
settled() { [ "$(slot "$1" '[.node, (.pending | map(select(.what == "move")) | length), ([.left[].processes] | add // 0)] | @csv')" = "$2,0,0" ]; }

say "a task with 64 MiB is moved from node 0 to node 1"
expect add tmctl add mover node=0 min=16M max=300M
expect add tmctl add other node=0 min=16M
hog mover --bytes 64M --seconds 600 --pattern touch-once
pid=$hog_pid
# one that forks all the time, with threads of its shell's pipes
tmctl run mover -- sh -c 'while :; do sleep 0.02 | cat; done' &
forks=$!
wait_for 60 "64 MiB on node 0" has_pages 0 $pid 64
before=$(current 0 mover)
expect move tmctl move mover node=1
settled mover 1 || fail "after the move: $(slot mover '.node, .pending, .left')"
in_place 1 mover 2 || fail "processes are not in the new cgroup: $(cat $slots/node1/mover/cgroup.procs)"
is_left 0 mover || fail "left: $(cat $slots/node0/mover/cgroup.procs)"
has_pages 1 $pid 64 || fail "pages of the task: $(pages_on 0 $pid) MiB on node 0, $(pages_on 1 $pid) on node 1"
[ "$(pages_on 0 $pid)" -le 1 ] || fail "$(pages_on 0 $pid) MiB stayed on node 0"
kill -0 $pid && kill -0 $forks || fail "a task has died"
grep -q "frozen 0" $slots/node1/mover/cgroup.events || fail "it is frozen"

say "what is charged stays, on node 0's account, and is said: $(mib "$before") MiB then, $(mib "$(current 0 mover)") and $(mib "$(current 1 mover)") MiB now"
[ "$(current 0 mover)" -ge $((60 << 20)) ] || fail "the charge is gone from node 0: $(current 0 mover)"
[ "$(slot mover '.left[0].node')" = 0 ] && [ "$(slot mover '.left[0].bytes')" -ge $((60 << 20)) ] ||
	fail "left: $(slot mover .left)"
tmctl show mover | grep -q 'left behind *6[0-9].*charged on node 0' || fail "show: $(tmctl show mover)"
[ "$(cat $slots/node1/mover/memory.min)" = $((16 << 20)) ] || fail "memory.min of the new cgroup"
[ "$(cat $slots/node1/mover/memory.max)" = $((300 << 20)) ] || fail "memory.max of the new cgroup"
[ "$(cat $slots/node0/mover/memory.min)" = 0 ] || fail "memory.min of the old cgroup"
limit() { cat "$slots/node$1/memory.max"; }
[ $(($(limit 0) - $(limit 1))) -ge $((100 << 20)) ] ||
	fail "memory does not count where it lies: $(limit 0) and $(limit 1)"
tmctl events | grep -q 'slot-moved.*mover' || fail "no event"

say "a restart keeps what is left; the slot may come back to it, and it drains"
systemctl restart taskmemd
wait_for 60 "the daemon is back" daemon_is_up
[ "$(slot mover '.left[0].bytes')" -ge $((60 << 20)) ] || fail "after a restart: $(slot mover .left)"
echo 1 >$slots/node1/mover/cgroup.freeze # by hand: that goes with it
expect "move back" tmctl move mover node=0
settled mover 0 || fail "back: $(slot mover '.node, .pending, .left')"
[ "$(cat $slots/node0/mover/cgroup.freeze)" = 1 ] || fail "what was frozen by hand runs where it was moved to"
echo 0 >$slots/node0/mover/cgroup.freeze
has_pages 0 $pid 64 || fail "pages did not come back: $(pages_on 0 $pid) MiB"
kill -0 $pid && kill -0 $forks || fail "a task has died on the way back"
wait_for 60 "nothing is left on node 1" is_gone 1 mover

say "killed on the way, three times: the next daemon goes on"
node=1
for delay in 0 0.1 0.3; do
	tmctl move mover node=$node >/dev/null 2>&1 &
	mover=$!
	sleep $delay
	kill -9 "$(daemon_pid)"
	wait $mover
	wait_for 60 "the daemon is back" daemon_is_up
	[ "$(slot mover .node)" = $node ] || expect "it had not begun" tmctl move mover node=$node
	wait_for 60 "all is on node $node (killed after $delay s)" settled mover $node
	in_place $node mover 2 && is_left $((1 - node)) mover ||
		fail "processes are left (killed after $delay s)"
	wait_for 60 "the pages are there, too" has_pages $node $pid 64
	kill -0 $pid && kill -0 $forks || fail "a task has died (killed after $delay s)"
	node=$((1 - node))
done

say "refusals"
expect add tmctl add full node=0 min=370M
where=$(slot mover .node)
[ "$where" = 1 ] || fail "mover is on node $where"
message=$(tmctl move mover node=0 2>&1)
[ $? -eq 6 ] || fail "a guarantee that does not fit: $message"
refuse 5 tmctl move nobody node=1
refuse 2 tmctl move mover weight=1
refuse 6 tmctl move mover node=9
expect rm tmctl rm full
expect add tmctl add pool node=0 pool=8M
task t pool
says t "attach 1 0" '.held == 4'
message=$(tmctl move pool node=1 2>&1)
[ $? -eq 6 ] && [[ $message = *"4 huge pages"*detach* ]] || fail "a slot with buffers: $message"
says t quit ""
task_ends t
wait_for 60 "the buffers are free" slot_is pool .poolGrantedBytes 0
expect "move" tmctl move pool node=1

say "when its tasks end nothing is left, and a slot on its way may be removed"
tmctl move mover node=0 >/dev/null &
expect "rm --kill" tmctl rm mover --kill
wait_for 60 "no cgroup is left" sh -c '! ls -d '$slots'/*/mover 2>/dev/null'
all_off
exit 0
