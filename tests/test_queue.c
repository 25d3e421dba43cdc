/* SPDX-License-Identifier: Apache-2.0 */

#include "policy/queue.h"

#include <check.h>
#include <string.h>

#include "base/attr.h"
#include "suite.h"

#define SECOND UINT64_C(1000000000)
#define RUNS 10000
#define NODES 3
#define REQUESTS_MAX 64
#define STEPS 160

/* ---------------------------------------------------------------- single rules */

static struct queue_entry entry_of(uint32_t tier, uint64_t since_ns, uint64_t sequence)
{
	return (struct queue_entry){
		.tier = tier, .since_ns = since_ns, .sequence = sequence, .nodes = 1
	};
}

START_TEST(tier_then_age_then_sequence_decide)
{
	struct queue_entry a = entry_of(0, 9, 9), b = entry_of(1, 1, 8), c = entry_of(1, 2, 1);
	struct queue_entry d = entry_of(1, 2, 2);

	ck_assert(queue_is_before(&a, &b) && !queue_is_before(&b, &a));
	ck_assert(queue_is_before(&b, &c) && queue_is_before(&c, &d));
	ck_assert(!queue_is_before(&d, &d));
}
END_TEST

static enum queue_fit fit_row(size_t i, uint64_t closed, uint64_t *ret_taken, void *userdata)
{
	const bool *fits = userdata;

	*ret_taken = 1;
	return fits[i] && !(closed & 1) ? QUEUE_FITS : QUEUE_DOES_NOT_FIT;
}

/* Of a pass of its own. */
static size_t next_of(struct queue_entry **entries, size_t n, uint64_t now_ns, bool *fits,
		      uint64_t *ret_taken)
{
	size_t pass = 0;

	return queue_next(entries, n, now_ns, &pass, fit_row, fits, ret_taken);
}

START_TEST(first_that_fits_is_served_and_counted)
{
	struct queue_entry a = entry_of(1, 1, 1), b = entry_of(1, 2, 2), c = entry_of(2, 1, 3);
	struct queue_entry *entries[] = { &a, &b, &c };
	bool fits[] = { false, true, true };
	uint64_t taken = 0;

	ck_assert_uint_eq(next_of(entries, 3, 5, fits, &taken), 1);
	ck_assert_uint_eq(taken, 1);
	queue_note_served(entries, 3, &b, taken, 5);
	ck_assert_uint_eq(a.n_passed, 1);
	ck_assert_uint_eq(a.due_ns, 5 + QUEUE_PASS_NS);
	ck_assert_uint_eq(b.n_passed, 0);
	ck_assert_uint_eq(c.n_passed, 0); /* it stands behind */
}
END_TEST

/* Time for @left of them; how often each was told. */
struct telling {
	unsigned left, n_told[5];
};

static bool tell_some(size_t i, void *userdata)
{
	struct telling *t = userdata;

	ck_assert_uint_lt(i, ARRAY_LEN(t->n_told));
	if (t->left == 0)
		return false;
	t->left--;
	t->n_told[i]++;
	return true;
}

START_TEST(all_are_told_in_parts_and_none_is_left_out)
{
	struct telling t = {};
	size_t next = 0;

	ck_assert(queue_tell(0, &next, tell_some, &t));
	t.left = 2;
	ck_assert(!queue_tell(5, &next, tell_some, &t));
	/* the first ones have something new each time */
	t.left = 2;
	ck_assert(!queue_tell(5, &next, tell_some, &t));
	t.left = 2;
	ck_assert(!queue_tell(5, &next, tell_some, &t));
	for (size_t i = 0; i < 5; i++)
		ck_assert_uint_eq(t.n_told[i], i == 0 ? 2 : 1);
	/* there is time for all */
	t.left = 9;
	ck_assert(queue_tell(5, &next, tell_some, &t));
	ck_assert_uint_eq(t.left, 4);
	/* some have left */
	next = 4;
	t = (struct telling){ .left = 1 };
	ck_assert(!queue_tell(3, &next, tell_some, &t));
	ck_assert_uint_eq(t.n_told[0], 1);
	ck_assert_uint_eq(next, 1);
}
END_TEST

