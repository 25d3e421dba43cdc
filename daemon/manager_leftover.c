/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mono.h"
#include "kern/freeze.h"
#include "message_ids.h"

/*
 * The cgroup that a slot leaves behind when it changes its node. Three things happen to it, in
 * this order, and each may be begun again at any time:
 *
 *   migrating   its cpuset.mems becomes the new node. In cgroup v2 that moves the pages of all its
 *               processes, and the write returns when they are there (v2 has no memory_migrate
 *               file: every cpuset has that flag, cpuset_css_alloc() in 6.12). Unmapped page
 *               cache, pinned pages and what finds no room stay. This is done before the
 *               processes go: putting one into a cgroup with another node moves its pages too,
 *               but under the lock of all cgroups (6.12), so that nothing on the host could be
 *               started meanwhile.
 *   emptying    processes are put into the new cgroup one by one, with all their threads, until
 *               none is left. One that forks meanwhile leaves a child here, which the next look
 *               finds; who forks faster than that is frozen for the rest, and thawed by arriving.
 *   draining    pages were migrated, their charge was not: the kernel never moves that. It goes
 *               when the pages are freed. Until then they are protected here, and the limits of
 *               the two nodes' groups are corrected by what lies where.
 *
 * On 6.12 putting any process into any cgroup waits for pages that are being migrated
 * (cpuset_post_attach()). So while they are, joins wait in the daemon, not in the kernel.
 */

/* Less is kernel memory that nobody counts on: page tables, the cgroup itself. */
#define DRAINED_BYTES (UINT64_C(1) << 20)
#define PIDS_MAX 128 /* put over before the next look */
/* When so many looks were not enough they fork faster than they are moved, and are frozen. */
#define LOOKS_BEFORE_FREEZE 32
#define PAUSE_USEC 20000
/* One that cannot be moved is tried again, more and more seldom, up to this. */
#define PAUSE_MAX_USEC 1000000
/* The caller of a move gets its answer by now; it goes on. */
#define ANSWER_USEC (45U * 1000000U)
/* Limits of groups are written again only for this much. */
#define GRAIN_BYTES (UINT64_C(1) << 20)

enum leftover_phase { LEFTOVER_MIGRATING, LEFTOVER_EMPTYING, LEFTOVER_DRAINING };

struct leftover {
	struct list in_manager;
	struct manager *manager;
	char name[SLOT_NAME_MAX + 1];
	int node; /* where the cgroup is */
	struct cgdir *cg;
	enum leftover_phase phase;
	struct write_op *op;
	sd_event_source *timer;
	pid_t pids[PIDS_MAX];
	size_t n_pids, next;
	uint32_t n_looks, n_moved, n_moved_before; /* before this look */
	uint64_t pause_usec;
	int error;        /* of the last process that could not be moved */
	bool is_dropped;  /* removed as soon as it is empty, whatever is charged */
	uint64_t n_bytes; /* on its own node when it began */
	uint64_t charge_bytes, low_bytes;
	uint64_t node_bytes[NODES_MAX];
	done_fn done;
	void *userdata;
	sd_event_source *answer;
};

/* ---- the object */

int leftover_new(struct manager *manager, const char *name, int node, struct cgdir *cg,
		 struct leftover **ret_leftover)
{
	struct leftover *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->manager = manager;
	(void)snprintf(l->name, sizeof(l->name), "%s", name);
	l->node = node;
	l->cg = cg;
	l->phase = LEFTOVER_DRAINING;
	l->low_bytes = UINT64_MAX;
	list_append(&manager->leftovers, &l->in_manager);
	*ret_leftover = l;
	return 0;
}

void leftover_answer(struct leftover *l, enum fault_kind kind, const struct fault *fault)
{
	done_fn done = TAKE(l->done);

	l->answer = sd_event_source_disable_unref(l->answer);
	if (done)
		manager_answer(l->manager, l->name, kind, fault, done, l->userdata);
}

void leftover_free(struct leftover *l)
{
	if (!l)
		return;
	list_remove(&l->in_manager);
	if (l->op)
		writer_cancel(l->manager->writer, l->op);
	sd_event_source_disable_unref(l->timer);
	sd_event_source_disable_unref(l->answer);
	cgdir_close(l->cg);
	free(l);
}

static bool is_populated(const struct leftover *l)
{
	bool yes = false;

	return cgdir_is_populated(l->cg, &yes) == CGDIR_OK && yes;
}

struct leftover *leftover_find(const struct manager *manager, const char *name, int node)
{
	struct leftover *l;

	LIST_FOREACH(&manager->leftovers, l, in_manager)
		if (strcmp(l->name, name) == 0 &&
		    (node == NODES_MAX ? is_populated(l) : l->node == node))
			return l;
	return NULL;
}

