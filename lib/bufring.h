/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A ring of provided buffers whose entries are buffers of a pool. One thread. */

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "pool.h"

/* Buffer groups of a ring. */
enum bufring_group {
	BUFRING_WHOLE,  /* each receive gets a buffer of its own */
	BUFRING_PACKED, /* receives follow each other in a buffer, IOU_PBUF_RING_INC */
	BUFRING_GROUPS,
};

struct bufring {
	enum bufring_group group;
	struct io_uring_buf_ring *entries; /* page aligned, n_entries of them */
	struct buffer **posted;            /* by place in the ring, which is the buffer id, too */
	uint32_t *used;                    /* bytes of it that are filled; packed ones only */
	uint32_t last_used;                /* the only one that can be filled in part */
	uint32_t n_entries, n_posted;
	uint16_t tail;
	bool is_registered;
};

/* Room for @n_buffers, none posted. Return: 0 or -ENOMEM. */
MUST_USE int bufring_init(struct bufring *b, enum bufring_group group, uint32_t n_buffers);
/* Only once the kernel takes no entry any more. What is posted goes back to its pool. */
void bufring_deinit(struct bufring *b);

static inline uint32_t bufring_mask(const struct bufring *b)
{
	return b->n_entries - 1;
}

/* Lets the kernel take entries. Return: 0 (also if it does already) or -errno. */
MUST_USE int bufring_register(struct bufring *b, struct io_uring *ring);
/* The kernel takes no more entries, but completions of those it took may still be queued. */
MUST_USE int bufring_unregister(struct bufring *b, struct io_uring *ring);
/* Posts what was taken from a pool as BUFFER_POSTED, as many as there is room for. Returns so many;
 * the rest is the caller's. */
uint32_t bufring_post(struct bufring *b, struct buffer *buffers[], uint32_t n);
/* The buffer of a completion, out of the ring now; it is BUFFER_POSTED unless a piece of it is
 * out. NULL: none is posted as @id. */
struct buffer *bufring_take(struct bufring *b, uint32_t id);
/* Gives everything posted back to its pool; not while registered. */
void bufring_clear(struct bufring *b);
/* Is anything posted in a chunk that is owed? */
bool bufring_is_owed(const struct bufring *b);
