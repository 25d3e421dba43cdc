/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The daemon has neither the powers nor the wish to become another user: systemd runs the
 * command, as a oneshot service of that user with limits of its own. The start job of a oneshot
 * ends with its process, so JobRemoved tells the end. (RuntimeMaxSec= does nothing for a oneshot;
 * TimeoutStartSec= is what bounds it. Seen with systemd 257.)
 *
 * A unit that has ended, failed or not, goes when nobody refers to it (CollectMode=), and the
 * connection that had it started does (AddRef=) until it is told how it ended, or has no interest in
 * that any more. So nothing is left behind by a slot that was removed, nor by a daemon that was killed.
 *
 * The unit's name is the slot's: systemd refuses a second one while the first runs, also one
 * that a daemon before this one had started.
 *
 * No PrivateTmp=: the tools that talk to a running program, jcmd above all, meet it in /tmp.
 */

#include "kern/hook.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <systemd/sd-bus.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "kern/scope.h"

#define DESTINATION "org.freedesktop.systemd1"
#define MANAGER DESTINATION, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
#define SERVICE "org.freedesktop.systemd1.Service"

#define USEC_PER_SEC UINT64_C(1000000)
/* An end that is never told: the bus or systemd was restarted meanwhile. */
#define SILENCE_USEC ((HOOK_TIMEOUT_S + 15) * USEC_PER_SEC)
#define MEMORY_MAX_BYTES (UINT64_C(256) << 20) /* a JVM's own tools need 100M */
#define TASKS_MAX 128

struct hooks {
	sd_event *event;
	sd_bus *bus;
	struct list runs;
};

struct hook_run {
	struct list in_hooks;
	struct hooks *hooks;
	char unit[HOOK_UNIT_MAX];
	uid_t uid;
	hook_done_fn done;
	void *userdata;
	sd_bus_slot *call; /* the one that is being answered */
	sd_event_source *timer;
	char *job; /* path; NULL until it is known */
};

const char *hook_unit(const char *slot, char buf[static HOOK_UNIT_MAX])
{
	(void)snprintf(buf, HOOK_UNIT_MAX, "taskmem-hook-%s.service", slot);
	return buf;
}

struct hooks *hooks_new(sd_event *event)
{
	struct hooks *hooks = calloc(1, sizeof(*hooks));

	if (!hooks)
		return NULL;
	hooks->event = sd_event_ref(event);
	list_init(&hooks->runs);
	return hooks;
}

static void disconnect(struct hooks *hooks)
{
	sd_bus_detach_event(hooks->bus);
	hooks->bus = sd_bus_close_unref(hooks->bus);
}

void hooks_free(struct hooks *hooks)
{
	if (!hooks)
		return;
	if (hooks->bus)
		disconnect(hooks);
	sd_event_unref(hooks->event);
	free(hooks);
}

/* The unit may go when it ends, if it has not yet. What cannot be sent is done by the connection's
 * end. */
static void unref_unit(struct hook_run *run)
{
	if (run->hooks->bus)
		(void)sd_bus_call_method_async(run->hooks->bus, NULL, MANAGER, "UnrefUnit", NULL,
					       NULL, "s", run->unit);
}

void hook_drop(struct hook_run *run)
{
	if (!run)
		return;
	unref_unit(run);
	list_remove(&run->in_hooks);
	sd_bus_slot_unref(run->call);
	sd_event_source_disable_unref(run->timer);
	free(run->job);
	free(run);
}

uint32_t hooks_count(const struct hooks *hooks, uid_t uid)
{
	const struct hook_run *run;
	uint32_t n = 0;

	LIST_FOREACH(&hooks->runs, run, in_hooks)
		n += run->uid == uid;
	return n;
}

static void finish(struct hook_run *run, enum hook_outcome outcome, const char *text)
{
	hook_done_fn done = run->done;
	void *userdata = run->userdata;

	hook_drop(run);
	done(outcome, text, userdata);
}

/* One that failed would stand in the way for ever, if it was left by an earlier version. */
static void reset_failed(struct hook_run *run)
{
	(void)sd_bus_call_method_async(run->hooks->bus, NULL, MANAGER, "ResetFailedUnit", NULL,
				       NULL, "s", run->unit);
}

/* ---- how it ended */

struct ending {
	char result[32];
	int32_t code, status;
};

