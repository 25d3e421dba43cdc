/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The pools of a task share its pages by the routine that shares those of a node among slots:
 * each has the pages of its min_buffers, then weighted max-min up to what it uses and a quarter
 * more, all weights equal, then the rest. Somebody who waits needs all the pool may have. So two
 * that wait end with the same number of pages, one that waits beside an idle one gets nearly all,
 * and nothing moves while nobody waits. A page between pools costs no system call, so there is
 * nothing to be patient for, unlike between slots.
 *
 * A page whose buffers are not all idle drains first, as one that is owed to the daemon. Each turn
 * begins by taking that back and looks anew which page of the pool is emptiest now: which
 * buffers the task releases first is its own choice.
 */

#include "balance.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/maxmin.h"
#include "pool.h"
#include "slot.h"

struct member {
	struct tm_pool *pool;
	struct pool_demand demand;
	char name[12];
};

/* Fully idle pages of pools that drained for others are free now. */
static void collect_moved(struct tm_slot *slot)
{
	struct tm_pool *pool;
	uint32_t chunk;

	LIST_FOREACH(&slot->pools, pool, node)
		for (uint32_t i = 0; i < pool->n_places && atomic_load(&slot->n_moving) > 0; i++) {
			chunk = pool->places[i].chunk;
			if (chunk == CHUNK_NONE || slot->chunks[chunk] != CHUNK_MOVING ||
			    pool_collect(pool, &pool->places[i]) == CHUNK_NONE)
				continue;
			chunk_put(slot, chunk);
		}
}

/* What still drains for others is the pool's own again. */
static void take_back(struct tm_slot *slot)
{
	struct tm_pool *pool;
	uint32_t chunk;

	LIST_FOREACH(&slot->pools, pool, node)
		for (uint32_t i = 0; i < pool->n_places && atomic_load(&slot->n_moving) > 0; i++) {
			chunk = pool->places[i].chunk;
			if (chunk == CHUNK_NONE || slot->chunks[chunk] != CHUNK_MOVING ||
			    !pool_undrain(pool, &pool->places[i]))
				continue;
			slot->chunks[chunk] = CHUNK_POOL;
			atomic_fetch_sub(&slot->n_moving, 1);
		}
}

/* Return: true if somebody still waits. */
static bool feed(struct tm_slot *slot)
{
	struct tm_pool *pool;
	uint32_t chunk;

	LIST_FOREACH(&slot->pools, pool, node)
		while (pool_is_hungry(pool)) {
			chunk = chunk_take(slot);
			if (chunk == CHUNK_NONE)
				return true;
			if (pool_add_chunk(pool, chunk) < 0) {
				chunk_put(slot, chunk);
				break;
			}
		}
	return false;
}

static uint64_t in_chunks(const struct tm_pool *pool, uint64_t buffers)
{
	return (buffers + pool->per_chunk - 1) >> pool->per_chunk_shift;
}

/* Pages that the pool could do with now. */
static uint64_t need_of(const struct member *m)
{
	uint64_t used = in_chunks(m->pool, m->demand.n_used);

	return m->demand.n_waiters > 0 ? UINT64_MAX : used + MAX(used / 4, UINT64_C(1));
}

/* Drains a page of whoever has most beyond its share; false: nobody has. */
static bool drain_one(struct tm_slot *slot, struct member *members, const struct claim *claims,
		      size_t n)
{
	struct place *place;
	uint32_t most = 0;
	size_t best = n;

	for (size_t i = 0; i < n; i++) {
		uint32_t chunks = members[i].demand.n_chunks;

		if (chunks <= claims[i].share || chunks - claims[i].share <= most ||
		    pool_find_spare(members[i].pool, &place) < 0)
			continue;
		most = chunks - (uint32_t)claims[i].share;
		best = i;
	}
	if (best == n || pool_find_spare(members[best].pool, &place) < 0)
		return false;
	slot->chunks[place->chunk] = CHUNK_MOVING;
	atomic_fetch_add(&slot->n_moving, 1);
	members[best].demand.n_chunks--;
	pool_drain(members[best].pool, place);
	return true;
}

