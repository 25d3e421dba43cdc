/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A ring of provided buffers whose entries are buffers of a pool. One thread. */

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "pool.h"

#define BUFRING_GROUP 0

struct bufring {
	struct io_uring_buf_ring *entries; /* page aligned, n_entries of them */
	struct buffer **posted;            /* by buffer id; NULL: the id is free */
	uint16_t *free_ids;
	uint32_t n_entries, n_free_ids;
	bool is_registered;
};

/* Room for @n_buffers, none posted. Return: 0 or -ENOMEM. */
MUST_USE int bufring_init(struct bufring *b, uint32_t n_buffers);
/* Only once the kernel takes no entry any more. What is posted goes back to its pool. */
void bufring_deinit(struct bufring *b);

static inline uint32_t bufring_count(const struct bufring *b)
{
	return b->n_entries - b->n_free_ids;
}

/* Lets the kernel take entries, as BUFRING_GROUP. Return: 0 (also if it does already) or -errno. */
MUST_USE int bufring_register(struct bufring *b, struct io_uring *ring);
/* The kernel takes no more entries, but completions of those it took may still be queued. */
MUST_USE int bufring_unregister(struct bufring *b, struct io_uring *ring);
/* Posts what was taken from a pool as BUFFER_POSTED; there must be room. */
void bufring_post(struct bufring *b, struct buffer *buffers[], uint32_t n);
/* The buffer of a completion; it is still BUFFER_POSTED. */
struct buffer *bufring_take(struct bufring *b, uint32_t id);
/* Gives everything posted back to its pool; not while registered. */
void bufring_clear(struct bufring *b);
/* Is anything posted in a chunk that is owed? */
bool bufring_is_owed(const struct bufring *b);
