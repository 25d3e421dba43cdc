/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message_ids.h"
#include "policy/gigantic.h"

/*
 * The life of a grant: a task attaches, perhaps waits for pages that others owe, grows, returns and
 * ends. Pages are put in by a helper, so a growth has an answer that comes later; it is given once,
 * also when the grant, its process or its slot ends first.
 */

/* A new task waits so long for pages that the slot's other tasks owe. */
#define WAIT_USEC (3U * 1000000U)

struct growth {
	granted_fn done;
	void *userdata;
	uint32_t min_chunks;    /* > 0: a new grant, released when it gets fewer */
	struct grant *grant;    /* while it waits for pages */
	sd_event_source *timer; /* … and no longer than this */
};

/* "512 huge pages", "1 huge pages of 1G" */
static const char *count_pages(const struct grant *grant, uint64_t n_chunks, char buf[static 48])
{
	bool is_gigantic = grant->pages == PAGES_GIGANTIC;

	(void)snprintf(buf, 48, "%llu huge pages%s",
		       (unsigned long long)n_chunks / (is_gigantic ? GIGANTIC_CHUNKS : 1),
		       is_gigantic ? " of 1G" : "");
	return buf;
}

static void growth_end(struct growth *growth, struct grant *grant, enum fault_kind kind,
		       const struct fault *fault, const uint32_t *chunks, size_t n)
{
	granted_fn done = growth->done;
	void *userdata = growth->userdata;

	sd_event_source_disable_unref(growth->timer);
	free(growth);
	done(grant, kind, fault, chunks, n, userdata);
}

static void grant_end(struct grant *grant, const char *why)
{
	struct slot *slot = grant->slot;
	struct manager *manager = slot->manager;
	struct growth *growth = grant->populate ? grant->grown_userdata : grant->waiting;
	char freed[48];
	pid_t pid = grant->pid;

	if (grant->subscriber && grant->is_announced)
		manager->hooks.grant_gone(grant, grant->subscriber, manager->hooks.userdata);
	load_free(TAKE(grant->load));
	if (grant->mark.is_killed)
		cgdir_forget_killed(slot->cg);
	(void)count_pages(grant, grant->n_held, freed);
	grant_release(grant);
	slot_divide_pool(slot);
	events_add(manager->events, LOG_LEVEL_INFO, "task-detached", MESSAGE_TASK_DETACHED,
		   slot->policy.name, "process %d of slot %s %s: %s are free again", (int)pid,
		   slot->policy.name, why, freed);
	if (growth) {
		struct fault fault = { .node = NODE_ANY };

		growth_end(growth, NULL,
			   fault_set(&fault, FAULT_FAILED, "process %d %s", (int)pid, why), &fault,
			   NULL, 0);
	}
	manager_serve_waiting(manager);
	manager_offer_pages(manager);
}

static int on_process_exit(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	(void)source;
	(void)fd;
	(void)revents;
	grant_end(userdata, "has ended");
	return 0;
}

int slot_take_grant(struct slot *slot, struct grant *grant)
{
	int r = sd_event_add_io(slot->manager->event, &grant->exit_source, grant->pidfd, EPOLLIN,
				on_process_exit, grant);

	if (r < 0)
		return r;
	grant->slot = slot;
	/* of what an earlier daemon gave it that is known by the pages alone */
	slot->policy.is_gigantic |= grant->pages == PAGES_GIGANTIC;
	list_append(&slot->grants, &grant->in_slot);
	slot->manager->last_grant_id = MAX(slot->manager->last_grant_id, grant->id);
	return 0;
}

void slot_release_grants(struct slot *slot)
{
	while (!list_is_empty(&slot->grants))
		grant_end(list_entry(slot->grants.next, struct grant, in_slot),
			  "is cut off with its slot");
}

