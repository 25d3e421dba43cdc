/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The multi-gen LRU of one slot, as in mm/vmscan.c of 6.12, with units for folios.
 *
 * What is faulted in through page tables begins in the youngest generation, what is read through
 * a descriptor in the oldest; so a scan of heap or of mapped files looks young, and one by read(2)
 * is evicted first. The oldest generation is evicted; with two generations left nothing is, until
 * an aging walk promotes what was accessed and opens a new one. Aging is avoided in the first
 * pass, so slots with cold generations give first, whoever asks.
 */

#include "plant.h"

#define MIN_GENS 2U
/* Of the pages read again through a descriptor so many are protected by their tier, which depends
 * on how the tiers' refaults compare: hot readers had six pages refilled for ten stolen. */
#define PROTECTED_PERMILLE 375

static struct plant_list *gen_list(struct plant_lru *lru, int type, uint32_t seq)
{
	return &lru->gens[type][seq % PLANT_GENS];
}

void plant_mglru_add(struct plant *plant, struct plant_slot *slot, uint32_t index, bool is_refault)
{
	struct plant_unit *unit = &plant->units[index];
	struct plant_lru *lru = &slot->lru;
	int type = plant_type(unit);
	bool is_recent = is_refault && unit->seq == lru->min_seq[type];
	bool is_in_fault = unit->memory != PLANT_FILE;

	/* lru_gen_refault(): restored if evicted from the generation that is still the oldest */
	if (is_recent && (is_in_fault || unit->refs == 3))
		slot->sample.restore_pages += plant->config.unit_pages;
	unit->refs = is_recent && unit->refs == 3;
	unit->is_accessed = is_in_fault;
	if (is_in_fault)
		unit->seq = lru->max_seq;
	else if (lru->min_seq[type] + MIN_GENS >= lru->max_seq)
		unit->seq = lru->min_seq[type];
	else
		unit->seq = lru->min_seq[type] + 1;
	plant_link(plant, gen_list(lru, type, unit->seq), index);
	gen_list(lru, type, unit->seq)->count++;
}

static void set_seq(struct plant_lru *lru, struct plant_unit *unit, uint32_t seq)
{
	int type = plant_type(unit);

	gen_list(lru, type, unit->seq)->count--;
	unit->seq = seq;
	gen_list(lru, type, seq)->count++;
}

/* The oldest generation is the first that has anything, but never of the youngest two. */
static void advance_oldest(struct plant *plant, struct plant_lru *lru)
{
	bool has_swap = plant->config.has_swap;
	uint32_t seqs[2];

	for (int type = 0; type < 2; type++) {
		seqs[type] = lru->min_seq[type];
		while (seqs[type] + MIN_GENS <= lru->max_seq &&
		       plant_is_empty(plant, gen_list(lru, type, seqs[type])))
			seqs[type]++;
	}
	if (has_swap) {
		seqs[0] = MIN(seqs[0], seqs[1]);
		seqs[1] = MAX(seqs[0], lru->min_seq[1]);
	}
	for (int type = has_swap ? 0 : 1; type < 2; type++) {
		if (seqs[type] == lru->min_seq[type])
			continue;
		lru->min_seq[type] = seqs[type];
		lru->pid_evicted[type] /= 2;
		lru->pid_refaulted[type] /= 2;
	}
}

/* All that is left of a type's oldest generation goes to the next one. */
static void drop_oldest(struct plant *plant, struct plant_lru *lru, int type)
{
	struct plant_list *from = gen_list(lru, type, lru->min_seq[type]);

	while (!plant_is_empty(plant, from)) {
		uint32_t index = plant_oldest(plant, from);
		struct plant_unit *unit = &plant->units[index];

		plant_unlink(plant, index);
		if (unit->seq == lru->min_seq[type])
			set_seq(lru, unit, unit->seq + 1);
		plant_link(plant, gen_list(lru, type, unit->seq), index);
	}
	lru->min_seq[type]++;
}

/* The walk of the page tables: what was accessed is young. It changes lists only later, when
 * reclaim meets it in the old one. */
static void age(struct plant *plant, struct plant_slot *slot)
{
	struct plant_lru *lru = &slot->lru;

	for (uint32_t i = 0; i < slot->n_tasks; i++) {
		const struct plant_runner *runner = &slot->tasks[i];

		if (runner->task.memory == PLANT_FILE)
			continue;
		for (uint32_t k = 0; k < runner->task.n_units; k++) {
			struct plant_unit *unit = &plant->units[runner->base + k];

			if (!unit->is_resident || !unit->is_accessed)
				continue;
			unit->is_accessed = false;
			set_seq(lru, unit, lru->max_seq);
		}
	}
	for (int type = 0; type < 2; type++)
		if (lru->max_seq - lru->min_seq[type] + 1 == PLANT_GENS)
			drop_oldest(plant, lru, type);
	lru->max_seq++;
	advance_oldest(plant, lru);
}

