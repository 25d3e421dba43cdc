# SPDX-License-Identifier: Apache-2.0
# Sourced by the system tests, which run as root in the virtual machine with taskmem installed.
# A test is a script that ends with status 0; fail() says what was wrong.
#
# To start a process takes an emulated processor 50 ms (jq 150, systemctl 500), and the tests run
# as many machines as there are processors: what is done in loops is done without.

set -u
slots=/sys/fs/cgroup/taskmem.slice/taskmem-slots.scope
stream=/usr/libexec/taskmem/demo_stream
socket=unix:/run/taskmem/io.taskmem

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

# The seconds since the script began go with it: they show where the time of a test goes.
say() { echo "--- $SECONDS s: $*"; }

# expect TEXT COMMAND…: the command must succeed
expect() {
	local what=$1
	shift
	"$@" || fail "$what: $* (status $?)"
}

# refuse STATUS COMMAND…: the command must end with that status
refuse() {
	local want=$1 got
	shift
	"$@"
	got=$?
	[ "$got" -eq "$want" ] || fail "$*: status $got, not $want"
}

# pause SECONDS, without a process
exec {pause_fd}<> <(:)
pause() { read -rt "$1" -u "$pause_fd" || true; }

# wait_for SECONDS WHAT COMMAND…: until the command succeeds; the longer it has waited the longer it
# waits before it looks again, for looking takes a good part of an emulated processor
wait_for() {
	local end=$((SECONDS + $1)) what=$2 looks=0
	shift 2
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || fail "waited in vain: $what"
		case $((looks++)) in
		[0-3]) pause 0.2 ;;
		[4-7]) pause 0.4 ;;
		*) pause 0.8 ;;
		esac
	done
}

mib() { echo $(($1 / 1048576)); }

# close_to VALUE WANTED PERCENT
close_to() { [ $((($1 - $2) * 100)) -le $(($2 * $3)) ] && [ $((($2 - $1) * 100)) -le $(($2 * $3)) ]; }

# slot NAME JQ: a value out of the slot's JSON; a number or a word of it without jq
slot() {
	local json value key="\"${2#.}\":"
	json=$(tmctl --json show "$1")
	value=${json#*"$key"}
	if [[ $2 =~ ^\.[a-zA-Z]+$ && $value != "$json" && $value != *"$key"* &&
		$value =~ ^(\"([^\"\\]*)\"|[^][{}\",]+)[,}] ]]; then
		[[ $value = \"* ]] && echo "${BASH_REMATCH[2]}" || echo "${BASH_REMATCH[1]}"
	else
		jq -r ".slots[0] | $2" <<<"$json"
	fi
}

# slot_is NAME JQ VALUE: for wait_for, which must ask again each time
slot_is() { [ "$(slot "$1" "$2")" = "$3" ]; }

# cgroup SLOT FILE [FILE…]: what the kernel's files of the slot say
cgroup() {
	local dirs=("$slots"/*/"$1") f text
	shift
	for f; do
		[ -e "${dirs[0]}/$f" ] || return 1
		text=
		IFS= read -rd '' text <"${dirs[0]}/$f"
		printf %s "$text"
	done
}

# freeze_as_daemon DIR pages|pause: as the daemon does when it takes pages, or in an emergency. Perl,
# for there is no setfattr; 188 is setxattr()
freeze_as_daemon() {
	# shellcheck disable=SC2016
	perl -e 'syscall(188, $ARGV[0], $ARGV[1], $ARGV[2], 5, 0) == 0 or die $!' "$1" user.taskmem.frozen "$2" ||
		fail "no note on $1"
	echo 1 >"$1/cgroup.freeze"
}

# loop_turns FIELD: how long the daemon's event loop was held up, since it started
loop_turns() { tmctl --json info | jq -r ".loop.$1"; }

# loop_was_quick BEFORE: hardly any turn took more than 100 ms since over100Msec was BEFORE, which is
# 10 ms where nothing is emulated: none on a quiet host, a few where two machines share its
# processors. What waited for reclaim would take seconds.
loop_was_quick() {
	local loop
	loop=$(tmctl --json info | jq -c .loop)
	say "turns of the loop: $loop"
	jq -e ".over100Msec <= $1 + 2 + .turns / 50 and .longestUsec < 1000000" <<<"$loop" >/dev/null ||
		fail "the daemon's loop was held up"
}

# 0: none
daemon_pid() {
	local pid=0
	{ read -r pid </sys/fs/cgroup/taskmem.slice/taskmemd.service/cgroup.procs; } 2>/dev/null
	echo "${pid:-0}"
}

daemon_is_up() { [ "$(daemon_pid)" != 0 ] && tmctl list >/dev/null 2>&1; }

# all_off: no daemon, no slots, no tasks
all_off() {
	systemctl stop taskmemd.service taskmem-slots.scope 2>/dev/null
	true
}

# fresh_daemon [CONFIG LINES on standard input]: no slots, no state, the given configuration.
# Default: 400M of each node, 64 huge pages on each.
fresh_daemon() {
	all_off
	systemctl clean --what=fdstore taskmemd.service 2>/dev/null
	rm -rf /var/lib/taskmem
	mkdir -p /etc/taskmem
	if [ -t 0 ] || ! read -r -t 0.1 first; then
		printf '[node default]\nbudget=400M\nhugepages=64\n' >/etc/taskmem/taskmemd.conf
	else
		{ echo "$first" && cat; } >/etc/taskmem/taskmemd.conf
	fi
	expect "the daemon starts" systemctl start taskmemd.service
}

# hog SLOT OPTION…: demo_stream hog in the slot, in the background; its pid is in $hog_pid and
# its lines are in /run/hog.SLOT
hog() {
	local name=$1
	shift
	tmctl run "$name" -- "$stream" hog "$@" >"/run/hog.$name" 2>&1 &
	hog_pid=$!
}

# swap_on [SIZE]: swap in compressed memory, 1 GiB unless told, once
swap_on() {
	grep -q zram /proc/swaps && return
	modprobe zram && echo "${1:-1G}" >/sys/block/zram0/disksize && mkswap /dev/zram0 >/dev/null &&
		swapon -p 100 /dev/zram0 || fail "no swap could be made"
	echo 0 >/proc/sys/vm/page-cluster
}

swap_off() { grep -q zram /proc/swaps && swapoff /dev/zram0 && echo 1 >/sys/block/zram0/reset; true; }
