/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_net: when a receiver measures, and what.
 *
 * System calls are counted by the kernel's tracepoint, the same way for all; tracing makes each
 * of them slower, so they are counted in a run of their own.
 */

#include "bench_net.h"

#include <linux/perf_event.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TRACE_FOLDER "/tmp"
#define FILL_LOOK_NS 500000000 /* at the sockets, so often until they are full */
#define FILL_MAX_NS 20000000000

struct sample {
	uint64_t wall_ns, cpu_ns, bytes, events, buffers, syscalls;
};

static const struct bench_plan *plan;
static struct bench_shared *shared;
static uint64_t begin_ns;
static bool has_begun;
static struct sample first;
static uint64_t first_memory;
static int perf_fd = -1;

uint64_t meter_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

uint64_t meter_read_number(const char *path, const char *format)
{
	unsigned long long number = 0;
	char line[256];
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, format, &number) == 1)
			break;
	if (f)
		fclose(f);
	return number;
}

uint64_t meter_count_sockets(void)
{
	return meter_read_number("/proc/net/sockstat",
				 "TCP: inuse %*d orphan %*d tw %*d alloc %*d mem %llu")
	       << 12;
}

void meter_pin(int which)
{
	cpu_set_t all, one;
	int seen = 0;

	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		return;
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && seen++ == which % CPU_COUNT(&all))
			CPU_SET(cpu, &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
}

static uint64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_THREAD, &u);
	return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * 1000000000U +
	       ((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) * 1000U;
}

/* -1: the kernel cannot count, or does not let us. */
static int open_counter(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr) };
	unsigned long long id = 0;
	FILE *f;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tracefs", TRACE_FOLDER, "tracefs", 0, NULL) < 0)
		return -1;
	f = fopen(TRACE_FOLDER "/events/raw_syscalls/sys_enter/id", "re");
	if (!f)
		return -1;
	if (fscanf(f, "%llu", &id) != 1)
		id = 0;
	fclose(f);
	attr.config = id;
	return id ? (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0) : -1;
}

static struct sample take_sample(uint64_t bytes, uint64_t events, uint64_t buffers)
{
	struct sample s = { .bytes = bytes, .events = events, .buffers = buffers };

	if (perf_fd >= 0 && read(perf_fd, &s.syscalls, sizeof(s.syscalls)) != sizeof(s.syscalls))
		s.syscalls = 0;
	s.wall_ns = meter_now_ns();
	s.cpu_ns = cpu_ns();
	return s;
}

void meter_start(const struct bench_plan *the_plan, struct bench_shared *the_shared)
{
	plan = the_plan;
	shared = the_shared;
	if (plan->counts_syscalls)
		perf_fd = open_counter();
	begin_ns = meter_now_ns();
}

/* Sockets take more and more until they have what the kernel lets them have, whoever reads. */
static bool are_sockets_full(uint64_t now_ns)
{
	static uint64_t next_ns, before;
	uint64_t now;

	if (now_ns < next_ns)
		return false;
	now = meter_count_sockets();
	if (next_ns > 0 && now <= before + before / 256)
		return true;
	before = now;
	next_ns = now_ns + FILL_LOOK_NS;
	return now_ns >= begin_ns + FILL_MAX_NS;
}

bool meter_is_done(uint64_t bytes, uint64_t events, uint64_t buffers)
{
	uint64_t now_ns = meter_now_ns(), handed;
	struct bench_result *result = &shared->result;
	struct sample last;

	if (atomic_load_explicit(&shared->is_over, memory_order_relaxed))
		return true;
	if (plan->kind == BENCH_IDLE) {
		if (!idle_is_done(plan, result, bytes))
			return false;
		atomic_store(&shared->is_over, true);
		return true;
	}
	if (now_ns < begin_ns + plan->warm_ns)
		return false;
	if (!has_begun && plan->hold_ns > 0 && !are_sockets_full(now_ns))
		return false;
	if (!has_begun) {
		has_begun = true;
		if (plan->hold_ns > 0)
			first_memory = hold_count_memory();
		first = take_sample(bytes, events, buffers);
		return false;
	}
	if (now_ns < first.wall_ns + plan->run_ns)
		return false;
	last = take_sample(bytes, events, buffers);
	result->bytes = last.bytes - first.bytes;
	result->cpu_ns = last.cpu_ns - first.cpu_ns;
	result->wall_ns = last.wall_ns - first.wall_ns;
	result->events = last.events - first.events;
	result->syscalls = last.syscalls - first.syscalls;
	handed = (last.buffers - first.buffers) * BENCH_BUFFER_BYTES;
	if (plan->hold_ns > 0) {
		result->memory = hold_count_memory();
		result->growth = (int64_t)(result->memory - first_memory);
	}
	result->fill = handed ? (double)result->bytes / (double)handed : 0;
	atomic_store(&shared->is_over, true);
	return true;
}
