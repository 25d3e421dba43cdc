/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Static limits are memory.max, so that each task reclaims from itself at once and is not slept;
 * "equal" is memory.high, which is what one sets by hand on a machine without a controller.
 */

#include "bench_policy.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mono.h"
#include "bench_result.h"
#include "bench_versions.h"
#include "preempted.h"

#define LONG_WRITE_NS (2 * UINT64_C(1000000))

/*
 * What was best of two that were tried, of L2 and L4 of a handful, of "pair" the only one: where all
 * that is needed fits, each task has that and a little more, else the tasks that gain most have all of
 * it, and what gains nothing has the least. `tests/run bench control --search N` looks for better ones
 * and prints them as lines of this table.
 */
static const struct {
	const char *load;
	uint16_t permille[BENCH_SPLIT_TASKS_MAX];
} splits[] = {
	{ "L1", { 490, 490 } },
	{ "L2", { 550, 350, 100 } },
	{ "L3", { 580, 360, 40 } },
	{ "L4", { 200, 800 } },
	{ "L5", { 520, 340, 100 } },
	{ "L6", { 580, 350, 50 } },
	{ "L7r", { 550, 350, 80 } },
	{ "L7p", { 550, 350, 80 } },
	{ "L8f", { 315, 165, 500 } },
	{ "L8c", { 280, 110, 590 } },
	{ "L8n", { 480, 280, 220 } },
	{ "W4", { 620, 320, 40 } },
	{ "share", { 940, 40 } },
	{ "burst", { 520, 320, 100 } },
	{ "pair", { 355, 355, 240, 40 } },
	{ "leak", { 540, 340, 100 } },
	{ "O80", { 460, 300, 220 } },
	{ "O100", { 470, 298, 212 } },
	{ "O125", { 480, 300, 200 } },
	{ "O160", { 470, 298, 212 } },
	{ "min", { 320, 580, 80 } },
	{ "pinned", { 415, 252, 252, 61 } },
	{ "H1", { 120, 170, 220, 140, 290, 40 } },
	{ "H2", { 530, 230, 100, 100 } },
	{ "H3", { 260, 260, 170, 180, 110 } },
	{ "H4", { 520, 370, 90 } },
	{ "H5", { 220, 715, 45 } },
	{ "H6", { 250, 520, 210 } },
};

