/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mono.h"
#include "message_ids.h"
#include "policy/lend.h"

/*
 * policy/revoke.h decides what is done about pages that tasks keep; this does it.
 *
 * By force: a hole alone takes nothing, for the next touch faults a fresh page in, and a limit
 * cannot be lowered below what is in use (EBUSY), so that a busy task is always in between (6.12).
 * So the slot is frozen, which takes the kernel a few milliseconds and is waited for through
 * cgroup.events; then the books say that the pages are not the task's, the holes are punched,
 * hugetlb.2MB.max is what is left, and the slot runs on. A touch is SIGBUS then, and -EFAULT for a
 * system call. A recv that io_uring has in flight has no page of the pool pinned: the kernel
 * copies when data is there, into whatever buffer is in the ring then.
 *
 * Transparent pages are not taken so: nothing makes a touch of a hole in their file an error, it
 * finds zeroes, and a task that computes with those is worse off than one that was killed. So it is.
 *
 * The order makes a kill at any instruction harmless: see manager_freeze.c and pool/grant.c.
 */

#define STEP_ACCURACY_USEC 5000
/* A task in an uninterruptible system call cannot be frozen; the others of the slot stand still
 * for so long at most, and then run this long before the next try. */
#define FREEZE_USEC (1000U * 1000U)
#define FREEZE_PAUSE_NS (10 * NS_PER_SEC)

struct revocation {
	struct slot *slot;
	sd_event_source *events_source, *timer;
	uint64_t begun_ns;
	bool is_for_guarantee;
};

enum slot_revoke slot_revoke_policy(const struct slot *slot)
{
	return slot->policy.revoke != SLOT_REVOKE_DEFAULT ? slot->policy.revoke
							  : slot->manager->config->revoke;
}

uint64_t slot_revoke_grace_ns(const struct slot *slot)
{
	uint64_t ms = slot->policy.revoke_deadline_ms;

	return (ms > 0 ? ms : slot->manager->config->revoke_deadline_ms) * NS_PER_MSEC;
}

bool slot_has_revoked(const struct slot *slot)
{
	const struct grant *grant;

	LIST_FOREACH(&slot->grants, grant, in_slot)
		if (grant->n_revoked > 0)
			return true;
	return false;
}

static uint32_t grant_owed(const struct grant *grant)
{
	return grant->n_held > grant->target ? grant->n_held - grant->target : 0;
}

static void tell(struct grant *grant)
{
	struct manager_hooks *hooks = &((struct slot *)grant->slot)->manager->hooks;

	if (grant->subscriber && grant->is_announced)
		hooks->target_changed(grant, grant->subscriber, hooks->userdata);
}

/* ---- by force */

void revocation_close(struct slot *slot)
{
	struct revocation *revocation = slot->revocation;

	if (!revocation)
		return;
	slot->revocation = NULL;
	sd_event_source_disable_unref(revocation->events_source);
	sd_event_source_disable_unref(revocation->timer);
	free(revocation);
	if (slot_thaw(slot, FREEZE_REVOCATION) < 0)
		log_error("slot %s: the thaw failed", slot->policy.name);
}

static bool slot_is_growing(const struct slot *slot)
{
	const struct grant *grant;

	LIST_FOREACH(&slot->grants, grant, in_slot)
		if (grant->populate)
			return true;
	return false;
}

/* Return: chunks taken. */
static uint32_t grant_take(struct grant *grant, uint32_t n)
{
	CLEANUP(freep) uint32_t *chunks = calloc(n, sizeof(*chunks));
	struct manager_hooks *hooks = &((struct slot *)grant->slot)->manager->hooks;

	if (!chunks)
		return 0; /* the next step tries again */
	n = grant_revoke(grant, n, mono_now_ns(), chunks);
	/* one that is away learns all when it comes back */
	if (grant->subscriber && grant->is_announced)
		hooks->revoked(grant, chunks, n, grant->subscriber, hooks->userdata);
	return n;
}

