/* SPDX-License-Identifier: Apache-2.0 */

/* What tasks do. A task that stalls gets less done; nothing else slows it. */

#include "plant.h"

/* Part of the refaults' time that counts as a stall: pages once known as hot do. */
#define STALLED_PERCENT 60

/* A page whose accessed bit was cleared is seen as accessed again only once its translation left
 * the processor's cache, which a context switch does: so not by each access. */
#define SEEN_PERMILLE 300

static uint32_t zipf(struct plant *plant, uint32_t n)
{
	/* a power of two by chance, then uniform below the next one: density 1/rank in steps */
	uint32_t n_bits = 32 - (uint32_t)__builtin_clz(n), first, rank;

	do {
		first = UINT32_C(1) << plant_random(plant, n_bits);
		rank = first + plant_random(plant, first);
	} while (rank > n);
	return rank - 1;
}

/* The next unit that the task touches, or UINT32_MAX when it sleeps. */
static uint32_t next_unit(struct plant *plant, struct plant_runner *runner)
{
	const struct plant_phase *phase = &runner->task.phases[runner->phase];
	uint32_t offset = 0;

	if (runner->task.is_filled && runner->n_filled < runner->task.n_units)
		return runner->base + runner->n_filled++;
	switch (phase->access) {
	case PLANT_UNIFORM:
		offset = plant_random(plant, phase->n_units);
		break;
	case PLANT_ZIPF:
		offset = zipf(plant, phase->n_units);
		break;
	case PLANT_LOOP:
		offset = runner->position;
		runner->position = (runner->position + 1) % phase->n_units;
		break;
	case PLANT_TOUCH:
		if (runner->position >= phase->n_units) {
			if (phase->n_ticks == 0 && runner->phase + 1 < runner->task.n_phases) {
				runner->phase++;
				runner->phase_ticks = runner->position = 0;
				return next_unit(plant, runner);
			}
			return UINT32_MAX;
		}
		offset = runner->position++;
		break;
	case PLANT_SLEEP:
	default:
		return UINT32_MAX;
	}
	return runner->base + phase->first_unit + offset;
}

static void hit(struct plant *plant, struct plant_slot *slot, uint32_t index)
{
	struct plant_unit *unit = &plant->units[index];

	if (unit->memory != PLANT_FILE) {
		if (!unit->is_accessed)
			unit->is_accessed = plant_random(plant, 1000) < SEEN_PERMILLE;
		return;
	}
	if (unit->refs < 3)
		unit->refs++;
	/* mark_page_accessed(): the second read activates */
	if (plant->config.is_legacy && !unit->is_active)
		plant_legacy_activate(plant, slot, index);
}

static int64_t fault(struct plant *plant, uint32_t slot_index, uint32_t index, uint64_t *stall_us)
{
	struct plant_slot *slot = &plant->slots[slot_index];
	const struct plant_unit *unit = &plant->units[index];
	const struct plant_costs *costs = &plant->config.costs;
	uint64_t reclaimed = 0, fault_us, reclaim_us;
	uint64_t pages = plant->config.unit_pages;

	if (plant_fault(plant, slot_index, index, &reclaimed) == PLANT_REFAULT) {
		fault_us = pages *
			   (unit->memory == PLANT_ANON ? costs->swap_in_us : costs->file_read_us);
		*stall_us += fault_us * STALLED_PERCENT / 100;
	} else {
		fault_us = pages * (unit->memory == PLANT_ANON ? costs->first_touch_us
							       : costs->file_read_us);
	}
	reclaim_us = reclaimed * costs->reclaim_us;
	*stall_us += reclaim_us;
	plant->reclaim_us[slot->group] += reclaim_us;
	slot->sample.fault_count += pages;
	return (int64_t)(fault_us + reclaim_us);
}

uint64_t plant_run_task(struct plant *plant, uint32_t slot_index, struct plant_runner *runner,
			int64_t budget_us)
{
	struct plant_slot *slot = &plant->slots[slot_index];
	uint32_t speed = runner->task.phases[runner->phase].speed_permille;
	uint32_t pages = plant->config.unit_pages;
	uint64_t stall_us = 0, n_kills = slot->n_kills;
	int64_t used_us = runner->debt_us;

	if (speed != 0)
		budget_us = budget_us * speed / 1000;
	while (used_us < budget_us) {
		uint32_t index = next_unit(plant, runner);
		int64_t step_us = (int64_t)plant->config.costs.hit_us * pages;

		if (index == UINT32_MAX) {
			used_us = budget_us;
			break;
		}
		if (plant->units[index].is_resident)
			hit(plant, slot, index);
		else
			step_us += fault(plant, slot_index, index, &stall_us);
		used_us += step_us;
		slot->sample.cpu_us += (uint64_t)step_us;
		slot->n_accesses += pages;
		if (slot->n_kills != n_kills)
			return stall_us;
	}
	runner->debt_us = used_us - budget_us;
	return stall_us;
}
