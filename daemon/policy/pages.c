/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A task's chunks are in one file, which is of one kind, so the choice is made once, when it
 * attaches. It looks at the need and not at the wish: a task that would be lent more than there
 * are huge pages is better off with the huge ones.
 */

#include "policy/pages.h"

#include <stddef.h>

#include "base/attr.h"

/* Of the node's memory: its watermarks are below that, and others allocate meanwhile. */
#define MARGIN_DIVISOR 64

const char *const page_kind_names[PAGE_KINDS] = {
	[PAGES_HUGE] = "huge",
	[PAGES_TRANSPARENT] = "transparent",
	[PAGES_GIGANTIC] = "gigantic",
};

enum page_kind pages_choose(const struct pages_input *in)
{
	uint64_t n_huge = in->has_controller ? in->n_huge : 0;
	uint64_t n_reserved = in->has_controller ? in->n_reserved : 0;

	if (!in->may_fall_back || n_huge >= MAX(in->n_needed, UINT64_C(1)))
		return PAGES_HUGE;
	if (in->n_transparent != n_huge)
		return in->n_transparent > n_huge ? PAGES_TRANSPARENT : PAGES_HUGE;
	return n_reserved > 0 && n_reserved >= in->n_needed ? PAGES_HUGE : PAGES_TRANSPARENT;
}

uint64_t pages_to_deal(bool may_fall_back, uint64_t n_wanted, uint64_t n_reserved)
{
	return may_fall_back ? MAX(n_wanted, n_reserved) : n_reserved;
}

uint64_t pages_in_memory(uint64_t available_bytes, uint64_t total_bytes, uint64_t n_pages,
			 uint64_t n_held)
{
	uint64_t margin = total_bytes / MARGIN_DIVISOR;
	uint64_t room = available_bytes > margin ? (available_bytes - margin) / CHUNK_BYTES : 0;

	return n_pages > n_held ? MIN(room, n_pages - n_held) : 0;
}

const char *pages_describe(uint64_t n_huge, uint64_t n_transparent)
{
	if (n_huge > 0 && n_transparent > 0)
		return "mixed";
	if (n_huge + n_transparent == 0)
		return NULL;
	return page_kind_names[n_huge > 0 ? PAGES_HUGE : PAGES_TRANSPARENT];
}
