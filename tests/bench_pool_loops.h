/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The work of tests/bench_pool, the same text for all peers, who define before:
 *
 *	struct pool, ACQUIRE(pool)            a buffer, void *; NULL: none now
 *	RELEASE(pool, buffer)
 *	ACQUIRE_BULK(pool, buffers, n)        all or nothing, true or false
 *	RELEASE_BULK(pool, buffers, n)
 *	DATA(buffer)                          its first byte
 *	THREAD_BEGIN(), THREAD_END()          in each thread but the first
 *
 * and call serve(), which answers requests on standard input: "pair KEEP TOUCH THREADS",
 * "bulk N" or "hand DIRECTIONS", by the nanoseconds each buffer took.
 */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BENCH_BUFFERS 4096 /* of each pool */
#define BENCH_BYTES 32768  /* of each buffer */
#define KEEP_MAX 512
#define RUN_NS 700000 /* each run takes so long, about; the best of three is answered */
#define RING 1024

struct job {
	char kind[16]; /* pair, bulk, hand */
	int n;         /* kept, or of a bulk, or directions */
	bool touches;
};

struct ring {
	_Alignas(128) atomic_uint head;
	_Alignas(128) atomic_uint tail;
	_Alignas(128) void *items[RING];
};

static struct ring rings[2];
static atomic_int n_ready, n_done;
static struct pool *the_pool;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Nothing is left out because nobody looks at it. */
#define USE(p) __asm__ volatile("" ::"r"(p))

static __attribute__((noinline)) void do_pairs(struct pool *pool, uint64_t n, int keep)
{
	void *kept[KEEP_MAX];

	for (uint64_t done = 0; done < n; done += (uint64_t)keep) {
		for (int i = 0; i < keep; i++) {
			kept[i] = ACQUIRE(pool);
			USE(kept[i]);
		}
		for (int i = 0; i < keep; i++)
			RELEASE(pool, kept[i]);
	}
}

static __attribute__((noinline)) void do_touched(struct pool *pool, uint64_t n, int keep)
{
	void *kept[KEEP_MAX];

	for (uint64_t done = 0; done < n; done += (uint64_t)keep) {
		for (int i = 0; i < keep; i++) {
			kept[i] = ACQUIRE(pool);
			*(volatile char *)DATA(kept[i]) = 1;
		}
		for (int i = 0; i < keep; i++)
			RELEASE(pool, kept[i]);
	}
}

static __attribute__((noinline)) void do_bulk(struct pool *pool, uint64_t n, unsigned int bulk)
{
	void *kept[KEEP_MAX];

	for (uint64_t done = 0; done < n; done += bulk) {
		if (!ACQUIRE_BULK(pool, kept, bulk))
			abort();
		__asm__ volatile("" ::"r"(kept) : "memory");
		RELEASE_BULK(pool, kept, bulk);
	}
}

/* Sends up to @n buffers of the pool; the reader sees them all at once. */
static unsigned int send_burst(struct pool *pool, struct ring *r, unsigned int n)
{
	unsigned int tail = atomic_load_explicit(&r->tail, memory_order_relaxed), i;
	unsigned int room = RING - (tail - atomic_load_explicit(&r->head, memory_order_acquire));
	void *buffer;

	n = n < room ? n : room;
	for (i = 0; i < n; i++) {
		buffer = ACQUIRE(pool);
		if (!buffer)
			break;
		r->items[(tail + i) % RING] = buffer;
	}
	if (i > 0)
		atomic_store_explicit(&r->tail, tail + i, memory_order_release);
	return i;
}

static unsigned int receive_burst(struct pool *pool, struct ring *r, unsigned int n)
{
	unsigned int head = atomic_load_explicit(&r->head, memory_order_relaxed);
	unsigned int there = atomic_load_explicit(&r->tail, memory_order_acquire) - head;

	n = n < there ? n : there;
	for (unsigned int i = 0; i < n; i++)
		RELEASE(pool, r->items[(head + i) % RING]);
	if (n > 0)
		atomic_store_explicit(&r->head, head + n, memory_order_release);
	return n;
}

/* @out: sends @n buffers there, NULL: none; @in: releases as many that come from there. In bursts,
 * as a network engine has them, and so that it is not the ring that is measured. */
static __attribute__((noinline)) void do_hand(struct pool *pool, uint64_t n, struct ring *out,
					      struct ring *in)
{
	uint64_t sent = out ? 0 : n, received = in ? 0 : n, idle = 0;
	unsigned int some, more;

