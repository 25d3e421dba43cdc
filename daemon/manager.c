/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mono.h"
#include "kern/freeze.h"
#include "kern/hook.h"
#include "kern/host.h"
#include "kern/peer.h"
#include "kern/topology.h"
#include "message_ids.h"
#include "policy/pages.h"
#include "saver.h"

/*
 * Everything is built in manager_new() in one order and let go in manager_free() in the
 * opposite one. Between them every request ends in manager_replan(): entitlements are computed
 * from scratch and what differs from what was last written is written. Writes to memory.min
 * and memory.low reclaim nothing and return at once (6.12), so they are done on the loop;
 * memory.max goes through struct limit.
 */

#define TICK_USEC 1000000
#define TICK_ACCURACY_USEC 50000
/* A slot's limits are read back every so many ticks: someone else may have written them. */
#define VERIFY_TICKS ((size_t)10)
#define GROUP_MAX_LEAST (UINT64_C(16) << 20)

/* The protection a slot gets is a little below its share: with all of the group's memory
 * protected, reclaim would find nothing and fall back to ignoring protection altogether. The
 * node's reserve is that room, so nothing is taken off here but the partial page. */
static uint64_t page_floor(uint64_t bytes)
{
	return bytes == BYTES_UNLIMITED ? bytes : bytes & ~UINT64_C(4095);
}

struct slot *manager_find_slot(const struct manager *manager, const char *name)
{
	size_t low = 0, high = manager->n_slots;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(name, manager->slots[middle]->policy.name);

		if (order == 0)
			return manager->slots[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

struct node_group *manager_group(struct manager *manager, int node)
{
	for (size_t i = 0; i <= manager->n_nodes; i++)
		if (manager->groups[i].node == node)
			return &manager->groups[i];
	return NULL;
}

/* ---- plan and write */

static void write_protection(struct slot *slot, enum cgdir_file file, uint64_t bytes,
			     uint64_t *written)
{
	uint64_t seen;
	int r;

	bytes = page_floor(bytes);
	if (bytes == *written)
		return;
	r = cgdir_write_u64(slot->cg, file, bytes);
	if (r == CGDIR_OK)
		r = cgdir_read_u64(slot->cg, file, &seen);
	if (r == CGDIR_ABSENT || r == CGDIR_GONE)
		return;
	if (r != CGDIR_OK || seen != bytes)
		log_warning("slot %s: the kernel did not take %llu for its protection (%d)",
			    slot->policy.name, (unsigned long long)bytes, r);
	else
		*written = bytes;
}

void slot_write_low(struct slot *slot)
{
	write_protection(slot, CG_MEMORY_LOW, slot_low_bytes(slot), &slot->low_written);
	/* What it should come to use is not 0 because an emergency has taken its protection. */
	slot_tell(slot, MAX(slot_planned_low_bytes(slot), slot->guaranteed_bytes),
		  slot_is_unprotected(slot) ? NOTICE_PRESSURE : NOTICE_SHARE);
}

static void slot_write(struct slot *slot, bool is_change, uint64_t now_ns)
{
	uint64_t max_bytes = page_floor(slot->policy.max_bytes);

	write_protection(slot, CG_MEMORY_MIN, slot->guaranteed_bytes, &slot->min_written);
	slot_plan_control(slot);
	if (slot->has_limit && slot->limit.shrink.target_bytes != max_bytes)
		slot_set_max(slot, max_bytes, now_ns);
	slot_write_low(slot);
	slot_divide_pool(slot);
	if (!is_change)
		slot->is_share_moving = false;
}

/* Shows where usage is going after the share changed, if there is usage that could move. */
static void slot_start_progress(struct slot *slot, uint64_t old_share, uint64_t now_ns)
{
	uint64_t usage;

	if (slot->share_bytes == old_share ||
	    cgdir_read_u64(slot->cg, CG_MEMORY_CURRENT, &usage) != CGDIR_OK || usage == 0)
		return;
	/* Below its share before and after: nothing will be taken, and nothing was held back. */
	if (usage < slot->share_bytes && usage < old_share - old_share / 16)
		return;
	progress_start(&slot->share_progress, usage, slot->share_bytes, now_ns);
	slot->is_share_moving = slot->share_progress.phase == PROGRESS_MOVING;
}

static void group_write(struct node_group *group, uint64_t min_bytes, uint64_t max_bytes,
			uint64_t now_ns)
{
	if (!group->cg)
		return;
	min_bytes = page_floor(min_bytes);
	if (group->min_written != min_bytes &&
	    cgdir_write_u64(group->cg, CG_MEMORY_MIN, min_bytes) == CGDIR_OK)
		group->min_written = min_bytes;
	max_bytes = page_floor(max_bytes);
	if (group->has_limit && group->max_target != max_bytes) {
		group->max_target = max_bytes;
		limit_set(&group->limit, max_bytes, /* hold_until_ns= */ 0, now_ns);
	}
}

/* What is guaranteed to the slots of one group. The plan of a node counts the parts of the slots
 * without a node, too, whose guarantee is in a group of its own. */
static uint64_t group_guaranteed(const struct manager *manager, int node)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < manager->n_slots; i++)
		if (manager->slots[i]->policy.node == node)
			sum += manager->slots[i]->guaranteed_bytes;
	return sum;
}

