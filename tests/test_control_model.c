/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The control law on loads that were tried on a real kernel (plant.h stands for that machine), and
 * beside it what else could be done there: nothing, low = entitlement for ever, senpai's law.
 * Refaults and bytes first; throughput is accesses per time.
 *
 * The law's bars leave room above what it reaches here, none is met by luck of the seed: three
 * seeds are summed. Where the plant is kinder than the kernel (nobody collapses beside a page cache
 * scan under `none`) the bar is against low = E.
 */

#include "steer.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "suite.h"

/* The group: 160 MiB in units of 128 KiB. */
#define B 1280U
#define UNIT_PAGES 32
#define SEEDS (STEER_IS_SLOW ? 1U : 3U)
/* Seconds 7 to 25 were scored in the trials. */
#define WARM_TICKS 14
#define SCORED_TICKS 36
/* A minute of model time for each flip of a load that changes. */
#define FLIP_TICKS 60
#define FLIPS 20U
/* With retests of scans, which begin after half a minute. */
#define LONG_TICKS (STEER_IS_SLOW ? 600U : 1200U)
#define HOUR_TICKS (STEER_IS_SLOW ? 600U : 7200U)

struct load {
	struct steer_slot slots[4];
	uint32_t n_slots;
	uint32_t n_useful; /* the first so many slots are scored */
	uint32_t warm_ticks, scored_ticks;
	bool is_legacy;
	bool has_second_node;     /* half as large as the first one */
	struct plant_costs costs; /* all 0: the plant's own */
};

/* The same machine under emulation on a slow processor, as the benchmark has met it: no more than 1300
 * pages come back in a second, whatever the law, so that all takes three times as long. */
static const struct plant_costs slow_costs = {
	.hit_us = 25,
	.first_touch_us = 30,
	.swap_in_us = 290,
	.file_read_us = 55,
	.reclaim_us = 160,
};
/* The benchmark scores seconds 8 to 28, and phases of 14 s. */
#define SLOW_WARM_TICKS 16
#define SLOW_TICKS 40
#define SLOW_FLIP_TICKS 28
/* Within six nothing has settled, and which law is ahead is chance: 4 % of the refaults. */
#define SLOW_FLIPS 20U

/* Sums over seeds. */
struct score {
	double refaults; /* of useful slots */
	double speed;    /* accesses for each tick that a task alone would have made */
	double n_writes;
	double bytes[4];   /* mean of the scored ticks and seeds */
	uint32_t n_missed; /* flips: the growing slot did not get what it touches */
	/* ticks of slots on the second node that lost a page or were not protected at their share */
	uint32_t n_disturbed;
};

static struct plant_task task(enum plant_memory memory, enum plant_access access, uint32_t units)
{
	return (struct plant_task){
		.memory = memory,
		.n_units = units,
		.phases = { { .access = access, .n_units = units } },
		.n_phases = 1,
	};
}

static struct steer_slot slot_of(struct plant_task the_task)
{
	return (struct steer_slot){ .tasks = { the_task }, .n_tasks = 1 };
}

static struct steer_slot slot(enum plant_memory memory, enum plant_access access, uint32_t percent)
{
	return slot_of(task(memory, access, B * percent / 100));
}

/* It fills its memory first, as programs do that allocate it. */
static struct steer_slot filled_slot(uint32_t percent, uint32_t weight)
{
	struct plant_task hot = task(PLANT_ANON, PLANT_UNIFORM, B * percent / 100);
	struct steer_slot made;

	hot.is_filled = true;
	made = slot_of(hot);
	made.weight = weight;
	return made;
}

/* What a task that hits always does in a tick. */
static double solo_accesses(const struct plant *plant)
{
	return 300000.0 / plant->config.costs.hit_us;
}

