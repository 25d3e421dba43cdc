/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Magazines: the slow half of taskmem_inline.h.
 *
 * A thread's magazine is filled from the depot, and emptied into it, half at a time, so that a
 * thread which only acquires or only releases takes the pool's lock once for many buffers, and
 * one that goes up and down around a border does not take it each time (DPDK learnt that in
 * 26.07).
 *
 * Anybody may need the buffers: a waiter who sleeps, a page that must go, an acquirer that finds
 * the depot empty. The thread that has them may be asleep for hours, so it is not asked. With
 * pool->lock held its magazine is
 *
 *	closed          limit = NULL
 *	-- membarrier: from here on a release ends up in this file, waiting for the lock;
 *	   at most one is under way, its buffer above the others
 *	emptied         each slot is exchanged with NULL, what was in it is noted
 *	-- membarrier: from here on an acquire reads a NULL and ends up in this file;
 *	   at most one is under way
 *	counted         what lies below top goes to the depot
 *
 * and top is noted as seen_top. When the thread comes here, in the middle of an operation that
 * has moved top, it compares: if top is seen_top, its operation was counted, so an acquired
 * buffer is the noted one at top, and a released one has gone to the depot. Otherwise it was not,
 * so an acquire found nothing and a release has yet to be done. Each operation looks at the
 * closed magazine after it moved top, so there is at most one such operation, and the two cases
 * cannot be mixed up. Only the thread opens its magazine again. tests/model/magazine.pml checks
 * this with the store buffers that processors have.
 *
 * membarrier(PRIVATE_EXPEDITED) interrupts the processors that run this process, 8 us on a
 * virtual machine with Linux 6.18; so a pool that was found empty is scarce, without magazines
 * and exact, until an eighth of it is idle. Where the call is refused there are no magazines.
 */

/* the bodies of the inline functions, for those who want or need to call them */
#define TM_INLINE __attribute__((visibility("default")))

#include "magazine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "info.h"
#include "slot.h"

/* of membarrier(2); the C library has no header for it */
#define MEMBARRIER_PRIVATE_EXPEDITED (1 << 3)
#define MEMBARRIER_REGISTER_PRIVATE_EXPEDITED (1 << 4)

#define SCARCE_SHARE 8 /* until one of so many buffers is idle */
#define STASH_SIZE (4 * MAGAZINE_MAX)
#define ENTRIES 16 /* of each thread; they are in its static TLS, 32 bytes each */

/* In place of the slots while a thread has none for a pool: NULL below, room for one above. All
 * threads write there, none reads it. */
static struct tm_buffer *no_slots[3];

#define NO_MAGAZINE { .top = &no_slots[1], .base = &no_slots[1] }

/* Entry 0 is for all the pools that have none of their own. */
static thread_local struct tm_magazine_ entries[ENTRIES]
	__attribute__((tls_model("initial-exec"))) = {
		NO_MAGAZINE, NO_MAGAZINE, NO_MAGAZINE, NO_MAGAZINE, NO_MAGAZINE, NO_MAGAZINE,
		NO_MAGAZINE, NO_MAGAZINE, NO_MAGAZINE, NO_MAGAZINE, NO_MAGAZINE, NO_MAGAZINE,
		NO_MAGAZINE, NO_MAGAZINE, NO_MAGAZINE, NO_MAGAZINE,
	};

/* What entries[].inner points to. All but entry is under pool->lock, or its thread's alone. */
struct magazine {
	struct list node; /* pool->magazines */
	struct tm_pool *pool;
	struct tm_magazine_ *entry;
	uint32_t capacity;
	uint32_t n_known; /* how many were in there when its thread last came here */
	bool is_open;
	bool is_stolen; /* emptied by another thread, with top at seen_top */
	struct tm_buffer **seen_top;
	struct tm_buffer **noted;  /* what was in the slots, place by place */
	struct tm_buffer *slots[]; /* a NULL, capacity, room for one release too many; noted */
};

