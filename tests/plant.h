/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A deterministic machine: slots with tasks that touch memory, and a kernel that reclaims from
 * them. What it does, and with which numbers, is what was seen on Linux 6.12 in a virtual machine
 * (160 MiB in a group, tasks held to 60 % of a processor): it stands for that machine, scaled.
 *
 * Memory comes in units of plant_config.unit_pages pages, which are touched, stolen and faulted
 * back as one; counters are in pages. Time is virtual: a tick is CONTROL_TICK_NS. No clock, and
 * all chance comes from the seed, so that the same plant makes the same history anywhere.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "policy/control.h"

#define PLANT_GROUPS 4
#define PLANT_TASKS 3     /* of a slot */
#define PLANT_PHASES 3    /* of a task */
#define PLANT_GENS 4      /* MAX_NR_GENS */
#define PLANT_PRIORITY 12 /* DEF_PRIORITY */

enum plant_memory {
	PLANT_ANON,   /* heap */
	PLANT_FILE,   /* page cache by read(2) */
	PLANT_MAPPED, /* page cache by mmap: seen through page tables, as heap is */
};

enum plant_access {
	PLANT_SLEEP,
	PLANT_UNIFORM,
	PLANT_ZIPF,  /* exponent about 1, hottest first */
	PLANT_LOOP,  /* in order, again and again; a scan where it is larger than the memory */
	PLANT_TOUCH, /* in order, once; sleeps afterwards. Slow and without end: a leak */
};

/* One phase; a task goes through its phases and begins again. */
struct plant_phase {
	enum plant_access access;
	uint32_t first_unit, n_units; /* part of the task's memory that it uses */
	uint32_t speed_permille;      /* of the time that it may run; 0 stands for 1000 */
	uint32_t n_ticks;             /* 0: for ever, TOUCH: until all is touched */
};

struct plant_task {
	enum plant_memory memory;
	uint32_t n_units; /* size of its memory */
	bool is_filled;   /* touches all of it before anything else, as who allocates it does */
	struct plant_phase phases[PLANT_PHASES];
	uint32_t n_phases;
};

struct plant_list {
	uint32_t head, count; /* head: index of a node */
};

/* What the kernel keeps of a slot; min_seq and lists are by type: 0 heap, 1 page cache. */
struct plant_lru {
	struct plant_list gens[2][PLANT_GENS]; /* legacy: gens[type][0] inactive, [1] active */
	uint32_t min_seq[2], max_seq;
	uint64_t n_evicted[2]; /* ever: the distance of a refault */
	uint64_t pid_evicted[2], pid_refaulted[2];
};

struct plant_runner {
	struct plant_task task;
	uint32_t base; /* its first unit in the plant */
	uint32_t phase, phase_ticks, position, n_filled;
	int64_t debt_us; /* time used beyond what it had */
};

struct plant_slot {
	uint32_t group, n_tasks;
	struct plant_runner tasks[PLANT_TASKS];
	/* knobs, bytes; max and high UINT64_MAX: none */
	uint64_t min_bytes, low_bytes, high_bytes, max_bytes;
	/* books */
	uint32_t n_resident, n_swapped; /* units */
	struct plant_lru lru;
	struct memory_sample sample; /* as the kernel counts, of the tick that ended */
	uint64_t n_accesses;         /* pages touched ever: the useful work */
	uint64_t n_kills;
};

struct plant_unit {
	uint32_t prev, next;
	uint32_t seq; /* generation, or min_seq when it was evicted */
	uint32_t evicted_at;
	uint16_t slot;
	uint8_t memory;
	uint8_t refs; /* accesses by descriptor beyond the first, up to 3 */
	bool is_resident, is_accessed, is_evicted, is_active;
};

/* What things take of a processor's time, per page. */
struct plant_costs {
	uint32_t hit_us; /* an access, and the work on what was read */
	uint32_t first_touch_us, swap_in_us, file_read_us;
	uint32_t reclaim_us; /* for who had to reclaim it */
};

struct plant_config {
	uint64_t seed;
	struct plant_costs costs; /* all 0: those of the trials */
	uint32_t unit_pages;
	uint32_t n_groups;
	uint32_t group_units[PLANT_GROUPS]; /* memory.max of the group */
	bool is_legacy;                     /* the LRU before the multi-gen one */
	bool has_swap;
};

