/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mono.h"
#include "kern/freeze.h"
#include "message_ids.h"
#include "saver.h"

/*
 * A cgroup lives and dies below its parent, so a slot that goes to another node gets another
 * cgroup; the old one is noted to belong there, and the state file says where the slot is. Of a
 * daemon that was killed on the way the next one finds two cgroups: the slot is where the file
 * says, and the other is what is left of it, of which it goes on to bring the tasks there, or back
 * (manager_restore.c).
 *
 * Huge pages of pools do not move: a task may have registered them with io_uring, which pins them,
 * and their charge would stay on the old node, where it is guaranteed to others.
 */

/* ---- the other cgroup */

/* Makes the slot's cgroup there, or takes up the one that it once left. */
static int open_place(struct manager *manager, const struct slot_policy *policy,
		      struct cgdir **ret_cg)
{
	CLEANUP(cgdir_closep) struct cgdir *cg = NULL;
	struct leftover *own = leftover_find(manager, policy->name, policy->node);
	bool is_populated = true;
	int r = tree_create_slot(manager->tree, policy, &cg);

	if (r < 0)
		return r;
	if (r > 0 && !own && (cgdir_is_populated(cg, &is_populated) != CGDIR_OK || is_populated))
		return -EEXIST; /* not ours */
	r = r > 0 ? tree_bind_slot(manager->tree, policy->node, cg) : 0;
	if (r < 0)
		return r;
	leftover_free(own);
	*ret_cg = TAKE(cg);
	return 0;
}

static void note_left(const struct slot *slot, struct cgdir *old)
{
	CLEANUP(freep) char *text = NULL;

	if (slot_policy_to_json(&slot->policy, &text) < 0 ||
	    cgdir_set_policy(old, text) != CGDIR_OK)
		log_debug("slot %s: where it went could not be noted on the cgroup it left",
			  slot->policy.name);
}

static enum fault_kind relocate(struct slot *slot, const struct slot_policy *policy, done_fn done,
				void *userdata, struct fault *fault)
{
	struct manager *manager = slot->manager;
	struct slot_policy old = slot->policy;
	struct cgdir *cg = NULL, *old_cg = slot->cg;
	struct leftover *left = NULL;
	bool was_empty = !slot_is_populated(slot);
	int r = open_place(manager, policy, &cg);

	if (r == 0) {
		r = leftover_new(manager, old.name, old.node, old_cg, &left);
		if (r < 0) {
			cgdir_close(cg);
			(void)tree_remove_slot(manager->tree, policy->node, policy->name);
		}
	}
	if (r < 0)
		return fault_set(fault, FAULT_FAILED, "its cgroup on node %d could not be made: %s",
				 policy->node, strerror(-r));
	slot_leave_cgroup(slot); /* what we had frozen runs again */
	if (freeze_follow(old_cg, cg) < 0)
		log_warning("slot %s: it was frozen on node %d, and is not on node %d", old.name,
			    old.node, policy->node);
	slot->policy = *policy;
	if (slot_enter_cgroup(slot, cg) < 0)
		log_error("slot %s: memory.max stays as it is for want of memory", policy->name);
	slot_note_policy(slot);
	note_left(slot, old_cg);
	advice_note_moved(&slot->advice, mono_now_ns());
	manager_replan(manager, /* is_change= */ true);
	slot->is_share_moving = false;
	if (was_empty)
		leftover_drop(left);
	if (done)
		leftover_set_done(left, done, userdata);
	leftover_begin(left);
	return FAULT_NONE;
}

enum fault_kind slot_relocate(struct slot *slot, const struct slot_policy *policy, done_fn done,
			      void *userdata, struct fault *fault)
{
	struct manager *manager = slot->manager;
	enum fault_kind kind = manager_record(manager, policy, fault);

	if (kind != FAULT_NONE)
		return kind;
	kind = relocate(slot, policy, done, userdata, fault);
	if (kind != FAULT_NONE)
		saver_cancel(manager->saver, policy->name);
	return kind;
}

bool slot_move_back(struct slot *slot, const struct slot_policy *old)
{
	struct leftover *left = leftover_find(slot->manager, old->name, old->node);
	struct fault fault = { .node = NODE_ANY };

	if (!list_is_empty(&slot->grants))
		return false;
	(void)fault_set(&fault, FAULT_FAILED,
			"the state file could not be written: slot %s goes back to node %d",
			old->name, old->node);
	if (left)
		leftover_answer(left, fault.kind, &fault);
	return relocate(slot, old, NULL, NULL, &fault) == FAULT_NONE;
}

/* ---- joins that wait */

struct join {
	struct list in_manager;
	char name[SLOT_NAME_MAX + 1];
	pid_t pid;
	int pidfd;
	done_fn done;
	void *userdata;
};

static void join_free(struct join *join)
{
	list_remove(&join->in_manager);
	fd_closep(&join->pidfd);
	free(join);
}

static enum fault_kind join_now(struct manager *manager, const struct join *join,
				struct fault *fault)
{
	struct slot *slot = manager_find_slot(manager, join->name);
	int r;

	if (!slot)
		return fault_set(fault, FAULT_NO_SUCH_SLOT, "no slot %s", join->name);
	if (slot->removal)
		return fault_set(fault, FAULT_FAILED, "slot %s is being removed", join->name);
	slot_place_anew(slot);
	r = tree_attach(manager->tree, slot->policy.node, join->name, join->pid, join->pidfd);
	if (r < 0)
		return fault_set(fault, FAULT_FAILED, "process %d could not be moved: %s",
				 (int)join->pid, strerror(-r));
	events_add(manager->events, LOG_LEVEL_INFO, "task-joined", MESSAGE_TASK_JOINED, join->name,
		   "process %d joined slot %s", (int)join->pid, join->name);
	return FAULT_NONE;
}

