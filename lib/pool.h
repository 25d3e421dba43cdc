/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Inside of a pool: chunks cut into buffers, and what the slot and the engines ask of it.
 * Lock order: slot->call_lock, slot->lock, pool->lock, then an engine's mailbox lock.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "report.h"
#include "taskmem.h"

#define BUFFER_BYTES_MIN ((size_t)256)
#define BUFFER_BYTES_MAX ((size_t)1 << 20)
#define CHUNK_NONE UINT32_MAX

/* What the taker wants: a posted one is offered to the kernel, and empty so far. */
enum buffer_state { BUFFER_HELD, BUFFER_POSTED };

/* Whoever wants to know that a buffer it handed out came back; called with no lock held. */
struct buffer_owner {
	void (*released)(struct buffer_owner *owner);
};

/* A line of its own each: nothing of it is written by the fast paths, so that the lines of
 * buffers which wander between threads do not. */
struct buffer {
	struct tm_buffer public;
	struct place *place;        /* NULL: a piece of another one, see piece.h */
	struct buffer_owner *owner; /* touched by the holder only, as is */
	bool is_posted;
	bool is_overdraft;  /* out, beyond the cut ones of its place; under pool->lock */
	atomic_uint n_pins; /* of a buffer that is handed out in pieces */
} __attribute__((aligned(64)));

/* Fullness classes of a place with idle buffers; the fullest one is handed out first. */
#define BUCKETS 9

/* One chunk within a pool, or a vacancy for one. All of it is under pool->lock. */
struct place {
	struct list node;           /* in pool->buckets[], or alone */
	struct buffer *buffers;     /* survive the chunk, so that a stale release is noticed */
	uint64_t *idle;             /* a bit for each of them, behind them: in the depot */
	uint32_t first_word;        /* of idle that may be other than 0 */
	uint32_t chunk;             /* of the slot, or CHUNK_NONE */
	uint32_t n_buffers, n_idle; /* cut; 0 of them in a page for overdraft alone */
	uint32_t n_overdraft;       /* out, of those behind the cut ones */
	atomic_uint n_posted;    /* can be withdrawn, so as good as idle when a chunk must drain */
	int bucket;              /* -1: in none */
	atomic_bool is_draining; /* engines read it without the lock */
	bool is_revoked;         /* its page is not there */
};

/* First come, first served. give() runs under pool->lock with a buffer that is now held. */
struct pool_waiter {
	struct list node;
	void (*give)(struct pool_waiter *waiter, struct buffer *buffer);
};

/* An engine that has buffers posted; withdraw() runs under pool->lock, from any thread: some are owed,
 * or somebody waits for one. */
struct pool_user {
	struct list node;
	void (*withdraw)(struct pool_user *user);
	atomic_bool has_posted; /* it can do without; set before the first one is taken */
};

struct tm_pool {
	struct tm_pool_head_ head; /* first; known to compiled programs */
	uint32_t id;               /* of its magazines; 0: it has none */
	struct list node;          /* slot->pools, under slot->lock */
	struct tm_slot *slot;
	char name[32];
	uint32_t buffer_bytes, per_chunk, per_chunk_shift;
	uint32_t min_buffers, max_buffers;
	atomic_uint n_posted;

	pthread_mutex_t lock;
	struct list buckets[BUCKETS];
	struct list waiters, users;
	struct list magazines;    /* of all threads that ever used the pool */
	struct tm_buffer **stash; /* what magazines had too much of, the newest last */
	uint32_t n_stash, stash_size;
	uint32_t n_open;  /* of these: buffers may be in there */
	uint32_t n_known; /* in all of them, as far as their threads came here */
	bool is_scarce;   /* was found empty lately: magazines stay closed */
	bool is_owing;    /* the slot owes pages: magazines stay closed */
	struct place *places;
	uint32_t n_places, n_users, n_waiters;
	uint32_t n_refused;                  /* channels that wait for a floating buffer */
	uint32_t n_chunks;                   /* in all places */
	uint32_t n_buffers;                  /* in places that are not draining */
	uint32_t n_idle;                     /* of those, in the depot */
	uint32_t n_leaving;                  /* not idle, in draining places */
	uint32_t n_overdraft, max_overdraft; /* out beyond max_buffers */
	atomic_bool has_uncut;               /* a page for overdraft alone */
	uint32_t high_water;
	uint64_t acquired_total, empty_total;
	struct pool_report *report; /* its place in the file, or own_report */
	struct pool_report own_report;
};

/* Lets go of pool->lock, with the pool's numbers where the daemon can read them. */
void pool_unlock(struct tm_pool *pool);

static inline struct buffer *buffer_from_public(struct tm_buffer *public)
{
	return container_of(public, struct buffer, public);
}

/* Takes up to @n idle buffers as @state, through the thread's magazine; if there is none, grows
 * from the slot's free chunks. Returns the count; 0: the pool is empty now. */
uint32_t pool_take(struct tm_pool *pool, uint32_t n, enum buffer_state state,
		   struct buffer *ret_buffers[]);
