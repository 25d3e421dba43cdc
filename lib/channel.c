/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A channel: one socket and its credit.
 *
 * Credit is counted in buffers the task has not released; credit.c and floating.c decide how much
 * there is for whom. A channel that has none is parked: nothing receives, the socket's buffer
 * fills and the peer's window closes, which is all the flow control there is. A channel whose data
 * found the pool empty waits in the engine's queue, first come, first served; one that lost the
 * race for a buffer again goes back to the head.
 *
 * How much a channel may have at most follows its throughput if the task has set a target
 * (window.c). This window says what may be received from now on: nothing is taken back from a
 * receive in the kernel, and no buffer is filled less. It moves when the channel receives and when
 * it is about to go on after it was parked, so nobody has to be woken because it has moved.
 *
 * The end of the peer's stream is the end of the channel only when nothing is to be sent any
 * more (send.c); until then it is in CHANNEL_ENDED, where only a reset is looked for.
 *
 * Small messages of several channels share buffers. Such a buffer counts once for each channel that
 * has a piece of it (piece.c): that many it may keep from being used again.
 *
 * The object lives as long as the engine, a held buffer, a pin or the mailbox refers to it, so a
 * buffer can be released after its channel, and even its engine, has gone.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine.h"
#include "hangup.h"
#include "info.h"
#include "send.h"

/* @held: what it had until now; @was_busy: and never less than one since it was seen last. */
static void see(struct tm_channel *channel, uint32_t held, bool was_busy)
{
	const struct tm_engine *engine = channel->engine;
	const struct window_sample sample = {
		.now_ns = engine->now_ns,
		.n_released = channel->n_holds - held,
		.was_busy = was_busy,
	};

	if (window_observe(&channel->window, &sample, engine->target_us))
		floating_set_most(channel, window_count(&channel->window));
}

void channel_on_released(struct tm_channel *channel)
{
	struct mailbox *mailbox = channel->mailbox;
	bool was_floating = atomic_fetch_sub(&channel->held, 1) > channel->exclusive;

	if (was_floating)
		atomic_fetch_sub(&mailbox->n_floating, 1);
	/* channel_go_on() sets them and then looks at the numbers: one of the two sees the other */
	if (atomic_load(&channel->is_parked))
		mailbox_credit(mailbox, channel);
	/* one note is enough: the engine asks for another when it has looked */
	if (was_floating && atomic_load(&mailbox->wants_floating) &&
	    atomic_exchange(&mailbox->wants_floating, false))
		mailbox_share(mailbox);
	channel_unref(channel);
}

static void on_released(struct buffer_owner *owner)
{
	channel_on_released(container_of(owner, struct tm_channel, owner));
}

struct tm_channel *channel_new(struct tm_engine *engine, int fd)
{
	struct tm_channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		return NULL;
	atomic_init(&channel->refs, 1);
	channel->owner.released = on_released;
	channel->mailbox = mailbox_ref(engine->mailbox);
	channel->engine = engine;
	channel->fd = fd;
	channel->spin_us = engine->default_spin_us;
	channel->exclusive = engine->credit.exclusive;
	channel->state = CHANNEL_CONNECTING;
	list_init(&channel->mail);
	list_init(&channel->queue);
	list_append(&engine->channels, &channel->node);
	engine->n_channels++;
	channel->most = channel->exclusive;
	floating_set_most(channel, engine->credit_buffers);
	window_init(&channel->window, engine->pool->buffer_bytes, channel->exclusive, channel->most,
		    engine->now_ns);
	return channel;
}

void channel_forget(struct tm_channel *channel)
{
	list_remove(&channel->node);
	channel->engine->n_channels--;
	floating_set_most(channel, channel->exclusive);
}

void channel_unref(struct tm_channel *channel)
{
	if (atomic_fetch_sub(&channel->refs, 1) > 1)
		return;
	mailbox_unref(channel->mailbox);
	send_free(channel->sender);
	free(channel->addresses);
	free(channel->peer);
	free(channel);
}

static void read_peer(struct tm_channel *channel)
{
	struct sockaddr_storage storage = {};
	socklen_t length = sizeof(storage);
	char text[ADDRESS_TEXT_MAX];

	/* one that was reset in the queue has none: only TCP forgets whose it was */
	if (getpeername(channel->fd, (struct sockaddr *)&storage, &length) < 0)
		return;
	address_format((struct sockaddr *)&storage, length, text);
	free(channel->peer);
	channel->peer = strdup(text); /* without memory it has no name */
	channel->is_unix = storage.ss_family == AF_UNIX;
}

