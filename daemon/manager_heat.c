/* SPDX-License-Identifier: Apache-2.0 */

/*
 * When which slot is measured. On request at once; in the background one after the other, each at
 * most once in heat_interval and less often where that is dear (policy/heat).
 *
 * A forced ageing changes what the kernel's own counters mean: a page that comes back counts as
 * used again ("restore") only while the oldest generation is the one it was taken from (read in
 * 6.12, not measured), and the control law looks at that. So nothing is measured in the background
 * unless heat_interval= says so, and a slot that refaults is not aged in the
 * background: then the refaults are the better evidence, and the kernel ages it by itself.
 */

#include "manager_heat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mono.h"
#include "kern/damon.h"
#include "policy/heat.h"

/* How often somebody is looked for whose turn it is. */
#define LOOK_USEC 1000000
#define LOOK_ACCURACY_USEC 100000
/* At one time, so that thousands of slots cost no long turn of the loop. */
#define LOOK_SLOTS ((size_t)64)
/* Requests that are under way, all slots: what hostile clients can make the kernel do at once. */
#define MEASUREMENTS_MAX 64
#define WAITERS_MAX 1024
/* Too little memory to be worth a look. */
#define USAGE_MIN_BYTES (UINT64_C(1) << 20)

struct heat {
	struct manager *manager;
	sd_event_source *timer;
	struct list running; /* struct measurement */
	size_t n_running, n_waiters;
	size_t next; /* slot to look at */
	struct measurement *background;
};

struct heat_waiter {
	struct list in_measurement;
	measured_fn done;
	void *userdata;
};

static struct slot_heat *slot_get_heat(struct slot *slot)
{
	if (!slot->heat)
		slot->heat = calloc(1, sizeof(*slot->heat));
	return slot->heat;
}

/* ---- a measurement's life */

static uint64_t interval_ms(const struct heat *heat)
{
	return heat->manager->config->heat_interval_ns / NS_PER_MSEC;
}

/* Takes it out of everything and tells who waits; @fault->kind FAULT_NONE: it was done. */
static void measurement_end(struct measurement *m, const struct fault *fault)
{
	struct heat *heat = m->slot->manager->heat;
	struct slot_heat *slot_heat = m->slot->heat;
	struct heat_waiter *waiter;

	slot_heat->running = NULL;
	slot_heat->due_ns =
		mono_now_ns() +
		heat_next_interval_ms(interval_ms(heat), m->cost_ns / NS_PER_USEC) * NS_PER_MSEC;
	list_remove(&m->in_heat);
	heat->n_running--;
	if (heat->background == m)
		heat->background = NULL;
	if (fault->kind != FAULT_NONE && m->is_background)
		log_debug("%s", fault->message);
	LIST_FOREACH(&m->waiters, waiter, in_measurement) {
		list_remove(&waiter->in_measurement);
		heat->n_waiters--;
		waiter->done(fault->kind, fault, waiter->userdata);
		free(waiter);
	}
	free(m);
}

static struct measurement *measurement_begin(struct heat *heat, struct slot *slot,
					     enum heat_source source, uint64_t window_ms,
					     bool is_background)
{
	struct measurement *m = calloc(1, sizeof(*m));

	if (!m || !slot_get_heat(slot)) {
		free(m);
		return NULL;
	}
	m->slot = slot;
	m->source = source;
	m->window_ms = window_ms;
	m->is_background = is_background;
	m->done = measurement_end;
	list_init(&m->waiters);
	list_init(&m->in_heat);
	if (measurement_start(m) < 0) {
		free(m);
		return NULL;
	}
	slot->heat->running = m;
	list_append(&heat->running, &m->in_heat);
	heat->n_running++;
	return m;
}

/* ---- background */

/* Has pages that came back since it was last looked at. */
static bool is_refaulting(struct slot *slot)
{
	struct slot_heat *heat = slot->heat;
	uint64_t refaults, stall_us;

	if (!heat || heat->base_ns == 0)
		return false;
	heat_read_evidence(slot, &refaults, &stall_us);
	return refaults > heat->base_refaults;
}

