# SPDX-License-Identifier: Apache-2.0
# timeout: 120
# The metrics unit: off until it is wanted, confined, answers with the kernel's numbers beside clients
# that say nothing. What HTTP and the format are held to is in tests/peer/metrics.
# takes: 16
. ./lib.sh
fresh_daemon
unit=taskmem-metrics

# get: the answer of the unit into /run/answer
get() {
	exec {link}<>/dev/tcp/127.0.0.1/10205 || fail "nobody listens"
	printf 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n' >&$link
	timeout 20 cat <&$link >/run/answer || fail "no end of the answer: $(cat /run/answer)"
	exec {link}>&-
}
# value NAME LABEL: of the sample of that name with that label
value() { grep "^taskmem_$1{.*$2" /run/answer | sed 's/.* //'; }
same() { [ "$1" = "$2" ] || fail "$3: $1, not $2"; }

say "off by default, also where a preset decides; confined"
same "$(systemctl is-enabled $unit.socket)" disabled "is-enabled"
systemctl preset $unit.socket 2>/dev/null
same "$(systemctl is-enabled $unit.socket)" disabled "is-enabled after preset"
systemd-analyze verify --man=no $unit.socket "$unit@x.service" 2>&1 | grep -i taskmem && fail "the units have warnings"
expect "exposure is at most 2.0" systemd-analyze security --offline=true --threshold=20 --no-pager \
	"/usr/lib/systemd/system/$unit@.service" >/run/security
tail -n 1 /run/security

expect add tmctl add a node=0 tier=0 weight=300 min=16M max=100M pool=4M
expect add tmctl add b node=any
tmctl run a -- sleep 300 &
wait_for 10 "the task is in" slot_is a .processes 1

say "three clients that say nothing, and one that asks"
expect start systemctl start $unit.socket
for i in 1 2 3; do exec {silent[i]}<>/dev/tcp/127.0.0.1/10205 || fail "connect"; done
begin=$EPOCHREALTIME
get
echo "answered after $(((${EPOCHREALTIME/./} - ${begin/./}) / 1000)) ms"
head -n 9 /run/answer
head -n 1 /run/answer | grep -q '^HTTP/1.1 200 OK' || fail "not 200"
grep -q '^Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8' /run/answer || fail "type"
same "$(tail -n 1 /run/answer)" "# EOF" "the last line"
# a dynamic user: its name takes a library that is not installed here
uid=$(ps -o uid= -p "$(systemctl show -P MainPID "$unit@*.service" | grep -v '^0*$' | head -n 1)")
[ "$uid" -ge 61184 ] && [ "$uid" -le 65519 ] || fail "the user of a silent one is $uid"

say "the numbers are those of the kernel and of tmctl"
same "$(value slot_weight 'slot="a",node="0",tier="0"')" 300 weight
same "$(value slot_min_bytes 'slot="a"')" "$(cgroup a memory.min)" min
same "$(value slot_max_bytes 'slot="a"')" "$(cgroup a memory.max)" max
same "$(value slot_max_bytes 'slot="b"')" "" "the cap of a slot without"
same "$(value slot_processes 'slot="a"')" 1 processes
same "$(value slot_pool_min_bytes 'slot="a"')" $((4 << 20)) "pool"
same "$(value slot_weight 'slot="b",node="any",tier="1"')" 100 "weight of b"
same "$(value node_budget_bytes 'node="0"')" $((400 << 20)) budget
same "$(value events_total 'event="slot-added"')" 2 "slots added"
for name in refault_bytes reclaimed_bytes stall_seconds stall_full_seconds cpu_seconds kills freezes oom_kills; do
	[ -n "$(value slot_${name}_total 'slot="a"')" ] || fail "no slot_${name}_total"
done
usage=$(value slot_usage_bytes 'slot="a"')
close_to "$usage" "$(cgroup a memory.current)" 20 || fail "usage $usage, $(cgroup a memory.current)"

say "a removed slot has no series; the silent are sent away; the daemon may be down"
expect rm tmctl rm b
systemctl stop taskmemd
get
head -n 1 /run/answer | grep -q '^HTTP/1.1 503 ' || fail "not 503: $(cat /run/answer)"
systemctl start taskmemd
get
grep -q 'slot="b"' /run/answer && fail "b is still there"
[ -n "$(value slot_weight 'slot="a"')" ] || fail "a is gone"
for i in 1 2 3; do timeout 10 cat <&${silent[i]} >/dev/null || fail "a silent client is kept"; done
no_unit_is_left() { [ -z "$(systemctl list-units --all --plain --no-legend "$unit@*")" ]; }
wait_for 10 "no connection is left, and none failed" no_unit_is_left
journalctl -q --no-pager -u "$unit@*" | tee /run/journal
grep -q 'cannot be reached' /run/journal || fail "the journal does not say why it was 503"
same "$(grep -c Started /run/journal)" 0 "lines of scrapes that went well"
exit 0
