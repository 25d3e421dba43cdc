/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Keeps the state file as the state is, off the event loop: a change is noted at once, written by
 * a thread, and whoever made it is answered when it is on disk. Changes that come while the disk
 * is busy go there together, with the next save. All functions run on the loop's thread.
 */

#include <stdbool.h>
#include <stddef.h>

#include <systemd/sd-event.h>

#include "base/attr.h"
#include "fault.h"
#include "model.h"
#include "state.h"

struct saver;

/* A change that holds in the daemon and is not on disk yet. */
struct saver_change {
	char name[SLOT_NAME_MAX + 1];
	bool is_new, is_removed; /* else the policy was replaced */
	struct slot_policy old;  /* unless is_new */
};

struct saver_hooks {
	/* The state cannot be saved; @n_changes are taken back now. */
	void (*failed)(int error, size_t n_changes, void *userdata);
	/* The daemon is to be as it was before. The last change comes first. Return: false if that
	 * cannot be done: the state keeps it, and the next save has it. */
	bool (*undo)(const struct saver_change *change, void *userdata);
	void *userdata;
};

/**
 * saver_new() - @state is on disk now
 * @dir_fd, @state: borrowed; only the saver changes the state until saver_free()
 * @directory:      for messages, borrowed
 *
 * Return: 0 or -errno.
 */
MUST_USE int saver_new(sd_event *event, int dir_fd, const char *directory, struct state *state,
		       const struct saver_hooks *hooks, struct saver **ret_saver);
/* Waits until all is on disk, and answers. What cannot be saved now is told by hooks->failed, and
 * stays. NULL is fine. */
void saver_free(struct saver *saver);

/* As state_put(). To be done in this turn of the loop, or saver_cancel()led. */
MUST_USE int saver_put(struct saver *saver, const struct slot_policy *policy);
/* As state_remove(). Return: 0 or -ENOMEM; then it stays. */
MUST_USE int saver_remove(struct saver *saver, const char *name);
/* The last change, made in this turn to the slot of that name, did not come about. */
void saver_cancel(struct saver *saver, const char *name);
/**
 * saver_answer() - calls @done with FAULT_NONE when what is known of the slot is on disk
 *
 * At once if it is. If it cannot be saved @done is called when the change has been taken back, with
 * FAULT_FAILED.
 */
void saver_answer(struct saver *saver, const char *name, done_fn done, void *userdata);
