/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mono.h"
#include "kern/sample.h"
#include "message_ids.h"

/*
 * Drives policy/control.h: reads the counters of all slots every half second, and of a group whose
 * memory runs out after it was calm a moment later; lets the law decide group by group, writes
 * memory.low where it changed. All of it is file reads and writes that
 * return at once (tens of microseconds a slot); only what mode `save` gives back is reclaimed, off
 * the loop.
 */

#define TICK_USEC (CONTROL_TICK_NS / NS_PER_USEC)
#define TICK_ACCURACY_USEC 20000
#define EARLY_ACCURACY_USEC 5000
/* A dry run says at most once in so long what it would do to a slot. */
#define DRY_RUN_PERIOD_NS (5 * NS_PER_SEC)
/* … and so what mode `save` would have given back, which goes on and on. */
#define DRY_SAVE_PERIOD_NS (60 * NS_PER_SEC)

bool manager_is_controlling(const struct manager *manager)
{
	return manager_is_enforcing(manager) && manager->config->control != CONFIG_CONTROL_OFF;
}

bool slot_is_dry(const struct slot *slot)
{
	return slot->policy.mode == SLOT_DRY_RUN ||
	       (slot->manager->config->control == CONFIG_CONTROL_DRY_RUN &&
		slot->policy.mode != SLOT_OFF);
}

/* What the law is to know of the plan. */
void slot_plan_control(struct slot *slot)
{
	struct control_slot *control = &slot->control;

	control->name = slot->policy.name;
	control->weight = slot->policy.weight;
	control->tier = slot->policy.tier;
	control->mode = slot_is_dry(slot) ? SLOT_OFF : slot->policy.mode;
	control->min_bytes = slot->guaranteed_bytes;
	control->max_bytes = slot->policy.max_bytes;
	control_reshare(control, slot->share_bytes);
	control_reshare(&slot->shadow, slot->share_bytes);
	if (!slot_is_dry(slot))
		slot->dry_saved_bytes = slot->dry_save_told_ns = 0;
}

uint64_t slot_low_bytes(const struct slot *slot)
{
	return slot_is_unprotected(slot) ? 0 : slot_planned_low_bytes(slot);
}

uint64_t slot_planned_low_bytes(const struct slot *slot)
{
	return manager_is_controlling(slot->manager) ? slot->control.low_bytes : slot->share_bytes;
}

/* ---- reading */

static bool is_due(struct slot *slot, uint64_t now_ns)
{
	uint64_t cpu_us;

	return control_is_due(&slot->control.track, now_ns, 0) ||
	       cgdir_read_cpu(slot->cg, &cpu_us) != CGDIR_OK ||
	       control_is_due(&slot->control.track, now_ns, cpu_us);
}

static void slot_read(struct slot *slot, uint64_t now_ns)
{
	struct control_slot *control = &slot->control;

	control->is_fresh =
		is_due(slot, now_ns) && sample_read(slot->cg, &control->sample) == CGDIR_OK;
}

/* ---- writing */

static void on_saved(int result, void *userdata)
{
	struct slot *slot = userdata;

	(void)result; /* -EAGAIN: there was less; the next tick sees what is left */
	slot->save_op = NULL;
}

static void slot_save(struct slot *slot)
{
	char text[32];
	int fd;

	if (slot->control.reclaim_bytes == 0 || slot->save_op)
		return;
	fd = cgdir_file_fd(slot->cg, CG_MEMORY_RECLAIM);
	(void)snprintf(text, sizeof(text), "%" PRIu64, slot->control.reclaim_bytes);
	if (fd >= 0 &&
	    writer_submit(slot->manager->writer, fd, text, on_saved, slot, &slot->save_op) < 0)
		slot->save_op = NULL;
}