static bool group_has_slots(const struct manager *manager, int node)
{
	for (size_t i = 0; i < manager->n_slots; i++)
		if (manager->slots[i]->policy.node == node)
			return true;
	return false;
}

static uint64_t group_max(const struct manager *manager, size_t i)
{
	uint64_t max = i < manager->n_nodes ? manager->node_plans[i].group_max_bytes
					    : manager->any_plan.group_max_bytes;

	/* With a limit of 0 not even a slot's directory could be made in it; slots that get nothing
	 * (a higher tier has all) need the kernel's own memory all the same. */
	if (max == 0 && !group_has_slots(manager, manager->groups[i].node))
		return BYTES_UNLIMITED;
	return leftovers_group_max(&manager->groups[i],
				   MAX(max, GROUP_MAX_LEAST) +
					   group_lent_bytes(&manager->groups[i]));
}

void manager_write_group_max(struct manager *manager, struct node_group *group)
{
	group_write(group, group_guaranteed(manager, group->node),
		    group_max(manager, (size_t)(group - manager->groups)), mono_now_ns());
}

/* What the tree is guaranteed against the rest of the host. */
static void manager_protect(struct manager *manager)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i <= manager->n_nodes; i++) {
		const struct node_group *group = &manager->groups[i];

		bytes += group_guaranteed(manager, group->node);
		bytes += group->cg ? cgdir_get_apart(group->cg) : 0;
	}
	if (bytes != manager->protected_bytes && tree_protect(manager->tree, bytes) == 0)
		manager->protected_bytes = bytes;
}

/* Guarantees go up before anything of them is handed out, group limits before the slots'. */
static void manager_write(struct manager *manager, bool is_change, const uint64_t *old_shares)
{
	uint64_t now_ns = mono_now_ns();

	for (size_t i = 0; i <= manager->n_nodes; i++)
		group_write(&manager->groups[i], group_guaranteed(manager, manager->groups[i].node),
			    group_max(manager, i), now_ns);
	manager_protect(manager);
	for (size_t i = 0; i < manager->n_slots; i++) {
		slot_write(manager->slots[i], is_change, now_ns);
		if (is_change)
			slot_start_progress(manager->slots[i], old_shares[i], now_ns);
	}
}

/* ---- transparent pages of pools */

static uint64_t group_apart(const struct node_group *group)
{
	const struct manager *manager = group->manager;
	uint64_t sum = 0;

	for (size_t i = 0; i < manager->n_slots; i++)
		if (manager->slots[i]->policy.node == group->node)
			sum += manager->slots[i]->n_transparent * CHUNK_BYTES;
	return sum;
}

