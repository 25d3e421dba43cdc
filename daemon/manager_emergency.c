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
#include "kern/psi.h"
#include "kern/topology.h"
#include "message_ids.h"

/*
 * policy/emergency.h decides; this reads, does what it says, and tells of it. A group is stepped
 * once a second, when its tasks stall (pressure triggers), when its limit is hit (memory.events)
 * and as often as the machine asks. The last two would come a hundred times a second under
 * ordinary contention, so a source that has fired rests until the next step.
 *
 * A frozen slot is thawed by the machine's own time, through the group's timer; should the daemon
 * be killed meanwhile, see manager_freeze.c. That a slot is unprotected and that the reserve is lent is in nothing but this process, so a new daemon
 * writes what the plan says.
 */

#define STEP_LEAST_NS (200 * NS_PER_MSEC)
#define TIMER_ACCURACY_USEC 10000
#define STALL_WINDOW_US 1000000
/* In one step: protection of two hundred slots, and a bound against a loop of ours. */
#define ACTIONS_MAX 512
#define HELD_BACK_PERMILLE 400

struct step {
	struct manager *manager;
	struct node_group *group;
	struct emergency_input in;
	struct slot **slots; /* of in.slots */
	char name[32];       /* of the group, for people */
};

static bool is_only_log(const struct manager *manager)
{
	return manager->config->emergency == CONFIG_EMERGENCY_LOG;
}

static bool group_is_guarded(const struct node_group *group)
{
	return group->manager->config->emergency != CONFIG_EMERGENCY_OFF;
}

uint64_t group_lent_bytes(const struct node_group *group)
{
	return is_only_log(group->manager) ? 0 : group->watch.emergency.lent_bytes;
}

bool slot_is_unprotected(const struct slot *slot)
{
	return slot->watch.mark.is_unprotected && !is_only_log(slot->manager);
}

const char *slot_emergency(const struct slot *slot)
{
	if (slot->watch.mark.is_frozen && !is_only_log(slot->manager))
		return "frozen";
	return slot_is_unprotected(slot) ? "unprotected" : NULL;
}

/* ---- what there is to see */

static void read_events(struct group_watch *w, struct cgdir *cg)
{
	struct cgdir_events now, all, before = w->events;

	/* the limit hit must be the group's own; who is killed is in a slot */
	if (cgdir_read_events_local(cg, &now) != CGDIR_OK ||
	    cgdir_read_events(cg, &all) != CGDIR_OK)
		return;
	now.oom_kill = all.oom_kill;
	w->events = now;
	if (w->has_events) {
		w->has_hit_max |= now.max > before.max;
		w->has_oom |= now.oom > before.oom;
		w->has_kernel_kill |= now.oom_kill > before.oom_kill;
	}
	w->has_events = true;
}

/* Part of the time in which all stalled: over the last second, whatever the steps. */
static void read_stalls(struct group_watch *w, struct cgdir *cg, uint64_t now_ns)
{
	struct cgdir_stall now;
	uint64_t span_ns = now_ns - w->stall_ns;
	double part, weight;

	if (cgdir_read_stall(cg, &now) != CGDIR_OK)
		return;
	if (w->has_stall && span_ns > 0) {
		part = (double)(now.full_us - w->stall.full_us) * 1e6 / (double)span_ns;
		weight = MIN((double)span_ns / (double)NS_PER_SEC, 1.0);
		w->full_permille =
			(uint32_t)(w->full_permille * (1 - weight) + MIN(part, 1000.0) * weight);
	}
	w->has_stall = true;
	w->stall = now;
	w->stall_ns = now_ns;
}

static void read_node(struct step *s)
{
	const struct manager *manager = s->manager;

	for (size_t i = 0; i < manager->n_nodes; i++) {
		const struct node_info *node = &manager->nodes[i];
		uint64_t available;

		if (s->group->node != NODE_ANY && s->group->node != node->node)
			continue;
		if (topology_available(node->node, &available) < 0)
			continue;
		s->in.total_bytes += node->total_bytes - node->hugepages * CHUNK_BYTES -
				     node->gigantic * GIGANTIC_BYTES;
		s->in.available_bytes += available;
		if (s->group->node != NODE_ANY)
			s->in.reserve_bytes = node->reserve_bytes & ~UINT64_C(4095);
	}
}

