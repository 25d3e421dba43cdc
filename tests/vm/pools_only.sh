# SPDX-License-Identifier: Apache-2.0
# A host whose kernel has no memory controller: limits cannot be enforced and that is said; pools
# work all the same when they are asked for alone.
# vm: append=cgroup_disable=memory
# takes: 9
. ./lib.sh

grep -qw memory /sys/fs/cgroup/cgroup.controllers && fail "this machine has a memory controller"

say "with enforce=limits the daemon says what is missing, and does not try again"
all_off
rm -rf /var/lib/taskmem
mkdir -p /etc/taskmem
printf '[node default]\nbudget=400M\nhugepages=16\n' >/etc/taskmem/taskmemd.conf
systemctl start taskmemd.service 2>/dev/null && fail "it runs without a memory controller"
[ "$(systemctl show -P ExecMainStatus taskmemd.service)" = 4 ] ||
	fail "status $(systemctl show -P ExecMainStatus taskmemd.service)"
[ "$(systemctl show -P NRestarts taskmemd.service)" = 0 ] || fail "it was started again"
journalctl -u taskmemd.service --no-pager -o cat >/run/why
grep -i 'memory' /run/why | grep -i 'controller' || fail "no reason: $(cat /run/why)"
grep -q 'enforce=pools-only' /run/why || fail "no way out: $(cat /run/why)"
taskmemd --check >/run/check 2>&1
grep -iE 'memory controller' /run/check || fail "--check: $(cat /run/check)"

say "with enforce=pools-only it runs, and every listing says so"
printf '[daemon]\nenforce=pools-only\n[node default]\nbudget=400M\nhugepages=16\n' | fresh_daemon
expect add tmctl add net node=0 pool=8M
tmctl list >/run/list || fail "list"
grep -q 'NOT enforced' /run/list || fail "list: $(cat /run/list)"
[ "$(tmctl --json info | jq .enforced)" = false ] || fail "info: $(tmctl --json info)"
systemctl show -P StatusText taskmemd | grep 'NOT enforced' || fail "systemctl status"

say "what needs limits is refused with the reason"
refuse 2 tmctl set net on-resize=/bin/true 2>/run/err
grep 'not enforced' /run/err || fail "on-resize: $(cat /run/err)"
reply=$(varlinkctl call --more --json=short $socket io.taskmem.WatchSlot '{"name":"net"}' 2>&1) &&
	fail "notices where nothing is enforced: $reply"
[[ $reply = *Failed* ]] || fail "WatchSlot: $reply"

say "a pool is fed from the network"
tmctl run net --listen tcp:127.0.0.1:7001 --once --report /run/report.json -- \
	sh -c 'wc -c >/run/counted' 2>/run/run.log &
run=$!
wait_for 10 "it listens" grep -q listening /run/run.log
[ "$(cgroup net hugetlb.2MB.current)" = $((8 << 20)) ] || fail "pages: $(cgroup net hugetlb.2MB.current)"
head -c 20000000 /dev/zero >/dev/tcp/127.0.0.1/7001
wait $run || fail "tmctl run ended with $?: $(cat /run/run.log)"
[ "$(cat /run/counted)" = 20000000 ] || fail "counted: $(cat /run/counted)"
jq -e '.bytes == 20000000' /run/report.json >/dev/null || fail "report: $(cat /run/report.json)"
expect rm tmctl rm net
all_off
exit 0
