/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The chunks of a slot: which 2 MiB pages of the daemon's memfd this process holds.
 *
 * The file is sparse and mapped once; only pages the daemon put in are ever touched, because a
 * touch of any other index would make the kernel fault a page in behind the daemon's back, or
 * kill the task by SIGBUS when none is left. A grant is mapped with MADV_POPULATE_WRITE, which
 * reports such a failure as an error. What is given back is unmapped first (MADV_DONTNEED), so
 * that the daemon's hole punch finds no mapper. Pages of 1 GiB are never asked for again: they are
 * unmapped whole, when the slot is detached.
 *
 * A notice of a lower target makes pages owed. Free chunks go at once; then pools above their
 * minimum give up their emptiest chunks, which drain until the last buffer is released.
 *
 * What is kept beyond a deadline may be taken by force. Such a chunk is not held any more, but its
 * place in the pool stays until the last buffer is released; only then is it Returned, which tells
 * the daemon that its index may be used again.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/mono.h"
#include "pool.h"
#include "slot.h"

#define ASK_PAUSE_NS NS_PER_SEC /* between two requests after the daemon had no page */
/* A pool that grows asks for a sixteenth of what is held at a time, so little that it does not matter if
 * it does not need it after all; but whoever asks waits, for a page a quarter of a millisecond while it is cleared. */
#define ASK_DIVISOR 16
#define ASK_MAX 8
#define DRAIN_PAUSE_MS 1000 /* buffers that come and go change the set all the time */
#define RETRY_MS 1000       /* a failed Return */

static uint8_t *chunk_address(struct tm_slot *slot, uint32_t chunk)
{
	return slot->base + (size_t)chunk * TM_CHUNK_BYTES;
}

/* At an address where one entry of the page tables can map a page. Of transparent ones only the
 * caller can see to it; of huge ones there is no other. Return: MAP_FAILED and errno when it cannot be. */
