/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Pages of pools: per-node counts, sealed memfds, filling them with charge and node right. */

#include <stddef.h>
#include <stdint.h>

#include <systemd/sd-event.h>

#include "base/attr.h"
#include "kern/cgdir.h"
#include "model.h"

struct hugetlb_counts {
	uint64_t total, free, surplus; /* pages of the node */
};
/* @kind: PAGES_HUGE or PAGES_GIGANTIC; the same below.
 * Return: 0, or -ENOENT (no such node or no pages of that size on this machine), -errno. */
MUST_USE int hugetlb_read(int node, enum page_kind kind, struct hugetlb_counts *ret);
/**
 * hugetlb_reserve() - bring the node's pool to at least @pages
 *
 * Never takes pages away. The kernel may grant fewer without an error; what it did is read
 * back. Return: 0 or -errno; @ret_have is the pool's size now.
 */
MUST_USE int hugetlb_reserve(int node, enum page_kind kind, uint64_t pages, uint64_t *ret_have);

/* Sparse memfd of @chunks times 2 MiB, mode 0600, sealed against resizing; of PAGES_TRANSPARENT
 * the pages may turn out smaller, of PAGES_GIGANTIC there are as many as make whole ones. */
MUST_USE int hugetlb_create(const char *name, enum page_kind kind, uint64_t chunks, int *ret_fd);
/* Of a memfd. Return: 0 or -errno. */
MUST_USE int hugetlb_kind(int fd, enum page_kind *ret);
/* Frees the pages of @n chunks from @first on; of PAGES_GIGANTIC the kernel only clears what is less
 * than a page. Return: 0 or -errno. */
MUST_USE int hugetlb_punch(int fd, uint32_t first, uint32_t n);
/* Pages present in the file (st_blocks) and its size, in chunks; one that is there in part counts. */
MUST_USE int hugetlb_measure(int fd, uint64_t *ret_present, uint64_t *ret_size);

struct populate;
/* @result: number of chunks that are present now, taken from the front of the list; fewer
 * than asked, down to 0, when huge pages or the slot's limit ran out. Or -errno: -ETIMEDOUT
 * when the child got nowhere (a frozen slot), -ENOMEM when the slot's memory is used up; pages
 * that it put in before may stay, hugetlb_measure() tells. */
typedef void (*populate_done_fn)(int result, void *userdata);

/**
 * populate_start() - put pages into a memfd so that the slot pays and the node is right
 * @slot: the helper is cloned into this cgroup
 * @node: binding of the pages, or NODE_ANY (interleaved over the slot's nodes)
 * @huge_bits: NULL for a file of huge pages. Else one bit a chunk, in memory shared with children:
 *             set for those of which the kernel made one page
 * @chunks: @n indexes, copied
 *
 * A short-lived child sets its memory policy, puts the pages in and reports through a pipe; nothing
 * blocks the loop. Chunks are all or nothing each; those already present count as put in.
 * @done is called from the event loop, never from in here. Return: 0 or -errno.
 */
MUST_USE int populate_start(sd_event *event, struct cgdir *slot, int node, int fd,
			    uint64_t *huge_bits, const uint32_t *chunks, size_t n,
			    populate_done_fn done, void *userdata, struct populate **ret_populate);
/* @done is not called any more; the child is killed and reaped, pages it added may stay. */
void populate_cancel(struct populate *populate);
