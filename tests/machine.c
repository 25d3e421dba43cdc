/* SPDX-License-Identifier: Apache-2.0 */

#include "machine.h"

#include <stdlib.h>

#include "policy/entitle.h"
#include "suite.h"

uint32_t machine_between(uint32_t least, uint32_t most)
{
	return least + (uint32_t)random_below(most - least + 1);
}

bool machine_chance(uint32_t permille)
{
	return random_below(1000) < permille;
}

uint32_t machine_count(void)
{
	const char *text = getenv("TASKMEM_MODEL_MACHINES");
	uint32_t n = text ? (uint32_t)strtoul(text, NULL, 10) : MACHINES;

	return MAX(1U, n);
}

/* ---- making one */

static struct plant_phase random_phase(uint32_t n_units, uint32_t n_ticks)
{
	static const enum plant_access accesses[] = {
		PLANT_UNIFORM, PLANT_UNIFORM, PLANT_ZIPF, PLANT_LOOP, PLANT_TOUCH, PLANT_SLEEP,
	};
	struct plant_phase phase = {
		.access = accesses[random_below(ARRAY_LEN(accesses))],
		.n_units = machine_between(1, n_units),
		.speed_permille = machine_chance(300) ? machine_between(1, 1000) : 0,
		.n_ticks = n_ticks,
	};

	phase.first_unit = machine_between(0, n_units - phase.n_units);
	return phase;
}

static struct plant_task random_task(uint32_t group_units, enum machine_kind kind)
{
	struct plant_task task = {
		.memory = (enum plant_memory)random_below(3),
		.n_units = machine_chance(200) ? machine_between(group_units, 2 * group_units)
					       : machine_between(2, group_units * 3 / 4),
		.n_phases = 1,
	};

	switch (kind) {
	case MACHINE_ANY:
		task.n_phases = machine_between(1, PLANT_PHASES);
		for (uint32_t i = 0; i < task.n_phases; i++)
			task.phases[i] = random_phase(task.n_units, machine_between(5, 60));
		break;
	case MACHINE_TURNS:
		task.n_phases = machine_chance(500) ? 2 : 1;
		task.phases[0] = random_phase(task.n_units, UINT32_MAX);
		task.phases[1] = random_phase(task.n_units, 0);
		break;
	case MACHINE_STEADY:
	default:
		task.phases[0] = random_phase(task.n_units, 0);
		break;
	}
	return task;
}

/* Without swap, heap must fit beside everything else, or tasks die as they should. */
static void fit_heap(struct machine *m, uint32_t group)
{
	uint32_t left = m->config.group_units[group];

	for (uint32_t i = 0; i < m->n_slots; i++)
		left -= m->slots[i].group == group ? m->slots[i].min_units : 0;
	left = left * 7 / 10;
	for (uint32_t i = 0; i < m->n_slots; i++) {
		struct steer_slot *slot = &m->slots[i];

		for (uint32_t k = 0; slot->group == group && k < slot->n_tasks; k++) {
			struct plant_task *task = &slot->tasks[k];

			if (task->memory != PLANT_ANON)
				continue;
			if (task->n_units > left || slot->max_units != 0)
				task->memory = PLANT_MAPPED;
			else
				left -= task->n_units;
		}
	}
}

static void make_group(struct machine *m, uint32_t group, enum machine_kind kind)
{
	uint32_t units = m->config.group_units[group] = machine_between(100, 200);
	uint32_t n = machine_between(1, MACHINE_SLOTS_OF_GROUP), guaranteed = units / 2;

	for (; n > 0; n--) {
		struct steer_slot *slot = &m->slots[m->n_slots++];

		slot->group = group;
		slot->weight = machine_chance(300) ? machine_between(1, 400) : 100;
		slot->tier = machine_chance(200) ? machine_between(0, TIERS - 1) : TIER_DEFAULT;
		slot->mode =
			machine_chance(200) ? (enum slot_mode)random_below(SLOT_MODES) : SLOT_SHARE;
		slot->min_units = machine_chance(250) ? machine_between(0, guaranteed) : 0;
		guaranteed -= slot->min_units;
		slot->max_units =
			machine_chance(150) ? slot->min_units + machine_between(5, units) : 0;
		slot->n_tasks = machine_chance(200) ? machine_between(2, PLANT_TASKS) : 1;
		for (uint32_t k = 0; k < slot->n_tasks; k++)
			slot->tasks[k] = random_task(units, kind);
	}
	if (!m->config.has_swap)
		fit_heap(m, group);
}