static void join_end(struct manager *manager, struct join *join)
{
	struct fault fault = { .node = NODE_ANY };
	enum fault_kind kind;
	done_fn done = join->done;
	void *userdata = join->userdata;

	(void)snprintf(fault.name, sizeof(fault.name), "%s", join->name);
	kind = join_now(manager, join, &fault);
	join_free(join);
	/* it may have been placed anew */
	manager_answer(manager, fault.name, kind, &fault, done, userdata);
}

void manager_resume_joins(struct manager *manager)
{
	while (!list_is_empty(&manager->joins) && leftovers_are_still(manager))
		join_end(manager, list_entry(manager->joins.next, struct join, in_manager));
}

void manager_join(struct manager *manager, const char *name, pid_t pid, int pidfd, done_fn done,
		  void *userdata)
{
	struct join *join = calloc(1, sizeof(*join));
	struct fault fault = { .node = NODE_ANY };

	if (!join) {
		done(fault_set(&fault, FAULT_FAILED, "out of memory"), &fault, userdata);
		return;
	}
	(void)snprintf(join->name, sizeof(join->name), "%s", name);
	join->pid = pid;
	join->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
	join->done = done;
	join->userdata = userdata;
	list_append(&manager->joins, &join->in_manager);
	if (join->pidfd < 0) {
		join_free(join);
		done(fault_set(&fault, FAULT_FAILED, "too many open files"), &fault, userdata);
		return;
	}
	manager_resume_joins(manager);
}

void manager_drop_joins(struct manager *manager)
{
	while (!list_is_empty(&manager->joins))
		join_free(list_entry(manager->joins.next, struct join, in_manager));
}

/* ---- move */

static enum fault_kind refuse_grants(const struct slot *slot, struct fault *fault)
{
	struct grant *grant;
	uint32_t n = 0;

	LIST_FOREACH(&slot->grants, grant, in_slot)
		n++;
	if (n == 0)
		return FAULT_NONE;
	fault->node = slot->policy.node;
	fault->needed = slot->n_granted * CHUNK_BYTES;
	return fault_set(
		fault, FAULT_REFUSED,
		"%u tasks of slot %s hold %u huge pages on its node, which cannot move: let "
		"them detach (tm_slot_detach()) or end, then move it",
		n, slot->policy.name, slot->n_granted);
}

static enum fault_kind check_movable(const struct slot *slot, struct fault *fault)
{
	const struct slot_policy *policy = &slot->policy;

	if (slot->removal)
		return fault_set(fault, FAULT_FAILED, "slot %s is being removed", policy->name);
	if (leftover_find(slot->manager, policy->name, NODES_MAX))
		return fault_set(fault, FAULT_FAILED,
				 "slot %s is still on its way to node %d: wait until \"tmctl show "
				 "%s\" has no move pending",
				 policy->name, policy->node, policy->name);
	return FAULT_NONE;
}

/* It stays; only who chooses its node from now on may have changed. */
static enum fault_kind keep_place(struct slot *slot, bool is_node_auto, struct fault *fault)
{
	struct slot_policy policy = slot->policy;
	enum fault_kind kind = FAULT_NONE;

	if (policy.is_node_auto == is_node_auto)
		return FAULT_NONE;
	policy.is_node_auto = is_node_auto;
	kind = manager_record(slot->manager, &policy, fault);
	if (kind != FAULT_NONE)
		return kind;
	slot->policy = policy;
	slot_note_policy(slot);
	return FAULT_NONE;
}

void manager_move(struct manager *manager, const struct move_request *request, done_fn done,
		  void *userdata)
{
	struct slot *slot = manager_find_slot(manager, request->name);
	struct fault fault = { .node = NODE_ANY };
	struct slot_policy policy;
	enum fault_kind kind;
	bool was_empty;
	int old_node;

	(void)snprintf(fault.name, sizeof(fault.name), "%s", request->name);
	if (!slot) {
		done(fault_set(&fault, FAULT_NO_SUCH_SLOT, "no slot %s", request->name), &fault,
		     userdata);
		return;
	}
	kind = check_movable(slot, &fault);
	if (kind == FAULT_NONE)
		kind = slot_admit_on(slot, request->choose_node ? NODE_BEST : request->node,
				     &policy, &fault);
	if (kind == FAULT_NONE && policy.node == slot->policy.node) {
		kind = keep_place(slot, request->choose_node, &fault);
		manager_answer(manager, fault.name, kind, &fault, done, userdata);
		return;
	}
	if (kind == FAULT_NONE)
		kind = refuse_grants(slot, &fault);
	if (kind == FAULT_REFUSED)
		events_add(manager->events, LOG_LEVEL_NOTICE, "refused", MESSAGE_REFUSED,
			   request->name, "slot %s refused: %s", request->name, fault.message);
	policy.is_node_auto = request->choose_node;
	was_empty = !slot_is_populated(slot);
	old_node = slot->policy.node;
	if (kind == FAULT_NONE)
		kind = slot_relocate(slot, &policy, done, userdata, &fault);
	if (kind != FAULT_NONE)
		done(kind, &fault, userdata);
	else if (was_empty)
		events_add(manager->events, LOG_LEVEL_INFO, "slot-moved", MESSAGE_SLOT_MOVED,
			   policy.name, "slot %s, empty, moved from node %d to node %d",
			   policy.name, old_node, policy.node);
}
