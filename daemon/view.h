/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a client is shown of a slot or a node: plain values, read at one moment. */

#include <stdint.h>

#include "model.h"
#include "policy/control.h"
#include "policy/explain.h"

#define LEFT_MAX 4 /* shown of a slot; there are never so many nodes to be left at once */
#define PENDING_MAX (3 + LEFT_MAX)

struct pending_view {
	const char *what; /* "max", "share", "pool" or "move" */
	uint64_t from_bytes, to_bytes, now_bytes;
	uint64_t eta_ns; /* UINT64_MAX: cannot be told */
	char note[200];  /* empty when nothing is to be said */
};

/* What tasks are told of their slot's memory. */
struct memory_notice {
	const char *slot_name; /* borrowed from the slot */
	int node;
	uint64_t sequence; /* counts from 1 for each slot; 0: nothing was told yet */
	enum notice_why why;
	uint64_t target_bytes; /* what the slot should come to use */
	uint64_t before_bytes; /* the target told before; 0: none */
	uint64_t usage_bytes;
	uint64_t max_bytes;   /* BYTES_UNLIMITED: none */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC: memory is taken from then on; 0: none */
};

/* The last one and what came of it. */
struct notice_view {
	uint64_t told_usec; /* CLOCK_REALTIME; 0: nothing was told yet */
	struct memory_notice last;
	uint32_t n_asked, n_answers; /* tasks */
	uint64_t freed_bytes;        /* as they say */
};

/* Of on-resize=. */
struct hook_view {
	bool is_running;
	uint32_t n_runs, n_failures; /* since the daemon started */
	uint64_t ended_usec;         /* CLOCK_REALTIME; 0: none has ended */
	char result[192];            /* how the last one failed; "": it did not */
};

/* What was found out about which memory of a slot is in use. */
enum heat_source {
	HEAT_NONE, /* only the evidence: refaults and stall */
	HEAT_LRU_GEN,
	HEAT_DAMON,
	HEAT_SOURCES,
};
enum heat_confidence { HEAT_LOW, HEAT_MEDIUM, HEAT_HIGH };

#define HEAT_POINTS_MAX 17

/* A point of the heat curve: what the next 2 MiB are worth to one that has .bytes. */
struct heat_point {
	uint64_t bytes;
	uint64_t next_uhz; /* touches of their pages in 1e6 s, at least */
};

struct heat_report {
	enum heat_source source;
	enum heat_confidence confidence;
	uint64_t measured_ns;            /* monotonic, when the window ended */
	uint64_t window_ms;              /* how long was watched */
	uint64_t within_ms;              /* the window; a sampling interval with HEAT_DAMON */
	uint64_t working_set_bytes;      /* touched within that; 0 with HEAT_NONE */
	uint64_t anon_bytes, file_bytes; /* parts of it, with HEAT_LRU_GEN */
	uint64_t seen_bytes;             /* all the slot's memory that the source sees */
	uint64_t knee_bytes, score_uhz;  /* see policy/heat.h */
	uint64_t refault_bytes;          /* came back in the window, having been reclaimed */
	uint64_t stall_us;               /* in the window; PSI "some" */
	uint64_t cost_us;                /* what the measurement took of the kernel */
	size_t n_points;
	struct heat_point points[HEAT_POINTS_MAX];
	char note[240]; /* why no more is known, or why it may be wrong; or empty */
};

/* A process that keeps what it owes, or that pages were taken from. */
#define OWED_MAX 8
struct owed_view {
	pid_t pid;
	char pool[32]; /* of the task that keeps most of it, as it says; "" */
	uint64_t owed_bytes, revoked_bytes;
	uint64_t owed_ns; /* for how long */
	uint64_t left_ns; /* to the deadline; UINT64_MAX: there is none */
	bool is_for_guarantee;
	bool is_kill; /* what is done then, if anything; else they are taken by force */
};

/* A cgroup that the slot has left for another node. */
struct left_view {
	int node;
	uint64_t bytes; /* still charged to it */
	uint32_t n_processes;
	bool is_moving;                 /* pages or processes are still on their way */
	uint64_t from_bytes, now_bytes; /* what was and is on .node, of them */
};

#define ADVICE_VIEW_MAX 288