void machine_init(struct machine *m, uint32_t seed, enum machine_kind kind)
{
	random_state = seed;
	*m = (struct machine){ .seed = seed };
	m->config = (struct plant_config){
		.seed = seed,
		.unit_pages = machine_between(128, 320),
		.n_groups = machine_chance(300) ? machine_between(2, 3) : 1,
		.is_legacy = machine_chance(250),
		.has_swap = machine_chance(750),
	};
	m->fairness_permille = machine_chance(300) ? machine_between(0, 1000) : 0;
	for (uint32_t group = 0; group < m->config.n_groups; group++)
		make_group(m, group, kind);
	ck_assert(steer_init(&m->steer, STEER_LAW, &m->config, m->slots, m->n_slots,
			     m->fairness_permille));
}

void machine_deinit(struct machine *m)
{
	steer_deinit(&m->steer);
}

void machine_change_wishes(struct machine *m)
{
	for (uint32_t i = 0; i < m->n_slots; i++)
		if (machine_chance(400))
			m->steer.wishes[i].weight = machine_between(1, 1000);
	ck_assert(steer_entitle(&m->steer));
}

void machine_turn(struct machine *m)
{
	for (uint32_t i = 0; i < m->n_slots; i++) {
		struct plant_slot *slot = &m->steer.plant->slots[i];

		for (uint32_t k = 0; k < slot->n_tasks; k++) {
			struct plant_runner *runner = &slot->tasks[k];

			if (runner->task.n_phases < 2)
				continue;
			runner->phase = 1;
			runner->phase_ticks = runner->position = 0;
		}
	}
}

/* ---- what holds at every tick */

static bool is_scan(const struct control_slot *slot)
{
	return slot->mode != SLOT_OFF && slot->track.class == CONTROL_POLLUTER;
}

/* Somebody who is, or was, taken for a scan has much more than he was protected at. */
static bool is_scan_pushed_out(const struct machine *m, uint32_t group)
{
	for (uint32_t i = 0; i < m->n_slots; i++) {
		const struct control_slot *slot = &m->steer.slots[i];

		if (m->slots[i].group == group && slot->mode != SLOT_OFF &&
		    (is_scan(slot) || control_is_retested(slot)) &&
		    slot->sample.current_bytes >
			    m->held_bytes[i] + control_hold_bytes(&m->steer.groups[group], slot))
			return true;
	}
	return false;
}

/* Its usage and the room that control_plan() speaks of. */
static uint64_t roomy_bytes(const struct control_group *group, const struct control_slot *slot)
{
	return slot->sample.current_bytes + slot->sample.current_bytes / 50 +
	       MIN(group->bytes / 100, slot->share_bytes / 8);
}

/* The most that the slot counts with while a scan is pushed out and nobody asks. */
static uint64_t most_bytes(const struct control_group *group, const struct control_slot *slot)
{
	uint64_t used = slot->sample.current_bytes;

	if (slot->mode == SLOT_OFF || control_is_retested(slot))
		return slot->share_bytes;
	switch (slot->track.class) {
	case CONTROL_QUIET:
	case CONTROL_IDLE:
		return MAX(roomy_bytes(group, slot), control_least_bytes(group, slot));
	case CONTROL_SUSPECT:
		return MAX(used - used / 20, control_least_bytes(group, slot));
	case CONTROL_POLLUTER:
		return MAX(used / 2, control_least_bytes(group, slot));
	case CONTROL_NEW:
	case CONTROL_EVIDENCE:
	default:
		return slot->share_bytes;
	}
}