static uint8_t *map_aligned(size_t bytes, size_t page_bytes, int fd)
{
	size_t all = bytes + page_bytes, before;
	uint8_t *window =
		mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *base;

	if (window == MAP_FAILED)
		return window;
	before = -(uintptr_t)window % page_bytes;
	base = mmap(window + before, bytes, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
	if (base == MAP_FAILED) {
		int error = errno;

		(void)munmap(window, all);
		errno = error;
		return base;
	}
	if (before > 0)
		(void)munmap(window, before);
	(void)munmap(base + bytes, all - before - bytes);
	return base;
}

int chunk_map(struct tm_slot *slot, int fd)
{
	size_t bytes = (size_t)slot->file_chunks * TM_CHUNK_BYTES, page_bytes;
	struct stat st;
	uint8_t *base;
	int seals;

	if (fstat(fd, &st) < 0)
		return -errno;
	seals = fcntl(fd, F_GET_SEALS);
	/* a file that could shrink would be a SIGBUS in waiting */
	if (slot->file_chunks == 0 || (size_t)st.st_size < bytes || seals < 0 ||
	    !(seals & F_SEAL_SHRINK))
		return -EBADMSG;
	/* 4 KiB of a plain file; of 1 GiB pages a file has whole ones only */
	page_bytes = MAX((size_t)st.st_blksize, (size_t)TM_CHUNK_BYTES);
	if (bytes % page_bytes)
		return -EBADMSG;

	slot->chunks = calloc(slot->file_chunks, sizeof(*slot->chunks));
	if (!slot->chunks)
		return -ENOMEM;
	base = map_aligned(bytes, page_bytes, fd);
	if (base == MAP_FAILED)
		return -errno;
	slot->base = base;
	/* a child must not keep pages that are given back; a core file must not hold gigabytes */
	if (madvise(base, bytes, MADV_DONTFORK) < 0 || madvise(base, bytes, MADV_DONTDUMP) < 0)
		return -errno;
	return 0;
}

void chunk_unmap(struct tm_slot *slot)
{
	if (slot->base)
		(void)munmap(slot->base, (size_t)slot->file_chunks * TM_CHUNK_BYTES);
	slot->base = NULL;
	free(slot->chunks);
	slot->chunks = NULL;
}

/* The index at position @i of a message, or CHUNK_NONE if it is no index of the file. */
static uint32_t index_at(struct tm_slot *slot, sd_json_variant *indexes, size_t i)
{
	sd_json_variant *v = sd_json_variant_by_index(indexes, i);

	if (!v || !sd_json_variant_is_unsigned(v) ||
	    sd_json_variant_unsigned(v) >= slot->file_chunks)
		return CHUNK_NONE;
	return (uint32_t)sd_json_variant_unsigned(v);
}

static void set_free(struct tm_slot *slot, uint32_t chunk)
{
	slot->chunks[chunk] = CHUNK_FREE;
	atomic_fetch_add(&slot->n_free, 1);
}

/* Maps one granted chunk. Only an ABSENT one is anybody's to grant. */
static int adopt_one(struct tm_slot *slot, uint32_t chunk)
{
	int r = 0;

	if (chunk == CHUNK_NONE)
		return -EBADMSG;
	pthread_mutex_lock(&slot->lock);
	if (slot->chunks[chunk] != CHUNK_ABSENT) {
		r = -EBADMSG;
	} else if (madvise(chunk_address(slot, chunk), TM_CHUNK_BYTES, MADV_POPULATE_WRITE) < 0) {
		r = errno == EFAULT ? -ENOMEM : -errno;
	} else {
		set_free(slot, chunk);
		slot->n_held++;
	}
	pthread_mutex_unlock(&slot->lock);
	return r;
}

int chunk_adopt(struct tm_slot *slot, sd_json_variant *indexes)
{
	size_t n = sd_json_variant_elements(indexes);
	int n_adopted = 0, error = 0, r;

	for (size_t i = 0; i < n; i++) {
		r = adopt_one(slot, index_at(slot, indexes, i));
		if (r < 0)
			error = r;
		else
			n_adopted++;
	}
	return n_adopted > 0 || !error ? n_adopted : error;
}

/* While pages are owed all pools show how empty their chunks really are. */
static void set_owing(struct tm_slot *slot, bool is_owing)
{
	struct tm_pool *pool;

	LIST_FOREACH(&slot->pools, pool, node)
		pool_set_owing(pool, is_owing);
}

/* To RETURNING, where a revoked one counts as held again: to give it back says that it is done with. */
static void set_returning(struct tm_slot *slot, uint32_t chunk)
{
	if (slot->chunks[chunk] == CHUNK_REVOKED || slot->chunks[chunk] == CHUNK_ABSENT) {
		slot->n_revoked -= slot->chunks[chunk] == CHUNK_REVOKED;
		slot->n_held++;
		slot->n_leaving++;
	}
	slot->chunks[chunk] = CHUNK_RETURNING;
}

/* The pool that has it, and its place there. slot->lock held. */
static struct tm_pool *find_place(struct tm_slot *slot, uint32_t chunk, struct place **ret_place)
{
	struct tm_pool *pool;

	LIST_FOREACH(&slot->pools, pool, node) {
		for (uint32_t i = 0; i < pool->n_places; i++) {
			if (pool->places[i].chunk != chunk)
				continue;
			*ret_place = &pool->places[i];
			return pool;
		}
	}
	return NULL;
}

static void revoke_one(struct tm_slot *slot, uint32_t chunk)
{
	struct place *place;
	struct tm_pool *pool;

	switch (slot->chunks[chunk]) {
	case CHUNK_RETURNING: /* that call was not answered, and is made again */
	case CHUNK_REVOKED:
		return;
	case CHUNK_ABSENT: /* given back before we knew, which did not count */
		set_returning(slot, chunk);
		return;
	case CHUNK_FREE:
		atomic_fetch_sub(&slot->n_free, 1);
		slot->n_leaving++;
		slot->chunks[chunk] = CHUNK_RETURNING;
		break;
	case CHUNK_POOL:
	case CHUNK_MOVING:
	case CHUNK_DRAINING:
		if (slot->chunks[chunk] == CHUNK_DRAINING)
			slot->n_leaving--;
		else if (slot->chunks[chunk] == CHUNK_MOVING)
			slot->n_moving--;
		slot->n_held--;
		slot->n_revoked++;
		slot->chunks[chunk] = CHUNK_REVOKED;
		pool = find_place(slot, chunk, &place);
		if (pool)
			pool_revoke(pool, place);
		break;
	}
	slot->is_untold = true;
}

void chunk_note_revoked(struct tm_slot *slot, sd_json_variant *indexes)
{
	size_t n = sd_json_variant_elements(indexes);
	uint32_t chunk;

	pthread_mutex_lock(&slot->lock);
	for (size_t i = 0; i < n; i++) {
		chunk = index_at(slot, indexes, i);
		if (chunk != CHUNK_NONE)
			revoke_one(slot, chunk);
	}
	/* what threads have in their magazines must not be handed out */
	set_owing(slot, true);
	pthread_mutex_unlock(&slot->lock);
}

void chunk_reconcile(struct tm_slot *slot, sd_json_variant *indexes)
{
	size_t n = sd_json_variant_elements(indexes);
	bool *is_present = calloc(slot->file_chunks, sizeof(*is_present));
	uint32_t chunk;

	if (!is_present)
		return; /* our own view is right unless a call was cut off in the middle */
	for (size_t i = 0; i < n; i++) {
		chunk = index_at(slot, indexes, i);
		if (chunk != CHUNK_NONE)
			is_present[chunk] = true;
	}
	pthread_mutex_lock(&slot->lock);
	for (chunk = 0; chunk < slot->file_chunks; chunk++) {
		if (is_present[chunk])
			continue;
		if (slot->chunks[chunk] == CHUNK_FREE)
			atomic_fetch_sub(&slot->n_free, 1);
		else if (slot->chunks[chunk] == CHUNK_RETURNING) /* the reply was lost */
			slot->n_leaving--;
		else
			continue;
		slot->chunks[chunk] = CHUNK_ABSENT;
		slot->n_held--;
	}
	pthread_mutex_unlock(&slot->lock);
	/* and a Grow whose reply was lost; everything else is not ABSENT */
	for (chunk = 0; chunk < slot->file_chunks; chunk++)
		if (is_present[chunk])
			(void)adopt_one(slot, chunk);
	free(is_present);
}

uint32_t chunk_count_takable(struct tm_slot *slot)
{
	uint32_t kept = slot->n_held - slot->n_leaving, n_free = atomic_load(&slot->n_free), owed;

	/* a daemon that is away cannot want anything back */
	owed = slot->is_connected && kept > slot->target ? kept - slot->target : 0;
	return n_free > owed ? n_free - owed : 0;
}

uint32_t chunk_take(struct tm_slot *slot)
{
	if (chunk_count_takable(slot) == 0)
		return CHUNK_NONE;
	for (uint32_t chunk = 0; chunk < slot->file_chunks; chunk++) {
		if (slot->chunks[chunk] != CHUNK_FREE)
			continue;
		slot->chunks[chunk] = CHUNK_POOL;
		atomic_fetch_sub(&slot->n_free, 1);
		return chunk;
	}
	return CHUNK_NONE;
}

void chunk_put(struct tm_slot *slot, uint32_t chunk)
{
	if (slot->chunks[chunk] == CHUNK_REVOKED) {
		set_returning(slot, chunk);
		slot_signal(slot);
		return;
	}
	if (slot->chunks[chunk] == CHUNK_DRAINING)
		slot->n_leaving--;
	if (slot->chunks[chunk] == CHUNK_MOVING)
		slot->n_moving--;
	set_free(slot, chunk);
}

uint32_t chunk_count_askable(struct tm_slot *slot)
{
	uint32_t n = 0;

	pthread_mutex_lock(&slot->lock);
	if (slot->is_connected && slot->target > slot->n_held &&
	    mono_now_ns() >= slot->ask_after_ns)
		n = MIN(slot->target - slot->n_held,
			MIN(1 + slot->n_held / ASK_DIVISOR, (uint32_t)ASK_MAX));
	pthread_mutex_unlock(&slot->lock);
	return n;
}

/* What could not be mapped is of no use; the daemon is told so, as far as it listens. */
static void return_unusable(struct tm_slot *slot, sd_json_variant *indexes)
{
	sd_json_variant *parameters = NULL, *reply, *unusable = NULL;
	size_t n = sd_json_variant_elements(indexes);
	uint32_t chunk;
	bool is_absent;
	int r = 0;

	for (size_t i = 0; i < n && r >= 0; i++) {
		chunk = index_at(slot, indexes, i);
		if (chunk == CHUNK_NONE)
			continue;
		pthread_mutex_lock(&slot->lock);
		is_absent = slot->chunks[chunk] == CHUNK_ABSENT;
		pthread_mutex_unlock(&slot->lock);
		if (is_absent)
			r = sd_json_variant_append_arrayb(&unusable, SD_JSON_BUILD_UNSIGNED(chunk));
	}
	if (unusable && r >= 0)
		r = sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_UNSIGNED("grant", slot->grant),
				   SD_JSON_BUILD_PAIR_VARIANT("chunks", unusable));
	if (parameters && r >= 0)
		(void)!link_call(slot, "io.taskmem.Return", parameters, &reply);
	sd_json_variant_unref(parameters);
	sd_json_variant_unref(unusable);
}

