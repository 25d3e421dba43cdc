# SPDX-License-Identifier: Apache-2.0
# While the kernel reclaims a gigabyte for the daemon, requests are answered as ever.
# takes: 70 busy
. ./lib.sh

usage() { read -r REPLY <"$slots/node0/$1/memory.current"; }
uses_least() { usage "$1" && [ "$REPLY" -ge "$2" ]; }

# list: the time of one tmctl list in milliseconds, process start and all, in $took
list() {
	local begin=${EPOCHREALTIME/./}
	table=$(tmctl list) || fail "tmctl list"
	took=$(((${EPOCHREALTIME/./} - begin) / 1000))
}

all_off
swap_off && swap_on 2G
printf '[node default]\nbudget=1500M\n' | fresh_daemon
expect add tmctl add large node=0 weight=100 max=1300M
expect add tmctl add small node=0 weight=300
hog large --bytes 1200M --seconds 3600 --pattern touch-once
wait_for 60 "1.2 GiB are in use" uses_least large $((1200 << 20))
task=$(cgroup large cgroup.procs)

baseline=0
for _ in 1 2 3 4 5; do
	list
	[ "$took" -le "$baseline" ] || baseline=$took
done
say "at rest: $baseline ms at most"

longer=$(loop_turns over100Msec)
expect set tmctl set large max=100M
begin=${EPOCHREALTIME/./} worst=0 n=0 sum=0
while :; do
	list
	n=$((n + 1)) sum=$((sum + took))
	[ "$took" -le "$worst" ] || worst=$took
	[ "$took" -le 1000 ] || fail "call $n took $took ms; $baseline ms at rest"
	usage large
	max=$(cgroup large memory.max)
	[ "$max" != $((100 << 20)) ] || break
	[ $((${EPOCHREALTIME/./} - begin)) -lt 90000000 ] || fail "in use after 90 s: $REPLY; $table"
	pause 0.3 # calls without end would take the processor the reclaim needs
done
say "reclaimed $(((1200 << 20) - REPLY >> 20))M in $(((${EPOCHREALTIME/./} - begin) / 1000000)) s;" \
	"$n calls meanwhile, $((sum / n)) ms on average, $worst ms at most"
tmctl info | grep '^loop' || fail "tmctl info does not tell of the loop"
loop_was_quick "$longer"
[ "$n" -ge 5 ] || fail "too quick to have shown anything: $n calls"

say "the table is right at the end"
[ "$(slot large .shareBytes)" = $((100 << 20)) ] || fail "the share of large is $(slot large .shareBytes)"
[ "$(slot small .shareBytes)" = $(((1500 << 20) - (1500 << 20) / 50 - (100 << 20))) ] ||
	fail "the share of small is $(slot small .shareBytes)"
[ "$(slot large .kernelMaxBytes)" = $((100 << 20)) ] || fail "max $(slot large .kernelMaxBytes)"
[ "$(cgroup large memory.high)" = max ] || fail "a brake was left"
[ "$(slot large '.pending | length')" = 0 ] || fail "pending: $(slot large .pending)"
[ "$(cgroup large cgroup.procs)" = "$task" ] && [ "$(slot large .oomKills)" = 0 ] || fail "the task was killed"
tmctl list

all_off && swap_off
exit 0