/* A held buffer is offered to the kernel. */
void pool_post(struct buffer *buffer);
/* A posted buffer was filled by the kernel: it is held now. */
void pool_unpost(struct buffer *buffer);
/* @owner, not NULL, will be told when the task releases the buffer. */
void pool_set_owner(struct buffer *buffer, struct buffer_owner *owner);
/* Gives back a held or posted buffer, which must have no owner. */
void pool_put(struct buffer *buffer);
/* Queues @waiter, or serves it at once. */
void pool_wait(struct tm_pool *pool, struct pool_waiter *waiter);
/* Takes @waiter out of the queue; false: it was served before. */
bool pool_unwait(struct tm_pool *pool, struct pool_waiter *waiter);
/* As pool_unwait() for a queued one, with pool->lock held. */
void pool_unqueue(struct tm_pool *pool, struct pool_waiter *waiter);
/* Adds one chunk; @may_ask: the daemon is asked when no free one is held. 1, 0 or -errno. */
int pool_grow(struct tm_pool *pool, bool may_ask);
/* So many channels more, or less, wait for others to release buffers: the daemon sees them. */
void pool_add_refused(struct tm_pool *pool, int n);
/* As pool_grow(), also when buffers are idle: they are kept for others. */
int pool_extend(struct tm_pool *pool);
/* What one engine may go by if all of the pool's engines have equal parts of its buffers; and what
 * pool_get_post_limit() says while nobody waits. */
uint32_t pool_get_part(struct tm_pool *pool, uint32_t *ret_post_limit);
/* Most buffers one engine may keep posted: half of the pool with one engine; 0: somebody waits for
 * a buffer, so none. */
uint32_t pool_get_post_limit(struct tm_pool *pool);
void pool_add_user(struct tm_pool *pool, struct pool_user *user);
void pool_remove_user(struct tm_pool *pool, struct pool_user *user);

/* Brings home what is in magazines and keeps it so while @is_owing: chunks are looked for that
 * can go. slot->lock held. */
void pool_set_owing(struct tm_pool *pool, bool is_owing);

/* ---- depot.c for magazine.c and pool.c, all under pool->lock */
/* Takes up to @n idle buffers, of the fullest places first. Returns the count. */
uint32_t depot_take(struct tm_pool *pool, uint32_t n, struct tm_buffer *ret_buffers[]);
/* Aborts if the buffer is in the depot already. depot_serve() has to follow. */
void depot_put(struct tm_pool *pool, struct tm_buffer *buffer);
/* Hands idle buffers to those who wait. */
void depot_serve(struct tm_pool *pool);
/* Not in the depot: held, posted, in a magazine or in the stash, in whatever place. */
uint32_t depot_count_out(const struct tm_pool *pool);
_Noreturn void depot_die_of_double_release(const struct tm_buffer *buffer);
bool pool_is_at_maximum(const struct tm_pool *pool);
/* ---- overdraft.c */
#define OVERDRAFT_DEFAULT 5
/* An overdraft buffer comes back; aborts if it is none that is out. No lock held. */
void overdraft_put(struct tm_buffer *buffer);
/* Pages that were taken for overdraft alone, and are not used any more, are the slot's. */
void overdraft_settle(struct tm_slot *slot);

/* For chunk.c and slot.c, all under slot->lock. */
/* Cuts a chunk into buffers. 0, -ENOMEM, or -ENOBUFS if the pool has its maximum. */
int pool_add_chunk(struct tm_pool *pool, uint32_t chunk);
/* The pool has the chunk for overdraft alone. 0, -ENOMEM, -ENOBUFS (no place for it). */
int pool_add_uncut(struct tm_pool *pool, uint32_t chunk);
/* Vacates such a place if nothing of it is out; its chunk, or CHUNK_NONE. */
uint32_t pool_collect_uncut(struct tm_pool *pool, struct place *place);
/* How empty the emptiest chunk is that the pool can spare, 0..POOL_ALL_EMPTY; -1: none. */
#define POOL_ALL_EMPTY 1024
int pool_find_spare(struct tm_pool *pool, struct place **ret_place);
void pool_drain(struct tm_pool *pool, struct place *place);
/* Its page was taken by force: as pool_drain(), and its buffers are not touched any more. */
void pool_revoke(struct tm_pool *pool, struct place *place);
/* Takes a drain back; false: the pool has reached its maximum meanwhile. */
bool pool_undrain(struct tm_pool *pool, struct place *place);
/* The first one that has drained, of those from place @from on, or NULL. */
struct place *pool_find_drained(struct tm_pool *pool, uint32_t from);
/* Vacates a drained place; returns its chunk, or CHUNK_NONE while buffers are out. */
uint32_t pool_collect(struct tm_pool *pool, struct place *place);
/* What balance.c goes by; exact while magazines are closed. */
struct pool_demand {
	uint32_t n_chunks;  /* that do not drain */
	uint32_t n_used;    /* buffers held or posted in there */
	uint32_t n_waiters; /* 0 also for a pool at its maximum, which pages do not help */
};
void pool_get_demand(struct tm_pool *pool, struct pool_demand *ret);
bool pool_has_draining(struct tm_pool *pool);
/* True if threads or engines wait and the pool is below its maximum. */
bool pool_is_hungry(struct tm_pool *pool);
