# SPDX-License-Identifier: Apache-2.0
# Two leaks beside two slots that keep to their shares, in a node with little swap: that of the lower
# tier, though slower, is frozen, then killed, and nobody else notices; a daemon killed while it has
# frozen a slot, which does not come back; what was frozen by hand; what the kernel kills is told of;
# contention alone is no emergency.
# takes: 135
# timeout: 420
. ./lib.sh

usage() { read -r REPLY <"$slots/node0/$1/memory.current"; }
uses_least() { usage "$1" && [ "$REPLY" -ge "$2" ]; }
messages() { journalctl -b -o cat --since "$since" "MESSAGE_ID=$1" ${2:+TASKMEM_SLOT=$2}; }
has_message() { [ -n "$(messages "$@")" ]; }
is_empty() { [ -z "$(cgroup "$1" cgroup.procs)" ]; }
file_is() { [ "$(cgroup "$1" "$2")" = "$3" ]; }
# is_frozen SLOT, without a process: looked at all the time
is_frozen() { read -r REPLY <"$slots/node0/$1/cgroup.freeze" && [ "$REPLY" = 1 ]; }
kills() { cgroup "$1" memory.events | grep '^oom_kill '; }
begin_journal() {
	sleep 1.1
	since=$(date '+%F %T')
}
emergency=ff2c4b089048446b898c1cb3833d7726 over=8333b3e01641483495e5a21aad8b981e
lent=be6afac0e14f49cea4f497983afe1934 unprotected=1aef33185fc04dc28f082422de8b90bc
frozen=83890e3913014d709edfafee55215912 thawed=34ead39f4d1e40afb4edec190dc4f712
killed=5c306924d2124528a4f9136282f317fe oom=3d6de7639e384f7cbd45770d265df2ac

# innocents: two slots within their share, all of their memory in use
innocents() {
	for name in good1 good2; do
		expect add tmctl add $name node=0
		hog $name --bytes 40M --seconds 3600 --pace 20000
	done
	wait_for 30 "good1 has its memory" uses_least good1 $((40 << 20))
	wait_for 30 "good2 has its memory" uses_least good2 $((40 << 20))
	pids=$(cgroup good1 cgroup.procs) pids+=" $(cgroup good2 cgroup.procs)"
}
innocents_are_well() {
	[ "$(cgroup good1 cgroup.procs) $(cgroup good2 cgroup.procs)" = "$pids" ] || fail "innocents died: $pids"
	for name in good1 good2; do
		[[ $(cgroup $name memory.events) = *"oom_kill 0"* ]] || fail "$name: $(cgroup $name memory.events)"
		usage $name
		[ "$REPLY" -ge $((36 << 20)) ] || fail "$name was squeezed to $REPLY"
		file_is $name cgroup.freeze 0 || fail "$name is frozen"
	done
}

say "all hungry, all stall: no emergency"
all_off
swap_off
swap_on 450M
printf '[node default]\nbudget=180M\nreserve=6M\n' | fresh_daemon
begin_journal
for name in h1 h2 h3; do
	expect add tmctl add $name node=0
	hog $name --bytes 100M --seconds 3600
done
stalls_are_told() { [ "$(tmctl --json info | jq '.nodes[0].stalls')" -gt 0 ]; }
wait_for 60 "the kernel tells of a stall" stalls_are_told
sleep 6
grep -H . $slots/node0/memory.pressure $slots/node0/memory.current $slots/node0/memory.events.local
has_message $emergency && fail "an emergency: $(messages $emergency)"
tmctl doctor | grep -E "pressure triggers: .* [1-9][0-9]* times so far" || fail "doctor: $(tmctl doctor | grep pressure)"
for name in h1 h2 h3; do expect rm tmctl rm $name --kill; done

say "two leaks, the slower one in the lower tier"
swap_off
swap_on 24M # so little that both have leaked for 30 s, and are known to, before the kernel takes any
innocents
begin_journal
expect add tmctl add eager node=0 weight=50
expect add tmctl add leak node=0 tier=2
hog eager --bytes 2G --seconds 3600 --pattern touch-once --pace 500
hog leak --bytes 2G --seconds 3600 --pattern touch-once --pace 300
wait_for 120 "an emergency" has_message $emergency
tmctl info
[ "$(tmctl --json info | jq -r '.nodes[0].emergency')" != null ] || fail "tmctl info shows no emergency"
tmctl info | grep -q "EMERGENCY on node 0" || fail "tmctl info does not say so"
[ "$(slot eager .leakBytesPerSec)" -gt "$(slot leak .leakBytesPerSec)" ] || fail "eager is the slower one"
tmctl show leak | grep -E ' leaks +(1(\.[0-9])?M|[89][0-9]{2}(\.[0-9])?K)' || fail "tmctl show does not tell of the leak"
wait_for 60 "the leak is killed" is_empty leak
is_empty eager && fail "eager died, too"
expect rm tmctl rm eager --kill
innocents_are_well
journalctl -b -o short-monotonic --since "$since" -u taskmemd
for id in $lent $unprotected $frozen $thawed $killed; do
	has_message $id || fail "no message $id"