void channel_open(struct tm_channel *channel)
{
	struct tm_engine *engine = channel->engine;
	int r = 0;

	read_peer(channel);
	channel->state = CHANNEL_ARMED;
	latency_begin(channel);
	send_open(channel);
	engine->n_events++;
	if (engine->handlers.open)
		r = engine->handlers.open(channel, engine->userdata);
	if (r < 0)
		channel_close(channel, r);
	else if (channel->state != CHANNEL_CLOSING)
		channel_go_on(channel);
}

static int open_socket(struct tm_channel *channel, const struct address *address)
{
	const struct sockaddr *sockaddr = (const struct sockaddr *)&address->storage;
	int r = 0;

	channel->fd =
		socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (channel->fd < 0)
		return -errno;
	if (address->storage.ss_family != AF_UNIX) {
		listener_set_window(channel->engine, channel->fd);
		patience_set(channel->engine, channel->fd);
		patience_set_connecting(channel->engine, channel->fd, /* is_connecting= */ true);
	}
	if (connect(channel->fd, sockaddr, address->length) < 0 && errno != EINPROGRESS)
		r = -errno;
	else
		r = channel->engine->backend->arm_connect(channel->engine, channel);
	if (r < 0)
		fd_closep(&channel->fd);
	return r;
}

void channel_connect(struct tm_channel *channel)
{
	int r = -ENXIO;

	while (channel->next_address < channel->n_addresses) {
		r = open_socket(channel, &channel->addresses[channel->next_address++]);
		if (r >= 0)
			return;
	}
	channel_close(channel, r);
}

