/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Runs the command of on-resize= as a transient service of systemd; nothing here waits. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <systemd/sd-event.h>

#include "base/attr.h"

#define HOOK_TIMEOUT_S 30 /* then it is ended */
#define HOOK_TEXT_MAX 192
#define HOOK_UNIT_MAX 96

struct hooks;    /* the connection to systemd */
struct hook_run; /* one command */

enum hook_outcome {
	HOOK_DONE,
	HOOK_FAILED, /* the text says how */
	HOOK_BUSY,   /* an earlier one of the slot still runs: try again later */
};

struct hook_command {
	const char *slot;               /* names the unit; one at a time can run */
	uid_t uid;                      /* it runs as this user */
	char *const *words;             /* absolute path and arguments, NULL at the end */
	const char *const *environment; /* NAME=value, NULL at the end */
};

/* @text is valid during the call; "" for HOOK_DONE. The run is freed after it. */
typedef void (*hook_done_fn)(enum hook_outcome outcome, const char *text, void *userdata);

/* Does not connect yet. Return: NULL without memory. */
MUST_USE struct hooks *hooks_new(sd_event *event);
/* All runs must be dropped or done. NULL is fine. */
void hooks_free(struct hooks *hooks);

/* "taskmem-hook-NAME.service" into @buf, which is returned. */
const char *hook_unit(const char *slot, char buf[static HOOK_UNIT_MAX]);

/**
 * hook_start() - have systemd run a command
 * @done: called once, from the loop, never from within this function
 *
 * Return: 0 or -errno (systemd cannot be reached); then @done is not called.
 */
MUST_USE int hook_start(struct hooks *hooks, const struct hook_command *command, hook_done_fn done,
			void *userdata, struct hook_run **ret_run);
/* Commands under way that run as @uid. */
uint32_t hooks_count(const struct hooks *hooks, uid_t uid);
/* Its end is of no interest any more; the command runs on, and leaves nothing behind. NULL is fine. */
void hook_drop(struct hook_run *run);