static int ask_for(struct tm_slot *slot, uint32_t n)
{
	sd_json_variant *parameters = NULL, *reply = NULL, *indexes;
	int r;

	r = sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_UNSIGNED("grant", slot->grant),
			   SD_JSON_BUILD_PAIR_UNSIGNED("chunks", n));
	if (r < 0)
		return r;
	r = link_call(slot, "io.taskmem.Grow", parameters, &reply);
	sd_json_variant_unref(parameters);
	if (r < 0)
		return r;
	indexes = sd_json_variant_by_key(reply, "chunks");
	if (!indexes || !sd_json_variant_is_array(indexes))
		return -EBADMSG;
	indexes = sd_json_variant_ref(indexes);
	r = chunk_adopt(slot, indexes);
	if (r < (int)sd_json_variant_elements(indexes))
		return_unusable(slot, indexes);
	sd_json_variant_unref(indexes);
	return r == 0 ? -ENOBUFS : r;
}

int chunk_grow_locked(struct tm_slot *slot, uint32_t n)
{
	bool is_connected;
	uint32_t n_targets;
	int r;

	if (slot->is_pageless)
		return -ENOBUFS;
	pthread_mutex_lock(&slot->lock);
	if (slot->max_chunks && slot->n_held + n > slot->max_chunks)
		n = slot->max_chunks > slot->n_held ? slot->max_chunks - slot->n_held : 0;
	n_targets = slot->n_targets;
	is_connected = slot->is_connected;
	pthread_mutex_unlock(&slot->lock);

	/* Between a resume and its answer nothing may be granted: the answer's list of what is
	 * present could be older than the new pages. */
	if (!is_connected)
		r = -ENOTCONN;
	else
		r = n > 0 ? ask_for(slot, n) : -ENOBUFS;

	pthread_mutex_lock(&slot->lock);
	/* what the daemon gives is not owed, even if the notice that says so is still unread */
	if (r > 0 && n_targets == slot->n_targets)
		slot->target = MAX(slot->target, slot->n_held - slot->n_leaving);
	slot->ask_after_ns = r < 0 ? mono_now_ns() + ASK_PAUSE_NS : 0;
	pthread_mutex_unlock(&slot->lock);
	return r;
}