/* Which ids are taken, and the pool of each magazine: threads that end look at it. */
static pthread_mutex_t ids_lock = PTHREAD_MUTEX_INITIALIZER;
static bool id_is_taken[ENTRIES] = { true };
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool has_key, has_membarrier;

static int membarrier(int command)
{
	return (int)syscall(__NR_membarrier, command, 0, 0);
}

static void reset_entry(struct tm_magazine_ *entry)
{
	*entry = (struct tm_magazine_)NO_MAGAZINE;
}

/* ------------------------------------------------------------------ one magazine, lock held */

static struct tm_buffer **top_of(const struct magazine *m)
{
	return __atomic_load_n(&m->entry->top, __ATOMIC_ACQUIRE);
}

static void set_top(struct magazine *m, struct tm_buffer **top)
{
	__atomic_store_n(&m->entry->top, top, __ATOMIC_RELEASE);
}

/* What is in there as its thread, or the one that empties it, sees it now. */
static void set_known(struct magazine *m, uint32_t n)
{
	m->pool->n_known += n - m->n_known;
	m->n_known = n;
}

static void set_open(struct magazine *m, bool is_open, uint32_t capacity)
{
	m->pool->n_open += (uint32_t)is_open - (uint32_t)m->is_open;
	m->is_open = is_open;
	__atomic_store_n(&m->entry->limit, is_open ? m->entry->base + capacity : NULL,
			 __ATOMIC_RELEASE);
}

static struct tm_buffer *exchange(struct tm_buffer **slot, struct tm_buffer *buffer)
{
	return __atomic_exchange_n(slot, buffer, __ATOMIC_ACQ_REL);
}

/* Its thread's own: all that is in there goes to the depot. */
static void empty_own(struct magazine *m)
{
	struct tm_buffer **base = m->entry->base, **top = top_of(m);

	set_top(m, base);
	set_known(m, 0);
	for (struct tm_buffer **slot = base; slot < top; slot++)
		depot_put(m->pool, *slot);
}

/* What became of the operation in which a thread came here, if it has moved top. */
enum settled {
	SETTLED_KEPT,    /* nobody interfered: the magazine is as top says */
	SETTLED_COUNTED, /* the magazine was emptied after the operation */
	SETTLED_LOST,    /* the magazine was emptied before it, or there is none */
};

/* At the begin of all that a thread does with its magazine; is_stolen is over then. */
static enum settled settle(struct magazine *m)
{
	struct tm_buffer **top = top_of(m);
	bool was_stolen = m->is_stolen;

	m->is_stolen = false;
	if (was_stolen || top < m->entry->base)
		set_top(m, m->entry->base);
	if (!was_stolen)
		return SETTLED_KEPT;
	return top == m->seen_top ? SETTLED_COUNTED : SETTLED_LOST;
}

static bool may_open(struct tm_pool *pool)
{
	if (pool->id == 0 || !has_membarrier || pool->n_buffers < MAGAZINE_POOL_MIN)
		return false;
	if (pool->is_scarce && pool->n_idle >= pool->n_buffers / SCARCE_SHARE)
		pool->is_scarce = false;
	return pool->n_waiters == 0 && !pool->is_owing && !pool->is_scarce;
}

static uint32_t capacity_now(const struct magazine *m)
{
	return MIN(m->capacity, m->pool->n_buffers / 4);
}

/* Not by magazine_count(): a look at what other threads write all the time costs both of them. */
static void note_high_water(struct tm_pool *pool)
{
	uint32_t out = depot_count_out(pool), in = pool->n_stash + pool->n_known;

	if (out > in)
		pool->high_water = MAX(pool->high_water, out - in);
}

/* The stash saves magazines that are filled and emptied the way through the depot, buffer by
 * buffer: one thread acquires what another one releases. It is empty while they are closed. */
