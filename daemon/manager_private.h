/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the manager's files share. Nobody else includes this. */

#include "base/list.h"
#include "kern/cgdir.h"
#include "kern/hugetlb.h"
#include "kern/tree.h"
#include "kern/writer.h"
#include "limit.h"
#include "manager.h"
#include "manager_move.h"
#include "manager_queue.h"
#include "policy/advice.h"
#include "policy/appetite.h"
#include "policy/control.h"
#include "policy/emergency.h"
#include "policy/entitle.h"
#include "policy/leak.h"
#include "policy/progress.h"
#include "policy/revoke.h"
#include "pool/grant.h"
#include "state.h"

struct hooks;
struct revocation;
struct saver;
struct slot_notices;
/* What is known of a slot for emergencies: see manager_watch.c. */
struct slot_watch {
	struct leak leak;
	struct emergency_mark mark;
	uint64_t sampled_ns, usage_bytes, swap_bytes;
	struct cgdir_stat stat; /* as of stat_ns, when usage and swap were these: */
	uint64_t stat_ns, stat_usage_bytes, stat_swap_bytes;
	uint32_t n_still; /* samples in a row without a change */
	uint64_t cpu_us, cpu_ns;
	bool has_cpu, is_idle;
	bool is_running;
	struct cgdir_events events;  /* last seen */
	uint32_t n_freezes, n_kills; /* done to it in emergencies, since it or the daemon began */
};

struct slot {
	struct manager *manager;
	struct slot_policy policy;
	struct slot_policy planned; /* the same with the min that holds now */
	uint64_t lease_bytes;       /* sum of its leases */
	uint64_t n_oom_kills;       /* of memory.events when last seen; UINT64_MAX: not yet */
	struct cgdir *cg;
	/* plan */
	uint64_t share_bytes, guaranteed_bytes;
	uint32_t pool_share_chunks, pool_guaranteed_chunks;
	/* what was last written, page-rounded; BYTES_UNLIMITED: not yet */
	uint64_t min_written, low_written, hugetlb_written, gigantic_written;
	struct limit limit;
	bool has_limit;
	struct progress share_progress;
	bool is_share_moving;
	struct list grants;
	uint32_t n_granted;            /* chunks held and being filled, all grants */
	uint32_t n_transparent;        /* of them, those that are transparent pages */
	struct removal *removal;       /* being killed and removed */
	struct revocation *revocation; /* pages are being taken by force; manager_revoke.c */
	uint64_t refrozen_ns;          /* the last try to freeze it was in vain: not before */
	unsigned frozen_by;            /* enum freeze_by, or-ed */
	struct slot_notices *notices;  /* manager_notice.h */
	struct control_slot control;
	struct control_slot shadow; /* what the law would do, where slots run dry */
	struct write_op *save_op;   /* memory.reclaim of mode `save` in flight */
	uint64_t dry_told_ns, dry_save_told_ns;
	uint64_t dry_saved_bytes; /* of mode `save` in a dry run, since that began */
	bool is_told_scan;
	struct advice advice;   /* on its node */
	struct slot_heat *heat; /* NULL until it is first measured */
	struct slot_watch watch;
};

/* The same of a group: manager_emergency.c. */
struct group_watch {
	struct emergency emergency;
	sd_event_source *timer, *stalls[2], *events_source;
	uint64_t stall_window_ns; /* of the pressure triggers; 0: there are none, … */
	int stall_error;          /* … because of this: -errno, or 0 where the kernel has no PSI */
	uint64_t n_stalls;        /* times that one told of pressure */
	struct cgdir_events events;
	struct cgdir_stall stall;
	uint64_t stall_ns, stepped_ns;
	uint32_t full_permille;
	bool has_events, has_stall, is_close;
	bool has_hit_max, has_oom, has_kernel_kill; /* since the last step */
	/* a reclaim in flight */
	struct write_op *op;
	char reclaimed_slot[SLOT_NAME_MAX + 1];
	uint64_t before_bytes;
	bool has_ended;
};

/* The inner group of a node, or of the slots without one. */
struct node_group {
	int node;
	struct cgdir *cg;
	struct limit limit;
	bool has_limit;
	uint64_t min_written, max_target;
	struct manager *manager;
	struct group_watch watch;
	struct control_group control, shadow;
	sd_event_source *early; /* a look out of turn; NULL: there never was one */
	uint64_t n_early;
	/* of slots that changed their node: charged here but elsewhere, and the other way round */
	uint64_t away_bytes, guest_bytes;
};

