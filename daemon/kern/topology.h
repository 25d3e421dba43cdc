/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* NUMA nodes with memory, through libnuma. */

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "model.h"

/* Fills node, total_bytes, hugepages and gigantic (pages the node has now); the rest is 0.
 * Machines without NUMA are one node 0. Return: 0 or -errno. */
MUST_USE int topology_read(struct node_info nodes[static NODES_MAX], size_t *ret_n);
/* The node's CPUs as a cpuset list ("0,2-3"); empty for a node without CPUs. */
MUST_USE int topology_cpus(int node, char *buf, size_t size);

/* "0-2,5" as bits; nodes from NODES_MAX on are refused. Return: 0, -EINVAL or -ERANGE. */
MUST_USE int topology_parse_nodes(const char *list, uint64_t *ret_bits);

/* What programs could still get on the node without swapping: free, page cache, slabs that shrink.
 * Return: 0 or -errno. */
MUST_USE int topology_available(int node, uint64_t *ret_bytes);

/* Free bytes of all swap devices; 0 without swap. */
MUST_USE int topology_swap_free(uint64_t *ret_bytes);
