# SPDX-License-Identifier: Apache-2.0
# Admission: what is granted of a need, what waits and is served when room comes, what a running
# task asks for and gives back, and what is remembered of a name.
# takes: 36
# timeout: 300
. ./lib.sh
. ./task.bash

queue() { tmctl --json queue | jq -r ".waiting[] | select(.slot == \"$1\") | $2"; }
waits() { [ -n "$(queue "$1" .slot)" ]; }
waits_not() { [ -z "$(queue "$1" .slot)" ]; }
file_is() { [ "$(cgroup "$1" "$2")" = "$3" ]; }
gone() { ! tmctl show "$1" >/dev/null 2>&1; }
is_there() { tmctl show "$1" >/dev/null 2>&1; }
# refused TEXT COMMAND…: status 6, and the text in the message
refused() {
	local text=$1 message
	shift
	message=$("$@" 2>&1)
	[ $? -eq 6 ] || fail "$*: not refused: $message"
	[[ $message = *"$text"* ]] || fail "$*: no \"$text\" in: $message"
}

useradd -u 1000 -m alice 2>/dev/null
alice="setpriv --reuid=1000 --regid=1000 --clear-groups"
# 392M of each node can be promised, 470.4M be booked by tiers 1 to 3
fresh_daemon

say "needs are granted in full, smaller, or refused with the number"
expect add tmctl add a node=0 --need 200M
expect add tmctl add b node=0 need=200M
[ "$(slot a '[.needBytes, .grantBytes, .needPredicted] | tojson')" = '[209715200,209715200,false]' ] || fail "$(tmctl --json show a)"
refused "70.4M is still free" tmctl add c node=0 --need 100M
refused "min-grant=80M" tmctl add c node=0 --need 100M --min-grant 80M
tmctl add c node=0 --need 100M --min-grant 50M | grep -q "granted 70M of a need of 100M" || fail "c: $(tmctl show c)"
[ "$(slot c .grantBytes)" = $((70 << 20)) ] || fail "c: $(tmctl --json show c)"
expect "the same again" tmctl add c node=0 --need 100M --min-grant 50M
refused "overcommit 1.20 for tier 1" tmctl set c need=101M
expect "less" tmctl set c need=60M
[ "$(slot c '[.needBytes, .grantBytes] | tojson')" = '[62914560,62914560]' ] || fail "$(tmctl --json show c)"
expect "a need that its max cuts off" tmctl add g node=0 need=70M max=8M
refused "max=64M on node 0: booked needs would sum to 524M of 470.4M" tmctl set g max=64M
expect "less" tmctl set g max=4M tier=2
expect rm tmctl rm g
expect "a guarantee fits" tmctl add d node=0 min=100M
expect "tier 0 counts lower tiers by their guarantees" tmctl add e node=0 tier=0 need=290M
refused "overcommit 1.00 for tier 0" tmctl add f node=0 tier=0 need=3M
refused "tier=0 on node 0: booked needs would sum to 590M of 392M" tmctl set a tier=0
[ "$(slot a .tier)" = 1 ] || fail "$(tmctl --json show a)"
for s in c d e; do tmctl rm $s; done
tmctl --json list | jq -e '.nodes[] | select(.node == 0) | .bookedBytes == 419430400' >/dev/null || fail "$(tmctl --json list)"

say "grants survive a restart"
kill -9 "$(daemon_pid)"
wait_for 15 "the daemon is back" daemon_is_up
[ "$(slot a '[.needBytes, .grantBytes] | tojson')" = '[209715200,209715200]' ] || fail "$(tmctl --json show a)"

say "the queue"
refused "1.2G of 470.4M" tmctl add never node=0 --need 1.2G --wait
refused "after 1." tmctl add short node=0 --need 200M --wait=1s
tmctl add q node=0 --need 200M --wait --request-id r1 2>/run/q.err >/run/q.out &
q=$!
wait_for 5 "q waits" waits q
tmctl add r node=0 --need 150M --wait 2>/run/r.err >/run/r.out &
r=$!
wait_for 5 "r waits" waits r
tmctl queue
tmctl list | grep -q "2 requests wait" || fail "$(tmctl list)"
[ "$(queue r .position)" = 2 ] || fail "$(tmctl queue)"
expect "a small one passes" tmctl add small node=0 --need 20M
[ "$(queue q .passed)" = 1 ] || fail "passed: $(tmctl --json queue)"
expect rm tmctl rm small
# ^C leaves the queue; a job of this script ignores it, so another signal
kill $r
wait_for 5 "r has left" waits_not r
gone r || fail "r was made after all"

say "a daemon that is restarted does not lose who waits, nor its age"
before=$(queue q .waitedUsec)
kill -9 "$(daemon_pid)"
wait_for 15 "the daemon is back" daemon_is_up
wait_for 15 "q waits again" waits q
[ "$(queue q .waitedUsec)" -gt "$before" ] || fail "q is younger now"
expect rm tmctl rm b
wait_for 5 "q is served" is_there q
wait $q || fail "q: $(cat /run/q.err)"
grep -q "q waits, place 1 of 1: need=200M on node 0" /run/q.err || fail "q was told: $(cat /run/q.err)"
grep -q "granted 200M" /run/q.out || fail "$(cat /run/q.out)"
expect "the same request again" tmctl add q node=0 --need 123M --request-id r1
refuse 1 tmctl add q node=0 --need 123M --request-id r2
tmctl rm a
tmctl rm q

