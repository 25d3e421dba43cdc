/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Machines on which the law once swung for ever: tasks that do the same all the time, and protection
 * that came and went every half second. Each was met among ten thousand random ones.
 */

#include "steer.h"

#include <check.h>

#include "suite.h"

#define SETTLE_TICKS 480
#define LOOK_TICKS 120
/* A floor ends after forty seconds and is proven anew, which writes a slot some four times: there are
 * seven such writes in this minute, and there were eighty. */
#define WRITES_MAX 0.10
#define SLOTS 5

struct machine {
	struct plant_config config;
	struct steer_slot slots[SLOTS];
	uint32_t n_slots;
};

/* A task that reads @n_units of its memory evenly, as fast as it can. */
static struct steer_slot reader(enum plant_memory memory, uint32_t n_units, uint32_t weight)
{
	return (struct steer_slot){
		.weight = weight,
		.tier = TIER_DEFAULT,
		.tasks = { { .memory = memory,
			     .n_units = n_units,
			     .phases = { { .access = PLANT_UNIFORM, .n_units = n_units } },
			     .n_phases = 1 } },
		.n_tasks = 1,
	};
}

/* Writes of memory.low per slot and tick. */
static double writes_at_rest(const struct machine *m)
{
	struct steer steer;
	uint64_t before = 0;
	double writes;

	ck_assert(steer_init(&steer, STEER_LAW, &m->config, m->slots, m->n_slots, 0));
	while (steer.plant->tick < SETTLE_TICKS + LOOK_TICKS) {
		ck_assert_int_eq(steer_tick(&steer), 0);
		if (steer.plant->tick == SETTLE_TICKS)
			before = steer.n_writes;
	}
	writes = (double)(steer.n_writes - before) / m->n_slots / LOOK_TICKS;
	steer_deinit(&steer);
	return writes;
}

/* What the tax takes of a set that is small and hot is back before the tick ends: its usage never
 * shows the loss, and yet there is a proof. */
START_TEST(small_hot_set_is_not_taxed_for_ever)
{
	for (uint64_t seed = 1; seed <= 8; seed++) {
		const struct machine m = {
			.config = { .seed = seed,
				    .unit_pages = 74,
				    .n_groups = 1,
				    .group_units = { 227 },
				    .has_swap = true },
			.slots = { reader(PLANT_MAPPED, 281, 339), reader(PLANT_FILE, 219, 396),
				   reader(PLANT_FILE, 14, 100) },
			.n_slots = 3,
		};

		ck_assert_double_le(writes_at_rest(&m), WRITES_MAX);
	}
}
END_TEST

/* Slot 0 has been lent memory up to its own cap. If it stops asking there, it loses the loan and asks
 * for it again. */
START_TEST(loan_up_to_the_own_cap_stays)
{
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct machine m = {
			.config = { .seed = seed,
				    .unit_pages = 134,
				    .n_groups = 1,
				    .group_units = { 200 },
				    .has_swap = true },
			.slots = { reader(PLANT_FILE, 53, 100), reader(PLANT_MAPPED, 62, 100),
				   reader(PLANT_ANON, 52, 100), reader(PLANT_MAPPED, 103, 100),
				   reader(PLANT_FILE, 1, 100) },
			.n_slots = 5,
		};

		m.slots[0].max_units = 45;
		ck_assert_double_le(writes_at_rest(&m), WRITES_MAX);
	}
}
END_TEST

/* Slot 0 reads 46 units, has a share of 41, is lent the rest, and has proven to need it. */
START_TEST(proven_need_above_the_share_stays)
{
	for (uint64_t seed = 1; seed <= 8; seed++) {
		const struct machine m = {
			.config = { .seed = seed,
				    .unit_pages = 117,
				    .n_groups = 1,
				    .group_units = { 255 },
				    .has_swap = true },
			.slots = { reader(PLANT_FILE, 46, 100), reader(PLANT_MAPPED, 338, 100),
				   reader(PLANT_ANON, 4, 400) },
			.n_slots = 3,
		};

		ck_assert_double_le(writes_at_rest(&m), WRITES_MAX);
	}
}
END_TEST

static Suite *control_rest_suite(void)
{
	Suite *suite = suite_create("control_rest");
	TCase *tcase = tcase_create("core");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, small_hot_set_is_not_taxed_for_ever);
	tcase_add_test(tcase, loan_up_to_the_own_cap_stays);
	tcase_add_test(tcase, proven_need_above_the_share_stays);
	suite_add_tcase(suite, tcase);
	return suite;
}

int main(void)
{
	return suite_run(control_rest_suite());
}