int chunk_grow(struct tm_slot *slot, uint32_t n)
{
	int r;

	pthread_mutex_lock(&slot->call_lock);
	r = chunk_grow_locked(slot, n);
	pthread_mutex_unlock(&slot->call_lock);
	return r;
}

/* Drains the emptiest chunk that some pool can spare; false: there is none. */
static bool drain_one(struct tm_slot *slot)
{
	struct place *place, *best = NULL;
	struct tm_pool *pool, *best_pool = NULL;
	int emptiness, most = -1;

	LIST_FOREACH(&slot->pools, pool, node) {
		emptiness = pool_find_spare(pool, &place);
		if (emptiness <= most)
			continue;
		most = emptiness;
		best = place;
		best_pool = pool;
	}
	if (!best)
		return false;
	slot->chunks[best->chunk] = CHUNK_DRAINING;
	slot->n_leaving++;
	slot->is_drain_news = true;
	pool_drain(best_pool, best);
	return true;
}

/* The target rose again: takes one drain back. */
static bool undrain_one(struct tm_slot *slot)
{
	struct tm_pool *pool;

	LIST_FOREACH(&slot->pools, pool, node) {
		for (uint32_t i = 0; i < pool->n_places; i++) {
			if (!atomic_load(&pool->places[i].is_draining) ||
			    slot->chunks[pool->places[i].chunk] != CHUNK_DRAINING)
				continue;
			if (!pool_undrain(pool, &pool->places[i]))
				continue;
			slot->chunks[pool->places[i].chunk] = CHUNK_POOL;
			slot->n_leaving--;
			slot->is_drain_news = true;
			return true;
		}
	}
	return false;
}

