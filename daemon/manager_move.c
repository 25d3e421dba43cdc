/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

/*
 * A cgroup lives and dies below its parent, so a slot that goes to another node gets another
 * cgroup. The state file says first where it is to be. A daemon that was killed at any point
 * after that makes the new cgroup when it starts (manager_restore.c) and removes the old one.
 */

/* The old node holds again, in the state file too. */
static void put_back(struct manager *manager, const struct slot_policy *old)
{
	if (state_put(manager->state, old) < 0 || manager_save(manager) < 0)
		log_error("slot %s could not be put back into the state file", old->name);
}

enum fault_kind slot_relocate(struct slot *slot, const struct slot_policy *policy,
			      struct fault *fault)
{
	struct manager *manager = slot->manager;
	struct slot_policy old = slot->policy;
	struct cgdir *cg = NULL;
	enum fault_kind kind = manager_record(manager, policy, &old, fault);
	int r;

	if (kind != FAULT_NONE)
		return kind;
	r = tree_create_slot(manager->tree, policy, &cg);
	if (r < 0) {
		put_back(manager, &old);
		return fault_set(fault, FAULT_FAILED, "its cgroup could not be made: %s",
				 strerror(-r));
	}
	slot_leave_cgroup(slot);
	slot->policy = *policy;
	if (slot_enter_cgroup(slot, cg) < 0)
		log_error("slot %s: memory.max stays as it is for want of memory", policy->name);
	slot_note_policy(slot);
	if (tree_remove_slot(manager->tree, old.node, old.name) != CGDIR_OK)
		log_warning("slot %s: its cgroup on node %d is left behind", old.name, old.node);
	manager_replan(manager, /* is_change= */ true);
	slot->is_share_moving = false;
	return FAULT_NONE;
}
