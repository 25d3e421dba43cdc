/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sending, as far as it is the same for both back ends.
 *
 * Each channel has one queue and at most one send in the kernel, which takes up to SEND_BATCH
 * buffers off the head: this alone keeps the order, whatever the kernel does with requests, and
 * a peer that does not read holds no more than its queue. What the socket itself may hold is
 * bounded by TCP_NOTSENT_LOWAT: without it, a peer that stalls would have up to tcp_wmem[2]
 * (4 MiB) copied into kernel memory, which is billed to the slot. Nagle's algorithm is off, for
 * what belongs together is sent together; TM_SEND_MORE is there for the rest.
 *
 * A buffer that was sent without a copy is read by the kernel until the peer has acknowledged
 * its bytes, maybe again and again, and also after the channel and its descriptor are gone. To
 * release it before would send somebody else's bytes. So it is pinned: counted as queued, and
 * outliving the channel, whose descriptor stays open meanwhile (lingering): only with that can
 * the connection be reset when the engine has to go, and then nobody reads those bytes any more.
 */

#include "send.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "hangup.h"
#include "info.h"

/* Not sent yet, in the socket: enough for the sender to wake up and refill it in time. */
#define UNSENT_BYTES (512 << 10)

static uint32_t count_queued(const struct sender *sender)
{
	return sender->n_items + sender->n_pinned;
}

static struct send_item *item_at(const struct sender *sender, uint32_t i)
{
	return &sender->items[(sender->first + i) % sender->channel->engine->send_buffers];
}