/* In a load that flips, slot 0 and 1 take turns to be large, the first one begins. */
static bool is_flip_missed(const struct steer *steer, const struct load *load, uint64_t tick)
{
	uint32_t grown = (tick / FLIP_TICKS) % 2;
	const struct plant_phase *phase = &load->slots[grown].tasks[0].phases[grown];

	return steer->plant->slots[grown].n_resident < phase->n_units * 95 / 100;
}

static bool is_disturbed(const struct steer *steer, uint32_t i)
{
	const struct control_slot *slot = &steer->slots[i];

	return steer->plant->slots[i].group == 1 &&
	       (slot->low_bytes != (slot->share_bytes & ~(CONTROL_PAGE - 1)) ||
		slot->sample.steal_pages > 0);
}

static void run_seed(struct score *score, const struct load *load, enum steer_policy policy,
		     uint64_t seed)
{
	const struct plant_config config = {
		.seed = seed,
		.costs = load->costs,
		.unit_pages = UNIT_PAGES,
		.n_groups = load->has_second_node ? 2 : 1,
		.group_units = { B, B / 2 },
		.is_legacy = load->is_legacy,
		.has_swap = true,
	};
	uint32_t ticks = load->warm_ticks + load->scored_ticks;
	bool is_flipping = load->slots[0].tasks[0].n_phases > 1 &&
			   load->slots[0].tasks[0].phases[0].n_ticks == FLIP_TICKS;
	struct steer steer;
	uint64_t refaults[4] = { 0 }, accesses[4] = { 0 };

	ck_assert(steer_init(&steer, policy, &config, load->slots, load->n_slots, 0));
	for (uint32_t t = 0; t < ticks; t++) {
		ck_assert_int_eq(steer_tick(&steer), 0);
		for (uint32_t i = 0; i < load->n_slots; i++) {
			const struct plant_slot *from = &steer.plant->slots[i];

			score->n_disturbed += is_disturbed(&steer, i);
			if (t + 1 == load->warm_ticks) {
				refaults[i] = from->sample.refault_pages;
				accesses[i] = from->n_accesses;
			} else if (t >= load->warm_ticks) {
				score->bytes[i] += (double)from->sample.current_bytes /
						   load->scored_ticks / SEEDS;
			}
		}
		if (is_flipping && t >= load->warm_ticks && (t + 1) % FLIP_TICKS == 0)
			score->n_missed += is_flip_missed(&steer, load, t);
	}
	for (uint32_t i = 0; i < load->n_slots; i++) {
		const struct plant_slot *from = &steer.plant->slots[i];

		if (i >= load->n_useful)
			continue;
		score->refaults += (double)(from->sample.refault_pages - refaults[i]);
		score->speed += (double)(from->n_accesses - accesses[i]) /
				solo_accesses(steer.plant) / load->scored_ticks / load->n_useful /
				SEEDS;
	}
	score->n_writes += (double)steer.n_writes;
	steer_deinit(&steer);
}

static struct score run(const struct load *load, enum steer_policy policy)
{
	struct score score = { 0 };

	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		run_seed(&score, load, policy, seed);
	return score;
}

/* All policies on one load, printed as a line each. */
static void compare(const char *title, const struct load *load, struct score scores[STEER_POLICIES])
{
	static const char *const names[STEER_POLICIES] = {
		[STEER_NONE] = "none",     [STEER_LOW] = "low = E",
		[STEER_SENPAI] = "senpai", [STEER_SENPAI_FAST] = "senpai x6",
		[STEER_LAW] = "law",
	};

	for (int p = 0; p < STEER_POLICIES; p++) {
		struct score *s = &scores[p];

		*s = run(load, (enum steer_policy)p);
		printf("%-14s %-9s %8.0f refaults, speed %.3f, %4.0f writes, %2u missed, MiB",
		       title, names[p], s->refaults, s->speed, s->n_writes, s->n_missed);
		for (uint32_t i = 0; i < load->n_slots; i++)
			printf(" %.1f", s->bytes[i] / (1 << 20));
		printf("\n");
	}
	fflush(stdout);
}

