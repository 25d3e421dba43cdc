/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The loads of bench_control: which tasks compete below one memory limit B, and how each of them
 * uses memory. Sizes are in permille of B, so that the same load can be run at any scale.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

#define BENCH_TASKS_MAX 64
#define BENCH_PAGE UINT64_C(4096)
/* B, and how much of it is promised: the rest is for what is charged to no task. */
#define BENCH_BUDGET_BYTES (UINT64_C(160) << 20)
#define BENCH_PROMISED_PERMILLE 980

enum bench_pattern {
	BENCH_HOT,     /* random accesses, uniform or skewed */
	BENCH_SCAN,    /* from the first page to the last, again and again, and no use to anyone */
	BENCH_CYCLE,   /* the same as useful work: a loop over data that is needed every time */
	BENCH_LEAK,    /* takes ever more and never looks at it again */
	BENCH_IDLE,    /* touched once, then asleep */
	BENCH_COMMAND, /* a program; its work is what it counts, or its time outside the kernel */
	BENCH_RECEIVE, /* takes data from a socket into memory that is pinned, by io_uring */
};

enum bench_medium {
	BENCH_ANON,
	BENCH_FILE,       /* pread of a block device: page cache */
	BENCH_MAP,        /* the same device, mapped */
	BENCH_MAP_RANDOM, /* mapped, with MADV_RANDOM */
};

struct bench_task {
	const char *name;
	enum bench_pattern pattern;
	enum bench_medium medium;
	uint32_t weight;       /* 0: 100 */
	uint32_t weight_after; /* from the load's change_s on; 0: no change */
	uint32_t size;         /* permille of B */
	uint32_t min;          /* guarantee, permille of B; 0: none */
	uint32_t other_size;   /* in every second phase; 0: as size */
	uint32_t cold_size;    /* anonymous memory that is touched once, at the beginning */
	uint32_t file_size;    /* BENCH_HOT: a file besides, read at random */
	uint32_t file_share;   /* accesses of a thousand that go to that file */
	uint32_t skew;         /* hundredths; 0: uniform, 80: access i of n has weight i^-0.8 */
	uint32_t phase_s;      /* 0: no phases */
	uint32_t first_s;      /* of the first phase; 0: phase_s */
	uint32_t on_s, off_s;  /* works for on_s, sleeps for off_s; 0: works always */
	uint32_t rate_mib;     /* BENCH_LEAK: MiB a second */
	const char *command;   /* BENCH_COMMAND: for sh -c, repeated for ever */
	const char *prepare;   /* the same, once before each run and outside of it; NULL: nothing */
	bool is_counted;       /* it writes a byte to descriptor 3 for each so many operations */
};

struct bench_load {
	const char *name;
	const char *title;
	const char
		*quick; /* policies that decide the bars here, NULL: none; "none,ours*10": ours has
			    * ten repetitions at least; of two senpais the better one as a
			    * full comparison has shown, or both */
	bool is_held_out;  /* the law was not tuned on it */
	uint32_t warm_s;   /* not scored */
	uint32_t score_s;  /* scored after that */
	uint32_t change_s; /* weights change then; 0: never */
	uint32_t n_tasks;
	struct bench_task tasks[BENCH_TASKS_MAX];
};

/* All loads, in the order of the table. */
const struct bench_load *bench_load_at(size_t i); /* NULL after the last */
const struct bench_load *bench_load_find(const char *name);

/* The task alone, always at its largest and always at work. */
struct bench_load bench_load_solo(const struct bench_task *task);

/* Does somebody wait for its work? */
bool bench_task_is_useful(const struct bench_task *task);
/* Its weight @at_s seconds after the start. */
uint32_t bench_task_weight(const struct bench_load *load, size_t task, double at_s);
/* When its second phase begins. */
uint32_t bench_task_first_s(const struct bench_task *task);
/* Bytes guaranteed to it, whole pages. */
uint64_t bench_task_min_bytes(const struct bench_task *task);
/* Has one of its tasks a guarantee? */
bool bench_load_is_kept(const struct bench_load *load);
/* Its working set then, permille of B. */
uint32_t bench_task_size(const struct bench_task *task, double at_s);
/* Part of the time from @from_s to @to_s in which it works, 0..1. */
double bench_task_duty(const struct bench_task *task, double from_s, double to_s);

/* Identifies what is run: another definition gives another number. */
uint32_t bench_load_hash(const struct bench_load *load);
/* The same for one task alone; tasks that do the same work then have the same. */
uint32_t bench_task_hash(const struct bench_task *task);

/* ---- bench_quick.c: what is run when nothing else is asked for */

/* Most repetitions that a quick list may ask for. */
#define BENCH_QUICK_REPS_MAX 20

/* How often @policy is in @list ("a,b*3,c"); 0: it is not. */
uint32_t bench_list_reps(const char *list, const char *policy);
/* What a run takes of a machine. */
uint32_t bench_load_seconds(const struct bench_load *load);
/* What all quick lists take if nothing is there yet: the runs, each task alone, and the boots of
 * machines that live for @machine_s. */
struct bench_cost {
	uint32_t n_runs, n_solos, n_boots;
	uint32_t seconds;
};
struct bench_cost bench_quick_cost(uint32_t machine_s);
