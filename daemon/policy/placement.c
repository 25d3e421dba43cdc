/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The most free memory, not the tightest fit: memory that a slot does not need is given to its
 * neighbours anyway, so a crowded node is worth less to everybody on it. The wish comes first,
 * because what does not fit is worth nothing where much else is free.
 */

#include "policy/placement.h"

#include "base/attr.h"

/* Less free memory than this part of the budget is no reason to go elsewhere. */
#define MARGIN_PART 8
/* Of its size, so that it has room to grow where it goes. */
#define RELIEF_PERCENT 120

uint64_t placement_free_bytes(const struct placement_node *node)
{
	return node->used_bytes < node->budget_bytes ? node->budget_bytes - node->used_bytes : 0;
}

static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

/* By what the slot wishes for: above 0 if @a is better. */
static int compare_wish(const struct placement_node *a, const struct placement_node *b,
			const struct placement_wish *wish)
{
	int order = compare(a->grant_bytes, b->grant_bytes);

	if (order == 0)
		order = compare(MIN(a->free_chunks, wish->chunks),
				MIN(b->free_chunks, wish->chunks));
	if (order == 0)
		order = compare(MIN(placement_free_bytes(a), wish->bytes),
				MIN(placement_free_bytes(b), wish->bytes));
	return order;
}

static bool is_better(const struct placement_node *a, const struct placement_node *b,
		      const struct placement_wish *wish)
{
	int order = compare_wish(a, b, wish);

	if (order == 0)
		order = compare(placement_free_bytes(a), placement_free_bytes(b));
	return order > 0 || (order == 0 && a->node < b->node);
}

size_t placement_choose(const struct placement_node *nodes, size_t n,
			const struct placement_wish *wish)
{
	size_t best = PLACEMENT_NOWHERE, here = PLACEMENT_NOWHERE;

	for (size_t i = 0; i < n; i++) {
		if (!nodes[i].is_admitted)
			continue;
		if (nodes[i].node == wish->node)
			here = i;
		if (best == PLACEMENT_NOWHERE || is_better(&nodes[i], &nodes[best], wish))
			best = i;
	}
	if (here == PLACEMENT_NOWHERE || compare_wish(&nodes[best], &nodes[here], wish) > 0)
		return best;
	if (placement_free_bytes(&nodes[best]) >=
	    placement_free_bytes(&nodes[here]) + nodes[best].budget_bytes / MARGIN_PART + 1)
		return best;
	return here;
}

size_t placement_relief(const struct placement_node *nodes, size_t n,
			const struct placement_wish *wish)
{
	size_t best = PLACEMENT_NOWHERE;

	for (size_t i = 0; i < n; i++) {
		const struct placement_node *node = &nodes[i];

		if (!node->is_admitted || node->node == wish->node ||
		    node->free_chunks < wish->chunks ||
		    (unsigned __int128)placement_free_bytes(node) * 100 <
			    (unsigned __int128)wish->bytes * RELIEF_PERCENT)
			continue;
		if (best == PLACEMENT_NOWHERE ||
		    placement_free_bytes(node) > placement_free_bytes(&nodes[best]) ||
		    (placement_free_bytes(node) == placement_free_bytes(&nodes[best]) &&
		     node->node < nodes[best].node))
			best = i;
	}
	return best;
}
