/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the control law promises on any machine at any tick (machine.h), while tasks change what they
 * do, wishes change, samples are late and counters begin anew.
 */

#include "machine.h"

#include "suite.h"

#define CHANGE_TICK 60
#define END_TICK 120

/* And in any order of the slots, and if asked twice, it says the same. */
START_TEST(no_machine_breaks_a_guarantee_or_gives_memory_twice)
{
	for (uint32_t seed = 1; seed <= machine_count(); seed++) {
		struct machine m;

		machine_init(&m, seed, MACHINE_ANY);
		m.steer.is_planned_twice = true;
		m.steer.stale_permille = machine_chance(300) ? machine_between(0, 500) : 0;
		while (m.steer.plant->tick < END_TICK) {
			machine_tick(&m);
			if (m.steer.plant->tick == CHANGE_TICK)
				machine_change_wishes(&m);
			if (machine_chance(10))
				plant_restart_slot(m.steer.plant, machine_between(0, m.n_slots - 1),
						   /* is_new= */ machine_chance(500));
		}
		machine_deinit(&m);
	}
}
END_TEST

static Suite *control_random_suite(void)
{
	Suite *suite = suite_create("control_random");
	TCase *tcase = tcase_create("core");

	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, no_machine_breaks_a_guarantee_or_gives_memory_twice);
	suite_add_tcase(suite, tcase);
	return suite;
}

int main(void)
{
	return suite_run(control_random_suite());
}