/* Says LATER when it has been asked @left times. */
struct patience {
	unsigned left, n_asked;
	bool fits[5];
};

static enum queue_fit fit_with_patience(size_t i, uint64_t closed, uint64_t *ret_taken,
					void *userdata)
{
	struct patience *p = userdata;

	if (p->left == 0)
		return QUEUE_LATER;
	p->left--;
	p->n_asked++;
	return fit_row(i, closed, ret_taken, p->fits);
}

START_TEST(a_pass_goes_on_where_it_was_interrupted)
{
	struct queue_entry a = entry_of(1, 1, 1), b = entry_of(1, 2, 2), c = entry_of(1, 3, 3);
	struct queue_entry d = entry_of(1, 4, 4), e = entry_of(1, 5, 5);
	struct queue_entry *entries[] = { &a, &b, &c, &d, &e };
	struct patience p = { .left = 2, .fits = { [3] = true } };
	uint64_t taken = 0;
	size_t pass = 0;

	ck_assert_uint_eq(queue_next(entries, 5, 5, &pass, fit_with_patience, &p, &taken),
			  QUEUE_INTERRUPTED);
	p.left = 2;
	ck_assert_uint_eq(queue_next(entries, 5, 5, &pass, fit_with_patience, &p, &taken), 3);
	ck_assert_uint_eq(taken, 1);
	ck_assert_uint_eq(p.n_asked, 4);
	entries[3] = &e; /* d is served, and the next in its place is asked */
	p = (struct patience){ .left = 9 };
	ck_assert_uint_eq(queue_next(entries, 4, 5, &pass, fit_with_patience, &p, &taken),
			  QUEUE_NOBODY);
	ck_assert_uint_eq(p.n_asked, 1);
	ck_assert_uint_eq(queue_next(entries, 4, 5, &pass, fit_with_patience, &p, &taken),
			  QUEUE_NOBODY);
	ck_assert_uint_eq(p.n_asked, 5); /* a whole pass */

	/* who was asked before closes his nodes to those behind all the same */
	p = (struct patience){ .left = 2, .fits = { [3] = true } };
	a.n_passed = QUEUE_PASSES_MAX;
	ck_assert_uint_eq(queue_next(entries, 4, 5, &pass, fit_with_patience, &p, &taken),
			  QUEUE_INTERRUPTED);
	p.left = 2;
	ck_assert_uint_eq(queue_next(entries, 4, 5, &pass, fit_with_patience, &p, &taken),
			  QUEUE_NOBODY);
}
END_TEST

START_TEST(after_so_many_passes_the_nodes_are_closed)
{
	struct queue_entry a = entry_of(1, 1, 1), b = entry_of(1, 2, 2), top = entry_of(0, 9, 9);
	struct queue_entry *entries[] = { &a, &b };
	bool fits[] = { false, true };
	uint64_t taken;

	for (int i = 0; i < QUEUE_PASSES_MAX - 1; i++)
		queue_note_served(entries, 2, &b, 1, 1);
	ck_assert_uint_eq(next_of(entries, 2, 1, fits, &taken), 1);
	queue_note_served(entries, 2, &b, 1, 1);
	ck_assert_uint_eq(next_of(entries, 2, 1, fits, &taken), QUEUE_NOBODY);
	ck_assert_uint_eq(queue_closed_nodes(entries, 2, &b, 1), 1);
	ck_assert_uint_eq(queue_closed_nodes(entries, 2, &a, 1), 0);
	ck_assert_uint_eq(queue_closed_nodes(entries, 2, &top, 1), 0); /* a higher tier may */
	fits[0] = true;
	ck_assert_uint_eq(next_of(entries, 2, 1, fits, &taken), 0);
}
END_TEST