struct manager {
	const struct config *config;
	sd_event *event;
	struct manager_hooks hooks;
	struct events *events;
	struct tree *tree;
	struct writer *writer;
	sd_event_source *tick, *control_tick, *load_tick;
	bool has_new_needs; /* of pages, since they were divided by them */
	gid_t admin_group;
	int state_fd;        /* the state directory */
	struct state *state; /* changed by .saver alone, once that is there */
	struct saver *saver;
	struct node_info nodes[NODES_MAX];
	struct entitle_node node_plans[NODES_MAX];
	struct entitle_any any_plan;
	size_t n_nodes;
	struct node_group groups[NODES_MAX + 1]; /* as nodes, then the one without */
	struct slot **slots;                     /* sorted by name */
	size_t n_slots;
	struct list leftovers; /* what slots that moved left behind */
	struct list joins;     /* processes that wait until pages are moved */
	/* whose limits are read back in the next tick */
	size_t next_verified, next_verified_group;
	struct heat *heat;
	uint64_t protected_bytes;
	uint32_t last_grant_id;
	sd_event_source *revoke_timer;
	struct hooks *hook_runner; /* NULL: there is no systemd to run on-resize= */
	uint32_t n_hook_runs;
	struct admission admission;
};

/* ---- manager.c */
struct slot *manager_find_slot(const struct manager *manager, const char *name);
struct node_group *manager_group(struct manager *manager, int node);

/* ---- manager_plan.c */
/* Recomputes who gets what and writes what changed. @is_change: by a request, show progress */
void manager_replan(struct manager *manager, bool is_change);
/* Divides the huge pages alone, by what their tasks are shown to need. */
void manager_replan_pools(struct manager *manager);
/* Writes the group's memory.max, if it is not what it should be now. */
void manager_write_group_max(struct manager *manager, struct node_group *group);
/* What the tree is guaranteed against the rest of the host, if it is not what it should be now. */
void manager_protect(struct manager *manager);

/**
 * slot_set_apart() - what of its memory is pages of its pool
 * @n_more: chunks beyond its n_transparent, about to be filled
 *
 * Transparent pages are charged as memory, and are none of the slot's all the same: they come from
 * what the node set aside for pools. So they are on top of every limit, of the slot, of its group
 * and of the tree, and in no reading (cgdir_set_apart()).
 */
void slot_set_apart(struct slot *slot, uint32_t n_more);
/* The same for what an earlier daemon has handed out: the kernel's files are right already. */
void manager_adopt_apart(struct manager *manager);

/* Writes memory.low as slot_low_bytes() says, if it differs from what was last written. */
void slot_write_low(struct slot *slot);

/* ---- manager_save.c */
/* After restoring: writes what was found, then watches over it. Waits for the disk. */
MUST_USE int manager_open_saver(struct manager *manager);
/* Puts the policy into the state, which goes to the disk when this turn of the loop is over. */
MUST_USE enum fault_kind manager_record(struct manager *manager, const struct slot_policy *policy,
					struct fault *ret_fault);
/* Ends a request about the slot of that name: if all went well, when it is on disk. */
void manager_answer(struct manager *manager, const char *name, enum fault_kind kind,
		    const struct fault *fault, done_fn done, void *userdata);

/* ---- manager_control.c */
bool manager_is_controlling(const struct manager *manager);
/* Nothing where control is off. Return: 0 or -errno. */
MUST_USE int manager_start_control(struct manager *manager);
/* The group's memory has just run out: it is looked at before its time if control_early_ns() says so. */
void group_look_early(struct node_group *group);
/* Tells the law of a new policy or share. */
void slot_plan_control(struct slot *slot);
/* What its memory.low should be now; and without an emergency. */
uint64_t slot_planned_low_bytes(const struct slot *slot);
uint64_t slot_low_bytes(const struct slot *slot);
void slot_view_control(const struct slot *slot, struct slot_view *view);
/* Its mode or the configuration says that the law is only to tell what it would do to it. */
bool slot_is_dry(const struct slot *slot);
/* What is shown of the law: of a dry run what it would do. NULL: control is off. */
const struct control_slot *slot_shown_control(const struct slot *slot,
					      const struct control_group **ret_group);

/* ---- manager_slots.c */
/* From now on the slot is @cg, which it takes over, and nothing is known of it: the next plan
 * writes all. Return: 0 or -errno; then its max is not brought to a new value. */
MUST_USE int slot_enter_cgroup(struct slot *slot, struct cgdir *cg);
/* Ends what is under way for the slot's cgroup, which stays open and as it is. */
void slot_leave_cgroup(struct slot *slot);
/* Makes the object and its cgroup (or opens it) and inserts it; on failure nothing is left. */
MUST_USE int slot_open(struct manager *manager, const struct slot_policy *policy,
		       struct slot **ret_slot);
/* Forgets the object; the cgroup stays. */
void slot_close(struct slot *slot);
/* xattr on its directory, from which a lost state file is rebuilt */
void slot_note_policy(struct slot *slot);

