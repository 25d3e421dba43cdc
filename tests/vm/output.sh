# SPDX-License-Identifier: Apache-2.0
# tmctl run --output: what a program writes goes through pages of its slot to a peer, which can make
# it wait, and its status is passed on.
# takes: 30
. ./lib.sh
fresh_daemon

no_page_is_held() { [ "$(cgroup source hugetlb.2MB.current)" = 0 ]; }
log_says() { grep -q "$2" "/run/$1.log"; }

# receiver PROGRAM…: one that takes one connection on port 7002, in slot "sink"; its pid is in $sink
receiver() {
	rm -f /run/sink.log
	tmctl run sink --listen tcp:127.0.0.1:7002 --once --report /run/sink.json -- "$@" 2>/run/sink.log &
	sink=$!
	wait_for 10 "the receiver listens" log_says sink listening
}
ends_with() {
	wait "$1"
	[ $? = "$2" ] || fail "$3 did not end with $2: $(cat /run/*.log)"
}

expect add tmctl add source pool=4M
expect add tmctl add middle pool=4M
expect add tmctl add sink pool=4M

for kind in uring epoll; do
	export TASKMEM_ENGINE=$kind

	say "$kind: from one program to the next, through three slots"
	receiver sh -c 'sha256sum >/run/sum'
	tmctl run middle --listen tcp:127.0.0.1:7001 --once --output tcp:127.0.0.1:7002 \
		--report /run/middle.json -- tr a-m n-z 2>/run/middle.log &
	middle=$!
	wait_for 10 "the middle listens" log_says middle listening
	[ "$(cgroup middle hugetlb.2MB.current)" = $((4 << 20)) ] ||
		fail "pages of the middle: $(cgroup middle hugetlb.2MB.current)"
	tmctl run source --output tcp:127.0.0.1:7001 --report /run/source.json -- \
		sh -c 'seq 1 2000000 | tr 0-9 a-j; exit 7' 2>/run/source.log
	[ $? = 7 ] || fail "the status of the source: $(cat /run/source.log)"
	ends_with $middle 0 "the middle"
	ends_with $sink 0 "the receiver"
	[ "$(cut -d' ' -f1 /run/sum)" = "$(seq 1 2000000 | tr 0-9 a-j | tr a-m n-z | sha256sum | cut -d' ' -f1)" ] ||
		fail "something else arrived"
	jq -e '.bytes == 0 and .output.bytes == 14888896 and .output.error == "" and .exitStatus == 7' \
		/run/source.json || fail "report of the source"
	[ "$(jq -r .output.crc32 /run/source.json)" = "$(jq -r .crc32 /run/middle.json)" ] || fail "checksums"
	[ "$(jq -r .output.crc32 /run/middle.json)" = "$(jq -r .crc32 /run/sink.json)" ] || fail "checksums"
	log_says source "output 14888896 bytes" || fail "last line: $(cat /run/source.log)"
	no_page_is_held || fail "pages of the source are left"

	say "$kind: without a receiver the program is not started"
	rm -f /run/started
	refuse 125 tmctl run source --output tcp:127.0.0.1:7002 -- touch /run/started 2>/run/source.log
	[ ! -e /run/started ] || fail "it was started"
	log_says source "not started" || fail "no reason: $(cat /run/source.log)"
	refuse 125 tmctl run source --output nowhere -- true
	receiver cat
	refuse 127 tmctl run source --output tcp:127.0.0.1:7002 -- no-such-program
	ends_with $sink 0 "the receiver"

	say "$kind: a receiver that goes away ends the program"
	receiver sh -c 'head -c 1000 >/dev/null'
	tmctl run source --output tcp:127.0.0.1:7002 -- yes 2>/run/source.log >/dev/null
	[ $? = 141 ] || fail "not ended by SIGPIPE: $(cat /run/source.log)"
	wait $sink
	log_says source "output tcp:127.0.0.1:7002: " || fail "no reason: $(cat /run/source.log)"

	say "$kind: a receiver that does not read makes the program wait, in little memory"
	receiver sleep 1000
	echo 0 >/run/progress
	# shellcheck disable=SC2016
	tmctl run source --output tcp:127.0.0.1:7002 -- \
		bash -c 'for ((i = 1; ; i++)); do head -c 1M /dev/zero || break; echo $i >/run/progress; done' 2>/run/source.log &
	source=$!
	seen=-1
	until [ "$(cat /run/progress)" = "$seen" ]; do
		seen=$(cat /run/progress)
		sleep 2
	done
	[ "$seen" -gt 0 ] && [ "$seen" -lt 40 ] || fail "$seen MiB were taken"
	kill $sink
	sleep 0.5
	kill $sink # the second one is for its program
	wait $sink
	ends_with $source 125 "a program that ended well without its output"
	log_says source "output tcp:127.0.0.1:7002: " || fail "no reason: $(cat /run/source.log)"
	wait_for 5 "its pages are free" no_page_is_held
done
all_off
exit 0