START_TEST(after_so_long_a_time_the_nodes_are_closed)
{
	struct queue_entry a = entry_of(1, 1, 1), b = entry_of(3, 2, 2);
	struct queue_entry *entries[] = { &a, &b };

	ck_assert_uint_eq(queue_closed_nodes(entries, 2, &b, 5 + 9 * QUEUE_PASS_NS), 0);
	queue_note_served(entries, 2, &b, 1, 5);
	ck_assert_uint_eq(queue_closed_nodes(entries, 2, &b, 4 + QUEUE_PASS_NS), 0);
	ck_assert_uint_eq(queue_closed_nodes(entries, 2, &b, 5 + QUEUE_PASS_NS), 1);
}
END_TEST

START_TEST(other_nodes_and_what_takes_nothing_pass_nobody)
{
	struct queue_entry a = entry_of(1, 1, 1), b = entry_of(1, 2, 2);
	struct queue_entry *entries[] = { &a, &b };

	queue_note_served(entries, 2, &b, 2, 5);
	queue_note_served(entries, 2, &b, QUEUE_TAKES_NOTHING, 5);
	ck_assert_uint_eq(a.n_passed, 0);
}
END_TEST

START_TEST(an_owner_has_its_turn_and_then_waits_for_the_next)
{
	struct queue_entry a = entry_of(1, 1, 1), b = entry_of(1, 2, 2);
	struct queue_entry *entries[] = { &a, &b };
	uint64_t due = 5 + QUEUE_PASS_NS, over = due + QUEUE_TURN_NS;

	a.slot = 7;
	queue_note_served(entries, 2, &b, 1, 5);
	ck_assert(!queue_is_due(&a, due - 1) && queue_is_due(&a, due));
	ck_assert_uint_eq(queue_closed_nodes(entries, 2, &b, over - 1), 1);
	ck_assert_uint_eq(queue_closed_nodes(entries, 2, &b, over), 0);
	queue_note_served(entries, 2, &b, 1, over);
	ck_assert_uint_eq(a.n_passed, 1);
	ck_assert(queue_is_due(&a, over + QUEUE_PASS_NS));
	a.slot = 0; /* an administrator's is due until it is served */
	ck_assert(queue_is_due(&a, over + 9 * QUEUE_PASS_NS));
}
END_TEST

START_TEST(of_one_slots_requests_only_the_first_is_counted)
{
	struct queue_entry a = entry_of(1, 1, 1), b = entry_of(1, 2, 2), c = entry_of(1, 3, 3);
	struct queue_entry late = entry_of(1, 9, 9);
	struct queue_entry *entries[] = { &a, &b, &c };

	a.slot = b.slot = 7;
	c.slot = 8;
	queue_note_served(entries, 3, &late, 1, 5);
	ck_assert_uint_eq(a.n_passed, 1);
	ck_assert_uint_eq(b.n_passed, 0);
	ck_assert_uint_eq(c.n_passed, 1);
	queue_note_served(&entries[1], 2, &late, 1, 5); /* the first has gone */
	ck_assert_uint_eq(b.n_passed, 1);
}
END_TEST

/* ---------------------------------------------------------------- the bound, on random runs */

/*
 * A machine of some nodes with room in bytes. Requests of random tiers and sizes come, wait or
 * are served at once, hold their memory for a while and go; some give up. Beside the code under
 * test the model counts for itself who was passed by whom, and when first.
 */
struct request {
	struct queue_entry entry;
	uint64_t bytes;
	enum { COMING, WAITING, SERVED, GONE } state;
	int node;        /* where it holds its bytes */
	uint64_t end_ns; /* of holding */
	uint32_t n_passed;
	uint64_t first_ns, last_ns;
};

static struct machine {
	uint64_t capacity[NODES], used[NODES];
	struct request requests[REQUESTS_MAX];
	size_t n_requests;
	struct queue_entry *waiting[REQUESTS_MAX];
	size_t n_waiting;
	uint64_t now_ns;
} machine;

static uint64_t n_due, n_turns_over;

#define OWNERS 4

static struct request *request_of(struct queue_entry *entry)
{
	return (struct request *)((char *)entry - offsetof(struct request, entry));
}

