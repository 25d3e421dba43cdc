#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What taskmemd itself costs when nothing happens, by the number of slots: processor time and
# system calls, in a virtual machine. tests/run bench cost calls it when all is built.
#
# An emulated processor takes several times as long, so the bars are the ratio of the cost of a slot
# among many to that among fifty, and how many system calls a slot needs; and the part of a processor
# that is used, divided by how much longer the machine takes for the yardstick (bench_yardstick.h).
set -u
. "$(dirname "$(realpath "$0")")/lab/common.sh"

usage() {
	cat <<-EOT
	usage: tests/run bench cost [--tsv] [--awake] [--slots A,B,…]

	Adds slots, each with a process that sleeps, until there are so many (default 50,200,1000), and
	watches taskmemd for 20 s each time. With --awake each process works for a moment ten times a
	second, so that no slot is idle; use fewer of them.
	EOT
}

# jiffies of processor time of a process
cpu_ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }

# figure NAME OURS PEER UNIT BAR: a line of the table; BAR is the most that OURS / PEER may be
figure() {
	awk -v tsv="$tsv" -v name="$1" -v ours="$2" -v peer="$3" -v unit="$4" -v bar="$5" 'BEGIN {
		ratio = peer > 0 ? ours / peer : 0
		ok = ratio <= bar ? "ok" : "FAIL"
		if (tsv)
			printf "%s\t%.3f\t%.3f\t%.3f\t%s\t\t\t%s\t%s\n", name, ours, peer, ratio, unit, bar, ok
		else
			printf "%-36s %10.1f %10.1f %8.2f  %-5s <= %s %s\n", name, ours, peer, ratio, unit, bar, ok
	}'
}

# In the machine. $1: numbers of slots
guest() {
	local n=0 pid before after cpu calls first='' seconds=20 counts=${1//,/ } figure slower task=(sleep 100000)
	. /src/tests/vm/lib.sh
	printf '[node default]\nbudget=1000M\n' | fresh_daemon
	if [ -n "$awake" ]; then
		task=("/usr/libexec/taskmem/bench_cost_read" for-ever)
	fi
	[ -n "$tsv" ] || printf '%-36s %10s %10s %8s  %s\n' '' 'so many' 'the first' ratio unit
	for count in $counts; do
		while [ $n -lt "$count" ]; do
			n=$((n + 1))
			tmctl add "s$n" node=$((n % 2)) >/dev/null || fail "slot $n"
			"${task[@]}" &
			echo $! >"$slots/node$((n % 2))/s$n/cgroup.procs"
		done
		sleep 8 # they are found idle
		pid=$(daemon_pid)
		before=$(cpu_ticks "$pid")
		sleep $seconds
		after=$(cpu_ticks "$pid")
		timeout --signal=INT $seconds strace -c -U calls,name -f -p "$pid" -o /run/calls 2>/dev/null
		calls=$(awk '$NF == "total" { print $1 }' /run/calls)
		cpu=$(((after - before) * 1000000 / $(getconf CLK_TCK)))
		slower=$(awk -v here="$(/usr/libexec/taskmem/bench_cost_read)" -v host="$host_us" \
			'BEGIN { print here / host }')
		first=${first:-$cpu $calls $count}
		awk -v OFS='|' -v n="$count" -v s=$seconds -v cpu="$cpu" -v calls="$calls" -v first="$first" \
			-v slower="$slower" 'BEGIN {
			split(first, f)
			print "% here / how much slower it is, " n, cpu / s / 1e4, slower, "%", n / 50
			print "us of processor for each slot, " n, cpu / n / s, f[1] / f[3] / s, "us/s", 1.3
			print "system calls for each slot, " n, calls / n / s, f[2] / f[3] / s, "1/s", 1.3
		}' | while IFS='|' read -r -a figure; do figure "${figure[@]}"; done
		[ -n "$tsv" ] || sort -rn /run/calls | sed -n '2,6s/^/      /p'
	done
	all_off
}

tsv='' counts=50,200,1000 is_guest='' host_us='' awake=''
while [ $# -gt 0 ]; do
	case $1 in
	--tsv) tsv=1 ;;
	--awake) awake=1 ;;
	--slots)
		counts=${2:-}
		shift
		;;
	--guest) # with what the yardstick takes on the host
		is_guest=1 host_us=${2:-}
		shift
		;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift
done
[[ $counts =~ ^[0-9]+(,[0-9]+)*$ ]] || die "--slots wants numbers, as 50,200,1000"
if [ -n "$is_guest" ]; then
	guest "$counts"
	exit
fi
use_root
host_us=$("$lab_dir/enter" "$build/gcc/tests/bench_cost_read") || exit 1
run_child "$lab_dir/vm" --timeout 1200 bash /src/tests/bench_cost.sh --guest "$host_us" --slots "$counts" ${tsv:+--tsv} \
	${awake:+--awake}