static void put_in_stash(struct tm_pool *pool, struct tm_buffer *const *buffers, uint32_t n)
{
	uint32_t fits = MIN(n, pool->stash_size - pool->n_stash);

	if (fits > 0)
		memcpy(pool->stash + pool->n_stash, buffers, fits * sizeof(*buffers));
	pool->n_stash += fits;
	for (uint32_t i = fits; i < n; i++)
		depot_put(pool, buffers[i]);
}

static uint32_t take_from_stash(struct tm_pool *pool, uint32_t n, struct tm_buffer *ret_buffers[])
{
	n = MIN(n, pool->n_stash);
	if (n == 0)
		return 0;
	pool->n_stash -= n;
	pool->acquired_total += n;
	memcpy(ret_buffers, pool->stash + pool->n_stash, n * sizeof(*ret_buffers));
	return n;
}

static void empty_stash(struct tm_pool *pool)
{
	while (pool->n_stash > 0)
		depot_put(pool, pool->stash[--pool->n_stash]);
}

/* Its own, empty: half full and open if it may be. */
static void refill(struct magazine *m)
{
	struct tm_pool *pool = m->pool;
	struct tm_buffer **base = m->entry->base, *buffer;
	uint32_t capacity = capacity_now(m), n;

	if (!may_open(pool))
		return;
	/* the less there is, the less for one thread */
	n = MIN(capacity / 2, (pool->n_stash + pool->n_idle) / 4);
	if (pool->n_stash >= n) {
		n = take_from_stash(pool, n, base);
	} else {
		n = depot_take(pool, MIN(n, pool->n_idle), base);
		/* the first one of the chunk is the first one to be acquired */
		for (uint32_t i = 0; i < n / 2; i++) {
			buffer = base[i];
			base[i] = base[n - 1 - i];
			base[n - 1 - i] = buffer;
		}
	}
	set_top(m, base + n);
	set_known(m, n);
	set_open(m, /* is_open= */ true, capacity);
}

/* Its own: within its limit, or empty if it may not be open. */
static void flush(struct magazine *m)
{
	struct tm_pool *pool = m->pool;
	struct tm_buffer **base = m->entry->base;
	uint32_t n = (uint32_t)(top_of(m) - base), capacity = capacity_now(m), less;

	note_high_water(pool);
	if (!may_open(pool)) {
		empty_own(m);
		set_open(m, /* is_open= */ false, 0);
		return;
	}
	if (n >= capacity) {
		/* the oldest go, those above them are likely in the cache */
		less = n - capacity / 2;
		put_in_stash(pool, base, less);
		memmove(base, base + less, (n - less) * sizeof(*base));
		set_top(m, base + n - less);
	}
	set_known(m, (uint32_t)(top_of(m) - base));
	set_open(m, /* is_open= */ true, capacity);
}

/* ------------------------------------------------------------------ all magazines, lock held */

static bool is_own(const struct magazine *m)
{
	return m->entry == &entries[m->pool->id];
}

static bool is_foreign(const struct magazine *m)
{
	return m->is_open && !is_own(m);
}

/* Between the two barriers. */
static void note_slots(struct magazine *m)
{
	for (uint32_t i = 0; i < m->capacity + 2; i++)
		m->noted[i] = exchange(&m->slots[i], NULL);
}

/* After the second. */
static void steal(struct magazine *m)
{
	struct tm_buffer **top = top_of(m), *buffer;

	for (struct tm_buffer **slot = m->entry->base; slot < top; slot++) {
		/* a release that was under way may have written after the slot was noted */
		buffer = exchange(slot, NULL);
		depot_put(m->pool, buffer ? buffer : m->noted[slot - m->slots]);
	}
	m->seen_top = top;
	m->is_stolen = true;
	set_known(m, 0);
	m->is_open = false;
	m->pool->n_open--;
}

