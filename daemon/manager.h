/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The one owner of everything that lives long: nodes, cgroup tree, slots, grants, state file.
 * All functions run on the event loop's thread; none waits for the kernel to reclaim memory, nor
 * for a disk. Requests return 0 or the kind of fault they filled in; one that changes a slot is
 * done when the change is on disk, and is taken back when it cannot be put there.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <systemd/sd-event.h>

#include "base/attr.h"
#include "config.h"
#include "events.h"
#include "fault.h"
#include "model.h"
#include "pool/report.h"
#include "view.h"

struct grant;
struct manager;

#define MANAGER_ERROR_MAX 4608 /* a path and a sentence */

/* What the interface wants to hear. All are called from the loop. */
struct manager_hooks {
	void (*event)(const struct event *event, void *userdata);
	/* @subscriber as given to manager_attach(): the grant's target has changed */
	void (*target_changed)(struct grant *grant, void *subscriber, void *userdata);
	/* the same and, for once: these chunks were taken by force */
	void (*revoked)(struct grant *grant, const uint32_t *chunks, size_t n, void *subscriber,
			void *userdata);
	/* the grant is freed after this call */
	void (*grant_gone)(struct grant *grant, void *subscriber, void *userdata);
	/* @subscriber as given to manager_watch() */
	void (*notice)(const struct memory_notice *notice, void *subscriber, void *userdata);
	/* the slot that @subscriber watched is gone */
	void (*watch_gone)(const char *slot_name, void *subscriber, void *userdata);
	/* the place or the reason of a request that waits has changed; also at its beginning */
	void (*waiting)(const struct wait_view *view, void *subscriber, void *userdata);
	/* the raised guarantee of manager_request_memory() has ended without its asking */
	void (*lease_gone)(void *subscriber, void *userdata);
	void *userdata;
};

/**
 * manager_new() - find what there is and take it over
 * @config: borrowed until manager_free()
 * @error:  a sentence on failure
 *
 * Reads the nodes, reserves huge pages, opens the cgroup tree, adopts slots from the state
 * file and the kernel, grants from the fd store, and writes every limit once. May block for
 * a second or two. Return: 0 or -errno (-EOPNOTSUPP: the host lacks something).
 */
MUST_USE int manager_new(const struct config *config, sd_event *event,
			 const struct manager_hooks *hooks, struct manager **ret_manager,
			 char error[static MANAGER_ERROR_MAX]);
/* Lets go; slots, tasks, pages and limits stay as they are. NULL is fine. */
void manager_free(struct manager *manager);

bool manager_is_enforcing(const struct manager *manager);
const char *manager_tree_path(const struct manager *manager);
struct events *manager_events(struct manager *manager);
/* Who is at the other end of @socket_fd; @ret_pidfd is the caller's. As peer_read(). */
MUST_USE int manager_identify(const struct manager *manager, int socket_fd, struct peer *ret_peer,
			      int *ret_pidfd);
/* What this host offers. @ret_n <= HOST_CHECKS_MAX. */
void manager_diagnose(const struct manager *manager,
		      struct host_check checks[static HOST_CHECKS_MAX], size_t *ret_n);
/* One line for systemctl status. Returns @buf. */
const char *manager_status(const struct manager *manager, char *buf, size_t size);

/* The policy of a slot, borrowed until the next request; NULL if there is none. */
const struct slot_policy *manager_find_policy(const struct manager *manager, const char *name);

/* Starting point of a new slot: all defaults; @policy->name is empty, node NODE_ANY. */
void slot_policy_default(struct slot_policy *policy);

struct add_request {
	struct slot_policy
		policy;     /* .grant_bytes is ignored; .need_bytes unless is_need_given, too */
	bool choose_node;   /* .policy.node is ignored */
	bool is_need_given; /* else what the history of the name predicts is tried */
	uint64_t min_grant_bytes; /* be content with so much; BYTES_UNLIMITED: not given */
	bool may_wait;
	uint64_t wait_ns;   /* UINT64_MAX: without end */
	uint64_t waited_ns; /* already, on a connection that was lost */
	void *subscriber;   /* not NULL if may_wait */
};
/**
 * manager_add() - make a slot, wait for room if need be
 *
 * The same slot again is no fault, nor is one that was made by a request of the same id. A waiting
 * request of the same id is replaced by this one, which keeps its place. A predicted need never
 * refuses by itself: without min_grant_bytes what is left is granted, but if the request may wait
 * it waits for all of it.
 */
void manager_add(struct manager *manager, const struct add_request *request, done_fn done,
		 void *userdata);
