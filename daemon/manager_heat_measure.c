/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One measurement of one slot, a step a turn of the loop.
 *
 *	lru_gen:  find the slot in the file, age each of its nodes, look what the youngest
 *	          generations are; wait; find, age and look again: what is in those generations
 *	          and younger was touched meanwhile. In the background the second half of one
 *	          measurement is the first half of the next.
 *	DAMON:    kern/damon.c says what to do.
 *	neither:  refaults and stall, before and after.
 *
 * Ageing walks page tables and moves pages between lists, so it is written by kern/writer.
 */

#include "manager_heat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/mono.h"
#include "kern/damon.h"
#include "kern/lru_gen.h"
#include "manager_heat_report.h"

#define PAGE_BYTES UINT64_C(4096)

enum phase { BEGIN, FIND, AGE, LOOK, WAIT, DAMON };

static void measurement_run(struct measurement *m, int write_result);

/* ---- evidence */

void heat_read_evidence(const struct slot *slot, uint64_t *ret_refaults, uint64_t *ret_stall_us)
{
	struct cgdir_stall stall;
	struct cgdir_stat stat;

	*ret_refaults = *ret_stall_us = 0;
	if (cgdir_read_stat(slot->cg, &stat) == CGDIR_OK)
		*ret_refaults = stat.refault_anon + stat.refault_file;
	if (cgdir_read_stall(slot->cg, &stall) == CGDIR_OK)
		*ret_stall_us = stall.some_us;
}

static void begin_window(struct measurement *m)
{
	struct slot_heat *heat = m->slot->heat;

	heat->base_ns = mono_now_ns();
	heat_read_evidence(m->slot, &heat->base_refaults, &heat->base_stall_us);
}

static void begin_window_at(struct measurement *m, const struct lru_gen_ages *ages)
{
	struct slot_heat *heat = m->slot->heat;

	begin_window(m);
	memset(heat->base_seq, 0, sizeof(heat->base_seq));
	for (size_t i = 0; i < ages->n_nodes; i++) {
		const struct lru_gen_node *node = &ages->nodes[i];

		if (node->n > 0)
			heat->base_seq[node->node] = node->generations[node->n - 1].seq;
	}
	heat->has_base = true;
}

/* ---- the end */

static void end_with(struct measurement *m, enum fault_kind kind, const char *text)
{
	struct fault fault = { .node = NODE_ANY };

	if (kind != FAULT_NONE)
		(void)fault_set(&fault, kind, "slot %s: %s", m->slot->policy.name, text);
	measurement_stop(m);
	m->done(m, &fault);
}

static void fail(struct measurement *m, const char *what, int r)
{
	char text[160];

	(void)snprintf(text, sizeof(text), "%s: %s", what, strerror(-r));
	end_with(m, FAULT_FAILED, text);
}

/* The report so far: what every source has. */
static struct heat_report common_report(const struct measurement *m)
{
	const struct slot_heat *heat = m->slot->heat;
	uint64_t refaults, stall_us, now_ns = mono_now_ns();
	struct heat_report report = {
		.measured_ns = now_ns,
		.window_ms = (now_ns - heat->base_ns) / NS_PER_MSEC,
		.cost_us = m->cost_ns / NS_PER_USEC,
	};

	heat_read_evidence(m->slot, &refaults, &stall_us);
	if (refaults > heat->base_refaults)
		report.refault_bytes = (refaults - heat->base_refaults) * PAGE_BYTES;
	if (stall_us > heat->base_stall_us)
		report.stall_us = stall_us - heat->base_stall_us;
	return report;
}

static void end_with_report(struct measurement *m, const struct heat_report *report)
{
	m->slot->heat->report = *report;
	m->slot->heat->has_report = true;
	end_with(m, FAULT_NONE, NULL);
}

static void end_with_evidence(struct measurement *m)
{
	struct heat_report report = common_report(m);

	report.source = HEAT_NONE;
	report.confidence = HEAT_LOW;
	(void)snprintf(report.note, sizeof(report.note), "%s", m->note);
	begin_window(m);
	end_with_report(m, &report);
}

static void end_with_ages(struct measurement *m, const struct lru_gen_ages *ages)
{
	struct heat_report report = common_report(m);
	int r = heat_report_ages(ages, m->slot->heat->base_seq, &report);

	begin_window_at(m, ages); /* the next one, in the background */
	if (r < 0)
		fail(m, "working set", r);
	else
		end_with_report(m, &report);
}

