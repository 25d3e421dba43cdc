/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* May this slot be, or be changed so? Only guarantees are refused, weights never. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "model.h"

/* No machine has more; keeps every sum of SLOTS_MAX guarantees inside 128 bits by far. */
#define ADMIT_BYTES_MAX (UINT64_C(1) << 61)

struct refusal {
	char message[256];  /* one sentence: the number that failed and what would be right */
	const char *field;  /* key as on the command line: "min", "pool", "node", ... */
	int node;           /* NODE_ANY when no single node is meant */
	uint64_t needed;    /* bytes the node would have to guarantee; 0 when not about a sum */
	uint64_t available; /* bytes it can guarantee in all */
};

enum admit_cond {
	ADMIT_OK = 0,
	ADMIT_REFUSED,   /* does not fit beside the others; *ret says what failed */
	ADMIT_BAD_VALUE, /* wrong by itself, on any machine; *ret says what failed */
};

/* [a-z0-9][a-z0-9._-]*, at most SLOT_NAME_MAX bytes. */
bool admit_name_is_valid(const char *name);
/* Printable ASCII without blanks, at most REQUEST_ID_MAX bytes; may be empty. */
bool admit_request_id_is_valid(const char *id);

/* "share", "off", "save" or "dry-run". Return: 0 or -EINVAL. */
MUST_USE int admit_parse_mode(const char *text, enum slot_mode *ret);

/* "default", "wait", "force" or "kill". Return: 0 or -EINVAL. */
MUST_USE int admit_parse_revoke(const char *text, enum slot_revoke *ret);

/**
 * admit_check_policy() - is the policy sound by itself?
 *
 * Name, node, weight, tier in range, min <= max, pool <= pool-max, both multiples of CHUNK_BYTES.
 * Also for what comes from a file or an xattr: @policy->name need not be terminated.
 *
 * Return: ADMIT_OK or ADMIT_BAD_VALUE.
 */
MUST_USE int admit_check_policy(const struct slot_policy *policy, struct refusal *ret);

/**
 * admit() - may @candidate join, or replace the slot of its name?
 * @nodes: as for entitle()
 * @slots: the existing slots' policies
 * @ret:   filled unless ADMIT_OK
 *
 * Beside admit_check_policy(): the node exists; on each node the guarantees, with `any` slots'
 * parts, stay within budget - reserve and within the huge pages, those of 1 GiB for pools that
 * gigantic_choose() takes for these; at most SLOTS_MAX slots. A
 * change that does not raise a node's sum is admitted even where the sum is too high already:
 * it is the way out of that.
 *
 * Return: an enum admit_cond.
 */
MUST_USE int admit(const struct node_info *nodes, size_t n_nodes, const struct slot_policy *slots,
		   size_t n_slots, const struct slot_policy *candidate, struct refusal *ret);

/**
 * admit_choose_node() - the best node for a new slot that names none
 * @candidate: its .node is ignored
 *
 * Among the nodes that can guarantee it: the one with the most unpromised memory left, then the
 * lowest number. When none can, the refusal speaks of the node that has the most.
 *
 * Return: an enum admit_cond; *ret_node is written on ADMIT_OK only.
 */
MUST_USE int admit_choose_node(const struct node_info *nodes, size_t n_nodes,
			       const struct slot_policy *slots, size_t n_slots,
			       const struct slot_policy *candidate, int *ret_node,
			       struct refusal *ret);
