/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Which node suits a slot that may be on any one of them. Asked when a task is started in an empty
 * slot (a slot is not bound to the place where it waited), for a slot that is to be moved, and for
 * one that starves. Pure. Whether a node may take the slot at all is policy/booking.h's answer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"

/* One node, as it would be for this slot. */
struct placement_node {
	int node;
	bool is_admitted;      /* guarantees and need fit beside the others */
	uint64_t grant_bytes;  /* what would be granted of the need */
	uint64_t budget_bytes; /* what slots may use in all, without the reserve */
	uint64_t used_bytes;   /* of that, what the other slots use and may count on */
	uint64_t free_chunks;  /* huge pages that nobody else holds or is promised */
};

struct placement_wish {
	int node;       /* where the slot is; NODE_ANY: on no one of them */
	uint64_t bytes; /* what it is expected to use; 0: not known */
	uint64_t chunks;
};

#define PLACEMENT_NOWHERE SIZE_MAX

/* What the others leave of the node's budget. */
uint64_t placement_free_bytes(const struct placement_node *node);

/**
 * placement_choose() - the node to put the slot on
 *
 * Of the nodes that may take it, in this order: the one that grants most of its need, that has more
 * of the huge pages it wishes for, that has more of the memory it wishes for; then the one with
 * the most free memory, then the lowest number. What is more than wished for counts only as free
 * memory. The slot stays where it is unless another node is better by a wish, or has an eighth of
 * its budget more free: a move for a few MiB would be undone by the next one.
 *
 * Return: index into @nodes, PLACEMENT_NOWHERE when no node may take it.
 */
size_t placement_choose(const struct placement_node *nodes, size_t n,
			const struct placement_wish *wish);

/**
 * placement_relief() - where a slot that starves would have room
 *
 * Among the other nodes that may take it and have 1.2 times @wish->bytes free and the huge pages,
 * the one with the most free memory, then the lowest number.
 *
 * Return: as placement_choose().
 */
size_t placement_relief(const struct placement_node *nodes, size_t n,
			const struct placement_wish *wish);
