/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Brings a slot's memory.max to a target without ever OOM-killing. A pure state machine: the
 * caller reads the kernel's files, calls shrink_step(), does the one thing it says, and calls
 * again. See shrink.c for the kernel behaviour it is built around.
 *
 *	do {
 *		read the files into `in` afresh;
 *		a = shrink_step(&s, &in);
 *		do what a.verb says;
 *	} while (a.verb != SHRINK_NOTHING && a.verb != SHRINK_WAIT);
 *	arm a timer for a.wake_ns if SHRINK_WAIT;
 *
 * SHRINK_RECLAIM and SHRINK_SET_BRAKE are kernel writes that block while memory is reclaimed: begin
 * them off the loop and step with last_write_done when the write ends. Never more than one is
 * in flight: a brake cancels the one before, of whose end nothing is to be told. The other writes
 * return at once and are done in place; SHRINK_WRITE_MAX without going back to the loop first, for
 * the usage it is based on is only as fresh as that.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "model.h"
#include "policy/progress.h"

#define SHRINK_NOTE_MAX 200

struct shrink_input {
	uint64_t now_ns;
	uint64_t current_bytes;    /* memory.current, read now */
	uint64_t kernel_max_bytes; /* memory.max, BYTES_UNLIMITED for "max" */
	uint64_t floor_bytes;      /* cannot be reclaimed: unevictable, pinned, kernel, sockets */
	uint64_t swap_free_bytes;  /* that this slot could still use */
	uint64_t anon_bytes;       /* anon and shmem */
	uint64_t file_bytes;       /* page cache without shmem */
	bool last_write_done;      /* the write in flight has ended since the last step */
	int last_write_result;     /* its outcome: 0 or -errno; -EAGAIN for a short reclaim */
};

enum shrink_verb {
	SHRINK_NOTHING,   /* no change is pending; step again after the next shrink_set() */
	SHRINK_WRITE_MAX, /* write .bytes to memory.max ("max" for BYTES_UNLIMITED) */
	SHRINK_RECLAIM,   /* begin to write .bytes to memory.reclaim, off the loop */
	SHRINK_SET_BRAKE, /* begin to write .bytes to memory.high, off the loop, in place of another */
	SHRINK_CLEAR_BRAKE, /* write "max" to memory.high */
	SHRINK_WAIT,        /* step again at .wake_ns, or when a write ends if that is sooner */
};

struct shrink_action {
	enum shrink_verb verb;
	uint64_t bytes;
	uint64_t wake_ns;
	bool must_end; /* of SHRINK_WAIT: nobody wants the write in flight any more; end it, if possible */
};

enum shrink_flight { SHRINK_FLIGHT_NONE, SHRINK_FLIGHT_RECLAIM, SHRINK_FLIGHT_BRAKE };

struct shrink {
	uint64_t target_bytes; /* of the last shrink_set(), rounded down to a page */
	bool is_pending;
	bool has_written;          /* the last action was SHRINK_WRITE_MAX */
	bool must_release;         /* the brake has to go */
	bool is_held;              /* the slot's tasks may go first, until resume_ns */
	bool is_refilling;         /* the slot takes back what is reclaimed */
	enum shrink_flight flight; /* survives a new set */
	uint64_t brake_bytes;      /* memory.high as set by us, BYTES_UNLIMITED: none */
	uint64_t chunk_bytes;      /* asked of the write in flight */
	uint64_t chunk_from_bytes; /* usage when it was begun */
	uint64_t chunk_ns;         /* when it was begun */
	uint64_t chunk_most_bytes; /* of a reclaim, by how long the last ones took */
	uint64_t best_bytes;       /* lowest usage since the set */
	uint64_t mark_bytes;       /* lowest usage of this round */
	uint64_t mark_ns;          /* when that was last lowered by a step that counts */
	uint64_t backoff_ns;       /* length of the next pause */
	uint64_t resume_ns;        /* no reclaim before this time */
	uint64_t rewrite_ns;       /* no write of memory.max before this time */
	uint64_t undo_bytes;       /* memory.max before it was lowered */
	uint64_t least_max_bytes;  /* smallest max that could be had now, 0: unknown */
	struct progress progress;
	char note[SHRINK_NOTE_MAX]; /* why it does not get on, in words; "" while it does */
};

void shrink_init(struct shrink *s);

/**
 * shrink_set() - a new target, higher or lower; replaces one that is pending
 * @usage_bytes: memory.current, where the progress starts from
 *
 * A higher limit is written by the next step, whatever is in flight. A brake in place is cleared by
 * the next steps before anything else.
 */
void shrink_set(struct shrink *s, uint64_t target_bytes, uint64_t usage_bytes, uint64_t now_ns);

/* No reclaim for the change that is pending before @until_ns, so that the slot's tasks may give up
 * by themselves what they choose. memory.max is written as soon as there is room. */
void shrink_hold(struct shrink *s, uint64_t until_ns);

/* Gives the change up; a brake is cleared by the next steps. memory.max stays as it is. */
void shrink_cancel(struct shrink *s);

/* Takes over a memory.high that an earlier daemon left: the next steps clear it. */
void shrink_adopt_brake(struct shrink *s, uint64_t kernel_high_bytes);

struct shrink_action shrink_step(struct shrink *s, const struct shrink_input *in);

/* What cannot be reclaimed now: the floor, and anonymous memory that swap does not take. An estimate.
 * Of @in only the counts of bytes are looked at. */
uint64_t shrink_stuck_bytes(const struct shrink_input *in);

/* How much room below @target_bytes usage must have before memory.max may be lowered to it. */
uint64_t shrink_margin(uint64_t target_bytes);
