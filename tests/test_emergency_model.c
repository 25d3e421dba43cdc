/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The ladder and the leak detector against random machines: up to eight slots of all kinds in a
 * group with or without swap, under a kernel that takes page cache, then swaps, then kills the
 * largest. What must hold is checked after every step; what it is good for, over all machines.
 */

#include "policy/emergency.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "policy/leak.h"
#include "suite.h"

#define M (UINT64_C(1) << 20)
#define S UINT64_C(1000000000)
#define MS UINT64_C(1000000)
#define SLOTS_MOST 8
#define MACHINES 10000
#define RUN_NS (90 * S)
#define REST_NS (60 * S)

enum kind { STEADY, LEAKER, BURST, IDLE, FILLER, SCAN, KINDS };

struct task {
	enum kind kind;
	char name[24];
	uint64_t ram, swap, file; /* anon in memory, anon in swap, page cache */
	uint64_t want;            /* of anon, when not LEAKER */
	uint64_t rate;            /* bytes per second it allocates at most */
	uint64_t start_ns;
	uint64_t reuse_pages;
	uint64_t share, guarantee;
	uint32_t tier, weight;
	bool is_alive, is_frozen, is_unprotected;
	uint64_t frozen_ns;
	struct leak leak;
	struct emergency_mark mark;
};

struct machine {
	uint64_t now_ns, budget, reserve, max, swap_total, swap_used;
	struct task tasks[SLOTS_MOST];
	size_t n;
	bool has_ladder, is_resting;
	/* since the last sample */
	bool has_hit, has_oom, has_kill;
	uint32_t full;
	/* a reclaim in flight */
	bool is_reclaiming, has_ended;
	size_t reclaim_slot;
	uint64_t reclaim_left, reclaimed, reclaim_end_ns;
	/* the ladder */
	struct emergency e;
	uint64_t last_kill_ns, wake_ns;
	uint32_t n_kills, n_guilty_kills, n_innocent_oom, n_oom;
};

static uint64_t between(uint64_t low, uint64_t high)
{
	return low + random_below(high - low + 1);
}

static uint64_t usage_of(const struct task *t)
{
	return t->ram + t->file;
}

static uint64_t usage(const struct machine *m)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < m->n; i++)
		sum += usage_of(&m->tasks[i]);
	return sum;
}

/* ---------------------------------------------------------------- the kernel */

static uint64_t take_file(struct machine *m, struct task *t, uint64_t floor, uint64_t bytes)
{
	uint64_t above = usage_of(t) > floor ? usage_of(t) - floor : 0;

	(void)m;
	bytes = MIN(MIN(bytes, above), t->file);
	t->file -= bytes;
	return bytes;
}

static uint64_t take_anon(struct machine *m, struct task *t, uint64_t floor, uint64_t bytes)
{
	uint64_t above = usage_of(t) > floor ? usage_of(t) - floor : 0;

	bytes = MIN(MIN(bytes, above), MIN(t->ram, m->swap_total - m->swap_used));
	t->ram -= bytes;
	t->swap += bytes;
	m->swap_used += bytes;
	return bytes;
}

static uint64_t reclaim(struct machine *m, uint64_t bytes)
{
	uint64_t got = 0;

	/* what is not protected first; then what is only low, never what is guaranteed */
	for (int hard = 0; hard < 2 && got < bytes; hard++)
		for (size_t i = 0; i < m->n && got < bytes; i++) {
			struct task *t = &m->tasks[i];
			uint64_t low =
				t->is_unprotected ? t->guarantee : MAX(t->share, t->guarantee);
			uint64_t floor = hard ? t->guarantee : low;

			got += take_file(m, t, floor, bytes - got);
			got += take_anon(m, t, floor, bytes - got);
		}
	return got;
}

static void task_end(struct machine *m, struct task *t)
{
	m->swap_used -= t->swap;
	t->ram = t->swap = t->file = 0;
	t->is_alive = t->is_frozen = false;
}

