/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Random machines (machine.h) whose tasks do the same for ever: the law comes to rest, and nobody
 * starves.
 */

#include "machine.h"

#include <stdlib.h>

#include "suite.h"

/* Two minutes and a half, and five of every fourth machine: a scan has its first two retests in the
 * former, three in the latter. Then the last minute is looked at. */
#define REST_TICKS 300
#define LONG_REST_TICKS 600
#define REST_LOOK_TICKS 120
/* The law hunts: whoever is quiet beside the hungry is taxed until it objects, every forty seconds
 * once its floor is proven, and each time several slots are written, for what one is promised another
 * is not. Half the machines must be silent, and few may write much: of ten thousand 90 % are below
 * 0.114 writes per slot and tick, 99 % below 0.34, and most is 0.64, by hungry slots that turn over
 * much of their memory in a tick: their loops are labelled and pardoned as often. A swing of the law
 * itself has a period of two ticks and writes 0.75 to 1.0 (test_control_rest.c). */
#define REST_WRITES_P90 0.12
#define REST_WRITES_P99 0.40
#define REST_WRITES_MAX 0.72
/* Below its due over twenty seconds a hungry slot starves. */
#define STARVED_LOOK_TICKS 40

static int compare_doubles(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

/* Runs the machine to @n_ticks; returns the writes of memory.low per slot and tick at its rest, and in
 * *bytes what each slot had at the end, in the mean. */
static double run_to_rest(struct machine *m, uint32_t n_ticks, uint64_t bytes[MACHINE_SLOTS_MAX])
{
	uint64_t before = 0;

	while (m->steer.plant->tick < n_ticks) {
		machine_tick(m);
		if (m->steer.plant->tick == n_ticks - REST_LOOK_TICKS)
			before = m->steer.n_writes;
		for (uint32_t i = 0; i < m->n_slots; i++)
			if (m->steer.plant->tick > n_ticks - STARVED_LOOK_TICKS)
				bytes[i] += m->steer.slots[i].sample.current_bytes;
	}
	for (uint32_t i = 0; i < m->n_slots; i++)
		bytes[i] /= STARVED_LOOK_TICKS;
	return (double)(m->steer.n_writes - before) / m->n_slots / REST_LOOK_TICKS;
}

/* How many slots had a due, how many of these more than their share, and how many did not have it. */
struct tally {
	uint32_t n_due, n_lent, n_starved;
};

static void check_starving(const struct machine *m, const uint64_t bytes[MACHINE_SLOTS_MAX],
			   struct tally *tally)
{
	struct machine_due dues[MACHINE_SLOTS_MAX];

	machine_dues(m, dues);
	for (uint32_t i = 0; i < m->n_slots; i++) {
		uint64_t due = dues[i].lent_bytes;

		tally->n_due += due > 0;
		tally->n_lent += due > dues[i].own_bytes;
		if (bytes[i] >= due)
			continue;
		tally->n_starved++;
		printf("machine %u: slot %u has %llu of %llu KiB\n", m->seed, i,
		       (unsigned long long)bytes[i] >> 10, (unsigned long long)due >> 10);
	}
}

START_TEST(steady_machine_comes_to_rest_and_nobody_starves)
{
	uint32_t n = machine_count();
	double *writes = calloc(n, sizeof(*writes));
	struct tally tally = { 0 };

	ck_assert_ptr_nonnull(writes);
	for (uint32_t seed = 1; seed <= n; seed++) {
		struct machine m;
		uint64_t bytes[MACHINE_SLOTS_MAX] = { 0 };
		double *w = &writes[seed - 1];

		machine_init(&m, seed, MACHINE_STEADY);
		*w = run_to_rest(&m, seed % 4 == 0 ? LONG_REST_TICKS : REST_TICKS, bytes);
		MACHINE_CHECK(&m, *w <= REST_WRITES_MAX, "%f", *w);
		check_starving(&m, bytes, &tally);
		machine_deinit(&m);
	}
	qsort(writes, n, sizeof(*writes), compare_doubles);
	printf("%u machines at rest, %u slots with a known need, %u above their share; writes per "
	       "slot and tick: median %.3f, 90 %% below %.3f, 99 %% below %.3f, most %.3f\n",
	       n, tally.n_due, tally.n_lent, writes[n / 2], writes[n * 9 / 10],
	       writes[n * 99 / 100], writes[n - 1]);
	fflush(stdout);
	ck_assert(tally.n_starved * MACHINE_MISSED_ONE_IN <= tally.n_due);
	ck_assert(n < 100 || writes[n / 2] == 0);
	ck_assert(n < 1000 || writes[n * 9 / 10] <= REST_WRITES_P90);
	ck_assert(n < 1000 || writes[n * 99 / 100] <= REST_WRITES_P99);
	free(writes);
}
END_TEST

static Suite *control_steady_suite(void)
{
	Suite *suite = suite_create("control_steady");
	TCase *tcase = tcase_create("core");

	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, steady_machine_comes_to_rest_and_nobody_starves);
	suite_add_tcase(suite, tcase);
	return suite;
}

int main(void)
{
	return suite_run(control_steady_suite());
}