static int on_answer_due(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct fault none = { .node = NODE_ANY };

	(void)source;
	(void)usec;
	leftover_answer(userdata, FAULT_NONE, &none);
	return 0;
}

void leftover_set_done(struct leftover *l, done_fn done, void *userdata)
{
	l->done = done;
	l->userdata = userdata;
	if (sd_event_add_time_relative(l->manager->event, &l->answer, CLOCK_MONOTONIC, ANSWER_USEC,
				       0, on_answer_due, l) < 0)
		l->answer = NULL; /* then the answer comes when it is done */
}

/* ---- draining */

static void measure(struct leftover *l)
{
	uint64_t swap = 0, huge = 0;

	if (cgdir_read_u64(l->cg, CG_MEMORY_CURRENT, &l->charge_bytes) != CGDIR_OK)
		l->charge_bytes = 0;
	if (cgdir_read_u64(l->cg, CG_MEMORY_SWAP_CURRENT, &swap) == CGDIR_OK)
		l->charge_bytes += swap;
	if (cgdir_read_u64(l->cg, CG_HUGETLB_CURRENT, &huge) == CGDIR_OK)
		l->charge_bytes += huge;
	if (cgdir_read_u64(l->cg, CG_GIGANTIC_CURRENT, &huge) == CGDIR_OK)
		l->charge_bytes += huge;
	if (cgdir_read_numa(l->cg, CG_MEMORY_NUMA_STAT, l->node_bytes) != CGDIR_OK)
		memset(l->node_bytes, 0, sizeof(l->node_bytes));
}

/* What is charged to the group of @l's node and lies elsewhere. Not for slots on any node, whose
 * pages lie on all. */
static void correct_groups(struct manager *manager)
{
	for (size_t k = 0; k < manager->n_nodes; k++) {
		struct node_group *group = &manager->groups[k];
		uint64_t away = 0, guests = 0;
		struct leftover *l;

		LIST_FOREACH(&manager->leftovers, l, in_manager) {
			if (l->phase != LEFTOVER_DRAINING || l->node == NODE_ANY)
				continue;
			for (size_t i = 0; i < manager->n_nodes; i++) {
				int node = manager->nodes[i].node;

				if (l->node == group->node && node != group->node)
					away += l->node_bytes[node];
				if (l->node != group->node && node == group->node)
					guests += l->node_bytes[node];
			}
		}
		away -= away % GRAIN_BYTES;
		guests -= guests % GRAIN_BYTES;
		if (away == group->away_bytes && guests == group->guest_bytes && guests == 0)
			continue;
		group->away_bytes = away;
		group->guest_bytes = guests;
		manager_write_group_max(manager, group);
	}
}

/* Guests take from what the others may have, but never so much at once that memory which a task
 * frees among them and takes anew in the slot's own cgroup would find no room. */
uint64_t leftovers_group_max(const struct node_group *group, uint64_t max_bytes)
{
	uint64_t room = max_bytes / 8, usage, least;

	max_bytes += group->away_bytes;
	if (group->guest_bytes == 0 ||
	    cgdir_read_u64(group->cg, CG_MEMORY_CURRENT, &usage) != CGDIR_OK)
		return max_bytes;
	least = MIN(max_bytes, usage + room) / GRAIN_BYTES * GRAIN_BYTES;
	return MAX(max_bytes - MIN(group->guest_bytes, max_bytes), least);
}

/* Return: true if it is gone, and @l with it. */
static bool leftover_remove(struct leftover *l)
{
	struct manager *manager = l->manager;
	int r = tree_remove_slot(manager->tree, l->node, l->name);

	if (r != CGDIR_OK)
		return false; /* the kernel lets its last process go: again in a second */
	if (!l->is_dropped)
		events_add(manager->events, LOG_LEVEL_INFO, "drained", NULL, l->name,
			   "slot %s has nothing left on node %d", l->name, l->node);
	leftover_free(l);
	correct_groups(manager);
	return true;
}

/* Page cache is nobody's here any more: whoever reads it again has it in the new place. So only
 * what cannot be had again is protected. */
static void protect(struct leftover *l)
{
	struct cgdir_stat stat;
	uint64_t low;

	if (cgdir_read_stat(l->cg, &stat) != CGDIR_OK)
		return;
	low = (stat.anon + stat.shmem) / GRAIN_BYTES * GRAIN_BYTES;
	if (low != l->low_bytes && cgdir_write_u64(l->cg, CG_MEMORY_LOW, low) == CGDIR_OK)
		l->low_bytes = low;
}

static bool leftover_drain(struct leftover *l)
{
	measure(l);
	if (l->is_dropped || l->charge_bytes < DRAINED_BYTES)
		return leftover_remove(l);
	protect(l);
	return false;
}