void channel_on_writable(struct tm_channel *channel)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (channel->state != CHANNEL_CONNECTING)
		return;
	if (getsockopt(channel->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		error = errno;
	if (error == 0) {
		patience_set_connecting(channel->engine, channel->fd, /* is_connecting= */ false);
		channel_open(channel);
	} else if (channel->next_address < channel->n_addresses) {
		fd_closep(&channel->fd);
		channel_connect(channel);
	} else {
		channel_close(channel, -error);
	}
}

void channel_hold(struct tm_channel *channel)
{
	uint32_t held;

	atomic_fetch_add(&channel->refs, 1);
	held = atomic_fetch_add(&channel->held, 1);
	if (channel->engine->target_us > 0)
		see(channel, held, /* was_busy= */ held > 0);
	channel->n_holds++;
	if (held >= channel->exclusive)
		floating_hold(channel);
}

void channel_on_piece(struct tm_channel *channel, struct buffer *piece, uint32_t offset,
		      uint32_t length)
{
	struct tm_engine *engine = channel->engine;

	channel->bytes += length;
	channel->buffers++;
	engine->n_events++;
	engine->handlers.data(channel, &piece->public, offset, length, engine->userdata);
}

void channel_on_data(struct tm_channel *channel, struct buffer *buffer, uint32_t length)
{
	pool_set_owner(buffer, &channel->owner);
	channel_hold(channel);
	channel_on_piece(channel, buffer, 0, length);
}

static void enqueue(struct tm_channel *channel, bool at_head)
{
	struct list *starved = &channel->engine->starved;

	channel->state = CHANNEL_STARVED;
	list_append(at_head ? starved->next : starved, &channel->queue);
}

void channel_starve(struct tm_channel *channel)
{
	int r = channel->engine->backend->park(channel->engine, channel);

	enqueue(channel, channel->was_starved);
	if (r < 0)
		channel_close(channel, r);
}

/* Out of whatever queue it is in. */
static void leave_queue(struct tm_channel *channel)
{
	list_remove(&channel->queue);
	floating_leave(channel);
}

static void park(struct tm_channel *channel)
{
	int r;

	if (channel->state == CHANNEL_PARKED)
		return; /* it had all credit before, and is refused some now */
	channel->state = CHANNEL_PARKED;
	channel->parked_total++;
	/* a parked one is not kept for what a peer that is gone has sent before */
	if (channel->sender && channel->sender->error < 0)
		r = channel->sender->error;
	else
		r = channel->engine->backend->park(channel->engine, channel);
	if (r < 0)
		channel_close(channel, r);
}

void channel_go_on(struct tm_channel *channel)
{
	struct tm_engine *engine = channel->engine;
	int r;

	if (channel->state == CHANNEL_ENDED)
		return;
	channel->was_starved = false;
	leave_queue(channel);
	if (!floating_may(channel)) {
		atomic_store(&channel->is_parked, true);
		if (!floating_wait(channel)) {
			park(channel);
			return;
		}
	}
	atomic_store(&channel->is_parked, false);
	if (channel->has_more && !list_is_empty(&engine->starved)) {
		channel_starve(channel); /* others were here first */
		return;
	}
	channel->state = CHANNEL_ARMED;
	r = engine->backend->arm_receive(engine, channel);
	if (r < 0)
		channel_close(channel, r);
}

void channel_on_credit(struct tm_channel *channel)
{
	if (channel->state != CHANNEL_PARKED)
		return;
	/* until it has released this it had something */
	if (channel->engine->target_us > 0)
		see(channel, atomic_load(&channel->held), /* was_busy= */ true);
	/* one that is refused already keeps its place */
	if (!floating_is_refused(channel))
		channel_go_on(channel);
}

/* The peer has sent all. Returns true if the channel stays for what is to be sent. */
static bool stay_for_sending(struct tm_channel *channel)
{
	struct tm_engine *engine = channel->engine;
	int r;

	if (send_is_cut(channel)) {
		channel_close(channel, -ECONNRESET);
		return true;
	}
	if (channel->state != CHANNEL_ENDED) {
		leave_queue(channel);
		channel->state = CHANNEL_ENDED;
		if (engine->handlers.end && !(channel->sender && channel->sender->error < 0)) {
			engine->n_events++;
			engine->handlers.end(channel, engine->userdata);
		}
	}
	if (channel->state == CHANNEL_CLOSING)
		return true;
	if (send_is_over(channel))
		return false;
	r = engine->backend->park(engine, channel);
	if (r < 0)
		channel_close(channel, r);
	return true;
}

void channel_close(struct tm_channel *channel, int error)
{
	struct tm_engine *engine = channel->engine;

	if (channel->state == CHANNEL_CLOSING || (error == 0 && stay_for_sending(channel)))
		return;
	if (error == 0 && channel->sender)
		error = channel->sender->error;
	leave_queue(channel);
	latency_end(channel);
	channel->state = CHANNEL_CLOSING;
	channel->error = error;
	list_append(&engine->closing, &channel->queue);
	if (channel->fd >= 0)
		engine->backend->stop(engine, channel);
}

static void finish(struct tm_engine *engine, struct tm_channel *channel)
{
	list_remove(&channel->queue);
	channel_forget(channel);
	send_finish(channel);
	if (!channel->sender || !channel->sender->is_lingering)
		hangup_connection(&channel->fd);
	engine->n_events++;
	if (engine->handlers.close)
		engine->handlers.close(channel, channel->error, engine->userdata);
	channel_unref(channel);
}

void channel_reap(struct tm_engine *engine)
{
	struct list *item = engine->closing.next;
	struct tm_channel *channel;

	while (item != &engine->closing) {
		channel = list_entry(item, struct tm_channel, queue);
		if (channel->n_ops > 0) {
			item = item->next;
			continue;
		}
		finish(engine, channel);
		/* its handler may have closed others */
		item = engine->closing.next;
	}
}

/* ------------------------------------------------------------------ public */

TM_PUBLIC void tm_channel_close(struct tm_channel *channel)
{
	if (channel)
		channel_close(channel, -ECANCELED);
}

TM_PUBLIC void tm_channel_set_userdata(struct tm_channel *channel, void *userdata)
{
	channel->userdata = userdata;
}

TM_PUBLIC void *tm_channel_get_userdata(const struct tm_channel *channel)
{
	return channel->userdata;
}

TM_PUBLIC const char *tm_channel_peer(const struct tm_channel *channel)
{
	if (channel->peer)
		return channel->peer;
	return channel->is_unix ? "unix:" : "tcp:";
}

TM_PUBLIC int tm_channel_get_stats(const struct tm_channel *channel, struct tm_channel_stats *stats)
{
	struct tm_channel_stats now = {
		.bytes = channel->bytes,
		.buffers = channel->buffers,
		.parked_total = channel->parked_total,
		.short_total = channel->short_total,
		.held = atomic_load(&channel->held),
		.window_buffers = channel->most,
	};

	if (channel->sender)
		send_get_stats(channel->sender, &now);
	return info_write(stats, stats->size, &now, sizeof(now));
}
