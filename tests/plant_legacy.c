/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The LRU before the multi-gen one: an inactive and an active list of each type. New pages begin
 * inactive; heap that was accessed when reclaim meets it, and page cache read twice, becomes
 * active; the active list gives to the inactive one while that is shorter, which is what pgrefill
 * counts. A page that comes back within the size of the active list was missed, and is active.
 */

#include "plant.h"

enum { INACTIVE = 0, ACTIVE };

/* Restores were one in a thousand refaults of hot heap. */
#define RESTORE_ONE_IN 1000U

void plant_legacy_add(struct plant *plant, struct plant_slot *slot, uint32_t index, bool is_refault)
{
	struct plant_unit *unit = &plant->units[index];
	struct plant_lru *lru = &slot->lru;
	int type = plant_type(unit);
	uint32_t distance = (uint32_t)lru->n_evicted[type] - unit->evicted_at;

	unit->is_active = is_refault && distance <= lru->gens[type][ACTIVE].count;
	unit->is_accessed = false;
	unit->refs = 0;
	if (unit->is_active && plant_random(plant, RESTORE_ONE_IN) == 0)
		slot->sample.restore_pages += plant->config.unit_pages;
	plant_link(plant, &lru->gens[type][unit->is_active], index);
	lru->gens[type][unit->is_active].count++;
}

static void move(struct plant *plant, struct plant_slot *slot, uint32_t index, bool is_active)
{
	struct plant_unit *unit = &plant->units[index];
	struct plant_list *lists = slot->lru.gens[plant_type(unit)];

	plant_unlink(plant, index);
	lists[unit->is_active].count--;
	unit->is_active = is_active;
	unit->is_accessed = false;
	unit->refs = 0;
	plant_link(plant, &lists[is_active], index);
	lists[is_active].count++;
}

void plant_legacy_activate(struct plant *plant, struct plant_slot *slot, uint32_t index)
{
	move(plant, slot, index, /* is_active= */ true);
}

static void balance(struct plant *plant, struct plant_slot *slot, int type)
{
	struct plant_list *lists = slot->lru.gens[type];

	while (lists[INACTIVE].count < lists[ACTIVE].count) {
		move(plant, slot, plant_oldest(plant, &lists[ACTIVE]), /* is_active= */ false);
		slot->sample.refill_pages += plant->config.unit_pages;
	}
}

uint32_t plant_legacy_shrink(struct plant *plant, struct plant_slot *slot, uint32_t n_scan)
{
	struct plant_list(*gens)[PLANT_GENS] = slot->lru.gens;
	uint32_t heap = gens[0][INACTIVE].count + gens[0][ACTIVE].count;
	uint32_t cache = gens[1][INACTIVE].count + gens[1][ACTIVE].count, got = 0;
	int type = 1;

	if (plant->config.has_swap && heap + cache > 0)
		type = plant_random(plant, heap + cache) >= heap;
	balance(plant, slot, type);
	for (uint32_t k = 0; k < n_scan && gens[type][INACTIVE].count > 0; k++) {
		uint32_t index = plant_oldest(plant, &gens[type][INACTIVE]);
		struct plant_unit *unit = &plant->units[index];

		if (unit->memory != PLANT_FILE && unit->is_accessed) {
			move(plant, slot, index, /* is_active= */ true);
			continue;
		}
		plant_unlink(plant, index);
		gens[type][INACTIVE].count--;
		plant_evict(plant, slot, index, 0);
		got++;
	}
	return got;
}
