/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "base/fd.h"
#include "base/log.h"
#include "message_ids.h"

/*
 * After a start, whatever the last daemon was doing when it ended:
 *
 *   in the state file, no cgroup         a remove was cut short, or the machine was booted: make it
 *   in the state file, cgroup there      adopt it
 *   cgroup only, empty, state file whole an add was cut short: remove it
 *   cgroup only, tasks or no state file  adopt it by the policy noted on the directory
 *   cgroup there and on another node     the slot was being moved, or what it left has not
 *                                        drained: go on (manager_leftover.c)
 *
 * What was cut short was not answered, for the file did not have it yet (saver.c).
 *
 * Grants come from the fd store; one whose process has ended is freed.
 */

struct restore {
	struct manager *manager;
	bool is_state_whole;
	uint32_t n_running; /* slots with tasks that ran on meanwhile */
};

/* The policy that was noted on the directory of a slot of that name. */
static bool read_note(struct cgdir *cg, const char *name, struct slot_policy *ret)
{
	CLEANUP(freep) char *text = NULL;
	char why[STATE_ERROR_MAX];

	return cgdir_get_policy(cg, &text) == CGDIR_OK &&
	       slot_policy_from_json(text, ret, why) == 0 && strcmp(ret->name, name) == 0;
}

/* Made by hand, or the directory lost its note: defaults, its own limits as they are. */
static void policy_of_stranger(struct cgdir *cg, int node, const char *name,
			       struct slot_policy *policy)
{
	slot_policy_default(policy);
	(void)snprintf(policy->name, sizeof(policy->name), "%s", name);
	policy->node = node;
	if (cgdir_read_u64(cg, CG_MEMORY_MIN, &policy->min_bytes) != CGDIR_OK)
		policy->min_bytes = 0;
	if (cgdir_read_u64(cg, CG_MEMORY_MAX, &policy->max_bytes) != CGDIR_OK)
		policy->max_bytes = BYTES_UNLIMITED;
}

static int restore_leftover(struct manager *manager, const char *name, int node, struct cgdir *cg)
{
	struct leftover *leftover;
	int r = leftover_new(manager, name, node, cg, &leftover);

	if (r < 0)
		cgdir_close(cg);
	return r;
}

/* For each slot directory that the state file does not know (under this node). */
static int restore_found(int node, const char *name, struct cgdir *cg, void *userdata)
{
	CLEANUP(cgdir_closep) struct cgdir *owned = cg;
	struct restore *restore = userdata;
	struct manager *manager = restore->manager;
	const struct state_slot *known = state_find(manager->state, name);
	struct slot_policy policy;
	bool is_noted, is_populated = true;
	int r = 0;

	if (known && known->policy.node == node)
		return 0;
	if (cgdir_is_populated(owned, &is_populated) != CGDIR_OK)
		is_populated = true;
	is_noted = read_note(owned, name, &policy);
	if (!is_populated && restore->is_state_whole && !(known && is_noted)) {
		(void)tree_remove_slot(manager->tree, node, name);
		return 0;
	}
	if (known && !is_noted) {
		log_warning("slot %s: a second cgroup of that name with tasks on node %d is left "
			    "alone",
			    name, node);
		return 0;
	}
	if (!is_noted)
		policy_of_stranger(owned, node, name, &policy);
	if (!known)
		r = state_put(manager->state, &policy);
	if (r == 0 && (known || policy.node != node)) /* it is noted where the slot went */
		r = restore_leftover(manager, name, node, TAKE(owned));
	return r;
}

static void restore_slots(struct restore *restore)
{
	struct manager *manager = restore->manager;

	for (size_t i = 0; i < manager->state->n_slots; i++) {
		const struct slot_policy *policy = &manager->state->slots[i].policy;
		bool is_populated = false;
		struct slot *slot = NULL;
		int r;

		if (!manager_group(manager, policy->node)) {
			log_warning("slot %s: node %d is not there; it stays in the state file",
				    policy->name, policy->node);
			continue;
		}
		r = slot_open(manager, policy, &slot);
		if (r < 0) {
			events_add(manager->events, LOG_LEVEL_ERROR, "slot-lost", NULL,
				   policy->name, "slot %s could not be made again: %s",
				   policy->name, strerror(-r));
			continue;
		}
		slot_note_policy(slot);
		if (cgdir_is_populated(slot->cg, &is_populated) == CGDIR_OK && is_populated)
			restore->n_running++;
	}
}