static void on_grown(struct grant *grant, int result, const uint32_t *chunks, size_t n,
		     void *userdata)
{
	struct growth *growth = userdata;
	struct slot *slot = grant->slot;
	struct fault fault = { .node = NODE_ANY };
	enum fault_kind kind = FAULT_NONE;
	char pages[48];

	if (result < 0 && result != -ENOSPC)
		kind = fault_set(&fault, FAULT_FAILED, "huge pages could not be put in: %s",
				 strerror(-result));
	else if (result < 0 || grant->n_held < growth->min_chunks)
		kind = slot_lacks_pages(slot, growth->min_chunks, (uint32_t)n, &fault);
	else if (growth->min_chunks > 0 && !grant->subscriber)
		kind = fault_set(&fault, FAULT_FAILED, "the caller has hung up");
	if (kind != FAULT_NONE && growth->min_chunks > 0) {
		grant_end(grant, "could not attach");
		grant = NULL;
	} else {
		grant_note_delivered(grant);
		slot_divide_pool(slot);
		grant->is_announced = true; /* the first answer is the grant itself, no notice */
		events_add(slot->manager->events, LOG_LEVEL_INFO, "pool-granted",
			   MESSAGE_GRANT_GIVEN, slot->policy.name,
			   "process %d of slot %s got %s, holds %u", (int)grant->pid,
			   slot->policy.name, count_pages(grant, n, pages),
			   grant->pages == PAGES_GIGANTIC ? grant->n_held / GIGANTIC_CHUNKS
							  : grant->n_held);
	}
	growth_end(growth, grant, kind, &fault, chunks, n);
	manager_serve_waiting(slot->manager);
}

static void grant_start_growth(struct grant *grant, uint32_t n, struct growth *growth)
{
	struct slot *slot = grant->slot;
	struct fault fault = { .node = NODE_ANY };
	enum fault_kind kind;
	int r;

	if (grant->pages == PAGES_TRANSPARENT)
		slot_set_apart(slot, n);
	else
		slot_write_hugetlb(slot, n);
	r = grant_grow(grant, slot->manager->event, slot->cg, slot->policy.node, n, on_grown,
		       growth);
	slot_count_granted(slot);
	slot_set_apart(slot, 0);
	if (r == 0)
		return;
	kind = r == -ENOSPC ? slot_lacks_pages(slot, n, 0, &fault)
			    : fault_set(&fault, FAULT_FAILED, "%s",
					r == -EBUSY ? "it is growing already" : strerror(-r));
	if (growth->min_chunks > 0) {
		grant_end(grant, "could not get pages");
		grant = NULL;
	}
	growth_end(growth, grant, kind, &fault, NULL, 0);
}

/* ---- attach */

/* Pages that the slot's tasks hold beyond their targets: they were asked for them. */
static uint32_t slot_chunks_owed(const struct slot *slot)
{
	struct grant *grant;
	uint32_t owed = 0;

	LIST_FOREACH(&slot->grants, grant, in_slot)
		if (grant->n_held > grant->target)
			owed += grant->n_held - grant->target;
	return owed;
}

/* What may come back soon: of its own tasks, and of anybody's as far as it is guaranteed them. */
static uint32_t slot_chunks_due(const struct slot *slot)
{
	const struct manager *manager = slot->manager;
	uint32_t due = slot_chunks_owed(slot), others = 0;

	/* its tasks owe nothing, but one of them may be about to end */
	if (slot->policy.is_gigantic)
		return slot->n_granted;
	for (size_t i = 0; i < manager->n_slots; i++) {
		const struct slot *other = manager->slots[i];

		if (other != slot &&
		    (other->policy.node == slot->policy.node || other->policy.node == NODE_ANY ||
		     slot->policy.node == NODE_ANY))
			others += slot_chunks_owed(other);
	}
	if (slot->pool_guaranteed_chunks > slot->n_granted)
		due += MIN(others, slot->pool_guaranteed_chunks - slot->n_granted);
	return due;
}

/* Its part beside the slot's other tasks, or what it needs at least if that is to be had. */
static void grant_start_waited(struct grant *grant, struct growth *growth, uint32_t available)
{
	uint32_t due = MAX(grant->target, growth->min_chunks);

	grant->waiting = NULL;
	growth->timer = sd_event_source_disable_unref(growth->timer);
	grant_start_growth(grant, MIN(available, due), growth);
}

