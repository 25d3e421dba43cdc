# SPDX-License-Identifier: Apache-2.0
# The controller on a real kernel: memory that its owner does not use goes to a slot that shows
# need, a scan loses its protection and takes nothing from it, and the modes do what they say.
# takes: 90 busy
# timeout: 460
. ./lib.sh

usage() { cgroup "$1" memory.current; }
low() { cgroup "$1" memory.low; }
is_class() { slot_is "$1" .class "$2"; }
has() { [ "$(usage "$1")" -ge $(($2 << 20)) ]; }
low_is_below() { [ "$(low "$1")" -lt $(($2 << 20)) ]; }
low_is_share() { [ "$(low "$1")" -eq $(($(slot "$1" .shareBytes) / 4096 * 4096)) ]; }
has_event() { tmctl events | grep -q "$1"; }
# pages that reclaim has taken from the slot
taken() { cgroup "$1" memory.stat | sed -n 's/^pgsteal //p'; }
gives_back() { [ "$(taken thrift)" -gt 0 ]; }
early_looks() { tmctl --json info | jq '[.nodes[].earlyLooks] | add'; }
term() { tmctl --json explain "$1" | jq ".terms[] | select(.name == \"$2\").value"; }

all_off
swap_off && swap_on
printf '[node default]\nbudget=200M\nhugepages=16\n' | fresh_daemon
expect add tmctl add cold node=0
expect add tmctl add hungry node=0
expect add tmctl add scan node=0 weight=200 min=8M
# alone on its node, where nothing else reclaims, for all of the time
expect add tmctl add thrift node=1 mode=save
hog thrift --bytes 64M --seconds 3600 --pattern touch-once
thrift_begin=$SECONDS

say "memory that is touched once stays where it is while nobody asks"
hog cold --bytes 120M --seconds 3600 --pattern touch-once
cold_pid=$hog_pid
wait_for 30 "the cold slot has touched its memory" has cold 120
wait_for 10 "protected at its share" low_is_share cold

say "a hungry slot gets what the cold one does not use"
begin=$SECONDS
hog hungry --bytes 120M --seconds 3600
hungry_pid=$hog_pid
wait_for 60 "the hungry slot has 115M" has hungry 115
say "after $((SECONDS - begin)) s: cold $(mib "$(usage cold)")M, low $(mib "$(low cold)")M; hungry $(mib "$(usage hungry)")M, low $(mib "$(low hungry)")M"
[ "$(slot hungry .shareBytes)" -lt $((100 << 20)) ] || fail "the share is no less than what it got"
expect explain tmctl explain hungry
expect explain tmctl explain cold
tmctl --json explain cold | jq -e '.mode == "share" and .class != null' >/dev/null || fail "explain has no class or mode"
tmctl explain hungry | grep -Eq '1 % of its memory a second|fetched' || fail "explain has no threshold"
[ "$(term hungry usageBytes)" -gt $((100 << 20)) ] || fail "explain has no usage"
tmctl explain cold | grep -q 'is weight 100 of the [0-9]* that divide' || fail "not said how the share came about"
refuse 5 tmctl explain nothing

say "who fills the memory when all is calm is looked at before the next tick"
# not when it has but 50 ms until then, once in ten times
for try in 1 2 3 4 5 6; do
	[ "$(early_looks)" -eq 0 ] || break
	say "no early look, try $try"
	kill "$hungry_pid"
	sleep 5
	hog hungry --bytes 120M --seconds 3600
	hungry_pid=$hog_pid
	wait_for 60 "the hungry slot has 115M again" has hungry 115
done
[ "$(early_looks)" -gt 0 ] || fail "the controller waited for its tick"

say "a scan takes nothing that is used"
hog scan --bytes 240M --seconds 3600 --pattern scan
wait_for 180 "the scan is found out" is_class scan polluter
wait_for 20 "its protection is withdrawn" low_is_below scan 20
[ "$(low scan)" -ge $((8 << 20)) ] || fail "less than its guarantee is protected"
has_event 'lends its protection' || fail "no event of the scan"
tmctl explain scan
sleep 6
has hungry 100 || fail "the scan took memory in use: hungry has $(mib "$(usage hungry)")M"
say "scan $(mib "$(usage scan)")M, hungry $(mib "$(usage hungry)")M, cold $(mib "$(usage cold)")M"