static void announce_taken(struct slot *slot, const struct grant *grant, uint32_t n,
			   uint64_t owed_ns)
{
	double frozen_ms = (double)(mono_now_ns() - slot->revocation->begun_ns) / 1e6;

	events_add(slot->manager->events, LOG_LEVEL_WARNING, "pool-revoked", MESSAGE_POOL_REVOKED,
		   slot->policy.name,
		   "%u huge pages were taken from process %d of slot %s%s%s, which was asked for "
		   "them %.1f s ago%s; the slot stood still for %.1f ms; a touch of them is SIGBUS",
		   n, (int)grant->pid, slot->policy.name, grant->pool[0] ? ", pool " : "",
		   grant->pool, (double)owed_ns / 1e9,
		   slot->revocation->is_for_guarantee ? ", and others are guaranteed them" : "",
		   frozen_ms);
}

/* Nobody in the slot runs now. */
static void take(struct slot *slot)
{
	uint64_t now_ns = mono_now_ns();
	struct grant *grant;

	if (slot_is_growing(
		    slot)) { /* its helper stands still as well; the next step tries again */
		slot->refrozen_ns = now_ns + FREEZE_USEC * NS_PER_USEC;
		return;
	}
	LIST_FOREACH(&slot->grants, grant, in_slot) {
		uint32_t n = MIN(grant->n_to_take, grant_owed(grant));
		uint64_t since_ns = grant->mark.since_ns;

		grant->n_to_take = 0;
		if (n == 0) {
			grant_punch_revoked(grant); /* touched before the limit was right */
			continue;
		}
		n = grant_take(grant, n);
		if (n > 0)
			announce_taken(slot, grant, n, since_ns > 0 ? now_ns - since_ns : 0);
	}
	slot_count_granted(slot);
	slot_write_hugetlb(slot, 0);
}

static void take_and_thaw(struct slot *slot)
{
	take(slot);
	revocation_close(slot);
	slot_divide_pool(slot);
	manager_serve_waiting(slot->manager);
}

static int on_cgroup_events(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct revocation *revocation = userdata;
	struct slot *slot = revocation->slot;
	bool is_frozen = false;
	char text[128];

	(void)source;
	(void)events;
	/* what poll compares with is what was last read from this descriptor */
	(void)!pread(fd, text, sizeof(text), 0);
	if (cgdir_is_frozen(slot->cg, &is_frozen) == CGDIR_OK && is_frozen)
		take_and_thaw(slot);
	return 0;
}

static int on_freeze_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct revocation *revocation = userdata;
	struct slot *slot = revocation->slot;

	(void)source;
	(void)usec;
	slot->refrozen_ns = mono_now_ns() + FREEZE_PAUSE_NS;
	revocation_close(slot);
	log_warning("slot %s could not be frozen: a task of it waits in the kernel (see ps, state "
		    "D); its pages are taken later",
		    slot->policy.name);
	manager_kick_revoke(slot->manager);
	return 0;
}

static int revocation_watch(struct revocation *revocation)
{
	sd_event *event = revocation->slot->manager->event;
	char text[128];
	int fd, r;

	r = cgdir_open_file(revocation->slot->cg, CG_CGROUP_EVENTS, &fd);
	if (r != CGDIR_OK)
		return r < 0 ? r : -ENOENT;
	(void)!pread(fd, text, sizeof(text), 0);
	r = sd_event_add_io(event, &revocation->events_source, fd, EPOLLPRI, on_cgroup_events,
			    revocation);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	(void)sd_event_source_set_io_fd_own(revocation->events_source, 1);
	return sd_event_add_time_relative(event, &revocation->timer, CLOCK_MONOTONIC, FREEZE_USEC,
					  0, on_freeze_late, revocation);
}

static int revocation_start(struct slot *slot, bool is_for_guarantee)
{
	struct revocation *revocation = calloc(1, sizeof(*revocation));
	int r;

	if (!revocation)
		return -ENOMEM;
	*revocation = (struct revocation){ .slot = slot,
					   .begun_ns = mono_now_ns(),
					   .is_for_guarantee = is_for_guarantee };
	slot->revocation = revocation;
	r = revocation_watch(revocation); /* before: the change must not be missed */
	if (r == 0)
		r = slot_freeze(slot, FREEZE_REVOCATION);
	if (r != 0)
		revocation_close(slot);
	return r;
}

