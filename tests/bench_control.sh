#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compares control laws on a real kernel, in virtual machines; see usage() below.
# tests/run bench control calls it when all is built.
set -u
. "$(dirname "$(realpath "$0")")/lab/common.sh"
results=$build/bench-control program=$build/gcc/tests/bench_control
database=$src/tests/bench_load_database.sh

usage() {
	cat <<-EOT
	usage: tests/run bench control [OPTION]…

	Runs each load under each policy in a virtual machine and prints a table. It has one node, for
	what is divided is the memory of one, and another has no part in it. What is finished
	is kept in $results,
	so an interrupted comparison goes on where it was; --forget begins anew.

	Without options it does what decides the bars, once:
	$("$lab_dir/enter" "$program" --list | tail -n 1)
	Bars that ask for every load are open until --full has been through. The one that is about
	processor time divides that by how much longer the emulated processor took than the host's to
	read the kernel's counters, before the run. With options, RocksDB is fetched as a package
	(4 MB, once): it is the database of load H4.

	  --load A,B     only these loads
	  --policy A,B   these policies for all loads, not only where they decide a bar
	  --reps N       repetitions of each       (default 1)
	  --full         all policies on all loads, 5 repetitions, with the multi-gen LRU lists
	                 and then with the legacy ones; takes days
	  --legacy       the legacy LRU lists only; results are kept apart
	  --report       run nothing, print what is there
	  --recorded     the same of the runs that the numbers in taskmem-control(7) are from; with
	                 --legacy of those with the legacy LRU lists
	  --tsv          the table as tab-separated values
	  --svg FILE     a picture, too
	  --search N     try N static splits of each load instead, and print the best; goes on where
	                 it was, and the policy "static" uses what was found
	  --boots N      end after that many machines
	  --minutes M    of one machine             (default 14)
	  --lock FILE    hold this lock while a machine runs
	  --forget       remove all results first
	  --list         loads and policies, and which of them are run without options
	EOT
}

# In a function, for bash reads a script as it runs it, and this one may be changed meanwhile.
main() {
	local args=() lrus=() lru lru_args dir status failed=0
	minutes=14 boots=1000 lock='' report='' tsv='' svg='' search=() full=''
	while [ $# -gt 0 ]; do
		case $1 in
		--load | --policy | --reps)
			[ $# -ge 2 ] || die "$1 needs a value"
			args+=("$1" "$2")
			shift
			;;
		--search)
			[[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "--search needs a number"
			search=("$1" "$2")
			shift
			;;
		--boots | --minutes | --lock | --svg)
			[ $# -ge 2 ] || die "$1 needs a value"
			printf -v "${1#--}" %s "$2"
			shift
			;;
		--full) full=1 args+=(--full) ;;
		--legacy) lrus=(legacy) ;;
		--report) report=1 ;;
		--recorded) report=1 results=$src/tests/recorded/control ;;
		--tsv) tsv=--tsv ;;
		--forget) rm -rf "$build/bench-control" "$build/bench-control-legacy" ;;
		--list) exec "$lab_dir/enter" "$program" --list ;;
		-h | --help) usage; exit 0 ;;
		*) usage >&2; exit 2 ;;
		esac
		shift
	done
	[[ $minutes =~ ^[0-9]+$ && $boots =~ ^[0-9]+$ ]] || die "--minutes and --boots are numbers"
	[ ${#lrus[@]} -gt 0 ] || lrus=(mglru ${full:+legacy})

	use_root
	for lru in "${lrus[@]}"; do
		dir=$results lru_args=("${search[@]}")
		[ "$lru" = mglru ] || { dir=$results-legacy lru_args+=(--legacy); }
		status=0
		[ -n "$report" ] || { mkdir -p "$dir" && measure; }
		print "$lru" || failed=1
		[ "$status" = 0 ] || [ "$status" = 75 ] || failed=1
	done
	exit $failed
}

# measure: machines until all is done, or as many as are asked for; sets status
measure() {
	local before after
	# a copy, so that the tree may be built anew meanwhile
	cp "$program" "$dir/program.new" && mv "$dir/program.new" "$dir/program" || exit 2
	# what is sorted in a load: 16 MiB of lines
	[ -s "$dir/text" ] || awk 'BEGIN {
		srand(1)
		for (i = 0; i < 400000; i++)
			printf "%08x %08x %08x %012d\n", rand() * 2^32, rand() * 2^32, rand() * 2^32, i
	}' >"$dir/text"
	# what the database is run from; none of the loads that decide the bars has one
	[ "$dir/disk" -nt "$database" ] || [ -z "${args[*]}${search[*]}" ] || make_disk
	status=75
	while [ "$status" = 75 ] && [ "$boots" -gt 0 ]; do
		boots=$((boots - 1))
		before=$(wc -l 2>/dev/null <"$dir/results" || echo 0)
		boot >&2
		status=$?
		after=$(wc -l 2>/dev/null <"$dir/results" || echo 0)
		[ "$status" != 75 ] || [ "$after" -gt "$before" ] || die "a machine of $minutes min did no run"
	done
}

make_disk() {
	local peers
	rm -f "$dir/disk"
	peers=$("$lab_dir/peers" rocksdb-tools) &&
		"$lab_dir/enter" env PEERS="$peers" "$database" make "$dir/disk" >"$dir/disk.log" 2>&1 ||
		note "RocksDB could not be fetched or filled ($dir/disk.log): loads with it will fail"
}

# boot: one machine; 75 when more is to do. How fast the host is is measured with the lock held, when
# no other machine has a part of it.
boot() {
	local fd='' host_ns
	[ -z "$lock" ] || { exec {fd}>>"$lock" && run_child flock "$fd"; } || return 2
	host_ns=$("$lab_dir/enter" "$dir/program" --yardstick) || return 2
	run_child "$lab_dir/vm" --memory 2560 --nodes 1 --swap 1G --no-stage \
		--timeout $((minutes * 60 + 120)) --lab "$dir" \
		/lab/program --run /lab --budget $((minutes * 60)) --host-ns "$host_ns" "${args[@]}" "${lru_args[@]}"
	set -- $?
	[ -z "$fd" ] || exec {fd}>&-
	return "$1"
}

# print LRU: the table; after a search the splits it has found
print() {
	"$lab_dir/enter" "$program" --report "$dir" $tsv "${lru_args[@]}" || return
	[ -z "$svg" ] && return
	local file=$svg
	[ "$1" = mglru ] || file=${svg%.svg}-legacy.svg
	"$lab_dir/enter" "$program" --report "$dir" --svg "${lru_args[@]}" >"$file"
}

main "$@"
