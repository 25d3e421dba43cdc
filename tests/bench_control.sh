#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compares control laws on a real kernel, in virtual machines; see usage() below.
# tests/run bench control calls it when all is built.
set -u
. "$(dirname "$(realpath "$0")")/lab/common.sh"
dir=$build/bench-control program=$build/gcc/tests/bench_control

usage() {
	cat <<-EOT
	usage: tests/run bench control [OPTION]…

	Runs each load under each policy in a virtual machine and prints a table. What is finished
	is kept in $dir,
	so an interrupted comparison goes on where it was; --forget begins anew.

	Without options it does what decides the bars, once:
	$("$lab_dir/enter" "$program" --list | tail -n 1)
	Bars that ask for every load are open until --full has been through.

	  --load A,B     only these loads
	  --policy A,B   these policies for all loads, not only where they decide a bar
	  --reps N       repetitions of each       (default 1)
	  --full         all policies, 5 repetitions; hours
	  --legacy       the LRU lists before the multi-gen ones; results are kept apart
	  --report       run nothing, print what is there
	  --tsv          the table as tab-separated values
	  --svg FILE     a picture, too
	  --search N     try N static splits of each --load instead, and print the best
	  --boots N      end after that many machines
	  --minutes M    of one machine             (default 7)
	  --lock FILE    hold this lock while a machine runs
	  --forget       remove all results first
	  --list         loads and policies
	EOT
}

# In a function, for bash reads a script as it runs it, and this one may be changed meanwhile.
main() {
	local args=() law before after status=75
	minutes=7 boots=1000 lock='' report='' tsv='' svg='' search=''
	while [ $# -gt 0 ]; do
		case $1 in
		--load | --policy | --reps)
			[ $# -ge 2 ] || die "$1 needs a value"
			args+=("$1" "$2")
			shift
			;;
		--search) search=1 args+=("$1" "${2:-}") && shift ;;
		--boots | --minutes | --lock | --svg)
			[ $# -ge 2 ] || die "$1 needs a value"
			printf -v "${1#--}" %s "$2"
			shift
			;;
		--full) args+=(--full) ;;
		--legacy) args+=(--legacy) dir=$build/bench-control-legacy ;;
		--report) report=1 ;;
		--tsv) tsv=--tsv ;;
		--forget) rm -rf "$build/bench-control" "$build/bench-control-legacy" ;;
		--list) exec "$lab_dir/enter" "$program" --list ;;
		-h | --help) usage; exit 0 ;;
		*) usage >&2; exit 2 ;;
		esac
		shift
	done
	[[ $minutes =~ ^[0-9]+$ && $boots =~ ^[0-9]+$ ]] || die "--minutes and --boots are numbers"

	use_root
	mkdir -p "$dir"
	law=$(cat "$src"/daemon/policy/control*.[ch] | sha256sum | cut -c1-8)
	args+=(--law "$law")
	# a copy, so that the tree may be built anew meanwhile
	[ -n "$report" ] || { cp "$program" "$dir/program.new" && mv "$dir/program.new" "$dir/program"; } || exit 2
	# what is sorted in a load: 16 MiB of lines
	[ -s "$dir/text" ] || awk 'BEGIN {
		srand(1)
		for (i = 0; i < 400000; i++)
			printf "%08x %08x %08x %012d\n", rand() * 2^32, rand() * 2^32, rand() * 2^32, i
	}' >"$dir/text"

	# boot: one machine; 75 when more is to do
	boot() {
		local fd=
		[ -z "$lock" ] || { exec {fd}>>"$lock" && run_child flock "$fd"; } || return 2
		run_child "$lab_dir/vm" --memory 2560 --nodes 1 --swap 1G --no-stage \
			--timeout $((minutes * 60 + 120)) --lab "$dir" \
			/lab/program --run /lab --budget $((minutes * 60)) "${args[@]}"
		set -- $?
		[ -z "$fd" ] || exec {fd}>&-
		return "$1"
	}

	[ -z "$search" ] || { boot; exit; }

	while [ -z "$report" ] && [ "$status" = 75 ] && [ "$boots" -gt 0 ]; do
		boots=$((boots - 1))
		before=$(wc -l 2>/dev/null <"$dir/results" || echo 0)
		boot >&2
		status=$?
		after=$(wc -l 2>/dev/null <"$dir/results" || echo 0)
		[ "$status" != 75 ] || [ "$after" -gt "$before" ] || die "a machine of $minutes min did no run"
	done
	"$lab_dir/enter" "$program" --report "$dir" $tsv --law "$law" || exit
	[ -z "$svg" ] || "$lab_dir/enter" "$program" --report "$dir" --svg --law "$law" >"$svg" || exit
	[ -n "$report" ] || [ "$status" = 0 ] || [ "$status" = 75 ] || exit 1
}
main "$@"
exit