static void tell_kills(struct step *s)
{
	if (!s->group->watch.has_kernel_kill)
		return;
	for (size_t i = 0; i < s->manager->n_slots; i++)
		if (s->manager->slots[i]->policy.node == s->group->node)
			slot_watch_kills(s->manager->slots[i], s->name, s->group->watch.has_oom);
}

/* Fills in everything but the slots. Whatever cannot be read, frozen slots must be thawed in time,
 * so there is no failing: without a limit the machine does only that. */
static void read_group(struct step *s, uint64_t now_ns)
{
	struct group_watch *w = &s->group->watch;

	s->in = (struct emergency_input){ .now_ns = now_ns, .max_bytes = BYTES_UNLIMITED };
	if (cgdir_read_u64(s->group->cg, CG_MEMORY_CURRENT, &s->in.usage_bytes) != CGDIR_OK ||
	    cgdir_read_u64(s->group->cg, CG_MEMORY_MAX, &s->in.max_bytes) != CGDIR_OK ||
	    topology_swap_free(&s->in.swap_free_bytes) < 0)
		s->in.is_unreadable = true;
	read_events(w, s->group->cg);
	read_stalls(w, s->group->cg, now_ns);
	read_node(s);
	tell_kills(s);
	s->in.full_permille = w->full_permille;
	s->in.has_hit_max = w->has_hit_max;
	s->in.has_oom = w->has_oom;
	s->in.has_kernel_kill = w->has_kernel_kill;
	w->has_hit_max = w->has_oom = w->has_kernel_kill = false;
}

static int read_slots(struct step *s, uint64_t now_ns)
{
	struct manager *manager = s->manager;
	struct group_watch *w = &s->group->watch;
	/* all stall, or nothing is left to take: who stands still may be held up */
	bool is_held_back =
		w->full_permille >= HELD_BACK_PERMILLE ||
		(w->emergency.has_hit && w->emergency.left_bytes < w->emergency.near_bytes);

	s->in.slots = calloc(manager->n_slots + 1, sizeof(*s->in.slots));
	s->slots = calloc(manager->n_slots + 1, sizeof(struct slot *));
	if (!s->in.slots || !s->slots)
		return -ENOMEM;
	for (size_t i = 0; i < manager->n_slots; i++) {
		struct slot *slot = manager->slots[i];

		if (slot->policy.node != s->group->node)
			continue;
		slot_watch_sample(slot, now_ns, is_held_back, w->is_close);
		slot_watch_describe(slot, s->in.swap_free_bytes, &s->in.slots[s->in.n_slots]);
		s->slots[s->in.n_slots++] = slot;
	}
	return 0;
}

/* ---- what to do */

static void on_reclaimed(int result, void *userdata)
{
	struct node_group *group = userdata;

	(void)result; /* what came of it is read from usage */
	group->watch.op = NULL;
	group->watch.has_ended = true;
}

static void note_reclaimed(struct step *s)
{
	struct group_watch *w = &s->group->watch;
	const struct slot *slot = manager_find_slot(s->manager, w->reclaimed_slot);
	uint64_t usage;

	if (!w->has_ended)
		return;
	w->has_ended = false;
	s->in.has_reclaim_ended = true;
	if (slot && cgdir_read_u64(slot->cg, CG_MEMORY_CURRENT, &usage) == CGDIR_OK &&
	    usage < w->before_bytes)
		s->in.reclaimed_bytes = w->before_bytes - usage;
}

static void begin_reclaim(struct step *s, struct slot *slot, uint64_t bytes)
{
	struct group_watch *w = &s->group->watch;
	char text[32];
	int r = is_only_log(s->manager) ? -ECANCELED : cgdir_file_fd(slot->cg, CG_MEMORY_RECLAIM);

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	memcpy(w->reclaimed_slot, slot->policy.name, sizeof(w->reclaimed_slot));
	w->before_bytes = slot->watch.usage_bytes;
	if (r >= 0)
		r = writer_submit(s->manager->writer, r, text, on_reclaimed, s->group, &w->op);
	if (r < 0)
		w->has_ended = true;
}