/* How often this thread has gone to sleep. */
static long count_sleeps(void)
{
	struct rusage usage = {};

	(void)getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

/* What the write takes is asked, not who else wants the processor: 17 ms were seen for one of
 * memory.low, which stores a number. */
static int timed_write(struct bench_member *member, enum cgdir_file file, uint64_t bytes,
		       uint64_t *ret_ns)
{
	uint64_t start = mono_now_ns(), others = preempted_ns(), took;
	int r = cgdir_write_u64(member->cg, file, bytes);

	others = preempted_ns() - others;
	took = mono_now_ns() - start;
	*ret_ns = took - MIN(took, others);
	return r;
}

int bench_policy_write(struct bench_world *world, struct bench_member *member, enum cgdir_file file,
		       uint64_t bytes)
{
	long sleeps = count_sleeps();
	uint64_t took, again;
	int r;

	if (member->limit_bytes == bytes)
		return 0;
	r = timed_write(member, file, bytes, &took);
	/* Nor is it asked when the host lets an emulated processor run, which nothing in here tells: 12 ms
	 * were seen. A number that is stored in so long by who never slept is stored once more. */
	if (r == 0 && file == CG_MEMORY_LOW && took > LONG_WRITE_NS && count_sleeps() == sleeps) {
		r = timed_write(member, file, bytes, &again);
		took = MIN(took, again);
	}
	world->n_writes++;
	world->longest_write_ns = MAX(world->longest_write_ns, took);
	member->limit_bytes = bytes;
	return r > 0 ? -EIO : r;
}

const uint16_t *bench_policy_split(const char *load)
{
	for (size_t i = 0; i < ARRAY_LEN(splits); i++)
		if (strcmp(splits[i].load, load) == 0)
			return splits[i].permille;
	return NULL;
}

static int none_tick(const struct bench_policy *policy, struct bench_world *world)
{
	(void)policy;
	(void)world;
	return 0;
}

static int equal_tick(const struct bench_policy *policy, struct bench_world *world)
{
	int r = 0;

	(void)policy;
	for (size_t i = 0; i < world->n && r == 0 && world->is_change; i++)
		r = bench_policy_write(world, &world->members[i], CG_MEMORY_HIGH,
				       world->budget_bytes / world->n / BENCH_PAGE * BENCH_PAGE);
	return r;
}

static int low_tick(const struct bench_policy *policy, struct bench_world *world)
{
	int r = 0;

	(void)policy;
	for (size_t i = 0; i < world->n && r == 0 && world->is_change; i++)
		r = bench_policy_write(world, &world->members[i], CG_MEMORY_LOW,
				       world->members[i].share_bytes);
	return r;
}

static int static_tick(const struct bench_policy *policy, struct bench_world *world)
{
	const uint16_t *split = world->split;
	int r = 0;

	(void)policy;
	if (!split)
		return -ENOENT;
	for (size_t i = 0; i < world->n && r == 0 && world->tick == 0; i++)
		r = bench_policy_write(world, &world->members[i], CG_MEMORY_MAX,
				       world->budget_bytes / 1000 * split[i]);
	return r;
}

#define OURS(name, title, part) \
	{ name, title, BENCH_VERSION_LAW, true, bench_control_tick, bench_control_early_ns, part }

static const enum bench_control_part no_restore = BENCH_NO_RESTORE, no_refill = BENCH_NO_REFILL,
				     no_scans = BENCH_NO_SCANS, no_stall = BENCH_NO_STALL,
				     no_tax = BENCH_NO_TAX, no_floor = BENCH_NO_FLOOR,
				     no_retest = BENCH_NO_RETEST, no_lending = BENCH_NO_LENDING;

/* To be raised when what the policy does is another thing; the others' are from their sources, and
 * that of a static split is the split. */
#define VERSION_NONE 0
#define VERSION_EQUAL 0
#define VERSION_LOW 0

static const struct bench_policy policies[] = {
	{ "none", "the kernel alone", VERSION_NONE, false, none_tick, NULL, NULL },
	{ "equal", "memory.high = B / n", VERSION_EQUAL, false, equal_tick, NULL, NULL },
	{ "low", "memory.low = share", VERSION_LOW, true, low_tick, NULL, NULL },
	{ "static", "the best static memory.max found", 0, false, static_tick, NULL, NULL },
	{ "senpai", "senpai, published constants", BENCH_VERSION_SENPAI, false, bench_senpai_tick,
	  NULL, &bench_senpai_published },
	{ "senpai6", "senpai, probing at every tick", BENCH_VERSION_SENPAI, false,
	  bench_senpai_tick, NULL, &bench_senpai_fast },
	{ "oomd", "oomd's senpai, immediate backoff", BENCH_VERSION_OOMD, false, bench_oomd_tick,
	  NULL, NULL },
	OURS("ours", "the law of taskmemd", NULL),
	OURS("ours-restore", "without restored pages", &no_restore),
	OURS("ours-refill", "without pgrefill", &no_refill),
	OURS("ours-scans", "without the rules for scans", &no_scans),
	OURS("ours-stall", "without pressure", &no_stall),
	OURS("ours-tax", "without the tax on quiet tasks", &no_tax),
	OURS("ours-floor", "without floors to the tax", &no_floor),
	OURS("ours-retest", "without tests of scans", &no_retest),
	OURS("ours-lending", "without lending of what others do not use", &no_lending),
};

const struct bench_policy *bench_policy_at(size_t i)
{
	return i < ARRAY_LEN(policies) ? &policies[i] : NULL;
}

const struct bench_policy *bench_policy_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(policies); i++)
		if (strcmp(policies[i].name, name) == 0)
			return &policies[i];
	return NULL;
}