/* should_run_aging(): no cold generation, or too much is in the youngest one. */
static bool wants_aging(const struct plant *plant, const struct plant_lru *lru, uint32_t *ret_total)
{
	int first = plant->config.has_swap ? 0 : 1;
	uint32_t total = 0, young = 0, old = 0;

	*ret_total = 0;
	if (lru->min_seq[first] + MIN_GENS > lru->max_seq)
		return true;
	for (int type = first; type < 2; type++) {
		for (uint32_t seq = lru->min_seq[type]; seq <= lru->max_seq; seq++) {
			uint32_t count = lru->gens[type][seq % PLANT_GENS].count;

			total += count;
			young += seq == lru->max_seq ? count : 0;
			old += seq + MIN_GENS == lru->max_seq ? count : 0;
		}
	}
	*ret_total = total;
	if (lru->min_seq[first] + MIN_GENS < lru->max_seq)
		return false;
	return young * MIN_GENS > total || old * (MIN_GENS + 2) < total;
}

/* What reclaim does with the oldest unit of a type: true when it is evicted. */
static bool sort_or_evict(struct plant *plant, struct plant_slot *slot, int type, uint32_t index)
{
	struct plant_lru *lru = &slot->lru;
	struct plant_unit *unit = &plant->units[index];

	plant_unlink(plant, index);
	if (unit->seq != lru->min_seq[type]) {
		slot->sample.refill_pages += plant->config.unit_pages; /* promoted by aging */
	} else if (unit->memory == PLANT_FILE && unit->refs > 0 &&
		   plant_random(plant, 1000) < PROTECTED_PERMILLE) {
		slot->sample.refill_pages += plant->config.unit_pages; /* protected by its tier */
		unit->refs = 0;
		set_seq(lru, unit, unit->seq + 1);
	} else if (unit->memory != PLANT_FILE && unit->is_accessed) {
		unit->is_accessed = false; /* found by the look at its page table entry */
		set_seq(lru, unit, lru->max_seq);
	} else {
		gen_list(lru, type, unit->seq)->count--;
		plant_evict(plant, slot, index, lru->min_seq[type]);
		return true;
	}
	plant_link(plant, gen_list(lru, type, unit->seq), index);
	return false;
}

/* Up to a batch of one type; the number evicted, and in *ret_seen of those looked at. */
static uint32_t evict_type(struct plant *plant, struct plant_slot *slot, int type,
			   uint32_t *ret_seen)
{
	struct plant_lru *lru = &slot->lru;
	uint32_t n = 0;

	if (lru->min_seq[type] + MIN_GENS > lru->max_seq)
		return 0;
	for (uint32_t k = 0; k < plant->batch; k++) {
		struct plant_list *oldest = gen_list(lru, type, lru->min_seq[type]);

		if (plant_is_empty(plant, oldest))
			break;
		n += sort_or_evict(plant, slot, type, plant_oldest(plant, oldest));
		++*ret_seen;
	}
	return n;
}

/* Heap or page cache: the older one, else the one that came back less. */
static int type_to_scan(const struct plant *plant, const struct plant_lru *lru)
{
	if (!plant->config.has_swap)
		return 1;
	if (lru->min_seq[0] < lru->min_seq[1])
		return 0;
	return lru->pid_refaulted[1] * (lru->pid_evicted[0] + 1) >
			       lru->pid_refaulted[0] * (lru->pid_evicted[1] + 1)
		       ? 0
		       : 1;
}

uint32_t plant_mglru_shrink(struct plant *plant, struct plant_slot *slot, uint32_t priority)
{
	uint32_t total, n_scan, seen = 0, got = 0;

	if (wants_aging(plant, &slot->lru, &total) && priority < PLANT_PRIORITY) {
		age(plant, slot);
		return 0;
	}
	n_scan = total * plant->scale >> priority;
	while (seen * plant->scale < n_scan) {
		uint32_t before = seen;
		int type = type_to_scan(plant, &slot->lru);

		got += evict_type(plant, slot, type, &seen);
		if (seen == before && plant->config.has_swap)
			got += evict_type(plant, slot, !type, &seen);
		advance_oldest(plant, &slot->lru);
		if (seen == before)
			break;
	}
	return got;
}
