/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A buffer's id is its place in the ring: the pool's indexes may exceed 16 bits, and a bundle
 * names only its first buffer, the others being those that follow it in the ring.
 *
 * Taking entries back one by one would mean to edit a ring the kernel reads. Taking the ring
 * away does the same without a race: unregistering is serialised with the kernel's selection of
 * buffers, and needs no cooperation of armed receives, which end with -ENOBUFS.
 */

#include "bufring.h"

#include <errno.h>
#include <stdlib.h>

#include "piece.h"

#define PAGE 4096 /* the kernel wants the ring to begin on a page of its own */

int bufring_init(struct bufring *b, enum bufring_group group, uint32_t n_buffers)
{
	size_t bytes;

	b->group = group;
	for (b->n_entries = 1; b->n_entries < n_buffers;)
		b->n_entries *= 2;
	bytes = b->n_entries * sizeof(struct io_uring_buf);
	b->entries = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);
	b->posted = calloc(b->n_entries, sizeof(*b->posted));
	b->used = calloc(b->n_entries, sizeof(*b->used));
	if (!b->entries || !b->posted || !b->used) {
		b->n_entries = 0;
		bufring_deinit(b);
		return -ENOMEM;
	}
	return 0;
}

void bufring_deinit(struct bufring *b)
{
	bufring_clear(b);
	free(b->entries);
	free(b->posted);
	free(b->used);
	*b = (struct bufring){};
}

int bufring_register(struct bufring *b, struct io_uring *ring)
{
	struct io_uring_buf_reg reg = {
		.ring_addr = (uintptr_t)b->entries,
		.ring_entries = b->n_entries,
		.bgid = (uint16_t)b->group,
		.flags = b->group == BUFRING_PACKED ? IOU_PBUF_RING_INC : 0,
	};
	int r;

	if (b->is_registered)
		return 0;
	io_uring_buf_ring_init(b->entries);
	b->tail = 0;
	r = io_uring_register_buf_ring(ring, &reg, 0);
	b->is_registered = r >= 0;
	return r;
}

int bufring_unregister(struct bufring *b, struct io_uring *ring)
{
	int r;

	if (!b->is_registered)
		return 0;
	r = io_uring_unregister_buf_ring(ring, (int)b->group);
	if (r < 0)
		return r;
	b->is_registered = false;
	return 0;
}

uint32_t bufring_post(struct bufring *b, struct buffer *buffers[], uint32_t n)
{
	int mask = io_uring_buf_ring_mask(b->n_entries);
	uint32_t i = 0;

	/* the address and length of an entry are written each time: the kernel changes them */
	for (; i < n && !b->posted[b->tail & mask]; i++, b->tail++) {
		uint16_t id = (uint16_t)(b->tail & mask);

		b->posted[id] = buffers[i];
		b->used[id] = 0;
		io_uring_buf_ring_add(b->entries, buffers[i]->public.data,
				      buffers[i]->public.capacity, id, mask, (int)i);
	}
	io_uring_buf_ring_advance(b->entries, (int)i);
	b->n_posted += i;
	return i;
}

struct buffer *bufring_take(struct bufring *b, uint32_t id)
{
	struct buffer *buffer = id < b->n_entries ? TAKE(b->posted[id]) : NULL;

	if (buffer)
		b->n_posted--;
	return buffer;
}

void bufring_clear(struct bufring *b)
{
	uint32_t used;

	for (uint32_t id = 0; id < b->n_entries; id++) {
		if (!b->posted[id])
			continue;
		used = b->used[id];
		if (used > 0)
			piece_unpin(bufring_take(b, id));
		else
			pool_put(bufring_take(b, id));
	}
}

bool bufring_is_owed(const struct bufring *b)
{
	for (uint32_t id = 0; id < b->n_entries; id++)
		if (b->posted[id] && atomic_load(&b->posted[id]->place->is_draining))
			return true;
	return false;
}
