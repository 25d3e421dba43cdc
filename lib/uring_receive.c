/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Receiving with io_uring.
 *
 * There are two rings of provided buffers. From one each receive gets a buffer of its own, which
 * suits streams. In the other receives follow each other in a buffer, whoever they are of, so that
 * a message of 64 bytes takes 64 bytes and the next one is in the line beside it; each is a piece
 * to the task. A channel uses the one that the size of its last receives asks for.
 *
 * A channel has one receive in the kernel at most. Where the kernel can limit it (since 6.17), it
 * is a multishot receive for as many bytes as the channel has credit; where it cannot, a one-shot
 * receive of one buffer: a one-shot bundle is no limit, for 6.12 and 6.18 append to a full one what
 * else there is (seen on TCP, 31 buffers for 10), whatever length was asked for. With small messages buffers may be used up
 * before the bytes are: the receive is then cancelled, and what came in between is delivered
 * still. Multishot receives missed the end of stream on AF_UNIX in kernels up to 2026, so those
 * sockets have one-shot receives.
 *
 * What the code relies on, tried on 6.12 and 6.18: the kernel takes entries in ring order and
 * returns the id stored there. A receive without IORING_CQE_F_MORE is over, whatever its result:
 * a bundle that ran out of buffers says so by that alone, and -ENOBUFS is no error. It loses
 * nothing, but hides the end of the stream until a receive is armed with a buffer posted. A bundle
 * that finds no ring at all, for that was unregistered, says -ENOENT (seen on 6.18). After
 * io_uring_unregister_buf_ring() no entry is taken any more, and whatever was taken before has
 * its completion in the queue.
 */

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "uring.h"

#define PACKED_SHARE 8 /* of the posted buffers one in so many is for pieces, */
#define PACKED_MAX 8   /* but that many at most: one of them holds hundreds of messages */
/* A multishot receive takes so many at a time, then others have their turn. */
#define BITE_BUFFERS 4
/* So many receives of one channel in a row: it is alone. Then each receive is followed by a window
 * update, which runs the sender's side here, so it should be of several buffers; with others
 * about, bundles cost more than they save. */
#define ALONE 16
#define LIMIT_MAX_BYTES (UINT32_C(1) << 30)
#define MEAN_WEIGHT 8

/* Returns false if the pool is empty. */
static bool fill(struct tm_engine *engine, struct bufring *b, uint32_t wanted)
{
	struct buffer *batch[32];
	uint32_t n, n_posted, want;

	if (b->n_posted < wanted)
		atomic_store(&engine->user.has_posted, true);
	while (b->n_posted < wanted) {
		want = MIN(wanted - b->n_posted, (uint32_t)ARRAY_LEN(batch));
		n = pool_take(engine->pool, want, BUFFER_POSTED, batch);
		n_posted = bufring_post(b, batch, n);
		for (uint32_t i = n_posted; i < n; i++)
			pool_put(batch[i]);
		if (n_posted < want)
			return false;
	}
	return true;
}

/* The buffer that is being filled counts as held while a piece of it is out, else as posted. */
static void settle_packed(struct bufring *b)
{
	struct buffer *buffer = b->posted[b->last_used];

	if (buffer && b->used[b->last_used] > 0 && !buffer->is_posted && piece_is_alone(buffer))
		pool_post(buffer);
}

/*
 * Empties the provided rings by taking them away from the kernel. Entries the kernel took before
 * have a completion by now, which is handled first; the rest is ours again. Receives that come
 * in between end with ENOBUFS and are fed later.
 */
static void take_back_all(struct tm_engine *engine)
{
	struct uring *u = engine->backend_data;

	if (u->is_broken)
		return;
	for (int i = 0; i < BUFRING_GROUPS; i++)
		if (bufring_unregister(&u->buffers[i], &u->ring) < 0)
			return;
	while (io_uring_cq_ready(&u->ring) > 0 || io_uring_cq_has_overflow(&u->ring)) {
		if (io_uring_cq_has_overflow(&u->ring))
			(void)io_uring_get_events(&u->ring);
		uring_reap(engine);
	}
	for (int i = 0; i < BUFRING_GROUPS; i++)
		bufring_clear(&u->buffers[i]); /* refill() registers it again */
}

static uint32_t count_posted(const struct uring *u)
{
	uint32_t n = 0;

	for (int i = 0; i < BUFRING_GROUPS; i++)
		n += u->buffers[i].n_posted;
	return n;
}

