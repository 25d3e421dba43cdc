/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The program of one task of a load: what runs inside its cgroup. */

#include <stdatomic.h>
#include <stdint.h>

#include "bench_load.h"

/* Shared between the driver and one task; each task has a cache line of its own. */
struct bench_meter {
	alignas(64) atomic_uint_least64_t work_ns; /* processor time spent in useful work */
	atomic_uint_least64_t accesses;            /* to which that work belonged */
};

struct bench_place {
	uint64_t budget_bytes; /* B */
	uint64_t start_ns;     /* CLOCK_MONOTONIC of the load's beginning */
	uint64_t seed;
	int device_fd;          /* block device of BENCH_FILE, BENCH_MAP */
	int count_fd;           /* operations of a command, a byte each */
	uint64_t device_offset; /* its part for this task begins there */
};

/* The calling process, already in its cgroup, becomes the task; ends only by a signal, or with
 * status 1 and a message when it can not work. */
[[noreturn]] void bench_task_main(const struct bench_task *task, const struct bench_place *place,
				  struct bench_meter *meter);

/* Bytes of the block device the task uses. */
uint64_t bench_task_device_bytes(const struct bench_task *task, uint64_t budget_bytes);
