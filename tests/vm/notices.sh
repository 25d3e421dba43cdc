# SPDX-License-Identifier: Apache-2.0
# Tasks hear what their slot's memory should come to and answer; the command of on-resize= is run
# as the owner; the history of events has an end; what nobody ever heard of is freed.
# takes: 38
# timeout: 240
. ./lib.sh

vm_watch=/usr/libexec/taskmem/vm_watch
B=1048576
getent passwd alice >/dev/null || useradd --uid 1000 --no-create-home alice || fail "no user alice"
getent passwd mallory >/dev/null || useradd --uid 1001 --no-create-home mallory || fail "no user mallory"
chmod 755 /run
group=$(getent group taskmem | cut -d: -f3)
alice="setpriv --reuid=1000 --regid=1000 --clear-groups"
mallory="setpriv --reuid=1001 --regid=1001 --clear-groups"
member="setpriv --reuid=1002 --regid=1002 --groups=$group"
all_off
swap_off && swap_on
printf '[daemon]\ncontrol=off\nnotice_grace=3s\n[node default]\nbudget=600M\nhugepages=8\n' | fresh_daemon

# holder NAME SIZE MANNER: a task that fills memory and hears notices; its lines are in /run/NAME.out
declare -A ends
holder() {
	local fd
	rm -f "/run/$1".{in,out}
	mkfifo -m 666 "/run/$1.in"
	exec {fd}<>"/run/$1.in"
	ends[$1]=$fd
	$alice tmctl run "$1" -- $vm_watch hold "$2" "$3" <"/run/$1.in" >"/run/$1.out" 2>&1 {fd}>&- &
	wait_for 20 "$1 hears the numbers of now" grep -q '"why":"start"' "/run/$1.out"
}
# heard NAME JQ: one of the notices fulfils the condition
heard() { jq -es "any(.[]; $2)" "/run/$1.out" >/dev/null; }
usage_most() { [ "$(cgroup "$1" memory.current)" -le "$2" ]; }
max_is() { [ "$(cgroup "$1" memory.max)" = "$2" ]; }
event() { tmctl --json events | jq -es "any(.[]; $1)" >/dev/null; }

say "a change of the share is told"
expect add tmctl add a node=0 owner=alice weight=100 max=500M
expect add tmctl add b node=0 owner=alice weight=100
holder a 280M give
[ "$(slot a .watchers)" = 1 ] || fail "watchers: $(slot a .watchers)"
heard a ".target == $(slot a .shareBytes) and .before == 0" || fail "start: $(cat /run/a.out)"
old=$(slot a .shareBytes)
expect set tmctl set b weight=300
new=$(slot a .shareBytes)
[ "$new" -lt $((200 * B)) ] || fail "the share is $new"
wait_for 5 "the smaller share is told" heard a ".why == \"share\" and .target == $new and .freed > 0"
wait_for 5 "and has an effect" usage_most a "$new"
wait_for 5 "and is shown" slot_is a .notice.answers 1
[ "$(slot a .notice.why)" = share ] && [ "$(slot a .notice.freedBytes)" -gt $((60 * B)) ] || fail "$(slot a .notice)"
tmctl show a | grep -A3 '^notices' || fail "tmctl show"
tmctl show a | grep -q 'answers  *1 of 1 tasks, .*M freed' || fail "tmctl show: $(tmctl show a)"
event '.event == "memory-freed" and .slot == "a"' || fail "no event: $(tmctl events)"
expect set tmctl set b weight=100
wait_for 5 "the larger share is told" heard a ".why == \"share\" and .target == $old and .before == $new"

say "a share above usage is not told when it shrinks"
n=$(wc -l </run/a.out)
expect set tmctl set b weight=120
sleep 2
[ "$(wc -l </run/a.out)" = "$n" ] || fail "told for nothing: $(cat /run/a.out)"
echo quit >&"${ends[a]}"; exec {ends[a]}>&-
expect rm tmctl rm a --kill