static void leftover_settle(struct leftover *l)
{
	struct manager *manager = l->manager;
	const struct slot *slot = manager_find_slot(manager, l->name);
	struct fault none = { .node = NODE_ANY };
	char left[FORMAT_BYTES_MAX];

	l->phase = LEFTOVER_DRAINING;
	/* A slot that comes back finds it as a new one is. */
	(void)!freeze_end(l->cg);
	(void)!cgdir_write_u64(l->cg, CG_MEMORY_MIN, 0);
	if (tree_bind_slot(manager->tree, l->node, l->cg) < 0)
		log_debug("slot %s: what it left on node %d keeps its cpuset", l->name, l->node);
	measure(l);
	if (slot && !l->is_dropped)
		events_add(manager->events, LOG_LEVEL_INFO, "slot-moved", MESSAGE_SLOT_MOVED,
			   l->name,
			   "slot %s moved from node %d to node %d with %u processes; %s stays "
			   "charged on node %d until it is freed",
			   l->name, l->node, slot->policy.node, l->n_moved,
			   format_bytes(l->charge_bytes, left), l->node);
	leftover_answer(l, FAULT_NONE, &none);
	if (!leftover_drain(l))
		correct_groups(manager);
}

/* ---- emptying */

static void leftover_look(struct leftover *l);
static void leftover_put_next(struct leftover *l);

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	leftover_look(userdata);
	return 0;
}

static void leftover_pause(struct leftover *l)
{
	l->timer = sd_event_source_disable_unref(l->timer);
	if (sd_event_add_time_relative(l->manager->event, &l->timer, CLOCK_MONOTONIC, l->pause_usec,
				       1000, on_pause_over, l) < 0)
		log_error("slot %s: processes are left on node %d", l->name, l->node);
	l->pause_usec = MIN(2 * l->pause_usec, (uint64_t)PAUSE_MAX_USEC);
}

static void on_put(int result, void *userdata)
{
	struct leftover *l = userdata;

	l->op = NULL;
	l->n_moved += result >= 0;
	if (result < 0 && result != -ESRCH) /* it has ended: fine */
		l->error = result;
	l->next++;
	leftover_put_next(l);
}

static void leftover_put_next(struct leftover *l)
{
	struct slot *slot = manager_find_slot(l->manager, l->name);
	char text[16];
	int fd;

	if (!slot)
		return; /* it is dropped with the slot */
	if (l->next == l->n_pids) {
		if (l->n_moved > l->n_moved_before)
			l->pause_usec = PAUSE_USEC;
		leftover_pause(l);
		return;
	}
	(void)snprintf(text, sizeof(text), "%d", (int)l->pids[l->next]);
	fd = cgdir_file_fd(slot->cg, CG_CGROUP_PROCS);
	if (fd >= 0)
		fd = writer_submit(l->manager->writer, fd, text, on_put, l, &l->op);
	if (fd < 0) {
		l->error = fd;
		leftover_pause(l);
	}
}

static void tell_stuck(struct leftover *l)
{
	if (l->n_moved > l->n_moved_before || l->n_looks % LOOKS_BEFORE_FREEZE != 0)
		return;
	log_warning("slot %s: %zu processes are still in its cgroup on node %d%s%s; trying on",
		    l->name, l->n_pids, l->node, l->error ? ": " : "",
		    l->error ? strerror(-l->error) : "");
}

static void leftover_look(struct leftover *l)
{
	int r = cgdir_list_processes(l->cg, l->pids, PIDS_MAX, &l->n_pids);

	if (r == CGDIR_GONE || (r == CGDIR_OK && l->n_pids == 0 && !is_populated(l))) {
		leftover_settle(l);
		return;
	}
	l->n_looks++;
	tell_stuck(l);
	if (l->n_looks == LOOKS_BEFORE_FREEZE &&
	    freeze_begin(l->cg, /* takes_pages= */ false) != CGDIR_OK)
		log_debug("slot %s: what is left on node %d cannot be frozen", l->name, l->node);
	l->n_moved_before = l->n_moved;
	l->next = 0;
	if (r != CGDIR_OK)
		l->n_pids = 0;
	leftover_put_next(l);
}

/* ---- migrating */

bool leftovers_are_still(const struct manager *manager)
{
	struct leftover *l;

	LIST_FOREACH(&manager->leftovers, l, in_manager)
		if (l->phase == LEFTOVER_MIGRATING)
			return false;
	return true;
}

static void leftover_empty(struct leftover *l)
{
	l->phase = LEFTOVER_EMPTYING;
	l->n_looks = 0;
	l->pause_usec = PAUSE_USEC;
	manager_resume_joins(l->manager);
	leftover_look(l);
}

