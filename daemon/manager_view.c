/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/mono.h"
#include "kern/sample.h"
#include "policy/admit.h"
#include "policy/booking.h"

/* What clients see: the plan, and the kernel's own files read at this moment. A file that cannot
 * be read (a controller is missing, the slot is going) shows as 0. */

static uint64_t read_or(struct cgdir *cg, enum cgdir_file file, uint64_t otherwise)
{
	uint64_t value;

	return cgdir_read_u64(cg, file, &value) == CGDIR_OK ? value : otherwise;
}

static struct pending_view *view_add_pending(struct slot_view *view, const char *what)
{
	struct pending_view *pending = &view->pending[view->n_pending++];

	*pending = (struct pending_view){ .what = what, .eta_ns = UINT64_MAX };
	return pending;
}

static void pending_from_progress(struct pending_view *pending, const struct progress *progress,
				  const char *note)
{
	struct progress_report report = progress_report(progress);

	pending->from_bytes = report.from_bytes;
	pending->to_bytes = report.to_bytes;
	pending->now_bytes = report.now_bytes;
	pending->eta_ns = report.eta_ns;
	(void)snprintf(pending->note, sizeof(pending->note), "%s", note);
}

/* The last sample may be half a second old, and usage has just been read: a slot that has arrived
 * meanwhile is not shown as on its way. */
static void view_pending_share(const struct slot *slot, struct slot_view *view)
{
	struct progress progress = slot->share_progress;

	if (!slot->is_share_moving ||
	    progress_sample(&progress, mono_now_ns(), view->usage_bytes) == PROGRESS_REACHED)
		return;
	pending_from_progress(view_add_pending(view, "share"), &progress, progress_note(&progress));
}

/* Who keeps most of it, for how long, and what will be done about it. */
static void note_holder(const struct slot_view *view, struct pending_view *pending)
{
	const struct owed_view *most = &view->owed[0];
	char bytes[FORMAT_BYTES_MAX], then[80];

	for (size_t i = 1; i < view->n_owed; i++)
		if (view->owed[i].owed_bytes > most->owed_bytes)
			most = &view->owed[i];
	if (view->n_owed == 0 || most->owed_bytes == 0) {
		(void)snprintf(pending->note, sizeof(pending->note),
			       "its tasks were asked to give buffers back and still use them");
		return;
	}
	if (most->left_ns == UINT64_MAX)
		(void)snprintf(then, sizeof(then), "it is waited for (revoke=wait)");
	else
		(void)snprintf(then, sizeof(then), "%s in %.1f s",
			       most->is_kill ? "it is killed" : "they are taken by force",
			       (double)most->left_ns / 1e9);
	(void)snprintf(pending->note, sizeof(pending->note),
		       "process %d%s%s keeps %s of it for %.1f s; %s", (int)most->pid,
		       most->pool[0] ? ", pool " : "", most->pool,
		       format_bytes(most->owed_bytes, bytes), (double)most->owed_ns / 1e9, then);
}

static void view_pending(const struct slot *slot, struct slot_view *view)
{
	if (slot->has_limit && slot->limit.shrink.is_pending) {
		struct pending_view *pending = view_add_pending(view, "max");

		pending_from_progress(pending, &slot->limit.shrink.progress,
				      slot->limit.shrink.note);
		pending->to_bytes = slot->limit.shrink.target_bytes;
		pending->now_bytes = view->usage_bytes;
	}
	view_pending_share(slot, view);
	if (view->pool_owed_bytes > 0) {
		struct pending_view *pending = view_add_pending(view, "pool");

		pending->from_bytes = pending->now_bytes = view->pool_granted_bytes;
		pending->to_bytes = view->pool_share_bytes;
		note_holder(view, pending);
	}
}

/* epoll is what a task falls back to, so one that does must not hide behind others. */
static const char *engine_of(const struct slot *slot)
{
	bool has_uring = false, has_epoll = false;
	struct grant *grant;

	LIST_FOREACH(&slot->grants, grant, in_slot) {
		has_uring |= grant->has_uring;
		has_epoll |= grant->has_epoll;
	}
	if (has_uring && has_epoll)
		return "mixed";
	return has_uring ? "io_uring" : has_epoll ? "epoll" : NULL;
}

