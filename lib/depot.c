/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The depot of a pool: fixed-size buffers cut from whole chunks.
 *
 * It is one mutex and, per chunk, a bit for each idle buffer. Chunks with idle buffers sit in a
 * bucket by fullness, and the fullest is handed out first, so that under falling demand whole
 * chunks become empty and can go back to the daemon. Nothing is written to a buffer or to what
 * describes it: acquiring a cold buffer touches no cold line, buffers that wander between threads
 * leave no lines that wander, and a page can be unmapped without a list running through it.
 *
 * Threads have magazines before it (magazine.c), which take and give many buffers at a time; but
 * while somebody waits all go through here. A released buffer then goes straight to whoever waits
 * longest, thread or engine, so nobody can be overtaken for ever, and no buffer is idle.
 */

#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "magazine.h"
#include "slot.h"

#define POISON 0xdb /* fills released buffers in debug builds */
#define WORD_BITS 64

void pool_unlock(struct tm_pool *pool)
{
	report_write(pool);
	pthread_mutex_unlock(&pool->lock);
}

static void unlink_place(struct place *place)
{
	list_remove(&place->node);
	place->bucket = -1;
}

/* Puts the place in the bucket of its fullness: 0 has 1/8 idle at most, 8 is all idle. Return: true
 * if it is another one. */
static bool file_place(struct tm_pool *pool, struct place *place)
{
	int bucket;

	if (place->n_idle == 0)
		bucket = -1;
	else if (place->n_idle == place->n_buffers)
		bucket = BUCKETS - 1;
	else
		bucket = (int)((place->n_idle * (BUCKETS - 1)) >> pool->per_chunk_shift);
	if (bucket == place->bucket)
		return false;
	unlink_place(place);
	place->bucket = bucket;
	if (bucket >= 0)
		list_append(pool->buckets[bucket].next, &place->node);
	return true;
}

/* The lowest @n of a place that has so many. */
static void take_from(struct place *place, uint32_t n, struct tm_buffer *ret_buffers[])
{
	uint32_t i = 0, w = place->first_word;
	struct buffer *first;
	uint64_t word;

	for (;;) {
		first = place->buffers + (size_t)w * WORD_BITS;
		for (word = place->idle[w]; word && i < n; word &= word - 1)
			ret_buffers[i++] = &first[__builtin_ctzll(word)].public;
		place->idle[w] = word;
		if (i == n)
			break;
		w++;
	}
	place->first_word = w;
	place->n_idle -= n;
}

uint32_t depot_take(struct tm_pool *pool, uint32_t n, struct tm_buffer *ret_buffers[])
{
	struct place *place;
	uint32_t done = 0, some;
	int bucket = 0;

	n = MIN(n, pool->n_idle);
	while (done < n) {
		while (list_is_empty(&pool->buckets[bucket]))
			bucket++;
		place = list_entry(pool->buckets[bucket].next, struct place, node);
		some = MIN(n - done, place->n_idle);
		take_from(place, some, ret_buffers + done);
		(void)file_place(pool, place);
		done += some;
	}
	pool->n_idle -= n;
	pool->acquired_total += n;
	return n;
}

_Noreturn void depot_die_of_double_release(const struct tm_buffer *buffer)
{
	fprintf(stderr, "libtaskmem: pool \"%s\": buffer %u released twice\n", buffer->pool->name,
		buffer->index);
	abort();
}

static void mark_idle(struct place *place, struct tm_buffer *public)
{
	uint32_t i = (uint32_t)(buffer_from_public(public) - place->buffers);
	uint64_t bit = UINT64_C(1) << i % WORD_BITS;
	uint32_t w = i / WORD_BITS;

	if (place->idle[w] & bit)
		depot_die_of_double_release(public);
#ifdef TM_DEBUG
	if (!place->is_revoked)
		memset(public->data, POISON, public->capacity);
#endif
	place->idle[w] |= bit;
	place->first_word = MIN(place->first_word, w);
	place->n_idle++;
}

