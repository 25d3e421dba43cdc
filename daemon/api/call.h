/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of method handlers share. */

#include <systemd/sd-varlink.h>

#include "api/rights.h"
#include "base/attr.h"
#include "manager.h"

/* Replies with the error that @fault stands for; returns what sd_varlink_error() returns. */
int call_fault(sd_varlink *link, const struct fault *fault);
/* Replies {@name: @value} and drops the reference to @value; @r < 0: an internal error. */
int call_reply_value(sd_varlink *link, int r, const char *name, sd_json_variant *value);

/**
 * call_identify() - who calls
 * @ret_pidfd: the caller's; may be NULL
 *
 * Return: 1; or, when that cannot be told, the result of having replied with an error (<= 0).
 */
MUST_USE int call_identify(sd_varlink *link, struct manager *manager, struct peer *ret_peer,
			   int *ret_pidfd);
/* "no slot NAME" as a reply. */
int call_no_such_slot(sd_varlink *link, const char *name);
int call_not_permitted(sd_varlink *link);

/* The slot @peer runs in, which it may attach to; and the slot called @name, on which it has
 * @right. *ret_policy is borrowed until the next request. Return: 1; or the result of having
 * replied with an error (<= 0). */
MUST_USE int call_own_slot(sd_varlink *link, struct manager *manager, const struct peer *peer,
			   const struct slot_policy **ret_policy);
MUST_USE int call_named_slot(sd_varlink *link, struct manager *manager, const struct peer *peer,
			     const char *name, enum right right,
			     const struct slot_policy **ret_policy);

/* ---- handlers; @userdata is the manager */
int api_add_slot(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		 void *userdata);
int api_set_slot(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		 void *userdata);
int api_remove_slot(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		    void *userdata);
int api_join_slot(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		  void *userdata);
int api_move_slot(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		  void *userdata);
int api_list_slots(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		   void *userdata);
int api_list_counters(sd_varlink *link, sd_json_variant *parameters,
		      sd_varlink_method_flags_t flags, void *userdata);
int api_explain(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		void *userdata);
int api_measure_slot(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		     void *userdata);
int api_attach(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
	       void *userdata);
int api_grow(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
	     void *userdata);
int api_report_engine(sd_varlink *link, sd_json_variant *parameters,
		      sd_varlink_method_flags_t flags, void *userdata);
int api_return(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
	       void *userdata);
int api_drain(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
	      void *userdata);
int api_detach(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
	       void *userdata);

int api_watch_slot(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		   void *userdata);
int api_report_freed(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		     void *userdata);

int api_report_pools(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		     void *userdata);
int api_list_pools(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		   void *userdata);

/* A notice on a link that waits for more: of the slot's memory. */
void api_send_notice(const struct memory_notice *notice, void *subscriber, void *userdata);
/* The last reply on it: the slot is removed. */
void api_send_watch_gone(const char *slot_name, void *subscriber, void *userdata);
int api_list_queue(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		   void *userdata);
int api_request_memory(sd_varlink *link, sd_json_variant *parameters,
		       sd_varlink_method_flags_t flags, void *userdata);

/* Where it stands and why, on a link that waits in the queue. */
void api_send_waiting(const struct wait_view *view, void *subscriber, void *userdata);
/* The last reply to RequestMemory. */
void api_send_lease_gone(void *subscriber, void *userdata);

/* A notice on a link that waits for more: the grant's target changed. */
void api_send_target(struct grant *grant, void *subscriber, void *userdata);
void api_send_revoked(struct grant *grant, const uint32_t *chunks, size_t n, void *subscriber,
		      void *userdata);
/* The last reply on it: the grant is freed. */
void api_send_gone(struct grant *grant, void *subscriber, void *userdata);
