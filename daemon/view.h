/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a client is shown of a slot or a node: plain values, read at one moment. */

#include <stdint.h>

#include "model.h"
#include "policy/control.h"

#define PENDING_MAX 3

struct pending_view {
	const char *what; /* "max", "share" or "pool" */
	uint64_t from_bytes, to_bytes, now_bytes;
	uint64_t eta_ns; /* UINT64_MAX: cannot be told */
	char note[200];  /* empty when nothing is to be said */
};

struct slot_view {
	struct slot_policy policy;
	uint64_t share_bytes;
	uint64_t low_bytes; /* what memory.low is meant to be */
	uint64_t demand_bytes;
	const char *class;               /* control_class_name(), or "uncontrolled" */
	char reason[CONTROL_REASON_MAX]; /* empty: uncontrolled */
	uint64_t usage_bytes, swap_bytes;
	uint64_t kernel_min_bytes, kernel_low_bytes, kernel_high_bytes, kernel_max_bytes;
	uint32_t n_processes;
	uint64_t n_oom_kills;
	uint64_t pool_share_bytes, pool_granted_bytes, pool_owed_bytes, pool_kernel_bytes;
	uint64_t pool_node_bytes[NODES_MAX];
	uint64_t memory_node_bytes[NODES_MAX];
	size_t n_pending;
	struct pending_view pending[PENDING_MAX];
};

/* The terms of the last decision on a slot. */
struct explain_view {
	char reason[CONTROL_REASON_MAX];
	size_t n_terms;
	struct control_term terms[CONTROL_TERMS];
};

struct node_view {
	struct node_info info; /* info.node is NODE_ANY for the group without a node */
	uint64_t guaranteed_bytes, usage_bytes, group_max_bytes;
	uint64_t hugepages_free, hugepages_promised, hugepages_granted;
	uint32_t n_slots;
};
