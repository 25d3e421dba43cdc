# SPDX-License-Identifier: Apache-2.0
# Weights, guarantees and tiers on a node that is wanted more than once over: shares are what the
# kernel's memory.current says, and they follow tmctl set while the tasks run.
# takes: 65 busy
# timeout: 400
. ./lib.sh
least=$((2 << 20))

# usage SLOT: memory.current, without a process
usage() {
	local files=("$slots"/*/"$1/memory.current")
	read -r REPLY <"${files[0]}"
}

# is_shared A B: thin and wide hold A:B above their guarantees, within 10 %. A share counts its
# guarantee in, so they are small: with 8M each that alone would be 11 %.
is_shared() {
	local thin wide
	usage thin && thin=$((REPLY - least))
	usage wide && wide=$((REPLY - least))
	close_to $((thin * $2)) $((wide * $1)) 10
}

# stays_shared SECONDS A B
stays_shared() {
	local end=$((SECONDS + $1)) n=0
	while [ "$SECONDS" -lt "$end" ]; do
		is_shared "$2" "$3" || fail "not $2:$3 any more: thin $(cgroup thin memory.current)," \
			"wide $(cgroup wide memory.current)"
		n=$((n + 1))
		pause 0.3
	done
	[ "$n" -ge 3 ] || fail "looked only $n times"
}

pending() { tmctl --json show "$1" | jq -c '.slots[0].pending[] | select(.what == "share")'; }
is_settled() { [ -z "$(pending thin)" ] && [ -z "$(pending wide)" ]; }

# The idle slot has what it is guaranteed, node 1 has lost nothing, all tasks are the same.
nobody_suffers() {
	local name
	usage idle
	# the kernel counts in batches of 64 pages a CPU, and takes in such
	[ "$REPLY" -ge $((15 << 20)) ] || fail "$1: the idle slot has only $REPLY of its guarantee"
	usage far
	# less a MiB: its own kernel memory comes and goes
	[ "$REPLY" -ge $((far_usage - (1 << 20))) ] && [ "$(cgroup far memory.swap.current)" = 0 ] ||
		fail "$1: the slot on node 1 had $far_usage, has $REPLY"
	for name in thin wide idle far; do
		[[ $(cgroup "$name" memory.events) = *"oom_kill 0"* ]] || fail "$1: a kill in $name"
	done
	[ "$(pids)" = "$tasks" ] || fail "$1: other processes than before: $(pids), not $tasks"
}
pids() { cat "$slots"/node0/{thin,wide,idle}/cgroup.procs "$slots/node1/far/cgroup.procs"; }

# ratio A B: waits for it and says how long it took
ratio() {
	local begin=${EPOCHREALTIME/./}
	wait_for 120 "thin and wide at $1:$2" is_shared "$1" "$2"
	say "$1:$2 after $(((${EPOCHREALTIME/./} - begin) / 100000)) tenths of a second:" \
		"thin $(mib "$(cgroup thin memory.current)")M, wide $(mib "$(cgroup wide memory.current)")M"
}

all_off
swap_off && swap_on
# without the tax on who is quiet: shares and nothing else
printf '[daemon]\nfairness=100%%\n[node default]\nbudget=240M\nhugepages=64\n' | fresh_daemon
expect add tmctl add thin node=0 weight=100 min=2M
expect add tmctl add wide node=0 weight=300 min=2M
expect add tmctl add idle node=0 weight=1 min=16M
expect add tmctl add far node=1 weight=1
tmctl --json explain thin | jq -e '.terms[] | select(.name == "fairnessPermille") | .value == 1000' >/dev/null ||
	fail "fairness: $(tmctl explain thin)"
[ $(($(slot wide .shareBytes) / 4096)) -eq $(($(slot thin .shareBytes) * 3 / 4096)) ] || fail "the shares are not 1:3"

say "an idle slot and one on node 1 have their memory before the others come"
hog idle --bytes 24M --seconds 3600 --pattern touch-once
hog far --bytes 48M --seconds 3600 --pattern touch-once
touched() { usage "$1" && [ "$REPLY" -ge "$2" ]; }
wait_for 15 "the idle slot has touched its memory" touched idle $((24 << 20))
wait_for 15 "the slot on node 1 has touched its memory" touched far $((48 << 20))
usage far && far_usage=$REPLY

say "two hungry slots, 100:300"
hog thin --bytes 192M --seconds 3600
hog wide --bytes 192M --seconds 3600
run_all() { [ "$(pids | wc -w)" = 4 ]; }
wait_for 10 "all run" run_all
full() { usage thin && thin=$REPLY && usage wide && [ $((thin + REPLY)) -ge $((200 << 20)) ]; }
wait_for 30 "they fill the node" full
tasks=$(pids)
ratio 1 3
stays_shared 4 1 3
nobody_suffers "at 1:3"

say "a guarantee that does not fit is refused under pressure too"
refuse 6 tmctl set thin min=218M
refuse 6 tmctl add more node=0 min=218M
[ "$(cgroup thin memory.min)" = $least ] || fail "memory.min $(cgroup thin memory.min) after a refusal"
expect "what just fits" tmctl set thin min=217M
[ "$(cgroup thin memory.min)" = $((217 << 20)) ] || fail "memory.min $(cgroup thin memory.min)"
expect "and back" tmctl set thin min=2M
ratio 1 3

say "300:100 while they run"
begin=$SECONDS
expect set tmctl set thin weight=300
expect set tmctl set wide weight=100
first=$(pending wide)
[ -n "$first" ] || fail "no share move is pending"
jq -e '.fromBytes > .toBytes and .nowBytes >= .toBytes' <<<"$first" >/dev/null || fail "$first"
sleep 1
second=$(pending wide)
[ "$(jq .nowBytes <<<"$second")" -lt "$(jq .nowBytes <<<"$first")" ] || fail "no progress: $first, then $second"
ratio 3 1
wait_for 90 "nothing is pending" is_settled
say "settled $((SECONDS - begin)) s after the change"
stays_shared 4 3 1
nobody_suffers "at 3:1"
is_settled || fail "pending again"

say "tier 0 comes first: all it wants, before the weight of others counts"
expect set tmctl set wide tier=0
[ "$(slot thin .shareBytes)" = $least ] || fail "the share of tier 1 is $(slot thin .shareBytes)"
served() { usage wide && [ "$REPLY" -ge $((186 << 20)) ]; }
begin=$SECONDS
wait_for 120 "tier 0 has its 192M" served
say "tier 0 is served after $((SECONDS - begin)) s"
nobody_suffers "with tiers"

all_off && swap_off
exit 0
