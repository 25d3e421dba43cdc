/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kern/topology.h"
#include "kern/transparent.h"
#include "policy/pages.h"

/*
 * What the chunks of pools are made of. A node deals so many chunks as the configuration asks huge
 * pages for, and its budget leaves that memory out, whichever pages they become: so a promise is
 * the same amount of memory on every host. What is missing of huge pages is ordinary memory then,
 * which the host may use until a task wants it; it is looked at before it is handed out.
 */

bool manager_may_fall_back(const struct manager *manager)
{
	return manager->config->pages == CONFIG_PAGES_HUGE_OR_TRANSPARENT;
}

static bool read_counts(const struct manager *manager, size_t i, struct hugetlb_counts *ret)
{
	return tree_get_controllers(manager->tree)->hugetlb &&
	       hugetlb_read(manager->nodes[i].node, PAGES_HUGE, ret) == 0;
}

uint64_t manager_chunks_reserved(const struct manager *manager, size_t i)
{
	struct hugetlb_counts counts;

	return read_counts(manager, i, &counts) ? counts.total : 0;
}

static uint64_t chunks_held(const struct manager *manager, size_t i)
{
	uint64_t sum = 0, held, guaranteed;

	for (size_t k = 0; k < manager->n_slots; k++) {
		slot_count_on_node(manager->slots[k], i, &held, &guaranteed);
		sum += held;
	}
	return sum;
}

uint64_t manager_chunks_free(const struct manager *manager, size_t i, enum page_kind kind)
{
	const struct node_info *node = &manager->nodes[i];
	struct hugetlb_counts counts;
	uint64_t available;

	if (kind == PAGES_HUGE)
		return read_counts(manager, i, &counts) ? counts.free : 0;
	if (!manager_may_fall_back(manager) || topology_available(node->node, &available) < 0)
		return 0;
	return pages_in_memory(available, node->total_bytes, node->hugepages,
			       chunks_held(manager, i));
}

enum page_kind slot_choose_pages(const struct slot *slot, uint32_t n_needed)
{
	const struct manager *manager = slot->manager;
	struct pages_input in = {
		.may_fall_back = manager_may_fall_back(manager),
		.has_controller = tree_get_controllers(manager->tree)->hugetlb,
		.n_needed = n_needed,
	};

	for (size_t i = 0; in.may_fall_back && i < manager->n_nodes; i++) {
		if (slot->policy.node != NODE_ANY && slot->policy.node != manager->nodes[i].node)
			continue;
		in.n_reserved += manager_chunks_reserved(manager, i);
		in.n_huge += slot_chunks_free_on(slot, i, PAGES_HUGE);
		in.n_transparent += slot_chunks_free_on(slot, i, PAGES_TRANSPARENT);
	}
	return pages_choose(&in);
}

/* ---- what is shown */

void manager_check_pages(const struct manager *manager, struct host_check *ret_check)
{
	char mode[TRANSPARENT_MODE_MAX] = "none";
	const char *beside = "";
	int r;

	for (size_t i = 0; i < manager->n_nodes; i++)
		if (manager->nodes[i].gigantic > 0)
			beside = "; 1G huge ones for pools that are guaranteed whole GiB";
	*ret_check = (struct host_check){ .name = "pages of pools", .status = HOST_OK };
	if (!manager_may_fall_back(manager)) {
		(void)snprintf(ret_check->detail, sizeof(ret_check->detail),
			       "2M huge ones only (pages=huge)%s", beside);
		return;
	}
	r = transparent_read_mode(mode);
	(void)snprintf(ret_check->detail, sizeof(ret_check->detail),
		       "2M huge ones, or transparent ones where those run short; shmem_enabled: "
		       "%s%s",
		       r < 0 && r != -ENOENT ? strerror(-r) : mode, beside);
	if (r == 0 && transparent_mode_is_huge(mode))
		return;
	ret_check->status = HOST_DEGRADED;
	(void)snprintf(ret_check->remedy, sizeof(ret_check->remedy),
		       "transparent ones are of 4K now: echo advise > " TRANSPARENT_MODE_FILE);
}

void slot_view_pages(const struct slot *slot, struct slot_view *view)
{
	const struct grant *grant;
	uint64_t n_huge = 0;

	LIST_FOREACH(&slot->grants, grant, in_slot)
		n_huge += grant_count_huge(grant);
	view->pages = pages_describe(slot->n_granted - slot->n_transparent, slot->n_transparent);
	if (slot->policy.is_gigantic && slot->n_granted > 0) {
		view->pages = page_kind_names[PAGES_GIGANTIC];
		view->pool_gigantic_bytes = slot->n_granted * CHUNK_BYTES;
	}
	view->pool_transparent_bytes = slot->n_transparent * CHUNK_BYTES;
	view->pool_huge_bytes = n_huge * CHUNK_BYTES;
}

void manager_view_pages(const struct manager *manager, size_t i, struct node_view *view)
{
	uint64_t n = manager->nodes[i].hugepages;
	uint64_t n_huge = MIN(manager_chunks_reserved(manager, i), n);
	uint64_t n_held = chunks_held(manager, i);

	view->pages = pages_describe(n_huge, n - n_huge);
	view->hugepages_free = manager_chunks_free(manager, i, PAGES_HUGE);
	if (manager_may_fall_back(manager)) {
		view->hugepages_free += manager_chunks_free(manager, i, PAGES_TRANSPARENT);
		view->hugepages_free = MIN(view->hugepages_free, n > n_held ? n - n_held : 0);
	}
}
