/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lend.h"

#include "base/attr.h"

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

void lend_add(struct lend_node *node, uint64_t n_held, uint64_t n_guaranteed)
{
	node->n_claimed += MAX(n_held, n_guaranteed);
	node->n_unheld += less(n_guaranteed, n_held);
}

uint64_t lend_room(const struct lend_node *node, uint64_t n_held, uint64_t n_guaranteed)
{
	/* by our books, and by what is there: a page that is being filled is still free, and one
	 * that a stranger has is in no book */
	uint64_t booked = less(node->n_pages, node->n_claimed + n_held);
	uint64_t left = less(node->n_free, node->n_unheld);
	uint64_t own = less(n_guaranteed, n_held);

	return MIN(node->n_free, MAX(own, MIN(booked, left)));
}

uint64_t lend_short(const struct lend_node *node)
{
	return less(node->n_unheld, node->n_free);
}
