# SPDX-License-Identifier: Apache-2.0
# tmctl run --listen and --connect: a program is fed what is received, in no more buffers than it was
# told; a slow one makes its senders wait; ^C, a reset and the program's end come out as the status
# that the manual says.
# takes: 40
. ./lib.sh
fresh_daemon
MIB=1048576

pages_are() { [ "$(cgroup sink hugetlb.2MB.current)" = $(($1 * 2 * MIB)) ]; }
log_says() { grep -q "$1" /run/run.log; }
bytes_flow() { [ "$(cat /run/progress)" != 0 ]; }
slot_is_empty() { [ -z "$(cgroup sink cgroup.procs)" ]; }

# run OPTION… -- PROGRAM…: in the background, at the head of a process group as a shell would start
# it; its pid is in $run. What is started in the background of a script ignores ^C otherwise.
run() {
	rm -f /run/run.log /run/report.json
	setsid env --default-signal=INT tmctl run sink --report /run/report.json "$@" 2>/run/run.log &
	run=$!
}
listens() {
	run --listen tcp:127.0.0.1:7001 "$@"
	wait_for 10 "it listens" log_says listening
}
interrupt() { kill -INT -- -$run; }
ends_with() {
	wait $run
	local got=$?
	[ $got = "$1" ] || fail "status $got, not $1: $(cat /run/run.log)"
}
reports() { jq -e "$1" /run/report.json >/dev/null || fail "not $1: $(cat /run/report.json)"; }

# a peer that sends 1 MiB of lines and is gone with a reset once /run/go is there
cat >/run/peer.py <<-'PY'
	import os, socket, struct, sys, time
	address = ("127.0.0.1", int(sys.argv[2]))
	if sys.argv[1] == "serve":
	    server = socket.create_server(address)
	    open("/run/ready", "w").close()
	    s, _ = server.accept()
	else:
	    s = socket.create_connection(address)
	s.sendall(b"0123456\n" * 131072)
	while not os.path.exists("/run/go"):
	    time.sleep(0.05)
	s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
	s.close()
PY
# what it is read by, which reads on afterwards
# shellcheck disable=SC2016
reads_most='head -c 1000000 >/dev/null; touch /run/go; cat >/dev/null'

# busy_ticks: of 40 or so, those in which the idle connection kept tmctl running
busy_ticks() {
	local before after
	echo x >&"$connection"
	pause 0.2
	before=$(awk '{ print $14 + $15 }' "/proc/$run/stat")
	pause 0.4
	after=$(awk '{ print $14 + $15 }' "/proc/$run/stat")
	echo $((after - before))
}

expect add tmctl add sink node=0 pool=4M

say "the status of what cannot be run or reached"
touch /run/plain
refuse 126 tmctl run sink -- /run/plain
refuse 126 tmctl run sink --listen tcp:127.0.0.1:7001 -- /run/plain
refuse 127 tmctl run sink --listen tcp:127.0.0.1:7001 -- no-such-program
refuse 125 tmctl run sink --connect tcp:127.0.0.1:7001 -- cat 2>/run/run.log
log_says 'connection tcp:127.0.0.1:7001: Connection refused' || fail "$(cat /run/run.log)"

