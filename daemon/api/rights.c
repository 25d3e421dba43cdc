/* SPDX-License-Identifier: Apache-2.0 */
#include "api/rights.h"

#include <string.h>

/*
 * Administrators (root, members of the configured group) may do everything. A slot's owner may
 * run tasks in it and tune what costs nobody else a guarantee. Being in a slot is not enough to
 * attach: a process that was moved there by an administrator may be another user's. What is run as
 * a user is for that user and root to say: an administrator of slots is not one of users.
 */

static bool is_own_slot(const struct peer *peer, const struct slot_policy *slot)
{
	return peer->is_in_slot && peer->slot_node == slot->node &&
	       strcmp(peer->slot_name, slot->name) == 0;
}

bool rights_may(const struct peer *peer, enum right right, const struct slot_policy *slot)
{
	bool is_owner = slot && peer->uid == slot->owner;

	switch (right) {
	case RIGHT_ADMINISTER:
		return peer->is_admin;
	case RIGHT_TUNE:
	case RIGHT_RUN:
		return peer->is_admin || is_owner;
	case RIGHT_ATTACH:
		return slot && (peer->is_admin || is_owner) && is_own_slot(peer, slot);
	case RIGHT_COMMAND:
		return peer->uid == 0 || is_owner;
	}
	return false;
}
