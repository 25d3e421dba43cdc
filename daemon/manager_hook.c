/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_notice.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mono.h"
#include "kern/hook.h"
#include "message_ids.h"
#include "policy/command.h"

/*
 * The command of on-resize=. It hears what the tasks that watch hear (policy/notice.h), less
 * often, because it costs a process; one at a time for a slot, and a few for the machine, for a
 * change of one weight may concern all slots. What changes meanwhile is told by the next run. One
 * owner has half of these at most: commands that hang are ended after 30 s, and those of other
 * owners do not wait for that.
 *
 * A slot that nobody runs in has nothing to resize. Whether the last run before a restart of the
 * daemon came through is not known, so it is run once after that.
 */

#define INTERVAL_NS (5 * NS_PER_SEC)
#define RUNS_MAX 8
#define RUNS_OF_OWNER_MAX (RUNS_MAX / 2)
#define RETRY_NS NS_PER_SEC
#define TIMER_ACCURACY_USEC 50000

bool hook_is_set(const struct slot *slot)
{
	return slot->policy.on_resize[0] && slot->manager->hook_runner;
}

void hook_reset(struct slot *slot)
{
	notice_init(&slot->notices->hook.notice, INTERVAL_NS);
	/* also what comes back if systemd is still busy with the old command */
	slot->notices->hook.before = slot->notices->hook.notice;
}

void hook_deinit(struct slot_notices *n)
{
	if (n->hook.run)
		n->slot->manager->n_hook_runs--;
	hook_drop(n->hook.run);
	sd_event_source_disable_unref(n->hook.timer);
}

enum fault_kind manager_check_hook(const struct manager *manager, const struct slot_policy *policy,
				   struct fault *fault)
{
	if (!policy->on_resize[0])
		return FAULT_NONE;
	(void)snprintf(fault->field, sizeof(fault->field), "onResize");
	if (!tree_get_controllers(manager->tree)->memory)
		return fault_set(fault, FAULT_BAD_VALUE,
				 "memory limits are not enforced on this host (pools-only), so it "
				 "would never be run");
	if (manager->hook_runner)
		return FAULT_NONE;
	return fault_set(fault, FAULT_BAD_VALUE,
			 "there is no systemd to run it as the slot's owner: the daemon was given "
			 "cgroup_root= in its configuration");
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct slot_notices *n = userdata;

	(void)source;
	(void)usec;
	if (hook_is_set(n->slot))
		hook_consider(n, NOTICE_SHARE);
	return 0;
}

static void arm(struct slot_notices *n, uint64_t wake_ns)
{
	struct slot_hook *hook = &n->hook;

	if (!hook->timer) {
		if (sd_event_add_time(n->slot->manager->event, &hook->timer, CLOCK_MONOTONIC,
				      wake_ns / NS_PER_USEC, TIMER_ACCURACY_USEC, on_timer, n) < 0)
			log_warning("slot %s: on-resize= has to wait for the next change",
				    n->slot->policy.name);
		return;
	}
	(void)sd_event_source_set_time(hook->timer, wake_ns / NS_PER_USEC);
	(void)sd_event_source_set_enabled(hook->timer, SD_EVENT_ONESHOT);
}

static void note_failure(struct slot_notices *n, const char *text)
{
	const struct slot *slot = n->slot;
	char unit[HOOK_UNIT_MAX];

	n->hook.n_failures++;
	(void)snprintf(n->hook.result, sizeof(n->hook.result), "%s", text);
	events_add(slot->manager->events, LOG_LEVEL_WARNING, "hook-failed", MESSAGE_HOOK_FAILED,
		   slot->policy.name, "on-resize= of slot %s: %s; see journalctl -u %s",
		   slot->policy.name, text, hook_unit(slot->policy.name, unit));
}

static void on_done(enum hook_outcome outcome, const char *text, void *userdata)
{
	struct slot_notices *n = userdata;
	struct slot_hook *hook = &n->hook;

	hook->run = NULL;
	n->slot->manager->n_hook_runs--;
	if (outcome == HOOK_BUSY) {
		hook->notice = hook->before; /* nobody was told */
		hook->n_runs--;
		arm(n, mono_now_ns() + RETRY_NS);
		return;
	}
	hook->ended_usec = notices_realtime_usec();
	hook->result[0] = '\0';
	if (outcome == HOOK_FAILED)
		note_failure(n, text);
	if (hook_is_set(n->slot))
		hook_consider(n, NOTICE_SHARE); /* what changed meanwhile */
}

static const char *why_word(enum notice_why why)
{
	switch (why) {
	case NOTICE_SHARE:
		break;
	case NOTICE_START:
		return "start";
	case NOTICE_MAX:
		return "max";
	case NOTICE_PRESSURE:
		return "pressure";
	}
	return "share";
}

static int run(struct slot_notices *n, const struct notice_input *in,
	       const struct notice_decision *d)
{
	struct slot *slot = n->slot;
	char name[96], target[64], before[64], usage[64], max[64] = "TASKMEM_MAX_BYTES=max";
	char why[64], error[COMMAND_ERROR_MAX];
	const char *environment[] = { name, target, before, usage, max, why, NULL };
	struct hook_command command = {
		.slot = slot->policy.name,
		.uid = slot->policy.owner,
		.environment = environment,
	};
	struct command parsed;
	int r = command_parse(slot->policy.on_resize, &parsed, error);

	if (r < 0)
		return r; /* checked when it was set */
	command.words = parsed.words;
	(void)snprintf(name, sizeof(name), "TASKMEM_SLOT=%s", slot->policy.name);
	(void)snprintf(target, sizeof(target), "TASKMEM_TARGET_BYTES=%" PRIu64, in->target_bytes);
	(void)snprintf(before, sizeof(before), "TASKMEM_OLD_TARGET_BYTES=%" PRIu64,
		       d->before_bytes);
	(void)snprintf(usage, sizeof(usage), "TASKMEM_USAGE_BYTES=%" PRIu64, in->usage_bytes);
	if (in->max_bytes != BYTES_UNLIMITED)
		(void)snprintf(max, sizeof(max), "TASKMEM_MAX_BYTES=%" PRIu64, in->max_bytes);
	(void)snprintf(why, sizeof(why), "TASKMEM_REASON=%s", why_word(d->why));
	return hook_start(slot->manager->hook_runner, &command, on_done, n, &n->hook.run);
}

void hook_consider(struct slot_notices *n, enum notice_why why)
{
	struct manager *manager = n->slot->manager;
	struct slot_hook *hook = &n->hook;
	bool is_populated = false;
	struct notice_decision d;
	struct notice_input in;
	int r;

	if (hook->run)
		return; /* its end comes here again */
	if (cgdir_is_populated(n->slot->cg, &is_populated) != CGDIR_OK || !is_populated ||
	    notices_read(n, why, &in) != CGDIR_OK)
		return;
	if (manager->n_hook_runs >= RUNS_MAX ||
	    hooks_count(manager->hook_runner, n->slot->policy.owner) >= RUNS_OF_OWNER_MAX) {
		arm(n, in.now_ns + RETRY_NS);
		return;
	}
	hook->before = hook->notice;
	d = notice_step(&hook->notice, &in);
	if (d.verb == NOTICE_LATER)
		arm(n, d.wake_ns);
	if (d.verb != NOTICE_SEND)
		return;
	hook->n_runs++;
	r = run(n, &in, &d);
	if (r >= 0)
		manager->n_hook_runs++;
	else
		note_failure(n, strerror(-r));
}
