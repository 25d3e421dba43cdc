/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Inside of a slot: the mapping, the state of each chunk, and the two varlink connections.
 *
 * Three locks, in this order: dispatch_lock (who runs tm_slot_dispatch(); owns the notice
 * connection), call_lock (owns the call connection; held while the daemon answers), lock
 * (everything else; never held over a call). A releaser of buffers needs none of them.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-varlink.h>

#include "base/attr.h"
#include "base/list.h"
#include "report.h"
#include "taskmem.h"

enum chunk_state : uint8_t {
	CHUNK_ABSENT,    /* not granted: touching it would fault a page or kill the task */
	CHUNK_FREE,      /* held, in no pool */
	CHUNK_POOL,      /* cut into buffers of one pool */
	CHUNK_MOVING,    /* as DRAINING, but for another pool of the task */
	CHUNK_DRAINING,  /* owed; some buffers may still be out */
	CHUNK_RETURNING, /* unmapped, on its way to the daemon */
	CHUNK_REVOKED,   /* taken by force; some buffers may still be out; not held */
};

enum link_state {
	LINK_DOWN,      /* the timer will try again */
	LINK_ATTACHING, /* Attach was sent, no reply yet */
	LINK_UP,
};

/* Notices about memory. dispatch_lock but for what is marked. */
struct watch {
	sd_varlink *link;
	int timer_fd; /* reconnection; -1 until it is needed */
	enum link_state state;
	int error; /* why the connection ended, -errno */
	uint32_t backoff_ms;
	bool is_wanted;
	/* lock */
	tm_memory_handler handler;
	void *userdata;
	struct tm_memory_notice notice; /* the newest */
	uint64_t sequence;              /* its number */
	uint64_t answering;             /* number of the one the handler was told last */
	bool has_notice, is_untold;
};

struct tm_slot {
	/* constant after attach */
	char *address; /* of the daemon's socket */
	char name[64];
	int node;
	uint64_t grant;
	uint32_t file_chunks, min_chunks, max_chunks;
	uint8_t *base;
	bool is_pageless; /* attached without a grant: file_chunks is 0, base NULL */
	int epoll_fd;     /* watches the three below and the notices; what tm_slot_fd() returns */
	int event_fd;     /* a chunk is drained, or there is other work for a dispatch */
	int timer_fd;     /* reconnection, and retry of what failed */

	pthread_mutex_t dispatch_lock;
	sd_varlink *notices;
	enum link_state link_state;
	int link_error; /* why the notice connection ended, -errno */
	uint32_t backoff_ms;
	uint32_t n_notices; /* seen in this dispatch */

	pthread_mutex_t call_lock;
	sd_varlink *calls;
	atomic_bool calls_stale;  /* the daemon went away: connect again before the next call */
	atomic_uint engine_kinds; /* bit 1 << enum tm_engine_kind: engines that there were */
	atomic_bool has_untold_engine; /* the daemon, perhaps a new one, does not know of one */

	struct {
		pthread_mutex_t lock; /* after dispatch_lock, before lock; held while it waits */
		sd_varlink *link;     /* of the call that lives as long as the request; or NULL */
		uint64_t bytes;       /* asked for; 0: nothing */
		bool is_held;
		int error;
		struct tm_request_result result;
	} request;

	pthread_mutex_t lock;
	bool is_connected;
	enum chunk_state *chunks; /* [file_chunks] */
	uint32_t n_held;
	atomic_uint n_leaving; /* of these, DRAINING and RETURNING; peeked without the lock */
	atomic_uint n_moving;  /* MOVING; likewise */
	atomic_bool is_short; /* a pool is waited for, and others may come to have pages to spare */
	uint32_t target;
	uint32_t told_target;    /* what the resize handler knows */
	uint64_t deadline_ns;    /* for what is held beyond it; 0: none */
	uint32_t n_revoked;      /* chunks in that state */
	bool is_untold;          /* of a deadline, or of pages that were taken */
	uint64_t revocation;     /* number of the last one that was read of; 0: none */
	uint64_t drain_after_ns; /* not told again before */
	bool is_drain_news;      /* the set that drains is not what the daemon was told */
	uint32_t n_targets;      /* counts changes of target by notices */
	atomic_uint n_free;      /* written under lock, peeked without */
	uint64_t ask_after_ns;   /* the daemon refused pages: not before this time again */
	struct list pools;
	struct slot_report report;
	tm_resize_handler resize_handler;
	void *resize_userdata;
	struct watch watch;
};

/* What a reply to Attach says; chunks is borrowed from the message. */
struct link_reply {
	const char *slot;
	int node;
	uint64_t grant;
	uint32_t file_chunks, target;
	uint64_t deadline_ns, revocation;
	sd_json_variant *chunks;
	sd_json_variant *revoked; /* NULL: none */
	int fd_index;             /* -1: none */
};

