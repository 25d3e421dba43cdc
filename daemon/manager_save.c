/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "saver.h"

/*
 * The state file, and what becomes of changes that do not get into it: each is taken back as if the
 * request had been refused, in the kernel too. Exceptions are rare, for it happens within the time
 * of one write, and are told: a slot in which a process runs by then is not removed, one whose
 * tasks have got huge pages by then keeps their kind and its node, and one that had been removed
 * comes back with another, empty cgroup.
 */

static bool undo_new(struct slot *slot)
{
	return !slot_is_populated(slot) && slot_destroy(slot) == CGDIR_OK;
}

static bool undo_removal(struct manager *manager, const struct slot_policy *old)
{
	struct slot *slot;
	int r = slot_open(manager, old, &slot);

	/* as after a restart, what the state has and cannot be made stays there */
	if (r < 0)
		log_error("slot %s could not be made again: %s", old->name, strerror(-r));
	else
		slot_note_policy(slot);
	return true;
}

static bool undo_policy(struct slot *slot, const struct slot_policy *old)
{
	bool is_other_hook = strcmp(old->on_resize, slot->policy.on_resize) != 0;

	if (old->node != slot->policy.node)
		return slot_move_back(slot, old);
	if (old->is_gigantic != slot->policy.is_gigantic && !list_is_empty(&slot->grants))
		return false;
	slot->policy = *old;
	if (is_other_hook)
		hook_reset(slot);
	slot_note_policy(slot);
	return true;
}

static bool undo(const struct saver_change *change, void *userdata)
{
	struct manager *manager = userdata;
	struct slot *slot = manager_find_slot(manager, change->name);
	bool is_done;

	if (change->is_removed)
		is_done = !slot && undo_removal(manager, &change->old);
	else if (!slot)
		is_done = true;
	else
		is_done = change->is_new ? undo_new(slot) : undo_policy(slot, &change->old);
	if (is_done)
		manager_replan(manager, /* is_change= */ true);
	else
		log_warning("slot %s stays as it is, because its tasks use it already",
			    change->name);
	return is_done;
}

static void on_failure(int error, size_t n_changes, void *userdata)
{
	const struct manager *manager = userdata;
	char what[80] = "what has changed is lost if the machine stops";

	if (n_changes > 0)
		(void)snprintf(what, sizeof(what), "what was changed, %zu times, is taken back",
			       n_changes);
	events_add(manager->events, LOG_LEVEL_ERROR, "state-not-saved", NULL, NULL, "%s/%s: %s; %s",
		   manager->config->state_directory, STATE_FILE, strerror(-error), what);
}

int manager_open_saver(struct manager *manager)
{
	const struct saver_hooks hooks = {
		.failed = on_failure,
		.undo = undo,
		.userdata = manager,
	};
	int r = state_save(manager->state_fd, manager->state);

	if (r < 0) {
		on_failure(r, 0, manager);
		return r;
	}
	return saver_new(manager->event, manager->state_fd, manager->config->state_directory,
			 manager->state, &hooks, &manager->saver);
}

enum fault_kind manager_record(struct manager *manager, const struct slot_policy *policy,
			       struct fault *fault)
{
	if (saver_put(manager->saver, policy) < 0)
		return fault_set(fault, FAULT_FAILED, "out of memory");
	return FAULT_NONE;
}

void manager_answer(struct manager *manager, const char *name, enum fault_kind kind,
		    const struct fault *fault, done_fn done, void *userdata)
{
	if (kind != FAULT_NONE || !manager->saver)
		done(kind, fault, userdata);
	else
		saver_answer(manager->saver, name, done, userdata);
}