/* Those that have been frozen for something else may be so already. */
static void slot_force(struct slot *slot, bool is_for_guarantee)
{
	bool is_frozen = false;
	int r;

	if (slot->revocation || mono_now_ns() < slot->refrozen_ns || slot_is_growing(slot))
		return; /* the tick tries again */
	if (slot->hugetlb_written == BYTES_UNLIMITED) {
		/* without that limit a hole takes nothing */
		slot->refrozen_ns = mono_now_ns() + FREEZE_PAUSE_NS;
		log_warning("slot %s: its pages cannot be taken by force, hugetlb.2MB.max cannot "
			    "be written",
			    slot->policy.name);
		return;
	}
	r = revocation_start(slot, is_for_guarantee);
	if (r != 0) {
		slot->refrozen_ns = mono_now_ns() + FREEZE_PAUSE_NS;
		log_warning("slot %s: its pages cannot be taken by force, it cannot be frozen: %s",
			    slot->policy.name,
			    r < 0 ? strerror(-r) : "the kernel has no freezer for it");
		return;
	}
	if (cgdir_is_frozen(slot->cg, &is_frozen) == CGDIR_OK && is_frozen)
		take_and_thaw(slot);
}

static void grant_kill(struct grant *grant)
{
	struct slot *slot = grant->slot;
	char owed[FORMAT_BYTES_MAX];
	int r = cgdir_kill_process(slot->cg, grant->pid, grant->pidfd);

	grant->mark.is_killed = true; /* in vain, too: it would be in vain again */
	if (r == CGDIR_GONE)
		return;
	(void)format_bytes(grant_owed(grant) * CHUNK_BYTES, owed);
	if (r != CGDIR_OK)
		log_error("process %d of slot %s keeps %s and could not be killed: %s",
			  (int)grant->pid, slot->policy.name, owed,
			  r < 0 ? strerror(-r) : "the kernel has no file for that");
	else
		events_add(slot->manager->events, LOG_LEVEL_WARNING, "pool-killed",
			   MESSAGE_POOL_KILLED, slot->policy.name,
			   "process %d of slot %s was killed: it kept %s of huge pages beyond its "
			   "deadline, and %s",
			   (int)grant->pid, slot->policy.name, owed,
			   slot_revoke_policy(slot) == SLOT_REVOKE_KILL
				   ? "the slot has revoke=kill"
				   : "transparent pages cannot be taken from a process that lives");
}

/* ---- what to do */

struct step {
	struct revoke_input in;
	struct slot **slots;
	struct grant **grants; /* of holders, before they are sorted by the policy */
	struct revoke_node nodes[NODES_MAX];
};

static void count_short(const struct manager *manager, struct step *s)
{
	for (size_t i = 0; i < manager->n_nodes; i++) {
		struct lend_node node = { .n_pages = manager->nodes[i].hugepages };
		uint64_t held, guaranteed;

		node.n_free = manager_chunks_free(manager, i, PAGES_HUGE) +
			      manager_chunks_free(manager, i, PAGES_TRANSPARENT);
		for (size_t k = 0; k < manager->n_slots; k++) {
			slot_count_on_node(manager->slots[k], i, &held, &guaranteed);
			lend_add(&node, held, guaranteed);
		}
		s->nodes[s->in.n_nodes++] = (struct revoke_node){ .node = manager->nodes[i].node,
								  .n_short = lend_short(&node) };
	}
	s->in.nodes = s->nodes;
}

static void add_slot(struct step *s, struct slot *slot)
{
	struct grant *grant;

	LIST_FOREACH(&slot->grants, grant, in_slot) {
		s->grants[s->in.n_holders] = grant;
		s->in.holders[s->in.n_holders++] = (struct revoke_holder){
			.slot = s->in.n_slots,
			.id = grant->id,
			.n_owed = grant_owed(grant),
			.mark = &grant->mark,
		};
	}
	s->slots[s->in.n_slots] = slot;
	s->in.slots[s->in.n_slots++] = (struct revoke_slot){
		.name = slot->policy.name,
		.tier = slot->policy.tier,
		.revoke = slot_revoke_policy(slot),
		.grace_ns = slot_revoke_grace_ns(slot),
		.node = slot->policy.node,
		.n_granted = slot->n_granted,
		.n_guaranteed = slot->pool_guaranteed_chunks,
	};
}