/* ---- manager_remove.c */
/* Removes an empty slot, its cgroup first. CGDIR_OK, CGDIR_BUSY and so on, or -errno; then it
 * stays. */
MUST_USE int slot_destroy(struct slot *slot);
/* Nothing for NULL. Who waits for the removal is not answered. */
void removal_free(struct removal *removal);

/* ---- manager_pages.c */
bool manager_may_fall_back(const struct manager *manager);
/* Chunks of the @i-th node that the kernel could give now, whomever they are promised. */
uint64_t manager_chunks_free(const struct manager *manager, size_t i, enum page_kind kind);
/* The kernel's huge pages on the @i-th node, whoever has them; 0 where none can be charged. */
uint64_t manager_chunks_reserved(const struct manager *manager, size_t i);
/* What a task gets that attaches now and needs so many chunks. */
enum page_kind slot_choose_pages(const struct slot *slot, uint32_t n_needed);
/* For `tmctl doctor`. */
void manager_check_pages(const struct manager *manager, struct host_check *ret_check);
/* What its pool is made of, and each node's chunks, for listings. */
void slot_view_pages(const struct slot *slot, struct slot_view *view);
void manager_view_pages(const struct manager *manager, size_t i, struct node_view *view);

/* ---- manager_gigantic.c */
/* Pages of 1 GiB of the node that nobody has; 0 where they cannot be charged. */
uint64_t manager_gigantic_free(const struct manager *manager, int node);
/* Chunks that a slot whose pool is of them may have more now: whole pages. */
uint32_t slot_gigantic_available(const struct slot *slot);
/* As slot_divide_pool(), for such a slot with tasks. */
void slot_divide_gigantic(struct slot *slot);
/* Before its first task attaches: of which pages the pool is. */
void slot_settle_pages(struct slot *slot);
/* Can the slot be made @policy while its tasks hold what they hold? */
MUST_USE enum fault_kind slot_check_gigantic(const struct slot *slot,
					     const struct slot_policy *policy,
					     struct fault *ret_fault);
/* The @i-th node's pages of 1 GiB, for listings. */
void manager_view_gigantic(const struct manager *manager, size_t i, struct node_view *view);

/* ---- manager_pools.c */
/* Tells the task, if it changed. */
void grant_set_target(struct grant *grant, uint32_t target);
/* Chunks of the @i-th node that nobody but the slot holds or is promised. */
uint64_t slot_chunks_free_on(const struct slot *slot, size_t i, enum page_kind kind);
/* What it may be given now beyond what it has: of its share, and there. */
uint32_t slot_chunks_available(const struct slot *slot, enum page_kind kind);
/* All that it could ever hold: a grant's file has so many. */
uint64_t slot_file_chunks(const struct slot *slot);
/* Why it cannot have them, in words. Returns FAULT_NO_HUGEPAGES. */
enum fault_kind slot_lacks_pages(const struct slot *slot, uint32_t wanted, uint32_t available,
				 struct fault *fault);
/* Divides the slot's chunks among its grants, tells those whose target changed, writes
 * hugetlb.2MB.max and 1GB.max. */
void slot_divide_pool(struct slot *slot);
void slot_count_granted(struct slot *slot);
/* What the slot has on the @i-th node, and is guaranteed there; in chunks, without gigantic pages. */
void slot_count_on_node(const struct slot *slot, size_t i, uint64_t *ret_held,
			uint64_t *ret_guaranteed);
/* Writes hugetlb.2MB.max, or 1GB.max, so that it may hold @n_more chunks beyond what it has. */
void slot_write_hugetlb(struct slot *slot, uint32_t n_more);

/* ---- manager_grants.c */
/* Takes @grant into the slot and watches its process. Return: 0 or -errno. */
MUST_USE int slot_take_grant(struct slot *slot, struct grant *grant);
void slot_release_grants(struct slot *slot);
/* Tasks that attached and wait for pages of others may go on. */
void manager_serve_waiting(struct manager *manager);

/* ---- manager_revoke.c */
MUST_USE int manager_open_revoke(struct manager *manager);
void manager_close_revoke(struct manager *manager);
/* What is owed has changed, or may have: looks at it in this turn of the loop. */
void manager_kick_revoke(struct manager *manager);
/* Once a second: what the kernel has not given back yet. */
void manager_tick_revoke(struct manager *manager);
/* Ends what is under way; the slot runs on. */
void revocation_close(struct slot *slot);
enum slot_revoke slot_revoke_policy(const struct slot *slot);
uint64_t slot_revoke_grace_ns(const struct slot *slot);
bool slot_has_revoked(const struct slot *slot);
void slot_view_owed(const struct slot *slot, struct slot_view *view);