static bool may_be_measured(struct slot *slot, uint64_t now_ns)
{
	uint64_t usage;

	if (slot->removal || (slot->heat && (slot->heat->running || slot->heat->due_ns > now_ns)))
		return false;
	return cgdir_read_u64(slot->cg, CG_MEMORY_CURRENT, &usage) == CGDIR_OK &&
	       usage >= USAGE_MIN_BYTES;
}

/* It is left alone for now. What was measured before stays and gets older, which is shown. */
static void slot_postpone(struct slot *slot, uint64_t now_ns, uint64_t wait_ms)
{
	struct slot_heat *heat = slot->heat;
	uint64_t refaults = heat->base_refaults, stall_us = heat->base_stall_us;

	heat_read_evidence(slot, &heat->base_refaults, &heat->base_stall_us);
	if (!heat->has_report || heat->report.source == HEAT_NONE) {
		heat->has_report = true;
		heat->report = (struct heat_report){
			.source = HEAT_NONE,
			.measured_ns = now_ns,
			.window_ms = (now_ns - heat->base_ns) / NS_PER_MSEC,
			.refault_bytes = (heat->base_refaults - refaults) * HEAT_PAGE_BYTES,
			.stall_us = heat->base_stall_us - stall_us,
			.note = "its pages come back from swap or disk: it is not aged in the "
				"background, which would disturb that evidence; tmctl show --heat "
				"measures it now",
		};
	}
	heat->base_ns = now_ns;
	heat->has_base = false;
	heat->due_ns = now_ns + wait_ms * NS_PER_MSEC;
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct heat *heat = userdata;
	const struct manager *manager = heat->manager;
	uint64_t now_ns = mono_now_ns();

	(void)sd_event_source_set_time(source, mono_next_usec(usec, LOOK_USEC));
	for (size_t i = 0; i < MIN(manager->n_slots, LOOK_SLOTS) && !heat->background; i++) {
		struct slot *slot = manager->slots[heat->next++ % manager->n_slots];

		if (!may_be_measured(slot, now_ns))
			continue;
		if (is_refaulting(slot))
			slot_postpone(slot, now_ns, interval_ms(heat));
		else
			heat->background = measurement_begin(heat, slot, HEAT_NONE, 0,
							     /* is_background= */ true);
	}
	return 0;
}

/* ---- requests */

static struct measurement *find_damon(struct heat *heat)
{
	struct measurement *m;

	LIST_FOREACH(&heat->running, m, in_heat)
		if (m->source == HEAT_DAMON)
			return m;
	return NULL;
}

static enum fault_kind check_request(struct heat *heat, struct slot *slot, enum heat_source source,
				     struct fault *fault)
{
	const struct measurement *m = slot->heat ? slot->heat->running : NULL;

	if (heat->n_waiters >= WAITERS_MAX || (!m && heat->n_running >= MEASUREMENTS_MAX))
		return fault_set(fault, FAULT_REFUSED,
				 "%zu measurements are under way; try again in some seconds",
				 heat->n_running);
	if (m && !m->is_background && source != HEAT_NONE && m->source != source)
		return fault_set(fault, FAULT_REFUSED,
				 "slot %s is being measured another way; try again in some seconds",
				 slot->policy.name);
	m = source == HEAT_DAMON ? find_damon(heat) : NULL;
	if (m && m->slot != slot)
		return fault_set(fault, FAULT_REFUSED,
				 "DAMON is watching slot %s, and can watch only one; try again in "
				 "some seconds",
				 m->slot->policy.name);
	return FAULT_NONE;
}

static const struct fault no_memory = { .kind = FAULT_FAILED,
					.node = NODE_ANY,
					.message = "out of memory" };

/* The measurement that answers the request, a new one or one under way. One in the background
 * watches since another moment: it is dropped, and its slot's turn comes again. */
