/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A plant with somebody at its knobs: nobody, low = entitlement for ever, senpai's law, or ours. */

#include "plant.h"

enum steer_policy {
	STEER_NONE,
	STEER_LOW,         /* memory.low at the entitlement */
	STEER_SENPAI,      /* senpai's law: memory.high follows stall; probes every six ticks */
	STEER_SENPAI_FAST, /* the same, at every tick */
	STEER_LAW,         /* control_plan() */
	STEER_POLICIES,
};

/* One slot of a scenario. Units as in the plant; 0 stands for the default of weight, max, tasks'
 * speed. */
struct steer_slot {
	uint32_t group, weight, tier;
	enum slot_mode mode;
	uint32_t min_units, max_units;
	struct plant_task tasks[PLANT_TASKS];
	uint32_t n_tasks;
};

struct senpai {
	uint64_t limit_bytes, stall_us, integral_us;
	uint32_t ticks;
};

struct steer {
	enum steer_policy policy;
	struct plant *plant;
	uint32_t n_slots;
	struct slot_policy *wishes;
	struct control_slot *slots;
	struct senpai *senpais;
	struct control_slot **order; /* of one group, as given to control_plan() */
	struct control_slot *twins;  /* of those, where all is planned twice … */
	struct control_slot **twin_order;
	struct control_group groups[PLANT_GROUPS];
	uint64_t now_ns;
	uint64_t n_writes; /* of memory.low */
	uint64_t random;   /* its own, so that the plant does not hear of it */
	/* of chance, in permille: a sample is not fresh */
	uint32_t stale_permille;
	/* control_plan() is asked first with copies of the slots in a random order … */
	bool is_planned_twice;
	uint64_t n_different; /* … and so often one of them, or the group, came out otherwise */
};

/* Sanitizers are ten times slower: tests make less of the same then. */
#if defined(__SANITIZE_ADDRESS__)
#define STEER_IS_SLOW 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STEER_IS_SLOW 1
#endif
#endif
#ifndef STEER_IS_SLOW
#define STEER_IS_SLOW 0
#endif

/* Part of a group that is never promised. */
#define STEER_RESERVE_DIVISOR 50

/* Builds the machine and everything in it; false without memory or with wishes that entitle()
 * refuses. */
MUST_USE bool steer_init(struct steer *steer, enum steer_policy policy,
			 const struct plant_config *config, const struct steer_slot *slots,
			 uint32_t n_slots, uint32_t fairness_permille);
void steer_deinit(struct steer *steer);

/* Entitlements anew, after .wishes changed. */
MUST_USE bool steer_entitle(struct steer *steer);

/* One tick of the machine and then of the policy; control_plan()'s result, else 0. */
MUST_USE int steer_tick(struct steer *steer);
