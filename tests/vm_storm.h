/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * vm_storm kills the daemon again and again while slots and grants change, and compares what
 * was asked, what the daemon says and what the kernel says. Shared by its parts: the driver
 * (vm_storm.c), the tasks (vm_storm_task.c) and the comparison (vm_storm_books.c).
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <systemd/sd-varlink.h>

#include "model.h"

#define STORM_SOCKET "/run/taskmem/io.taskmem"
#define STORM_UNIT "/sys/fs/cgroup/taskmem.slice/taskmemd.service"
#define STORM_TREE "/sys/fs/cgroup/taskmem.slice/taskmem-slots.scope"
#define STORM_STATE "/var/lib/taskmem"
#define STORM_SLOTS_MAX 64
#define STORM_NODES 2

enum task_kind {
	TASK_PLAIN, /* runs in its slot, that is all */
	TASK_RAW,   /* speaks varlink itself and checks every answer */
	TASK_LIB,   /* uses libtaskmem */
};

/* Calls about a grant, answered and cut off by a kill. */
enum task_call { CALL_ATTACH, CALL_GROW, CALL_RETURN, CALL_DETACH, TASK_CALLS };

/* Between the driver and one task. */
struct task_page {
	atomic_uint pause; /* driver: 0 go on, else stop and say so in quiet */
	atomic_uint quiet; /* task: the value of pause, when its count is up to date */
	atomic_uint quit;  /* driver: 1 detach and end, 2 end as it is */
	atomic_uint held;  /* chunks the task knows to hold */
	atomic_uint n_answered[TASK_CALLS], n_cut[TASK_CALLS];
	atomic_bool has_failed;
	char error[256];
};

struct task {
	enum task_kind kind;
	const char *slot;
	pid_t pid;
	struct task_page *page;
};

/* xorshift: the same seed makes the same choices. @state is never 0. */
uint64_t storm_random(uint64_t *state);
static inline uint64_t storm_random_below(uint64_t *state, uint64_t n)
{
	return storm_random(state) % n;
}

/* Joins the slot and works until told to end. */
_Noreturn void task_main(const struct task *task, uint64_t seed);

/* All that was asked and answered. */
struct storm_model {
	struct slot_policy slots[STORM_SLOTS_MAX];
	size_t n;
};

struct slot_policy *model_find(struct storm_model *model, const char *name);
void model_put(struct storm_model *model, const struct slot_policy *policy);
void model_remove(struct storm_model *model, const char *name);
bool policy_is_same(const struct slot_policy *a, const struct slot_policy *b);

#define BOOKS_WHY_MAX 512

/* Asks the daemon what slots there are. Return: 0, or -errno when it does not answer. */
int books_read(struct storm_model *ret_model);
/**
 * books_compare() - policies, cgroups, xattrs, state file, huge pages
 * @with_tasks: all tasks are quiet, so their counts are to agree, too
 *
 * Return: true when they agree; else @why says what does not.
 */
bool books_compare(const struct storm_model *model, const struct task *tasks, size_t n_tasks,
		   bool with_tasks, char why[static BOOKS_WHY_MAX]);