void depot_put(struct tm_pool *pool, struct tm_buffer *public)
{
	struct place *place = buffer_from_public(public)->place;

	mark_idle(place, public);
	if (atomic_load_explicit(&place->is_draining, memory_order_relaxed)) {
		pool->n_leaving--;
		if (place->n_idle == place->n_buffers)
			slot_signal(pool->slot);
		return;
	}
	pool->n_idle++;
	/* the pool may have a page to spare now for one that is waited for */
	if (file_place(pool, place) && atomic_load(&pool->slot->is_short))
		slot_signal(pool->slot);
	/* it may go in place of one that drains */
	if (place->n_idle == place->n_buffers &&
	    (atomic_load(&pool->slot->n_leaving) > 0 || atomic_load(&pool->slot->n_moving) > 0))
		slot_signal(pool->slot);
}

void depot_serve(struct tm_pool *pool)
{
	struct pool_waiter *waiter;
	struct tm_buffer *buffer;

	while (pool->n_idle > 0 && !list_is_empty(&pool->waiters)) {
		waiter = list_entry(pool->waiters.next, struct pool_waiter, node);
		list_remove(&waiter->node);
		pool->n_waiters--;
		(void)depot_take(pool, 1, &buffer);
		pool->high_water = MAX(pool->high_water, depot_count_out(pool));
		waiter->give(waiter, buffer_from_public(buffer));
	}
}

uint32_t depot_count_out(const struct tm_pool *pool)
{
	return pool->n_buffers - pool->n_idle + pool->n_leaving + pool->n_overdraft;
}

static void count_posted(struct buffer *buffer, bool is_posted)
{
	uint32_t by = is_posted ? 1 : -1U;

	buffer->is_posted = is_posted;
	atomic_fetch_add_explicit(&buffer->place->n_posted, by, memory_order_relaxed);
	atomic_fetch_add_explicit(&buffer->public.pool->n_posted, by, memory_order_relaxed);
}

void pool_post(struct buffer *buffer)
{
	count_posted(buffer, /* is_posted= */ true);
}

void pool_unpost(struct buffer *buffer)
{
	count_posted(buffer, /* is_posted= */ false);
}

uint32_t pool_take(struct tm_pool *pool, uint32_t n, enum buffer_state state,
		   struct buffer *ret_buffers[])
{
	struct tm_buffer *batch[64];
	uint32_t got = magazine_take(pool, MIN(n, (uint32_t)ARRAY_LEN(batch)), batch);

	for (uint32_t i = 0; i < got; i++) {
		ret_buffers[i] = buffer_from_public(batch[i]);
		if (state == BUFFER_POSTED)
			count_posted(ret_buffers[i], /* is_posted= */ true);
	}
	return got;
}

void pool_set_owner(struct buffer *buffer, struct buffer_owner *owner)
{
	buffer->owner = owner;
	buffer->public.magazine_ = 0;
}

void pool_put(struct buffer *buffer)
{
	if (buffer->is_posted)
		count_posted(buffer, /* is_posted= */ false);
	tm_buffer_release(&buffer->public);
}

bool pool_is_at_maximum(const struct tm_pool *pool)
{
	return pool->n_buffers + pool->n_leaving >= pool->max_buffers;
}

/* What is only offered to the kernel may be all that there is. */
static void call_back_posted(struct tm_pool *pool)
{
	struct pool_user *user;

	LIST_FOREACH(&pool->users, user, node)
		if (atomic_load(&user->has_posted))
			user->withdraw(user);
}

void pool_wait(struct tm_pool *pool, struct pool_waiter *waiter)
{
	bool can_grow;

	pthread_mutex_lock(&pool->lock);
	list_append(&pool->waiters, &waiter->node);
	pool->n_waiters++;
	/* from here until it is served each release comes to the depot */
	magazine_recall(pool);
	if (pool->n_idle == 0)
		pool->empty_total++;
	depot_serve(pool);
	if (pool->n_waiters > 0)
		call_back_posted(pool);
	can_grow = pool->n_waiters > 0 && !pool_is_at_maximum(pool);
	pool_unlock(pool);
	/* more pages may be had, of the daemon or of other pools */
	if (can_grow)
		slot_signal(pool->slot);
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
	pool_unlock(pool);
	return is_queued;
}

