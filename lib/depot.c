/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The depot of a pool: fixed-size buffers cut from whole chunks.
 *
 * It is one mutex and, per chunk, a LIFO list of idle buffers by index. Chunks with idle
 * buffers sit in a bucket by fullness, and the fullest is handed out first, so that under
 * falling demand whole chunks become empty and can go back to the daemon. What describes a
 * buffer lies outside the data pages: acquiring a cold buffer touches no cold line of it, and a
 * page can be unmapped without a list running through it.
 *
 * A released buffer goes straight to whoever waits longest, thread or engine, so nobody can be
 * overtaken for ever. While somebody waits no buffer is idle.
 */

#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slot.h"

#define POISON 0xdb /* fills released buffers in debug builds */

static void unlink_place(struct place *place)
{
	list_remove(&place->node);
	place->bucket = -1;
}

/* Puts the place in the bucket of its fullness: 0 has 1/8 idle at most, 8 is all idle. */
static void file_place(struct tm_pool *pool, struct place *place)
{
	int bucket;

	if (place->n_idle == 0)
		bucket = -1;
	else if (place->n_idle == place->n_buffers)
		bucket = BUCKETS - 1;
	else
		bucket = (int)((place->n_idle * (BUCKETS - 1)) / place->n_buffers);
	if (bucket == place->bucket)
		return;
	unlink_place(place);
	place->bucket = bucket;
	if (bucket >= 0)
		list_append(pool->buckets[bucket].next, &place->node);
}

/* Counts a buffer that is not idle, @by 1 when it becomes so and -1 when it ceases to be. */
static void count_out(struct tm_pool *pool, const struct buffer *buffer, uint32_t by)
{
	if (buffer->state == BUFFER_POSTED) {
		pool->n_posted += by;
		buffer->place->n_posted += by;
	} else {
		pool->n_held += by;
	}
}

static void change_state(struct buffer *buffer, enum buffer_state state)
{
	struct tm_pool *pool = buffer->public.pool;

	pthread_mutex_lock(&pool->lock);
	count_out(pool, buffer, -1U);
	buffer->state = state;
	count_out(pool, buffer, 1);
	pthread_mutex_unlock(&pool->lock);
}

static struct buffer *take_one(struct tm_pool *pool, enum buffer_state state)
{
	struct place *place;
	struct buffer *buffer;
	int bucket = 0;

	if (pool->n_idle == 0)
		return NULL;
	while (list_is_empty(&pool->buckets[bucket]))
		bucket++;
	place = list_entry(pool->buckets[bucket].next, struct place, node);
	buffer = &place->buffers[place->idle_head];
	place->idle_head = buffer->next;
	place->n_idle--;
	pool->n_idle--;
	file_place(pool, place);

	buffer->state = state;
	count_out(pool, buffer, 1);
	pool->high_water = MAX(pool->high_water, pool->n_held + pool->n_posted);
	pool->acquired_total++;
	return buffer;
}

/* Hands idle buffers to those who wait. */
static void serve_waiters(struct tm_pool *pool)
{
	struct pool_waiter *waiter;

	while (pool->n_idle > 0 && !list_is_empty(&pool->waiters)) {
		waiter = list_entry(pool->waiters.next, struct pool_waiter, node);
		list_remove(&waiter->node);
		pool->n_waiters--;
		waiter->give(waiter, take_one(pool, BUFFER_HELD));
	}
}

/* As many as there are. */
static uint32_t take_some(struct tm_pool *pool, uint32_t n, enum buffer_state state,
			  struct buffer *ret_buffers[])
{
	uint32_t i;

	pthread_mutex_lock(&pool->lock);
	for (i = 0; i < n; i++) {
		ret_buffers[i] = take_one(pool, state);
		if (!ret_buffers[i])
			break;
	}
	pthread_mutex_unlock(&pool->lock);
	return i;
}

uint32_t pool_take(struct tm_pool *pool, uint32_t n, enum buffer_state state,
		   struct buffer *ret_buffers[])
{
	uint32_t got = take_some(pool, n, state, ret_buffers);

	/* one more try after growing: another thread may have been faster */
	if (got == 0 && pool_grow(pool, /* may_ask= */ false) > 0)
		got = take_some(pool, n, state, ret_buffers);
	return got;
}

void pool_post(struct buffer *buffer)
{
	change_state(buffer, BUFFER_POSTED);
}

void pool_unpost(struct buffer *buffer)
{
	change_state(buffer, BUFFER_HELD);
}

static void die_of_double_release(const struct buffer *buffer)
{
	fprintf(stderr, "libtaskmem: pool \"%s\": buffer %u released twice\n",
		buffer->public.pool->name, buffer->public.index);
	abort();
}

