/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Pools as a task sees them: open, close, wait, numbers. Buffers are kept by depot.c and, near
 * to the threads, by magazine.c, where acquire and release are.
 */

#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "balance.h"
#include "base/mono.h"
#include "info.h"
#include "magazine.h"
#include "slot.h"

static void pool_free(struct tm_pool *pool)
{
	for (uint32_t i = 0; pool->places && i < pool->n_places; i++)
		free(pool->places[i].buffers);
	free(pool->places);
	free(pool->stash);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* Held for microseconds at most but taken by all threads: better to spin a little. */
static void init_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	(void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

static struct tm_pool *pool_new(struct tm_slot *slot, const char *name, uint32_t buffer_bytes,
				uint32_t min_buffers, uint32_t max_buffers)
{
	struct tm_pool *pool = calloc(1, sizeof(*pool));
	uint64_t most, n_places;

	if (!pool)
		return NULL;
	init_lock(&pool->lock);
	for (int i = 0; i < BUCKETS; i++)
		list_init(&pool->buckets[i]);
	list_init(&pool->waiters);
	list_init(&pool->users);
	list_init(&pool->magazines);
	list_init(&pool->node);
	strcpy(pool->name, name);
	pool->slot = slot;
	pool->buffer_bytes = buffer_bytes;
	pool->per_chunk = (uint32_t)(TM_CHUNK_BYTES / buffer_bytes);
	pool->per_chunk_shift = (uint32_t)__builtin_ctz(pool->per_chunk);
	pool->min_buffers = min_buffers;
	pool->max_overdraft = OVERDRAFT_DEFAULT;
	pool->report = &pool->own_report;
	most = MIN((uint64_t)slot->file_chunks * pool->per_chunk, (uint64_t)UINT32_MAX / 2);
	pool->max_buffers =
		max_buffers ? (uint32_t)MIN(most, (uint64_t)max_buffers) : (uint32_t)most;
	/* one more, so that a pool at its maximum can replace a chunk that drains; another for
	 * what is beyond its maximum */
	n_places = ((uint64_t)pool->max_buffers + pool->per_chunk - 1) / pool->per_chunk + 2;
	pool->n_places = (uint32_t)MIN(n_places, (uint64_t)slot->file_chunks);
	pool->places = calloc(pool->n_places, sizeof(*pool->places));
	if (!pool->places) {
		pool_free(pool);
		return NULL;
	}
	for (uint32_t i = 0; i < pool->n_places; i++) {
		list_init(&pool->places[i].node);
		pool->places[i].chunk = CHUNK_NONE;
		pool->places[i].bucket = -1;
	}
	return pool;
}

/* Moves every chunk back to the slot. slot->lock held. */
static void give_up_chunks(struct tm_pool *pool)
{
	for (uint32_t i = 0; i < pool->n_places; i++)
		if (pool->places[i].chunk != CHUNK_NONE)
			chunk_put(pool->slot, pool->places[i].chunk);
}

/* 1: the pool has @n_chunks and is in the slot's list; 0: the slot is @ret_short chunks short. */
static int try_fill(struct tm_pool *pool, uint32_t n_chunks, uint32_t *ret_short)
{
	struct tm_slot *slot = pool->slot;
	uint32_t n_takable, chunk;
	int r = 0;

	pthread_mutex_lock(&slot->lock);
	n_takable = chunk_count_takable(slot);
	if (n_takable < n_chunks) {
		*ret_short = n_chunks - n_takable;
		pthread_mutex_unlock(&slot->lock);
		return 0;
	}
	for (uint32_t i = 0; i < n_chunks && r == 0; i++) {
		chunk = chunk_take(slot);
		r = pool_add_chunk(pool, chunk);
		if (r < 0)
			chunk_put(slot, chunk);
	}
	if (r < 0)
		give_up_chunks(pool);
	else
		list_append(&slot->pools, &pool->node);
	pthread_mutex_unlock(&slot->lock);
	return r < 0 ? r : 1;
}

/* What other pools of the task have beyond their minimum was lent to them. */
static bool get_idle(struct tm_slot *slot, uint32_t n)
{
	uint32_t got;

	pthread_mutex_lock(&slot->lock);
	got = balance_reclaim(slot, n);
	pthread_mutex_unlock(&slot->lock);
	return got > 0;
}

TM_PUBLIC int tm_pool_open(struct tm_slot *slot, const char *name, size_t buffer_bytes,
			   uint32_t min_buffers, uint32_t max_buffers, struct tm_pool **ret_pool)
{
	struct tm_pool *pool;
	uint32_t n_chunks, n_short = 0;
	int r;

	if (!slot || !name || !*name || strlen(name) >= sizeof(pool->name) || !ret_pool)
		return -EINVAL;
	if (buffer_bytes < BUFFER_BYTES_MIN || buffer_bytes > BUFFER_BYTES_MAX ||
	    (buffer_bytes & (buffer_bytes - 1)) != 0)
		return -EINVAL;
	if (max_buffers && min_buffers > max_buffers)
		return -EINVAL;
	pool = pool_new(slot, name, (uint32_t)buffer_bytes, min_buffers, max_buffers);
	if (!pool)
		return -ENOMEM;
	magazine_attach_pool(pool);
	n_chunks = (uint32_t)(((uint64_t)min_buffers + pool->per_chunk - 1) / pool->per_chunk);
	if (min_buffers > pool->max_buffers)
		r = -ENOBUFS; /* more than the whole file */
	else
		while ((r = try_fill(pool, n_chunks, &n_short)) == 0)
			if ((r = chunk_grow(slot, n_short)) < 0 && !get_idle(slot, n_short))
				break;
	if (r < 0) {
		(void)!magazine_detach_pool(pool); /* nobody has seen it */
		pool_free(pool);
		return r;
	}
	report_add_pool(slot, pool);
	report_tell(slot);
	*ret_pool = pool;
	return 0;
}

TM_PUBLIC int tm_pool_close(struct tm_pool *pool)
{
	struct tm_slot *slot;
	int r;

	if (!pool)
		return 0;
	slot = pool->slot;
	pthread_mutex_lock(&slot->lock);
	r = magazine_detach_pool(pool);
	if (r == 0) {
		list_remove(&pool->node);
		report_remove_pool(slot, pool);
		give_up_chunks(pool);
	}
	pthread_mutex_unlock(&slot->lock);
	if (r < 0)
		return r;
	pool_free(pool);
	slot_signal(slot); /* its chunks may be owed, or wanted by another pool */
	return 0;
}

struct sleeper {
	struct pool_waiter waiter;
	pthread_cond_t cond;
	struct buffer *buffer;
};

static void give_to_sleeper(struct pool_waiter *waiter, struct buffer *buffer)
{
	struct sleeper *sleeper = container_of(waiter, struct sleeper, waiter);

	sleeper->buffer = buffer;
	pthread_cond_signal(&sleeper->cond);
}

/* From pages that other pools of the task have beyond their part; nobody may be there to dispatch. */
static void get_from_others(struct tm_pool *pool)
{
	struct tm_slot *slot = pool->slot;

	if (!pool_is_hungry(pool))
		return;
	pthread_mutex_lock(&slot->lock);
	balance_pools(slot);
	pthread_mutex_unlock(&slot->lock);
}

/* Sleeps until served or @deadline_ns (UINT64_MAX: no end). NULL: too late. */
static struct buffer *sleep_for_buffer(struct tm_pool *pool, uint64_t deadline_ns)
{
	struct sleeper sleeper = { .waiter.give = give_to_sleeper,
				   .cond = PTHREAD_COND_INITIALIZER };
	struct timespec deadline = { .tv_sec = (time_t)(deadline_ns / NS_PER_SEC),
				     .tv_nsec = (long)(deadline_ns % NS_PER_SEC) };
	int r = 0;

	pool_wait(pool, &sleeper.waiter);
	get_from_others(pool);
	pthread_mutex_lock(&pool->lock);
	while (!sleeper.buffer && r == 0) {
		if (deadline_ns == UINT64_MAX)
			r = pthread_cond_wait(&sleeper.cond, &pool->lock);
		else
			r = pthread_cond_clockwait(&sleeper.cond, &pool->lock, CLOCK_MONOTONIC,
						   &deadline);
	}
	if (!sleeper.buffer)
		pool_unqueue(pool, &sleeper.waiter);
	pool_unlock(pool);
	/* nothing has to be kept ready for this one any more */
	if (!sleeper.buffer && pool->slot->is_short)
		slot_signal(pool->slot);
	pthread_cond_destroy(&sleeper.cond);
	return sleeper.buffer;
}

TM_PUBLIC int tm_pool_acquire_wait(struct tm_pool *pool, uint64_t timeout_ns,
				   struct tm_buffer **ret_buffer)
{
	uint64_t deadline_ns;
	struct buffer *buffer;

	if (__builtin_add_overflow(mono_now_ns(), timeout_ns, &deadline_ns))
		deadline_ns = UINT64_MAX;
	if (pool_take(pool, 1, BUFFER_HELD, &buffer) == 0) {
		if (pool_grow(pool, /* may_ask= */ true) < 0)
			return -ENOMEM;
		buffer = sleep_for_buffer(pool, deadline_ns);
	}
	if (!buffer)
		return -ETIMEDOUT;
	*ret_buffer = &buffer->public;
	return 0;
}

TM_PUBLIC int tm_pool_get_stats(struct tm_pool *pool, struct tm_pool_stats *stats)
{
	struct tm_pool_stats now;
	uint32_t in_magazines, out, posted;

	pthread_mutex_lock(&pool->lock);
	in_magazines = magazine_count(pool);
	out = depot_count_out(pool) - in_magazines;
	posted = MIN(atomic_load(&pool->n_posted), out);
	pool->high_water = MAX(pool->high_water, out);
	now = (struct tm_pool_stats){
		.buffers = pool->n_buffers + pool->n_leaving + pool->n_overdraft,
		.idle = pool->n_idle + in_magazines,
		.held = out - posted,
		.posted = posted,
		.high_water = pool->high_water,
		.waiters = pool->n_waiters + pool->n_refused,
		.acquired_total = pool->acquired_total,
		.empty_total = pool->empty_total,
		.in_magazines = in_magazines,
		.overdraft = pool->n_overdraft,
	};
	if (now.buffers > pool->min_buffers)
		now.lent = now.buffers - pool->min_buffers;
	pool_unlock(pool);
	return info_write(stats, stats->size, &now, sizeof(now));
}