/* Replaces the policy of the slot of that name; node must be the same. */
void manager_set(struct manager *manager, const struct slot_policy *policy, done_fn done,
		 void *userdata);

/* @kill: end its processes first (waits up to 10 s for them, without blocking). */
void manager_remove(struct manager *manager, const char *name, bool kill, done_fn done,
		    void *userdata);

/* Puts the process into the slot; an empty one may be given another node first. Waits while the
 * kernel moves pages of a slot to another node. @pidfd is duplicated. */
void manager_join(struct manager *manager, const char *name, pid_t pid, int pidfd, done_fn done,
		  void *userdata);

struct move_request {
	const char *name;
	int node;         /* NODE_ANY: on all; whatever else is no node is refused */
	bool choose_node; /* .node is ignored; it may be chosen again when the slot is empty */
};
/**
 * manager_move() - put a slot, with its tasks and their pages, on another node
 *
 * Refused like a new slot that does not fit there, and while tasks hold huge pages of its pool.
 * @done is called when no process is left on the old node, or after 45 s: then the rest follows.
 */
void manager_move(struct manager *manager, const struct move_request *request, done_fn done,
		  void *userdata);

/* @view: the moment's numbers. FAULT_NO_SUCH_SLOT if there is none. */
MUST_USE enum fault_kind manager_view_slot(struct manager *manager, const char *name,
					   struct slot_view *ret_view, struct fault *ret_fault);
/* ---- what waits, and raised guarantees */

struct lease_request {
	const char *slot_name;
	pid_t pid;
	int pidfd; /* borrowed */
	uint64_t bytes;
	bool is_admin;
	uint64_t wait_ns; /* 0: not at all; UINT64_MAX: without end */
	void *subscriber; /* not NULL */
};
/* What the slot is guaranteed beyond its min, held until manager_unsubscribe(), the end of the
 * process or of the slot. The sum is capped by max, and for who is no administrator by the need
 * that an administrator gave. */
void manager_request_memory(struct manager *manager, const struct lease_request *request,
			    done_fn done, void *userdata);

/* What was counted of slot @i < manager_slot_count(), in order of names. Reads no file while the
 * controller runs, which has just read them (at most four seconds ago, of an idle slot). */
void manager_view_nth_counters(struct manager *manager, size_t i, struct counters_view *ret_view);

size_t manager_count_waiting(const struct manager *manager);
/* In the order in which they stand. Valid until the next request. */
void manager_view_nth_waiting(struct manager *manager, size_t i, struct wait_view *ret_view);

/* Why it is protected as it is. FAULT_NO_SUCH_SLOT if there is none. */
MUST_USE enum fault_kind manager_explain(struct manager *manager, const char *name,
					 struct explain_view *ret_view, struct fault *ret_fault);
/* In order of names. */
size_t manager_slot_count(const struct manager *manager);
/* Borrowed until the next request. */
const char *manager_nth_slot_name(const struct manager *manager, size_t i);
/* The first whose name is behind @name, which need not be there; manager_slot_count(): none. */
size_t manager_find_after(const struct manager *manager, const char *name);
void manager_view_nth_slot(struct manager *manager, size_t i, struct slot_view *ret_view);
/* Nodes, then the group without a node. */
size_t manager_node_count(const struct manager *manager);
void manager_view_nth_node(struct manager *manager, size_t i, struct node_view *ret_view);

/* ---- working sets */

#define MEASURE_WINDOW_MS_MIN 1000
#define MEASURE_WINDOW_MS_MAX 45000
#define MEASURE_WINDOW_MS_DEFAULT 5000

/* @kind FAULT_NONE: manager_view_slot() has the result. Called once, from the loop. */
typedef void (*measured_fn)(enum fault_kind kind, const struct fault *fault, void *userdata);

/**
 * manager_measure() - watch which memory of a slot is touched
 * @source:    HEAT_NONE: the best there is, and only refaults and stall where there is none
 * @window_ms: MEASURE_WINDOW_MS_MIN .. _MAX
 *
 * One measurement a slot at a time: who asks meanwhile gets the result of that one. @done may be
 * called before this returns when it cannot be.
 */
void manager_measure(struct manager *manager, const char *name, enum heat_source source,
		     uint64_t window_ms, measured_fn done, void *userdata);

/* ---- pools */

/* @grant is NULL on a fault. @chunks: the newly present indexes. */
typedef void (*granted_fn)(struct grant *grant, enum fault_kind kind, const struct fault *fault,
			   const uint32_t *chunks, size_t n, void *userdata);

