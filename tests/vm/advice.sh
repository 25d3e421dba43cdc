# SPDX-License-Identifier: Apache-2.0
# Two slots starve on one node while the other is empty: it is told, and the slot whose node nobody
# named is moved there, once.
# takes: 45 busy
. ./lib.sh
fresh_daemon <<'CONFIG'
[daemon]
move=auto
[node default]
budget=160M
hugepages=0
CONFIG
swap_on 512M

advised() { tmctl events | grep -q "move-advised.*slot $1 "; }

waits() { [ "$(tmctl --json queue | jq '.waiting | length')" = 1 ]; }

expect add tmctl add roams min=8M
hog roams --bytes 120M --seconds 300
roams=$hog_pid
# the place is chosen when it starts: stays, which names that node, must not be there yet
wait_for 60 "roams has begun" sh -c 'tmctl events | grep -q "task-joined.*roams"'
from=$(slot roams .node) to=$((1 - from))
expect add tmctl add stays node="$from"
hog stays --bytes 120M --seconds 300
stays=$hog_pid

# of the 188M that may be booked of that node
expect add tmctl add booked node=$to need=2M
tmctl add late node=$to need=187M --wait >/run/late 2>&1 &
wait_for 10 "a request waits for the other node" waits

say "told after half a minute, and moved"
start=$SECONDS
wait_for 120 "the advice to move roams" advised roams
[ $((SECONDS - start)) -ge 25 ] || fail "told after $((SECONDS - start)) s"
wait_for 60 "roams is on the other node" slot_is roams .node $to
wait_for 60 "its processes are" slot_is roams '[.left[].processes] | add // 0' 0
[ -n "$(cat $slots/node$to/roams/cgroup.procs)" ] || fail "nobody is in the new cgroup of roams"
[ -z "$(cat $slots/node$from/roams/cgroup.procs 2>/dev/null)" ] || fail "somebody is left on node $from"
kill -0 $roams && kill -0 $stays || fail "a task has died"

say "who waits for what it takes there was passed by it"
[ "$(tmctl --json queue | jq '.waiting[0].passed')" = 1 ] || fail "$(tmctl --json queue)"

say "the slot that names its node is left there, and nobody is moved twice"
[ "$(slot stays .node)" = "$from" ] || fail "stays was moved"
[ "$(tmctl events | grep -c 'move-advised.*slot roams ')" = 1 ] || fail "told more than once"
tmctl events | grep move-advised
tmctl explain stays
all_off
swap_off
exit 0
