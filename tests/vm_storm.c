/* SPDX-License-Identifier: Apache-2.0 */

/*
 * vm_storm KILLS SEED: kills the daemon KILLS times while slots are added, changed, moved to other
 * nodes and removed and tasks attach, grow, return and detach; also in the middle of its start. After
 * each start:
 *
 *   - what was answered with success is in effect;
 *   - what was not answered is there as a whole or not at all, and asked again it succeeds;
 *   - the books agree (vm_storm_books.c), every task lives in its slot and has its pages.
 *
 * Needs a fresh daemon that systemd starts again at once. Leaves no slot behind.
 */

#include "vm_storm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mono.h"

#define MIB (UINT64_C(1) << 20)
#define OPS 8    /* at once */
#define NAMES 10 /* of slots that come and go */
#define START_TIMEOUT_NS (30 * NS_PER_SEC)
#define AGREE_TIMEOUT_NS (8 * NS_PER_SEC)
#define POLL_USEC 10000
#define CALIBRATION 4      /* rounds without a kill */
#define ALL_TASKS_EVERY 10 /* rounds in which the library's tasks are waited for, too */
/* A storm of at least so many kills goes on, up to twice as many, until each kind of operation was
 * cut off by one; a shorter one, to look for something, is not held to that. */
#define KILLS_THAT_PROVE 50

enum op_kind { OP_ADD, OP_SET, OP_MOVE, OP_REMOVE, OP_REMOVE_BUSY, OP_KINDS };
static const char *const op_names[] = { "add", "set", "move", "rm", "rm of a busy slot" };
static const char *const call_names[] = { "Attach", "Grow", "Return", "Detach" };

enum outcome { WAITING, ANSWERED, REFUSED, CUT };

struct op {
	enum op_kind kind;
	struct slot_policy policy; /* as it is to be; of a removal only the name counts */
	enum outcome outcome;
	char error[96];
	sd_varlink *link;
};

struct storm {
	uint64_t random;
	struct storm_model model;
	struct task tasks[8];
	size_t n_tasks;
	bool has_ended; /* the tasks were told to */
	unsigned epoch;
	pid_t daemon;
	uint64_t ops_ns;   /* how long a round's operations take */
	uint64_t start_ns; /* from the new process to its first answer */
	unsigned n_kills, n_start_kills;
	unsigned n_answered[OP_KINDS], n_done[OP_KINDS],
		n_undone[OP_KINDS]; /* cut: done, not done */
	uint64_t starts_ns[4096];
	size_t n_starts;
};

PRINTF_LIKE(1, 2)
_Noreturn static void fail(const char *format, ...)
{
	va_list args;

	(void)fputs("FAILED: ", stderr);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
	exit(1);
}

static uint64_t random_below(struct storm *storm, uint64_t n)
{
	return storm_random_below(&storm->random, n);
}

/* ---- the daemon */

/* The unit's oldest process, 0 while there is none. While it is set up it may have children. */
static pid_t unit_pid(void)
{
	char text[256], *rest = text, *line;
	uint64_t pid, oldest = UINT64_MAX;

	if (file_read_small(AT_FDCWD, STORM_UNIT "/cgroup.procs", text, sizeof(text)) <= 0)
		return 0;
	while ((line = strsep(&rest, "\n")))
		if (parse_u64(line, INT32_MAX, &pid) == 0)
			oldest = MIN(oldest, pid);
	return oldest == UINT64_MAX ? 0 : (pid_t)oldest;
}

static void sleep_ns(uint64_t ns)
{
	const struct timespec ts = { .tv_sec = (time_t)(ns / NS_PER_SEC),
				     .tv_nsec = (long)(ns % NS_PER_SEC) };

	(void)nanosleep(&ts, NULL);
}

static void wait_for_pid(struct storm *storm)
{
	uint64_t end = mono_now_ns() + START_TIMEOUT_NS;
	pid_t pid;

	while ((pid = unit_pid()) == 0 || pid == storm->daemon) {
		if (mono_now_ns() > end)
			fail("the daemon is not started again");
		usleep(POLL_USEC);
	}
	storm->daemon = pid;
}

static bool kill_daemon(struct storm *storm)
{
	if (kill(storm->daemon, SIGKILL) < 0)
		return false;
	storm->n_kills++;
	return true;
}

