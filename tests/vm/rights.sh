# SPDX-License-Identifier: Apache-2.0
# Who may do what: an owner, a stranger, a member of the group, and what a task can reach of
# another slot's pages.
# takes: 13
. ./lib.sh
. ./task.bash
fresh_daemon
group=$(getent group taskmem | cut -d: -f3)
[ -n "$group" ] || fail "there is no group taskmem"
chmod 755 /run
alice="setpriv --reuid=1000 --regid=1000 --clear-groups"
mallory="setpriv --reuid=1001 --regid=1001 --clear-groups"
member="setpriv --reuid=1002 --regid=1002 --groups=$group"

# denied COMMAND…: permission is refused, and nothing else
denied() { refuse 4 "$@" 2>/run/denied; }

# raw WHO METHOD PARAMETERS: one varlink call; its answer is in $reply
raw() {
	local who=$1
	shift
	reply=$($who varlinkctl call --json=short $socket "io.taskmem.$1" "$2" 2>&1)
}

# raw_fails WHO METHOD PARAMETERS ERROR
raw_fails() {
	raw "$1" "$2" "$3" && fail "$2 $3 as $1 succeeded: $reply"
	[[ $reply = *$4* ]] || fail "$2 $3 as $1: $reply, not $4"
}

expect add tmctl add a node=0 owner=1000 max=64M pool=18M
expect add tmctl add b node=1 owner=1001 pool=8M

say "everyone may list, watch and ask for a diagnosis"
[ "$($mallory tmctl --json list | jq '.slots | length')" = 2 ] || fail "mallory cannot list"
[ "$($mallory tmctl --json show a | jq '.slots[0].owner')" = 1000 ] || fail "mallory cannot see a"
raw "$mallory" GetInfo '{}' || fail "GetInfo: $reply"
raw "$mallory" Diagnose '{}' || fail "Diagnose: $reply"

say "the owner runs tasks and sets weight and max"
[ "$($alice tmctl run a -- cat /proc/self/cgroup)" = 0::/taskmem.slice/taskmem-slots.scope/node0/a ] ||
	fail "alice's task is elsewhere"
expect "weight" $alice tmctl set a weight=50
expect "max" $alice tmctl set a max=96M
[ "$(slot a .weight)" = 50 ] || fail "weight $(slot a .weight)"
[ "$(cgroup a memory.max)" = $((96 << 20)) ] || fail "memory.max $(cgroup a memory.max)"

say "but not what costs others a guarantee"
policy=$(tmctl --json show a | jq -S '.slots[0] | {owner, tier, minBytes, poolMinBytes, poolMaxBytes}')
denied $alice tmctl set a min=1M
denied $alice tmctl set a tier=0
denied $alice tmctl set a pool=32M
denied $alice tmctl set a pool-max=32M
denied $alice tmctl set a owner=1001
denied $alice tmctl set a weight=60 min=1M
denied $alice tmctl add c node=0
denied $alice tmctl rm a
denied $alice tmctl set b weight=1
[ "$(slot a .weight)" = 50 ] || fail "half of a refused request was done"
[ "$policy" = "$(tmctl --json show a | jq -S '.slots[0] | {owner, tier, minBytes, poolMinBytes, poolMaxBytes}')" ] ||
	fail "a refused request changed something: $(tmctl --json show a)"

say "the owner attaches in its slot, and gets pages of that slot"
task ta a $alice
says ta "attach 1 8" '.slot == "a" and .node == 0 and .held == 8'

say "a stranger may do nothing"
denied $mallory tmctl add c node=0
denied $mallory tmctl set a weight=10000
denied $mallory tmctl rm a
denied $mallory tmctl rm a --kill
raw_fails "$mallory" JoinSlot '{"name":"a"}' PermissionDenied
refuse 125 $mallory tmctl run a -- true 2>/run/denied
says ta info '.chunks == 8 and .connected == 1'
raw_fails "$mallory" Attach '{}' ExpectedMore

say "a member of the group administers"
expect "member adds" $member tmctl add c node=1 min=1M
expect "member sets" $member tmctl set a tier=2
expect "member sets" $member tmctl set a tier=1
expect "member removes" $member tmctl rm c

say "nobody else can use a grant, from whatever slot and as whoever"
rm -f /run/memfd /run/memfd.in
mkfifo /run/memfd.in
exec 9<>/run/memfd.in
$alice tmctl run a -- $vm_task memfd </run/memfd.in >/run/memfd 9>&- &
memfd=$!
wait_for 10 "the memfd is had" test -s /run/memfd
grant=$(jq .grant /run/memfd)
for who in "$alice" "" "$alice tmctl run a --" "$mallory tmctl run b --"; do
	raw_fails "$who" Grow "{\"grant\":$grant,\"chunks\":1}" NoSuchGrant
	raw_fails "$who" Return "{\"grant\":$grant,\"chunks\":[0]}" NoSuchGrant
	raw_fails "$who" Detach "{\"grant\":$grant}" NoSuchGrant
done
for who in "$alice tmctl run a --" "$mallory tmctl run b --"; do
	reply=$($who varlinkctl call --more --json=short $socket io.taskmem.Attach "{\"resumeGrant\":$grant}" 2>&1) &&
		fail "resumed: $reply"
	[[ $reply = *NoSuchGrant* ]] || fail "resumeGrant: $reply"
done
[ "$(slot a .poolGrantedBytes)" = $((18 << 20)) ] || fail "granted: $(slot a .poolGrantedBytes)"

say "the memfd: no more than was given"
cat /run/memfd
jq -e '.mode == "600" and .uid == 0 and .reopen == "EACCES" and .reopenRead == "EACCES" and
	.chmod == "EPERM" and .grow == "EPERM" and .shrink == "EPERM" and .unseal == "EPERM"' /run/memfd >/dev/null ||
	fail "the memfd: $(cat /run/memfd)"
$mallory head -c 1 "/proc/$(jq .pid /run/memfd)/fd/$(jq .fd /run/memfd)" 2>/run/denied >&2 &&
	fail "mallory reads alice's pages"
grep -q "Permission denied" /run/denied || fail "$(cat /run/denied)"
echo >&9
wait $memfd
tail -n 1 /run/memfd | jq -e '.detach == "done"' >/dev/null || fail "its holder cannot detach: $(cat /run/memfd)"
says ta info '.chunks == 8 and .connected == 1'
[ "$(slot a .poolGrantedBytes)" = $((16 << 20)) ] || fail "granted: $(slot a .poolGrantedBytes)"

say "who is in no slot, or in somebody else's, does not attach"
reply=$($alice varlinkctl call --more --json=short $socket io.taskmem.Attach '{}' 2>&1) && fail "attached: $reply"
[[ $reply = *NotInSlot* ]] || fail "outside of any slot: $reply"
says ta quit ''
task_ends ta
task tm b $mallory
says tm "attach 1 0" '.slot == "b" and .node == 1 and .held == 4'
says tm detach '.error == null'
mallory_pid=$(pgrep -u 1001 -x vm_task)
echo "$mallory_pid" >$slots/node0/a/cgroup.procs || fail "the administrator cannot move mallory's task"
says tm "attach 1 0" '.error == "EACCES"'
[ "$(slot a .poolGrantedBytes)" = 0 ] || fail "mallory holds pages of a"
says tm quit ''
task_ends tm
exit 0