for kind in uring epoll; do
	export TASKMEM_ENGINE=$kind

	say "$kind: --connect feeds what one peer sends, in the buffers that it was told to take"
	$stream serve --port 7001 --bytes 6000000 >/run/served 2>/run/serve.log &
	served=$!
	wait_for 10 "the peer is there" grep -q 'at port' /run/serve.log
	run --connect tcp:127.0.0.1:7001 --buffer 64K --buffers 16 -- sh -c 'wc -c >/run/counted'
	ends_with 0
	wait $served || fail "the peer: $(cat /run/serve.log)"
	[ "$(cat /run/counted)" = "$(jq .bytes /run/served)" ] || fail "counted $(cat /run/counted): $(cat /run/served)"
	reports ".bytes == $(jq .bytes /run/served) and .crc32 == $(jq .crc32 /run/served) and .bufferBytes == 65536"
	reports '.connections == 1 and .error == "" and .exitStatus == 0'
	log_says 'connecting to tcp:127.0.0.1:7001, slot sink, buffers of 64K' || fail "$(cat /run/run.log)"

	say "$kind: a program that does not read makes the sender wait, in one page of two"
	rm -f /run/go /run/stop
	mkfifo /run/go
	listens --once --buffer 64K --buffers 16 -- sh -c 'read -r go </run/go; wc -c >/run/counted'
	echo 0 >/run/progress
	{
		exec 3>/dev/tcp/127.0.0.1/7001
		for ((i = 1; ; i++)); do
			head -c 1M /dev/zero >&3 || exit 1
			echo $i >/run/progress
			[ ! -e /run/stop ] || exit 0
		done
	} &
	sender=$!
	wait_for 30 "bytes flow" bytes_flow
	seen=-1
	until [ "$(cat /run/progress)" = "$seen" ]; do
		seen=$(cat /run/progress)
		pause 2
	done
	[ "$seen" -gt 0 ] && [ "$seen" -lt 40 ] || fail "$seen MiB were taken"
	pages_are 1 || fail "pages: $(cgroup sink hugetlb.2MB.current)"
	tmctl --json show sink --pools >/run/pools
	jq -e '.tasks[0].pools[0] | .bufferBytes == 65536 and .maxBuffers == 16 and .highWater <= 16 and .idle + .held + .posted <= 16' \
		/run/pools >/dev/null || fail "$(cat /run/pools)"
	[ "$(cgroup sink memory.current)" -lt $((32 * MIB)) ] || fail "memory: $(cgroup sink memory.current)"
	kill -0 $sender || fail "the sender is gone"
	touch /run/stop
	echo now >/run/go
	ends_with 0
	wait $sender || fail "the sender failed"
	[ "$(cat /run/counted)" = $(($(cat /run/progress) * MIB)) ] ||
		fail "$(cat /run/counted) of $(cat /run/progress) MiB arrived"

	say "$kind: ^C ends the stream, and the program with what was received"
	rm -f /run/first /run/go
	touch /run/go
	listens -- bash -c 'read -r line; echo "$line" >/run/first; wc -c >/run/counted'
	exec {connection}<>/dev/tcp/127.0.0.1/7001
	printf 'first\nrest' >&"$connection" # in one piece
	wait_for 10 "a line is passed on" test -s /run/first
	expect "another peer" python3 /run/peer.py connect 7001
	wait_for 10 "one of many that breaks is told" log_says 'connection .*: Connection reset'
	interrupt
	ends_with 0
	exec {connection}>&-
	reports '.connections == 2 and .exitStatus == 0 and ([.streams[] | select(.bytes == 10 and .error == "")] | length) == 1'
	reports ".bytes + .newlinesAdded == $(cat /run/counted) + $(wc -c </run/first)"
	pages_are 0 || fail "pages are left"

	say "$kind: a second ^C is for the program, and its status is passed on"
	listens -- sh -c 'sleep 1000; exit 9'
	interrupt
	wait_for 10 "the stream has ended" pages_are 0
	pause 0.5
	kill -0 $run || fail "the first one ended it: $(cat /run/run.log)"
	slot_is_empty && fail "the first one ended the program"
	interrupt
	ends_with 130
	wait_for 5 "nothing of it is left" slot_is_empty

	say "$kind: a stream that breaks in the middle is status 125"
	rm -f /run/go
	listens --once -- sh -c "$reads_most"
	expect "the peer" python3 /run/peer.py connect 7001
	ends_with 125
	reports '.bytes >= 1000000 and .error == "Connection reset by peer" and .exitStatus == 125'
	log_says 'connection tcp:127.0.0.1:.*: Connection reset by peer' || fail "$(cat /run/run.log)"
	rm -f /run/go /run/ready
	python3 /run/peer.py serve 7001 &
	wait_for 10 "the peer is there" test -e /run/ready
	run --connect tcp:127.0.0.1:7001 -- sh -c "$reads_most"
	ends_with 125
	reports '.bytes >= 1000000 and .error == "Connection reset by peer" and .exitStatus == 125'

	say "$kind: but what the program says itself comes first"
	listens --once -- sh -c 'cat >/dev/null; exit 7'
	expect "the peer" python3 /run/peer.py connect 7001
	ends_with 7
	reports '.error == "Connection reset by peer" and .exitStatus == 7'

	say "$kind: --latency keeps it awake beside a connection, and no option lets it sleep"
	for latency in "" 1s; do
		listens --once ${latency:+--latency $latency} -- cat
		exec {connection}<>/dev/tcp/127.0.0.1/7001
		ticks=$(busy_ticks)
		exec {connection}>&-
		ends_with 0
		say "with \"$latency\": $ticks ticks"
		if [ "$latency" ]; then [ "$ticks" -ge 10 ]; else [ "$ticks" -le 5 ]; fi ||
			fail "$ticks ticks with latency \"$latency\""
	done
done
wait_for 5 "no page is held" pages_are 0
all_off
exit 0
