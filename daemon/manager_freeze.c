/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include "kern/freeze.h"
#include "message_ids.h"

/*
 * Who keeps a slot's tasks from running: an emergency for up to 2 s, a revocation for
 * milliseconds. The slot runs again when the last of them lets go.
 *
 * Who of them it was is known to this process alone; that it was us is noted on the cgroup
 * (kern/freeze.c), so what an administrator has frozen stays frozen. A daemon that is killed
 * meanwhile is followed by what its unit runs then, which thaws. Where there is no such unit, or
 * that was killed, too, the next daemon does when it has its books in order (slot_thaw_found()).
 */

int slot_freeze(struct slot *slot, enum freeze_by by)
{
	int r = CGDIR_OK;

	/* also if it is frozen: the note on the cgroup is of all of them */
	if (!(slot->frozen_by & FREEZE_ELSEWHERE))
		r = freeze_begin(slot->cg, (slot->frozen_by | by) & FREEZE_REVOCATION);
	if (r == CGDIR_BUSY) {
		slot->frozen_by |= FREEZE_ELSEWHERE;
		r = CGDIR_OK;
	}
	if (r == CGDIR_OK)
		slot->frozen_by |= by;
	return r;
}

int slot_thaw(struct slot *slot, enum freeze_by by)
{
	unsigned rest = slot->frozen_by & ~(unsigned)by;
	int r = CGDIR_OK;

	if (slot->frozen_by & by && rest == 0)
		r = freeze_end(slot->cg);
	if (r == CGDIR_OK || r == CGDIR_GONE)
		slot->frozen_by = rest == FREEZE_ELSEWHERE ? 0 : rest;
	return r;
}

void slot_find_frozen(struct slot *slot)
{
	if (freeze_is_ours(slot->cg))
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