void magazine_recall(struct tm_pool *pool)
{
	struct magazine *m;
	bool has_foreign = false;

	note_high_water(pool);
	empty_stash(pool);
	if (pool->n_open == 0)
		return;
	LIST_FOREACH(&pool->magazines, m, node) {
		if (is_foreign(m)) {
			has_foreign = true;
			__atomic_store_n(&m->entry->limit, NULL, __ATOMIC_RELEASE);
		} else if (m->is_open) {
			empty_own(m);
			set_open(m, /* is_open= */ false, 0);
		}
	}
	if (!has_foreign)
		return;
	(void)membarrier(MEMBARRIER_PRIVATE_EXPEDITED); /* registered, so it cannot fail */
	LIST_FOREACH(&pool->magazines, m, node)
		if (is_foreign(m))
			note_slots(m);
	(void)membarrier(MEMBARRIER_PRIVATE_EXPEDITED);
	LIST_FOREACH(&pool->magazines, m, node)
		if (is_foreign(m))
			steal(m);
}

uint32_t magazine_count(const struct tm_pool *pool)
{
	const struct magazine *m;
	uint32_t n = 0;
	ptrdiff_t depth;

	if (pool->n_open == 0)
		return pool->n_stash;
	LIST_FOREACH(&pool->magazines, m, node) {
		depth = top_of(m) - m->entry->base;
		if (m->is_open && depth > 0)
			n += (uint32_t)depth;
	}
	return MIN(n + pool->n_stash, depot_count_out(pool));
}

/* ------------------------------------------------------------------ threads */

static void forget_pool(struct magazine *m)
{
	struct tm_pool *pool = m->pool;

	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	(void)settle(m);
	empty_own(m); /* nothing, if it was stolen */
	set_open(m, /* is_open= */ false, 0);
	list_remove(&m->node);
	m->pool = NULL;
	depot_serve(pool);
	pool_unlock(pool);
}

/* A thread ends. Its buffers may still be released by other destructors: it begins anew then. */
static void on_thread_end(void *userdata)
{
	struct magazine *m;

	(void)userdata;
	pthread_mutex_lock(&ids_lock);
	for (int i = 0; i < ENTRIES; i++) {
		m = entries[i].inner;
		if (!m)
			continue;
		forget_pool(m);
		reset_entry(&entries[i]);
		free(m);
	}
	pthread_mutex_unlock(&ids_lock);
}

/* The child must not use the pools, nor wait for their locks when its thread ends. */
static void on_fork_child(void)
{
	for (int i = 0; i < ENTRIES; i++)
		reset_entry(&entries[i]);
	(void)pthread_setspecific(key, NULL);
}

static void set_up_once(void)
{
	has_key = pthread_key_create(&key, on_thread_end) == 0 &&
		  pthread_atfork(NULL, NULL, on_fork_child) == 0;
#ifndef TM_DEBUG /* there each buffer goes through the depot, which poisons and checks */
	has_membarrier = has_key && membarrier(MEMBARRIER_REGISTER_PRIVATE_EXPEDITED) == 0;
#endif
}

static struct magazine *magazine_new(struct tm_magazine_ *entry, uint32_t capacity)
{
	size_t n = capacity + 2;
	struct magazine *m;

	if (!has_key)
		return NULL;
	m = calloc(1, sizeof(*m) + 2 * n * sizeof(*m->slots));
	if (!m)
		return NULL;
	if (pthread_setspecific(key, m) != 0) {
		free(m);
		return NULL;
	}
	list_init(&m->node);
	m->entry = entry;
	m->capacity = capacity;
	m->noted = m->slots + n;
	*entry = (struct tm_magazine_){ .top = m->slots + 1, .base = m->slots + 1, .inner = m };
	return m;
}

/*
 * This thread's for @pool, or NULL if it can have none; then its entry is as new. An operation
 * that has moved top in an entry without slots is undone.
 */
static struct magazine *get(struct tm_pool *pool)
{
	struct tm_magazine_ *entry = &entries[pool->id];
	struct magazine *m = entry->inner;
	uint32_t capacity = 1;

