/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct events {
	event_fn listener;
	void *userdata;
	uint64_t n_added;
	struct event_count counts[EVENT_KINDS_MAX];
	size_t n_kinds;
	struct event kept[EVENTS_KEPT]; /* ring, slot of event n is (n - 1) % EVENTS_KEPT */
};

struct events *events_new(event_fn listener, void *userdata)
{
	struct events *events = calloc(1, sizeof(*events));

	if (!events)
		return NULL;
	events->listener = listener;
	events->userdata = userdata;
	return events;
}

void events_free(struct events *events)
{
	free(events);
}

static uint64_t realtime_now_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* The names are few and in the source; one too many is not counted. */
static void count(struct events *events, const char *name)
{
	size_t i = 0;

	while (i < events->n_kinds && strcmp(events->counts[i].name, name) != 0)
		i++;
	if (i == EVENT_KINDS_MAX)
		return;
	if (i == events->n_kinds)
		events->counts[events->n_kinds++].name = name;
	events->counts[i].n++;
}

const struct event_count *events_counts(const struct events *events, size_t *ret_n)
{
	*ret_n = events->n_kinds;
	return events->counts;
}

void events_add(struct events *events, enum log_level level, const char *name,
		const char *message_id, const char *slot, const char *format, ...)
{
	struct event *event = &events->kept[events->n_added % EVENTS_KEPT];
	va_list args;

	*event = (struct event){
		.sequence = ++events->n_added,
		.realtime_usec = realtime_now_usec(),
		.name = name,
	};
	count(events, name);
	if (slot)
		(void)snprintf(event->slot, sizeof(event->slot), "%s", slot);
	va_start(args, format);
	(void)vsnprintf(event->message, sizeof(event->message), format, args);
	va_end(args);
	log_event(level, message_id, slot, "%s", event->message);
	events->listener(event, events->userdata);
}

void events_foreach(const struct events *events, event_fn fn, void *userdata)
{
	uint64_t first = events->n_added > EVENTS_KEPT ? events->n_added - EVENTS_KEPT : 0;

	for (uint64_t n = first; n < events->n_added; n++)
		fn(&events->kept[n % EVENTS_KEPT], userdata);
}
