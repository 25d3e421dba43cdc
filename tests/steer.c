/* SPDX-License-Identifier: Apache-2.0 */

/* The policies that are compared, on the plant's knobs. Senpai is written from its published
 * description: half a per cent of stall is its target, it backs off at once and probes slowly. */

#include "steer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/entitle.h"

/* Senpai's constants, for its interval of six ticks. */
#define SENPAI_INTERVAL 6
#define SENPAI_TARGET_US 10000.0
#define SENPAI_COEFF_BACKOFF 20.0
#define SENPAI_COEFF_PROBE 10.0
#define SENPAI_MAX_PROBE 0.01
#define SENPAI_MIN_DIVISOR 50 /* of the group */

static void wish(struct steer *steer, uint32_t i, const struct steer_slot *from)
{
	struct slot_policy *to = &steer->wishes[i];

	*to = (struct slot_policy){
		.node = (int)from->group,
		.weight = from->weight == 0 ? WEIGHT_DEFAULT : from->weight,
		.tier = from->tier,
		.mode = from->mode,
		.min_bytes = plant_bytes(steer->plant, from->min_units),
		.max_bytes = from->max_units == 0 ? BYTES_UNLIMITED
						  : plant_bytes(steer->plant, from->max_units),
	};
	snprintf(to->name, sizeof(to->name), "slot%u", i);
	steer->slots[i].name = to->name;
}

bool steer_entitle(struct steer *steer)
{
	const struct plant_config *config = &steer->plant->config;
	struct entitle_slot *slots = calloc(steer->n_slots, sizeof(*slots));
	struct node_info nodes[PLANT_GROUPS] = { 0 };
	struct entitle_node results[PLANT_GROUPS];
	struct entitle_any any;
	bool is_done;

	for (uint32_t i = 0; i < config->n_groups; i++) {
		nodes[i].node = (int)i;
		nodes[i].budget_bytes = plant_bytes(steer->plant, config->group_units[i]);
		nodes[i].reserve_bytes = nodes[i].budget_bytes / STEER_RESERVE_DIVISOR;
	}
	for (uint32_t i = 0; slots && i < steer->n_slots; i++)
		slots[i].policy = &steer->wishes[i];
	is_done = slots && entitle(nodes, config->n_groups, slots, steer->n_slots, results, &any) ==
				   ENTITLE_OK;
	for (uint32_t i = 0; is_done && i < steer->n_slots; i++) {
		const struct slot_policy *from = &steer->wishes[i];
		struct control_slot *to = &steer->slots[i];
		struct plant_slot *slot = &steer->plant->slots[i];

		to->weight = from->weight;
		to->tier = from->tier;
		to->mode = from->mode;
		to->min_bytes = slots[i].guaranteed_bytes;
		control_reshare(to, slots[i].share_bytes);
		to->max_bytes = slot->max_bytes = from->max_bytes;
		if (steer->policy == STEER_LAW || steer->policy == STEER_LOW)
			slot->min_bytes = slots[i].guaranteed_bytes;
		if (steer->policy == STEER_LOW)
			slot->low_bytes = slots[i].share_bytes;
		if (steer->policy == STEER_LAW)
			slot->low_bytes = to->low_bytes;
	}
	for (uint32_t i = 0; is_done && i < config->n_groups; i++)
		steer->groups[i].bytes = results[i].distributable_bytes;
	free(slots);
	return is_done;
}

bool steer_init(struct steer *steer, enum steer_policy policy, const struct plant_config *config,
		const struct steer_slot *slots, uint32_t n_slots, uint32_t fairness_permille)
{
	struct plant_slot *made = calloc(n_slots, sizeof(*made));

	*steer = (struct steer){ .policy = policy, .n_slots = n_slots };
	for (uint32_t i = 0; made && i < n_slots; i++) {
		made[i].group = slots[i].group;
		made[i].n_tasks = slots[i].n_tasks;
		made[i].max_bytes = made[i].high_bytes = UINT64_MAX;
		for (uint32_t k = 0; k < slots[i].n_tasks; k++)
			made[i].tasks[k].task = slots[i].tasks[k];
	}
	steer->plant = made ? plant_new(config, made, n_slots) : NULL;
	free(made);
	steer->wishes = calloc(n_slots, sizeof(*steer->wishes));
	steer->slots = calloc(n_slots, sizeof(*steer->slots));
	steer->senpais = calloc(n_slots, sizeof(*steer->senpais));
	steer->order = calloc(n_slots, sizeof(struct control_slot *));
	steer->twins = calloc(n_slots, sizeof(*steer->twins));
	steer->twin_order = calloc(n_slots, sizeof(struct control_slot *));
	if (!steer->plant || !steer->wishes || !steer->slots || !steer->senpais || !steer->order ||
	    !steer->twins || !steer->twin_order) {
		steer_deinit(steer);
		return false;
	}
	for (uint32_t i = 0; i < n_slots; i++)
		wish(steer, i, &slots[i]);
	for (uint32_t i = 0; i < config->n_groups; i++)
		steer->groups[i].fairness_permille = fairness_permille;
	if (steer_entitle(steer))
		return true;
	steer_deinit(steer);
	return false;
}