struct slot_view {
	struct slot_policy policy;
	char advice[ADVICE_VIEW_MAX]; /* to move it; or empty */
	enum slot_revoke revoke;      /* what holds for it */
	uint64_t revoke_deadline_ns;
	size_t n_owed; /* <= OWED_MAX, those that owe most */
	struct owed_view owed[OWED_MAX];
	uint64_t share_bytes;
	uint64_t lease_bytes; /* what its tasks asked for beyond min, as far as max allows */
	uint64_t low_bytes;   /* what memory.low is meant to be */
	uint64_t demand_bytes;
	const char *class;               /* control_class_name(), or "uncontrolled" */
	char reason[CONTROL_REASON_MAX]; /* empty: uncontrolled */
	uint64_t usage_bytes, swap_bytes;
	uint64_t kernel_min_bytes, kernel_low_bytes, kernel_high_bytes, kernel_max_bytes;
	uint32_t n_processes;
	const char *emergency;     /* "frozen", "unprotected" or NULL */
	uint64_t leak_bytes_per_s; /* 0: no leak */
	uint64_t n_oom_kills;
	uint64_t pool_share_bytes, pool_granted_bytes, pool_owed_bytes, pool_kernel_bytes;
	const char
		*engine; /* its tasks receive by: "io_uring", "epoll", "mixed"; NULL: none does */
	/* what its tasks hold: "gigantic", "huge", "transparent", "mixed"; NULL: nothing */
	const char *pages;
	uint64_t pool_transparent_bytes; /* part of pool_granted_bytes, and not of usage_bytes */
	uint64_t pool_gigantic_bytes;    /* the same of pages of 1 GiB */
	uint64_t pool_huge_bytes;        /* part that is pages of 2 MiB or 1 GiB */
	uint64_t pool_node_bytes[NODES_MAX];
	uint64_t memory_node_bytes[NODES_MAX];
	size_t n_pending;
	struct pending_view pending[PENDING_MAX];
	size_t n_left;
	struct left_view left[LEFT_MAX];
	uint32_t n_watchers;
	struct notice_view notice;
	struct hook_view hook;
	bool has_heat;
	uint64_t heat_age_ns; /* since it was measured */
	struct heat_report heat;
};

/* What was counted of a slot: by the kernel since the slot was made, by the daemon since that or its
 * own start. Each number only grows. */
struct counters_view {
	const char *slot_name; /* borrowed */
	bool has_sample;       /* the kernel's counters of memory are known */
	uint64_t refault_bytes, reclaimed_bytes;
	uint64_t stall_us, stall_full_us, cpu_us;
	uint32_t n_freezes, n_kills; /* in emergencies */
};

/* A request that waits for memory. */
struct wait_view {
	const char *slot_name, *request_id;
	bool is_lease; /* a raised guarantee; else a slot to be made */
	int node;      /* NODE_ANY: any, or the best */
	uint32_t tier;
	uint64_t bytes;          /* need, guarantee without a need, or the raise */
	size_t position, length; /* 1 is served next */
	uint64_t waited_ns;
	uint32_t n_passed;
	bool is_due; /* was passed long enough: nobody behind it may */
	const char *reason;
};

/* Why a slot has what it has. */
struct explain_view {
	const char *class, *mode;
	char reason[EXPLAIN_REASON_MAX];
	char advice[ADVICE_VIEW_MAX]; /* to move it to another node; or empty */
	size_t n_terms;
	struct control_term terms[EXPLAIN_TERMS];
};

struct node_view {
	struct node_info info; /* info.node is NODE_ANY for the group without a node */
	uint64_t guaranteed_bytes, booked_bytes, usage_bytes, group_max_bytes;
	uint64_t hugepages_free, hugepages_promised, hugepages_granted;
	uint64_t transparent_granted;                                /* part of hugepages_granted */
	uint64_t gigantic_free, gigantic_promised, gigantic_granted; /* of info.gigantic */
	const char *pages; /* of info.hugepages: "huge", "transparent", "mixed"; NULL: none */
	uint32_t n_slots;
	uint64_t n_stalls;   /* times that a pressure trigger told of stalls */
	uint64_t n_early;    /* looks of the controller out of turn */
	char emergency[200]; /* what is going on, "" when calm */
};