static double better_senpai_refaults(const struct score *scores)
{
	return MIN(scores[STEER_SENPAI].refaults, scores[STEER_SENPAI_FAST].refaults);
}

static double better_senpai_speed(const struct score *scores)
{
	return MAX(scores[STEER_SENPAI].speed, scores[STEER_SENPAI_FAST].speed);
}

static struct load flipping(uint32_t flips, uint32_t flip_ticks, bool is_legacy)
{
	struct plant_task first = {
		.memory = PLANT_ANON,
		.n_units = B * 3 / 4,
		.phases = { { .access = PLANT_UNIFORM,
			      .n_units = B * 3 / 4,
			      .n_ticks = flip_ticks },
			    { .access = PLANT_UNIFORM, .n_units = B / 5, .n_ticks = flip_ticks } },
		.n_phases = 2,
	};
	struct plant_task second = first;

	second.phases[0] = first.phases[1];
	second.phases[1] = first.phases[0];
	return (struct load){
		.slots = { slot_of(first), slot_of(second) },
		.n_slots = 2,
		.n_useful = 2,
		.warm_ticks = flip_ticks,
		.scored_ticks = flips * flip_ticks,
		.is_legacy = is_legacy,
	};
}

static struct load beside_scan(enum plant_memory hot, enum plant_memory scan)
{
	return (struct load){
		.slots = { slot(hot, PLANT_UNIFORM, 45), slot(hot, PLANT_UNIFORM, 25),
			   slot(scan, PLANT_LOOP, 200) },
		.n_slots = 3,
		.n_useful = 2,
		.warm_ticks = WARM_TICKS,
		.scored_ticks = SCORED_TICKS,
	};
}

START_TEST(flips_settle_and_none_is_missed)
{
	struct load load = flipping(FLIPS, FLIP_TICKS, /* is_legacy= */ _i == 1);
	struct score s[STEER_POLICIES];

	compare(_i == 1 ? "flips, legacy" : "flips", &load, s);
	ck_assert_uint_eq(s[STEER_LAW].n_missed, 0);
	ck_assert(s[STEER_LAW].refaults <= 0.75 * s[STEER_NONE].refaults);
	ck_assert(s[STEER_LAW].refaults <= better_senpai_refaults(s));
}
END_TEST

START_TEST(scan_of_heap_or_mapped_file_hurts_nobody)
{
	struct load load = beside_scan(PLANT_ANON, _i == 1 ? PLANT_MAPPED : PLANT_ANON);
	struct score s[STEER_POLICIES];

	compare(_i == 1 ? "mapped scan" : "heap scan", &load, s);
	ck_assert(s[STEER_LAW].refaults <= 0.05 * s[STEER_LOW].refaults);
}
END_TEST

START_TEST(scan_of_page_cache_is_no_worse_than_without_us)
{
	struct load load = beside_scan(PLANT_ANON, PLANT_FILE);
	struct score s[STEER_POLICIES];

	compare("file scan", &load, s);
	ck_assert(s[STEER_LAW].speed >= 0.97 * s[STEER_NONE].speed);
}
END_TEST

START_TEST(hot_readers_keep_their_files_beside_a_scan)
{
	struct load load = beside_scan(PLANT_FILE, PLANT_FILE);
	struct score s[STEER_POLICIES];

	load.slots[1] = load.slots[0];
	compare("hot files", &load, s);
	ck_assert(s[STEER_LAW].refaults <= 0.02 * s[STEER_LOW].refaults);
}
END_TEST