/* ---- link.c: varlink */

/* Sends Attach and waits for the grant; maps it. */
MUST_USE int link_attach(struct tm_slot *slot, const char *address, uint32_t min_chunks);
/* Handles notices, loss of the daemon and reconnection. dispatch_lock held. */
void link_process(struct tm_slot *slot);
/* Runs link_process() after this time at the latest. */
void link_set_timer(struct tm_slot *slot, uint32_t ms);
void link_close(struct tm_slot *slot);
/* One call with a deadline; call_lock held. *@ret_reply is borrowed until the next call. */
MUST_USE int link_call(struct tm_slot *slot, const char *method, sd_json_variant *parameters,
		       sd_json_variant **ret_reply);

/* An engine of this kind was made: the daemon shows it in its listings. */
void link_note_engine(struct tm_slot *slot, enum tm_engine_kind kind);
/* Tells what was noted and not told yet. No lock held but dispatch_lock. */
void link_tell_engines(struct tm_slot *slot);
/* As link_call(), with a descriptor, which stays the caller's, as number 0. */
MUST_USE int link_call_with_fd(struct tm_slot *slot, const char *method,
			       sd_json_variant *parameters, int fd, sd_json_variant **ret_reply);

MUST_USE int link_connect(struct tm_slot *slot, sd_varlink **ret);
/* The -errno of an error that the daemon replied. */
int link_error_to_errno(const char *id);
/* A required non-negative integer of at most @max. Return: 0 or -EBADMSG. */
MUST_USE int link_get_number(sd_json_variant *v, const char *key, uint64_t max, uint64_t *ret);

/* ---- detach.c: the end of a grant */

/* Waits for a daemon that is being started again, 5 s at most. Return: 0, or -errno: it was not
 * told, of this or of an earlier one, and hears of it at the next call of these two. */
MUST_USE int detach_grant(struct tm_slot *slot);
/* What it was not told before, by any slot of this process. Waits for no restart. */
MUST_USE int detach_earlier(struct tm_slot *slot);

/* ---- watch.c: what the slot's memory should come to; dispatch_lock held */

/* Waits for the first notice. @must_answer: else a daemon that is away is looked for later. */
MUST_USE int watch_open(struct tm_slot *slot, bool must_answer);
void watch_process(struct tm_slot *slot);
void watch_close(struct tm_slot *slot);
/* The handler that has something to hear, or NULL. No lock held. */
tm_memory_handler watch_take(struct tm_slot *slot, struct tm_memory_notice *ret_notice,
			     void **ret_userdata);

/* ---- request.c: more memory for a while */

/* Hears of a lost request and makes it again. dispatch_lock held. */
void request_process(struct tm_slot *slot);
uint64_t request_held_bytes(struct tm_slot *slot);
void request_close(struct tm_slot *slot);

/* ---- chunk.c: who holds which 2 MiB page */

/* Maps the daemon's memfd; checks its size and seals. @fd stays the caller's. */
MUST_USE int chunk_map(struct tm_slot *slot, int fd);
void chunk_unmap(struct tm_slot *slot);
/* Takes over freshly granted indexes as FREE; the return value counts them, or -errno. */
MUST_USE int chunk_adopt(struct tm_slot *slot, sd_json_variant *indexes);
/* Buffers of these must not be handed out any more, nor touched. */
void chunk_note_revoked(struct tm_slot *slot, sd_json_variant *indexes);
/* After a resume: the daemon's list of what is present is right about free chunks. */
void chunk_reconcile(struct tm_slot *slot, sd_json_variant *indexes);
/* A FREE chunk that is not owed, now POOL; CHUNK_NONE: none. slot->lock held. */
uint32_t chunk_take(struct tm_slot *slot);
/* How many chunk_take() would give now. slot->lock held. */
uint32_t chunk_count_takable(struct tm_slot *slot);
/* To FREE, of what is or was a pool's. slot->lock held. */
void chunk_put(struct tm_slot *slot, uint32_t chunk);
/* How many more pages to ask for at a time; 0: none can be had, or it is too early to ask again. */
uint32_t chunk_count_askable(struct tm_slot *slot);
/* Asks the daemon for @n more; the return value counts new FREE chunks (>= 1), or -errno. */
MUST_USE int chunk_grow(struct tm_slot *slot, uint32_t n);
/* The same with slot->call_lock held: whoever may have waited for it looks again before whether
 * more is needed. */
MUST_USE int chunk_grow_locked(struct tm_slot *slot, uint32_t n);
/* Gives back what is owed and can be given, drains what can be drained. dispatch_lock held. */
void chunk_settle(struct tm_slot *slot);

/* Makes tm_slot_fd() readable, so that somebody dispatches. Any thread, any lock. */
void slot_signal(struct tm_slot *slot);
