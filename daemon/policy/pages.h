/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which kind of page a task gets where huge pages may be replaced. Pure. */

#include <stdbool.h>
#include <stdint.h>

#include "model.h"

/* What can be had for one task, all in chunks. */
struct pages_input {
	bool may_fall_back;     /* pages=huge-or-transparent */
	bool has_controller;    /* hugetlb of cgroup v2: without it nobody could be charged */
	uint64_t n_needed;      /* what it asks for at least, and is guaranteed */
	uint64_t n_reserved;    /* huge pages of its nodes, whoever has them */
	uint64_t n_huge;        /* more that its slot may have: free huge pages, ... */
	uint64_t n_transparent; /* ... or free memory */
};

/**
 * pages_choose() - the kind of all its pages
 *
 * Huge, if as many as it needs can be had; else the kind of which there are more. Where neither can
 * be had now, others of its slot have them all, and it gets what they can give back.
 */
enum page_kind pages_choose(const struct pages_input *in);

/* Chunks of a node that slots are promised and lent: huge pages that are there, or that would be. */
uint64_t pages_to_deal(bool may_fall_back, uint64_t n_wanted, uint64_t n_reserved);

/**
 * pages_in_memory() - transparent chunks that a node could still give
 * @n_pages: chunks that it deals; @n_held: of them, of both kinds
 *
 * Nothing of the last part of its memory, so that who puts them in finds what it was promised.
 */
uint64_t pages_in_memory(uint64_t available_bytes, uint64_t total_bytes, uint64_t n_pages,
			 uint64_t n_held);

/* "huge", "transparent", "mixed" or, for none at all, NULL. */
const char *pages_describe(uint64_t n_huge, uint64_t n_transparent);