/* control_plan()'s bound on the sum of what the group's slots are promised. */
static uint64_t most_promised(const struct machine *m, uint32_t group)
{
	const struct control_group *g = &m->steer.groups[group];
	bool is_pushed_out = is_scan_pushed_out(m, group);
	uint64_t shares = 0, sum = 0, scans = 0, others_use = 0, used = 0;

	for (uint32_t i = 0; i < m->n_slots; i++) {
		const struct control_slot *slot = &m->steer.slots[i];
		uint64_t most = is_pushed_out ? most_bytes(g, slot) : slot->share_bytes;

		if (m->slots[i].group != group)
			continue;
		shares += slot->share_bytes;
		used += slot->sample.current_bytes;
		if (is_scan(slot) && g->n_polluter > 1)
			scans += most;
		else
			sum += most;
		if (!is_scan(slot))
			others_use += MAX(roomy_bytes(g, slot), slot->min_bytes);
	}
	if (g->n_evidence > 0)
		return MAX(g->bytes, shares) + MIN(used - MIN(used, g->bytes), g->bytes / 32) / 2;
	if (g->n_polluter > 1)
		scans = MAX(scans, (g->bytes - MIN(others_use, g->bytes)) * 9 / 10);
	return MAX(MAX(g->bytes, shares), sum + scans);
}

static void check_slot(const struct machine *m, uint32_t i)
{
	const struct control_slot *slot = &m->steer.slots[i];

	MACHINE_CHECK(m, slot->low_bytes >= slot->min_bytes, "slot %u", i);
	MACHINE_CHECK(m, slot->low_bytes % CONTROL_PAGE == 0, "slot %u", i);
	MACHINE_CHECK(m, slot->low_bytes <= MAX(slot->max_bytes, slot->share_bytes), "slot %u", i);
	MACHINE_CHECK(m, slot->low_bytes == slot->track.low_bytes, "slot %u", i);
	MACHINE_CHECK(m, m->steer.plant->slots[i].low_bytes == slot->low_bytes, "slot %u", i);
	if (slot->mode == SLOT_OFF)
		MACHINE_CHECK(m, slot->low_bytes == (slot->share_bytes & ~(CONTROL_PAGE - 1)),
			      "slot %u", i);
	MACHINE_CHECK(m, m->steer.plant->slots[i].n_kills == 0 || m->config.has_swap, "slot %u", i);
}

/* Protection in one group is what may be promised: guarantees hold, nothing is given twice. */
static void check_group(const struct machine *m, uint32_t group)
{
	uint64_t promised = 0, most = most_promised(m, group);

	for (uint32_t i = 0; i < m->n_slots; i++) {
		if (m->slots[i].group != group)
			continue;
		promised += m->steer.slots[i].low_bytes;
		check_slot(m, i);
	}
	MACHINE_CHECK(m, promised <= most, "%llu > %llu of group %u", (unsigned long long)promised,
		      (unsigned long long)most, group);
}

void machine_tick(struct machine *m)
{
	int r;

	for (uint32_t i = 0; i < m->n_slots; i++)
		m->held_bytes[i] = m->steer.slots[i].track.low_bytes;
	r = steer_tick(&m->steer);
	MACHINE_CHECK(m, r == 0, "control_plan() returned %d", r);
	MACHINE_CHECK(m, m->steer.n_different == 0, "another order of slots is another plan");
	for (uint32_t group = 0; group < m->config.n_groups; group++)
		check_group(m, group);
}

/* ---- what a slot must have */

/* Part of its due that a slot must have: the tax probes those that are served, and reclaim may take
 * more than it was to take at a stroke. */
#define DUE_PERMILLE 930
/* A reader that can have so small a part of what it reads finds nothing again that it has read, and
 * is a scan to every counter the kernel has. */
#define COLLAPSED_DIVISOR 3
/* Who runs less misses so little of what he lacks that he may never show a need, which is one per cent
 * of his memory a second. */
#define SEEN_SPEED_PERMILLE 250

/* What a slot is known to use, in units. */
struct use {
	uint32_t n_units, n_looped;
	bool is_known;
};

static void use_add(struct use *use, const struct machine *m, const struct plant_runner *runner)
{
	const struct plant_phase *phase = &runner->task.phases[runner->phase];

	if (phase->access == PLANT_SLEEP)
		return;
	if (phase->access == PLANT_TOUCH) {
		use->is_known &= runner->position >= phase->n_units;
		return;
	}
	use->n_units += phase->n_units;
	use->n_looped += phase->access == PLANT_LOOP ? phase->n_units : 0;
	if (phase->speed_permille != 0 && phase->speed_permille < SEEN_SPEED_PERMILLE)
		use->is_known = false;
	/* memory that cannot be taken from others is no reason to blame anybody */
	if (!m->config.has_swap && runner->task.memory != PLANT_ANON)
		use->is_known = false;
}