/* Others wait for a buffer, and no channel here: they get what is posted. It stays so until one
 * here finds nothing and waits in the same line, or else it would all be taken again at once. */
static bool has_to_yield(struct tm_engine *engine, bool is_waited_for)
{
	if (!list_is_empty(&engine->starved))
		engine->has_yielded = false;
	else if (is_waited_for)
		engine->has_yielded = true;
	return engine->has_yielded;
}

static void refill(struct tm_engine *engine)
{
	struct uring *u = engine->backend_data;
	struct bufring *whole = &u->buffers[BUFRING_WHOLE], *packed = &u->buffers[BUFRING_PACKED];
	uint32_t limit = pool_get_post_limit(engine->pool);
	uint32_t wanted = MIN(engine->posted_buffers, limit);
	uint32_t n_packed =
		u->can.has_packed ? MIN(wanted / PACKED_SHARE, (uint32_t)PACKED_MAX) : 0;
	struct buffer *spare;

	if (has_to_yield(engine, limit == 0)) {
		if (count_posted(u) > 0)
			take_back_all(engine);
		return;
	}
	if (limit > 0)
		engine->n_set_aside = n_packed;
	if (engine->is_recalling)
		wanted = n_packed = 0; /* what is posted may go to receives that are to end */
	settle_packed(packed);
	if (bufring_register(whole, &u->ring) < 0)
		return; /* no memory: the next turn tries again */
	if (engine->spare) {
		/* the only one to be had, so the limit does not matter */
		spare = TAKE(engine->spare);
		pool_post(spare);
		if (bufring_post(whole, &spare, 1) == 0)
			pool_put(spare);
	}
	if (fill(engine, whole, wanted - n_packed) && n_packed > 0 &&
	    bufring_register(packed, &u->ring) >= 0)
		(void)fill(engine, packed, n_packed);
}

/* ---- arming */

/* A few sizes may belong to either. */
static bool should_pack(const struct uring *u, const struct tm_channel *channel)
{
	uint32_t size = channel->engine->pool->buffer_bytes;

	return u->can.has_packed &&
	       channel->mean_bytes < (channel->is_packed ? size / 2 : size / 8);
}

/* What lies in the socket, in buffers. Asked for only while floating credits run short. */
static uint32_t count_backlog(const struct tm_channel *channel)
{
	uint32_t size = channel->engine->pool->buffer_bytes;
	int bytes = 0;

	if (!channel->engine->is_tight)
		return UINT32_MAX;
	if (!channel->has_more && atomic_load(&channel->held) < channel->exclusive)
		return 0; /* those are granted anyway, and the receive waits for data by itself */
	(void)ioctl(channel->fd, FIONREAD, &bytes);
	return ((uint32_t)MAX(bytes, 0) + size - 1) / size;
}

/* Nothing can be promised before there is a backlog. */
static int listen_for_data(struct uring *u, struct tm_channel *channel)
{
	struct io_uring_sqe *sqe;

	if (channel->is_listening)
		return 0;
	sqe = uring_get_sqe(u, OP_READABLE, channel);
	if (!sqe)
		return -EAGAIN;
	io_uring_prep_poll_add(sqe, channel->fd, POLLIN);
	channel->is_listening = true;
	channel->n_ops++;
	return 0;
}

void uring_on_readable(struct tm_channel *channel)
{
	channel->n_ops--;
	channel->is_listening = false;
	if (channel->state != CHANNEL_ARMED || channel->is_receiving)
		return;
	channel->has_more = true;
	channel_go_on(channel);
}

static bool is_one_shot(const struct uring *u, const struct tm_channel *channel)
{
	return !u->can.has_limit || channel->is_unix;
}

