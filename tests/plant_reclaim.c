/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Charging and reclaim of a group. When the group is full, its slots are visited in turn, each
 * visit takes a batch, and it ends as soon as the goal is reached; the next one goes on where
 * this one stopped. Slots at or below min are never visited, those at or below low only if
 * nothing else gives anything: below low is spared, above it pays in full (multi-gen LRU), or in
 * proportion to what is above (legacy). Passes go deeper while the goal is not reached. As in
 * shrink_node_memcgs() and try_to_shrink_lruvec() of 6.12.
 */

#include "plant.h"

#include <string.h>

/* Shadow entries are trimmed to eight times the pages that the group has (an eighth of its pages
 * in nodes of 64 entries), so a small group sees no refault of what it read long ago. Seen for
 * page cache only. */
#define SHADOWS_FACTOR 8
#define RETRIES 16 /* MAX_RECLAIM_RETRIES: then somebody is killed */

void plant_evict(struct plant *plant, struct plant_slot *slot, uint32_t index, uint32_t seq)
{
	struct plant_unit *unit = &plant->units[index];
	int type = plant_type(unit);

	unit->is_resident = unit->is_accessed = false;
	unit->is_evicted = true;
	unit->seq = seq;
	unit->evicted_at = (uint32_t)slot->lru.n_evicted[type]++;
	slot->lru.pid_evicted[type]++;
	slot->sample.steal_pages += plant->config.unit_pages;
	slot->n_resident--;
	plant->used[slot->group]--;
	if (type == 0)
		slot->n_swapped++;
}

static uint64_t bytes_of(const struct plant *plant, const struct plant_slot *slot)
{
	return plant_bytes(plant, slot->n_resident);
}

/* What of the slot reclaim may look at, in units. */
static uint32_t evictable(const struct plant *plant, const struct plant_slot *slot)
{
	uint32_t n = 0;

	for (int type = plant->config.has_swap ? 0 : 1; type < 2; type++)
		for (int gen = 0; gen < PLANT_GENS; gen++)
			n += slot->lru.gens[type][gen].count;
	return n;
}

/* Units above the protection, 0 when the slot is spared. */
static uint32_t exposed(const struct plant *plant, const struct plant_slot *slot, bool is_low_kept)
{
	uint64_t bytes = bytes_of(plant, slot);
	uint64_t kept = is_low_kept ? MAX(slot->low_bytes, slot->min_bytes) : slot->min_bytes;

	return bytes <= kept ? 0 : (uint32_t)((bytes - kept) / plant_bytes(plant, 1)) + 1;
}

static uint32_t mglru_passes(struct plant *plant, uint32_t group, uint32_t goal, bool is_low_kept)
{
	uint32_t got = 0;

	for (uint32_t passes = 0; passes <= PLANT_PRIORITY; passes++) {
		for (uint32_t n = 0; n < plant->n_slots; n++) {
			struct plant_slot *slot = &plant->slots[plant->cursor[group]];

			plant->cursor[group] = (plant->cursor[group] + 1) % plant->n_slots;
			if (slot->group != group || exposed(plant, slot, is_low_kept) == 0)
				continue;
			got += plant_mglru_shrink(plant, slot, PLANT_PRIORITY - passes);
			if (got >= goal)
				return got;
		}
	}
	return got;
}

/* Slots in proportion to what of them is exposed, unit by unit. */
static uint32_t legacy_passes(struct plant *plant, uint32_t group, uint32_t goal, bool is_low_kept)
{
	uint32_t got = 0;

	for (uint32_t fruitless = 0; got < goal && fruitless < 4 * plant->n_slots + 16;) {
		uint32_t total = 0, target, n;

		for (uint32_t i = 0; i < plant->n_slots; i++)
			if (plant->slots[i].group == group)
				total += MIN(exposed(plant, &plant->slots[i], is_low_kept),
					     evictable(plant, &plant->slots[i]));
		if (total == 0)
			break;
		target = plant_random(plant, total);
		for (uint32_t i = 0; i < plant->n_slots; i++) {
			struct plant_slot *slot = &plant->slots[i];

			if (slot->group != group)
				continue;
			n = MIN(exposed(plant, slot, is_low_kept), evictable(plant, slot));
			if (target >= n) {
				target -= n;
				continue;
			}
			n = plant_legacy_shrink(plant, slot, plant->batch);
			fruitless = n > 0 ? 0 : fruitless + 1;
			got += n;
			break;
		}
	}
	return got;
}

static bool has_exposed(const struct plant *plant, uint32_t group, bool is_low_kept)
{
	for (uint32_t i = 0; i < plant->n_slots; i++)
		if (plant->slots[i].group == group &&
		    exposed(plant, &plant->slots[i], is_low_kept) > 0 &&
		    evictable(plant, &plant->slots[i]) > 0)
			return true;
	return false;
}