say "a max below usage: the task chooses what goes, nothing is swapped out"
expect add tmctl add c node=0 owner=alice max=400M
holder c 280M give
swapped=$(cgroup c memory.swap.current)
begin=${EPOCHREALTIME/./}
expect set tmctl set c max=150M
wait_for 5 "it is told" heard c ".why == \"max\" and .max == $((150 * B)) and .graceMs > 2000 and .graceMs <= 3000"
wait_for 5 "max is there" max_is c $((150 * B))
took=$((${EPOCHREALTIME/./} - begin))
[ $took -lt 2500000 ] || fail "the answer did not end the wait: $took us"
[ "$(cgroup c memory.swap.current)" = "$swapped" ] || fail "swapped: $(cgroup c memory.swap.current)"
event '.event == "memory-notice" and .slot == "c"' || fail "no event of it"
exec {ends[c]}>&-
expect rm tmctl rm c --kill

say "who does not answer is waited for, and no longer"
expect add tmctl add d node=0 owner=alice max=400M
holder d 280M mute
expect set tmctl set d max=150M
wait_for 3 "it is told" heard d '.why == "max"'
sleep 1
usage_most d $((250 * B)) && fail "memory was taken in the time of grace"
slot d '.pending[].note' | grep 'its tasks were told' || fail "no note: $(tmctl show d)"
# a max each half second does not put it off for ever
for max in 149 148 147 146; do
	expect set tmctl set d max=${max}M
	sleep 0.5
done
wait_for 20 "the kernel takes it then" max_is d $((146 * B))
[ "$(cgroup d memory.events | awk '/oom_kill / { print $2 }')" = 0 ] || fail "killed"
exec {ends[d]}>&-
expect rm tmctl rm d --kill

say "who may watch"
reply=$($mallory varlinkctl call --more --json=short $socket io.taskmem.WatchSlot '{"name":"b"}' 2>&1) && fail "$reply"
[[ $reply = *PermissionDenied* ]] || fail "mallory watches b: $reply"
reply=$($alice varlinkctl call --json=short $socket io.taskmem.ReportFreed '{"freedBytes":1}' 2>&1) && fail "$reply"
[[ $reply = *NotInSlot* ]] || fail "an answer from outside: $reply"
expect add tmctl add e node=1 owner=alice
$alice varlinkctl call --more --json=short $socket io.taskmem.WatchSlot '{"name":"e"}' >/run/watch 2>&1 &
watch=$!
wait_for 5 "the owner watches by name" slot_is e .watchers 1
tr -d '\036' </run/watch | jq -e '.slot == "e" and .why == "start" and .deadlineUsec == null' >/dev/null || fail "$(cat /run/watch)"
expect rm tmctl rm e
wait $watch
grep -q NoSuchSlot /run/watch || fail "the end of the slot: $(cat /run/watch)"

say "on-resize= runs as the owner, with its numbers"
mkdir -p -m 777 /run/hook
cat >/run/hook/tool <<'TOOL'
#!/bin/sh
{ id -u; env | grep ^TASKMEM_ | sort; echo "args $#: $*"; } >/run/hook/out.new
grep -E 'NoNewPrivs|CapEff' /proc/self/status >>/run/hook/out.new
cat /proc/self/cgroup >>/run/hook/out.new
mv /run/hook/out.new /run/hook/out
TOOL
chmod 755 /run/hook/tool
expect add tmctl add h node=1 owner=alice max=400M
expect "the owner sets it" $alice tmctl set h "on-resize=/run/hook/tool 'two words' \$TASKMEM_SLOT"
sleep 1
[ ! -e /run/hook/out ] || fail "it runs for an empty slot"
$alice tmctl run h -- sleep 300 &
wait_for 5 "a process" slot_is h .processes 1
expect "change" tmctl set h max=300M
wait_for 15 "it was run" test -s /run/hook/out
cat /run/hook/out
[ "$(head -n 1 /run/hook/out)" = 1000 ] || fail "not as alice"
for want in TASKMEM_SLOT=h "TASKMEM_TARGET_BYTES=$(slot h .shareBytes)" TASKMEM_OLD_TARGET_BYTES=0 \
	TASKMEM_MAX_BYTES=$((300 * B)) TASKMEM_REASON=start 'args 2: two words h'; do
	grep -qxF "$want" /run/hook/out || fail "no $want"