static bool slot_has_work(const struct slot *slot)
{
	const struct grant *grant;

	LIST_FOREACH(&slot->grants, grant, in_slot)
		if (grant_owed(grant) > 0 || grant->mark.since_ns > 0)
			return true;
	return false;
}

/* Slots with grants that owe, or did when it was looked at last. False: there are none. */
static bool step_init(struct manager *manager, struct step *s)
{
	size_t n_slots = 0, n_grants = 0;
	const struct grant *grant;

	*s = (struct step){ .in = { .now_ns = mono_now_ns() } };
	for (size_t i = 0; i < manager->n_slots; i++) {
		if (!slot_has_work(manager->slots[i]))
			continue;
		n_slots++;
		LIST_FOREACH(&manager->slots[i]->grants, grant, in_slot)
			n_grants++;
	}
	if (n_slots == 0)
		return false;
	s->in.slots = calloc(n_slots, sizeof(*s->in.slots));
	s->in.holders = calloc(n_grants, sizeof(*s->in.holders));
	s->slots = calloc(n_slots, sizeof(struct slot *));
	s->grants = calloc(n_grants, sizeof(struct grant *));
	if (!s->in.slots || !s->in.holders || !s->slots || !s->grants)
		return false; /* no memory: the next tick tries again */
	for (size_t i = 0; i < manager->n_slots; i++)
		if (slot_has_work(manager->slots[i]))
			add_slot(s, manager->slots[i]);
	count_short(manager, s);
	return true;
}

static void step_deinit(struct step *s)
{
	free(s->in.slots);
	free(s->in.holders);
	free(s->slots);
	free(s->grants);
}

static struct grant *holder_grant(const struct revoke_holder *holder)
{
	return container_of(holder->mark, struct grant, mark);
}

/* Else it is killed where others would be forced. */
static bool grant_is_forcible(const struct grant *grant)
{
	return grant->pages == PAGES_HUGE;
}

/* Deadlines are told as they come and go; once told, the rest is done by slots. */
static void act(struct step *s, const uint64_t *old_deadlines_ns)
{
	for (size_t i = 0; i < s->in.n_holders; i++)
		if (s->grants[i]->mark.deadline_ns != old_deadlines_ns[i] &&
		    grant_owed(s->grants[i]) > 0)
			tell(s->grants[i]);
	for (size_t i = 0; i < s->in.n_holders; i++) {
		const struct revoke_holder *holder = &s->in.holders[i];
		struct grant *grant = holder_grant(holder);
		bool is_forced = holder->verb == REVOKE_FORCE;

		grant->n_to_take = is_forced && grant_is_forcible(grant) ? holder->n_chunks : 0;
		grant->is_for_guarantee = holder->is_for_guarantee;
		if (holder->verb == REVOKE_KILL ||
		    (is_forced && !grant_is_forcible(grant) && !grant->mark.is_killed))
			grant_kill(grant);
	}
	for (size_t k = 0; k < s->in.n_slots; k++) {
		bool is_forced = false, is_for_guarantee = false;

		for (size_t i = 0; i < s->in.n_holders; i++) {
			if (s->in.holders[i].slot != k || s->in.holders[i].verb != REVOKE_FORCE ||
			    !grant_is_forcible(holder_grant(&s->in.holders[i])))
				continue;
			is_forced = true;
			is_for_guarantee |= s->in.holders[i].is_for_guarantee &&
					    s->in.slots[k].revoke == SLOT_REVOKE_WAIT;
		}
		if (is_forced)
			slot_force(s->slots[k], is_for_guarantee);
	}
}

