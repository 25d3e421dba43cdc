/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The plant's frame: building it, its time, its samples. Tasks take turns of a fiftieth of a
 * second, so that they compete for memory as tasks on several processors do.
 */

#include "plant.h"

#include <stdlib.h>
#include <string.h>

/* Turns of every task in a tick. */
#define TURNS 10
/* What a task may run in a tick: 60 % of a processor, as in the trials. */
#define RUN_US INT64_C(300000)
#define TURN_US (CONTROL_TICK_NS / 1000 / TURNS)
/* The kernel takes 64 pages of a slot at a visit and stops after 32 (MAX_LRU_BATCH,
 * SWAP_CLUSTER_MAX), and its first pass spares slots below 4096 pages. In the trials that was of a
 * group of 40960 pages, which the plant's groups stand for, whatever their size. */
#define TRIAL_PAGES 40960
#define BATCH_PAGES 64
/* As measured in the trials: a hit, with what the task computes on what it read, takes 12 us, a
 * page that comes back from compressed swap ten times as much, one from the page cache little more. */
static const struct plant_costs trial_costs = {
	.hit_us = 12,
	.first_touch_us = 8,
	.swap_in_us = 110,
	.file_read_us = 25,
	.reclaim_us = 25,
};

uint64_t plant_bytes(const struct plant *plant, uint64_t units)
{
	return units * plant->config.unit_pages * CONTROL_PAGE;
}

uint32_t plant_random(struct plant *plant, uint32_t bound)
{
	uint64_t z = plant->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return (uint32_t)((z >> 32) * bound >> 32);
}

void plant_link(struct plant *plant, const struct plant_list *list, uint32_t index)
{
	struct plant_unit *units = plant->units;
	uint32_t youngest = units[list->head].next;

	units[index].prev = list->head;
	units[index].next = youngest;
	units[youngest].prev = index;
	units[list->head].next = index;
}

void plant_unlink(struct plant *plant, uint32_t index)
{
	struct plant_unit *units = plant->units;

	units[units[index].prev].next = units[index].next;
	units[units[index].next].prev = units[index].prev;
}

static void lru_init(struct plant *plant, uint32_t index)
{
	struct plant_lru *lru = &plant->slots[index].lru;
	uint32_t head = plant->n_units + index * 2 * PLANT_GENS;

	memset(lru, 0, sizeof(*lru));
	for (int type = 0; type < 2; type++) {
		for (int gen = 0; gen < PLANT_GENS; gen++, head++) {
			lru->gens[type][gen].head = head;
			plant->units[head].prev = plant->units[head].next = head;
		}
	}
	lru->max_seq = 3; /* MIN_NR_GENS + 1, as the kernel begins */
}

static void units_init(struct plant *plant, uint32_t index)
{
	struct plant_slot *slot = &plant->slots[index];

	for (uint32_t i = 0; i < slot->n_tasks; i++) {
		struct plant_runner *runner = &slot->tasks[i];

		for (uint32_t k = 0; k < runner->task.n_units; k++)
			plant->units[runner->base + k] =
				(struct plant_unit){ .slot = (uint16_t)index,
						     .memory = (uint8_t)runner->task.memory };
		runner->phase = runner->phase_ticks = runner->position = runner->n_filled = 0;
		runner->debt_us = 0;
	}
}

struct plant *plant_new(const struct plant_config *config, const struct plant_slot *slots,
			uint32_t n_slots)
{
	struct plant *plant = calloc(1, sizeof(*plant));
	uint32_t least = UINT32_MAX;

	if (!plant)
		return NULL;
	plant->config = *config;
	if (config->costs.hit_us == 0)
		plant->config.costs = trial_costs;
	plant->random = config->seed;
	plant->n_slots = n_slots;
	plant->slots = calloc(n_slots, sizeof(*slots));
	if (!plant->slots) {
		plant_free(plant);
		return NULL;
	}
	memcpy(plant->slots, slots, n_slots * sizeof(*slots));
	for (uint32_t i = 0; i < n_slots; i++) {
		for (uint32_t k = 0; k < slots[i].n_tasks; k++) {
			plant->slots[i].tasks[k].base = plant->n_units;
			plant->n_units += slots[i].tasks[k].task.n_units;
		}
	}
	plant->units = calloc(plant->n_units + n_slots * 2 * PLANT_GENS, sizeof(*plant->units));
	if (!plant->units) {
		plant_free(plant);
		return NULL;
	}
	for (uint32_t i = 0; i < config->n_groups; i++)
		least = MIN(least, config->group_units[i]);
	plant->scale = MAX(1U, TRIAL_PAGES / least);
	plant->batch = MAX(1U, BATCH_PAGES / plant->scale);
	plant->goal = MAX(1U, plant->batch / 2);
	for (uint32_t i = 0; i < n_slots; i++) {
		lru_init(plant, i);
		units_init(plant, i);
	}
	return plant;
}

void plant_free(struct plant *plant)
{
	if (!plant)
		return;
	free(plant->units);
	free(plant->slots);
	free(plant);
}

void plant_restart_slot(struct plant *plant, uint32_t index, bool is_new)
{
	struct plant_slot *slot = &plant->slots[index];

	plant->used[slot->group] -= slot->n_resident;
	slot->n_resident = slot->n_swapped = 0;
	lru_init(plant, index);
	units_init(plant, index);
	if (is_new)
		memset(&slot->sample, 0, sizeof(slot->sample));
	slot->sample.current_bytes = slot->sample.swap_bytes = 0;
}

static void phase_advance(struct plant_runner *runner)
{
	const struct plant_phase *phase = &runner->task.phases[runner->phase];

	runner->phase_ticks++;
	if (phase->n_ticks == 0 || runner->phase_ticks < phase->n_ticks)
		return;
	runner->phase = (runner->phase + 1) % runner->task.n_phases;
	runner->phase_ticks = runner->position = 0;
}

void plant_run(struct plant *plant)
{
	for (int turn = 0; turn < TURNS; turn++) {
		for (uint32_t i = 0; i < plant->config.n_groups; i++) {
			plant->busy_permille[i] = (uint32_t)MIN(
				plant->reclaim_us[i] * 1000 / TURN_US, UINT64_C(1000));
			plant->reclaim_us[i] = 0;
		}
		for (uint32_t i = 0; i < plant->n_slots; i++) {
			/* nobody always comes first */
			uint32_t index = (i + (uint32_t)turn) % plant->n_slots;
			struct plant_slot *slot = &plant->slots[index];
			uint64_t stall_us = 0;

			for (uint32_t k = 0; k < slot->n_tasks; k++)
				stall_us += plant_run_task(plant, index, &slot->tasks[k],
							   RUN_US / TURNS);
			slot->sample.stall_us += MIN(stall_us, TURN_US);
		}
	}
	for (uint32_t i = 0; i < plant->n_slots; i++) {
		struct plant_slot *slot = &plant->slots[i];

		slot->sample.current_bytes = plant_bytes(plant, slot->n_resident);
		slot->sample.swap_bytes = plant_bytes(plant, slot->n_swapped);
		for (uint32_t k = 0; k < slot->n_tasks; k++)
			phase_advance(&slot->tasks[k]);
	}
	plant->tick++;
}
