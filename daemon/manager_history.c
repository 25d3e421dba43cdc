/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "background.h"
#include "base/log.h"
#include "base/mono.h"
#include "history_file.h"

/*
 * Feeds the histories and stores them. Storing waits for the disk, and with many names takes
 * longer than the event loop may stand still, so a thread does it, on a copy. What a kill loses is
 * a few minutes of guessing material.
 *
 * Demand is memory.current and memory.swap.current of slots with tasks; of what the controller
 * takes for a scan without page cache. How much that is was read for emergencies some seconds ago.
 */

#define SAVE_INTERVAL_NS (300 * NS_PER_SEC)
/* After a slot was removed: soon, for the next one of its name may come after a restart. */
#define SAVE_SOON_NS NS_PER_SEC
/* Slots that are looked at in one tick: bounds what a tick costs. */
#define SAMPLES_PER_TICK 64

struct history_save {
	struct manager *manager;
	struct background *thread;
	int dir_fd; /* borrowed */
	struct history *copy;
};

static uint64_t real_now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec < 0 ? 0 : (uint64_t)ts.tv_sec;
}

/* ---- storing */

static int save_work(void *userdata)
{
	const struct history_save *save = userdata;

	return history_file_save(save->dir_fd, save->copy);
}

static void note_result(const struct manager *manager, int r)
{
	if (r < 0)
		log_warning("%s/%s cannot be written: %s", manager->config->state_directory,
			    HISTORY_FILE, strerror(-r));
}

static void save_free(struct history_save *save)
{
	save->manager->admission.save = NULL;
	history_free(save->copy);
	free(save);
}

static void save_done(int result, void *userdata)
{
	struct history_save *save = userdata;

	note_result(save->manager, result);
	save_free(save);
}

static void save_start(struct manager *manager)
{
	struct history_save *save = calloc(1, sizeof(*save));
	int r = -ENOMEM;

	manager->admission.save_at_ns = mono_now_ns() + SAVE_INTERVAL_NS;
	if (!save)
		return;
	save->manager = manager;
	save->dir_fd = manager->state_fd;
	save->copy = history_clone(manager->admission.history);
	if (save->copy)
		r = background_start(manager->event, save_work, save_done, save, &save->thread);
	if (r < 0) {
		log_warning("the histories cannot be stored: %s", strerror(-r));
		save_free(save);
		return;
	}
	manager->admission.save = save;
}

static void save_not_later_than(struct manager *manager, uint64_t at_ns)
{
	manager->admission.save_at_ns = MIN(manager->admission.save_at_ns, at_ns);
}

/* ---- feeding */

static struct history_use slot_use(const struct slot *slot, uint64_t usage, uint64_t swap)
{
	const struct cgdir_stat *stat = &slot->watch.stat;
	uint64_t cache = MIN(stat->file - MIN(stat->file, stat->shmem), usage);
	const struct control_group *group;
	const struct control_slot *control = slot_shown_control(slot, &group);

	return (struct history_use){
		.bytes = usage + swap,
		.kept_bytes = usage - cache + swap,
		.is_scan = control && (control->track.class == CONTROL_POLLUTER ||
				       control_is_retested(control)),
	};
}

static void sample_slot(struct slot *slot, uint64_t now_s)
{
	struct history *history = slot->manager->admission.history;
	struct cgdir_events events = {};
	uint64_t usage = 0, swap = 0, peak;
	bool is_populated = false;
	struct history_use use;

	if (cgdir_is_populated(slot->cg, &is_populated) != CGDIR_OK ||
	    cgdir_read_u64(slot->cg, CG_MEMORY_CURRENT, &usage) != CGDIR_OK)
		return;
	if (cgdir_read_u64(slot->cg, CG_MEMORY_SWAP_CURRENT, &swap) != CGDIR_OK)
		swap = 0;
	use = slot_use(slot, usage, swap);
	if (is_populated && history_note_use(history, slot->policy.name, &use, now_s) < 0)
		log_debug("slot %s: no memory for its history", slot->policy.name);
	if (cgdir_read_events(slot->cg, &events) != CGDIR_OK)
		return;
	if (slot->n_oom_kills != UINT64_MAX && events.oom_kill > slot->n_oom_kills) {
		if (cgdir_read_u64(slot->cg, CG_MEMORY_PEAK, &peak) != CGDIR_OK)
			peak = usage;
		if (history_note_oom(history, slot->policy.name, MAX(peak, usage + swap), now_s) <
		    0)
			log_debug("slot %s: no memory for its history", slot->policy.name);
	}
	slot->n_oom_kills = events.oom_kill;
}

void histories_tick(struct manager *manager, uint64_t now_ns)
{
	struct admission *admission = &manager->admission;
	uint64_t now_s = real_now_s();

	if (!admission->history)
		return;
	for (size_t i = 0; i < MIN(manager->n_slots, (size_t)SAMPLES_PER_TICK); i++)
		sample_slot(manager->slots[admission->next_sampled++ % manager->n_slots], now_s);
	if (manager->n_slots > 0)
		save_not_later_than(manager, now_ns + SAVE_INTERVAL_NS);
	if (!admission->save && now_ns >= admission->save_at_ns) {
		admission->save_at_ns = UINT64_MAX;
		save_start(manager);
	}
}

void histories_slot_removed(struct manager *manager, const char *name)
{
	if (!manager->admission.history)
		return;
	if (history_close(manager->admission.history, name, real_now_s()) < 0)
		log_debug("slot %s: no memory for its history", name);
	save_not_later_than(manager, mono_now_ns() + SAVE_SOON_NS);
}

struct history_prediction histories_predict(const struct manager *manager, const char *name)
{
	if (!manager->admission.history)
		return (struct history_prediction){};
	return history_predict(manager->admission.history, name, real_now_s());
}

int histories_open(struct manager *manager, char error[static MANAGER_ERROR_MAX])
{
	char why[SAFEFILE_ERROR_MAX] = "";
	int r = history_file_load(manager->state_fd, manager->config->history_half_life_s,
				  &manager->admission.history, why);

	if (r < 0) {
		(void)snprintf(error, MANAGER_ERROR_MAX, "%s/%s: %s",
			       manager->config->state_directory, HISTORY_FILE, strerror(-r));
		return r;
	}
	if (r != SAFEFILE_OK && r != SAFEFILE_ABSENT)
		events_add(manager->events, LOG_LEVEL_WARNING, "history-set-aside", NULL, NULL,
			   "%s; needs are predicted anew", why);
	return 0;
}

void histories_close(struct manager *manager)
{
	struct history *history = manager->admission.history;
	int r;

	if (!history)
		return;
	if (manager->admission.save)
		save_done(background_wait(manager->admission.save->thread),
			  manager->admission.save);
	r = history_close_all(history, real_now_s());
	if (r >= 0)
		r = history_file_save(manager->state_fd, history);
	note_result(manager, r);
	history_free(history);
	manager->admission.history = NULL;
}