static void group_set_apart(struct node_group *group, uint64_t bytes)
{
	if (!group->cg)
		return;
	cgdir_set_apart(group->cg, bytes);
	group->min_written = BYTES_UNLIMITED;
	if (group->has_limit)
		limit_follow(&group->limit, mono_now_ns());
	manager_write_group_max(group->manager, group);
}

void slot_set_apart(struct slot *slot, uint32_t n_more)
{
	struct node_group *group = manager_group(slot->manager, slot->policy.node);
	uint64_t bytes = ((uint64_t)slot->n_transparent + n_more) * CHUNK_BYTES;
	uint64_t before = cgdir_get_apart(slot->cg);
	uint64_t of_group = group_apart(group) + n_more * CHUNK_BYTES;

	if (bytes == before)
		return;
	/* room above before there is something below, and the other way round */
	if (bytes > before)
		group_set_apart(group, of_group);
	cgdir_set_apart(slot->cg, bytes);
	slot->min_written = slot->low_written = BYTES_UNLIMITED;
	write_protection(slot, CG_MEMORY_MIN, slot->guaranteed_bytes, &slot->min_written);
	write_protection(slot, CG_MEMORY_LOW, slot_low_bytes(slot), &slot->low_written);
	if (slot->has_limit)
		limit_follow(&slot->limit, mono_now_ns());
	if (bytes < before)
		group_set_apart(group, of_group);
}

void manager_adopt_apart(struct manager *manager)
{
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct slot *slot = manager->slots[i];

		slot_count_granted(slot);
		cgdir_set_apart(slot->cg, slot->n_transparent * CHUNK_BYTES);
		if (slot->has_limit)
			limit_adopt(&slot->limit);
	}
	for (size_t i = 0; i <= manager->n_nodes; i++)
		if (manager->groups[i].cg)
			cgdir_set_apart(manager->groups[i].cg, group_apart(&manager->groups[i]));
}

/* Who should get what now, an array to be freed; NULL: the old plan stays. */
static struct entitle_slot *manager_plan(struct manager *manager)
{
	struct entitle_slot *plans = calloc(manager->n_slots + 1, sizeof(*plans));
	int r;

	if (!plans) {
		log_error("no memory for a plan of %zu slots; the old one stays", manager->n_slots);
		return NULL;
	}
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct slot *slot = manager->slots[i];
		uint64_t need = slot_pool_need_chunks(slot);

		slot->planned = slot->policy;
		slot->planned.min_bytes = slot_min_bytes(slot);
		plans[i].policy = &slot->planned;
		plans[i].pool_need_chunks = need == UINT64_MAX ? 0 : need;
	}
	r = entitle(manager->nodes, manager->n_nodes, plans, manager->n_slots, manager->node_plans,
		    &manager->any_plan);
	if (r < 0) {
		log_error("no plan could be made: %s; the old one stays", strerror(-r));
		free(plans);
		return NULL;
	}
	if (r == ENTITLE_OVERPROMISED)
		log_warning("guarantees exceed the memory of a node and were cut in proportion");
	return plans;
}

static void slot_plan_pool(struct slot *slot, const struct entitle_slot *plan)
{
	slot->pool_share_chunks = (uint32_t)plan->pool_share_chunks;
	slot->pool_guaranteed_chunks = (uint32_t)plan->pool_guaranteed_chunks;
}

void manager_replan_pools(struct manager *manager)
{
	CLEANUP(freep) struct entitle_slot *plans = manager_plan(manager);

	if (!plans)
		return;
	for (size_t i = 0; i < manager->n_slots; i++)
		slot_plan_pool(manager->slots[i], &plans[i]);
	for (size_t i = 0; i < manager->n_slots; i++)
		slot_divide_pool(manager->slots[i]);
}

