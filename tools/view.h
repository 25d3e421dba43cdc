/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Replies of the daemon as text: the table of slots, the table of nodes, one slot in full. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <systemd/sd-json.h>

#include "base/attr.h"

#define VIEW_PENDING_MAX 160

/* @slots and @nodes are arrays of the interface's Slot and Node. Return: 0, -ENOMEM, -EIO. */
MUST_USE int view_slots(sd_json_variant *slots, FILE *out, unsigned width, bool has_header);
MUST_USE int view_nodes(sd_json_variant *nodes, FILE *out, unsigned width, bool has_header);
/* An array of the interface's Waiting. */
MUST_USE int view_queue(sd_json_variant *waiting, FILE *out, unsigned width, bool has_header);
/* An array of the interface's Task: a row for each pool, then a line for each task. */
MUST_USE int view_pools(sd_json_variant *tasks, FILE *out, unsigned width, bool has_header);
/* One Slot in sections. */
void view_slot(sd_json_variant *slot, FILE *out);
/* The part of it about the working set. */
void view_heat(sd_json_variant *slot, FILE *out);
/* What pages are called in listings: "1G huge", "2M huge", "transparent", "mixed". */
const char *view_pages_word(const char *pages);
/* One Pending: "share 245M->300M, 5s"; cut at VIEW_PENDING_MAX. Returns @buf. */
const char *view_pending(sd_json_variant *pending, char buf[static VIEW_PENDING_MAX]);
/* The same with where it stands and why: "share 245M->300M, now 260M, about 5s (NOTE)". */
void view_progress(sd_json_variant *pending, FILE *out);