static void view_moves(struct slot_view *view)
{
	for (size_t i = 0; i < view->n_left; i++) {
		const struct left_view *left = &view->left[i];
		struct pending_view *pending;

		if (!left->is_moving)
			continue;
		pending = view_add_pending(view, "move");
		pending->from_bytes = left->from_bytes;
		pending->now_bytes = left->now_bytes;
		if (left->n_processes > 0)
			(void)snprintf(pending->note, sizeof(pending->note),
				       "%u processes are still in its cgroup on node %d",
				       left->n_processes, left->node);
	}
}

/* That of the pages that its pool is of. */
static enum cgdir_file pool_file(const struct slot *slot, enum cgdir_file file)
{
	return slot->policy.is_gigantic ? file + (CG_GIGANTIC_MAX - CG_HUGETLB_MAX) : file;
}

static void slot_view(const struct slot *slot, struct slot_view *view)
{
	struct cgdir_events events;

	*view = (struct slot_view){
		.policy = slot->policy,
		.share_bytes = slot->share_bytes,
		.lease_bytes = slot_min_bytes(slot) - slot->policy.min_bytes,
		.usage_bytes = read_or(slot->cg, CG_MEMORY_CURRENT, 0),
		.swap_bytes = read_or(slot->cg, CG_MEMORY_SWAP_CURRENT, 0),
		.kernel_min_bytes = read_or(slot->cg, CG_MEMORY_MIN, 0),
		.kernel_low_bytes = read_or(slot->cg, CG_MEMORY_LOW, 0),
		.kernel_high_bytes = read_or(slot->cg, CG_MEMORY_HIGH, BYTES_UNLIMITED),
		.kernel_max_bytes = read_or(slot->cg, CG_MEMORY_MAX, BYTES_UNLIMITED),
		.pool_share_bytes = slot->pool_share_chunks * CHUNK_BYTES,
		.pool_granted_bytes = slot->n_granted * CHUNK_BYTES,
		.pool_kernel_bytes = read_or(slot->cg, pool_file(slot, CG_HUGETLB_CURRENT), 0),
	};
	view->emergency = slot_emergency(slot);
	view->engine = engine_of(slot);
	slot_view_pages(slot, view);
	if (slot->watch.leak.is_leaking)
		view->leak_bytes_per_s = slot->watch.leak.rate;
	if (view->pool_granted_bytes > view->pool_share_bytes)
		view->pool_owed_bytes = view->pool_granted_bytes - view->pool_share_bytes;
	if (cgdir_count_processes(slot->cg, &view->n_processes) != CGDIR_OK)
		view->n_processes = 0;
	if (cgdir_read_events(slot->cg, &events) == CGDIR_OK)
		view->n_oom_kills = events.oom_kill;
	if (cgdir_read_numa(slot->cg, pool_file(slot, CG_HUGETLB_NUMA_STAT),
			    view->pool_node_bytes) != CGDIR_OK)
		memset(view->pool_node_bytes, 0, sizeof(view->pool_node_bytes));
	if (cgdir_read_numa(slot->cg, CG_MEMORY_NUMA_STAT, view->memory_node_bytes) != CGDIR_OK)
		memset(view->memory_node_bytes, 0, sizeof(view->memory_node_bytes));
	slot_view_owed(slot, view);
	slot_view_control(slot, view);
	view_pending(slot, view);
	leftovers_view(slot, view);
	(void)slot_advice(slot, view->advice);
	view_moves(view);
	notices_view(slot, view);
	heat_view(slot, view);
}

enum fault_kind manager_view_slot(struct manager *manager, const char *name,
				  struct slot_view *ret_view, struct fault *ret_fault)
{
	const struct slot *slot = manager_find_slot(manager, name);

	if (!slot)
		return fault_set(ret_fault, FAULT_NO_SUCH_SLOT, "no slot %s", name);
	slot_view(slot, ret_view);
	return FAULT_NONE;
}

size_t manager_slot_count(const struct manager *manager)
{
	return manager->n_slots;
}