done
grep -q '^TASKMEM_USAGE_BYTES=[0-9]' /run/hook/out || fail "no usage"
grep -qE 'NoNewPrivs:.*1' /run/hook/out && grep -qE 'CapEff:.*0000000000000000' /run/hook/out || fail "its powers"
grep -qF /taskmem.slice/taskmem-hook-h.service /run/hook/out || fail "its cgroup"
wait_for 5 "its end is known" slot_is h .onResize.running false
[ "$(slot h '.onResize | "\(.runs) \(.failures)"')" = "1 0" ] || fail "$(slot h .onResize)"
[ "$(systemctl show -P LoadState taskmem-hook-h.service)" = not-found ] || fail "the unit stays"

say "changes in a row are one run, the last one"
rm /run/hook/out
for max in 310 320 330 340 350; do expect set tmctl set h max=${max}M; done
wait_for 15 "the last change is told" grep -qs "TASKMEM_TARGET_BYTES=$((350 * B))" /run/hook/out
[ "$(slot h .onResize.runs)" -le 3 ] || fail "$(slot h .onResize)"
grep -q "TASKMEM_REASON=share" /run/hook/out || fail "reason: $(cat /run/hook/out)"

say "one that fails is an event that says how, and where its output is"
fails() { # COMMAND TEXT
	expect set $alice tmctl set h on-resize="$1"
	wait_for 20 "$1 fails" event ".event == \"hook-failed\" and .slot == \"h\" and (.message | contains(\"$2\"))"
	slot h .onResize.failure | grep -F "$2" || fail "$(slot h .onResize)"
}
fails "/bin/sh -c 'echo no heap here; exit 3'" "it ended with status 3"
event '.event == "hook-failed" and (.message | contains("journalctl -u taskmem-hook-h.service"))' || fail "where is its output?"
wait_for 5 "its output" sh -c 'journalctl -u taskmem-hook-h.service --no-pager | grep -q "no heap here"'
fails /nowhere/tool "its program is not there"
fails "/bin/sh -c 'kill -9 \$\$\$\$'" "it was ended by SIGKILL"
[ "$(systemctl --failed --no-legend | grep -c taskmem-hook)" = 0 ] || fail "failed units are left: $(systemctl --failed)"

say "commands of one owner that hang do not keep another's from being run"
rm -f /run/hook/out
expect add tmctl add w node=1 owner=mallory
$mallory tmctl run w -- sleep 300 &
for ((i = 1; i <= 9; i++)); do
	expect add tmctl add hang$i node=1 owner=alice
	$alice tmctl run hang$i -- sleep 300 &
done
wait_for 20 "a process in the last" slot_is hang9 .processes 1
for ((i = 1; i <= 9; i++)); do
	expect set $alice tmctl set hang$i "on-resize=/bin/sh -c 'sleep 20; exit 3'"
done
wait_for 5 "one hangs" slot_is hang1 .onResize.running true
expect set $mallory tmctl set w on-resize=/run/hook/tool
wait_for 15 "the other's is run" test -s /run/hook/out
[ "$(slot hang1 .onResize.running)" = true ] || fail "they did not hang: $(slot hang1 .onResize)"
for ((i = 1; i <= 9; i++)); do expect rm tmctl rm hang$i --kill; done
expect rm tmctl rm w --kill

say "it is for the owner and root to say, and survives a restart"
expect set $alice tmctl set h on-resize=/run/hook/tool
for who in "$mallory" "$member"; do
	refuse 4 $who tmctl set h on-resize=/bin/true 2>/run/denied
