# SPDX-License-Identifier: Apache-2.0
# A host whose cgroups have no hugetlb controller: nobody could be charged for huge pages, so there
# are no pools, or they are of transparent pages where the configuration says so.
# vm: append=cgroup_disable=hugetlb
# takes: 10
. ./lib.sh

grep -qw hugetlb /sys/fs/cgroup/cgroup.controllers && fail "this machine has a hugetlb controller"

say "with pages=huge the daemon says what is missing, and the way out"
all_off
rm -rf /var/lib/taskmem
mkdir -p /etc/taskmem
printf '[node default]\nbudget=400M\nhugepages=16\n' >/etc/taskmem/taskmemd.conf
systemctl start taskmemd.service 2>/dev/null && fail "it runs without a hugetlb controller"
[ "$(systemctl show -P ExecMainStatus taskmemd.service)" = 4 ] ||
	fail "status $(systemctl show -P ExecMainStatus taskmemd.service)"
journalctl -u taskmemd.service --no-pager -o cat >/run/why
grep -i hugetlb /run/why | grep -q 'pages=huge-or-transparent' || fail "no way out: $(cat /run/why)"

say "with the fallback it runs, and every listing says what pools are of"
printf '[daemon]\npages=huge-or-transparent\n[node default]\nbudget=400M\nhugepages=16\n' | fresh_daemon
expect add tmctl add net node=0 pool=8M
tmctl list >/run/list || fail "list"
grep -q 'transparent' /run/list || fail "list: $(cat /run/list)"
[ "$(tmctl --json list | jq -r '.nodes[0] | "\(.pages) \(.hugePages) \(.hugePagesFree)"')" = "transparent 16 16" ] ||
	fail "list: $(tmctl --json list)"
refuse 6 tmctl add big node=0 pool=32M

say "a pool is fed from the network"
tmctl run net --listen tcp:127.0.0.1:7001 --once --report /run/report.json -- \
	sh -c 'wc -c >/run/counted' 2>/run/run.log &
run=$!
wait_for 10 "it listens" grep -q listening /run/run.log
[ "$(slot net .poolTransparentBytes)" = $((8 << 20)) ] || fail "pages: $(tmctl --json show net)"
head -c 20000000 /dev/zero >/dev/tcp/127.0.0.1/7001
wait $run || fail "tmctl run ended with $?: $(cat /run/run.log)"
[ "$(cat /run/counted)" = 20000000 ] || fail "counted: $(cat /run/counted)"
jq -e '.bytes == 20000000' /run/report.json >/dev/null || fail "report: $(cat /run/report.json)"
expect rm tmctl rm net
all_off
exit 0