	if (pool->id > 0 && has_membarrier && pool->max_buffers >= MAGAZINE_POOL_MIN)
		capacity = MIN(pool->max_buffers / 4, (uint32_t)MAGAZINE_MAX);
	if (m && !m->pool && m->capacity < capacity) {
		free(m);
		m = NULL;
	}
	if (!m) {
		reset_entry(entry);
		m = magazine_new(entry, capacity);
	}
	if (!m || pool->id == 0) {
		/* never open, and of no pool */
		entry->top = entry->base;
		return NULL;
	}
	return m;
}

/* As get(), with the lock taken. */
static struct magazine *get_locked(struct tm_pool *pool, enum settled *ret_settled)
{
	struct magazine *m = get(pool);

	pthread_mutex_lock(&pool->lock);
	if (m && m->pool) {
		*ret_settled = settle(m);
		return m;
	}
	*ret_settled = SETTLED_LOST;
	if (m) {
		m->pool = pool;
		m->is_stolen = false;
		set_top(m, m->entry->base);
		list_append(&pool->magazines, &m->node);
	}
	return m;
}

/* ------------------------------------------------------------------ acquire */

/* What is at hand: in the own magazine, then in the depot. Lock held. */
static uint32_t take_at_hand(struct tm_pool *pool, struct magazine *m, uint32_t n,
			     struct tm_buffer *ret_buffers[])
{
	uint32_t done = 0;

	if (m && m->is_open) {
		done = MIN(n, (uint32_t)(top_of(m) - m->entry->base));
		set_top(m, top_of(m) - done);
		set_known(m, (uint32_t)(top_of(m) - m->entry->base));
		memcpy(ret_buffers, top_of(m), done * sizeof(*ret_buffers));
	}
	if (done == n)
		return n;
	done += take_from_stash(pool, n - done, ret_buffers + done);
	done += depot_take(pool, n - done, ret_buffers + done);
	note_high_water(pool);
	if (m && done == n)
		refill(m);
	return done;
}

/* The depot is empty: from a new page, else from other threads. */
static uint32_t take_from_afar(struct tm_pool *pool, uint32_t n, struct tm_buffer *ret_buffers[])
{
	enum settled settled;
	struct magazine *m;
	uint32_t done;

	(void)!pool_grow(pool, /* may_ask= */ false); /* failed: there are the others */
	m = get_locked(pool, &settled);
	done = take_at_hand(pool, m, n, ret_buffers);
	if (done == 0) {
		pool->is_scarce = true;
		magazine_recall(pool);
		depot_serve(pool);
		done = depot_take(pool, n, ret_buffers);
		note_high_water(pool);
	}
	pool_unlock(pool);
	return done;
}

/* @is_eager: not only what is at hand, if anything is. */
static uint32_t take(struct tm_pool *pool, uint32_t n, struct tm_buffer *ret_buffers[],
		     uint32_t n_moved, bool is_eager)
{
	enum settled settled;
	struct magazine *m = get_locked(pool, &settled);
	uint32_t done = 0, more;

	if (settled == SETTLED_COUNTED && n_moved > 0 && m->seen_top >= m->entry->base) {
		memcpy(ret_buffers, m->noted + (m->seen_top - m->slots),
		       n_moved * sizeof(*ret_buffers));
		done = n_moved;
	}
	if (done < n)
		done += take_at_hand(pool, m, n - done, ret_buffers + done);
	pool_unlock(pool);
	while (done < n && (done == 0 || is_eager)) {
		more = take_from_afar(pool, n - done, ret_buffers + done);
		if (more == 0)
			break;
		done += more;
	}
	return done;
}

static void count_empty(struct tm_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->empty_total++;
	pool_unlock(pool);
}

TM_PUBLIC struct tm_buffer *tm_pool_acquire_slow_(struct tm_pool *pool)
{
	struct tm_buffer *buffer;

	if (take(pool, 1, &buffer, /* n_moved= */ 1, /* is_eager= */ false) > 0)
		return buffer;
	count_empty(pool);
	return NULL;
}

TM_PUBLIC uint32_t tm_pool_acquire_bulk_slow_(struct tm_pool *pool, struct tm_buffer **buffers,
					      uint32_t n, uint32_t n_moved)
{
	uint32_t done = n > 0 ? take(pool, n, buffers, n_moved, /* is_eager= */ true) : 0;

	if (done < n)
		count_empty(pool);
	return done;
}