void pool_add_refused(struct tm_pool *pool, int n)
{
	pthread_mutex_lock(&pool->lock);
	pool->n_refused += (uint32_t)n;
	pool_unlock(pool);
}

static uint32_t count_postable(const struct tm_pool *pool)
{
	return MAX(pool->n_buffers / (pool->n_users + 1), UINT32_C(1));
}

uint32_t pool_get_part(struct tm_pool *pool, uint32_t *ret_post_limit)
{
	uint32_t part;

	pthread_mutex_lock(&pool->lock);
	part = pool->n_buffers / MAX(pool->n_users, UINT32_C(1));
	*ret_post_limit = count_postable(pool);
	pthread_mutex_unlock(&pool->lock); /* nothing that would have to be reported */
	return part;
}

uint32_t pool_get_post_limit(struct tm_pool *pool)
{
	uint32_t limit;

	pthread_mutex_lock(&pool->lock);
	limit = pool->n_waiters > 0 ? 0 : count_postable(pool);
	pthread_mutex_unlock(&pool->lock); /* as above */
	return limit;
}

void pool_add_user(struct tm_pool *pool, struct pool_user *user)
{
	pthread_mutex_lock(&pool->lock);
	list_append(&pool->users, &user->node);
	pool->n_users++;
	pool_unlock(pool);
}

void pool_remove_user(struct tm_pool *pool, struct pool_user *user)
{
	pthread_mutex_lock(&pool->lock);
	list_remove(&user->node);
	pool->n_users--;
	pool_unlock(pool);
}

