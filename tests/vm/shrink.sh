# SPDX-License-Identifier: Apache-2.0
# Lowering the max of a slot in use: nobody is killed, no brake (memory.high) is left behind, and
# what cannot be done is said; also when the daemon is killed on the way.
# takes: 84 busy
. ./lib.sh

usage() { read -r REPLY <"$slots/node0/$1/memory.current"; }
uses_least() { usage "$1" && [ "$REPLY" -ge "$2" ]; }
uses_most() { usage "$1" && [ "$REPLY" -le "$2" ]; }
file_is() { [ "$(cgroup "$1" "$2")" = "$3" ]; }
pending() { tmctl --json show "$1" | jq -c '.slots[0].pending[] | select(.what == "max")'; }
note() { tmctl --json show "$1" | jq -r '.slots[0].pending[] | select(.what == "max") | .note // ""'; }
is_settled() { [ -z "$(pending "$1")" ]; }
has_note() { [[ $(note "$1") = *"$2"* ]]; }

# nobody_killed SLOT
nobody_killed() {
	[[ $(cgroup "$1" memory.events) = *"oom_kill 0"* ]] || fail "a kill in $1"
	[ "$(cgroup "$1" cgroup.procs)" = "$task" ] || fail "$1: process $(cgroup "$1" cgroup.procs), not $task"
}

# reached SLOT BYTES: waits until memory.max is there; checks what has to hold then
reached() {
	until file_is "$1" memory.max "$2"; do
		[ $((${EPOCHREALTIME/./} - begin)) -lt 180000000 ] ||
			fail "memory.max of $1 is $(cgroup "$1" memory.max), not $2: $(tmctl show "$1")"
		pause 0.2
	done
	say "memory.max is $2 after $(((${EPOCHREALTIME/./} - begin) / 100000)) tenths of a second"
	wait_for 5 "no brake is left on $1" file_is "$1" memory.high max
	wait_for 5 "nothing is pending" is_settled "$1"
	nobody_killed "$1"
	loop_was_quick "$slow_turns"
}

all_off
swap_off && swap_on
printf '[node default]\nbudget=600M\n' | fresh_daemon

say "with swap: 400M to 150M while it is busy"
expect add tmctl add busy node=0 max=400M
hog busy --bytes 380M --seconds 3600
wait_for 30 "the hog has its memory" uses_least busy $((370 << 20))
task=$(cgroup busy cgroup.procs)
begin=${EPOCHREALTIME/./} slow_turns=$(loop_turns over100Msec)
expect set tmctl set busy max=150M
[ "$(cgroup busy memory.max)" -gt $((150 << 20)) ] || fail "memory.max was written before there was room"
pending busy | jq -e '.toBytes == 157286400 and .fromBytes > .toBytes' >/dev/null || fail "pending: $(pending busy)"
reached busy $((150 << 20))
sleep 2
file_is busy memory.high max || fail "a brake after the end"
nobody_killed busy

say "a smaller slot, as busy"
expect rm tmctl rm busy --kill
expect add tmctl add busy node=0 max=100M
hog busy --bytes 190M --seconds 3600
grow() {
	expect set tmctl set busy max=200M
	[ "$(cgroup busy memory.max)" = $((200 << 20)) ] || fail "a larger max is not written at once"
	wait_for 30 "the hog has its memory" uses_least busy $((185 << 20))
}
grow
task=$(cgroup busy cgroup.procs)

say "a larger max on the way is had at once, whatever is being written"
is_braked() { read -r REPLY <"$slots/node0/busy/memory.high" && [ "$REPLY" != max ]; }
expect set tmctl set busy max=60M
end=$((SECONDS + 20))
until is_braked || [ $SECONDS -ge $end ]; do pause 0.05; done
say "memory.high is $(cgroup busy memory.high), memory.max $(cgroup busy memory.max)"
grow
wait_for 5 "no brake is left" file_is busy memory.high max

