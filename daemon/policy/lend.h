/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How many of a node's huge pages may be handed out to a slot: guarantees first. Pure. */

#include <stdint.h>

/* One node, counted up by lend_add(); all in chunks. */
struct lend_node {
	uint64_t n_pages;   /* of the node */
	uint64_t n_free;    /* as the kernel says, whoever has the others */
	uint64_t n_claimed; /* held by, or guaranteed to the slots added */
	uint64_t n_unheld;  /* guaranteed to them and not held */
};

/* One slot's part on the node. */
void lend_add(struct lend_node *node, uint64_t n_held, uint64_t n_guaranteed);

/**
 * lend_room() - what another slot may have more
 * @node: with all slots but that one
 *
 * What it is guaranteed it gets as far as there are free pages; beyond that only what is left when
 * all others could have their guarantees now, be it taken by slots or by strangers.
 */
uint64_t lend_room(const struct lend_node *node, uint64_t n_held, uint64_t n_guaranteed);

/* With all slots: guaranteed chunks that nobody holds and that are not free either. */
uint64_t lend_short(const struct lend_node *node);