/* @ret_model: what it says is there */
static void wait_for_daemon(struct storm *storm, struct storm_model *ret_model)
{
	uint64_t start_ns;

	wait_for_pid(storm);
	start_ns = mono_now_ns();
	while (books_read(ret_model) < 0) {
		if (mono_now_ns() > start_ns + START_TIMEOUT_NS)
			fail("the daemon does not answer");
		usleep(POLL_USEC);
	}
	storm->daemon =
		unit_pid(); /* what was seen first may have been a child of the one killed */
	storm->start_ns = mono_now_ns() - start_ns;
	if (storm->n_starts < ARRAY_LEN(storm->starts_ns))
		storm->starts_ns[storm->n_starts++] = storm->start_ns;
}

/* ---- operations */

static void random_policy(struct storm *storm, struct slot_policy *policy)
{
	policy->weight = 1 + (uint32_t)random_below(storm, 1000);
	policy->tier = (uint32_t)random_below(storm, TIERS);
	policy->min_bytes = random_below(storm, 2048) * 4096;
	policy->max_bytes = random_below(storm, 2) == 0
				    ? BYTES_UNLIMITED
				    : 64 * MIB + random_below(storm, 16384) * 4096;
	policy->pool_min_bytes = random_below(storm, 3) * CHUNK_BYTES;
	policy->pool_max_bytes = policy->pool_min_bytes + random_below(storm, 8) * CHUNK_BYTES;
}

/* Takes chunks from the slot's tasks or lends them more. */
static void random_pool(struct storm *storm, struct slot_policy *policy)
{
	policy->weight = 1 + (uint32_t)random_below(storm, 1000);
	policy->pool_min_bytes = (1 + random_below(storm, 4)) * CHUNK_BYTES;
	policy->pool_max_bytes = policy->pool_min_bytes + random_below(storm, 12) * CHUNK_BYTES;
}

/* To another node, or from or to all of them. */
static void random_move(struct storm *storm, struct op *op)
{
	int nodes = 1 + STORM_NODES, at = op->policy.node - NODE_ANY;

	op->kind = OP_MOVE;
	at = (at + 1 + (int)random_below(storm, STORM_NODES)) % nodes;
	op->policy.node = at + NODE_ANY;
}

static void choose_op(struct storm *storm, size_t i, struct op *op)
{
	const struct slot_policy *existing;
	char name[SLOT_NAME_MAX + 1];
	uint64_t dice = random_below(storm, 10);

	*op = (struct op){ .kind = OP_SET };
	if (i < 2) { /* slots with tasks whose pools move */
		op->policy = *model_find(&storm->model, i == 0 ? "busy" : "far");
		random_pool(storm, &op->policy);
		return;
	}
	if (i == 2) { /* a slot with a task that may move */
		op->kind = OP_REMOVE_BUSY;
		op->policy = *model_find(&storm->model, "calm");
		if (dice < 4)
			random_move(storm, op);
		return;
	}
	/* different names for one round's operations */
	(void)snprintf(name, sizeof(name), "s%zu",
		       (i - 3) + (OPS - 3) * (size_t)random_below(storm, NAMES / (OPS - 3)));
	existing = model_find(&storm->model, name);
	if (existing) {
		op->policy = *existing;
		if (dice < 4)
			op->kind = OP_REMOVE;
		else if (dice < 7)
			random_policy(storm, &op->policy);
		else if (dice < 9)
			random_move(storm, op);
		else
			op->kind = OP_ADD; /* the same again */
		return;
	}
	op->kind = OP_ADD;
	op->policy.node = dice < 2 ? NODE_ANY : (int)(dice % 2);
	(void)snprintf(op->policy.name, sizeof(op->policy.name), "%s", name);
	random_policy(storm, &op->policy);
}

