/* SPDX-License-Identifier: Apache-2.0 */

/*
 * fsync() takes tens of milliseconds on a disk that spins and seconds on one that is busy, and the
 * text of 10000 slots takes longer to compose than the loop may stand still. So a thread does
 * both, on a copy of the state. With 10000 slots the loop stood still for 65 ms, and does for the
 * 5 ms that copying them takes.
 *
 * A change is in force before it is on disk, but nobody is told so: a daemon that is killed
 * meanwhile is as one that was killed on the way (manager_restore.c), the request was not answered
 * and may be made again. The save begins at the end of the loop's turn, when the change has come
 * about or not.
 *
 * When a save fails all changes that are not on disk are taken back, those that came since it
 * began, too: they were made on top of the others. The latest goes first, so each finds what it
 * had made.
 */

#include "saver.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "background.h"
#include "base/list.h"

struct change {
	struct list in_saver;
	uint64_t number; /* counts up */
	struct saver_change what;
};

struct answer {
	struct list in_saver;
	uint64_t number; /* of the change it waits for */
	done_fn done;
	void *userdata;
};

struct saver {
	sd_event *event;
	int dir_fd;
	const char *directory;
	struct state *state;
	struct saver_hooks hooks;
	struct list changes, answers; /* in order */
	uint64_t last_number;
	sd_event_source *begin; /* deferred: a save is wanted */
	/* under way: */
	struct background *thread; /* NULL: none */
	struct state *copy;
	uint64_t copy_number; /* the last change that it has */
	bool is_behind;       /* the state has what could neither be saved nor taken back */
};

/* ---- the end of a save */

static void answer_all(struct saver *saver, uint64_t until, int error)
{
	struct fault fault = { .node = NODE_ANY };
	struct answer *answer;

	if (error < 0)
		(void)fault_set(&fault, FAULT_FAILED,
				"the state file in %s could not be written: %s", saver->directory,
				strerror(-error));
	LIST_FOREACH(&saver->answers, answer, in_saver) {
		if (answer->number > until)
			continue;
		list_remove(&answer->in_saver);
		answer->done(fault.kind, &fault, answer->userdata);
		free(answer);
	}
}

static void change_free(struct change *change)
{
	list_remove(&change->in_saver);
	free(change);
}

static void forget_changes(struct saver *saver, uint64_t until)
{
	struct change *change;

	LIST_FOREACH(&saver->changes, change, in_saver) {
		if (change->number > until)
			return;
		change_free(change);
	}
}

static bool take_back(struct saver *saver, const struct saver_change *change)
{
	if (!saver->hooks.undo(change, saver->hooks.userdata))
		return false;
	if (!change->is_new)
		return state_put(saver->state, &change->old) == 0;
	state_remove(saver->state, change->name);
	return true;
}

static void take_all_back(struct saver *saver, int error)
{
	uint64_t until = saver->last_number;
	struct change *change;
	size_t n = 0;

	LIST_FOREACH(&saver->changes, change, in_saver)
		n++;
	saver->hooks.failed(error, n, saver->hooks.userdata);
	while (!list_is_empty(&saver->changes)) {
		change = list_entry(saver->changes.prev, struct change, in_saver);
		if (!take_back(saver, &change->what))
			saver->is_behind = true;
		change_free(change);
	}
	answer_all(saver, until, error);
}

static void finish(struct saver *saver, int result, uint64_t until)
{
	if (result < 0) {
		take_all_back(saver, result);
		return;
	}
	saver->is_behind = false;
	forget_changes(saver, until);
	answer_all(saver, until, 0);
	if (!list_is_empty(&saver->changes))
		(void)sd_event_source_set_enabled(saver->begin, SD_EVENT_ONESHOT);
}

/* ---- saving */

static int work(void *userdata)
{
	const struct saver *saver = userdata;

	return state_save(saver->dir_fd, saver->copy);
}

static void on_saved(int result, void *userdata)
{
	struct saver *saver = userdata;

	saver->thread = NULL;
	state_free(TAKE(saver->copy));
	finish(saver, result, saver->copy_number);
}

static int on_begin(sd_event_source *source, void *userdata)
{
	struct saver *saver = userdata;
	int r;

	(void)source;
	if (saver->thread || list_is_empty(&saver->changes))
		return 0;
	saver->copy_number = saver->last_number;
	saver->copy = state_clone(saver->state);
	if (!saver->copy) {
		finish(saver, -ENOMEM, saver->copy_number);
		return 0;
	}
	r = background_start(saver->event, work, on_saved, saver, &saver->thread);
	if (r < 0) /* late is better than never */
		on_saved(work(saver), saver);
	return 0;
}