done
refuse 4 $member tmctl add x node=1 owner=alice on-resize=/bin/true 2>/run/denied
refuse 4 $mallory tmctl set h on-resize=none 2>/run/denied
refuse 2 $alice tmctl set h 'on-resize=/bin/sh "open' 2>/run/denied
grep -q 'on-resize: a quote' /run/denied || fail "$(cat /run/denied)"
[ "$(slot h .onResize.command)" = /run/hook/tool ] || fail "$(slot h .onResize)"
rm -f /run/hook/out
kill -9 "$(daemon_pid)"
wait_for 15 "the daemon is back" daemon_is_up
[ "$(slot h .onResize.command)" = /run/hook/tool ] || fail "lost: $(slot h .onResize)"
wait_for 20 "it is run after a restart" test -s /run/hook/out
expect "another owner" tmctl set h owner=mallory
[ "$(slot h .onResize)" = null ] || fail "it went over to another user"
expect "a member sets its own" tmctl set h owner=1002
expect "a member sets its own" $member tmctl set h on-resize=/bin/true
expect "and takes it away" $member tmctl set h on-resize=none
[ "$(slot h .onResize)" = null ] || fail "none: $(slot h .onResize)"

say "the history of events has an end"
for history in true false; do
	varlinkctl call --more --json=short $socket io.taskmem.WatchEvents "{\"history\":$history}" >/run/history 2>&1 &
	watch=$!
	wait_for 5 "the end of the history" grep -q '"historyEnd":true' /run/history
	expect set tmctl set b weight=$((RANDOM % 1000 + 1))
	wait_for 5 "events after it" sh -c 'tail -n 1 /run/history | grep -q slot-changed'
	kill $watch
	[ "$(grep -c historyEnd /run/history)" = 1 ] || fail "more than one end"
done
begin=${EPOCHREALTIME/./}
tmctl events >/dev/null || fail "events"
echo "tmctl events took $(((${EPOCHREALTIME/./} - begin) / 1000)) ms"

say "a command leaves no unit behind that fails after its slot was removed"
no_unit_of() { [ -z "$(systemctl list-units --all --no-legend --plain "taskmem-hook-$1*")" ]; }
wait_for 30 "the last command that hung has ended" no_unit_of hang
[ "$(systemctl --failed --no-legend | grep -c taskmem-hook)" = 0 ] || fail "failed units are left: $(systemctl --failed)"

say "what a client without a token never heard of is freed; what it knows is kept"
expect add tmctl add p node=0 owner=alice pool=8M
rm -f /run/cut.in; mkfifo -m 666 /run/cut.in; exec {cut}<>/run/cut.in
$alice tmctl run p -- $vm_watch cut </run/cut.in >/run/cut.out {cut}>&- &
wait_for 10 "it hangs up" grep -qs cut /run/cut.out
wait_for 5 "its pages are freed" slot_is p .poolGrantedBytes 0
[ "$(slot p .processes)" = 1 ] || fail "it ended"
[ "$(cgroup p hugetlb.2MB.current)" = 0 ] || fail "pages: $(cgroup p hugetlb.2MB.current)"
exec {cut}>&-
rm -f /run/memfd /run/memfd.in; mkfifo -m 666 /run/memfd.in; exec {memfd}<>/run/memfd.in
$alice tmctl run p -- /usr/libexec/taskmem/vm_task memfd </run/memfd.in >/run/memfd {memfd}>&- &
wait_for 10 "the memfd is had" test -s /run/memfd
expect restart systemctl restart taskmemd
wait_for 15 "the daemon is back" daemon_is_up
[ "$(slot p .poolGrantedBytes)" = $((2 * B)) ] || fail "a restart frees pages: $(slot p .poolGrantedBytes)"
exec {memfd}>&-
all_off && swap_off
exit 0