void manager_replan(struct manager *manager, bool is_change)
{
	CLEANUP(freep) struct entitle_slot *plans = manager_plan(manager);
	CLEANUP(freep) uint64_t *old_shares = calloc(manager->n_slots + 1, sizeof(*old_shares));

	if (!plans || !old_shares)
		return;
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct slot *slot = manager->slots[i];

		old_shares[i] = slot->share_bytes;
		slot->share_bytes = plans[i].share_bytes;
		slot->guaranteed_bytes = plans[i].guaranteed_bytes;
		slot_plan_pool(slot, &plans[i]);
	}
	manager_write(manager, is_change, old_shares);
	admission_kick(manager);
}

/* ---- once a second */

static void verify_file(struct slot *slot, enum cgdir_file file, const char *name,
			uint64_t *written)
{
	uint64_t seen;

	if (*written == BYTES_UNLIMITED || cgdir_read_u64(slot->cg, file, &seen) != CGDIR_OK ||
	    seen == *written)
		return;
	events_add(slot->manager->events, LOG_LEVEL_WARNING, "foreign-writer",
		   MESSAGE_FOREIGN_WRITER, slot->policy.name,
		   "somebody else set %s of slot %s to %llu; back to %llu", name, slot->policy.name,
		   (unsigned long long)seen, (unsigned long long)*written);
	if (cgdir_write_u64(slot->cg, file, *written) != CGDIR_OK)
		log_debug("slot %s: %s could not be restored", slot->policy.name, name);
}

/* @slot: NULL for a group, which @of names. What is above a smaller max goes by reclaim, so it may
 * take a while. */
static void verify_limit(struct manager *manager, struct limit *limit, const char *slot,
			 const char *of, uint64_t now_ns)
{
	char was[FORMAT_BYTES_MAX], is[FORMAT_BYTES_MAX];
	enum cgdir_file file;
	uint64_t seen;

	if (!limit_verify(limit, now_ns, &file, &seen))
		return;
	events_add(manager->events, LOG_LEVEL_WARNING, "foreign-writer", MESSAGE_FOREIGN_WRITER,
		   slot, "somebody else set %s of %s to %s; back to %s",
		   file == CG_MEMORY_MAX ? "memory.max" : "memory.high", of,
		   format_bytes_exact(seen, was),
		   format_bytes_exact(file == CG_MEMORY_MAX ? limit->shrink.target_bytes
							    : BYTES_UNLIMITED,
				      is));
}

static void group_verify(struct node_group *group, uint64_t now_ns)
{
	char name[48] = "the slots without a node";

	if (group->node != NODE_ANY)
		(void)snprintf(name, sizeof(name), "the slots of node %d", group->node);
	if (group->has_limit)
		verify_limit(group->manager, &group->limit, NULL, name, now_ns);
}

static void slot_verify(struct slot *slot, uint64_t now_ns)
{
	char name[SLOT_NAME_MAX + 8];

	verify_file(slot, CG_MEMORY_MIN, "memory.min", &slot->min_written);
	verify_file(slot, CG_MEMORY_LOW, "memory.low", &slot->low_written);
	(void)snprintf(name, sizeof(name), "slot %s", slot->policy.name);
	if (slot->has_limit)
		verify_limit(slot->manager, &slot->limit, slot->policy.name, name, now_ns);
}