say "modes, live"
expect set tmctl set scan mode=off
wait_for 3 "mode off protects at the share" low_is_share scan
sleep 2
low_is_share scan || fail "mode off did not hold"
expect set tmctl set scan mode=dry-run
wait_for 30 "a dry run says what it would do" has_event 'slot scan: memory.low would be'
low_is_share scan || fail "a dry run wrote memory.low"
refuse 2 tmctl set scan mode=fast
expect set tmctl set scan mode=share

say "mode save: memory that nobody asks for is given back, a little at a time"
[ "$(taken thrift)" -gt 0 ] || wait_for 15 "thrift gives back" gives_back
# how much by now depends on how long the steps before took: a few MiB, never most of it
has thrift 48 || fail "that was not a little: $(mib "$(usage thrift)")M of 64M are left"
say "$(taken thrift) pages taken after $((SECONDS - thrift_begin)) s"

say "and live: share takes none of it, save goes on"
expect set tmctl set thrift mode=share
sleep 2 # what was being taken is through
taken_before=$(taken thrift)
sleep 14 # more than two of its rounds
[ "$(taken thrift)" -eq "$taken_before" ] || fail "mode share took $(($(taken thrift) - taken_before)) pages"
expect set tmctl set thrift mode=save
gives_back_more() { [ "$(taken thrift)" -gt "$taken_before" ]; }
wait_for 30 "thrift gives back again" gives_back_more

say "a restart forgets what was learnt, no task and no limit"
systemctl kill -s KILL taskmemd.service
wait_for 20 "the daemon is back" daemon_is_up
kill -0 "$cold_pid" "$hungry_pid" "$hog_pid" || fail "a task died"
[ "$(slot scan .mode)" = share ] || fail "the mode was lost"

say "control=dry-run: each slot is told what its own mode would do, and nothing is done"
printf '[daemon]\ncontrol=dry-run\n[node default]\nbudget=200M\nhugepages=16\n' >/etc/taskmem/taskmemd.conf
expect restart systemctl restart taskmemd.service
wait_for 20 "the daemon is back" daemon_is_up
taken_before=$(taken thrift)
wait_for 30 "of mode save it is told what that would give back" has_event 'slot thrift: mode save would have given back'
wait_for 120 "and of mode share what memory.low would be" has_event 'memory.low would be'
for name in cold hungry scan thrift; do low_is_share $name || fail "$name: $(low $name) in a dry run"; done
[ "$(taken thrift)" -eq "$taken_before" ] || fail "a dry run took $(($(taken thrift) - taken_before)) pages"
tmctl explain thrift
tmctl explain thrift | grep -q 'dry run: it stays protected at its share' || fail "explain does not say that it is a dry run"
tmctl explain thrift | grep -q 'Mode save gives back' || fail "explain does not say what save would do"
tmctl --json explain thrift | jq -e '.mode == "save" and (.class | IN("quiet", "idle"))' >/dev/null ||
	fail "no class or mode: $(tmctl --json explain thrift | jq -c '{class, mode}')"

say "control=off"
printf '[daemon]\ncontrol=off\n[node default]\nbudget=200M\nhugepages=16\n' >/etc/taskmem/taskmemd.conf
expect restart systemctl restart taskmemd.service
wait_for 20 "the daemon is back" daemon_is_up
is_class scan uncontrolled || fail "class $(slot scan .class) without control"
[ "$(tmctl --json explain scan | jq -r .class)" = uncontrolled ] || fail "explain has a class without control"
[ "$(term scan weight)" = 200 ] || fail "explain has no terms without control: $(tmctl explain scan)"
for name in cold hungry scan; do low_is_share $name || fail "$name: $(low $name) without control"; done
for name in cold hungry scan; do
	[[ $(cgroup "$name" memory.events) = *"oom_kill 0"* ]] || fail "a kill in $name"
done

all_off && swap_off
exit 0
