/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include "message_ids.h"

/*
 * Who keeps a slot's tasks from running: an emergency for up to 2 s, a revocation for
 * milliseconds. The slot runs again when the last of them lets go.
 *
 * Who has frozen it is known to this process alone. A daemon that is killed meanwhile is started
 * again by systemd within a second and finds the slot frozen; it is thawed when the new daemon has
 * its books in order (slot_thaw_found()), for pages that were to be taken may be half taken.
 */

int slot_freeze(struct slot *slot, enum freeze_by by)
{
	int r = CGDIR_OK;

	if (slot->frozen_by == 0)
		r = cgdir_write_u64(slot->cg, CG_CGROUP_FREEZE, 1);
	if (r == CGDIR_OK)
		slot->frozen_by |= by;
	return r;
}

int slot_thaw(struct slot *slot, enum freeze_by by)
{
	int r = CGDIR_OK;

	if (slot->frozen_by == by)
		r = cgdir_write_u64(slot->cg, CG_CGROUP_FREEZE, 0);
	if (r == CGDIR_OK || r == CGDIR_GONE)
		slot->frozen_by &= ~(unsigned)by;
	return r;
}

void slot_find_frozen(struct slot *slot)
{
	char text[8] = "";

	if (cgdir_read_text(slot->cg, CG_CGROUP_FREEZE, text, sizeof(text)) == CGDIR_OK &&
	    text[0] == '1')
		slot->frozen_by |= FREEZE_FOUND;
}

void slot_thaw_found(struct slot *slot)
{
	if (!(slot->frozen_by & FREEZE_FOUND))
		return;
	if (slot_thaw(slot, FREEZE_FOUND) != CGDIR_OK) {
		log_error("slot %s is frozen and cannot be thawed", slot->policy.name);
		return;
	}
	events_add(
		slot->manager->events, LOG_LEVEL_WARNING, "thawed", MESSAGE_SLOT_THAWED,
		slot->policy.name,
		"slot %s is thawed: it was found frozen, as a daemon that ended meanwhile left it",
		slot->policy.name);
}
