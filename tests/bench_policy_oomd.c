/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The form that oomd's senpai has in production ("immediate backoff"), written from its
 * description. It keeps no limit: every six seconds it reclaims 1 % of what a cgroup has above its
 * least, if the larger of the averages over 10 and 60 s of memory pressure, and that of io
 * pressure, are both below 0.1 %, and swap is not more than 80 % full. It does not know of the
 * other cgroups.
 *
 * Swap is judged as its comment says; the published code has the comparison the other way round.
 * Left out are its options to change swappiness by the rate of swapping, which are off by default,
 * and that it reads the swap a cgroup may use: here all may use all of it.
 *
 * A write of memory.reclaim reclaims in the writer, which is what the longest write shows.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/mono.h"
#include "bench_policy.h"

#define LEAST_DIVISOR 50
#define INTERVAL_TICKS 12
#define DIVISOR 100
#define PRESSURE_PERCENT 0.1
#define SWAP_PART 0.8

uint64_t bench_oomd_bytes(uint64_t current_bytes, uint64_t least_bytes)
{
	if (current_bytes <= least_bytes)
		return 0;
	return (current_bytes - least_bytes) / DIVISOR;
}

double bench_oomd_pressure(const char *text)
{
	double avg10, avg60;

	if (sscanf(text, "some avg10=%lf avg60=%lf", &avg10, &avg60) != 2)
		return 100; /* not readable: no reclaim */
	return MAX(avg10, avg60);
}

bool bench_oomd_is_swap_left(const char *text)
{
	const char *total = strstr(text, "SwapTotal:"), *left = strstr(text, "SwapFree:");
	uint64_t total_kib, left_kib;

	if (!total || !left || sscanf(total, "SwapTotal: %" SCNu64, &total_kib) != 1 ||
	    sscanf(left, "SwapFree: %" SCNu64, &left_kib) != 1)
		return false;
	return (double)(total_kib - left_kib) < SWAP_PART * (double)total_kib;
}

static bool is_calm(const struct bench_member *m)
{
	char text[512];

	for (size_t i = 0; i < 2; i++) {
		const char *file = i == 0 ? "memory.pressure" : "io.pressure";

		if (file_read_small(cgdir_dir_fd(m->cg), file, text, sizeof(text)) < 0 ||
		    bench_oomd_pressure(text) >= PRESSURE_PERCENT)
			return false;
	}
	return true;
}

int bench_oomd_tick(const struct bench_policy *policy, struct bench_world *world)
{
	char meminfo[4096];

	(void)policy;
	if (world->tick == 0 || world->tick % INTERVAL_TICKS != 0)
		return 0;
	if (file_read_small(AT_FDCWD, "/proc/meminfo", meminfo, sizeof(meminfo)) < 0 ||
	    !bench_oomd_is_swap_left(meminfo))
		return 0;
	for (size_t i = 0; i < world->n; i++) {
		struct bench_member *m = &world->members[i];
		uint64_t start, bytes;
		int r;

		bytes = bench_oomd_bytes(m->sample.current_bytes,
					 world->budget_bytes / LEAST_DIVISOR);
		if (bytes == 0 || !is_calm(m))
			continue;
		start = mono_now_ns();
		r = cgdir_write_u64(m->cg, CG_MEMORY_RECLAIM, bytes);
		world->n_writes++;
		world->longest_write_ns = MAX(world->longest_write_ns, mono_now_ns() - start);
		if (r < 0 && r != -EAGAIN) /* less than asked was found */
			return r;
	}
	return 0;
}