/* cgroup.freeze and cgroup.kill return at once: 1 ms and 20 ms on a slow machine (6.12). */
static void write_slot(struct step *s, struct slot *slot, enum cgdir_file file, uint64_t value)
{
	int r;

	if (is_only_log(s->manager))
		return;
	if (file == CG_CGROUP_FREEZE)
		r = value ? slot_freeze(slot, FREEZE_EMERGENCY) : slot_thaw(slot, FREEZE_EMERGENCY);
	else
		r = cgdir_write_u64(slot->cg, file, value);
	if (r == CGDIR_OK && file == CG_CGROUP_KILL)
		slot->watch.n_kills++;
	else if (r == CGDIR_OK && value == 1)
		slot->watch.n_freezes++;
	if (r == CGDIR_OK || r == CGDIR_GONE)
		return;
	log_error("slot %s: %s failed: %s", slot->policy.name,
		  file == CG_CGROUP_KILL ? "the kill"
		  : value                ? "the freeze"
					 : "the thaw",
		  r < 0 ? strerror(-r) : "the kernel has no such file");
	if (file == CG_CGROUP_FREEZE && value == 0) { /* never leave it at that */
		slot->watch.mark.is_frozen = true;
		slot->watch.mark.thaw_ns = mono_now_ns() + STEP_LEAST_NS;
	}
}

static void act(struct step *s, const struct emergency_action *action)
{
	struct slot *slot = s->in.n_slots > 0 ? s->slots[action->slot] : NULL;

	switch (action->verb) {
	case EMERGENCY_NOTHING:
	case EMERGENCY_BEGIN:
	case EMERGENCY_END:
		return;
	case EMERGENCY_LEND_RESERVE:
	case EMERGENCY_RETURN_RESERVE:
		manager_write_group_max(s->manager, s->group);
		return;
	case EMERGENCY_UNPROTECT:
	case EMERGENCY_PROTECT:
		slot_write_low(slot);
		return;
	case EMERGENCY_RECLAIM:
		slot_tell(slot, MAX(slot_planned_low_bytes(slot), slot->guaranteed_bytes),
			  NOTICE_PRESSURE);
		begin_reclaim(s, slot, action->bytes);
		return;
	case EMERGENCY_FREEZE:
		write_slot(s, slot, CG_CGROUP_FREEZE, 1);
		return;
	case EMERGENCY_THAW:
		write_slot(s, slot, CG_CGROUP_FREEZE, 0);
		return;
	case EMERGENCY_KILL:
		write_slot(s, slot, CG_CGROUP_KILL, 1);
		return;
	}
}

static const struct announcement {
	const char *name, *message_id;
	enum log_level level;
	bool is_of_slot;
} announcements[] = {
	[EMERGENCY_BEGIN] = { "emergency", MESSAGE_EMERGENCY, LOG_LEVEL_WARNING, false },
	[EMERGENCY_LEND_RESERVE] = { "reserve-lent", MESSAGE_RESERVE_LENT, LOG_LEVEL_NOTICE,
				     false },
	[EMERGENCY_UNPROTECT] = { "unprotected", MESSAGE_SLOT_UNPROTECTED, LOG_LEVEL_NOTICE, true },
	[EMERGENCY_RECLAIM] = { "reclaimed", MESSAGE_SLOT_RECLAIMED, LOG_LEVEL_NOTICE, true },
	[EMERGENCY_FREEZE] = { "frozen", MESSAGE_SLOT_FROZEN, LOG_LEVEL_WARNING, true },
	[EMERGENCY_THAW] = { "thawed", MESSAGE_SLOT_THAWED, LOG_LEVEL_NOTICE, true },
	[EMERGENCY_KILL] = { "killed", MESSAGE_SLOT_KILLED, LOG_LEVEL_ERROR, true },
	[EMERGENCY_PROTECT] = { "protected", MESSAGE_SLOT_PROTECTED, LOG_LEVEL_NOTICE, true },
	[EMERGENCY_RETURN_RESERVE] = { "reserve-returned", MESSAGE_RESERVE_RETURNED,
				       LOG_LEVEL_NOTICE, false },
	[EMERGENCY_END] = { "emergency-over", MESSAGE_EMERGENCY_OVER, LOG_LEVEL_NOTICE, false },
};

