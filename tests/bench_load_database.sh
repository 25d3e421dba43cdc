#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The database of bench_control: RocksDB, in which Flink keeps the state of stream tasks, under the
# benchmark that its project ships, db_bench.
#
#   make FILE  natively: an ext4 file system of program and data; PEERS has the unpacked packages
#   mount      in the machine: a fresh copy of it (/lab/disk) on compressed memory, so that each run
#              begins with the same data, and reading it again does not depend on the host
#   run        the work; descriptor 3 gets a byte for each 100 operations
#
# Nine gets to one put (db_bench's own mixture) of keys at random out of 33 MiB, through a cache of its
# own and the kernel's, which has all of it; no write-ahead log, as in Flink. What a run puts makes a
# file or two of 4 MiB, which leaves nothing to compact. Alone it has 74 MiB.
set -eu -o pipefail
device=zram2 # zram0 is the swap, zram1 the device of all other loads
at=/run/taskmem-bench

db_bench() { # ROOT OPTION…
	LD_LIBRARY_PATH=$1/usr/lib/x86_64-linux-gnu "$1/usr/bin/db_bench" --db="$1/data" --seed=1 \
		--num=80000 --value_size=400 --bloom_bits=10 --compression_type=none --disable_wal=1 \
		--write_buffer_size=$((4 << 20)) --cache_size=$((16 << 20)) "${@:2}"
}

case $1 in
make)
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	cp -a "$PEERS/usr" "$work"
	db_bench "$work" --benchmarks=fillseq,compact
	# blocks of 4096 bytes: zram has no smaller sectors
	mke2fs -q -F -t ext4 -b 4096 -O ^has_journal -m 0 -d "$work" "$2.new" 96M
	mv "$2.new" "$2"
	;;
mount)
	! mountpoint -q $at || umount $at
	[ -e /sys/block/$device ] || cat /sys/class/zram-control/hot_add >/dev/null
	echo 1 >/sys/block/$device/reset
	echo 96M >/sys/block/$device/disksize
	dd if=/lab/disk of=/dev/$device bs=1M iflag=direct oflag=direct conv=sparse status=none
	mkdir -p $at
	mount /dev/$device $at
	;;
run)
	cat $at/data/*.sst >/dev/null
	# a report is a line of standard error with how many operations were done by which thread
	db_bench $at --benchmarks=readrandomwriterandom --use_existing_db=1 --duration=100000 \
		--stats_interval=100 2>&1 >/dev/null |
		stdbuf -oL sed -n 's/.* thread 0: .*//p; t; /^[A-Za-z]*: /!w /dev/stderr' >&3
	;;
esac