static uint32_t reclaim_group(struct plant *plant, uint32_t group, uint32_t goal)
{
	for (int is_low_kept = 1; is_low_kept >= 0; is_low_kept--) {
		uint32_t got;

		if (!has_exposed(plant, group, is_low_kept))
			continue;
		got = plant->config.is_legacy ? legacy_passes(plant, group, goal, is_low_kept)
					      : mglru_passes(plant, group, goal, is_low_kept);
		if (got > 0)
			return got;
	}
	return 0;
}

static uint32_t reclaim_slot(struct plant *plant, struct plant_slot *slot, uint32_t goal)
{
	uint32_t got = 0, priority = PLANT_PRIORITY;

	while (got < goal) {
		uint32_t n = plant->config.is_legacy
				     ? plant_legacy_shrink(plant, slot, plant->batch)
				     : plant_mglru_shrink(plant, slot, priority);

		got += n;
		if (n == 0 && priority-- == 0)
			break;
	}
	return got;
}

void plant_reclaim_slot(struct plant *plant, uint32_t index, uint64_t bytes)
{
	struct plant_slot *slot = &plant->slots[index];
	uint64_t before = slot->sample.steal_pages;

	reclaim_slot(plant, slot, (uint32_t)(bytes / plant_bytes(plant, 1)));
	slot->sample.steal_pages = before; /* samples are without our own */
}

/* Nothing can be reclaimed: the largest slot of the group dies. */
static void kill_largest(struct plant *plant, uint32_t group)
{
	uint32_t largest = UINT32_MAX;

	for (uint32_t i = 0; i < plant->n_slots; i++)
		if (plant->slots[i].group == group &&
		    (largest == UINT32_MAX ||
		     plant->slots[i].n_resident > plant->slots[largest].n_resident))
			largest = i;
	plant_restart_slot(plant, largest, /* is_new= */ false);
	plant->slots[largest].n_kills++;
}

static uint64_t make_room(struct plant *plant, uint32_t index)
{
	struct plant_slot *slot = &plant->slots[index];
	uint64_t reclaimed = 0, kills = slot->n_kills;
	uint32_t limit = plant->config.group_units[slot->group], got, retries = 0;

	while (slot->n_kills == kills &&
	       bytes_of(plant, slot) + plant_bytes(plant, 1) > slot->max_bytes) {
		reclaimed += got = reclaim_slot(plant, slot, plant->goal);
		if (got > 0 || retries++ < RETRIES)
			continue;
		plant_restart_slot(plant, index, /* is_new= */ false);
		slot->n_kills++;
	}
	while (slot->n_kills == kills && plant->used[slot->group] >= limit) {
		reclaimed += got = reclaim_group(plant, slot->group, plant->goal);
		if (got > 0 || retries++ < RETRIES)
			continue;
		kill_largest(plant, slot->group);
		retries = 0;
	}
	/* Who comes while another one reclaims finds the group full, too, and does the same. */
	if (reclaimed == 0 && plant->used[slot->group] + plant->batch > limit &&
	    plant_random(plant, 1000) < plant->busy_permille[slot->group])
		reclaimed = reclaim_group(plant, slot->group, plant->goal);
	return reclaimed;
}

int plant_fault(struct plant *plant, uint32_t index, uint32_t unit_index, uint64_t *ret_reclaimed)
{
	struct plant_slot *slot = &plant->slots[index];
	struct plant_unit *unit = &plant->units[unit_index];
	uint64_t kills = slot->n_kills, reclaimed = make_room(plant, index);
	uint32_t pages = plant->config.unit_pages, distance;
	int type = plant_type(unit);
	bool is_refault = unit->is_evicted;

	*ret_reclaimed += reclaimed * pages;
	if (slot->n_kills != kills)
		return PLANT_FIRST_TOUCH;
	if (is_refault) {
		distance = (uint32_t)slot->lru.n_evicted[type] - unit->evicted_at;
		if (type == 0)
			slot->n_swapped--;
		else if (distance > SHADOWS_FACTOR * slot->n_resident)
			is_refault = false;
	}
	if (is_refault) {
		slot->sample.refault_pages += pages;
		slot->lru.pid_refaulted[type]++;
	}
	if (plant->config.is_legacy)
		plant_legacy_add(plant, slot, unit_index, is_refault);
	else
		plant_mglru_add(plant, slot, unit_index, is_refault);
	unit->is_resident = true;
	unit->is_evicted = false;
	slot->n_resident++;
	plant->used[slot->group]++;
	/* memory.high: it pays for itself on its way back to the program */
	if (bytes_of(plant, slot) > slot->high_bytes)
		*ret_reclaimed += (uint64_t)reclaim_slot(plant, slot, plant->goal) * pages;
	return is_refault ? PLANT_REFAULT : PLANT_FIRST_TOUCH;
}
