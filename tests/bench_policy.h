/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The policies of bench_control. Each is told the counters of all tasks every half second and sets
 * limits of their cgroups; the limit of all together is set by the driver and the same for all.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "bench_load.h"
#include "kern/cgdir.h"
#include "model.h"
#include "policy/control.h"

/* What a policy sees of a task, and what it remembers. */
struct bench_member {
	struct cgdir *cg;
	struct memory_sample sample; /* of this tick */
	uint32_t weight;
	uint64_t min_bytes;   /* guarantee, of policies with shares */
	uint64_t share_bytes; /* weighted max-min share of bench_world.share_bytes */
	/* the driver's record */
	uint64_t limit_bytes; /* last written: low, high or max, whichever the policy sets */
	const char *note;     /* class or state, for the trace */
	/* the policies' own */
	struct bench_senpai {
		uint64_t limit_bytes, last_total_us;
		uint64_t integral_us;
		uint32_t grace_ticks;
		bool is_started;
	} senpai;
	struct control_slot slot;
};

struct bench_world {
	const struct bench_load *load;
	uint64_t budget_bytes; /* B: memory.max above the tasks */
	uint64_t share_bytes;  /* 0.98 B: what is promised to tasks */
	size_t n;
	struct bench_member *members;
	const uint16_t *split; /* permille of B for each task, of the policy "static" */
	uint32_t tick;         /* 0 at the start, then every CONTROL_TICK_NS */
	uint64_t now_ns;       /* monotonic */
	bool is_change;        /* shares are others than at the last tick; true at tick 0 */
	/* writes so far */
	uint32_t n_writes;
	uint64_t longest_write_ns;
	struct control_group group;
};

struct bench_policy {
	const char *name;
	const char *title;
	uint32_t version; /* of what it does: runs of another one do not count */
	bool has_shares;  /* guarantees are memory.min, and part of the share */
	/* 0 or -errno */
	int (*tick)(const struct bench_policy *policy, struct bench_world *world);
	/* The memory of all has just run out, at @now_ns: when to be asked before the next tick, which
	 * is at @next_ns; 0: not. NULL: never. */
	uint64_t (*early_ns)(struct bench_world *world, uint64_t now_ns, uint64_t next_ns);
	const void *arg;
};

const struct bench_policy *bench_policy_at(size_t i); /* NULL after the last */
const struct bench_policy *bench_policy_find(const char *name);

/* A good static split for a load, in permille of B for each task; NULL: none known. What a search
 * has found since is in its results: bench_store_split(). */
const uint16_t *bench_policy_split(const char *load);

/* Writes a limit and takes the time. Nothing is written when it is the one written last. */
MUST_USE int bench_policy_write(struct bench_world *world, struct bench_member *member,
				enum cgdir_file file, uint64_t bytes);

/* ---- bench_policy_senpai.c */

/* Constants of senpai's law; the published ones are in bench_senpai_published. */
struct bench_senpai_law {
	uint32_t tick_divisor; /* runs at every so many ticks of the bench */
	uint32_t interval;     /* its own ticks between two probes */
	uint64_t pressure_us;  /* target of stall time in an interval */
	double max_probe, max_backoff, coeff_probe, coeff_backoff;
};
extern const struct bench_senpai_law bench_senpai_published, bench_senpai_fast;

/* One step of the law for one cgroup: @total_us of stall, so far. Return: the limit's new factor
 * less one, 0 for no change. */
double bench_senpai_step(struct bench_senpai *s, const struct bench_senpai_law *law,
			 uint64_t total_us);
/* A limit within the law's bounds, whole pages. */
uint64_t bench_senpai_limit(double bytes, uint64_t budget_bytes);
/* policy->arg: struct bench_senpai_law. */
int bench_senpai_tick(const struct bench_policy *policy, struct bench_world *world);

/* ---- bench_policy_oomd.c: senpai's production form in oomd */

int bench_oomd_tick(const struct bench_policy *policy, struct bench_world *world);
/* Bytes it reclaims from a task with @current_bytes. */
uint64_t bench_oomd_bytes(uint64_t current_bytes, uint64_t least_bytes);
/* Of the text of memory.pressure or io.pressure: the larger of two averages, per cent. */
double bench_oomd_pressure(const char *text);
/* Of the text of /proc/meminfo: is a fifth of the swap free? */
bool bench_oomd_is_swap_left(const char *text);

/* ---- bench_policy_control.c */

/* Parts of the law that are switched off. */
enum bench_control_part {
	BENCH_NO_RESTORE = 1,   /* restored pages: reuse is known by pgrefill alone */
	BENCH_NO_REFILL = 2,    /* pgrefill: reuse is known by restored pages alone */
	BENCH_NO_SCANS = 4,     /* nobody is ever taken for a scan */
	BENCH_NO_STALL = 8,     /* pressure */
	BENCH_NO_TAX = 16,      /* quiet tasks keep their share */
	BENCH_NO_FLOOR = 32,    /* evidence under the tax is forgotten at once */
	BENCH_NO_RETEST = 64,   /* once a scan, always a scan, unless it reuses pages */
	BENCH_NO_LENDING = 128, /* nobody is protected above the share */
};
/* What is written of a slot after a tick of the law without @hidden. */
uint64_t bench_control_low(struct control_slot *slot, unsigned hidden);
/* policy->arg: enum bench_control_part, or NULL for all of it. */
int bench_control_tick(const struct bench_policy *policy, struct bench_world *world);
uint64_t bench_control_early_ns(struct bench_world *world, uint64_t now_ns, uint64_t next_ns);
