# SPDX-License-Identifier: Apache-2.0
# Huge pages that a task keeps beyond its share: shown, taken by force, or the task is killed; and a
# guarantee that does not wait for it. All of it also when the daemon is killed on the way.
# takes: 30
. ./lib.sh
. ./task.bash
fresh_daemon
MIB=1048576

pages_free() { cat "/sys/devices/system/node/node$1/hugepages/hugepages-2048kB/free_hugepages"; }
node_free_is() { [ "$(pages_free 1)" = "$1" ]; }
charge_is() { [ "$(cgroup "$1" hugetlb.2MB.current)" = $(($2 * MIB)) ]; }
limit_is() { [ "$(cgroup "$1" hugetlb.2MB.max)" = $(($2 * MIB)) ]; }
info_is() { ask "$1" info && jq -e "$2" <<<"$reply" >/dev/null; }
runs() { [ "$(cgroup "$1" cgroup.freeze)" = 0 ] && grep -q "frozen 0" "$slots"/*/"$1"/cgroup.events; }

before=$(pages_free 1)
expect add tmctl add sink node=1 pool=16M owner=1000
alice="setpriv --reuid=1000 --regid=1000 --clear-groups"

say "wait: who keeps what, and for how long, is shown, and nothing happens to it"
task t1 sink $alice
says t1 "attach 6 6" '.held == 6'
pid=$(jq .pid <<<"$reply")
says t1 "open 65536 0 0" '.error == null'
says t1 "take 192" '.buffers == 192'
task t2 sink $alice
says t2 "attach 2 2" '.held == 2'
says t2 "open 65536 0 0" '.error == null'
says t2 "take 64" '.buffers == 64'
expect set tmctl set sink pool=8M pool-max=8M revoke-deadline=500ms
wait_for 5 "the pool that keeps them is known" slot_is sink '.owed[0].pool' test
[ "$(slot sink '.owed | length')" = 1 ] || fail "owed: $(slot sink .owed)"
[ "$(slot sink '.owed[0].pid')" = "$pid" ] || fail "not $pid: $(slot sink .owed)"
[ "$(slot sink '.owed[0].owedBytes')" = $((8 * MIB)) ] || fail "$(slot sink .owed)"
[ "$(slot sink '.owed[0].leftUsec')" = null ] || fail "a deadline: $(slot sink .owed)"
sleep 1
tmctl show sink | grep "process $pid, pool test owes 8M for .*; it is waited for" ||
	fail "not shown: $(tmctl show sink)"
charge_is sink 16 || fail "taken: $(cgroup sink hugetlb.2MB.current)"
says t1 check '.buffers == 192 and .bad == 0'

say "force: the pages are the node's, a touch is SIGBUS, and the others of the slot live"
expect set tmctl set sink revoke=force
wait_for 5 "the pages are taken" charge_is sink 8
node_free_is $((before - 4)) || fail "$(pages_free 1) free, 4 held"
limit_is sink 8 || fail "limit $(cgroup sink hugetlb.2MB.max)"
runs sink || fail "it is still frozen"
wait_for 5 "the task has heard of it" info_is t1 '.revoked == 4 and .chunks == 2'
says t2 check '.buffers == 64 and .bad == 0'
journalctl -b -o cat | grep "4 huge pages were taken from process $pid of slot sink, pool test" ||
	fail "the journal does not tell"
tmctl show sink | grep "process $pid.*: 8M were taken by force" || fail "$(tmctl show sink)"
# what drains was taken, so that it is known which buffers are left: those of the first page
says t1 "free 0" '.buffers == 192'
says t1 check ''
task_ends t1
[ "$status" = 135 ] || fail "it ended with $status, not by SIGBUS"
says t2 check '.buffers == 64 and .bad == 0'
wait_for 5 "its pages" charge_is sink 4

say "buffers of such pages are released, and the pool grows again"
expect set tmctl set sink pool=16M pool-max=16M
task t1 sink $alice
says t1 "attach 6 6" '.held == 6'
says t1 "open 65536 0 0" '.error == null'
says t1 "take 192" '.buffers == 192'
expect set tmctl set sink pool=8M pool-max=8M
wait_for 5 "the pages are taken" charge_is sink 8
wait_for 5 "the task has heard of it" info_is t1 '.revoked == 4'
says t1 "free 192" '.buffers == 0'
wait_for 5 "nothing is left of them" info_is t1 '.revoked == 0 and .chunks == 2'
expect set tmctl set sink pool=16M pool-max=16M
says t1 "take 192" '.buffers == 192 and .error == ""'
says t1 check '.bad == 0'

say "the daemon is killed while it takes pages"
for delay in 0.1 0.12 0.15; do
	expect set tmctl set sink pool=8M pool-max=8M revoke-deadline=100ms
	sleep $delay
	kill -9 "$(daemon_pid)"
	wait_for 15 "the daemon is back" daemon_is_up
	wait_for 5 "the slot runs" runs sink
	wait_for 10 "the pages are taken" charge_is sink 8
	limit_is sink 8 || fail "limit $(cgroup sink hugetlb.2MB.max)"
	[ "$(slot sink .poolGrantedBytes)" = $((8 * MIB)) ] || fail "books: $(tmctl show sink)"
	says t2 check '.buffers == 64 and .bad == 0'
	wait_for 10 "the task has heard of it" info_is t1 '.revoked == 4 and .connected == 1'
	says t1 "free 192" '.buffers == 0'
	wait_for 10 "nothing is left of them" info_is t1 '.revoked == 0'
	wait_for 10 "the other is there" info_is t2 '.connected == 1'
	expect set tmctl set sink pool=16M pool-max=16M
	says t1 "take 192" '.buffers == 192 and .error == ""'
done
# as it is between the two
freeze_as_daemon "$(echo "$slots"/*/sink)" pages
kill -9 "$(daemon_pid)"
wait_for 15 "the daemon is back" daemon_is_up
wait_for 5 "the slot runs" runs sink
says t1 check '.buffers == 192 and .bad == 0'

say "kill: the task that keeps them, of whatever user, and no other"
expect set tmctl set sink pool=8M pool-max=8M revoke=kill
task_ends t1
[ "$status" = 137 ] || fail "it ended with $status, not by SIGKILL"
says t2 check '.buffers == 64 and .bad == 0'
wait_for 5 "its pages" charge_is sink 4
says t2 quit ''
task_ends t2

# FLINK-12852: a request for what was guaranteed waited for who had it as excess, until its time was over
say "a guarantee does not wait for a slot that is to be waited for"
expect set tmctl set sink pool=0 pool-max=128M revoke=wait revoke-deadline=1s
task t1 sink $alice
says t1 "attach 64 0" '.held == 64'
says t1 "open 65536 0 0" '.error == null'
says t1 "take 2048" '.buffers == 2048'
node_free_is $((before - 64)) || fail "$(pages_free 1) free"
expect add tmctl add rich node=1 pool=32M
wait_for 5 "it has a deadline" info_is t1 '.leftMs > 0 or .revoked > 0'
wait_for 5 "what is guaranteed is there" node_free_is $((before - 48))
charge_is sink 96 || fail "more was taken: $(cgroup sink hugetlb.2MB.current)"
task t3 rich
says t3 "attach 16 0" '.held == 16'

say "and a task cannot take by itself what was not handed out"
expect set tmctl set rich pool=0 pool-max=32M
says t3 detach '.error == null'
limit_is rich 0 || fail "limit $(cgroup rich hugetlb.2MB.max)"
exit 0