static int make_buffers(struct tm_pool *pool, struct place *place)
{
	uint32_t first = (uint32_t)(place - pool->places) * pool->per_chunk;
	size_t n_words = (pool->per_chunk + WORD_BITS - 1) / WORD_BITS;
	size_t bytes = pool->per_chunk * sizeof(*place->buffers);
	size_t align = alignof(struct buffer);

	bytes += (n_words * sizeof(*place->idle) + align - 1) / align * align;
	place->buffers = aligned_alloc(align, bytes);
	if (!place->buffers)
		return -ENOMEM;
	memset(place->buffers, 0, bytes);
	place->idle = (uint64_t *)(place->buffers + pool->per_chunk);
	for (uint32_t i = 0; i < pool->per_chunk; i++) {
		place->buffers[i].place = place;
		place->buffers[i].public.pool = pool;
		place->buffers[i].public.magazine_ = pool->head.magazine_;
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
	pool->n_chunks++;
	place->n_buffers = place->n_idle = MIN(pool->per_chunk, room);
	place->first_word = 0;
	for (uint32_t i = 0; i < pool->per_chunk; i += WORD_BITS)
		place->idle[i / WORD_BITS] = 0;
	for (uint32_t i = 0; i < place->n_buffers; i++) {
		place->buffers[i].public.magazine_ = pool->head.magazine_;
		place->buffers[i].public.data = data + (size_t)i * pool->buffer_bytes;
		place->idle[i / WORD_BITS] |= UINT64_C(1) << i % WORD_BITS;
	}
	pool->n_buffers += place->n_buffers;
	pool->n_idle += place->n_idle;
	(void)file_place(pool, place);
}

int pool_add_chunk(struct tm_pool *pool, uint32_t chunk)
{
	struct place *place = pool->places, *end = pool->places + pool->n_places;
	int r = 0;

	pthread_mutex_lock(&pool->lock);
	while (place < end && place->chunk != CHUNK_NONE)
		place++;
	if (place == end || pool_is_at_maximum(pool))
		r = -ENOBUFS;
	else if (!place->buffers)
		r = make_buffers(pool, place);
	if (r == 0) {
		cut_chunk(pool, place, chunk);
		depot_serve(pool);
	}
	pool_unlock(pool);
	return r;
}

/* How many chunks the pool may have more; 0: it needs none. */
static uint32_t count_room(struct tm_pool *pool, bool may_have_idle)
{
	uint32_t room = 0;

	pthread_mutex_lock(&pool->lock);
	if ((may_have_idle || pool->n_idle == 0) && !pool_is_at_maximum(pool))
		room = 1 + ((pool->max_buffers - pool->n_buffers - pool->n_leaving - 1) >>
			    pool->per_chunk_shift);
	pool_unlock(pool);
	return room;
}

static int grow_from_slot(struct tm_pool *pool, bool may_have_idle)
{
	struct tm_slot *slot = pool->slot;
	uint32_t chunk;
	int r = 0;

	if (atomic_load(&slot->n_free) == 0)
		return 0;
	pthread_mutex_lock(&slot->lock);
	if (count_room(pool, may_have_idle) > 0) {
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

static uint32_t count_askable(struct tm_pool *pool, bool may_have_idle)
{
	return MIN(count_room(pool, may_have_idle), chunk_count_askable(pool->slot));
}

/* With slot->call_lock held, until the pool has what came: threads that run dry at the same time
 * ask for one page, not for one each. */
static int ask_slot(struct tm_pool *pool, bool may_have_idle)
{
	int r = grow_from_slot(pool, may_have_idle);
	uint32_t n = r == 0 ? count_askable(pool, may_have_idle) : 0;

	if (n == 0)
		return r;
	r = chunk_grow_locked(pool->slot, n);
	return r < 0 ? 0 : grow_from_slot(pool, may_have_idle);
}

static int grow(struct tm_pool *pool, bool may_ask, bool may_have_idle)
{
	int r = grow_from_slot(pool, may_have_idle);

	if (r != 0 || !may_ask || count_askable(pool, may_have_idle) == 0)
		return r;
	pthread_mutex_lock(&pool->slot->call_lock);
	r = ask_slot(pool, may_have_idle);
	pthread_mutex_unlock(&pool->slot->call_lock);
	return r;
}

int pool_grow(struct tm_pool *pool, bool may_ask)
{
	return grow(pool, may_ask, /* may_have_idle= */ false);
}

int pool_extend(struct tm_pool *pool)
{
	return grow(pool, /* may_ask= */ true, /* may_have_idle= */ true);
}

int pool_find_spare(struct tm_pool *pool, struct place **ret_place)
{
	struct place *place;
	int most = -1, emptiness;

	pthread_mutex_lock(&pool->lock);
	for (uint32_t i = 0; i < pool->n_places; i++) {
		place = &pool->places[i];
		if (place->chunk == CHUNK_NONE || place->n_buffers == 0 ||
		    atomic_load(&place->is_draining) ||
		    pool->n_buffers - place->n_buffers < pool->min_buffers)
			continue;
		emptiness = (int)((uint64_t)(place->n_idle + atomic_load(&place->n_posted)) *
				  POOL_ALL_EMPTY / place->n_buffers);
		if (emptiness <= most)
			continue;
		most = emptiness;
		*ret_place = place;
	}
	pool_unlock(pool);
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
	/* even with none posted: an engine may have taken some that it is about to post */
	LIST_FOREACH(&pool->users, user, node)
		user->withdraw(user);
	pool_unlock(pool);
}

void pool_revoke(struct tm_pool *pool, struct place *place)
{
	pthread_mutex_lock(&pool->lock);
	place->is_revoked = true;
	pthread_mutex_unlock(&pool->lock);
	if (!atomic_load(&place->is_draining))
		pool_drain(pool, place);
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
		(void)file_place(pool, place);
		depot_serve(pool);
	}
	pool_unlock(pool);
	return fits;
}

struct place *pool_find_drained(struct tm_pool *pool, uint32_t from)
{
	struct place *found = NULL, *place;

	pthread_mutex_lock(&pool->lock);
	for (uint32_t i = from; i < pool->n_places && !found; i++) {
		place = &pool->places[i];
		if (atomic_load(&place->is_draining) && place->n_idle == place->n_buffers &&
		    place->n_overdraft == 0)
			found = place;
	}
	pthread_mutex_unlock(&pool->lock); /* nothing that would have to be reported */
	return found;
}

uint32_t pool_collect(struct tm_pool *pool, struct place *place)
{
	uint32_t chunk = CHUNK_NONE;

	if (!atomic_load(&place->is_draining))
		return CHUNK_NONE;
	pthread_mutex_lock(&pool->lock);
	if (place->n_idle == place->n_buffers && place->n_overdraft == 0) {
		chunk = place->chunk;
		place->chunk = CHUNK_NONE;
		pool->n_chunks--;
		place->n_buffers = place->n_idle = 0;
		place->is_revoked = false;
		atomic_store(&place->is_draining, false);
	}
	pool_unlock(pool);
	return chunk;
}

void pool_set_owing(struct tm_pool *pool, bool is_owing)
{
	pthread_mutex_lock(&pool->lock);
	pool->is_owing = is_owing;
	if (is_owing) {
		magazine_recall(pool);
		depot_serve(pool);
	}
	pool_unlock(pool);
}

bool pool_is_hungry(struct tm_pool *pool)
{
	bool is_hungry;

	pthread_mutex_lock(&pool->lock);
	is_hungry = pool->n_waiters > 0 && !pool_is_at_maximum(pool);
	pool_unlock(pool);
	return is_hungry;
}

void pool_get_demand(struct tm_pool *pool, struct pool_demand *ret)
{
	uint32_t in_magazines;

	pthread_mutex_lock(&pool->lock);
	in_magazines = MIN(pool->n_stash + pool->n_known, pool->n_buffers - pool->n_idle);
	*ret = (struct pool_demand){
		.n_chunks = pool->n_chunks,
		.n_used = pool->n_buffers - pool->n_idle - in_magazines,
		.n_waiters = pool_is_at_maximum(pool) ? 0 : pool->n_waiters,
	};
	for (uint32_t i = 0; i < pool->n_places; i++)
		ret->n_chunks -= atomic_load(&pool->places[i].is_draining);
	pool_unlock(pool);
}

bool pool_has_draining(struct tm_pool *pool)
{
	bool has = false;

	for (uint32_t i = 0; i < pool->n_places && !has; i++)
		has = atomic_load(&pool->places[i].is_draining);
	return has;
}

int pool_add_uncut(struct tm_pool *pool, uint32_t chunk)
{
	struct place *place = pool->places, *end = pool->places + pool->n_places;
	int r = 0;

	pthread_mutex_lock(&pool->lock);
	while (place < end && place->chunk != CHUNK_NONE)
		place++;
	if (place == end)
		r = -ENOBUFS;
	else if (!place->buffers)
		r = make_buffers(pool, place);
	if (r == 0) {
		place->chunk = chunk;
		place->n_buffers = place->n_idle = 0;
		pool->n_chunks++;
		atomic_store(&pool->has_uncut, true);
	}
	pool_unlock(pool);
	return r;
}

uint32_t pool_collect_uncut(struct tm_pool *pool, struct place *place)
{
	uint32_t chunk = CHUNK_NONE;

	pthread_mutex_lock(&pool->lock);
	/* one that was taken by force drains, which is pool_collect()'s */
	if (place->chunk != CHUNK_NONE && place->n_buffers == 0 && place->n_overdraft == 0 &&
	    !atomic_load(&place->is_draining)) {
		chunk = place->chunk;
		place->chunk = CHUNK_NONE;
		pool->n_chunks--;
		atomic_store(&pool->has_uncut, false); /* there is one at a time */
	}
	pool_unlock(pool);
	return chunk;
}
