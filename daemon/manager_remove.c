/* SPDX-License-Identifier: Apache-2.0 */

/* The end of a slot: at once where nothing runs in it, else when what ran in it is dead. */

#include "manager_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mono.h"
#include "message_ids.h"
#include "saver.h"

/* How long RemoveSlot(kill) waits for processes in uninterruptible sleep, and how often it
 * looks: exit after SIGKILL takes milliseconds, more when much memory is to be freed. */
#define REMOVAL_TIMEOUT_NS (10 * NS_PER_SEC)
#define REMOVAL_POLL_USEC 20000

struct removal {
	struct slot *slot;
	done_fn done;
	void *userdata;
	sd_event_source *timer;
	uint64_t deadline_ns;
};

void removal_free(struct removal *removal)
{
	if (!removal)
		return;
	removal->slot->removal = NULL;
	sd_event_source_disable_unref(removal->timer);
	free(removal);
}

int slot_destroy(struct slot *slot)
{
	struct manager *manager = slot->manager;
	char name[SLOT_NAME_MAX + 1];
	int r;

	memcpy(name, slot->policy.name, sizeof(name));
	slot_release_grants(slot);
	cgdir_forget_killed(slot->cg);
	r = tree_remove_slot(manager->tree, slot->policy.node, name);
	if (r != CGDIR_OK)
		return r;
	slot_close(slot);
	leftovers_drop(manager, name);
	manager_replan(manager, /* is_change= */ true);
	return CGDIR_OK;
}

static enum fault_kind slot_remove_now(struct slot *slot, struct fault *fault)
{
	struct manager *manager = slot->manager;
	char name[SLOT_NAME_MAX + 1];
	int r;

	memcpy(name, slot->policy.name, sizeof(name));
	r = saver_remove(manager->saver, name);
	if (r == 0) {
		r = slot_destroy(slot);
		if (r != CGDIR_OK)
			saver_cancel(manager->saver, name);
	}
	if (r == CGDIR_BUSY) { /* somebody came in: it stays a slot */
		fault->needed = 1;
		return fault_set(fault, FAULT_SLOT_BUSY, "processes run in slot %s", name);
	}
	if (r != CGDIR_OK)
		return fault_set(fault, FAULT_FAILED, "slot %s could not be removed: %s", name,
				 r < 0 ? strerror(-r) : "its cgroup is in the way");
	histories_slot_removed(manager, name);
	events_add(manager->events, LOG_LEVEL_INFO, "slot-removed", MESSAGE_SLOT_REMOVED, name,
		   "slot %s removed", name);
	return FAULT_NONE;
}

static void removal_finish(struct removal *removal, enum fault_kind kind, const struct fault *fault)
{
	done_fn done = removal->done;
	void *userdata = removal->userdata;

	removal_free(removal);
	done(kind, fault, userdata);
}

static int on_removal_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct removal *removal = userdata;
	struct slot *slot = removal->slot;
	struct fault fault = { .node = NODE_ANY };
	enum fault_kind kind;

	(void)snprintf(fault.name, sizeof(fault.name), "%s", slot->policy.name);
	if (slot_is_populated(slot)) {
		uint32_t n = 0;

		if (mono_now_ns() < removal->deadline_ns)
			goto again;
		if (cgdir_count_processes(slot->cg, &n) == CGDIR_OK)
			fault.needed = n;
		kind = fault_set(&fault, FAULT_SLOT_BUSY, "processes of slot %s do not end",
				 slot->policy.name);
		removal_finish(removal, kind, &fault);
		return 0;
	}
	/* slot_close() would free the removal: take what is needed out of it first. */
	struct manager *manager = slot->manager;
	done_fn done = removal->done;
	void *done_userdata = removal->userdata;
	uint64_t deadline_ns = removal->deadline_ns;

	kind = slot_remove_now(slot, &fault);
	if (kind == FAULT_SLOT_BUSY && mono_now_ns() < deadline_ns)
		goto again; /* the kernel is still letting the last process go */
	if (kind != FAULT_NONE)
		removal_free(removal);
	manager_answer(manager, fault.name, kind, &fault, done, done_userdata);
	return 0;
again:
	(void)sd_event_source_set_time(source, usec + REMOVAL_POLL_USEC);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

static int removal_start(struct slot *slot, done_fn done, void *userdata)
{
	struct removal *removal = calloc(1, sizeof(*removal));
	int r;

	if (!removal)
		return -ENOMEM;
	removal->slot = slot;
	removal->done = done;
	removal->userdata = userdata;
	removal->deadline_ns = mono_now_ns() + REMOVAL_TIMEOUT_NS;
	r = slot_kill_processes(slot);
	if (r == CGDIR_OK)
		r = sd_event_add_time_relative(slot->manager->event, &removal->timer,
					       CLOCK_MONOTONIC, 0, 1000, on_removal_timer, removal);
	if (r != 0) {
		free(removal);
		return r < 0 ? r : -EIO;
	}
	slot->removal = removal;
	return 0;
}

void manager_remove(struct manager *manager, const char *name, bool kill, done_fn done,
		    void *userdata)
{
	struct slot *slot = manager_find_slot(manager, name);
	struct fault fault = { .node = NODE_ANY };
	enum fault_kind kind;
	bool is_populated;
	uint32_t n = 0;
	int r;

	(void)snprintf(fault.name, sizeof(fault.name), "%s", name);
	if (!slot) {
		done(fault_set(&fault, FAULT_NO_SUCH_SLOT, "no slot %s", name), &fault, userdata);
		return;
	}
	is_populated = slot_is_populated(slot);
	if (slot->removal || (is_populated && !kill)) {
		if (cgdir_count_processes(slot->cg, &n) == CGDIR_OK)
			fault.needed = n;
		done(fault_set(&fault, FAULT_SLOT_BUSY, "processes run in slot %s", name), &fault,
		     userdata);
		return;
	}
	if (is_populated) {
		r = removal_start(slot, done, userdata);
		if (r < 0)
			done(fault_set(&fault, FAULT_FAILED,
				       "its processes could not be killed: %s", strerror(-r)),
			     &fault, userdata);
		return;
	}
	kind = slot_remove_now(slot, &fault);
	manager_answer(manager, fault.name, kind, &fault, done, userdata);
}