static void announce(struct step *s, const struct emergency_action *action)
{
	const struct announcement *a = &announcements[action->verb];
	char words[EMERGENCY_WORDS_MAX];

	if (action->verb == EMERGENCY_NOTHING)
		return;
	/* chunk after chunk from one slot is one thing to tell */
	if (action->verb == EMERGENCY_RECLAIM &&
	    strcmp(s->group->watch.reclaimed_slot, s->slots[action->slot]->policy.name) == 0)
		return;
	emergency_words(&s->group->watch.emergency, &s->in, action, s->name,
			is_only_log(s->manager), words);
	events_add(s->manager->events, a->level, a->name, a->message_id,
		   a->is_of_slot ? s->slots[action->slot]->policy.name : NULL, "%s", words);
}

static void arm(struct group_watch *w, uint64_t wake_ns)
{
	w->is_close = wake_ns != 0; /* everything is read of each slot then */
	if (wake_ns == 0) {
		(void)sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
		return;
	}
	(void)sd_event_source_set_time(w->timer, wake_ns / NS_PER_USEC);
	(void)sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

static void rearm_sources(struct group_watch *w)
{
	for (size_t i = 0; i < ARRAY_LEN(w->stalls); i++)
		if (w->stalls[i])
			(void)sd_event_source_set_enabled(w->stalls[i], SD_EVENT_ON);
	if (w->events_source)
		(void)sd_event_source_set_enabled(w->events_source, SD_EVENT_ON);
}

static void group_step(struct node_group *group, uint64_t now_ns)
{
	struct group_watch *w = &group->watch;
	struct step s = { .manager = group->manager, .group = group };
	struct emergency_action action = { .verb = EMERGENCY_NOTHING };

	if (group->node == NODE_ANY)
		(void)snprintf(s.name, sizeof(s.name), "the slots without a node");
	else
		(void)snprintf(s.name, sizeof(s.name), "node %d", group->node);
	w->stepped_ns = now_ns;
	read_group(&s, now_ns);
	if (!group_is_guarded(group)) { /* kills by the kernel are told of, no more */
		rearm_sources(w);
		return;
	}
	if (read_slots(&s, now_ns) < 0)
		goto out; /* no memory: the timer or the tick tries again */
	note_reclaimed(&s);
	for (int i = 0; i < ACTIONS_MAX; i++) {
		action = emergency_step(&w->emergency, &s.in);
		s.in.has_hit_max = s.in.has_oom = s.in.has_kernel_kill = false;
		s.in.has_reclaim_ended = false;
		announce(&s, &action);
		act(&s, &action);
		if (action.verb == EMERGENCY_NOTHING)
			break;
		if (action.verb == EMERGENCY_END) /* another one is told of anew */
			w->reclaimed_slot[0] = '\0';
	}
	arm(w, action.verb == EMERGENCY_NOTHING ? action.wake_ns : now_ns + STEP_LEAST_NS);
	rearm_sources(w);
out:
	free(s.in.slots);
	free(s.slots);
}

/* ---- when */

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	group_step(userdata, mono_now_ns());
	return 0;
}

