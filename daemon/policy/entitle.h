/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who gets what of every node, if everyone is hungry: design section 4, rule 1. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "model.h"

struct entitle_slot {
	const struct slot_policy *policy;
	/* results */
	bool is_placed;            /* false: its node is not there, every result is 0 */
	uint64_t share_bytes;      /* E: min_bytes <= E <= max_bytes (see ENTITLE_OVERPROMISED) */
	uint64_t guaranteed_bytes; /* min_bytes, or less when the node cannot honour it */
	uint64_t pool_share_chunks;
	uint64_t pool_guaranteed_chunks;
	/* What its tasks are shown to use of their pools, from the caller; 0: not known, all that
	 * the slot may have. */
	uint64_t pool_need_chunks;
	/* NULL, or the caller's array of n_nodes: the pool share on each node, by index; 0 of gigantic
	 * pages */
	uint64_t *pool_node_chunks;
};

/* One node's outcome, at the same index as the node_info it belongs to. */
struct entitle_node {
	uint64_t distributable_bytes; /* budget - reserve */
	uint64_t guaranteed_bytes;    /* sum of mins: the node's own slots and parts of `any` */
	uint64_t shared_bytes;        /* sum of the own slots' shares */
	uint64_t any_bytes;           /* sum of the `any` slots' shares here */
	uint64_t any_reserve_bytes;   /* the part of the reserve that goes with any_bytes */
	uint64_t group_max_bytes;     /* memory.max of node<N>/: budget - any - any's reserve */
	uint64_t guaranteed_chunks, shared_chunks, any_chunks;
	bool is_overpromised; /* guarantees exceed what is here, were cut in proportion */
};

/* The group of the slots without a node. All 0 when there are none. */
struct entitle_any {
	uint64_t shared_bytes;     /* sum of the `any` slots' shares */
	uint64_t group_max_bytes;  /* shares and their part of the reserve, over all nodes */
	uint64_t guaranteed_bytes; /* sum of their mins as honoured */
	uint64_t shared_chunks;
};

enum entitle_cond {
	ENTITLE_OK = 0,
	/* On some node the guarantees exceed the budget, as after memory was taken out of the
	 * machine. Everything is filled in; is_overpromised names the nodes. */
	ENTITLE_OVERPROMISED,
};

/**
 * entitle() - divide all nodes' memory and huge pages among all slots
 * @nodes:     distinct nodes in ascending order; reserve_bytes <= budget_bytes <= 2^61,
 *             .hugepages is what is there to divide
 * @slots:     .policy set, at most SLOTS_MAX, names distinct, any order
 * @ret_nodes: array of @n_nodes
 *
 * Every slot first has its min, whatever its tier. Then tier 0 is filled by weighted max-min up
 * to its slots' max, what remains goes to tier 1, and so on. A slot without a node claims an
 * equal part of its weight, min and max on each node that has memory (huge pages for pools).
 *
 * Huge pages go by need first, where it is known, tier by tier; what is left when the needs of all
 * tiers are met is divided once more, up to each slot's max. So idle pages are lent, and a slot
 * in need finds them whatever its tier. A pool of gigantic pages has its min, of its own pages.
 *
 * For each node: shared_bytes + any_bytes <= distributable_bytes, and group_max_bytes of all
 * nodes and of `any` sum to the sum of the budgets.
 *
 * Return: an enum entitle_cond, or -EINVAL, -ENOMEM; on these nothing is to be used.
 */
MUST_USE int entitle(const struct node_info *nodes, size_t n_nodes, struct entitle_slot *slots,
		     size_t n_slots, struct entitle_node *ret_nodes, struct entitle_any *ret_any);

/**
 * entitle_part() - the part of an `any` slot's amount that falls on the @index-th of @n nodes
 *
 * Equal parts; the remainder goes one unit each to consecutive nodes from a start that depends
 * on the slot's @name alone, so that parts sum to @amount, single chunks of many slots spread
 * out, and a <= b gives part(a) <= part(b) everywhere. UINT64_MAX stays UINT64_MAX.
 */
uint64_t entitle_part(const char *name, uint64_t amount, size_t index, size_t n);

/* The part of an `any` slot's bytes, or chunks, that falls on nodes[k]: entitle_part() over the
 * nodes that have memory, or huge pages; over all nodes if none has. */
uint64_t entitle_part_of_bytes(const struct node_info *nodes, size_t n_nodes, size_t k,
			       const char *name, uint64_t bytes);
uint64_t entitle_part_of_chunks(const struct node_info *nodes, size_t n_nodes, size_t k,
				const char *name, uint64_t chunks);
