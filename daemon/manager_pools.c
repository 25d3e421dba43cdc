/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/maxmin.h"
#include "policy/gigantic.h"
#include "policy/lend.h"

/*
 * What a slot's pool may have, and what the kernel lets it have. Huge pages are handed out only when
 * they are physically there: what others hold, or are guaranteed and do not hold yet, is never lent.
 * So a task that is slow to give back what it owes can delay the excess of others, not their
 * guarantees.
 */

/* ---- how much can be had */

static size_t node_index(const struct manager *manager, int node)
{
	for (size_t i = 0; i < manager->n_nodes; i++)
		if (manager->nodes[i].node == node)
			return i;
	return 0;
}

void slot_count_on_node(const struct slot *slot, size_t i, uint64_t *ret_held,
			uint64_t *ret_guaranteed)
{
	const struct manager *manager = slot->manager;
	int node = manager->nodes[i].node;
	uint64_t bytes[NODES_MAX];

	*ret_held = *ret_guaranteed = 0;
	if (slot->policy.is_gigantic)
		return;
	if (slot->policy.node == node) {
		*ret_held = slot->n_granted;
		*ret_guaranteed = slot->pool_guaranteed_chunks;
	}
	if (slot->policy.node != NODE_ANY)
		return;
	/* Interleaved: where its pages came to lie is the kernel's choice. Of transparent ones it does
	 * not tell; they are equal parts. */
	*ret_guaranteed = entitle_part_of_chunks(manager->nodes, manager->n_nodes, i,
						 slot->policy.name, slot->pool_guaranteed_chunks);
	if (cgdir_read_numa(slot->cg, CG_HUGETLB_NUMA_STAT, bytes) == CGDIR_OK)
		*ret_held = bytes[node] / CHUNK_BYTES;
	*ret_held += entitle_part_of_chunks(manager->nodes, manager->n_nodes, i, slot->policy.name,
					    slot->n_transparent);
}

uint64_t slot_chunks_free_on(const struct slot *slot, size_t i, enum page_kind kind)
{
	const struct manager *manager = slot->manager;
	struct lend_node node = { .n_pages = manager->nodes[i].hugepages,
				  .n_free = manager_chunks_free(manager, i, kind) };
	uint64_t held, guaranteed;

	for (size_t k = 0; k < manager->n_slots; k++) {
		if (manager->slots[k] == slot)
			continue;
		slot_count_on_node(manager->slots[k], i, &held, &guaranteed);
		lend_add(&node, held, guaranteed);
	}
	slot_count_on_node(slot, i, &held, &guaranteed);
	return lend_room(&node, held, guaranteed);
}

uint32_t slot_chunks_available(const struct slot *slot, enum page_kind kind)
{
	const struct manager *manager = slot->manager;
	uint64_t free_chunks = 0;

	if (kind == PAGES_GIGANTIC)
		return slot_gigantic_available(slot);
	if (slot->n_granted >= slot->pool_share_chunks)
		return 0;
	if (slot->policy.node != NODE_ANY)
		free_chunks =
			slot_chunks_free_on(slot, node_index(manager, slot->policy.node), kind);
	else
		for (size_t i = 0; i < manager->n_nodes; i++)
			free_chunks += slot_chunks_free_on(slot, i, kind);
	return (uint32_t)MIN(free_chunks, (uint64_t)slot->pool_share_chunks - slot->n_granted);
}

uint64_t slot_file_chunks(const struct slot *slot)
{
	const struct manager *manager = slot->manager;
	uint64_t total = 0;

	for (size_t i = 0; i < manager->n_nodes; i++)
		if (slot->policy.node == NODE_ANY || slot->policy.node == manager->nodes[i].node)
			total += slot->policy.is_gigantic
					 ? manager->nodes[i].gigantic * GIGANTIC_CHUNKS
					 : manager->nodes[i].hugepages;
	return MIN(total, (uint64_t)GRANT_CHUNKS_MAX);
}

enum fault_kind slot_lacks_pages(const struct slot *slot, uint32_t wanted, uint32_t available,
				 struct fault *fault)
{
	char share[FORMAT_BYTES_MAX];

	fault->node = slot->policy.node;
	fault->needed = wanted;
	fault->available = available;
	if (slot->policy.pool_max_bytes == 0)
		return fault_set(fault, FAULT_NO_HUGEPAGES,
				 "slot %s has no pool; give it one: tmctl set %s pool=64M",
				 slot->policy.name, slot->policy.name);
	if (slot->policy.is_gigantic)
		return fault_set(fault, FAULT_NO_HUGEPAGES,
				 "%u huge pages of 1G wanted, %u can be had: slot %s may hold %s "
				 "and holds %u, which its tasks keep until they detach",
				 gigantic_up(wanted) / GIGANTIC_CHUNKS, available / GIGANTIC_CHUNKS,
				 slot->policy.name,
				 format_bytes(slot->pool_share_chunks * CHUNK_BYTES, share),
				 slot->n_granted / GIGANTIC_CHUNKS);
	return fault_set(fault, FAULT_NO_HUGEPAGES,
			 "%u huge pages wanted, %u can be had: slot %s may hold %s and holds %u",
			 wanted, available, slot->policy.name,
			 format_bytes(slot->pool_share_chunks * CHUNK_BYTES, share),
			 slot->n_granted);
}