static void oom(struct machine *m)
{
	struct task *largest = NULL;

	m->has_oom = true;
	for (size_t i = 0; i < m->n; i++)
		if (m->tasks[i].is_alive &&
		    (!largest || m->tasks[i].ram + m->tasks[i].swap > largest->ram + largest->swap))
			largest = &m->tasks[i];
	if (!largest)
		return;
	m->has_kill = true;
	m->n_oom++;
	m->n_innocent_oom += largest->kind != LEAKER && usage_of(largest) <= largest->share;
	task_end(m, largest);
}

/* Allocates up to @bytes of anon. */
static void allocate(struct machine *m, struct task *t, uint64_t bytes)
{
	uint64_t used = usage(m), room = m->max > used ? m->max - used : 0;

	if (bytes > room) {
		m->has_hit = true;
		m->full = MIN(m->full + 100, 900u);
		room += reclaim(m, bytes - room);
	}
	if (bytes > room) {
		m->full = 900;
		bytes = room;
		if (room == 0 && random_below(8) == 0) /* it tries for a while before it gives up */
			oom(m);
	}
	if (t->is_alive)
		t->ram += bytes;
}

static void task_run(struct machine *m, struct task *t, uint64_t ns)
{
	uint64_t bytes = t->rate / 1000 * (ns / MS), has = t->ram + t->swap;

	if (!t->is_alive || t->is_frozen || m->is_resting || m->now_ns < t->start_ns)
		return;
	if (t->kind != LEAKER)
		bytes = has < t->want ? MIN(bytes, t->want - has) : 0;
	if (bytes > 0)
		allocate(m, t, bytes & ~UINT64_C(4095));
	if (!t->is_alive || t->swap == 0 || t->kind == LEAKER || t->kind == IDLE)
		return;
	/* what it uses comes back from swap */
	bytes = MIN(t->swap, 2 * M) & ~UINT64_C(4095);
	t->swap -= bytes;
	m->swap_used -= bytes;
	t->reuse_pages += bytes / 4096;
	allocate(m, t, bytes);
}

static void kernel_run(struct machine *m, uint64_t ns)
{
	size_t first = random_below(m->n);

	m->now_ns += ns;
	m->full = m->full > 100 ? m->full - 100 : 0;
	for (size_t i = 0; i < m->n; i++)
		task_run(m, &m->tasks[(first + i) % m->n], ns);
	for (size_t i = 0; i < m->n; i++) {
		struct task *t = &m->tasks[i];

		REQUIRE(!t->is_frozen || m->now_ns - t->frozen_ns <= EMERGENCY_FREEZE_MAX_NS);
	}
	if (m->is_reclaiming && m->now_ns >= m->reclaim_end_ns) {
		struct task *t = &m->tasks[m->reclaim_slot];
		uint64_t before = usage_of(t);

		/* memory.reclaim ignores the target's own protection */
		m->reclaim_left -= take_file(m, t, 0, m->reclaim_left);
		m->reclaim_left -= take_anon(m, t, 0, m->reclaim_left);
		m->reclaimed = before - usage_of(t);
		m->is_reclaiming = false;
		m->has_ended = true;
	}
}

/* ---------------------------------------------------------------- the daemon */

/* What no share can satisfy; the others want at most a tenth more than theirs. */
static bool wants_too_much(const struct task *t)
{
	return t->kind == LEAKER || t->kind == SCAN;
}

static void fill_in(struct machine *m, struct emergency_input *in, struct emergency_slot *slots)
{
	uint64_t swap_free = m->swap_total - m->swap_used;

	*in = (struct emergency_input){
		.now_ns = m->now_ns,
		.usage_bytes = usage(m),
		.max_bytes = m->max,
		.reserve_bytes = m->reserve,
		.swap_free_bytes = swap_free,
		.full_permille = m->full,
		.has_hit_max = m->has_hit,
		.has_oom = m->has_oom,
		.has_kernel_kill = m->has_kill,
		.has_reclaim_ended = m->has_ended,
		.reclaimed_bytes = m->reclaimed,
		.slots = slots,
		.n_slots = m->n,
	};
	m->has_hit = m->has_oom = m->has_kill = m->has_ended = false;
	for (size_t i = 0; i < m->n; i++) {
		struct task *t = &m->tasks[i];

		slots[i] = (struct emergency_slot){
			.name = t->name,
			.tier = t->tier,
			.weight = t->weight,
			.usage_bytes = usage_of(t),
			.swap_bytes = t->swap,
			.share_bytes = t->share,
			.guarantee_bytes = t->guarantee,
			.file_bytes = t->file,
			.reclaimable_bytes = t->file + MIN(t->ram, swap_free),
			.growth = leak_growth(&t->leak),
			.leak_rate = t->leak.rate,
			.is_running = t->is_alive,
			.is_idle = t->kind == IDLE,
			.is_leaking = t->leak.is_leaking,
			.mark = &t->mark,
		};
	}
}

