/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A piece looks like a buffer to the task, but has no place in a pool: tm_buffer_release() tells
 * by that. The pieces of one channel in one buffer are a run. As long as one of them is out, the
 * buffer cannot be used again and is held by that channel; so it is the run that counts, and its
 * first piece stands for it, even when that one itself was released.
 *
 * Only the engine's thread makes pieces, any thread gives them back, so these go over a
 * stack that is pushed to one by one and taken as a whole, which is free of the usual trouble
 * with such stacks.
 */

#include "piece.h"

#include <stdlib.h>

#include "engine.h"

#define SLAB_PIECES 63

struct piece {
	struct buffer view;
	struct buffer_owner owner;
	struct buffer *buffer;
	struct tm_channel *channel;
	struct piece_home *home;
	struct piece *next;
	struct piece *run;   /* its first piece, maybe this one */
	atomic_uint n_out;   /* of a run */
	uint32_t generation; /* another one each time it is made */
};

struct piece_slab {
	struct piece_slab *next;
	struct piece pieces[SLAB_PIECES];
};

void piece_home_deinit(struct piece_home *home)
{
	struct piece_slab *slab;

	while ((slab = home->slabs)) {
		home->slabs = slab->next;
		free(slab);
	}
}

void piece_pin(struct buffer *buffer)
{
	atomic_store_explicit(&buffer->n_pins, 1, memory_order_relaxed);
}

void piece_unpin(struct buffer *buffer)
{
	if (atomic_fetch_sub_explicit(&buffer->n_pins, 1, memory_order_acq_rel) == 1)
		pool_put(buffer);
}

static void give_back(struct piece *piece)
{
	struct piece_home *home = piece->home;

	piece->next = atomic_load_explicit(&home->returned, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&home->returned, &piece->next, piece,
						      memory_order_release, memory_order_relaxed))
		;
}

static void on_released(struct buffer_owner *owner)
{
	struct piece *piece = container_of(owner, struct piece, owner), *run = piece->run;
	struct tm_channel *channel = run->channel;
	struct buffer *buffer = run->buffer;

	if (piece != run)
		give_back(piece);
	if (atomic_fetch_sub_explicit(&run->n_out, 1, memory_order_acq_rel) > 1)
		return;
	/* the home may go with the channel's last reference */
	give_back(run);
	piece_unpin(buffer);
	channel_on_released(channel);
}

static void add_slab(struct piece_home *home)
{
	struct piece_slab *slab =
		aligned_alloc(_Alignof(struct piece_slab), sizeof(struct piece_slab));
	struct piece *piece;

	if (!slab)
		return;
	slab->next = home->slabs;
	home->slabs = slab;
	for (uint32_t i = 0; i < SLAB_PIECES; i++) {
		piece = &slab->pieces[i];
		*piece = (struct piece){ .owner.released = on_released,
					 .home = home,
					 .next = home->idle };
		home->idle = piece;
	}
}

static struct piece *take_idle(struct piece_home *home)
{
	struct piece *piece;

	if (!home->idle)
		home->idle = atomic_exchange_explicit(&home->returned, NULL, memory_order_acquire);
	if (!home->idle)
		add_slab(home);
	piece = home->idle;
	if (piece)
		home->idle = piece->next;
	return piece;
}

/* The channel's run in @buffer if there is one, with one more out. This thread alone makes pieces,
 * so that what the channel remembers is either still that run or says by its generation that it
 * is not. */
static struct piece *join_run(const struct tm_channel *channel, const struct buffer *buffer)
{
	struct piece *run = channel->run;
	unsigned n_out;

	if (!run || run->buffer != buffer || run->generation != channel->run_generation)
		return NULL;
	n_out = atomic_load_explicit(&run->n_out, memory_order_relaxed);
	while (n_out > 0)
		if (atomic_compare_exchange_weak_explicit(&run->n_out, &n_out, n_out + 1,
							  memory_order_acquire,
							  memory_order_relaxed))
			return run;
	return NULL;
}

struct buffer *piece_new(struct piece_home *home, struct buffer *buffer, struct tm_channel *channel)
{
	struct piece *piece = take_idle(home);

	if (!piece)
		return NULL;
	piece->view.public = buffer->public;
	piece->view.public.magazine_ = 0;
	piece->view.owner = &piece->owner;
	piece->run = join_run(channel, buffer);
	if (piece->run)
		return &piece->view;
	piece->run = piece;
	piece->buffer = buffer;
	piece->channel = channel;
	piece->generation++;
	atomic_store_explicit(&piece->n_out, 1, memory_order_relaxed);
	channel->run = piece;
	channel->run_generation = piece->generation;
	atomic_fetch_add_explicit(&buffer->n_pins, 1, memory_order_relaxed);
	channel_hold(channel);
	return &piece->view;
}