/* ---- books of a slot */

void slot_count_granted(struct slot *slot)
{
	struct grant *grant;

	slot->n_granted = slot->n_transparent = 0;
	LIST_FOREACH(&slot->grants, grant, in_slot) {
		uint32_t n = grant->n_held + grant->n_pending;

		slot->n_granted += n;
		slot->n_transparent += grant->pages == PAGES_TRANSPARENT ? n : 0;
	}
}

/* Of pages of one size; without the controller, or pages of that size, none is written. */
static void write_limit(struct cgdir *cg, enum cgdir_file max, enum cgdir_file rsvd_max,
			enum cgdir_file current, uint64_t bytes, uint64_t *written)
{
	uint64_t usage;
	int r;

	if (bytes == *written)
		return;
	r = cgdir_write_u64(cg, max, bytes);
	/* A limit below what is in use is refused: pages are pinned that were punched, or the task
	 * has mapped some by itself. Then at least no more. */
	if (r == CGDIR_BUSY && cgdir_read_u64(cg, current, &usage) == CGDIR_OK && usage > bytes) {
		bytes = usage;
		r = cgdir_write_u64(cg, max, bytes);
	}
	if (r == CGDIR_OK && cgdir_write_u64(cg, rsvd_max, bytes) == CGDIR_OK)
		*written = bytes;
}

/*
 * Also the kernel refuses what was not handed out: a task could map huge pages by itself, and with a
 * limit as high as the share it would take what is guaranteed to others. Its own guarantee it may
 * take as it likes; not once pages were taken from it, for a touch of those must find no room.
 */
void slot_write_hugetlb(struct slot *slot, uint32_t n_more)
{
	uint64_t n = (uint64_t)slot->n_granted - slot->n_transparent + n_more;
	bool is_gigantic = slot->policy.is_gigantic;

	if (!slot_has_revoked(slot) && slot->pool_guaranteed_chunks > slot->n_transparent)
		n = MAX(n, (uint64_t)slot->pool_guaranteed_chunks - slot->n_transparent);
	write_limit(slot->cg, CG_HUGETLB_MAX, CG_HUGETLB_RSVD_MAX, CG_HUGETLB_CURRENT,
		    is_gigantic ? 0 : n * CHUNK_BYTES, &slot->hugetlb_written);
	write_limit(slot->cg, CG_GIGANTIC_MAX, CG_GIGANTIC_RSVD_MAX, CG_GIGANTIC_CURRENT,
		    is_gigantic ? n * CHUNK_BYTES : 0, &slot->gigantic_written);
}

void grant_set_target(struct grant *grant, uint32_t target)
{
	struct slot *slot = grant->slot;
	struct manager_hooks *hooks = &slot->manager->hooks;

	if (grant->target == target)
		return;
	grant->target = target;
	if (grant->subscriber && grant->is_announced)
		hooks->target_changed(grant, grant->subscriber, hooks->userdata);
}

void slot_divide_pool(struct slot *slot)
{
	CLEANUP(freep) struct claim *claims = NULL;
	CLEANUP(freep) uint64_t *needs = NULL;
	CLEANUP(freep) char(*names)[16] = NULL;
	struct grant *grant;
	size_t n = 0;

	slot_count_granted(slot);
	slot_write_hugetlb(slot, 0);
	slot_set_apart(slot, 0);
	manager_kick_revoke(slot->manager);
	LIST_FOREACH(&slot->grants, grant, in_slot)
		n++;
	if (n == 0)
		return;
	if (slot->policy.is_gigantic) {
		slot_divide_gigantic(slot);
		return;
	}
	claims = calloc(n, sizeof(*claims));
	names = calloc(n, sizeof(*names));
	needs = calloc(n, sizeof(*needs));
	if (!claims || !names || !needs)
		return;
	n = 0;
	LIST_FOREACH(&slot->grants, grant, in_slot) {
		(void)snprintf(names[n], sizeof(names[n]), "%010u", grant->id);
		claims[n] = (struct claim){
			.name = names[n],
			.weight = 1,
			.max = MIN(grant->wanted, grant->n_file_chunks),
		};
		needs[n++] = grant_need_chunks(grant);
	}
	if (maxmin_divide_needs(claims, needs, n, slot->pool_share_chunks) < 0)
		return;
	n = 0;
	LIST_FOREACH(&slot->grants, grant, in_slot)
		grant_set_target(grant, (uint32_t)claims[n++].share);
}
