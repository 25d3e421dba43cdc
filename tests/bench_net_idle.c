/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_net: what connections cost on which nothing happens.
 *
 * Each has brought one message before, so it has had a buffer if it is ever to have one. Kernel
 * memory is the growth of all slabs and of what TCP sockets queue, of the whole machine, so both
 * ends of a connection are in it; the sender's end is the same for all. User memory is the
 * growth of the receiver's proportional set, in which the rings that it shares with the kernel
 * are, too. What is there before the first connection is the pool and nothing else: an engine that
 * makes room for its connections beforehand pays for it here as well.
 */

#include "bench_net.h"

#include <unistd.h>

#define CALM_BYTES (64 << 10)
#define CALM_TURNS 3
#define TURN_US 100000
#define TURNS_MAX 50
#define IDLE_NS 300000000

static uint64_t kernel_before, user_before;

static uint64_t count_kernel(void)
{
	return (meter_read_number("/proc/meminfo", "Slab: %llu kB") << 10) + meter_count_sockets();
}

/* The slabs of the run before are freed some time after its end. */
static uint64_t wait_until_calm(void)
{
	uint64_t last = count_kernel(), now = last;
	int n_calm = 0;

	for (int i = 0; i < TURNS_MAX && n_calm < CALM_TURNS; i++) {
		usleep(TURN_US);
		now = count_kernel();
		n_calm = now < last + CALM_BYTES && last < now + CALM_BYTES ? n_calm + 1 : 0;
		last = now;
	}
	return now;
}

static uint64_t count_user(void)
{
	return meter_read_number("/proc/self/smaps_rollup", "Pss: %llu kB") << 10;
}

void idle_begin(const struct bench_plan *plan)
{
	if (plan->kind != BENCH_IDLE)
		return;
	kernel_before = wait_until_calm();
	user_before = count_user();
}

bool idle_is_done(const struct bench_plan *plan, struct bench_result *result, uint64_t bytes)
{
	static uint64_t since_ns;
	uint64_t now_ns = meter_now_ns();

	if (bytes < (uint64_t)plan->n_connections * plan->message_bytes)
		return false;
	if (since_ns == 0)
		since_ns = now_ns;
	if (now_ns < since_ns + IDLE_NS)
		return false;
	result->kernel_bytes = (int64_t)(wait_until_calm() - kernel_before);
	result->user_bytes = (int64_t)(count_user() - user_before);
	return true;
}