static int place(const struct request *request, uint64_t closed)
{
	for (int k = 0; k < NODES; k++)
		if ((request->entry.nodes & ~closed & (1U << k)) &&
		    machine.used[k] + request->bytes <= machine.capacity[k])
			return k;
	return -1;
}

static enum queue_fit fit(size_t i, uint64_t closed, uint64_t *ret_taken, void *userdata)
{
	int k = place(request_of(machine.waiting[i]), closed);

	(void)userdata;
	if (random_below(4) == 0)
		return QUEUE_LATER;
	if (k < 0)
		return QUEUE_DOES_NOT_FIT;
	*ret_taken = UINT64_C(1) << k;
	return QUEUE_FITS;
}

static void take_out(size_t i)
{
	machine.n_waiting--;
	memmove(&machine.waiting[i], &machine.waiting[i + 1],
		(machine.n_waiting - i) * sizeof(machine.waiting[0]));
}

static void put_in(struct queue_entry *entry)
{
	size_t i = machine.n_waiting++;

	for (; i > 0 && queue_is_before(entry, machine.waiting[i - 1]); i--)
		machine.waiting[i] = machine.waiting[i - 1];
	machine.waiting[i] = entry;
}

/* When the turn of one that was passed begins, by the header's words. */
static uint64_t turn_ns(const struct request *request)
{
	uint64_t late_ns = request->first_ns + QUEUE_PASS_NS;

	return request->n_passed < QUEUE_PASSES_MAX ? late_ns : MIN(late_ns, request->last_ns);
}

static bool waits_behind_its_like(const struct request *request)
{
	for (size_t i = 0; i < machine.n_waiting; i++) {
		struct request *other = request_of(machine.waiting[i]);

		if (request->entry.slot != 0 && other->entry.slot == request->entry.slot &&
		    queue_is_before(&other->entry, &request->entry))
			return true;
	}
	return false;
}

/* What the header promises, counted without it. */
static void check_passes(const struct request *served, uint64_t taken)
{
	for (size_t i = 0; i < machine.n_waiting; i++) {
		struct request *other = request_of(machine.waiting[i]);

		if (other == served || !(other->entry.nodes & taken))
			continue;
		if (served->entry.tier < other->entry.tier)
			continue; /* may always */
		if (served->entry.tier == other->entry.tier &&
		    (served->entry.since_ns < other->entry.since_ns ||
		     (served->entry.since_ns == other->entry.since_ns &&
		      served->entry.sequence < other->entry.sequence)))
			continue; /* was first */
		if (waits_behind_its_like(other))
			continue;
		if (other->entry.slot != 0 && other->n_passed > 0 &&
		    machine.now_ns >= turn_ns(other) + QUEUE_TURN_NS) {
			other->n_passed = 0;
			n_turns_over++;
		}
		if (other->n_passed++ == 0)
			other->first_ns = machine.now_ns;
		other->last_ns = machine.now_ns;
		REQUIRE(other->n_passed <= QUEUE_PASSES_MAX);
		REQUIRE(machine.now_ns - other->first_ns < QUEUE_PASS_NS);
	}
}

static void serve(struct request *request, uint64_t taken)
{
	request->node = __builtin_ctzll(taken);
	machine.used[request->node] += request->bytes;
	request->state = SERVED;
	/* some so long that an owner's turn ends in vain */
	request->end_ns =
		machine.now_ns + (1 + random_below(random_below(4) == 0 ? 3000 : 300)) * SECOND;
	check_passes(request, taken);
	queue_note_served(machine.waiting, machine.n_waiting, &request->entry, taken,
			  machine.now_ns);
}

static void serve_all(void)
{
	size_t i, pass = 0;
	uint64_t taken;

	while ((i = queue_next(machine.waiting, machine.n_waiting, machine.now_ns, &pass, fit, NULL,
			       &taken)) != QUEUE_NOBODY) {
		struct request *request;

		if (i == QUEUE_INTERRUPTED)
			continue;
		request = request_of(machine.waiting[i]);
		take_out(i);
		serve(request, taken);
	}
}