static int on_step(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	CLEANUP(freep) uint64_t *deadlines_ns = NULL;
	struct step s;
	uint64_t wake_ns;

	(void)usec;
	(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
	if (step_init(manager, &s))
		deadlines_ns = calloc(s.in.n_holders, sizeof(*deadlines_ns));
	if (deadlines_ns) {
		for (size_t i = 0; i < s.in.n_holders; i++)
			deadlines_ns[i] = s.grants[i]->mark.deadline_ns;
		wake_ns = revoke_step(&s.in);
		if (wake_ns > 0) {
			(void)sd_event_source_set_time(source, wake_ns / NS_PER_USEC + 1);
			(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
		}
		act(&s, deadlines_ns);
	}
	step_deinit(&s);
	return 0;
}

/* ---- when */

int manager_open_revoke(struct manager *manager)
{
	int r = sd_event_add_time(manager->event, &manager->revoke_timer, CLOCK_MONOTONIC, 0,
				  STEP_ACCURACY_USEC, on_step, manager);

	return r < 0 ? r : sd_event_source_set_enabled(manager->revoke_timer, SD_EVENT_OFF);
}

void manager_close_revoke(struct manager *manager)
{
	manager->revoke_timer = sd_event_source_disable_unref(manager->revoke_timer);
}

void manager_kick_revoke(struct manager *manager)
{
	if (!manager->revoke_timer)
		return;
	(void)sd_event_source_set_time(manager->revoke_timer, 0);
	(void)sd_event_source_set_enabled(manager->revoke_timer, SD_EVENT_ONESHOT);
}

/* Pages that were pinned have come free, or a touch was faster than the limit. */
static void slot_settle(struct slot *slot)
{
	const struct grant *grant;
	bool has_strays = false;

	LIST_FOREACH(&slot->grants, grant, in_slot)
		has_strays |= grant_has_strays(grant);
	if (has_strays)
		slot_force(slot, /* is_for_guarantee= */ false);
	else
		slot_write_hugetlb(slot, 0);
}

void manager_tick_revoke(struct manager *manager)
{
	for (size_t i = 0; i < manager->n_slots; i++)
		if (slot_has_revoked(manager->slots[i]) && !slot_is_growing(manager->slots[i]))
			slot_settle(manager->slots[i]);
	manager_kick_revoke(manager);
}

/* ---- what is shown */

static void view_grant(const struct grant *grant, uint64_t now_ns, struct owed_view *view)
{
	const struct revoke_mark *mark = &grant->mark;

	*view = (struct owed_view){
		.pid = grant->pid,
		.owed_bytes = grant_owed(grant) * CHUNK_BYTES,
		.revoked_bytes = grant->n_revoked * CHUNK_BYTES,
		.left_ns = UINT64_MAX,
		.is_for_guarantee = grant->is_for_guarantee,
		.is_kill = slot_revoke_policy(grant->slot) == SLOT_REVOKE_KILL ||
			   !grant_is_forcible(grant),
	};
	memcpy(view->pool, grant->pool, sizeof(view->pool));
	if (view->owed_bytes > 0 && mark->since_ns > 0)
		view->owed_ns = now_ns - mark->since_ns;
	if (view->owed_bytes > 0 && mark->deadline_ns > 0)
		view->left_ns = mark->deadline_ns > now_ns ? mark->deadline_ns - now_ns : 0;
}

void slot_view_owed(const struct slot *slot, struct slot_view *view)
{
	uint64_t now_ns = mono_now_ns();
	const struct grant *grant;

	view->revoke = slot_revoke_policy(slot);
	view->revoke_deadline_ns = slot_revoke_grace_ns(slot);
	view->n_owed = 0;
	LIST_FOREACH(&slot->grants, grant, in_slot) {
		size_t at = view->n_owed;

		if (grant_owed(grant) == 0 && grant->n_revoked == 0)
			continue;
		if (at == OWED_MAX) { /* in place of the one that owes least, if that is less */
			at = 0;
			for (size_t i = 1; i < OWED_MAX; i++)
				if (view->owed[i].owed_bytes < view->owed[at].owed_bytes)
					at = i;
			if (view->owed[at].owed_bytes >= grant_owed(grant) * CHUNK_BYTES)
				continue;
		} else {
			view->n_owed++;
		}
		view_grant(grant, now_ns, &view->owed[at]);
		/* owed since this turn of the loop: its deadline is set in the next */
		if (view->owed[at].left_ns == UINT64_MAX && view->owed[at].owed_bytes > 0 &&
		    view->revoke != SLOT_REVOKE_WAIT)
			view->owed[at].left_ns = view->revoke_deadline_ns;
	}
}