/* ---- grants */

struct stored {
	char name[32];
	int fds[GRANT_FDS];
	size_t n_fds;
};

static void restore_grant(struct manager *manager, struct stored *stored)
{
	char slot_name[SLOT_NAME_MAX + 1];
	struct grant *grant = NULL;
	struct slot *slot;
	int r;

	r = grant_adopt(stored->fds, stored->n_fds, &grant, slot_name);
	if (r < 0) {
		for (size_t i = 0; i < stored->n_fds; i++)
			(void)close(stored->fds[i]);
		grant_forget_stored(stored->name);
		if (r != -ESRCH)
			log_warning("%s in the fd store is of no use: %s", stored->name,
				    strerror(-r));
		return;
	}
	slot = manager_find_slot(manager, slot_name);
	if (!slot || slot_take_grant(slot, grant) < 0) {
		log_warning("slot %s of %s is gone; its pages are freed", slot_name, stored->name);
		grant_release(grant);
	}
}

/* Descriptors of one grant share a name; systemd hands them over in no promised order. */
static void restore_grants(struct manager *manager)
{
	CLEANUP(freep) struct stored *stored = NULL;
	char **names = NULL;
	int n = sd_listen_fds_with_names(/* unset_environment= */ 1, &names);
	size_t n_stored = 0;

	if (n <= 0)
		return;
	stored = calloc((size_t)n, sizeof(*stored));
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		size_t k;

		if (!stored || strncmp(names[i], "grant-", 6) != 0 || strlen(names[i]) >= 32) {
			(void)close(fd);
			free(names[i]);
			continue;
		}
		for (k = 0; k < n_stored; k++)
			if (strcmp(stored[k].name, names[i]) == 0)
				break;
		if (k == n_stored)
			(void)snprintf(stored[n_stored++].name, sizeof(stored[k].name), "%s",
				       names[i]);
		if (stored[k].n_fds < GRANT_FDS)
			stored[k].fds[stored[k].n_fds++] = fd;
		else
			(void)close(fd);
		free(names[i]);
	}
	free(names);
	for (size_t k = 0; k < n_stored; k++)
		restore_grant(manager, &stored[k]);
	manager_adopt_apart(manager);
}

int manager_restore(struct manager *manager, char error[static MANAGER_ERROR_MAX])
{
	struct restore restore = { .manager = manager };
	char why[STATE_ERROR_MAX] = "";
	int r;

	r = state_load(manager->state_fd, &manager->state, why);
	if (r < 0) {
		(void)snprintf(error, MANAGER_ERROR_MAX, "the state file in %s: %s",
			       manager->config->state_directory, strerror(-r));
		return r;
	}
	if (r != STATE_OK && r != STATE_ABSENT)
		events_add(manager->events, LOG_LEVEL_WARNING, "state-set-aside",
			   MESSAGE_STATE_SET_ASIDE, NULL,
			   "%s; slots are rebuilt from their cgroups", why);
	restore.is_state_whole = r == STATE_OK;
	r = tree_foreach_slot(manager->tree, restore_found, &restore);
	if (r < 0) {
		(void)snprintf(error, MANAGER_ERROR_MAX, "the slots' cgroups cannot be read: %s",
			       strerror(-r));
		return r;
	}
	restore_slots(&restore);
	restore_grants(manager);
	r = manager_open_saver(manager);
	if (r < 0) {
		(void)snprintf(error, MANAGER_ERROR_MAX, "the state file in %s: %s",
			       manager->config->state_directory, strerror(-r));
		return r;
	}
	events_add(manager->events, LOG_LEVEL_NOTICE, "started", MESSAGE_DAEMON_STARTED, NULL,
		   "taskmemd is up: %zu slots, below %s", manager->n_slots,
		   tree_path(manager->tree));
	if (restore.n_running > 0)
		events_add(manager->events, LOG_LEVEL_NOTICE, "adopted", MESSAGE_SLOTS_ADOPTED,
			   NULL, "the tasks of %u slots ran on meanwhile", restore.n_running);
	return 0;
}