static void check_blame(const struct machine *m, const struct task *t)
{
	bool may = t->leak.is_leaking ? usage_of(t) + t->swap > t->share : usage_of(t) > t->share;

	(void)m;
	REQUIRE(t->is_alive);
	REQUIRE(usage_of(t) > t->guarantee);
	REQUIRE(may);
}

static void do_action(struct machine *m, const struct emergency_action *a,
		      const struct emergency_slot *slots)
{
	struct task *t = &m->tasks[a->slot];

	switch (a->verb) {
	case EMERGENCY_NOTHING:
	case EMERGENCY_BEGIN:
	case EMERGENCY_END:
		return;
	case EMERGENCY_LEND_RESERVE:
		REQUIRE(m->max == m->budget && a->bytes == m->reserve && a->bytes > 0);
		m->max += a->bytes;
		return;
	case EMERGENCY_RETURN_RESERVE:
		REQUIRE(m->max == m->budget + a->bytes);
		m->max -= a->bytes;
		return;
	case EMERGENCY_UNPROTECT:
		REQUIRE(!t->is_unprotected);
		t->is_unprotected = true;
		return;
	case EMERGENCY_PROTECT:
		REQUIRE(t->is_unprotected);
		t->is_unprotected = false;
		return;
	case EMERGENCY_RECLAIM:
		REQUIRE(!m->is_reclaiming && a->bytes > 0 && a->bytes <= EMERGENCY_CHUNK_BYTES);
		REQUIRE(slots[a->slot].usage_bytes >= t->guarantee + a->bytes);
		m->is_reclaiming = true;
		m->reclaim_slot = a->slot;
		m->reclaim_left = a->bytes;
		m->reclaim_end_ns = m->now_ns + between(1, 1500) * MS;
		return;
	case EMERGENCY_FREEZE:
		REQUIRE(t->leak.is_leaking && !t->is_frozen);
		check_blame(m, t);
		t->is_frozen = true;
		t->frozen_ns = m->now_ns;
		return;
	case EMERGENCY_THAW:
		t->is_frozen = false;
		return;
	case EMERGENCY_KILL:
		check_blame(m, t);
		REQUIRE(m->last_kill_ns == 0 ||
			m->now_ns - m->last_kill_ns >= EMERGENCY_KILL_DELAY_NS);
		m->last_kill_ns = m->now_ns;
		m->n_kills++;
		m->n_guilty_kills += wants_too_much(t);
		task_end(m, t);
		return;
	}
}

static void daemon_run(struct machine *m)
{
	struct emergency_slot slots[SLOTS_MOST];
	struct emergency_input in;
	struct emergency_action a;
	int n_actions = 0;

	for (size_t i = 0; i < m->n; i++) {
		struct task *t = &m->tasks[i];

		(void)leak_add(&t->leak,
			       &(struct leak_sample){ m->now_ns, t->ram + t->swap, t->reuse_pages,
						      t->is_frozen || m->full > 400 });
	}
	do {
		fill_in(m, &in, slots);
		a = emergency_step(&m->e, &in);
		do_action(m, &a, slots);
		REQUIRE(++n_actions <= 4 * SLOTS_MOST);
	} while (a.verb != EMERGENCY_NOTHING);
	m->wake_ns = a.wake_ns;
}

/* ---------------------------------------------------------------- machines */