/* A scan is worth an event: somebody's memory.low is withdrawn for it. */
static void slot_tell_scan(struct slot *slot)
{
	bool is_scan = slot->control.track.class == CONTROL_POLLUTER;
	char reason[CONTROL_REASON_MAX];

	if (is_scan == slot->is_told_scan)
		return;
	slot->is_told_scan = is_scan;
	(void)control_explain(&manager_group(slot->manager, slot->policy.node)->control,
			      &slot->control, reason);
	events_add(slot->manager->events, LOG_LEVEL_INFO, is_scan ? "scan" : "scan-over",
		   MESSAGE_SCAN, slot->policy.name, "slot %s %s: %s", slot->policy.name,
		   is_scan ? "lends its protection to the others" : "is protected again", reason);
}

static void slot_tell_dry_run(struct slot *slot, const struct control_group *group, uint64_t now_ns)
{
	char low[FORMAT_BYTES_MAX], reason[CONTROL_REASON_MAX];

	if (!slot->shadow.is_changed || now_ns < slot->dry_told_ns + DRY_RUN_PERIOD_NS)
		return;
	slot->dry_told_ns = now_ns;
	events_add(slot->manager->events, LOG_LEVEL_INFO, "dry-run", MESSAGE_DRY_RUN,
		   slot->policy.name, "slot %s: memory.low would be %s: %s", slot->policy.name,
		   format_bytes(slot->shadow.low_bytes, low),
		   control_explain(group, &slot->shadow, reason));
}

/* Nothing is given back in a dry run, so this is the most that it would be: what would have come back
 * again is not known. */
static void slot_tell_dry_save(struct slot *slot, const struct control_group *group,
			       uint64_t now_ns)
{
	char saved[FORMAT_BYTES_MAX], reason[CONTROL_REASON_MAX];

	slot->dry_saved_bytes += slot->shadow.reclaim_bytes;
	if (slot->shadow.reclaim_bytes == 0 ||
	    (slot->dry_save_told_ns != 0 && now_ns < slot->dry_save_told_ns + DRY_SAVE_PERIOD_NS))
		return;
	slot->dry_save_told_ns = now_ns;
	events_add(slot->manager->events, LOG_LEVEL_INFO, "dry-run", MESSAGE_DRY_RUN,
		   slot->policy.name, "slot %s: mode save would have given back %s so far: %s",
		   slot->policy.name, format_bytes(slot->dry_saved_bytes, saved),
		   control_explain(group, &slot->shadow, reason));
}

/* ---- one group */

static bool has_dry(const struct manager *manager, int node)
{
	for (size_t i = 0; i < manager->n_slots; i++)
		if (manager->slots[i]->policy.node == node && slot_is_dry(manager->slots[i]))
			return true;
	return false;
}

/* The law once more, as if no slot ran dry; what it says for those that do is told. */
static void group_plan_dry(struct manager *manager, struct node_group *group, uint64_t now_ns,
			   struct control_slot **slots)
{
	size_t n = 0;

	group->shadow.bytes = group->control.bytes;
	group->shadow.fairness_permille = group->control.fairness_permille;
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct slot *slot = manager->slots[i];
		struct control_track track =
			slot_is_dry(slot) ? slot->shadow.track : slot->control.track;

		if (slot->policy.node != group->node)
			continue;
		slot->shadow = slot->control;
		slot->shadow.track = track;
		if (slot_is_dry(slot))
			slot->shadow.mode = slot->policy.mode == SLOT_SAVE ? SLOT_SAVE : SLOT_SHARE;
		slots[n++] = &slot->shadow;
	}
	if (control_plan(&group->shadow, slots, n, now_ns) < 0)
		return;
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct slot *slot = manager->slots[i];

		if (slot->policy.node != group->node || !slot_is_dry(slot))
			continue;
		slot_tell_dry_run(slot, &group->shadow, now_ns);
		slot_tell_dry_save(slot, &group->shadow, now_ns);
	}
}

static void group_control(struct manager *manager, struct node_group *group, uint64_t now_ns,
			  struct control_slot **slots)
{
	size_t n = 0;

	group->control.bytes = 0;
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct slot *slot = manager->slots[i];

