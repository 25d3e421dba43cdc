# SPDX-License-Identifier: Apache-2.0
# The disk of the state file is full: what cannot be saved is taken back, in the kernel too, its
# request fails, and tasks run on.
# takes: 20
. ./lib.sh
state=/var/lib/taskmem
node_is() { [ "$(slot keeps .node)" = "$1" ]; }
is_in() { [ "$(cat "$slots/$1/keeps/cgroup.procs" 2>/dev/null)" = "$task" ]; }

fresh_daemon
expect stop systemctl stop taskmemd
trap 'umount -l $state' EXIT
expect mount mount -t tmpfs -o size=64k tmpfs $state
expect start systemctl start taskmemd
expect add tmctl add keeps node=0 weight=100 max=64M
expect add tmctl add goes node=0
tmctl run keeps -- sleep 600 &
wait_for 10 "the task is in" slot_is keeps .processes 1
task=$(cat $slots/node0/keeps/cgroup.procs)
cat /dev/zero >$state/fill 2>/dev/null
head -n 1 $state/state.json >/run/header

say "add"
message=$(tmctl add new node=0 2>&1)
[ $? -eq 1 ] || fail "add on a full disk: $message"
[[ $message = *"could not be written: No space left on device"* ]] || fail "the reason: $message"
[ ! -e $slots/node0/new ] || fail "its cgroup was left"
refuse 5 tmctl show new
tmctl events | grep -q state-not-saved || fail "no event"

say "set"
refuse 1 tmctl set keeps weight=300 max=32M
[ "$(slot keeps .weight)" = 100 ] || fail "the weight is $(slot keeps .weight)"
wait_for 10 "the old max is back" sh -c "[ \$(cat $slots/node0/keeps/memory.max) = $((64 << 20)) ]"

say "rm"
refuse 1 tmctl rm goes
expect show tmctl show goes
[ -e $slots/node0/goes ] || fail "it has no cgroup"

say "move: the task goes back"
refuse 1 tmctl move keeps node=1
wait_for 10 "the slot is on node 0" node_is 0
wait_for 20 "its task, too" is_in node0
[ "$(cat $slots/node0/keeps/cpuset.mems)" = 0 ] || fail "cpuset.mems is $(cat $slots/node0/keeps/cpuset.mems)"
kill -0 "$task" || fail "the task has ended"
cmp -s <(head -n 1 $state/state.json) /run/header || fail "the state file has changed"

say "with room all goes on, and is there after a kill"
rm $state/fill
expect add tmctl add new node=0
expect set tmctl set keeps weight=300
expect rm tmctl rm goes
kill -9 "$(daemon_pid)"
wait_for 15 "the daemon is back" daemon_is_up
[ "$(tmctl --json list | jq -r '[.slots[] | .name, .weight] | join(" ")')" = "keeps 300 new 100" ] ||
	fail "after kill -9: $(tmctl list)"
is_in node0 || fail "the task has ended"
all_off
exit 0