/* Rests the source until the next step, which is now unless there was one just now. */
static void step_soon(struct node_group *group, sd_event_source *source)
{
	uint64_t now_ns = mono_now_ns();

	(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
	if (now_ns - group->watch.stepped_ns >= STEP_LEAST_NS)
		group_step(group, now_ns);
}

static int on_stall(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct node_group *group = userdata;

	(void)fd;
	if (events & EPOLLERR) { /* the group is gone */
		(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
		return 0;
	}
	group->watch.n_stalls++;
	step_soon(group, source);
	return 0;
}

static int on_events(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct node_group *group = userdata;
	char text[256];

	(void)events; /* EPOLLERR always is among them */
	/* what poll compares with is what was last read from this descriptor */
	(void)!pread(fd, text, sizeof(text), 0);
	step_soon(group, source);
	group_look_early(group);
	return 0;
}

static void watch_stalls(struct node_group *group)
{
	static const struct {
		enum psi_kind kind;
		uint32_t permille;
	} triggers[] = { { PSI_SOME, 100 }, { PSI_FULL, 50 } };
	struct group_watch *w = &group->watch;

	for (size_t i = 0; i < ARRAY_LEN(triggers); i++) {
		uint64_t window_us;
		int fd, r;

		r = psi_open_trigger(group->cg, triggers[i].kind, triggers[i].permille,
				     STALL_WINDOW_US, &fd, &window_us);
		if (r != CGDIR_OK) {
			w->stall_error = MIN(r, 0);
			return;
		}
		r = sd_event_add_io(group->manager->event, &w->stalls[i], fd, EPOLLPRI, on_stall,
				    group);
		if (r < 0) {
			w->stall_error = r;
			(void)close(fd);
			return;
		}
		(void)sd_event_source_set_io_fd_own(w->stalls[i], 1);
		w->stall_window_ns = window_us * NS_PER_USEC;
	}
}

static void watch_events(struct node_group *group)
{
	struct group_watch *w = &group->watch;
	int fd;

	if (cgdir_open_file(group->cg, CG_MEMORY_EVENTS, &fd) != CGDIR_OK)
		return;
	if (sd_event_add_io(group->manager->event, &w->events_source, fd, EPOLLPRI, on_events,
			    group) < 0)
		(void)close(fd);
	else
		(void)sd_event_source_set_io_fd_own(w->events_source, 1);
}

void manager_check_triggers(const struct manager *manager, struct host_check *ret_check)
{
	uint64_t n_stalls = 0, window_ns = UINT64_MAX;
	int error = 0;

	*ret_check = (struct host_check){ .name = "pressure triggers", .status = HOST_OK };
	if (!group_is_guarded(&manager->groups[0])) {
		(void)snprintf(ret_check->detail, sizeof(ret_check->detail),
			       "not used: emergency=off");
		return;
	}
	for (size_t i = 0; i <= manager->n_nodes; i++) {
		const struct group_watch *w = &manager->groups[i].watch;

		n_stalls += w->n_stalls;
		window_ns = MIN(window_ns, w->stall_window_ns);
		error = MIN(error, w->stall_error);
	}
	if (window_ns > 0) {
		(void)snprintf(ret_check->detail, sizeof(ret_check->detail),
			       "tasks that stall are told of within %llu ms, %llu times so far",
			       (unsigned long long)(window_ns / NS_PER_MSEC),
			       (unsigned long long)n_stalls);
		return;
	}
	ret_check->status = HOST_DEGRADED;
	(void)snprintf(ret_check->detail, sizeof(ret_check->detail),
		       "none (%s): an emergency is seen once a second, not at once",
		       error < 0 ? strerror(-error) : "no pressure stall information");
	(void)snprintf(ret_check->remedy, sizeof(ret_check->remedy), "%s",
		       error < 0 ? "let taskmemd write memory.pressure below its scope; Linux 6.5 "
				   "and later need no capability for it"
				 : "boot with psi=1 and a kernel built with CONFIG_PSI");
}

void group_watch_open(struct node_group *group)
{
	struct group_watch *w = &group->watch;

	if (sd_event_add_time(group->manager->event, &w->timer, CLOCK_MONOTONIC, 0,
			      TIMER_ACCURACY_USEC, on_timer, group) < 0)
		return; /* out of memory at start: the daemon goes on without */
	(void)sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
	read_events(w, group->cg);
	watch_events(group);
	if (group_is_guarded(group))
		watch_stalls(group);
}

void group_watch_close(struct node_group *group)
{
	struct group_watch *w = &group->watch;

	if (w->op)
		writer_cancel(group->manager->writer, w->op);
	w->op = NULL;
	for (size_t i = 0; i < ARRAY_LEN(w->stalls); i++)
		w->stalls[i] = sd_event_source_disable_unref(w->stalls[i]);
	w->events_source = sd_event_source_disable_unref(w->events_source);
	w->timer = sd_event_source_disable_unref(w->timer);
}

void manager_watch_tick(struct manager *manager, uint64_t now_ns)
{
	for (size_t i = 0; i <= manager->n_nodes; i++)
		if (manager->groups[i].watch.timer)
			group_step(&manager->groups[i], now_ns);
}
