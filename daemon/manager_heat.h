/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What manager_heat.c and manager_heat_measure.c share. Nobody else includes this. */

#include "base/list.h"
#include "manager_private.h"

struct measurement;

/* What is kept of a slot between measurements. */
struct slot_heat {
	bool has_report;
	struct heat_report report;
	/* the last ageing by us: what is in younger generations than these was touched since */
	bool has_base;
	uint64_t base_ns;
	uint64_t base_seq[NODES_MAX];
	uint64_t base_refaults; /* pages, then */
	uint64_t base_stall_us;
	uint64_t due_ns; /* in the background */
	struct measurement *running;
};

/* @fault with FAULT_NONE: the report is in the slot's heat. The measurement is freed after it. */
typedef void (*measurement_done_fn)(struct measurement *m, const struct fault *fault);

struct measurement {
	struct slot *slot;
	enum heat_source source; /* asked for; after the start the one that is used */
	bool is_background;
	uint64_t window_ms;
	measurement_done_fn done;
	struct list waiters;
	struct list in_heat;
	/* of manager_heat_measure.c */
	int phase;
	bool is_second; /* the ageing that ends the window */
	sd_event_source *timer;
	struct lru_gen_reader *reader;
	struct damon *damon;
	int fd; /* of the ageing commands */
	struct write_op *op;
	size_t next_node;
	uint64_t write_ns; /* when the write at hand was begun */
	uint64_t cost_ns;
	char note[240]; /* why there is no source */
};

/* Begins; @m is zero but for the first block of its fields. Return: 0 or -errno. */
MUST_USE int measurement_start(struct measurement *m);
/* Lets go of all that measurement_start() took; not of @m itself. */
void measurement_stop(struct measurement *m);

/* Pages refaulted and microseconds stalled since the slot was made; 0 where it cannot be read. */
void heat_read_evidence(const struct slot *slot, uint64_t *ret_refaults, uint64_t *ret_stall_us);
