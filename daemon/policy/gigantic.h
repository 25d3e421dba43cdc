/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which pools are of pages of 1 GiB, and who of a slot's tasks has them. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"

/* May its pool be of them? On one node, a number of whole ones, and all of it guaranteed. */
bool gigantic_suits(const struct slot_policy *policy);

/* Pages of @node that slots are promised; one named @without, which may be NULL, does not count. */
uint64_t gigantic_promised(const struct slot_policy *slots, size_t n_slots, int node,
			   const char *without);

/**
 * gigantic_choose() - is the pool of @candidate, which joins @slots or replaces one, of them?
 *
 * If it suits and its node has as many that nobody is promised; with .keeps_pages it stays as it is.
 */
bool gigantic_choose(const struct node_info *nodes, size_t n_nodes, const struct slot_policy *slots,
		     size_t n_slots, const struct slot_policy *candidate);

/* Chunks of as many whole pages as hold @chunks, or as @chunks has. */
uint32_t gigantic_up(uint32_t chunks);
uint32_t gigantic_down(uint32_t chunks);

/* A task of a slot, all in chunks. */
struct gigantic_task {
	uint32_t n_held;
	uint32_t wanted; /* in all; any number */
	uint32_t target; /* result */
};

/**
 * gigantic_divide() - the slot's pages among its tasks, in the order in which they came
 *
 * Each keeps what it holds; of the rest the first has what it wants, then the next.
 */
void gigantic_divide(struct gigantic_task *tasks, size_t n, uint32_t n_share);