/* What a scan is left beyond what it reads just now, others read again. */
START_TEST(hungry_readers_have_nearly_all_beside_a_scan)
{
	struct load load = {
		.slots = { slot(PLANT_FILE, PLANT_UNIFORM, 55), slot(PLANT_FILE, PLANT_UNIFORM, 55),
			   slot(PLANT_FILE, PLANT_LOOP, 200) },
		.n_slots = 3,
		.n_useful = 2,
		.warm_ticks = 2 * WARM_TICKS,
		.scored_ticks = SCORED_TICKS,
	};
	struct score s[STEER_POLICIES];

	load.costs = _i == 1 ? slow_costs : (struct plant_costs){ 0 };
	compare(_i == 1 ? "readers, slow" : "readers", &load, s);
	/* of what is promised to all */
	ck_assert(s[STEER_LAW].bytes[0] + s[STEER_LAW].bytes[1] >=
		  0.985 * (B - B / STEER_RESERVE_DIVISOR) * UNIT_PAGES * (double)CONTROL_PAGE);
}
END_TEST

START_TEST(retests_of_a_scan_cost_others_little)
{
	static const enum plant_memory scans[] = { PLANT_ANON, PLANT_FILE, PLANT_MAPPED };
	struct load load = beside_scan(PLANT_ANON, scans[_i]);
	struct score s[STEER_POLICIES];

	load.scored_ticks = LONG_TICKS;
	compare("scan, retests", &load, s);
	ck_assert(s[STEER_LAW].refaults <= 0.03 * s[STEER_LOW].refaults);
	ck_assert(s[STEER_LAW].speed >= 0.97 * s[STEER_NONE].speed);
}
END_TEST

START_TEST(hungry_slots_hold_their_shares_within_3_percent)
{
	struct load load = {
		.slots = { slot(PLANT_ANON, PLANT_UNIFORM, 55), slot(PLANT_ANON, PLANT_UNIFORM, 55),
			   slot(PLANT_ANON, PLANT_UNIFORM, 55) },
		.n_slots = 3,
		.n_useful = 3,
		.warm_ticks = WARM_TICKS,
		.scored_ticks = LONG_TICKS,
		.is_legacy = _i == 1,
	};
	struct score s[STEER_POLICIES];

	load.slots[2].weight = 200;
	compare("weights 1:1:2", &load, s);
	/* of all that is held, which includes the reserve */
	for (int i = 0; i < 3; i++) {
		double held = s[STEER_LAW].bytes[0] + s[STEER_LAW].bytes[1] + s[STEER_LAW].bytes[2];
		double due = held * (i == 2 ? 0.5 : 0.25);

		ck_assert_double_eq_tol(s[STEER_LAW].bytes[i], due, 0.03 * due);
	}
}
END_TEST

START_TEST(heavy_slot_keeps_its_speed_while_its_set_fits_its_share)
{
	struct load load = {
		.slots = { slot(PLANT_ANON, PLANT_UNIFORM, 55), slot(PLANT_ANON, PLANT_UNIFORM, 60),
			   slot(PLANT_ANON, PLANT_UNIFORM, 60) },
		.n_slots = 3,
		.n_useful = 1,
		.warm_ticks = WARM_TICKS,
		.scored_ticks = LONG_TICKS,
	};
	struct score s[STEER_POLICIES];

	load.slots[0].weight = 400;
	compare("weight 4", &load, s);
	ck_assert(s[STEER_LAW].speed >= 0.9);
}
END_TEST

/* To find out whether it needs what it has is no reason to slow it down: what is taken for that comes
 * back in seconds there, and once the answer is known it is seldom asked. */
START_TEST(heavy_slot_on_a_slow_machine_is_probed_little_and_seldom)
{
	struct load load = {
		.slots = { filled_slot(60, 400), filled_slot(50, 100), filled_slot(50, 100) },
		.n_slots = 3,
		.n_useful = 1,
		.warm_ticks = SLOW_WARM_TICKS,
		.scored_ticks = _i == 1 ? LONG_TICKS : SLOW_TICKS,
		.costs = slow_costs,
	};
	struct score s[STEER_POLICIES];

	compare(_i == 1 ? "W4, slow, long" : "W4, slow", &load, s);
	ck_assert(s[STEER_LAW].speed >= (_i == 1 ? 0.98 : 0.96));
}
END_TEST