static int build_parameters(const struct op *op, sd_json_variant **ret)
{
	const struct slot_policy *p = &op->policy;
	bool has_max = p->max_bytes != BYTES_UNLIMITED, is_add = op->kind == OP_ADD;

	if (op->kind == OP_REMOVE || op->kind == OP_REMOVE_BUSY)
		return sd_json_buildo(ret, SD_JSON_BUILD_PAIR_STRING("name", p->name));
	if (op->kind == OP_MOVE && p->node == NODE_ANY)
		return sd_json_buildo(ret, SD_JSON_BUILD_PAIR_STRING("name", p->name),
				      SD_JSON_BUILD_PAIR_BOOLEAN("anyNode", true));
	if (op->kind == OP_MOVE)
		return sd_json_buildo(ret, SD_JSON_BUILD_PAIR_STRING("name", p->name),
				      SD_JSON_BUILD_PAIR_INTEGER("node", p->node));
	return sd_json_buildo(ret, SD_JSON_BUILD_PAIR_STRING("name", p->name),
			      SD_JSON_BUILD_PAIR_CONDITION(is_add && p->node != NODE_ANY, "node",
							   SD_JSON_BUILD_INTEGER(p->node)),
			      SD_JSON_BUILD_PAIR_CONDITION(is_add && p->node == NODE_ANY, "anyNode",
							   SD_JSON_BUILD_BOOLEAN(true)),
			      SD_JSON_BUILD_PAIR_UNSIGNED("weight", p->weight),
			      SD_JSON_BUILD_PAIR_UNSIGNED("tier", p->tier),
			      SD_JSON_BUILD_PAIR_UNSIGNED("minBytes", p->min_bytes),
			      SD_JSON_BUILD_PAIR_CONDITION(has_max, "maxBytes",
							   SD_JSON_BUILD_UNSIGNED(p->max_bytes)),
			      SD_JSON_BUILD_PAIR_CONDITION(!has_max && !is_add, "uncapped",
							   SD_JSON_BUILD_BOOLEAN(true)),
			      SD_JSON_BUILD_PAIR_UNSIGNED("poolMinBytes", p->pool_min_bytes),
			      SD_JSON_BUILD_PAIR_UNSIGNED("poolMaxBytes", p->pool_max_bytes));
}

static int on_reply(sd_varlink *link, sd_json_variant *parameters, const char *error,
		    sd_varlink_reply_flags_t flags, void *userdata)
{
	struct op *op = userdata;

	(void)link;
	(void)parameters;
	(void)flags;
	op->outcome = ANSWERED;
	if (!error)
		return 0;
	op->outcome = strcmp(error, SD_VARLINK_ERROR_DISCONNECTED) == 0 ? CUT : REFUSED;
	(void)snprintf(op->error, sizeof(op->error), "%s", error);
	return 0;
}

static void op_send(struct op *op)
{
	static const char *const methods[] = { "io.taskmem.AddSlot", "io.taskmem.SetSlot",
					       "io.taskmem.MoveSlot", "io.taskmem.RemoveSlot",
					       "io.taskmem.RemoveSlot" };
	sd_json_variant *parameters = NULL;
	int r = sd_varlink_connect_address(&op->link, STORM_SOCKET);

	op->outcome = WAITING;
	if (r >= 0)
		r = sd_varlink_set_relative_timeout(op->link, 10 * 1000000);
	if (r >= 0)
		r = build_parameters(op, &parameters);
	if (r >= 0) {
		(void)sd_varlink_set_userdata(op->link, op);
		r = sd_varlink_bind_reply(op->link, on_reply);
	}
	if (r >= 0)
		r = sd_varlink_invoke(op->link, methods[op->kind], parameters);
	if (r >= 0)
		r = sd_varlink_flush(op->link);
	sd_json_variant_unref(parameters);
	if (r < 0) /* nothing of it has reached the daemon, or nobody knows */
		op->outcome = CUT;
}

static void op_finish(struct op *op)
{
	while (op->outcome == WAITING) {
		int r = sd_varlink_process(op->link);

		if (r == 0)
			r = sd_varlink_wait(op->link, 11 * 1000000);
		if (r < 0 && r != -EINTR && op->outcome == WAITING)
			op->outcome = CUT;
	}
	op->link = sd_varlink_close_unref(op->link);
	if (op->outcome == REFUSED && strcmp(op->error, SD_VARLINK_ERROR_TIMEOUT) == 0)
		fail("%s %s: no answer", op_names[op->kind], op->policy.name);
}

/* Is what @op wants there? */
static bool op_is_done(const struct op *op, struct storm_model *model)
{
	const struct slot_policy *slot = model_find(model, op->policy.name);

	if (op->kind == OP_REMOVE)
		return !slot;
	return slot && policy_is_same(slot, &op->policy);
}

static void op_apply(const struct op *op, struct storm_model *model)
{
	if (op->kind == OP_REMOVE)
		model_remove(model, op->policy.name);
	else if (op->kind != OP_REMOVE_BUSY)
		model_put(model, &op->policy);
}

/* An answer has to be the one that fits; a removal made again may find nothing, and a move that the
 * daemon takes up again is not over yet. */
