# SPDX-License-Identifier: Apache-2.0
# The working set of tasks whose hot memory is known, out of the sandbox of the installed unit: within
# 5 % by the multi-gen LRU, which is what is used unless it is not there, and within 10 % by DAMON,
# which samples; and what is said where there is neither.
# takes: 130
# timeout: 480
. ./lib.sh

heat=/usr/libexec/taskmem/vm_heat

field() { slot "$1" ".heat.$2 // \"null\""; }

# start NAME NODE[ KEY=VALUE] OPTION…: a task with that heat in a slot of that name. It rests between
# two passes, often enough for an interval of any measurement.
start() {
	local name=$1 node=$2
	shift 2
	# shellcheck disable=SC2086
	expect add tmctl add "$name" node=$node
	tmctl run "$name" -- "$heat" --pause 100 "$@" >"/run/heat.$name" 2>&1 &
}

# ready NAME…: they have touched all their memory
ready() {
	local name
	for name; do wait_for 180 "$name has touched all its memory" grep -q ready "/run/heat.$name"; done
}

# measure NAME…: all at once
measure() {
	local name pids=() pid
	for name; do
		tmctl show "$name" --json --heat >"/run/shown.$name" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do expect "measure $*" wait "$pid"; done
}

# is_measured NAME WHAT MIB [PERCENT]: an estimate close enough, printed
is_measured() {
	local name=$1 what=$2 want=$(($3 << 20)) percent=${4:-5} got
	got=$(field "$name" workingSetBytes)
	say "$what: $((got >> 10))K for $((want >> 10))K, $(((got - want) * 1000 / want)) permille off;" \
		"confidence $(field "$name" confidence), cost $(field "$name" costUsec) us," \
		"knee $(($(field "$name" kneeBytes) >> 10))K, $(tail -n 1 "/run/heat.$name")"
	close_to "$got" "$want" "$percent" || fail "$what: $got is not within $percent % of $want: $(tmctl show "$name")"
}

# is_sampled NAME WHAT MIB: the same by DAMON, which can watch one slot at a time. 2.5 % off at most were
# seen in thirty looks. A task must come back to its memory within a tenth of the window, or is seen in
# part: with 5 s it has half a second for what takes it 0.15 s, and on a machine beside another longer.
is_sampled() {
	expect "measure $1" tmctl show "$1" --json --heat --source damon >"/run/shown.$1"
	[ "$(field "$1" withinUsec)" = 500000 ] || fail "within $(field "$1" withinUsec)"
	if ! close_to "$(field "$1" workingSetBytes)" $(($3 << 20)) 10; then
		say "it is $(field "$1" workingSetBytes) within half a second, $(tail -n 1 "/run/heat.$1")"
		expect "measure $1" tmctl show "$1" --json --heat=20s --source damon >"/run/shown.$1"
	fi
	is_measured "$1" "by DAMON, $2" "$3" 10
	[ "$(field "$1" source)" = damon ] || fail "source $(field "$1" source)"
	[ "$(field "$1" confidence)" = medium ] || fail "confidence: $(tmctl show "$1")"
}

check_of() { tmctl --json doctor | jq -r ".checks[] | select(.name == \"$1\") | .status"; }

all_off
mountpoint -q /sys/kernel/debug && umount /sys/kernel/debug
printf '[daemon]\nheat_interval=10s\n[node default]\nbudget=1100M\n' | fresh_daemon

say "debugfs is not mounted: said, with the remedy"
[ "$(check_of "page ages")" = degraded ] || fail "doctor: $(tmctl doctor)"
tmctl doctor | grep 'sys-kernel-debug.mount' || fail "no remedy: $(tmctl doctor)"
start blind 0 --hot 32M --cold 8M
ready blind
expect measure tmctl show blind --heat=2s >/run/shown
grep 'only refaults and stall' /run/shown || fail "$(cat /run/shown)"
[ "$(field blind source)" = none ] || fail "source $(field blind source)"
[ "$(field blind workingSetBytes)" = null ] || fail "a number out of nothing: $(field blind workingSetBytes)"
refuse 6 tmctl show blind --source lru_gen
expect rm tmctl rm blind --kill

say "mounted: in the sandbox, one file of it is writable"
mount -t debugfs debugfs /sys/kernel/debug || fail "debugfs cannot be mounted"
say "before the restart: $(check_of "page ages")"
expect restart systemctl restart taskmemd.service
[ "$(check_of "page ages")" = ok ] || fail "doctor: $(tmctl doctor)"
[ "$(check_of DAMON)" = ok ] || fail "doctor: $(tmctl doctor)"
grep ' /sys/kernel/debug ' "/proc/$(daemon_pid)/mountinfo" | grep -q ' ro,' || fail "all of debugfs is writable"
exposure=$(systemd-analyze security --no-pager taskmemd.service | sed -n 's/.*exposure level[^:]*: \([0-9.]*\).*/\1/p')
say "exposure $exposure"
[ "${exposure/./}" -le 20 ] || fail "exposure $exposure"

# The emulator's TLB holds all of a task's pages until another task runs on the same processor (each
# node has one), and touches are noted only when it is filled: hence a second task on each.
start zz0 0 --hot 2M --pause 20
start zz1 1 --hot 2M --pause 20

