/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A slot is a dozen reads of the kernel's files and 2 KB of text, 0.2 ms: 3000 of them at once held
 * the loop up for 671 ms. So there is a time for each turn, not a number, with which it is 2.5 ms
 * for any number, and lists give way to everything else that the loop has to do.
 *
 * The next part is made when the last one is gone: what a client that does not read can have in the
 * daemon is one part. There is no event for "all is written", so it is looked at, less and less
 * often. What is gathered for a single reply is larger, so only a few are at a time.
 */

#include "api/listing.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mono.h"

#define TURN_NS (2 * NS_PER_MSEC)
#define PRIORITY (SD_EVENT_PRIORITY_NORMAL + 10)
#define GATHERING_MAX 8
#define PAUSE_USEC 1000
#define PAUSE_MAX_USEC 100000

struct listing {
	sd_varlink *link; /* a reference */
	struct manager *manager;
	struct listings *listings; /* borrowed */
	const struct listing_kind *kind;
	bool takes_parts, is_gathering;
	char last[SLOT_NAME_MAX + 1]; /* the slots up to this one have been taken; "": none */
	sd_json_variant **slots;      /* taken and not sent */
	size_t n_slots, n_room;
	uint64_t pause_usec;
};

static void drop_slots(struct listing *l)
{
	while (l->n_slots > 0)
		sd_json_variant_unref(l->slots[--l->n_slots]);
}

static void listing_free(void *userdata)
{
	struct listing *l = userdata;

	if (l->is_gathering)
		l->listings->n_gathering--;
	drop_slots(l);
	free(l->slots);
	sd_varlink_unref(l->link);
	free(l);
}

static int make_room(struct listing *l)
{
	size_t n_room = MAX(2 * l->n_room, (size_t)16);
	sd_json_variant **slots = reallocarray(l->slots, n_room, sizeof(sd_json_variant *));

	if (!slots)
		return -ENOMEM;
	l->slots = slots;
	l->n_room = n_room;
	return 0;
}

/* As many slots as there is time for, at least one. Return: 1, that was all; 0 or -errno. */
static int take_some(struct listing *l)
{
	uint64_t end_ns = mono_now_ns() + TURN_NS;
	size_t i = l->last[0] ? manager_find_after(l->manager, l->last) : 0;

	do {
		int r;

		if (i >= manager_slot_count(l->manager))
			return 1;
		r = l->n_slots == l->n_room ? make_room(l) : 0;
		if (r >= 0)
			r = l->kind->encode(l->manager, i, &l->slots[l->n_slots]);
		if (r < 0)
			return r;
		l->n_slots++;
		(void)snprintf(l->last, sizeof(l->last), "%s",
			       manager_nth_slot_name(l->manager, i));
		i++;
	} while (mono_now_ns() < end_ns);
	return 0;
}

static int make_reply(struct manager *manager, const struct listing_kind *kind, bool is_last,
		      sd_json_variant **elements, size_t n, sd_json_variant **ret)
{
	sd_json_variant *slots = NULL, *beside = NULL;
	int r = sd_json_variant_new_array(&slots, elements, n);

	if (r >= 0)
		r = kind->encode_beside(manager, is_last, &beside);
	if (r >= 0)
		r = sd_json_variant_set_field(ret, "slots", slots);
	if (r >= 0)
		r = sd_json_variant_merge_object(ret, beside);
	sd_json_variant_unref(slots);
	sd_json_variant_unref(beside);
	return r;
}

static int send_slots(struct listing *l, bool is_last)
{
	sd_json_variant *reply = NULL;
	int r = make_reply(l->manager, l->kind, is_last, l->slots, l->n_slots, &reply);

	drop_slots(l);
	if (r >= 0)
		r = is_last ? sd_varlink_reply(l->link, reply) : sd_varlink_notify(l->link, reply);
	sd_json_variant_unref(reply);
	return r;
}

int listing_reply_one(const struct call *call, const struct listing_kind *kind,
		      sd_json_variant *slot)
{
	sd_json_variant *reply = NULL;
	int r = make_reply(call->manager, kind, /* is_last= */ true, &slot, 1, &reply);

	if (r >= 0)
		r = sd_varlink_reply(call->link, reply);
	sd_json_variant_unref(reply);
	return r;
}

/* Return: 1, it goes on; 0, it is answered; or -errno. */
static int step(struct listing *l)
{
	int r = take_some(l);

	if (r < 0)
		return r;
	if (r > 0) {
		r = send_slots(l, /* is_last= */ true);
		return MIN(r, 0);
	}
	if (l->takes_parts)
		r = send_slots(l, /* is_last= */ false);
	return r < 0 ? r : 1;
}

/* The last part is still on its way, or others are gathering. */
static bool must_wait(struct listing *l)
{
	if (l->takes_parts)
		return sd_varlink_get_events(l->link) > 0 &&
		       (sd_varlink_get_events(l->link) & POLLOUT);
	if (l->is_gathering)
		return false;
	if (l->listings->n_gathering >= GATHERING_MAX)
		return true;
	l->is_gathering = true;
	l->listings->n_gathering++;
	return false;
}

static int on_turn(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct listing *l = userdata;
	int r = 1;

	(void)usec;
	if (must_wait(l)) {
		l->pause_usec =
			MIN(MAX(2 * l->pause_usec, (uint64_t)PAUSE_USEC), (uint64_t)PAUSE_MAX_USEC);
	} else {
		l->pause_usec = 0;
		r = step(l);
	}
	if (r < 0)
		(void)sd_varlink_error_errno(l->link, r); /* which may be gone */
	if (r <= 0)
		return sd_event_source_set_floating(source, false);
	(void)sd_event_source_set_time_relative(source, l->pause_usec);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* The loop owns it from now on: it goes with the answer, with the client, or with the loop. */
static int go_on_later(struct listing *l)
{
	sd_event_source *source = NULL;
	int r = sd_event_add_time_relative(sd_varlink_get_event(l->link), &source, CLOCK_MONOTONIC,
					   0, 1, on_turn, l);

	if (r < 0)
		return r;
	r = sd_event_source_set_priority(source, PRIORITY);
	if (r >= 0)
		r = sd_event_source_set_floating(source, true);
	if (r >= 0)
		r = sd_event_source_set_destroy_callback(source, listing_free);
	sd_event_source_unref(source);
	return r;
}

int listing_begin(struct call *call, const struct listing_kind *kind)
{
	struct listing *l;
	int r;

	if (manager_slot_count(call->manager) > kind->once_max) {
		r = call_expect_more(call);
		if (r <= 0)
			return r;
	}
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->link = sd_varlink_ref(call->link);
	l->manager = call->manager;
	l->listings = call->listings;
	l->kind = kind;
	l->takes_parts = call->flags & SD_VARLINK_METHOD_MORE;
	r = must_wait(l) ? 1 : step(l);
	if (r > 0) {
		r = go_on_later(l);
		if (r >= 0)
			return 0;
	}
	listing_free(l);
	return r;
}