static void slot_sample(struct slot *slot, uint64_t now_ns)
{
	uint64_t usage;

	if (!slot->is_share_moving ||
	    cgdir_read_u64(slot->cg, CG_MEMORY_CURRENT, &usage) != CGDIR_OK)
		return;
	if (progress_sample(&slot->share_progress, now_ns, usage) != PROGRESS_MOVING)
		slot->is_share_moving = false;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	uint64_t now_ns = mono_now_ns();
	size_t n_verify = (manager->n_slots + VERIFY_TICKS - 1) / VERIFY_TICKS, next_group;

	if (tree_check(manager->tree) == CGDIR_GONE) {
		/* "systemctl stop taskmem-slots.scope" ended everything: begin anew. */
		events_add(manager->events, LOG_LEVEL_WARNING, "scope-stopped", NULL, NULL,
			   "%s was stopped with all tasks; restarting, the slots come back empty",
			   tree_path(manager->tree));
		return sd_event_exit(manager->event, 1);
	}
	for (size_t i = 0; i < manager->n_slots; i++)
		slot_sample(manager->slots[i], now_ns);
	histories_tick(manager, now_ns);
	admission_tick(manager, now_ns);
	manager_watch_tick(manager, now_ns);
	leftovers_tick(manager);
	advice_tick(manager, now_ns);
	manager_tick_revoke(manager);
	/* not with each page that is set apart: systemd is asked for it */
	manager_protect(manager);
	for (size_t i = 0; i < n_verify; i++)
		slot_verify(manager->slots[manager->next_verified++ % manager->n_slots], now_ns);
	next_group = manager->next_verified_group++ % MAX(manager->n_nodes + 1, VERIFY_TICKS);
	if (next_group <= manager->n_nodes)
		group_verify(&manager->groups[next_group], now_ns);
	(void)sd_event_source_set_time(source, mono_next_usec(usec, TICK_USEC));
	return 0;
}

/* ---- build and teardown */

/* Return: how many of the pages of 1 GiB that are wanted there are. More than these are others'. */
static uint64_t reserve_gigantic(const struct node_info *node)
{
	uint64_t have = 0;
	int r;

	if (node->gigantic_wanted == 0)
		return 0;
	r = hugetlb_reserve(node->node, PAGES_GIGANTIC, node->gigantic_wanted, &have);
	if (r < 0)
		log_warning("node %d: huge pages of 1 GiB cannot be reserved: %s", node->node,
			    strerror(-r));
	else if (have < node->gigantic_wanted)
		log_warning(
			"node %d: the kernel granted %llu of %llu huge pages of 1 GiB; it seldom "
			"finds as much in one piece: reserve them at boot with hugepagesz=1G "
			"hugepages=",
			node->node, (unsigned long long)have,
			(unsigned long long)node->gigantic_wanted);
	return MIN(have, node->gigantic_wanted);
}

static int manager_find_nodes(struct manager *manager, char error[static MANAGER_ERROR_MAX])
{
	int r = topology_read(manager->nodes, &manager->n_nodes);

	if (r < 0) {
		(void)snprintf(error, MANAGER_ERROR_MAX, "the NUMA nodes cannot be read: %s",
			       strerror(-r));
		return r;
	}
	for (size_t i = 0; i < manager->n_nodes; i++) {
		struct node_info *node = &manager->nodes[i];
		char why[CONFIG_ERROR_MAX];
		uint64_t have;

		r = config_node_budget(manager->config, node, node, why);
		if (r < 0) {
			(void)snprintf(error, MANAGER_ERROR_MAX, "%s", why);
			return r;
		}
		/* first what has to be in one piece */
		node->gigantic = reserve_gigantic(node);
		r = hugetlb_reserve(node->node, PAGES_HUGE, node->hugepages_wanted, &have);
		if (r < 0) {
			have = 0;
			if (node->hugepages_wanted > 0)
				log_warning("node %d: huge pages cannot be reserved: %s",
					    node->node, strerror(-r));
		}
		if (have < node->hugepages_wanted)
			log_warning(
				"node %d: the kernel granted %llu of %llu huge pages; memory is "
				"fragmented or full: reserve them at boot with hugepages=%s",
				node->node, (unsigned long long)have,
				(unsigned long long)node->hugepages_wanted,
				manager_may_fall_back(manager)
					? "; tasks that need more get transparent ones"
					: "");
		node->hugepages =
			pages_to_deal(manager_may_fall_back(manager), node->hugepages_wanted, have);
	}
	return 0;
}