static int read_ending(sd_bus_message *m, struct ending *ret)
{
	const char *name, *text;
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		r = sd_bus_message_read(m, "s", &name);
		if (r < 0)
			break;
		if (strcmp(name, "Result") == 0) {
			r = sd_bus_message_read(m, "v", "s", &text);
			if (r >= 0)
				(void)snprintf(ret->result, sizeof(ret->result), "%s", text);
		} else if (strcmp(name, "ExecMainCode") == 0) {
			r = sd_bus_message_read(m, "v", "i", &ret->code);
		} else if (strcmp(name, "ExecMainStatus") == 0) {
			r = sd_bus_message_read(m, "v", "i", &ret->status);
		} else {
			r = sd_bus_message_skip(m, "v");
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r;
}

static void explain(const struct hook_run *run, const struct ending *e, char *text)
{
	if (strcmp(e->result, "timeout") == 0)
		(void)snprintf(text, HOOK_TEXT_MAX, "it was not through after %d s and was ended",
			       HOOK_TIMEOUT_S);
	else if (strcmp(e->result, "oom-kill") == 0)
		(void)snprintf(text, HOOK_TEXT_MAX, "it needed more than %llu MiB of memory",
			       (unsigned long long)(MEMORY_MAX_BYTES >> 20));
	else if (strcmp(e->result, "signal") == 0 || strcmp(e->result, "core-dump") == 0)
		(void)snprintf(text, HOOK_TEXT_MAX, "it was ended by SIG%s",
			       sigabbrev_np(e->status) ?: "?");
	else if (e->status == 203)
		(void)snprintf(text, HOOK_TEXT_MAX,
			       "its program is not there or user %u may not execute it", run->uid);
	else if (e->status == 217)
		(void)snprintf(text, HOOK_TEXT_MAX,
			       "the slot's owner, %u, is no user that this host knows", run->uid);
	else if (strcmp(e->result, "exit-code") == 0)
		(void)snprintf(text, HOOK_TEXT_MAX, "it ended with status %d", e->status);
	else
		(void)snprintf(text, HOOK_TEXT_MAX, "systemd could not run it (%s)",
			       e->result[0] ? e->result : "no reason given");
}

static int on_properties(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct hook_run *run = userdata;
	struct ending ending = {};
	char text[HOOK_TEXT_MAX];

	(void)ret_error;
	if (sd_bus_message_is_method_error(m, NULL) || read_ending(m, &ending) < 0)
		ending.result[0] = 0;
	explain(run, &ending, text);
	finish(run, HOOK_FAILED, text);
	return 0;
}

static void ask_ending(struct hook_run *run)
{
	CLEANUP(freep) char *path = NULL;
	int r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", run->unit, &path);

	run->call = sd_bus_slot_unref(run->call);
	if (r >= 0)
		r = sd_bus_call_method_async(run->hooks->bus, &run->call, DESTINATION, path,
					     "org.freedesktop.DBus.Properties", "GetAll",
					     on_properties, run, "s", SERVICE);
	if (r < 0)
		finish(run, HOOK_FAILED, "systemd does not say how it ended");
}

/* The answer with the job's path came first: both are from systemd, in order. */
static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	const char *job, *unit, *result;
	struct hooks *hooks = userdata;
	struct hook_run *run;
	uint32_t id;

	(void)ret_error;
	if (sd_bus_message_read(m, "uoss", &id, &job, &unit, &result) < 0)
		return 0;
	LIST_FOREACH(&hooks->runs, run, in_hooks) {
		if (!run->job || strcmp(run->job, job) != 0)
			continue;
		if (strcmp(result, "done") == 0)
			finish(run, HOOK_DONE, "");
		else
			ask_ending(run);
		break;
	}
	return 0;
}

/* ---- how it begins */

static int connect_bus(struct hooks *hooks)
{
	int r;

	if (hooks->bus && sd_bus_is_open(hooks->bus) <= 0)
		disconnect(hooks);
	if (hooks->bus)
		return 0;
	r = sd_bus_open_system(&hooks->bus);
	if (r < 0)
		return r;
	/* a bus daemon that restarts must not end ours: the next run connects again */
	(void)sd_bus_set_exit_on_disconnect(hooks->bus, 0);
	r = sd_bus_attach_event(hooks->bus, hooks->event, SD_EVENT_PRIORITY_NORMAL);
	if (r >= 0) /* systemd sends its signals to who asked for them */
		r = sd_bus_call_method_async(hooks->bus, NULL, MANAGER, "Subscribe", NULL, NULL,
					     "");
	if (r >= 0)
		r = sd_bus_match_signal_async(hooks->bus, NULL, MANAGER, "JobRemoved",
					      on_job_removed, NULL, hooks);
	if (r < 0)
		disconnect(hooks);
	return r;
}

