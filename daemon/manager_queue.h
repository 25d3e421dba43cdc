/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Admission as the manager does it: who waits, leases, histories. For the manager's files. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/list.h"
#include "fault.h"
#include "manager.h"
#include "policy/history.h"
#include "policy/queue.h"

struct manager;
struct slot;

/* A raise of a slot's guarantee that ends with a connection or a process. */
struct lease {
	struct list in_manager;
	struct slot *slot;
	uint64_t bytes;
	pid_t pid;
	bool is_admin; /* who asked */
	sd_event_source *process;
	void *subscriber;
};

/* A request that waits. */
struct waiter {
	struct queue_entry entry;
	struct manager *manager;
	bool is_lease;
	struct add_request add; /* if not */
	struct lease *lease;    /* if so; not in force yet */
	sd_event_source *timer; /* NULL: no deadline */
	done_fn done;
	void *userdata, *subscriber;
	struct fault refusal; /* why it waits */
	size_t told_position; /* 0: nothing was told yet */
	char told_reason[sizeof(((struct fault *)NULL)->message)];
};

/* What the manager holds of all this. Zero-initialised. */
struct admission {
	struct queue_entry **queue; /* of struct waiter, in order */
	size_t n_waiting;
	size_t n_due; /* of them, when last looked at */
	uint64_t last_sequence;
	sd_event_source *turn; /* deferred: somebody may fit now */
	size_t pass;           /* of queue_next(): how far these turns have come */
	bool is_changed;       /* something did since the pass began, so it is not the last */
	size_t next_told;      /* of queue_tell() */
	struct list leases;
	struct history *history;   /* NULL: not loaded */
	struct history_save *save; /* under way; NULL: none */
	uint64_t save_at_ns;       /* next time the history is written; UINT64_MAX: nothing new */
	size_t next_sampled;
};

/* ---- manager_queue.c */
/* Requests of @slot's tasks that wait. */
size_t admission_count_leases(const struct manager *manager, const struct slot *slot);
MUST_USE int admission_open(struct manager *manager, char error[static MANAGER_ERROR_MAX]);
void admission_close(struct manager *manager);
/* Something changed that may let somebody in. Returns at once. */
void admission_kick(struct manager *manager);
/* Once a second: a turn that is over opens its nodes to the others. */
void admission_tick(struct manager *manager, uint64_t now_ns);
/* Ends what the connection waits for and holds. */
void admission_unsubscribe(struct manager *manager, const void *subscriber);
/* The slot goes: its leases end, and who waits for one. */
void admission_forget_slot(struct manager *manager, struct slot *slot);
/* Waits in the queue unless @refusal cannot pass by waiting; takes @waiter over in any case. */
void admission_wait(struct waiter *waiter, const struct fault *refusal, uint64_t wait_ns);
uint64_t admission_closed_nodes(const struct manager *manager, const struct queue_entry *entry);
void admission_note_served(struct manager *manager, const struct queue_entry *entry,
			   uint64_t taken_nodes);
struct waiter *admission_find(const struct manager *manager, const char *request_id);
void waiter_finish(struct waiter *waiter, enum fault_kind kind, const struct fault *fault);
struct queue_entry admission_entry(struct manager *manager, const struct slot_policy *policy,
				   bool choose_node, uint64_t waited_ns);

/* ---- manager_slots.c */
/* Policies as they count for admission, leases included; NULL without memory. */
struct slot_policy *manager_copy_policies(const struct manager *manager);
/* Does the request fit? Fills @ret_policy, or @ret_fault. */
MUST_USE enum fault_kind manager_try_add(struct manager *manager, const struct add_request *request,
					 const struct slot_policy *others, size_t n_others,
					 uint64_t closed_nodes, struct slot_policy *ret_policy,
					 struct fault *ret_fault);
MUST_USE enum fault_kind manager_make_slot(struct manager *manager,
					   const struct slot_policy *policy,
					   struct fault *ret_fault);
enum fault_kind fault_from_refusal(struct fault *fault, int cond, const struct refusal *refusal);

/* ---- manager_lease.c */
/* @others: as for manager_try_add(), the slot's own policy among them. */
MUST_USE enum fault_kind lease_try(const struct lease *lease, const struct slot_policy *others,
				   size_t n_others, uint64_t closed_nodes, struct fault *ret_fault);
/* Puts it in force; the plan is made anew. */
void lease_begin(struct lease *lease);
/* Also one that is not in force. NULL is fine. */
void lease_free(struct lease *lease);
/* The guarantee of a slot with its leases, capped by max. */
uint64_t slot_min_bytes(const struct slot *slot);

/* ---- manager_history.c */
MUST_USE int histories_open(struct manager *manager, char error[static MANAGER_ERROR_MAX]);
/* Stores what is known, and waits for that. */
void histories_close(struct manager *manager);
/* Once a second. */
void histories_tick(struct manager *manager, uint64_t now_ns);
void histories_slot_removed(struct manager *manager, const char *name);
struct history_prediction histories_predict(const struct manager *manager, const char *name);