/* One at a time, oldest first: what it takes is counted before the next one is looked at. */
static void slot_serve_waiting(struct slot *slot)
{
	struct grant *grant;

	LIST_FOREACH(&slot->grants, grant, in_slot) {
		uint32_t available;

		if (!grant->waiting)
			continue;
		available = slot_chunks_available(slot, grant->pages);
		if (available < grant->waiting->min_chunks)
			return;
		grant_start_waited(grant, grant->waiting, available);
		return;
	}
}

void manager_serve_waiting(struct manager *manager)
{
	for (size_t i = 0; i < manager->n_slots; i++)
		slot_serve_waiting(manager->slots[i]);
}

static void grant_refuse(struct grant *grant, struct growth *growth)
{
	struct slot *slot = grant->slot;
	struct fault fault = { .node = NODE_ANY };
	enum fault_kind kind = slot_lacks_pages(slot, growth->min_chunks,
						slot_chunks_available(slot, grant->pages), &fault);

	grant->waiting = NULL;
	grant_end(grant, "could not attach");
	growth_end(growth, NULL, kind, &fault, NULL, 0);
}

static int on_waited(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct growth *growth = userdata;

	(void)source;
	(void)usec;
	grant_refuse(growth->grant, growth);
	return 0;
}

/* The other tasks' targets have fallen by now; what they hold beyond those is worth a wait. */
static void grant_start_first(struct grant *grant, struct growth *growth)
{
	struct slot *slot = grant->slot;
	uint32_t available = slot_chunks_available(slot, grant->pages);

	if (available >= growth->min_chunks) {
		grant_start_waited(grant, growth, available);
		return;
	}
	if ((grant->target < growth->min_chunks && !slot->policy.is_gigantic) ||
	    available + slot_chunks_due(slot) < growth->min_chunks ||
	    sd_event_add_time_relative(slot->manager->event, &growth->timer, CLOCK_MONOTONIC,
				       WAIT_USEC, 0, on_waited, growth) < 0) {
		grant_refuse(grant, growth);
		return;
	}
	growth->grant = grant;
	grant->waiting = growth;
}

/* The answer to the same request was lost, so the process knows nothing of this grant. */
static void manager_drop_repeated(struct manager *manager, const struct attach_request *request)
{
	for (size_t i = 0; i < manager->n_slots && request->token != 0; i++) {
		struct grant *grant;

		LIST_FOREACH(&manager->slots[i]->grants, grant, in_slot) {
			if (grant->pid != request->pid || grant->token != request->token)
				continue;
			grant_end(grant, "attaches anew");
			return;
		}
	}
}

/* What it asks for at least, and what the slot is guaranteed and does not hold of its wish. */
static uint32_t slot_chunks_needed(const struct slot *slot, const struct attach_request *request)
{
	uint32_t due = 0;

	if (slot->pool_guaranteed_chunks > slot->n_granted)
		due = slot->pool_guaranteed_chunks - slot->n_granted;
	return MAX(MIN(request->wanted_chunks, due), request->min_chunks);
}

static enum fault_kind slot_new_grant(struct slot *slot, const struct attach_request *request,
				      struct grant **ret_grant, struct fault *fault)
{
	struct manager *manager = slot->manager;
	enum page_kind pages = PAGES_GIGANTIC;
	struct grant *grant;
	int r;

	slot_settle_pages(slot);
	if (slot->pool_share_chunks < request->min_chunks || slot_file_chunks(slot) == 0)
		return slot_lacks_pages(slot, request->min_chunks,
					slot_chunks_available(slot, slot->policy.is_gigantic
									    ? PAGES_GIGANTIC
									    : PAGES_HUGE),
					fault);
	if (!slot->policy.is_gigantic)
		pages = slot_choose_pages(slot, slot_chunks_needed(slot, request));
	r = grant_new(manager->last_grant_id + 1, slot->policy.name, request->pid, request->pidfd,
		      pages, (uint32_t)slot_file_chunks(slot), request->token, &grant);
	if (r < 0)
		return fault_set(fault, FAULT_FAILED, "the memfd could not be made: %s",
				 strerror(-r));
	r = slot_take_grant(slot, grant);
	if (r < 0) {
		grant_release(grant);
		return fault_set(fault, FAULT_FAILED, "its process cannot be watched: %s",
				 strerror(-r));
	}
	grant->wanted = request->wanted_chunks;
	grant->subscriber = request->subscriber;
	*ret_grant = grant;
	return FAULT_NONE;
}