static int append_exec(sd_bus_message *m, char *const *words)
{
	int r = sd_bus_message_open_container(m, 'r', "sv");

	if (r >= 0)
		r = sd_bus_message_append(m, "s", "ExecStart");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "a(sasb)");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "(sasb)");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'r', "sasb");
	if (r >= 0)
		r = sd_bus_message_append(m, "s", words[0]);
	if (r >= 0)
		r = sd_bus_message_append_strv(m, (char **)words);
	if (r >= 0)
		r = sd_bus_message_append(m, "b", /* ignore failure= */ 0);
	for (int depth = 0; depth < 4 && r >= 0; depth++)
		r = sd_bus_message_close_container(m);
	return r;
}

static int append_environment(sd_bus_message *m, const char *const *environment)
{
	int r = sd_bus_message_open_container(m, 'r', "sv");

	if (r >= 0)
		r = sd_bus_message_append(m, "s", "Environment");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "as");
	if (r >= 0)
		r = sd_bus_message_append_strv(m, (char **)environment);
	for (int depth = 0; depth < 2 && r >= 0; depth++)
		r = sd_bus_message_close_container(m);
	return r;
}

static int append_properties(sd_bus_message *m, const struct hook_command *command)
{
	char description[HOOK_TEXT_MAX], user[16];
	int r;

	(void)snprintf(description, sizeof(description), "on-resize= of slot %s", command->slot);
	(void)snprintf(user, sizeof(user), "%u", command->uid);
	r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "Description", "s", description, "Type",
				  "s", "oneshot", "User", "s", user, "Slice", "s", SCOPE_SLICE);
	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "TimeoutStartUSec", "t",
					  HOOK_TIMEOUT_S * USEC_PER_SEC, "TimeoutStopUSec", "t",
					  5 * USEC_PER_SEC, "MemoryMax", "t", MEMORY_MAX_BYTES,
					  "TasksMax", "t", (uint64_t)TASKS_MAX);
	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "NoNewPrivileges", "b", 1,
					  "ProtectSystem", "s", "full", "RestrictSUIDSGID", "b", 1,
					  "UMask", "u", (uint32_t)0077);
	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)(sv)", "CollectMode", "s", "inactive-or-failed",
					  "AddRef", "b", 1);
	if (r >= 0)
		r = append_exec(m, command->words);
	return r >= 0 ? append_environment(m, command->environment) : r;
}

static int on_started(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	const sd_bus_error *e = sd_bus_message_get_error(m);
	struct hook_run *run = userdata;
	char text[HOOK_TEXT_MAX];
	const char *job;

	(void)ret_error;
	if (e && sd_bus_error_has_name(e, DESTINATION ".UnitExists")) {
		reset_failed(run);
		finish(run, HOOK_BUSY, "");
		return 0;
	}
	if (e) {
		(void)snprintf(text, sizeof(text), "systemd does not run it: %s",
			       e->message ? e->message : e->name);
		finish(run, HOOK_FAILED, text);
		return 0;
	}
	if (sd_bus_message_read(m, "o", &job) >= 0)
		run->job = strdup(job);
	if (!run->job)
		finish(run, HOOK_FAILED, "systemd's answer is of no use; how it ends is not known");
	return 0;
}

static int on_silence(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	finish(userdata, HOOK_FAILED, "systemd does not say how it ended");
	return 0;
}

static int send_start(struct hook_run *run, const struct hook_command *command)
{
	sd_bus_message *m = NULL;
	int r = sd_bus_message_new_method_call(run->hooks->bus, &m, MANAGER, "StartTransientUnit");

	if (r >= 0)
		r = sd_bus_message_append(m, "ss", run->unit, "fail");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "(sv)");
	if (r >= 0)
		r = append_properties(m, command);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r >= 0)
		r = sd_bus_message_append(m, "a(sa(sv))", 0);
	if (r >= 0)
		r = sd_bus_call_async(run->hooks->bus, &run->call, m, on_started, run,
				      SILENCE_USEC);
	sd_bus_message_unref(m);
	return r;
}

int hook_start(struct hooks *hooks, const struct hook_command *command, hook_done_fn done,
	       void *userdata, struct hook_run **ret_run)
{
	int r = connect_bus(hooks);
	struct hook_run *run;

	if (r < 0)
		return r;
	run = calloc(1, sizeof(*run));
	if (!run)
		return -ENOMEM;
	run->hooks = hooks;
	run->uid = command->uid;
	run->done = done;
	run->userdata = userdata;
	(void)hook_unit(command->slot, run->unit);
	list_append(&hooks->runs, &run->in_hooks);
	r = sd_event_add_time_relative(hooks->event, &run->timer, CLOCK_MONOTONIC, SILENCE_USEC,
				       USEC_PER_SEC, on_silence, run);
	if (r >= 0)
		r = send_start(run, command);
	if (r < 0) {
		hook_drop(run);
		return r;
	}
	*ret_run = run;
	return 0;
}