done
has_message $frozen leak || fail "not the leak was frozen"
messages $killed leak | grep -E "slot leak is killed: it has grown (1(\.[0-9])?M|[89][0-9]{2}(\.[0-9])?K) a second for [0-9]+ s .*its tier 2 is the lowest above its share.*before: 6M of reserve lent.*freeze.*max" ||
	fail "the reason of the kill: $(messages $killed)"
for id in $frozen $killed; do
	has_message $id eager && fail "tier 1 suffered, too: $(messages $id eager)"
done
has_message $oom && fail "the kernel was first: $(messages $oom)"
[[ $(cgroup leak memory.events) = *"oom_kill 0"* ]] || fail "leak: $(cgroup leak memory.events)"
wait_for 60 "it is over" has_message $over
[ "$(tmctl --json info | jq -r '.nodes[0].emergency')" = null ] || fail "still an emergency in tmctl info"
wait_for 10 "the reserve is back" sh -c "[ \$(cat $slots/node0/memory.max) = $((180 << 20)) ]"
expect set tmctl set leak tier=1
is_protected() { [ "$(cgroup leak memory.low)" -gt $((50 << 20)) ]; }
wait_for 5 "the leak's slot is protected again" is_protected
innocents_are_well

say "kill -9 while a slot is frozen, and a configuration that is refused then"
conf=/etc/taskmem/taskmemd.conf
begin_journal
expect add tmctl add held node=0
tmctl run held -- sleep 3600 &
wait_for 10 "a task in held" slot_is held .processes 1
echo 1 >$slots/node0/held/cgroup.freeze # an administrator
[ "$(realpath /run/taskmem/slots)" = $slots ] || fail "not remembered: $(ls -l /run/taskmem)"
cp $conf /run/good.conf
echo nonsense >>$conf
hog leak --bytes 2G --seconds 3600 --pattern touch-once --pace 800
old=$(daemon_pid) # not later: it is frozen for a second and a half only
end=$((SECONDS + 150))
until is_frozen leak; do
	[ $SECONDS -lt $end ] || fail "it is never frozen"
	pause 0.05
done
kill -9 "$old"
is_frozen leak || fail "it was thawed before the kill"
begin=${EPOCHREALTIME/./}
while is_frozen leak; do
	[ $((${EPOCHREALTIME/./} - begin)) -lt 10000000 ] || fail "still frozen"
	pause 0.05
done
say "thawed $(((${EPOCHREALTIME/./} - begin) / 1000)) ms after the daemon was killed"
echo 1 >$slots/node0/leak/cgroup.kill
wait_for 15 "the configuration is refused" systemctl -q is-failed taskmemd.service
[ "$(systemctl show -P ExecMainStatus taskmemd.service)" = 3 ] || fail "$(systemctl status taskmemd)"
messages $thawed leak | grep -q "had left it frozen" || fail "nobody tells of it: $(messages $thawed)"
file_is held cgroup.freeze 1 || fail "what was frozen by hand is thawed when the daemon has ended"
cp /run/good.conf $conf
expect start systemctl start taskmemd.service
file_is held cgroup.freeze 1 || fail "what was frozen by hand is thawed by the next daemon"
[ -z "$(messages $thawed held)" ] || fail "$(messages $thawed held)"
expect rm tmctl rm leak --kill
expect rm tmctl rm held --kill
innocents_are_well

say "a slot that hits its own max"
begin_journal
expect add tmctl add small node=0 max=30M
echo 0 >$slots/node0/small/memory.swap.max
hog small --bytes 60M --seconds 3600 --pattern touch-once
wait_for 20 "the kernel kills" is_empty small
wait_for 5 "it is told" has_message $oom small
messages $oom small | grep "its own max of 30M was used up" || fail "$(messages $oom)"
sleep 2
has_message $emergency && fail "that was no emergency of the node: $(messages $emergency)"
innocents_are_well

say "swap that a slot may not use is none for a new max"
expect set tmctl set small max=100M
hog small --bytes 60M --seconds 3600 --pattern touch-once
wait_for 20 "it has its memory" uses_least small $((60 << 20))
before=$(kills small)
expect set tmctl set small max=20M
note() { tmctl --json show small | jq -r '.slots[0].pending[] | select(.what == "max") | .note // ""'; }
no_swap_note() { [[ $(note) = *"no swap is free"* ]]; }
wait_for 15 "the reason" no_swap_note
[ "$(kills small)" = "$before" ] || fail "small: $(cgroup small memory.events)"

all_off
swap_off
exit 0
