# SPDX-License-Identifier: Apache-2.0
# A task that ends in the middle of sending: its huge pages come back at once, those whose bytes the
# kernel still reads (sent without a copy) when the peer is gone, and then the next task gets all.
# FLINK-20013: a writer that failed kept them.
# takes: 25
. ./lib.sh
. ./task.bash
fresh_daemon
MIB=1048576
N=16
# what is in the kernel is not more than half a MiB, and 16 buffers go at once
BYTES=16384 BUFFERS=2048

pages_free() { cat "/sys/devices/system/node/node$1/hugepages/hugepages-2048kB/free_hugepages"; }
pages_charged() { echo $(($(cgroup source hugetlb.2MB.current) / (2 * MIB))); }
# are_taken N: so many pages, and by the slot
are_taken() { [ "$(pages_charged)" = "$1" ] && [ "$(pages_free 1)" = $((before - $1)) ]; }

# Something was sent, more waits, and nothing goes on.
is_stalled() {
	local last=$reply
	ask t1 sent
	[ "$reply" = "$last" ] && [[ $reply != *'"bytes":0,'* && $reply != *'"queued":0}'* ]]
}

# Less than all, and so since the last look.
is_settled() {
	local last=$n_pinned
	n_pinned=$(pages_charged)
	[ "$n_pinned" = "$last" ] && [ "$n_pinned" -lt $N ] && are_taken "$n_pinned"
}

# end_in_flight ENGINE copy|pin kill|exit
end_in_flight() {
	local engine=$1 how=$2 end=$3 port peer pid n_pinned=-1
	say "$engine, $how: $end with sends in flight"
	rm -f /run/deaf
	$vm_task deaf >/run/deaf &
	peer=$!
	wait_for 10 "the peer listens" test -s /run/deaf
	read -r port </run/deaf
	task t1 source env TASKMEM_ENGINE="$engine"
	says t1 "attach $N $N" ".held == $N"
	pid=$(jq .pid <<<"$reply")
	says t1 "open $BYTES 0 0" '.error == null'
	says t1 "take $BUFFERS" ".buffers == $BUFFERS and .error == \"\""
	are_taken $N || fail "$(pages_charged) pages charged, $(pages_free 1) free"
	says t1 "connect tcp:127.0.0.1:$port $how" ".engine | endswith(\"$engine\")"
	says t1 send ".buffers == $BUFFERS and .error == \"\""
	wait_for 20 "the peer takes no more" is_stalled
	echo "in flight: $reply"
	case $end in
	kill) kill -9 "$pid" ;;
	exit) says t1 exit '' ;;
	esac
	task_ends t1
	[ "$end $status" = "kill 137" ] || [ "$end $status" = "exit 0" ] || fail "it ended with $status"
	if [ "$how" = pin ]; then
		wait_for 10 "what the socket does not read is back" is_settled
		echo "$n_pinned of $N pages are read by the socket of a task that is gone"
		[ "$n_pinned" -gt 0 ] || fail "nothing was in flight without a copy"
		# they are in nobody's pool, and are not handed out while they are read
		task t2 source
		says t2 "attach 1 0" ".held == $((N - n_pinned))"
		says t2 detach '.error == null'
		says t2 quit ''
		task_ends t2
		are_taken "$n_pinned" || fail "$(pages_charged) pages charged, $(pages_free 1) free"
		kill -9 $peer
		wait_for 5 "they are back once the peer is gone" are_taken 0
	else
		wait_for 5 "all pages are back, whatever the peer does" are_taken 0
		kill -9 $peer
	fi
	wait $peer 2>/dev/null
	task t3 source
	says t3 "attach $N $N" ".held == $N"
	says t3 "open $BYTES $BUFFERS 0" '.error == null'
	says t3 "take $BUFFERS" ".buffers == $BUFFERS and .error == \"\""
	says t3 nodes ".nodes == [0, $((BUFFERS * BYTES / 4096)), 0, 0]"
	says t3 quit ''
	task_ends t3
	wait_for 5 "the pages of the next one" are_taken 0
	[ "$(slot source .poolGrantedBytes)" = 0 ] || fail "granted: $(slot source .poolGrantedBytes)"
}

expect add tmctl add source node=1 pool=$((N * 2))M pool-max=$((N * 2))M
before=$(pages_free 1)
for end in kill exit; do
	end_in_flight uring copy $end
	end_in_flight uring pin $end
	end_in_flight epoll copy $end
done
[ "$(systemctl show -P NFileDescriptorStore taskmemd)" = 0 ] ||
	fail "left in the fd store: $(systemctl show -P NFileDescriptorStore taskmemd)"
exit 0