/* ---- changes */

static struct change *change_new(struct saver *saver, const char *name)
{
	const struct state_slot *known = state_find(saver->state, name);
	struct change *change = calloc(1, sizeof(*change));

	if (!change)
		return NULL;
	(void)snprintf(change->what.name, sizeof(change->what.name), "%s", name);
	change->what.is_new = !known;
	if (known)
		change->what.old = known->policy;
	return change;
}

static void change_add(struct saver *saver, struct change *change)
{
	change->number = ++saver->last_number;
	list_append(&saver->changes, &change->in_saver);
	if (!saver->thread)
		(void)sd_event_source_set_enabled(saver->begin, SD_EVENT_ONESHOT);
}

int saver_put(struct saver *saver, const struct slot_policy *policy)
{
	struct change *change = change_new(saver, policy->name);
	int r = change ? state_put(saver->state, policy) : -ENOMEM;

	if (r < 0) {
		free(change);
		return r;
	}
	change_add(saver, change);
	return 0;
}

int saver_remove(struct saver *saver, const char *name)
{
	struct change *change;

	if (!state_find(saver->state, name))
		return 0;
	change = change_new(saver, name);
	if (!change)
		return -ENOMEM;
	change->what.is_removed = true;
	state_remove(saver->state, name);
	change_add(saver, change);
	return 0;
}

void saver_cancel(struct saver *saver, const char *name)
{
	struct change *change = NULL, *each;

	LIST_FOREACH(&saver->changes, each, in_saver)
		if (strcmp(each->what.name, name) == 0)
			change = each;
	if (!change)
		return;
	if (change->what.is_new)
		state_remove(saver->state, name);
	else if (state_put(saver->state, &change->what.old) < 0)
		return; /* never, unless it is a slot that was removed */
	change_free(change);
}

void saver_answer(struct saver *saver, const char *name, done_fn done, void *userdata)
{
	struct fault fault = { .node = NODE_ANY };
	struct answer *answer;
	struct change *change;
	uint64_t number = 0;

	LIST_FOREACH(&saver->changes, change, in_saver)
		if (strcmp(change->what.name, name) == 0)
			number = change->number;
	if (number == 0) {
		done(FAULT_NONE, &fault, userdata);
		return;
	}
	answer = calloc(1, sizeof(*answer));
	if (!answer) {
		done(fault_set(&fault, FAULT_FAILED, "out of memory"), &fault, userdata);
		return;
	}
	answer->number = number;
	answer->done = done;
	answer->userdata = userdata;
	list_append(&saver->answers, &answer->in_saver);
}

/* ---- build and teardown */

int saver_new(sd_event *event, int dir_fd, const char *directory, struct state *state,
	      const struct saver_hooks *hooks, struct saver **ret)
{
	struct saver *saver = calloc(1, sizeof(*saver));
	int r;

	if (!saver)
		return -ENOMEM;
	saver->event = sd_event_ref(event);
	saver->dir_fd = dir_fd;
	saver->directory = directory;
	saver->state = state;
	saver->hooks = *hooks;
	list_init(&saver->changes);
	list_init(&saver->answers);
	r = sd_event_add_defer(event, &saver->begin, on_begin, saver);
	if (r >= 0)
		r = sd_event_source_set_enabled(saver->begin, SD_EVENT_OFF);
	if (r < 0) {
		saver_free(saver);
		return r;
	}
	*ret = saver;
	return 0;
}

void saver_free(struct saver *saver)
{
	uint64_t until;
	int r = 0;

	if (!saver)
		return;
	saver->begin = sd_event_source_disable_unref(saver->begin);
	until = saver->last_number;
	if (saver->thread) {
		r = background_wait(TAKE(saver->thread));
		state_free(TAKE(saver->copy));
		if (r == 0)
			forget_changes(saver, saver->copy_number);
	}
	if (!list_is_empty(&saver->changes) || saver->is_behind)
		r = state_save(saver->dir_fd, saver->state);
	if (r < 0)
		saver->hooks.failed(r, 0, saver->hooks.userdata);
	forget_changes(saver, until);
	answer_all(saver, until, r);
	sd_event_unref(saver->event);
	free(saver);
}
