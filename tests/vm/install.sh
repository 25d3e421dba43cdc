# SPDX-License-Identifier: Apache-2.0
# What `meson install` put in place works: unit, sandbox, man pages, doctor, configuration.
# takes: 22
. ./lib.sh
fresh_daemon

say "systemctl enable --now, and what systemd says of the unit"
systemctl stop taskmemd
expect "enable" systemctl enable --now taskmemd.service
wait_for 15 "the daemon answers" daemon_is_up
[ "$(systemctl show -P StatusText taskmemd)" != "" ] || fail "no status text"
systemd-analyze verify --man=no taskmemd.service 2>&1 | grep -i taskmem && fail "the unit has warnings"
expect "exposure is at most 2.0" systemd-analyze security --offline=true --threshold=20 --no-pager \
	/usr/lib/systemd/system/taskmemd.service >/dev/null
[ "$(systemctl show -P RestrictAddressFamilies taskmemd)" = AF_UNIX ] || fail "more than AF_UNIX"
[ -s /etc/taskmem/taskmemd.conf ] || fail "no configuration"
[ -e /usr/include/taskmem.h ] && [ -e /usr/share/man/man7/taskmem.7 ] || fail "header or man page"

say "the interface describes itself, with comments"
varlinkctl introspect $socket io.taskmem >/run/idl || fail "introspect"
grep -q 'method AddSlot' /run/idl && grep -q '^# Make a slot' /run/idl || fail "no method or comment"
varlinkctl call $socket io.taskmem.AddSlot '{"name":"x","wieght":3}' 2>&1 | grep -q InvalidParameter ||
	fail "an unknown field is taken"
varlinkctl call $socket io.taskmem.AddSlot '{"name":"memory.max"}' 2>&1 | grep -q BadValue ||
	fail "a kernel file's name is taken for a slot"
varlinkctl call $socket io.taskmem.WatchEvents '{}' 2>&1 | grep -q ExpectedMore || fail "watch once"

say "doctor, with the daemon up and down"
tmctl doctor | grep -q '^ok .*hugetlb controller' || fail "doctor"
tmctl --json doctor | jq -e '.checks | length > 10' >/dev/null || fail "doctor --json"
systemctl stop taskmemd
tmctl doctor 2>/run/err | grep -q 'hugetlb controller' || fail "doctor without the daemon"
refuse 3 tmctl list 2>/run/err
grep -q systemctl /run/err || fail "no hint how to start the daemon: $(cat /run/err)"

say "a wrong configuration is refused with file and line"
mv /etc/taskmem/taskmemd.conf /run/good.conf
while IFS='|' read -r line want; do
	printf '[daemon]\nlog_level=info\n[node 0]\n%s\n' "$line" >/etc/taskmem/taskmemd.conf
	taskmemd --check >/run/out 2>/run/err
	status=$?
	[ $status -eq 3 ] || [ "$want" = sum ] || fail "$line: status $status"
	if [ "$want" = sum ]; then
		taskmemd --log-level error >/run/out 2>/run/err
		[ $? -eq 3 ] || fail "$line: an impossible sum was taken"
	fi
	grep -q 'taskmemd.conf:4: ' /run/err || fail "$line: no file and line: $(cat /run/err)"
done <<-'CASES'
	budgte=80%|key
	budget=lots|value
	budget=10MB|unit
	reserve=120%|range
	budget=900G|sum
CASES
mv /run/good.conf /etc/taskmem/taskmemd.conf

say "stopping the scope ends everything, and the slots come back empty"
expect start systemctl start taskmemd
expect add tmctl add a node=0 min=4M
tmctl run a -- sleep 300 &
wait_for 10 "the task is in" slot_is a .processes 1
systemctl stop taskmem-slots.scope
# the daemon that is about to notice still answers, so look at the kernel
is_back() { [ "$(cgroup a memory.min 2>/dev/null)" = $((4 << 20)) ] && daemon_is_up; }
wait_for 30 "the slot comes back with its memory.min" is_back
[ "$(slot a .processes)" = 0 ] || fail "a task outlived its scope"

say "a task that is slow to end does not bring the slots back into a scope that ends"
tmctl run a -- sh -c 'trap "sleep 4; exit" TERM; sleep 300 & wait' &
wait_for 10 "the task is in" slot_is a '.processes > 0' true
systemctl stop taskmem-slots.scope
wait_for 30 "the slot comes back with its memory.min" is_back
sleep 2
is_back && [ "$(systemctl is-active taskmem-slots.scope)" = active ] || fail "the scope is gone"

say "events by --follow"
timeout 10 tmctl --json events --follow >/run/events &
sleep 1
expect add tmctl add b node=1
expect rm tmctl rm b
wait_for 8 "both events" sh -c 'grep -q slot-added /run/events && grep -q slot-removed /run/events'
exit 0