struct attach_request {
	const char *slot_name;
	pid_t pid;
	int pidfd;              /* borrowed */
	uint32_t min_chunks;    /* 1.. */
	uint32_t wanted_chunks; /* UINT32_MAX: all the share */
	uint64_t token;         /* of the request, the same when it is made again; 0: none */
	void *subscriber;       /* not NULL; handed to target_changed() */
};
/* @done is called once, from the loop, perhaps before this returns. */
void manager_attach(struct manager *manager, const struct attach_request *request, granted_fn done,
		    void *userdata);
/* Takes a grant up again for the process that holds it. NULL and a fault when there is none. */
struct grant *manager_resume(struct manager *manager, uint32_t grant_id, pid_t pid,
			     void *subscriber, struct fault *ret_fault);
/* The grant of that id if @pid holds it, else NULL. Who names it knows it. */
struct grant *manager_find_grant(struct manager *manager, uint32_t grant_id, pid_t pid);
void manager_grow(struct manager *manager, struct grant *grant, uint32_t n, granted_fn done,
		  void *userdata);
MUST_USE enum fault_kind manager_return(struct manager *manager, struct grant *grant,
					const uint32_t *chunks, size_t n, uint64_t revocation,
					struct fault *ret_fault);
void manager_detach(struct manager *manager, struct grant *grant);
/* Its task receives with these: shown in listings. */
void manager_note_engines(struct grant *grant, bool has_uring, bool has_epoll);
/* The client's connection is gone: what it waits for is given up, a raised guarantee ends, pages
 * stay until the process ends. @is_cut: by the client, or
 * with it: a grant without a token that it never named may be one it never heard of, and is freed. */
void manager_unsubscribe(struct manager *manager, void *subscriber, bool is_cut);

/* ---- notices */

/* @is_task: the process @pid runs in the slot, so its answer is waited for. @subscriber hears the
 * notices until manager_unwatch() or hooks.watch_gone. */
MUST_USE enum fault_kind manager_watch(struct manager *manager, const char *name, pid_t pid,
				       bool is_task, void *subscriber, struct fault *ret_fault);
/* The numbers of now, as a notice of why NOTICE_START. */
MUST_USE enum fault_kind manager_view_notice(struct manager *manager, const char *name,
					     struct memory_notice *ret, struct fault *ret_fault);
/* Its connection is gone. Nothing happens for one that watches nothing. */
void manager_unwatch(struct manager *manager, const void *subscriber);
/* A task's answer: it freed @bytes upon the notice of that number. */
MUST_USE enum fault_kind manager_report_freed(struct manager *manager, const char *name, pid_t pid,
					      uint64_t bytes, uint64_t sequence,
					      struct fault *ret_fault);

/* What a client is told of its grant. */
struct grant_view {
	uint32_t id, n_file_chunks, n_held, target, n_revoked;
	uint64_t revocation;  /* number of the last one; 0: none */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC, for what is held beyond the target; 0: none */
	int file_fd;          /* borrowed */
	int node;
	const char *slot_name;
};
void manager_view_grant(const struct grant *grant, struct grant_view *ret_view);

/* A process that holds chunks of a slot, and its pools as it reports them. */
struct task_view {
	pid_t pid;
	uint32_t grant, held_chunks, target_chunks;
	enum page_kind pages;
	uint32_t huge_chunks;  /* held ones that were pages of 2 MiB when they were put in */
	uint64_t need_chunks;  /* as its load shows; UINT64_MAX: all it may have */
	bool has_report;       /* false: nothing is known of its pools */
	uint32_t n_unreported; /* pools beyond those it can report */
	size_t n_pools;
	struct pool_view pools[POOL_REPORTS];
};
size_t manager_count_tasks(const struct manager *manager, const char *name);
/* @i < manager_count_tasks() of an existing slot. */
void manager_view_nth_task(const struct manager *manager, const char *name, size_t i,
			   struct task_view *ret_view);
/* Where its pools can be read from now on. @fd is taken over in any case. */
MUST_USE enum fault_kind manager_report_pools(struct grant *grant, int fd, struct fault *ret_fault);
/* Held chunk indexes into @chunks (room for n_held). Returns their number. */
size_t manager_list_chunks(const struct grant *grant, uint32_t *chunks);
/* The same of those that were taken by force (n_revoked). */
size_t manager_list_revoked(const struct grant *grant, uint32_t *chunks);
/* What the task has set aside and @pool keeps; see grant_note_draining(). */
MUST_USE enum fault_kind manager_note_draining(struct manager *manager, struct grant *grant,
					       const uint32_t *chunks, size_t n, const char *pool,
					       struct fault *ret_fault);