say "a task asks for more, and its end gives it back"
expect add tmctl add heavy node=0 min=16M pool=4M need=200M owner=alice
task root heavy
says root "attach 1 2" '.slot == "heavy"'
says root "request $((64 << 20)) 0" '.error == null'
file_is heavy memory.min $((80 << 20)) || fail "memory.min $(cgroup heavy memory.min)"
[ "$(slot heavy .requestedBytes)" = $((64 << 20)) ] || fail "$(tmctl --json show heavy)"
says root info ".requested == $((64 << 20))"
says root release '.error == null'
wait_for 5 "it is given back" file_is heavy memory.min $((16 << 20))
says root "request $((64 << 20)) 0" '.error == null'
kill -9 "$(cgroup heavy cgroup.procs)"
wait_for 5 "a killed task's is given back" file_is heavy memory.min $((16 << 20))
task_ends root

say "the owner may ask for the need it was given; not beyond the node, nor the max"
task al heavy $alice
says al "attach 1 2" '.slot == "heavy"'
says al "request $((185 << 20)) 0" '.error == "EDQUOT" and (.message | contains("a need of 200M"))'
expect add tmctl add wall node=0 min=300M
says al "request $((100 << 20)) 0" ".error == \"EDQUOT\" and .needed == $((416 << 20)) and (.message | contains(\"100M more: min=116M\"))"
says al "request $((100 << 20)) 500" '.error == "EDQUOT" and (.message | contains("in the queue"))'
expect "max below" tmctl set heavy max=64M
says al "request $((60 << 20)) 0" '.error == "EDQUOT" and (.message | contains("max=64M"))'
refused "max=max on node 0: booked needs would sum to 500M of 470.4M" tmctl set heavy max=max
expect "max above" tmctl set heavy max=170M
says al "request $((100 << 20)) 40000" ''
wait_for 5 "it waits" waits heavy
[ "$(queue heavy '[.kind, .bytes] | tojson')" = '["request",104857600]' ] || fail "$(tmctl --json queue)"
for ((i = 1; i <= 16; i++)); do expect "slot $i that passes" tmctl add p$i node=0 min=1M; done
[ "$(queue heavy '[.passed, .due] | tojson')" = '[16,true]' ] || fail "$(tmctl --json queue)"
refused "waited long enough" tmctl add p17 node=0 min=1M
expect "a higher tier" tmctl add p0 node=0 tier=0 min=1M
expect rm tmctl rm wall
read -r -t 10 -u "${task_out[al]}" reply && [ "$reply" = "{}" ] || fail "alice got $reply"
file_is heavy memory.min $((116 << 20)) || fail "memory.min $(cgroup heavy memory.min)"
refused "is still free" tmctl add wall node=0 min=300M

say "a restart of the daemon: it is asked for again"
kill -9 "$(daemon_pid)"
wait_for 15 "the daemon is back" daemon_is_up
asked_again() { ask al info && jq -e ".requested == $((100 << 20))" <<<"$reply" >/dev/null; }
wait_for 15 "it is held again" asked_again
file_is heavy memory.min $((116 << 20)) || fail "memory.min $(cgroup heavy memory.min)"
says al quit ''
task_ends al
wait_for 5 "the end gives it back" file_is heavy memory.min $((16 << 20))
expect rm tmctl rm heavy

say "what a name needed is remembered, over a restart, and predicts"
expect add tmctl add hungry node=1
hog hungry --bytes 150M --seconds 600
used() { [ "$(cgroup hungry memory.current)" -gt $((150 << 20)) ]; }
wait_for 60 "the hog has its memory" used
sleep 2
expect rm tmctl rm hungry --kill
wait 2>/dev/null
sleep 3
[ -s /var/lib/taskmem/history.json ] || fail "no history was stored"
kill -9 "$(daemon_pid)"
wait_for 15 "the daemon is back" daemon_is_up
tmctl add hungry node=1 | grep "from the history of the name" || fail "nothing predicted: $(tmctl --json show hungry)"
need=$(slot hungry .needBytes)
# 150M and its page tables, up to the end of a bucket of 5 %, and 15 %
[ "$need" -ge $((172 << 20)) ] && [ "$need" -le $((200 << 20)) ] || fail "predicted $need"
expect "the same again" tmctl add hungry node=1
expect rm tmctl rm hungry
expect add tmctl add big node=1 need=400M
tmctl add hungry node=1 || fail "a guess must not refuse"
[ "$(slot hungry .grantBytes)" = $((70 << 20)) ] || fail "$(tmctl --json show hungry)"

say "nor is a guess waited for that no machine could fulfil"
expect rm tmctl rm big
expect rm tmctl rm hungry
printf '[daemon]\novercommit=0.4\n[node default]\nbudget=400M\nhugepages=64\n' >/etc/taskmem/taskmemd.conf
expect restart systemctl restart taskmemd.service
wait_for 15 "the daemon is back" daemon_is_up
expect "a guess of more than 156.8M" tmctl add hungry node=1 --wait=20s
[ "$(slot hungry '.needBytes > .grantBytes')" = true ] || fail "$(tmctl --json show hungry)"
[ "$(slot hungry .grantBytes)" = $((156 << 20)) ] || fail "$(tmctl --json show hungry)"
refused "156.8M" tmctl add told node=1 --need 200M --wait=20s

say "a torn file is set aside and said"
systemctl stop taskmemd
truncate -s 100 /var/lib/taskmem/history.json
expect start systemctl start taskmemd
[ -e /var/lib/taskmem/history.json.bad-1 ] || fail "not set aside"
tmctl events | grep -q history-set-aside || fail "not said: $(tmctl events)"
exit 0