static struct measurement *measurement_for(struct heat *heat, struct slot *slot,
					   enum heat_source source, uint64_t window_ms)
{
	struct measurement *m = slot->heat ? slot->heat->running : NULL;

	if (m && m->is_background) {
		static const struct fault dropped = { .kind = FAULT_FAILED,
						      .node = NODE_ANY,
						      .message = "dropped for a request" };

		measurement_stop(m);
		measurement_end(m, &dropped);
		m = NULL;
	}
	return m ?: measurement_begin(heat, slot, source, window_ms, /* is_background= */ false);
}

static enum fault_kind bad_window(struct fault *fault)
{
	(void)snprintf(fault->field, sizeof(fault->field), "windowUsec");
	return fault_set(fault, FAULT_BAD_VALUE, "use %ds to %ds", MEASURE_WINDOW_MS_MIN / 1000,
			 MEASURE_WINDOW_MS_MAX / 1000);
}

void manager_measure(struct manager *manager, const char *name, enum heat_source source,
		     uint64_t window_ms, measured_fn done, void *userdata)
{
	struct slot *slot = manager_find_slot(manager, name);
	struct fault fault = { .node = NODE_ANY };
	struct heat_waiter *waiter;
	struct measurement *m;

	if (!slot)
		(void)fault_set(&fault, FAULT_NO_SUCH_SLOT, "no slot %s", name);
	else if (window_ms < MEASURE_WINDOW_MS_MIN || window_ms > MEASURE_WINDOW_MS_MAX)
		(void)bad_window(&fault);
	else
		(void)check_request(manager->heat, slot, source, &fault);
	if (fault.kind != FAULT_NONE)
		return done(fault.kind, &fault, userdata);
	waiter = malloc(sizeof(*waiter));
	m = waiter ? measurement_for(manager->heat, slot, source, window_ms) : NULL;
	if (!m) {
		free(waiter);
		return done(no_memory.kind, &no_memory, userdata);
	}
	*waiter = (struct heat_waiter){ .done = done, .userdata = userdata };
	list_append(&m->waiters, &waiter->in_measurement);
	manager->heat->n_waiters++;
}

/* ---- the slot's side */

void heat_forget(struct slot *slot)
{
	struct fault fault = { .node = NODE_ANY };
	struct measurement *m = slot->heat ? slot->heat->running : NULL;

	if (m) {
		(void)fault_set(&fault, FAULT_FAILED, "slot %s was removed or moved",
				slot->policy.name);
		measurement_stop(m);
		measurement_end(m, &fault);
	}
	free(slot->heat);
	slot->heat = NULL;
}

void heat_view(const struct slot *slot, struct slot_view *view)
{
	const struct slot_heat *heat = slot->heat;

	if (!heat || !heat->has_report)
		return;
	view->has_heat = true;
	view->heat = heat->report;
	view->heat_age_ns = mono_now_ns() - heat->report.measured_ns;
}

/* ---- build and teardown */

int heat_new(struct manager *manager, struct heat **ret_heat)
{
	struct heat *heat = calloc(1, sizeof(*heat));
	int r = 0;

	if (!heat)
		return -ENOMEM;
	heat->manager = manager;
	list_init(&heat->running);
	/* a daemon before this one may have been killed while it watched */
	damon_clean(DAMON_PATH);
	if (manager->config->heat_interval_ns > 0)
		r = sd_event_add_time_relative(manager->event, &heat->timer, CLOCK_MONOTONIC,
					       LOOK_USEC, LOOK_ACCURACY_USEC, on_look, heat);
	if (r >= 0 && heat->timer)
		r = sd_event_source_set_enabled(heat->timer, SD_EVENT_ON);
	if (r < 0) {
		heat_close(heat);
		return r;
	}
	*ret_heat = heat;
	return 0;
}

void heat_close(struct heat *heat)
{
	if (!heat)
		return;
	sd_event_source_disable_unref(heat->timer);
	damon_clean(DAMON_PATH);
	free(heat);
}
