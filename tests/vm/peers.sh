# SPDX-License-Identifier: Apache-2.0
# Peers that say nothing, say too much, or go without a word hold no buffer and stop nobody.
# takes: 40
. ./lib.sh
. ./task.bash
fresh_daemon
MIB=1048576
trap '[ $? = 0 ] || echo "the last answer was: $reply"' EXIT

open_is() { ask serve info && [ "$(jq .open <<<"$reply")" = "$1" ]; }
# no buffer is held and so many channels are open
calm() { ask serve info && [ "$(jq .held <<<"$reply")" = 0 ] && open_is "$1"; }
no_more_than() { ask serve info && [ "$(jq .held <<<"$reply")" = 0 ] && [ "$(jq .open <<<"$reply")" -le "$1" ]; }
no_page_is_held() { [ "$(cgroup net hugetlb.2MB.current)" = 0 ]; }

# honest PORT: an honest sender is received in full, with the right checksum
honest() {
	local sent
	sent=$(timeout 60 $vm_task send "$1" $((4 * MIB))) || fail "the honest sender is stuck ($2)"
	sum=$(jq -r .crc32 <<<"$sent")
}

# received SUM: that stream has come through
received() {
	ask serve channels
	jq -e --arg sum "$1" '[.channels[] | select(.crc32 == $sum and .bytes == 4194304 and .closed and .error == "")] | length == 1' \
		<<<"$reply" >/dev/null
}

run_engine() {
	local kind=$1 port peers=()
	rm -f /run/idle /run/garbage
	say "$kind: 200 connections that say nothing"
	task serve net env TASKMEM_ENGINE="$kind"
	says serve "attach 1 0" '.held == 4'
	says serve "open 32768 64 0" '.error == null'
	# a peer that vanished is noticed after 20 s
	says serve "listen tcp:127.0.0.1:0 20" '.port > 0'
	port=$(jq .port <<<"$reply")
	[[ $(jq -r .engine <<<"$reply") = *"$kind"* ]] || fail "not the $kind engine: $reply"
	[[ $(slot net .engine) = *"$kind" ]] || fail "shown is engine $(slot net .engine)"
	tmctl list | grep -q "^net .*running; [io_]*$kind" || fail "$(tmctl list)"
	$vm_task idle "$port" 200 >/run/idle &
	peers+=($!)
	wait_for 30 "200 connections" open_is 200
	says serve info '.held == 0 and .waiters == 0'
	[ "$kind" = epoll ] && { says serve info '.posted == 0'; }
	[ "$kind" = uring ] && { says serve info '.posted <= 64'; }

	say "$kind: an honest sender among them"
	honest "$port" idle
	wait_for 20 "the honest stream beside the silent ones" received "$sum"

	say "$kind: noise, resets, and ends that are never told"
	$vm_task garbage "$port" 8 70000 >/run/garbage &
	peers+=($!)
	wait_for 20 "noise is sent" test -s /run/garbage
	expect "reset" $vm_task reset "$port" 40
	expect "vanish" $vm_task vanish "$port" 20
	honest "$port" noise
	wait_for 20 "the honest stream beside the others" received "$sum"
	wait_for 10 "those that were reset are closed" no_more_than 228
	wait_for 40 "those that vanished are noticed" calm 208
	ask serve channels
	jq -e '[.channels[] | select(.bytes == 70000 and (.closed | not))] | length == 8' <<<"$reply" >/dev/null ||
		fail "noise did not come through as it is"
	jq -e '[.channels[] | select(.error == "ECONNRESET")] | length > 0' <<<"$reply" >/dev/null ||
		fail "no channel says that it was reset"
	says serve info ".held == 0 and .waiters == 0 and .posted <= 64"

	say "$kind: they go, and everything can be given back"
	kill "${peers[@]}"
	wait "${peers[@]}" 2>/dev/null
	wait_for 10 "none is left" calm 0
	honest "$port" "after all"
	wait_for 20 "the honest stream after all" received "$sum"
	says serve close '.error == null'
	expect set tmctl set net pool=0 pool-max=0
	wait_for 5 "the pool is given back in full" no_page_is_held
	expect set tmctl set net pool=8M pool-max=8M
	says serve quit ''
	task_ends serve
}

expect add tmctl add net node=0 pool=8M
run_engine uring
run_engine epoll

say "tmctl run: silent, noisy and broken peers beside an honest one"
tmctl run net --listen tcp:127.0.0.1:7001 --report /run/report.json -- sh -c 'cat >/dev/null' 2>/run/run.log &
run=$!
wait_for 10 "it listens" grep -q listening /run/run.log
$vm_task idle 7001 100 >/run/idle &
idle=$!
$vm_task garbage 7001 2 100000 >/run/garbage &
garbage=$!
expect reset $vm_task reset 7001 10
expect vanish $vm_task vanish 7001 5
sum=$(timeout 60 $vm_task send 7001 $((4 * MIB)) | jq -r .crc32)
sleep 1
kill -TERM $run
wait $run
status=$?
cat /run/run.log
[ $status = 0 ] || fail "tmctl run ended with $status"
jq -e --arg sum "$sum" '[.streams[] | select(.crc32 == $sum and .bytes == 4194304)] | length == 1' /run/report.json >/dev/null ||
	fail "the honest stream is not in the report: $(cat /run/report.json)"
kill $idle $garbage

say "example_task counts what one peer sends"
tmctl run net -- /usr/libexec/taskmem/example_task listen tcp:127.0.0.1:7002 >/run/counted 2>/run/example.log &
example=$!
for _ in {1..40}; do
	printf 'one two three\nfour five\n%s\n' "$(seq 1 20000)" 2>/dev/null >/dev/tcp/127.0.0.1/7002 && break
	sleep 0.25
done 2>/dev/null
wait $example
[[ "$(cat /run/counted)" = *" 20002 lines, 20005 words" ]] || fail "counted: $(cat /run/counted /run/example.log)"

wait_for 5 "no page is held" no_page_is_held
[ "$(slot net .poolGrantedBytes)" = 0 ] || fail "granted: $(slot net .poolGrantedBytes)"
[ "$(cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages)" = 64 ] || fail "pages of node 0 are missing"
exit 0