	while (sent < n || received < n) {
		some = sent < n ? send_burst(pool, out,
					     n - sent < 32 ? (unsigned int)(n - sent) : 32)
				: 0;
		more = received < n ? receive_burst(pool, in, 32) : 0;
		sent += some;
		received += more;
		idle = some || more ? 0 : idle + 1;
		/* the other one may be off its processor */
		if (idle % 1024 == 1023)
			sched_yield();
	}
}

static void pin(int which)
{
	static cpu_set_t all;
	cpu_set_t one;
	int seen = 0;

	if (CPU_COUNT(&all) == 0)
		sched_getaffinity(0, sizeof(all), &all);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && seen++ == which % CPU_COUNT(&all))
			CPU_SET(cpu, &one);
	pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

static void work(const struct job *job, int thread, uint64_t n)
{
	struct ring *to_second = &rings[0], *to_first = job->n == 2 ? &rings[1] : NULL;

	if (strcmp(job->kind, "bulk") == 0)
		do_bulk(the_pool, n, (unsigned int)job->n);
	else if (strcmp(job->kind, "hand") == 0)
		do_hand(the_pool, n, thread == 0 ? to_second : to_first,
			thread == 0 ? to_first : to_second);
	else if (job->touches)
		do_touched(the_pool, n, job->n);
	else
		do_pairs(the_pool, n, job->n);
}

static void meet(atomic_int *counter, int n_threads, int round)
{
	uint64_t spins = 0;

	atomic_fetch_add(counter, 1);
	while (atomic_load(counter) < n_threads * round)
		if (++spins % 1024 == 0)
			sched_yield();
}

struct second {
	const struct job *job;
	uint64_t n;
};

static void *run_second(void *userdata)
{
	struct second *second = userdata;

	pin(1);
	THREAD_BEGIN();
	work(second->job, 1, second->n / 8 + KEEP_MAX);
	meet(&n_ready, 2, 1);
	work(second->job, 1, second->n);
	meet(&n_done, 2, 1);
	THREAD_END();
	return NULL;
}

/* Nanoseconds for @n of each thread, after a warm-up. */
static uint64_t run(const struct job *job, int n_threads, uint64_t n)
{
	struct second second = { job, n };
	uint64_t begin;
	pthread_t thread;

	atomic_store(&n_ready, 0);
	atomic_store(&n_done, 0);
	if (n_threads == 2 && pthread_create(&thread, NULL, run_second, &second) != 0)
		abort();
	work(job, 0, n / 8 + KEEP_MAX);
	meet(&n_ready, n_threads, 1);
	begin = now_ns();
	work(job, 0, n);
	meet(&n_done, n_threads, 1);
	begin = now_ns() - begin;
	if (n_threads == 2)
		pthread_join(thread, NULL);
	return begin;
}

/* The best of a few: what another process took away is not the peer's. */
static uint64_t best_of(int tries, const struct job *job, int n_threads, uint64_t n)
{
	uint64_t best = UINT64_MAX, taken;

	while (tries-- > 0) {
		taken = run(job, n_threads, n);
		best = taken < best ? taken : best;
	}
	return best;
}

/* As many as take RUN_NS; found out once for each kind of work. */
static uint64_t choose_n(const struct job *job, int n_threads)
{
	static struct {
		struct job job;
		int n_threads;
		uint64_t n;
	} known[32];
	size_t i = 0;
	uint64_t n = 4 * KEEP_MAX, taken;

	for (; known[i].n > 0; i++)
		if (memcmp(&known[i].job, job, sizeof(*job)) == 0 &&
		    known[i].n_threads == n_threads)
			return known[i].n;
	while ((taken = best_of(5, job, n_threads, n)) < RUN_NS / 16)
		n *= 4;
	if (taken < RUN_NS)
		n = n * RUN_NS / taken / KEEP_MAX * KEEP_MAX + KEEP_MAX;
	known[i].job = *job;
	known[i].n_threads = n_threads;
	known[i].n = n;
	return n;
}

static double answer(const struct job *job, int n_threads)
{
	uint64_t n = choose_n(job, n_threads);

	return (double)best_of(3, job, n_threads, n) / (double)n;
}

static int serve(struct pool *pool)
{
	char line[64];
	struct job job = {};
	int n_threads, touches;

	the_pool = pool;
	pin(0);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		job = (struct job){};
		if (sscanf(line, "%15s %d %d %d", job.kind, &job.n, &touches, &n_threads) != 4)
			return 2;
		job.touches = touches != 0;
		printf("%.4f\n", answer(&job, n_threads));
		fflush(stdout);
	}
	return 0;
}
