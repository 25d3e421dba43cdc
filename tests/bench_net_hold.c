/* SPDX-License-Identifier: Apache-2.0 */

/* bench_net: a task that takes its time for each buffer, and what that makes of the memory. */

#include "bench_net.h"

#include <stdlib.h>

struct held {
	void *buffer;
	struct held *next;
};

static struct held *first, **end = &first, *idle;
static uint64_t due_ns;

bool hold_add(const struct bench_plan *plan, void *buffer)
{
	struct held *held = idle;

	if (plan->hold_ns == 0)
		return false;
	if (held)
		idle = held->next;
	else
		held = malloc(sizeof(*held));
	if (!held)
		return false;
	if (!first)
		due_ns = meter_now_ns() + plan->hold_ns;
	*held = (struct held){ .buffer = buffer };
	*end = held;
	end = &held->next;
	return true;
}

void *hold_take(const struct bench_plan *plan)
{
	struct held *held = first;
	void *buffer;

	if (!held || meter_now_ns() < due_ns)
		return NULL;
	due_ns += plan->hold_ns;
	buffer = held->buffer;
	first = held->next;
	if (!first)
		end = &first;
	held->next = idle;
	idle = held;
	return buffer;
}

uint64_t hold_count_memory(void)
{
	return (meter_read_number("/proc/self/status", "VmHWM: %llu") << 10) +
	       meter_count_sockets();
}