void manager_attach(struct manager *manager, const struct attach_request *request, granted_fn done,
		    void *userdata)
{
	struct slot *slot = manager_find_slot(manager, request->slot_name);
	struct growth *growth = calloc(1, sizeof(*growth));
	struct fault fault = { .node = NODE_ANY };
	struct grant *grant = NULL;
	enum fault_kind kind;

	manager_drop_repeated(manager, request);
	if (!growth)
		kind = fault_set(&fault, FAULT_FAILED, "out of memory");
	else if (!slot)
		kind = fault_set(&fault, FAULT_NO_SUCH_SLOT, "no slot %s", request->slot_name);
	else
		kind = slot_new_grant(slot, request, &grant, &fault);
	if (kind != FAULT_NONE) {
		free(growth);
		done(NULL, kind, &fault, NULL, 0, userdata);
		return;
	}
	*growth = (struct growth){ .done = done,
				   .userdata = userdata,
				   .min_chunks = MAX(request->min_chunks, 1u) };
	if (grant->pages == PAGES_GIGANTIC)
		growth->min_chunks = gigantic_up(growth->min_chunks);
	events_add(manager->events, LOG_LEVEL_INFO, "task-attached", MESSAGE_TASK_ATTACHED,
		   slot->policy.name, "process %d of slot %s attaches", (int)request->pid,
		   slot->policy.name);
	/* of its need nothing is known yet, so the slot claims all again */
	manager_replan_pools(manager);
	grant_start_first(grant, growth);
}

struct grant *manager_find_grant(struct manager *manager, uint32_t grant_id, pid_t pid)
{
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct grant *grant;

		LIST_FOREACH(&manager->slots[i]->grants, grant, in_slot)
			if (grant->id == grant_id && grant->pid == pid) {
				grant->is_known = true;
				return grant;
			}
	}
	return NULL;
}

struct grant *manager_resume(struct manager *manager, uint32_t grant_id, pid_t pid,
			     void *subscriber, struct fault *fault)
{
	struct grant *grant = manager_find_grant(manager, grant_id, pid);

	if (!grant || grant->subscriber) {
		fault->needed = grant_id;
		(void)fault_set(fault, FAULT_NO_SUCH_GRANT, "no grant %u of process %d", grant_id,
				(int)pid);
		return NULL;
	}
	grant->subscriber = subscriber;
	grant->is_announced = true;
	return grant;
}

void manager_grow(struct manager *manager, struct grant *grant, uint32_t n, granted_fn done,
		  void *userdata)
{
	struct slot *slot = grant->slot;
	struct growth *growth = calloc(1, sizeof(*growth));
	struct fault fault = { .node = NODE_ANY };
	uint32_t available;

	(void)manager;
	if (!growth) {
		done(grant, fault_set(&fault, FAULT_FAILED, "out of memory"), &fault, NULL, 0,
		     userdata);
		return;
	}
	*growth = (struct growth){ .done = done, .userdata = userdata };
	/* Asking for more raises what it is due beside the slot's other tasks. */
	if (grant->wanted < UINT32_MAX - n)
		grant->wanted = MAX(grant->wanted, grant->n_held + n);
	slot_divide_pool(slot);
	available = slot_chunks_available(slot, grant->pages);
	if (grant->n_held >= grant->target)
		available = 0;
	else
		available = MIN(available, grant->target - grant->n_held);
	if (grant->pages == PAGES_GIGANTIC)
		n = gigantic_up(n);
	grant->is_refused = available == 0 && grant->n_held < grant->target;
	if (available == 0) {
		enum fault_kind kind = slot_lacks_pages(slot, n, 0, &fault);

		growth_end(growth, grant, kind, &fault, NULL, 0);
		return;
	}
	grant_start_growth(grant, MIN(n, available), growth);
}