/* Pages to be moved: what those who wait lack of their share, and can use now. */
static uint64_t count_wanted(const struct member *members, const struct claim *claims, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		const struct pool_demand *d = &members[i].demand;

		if (d->n_waiters > 0 && claims[i].share > d->n_chunks)
			sum += MIN(claims[i].share - d->n_chunks,
				   in_chunks(members[i].pool, d->n_waiters));
	}
	return sum;
}

static void divide(struct tm_slot *slot, size_t n)
{
	CLEANUP(freep) struct member *members = calloc(n, sizeof(*members));
	CLEANUP(freep) struct claim *claims = calloc(n, sizeof(*claims));
	CLEANUP(freep) uint64_t *needs = calloc(n, sizeof(*needs));
	struct tm_pool *pool;
	uint64_t total = 0, wanted;
	size_t i = 0;

	if (!members || !claims || !needs)
		return;
	LIST_FOREACH(&slot->pools, pool, node) {
		struct member *m = &members[i];
		uint64_t min = in_chunks(pool, pool->min_buffers);

		m->pool = pool;
		pool_get_demand(pool, &m->demand);
		/* could give one: what its threads have in their magazines is to be seen */
		if (m->demand.n_waiters == 0 && m->demand.n_chunks > min) {
			pool_set_owing(pool, true);
			pool_get_demand(pool, &m->demand);
		}
		(void)snprintf(m->name, sizeof(m->name), "%010zu", i);
		/* what drains for the daemon counts for nobody */
		claims[i] = (struct claim){ .name = m->name,
					    .weight = 1,
					    .min = MIN(min, (uint64_t)m->demand.n_chunks),
					    .max = MAX(in_chunks(pool, pool->max_buffers),
						       (uint64_t)m->demand.n_chunks) };
		needs[i++] = need_of(m);
		total += m->demand.n_chunks;
	}
	if (maxmin_divide_needs(claims, needs, n, total) < 0)
		return;
	for (wanted = count_wanted(members, claims, n); wanted > 0; wanted--)
		if (!drain_one(slot, members, claims, n))
			break;
}

/* Another pool may get pages of it, once its buffers are released. */
static bool may_give(struct tm_pool *pool)
{
	struct pool_demand demand;

	pool_get_demand(pool, &demand);
	return demand.n_waiters == 0 && demand.n_chunks > in_chunks(pool, pool->min_buffers);
}

void balance_pools(struct tm_slot *slot)
{
	struct tm_pool *pool;
	bool is_short;
	size_t n = 0;

	LIST_FOREACH(&slot->pools, pool, node)
		n++;
	collect_moved(slot);
	is_short = feed(slot) && n > 1;
	take_back(slot);
	if (is_short) {
		/* from here on who releases wakes us, so nothing is missed that divide() did not see */
		atomic_store(&slot->is_short, true);
		divide(slot, n);
		collect_moved(slot);
		is_short = feed(slot);
	}
	atomic_store(&slot->is_short, is_short);
	if (slot->n_leaving > 0)
		return; /* chunk.c's */
	LIST_FOREACH(&slot->pools, pool, node)
		pool_set_owing(pool, pool_has_draining(pool) || (is_short && may_give(pool)));
}

uint32_t balance_reclaim(struct tm_slot *slot, uint32_t n)
{
	struct tm_pool *pool;
	struct place *place;
	uint32_t done = 0;

	LIST_FOREACH(&slot->pools, pool, node) {
		/* what is in magazines is idle */
		if (done < n && may_give(pool))
			pool_set_owing(pool, true);
		while (done < n && pool_find_spare(pool, &place) == POOL_ALL_EMPTY &&
		       atomic_load(&place->n_posted) == 0) {
			slot->chunks[place->chunk] = CHUNK_MOVING;
			atomic_fetch_add(&slot->n_moving, 1);
			pool_drain(pool, place);
			collect_moved(slot);
			done++;
		}
		if (slot->n_leaving == 0 && !slot->is_short)
			pool_set_owing(pool, pool_has_draining(pool));
	}
	return done;
}