struct plant {
	struct plant_config config;
	uint64_t random, tick;
	struct plant_slot *slots;
	uint32_t n_slots;
	struct plant_unit *units; /* of all slots, then the heads of the lists */
	uint32_t n_units;
	uint32_t used[PLANT_GROUPS];          /* units */
	uint32_t cursor[PLANT_GROUPS];        /* reclaim goes on with this slot */
	uint64_t reclaim_us[PLANT_GROUPS];    /* that tasks spent in reclaim, in this turn … */
	uint32_t busy_permille[PLANT_GROUPS]; /* … and in the last one, of its time */
	uint32_t batch, goal;                 /* units taken from a slot at a visit, and in all */
	uint32_t scale;                       /* pages of the machine it stands for, in a unit */
};

/* Builds the machine with @n_slots slots: .group, .tasks[].task, .n_tasks and the knobs are set in
 * @slots, which is copied. Free with plant_free(); NULL without memory. */
struct plant *plant_new(const struct plant_config *config, const struct plant_slot *slots,
			uint32_t n_slots);
void plant_free(struct plant *plant);

/* Runs all tasks for one tick and takes the samples. */
void plant_run(struct plant *plant);

uint64_t plant_bytes(const struct plant *plant, uint64_t units);

/* memory.reclaim of the slot itself, without regard to min and low, as senpai's laws do it. */
void plant_reclaim_slot(struct plant *plant, uint32_t slot, uint64_t bytes);

/* The slot's tasks die and all its memory is free; they begin anew, and counters with 0 where
 * @is_new, as those of a group made anew. */
void plant_restart_slot(struct plant *plant, uint32_t slot, bool is_new);

/* ---- between the files of the plant */

enum { PLANT_HIT = 0, PLANT_FIRST_TOUCH, PLANT_REFAULT };

/* Random number below @bound. */
uint32_t plant_random(struct plant *plant, uint32_t bound);

/* Pages of one kind that the slot holds: 0 heap, 1 page cache. */
static inline int plant_type(const struct plant_unit *unit)
{
	return unit->memory != PLANT_ANON;
}

/* One tick's part of a task; returns the microseconds stalled. */
uint64_t plant_run_task(struct plant *plant, uint32_t slot, struct plant_runner *runner,
			int64_t budget_us);

/* Brings a unit that is not there into memory, which may reclaim; adds the pages that were
 * reclaimed for it to *ret_reclaimed. Returns PLANT_FIRST_TOUCH or PLANT_REFAULT. */
int plant_fault(struct plant *plant, uint32_t slot, uint32_t unit, uint64_t *ret_reclaimed);

/* The two kinds of LRU: a visit to a slot, which returns how many units were stolen. Multi-gen:
 * @priority goes from PLANT_PRIORITY in the first pass down to 0. Legacy: @n_scan units are looked
 * at. */
uint32_t plant_mglru_shrink(struct plant *plant, struct plant_slot *slot, uint32_t priority);
uint32_t plant_legacy_shrink(struct plant *plant, struct plant_slot *slot, uint32_t n_scan);
void plant_mglru_add(struct plant *plant, struct plant_slot *slot, uint32_t unit, bool is_refault);
void plant_legacy_add(struct plant *plant, struct plant_slot *slot, uint32_t unit, bool is_refault);
void plant_legacy_activate(struct plant *plant, struct plant_slot *slot, uint32_t unit);
/* Takes the unit out of memory; @seq is remembered with it. */
void plant_evict(struct plant *plant, struct plant_slot *slot, uint32_t unit, uint32_t seq);

/* Lists of units. The count is the caller's: with the multi-gen LRU a unit may be in the list of
 * one generation and count in another. */
void plant_link(struct plant *plant, const struct plant_list *list, uint32_t unit);
void plant_unlink(struct plant *plant, uint32_t unit);

static inline bool plant_is_empty(const struct plant *plant, const struct plant_list *list)
{
	return plant->units[list->head].next == list->head;
}

static inline uint32_t plant_oldest(const struct plant *plant, const struct plant_list *list)
{
	return plant->units[list->head].prev;
}