		if (slot->policy.node != group->node)
			continue;
		slot_read(slot, now_ns);
		group->control.bytes += slot->share_bytes;
		slots[n++] = &slot->control;
	}
	if (n == 0)
		return;
	if (has_dry(manager, group->node))
		group_plan_dry(manager, group, now_ns, slots);
	for (size_t i = 0, k = 0; i < manager->n_slots; i++)
		if (manager->slots[i]->policy.node == group->node)
			slots[k++] = &manager->slots[i]->control;
	if (control_plan(&group->control, slots, n, now_ns) < 0) {
		log_error("the controller found no plan; what is protected stays so");
		return;
	}
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct slot *slot = manager->slots[i];

		if (slot->policy.node != group->node)
			continue;
		if (slot->control.is_changed)
			slot_write_low(slot);
		slot_save(slot);
		slot_tell_scan(slot);
	}
}

static int on_early(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct node_group *group = userdata;
	struct control_slot **slots =
		calloc(group->manager->n_slots + 1, sizeof(struct control_slot *));

	(void)source;
	(void)usec;
	if (slots) {
		group->n_early++;
		group_control(group->manager, group, mono_now_ns(), slots);
	}
	free(slots);
	return 0;
}

void group_look_early(struct node_group *group)
{
	uint64_t next_usec, early_ns;

	if (!group->manager->control_tick ||
	    sd_event_source_get_time(group->manager->control_tick, &next_usec) < 0)
		return;
	early_ns = control_early_ns(&group->control, mono_now_ns(), next_usec * NS_PER_USEC);
	if (early_ns == 0)
		return;
	if (!group->early) {
		/* no memory for it: the next tick does it */
		(void)sd_event_add_time(group->manager->event, &group->early, CLOCK_MONOTONIC,
					early_ns / NS_PER_USEC, EARLY_ACCURACY_USEC, on_early,
					group);
		return;
	}
	(void)sd_event_source_set_time(group->early, early_ns / NS_PER_USEC);
	(void)sd_event_source_set_enabled(group->early, SD_EVENT_ONESHOT);
}

static int on_control_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	struct control_slot **slots = calloc(manager->n_slots + 1, sizeof(struct control_slot *));
	uint64_t now_ns = mono_now_ns();

	for (size_t i = 0; slots && i <= manager->n_nodes; i++)
		group_control(manager, &manager->groups[i], now_ns, slots);
	free(slots);
	/* From now, not from when it was due: after a suspend the ticks are not made up for. */
	(void)sd_event_source_set_time(source,
				       MAX(usec, now_ns / NS_PER_USEC - TICK_USEC) + TICK_USEC);
	return 0;
}

int manager_start_control(struct manager *manager)
{
	int r;

	if (!manager_is_controlling(manager))
		return 0;
	r = sd_event_add_time_relative(manager->event, &manager->control_tick, CLOCK_MONOTONIC,
				       TICK_USEC, TICK_ACCURACY_USEC, on_control_tick, manager);
	return r < 0 ? r : sd_event_source_set_enabled(manager->control_tick, SD_EVENT_ON);
}

/* ---- what clients see */

const struct control_slot *slot_shown_control(const struct slot *slot,
					      const struct control_group **ret_group)
{
	const struct node_group *group = manager_group(slot->manager, slot->policy.node);
	bool is_shadow = slot_is_dry(slot) && slot->shadow.track.sampled_ns > 0;

	if (!group || !manager_is_controlling(slot->manager))
		return NULL;
	*ret_group = is_shadow ? &group->shadow : &group->control;
	return is_shadow ? &slot->shadow : &slot->control;
}

void slot_view_control(const struct slot *slot, struct slot_view *view)
{
	const struct control_group *group;
	const struct control_slot *control = slot_shown_control(slot, &group);

	view->low_bytes = slot_low_bytes(slot);
	view->class = "uncontrolled";
	view->demand_bytes = view->usage_bytes;
	if (!control)
		return;
	view->class = control_class_name(control->track.class);
	view->demand_bytes = control->demand_bytes;
	(void)control_explain(group, control, view->reason);
}