static void arrive(struct request *request)
{
	uint64_t closed;
	int k;

	request->entry = (struct queue_entry){
		.tier = (uint32_t)random_below(3),
		.since_ns = machine.now_ns,
		.sequence = (uint64_t)(request - machine.requests),
		.nodes = 1 + random_below((1U << NODES) - 1),
		.slot = random_below(3) == 0 ? 1 + random_below(OWNERS) : 0,
	};
	request->bytes = random_below(6) == 0 ? 50 + random_below(51) : 1 + random_below(25);
	closed = queue_closed_nodes(machine.waiting, machine.n_waiting, &request->entry,
				    machine.now_ns);
	k = place(request, closed);
	if (k >= 0) {
		serve(request, UINT64_C(1) << k);
		return;
	}
	request->state = WAITING;
	put_in(&request->entry);
}

static void depart(struct request *request)
{
	machine.used[request->node] -= request->bytes;
	request->state = GONE;
}

static void give_up(void)
{
	size_t i = random_below(machine.n_waiting);

	request_of(machine.waiting[i])->state = GONE;
	take_out(i);
}

/* Ends all that hold memory, one after the other, until nobody waits. */
static void drain(void)
{
	for (size_t i = 0; i < machine.n_requests; i++) {
		struct request *request = &machine.requests[i];

		if (request->state != SERVED)
			continue;
		machine.now_ns += SECOND;
		depart(request);
		serve_all();
		i = (size_t)-1; /* those just served end, too */
	}
	REQUIRE(machine.n_waiting == 0);
	for (int k = 0; k < NODES; k++)
		REQUIRE(machine.used[k] == 0);
}

static void run_one(uint64_t seed)
{
	machine = (struct machine){ .now_ns = SECOND };
	random_state = seed;
	for (int k = 0; k < NODES; k++)
		machine.capacity[k] = 100;
	for (int step = 0; step < STEPS; step++) {
		machine.now_ns += random_below(20) * SECOND;
		for (size_t i = 0; i < machine.n_requests; i++)
			if (machine.requests[i].state == SERVED &&
			    machine.requests[i].end_ns <= machine.now_ns)
				depart(&machine.requests[i]);
		serve_all();
		if (machine.n_requests < REQUESTS_MAX && random_below(2) == 0)
			arrive(&machine.requests[machine.n_requests++]);
		if (machine.n_waiting > 0 && random_below(40) == 0)
			give_up();
		serve_all();
		for (size_t i = 0; i < machine.n_waiting; i++)
			n_due += queue_is_due(machine.waiting[i], machine.now_ns);
	}
	drain();
}

START_TEST(nobody_starves_in_random_runs)
{
	n_due = n_turns_over = 0;
	for (uint64_t seed = 0; seed < RUNS; seed++)
		run_one(seed * 7919);
	ck_assert_uint_gt(n_due, 1000); /* else the bound was never put to the test */
	ck_assert_uint_gt(n_turns_over, 100);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("queue");
	TCase *rules = tcase_create("rules"), *runs = tcase_create("runs");

	tcase_add_test(rules, tier_then_age_then_sequence_decide);
	tcase_add_test(rules, first_that_fits_is_served_and_counted);
	tcase_add_test(rules, all_are_told_in_parts_and_none_is_left_out);
	tcase_add_test(rules, a_pass_goes_on_where_it_was_interrupted);
	tcase_add_test(rules, after_so_many_passes_the_nodes_are_closed);
	tcase_add_test(rules, after_so_long_a_time_the_nodes_are_closed);
	tcase_add_test(rules, other_nodes_and_what_takes_nothing_pass_nobody);
	tcase_add_test(rules, an_owner_has_its_turn_and_then_waits_for_the_next);
	tcase_add_test(rules, of_one_slots_requests_only_the_first_is_counted);
	tcase_add_test(runs, nobody_starves_in_random_runs);
	tcase_set_timeout(runs, 100);
	suite_add_tcase(suite, rules);
	suite_add_tcase(suite, runs);
	return suite_run(suite);
}