/* ---- manager_load.c */
struct load;
/* NULL is fine. */
void load_free(struct load *load);
/* Begins to look at loads. Return: 0 or -errno. */
MUST_USE int manager_start_load(struct manager *manager);
/* What it is shown to need; UINT64_MAX: not known, all it may have. */
uint64_t grant_need_chunks(const struct grant *grant);
uint64_t slot_pool_need_chunks(const struct slot *slot);
/* Pages may be there for who was refused some. */
void manager_offer_pages(struct manager *manager);

/* ---- manager_notice.c */
/* Return: 0 or -ENOMEM. */
MUST_USE int notices_open(struct slot *slot);
/* Its watchers are told that it is gone. Also for a slot without. */
void notices_close(struct slot *slot);
/**
 * slot_tell() - what the slot's memory should come to changed, or may have
 * @target_bytes: the share, or what the controller protects now
 * @why:          NOTICE_SHARE or NOTICE_PRESSURE; a smaller policy.max_bytes is seen by itself
 *
 * Cheap enough for each turn of a controller: without an audience nothing is read, with one
 * memory.current.
 */
void slot_tell(struct slot *slot, uint64_t target_bytes, enum notice_why why);
/* Begins to bring memory.max to @max_bytes; tasks that watch are given a grace before reclaim, so
 * policy.max_bytes must be the new one and slot_tell() be called next. */
void slot_set_max(struct slot *slot, uint64_t max_bytes, uint64_t now_ns);
void notices_view(const struct slot *slot, struct slot_view *view);

/* ---- manager_hook.c */
/* The command is another one: it is run soon, whatever was told before. */
void hook_reset(struct slot *slot);
/* Can the on-resize= of @policy be run on this host? */
MUST_USE enum fault_kind manager_check_hook(const struct manager *manager,
					    const struct slot_policy *policy,
					    struct fault *ret_fault);
/* ---- manager_watch.c */
void slot_watch_open(struct slot *slot);
/* Thaws; the slot may be gone. */
void slot_watch_close(struct slot *slot);
/* One sample, if it is due; @is_close: all that an emergency is decided by. The one place where
 * emergencies read a slot. */
void slot_watch_sample(struct slot *slot, uint64_t now_ns, bool is_held_back, bool is_close);
/* As the ladder wants it, of the last sample. */
void slot_watch_describe(struct slot *slot, uint64_t swap_free_bytes, struct emergency_slot *ret);
/* Tells of processes that the kernel has killed in the slot. @has_group_oom: the group's own limit
 * was the reason, if the slot's was not. */
void slot_watch_kills(struct slot *slot, const char *group, bool has_group_oom);

/* ---- manager_freeze.c */
enum freeze_by {
	FREEZE_EMERGENCY = 1,
	FREEZE_REVOCATION = 2,
	FREEZE_FOUND = 4,     /* by an earlier daemon */
	FREEZE_ELSEWHERE = 8, /* by somebody else, before us: it stays so */
};

/* Both return at once, the slot is frozen a little later: cgroup.events. As cgdir_write_u64(). */
MUST_USE int slot_freeze(struct slot *slot, enum freeze_by by);
/* It runs on unless somebody else wants it frozen, or this fails. */
MUST_USE int slot_thaw(struct slot *slot, enum freeze_by by);
/* When its cgroup is opened: has an earlier daemon left it frozen? */
void slot_find_frozen(struct slot *slot);
/* Thaws one that was found so. */
void slot_thaw_found(struct slot *slot);

/* ---- manager_emergency.c */
/* After the group's cgroup was opened, and before it is closed. */
void group_watch_open(struct node_group *group);
void group_watch_close(struct node_group *group);
/* The triggers of all groups, for `tmctl doctor`. */
void manager_check_triggers(const struct manager *manager, struct host_check *ret_check);
/* Once a second. */
void manager_watch_tick(struct manager *manager, uint64_t now_ns);
/* What memory.max of the group is raised by now. */
uint64_t group_lent_bytes(const struct node_group *group);
/* For listings: "frozen", "unprotected" or NULL. */
const char *slot_emergency(const struct slot *slot);
/* Is the slot's memory.low to be 0 for now? */
bool slot_is_unprotected(const struct slot *slot);

/* ---- manager_restore.c */
MUST_USE int manager_restore(struct manager *manager, char error[static MANAGER_ERROR_MAX]);

/* ---- manager_heat.c */
/* Begins to measure working sets in the background, if the configuration wants it. */
MUST_USE int heat_new(struct manager *manager, struct heat **ret_heat);
/* After the slots. NULL is fine. */
void heat_close(struct heat *heat);
/* Ends what is under way for the slot and forgets what was measured. */
void heat_forget(struct slot *slot);
/* The last measurement into @view, if there is one. */
void heat_view(const struct slot *slot, struct slot_view *view);