static void end_with_regions(struct measurement *m)
{
	struct heat_report report = common_report(m);
	const struct damon_region *regions;
	struct cgdir_stat stat = {};
	size_t n;
	int r = damon_result(m->damon, &regions, &n);

	switch (r) {
	case DAMON_OK:
		break;
	case DAMON_BUSY:
		return end_with(m, FAULT_REFUSED,
				"DAMON is in use by somebody else (see " DAMON_PATH
				"); only one can use it");
	case DAMON_GONE:
		return end_with(m, FAULT_FAILED, "its processes ended while they were watched");
	case DAMON_ABSENT:
		return end_with(m, FAULT_REFUSED, "DAMON of this kernel cannot watch processes");
	case DAMON_DENIED:
		return end_with(m, FAULT_REFUSED,
				"DAMON's files cannot be written; see tmctl doctor");
	default:
		return fail(m, "DAMON", r);
	}
	if (cgdir_read_stat(m->slot->cg, &stat) != CGDIR_OK)
		stat = (struct cgdir_stat){};
	r = heat_report_regions(regions, n, damon_sample_ms(m->damon), stat.anon + stat.file,
				&report);
	if (r < 0)
		return fail(m, "working set", r);
	end_with_report(m, &report);
}

/* ---- steps */

static void again_after(struct measurement *m, uint64_t wait_ns)
{
	(void)sd_event_source_set_time(m->timer, (mono_now_ns() + wait_ns) / NS_PER_USEC);
	(void)sd_event_source_set_enabled(m->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	measurement_run(userdata, 0);
	return 0;
}

static void on_written(int result, void *userdata)
{
	struct measurement *m = userdata;

	m->op = NULL;
	if (m->phase == AGE) /* DAMON's writes are mostly waiting for its next interval */
		m->cost_ns += mono_now_ns() - m->write_ns;
	measurement_run(m, result);
}

static int submit(struct measurement *m, int fd, const char *text)
{
	m->write_ns = mono_now_ns();
	return writer_submit(m->slot->manager->writer, fd, text, on_written, m, &m->op);
}

static void find(struct measurement *m, enum phase phase)
{
	const struct slot *slot = m->slot;
	char group[PLACE_GROUP_MAX], path[4096];
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s/%s", tree_path(slot->manager->tree),
		       place_format_group(slot->policy.node, group), slot->policy.name);
	lru_gen_reader_free(m->reader);
	m->reader = NULL;
	r = lru_gen_reader_new(LRU_GEN_PATH, path, &m->reader);
	if (r != LRU_GEN_OK)
		return fail(m, LRU_GEN_PATH, r > 0 ? -ENOENT : r);
	m->phase = phase;
	again_after(m, 0);
}

static bool has_pages(const struct lru_gen_node *node)
{
	uint64_t anon, file;

	lru_gen_sum(node, 0, &anon, &file);
	return anon + file > 0;
}

/* Nodes where the slot has nothing are left out: there would be nothing to find in its page tables
 * that belongs there. */
static void age_next(struct measurement *m)
{
	const struct lru_gen_ages *ages = lru_gen_reader_ages(m->reader);
	char command[LRU_GEN_COMMAND_MAX];
	int r;

	while (m->next_node < ages->n_nodes) {
		const struct lru_gen_node *node = &ages->nodes[m->next_node++];

		if (!has_pages(node))
			continue;
		m->phase = AGE;
		r = submit(m, m->fd, lru_gen_command(ages->id, node, command));
		if (r < 0)
			fail(m, "ageing", r);
		return;
	}
	find(m, LOOK);
}

static void read_on(struct measurement *m)
{
	uint64_t begun_ns = mono_now_ns();
	int r = lru_gen_step(m->reader);
	const struct lru_gen_ages *ages = lru_gen_reader_ages(m->reader);

	m->cost_ns += mono_now_ns() - begun_ns;
	if (r == LRU_GEN_MORE)
		return again_after(m, 0);
	if (r == LRU_GEN_GONE)
		return end_with(m, FAULT_FAILED,
				"the kernel's list of page ages does not have it; in a container "
				"its cgroup may have another path there");
	if (r < 0)
		return fail(m, LRU_GEN_PATH, r);
	if (m->phase == FIND) {
		m->next_node = 0;
		return age_next(m);
	}
	if (m->is_second)
		return end_with_ages(m, ages);
	begin_window_at(m, ages);
	if (m->is_background) /* the window ends with the next one */
		return end_with(m, FAULT_NONE, NULL);
	m->phase = WAIT;
	again_after(m, m->window_ms * NS_PER_MSEC);
}