static void set_options(const struct tm_channel *channel)
{
	int on = 1, unsent = UNSENT_BYTES;

	/* not for unix sockets, which know neither; and nothing is lost without them */
	(void)setsockopt(channel->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(channel->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
}

static struct sender *sender_new(struct tm_channel *channel)
{
	struct tm_engine *engine = channel->engine;
	struct sender *sender = calloc(1, sizeof(*sender));

	if (!sender)
		return NULL;
	sender->items = calloc(engine->send_buffers, sizeof(*sender->items));
	if (!sender->items) {
		free(sender);
		return NULL;
	}
	sender->channel = channel;
	list_init(&sender->node);
	list_init(&sender->waiting);
	list_init(&sender->pins);
	if (engine->zero_copy == TM_ZERO_COPY_NEVER)
		sender->zero_copy = ZERO_COPY_OFF;
	if (channel->fd >= 0)
		set_options(channel);
	return sender;
}

void send_free(struct sender *sender)
{
	if (!sender)
		return;
	free(sender->items);
	free(sender);
}

static int get_sender(struct tm_channel *channel)
{
	if (!channel->sender)
		channel->sender = sender_new(channel);
	return channel->sender ? 0 : -ENOMEM;
}

static void look_soon(struct sender *sender)
{
	if (sender->channel->state == CHANNEL_CONNECTING || sender->is_busy ||
	    !list_is_empty(&sender->node))
		return;
	list_append(&sender->channel->engine->sending, &sender->node);
	patience_begin(sender->channel);
}

void send_open(struct tm_channel *channel)
{
	if (!channel->sender)
		return;
	set_options(channel); /* the one that failed before had another socket */
	look_soon(channel->sender);
}

bool send_is_over(const struct tm_channel *channel)
{
	const struct sender *sender = channel->sender;

	if (sender && sender->error < 0)
		return true;
	if (channel->engine->handlers.end)
		return sender && sender->has_ended;
	return !sender || sender->n_items == 0;
}

/*
 * Only one reader is told of a reset. A send under way that had sent a part says nothing of it and
 * reports that part (seen on 6.18), so receiving sees an ordinary end: but then the socket is not
 * in the state that a FIN leads to.
 */
bool send_is_cut(const struct tm_channel *channel)
{
	struct tcp_info info;
	socklen_t length = sizeof(info);

	if (!channel->sender || channel->sender->has_ended || channel->sender->error < 0)
		return false;
	/* a unix socket is told when it sends */
	if (getsockopt(channel->fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return false;
	return info.tcpi_state == TCP_CLOSE;
}

void send_get_stats(const struct sender *sender, struct tm_channel_stats *stats)
{
	stats->queued = count_queued(sender);
	stats->sent_bytes = sender->bytes;
	stats->sent_buffers = sender->buffers;
	stats->refused_total = sender->refused_total;
	stats->zero_copy_total = sender->zero_copy_total;
}

/* ---- the queue */

uint32_t send_collect(const struct sender *sender, struct iovec parts[static SEND_BATCH],
		      size_t *ret_bytes, bool *ret_has_more)
{
	uint32_t n = MIN(sender->n_items, (uint32_t)SEND_BATCH);
	const struct send_item *item = NULL;

	*ret_bytes = 0;
	for (uint32_t i = 0; i < n; i++) {
		item = item_at(sender, i);
		parts[i] =
			(struct iovec){ (char *)item->buffer->data + item->offset, item->length };
		*ret_bytes += item->length;
	}
	*ret_has_more = n < sender->n_items || (item && item->has_more);
	return n;
}

static void keep(struct sender *sender, struct pin *pin, struct tm_buffer *buffer)
{
	pin->buffers[pin->n_buffers++] = buffer;
	sender->n_pinned++;
}

/* Takes the first item out of the queue. */
static void drop_first(struct sender *sender, struct pin *pin)
{
	struct tm_buffer *buffer = item_at(sender, 0)->buffer;

	sender->first = (sender->first + 1) % sender->channel->engine->send_buffers;
	sender->n_items--;
	if (!pin)
		pin = sender->cut_pin;
	sender->cut_pin = NULL;
	if (pin)
		keep(sender, pin, buffer);
	else
		tm_buffer_release(buffer);
}

void send_advance(struct sender *sender, size_t bytes, struct pin *pin)
{
	struct send_item *item;

	sender->bytes += bytes;
	while (bytes > 0) {
		item = item_at(sender, 0);
		if (bytes < item->length) {
			item->offset += (uint32_t)bytes;
			item->length -= (uint32_t)bytes;
			if (pin)
				sender->cut_pin = pin;
			return;
		}
		bytes -= item->length;
		sender->buffers++;
		drop_first(sender, pin);
	}
}

static void drop_all(struct sender *sender)
{
	while (sender->n_items > 0)
		drop_first(sender, NULL);
}

static void tell_writable(struct tm_channel *channel)
{
	struct tm_engine *engine = channel->engine;

	channel->sender->was_full = false;
	if (!engine->handlers.writable)
		return;
	engine->n_events++;
	engine->handlers.writable(channel, engine->userdata);
}

/* FIN, once nothing is queued before it. */
static void end_stream(struct tm_channel *channel)
{
	struct sender *sender = channel->sender;

	if (!sender->should_end || sender->has_ended || sender->n_items > 0 ||
	    channel->state == CHANNEL_CONNECTING)
		return;
	sender->has_ended = true;
	/* fails only when the connection is gone, which receiving says as well */
	(void)shutdown(channel->fd, SHUT_WR);
}

void send_go_on(struct tm_channel *channel)
{
	struct sender *sender = channel->sender;

	if (channel->state == CHANNEL_CLOSING)
		return;
	if (sender->was_full && count_queued(sender) <= channel->engine->send_buffers / 2)
		tell_writable(channel);
	if (channel->state == CHANNEL_CLOSING)
		return;
	if (sender->n_items > 0)
		look_soon(sender);
	else
		end_stream(channel);
	if (channel->state == CHANNEL_ENDED && send_is_over(channel))
		channel_close(channel, 0);
}

/*
 * A peer that closed may have sent something before, an error message for instance. So receiving
 * goes on to its end if it is under way, and the channel ends with this error then.
 */
void send_fail(struct tm_channel *channel, int error)
{
	struct sender *sender = channel->sender;

	if (channel->state == CHANNEL_CLOSING || sender->error < 0)
		return;
	sender->error = error;
	list_remove(&sender->node);
	drop_all(sender);
	if ((error != -EPIPE && error != -ECONNRESET) ||
	    (channel->state != CHANNEL_ARMED && channel->state != CHANNEL_STARVED))
		channel_close(channel, error);
	else if (sender->was_full)
		tell_writable(channel);
}

void send_flush(struct tm_engine *engine)
{
	struct tm_channel *channel;
	struct sender *sender;
	struct list round;
	int r;

	if (list_is_empty(&engine->sending))
		return;
	/* what handlers add is for the next round */
	round = engine->sending;
	round.next->prev = round.prev->next = &round;
	list_init(&engine->sending);
	while (!list_is_empty(&round)) {
		sender = list_entry(round.next, struct sender, node);
		channel = sender->channel;
		list_remove(&sender->node);
		if (channel->state == CHANNEL_CLOSING || sender->is_busy)
			continue;
		r = 0;
		if (sender->n_items > 0)
			r = engine->backend->send(engine, channel);
		else
			send_go_on(channel);
		if (r < 0)
			send_fail(channel, r);
	}
}

/* ---- pins */

struct pin *send_pin(struct tm_channel *channel)
{
	struct pin *pin = calloc(1, sizeof(*pin));

	if (!pin)
		return NULL;
	pin->channel = channel;
	atomic_fetch_add(&channel->refs, 1);
	list_append(&channel->sender->pins, &pin->node);
	return pin;
}

/* A pin without its channel's word: the descriptor of a closed one goes with the last. */
static void stop_lingering(struct tm_channel *channel)
{
	struct sender *sender = channel->sender;

	if (!sender->is_lingering || !list_is_empty(&sender->pins))
		return;
	sender->is_lingering = false;
	list_remove(&channel->node);
	patience_end(channel);
	hangup_connection(&channel->fd);
}

void send_unpin(struct pin *pin)
{
	struct tm_channel *channel = pin->channel;
	struct sender *sender = channel->sender;

	list_remove(&pin->node);
	if (sender->cut_pin == pin)
		sender->cut_pin = NULL;
	sender->n_pinned -= pin->n_buffers;
	for (uint32_t i = 0; i < pin->n_buffers; i++)
		tm_buffer_release(pin->buffers[i]);
	free(pin);
	stop_lingering(channel);
	channel_unref(channel);
}

void send_give_up(struct tm_channel *channel)
{
	struct sender *sender = channel->sender;

	list_remove(&sender->waiting);
	if (sender->is_lingering) {
		hangup_reset(&channel->fd);
		return;
	}
	sender->is_given_up = true;
	channel_close(channel, -ETIMEDOUT);
}

void send_finish(struct tm_channel *channel)
{
	struct sender *sender = channel->sender;

	if (!sender)
		return;
	list_remove(&sender->node);
	drop_all(sender);
	if (sender->is_given_up)
		hangup_reset(&channel->fd);
	if (list_is_empty(&sender->pins) || channel->fd < 0) {
		patience_end(channel);
		return;
	}
	/* as close() would: what the kernel has still goes out */
	(void)shutdown(channel->fd, SHUT_WR);
	sender->is_lingering = true;
	list_append(&channel->engine->lingering, &channel->node);
}

/* Throws away all that is unsent or unacknowledged. */
static void reset_if_pinned(struct tm_channel *channel)
{
	if (!channel->sender || list_is_empty(&channel->sender->pins) || channel->fd < 0)
		return;
	hangup_reset(&channel->fd);
}

void send_reset_pinned(struct tm_engine *engine)
{
	struct tm_channel *channel;

	LIST_FOREACH(&engine->channels, channel, node)
		reset_if_pinned(channel);
	LIST_FOREACH(&engine->lingering, channel, node)
		reset_if_pinned(channel);
}

static void unpin_channel(struct tm_channel *channel)
{
	struct pin *pin;

	if (!channel->sender)
		return;
	atomic_fetch_add(&channel->refs, 1);
	LIST_FOREACH(&channel->sender->pins, pin, node)
		send_unpin(pin);
	channel_unref(channel);
}

void send_unpin_all(struct tm_engine *engine)
{
	struct tm_channel *channel;

	LIST_FOREACH(&engine->channels, channel, node)
		unpin_channel(channel);
	LIST_FOREACH(&engine->lingering, channel, node)
		unpin_channel(channel);
}

/* ------------------------------------------------------------------ public */

TM_PUBLIC int tm_channel_send(struct tm_channel *channel, struct tm_buffer *buffer, uint32_t offset,
			      uint32_t length, uint32_t flags)
{
	struct sender *sender;
	int r;

	if (!channel || !buffer || length == 0 || offset > buffer->capacity ||
	    length > buffer->capacity - offset || (flags & ~TM_SEND_MORE))
		return -EINVAL;
	if (channel->state == CHANNEL_CLOSING)
		return -EPIPE;
	r = get_sender(channel);
	if (r < 0)
		return r;
	sender = channel->sender;
	if (sender->should_end || sender->error < 0)
		return -EPIPE;
	if (count_queued(sender) >= channel->engine->send_buffers) {
		sender->was_full = true;
		sender->refused_total++;
		return -EAGAIN;
	}
	*item_at(sender, sender->n_items++) =
		(struct send_item){ buffer, offset, length, flags & TM_SEND_MORE };
	look_soon(sender);
	return 0;
}

TM_PUBLIC int tm_channel_shutdown_send(struct tm_channel *channel)
{
	int r;

	if (channel->state == CHANNEL_CLOSING)
		return -EPIPE;
	r = get_sender(channel);
	if (r < 0)
		return r;
	if (channel->sender->error < 0)
		return -EPIPE;
	channel->sender->should_end = true;
	look_soon(channel->sender);
	return 0;
}