uint32_t magazine_take(struct tm_pool *pool, uint32_t n, struct tm_buffer *ret_buffers[])
{
	const struct tm_magazine_ *entry = &entries[pool->id];

	if (entry->top - entry->base >= (ptrdiff_t)n)
		return tm_pool_acquire_bulk(pool, ret_buffers, n);
	return take(pool, n, ret_buffers, /* n_moved= */ 0, /* is_eager= */ false);
}

/* ------------------------------------------------------------------ release */

/* All of one pool, and top was moved over them. */
static void put(struct tm_buffer *const *buffers, uint32_t n)
{
	struct tm_pool *pool = buffers[0]->pool;
	enum settled settled;
	struct magazine *m = get_locked(pool, &settled);

	if (settled == SETTLED_LOST)
		for (uint32_t i = 0; i < n; i++)
			depot_put(pool, buffers[i]);
	if (settled == SETTLED_KEPT)
		flush(m);
	depot_serve(pool);
	pool_unlock(pool);
}

TM_PUBLIC void tm_buffer_release_slow_(struct tm_buffer *buffer)
{
	put(&buffer, 1);
}

TM_PUBLIC void tm_buffer_release_owned_(struct tm_buffer *buffer)
{
	struct buffer_owner *owner = TAKE(buffer_from_public(buffer)->owner);

	/* the owner of a piece does the rest */
	if (!buffer_from_public(buffer)->place && owner) {
		owner->released(owner);
		return;
	}
	if (buffer_from_public(buffer)->is_overdraft || !owner) {
		overdraft_put(buffer);
	} else {
		buffer->magazine_ = buffer->pool->head.magazine_;
		tm_buffer_release(buffer);
	}
	if (owner)
		owner->released(owner);
}

TM_PUBLIC void tm_buffer_release_bulk_slow_(struct tm_buffer *const *buffers, uint32_t n,
					    uint32_t n_moved)
{
	if (n_moved > 0)
		put(buffers, n);
	else
		for (uint32_t i = 0; i < n; i++)
			tm_buffer_release(buffers[i]);
}

/* ------------------------------------------------------------------ pools */

void magazine_attach_pool(struct tm_pool *pool)
{
	(void)pthread_once(&once, set_up_once);
	pthread_mutex_lock(&ids_lock);
	for (uint32_t i = 1; i < ENTRIES && pool->id == 0; i++) {
		if (id_is_taken[i])
			continue;
		id_is_taken[i] = true;
		pool->id = i;
	}
	pthread_mutex_unlock(&ids_lock);
	if (pool->id > 0 && has_membarrier && pool->max_buffers >= MAGAZINE_POOL_MIN) {
		uint32_t size = MIN(pool->max_buffers / 4, (uint32_t)STASH_SIZE);

		pool->stash = calloc(size, sizeof(struct tm_buffer *));
		pool->stash_size = pool->stash ? size : 0; /* it only saves time */
	}
	/* the same for all threads, as the TLS is static */
	pool->head.magazine_ = (intptr_t)&entries[pool->id] - (intptr_t)__builtin_thread_pointer();
}

int magazine_detach_pool(struct tm_pool *pool)
{
	struct magazine *m;
	int r = 0;

	pthread_mutex_lock(&ids_lock);
	pthread_mutex_lock(&pool->lock);
	magazine_recall(pool);
	depot_serve(pool);
	if (depot_count_out(pool) > 0 || pool->n_users > 0 || pool->n_waiters > 0)
		r = -EBUSY;
	if (r == 0) {
		LIST_FOREACH(&pool->magazines, m, node) {
			list_remove(&m->node);
			m->pool = NULL;
		}
		id_is_taken[pool->id] = pool->id == 0;
	}
	pool_unlock(pool);
	pthread_mutex_unlock(&ids_lock);
	return r;
}
