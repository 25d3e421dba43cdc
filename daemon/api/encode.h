/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Values to the JSON of the interface. Each returns 0 or -errno; *ret is the caller's. */

#include <systemd/sd-json.h>

#include "base/attr.h"
#include "events.h"
#include "manager.h"
#include "turns.h"
#include "view.h"

/* "start", "share", "max" or "pressure". */
const char *encode_why(enum notice_why why);
MUST_USE int encode_slot(const struct slot_view *view, sd_json_variant **ret);
/* In order of names. */
MUST_USE int encode_nth_slot(struct manager *manager, size_t i, sd_json_variant **ret);
MUST_USE int encode_nodes(struct manager *manager, sd_json_variant **ret);
MUST_USE int encode_turns(const struct turns *turns, sd_json_variant **ret);
MUST_USE int encode_waiting(const struct wait_view *view, sd_json_variant **ret);
/* All that waits, in order. */
MUST_USE int encode_queue(struct manager *manager, sd_json_variant **ret);
MUST_USE int encode_checks(const struct host_check *checks, size_t n, sd_json_variant **ret);
MUST_USE int encode_event(const struct event *event, sd_json_variant **ret);
MUST_USE int encode_nth_counters(struct manager *manager, size_t i, sd_json_variant **ret);
MUST_USE int encode_event_counts(const struct events *events, sd_json_variant **ret);
MUST_USE int encode_terms(struct explain_view *view, sd_json_variant **ret);
/* The processes that hold pages of a slot that exists, with their pools. */
MUST_USE int encode_tasks(const struct manager *manager, const char *slot, sd_json_variant **ret);
MUST_USE int encode_numbers(const uint32_t *numbers, size_t n, sd_json_variant **ret);