static struct use use_of(const struct machine *m, uint32_t i)
{
	const struct plant_slot *slot = &m->steer.plant->slots[i];
	struct use use = { .is_known = true };

	for (uint32_t k = 0; k < slot->n_tasks; k++)
		use_add(&use, m, &slot->tasks[k]);
	return use;
}

/* All memory divided anew, as if each slot wished no more than it is known to use. */
static void divide(const struct machine *m, uint64_t bytes[MACHINE_SLOTS_MAX])
{
	const struct plant *plant = m->steer.plant;
	struct slot_policy wishes[MACHINE_SLOTS_MAX];
	struct entitle_slot slots[MACHINE_SLOTS_MAX] = { 0 };
	struct node_info nodes[PLANT_GROUPS] = { 0 };
	struct entitle_node results[PLANT_GROUPS];
	struct entitle_any any;

	for (uint32_t i = 0; i < m->config.n_groups; i++) {
		nodes[i].node = (int)i;
		nodes[i].budget_bytes = m->steer.groups[i].bytes;
	}
	for (uint32_t i = 0; i < m->n_slots; i++) {
		const struct control_slot *slot = &m->steer.slots[i];
		struct use use = use_of(m, i);
		uint64_t least = MIN(control_least_bytes(&m->steer.groups[m->slots[i].group], slot),
				     slot->share_bytes);

		wishes[i] = m->steer.wishes[i];
		slots[i].policy = &wishes[i];
		if (slot->mode == SLOT_OFF)
			least = wishes[i].max_bytes = slot->share_bytes;
		else if (use.is_known)
			wishes[i].max_bytes = MIN(wishes[i].max_bytes,
						  MAX(plant_bytes(plant, use.n_units), least));
		wishes[i].min_bytes = least;
	}
	ck_assert_int_eq(entitle(nodes, m->config.n_groups, slots, m->n_slots, results, &any),
			 ENTITLE_OK);
	for (uint32_t i = 0; i < m->n_slots; i++)
		bytes[i] = slots[i].share_bytes;
}

/* Less what may be missing at any time. */
static uint64_t nearly(const struct machine *m, uint64_t bytes)
{
	bytes = bytes / 1000 * DUE_PERMILLE;
	return bytes - MIN(bytes, plant_bytes(m->steer.plant, 1));
}

/* Is it known what the slot uses, and can it show that? */
static bool is_clear(const struct machine *m, uint32_t i, const struct use *use)
{
	const struct control_slot *slot = &m->steer.slots[i];
	uint64_t need = plant_bytes(m->steer.plant, use->n_units);
	uint64_t own = MIN(slot->share_bytes, slot->max_bytes);

	return use->is_known && own >= need / COLLAPSED_DIVISOR &&
	       (use->n_looped == 0 || need <= own);
}

void machine_dues(const struct machine *m, struct machine_due dues[MACHINE_SLOTS_MAX])
{
	uint64_t bytes[MACHINE_SLOTS_MAX];
	bool is_lending[PLANT_GROUPS];

	for (uint32_t i = 0; i < m->config.n_groups; i++)
		is_lending[i] = true;
	for (uint32_t i = 0; i < m->n_slots; i++) {
		struct use use = use_of(m, i);

		is_lending[m->slots[i].group] &= is_clear(m, i, &use);
	}
	divide(m, bytes);
	for (uint32_t i = 0; i < m->n_slots; i++) {
		const struct control_slot *slot = &m->steer.slots[i];
		struct use use = use_of(m, i);
		uint64_t need = plant_bytes(m->steer.plant, use.n_units);

		dues[i] = (struct machine_due){ .has_loop = use.n_looped > 0 };
		if (slot->mode == SLOT_OFF || !is_clear(m, i, &use))
			continue;
		dues[i].own_bytes = nearly(m, MIN(MIN(slot->share_bytes, slot->max_bytes), need));
		dues[i].lent_bytes = is_lending[m->slots[i].group] ? nearly(m, MIN(bytes[i], need))
								   : dues[i].own_bytes;
	}
}