static void op_check_answer(const struct op *op, bool is_again)
{
	bool is_right = op->outcome == ANSWERED;

	if (op->kind == OP_REMOVE_BUSY)
		is_right = op->outcome == REFUSED && strcmp(op->error, "io.taskmem.SlotBusy") == 0;
	else if (op->kind == OP_REMOVE && is_again && op->outcome == REFUSED)
		is_right = strcmp(op->error, "io.taskmem.NoSuchSlot") == 0;
	else if (op->kind == OP_MOVE && is_again && op->outcome == REFUSED)
		is_right = strcmp(op->error, "io.taskmem.Failed") == 0;
	if (!is_right)
		fail("%s%s %s: %s", op_names[op->kind], is_again ? " again" : "", op->policy.name,
		     op->outcome == CUT ? "the connection was cut" : op->error);
}

/* Keeps the kills where the operations are: nothing cut was too late, everything too early. */
static void adapt(struct storm *storm, const struct op *ops)
{
	size_t n_cut = 0;

	for (size_t i = 0; i < OPS; i++)
		n_cut += ops[i].outcome == CUT;
	if (n_cut == 0)
		storm->ops_ns -= storm->ops_ns / 8;
	else if (n_cut == OPS)
		storm->ops_ns += storm->ops_ns / 8;
}

/* Compares what became of the operations with @found, and makes those again that were cut. */
static void settle_ops(struct storm *storm, struct op *ops, struct storm_model *found)
{
	for (size_t i = 0; i < OPS; i++) {
		struct op *op = &ops[i];
		const struct slot_policy *before, *now;

		if (op->outcome != CUT) {
			op_check_answer(op, /* is_again= */ false);
			op_apply(op, &storm->model);
			storm->n_answered[op->kind]++;
			if (op->kind != OP_REMOVE_BUSY && !op_is_done(op, found))
				fail("%s %s was answered and is not in effect", op_names[op->kind],
				     op->policy.name);
			continue;
		}
		before = model_find(&storm->model, op->policy.name);
		now = model_find(found, op->policy.name);
		if (op_is_done(op, found))
			storm->n_done[op->kind]++;
		else if (before ? now && policy_is_same(before, now) : !now)
			storm->n_undone[op->kind]++;
		else
			fail("%s %s was cut and is half there", op_names[op->kind],
			     op->policy.name);
		op_send(op);
		op_finish(op);
		op_check_answer(op, /* is_again= */ true);
		op_apply(op, &storm->model);
	}
}

/* ---- tasks */

static void add_task(struct storm *storm, enum task_kind kind, const char *slot)
{
	struct task *task = &storm->tasks[storm->n_tasks];
	struct task_page *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t seed = storm_random(&storm->random);

	if (page == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	*task = (struct task){ .kind = kind, .slot = slot, .page = page };
	task->pid = fork();
	if (task->pid < 0)
		fail("fork: %s", strerror(errno));
	if (task->pid == 0)
		task_main(task, seed);
	storm->n_tasks++;
}

static void check_tasks(const struct storm *storm)
{
	for (size_t i = 0; i < storm->n_tasks && !storm->has_ended; i++) {
		const struct task *task = &storm->tasks[i];
		char path[64], text[512];
		int status = 0;

		if (atomic_load(&task->page->has_failed))
			fail("task %d in %s: %s", (int)task->pid, task->slot, task->page->error);
		if (waitpid(task->pid, &status, WNOHANG) != 0)
			fail("task %d in %s died: status %#x", (int)task->pid, task->slot, status);
		(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)task->pid);
		if (file_read_small(AT_FDCWD, path, text, sizeof(text)) < 0 ||
		    !strstr(text, task->slot) || !strstr(text, "taskmem-slots.scope"))
			fail("task %d is not in slot %s but in %s", (int)task->pid, task->slot,
			     text);
	}
}

static void set_pause(struct storm *storm, unsigned epoch)
{
	for (size_t i = 0; i < storm->n_tasks; i++)
		atomic_store(&storm->tasks[i].page->pause, epoch);
}

static void wait_for_tasks(struct storm *storm, bool with_lib)
{
	uint64_t end = mono_now_ns() + START_TIMEOUT_NS;

	set_pause(storm, ++storm->epoch);
	for (size_t i = 0; i < storm->n_tasks; i++) {
		const struct task *task = &storm->tasks[i];

		while ((with_lib || task->kind != TASK_LIB) &&
		       atomic_load(&task->page->quiet) != storm->epoch) {
			check_tasks(storm);
			if (mono_now_ns() > end)
				fail("task %d in %s does not come to rest", (int)task->pid,
				     task->slot);
			usleep(POLL_USEC);
		}
	}
}

