/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What manager_notice.c and manager_hook.c know of a slot; to others it is opaque. */

#include "manager_private.h"
#include "policy/notice.h"

struct hook_run;

struct slot_hook {
	struct notice notice, before; /* before: as it was when the run was begun */
	sd_event_source *timer;
	struct hook_run *run; /* NULL: none */
	uint32_t n_runs, n_failures;
	uint64_t ended_usec; /* CLOCK_REALTIME; 0: none has ended */
	char result[192];    /* how the last one failed; "" if it did not */
};

struct slot_notices {
	struct slot *slot;
	uint64_t target_bytes;
	struct notice notice;
	struct list watchers;
	uint32_t n_watchers, n_tasks; /* tasks: of these, processes of the slot */
	sd_event_source *timer;
	uint64_t hold_until_ns; /* no reclaim for a smaller max before this time */
	/* the last that was told, and what came back */
	struct memory_notice last;
	uint64_t told_usec; /* CLOCK_REALTIME; 0: nothing was told */
	uint32_t n_asked, n_answers;
	uint64_t freed_bytes;
	struct slot_hook hook;
};

/* The numbers of now. Return: 0 or the cgdir condition: without usage there is nothing to tell. */
MUST_USE int notices_read(const struct slot_notices *n, enum notice_why why,
			  struct notice_input *ret);
/* CLOCK_REALTIME, for people. */
uint64_t notices_realtime_usec(void);

/* ---- manager_hook.c */
/* Is there a command that could be run? */
bool hook_is_set(const struct slot *slot);
/* Runs it if it is time to. */
void hook_consider(struct slot_notices *n, enum notice_why why);
void hook_deinit(struct slot_notices *n);
