/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A call of a method, and what methods share: reading the parameters, who calls, what the call is
 * about and whether the caller may do that, and the usual replies.
 *
 * A method begins with the checks it needs, one after the other while they return 1. None of them
 * has to be repeated: what names a slot or a grant has looked who calls.
 */

#include <systemd/sd-varlink.h>

#include "api/rights.h"
#include "base/attr.h"
#include "manager.h"

struct listings;

struct call {
	sd_varlink *link;
	struct manager *manager;
	struct listings *listings;
	sd_json_variant *parameters;
	sd_varlink_method_flags_t flags;
	/* set by the checks */
	struct peer peer;               /* who calls */
	int pidfd;                      /* the caller's, closed after the method; -1 before */
	const struct slot_policy *slot; /* what it is about; borrowed until the next request */
	struct grant *grant;
};

/* ---- checks. Return: 1; or, with an error replied, what the method returns (<= 0). */

/* The parameters by @table, whose offsets are into @ret. */
MUST_USE int call_read(const struct call *call, const sd_json_dispatch_field *table, void *ret);
/* The caller takes more than one reply. */
MUST_USE int call_expect_more(const struct call *call);
/* It is an administrator who calls. */
MUST_USE int call_find_admin(struct call *call);
/* The slot called @name, on which the caller has @right. */
MUST_USE int call_find_slot(struct call *call, const char *name, enum right right);
/* The slot that the caller runs in, which it may attach to. */
MUST_USE int call_find_own_slot(struct call *call);
/* The grant of that number, if it is the caller's. */
MUST_USE int call_find_grant(struct call *call, uint32_t id);

/* As far as it goes; UINT64_MAX, without end, stays. */
uint64_t call_usec_to_ns(uint64_t usec);

/* ---- replies. Return: what the method returns. */

/* The error that @fault stands for. */
int call_fault(sd_varlink *link, const struct fault *fault);
int call_no_such_slot(sd_varlink *link, const char *name);
int call_not_permitted(sd_varlink *link);
/* {@name: @value}, and drops the reference to @value; @r < 0: an internal error. */
int call_reply_value(sd_varlink *link, int r, const char *name, sd_json_variant *value);
/* {"slot": …}: the slot with the numbers of now. */
int call_reply_slot(sd_varlink *link, struct manager *manager, const char *name);

/* ---- a reply that comes after the method has returned */

struct answer {
	sd_varlink *link; /* a reference */
	struct manager *manager;
	uint64_t bytes; /* of RequestMemory */
	char slot_name[SLOT_NAME_MAX + 1];
};

/* NULL: no memory. */
MUST_USE struct answer *answer_new(const struct call *call, const char *slot_name);
void answer_free(struct answer *answer);
/* A done_fn and a measured_fn: replies with the slot or the fault, and frees the answer. */
void answer_with_slot(enum fault_kind kind, const struct fault *fault, void *userdata);

/* ---- methods */

int api_add_slot(struct call *call);
int api_set_slot(struct call *call);
int api_remove_slot(struct call *call);
int api_list_slots(struct call *call);
int api_explain(struct call *call);

int api_join_slot(struct call *call);
int api_move_slot(struct call *call);
int api_measure_slot(struct call *call);
int api_list_counters(struct call *call);

int api_list_queue(struct call *call);
int api_request_memory(struct call *call);

int api_watch_slot(struct call *call);
int api_report_freed(struct call *call);

int api_attach(struct call *call);
int api_grow(struct call *call);
int api_return(struct call *call);
int api_drain(struct call *call);
int api_detach(struct call *call);
int api_report_engine(struct call *call);
int api_report_pools(struct call *call);
int api_list_pools(struct call *call);

/* ---- what the manager tells a link that waits for more; see struct manager_hooks */

/* Of the slot's memory. */
void api_send_notice(const struct memory_notice *notice, void *subscriber, void *userdata);
/* The last reply to WatchSlot: the slot is removed. */
void api_send_watch_gone(const char *slot_name, void *subscriber, void *userdata);

/* Where it stands in the queue and why. */
void api_send_waiting(const struct wait_view *view, void *subscriber, void *userdata);
/* The last reply to RequestMemory. */
void api_send_lease_gone(void *subscriber, void *userdata);

/* The grant's target changed. */
void api_send_target(struct grant *grant, void *subscriber, void *userdata);
void api_send_revoked(struct grant *grant, const uint32_t *chunks, size_t n, void *subscriber,
		      void *userdata);
/* The last reply to Attach: the grant is freed. */
void api_send_gone(struct grant *grant, void *subscriber, void *userdata);
