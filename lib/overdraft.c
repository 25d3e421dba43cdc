/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A few buffers beyond a pool's maximum, for who cannot stop in the middle of a record. They come
 * from what the last page of the pool has beyond the maximum, else from a page the slot has left
 * over; so never from another pool, whose minimum is in pages of its own, and never by asking the
 * daemon. They are apart from the others: in no magazine, for no waiter, and not counted as idle
 * when they come back. A page that was taken for them alone is the slot's again, from the next
 * dispatch on.
 */

#include <errno.h>

#include "info.h"
#include "pool.h"
#include "slot.h"

#define OVERDRAFT_MAX 64

/* A place with a buffer beyond the cut ones that is not out. */
static struct buffer *find(struct tm_pool *pool)
{
	struct place *place;

	for (uint32_t i = 0; i < pool->n_places; i++) {
		place = &pool->places[i];
		if (place->chunk == CHUNK_NONE || atomic_load(&place->is_draining) ||
		    place->n_buffers + place->n_overdraft == pool->per_chunk)
			continue;
		for (uint32_t k = place->n_buffers; k < pool->per_chunk; k++)
			if (!place->buffers[k].is_overdraft)
				return &place->buffers[k];
	}
	return NULL;
}

static struct tm_buffer *take(struct tm_pool *pool, struct buffer *buffer)
{
	struct place *place = buffer->place;
	size_t at = (size_t)(buffer - place->buffers) * pool->buffer_bytes;

	buffer->is_overdraft = true;
	buffer->public.magazine_ = 0; /* its release comes here */
	buffer->public.data = pool->slot->base + (size_t)place->chunk * TM_CHUNK_BYTES + at;
	place->n_overdraft++;
	pool->n_overdraft++;
	pool->acquired_total++;
	pool->high_water = MAX(pool->high_water, depot_count_out(pool));
	return &buffer->public;
}

/* Return: the buffer, or NULL; *ret_needs_page: there could be one in a page more. */
static struct tm_buffer *try(struct tm_pool *pool, bool *ret_needs_page)
{
	struct tm_buffer *public = NULL;
	struct buffer *buffer;

	pthread_mutex_lock(&pool->lock);
	*ret_needs_page = false;
	/* below its maximum it wants pages, and there are none; owed ones are not to be used anew */
	if (pool_is_at_maximum(pool) && !pool->is_owing &&
	    pool->n_overdraft < pool->max_overdraft) {
		buffer = find(pool);
		if (buffer)
		public = take(pool, buffer);
		*ret_needs_page = !buffer;
	}
	pool_unlock(pool);
	return public;
}

static bool get_page(struct tm_pool *pool)
{
	struct tm_slot *slot = pool->slot;
	uint32_t chunk;
	int r = -ENOBUFS;

	if (atomic_load(&slot->n_free) == 0)
		return false;
	pthread_mutex_lock(&slot->lock);
	chunk = chunk_take(slot);
	if (chunk != CHUNK_NONE) {
		r = pool_add_uncut(pool, chunk);
		if (r < 0)
			chunk_put(slot, chunk);
	}
	pthread_mutex_unlock(&slot->lock);
	return r == 0;
}

TM_PUBLIC struct tm_buffer *tm_pool_acquire_overdraft(struct tm_pool *pool)
{
	struct tm_buffer *buffer = tm_pool_acquire(pool);
	bool needs_page;

	if (buffer)
		return buffer;
	buffer = try(pool, &needs_page);
	if (!buffer && needs_page && get_page(pool))
		buffer = try(pool, &needs_page);
	return buffer;
}

TM_PUBLIC int tm_pool_set_overdraft(struct tm_pool *pool, uint32_t max_buffers)
{
	if (max_buffers > OVERDRAFT_MAX)
		return -EINVAL;
	pthread_mutex_lock(&pool->lock);
	pool->max_overdraft = max_buffers;
	pool_unlock(pool);
	return 0;
}

void overdraft_put(struct tm_buffer *public)
{
	struct buffer *buffer = buffer_from_public(public);
	struct place *place = buffer->place;
	struct tm_pool *pool = public->pool;

	pthread_mutex_lock(&pool->lock);
	if (!buffer->is_overdraft)
		depot_die_of_double_release(public);
	buffer->is_overdraft = false;
	place->n_overdraft--;
	pool->n_overdraft--;
	/* the page can go */
	if (place->n_overdraft == 0 && place->n_idle == place->n_buffers &&
	    (place->n_buffers == 0 || atomic_load(&place->is_draining)))
		slot_signal(pool->slot);
	pool_unlock(pool);
}

void overdraft_settle(struct tm_slot *slot)
{
	struct tm_pool *pool;
	struct place *place;
	uint32_t chunk;

	pthread_mutex_lock(&slot->lock);
	LIST_FOREACH(&slot->pools, pool, node)
		for (uint32_t i = 0; pool->has_uncut && i < pool->n_places; i++) {
			place = &pool->places[i];
			chunk = pool_collect_uncut(pool, place);
			if (chunk != CHUNK_NONE)
				chunk_put(slot, chunk);
		}
	pthread_mutex_unlock(&slot->lock);
}