int uring_arm_receive(struct tm_engine *engine, struct tm_channel *channel)
{
	struct uring *u = engine->backend_data;
	struct io_uring_sqe *sqe;
	uint64_t n;

	if (channel->is_receiving)
		return 0; /* its end comes back here */
	n = floating_ask(channel, count_backlog(channel));
	if (n == 0 && !channel->has_more)
		return listen_for_data(u, channel);
	/* has more, and no backlog: it is the end of the stream */
	n = is_one_shot(u, channel) ? 1 : MAX(n, UINT64_C(1));
	sqe = uring_get_sqe(u, OP_RECEIVE, channel);
	if (!sqe)
		return -EAGAIN;
	channel->is_packed = should_pack(u, channel) && u->buffers[BUFRING_PACKED].n_posted > 0;
	io_uring_prep_recv(sqe, channel->fd, NULL, 0, 0); /* length: the buffer's */
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = channel->is_packed ? BUFRING_PACKED : BUFRING_WHOLE;
	if (!is_one_shot(u, channel)) {
		sqe->ioprio |= IORING_RECV_MULTISHOT;
		sqe->optlen = (uint32_t)MIN(n * engine->pool->buffer_bytes, LIMIT_MAX_BYTES);
		sqe->len = BITE_BUFFERS * engine->pool->buffer_bytes;
		if (!channel->is_packed && u->n_alike >= ALONE)
			sqe->ioprio |= IORING_RECVSEND_BUNDLE;
	}
	/* without data at hand the attempt would be wasted, and on an empty ring end in ENOBUFS */
	if (!channel->has_more)
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	channel->armed_bytes = n * engine->pool->buffer_bytes;
	floating_promise(channel, (uint32_t)n);
	channel->is_receiving = true;
	channel->n_ops++;
	return 0;
}

int uring_stop_receive(struct tm_engine *engine, struct tm_channel *channel)
{
	struct io_uring_sqe *sqe;

	if (!channel->is_receiving || channel->is_stopping)
		return 0;
	sqe = uring_get_sqe(engine->backend_data, OP_CANCEL, channel);
	if (!sqe)
		return -EAGAIN;
	io_uring_prep_cancel64(sqe, (uintptr_t)channel | OP_RECEIVE, 0);
	channel->is_stopping = true;
	channel->n_ops++;
	return 0;
}

/* How many buffers its next receive will take, by its last ones. */
static uint32_t expected_buffers(const struct tm_channel *channel)
{
	uint32_t size = channel->engine->pool->buffer_bytes;

	return MIN((channel->mean_bytes + size / 2) / size + 1, (uint32_t)BITE_BUFFERS);
}

/* Only channels whose receive should find its buffers are taken from the queue: with thousands that
 * have data most would come back to it, each for the price of a receive. */
void uring_feed(struct tm_engine *engine)
{
	struct uring *u = engine->backend_data;
	struct tm_channel *channel;
	uint32_t budget;
	int r;

	refill(engine);
	atomic_store(&engine->user.has_posted, count_posted(u) > 0);
	budget = u->buffers[BUFRING_WHOLE].n_posted;
	while (budget > 0 && !list_is_empty(&engine->starved)) {
		channel = list_entry(engine->starved.next, struct tm_channel, queue);
		if (!floating_may(channel)) {
			channel_go_on(channel); /* parks it */
			continue;
		}
		list_remove(&channel->queue);
		budget -= MIN(budget, expected_buffers(channel));
		channel->state = CHANNEL_ARMED;
		channel->was_starved = true;
		channel->has_more = true;
		r = uring_arm_receive(engine, channel);
		if (r < 0)
			channel_close(channel, r);
	}
	if (u->buffers[BUFRING_WHOLE].n_posted == 0 && !list_is_empty(&engine->starved))
		engine_want_buffer(engine);
}

/* ---- completions */

/* Hands out a buffer, or gives it back if nobody is there for it. */
static void deliver(struct tm_channel *channel, struct buffer *buffer, uint32_t length)
{
	if (length == 0 || channel->state == CHANNEL_CLOSING) {
		pool_put(buffer);
		return;
	}
	pool_unpost(buffer);
	channel_on_data(channel, buffer, length);
}

/* The kernel has filled the buffers from @id on, all but the last one to the end. */
static void deliver_whole(struct bufring *b, struct tm_channel *channel, uint32_t id,
			  uint32_t length)
{
	struct buffer *buffer;
	uint32_t some;

	do {
		buffer = bufring_take(b, id & bufring_mask(b));
		if (!buffer)
			return;
		some = MIN(length, buffer->public.capacity);
		deliver(channel, buffer, some);
		length -= some;
		id++;
	} while (length > 0);
}

