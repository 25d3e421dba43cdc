/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Who waits for memory and is served next. Pure: whether a request fits is the caller's to say.
 *
 * Requests stand in order of tier (0 first), then of the time they were first made. The first that
 * fits is served, so a small one may pass a big one that does not fit yet (backfill). The bound:
 *
 *   A request is passed by those behind it (later ones of its tier, and those of lower tiers) at
 *   most QUEUE_PASSES_MAX times, and by none once QUEUE_PASS_NS have gone by since the first
 *   time. From then on the nodes it waits for are closed to all behind it, also to requests that
 *   would not have to wait, until it is served or gives up.
 *
 * So a request whose turn it is waits only for what holds the memory now, and for higher tiers.
 * Those may pass it for ever: that is what a higher tier is.
 *
 * What a slot's owner asks for (slot != 0) may wait for ever for what never comes free, and must
 * not close a node to administrators as long. So its turn ends after QUEUE_TURN_NS and the count
 * begins anew, at the same place in the queue; and of several requests for one slot only the
 * first is counted, so they have their turns one after the other. The bound for it: from the
 * time it is first of its slot, half of the time at least nobody behind it takes anything.
 *
 * A node is a bit in a set: bit k is the k-th node. What takes nothing (QUEUE_TAKES_NOTHING)
 * passes nobody.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

#define QUEUE_PASSES_MAX 16
#define QUEUE_PASS_NS (UINT64_C(600) * 1000000000)
/* As long as it may be passed: what ends in that time is what a request can hope for. */
#define QUEUE_TURN_NS QUEUE_PASS_NS
/* Enough for every slot of a cluster of jobs that starts at once; each costs a connection. */
#define QUEUE_LENGTH_MAX 1024

/* Zero-initialised but for the first five. */
struct queue_entry {
	uint32_t tier;
	uint64_t since_ns; /* when it was first made; may be before the queue was */
	uint64_t sequence; /* decides between equals; distinct */
	uint64_t nodes;    /* it takes memory of these, or of some of them */
	uint64_t slot;     /* asked for by the owner of this one; 0: by an administrator */
	uint32_t n_passed; /* since its last turn */
	uint64_t due_ns;   /* its turn begins, if n_passed > 0 */
};

/* Does @a stand before @b? A total order. */
bool queue_is_before(const struct queue_entry *a, const struct queue_entry *b);

/* Is its turn so long due that nobody behind it may take from its nodes? */
bool queue_is_due(const struct queue_entry *entry, uint64_t now_ns);

/**
 * queue_closed_nodes() - nodes from which @entry may take nothing now
 * @entries: the others that wait, in any order; @entry itself may be among them
 *
 * Those of all entries that stand before it and are due.
 */
uint64_t queue_closed_nodes(struct queue_entry *const *entries, size_t n,
			    const struct queue_entry *entry, uint64_t now_ns);

#define QUEUE_TAKES_NOTHING UINT64_C(0)

/**
 * queue_note_served() - @entry was served and takes memory of @taken_nodes
 * @entries: those that wait; @entry may be among them
 *
 * Counts the pass for every entry before it that waits for one of these nodes. To be called for
 * requests that were served at once, too.
 */
void queue_note_served(struct queue_entry *const *entries, size_t n,
		       const struct queue_entry *entry, uint64_t taken_nodes, uint64_t now_ns);

enum queue_fit {
	QUEUE_FITS,
	QUEUE_DOES_NOT_FIT,
	QUEUE_LATER, /* there is no time to find out now */
};

/* Does entries[i] fit? *@ret_taken: the nodes that it would take, none of them in @closed. */
typedef enum queue_fit (*queue_fit_fn)(size_t i, uint64_t closed, uint64_t *ret_taken,
				       void *userdata);
#define QUEUE_NOBODY SIZE_MAX
#define QUEUE_INTERRUPTED (SIZE_MAX - 1)

/**
 * queue_next() - whom to serve now
 * @entries: in order (queue_is_before())
 * @pass:    how far the pass through them has come, kept between calls; 0: from the first on
 * @fit:     called for entries from *@pass on, until one fits, or it says QUEUE_LATER
 *
 * With many slots and a long queue a pass takes a second, hence in parts; who comes, or goes, before
 * *@pass meanwhile is left to the next one. Nothing is counted: the caller serves the entry, takes
 * it out and calls queue_note_served().
 *
 * Return: index; QUEUE_INTERRUPTED: call again; or QUEUE_NOBODY: the pass is through, and the next
 * one begins. *@ret_taken_nodes is what @fit returned for the entry.
 */
size_t queue_next(struct queue_entry *const *entries, size_t n, uint64_t now_ns, size_t *pass,
		  queue_fit_fn fit, void *userdata, uint64_t *ret_taken_nodes);

/* Tells entry i what is new for it, if something is. False: there is no time for it now. */
typedef bool (*queue_tell_fn)(size_t i, void *userdata);

/**
 * queue_tell() - has all that wait told what is new, in parts
 * @next: where the last part ended, kept between calls; 0 at first
 *
 * When the first one leaves all others have another place, and to tell a thousand of them takes
 * longer than the event loop may be held up. Each part goes on behind the last one, so that nobody
 * is left out because something is always new for those before him.
 *
 * Return: does everybody know? Else call again.
 */
bool queue_tell(size_t n, size_t *next, queue_tell_fn tell, void *userdata);
