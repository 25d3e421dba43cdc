/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Random machines for the control law, made by plant.h: one to three groups, one to six slots in
 * each, all kinds of tasks, swap or none, both LRUs. And what the law promises of any machine, which
 * is checked at every tick of every test that runs one.
 */

#include <check.h>
#include <stdio.h>

#include "steer.h"

/* Of each test: a machine takes it one to three milliseconds of a processor, with sanitizers a good
 * ten times as much. */
#define MACHINES (STEER_IS_SLOW ? 500U : 10000U)

#define MACHINE_SLOTS_OF_GROUP 6
#define MACHINE_SLOTS_MAX (MACHINE_SLOTS_OF_GROUP * 3)

enum machine_kind {
	MACHINE_ANY,    /* tasks change what they do at any time */
	MACHINE_STEADY, /* they do the same for ever */
	MACHINE_TURNS,  /* the same until machine_turn(), then half of them something else */
};

struct machine {
	uint32_t seed, n_slots;
	struct plant_config config;
	struct steer_slot slots[MACHINE_SLOTS_MAX];
	uint32_t fairness_permille;
	struct steer steer;
	uint64_t held_bytes[MACHINE_SLOTS_MAX]; /* protection in force before the tick */
};

/* How many machines a test is to run: MACHINES, or TASKMEM_MODEL_MACHINES of the environment. */
uint32_t machine_count(void);

/* The machine of that seed, at tick 0; ends the test if there is no memory. */
void machine_init(struct machine *m, uint32_t seed, enum machine_kind kind);
void machine_deinit(struct machine *m);

/* One tick, and the checks. */
void machine_tick(struct machine *m);

/* Some slots get other weights. */
void machine_change_wishes(struct machine *m);

/* The tasks of a MACHINE_TURNS begin with their second phase. */
void machine_turn(struct machine *m);

/* What a slot must have at least, 0 where nothing is claimed. */
struct machine_due {
	/* of its share */
	uint64_t own_bytes;
	/* its part by tier and weight when those that use less than their share leave the rest to the
	 * others; else the above */
	uint64_t lent_bytes;
	bool has_loop;
};

/* What each slot must have now, if the machine had the time to settle.
 *
 * Something is claimed for slots of which it is known what they use, and that they miss it as soon
 * as it is taken: of tasks that read all of it, evenly, by Zipf's law or in a loop, at a quarter of
 * the full speed or faster. Nothing
 *	of slower ones: what they miss in a second is less than the law takes for a need;
 *	of a loop that does not fit the share, and of who reads three times his share: to the kernel's
 *	counters they are scans;
 *	of memory touched once: nobody misses it;
 *	of page cache on a machine without swap: there is heap that nobody can take;
 *	with mode=off: the share is protected, whatever it is used for.
 * More than the share is claimed in groups where all of that is known of everybody: a slow one may
 * prove at any time that it needs what it has, and while a scan holds more than it should nobody is
 * taxed. */
void machine_dues(const struct machine *m, struct machine_due dues[MACHINE_SLOTS_MAX]);
/* So few may be without: by chance a reader whose share is a little more than a third of what it
 * reads is taken for a scan until it is tested again, and floors of others end late. */
#define MACHINE_MISSED_ONE_IN 5000U

/* Of the machine's own chance, like all else. */
uint32_t machine_between(uint32_t least, uint32_t most);
bool machine_chance(uint32_t permille);

#define MACHINE_CHECK(m, cond, ...)                                                             \
	do {                                                                                    \
		if (!(cond)) {                                                                  \
			char said_[256];                                                        \
			snprintf(said_, sizeof(said_), __VA_ARGS__);                            \
			ck_abort_msg("machine %u, tick %llu: %s: %s", (m)->seed,                \
				     (unsigned long long)(m)->steer.plant->tick, #cond, said_); \
		}                                                                               \
	} while (0)