const char *manager_nth_slot_name(const struct manager *manager, size_t i)
{
	return manager->slots[i]->policy.name;
}

size_t manager_find_after(const struct manager *manager, const char *name)
{
	size_t low = 0, high = manager->n_slots;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(manager->slots[middle]->policy.name, name) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void manager_view_nth_slot(struct manager *manager, size_t i, struct slot_view *ret_view)
{
	slot_view(manager->slots[i], ret_view);
	ret_view->heat.n_points = 0; /* the curve is for who asks for one slot */
}

void manager_view_nth_counters(struct manager *manager, size_t i, struct counters_view *ret_view)
{
	const struct slot *slot = manager->slots[i];
	struct memory_sample sample = slot->control.sample;
	/* one source while the daemon runs, so that no counter ever goes back */
	bool is_sampled = manager_is_controlling(manager) && slot->control.track.sampled_ns > 0;

	*ret_view = (struct counters_view){
		.slot_name = slot->policy.name,
		.n_freezes = slot->watch.n_freezes,
		.n_kills = slot->watch.n_kills,
	};
	if (!is_sampled && sample_read(slot->cg, &sample) != CGDIR_OK)
		return;
	ret_view->has_sample = true;
	ret_view->refault_bytes = sample.refault_pages * CONTROL_PAGE;
	ret_view->reclaimed_bytes = sample.steal_pages * CONTROL_PAGE;
	ret_view->stall_us = sample.stall_us;
	ret_view->stall_full_us = sample.stall_full_us;
	ret_view->cpu_us = sample.cpu_us;
}

size_t manager_node_count(const struct manager *manager)
{
	return manager->n_nodes + 1;
}

static uint64_t slot_booked_on(const struct slot *slot, size_t i)
{
	const struct manager *manager = slot->manager;
	struct slot_policy leased;

	/* copies of 10000 policies, of a KB each, would take longer than all the rest */
	if (slot->lease_bytes == 0)
		return booking_total(manager->nodes, manager->n_nodes, i, &slot->policy, 1);
	leased = slot->policy;
	leased.min_bytes = slot_min_bytes(slot);
	return booking_total(manager->nodes, manager->n_nodes, i, &leased, 1);
}

static uint64_t booked_on(const struct manager *manager, size_t i)
{
	uint64_t sum = 0;

	for (size_t k = 0; k < manager->n_slots; k++)
		sum = MIN(sum + slot_booked_on(manager->slots[k], i), ADMIT_BYTES_MAX);
	return sum;
}

void manager_view_nth_node(struct manager *manager, size_t i, struct node_view *ret_view)
{
	const struct node_group *group = &manager->groups[i];
	bool is_any = i == manager->n_nodes;

	*ret_view = (struct node_view){ .info = { .node = NODE_ANY },
					.group_max_bytes = BYTES_UNLIMITED };
	if (is_any) {
		ret_view->guaranteed_bytes = manager->any_plan.guaranteed_bytes;
	} else {
		ret_view->info = manager->nodes[i];
		ret_view->booked_bytes = booked_on(manager, i);
		ret_view->guaranteed_bytes = manager->node_plans[i].guaranteed_bytes;
		ret_view->hugepages_promised = manager->node_plans[i].guaranteed_chunks;
		manager_view_pages(manager, i, ret_view);
		manager_view_gigantic(manager, i, ret_view);
	}
	ret_view->usage_bytes = read_or(group->cg, CG_MEMORY_CURRENT, 0);
	ret_view->group_max_bytes = read_or(group->cg, CG_MEMORY_MAX, BYTES_UNLIMITED);
	ret_view->n_stalls = group->watch.n_stalls;
	ret_view->n_early = group->n_early;
	(void)emergency_summary(&group->watch.emergency, mono_now_ns(), ret_view->emergency,
				sizeof(ret_view->emergency));
	for (size_t k = 0; k < manager->n_slots; k++) {
		if (manager->slots[k]->policy.node != group->node)
			continue;
		ret_view->n_slots++;
		if (!manager->slots[k]->policy.is_gigantic)
			ret_view->hugepages_granted += manager->slots[k]->n_granted;
		ret_view->transparent_granted += manager->slots[k]->n_transparent;
	}
}
