/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Random machines (machine.h) that change: from the start, after shares change, and after tasks
 * begin to do something else, each slot has what it is due within a bounded time.
 */

#include "machine.h"

#include <string.h>

#include "suite.h"

/* The bounds: half a minute after it was made or the shares changed a slot has what its share is
 * good for and what others leave of theirs, and 45 s after tasks did something else what its share
 * is good for. What it lacks must be faulted in, at some 2000 pages a tick of the 40000 that a
 * group stands for, a quarter of that by those that run slowly; a tax on others goes from the
 * whole to a tenth in eight ticks if all is taken. Not claimed is a loop, which may wait for the
 * retest of a scan; nor, after tasks changed, what is lent: it waits for floors of others to end,
 * forty seconds each, and for the kernel, which takes what it finds first and not what is cold. At
 * rest both are (test_control_steady.c). */
#define FOLLOW_TICKS 60
#define TURN_TICKS 90
/* The most it has in the last ten seconds counts: what is probed has its due now and then. */
#define LOOK_TICKS 20

static void run(struct machine *m, uint32_t n_ticks, uint64_t most[MACHINE_SLOTS_MAX])
{
	memset(most, 0, MACHINE_SLOTS_MAX * sizeof(*most));
	for (uint32_t k = 1; k <= n_ticks; k++) {
		machine_tick(m);
		for (uint32_t i = 0; i < m->n_slots; i++)
			if (k > n_ticks - LOOK_TICKS)
				most[i] = MAX(most[i], m->steer.slots[i].sample.current_bytes);
	}
}

/* Slots that had a due, and those that did not have it in time. */
struct tally {
	uint32_t n_due, n_missed;
};

static void check(struct tally *tally, const struct machine *m, bool is_lent,
		  const uint64_t most[MACHINE_SLOTS_MAX], const bool is_exempt[MACHINE_SLOTS_MAX])
{
	struct machine_due dues[MACHINE_SLOTS_MAX];

	machine_dues(m, dues);
	for (uint32_t i = 0; i < m->n_slots; i++) {
		uint64_t due = is_lent ? dues[i].lent_bytes : dues[i].own_bytes;

		if (dues[i].has_loop || is_exempt[i])
			continue;
		tally->n_due += due > 0;
		if (most[i] >= due)
			continue;
		tally->n_missed++;
		printf("machine %u, tick %llu: slot %u has %llu of %llu KiB\n", m->seed,
		       (unsigned long long)m->steer.plant->tick, i,
		       (unsigned long long)most[i] >> 10, (unsigned long long)due >> 10);
	}
}

/* Who is taken for a scan though he never was one, for his share was too small, has next to
 * nothing: until his share grows by half he must first show that he uses that again, and may wait
 * for retests. */
static void change_wishes(struct machine *m, bool is_scan[MACHINE_SLOTS_MAX])
{
	uint64_t shares[MACHINE_SLOTS_MAX];

	for (uint32_t i = 0; i < m->n_slots; i++)
		shares[i] = m->steer.slots[i].share_bytes;
	for (uint32_t i = 0; i < m->n_slots; i++)
		is_scan[i] = m->steer.slots[i].track.retest_interval_ns != 0;
	machine_change_wishes(m);
	for (uint32_t i = 0; i < m->n_slots; i++)
		is_scan[i] &= m->steer.slots[i].share_bytes < shares[i] + shares[i] / 2;
}

START_TEST(slot_has_its_due_in_time_after_any_change)
{
	static const bool is_exempt_none[MACHINE_SLOTS_MAX];
	struct tally first = { 0 }, share = { 0 }, turn = { 0 };
	uint32_t n = machine_count();

	for (uint32_t seed = 1; seed <= n; seed++) {
		struct machine m;
		uint64_t most[MACHINE_SLOTS_MAX];
		bool is_scan[MACHINE_SLOTS_MAX];

		machine_init(&m, seed, MACHINE_TURNS);
		run(&m, FOLLOW_TICKS, most);
		check(&first, &m, /* is_lent= */ true, most, is_exempt_none);
		change_wishes(&m, is_scan);
		run(&m, FOLLOW_TICKS, most);
		check(&share, &m, /* is_lent= */ true, most, is_scan);
		machine_turn(&m);
		run(&m, TURN_TICKS, most);
		check(&turn, &m, /* is_lent= */ false, most, is_exempt_none);
		machine_deinit(&m);
	}
	printf("%u machines; slots with a due: %u at the start, %u after shares changed, %u after "
	       "tasks did\n",
	       n, first.n_due, share.n_due, turn.n_due);
	fflush(stdout);
	ck_assert(first.n_missed * MACHINE_MISSED_ONE_IN <= first.n_due);
	ck_assert(share.n_missed * MACHINE_MISSED_ONE_IN <= share.n_due);
	ck_assert(turn.n_missed * MACHINE_MISSED_ONE_IN <= turn.n_due);
}
END_TEST

static Suite *control_follow_suite(void)
{
	Suite *suite = suite_create("control_follow");
	TCase *tcase = tcase_create("core");

	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, slot_has_its_due_in_time_after_any_change);
	suite_add_tcase(suite, tcase);
	return suite;
}

int main(void)
{
	return suite_run(control_follow_suite());
}