START_TEST(flips_on_a_slow_machine_are_no_worse_than_without_us)
{
	struct load load = flipping(SLOW_FLIPS, SLOW_FLIP_TICKS, /* is_legacy= */ false);
	struct score s[STEER_POLICIES];

	load.costs = slow_costs;
	for (int i = 0; i < 2; i++)
		load.slots[i].tasks[0].is_filled = true;
	compare("flips, slow", &load, s);
	/* 120 flips are alike with and without; within these 2 % are chance, and the bars allow 3 */
	ck_assert(s[STEER_LAW].speed >= 0.97 * s[STEER_NONE].speed);
	ck_assert((double)s[STEER_LAW].refaults <= 1.03 * (double)s[STEER_NONE].refaults);
}
END_TEST

START_TEST(cold_memory_goes_to_the_hungry)
{
	struct plant_task cold = {
		.memory = PLANT_ANON,
		.n_units = B * 6 / 10,
		.phases = { { .access = PLANT_TOUCH, .n_units = B * 6 / 10 },
			    { .access = PLANT_UNIFORM, .n_units = B * 15 / 100 } },
		.n_phases = 2,
	};
	struct load load = {
		.slots = { slot_of(cold), slot(PLANT_ANON, PLANT_UNIFORM, 70) },
		.n_slots = 2,
		.n_useful = 2,
		.warm_ticks = 2 * WARM_TICKS,
		.scored_ticks = SCORED_TICKS,
		.is_legacy = _i == 1,
	};
	struct score s[STEER_POLICIES];

	compare("cold + hungry", &load, s);
	ck_assert(s[STEER_LAW].refaults <= 0.15 * s[STEER_LOW].refaults);
	ck_assert(s[STEER_LAW].speed >= 0.97 * better_senpai_speed(s));
}
END_TEST

/* A loop beside a hot slot: one that fits what is free gets it, one that cannot fit takes nothing
 * from the others. */
START_TEST(loop_gets_what_is_free_and_no_more)
{
	uint32_t percent = _i == 1 ? 150 : 70;
	struct load load = {
		.slots = { slot(PLANT_ANON, PLANT_UNIFORM, 22),
			   slot(PLANT_ANON, PLANT_LOOP, percent) },
		.n_slots = 2,
		.n_useful = _i == 1 ? 1 : 2,
		.warm_ticks = 2 * WARM_TICKS,
		.scored_ticks = LONG_TICKS,
	};
	struct score s[STEER_POLICIES];

	compare(_i == 1 ? "large loop" : "loop that fits", &load, s);
	ck_assert(s[STEER_LAW].speed >= 0.97 * s[STEER_NONE].speed);
}
END_TEST

static struct steer_slot on_second_node(struct steer_slot made)
{
	made.group = 1;
	return made;
}

/* Two hungry slots on one node, or hot sets beside a scan; on the other one there is room, and memory
 * that nobody uses. Each node is as if it were alone: nothing is taken from the one for the other, and
 * nothing is lent. */