static void deliver_piece(struct tm_engine *engine, struct bufring *b, struct tm_channel *channel,
			  const struct io_uring_cqe *cqe)
{
	uint32_t id = cqe->flags >> IORING_CQE_BUFFER_SHIFT, length = (uint32_t)cqe->res, offset;
	struct buffer *buffer = id < b->n_entries ? b->posted[id] : NULL, *piece;

	if (!buffer)
		return;
	offset = b->used[id];
	if (offset == 0 && length > 0)
		piece_pin(buffer);
	b->used[id] += length;
	b->last_used = id;
	if (length > 0 && channel->state != CHANNEL_CLOSING) {
		if (buffer->is_posted)
			pool_unpost(buffer);
		piece = piece_new(&engine->mailbox->pieces, buffer, channel);
		if (piece)
			channel_on_piece(channel, piece, offset, length);
		else
			channel_close(channel, -ENOMEM); /* else a gap */
	}
	if (cqe->flags & IORING_CQE_F_BUF_MORE)
		return;
	(void)bufring_take(b, id);
	if (offset + length > 0)
		piece_unpin(buffer);
	else
		pool_put(buffer);
}

static void note_data(struct uring *u, struct tm_channel *channel, uint32_t length)
{
	if (channel->turn != u->turn)
		channel->turn_bytes = 0;
	channel->turn = u->turn;
	channel->turn_bytes += length;
	gather_note(&u->gather, length, channel->turn_bytes, channel->armed_bytes);
}

static void take_data(struct tm_engine *engine, struct tm_channel *channel,
		      const struct io_uring_cqe *cqe)
{
	struct uring *u = engine->backend_data;
	uint32_t length = (uint32_t)MAX(cqe->res, 0);

	note_data(u, channel, length);
	if (channel->is_packed)
		deliver_piece(engine, &u->buffers[BUFRING_PACKED], channel, cqe);
	else
		deliver_whole(&u->buffers[BUFRING_WHOLE], channel,
			      cqe->flags >> IORING_CQE_BUFFER_SHIFT, length);
	channel->mean_bytes += length / MEAN_WEIGHT - channel->mean_bytes / MEAN_WEIGHT;
}

/* What follows data, while the receive goes on. */
static void look_after(struct tm_engine *engine, struct tm_channel *channel)
{
	bool is_used_up = atomic_load(&channel->held) >= channel->limit;
	int r = 0;

	if (channel->state == CHANNEL_ARMED && is_used_up && !floating_may(channel))
		channel_go_on(channel); /* parks it */
	else if (is_used_up || should_pack(engine->backend_data, channel) != channel->is_packed)
		r = uring_stop_receive(engine, channel);
	if (r < 0)
		channel_close(channel, r);
}

static void on_end(struct tm_channel *channel, int result)
{
	switch (-result) {
	case ENOENT: /* a bundle whose ring is taken away just now */
	case ENOBUFS:
		gather_hurry(&((struct uring *)channel->engine->backend_data)->gather);
		channel->has_more = true;
		if (channel->state == CHANNEL_ARMED)
			channel_starve(channel);
		break;
	case ECANCELED: /* what it was stopped for may be over */
	case EINTR:
	case EAGAIN:
		if (channel->state == CHANNEL_ARMED)
			channel_go_on(channel);
		break;
	default:
		channel_close(channel, MIN(result, 0));
		break;
	}
}

void uring_on_receive(struct tm_engine *engine, struct tm_channel *channel,
		      const struct io_uring_cqe *cqe)
{
	struct uring *u = engine->backend_data;
	bool is_over = !(cqe->flags & IORING_CQE_F_MORE);

	if (is_over) {
		channel->n_ops--;
		channel->is_receiving = channel->is_stopping = false;
		floating_settle(channel);
	}
	if (cqe->flags & IORING_CQE_F_BUFFER) {
		u->n_alike = channel == u->last ? u->n_alike + 1 : 0;
		u->last = channel;
		take_data(engine, channel, cqe);
	}
	if (channel->state == CHANNEL_CLOSING)
		return;
	if (cqe->res != -ECANCELED) /* which has read nothing */
		channel->has_more = cqe->flags & IORING_CQE_F_SOCK_NONEMPTY;
	if (!is_over)
		look_after(engine, channel);
	else if (cqe->res <= 0)
		on_end(channel, cqe->res);
	else if (channel->state == CHANNEL_ARMED)
		channel_go_on(channel);
}

/* ---- giving back */

/* Those that are waited for are given back by uring_feed(). */
void uring_withdraw(struct tm_engine *engine)
{
	const struct uring *u = engine->backend_data;
	bool is_owed = false;

	for (int i = 0; i < BUFRING_GROUPS; i++)
		is_owed = is_owed || bufring_is_owed(&u->buffers[i]);
	if (is_owed)
		take_back_all(engine);
}