/* Marks RETURNING what has drained. */
static void collect_drained(struct tm_slot *slot)
{
	struct place *place;
	struct tm_pool *pool;
	uint32_t chunk;

	LIST_FOREACH(&slot->pools, pool, node) {
		for (uint32_t from = 0; (place = pool_find_drained(pool, from));) {
			from = (uint32_t)(place - pool->places) + 1;
			chunk = place->chunk;
			/* what moves to another pool is balance.c's */
			if (slot->chunks[chunk] != CHUNK_DRAINING &&
			    slot->chunks[chunk] != CHUNK_REVOKED)
				continue;
			if (pool_collect(pool, place) != CHUNK_NONE)
				set_returning(slot, chunk);
		}
	}
}

static bool has_idle_chunk(struct tm_slot *slot)
{
	struct place *place;
	struct tm_pool *pool;

	LIST_FOREACH(&slot->pools, pool, node)
		if (pool_find_spare(pool, &place) == POOL_ALL_EMPTY)
			return true;
	return false;
}

/* A chunk that became empty goes in place of one that drains: which buffers are released first
 * is the task's choice. Nothing that drains is empty here, before and after each turn. */
static void swap_drains(struct tm_slot *slot)
{
	for (uint32_t n = slot->n_leaving; n > 0 && has_idle_chunk(slot) && undrain_one(slot);
	     n--) {
		(void)drain_one(slot); /* the one taken back is there at least */
		collect_drained(slot);
	}
}

/* Marks RETURNING what is owed and not in use. The result is an array of their indexes. */
static sd_json_variant *collect(struct tm_slot *slot)
{
	sd_json_variant *indexes = NULL;
	uint32_t n_owed = 0, kept = slot->n_held - slot->n_leaving, chunk;

	if (kept > slot->target)
		n_owed = kept - slot->target;
	for (chunk = slot->file_chunks; n_owed > 0 && chunk-- > 0;) {
		if (slot->chunks[chunk] != CHUNK_FREE)
			continue;
		slot->chunks[chunk] = CHUNK_RETURNING;
		atomic_fetch_sub(&slot->n_free, 1);
		slot->n_leaving++;
		n_owed--;
	}
	for (chunk = 0; n_owed > 0 && slot->n_moving > 0 && chunk < slot->file_chunks; chunk++) {
		if (slot->chunks[chunk] != CHUNK_MOVING)
			continue;
		slot->chunks[chunk] = CHUNK_DRAINING;
		slot->is_drain_news = true;
		slot->n_moving--;
		slot->n_leaving++;
		n_owed--;
	}
	if (n_owed > 0 || slot->n_leaving + slot->n_revoked > 0)
		set_owing(slot, true);
	while (n_owed > 0 && drain_one(slot))
		n_owed--;
	for (; kept < slot->target && undrain_one(slot); kept++)
		;
	collect_drained(slot);
	swap_drains(slot);
	for (chunk = 0; chunk < slot->file_chunks; chunk++)
		if (slot->chunks[chunk] == CHUNK_RETURNING &&
		    sd_json_variant_append_arrayb(&indexes, SD_JSON_BUILD_UNSIGNED(chunk)) < 0)
			break; /* the rest goes next time */
	return indexes;
}

static int give_back(struct tm_slot *slot, sd_json_variant *indexes)
{
	sd_json_variant *parameters = NULL, *reply = NULL;
	size_t n = sd_json_variant_elements(indexes);
	int r;

	/* an earlier daemon takes nothing by force, and does not know the last one */
	r = sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_UNSIGNED("grant", slot->grant),
			   SD_JSON_BUILD_PAIR_VARIANT("chunks", indexes),
			   SD_JSON_BUILD_PAIR_CONDITION(slot->revocation > 0, "revocation",
							SD_JSON_BUILD_UNSIGNED(slot->revocation)));
	if (r < 0)
		return r;
	/* when it is refused the page is still in the file, and the next touch maps it again */
	for (size_t i = 0; i < n; i++)
		(void)madvise(chunk_address(slot, index_at(slot, indexes, i)), TM_CHUNK_BYTES,
			      MADV_DONTNEED);
	pthread_mutex_lock(&slot->call_lock);
	/* its targetChunks may be older than a notice: notices alone are believed */
	r = link_call(slot, "io.taskmem.Return", parameters, &reply);
	pthread_mutex_unlock(&slot->call_lock);
	sd_json_variant_unref(parameters);
	return r;
}