void pool_put(struct buffer *buffer)
{
	struct tm_pool *pool = buffer->public.pool;
	struct place *place = buffer->place;

#ifdef TM_DEBUG
	if (buffer->state != BUFFER_IDLE)
		memset(buffer->public.data, POISON, pool->buffer_bytes);
#endif
	pthread_mutex_lock(&pool->lock);
	if (buffer->state == BUFFER_IDLE)
		die_of_double_release(buffer);
	count_out(pool, buffer, -1U);
	buffer->state = BUFFER_IDLE;
	buffer->next = place->idle_head;
	place->idle_head = (uint32_t)(buffer - place->buffers);
	place->n_idle++;
	if (atomic_load(&place->is_draining)) {
		pool->n_leaving--;
		if (place->n_idle == place->n_buffers)
			slot_signal(pool->slot);
	} else {
		pool->n_idle++;
		file_place(pool, place);
		serve_waiters(pool);
		/* it may go in place of one that drains */
		if (place->n_idle == place->n_buffers && atomic_load(&pool->slot->n_leaving) > 0)
			slot_signal(pool->slot);
	}
	pthread_mutex_unlock(&pool->lock);
}

void pool_wait(struct tm_pool *pool, struct pool_waiter *waiter)
{
	pthread_mutex_lock(&pool->lock);
	list_append(&pool->waiters, &waiter->node);
	pool->n_waiters++;
	if (pool->n_idle == 0)
		pool->empty_total++;
	serve_waiters(pool);
	pthread_mutex_unlock(&pool->lock);
}

void pool_unqueue(struct tm_pool *pool, struct pool_waiter *waiter)
{
	list_remove(&waiter->node);
	pool->n_waiters--;
}

bool pool_unwait(struct tm_pool *pool, struct pool_waiter *waiter)
{
	bool is_queued;

	pthread_mutex_lock(&pool->lock);
	is_queued = !list_is_empty(&waiter->node);
	if (is_queued)
		pool_unqueue(pool, waiter);
	pthread_mutex_unlock(&pool->lock);
	return is_queued;
}

uint32_t pool_get_post_limit(struct tm_pool *pool)
{
	uint32_t limit;

	pthread_mutex_lock(&pool->lock);
	limit = pool->n_buffers / (pool->n_users + 1);
	pthread_mutex_unlock(&pool->lock);
	return MAX(limit, UINT32_C(1));
}

void pool_add_user(struct tm_pool *pool, struct pool_user *user)
{
	pthread_mutex_lock(&pool->lock);
	list_append(&pool->users, &user->node);
	pool->n_users++;
	pthread_mutex_unlock(&pool->lock);
}

void pool_remove_user(struct tm_pool *pool, struct pool_user *user)
{
	pthread_mutex_lock(&pool->lock);
	list_remove(&user->node);
	pool->n_users--;
	pthread_mutex_unlock(&pool->lock);
}

static bool is_at_maximum(const struct tm_pool *pool)
{
	return pool->n_buffers + pool->n_leaving >= pool->max_buffers;
}

static int make_buffers(struct tm_pool *pool, struct place *place)
{
	uint32_t first = (uint32_t)(place - pool->places) * pool->per_chunk;

	place->buffers = calloc(pool->per_chunk, sizeof(*place->buffers));
	if (!place->buffers)
		return -ENOMEM;
	for (uint32_t i = 0; i < pool->per_chunk; i++) {
		place->buffers[i].place = place;
		place->buffers[i].public.pool = pool;
		place->buffers[i].public.capacity = pool->buffer_bytes;
		place->buffers[i].public.index = first + i;
	}
	return 0;
}

static void cut_chunk(struct tm_pool *pool, struct place *place, uint32_t chunk)
{
	uint8_t *data = pool->slot->base + (size_t)chunk * TM_CHUNK_BYTES;
	uint32_t room = pool->max_buffers - pool->n_buffers - pool->n_leaving;

	place->chunk = chunk;
	place->n_buffers = place->n_idle = MIN(pool->per_chunk, room);
	place->idle_head = 0;
	for (uint32_t i = 0; i < place->n_buffers; i++) {
		place->buffers[i].public.data = data + (size_t)i * pool->buffer_bytes;
		place->buffers[i].state = BUFFER_IDLE;
		place->buffers[i].next = i + 1;
	}
	pool->n_buffers += place->n_buffers;
	pool->n_idle += place->n_idle;
	file_place(pool, place);
}