START_TEST(starved_node_and_one_with_room_do_not_disturb_each_other)
{
	struct load load = beside_scan(PLANT_ANON, PLANT_ANON);
	struct score alone, beside;

	load.scored_ticks = LONG_TICKS / 4;
	if (_i == 0) {
		load.slots[0] = slot(PLANT_ANON, PLANT_UNIFORM, 70);
		load.slots[1] = slot(PLANT_ANON, PLANT_UNIFORM, 70);
		load.slots[1].weight = 200;
		load.slots[2] = on_second_node(slot(PLANT_ANON, PLANT_TOUCH, 20));
		load.n_slots = 2;
	}
	alone = run(&load, STEER_LAW);
	load.has_second_node = true;
	load.slots[3] = on_second_node(slot(PLANT_ANON, PLANT_UNIFORM, 20));
	load.n_slots = 4;
	beside = run(&load, STEER_LAW);
	for (int i = 0; i < 2; i++) {
		printf("node 0, slot %d: alone %.1f MiB, beside node 1 %.1f\n", i,
		       alone.bytes[i] / (1 << 20), beside.bytes[i] / (1 << 20));
		ck_assert_double_eq_tol(beside.bytes[i], alone.bytes[i], 0.01 * alone.bytes[i]);
	}
	printf("node 0: alone %.0f refaults, speed %.3f, beside node 1 %.0f, %.3f\n",
	       alone.refaults, alone.speed, beside.refaults, beside.speed);
	fflush(stdout);
	ck_assert_double_eq_tol(beside.speed, alone.speed, 0.01 * alone.speed);
	if (_i == 0)
		ck_assert_double_eq_tol(beside.refaults, alone.refaults, 0.03 * alone.refaults);
	ck_assert_double_eq_tol(beside.bytes[3], B * 20 / 100 * UNIT_PAGES * (double)CONTROL_PAGE,
				1.0);
	ck_assert_uint_eq(beside.n_disturbed, 0);
}
END_TEST

START_TEST(hours_of_flips_beside_a_scan_stay_as_good_as_the_first)
{
	struct load load = flipping(FLIPS, FLIP_TICKS, /* is_legacy= */ false);
	struct score first, later;

	load.slots[2] = slot(PLANT_ANON, PLANT_LOOP, 150);
	load.n_slots = 3;
	load.scored_ticks = HOUR_TICKS;
	first = run(&load, STEER_LAW);
	load.warm_ticks = 3 * HOUR_TICKS;
	later = run(&load, STEER_LAW);
	printf("first hour %.0f refaults, %u missed; fourth %.0f, %u\n", first.refaults,
	       first.n_missed, later.refaults, later.n_missed);
	ck_assert(later.refaults <= 1.1 * first.refaults);
	/* of 360 in three seeds: a flip may meet a retest */
	ck_assert_uint_le(later.n_missed, 18);
}
END_TEST

static Suite *control_model_suite(void)
{
	Suite *suite = suite_create("control_model");
	TCase *tcase = tcase_create("core");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, flips_settle_and_none_is_missed, 0, 2);
	tcase_add_loop_test(tcase, scan_of_heap_or_mapped_file_hurts_nobody, 0, 2);
	tcase_add_test(tcase, scan_of_page_cache_is_no_worse_than_without_us);
	tcase_add_test(tcase, hot_readers_keep_their_files_beside_a_scan);
	tcase_add_loop_test(tcase, hungry_readers_have_nearly_all_beside_a_scan, 0, 2);
	tcase_add_loop_test(tcase, retests_of_a_scan_cost_others_little, 0, 3);
	tcase_add_loop_test(tcase, hungry_slots_hold_their_shares_within_3_percent, 0, 2);
	tcase_add_test(tcase, heavy_slot_keeps_its_speed_while_its_set_fits_its_share);
	tcase_add_loop_test(tcase, heavy_slot_on_a_slow_machine_is_probed_little_and_seldom, 0, 2);
	tcase_add_test(tcase, flips_on_a_slow_machine_are_no_worse_than_without_us);
	tcase_add_loop_test(tcase, cold_memory_goes_to_the_hungry, 0, 2);
	tcase_add_loop_test(tcase, loop_gets_what_is_free_and_no_more, 0, 2);
	tcase_add_loop_test(tcase, starved_node_and_one_with_room_do_not_disturb_each_other, 0, 2);
	tcase_add_test(tcase, hours_of_flips_beside_a_scan_stay_as_good_as_the_first);
	suite_add_tcase(suite, tcase);
	return suite;
}

int main(void)
{
	return suite_run(control_model_suite());
}