/* The chunks that drain, and the pool that has most of them. slot->lock held. */
static int list_draining(struct tm_slot *slot, sd_json_variant **ret,
			 const struct tm_pool **ret_pool)
{
	struct tm_pool *pool;
	uint32_t most = 0;
	int r = sd_json_variant_new_array(ret, NULL, 0);

	*ret_pool = NULL;
	LIST_FOREACH(&slot->pools, pool, node) {
		uint32_t n = 0;

		for (uint32_t i = 0; i < pool->n_places && r >= 0; i++) {
			uint32_t chunk = pool->places[i].chunk;

			if (chunk == CHUNK_NONE || slot->chunks[chunk] != CHUNK_DRAINING)
				continue;
			r = sd_json_variant_append_arrayb(ret, SD_JSON_BUILD_UNSIGNED(chunk));
			n++;
		}
		if (n <= most)
			continue;
		most = n;
		*ret_pool = pool;
	}
	return r;
}

/* If pages must be taken by force, it should be these. A daemon that does not know the method
 * takes none by force. */
static void tell_draining(struct tm_slot *slot)
{
	sd_json_variant *parameters = NULL, *indexes = NULL, *reply;
	const struct tm_pool *pool;
	char name[sizeof(pool->name)] = "";
	int r;

	if (!slot->is_drain_news || !slot->is_connected)
		return;
	if (mono_now_ns() < slot->drain_after_ns) {
		link_set_timer(slot, DRAIN_PAUSE_MS);
		return;
	}
	slot->drain_after_ns = mono_now_ns() + DRAIN_PAUSE_MS * NS_PER_MSEC;
	pthread_mutex_lock(&slot->lock);
	slot->is_drain_news = false;
	r = list_draining(slot, &indexes, &pool);
	if (pool)
		memcpy(name, pool->name, sizeof(name));
	pthread_mutex_unlock(&slot->lock);
	if (r >= 0)
		r = sd_json_buildo(
			&parameters, SD_JSON_BUILD_PAIR_UNSIGNED("grant", slot->grant),
			SD_JSON_BUILD_PAIR_VARIANT("chunks", indexes),
			SD_JSON_BUILD_PAIR_CONDITION(name[0], "pool", SD_JSON_BUILD_STRING(name)));
	if (r >= 0) {
		pthread_mutex_lock(&slot->call_lock);
		(void)!link_call(slot, "io.taskmem.Drain", parameters, &reply);
		pthread_mutex_unlock(&slot->call_lock);
	}
	sd_json_variant_unref(parameters);
	sd_json_variant_unref(indexes);
}

void chunk_settle(struct tm_slot *slot)
{
	sd_json_variant *indexes = NULL;
	size_t n;
	uint32_t chunk;
	int r;

	pthread_mutex_lock(&slot->lock);
	if (slot->n_leaving + slot->n_revoked == 0 && slot->n_moving == 0 && !slot->is_short)
		set_owing(slot, false);
	if (slot->is_connected)
		indexes = collect(slot);
	pthread_mutex_unlock(&slot->lock);
	if (!indexes) {
		tell_draining(slot);
		return;
	}

	r = give_back(slot, indexes);
	n = sd_json_variant_elements(indexes);
	/* Without an answer nobody knows whether the pages are gone. They stay RETURNING, out of
	 * everybody's hands, until the next try or the list that follows a resume. */
	if (r == -ENOTCONN || r == -ETIMEDOUT || r == -ENOMEM)
		n = 0;
	pthread_mutex_lock(&slot->lock);
	for (size_t i = 0; i < n; i++) {
		chunk = index_at(slot, indexes, i);
		slot->n_leaving--;
		if (r < 0) {
			set_free(slot, chunk);
			continue;
		}
		slot->chunks[chunk] = CHUNK_ABSENT;
		slot->n_held--;
	}
	if (slot->n_leaving + slot->n_revoked == 0 && slot->n_moving == 0 && !slot->is_short)
		set_owing(slot, false);
	pthread_mutex_unlock(&slot->lock);
	sd_json_variant_unref(indexes);
	if (r < 0)
		link_set_timer(slot, RETRY_MS);
	tell_draining(slot);
}