void steer_deinit(struct steer *steer)
{
	plant_free(TAKE(steer->plant));
	free(TAKE(steer->wishes));
	free(TAKE(steer->slots));
	free(TAKE(steer->senpais));
	free(TAKE(steer->order));
	free(TAKE(steer->twins));
	free(TAKE(steer->twin_order));
}

static void senpai_tick(struct steer *steer, uint32_t i, uint32_t interval)
{
	struct senpai *s = &steer->senpais[i];
	struct plant_slot *slot = &steer->plant->slots[i];
	uint64_t current = slot->sample.current_bytes;
	uint64_t least = plant_bytes(steer->plant, steer->plant->config.group_units[slot->group]) /
			 SENPAI_MIN_DIVISOR;
	double factor;

	if (s->limit_bytes == 0)
		s->limit_bytes = current;
	s->integral_us += slot->sample.stall_us - s->stall_us;
	s->stall_us = slot->sample.stall_us;
	s->ticks++;
	if ((double)s->integral_us > SENPAI_TARGET_US) {
		factor = (double)s->integral_us / SENPAI_TARGET_US / SENPAI_COEFF_BACKOFF;
		factor = 1 + MIN(factor * factor, 1.0);
	} else if (s->ticks >= interval) {
		factor = SENPAI_TARGET_US / (double)MAX(s->integral_us, UINT64_C(1)) /
			 SENPAI_COEFF_PROBE;
		factor = 1 - MIN(factor * factor, 1.0) * SENPAI_MAX_PROBE;
	} else {
		return;
	}
	s->integral_us = 0;
	s->ticks = 0;
	s->limit_bytes = MAX((uint64_t)((double)s->limit_bytes * factor), least);
	s->limit_bytes = MIN(s->limit_bytes, UINT64_C(1) << 50);
	slot->high_bytes = s->limit_bytes;
	if (current > s->limit_bytes)
		plant_reclaim_slot(steer->plant, i, current - s->limit_bytes);
}

static uint32_t draw(struct steer *steer, uint32_t bound)
{
	steer->random =
		steer->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((steer->random >> 32) * bound >> 32);
}

/* The plan for copies of the slots, in a random order. What is compared is all that the law says and
 * will remember: if no tick depends on the order, no history does. */
static int plan_twins(struct steer *steer, struct control_group *group, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t k = draw(steer, i + 1);

		memcpy(&steer->twins[i], steer->order[i], sizeof(*steer->twins));
		steer->twin_order[i] = steer->twin_order[k];
		steer->twin_order[k] = &steer->twins[i];
	}
	return control_plan(group, steer->twin_order, n, steer->now_ns);
}

static int plan(struct steer *steer, struct control_group *group, uint32_t n)
{
	struct control_group twin = *group;
	int r = steer->is_planned_twice ? plan_twins(steer, &twin, n) : 0;

	if (r == 0)
		r = control_plan(group, steer->order, n, steer->now_ns);
	if (r < 0 || !steer->is_planned_twice)
		return r;
	for (uint32_t i = 0; i < n; i++)
		steer->n_different +=
			memcmp(&steer->twins[i], steer->order[i], sizeof(*steer->twins)) != 0;
	steer->n_different += twin.n_evidence != group->n_evidence ||
			      twin.n_polluter != group->n_polluter ||
			      twin.freed_bytes != group->freed_bytes;
	return 0;
}

static int law_tick(struct steer *steer, uint32_t group)
{
	struct plant *plant = steer->plant;
	uint32_t n = 0;
	int r;

	for (uint32_t i = 0; i < steer->n_slots; i++) {
		struct control_slot *slot = &steer->slots[i];

		if (plant->slots[i].group != group)
			continue;
		slot->is_fresh =
			steer->stale_permille == 0 || draw(steer, 1000) >= steer->stale_permille;
		if (slot->is_fresh)
			slot->sample = plant->slots[i].sample;
		steer->order[n++] = slot;
	}
	r = plan(steer, &steer->groups[group], n);
	for (uint32_t i = 0; i < steer->n_slots && r == 0; i++) {
		const struct control_slot *slot = &steer->slots[i];

		if (plant->slots[i].group != group)
			continue;
		if (slot->is_changed) {
			plant->slots[i].low_bytes = slot->low_bytes;
			steer->n_writes++;
		}
		if (slot->reclaim_bytes > 0)
			plant_reclaim_slot(plant, i, slot->reclaim_bytes);
	}
	return r;
}

int steer_tick(struct steer *steer)
{
	int r = 0;

	plant_run(steer->plant);
	steer->now_ns += CONTROL_TICK_NS;
	switch (steer->policy) {
	case STEER_SENPAI:
	case STEER_SENPAI_FAST:
		for (uint32_t i = 0; i < steer->n_slots; i++)
			senpai_tick(steer, i, steer->policy == STEER_SENPAI ? SENPAI_INTERVAL : 1);
		break;
	case STEER_LAW:
		for (uint32_t i = 0; i < steer->plant->config.n_groups && r == 0; i++)
			r = law_tick(steer, i);
		break;
	default:
		break;
	}
	return r;
}