int pool_add_chunk(struct tm_pool *pool, uint32_t chunk)
{
	struct place *place = pool->places, *end = pool->places + pool->n_places;
	int r = 0;

	pthread_mutex_lock(&pool->lock);
	while (place < end && place->chunk != CHUNK_NONE)
		place++;
	if (place == end || is_at_maximum(pool))
		r = -ENOBUFS;
	else if (!place->buffers)
		r = make_buffers(pool, place);
	if (r == 0) {
		cut_chunk(pool, place, chunk);
		serve_waiters(pool);
	}
	pthread_mutex_unlock(&pool->lock);
	return r;
}

static bool needs_chunk(struct tm_pool *pool)
{
	bool needs;

	pthread_mutex_lock(&pool->lock);
	needs = pool->n_idle == 0 && !is_at_maximum(pool);
	pthread_mutex_unlock(&pool->lock);
	return needs;
}

static int grow_from_slot(struct tm_pool *pool)
{
	struct tm_slot *slot = pool->slot;
	uint32_t chunk;
	int r = 0;

	if (atomic_load(&slot->n_free) == 0)
		return 0;
	pthread_mutex_lock(&slot->lock);
	if (needs_chunk(pool)) {
		chunk = chunk_take(slot);
		if (chunk != CHUNK_NONE) {
			r = pool_add_chunk(pool, chunk);
			if (r < 0)
				chunk_put(slot, chunk);
			r = r < 0 ? r : 1;
		}
	} else {
		r = 1; /* another thread was faster, or nothing can be done */
	}
	pthread_mutex_unlock(&slot->lock);
	return r == -ENOBUFS ? 0 : r;
}

int pool_grow(struct tm_pool *pool, bool may_ask)
{
	int r = grow_from_slot(pool);

	if (r != 0 || !may_ask || !needs_chunk(pool) || !chunk_may_ask(pool->slot))
		return r;
	r = chunk_grow(pool->slot, 1);
	return r < 0 ? 0 : grow_from_slot(pool);
}

int pool_find_spare(struct tm_pool *pool, struct place **ret_place)
{
	struct place *place;
	int most = -1, emptiness;

	pthread_mutex_lock(&pool->lock);
	for (uint32_t i = 0; i < pool->n_places; i++) {
		place = &pool->places[i];
		if (place->chunk == CHUNK_NONE || atomic_load(&place->is_draining) ||
		    pool->n_buffers - place->n_buffers < pool->min_buffers)
			continue;
		emptiness = (int)((uint64_t)(place->n_idle + place->n_posted) * POOL_ALL_EMPTY /
				  place->n_buffers);
		if (emptiness <= most)
			continue;
		most = emptiness;
		*ret_place = place;
	}
	pthread_mutex_unlock(&pool->lock);
	return most;
}

void pool_drain(struct tm_pool *pool, struct place *place)
{
	struct pool_user *user;

	pthread_mutex_lock(&pool->lock);
	atomic_store(&place->is_draining, true);
	unlink_place(place);
	pool->n_buffers -= place->n_buffers;
	pool->n_idle -= place->n_idle;
	pool->n_leaving += place->n_buffers - place->n_idle;
	if (pool->n_posted > 0)
		LIST_FOREACH(&pool->users, user, node)
			user->withdraw(user);
	pthread_mutex_unlock(&pool->lock);
}

bool pool_undrain(struct tm_pool *pool, struct place *place)
{
	bool fits;

	pthread_mutex_lock(&pool->lock);
	fits = pool->n_buffers + pool->n_leaving + place->n_idle <= pool->max_buffers;
	if (fits) {
		atomic_store(&place->is_draining, false);
		pool->n_buffers += place->n_buffers;
		pool->n_idle += place->n_idle;
		pool->n_leaving -= place->n_buffers - place->n_idle;
		file_place(pool, place);
		serve_waiters(pool);
	}
	pthread_mutex_unlock(&pool->lock);
	return fits;
}

uint32_t pool_collect(struct tm_pool *pool, struct place *place)
{
	uint32_t chunk = CHUNK_NONE;

	if (!atomic_load(&place->is_draining))
		return CHUNK_NONE;
	pthread_mutex_lock(&pool->lock);
	if (place->n_idle == place->n_buffers) {
		chunk = place->chunk;
		place->chunk = CHUNK_NONE;
		place->n_buffers = place->n_idle = 0;
		atomic_store(&place->is_draining, false);
	}
	pthread_mutex_unlock(&pool->lock);
	return chunk;
}

bool pool_is_hungry(struct tm_pool *pool)
{
	bool is_hungry;

	pthread_mutex_lock(&pool->lock);
	is_hungry = pool->n_waiters > 0 && !is_at_maximum(pool);
	pthread_mutex_unlock(&pool->lock);
	return is_hungry;
}