say "hot anonymous memory and some that is cold; a mapped file"
mkdir -p /lab/heat
start hot64 0 --hot 64M --cold 64M
start hot128 0 --hot 128M --cold 64M
start hot256 0 --hot 256M --cold 64M
start file 1 --hot 64M --cold 32M --file /lab/heat/hot
ready zz0 zz1 hot64 hot128 hot256 file
measure hot64 hot128 hot256 file
for size in 64 128 256; do
	is_measured "hot$size" "$size of $((size + 64)) MiB" $size
	[ "$(field "hot$size" source)" = lru_gen ] || fail "source $(field "hot$size" source)"
	[ "$(field "hot$size" confidence)" = high ] || fail "confidence: $(tmctl show "hot$size")"
	close_to "$(field "hot$size" seenBytes)" $((size + 64 << 20)) 5 || fail "seen $(field "hot$size" seenBytes)"
done
# what the next 2M save: after the working set, less
jq -e '.slots[0].heat | (.points | length >= 2 and map(.bytes) == (map(.bytes) | sort)) and
	.points[0].nextMilliHz > .points[-1].nextMilliHz' /run/shown.hot256 >/dev/null ||
	fail "the curve: $(jq -c '.slots[0].heat.points' /run/shown.hot256)"
is_measured file "64M of mapped file" 64
[ "$(field file fileBytes)" -gt $((60 << 20)) ] || fail "not as file memory: $(field file fileBytes)"

say "the same by DAMON"
for size in 256 128 64; do
	is_sampled "hot$size" "$size of $((size + 64)) MiB" $size
	[ "$size" = 64 ] || expect rm tmctl rm "hot$size" --kill
done
is_sampled file "64M of mapped file" 64
[ "$(cat /sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds)" = 0 ] || fail "DAMON was left on"
tmctl show file | sed -n '/^working set/,/note/p'

say "somebody else's DAMON is left alone"
echo 1 >/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds
refuse 6 tmctl show hot64 --source damon
[ "$(cat /sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds)" = 1 ] || fail "it was taken away"
echo 0 >/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds

say "in the background, without being asked"
tmctl show hot64 --heat=1s >/dev/null
old=$(field hot64 windowUsec)
is_newer() { [ "$(field hot64 windowUsec)" -gt $((old + 5000000)) ]; }
wait_for 120 "a longer window than was asked for" is_newer
got=$(field hot64 workingSetBytes)
say "background: $((got >> 10))K in $(($(field hot64 windowUsec) / 1000)) ms, cost $(field hot64 costUsec) us"
close_to "$got" $((64 << 20)) 5 || fail "background: $got"
tmctl show hot64
tmctl show hot64 | grep -q 'the next 2M save' || fail "no chart"
tmctl --json list | jq -e '.slots[0].heat.points == null and .slots[0].heat.workingSetBytes > 0' >/dev/null ||
	fail "the list: $(tmctl --json list)"

say "a slot that is removed, a daemon that is killed while it watches"
tmctl show hot64 --heat=30s >/run/shown 2>&1 &
watcher=$!
sleep 1
expect rm tmctl rm hot64 --kill
wait $watcher && fail "it was shown after it was removed"
grep 'hot64' /run/shown || fail "$(cat /run/shown)"
start again 1 --hot 64M --cold 64M
ready again
tmctl show again --heat=30s --source damon >/dev/null 2>&1 &
wait_for 10 "DAMON is on" grep -q '^on' /sys/kernel/mm/damon/admin/kdamonds/0/state
kill -9 "$(daemon_pid)"
wait_for 15 "the daemon is back" daemon_is_up
[ "$(cat /sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds)" = 0 ] || fail "DAMON was left on by the killed daemon"

say "under reclaim: what is hot fits, or does not"
swap_on
start fits "0 max=80M" --hot 64M --cold 64M
start tight "0 max=48M" --hot 64M
ready fits tight
measure again fits
is_measured again "64 of 128 MiB on node 1, after the kill" 64
is_measured fits "64 of 128 MiB in 80M" 64
expect measure tmctl show tight --heat >/run/shown
sed -n '/^working set/,/note/p' /run/shown
[ "$(field tight confidence)" != high ] || fail "sure of what cannot be seen: $(cat /run/shown)"
grep -q 'it does not fit' /run/shown || fail "it is not said that it does not fit: $(cat /run/shown)"
got=$(field tight workingSetBytes)
# no more than it has; how much less depends on when the kernel last aged it, hence the doubt
[ "$got" -gt 0 ] && [ "$got" -le $((49 << 20)) ] || fail "in 48M: $got"
expect rm tmctl rm tight --kill
expect rm tmctl rm fits --kill

say "two at once"
tmctl show again --heat=3s >/dev/null &
one=$!
expect both tmctl show file --heat=3s >/dev/null
expect both wait $one

say "bad requests"
refuse 2 tmctl show file --heat=0.2s
refuse 2 tmctl show file --heat=1h
refuse 2 tmctl show file --heat=soon
refuse 2 tmctl show file --source guess
refuse 5 tmctl show nothing --heat
runuser -u nobody -- tmctl show file >/dev/null || fail "everybody may see"
refuse 4 runuser -u nobody -- tmctl show file --heat

say "the legacy LRU: only refaults and stall, and that is said"
echo n >/sys/kernel/mm/lru_gen/enabled
expect measure tmctl show file --heat=2s >/run/shown
grep 'the multi-gen LRU is off: only refaults and stall are known' /run/shown || fail "$(cat /run/shown)"
[ "$(field file source)" = none ] || fail "source $(field file source)"
refuse 6 tmctl show file --source lru_gen
is_sampled again "64 of 128 MiB, on the legacy LRU" 64
echo y >/sys/kernel/mm/lru_gen/enabled

all_off
exit 0
