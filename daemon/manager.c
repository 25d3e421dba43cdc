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
 * opposite one. Between them every request ends in manager_replan() (manager_plan.c), and once a
 * second is looked at what others may have changed.
 */

#define TICK_USEC 1000000
#define TICK_ACCURACY_USEC 50000
/* A slot's limits are read back every so many ticks: someone else may have written them. */
#define VERIFY_TICKS ((size_t)10)

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
