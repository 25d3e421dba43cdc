/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/mono.h"

/*
 * What tasks report of their pools, and pages that follow it from slot to slot.
 *
 * The daemon is told once where to read, and reads when it wants to know; after a restart the
 * task tells it again. Twice a second the load of each task is looked at. As long as nobody is
 * short of pages nothing moves, however unequal the loads; when somebody is, the pages are
 * divided again by what each is shown to need (policy/appetite.h, policy/entitle.h). A task that
 * reports nothing, or is new, needs all it may have, and so does a slot without a task: a task
 * that is started there finds its part.
 *
 * A task that lies gets no more than its slot may have beside others that are hungry, which it
 * would get as well by holding what it does not need.
 */

#define LOAD_USEC (500U * 1000U)

struct load {
	int fd; /* pool/report.h */
	struct appetite appetite;
	uint64_t empty_total; /* of pools that could have grown, when last looked */
};

void load_free(struct load *load)
{
	if (!load)
		return;
	fd_closep(&load->fd);
	free(load);
}

enum fault_kind manager_report_pools(struct grant *grant, int fd, struct fault *fault)
{
	struct load *load;
	int r = report_open(fd, &fd);

	if (r < 0)
		return fault_set(fault, FAULT_BAD_VALUE,
				 "no sealed memfd with the pools of a task");
	load = calloc(1, sizeof(*load));
	if (!load) {
		fd_closep(&fd);
		return fault_set(fault, FAULT_FAILED, "out of memory");
	}
	load->fd = fd;
	load->empty_total = UINT64_MAX;
	appetite_init(&load->appetite);
	load_free(grant->load);
	grant->load = load;
	return FAULT_NONE;
}

uint64_t grant_need_chunks(const struct grant *grant)
{
	if (!grant->load || grant->load->appetite.need_chunks == APPETITE_ALL)
		return UINT64_MAX;
	return grant->load->appetite.need_chunks;
}

uint64_t slot_pool_need_chunks(const struct slot *slot)
{
	const struct grant *grant;
	uint64_t sum = 0;

	LIST_FOREACH(&slot->grants, grant, in_slot) {
		uint64_t need = grant_need_chunks(grant);

		if (need == UINT64_MAX)
			return UINT64_MAX;
		sum += need; /* of 32 bits each */
	}
	return list_is_empty(&slot->grants) ? UINT64_MAX : sum;
}

/* A pool at its own maximum is not helped by pages, however many wait for its buffers. */
static void load_sample(struct load *load, struct appetite_sample *ret)
{
	struct pool_view pools[POOL_REPORTS];
	uint64_t used = 0, empty_total = 0;
	uint32_t n_unreported;
	int n = report_read(load->fd, pools, &n_unreported);

	*ret = (struct appetite_sample){ .used_chunks = APPETITE_ALL - 1 };
	if (n < 0 || n_unreported > 0)
		return; /* not to be seen: as if all were in use */
	for (int i = 0; i < n; i++) {
		used += pool_view_needed_chunks(&pools[i]);
		if (pools[i].n_buffers >= pools[i].max_buffers)
			continue;
		empty_total += pools[i].empty_total;
		ret->is_hungry |= pools[i].n_waiters > 0;
	}
	ret->is_hungry |= empty_total > load->empty_total;
	load->empty_total = empty_total;
	ret->used_chunks = (uint32_t)MIN(used, (uint64_t)APPETITE_ALL - 1);
}

/* Return: true if a need changed. *ret_is_short: it holds all that it should, and wants more. */
static bool slot_look(struct slot *slot, bool *ret_is_short)
{
	struct grant *grant;
	bool is_new = false;

	LIST_FOREACH(&slot->grants, grant, in_slot) {
		struct appetite_sample sample;

		if (!grant->load)
			continue;
		load_sample(grant->load, &sample);
		is_new |= appetite_observe(&grant->load->appetite, &sample);
		if (sample.is_hungry && grant->n_held >= grant->target &&
		    grant->n_held < grant->wanted)
			*ret_is_short = true;
	}
	return is_new;
}

static int on_load_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	bool is_short = false;

	for (size_t i = 0; i < manager->n_slots; i++)
		manager->has_new_needs |= slot_look(manager->slots[i], &is_short);
	if (is_short && manager->has_new_needs) {
		manager->has_new_needs = false;
		manager_replan_pools(manager);
	}
	(void)sd_event_source_set_time(source, mono_next_usec(usec, LOAD_USEC));
	return 0;
}

int manager_start_load(struct manager *manager)
{
	int r = sd_event_add_time_relative(manager->event, &manager->load_tick, CLOCK_MONOTONIC,
					   LOAD_USEC, 0, on_load_tick, manager);

	return r < 0 ? r : sd_event_source_set_enabled(manager->load_tick, SD_EVENT_ON);
}

/* Pages came back: those who were refused some are told to ask again, and do so at once instead
 * of after a while. */
void manager_offer_pages(struct manager *manager)
{
	struct grant *grant;

	for (size_t i = 0; i < manager->n_slots; i++)
		LIST_FOREACH(&manager->slots[i]->grants, grant, in_slot) {
			if (!grant->is_refused || !grant->subscriber || !grant->is_announced ||
			    grant->n_held >= grant->target)
				continue;
			grant->is_refused = false;
			manager->hooks.target_changed(grant, grant->subscriber,
						      manager->hooks.userdata);
		}
}

size_t manager_count_tasks(const struct manager *manager, const char *name)
{
	const struct slot *slot = manager_find_slot(manager, name);
	const struct grant *grant;
	size_t n = 0;

	if (slot)
		LIST_FOREACH(&slot->grants, grant, in_slot)
			n++;
	return n;
}

void manager_view_nth_task(const struct manager *manager, const char *name, size_t i,
			   struct task_view *ret_view)
{
	const struct slot *slot = manager_find_slot(manager, name);
	const struct grant *grant = NULL;
	size_t n = 0;
	int r;

	LIST_FOREACH(&slot->grants, grant, in_slot)
		if (n++ == i)
			break;
	*ret_view = (struct task_view){ .pid = grant->pid,
					.grant = grant->id,
					.need_chunks = grant_need_chunks(grant),
					.held_chunks = grant->n_held,
					.pages = grant->pages,
					.huge_chunks = grant_count_huge(grant),
					.target_chunks = grant->target };
	if (!grant->load)
		return;
	r = report_read(grant->load->fd, ret_view->pools, &ret_view->n_unreported);
	ret_view->has_report = r >= 0;
	ret_view->n_pools = r > 0 ? (size_t)r : 0;
}