static void make(struct machine *m, uint64_t seed, bool has_ladder)
{
	uint64_t weights = 0;

	random_state = seed;
	*m = (struct machine){ .now_ns = 100 * S, .has_ladder = has_ladder };
	m->budget = between(64, 2048) * M;
	m->reserve = random_below(4) == 0 ? 0 : m->budget / between(20, 100) & ~UINT64_C(4095);
	m->max = m->budget;
	m->swap_total = random_below(2) ? 0 : between(0, m->budget / M) * M;
	m->n = between(1, SLOTS_MOST);
	for (size_t i = 0; i < m->n; i++) {
		struct task *t = &m->tasks[i];

		*t = (struct task){
			.kind = random_below(KINDS),
			.tier = (uint32_t)random_below(TIERS),
			.weight = (uint32_t)between(1, 400),
			.rate = between(1, 64) * M,
			.start_ns = m->now_ns + random_below(40) * S,
			.is_alive = true,
		};
		(void)snprintf(t->name, sizeof(t->name), "t%zu", i);
		weights += t->weight;
	}
	for (size_t i = 0; i < m->n; i++) {
		struct task *t = &m->tasks[i];

		t->share = (m->budget - m->reserve) / weights * t->weight & ~UINT64_C(4095);
		t->guarantee = random_below(2) ? 0 : t->share / between(1, 4);
		switch (t->kind) {
		case LEAKER:
			t->rate = between(1, 16) * M;
			break;
		case BURST:
		case FILLER:
			t->want = t->share * between(50, 110) / 100;
			break;
		case SCAN:
			t->want = t->share * 2;
			t->file = 0;
			break;
		default:
			t->want = t->ram = t->share * between(20, 100) / 100;
			t->file = (t->share - t->ram) / 2;
			break;
		}
	}
}

static void run(struct machine *m, uint64_t for_ns)
{
	uint64_t end_ns = m->now_ns + for_ns, next_ns = m->now_ns;

	while (m->now_ns < end_ns) {
		kernel_run(m, 50 * MS);
		if (!m->has_ladder || m->now_ns < next_ns)
			continue;
		daemon_run(m);
		/* once a second, or when it asked for it, and up to 0.3 s late */
		next_ns = m->wake_ns ? MIN(m->wake_ns, m->now_ns + S) : m->now_ns + S;
		next_ns += random_below(300) * MS;
	}
}

START_TEST(ten_thousand_machines)
{
	/* what it is good for; a better ladder or a better model may move these */
	uint32_t n_kills = 0, n_guilty = 0, oom_with = 0, oom_without = 0, innocent_with = 0,
		 innocent_without = 0;
	static struct machine m;

	for (uint64_t seed = 1; seed <= MACHINES; seed++) {
		make(&m, seed, true);
		run(&m, RUN_NS);
		n_kills += m.n_kills;
		n_guilty += m.n_guilty_kills;
		oom_with += m.n_oom;
		innocent_with += m.n_innocent_oom;
		/* at rest everything is undone */
		m.is_resting = true;
		run(&m, REST_NS);
		REQUIRE(!m.e.is_on);
		REQUIRE(m.max == m.budget);
		for (size_t i = 0; i < m.n; i++)
			REQUIRE(!m.tasks[i].is_unprotected && !m.tasks[i].is_frozen);

		make(&m, seed, false);
		run(&m, RUN_NS);
		oom_without += m.n_oom;
		innocent_without += m.n_innocent_oom;
	}
	printf("kills %u, of leaks and hogs %u; OOM kills by the kernel %u (innocent %u), without "
	       "the ladder %u (%u)\n",
	       n_kills, n_guilty, oom_with, innocent_with, oom_without, innocent_without);
	ck_assert_uint_gt(n_kills, 0);
	ck_assert_uint_ge(n_guilty, n_kills / 10 * 9);
	ck_assert_uint_lt(innocent_with, innocent_without / 3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("emergency_model");
	TCase *c = tcase_create("machines");

	tcase_set_timeout(c, 240);
	tcase_add_test(c, ten_thousand_machines);
	suite_add_tcase(suite, c);
	return suite_run(suite);
}