static void run_damon(struct measurement *m, int write_result)
{
	uint64_t begun_ns = mono_now_ns();
	struct damon_action action = damon_step(m->damon, write_result);
	int r;

	m->cost_ns += mono_now_ns() - begun_ns;
	switch (action.verb) {
	case DAMON_WRITE:
		r = submit(m, damon_command_fd(m->damon), action.text);
		if (r < 0)
			fail(m, "DAMON", r);
		return;
	case DAMON_WAIT:
		begin_window(m);
		m->slot->heat->has_base = false; /* its time is another now */
		again_after(m, action.wait_ms * NS_PER_MSEC);
		return;
	case DAMON_STEP:
		again_after(m, 0);
		return;
	case DAMON_DONE:
		end_with_regions(m);
		return;
	}
}

static void begin_damon(struct measurement *m)
{
	pid_t pids[DAMON_PIDS_MAX];
	size_t n = 0;
	int r = cgdir_list_processes(m->slot->cg, pids, DAMON_PIDS_MAX, &n);

	if (r == CGDIR_OK && n == 0)
		return end_with(m, FAULT_REFUSED,
				"no process runs in it, there is nothing to watch");
	if (r == CGDIR_OK)
		r = damon_new(DAMON_PATH, pids, n, m->window_ms, &m->damon);
	else
		r = r > 0 ? -ENODEV : r;
	if (r == DAMON_ABSENT)
		return end_with(m, FAULT_REFUSED, "this kernel has no DAMON; see tmctl doctor");
	if (r == DAMON_DENIED)
		return end_with(m, FAULT_REFUSED,
				"DAMON's files cannot be written; see tmctl doctor");
	if (r < 0)
		return fail(m, "DAMON", r);
	m->phase = DAMON;
	run_damon(m, 0);
}

/* What there is instead of a source, in words. */
static void explain_absence(struct measurement *m, int cond)
{
	const char *why = "the ages of pages cannot be read";

	if (cond == LRU_GEN_OFF)
		why = "the multi-gen LRU is off";
	else if (cond == LRU_GEN_ABSENT)
		why = "there is no " LRU_GEN_PATH
		      " (debugfs is not mounted, or a kernel without it)";
	else if (cond == LRU_GEN_DENIED)
		why = LRU_GEN_PATH " is closed to the daemon";
	(void)snprintf(m->note, sizeof(m->note),
		       "%s: only refaults and stall are known; see tmctl doctor", why);
}

static void begin(struct measurement *m)
{
	int r;

	if (m->source == HEAT_DAMON)
		return begin_damon(m);
	r = lru_gen_check_enabled();
	if (r == LRU_GEN_OK)
		r = lru_gen_open(LRU_GEN_PATH, &m->fd);
	if (r != LRU_GEN_OK) {
		explain_absence(m, r);
		if (m->source == HEAT_LRU_GEN)
			return end_with(m, FAULT_REFUSED, m->note);
		m->source = HEAT_NONE;
		m->slot->heat->has_base = false;
		if (m->is_background && m->slot->heat->base_ns > 0)
			return end_with_evidence(m);
		begin_window(m);
		if (m->is_background)
			return end_with(m, FAULT_NONE, NULL);
		m->phase = WAIT;
		return again_after(m, m->window_ms * NS_PER_MSEC);
	}
	m->source = HEAT_LRU_GEN;
	m->is_second = m->is_background && m->slot->heat->has_base;
	find(m, FIND);
}

static void measurement_run(struct measurement *m, int write_result)
{
	switch ((enum phase)m->phase) {
	case BEGIN:
		return begin(m);
	case FIND:
	case LOOK:
		return read_on(m);
	case AGE:
		if (write_result < 0)
			return fail(m, "ageing", write_result);
		return age_next(m);
	case WAIT:
		if (m->source == HEAT_NONE)
			return end_with_evidence(m);
		m->is_second = true;
		return find(m, FIND);
	case DAMON:
		return run_damon(m, write_result);
	}
}

int measurement_start(struct measurement *m)
{
	int r;

	m->fd = -1;
	m->phase = BEGIN;
	/* From the loop, so that the end is never reported from in here. */
	r = sd_event_add_time_relative(m->slot->manager->event, &m->timer, CLOCK_MONOTONIC, 0, 1000,
				       on_timer, m);
	return r < 0 ? r : 0;
}

void measurement_stop(struct measurement *m)
{
	if (m->op)
		writer_cancel(m->slot->manager->writer, m->op);
	m->op = NULL;
	m->timer = sd_event_source_disable_unref(m->timer);
	lru_gen_reader_free(m->reader);
	m->reader = NULL;
	damon_free(m->damon);
	m->damon = NULL;
	fd_closep(&m->fd);
	m->fd = -1;
}