/* systemd answers a little later, the library's tasks are at work: give it a moment. */
static void wait_for_books(struct storm *storm, bool with_tasks)
{
	uint64_t end = mono_now_ns() + AGREE_TIMEOUT_NS;
	char why[BOOKS_WHY_MAX];

	while (!books_compare(&storm->model, storm->tasks, storm->n_tasks, with_tasks, why)) {
		check_tasks(storm);
		if (mono_now_ns() > end)
			fail("after kill %u: %s", storm->n_kills, why);
		usleep(POLL_USEC);
	}
	check_tasks(storm);
}

/* ---- rounds */

static void start_round(struct storm *storm, struct op *ops)
{
	set_pause(storm, 0);
	for (size_t i = 0; i < OPS; i++)
		choose_op(storm, i, &ops[i]);
	for (size_t i = 0; i < OPS; i++)
		op_send(&ops[i]);
}

static void calibrate(struct storm *storm)
{
	storm->ops_ns = UINT64_MAX;
	for (int round = 0; round < CALIBRATION; round++) {
		uint64_t start_ns = mono_now_ns();
		struct storm_model found;
		struct op ops[OPS];

		start_round(storm, ops);
		for (size_t i = 0; i < OPS; i++)
			op_finish(&ops[i]);
		storm->ops_ns = MIN(storm->ops_ns, mono_now_ns() - start_ns);
		if (books_read(&found) < 0)
			fail("the daemon does not answer");
		settle_ops(storm, ops, &found);
		wait_for_tasks(storm, /* with_lib= */ true);
		wait_for_books(storm, /* with_tasks= */ true);
	}
}

static void kill_round(struct storm *storm, unsigned round)
{
	bool with_lib = round % ALL_TASKS_EVERY == 0;
	struct storm_model found;
	struct op ops[OPS];

	start_round(storm, ops);
	sleep_ns(random_below(storm, storm->ops_ns));
	if (!kill_daemon(storm))
		fail("the daemon ended by itself");
	for (size_t i = 0; i < OPS; i++)
		op_finish(&ops[i]);
	if (random_below(storm, 5) < 2) { /* also in the start */
		wait_for_pid(storm);
		sleep_ns(random_below(storm, storm->start_ns));
		storm->n_start_kills += kill_daemon(storm);
	}
	adapt(storm, ops);
	set_pause(storm, ++storm->epoch);
	wait_for_daemon(storm, &found);
	settle_ops(storm, ops, &found);
	wait_for_tasks(storm, with_lib);
	wait_for_books(storm, with_lib);
}

static void set_up(struct storm *storm)
{
	static const struct slot_policy slots[] = {
		{ .name = "busy",
		  .weight = 100,
		  .tier = 1,
		  .min_bytes = 8 * MIB,
		  .max_bytes = 128 * MIB,
		  .pool_min_bytes = 4 * CHUNK_BYTES,
		  .pool_max_bytes = 16 * CHUNK_BYTES },
		{ .name = "far",
		  .node = 1,
		  .weight = 200,
		  .tier = 0,
		  .min_bytes = 4 * MIB,
		  .max_bytes = 96 * MIB,
		  .pool_min_bytes = 4 * CHUNK_BYTES,
		  .pool_max_bytes = 12 * CHUNK_BYTES },
		{ .name = "calm",
		  .node = NODE_ANY,
		  .weight = 10,
		  .tier = 2,
		  .min_bytes = 1 * MIB,
		  .max_bytes = 64 * MIB },
	};
	struct storm_model found;

	wait_for_pid(storm);
	for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
		struct op op = { .kind = OP_ADD, .policy = slots[i] };

		op_send(&op);
		op_finish(&op);
		op_check_answer(&op, /* is_again= */ false);
		op_apply(&op, &storm->model);
	}
	if (books_read(&found) < 0)
		fail("the daemon does not answer");
	add_task(storm, TASK_PLAIN, "calm");
	add_task(storm, TASK_RAW, "busy");
	add_task(storm, TASK_LIB, "busy");
	add_task(storm, TASK_RAW, "far");
	add_task(storm, TASK_LIB, "far");
}