static void on_migrated(int result, void *userdata)
{
	struct leftover *l = userdata;

	l->op = NULL;
	if (result < 0)
		log_warning("slot %s: the pages of its processes stay on node %d for now: %s",
			    l->name, l->node, strerror(-result));
	leftover_empty(l);
}

void leftover_begin(struct leftover *l)
{
	struct manager *manager = l->manager;
	const struct slot *slot = manager_find_slot(manager, l->name);
	char nodes[TREE_NODES_MAX];
	int r;

	if (!is_populated(l)) {
		struct fault none = { .node = NODE_ANY };

		leftover_answer(l, FAULT_NONE, &none);
		(void)!leftover_drain(l);
		return;
	}
	if (!slot) {
		log_warning("slot %s is gone; processes of it on node %d are left alone", l->name,
			    l->node);
		leftover_free(l);
		return;
	}
	measure(l);
	l->n_bytes = l->node == NODE_ANY ? 0 : l->node_bytes[l->node];
	l->phase = LEFTOVER_MIGRATING;
	r = tree_list_nodes(manager->tree, slot->policy.node, nodes);
	if (r == 0)
		r = cgdir_file_fd(l->cg, CG_CPUSET_MEMS);
	if (r >= 0)
		r = writer_submit(manager->writer, r, nodes, on_migrated, l, &l->op);
	if (r < 0) /* there is no cpuset, or it cannot be written */
		leftover_empty(l);
}

void leftover_drop(struct leftover *l)
{
	l->is_dropped = true;
}

/* ---- all of them */

void leftovers_begin(struct manager *manager)
{
	struct leftover *l;

	LIST_FOREACH(&manager->leftovers, l, in_manager)
		leftover_begin(l);
	correct_groups(manager);
}

void leftovers_tick(struct manager *manager)
{
	struct leftover *l;

	if (list_is_empty(&manager->leftovers))
		return;
	LIST_FOREACH(&manager->leftovers, l, in_manager) {
		if (l->phase != LEFTOVER_DRAINING)
			continue;
		if (!l->is_dropped && is_populated(l)) /* somebody has put a process in */
			leftover_begin(l);
		else
			(void)!leftover_drain(l);
	}
	correct_groups(manager);
}

void leftovers_close(struct manager *manager)
{
	while (!list_is_empty(&manager->leftovers))
		leftover_free(list_entry(manager->leftovers.next, struct leftover, in_manager));
}

void leftovers_drop(struct manager *manager, const char *name)
{
	struct leftover *l;

	LIST_FOREACH(&manager->leftovers, l, in_manager) {
		struct fault fault = { .node = NODE_ANY };

		if (strcmp(l->name, name) != 0)
			continue;
		if (l->op)
			writer_cancel(manager->writer, l->op);
		l->op = NULL;
		l->timer = sd_event_source_disable_unref(l->timer);
		l->phase = LEFTOVER_DRAINING;
		l->is_dropped = true;
		leftover_answer(l, fault_set(&fault, FAULT_FAILED, "slot %s was removed", name),
				&fault);
		(void)!leftover_remove(l);
	}
	manager_resume_joins(manager);
}

bool slot_is_populated(const struct slot *slot)
{
	bool yes = false;

	return (cgdir_is_populated(slot->cg, &yes) == CGDIR_OK && yes) ||
	       leftover_find(slot->manager, slot->policy.name, NODES_MAX) != NULL;
}

int slot_kill_processes(struct slot *slot)
{
	struct leftover *l;

	LIST_FOREACH(&slot->manager->leftovers, l, in_manager)
		if (strcmp(l->name, slot->policy.name) == 0)
			(void)!cgdir_write_u64(l->cg, CG_CGROUP_KILL, 1);
	return cgdir_write_u64(slot->cg, CG_CGROUP_KILL, 1);
}

void leftovers_view(const struct slot *slot, struct slot_view *view)
{
	struct leftover *l;

	LIST_FOREACH(&slot->manager->leftovers, l, in_manager) {
		struct left_view *left = &view->left[view->n_left];

		if (strcmp(l->name, slot->policy.name) != 0 || l->is_dropped ||
		    view->n_left == LEFT_MAX)
			continue;
		measure(l);
		*left = (struct left_view){ .node = l->node, .bytes = l->charge_bytes };
		if (cgdir_count_processes(l->cg, &left->n_processes) != CGDIR_OK)
			left->n_processes = 0;
		view->n_processes += left->n_processes;
		if (l->phase != LEFTOVER_DRAINING) {
			left->is_moving = true;
			left->from_bytes = l->n_bytes;
			left->now_bytes = l->node == NODE_ANY ? 0 : l->node_bytes[l->node];
		}
		view->n_left++;
	}
}