static int group_open(struct manager *manager, struct node_group *group, int node)
{
	int r;

	group->node = node;
	group->manager = manager;
	group->control.fairness_permille = manager->config->fairness_permille;
	group->min_written = group->max_target = UINT64_MAX - 1;
	r = tree_open_group(manager->tree, node, &group->cg);
	if (r < 0)
		return r;
	if (!tree_get_controllers(manager->tree)->memory)
		return 0;
	r = limit_init(&group->limit, manager->event, manager->writer, group->cg);
	group->has_limit = r == 0;
	if (r == 0)
		group_watch_open(group);
	return r;
}

static int manager_open_tree(struct manager *manager, char error[static MANAGER_ERROR_MAX])
{
	struct tree_options options = {
		.cgroup_root = manager->config->cgroup_root,
		.pools_only = manager->config->enforce == CONFIG_ENFORCE_POOLS_ONLY,
		.without_hugetlb = manager_may_fall_back(manager),
	};
	char why[TREE_ERROR_MAX];
	int r = tree_open(&options, &manager->tree, why);

	if (r < 0) {
		(void)snprintf(error, MANAGER_ERROR_MAX, "%s", why);
		return r;
	}
	r = freeze_remember(manager->tree);
	if (r < 0)
		log_warning("if this daemon is killed, a slot that it has frozen then stays so "
			    "until it is started again: %s",
			    strerror(-r));
	/* nobody could be charged */
	for (size_t i = 0; i < manager->n_nodes && !tree_get_controllers(manager->tree)->hugetlb;
	     i++)
		manager->nodes[i].gigantic = 0;
	r = tree_attach_event(manager->tree, manager->event);
	if (r >= 0)
		r = writer_new(manager->event, &manager->writer);
	if (r >= 0 && tree_has_systemd(manager->tree)) {
		manager->hook_runner = hooks_new(manager->event);
		if (!manager->hook_runner)
			r = -ENOMEM;
	}
	for (size_t i = 0; i <= manager->n_nodes && r >= 0; i++)
		r = group_open(manager, &manager->groups[i],
			       i < manager->n_nodes ? manager->nodes[i].node : NODE_ANY);
	if (r < 0)
		(void)snprintf(error, MANAGER_ERROR_MAX, "the inner cgroups below %s: %s",
			       tree_path(manager->tree), strerror(-r));
	return r;
}

static int manager_open_state(struct manager *manager, char error[static MANAGER_ERROR_MAX])
{
	const char *directory = manager->config->state_directory;

	manager->state_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (manager->state_fd >= 0)
		return 0;
	(void)snprintf(error, MANAGER_ERROR_MAX, "the state directory %s: %s", directory,
		       strerror(errno));
	return -errno;
}

/* (gid_t)-1, which nobody has, when there is no such group: then only root administers. */
static gid_t find_admin_group(const char *name)
{
	const struct group *entry = getgrnam(name);

	if (entry)
		return entry->gr_gid;
	log_warning("there is no group \"%s\": only root may administer slots", name);
	return (gid_t)-1;
}

int manager_new(const struct config *config, sd_event *event, const struct manager_hooks *hooks,
		struct manager **ret_manager, char error[static MANAGER_ERROR_MAX])
{
	struct manager *manager = calloc(1, sizeof(*manager));
	int r = -ENOMEM;

