/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What happened, kept for clients that watch and written to the journal. */

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/log.h"
#include "model.h"

#define EVENTS_KEPT 256

struct event {
	uint64_t sequence; /* counts from 1 since the daemon started */
	uint64_t realtime_usec;
	const char *name;             /* "slot-added", …; static */
	char slot[SLOT_NAME_MAX + 1]; /* empty when it is about none */
	char message[640];
};

struct events;
typedef void (*event_fn)(const struct event *event, void *userdata);

/* @listener is called for every event, after it was kept. Return: NULL without memory. */
MUST_USE struct events *events_new(event_fn listener, void *userdata);
void events_free(struct events *events);

/**
 * events_add() - note, log and announce
 * @name:       short static identifier
 * @message_id: journal MESSAGE_ID or NULL
 * @slot:       name or NULL
 */
void events_add(struct events *events, enum log_level level, const char *name,
		const char *message_id, const char *slot, const char *format, ...)
	PRINTF_LIKE(6, 7);

/* How often each kind of event happened since the daemon started. */
struct event_count {
	const char *name; /* static */
	uint64_t n;
};
/* Borrowed until the next event; at most EVENT_KINDS_MAX, in order of first appearance. */
#define EVENT_KINDS_MAX 64
const struct event_count *events_counts(const struct events *events, size_t *ret_n);

/* Kept events from the oldest on. */
void events_foreach(const struct events *events, event_fn fn, void *userdata);