say "kill -9 on the way"
begin=${EPOCHREALTIME/./}
expect set tmctl set busy max=60M
wait_for 20 "the shrink is on its way" uses_most busy $((160 << 20))
old=$(daemon_pid)
kill -9 "$old"
slow_turns=0 # of the new daemon
[ "$(cgroup busy memory.max)" = $((200 << 20)) ] || fail "it was through before the kill"
wait_for 15 "the daemon is back" daemon_is_up
[ "$(daemon_pid)" != "$old" ] || fail "the same daemon"
reached busy $((60 << 20))

say "a brake left by a daemon that died is taken off"
grow
expect set tmctl set busy max=100M
systemctl stop taskmemd
echo 150M >$slots/node0/busy/memory.high
begin=${EPOCHREALTIME/./}
expect start systemctl start taskmemd
reached busy $((100 << 20))
expect set tmctl set busy max=max
systemctl stop taskmemd
echo 150M >$slots/node0/busy/memory.high
echo 175M >$slots/node0/busy/memory.max
begin=${EPOCHREALTIME/./}
expect start systemctl start taskmemd
reached busy max
expect rm tmctl rm busy --kill

say "without swap: anonymous memory stays, and it is said"
swap_off
expect add tmctl add stuck node=0 max=300M
hog stuck --bytes 200M --seconds 3600 --pattern touch-once
wait_for 20 "the hog has its memory" uses_least stuck $((200 << 20))
task=$(cgroup stuck cgroup.procs)
expect set tmctl set stuck max=100M
wait_for 15 "the reason" has_note stuck "cannot be reclaimed: no swap is free"
tmctl show stuck | grep 'cannot be reclaimed' || fail "tmctl show does not say why"
for _ in 1 2 3 4 5 6 7 8; do
	usage stuck
	[ "$(cgroup stuck memory.max)" -gt "$REPLY" ] || fail "memory.max $(cgroup stuck memory.max) at usage $REPLY"
	file_is stuck memory.high max || fail "memory.high is $(cgroup stuck memory.high)"
	pause 0.5
done
[ -n "$(pending stuck)" ] || fail "it is not pending any more"
nobody_killed stuck
# what the note proposes is right
least=$(note stuck | sed -n 's/.*set max >= \([0-9.]*[KMG]\).*/\1/p')
[ -n "$least" ] || fail "no number in: $(note stuck)"
begin=${EPOCHREALTIME/./}
expect set tmctl set stuck "max=$least"
wait_for 5 "nothing is pending at max=$least" is_settled stuck
[ "$(cgroup stuck memory.max)" -lt $((240 << 20)) ] || fail "memory.max $(cgroup stuck memory.max) for $least"
expect set tmctl set stuck max=100M
[ -n "$(pending stuck)" ] || fail "not pending"
expect set tmctl set stuck max=280M
reached stuck $((280 << 20))

say "without swap: 400M to 150M under a reader of files that has some memory of its own"
# read again and again from a device of zeros, which costs next to nothing but the page cache
disk=/dev/zram$(cat /sys/class/zram-control/hot_add) || fail "no second zram"
echo 512M >/sys/block/"${disk##*/}"/disksize
expect add tmctl add busy node=0 max=400M
hog busy --bytes 40M --seconds 3600
tmctl run busy -- /usr/libexec/taskmem/vm_heat --hot 330M --file "$disk" >/run/reader 2>&1 &
wait_for 60 "the files are read" uses_least busy $((365 << 20))
task=$(cgroup busy cgroup.procs)
[ "$(wc -w <<<"$task")" = 2 ] || fail "processes: $task"
passes() { sed -n '$s/passes //p' /run/reader; }
begin=${EPOCHREALTIME/./} slow_turns=$(loop_turns over100Msec) before=$(passes)
expect set tmctl set busy max=150M
reached busy $((150 << 20))
[ "$(swapon --show | wc -l)" = 0 ] || fail "there is swap"
reads_on() { [ "$(passes)" -gt "${before:-0}" ]; }
wait_for 30 "the reader reads on" reads_on

all_off
echo "${disk#/dev/zram}" >/sys/class/zram-control/hot_remove
exit 0