	(void)snprintf(error, MANAGER_ERROR_MAX, "out of memory");
	if (!manager)
		return r;
	manager->config = config;
	manager->event = sd_event_ref(event);
	manager->hooks = *hooks;
	manager->state_fd = -1;
	list_init(&manager->leftovers);
	list_init(&manager->joins);
	manager->protected_bytes = UINT64_MAX;
	manager->admin_group = find_admin_group(config->group);
	manager->events = events_new(hooks->event, hooks->userdata);
	if (manager->events)
		r = manager_find_nodes(manager, error);
	if (r >= 0)
		r = manager_open_tree(manager, error);
	if (r >= 0)
		r = manager_open_state(manager, error);
	if (r >= 0)
		r = admission_open(manager, error);
	if (r >= 0)
		r = manager_open_revoke(manager);
	if (r >= 0)
		r = manager_restore(manager, error);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &manager->tick, CLOCK_MONOTONIC, TICK_USEC,
					       TICK_ACCURACY_USEC, on_tick, manager);
	if (r >= 0)
		r = sd_event_source_set_enabled(manager->tick, SD_EVENT_ON);
	if (r >= 0)
		r = manager_start_control(manager);
	if (r >= 0)
		r = manager_start_load(manager);
	if (r >= 0)
		r = heat_new(manager, &manager->heat);
	if (r < 0) {
		manager_free(manager);
		return r;
	}
	manager_replan(manager, /* is_change= */ false);
	/* not before: pages that are not theirs any more are out of reach now */
	for (size_t i = 0; i < manager->n_slots; i++)
		slot_thaw_found(manager->slots[i]);
	leftovers_begin(manager);
	*ret_manager = manager;
	return 0;
}

void manager_free(struct manager *manager)
{
	if (!manager)
		return;
	saver_free(manager->saver); /* before anything it may have to tell is gone */
	manager->saver = NULL;
	sd_event_source_disable_unref(manager->tick);
	sd_event_source_disable_unref(manager->control_tick);
	sd_event_source_disable_unref(manager->load_tick);
	admission_close(manager);
	manager_drop_joins(manager);
	leftovers_close(manager);
	while (manager->n_slots > 0)
		slot_close(manager->slots[manager->n_slots - 1]);
	manager_close_revoke(manager);
	hooks_free(manager->hook_runner);
	free(manager->slots);
	heat_close(manager->heat);
	state_free(manager->state);
	fd_closep(&manager->state_fd);
	for (size_t i = 0; i <= manager->n_nodes; i++) {
		group_watch_close(&manager->groups[i]);
		sd_event_source_disable_unref(manager->groups[i].early);
		if (manager->groups[i].has_limit)
			limit_deinit(&manager->groups[i].limit);
		cgdir_close(manager->groups[i].cg);
	}
	writer_free(manager->writer);
	tree_close(manager->tree);
	events_free(manager->events);
	sd_event_unref(manager->event);
	free(manager);
}

bool manager_is_enforcing(const struct manager *manager)
{
	return manager->config->enforce == CONFIG_ENFORCE_LIMITS;
}

const char *manager_tree_path(const struct manager *manager)
{
	return tree_path(manager->tree);
}

int manager_identify(const struct manager *manager, int socket_fd, struct peer *ret_peer,
		     int *ret_pidfd)
{
	return peer_read(socket_fd, manager->admin_group, tree_path(manager->tree), ret_peer,
			 ret_pidfd);
}

void manager_diagnose(const struct manager *manager,
		      struct host_check checks[static HOST_CHECKS_MAX], size_t *ret_n)
{
	host_diagnose(checks, ret_n);
	if (*ret_n < HOST_CHECKS_MAX)
		manager_check_pages(manager, &checks[(*ret_n)++]);
	if (*ret_n < HOST_CHECKS_MAX && manager_is_enforcing(manager))
		manager_check_triggers(manager, &checks[(*ret_n)++]);
}

struct events *manager_events(struct manager *manager)
{
	return manager->events;
}

const char *manager_status(const struct manager *manager, char *buf, size_t size)
{
	uint64_t n_chunks = 0;

	for (size_t i = 0; i < manager->n_slots; i++)
		n_chunks += manager->slots[i]->n_granted;
	(void)snprintf(buf, size, "%zu slots on %zu nodes, %llu MiB of buffer pools in use%s",
		       manager->n_slots, manager->n_nodes, (unsigned long long)n_chunks * 2,
		       manager_is_enforcing(manager) ? ""
						     : "; limits are NOT enforced (pools-only)");
	return buf;
}
