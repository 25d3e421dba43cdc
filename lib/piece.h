/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Pieces: what the task gets when messages of several channels share a buffer. To the task each
 * of them is a struct tm_buffer of its own, whose release gives its channel credit back; the
 * buffer goes back to its pool after its last piece.
 */

#include <stdatomic.h>
#include <stdint.h>

#include "pool.h"

struct tm_channel;
struct piece;

/* Where an engine's pieces come from. Part of its mailbox, so it outlives the engine. */
struct piece_home {
	struct piece *idle;               /* the engine's thread */
	_Atomic(struct piece *) returned; /* by whoever releases */
	struct piece_slab *slabs;
};

/* Frees the memory; no piece is out. */
void piece_home_deinit(struct piece_home *home);

/* The engine keeps @buffer until piece_unpin(); pieces of it may be made. */
void piece_pin(struct buffer *buffer);
/* No piece of a pinned buffer is out. For the engine's thread, which alone can make more. */
static inline bool piece_is_alone(struct buffer *buffer)
{
	return atomic_load_explicit(&buffer->n_pins, memory_order_acquire) == 1;
}
/* The engine, or a piece, is done with it: the last one gives it back to its pool. */
void piece_unpin(struct buffer *buffer);
/* One more piece of a pinned buffer, for @channel, which holds one more buffer, unless it has a piece
 * of this one already. NULL: no memory. */
struct buffer *piece_new(struct piece_home *home, struct buffer *buffer,
			 struct tm_channel *channel);