/* One half of the tasks detaches, the other just ends. */
static void tear_down(struct storm *storm)
{
	storm->has_ended = true;
	for (size_t i = 0; i < storm->n_tasks; i++)
		atomic_store(&storm->tasks[i].page->quit, i < storm->n_tasks / 2 ? 1 : 2);
	for (size_t i = 0; i < storm->n_tasks; i++) {
		int status;

		if (waitpid(storm->tasks[i].pid, &status, 0) < 0 || status != 0)
			fail("task in %s ended with %#x", storm->tasks[i].slot, status);
		atomic_store(&storm->tasks[i].page->held, 0);
	}
	wait_for_books(storm, /* with_tasks= */ true);
	while (storm->model.n > 0) {
		struct op op = { .kind = OP_REMOVE, .policy = storm->model.slots[0] };

		op_send(&op);
		op_finish(&op);
		op_check_answer(&op, /* is_again= */ false);
		op_apply(&op, &storm->model);
	}
	wait_for_books(storm, /* with_tasks= */ false);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static unsigned count_calls(const struct storm *storm, enum task_call call, bool is_cut)
{
	unsigned n = 0;

	for (size_t i = 0; i < storm->n_tasks; i++) {
		struct task_page *page = storm->tasks[i].page;

		n += atomic_load(is_cut ? &page->n_cut[call] : &page->n_answered[call]);
	}
	return n;
}

static unsigned count_cut_ops(const struct storm *storm, enum op_kind kind)
{
	return storm->n_done[kind] + storm->n_undone[kind];
}

/* What no kill has cut off so far; NULL: each kind was. */
static const char *find_uncut(const struct storm *storm)
{
	static const enum op_kind kinds[] = { OP_ADD, OP_SET, OP_MOVE, OP_REMOVE };
	static const enum task_call calls[] = { CALL_ATTACH, CALL_GROW };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (count_cut_ops(storm, kinds[i]) == 0)
			return op_names[kinds[i]];
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if (count_calls(storm, calls[i], /* is_cut= */ true) == 0)
			return call_names[calls[i]];
	return NULL;
}

static bool is_enough(const struct storm *storm, uint64_t n_kills)
{
	if (storm->n_kills < n_kills)
		return false;
	return n_kills < KILLS_THAT_PROVE || storm->n_kills >= 2 * n_kills || !find_uncut(storm);
}

/* A storm that cut nothing proves nothing. */
static void report(struct storm *storm, uint64_t n_kills)
{
	unsigned n_cut_ops = 0, n_cut_calls = 0;

	qsort(storm->starts_ns, storm->n_starts, sizeof(*storm->starts_ns), compare_u64);
	printf("%u kills, %u of them in a start; starts took %" PRIu64 " ms in the median, %" PRIu64
	       " at most\n",
	       storm->n_kills, storm->n_start_kills,
	       storm->starts_ns[storm->n_starts / 2] / NS_PER_MSEC,
	       storm->starts_ns[storm->n_starts - 1] / NS_PER_MSEC);
	for (size_t i = 0; i < OP_KINDS; i++) {
		printf("%s: %u answered, %u cut and there, %u cut and not there\n", op_names[i],
		       storm->n_answered[i], storm->n_done[i], storm->n_undone[i]);
		n_cut_ops += count_cut_ops(storm, i);
	}
	for (size_t i = 0; i < TASK_CALLS; i++) {
		unsigned n_cut = count_calls(storm, i, /* is_cut= */ true);

		printf("%s: %u answered, %u cut\n", call_names[i],
		       count_calls(storm, i, /* is_cut= */ false), n_cut);
		n_cut_calls += n_cut;
	}
	if (n_cut_ops < storm->n_kills / 2 || n_cut_calls < storm->n_kills / 4)
		fail("too little was cut off");
	if (n_kills >= KILLS_THAT_PROVE && find_uncut(storm))
		fail("no kill came in the middle of %s", find_uncut(storm));
}

int main(int argc, char **argv)
{
	static struct storm storm;
	uint64_t n_kills, seed;

	if (argc != 3 || parse_u64(argv[1], 100000, &n_kills) < 0 ||
	    parse_u64(argv[2], UINT64_MAX, &seed) < 0) {
		fputs("Usage: vm_storm KILLS SEED\n", stderr);
		return 2;
	}
	storm.random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	storm.start_ns = NS_PER_SEC;
	set_up(&storm);
	calibrate(&storm);
	printf("seed %" PRIu64 ", %d operations at a time take %" PRIu64 " ms\n", seed, OPS,
	       storm.ops_ns / NS_PER_MSEC);
	(void)fflush(stdout);
	for (unsigned round = 1; !is_enough(&storm, n_kills); round++)
		kill_round(&storm, round);
	wait_for_tasks(&storm, /* with_lib= */ true);
	wait_for_books(&storm, /* with_tasks= */ true);
	tear_down(&storm);
	report(&storm, n_kills);
	return 0;
}
