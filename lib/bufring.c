/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Buffer ids are places in an array, not the pool's indexes: those may exceed 16 bits.
 *
 * Taking entries back one by one would mean to edit a ring the kernel reads. Taking the ring
 * away does the same without a race: unregistering is serialised with the kernel's selection of
 * buffers, and needs no cooperation of armed receives, which end with -ENOBUFS.
 */

#include "bufring.h"

#include <errno.h>
#include <stdlib.h>

#define PAGE 4096 /* the kernel wants the ring to begin on a page of its own */

int bufring_init(struct bufring *b, uint32_t n_buffers)
{
	size_t bytes;

	for (b->n_entries = 1; b->n_entries < n_buffers;)
		b->n_entries *= 2;
	bytes = b->n_entries * sizeof(struct io_uring_buf);
	b->entries = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);
	b->posted = calloc(b->n_entries, sizeof(*b->posted));
	b->free_ids = calloc(b->n_entries, sizeof(*b->free_ids));
	if (!b->entries || !b->posted || !b->free_ids) {
		b->n_entries = 0;
		bufring_deinit(b);
		return -ENOMEM;
	}
	for (b->n_free_ids = 0; b->n_free_ids < b->n_entries; b->n_free_ids++)
		b->free_ids[b->n_free_ids] = (uint16_t)b->n_free_ids;
	return 0;
}

void bufring_deinit(struct bufring *b)
{
	bufring_clear(b);
	free(b->entries);
	free(b->posted);
	free(b->free_ids);
	*b = (struct bufring){};
}

int bufring_register(struct bufring *b, struct io_uring *ring)
{
	struct io_uring_buf_reg reg = {
		.ring_addr = (uintptr_t)b->entries,
		.ring_entries = b->n_entries,
		.bgid = BUFRING_GROUP,
	};
	int r;

	if (b->is_registered)
		return 0;
	io_uring_buf_ring_init(b->entries);
	r = io_uring_register_buf_ring(ring, &reg, 0);
	b->is_registered = r >= 0;
	return r;
}

int bufring_unregister(struct bufring *b, struct io_uring *ring)
{
	int r = io_uring_unregister_buf_ring(ring, BUFRING_GROUP);

	if (r < 0)
		return r;
	b->is_registered = false;
	return 0;
}

void bufring_post(struct bufring *b, struct buffer *buffers[], uint32_t n)
{
	int mask = io_uring_buf_ring_mask(b->n_entries);

	for (uint32_t i = 0; i < n; i++) {
		uint16_t id = b->free_ids[--b->n_free_ids];

		b->posted[id] = buffers[i];
		io_uring_buf_ring_add(b->entries, buffers[i]->public.data,
				      buffers[i]->public.capacity, id, mask, (int)i);
	}
	io_uring_buf_ring_advance(b->entries, (int)n);
}

struct buffer *bufring_take(struct bufring *b, uint32_t id)
{
	struct buffer *buffer = b->posted[id];

	b->posted[id] = NULL;
	b->free_ids[b->n_free_ids++] = (uint16_t)id;
	return buffer;
}

void bufring_clear(struct bufring *b)
{
	for (uint32_t id = 0; id < b->n_entries; id++)
		if (b->posted[id])
			pool_put(bufring_take(b, id));
}

bool bufring_is_owed(const struct bufring *b)
{
	for (uint32_t id = 0; id < b->n_entries; id++)
		if (b->posted[id] && atomic_load(&b->posted[id]->place->is_draining))
			return true;
	return false;
}