enum fault_kind manager_return(struct manager *manager, struct grant *grant, const uint32_t *chunks,
			       size_t n, uint64_t revocation, struct fault *fault)
{
	struct slot *slot = grant->slot;

	if (grant->pages == PAGES_GIGANTIC) {
		(void)snprintf(fault->field, sizeof(fault->field), "chunks");
		return fault_set(fault, FAULT_BAD_VALUE,
				 "are of pages of 1G, which are given back by Detach");
	}
	if (grant_return(grant, chunks, n, revocation) < 0) {
		(void)snprintf(fault->field, sizeof(fault->field), "chunks");
		return fault_set(fault, FAULT_BAD_VALUE,
				 "lists a chunk beyond the end of the file");
	}
	slot_divide_pool(slot);
	events_add(manager->events, LOG_LEVEL_INFO, "pool-returned", MESSAGE_GRANT_RETURNED,
		   slot->policy.name, "process %d of slot %s gave %zu huge pages back, holds %u",
		   (int)grant->pid, slot->policy.name, n, grant->n_held);
	manager_serve_waiting(manager);
	manager_offer_pages(manager);
	return FAULT_NONE;
}

void manager_note_engines(struct grant *grant, bool has_uring, bool has_epoll)
{
	grant->has_uring = has_uring;
	grant->has_epoll = has_epoll;
}

void manager_detach(struct manager *manager, struct grant *grant)
{
	(void)manager;
	grant_end(grant, "detached");
}

/* One that the subscriber has, and forgets by this. */
static struct grant *manager_take_subscription(struct manager *manager, const void *subscriber)
{
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct grant *grant;

		LIST_FOREACH(&manager->slots[i]->grants, grant, in_slot) {
			if (grant->subscriber != subscriber)
				continue;
			grant->subscriber = NULL;
			return grant;
		}
	}
	return NULL;
}

void manager_unsubscribe(struct manager *manager, void *subscriber, bool is_cut)
{
	struct grant *grant;

	admission_unsubscribe(manager, subscriber);
	/* to end one may end others that wait: begin anew each time */
	while ((grant = manager_take_subscription(manager, subscriber)) != NULL)
		if (is_cut && grant->is_announced && !grant->is_known && grant->token == 0)
			grant_end(grant, "hung up");
}

void manager_view_grant(const struct grant *grant, struct grant_view *ret_view)
{
	const struct slot *slot = grant->slot;

	*ret_view = (struct grant_view){
		.id = grant->id,
		.n_file_chunks = grant->n_file_chunks,
		.n_held = grant->n_held,
		.target = grant->target,
		.n_revoked = grant->n_revoked,
		.revocation = grant->revocation,
		.deadline_ns = grant->n_held > grant->target ? grant->mark.deadline_ns : 0,
		.file_fd = grant->file_fd,
		.node = slot->policy.node,
		.slot_name = slot->policy.name,
	};
}

size_t manager_list_chunks(const struct grant *grant, uint32_t *chunks)
{
	return grant_list_chunks(grant, chunks);
}

size_t manager_list_revoked(const struct grant *grant, uint32_t *chunks)
{
	return grant_list_revoked(grant, chunks);
}

enum fault_kind manager_note_draining(struct manager *manager, struct grant *grant,
				      const uint32_t *chunks, size_t n, const char *pool,
				      struct fault *fault)
{
	int r = grant_note_draining(grant, chunks, n, pool);

	(void)manager;
	if (r == -ENOMEM)
		return fault_set(fault, FAULT_FAILED, "out of memory");
	if (r == 0)
		return FAULT_NONE;
	(void)snprintf(fault->field, sizeof(fault->field), "chunks");
	return fault_set(fault, FAULT_BAD_VALUE, "lists a chunk beyond the end of the file");
}
