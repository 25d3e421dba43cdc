/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What must survive a reboot: the slots' policies, in one small file (safefile.h). Fields that
 * this version does not know are kept. Also the same JSON of one slot, for the xattr on its
 * cgroup directory.
 */

#include <stddef.h>

#include "base/attr.h"
#include "model.h"
#include "safefile.h"

#define STATE_FILE "state.json"
#define STATE_ERROR_MAX SAFEFILE_ERROR_MAX
#define STATE_FILE_BYTES_MAX ((size_t)64 << 20)
#define SLOT_POLICY_JSON_MAX 4096 /* longest text slot_policy_from_json() looks at */

struct state_slot {
	struct slot_policy policy;
	char *extra; /* text of an object of unknown fields, or NULL */
};

struct state {
	struct state_slot *slots; /* sorted by name, names distinct */
	size_t n_slots;
	char *extra; /* unknown fields of the body, or NULL */
};

enum state_cond {
	STATE_OK = SAFEFILE_OK,
	STATE_ABSENT = SAFEFILE_ABSENT,
	STATE_TORN = SAFEFILE_TORN,
	STATE_FOREIGN = SAFEFILE_FOREIGN,
	STATE_NEWER = SAFEFILE_NEWER,
};

/* An empty state, or NULL. */
MUST_USE struct state *state_new(void);
void state_free(struct state *state);
/* For CLEANUP(). */
void state_freep(struct state **state);
/* A copy that shares nothing, so that another thread may have it; NULL: no memory. */
MUST_USE struct state *state_clone(const struct state *state);

/* Borrows; NULL when there is none. Valid until the next put or remove. */
struct state_slot *state_find(const struct state *state, const char *name);
/* Adds, or replaces the policy of that name keeping its unknown fields. Return: 0 or -ENOMEM. */
MUST_USE int state_put(struct state *state, const struct slot_policy *policy);
/* Nothing happens when there is none. */
void state_remove(struct state *state, const char *name);

/* Return: 0 or -ENOMEM. *ret_text is the caller's, 0-terminated, *ret_len without the 0. */
MUST_USE int state_encode(const struct state *state, char **ret_text, size_t *ret_len);

/**
 * state_decode() - the other way; trusts nothing
 * @error: why, for every condition but STATE_OK
 *
 * Return: STATE_OK, STATE_TORN, STATE_FOREIGN, STATE_NEWER, or -ENOMEM. *ret on STATE_OK only.
 */
MUST_USE int state_decode(const char *text, size_t len, struct state **ret,
			  char error[static STATE_ERROR_MAX]);

/**
 * state_load() - read STATE_FILE below @dir_fd
 * @ret:   an empty state for the conditions other than STATE_OK
 * @error: what was found and under which name it was set aside
 *
 * A torn, foreign or newer file is renamed to "state.json.bad-<n>" with the first free n, so the
 * next state_save() overwrites nothing.
 *
 * Return: an enum state_cond, or -errno.
 */
MUST_USE int state_load(int dir_fd, struct state **ret, char error[static STATE_ERROR_MAX]);

/* Replaces STATE_FILE below @dir_fd atomically. Return: 0 or -errno; then the old one holds. */
MUST_USE int state_save(int dir_fd, const struct state *state);

/* {"name":…} on one line. Return: 0 or -ENOMEM. */
MUST_USE int slot_policy_to_json(const struct slot_policy *policy, char **ret_text);

/**
 * slot_policy_from_json() - strict: all fields, right types, admit_check_policy()
 * @text: 0-terminated; unknown fields are ignored
 *
 * Return: 0, -EINVAL with @error filled, or -ENOMEM.
 */
MUST_USE int slot_policy_from_json(const char *text, struct slot_policy *ret,
				   char error[static STATE_ERROR_MAX]);
