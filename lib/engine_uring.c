/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The io_uring back end.
 *
 * One ring (SINGLE_ISSUER|DEFER_TASKRUN: everything happens in this thread's io_uring_enter).
 * Here is what is not receiving (uring_receive.c): the ring itself, accepting, connecting, and
 * the polls that see a reset while nothing receives.
 *
 * Sockets are plain descriptors, neither direct ones nor registered as well. Tried on 6.18, thread
 * CPU time, medians of 31 blocks: a request with IOSQE_FIXED_FILE is 80 ns cheaper (one that finds
 * nothing 990 -> 900 ns, a send with its receive 8.86 -> 8.69 us). But a multishot receive asks
 * for its file once for all the credit of a channel: some 3300 times for a GiB, 0.3 ms of 130. So
 * bench_net saw nothing, at 16 connections 0.94 (quartiles 0.92 to 1.00) of the CPU time per GiB
 * without against with it, and 1.01 (0.92 to 1.09) where receives are one-shot as on 6.12; a receiver
 * that is nothing but one-shot receives is among its peers both ways (io_uring, uring-direct). To
 * enter a socket into the table and take it out again costs 0.8 us. Accepting into the table
 * (accept_direct) costs 1 to 3 us more, as the close is a request then; and names, options, TCP_INFO,
 * shutdown and SO_LINGER need a descriptor all the same, which is another 1 to 3 us to install.
 * The table itself is limited by RLIMIT_NOFILE like the other, close(2) of a socket in it sends no
 * FIN, and ss(8) and lsof(8) do not find who has it.
 *
 * A wait may have a time before which completions do not end it (min_wait, 6.12). It is for as many
 * completions as the queue holds, which never come; when that time is over whatever is there ends it,
 * or else the first completion does. Mail, notices and sends are seen that much later, too.
 *
 * tm_engine_new() may run in another thread than tm_engine_run(), hence IORING_SETUP_R_DISABLED.
 */

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mono.h"
#include "hangup.h"
#include "send.h"
#include "uring.h"

#define SQ_ENTRIES 256
#define TINY_ENTRIES 8
#define PATIENCE_NS (5 * NS_PER_SEC) /* for peers to acknowledge what was sent without a copy */

struct io_uring_sqe *uring_get_sqe(struct uring *u, enum uring_op op, void *object)
{
	struct io_uring_sqe *sqe;

	if (u->is_broken)
		return NULL;
	sqe = io_uring_get_sqe(&u->ring);
	if (!sqe) {
		/* full: what is there goes now; submitting runs no completion */
		if (io_uring_submit(&u->ring) < 0)
			return NULL;
		sqe = io_uring_get_sqe(&u->ring);
	}
	if (!sqe)
		return NULL;
	memset(sqe, 0, sizeof(*sqe));
	sqe->user_data = (uintptr_t)object | op;
	u->n_inflight++;
	return sqe;
}

static int arm_poll(struct uring *u, enum uring_op op, void *object, int fd, uint32_t mask)
{
	struct io_uring_sqe *sqe = uring_get_sqe(u, op, object);

	if (!sqe)
		return -EAGAIN;
	io_uring_prep_poll_add(sqe, fd, mask);
	return 0;
}

/* ---- completions */

/* Hang-up alone is no news: what was sent before it is still to be read. */
static void on_error_poll(struct tm_channel *channel, int events)
{
	int error = 0;
	socklen_t length = sizeof(error);

	channel->is_polled = false;
	if (channel->state != CHANNEL_PARKED && channel->state != CHANNEL_STARVED &&
	    channel->state != CHANNEL_ENDED)
		return; /* the receive will say so */
	if (events < 0 || !(events & POLLERR))
		return;
	(void)getsockopt(channel->fd, SOL_SOCKET, SO_ERROR, &error, &length);
	channel_close(channel, error ? -error : -ECONNRESET);
}

static void on_accept(struct tm_engine *engine, struct listener *listener,
		      const struct io_uring_cqe *cqe)
{
	if (cqe->res >= 0)
		listener_on_accept(engine, listener, cqe->res);
	if (!(cqe->flags & IORING_CQE_F_MORE))
		listener_on_stop(engine, listener, cqe->res < 0 ? cqe->res : 0);
}

static void on_completion(struct tm_engine *engine, const struct io_uring_cqe *cqe)
{
	struct uring *u = engine->backend_data;
	enum uring_op op = (enum uring_op)(cqe->user_data & OP_MASK);
	void *object = (void *)(uintptr_t)(cqe->user_data & ~OP_MASK);
	struct tm_channel *channel = object;

	if (!(cqe->flags & IORING_CQE_F_MORE))
		u->n_inflight--;
	switch (op) {
	case OP_CANCEL:
		channel->n_ops--;
		break;
	case OP_ACCEPT:
		on_accept(engine, object, cqe);
		break;
	case OP_WRITABLE:
		channel->n_ops--;
		channel_on_writable(channel);
		break;
	case OP_RECEIVE:
		uring_on_receive(engine, channel, cqe);
		break;
	case OP_ERROR_POLL:
		channel->n_ops--;
		on_error_poll(channel, cqe->res);
		break;
	case OP_MAIL:
		u->is_mail_armed = false;
		engine_on_mail(engine);
		break;
	case OP_SLOT:
		u->is_slot_armed = false;
		engine_on_slot(engine);
		break;
	case OP_READABLE:
		uring_on_readable(channel);
		break;
	case OP_SEND:
		uring_on_send(channel, cqe);
		break;
	case OP_SEND_NO_COPY:
		uring_on_send_no_copy(object, cqe);
		break;
	}
}

/* Bounded, so that a busy socket cannot keep the buffers from being refilled. */
void uring_reap(struct tm_engine *engine)
{
	struct uring *u = engine->backend_data;
	struct io_uring_cqe *cqe, copy;

	for (uint32_t n = io_uring_cq_ready(&u->ring); n > 0; n--) {
		if (io_uring_peek_cqe(&u->ring, &cqe) < 0)
			return;
		copy = *cqe;
		io_uring_cqe_seen(&u->ring, cqe);
		on_completion(engine, &copy);
	}
}

static int arm_watches(struct tm_engine *engine)
{
	struct uring *u = engine->backend_data;
	int r = 0;

	if (!u->is_mail_armed) {
		r = arm_poll(u, OP_MAIL, NULL, engine->mailbox->event_fd, POLLIN);
		u->is_mail_armed = r >= 0;
	}
	if (r >= 0 && !u->is_slot_armed) {
		r = arm_poll(u, OP_SLOT, NULL, tm_slot_fd(engine->pool->slot), POLLIN);
		u->is_slot_armed = r >= 0;
	}
	return r;
}

/* Sleeps until there is something; while streams come in for gather.wait_us at least, counted from now.
 * Not so where a channel wants to be answered soon. */
static int sleep_for_events(struct tm_engine *engine, int timeout_ms)
{
	struct uring *u = engine->backend_data;
	struct __kernel_timespec ts = { .tv_sec = timeout_ms / 1000,
					.tv_nsec = (long long)(timeout_ms % 1000) * 1000000 };
	struct io_uring_cqe *cqe;
	uint32_t gather_us = u->can.has_gather && engine->spin_us == 0 ? u->gather.wait_us : 0;

	if (gather_us == 0)
		return io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1,
							timeout_ms < 0 ? NULL : &ts, NULL);
	/* for as many as will not come, or for that time; without another time, liburing 2.9 would wait
	 * for as many without end */
	if (timeout_ms < 0)
		ts = (struct __kernel_timespec){ .tv_sec = 1 };
	return io_uring_submit_and_wait_min_timeout(&u->ring, &cqe, u->ring.cq.ring_entries, &ts,
						    gather_us, NULL);
}

/* As long as channels on network devices are watched, the kernel asks these in each wait. */
static void watch_devices(struct tm_engine *engine)
{
	struct uring *u = engine->backend_data;
	struct io_uring_napi napi = {};
	uint32_t wanted_us = u->can.has_napi && engine->n_on_device > 0 ? engine->spin_us : 0;
	int r;

	if (wanted_us == u->device_us)
		return;
	napi.busy_poll_to = wanted_us;
	r = wanted_us > 0 ? io_uring_register_napi(&u->ring, &napi)
			  : io_uring_unregister_napi(&u->ring, &napi);
	if (r < 0) /* not before 6.9: the engine spins by itself */
		u->can.has_napi = false;
	u->device_us = r < 0 ? 0 : wanted_us;
	engine->is_kernel_spinning = u->device_us > 0;
}

static int wait_events(struct tm_engine *engine, int timeout_ms)
{
	struct uring *u = engine->backend_data;
	int r;

	if (u->is_broken)
		return -EIO;
	watch_devices(engine);
	r = arm_watches(engine);
	if (r < 0)
		return r;
	u->turn++;
	r = timeout_ms == 0 ? io_uring_submit_and_get_events(&u->ring)
			    : sleep_for_events(engine, timeout_ms);
	/* requests are handled in the order of their submission */
	engine->is_recalling = engine->is_recalling && io_uring_sq_ready(&u->ring) > 0;
	/* EBUSY, EAGAIN: the completion queue has overflowed; reaping helps */
	if (r < 0 && r != -ETIME && r != -EINTR && r != -EBUSY && r != -EAGAIN)
		return r;
	engine_tick(engine);
	uring_reap(engine);
	(void)gather_end_turn(&u->gather);
	return uring_look_at_overflow(u);
}

/* ---- arming and disarming */

static int arm_listener(struct tm_engine *engine, struct listener *listener)
{
	struct io_uring_sqe *sqe = uring_get_sqe(engine->backend_data, OP_ACCEPT, listener);

	if (!sqe)
		return -EAGAIN;
	io_uring_prep_multishot_accept(sqe, listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	return 0;
}

static int arm_connect(struct tm_engine *engine, struct tm_channel *channel)
{
	int r = arm_poll(engine->backend_data, OP_WRITABLE, channel, channel->fd, POLLOUT);

	if (r >= 0)
		channel->n_ops++;
	return r;
}

/* Mask 0 still reports POLLERR and POLLHUP; POLLRDHUP would fire at once and see no reset. */
static int park(struct tm_engine *engine, struct tm_channel *channel)
{
	int r = uring_stop_receive(engine, channel);

	if (r < 0 || channel->is_polled)
		return r;
	r = arm_poll(engine->backend_data, OP_ERROR_POLL, channel, channel->fd, 0);
	if (r < 0)
		return r;
	channel->is_polled = true;
	channel->n_ops++;
	return 0;
}

static void stop(struct tm_engine *engine, struct tm_channel *channel)
{
	struct io_uring_sqe *sqe;

	if (channel->n_ops == 0)
		return;
	sqe = uring_get_sqe(engine->backend_data, OP_CANCEL, channel);
	if (!sqe) {
		/* ends the receive and the poll as well, if less politely */
		(void)shutdown(channel->fd, SHUT_RDWR);
		return;
	}
	io_uring_prep_cancel_fd(sqe, channel->fd, IORING_ASYNC_CANCEL_ALL);
	channel->n_ops++;
}

/* ---- build and teardown */

static int setup_ring(struct tm_engine *engine, struct uring *u)
{
	/* two requests per channel as a rule, and every posted buffer: the queue hardly overflows */
	uint32_t cq_entries = 2 * engine->max_channels + engine->posted_buffers + SQ_ENTRIES;
	uint32_t sq_entries = SQ_ENTRIES;
	const uint32_t common = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE |
				IORING_SETUP_R_DISABLED;
	struct io_uring_params params;
	int r;

	if (u->can.is_tiny)
		cq_entries = sq_entries = TINY_ENTRIES;
	params = (struct io_uring_params){
		.flags = common | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		.cq_entries = cq_entries,
	};
	r = io_uring_queue_init_params(sq_entries, &u->ring, &params);
	if (r == -EINVAL) {
		params = (struct io_uring_params){ .flags = common | IORING_SETUP_COOP_TASKRUN,
						   .cq_entries = cq_entries };
		r = io_uring_queue_init_params(sq_entries, &u->ring, &params);
	}
	return r;
}

static void deinit_buffers(struct uring *u)
{
	for (int i = 0; i < BUFRING_GROUPS; i++)
		bufring_deinit(&u->buffers[i]);
}

static int init_buffers(struct tm_engine *engine, struct uring *u)
{
	int r = 0;

	for (int i = 0; i < BUFRING_GROUPS && r >= 0; i++)
		r = bufring_init(&u->buffers[i], (enum bufring_group)i, engine->posted_buffers);
	return r;
}

static int init(struct tm_engine *engine)
{
	struct uring *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	u->can = uring_probe();
	r = init_buffers(engine, u);
	if (r >= 0)
		r = setup_ring(engine, u);
	if (r >= 0 && !(u->ring.features & IORING_FEAT_MIN_TIMEOUT))
		u->can.has_gather = false;
	if (r >= 0) {
		r = bufring_register(&u->buffers[BUFRING_WHOLE], &u->ring);
		if (r < 0)
			io_uring_queue_exit(&u->ring);
	}
	if (r < 0) {
		deinit_buffers(u);
		free(u);
		return r;
	}
	engine->backend_data = u;
	return 0;
}

static int start(struct tm_engine *engine)
{
	struct uring *u = engine->backend_data;

	return io_uring_enable_rings(&u->ring);
}

/* Completions of the last moments: nobody is told of them any more. */
static void discard(struct uring *u, const struct io_uring_cqe *cqe)
{
	enum uring_op op = (enum uring_op)(cqe->user_data & OP_MASK);
	uintptr_t object = (uintptr_t)cqe->user_data & ~OP_MASK;
	int fd = cqe->res;

	if (!(cqe->flags & IORING_CQE_F_MORE))
		u->n_inflight--;
	if (op == OP_ACCEPT)
		hangup_connection(&fd);
	if (op == OP_SEND_NO_COPY && !(cqe->flags & IORING_CQE_F_MORE))
		send_unpin((struct pin *)object);
}

/* Until nothing can write into a posted buffer any more, nor read one that is sent. */
static void cancel_all(struct tm_engine *engine, struct uring *u)
{
	struct io_uring_sqe *sqe = uring_get_sqe(u, OP_CANCEL, NULL);
	struct __kernel_timespec ts = { .tv_sec = 1 };
	uint64_t patient_until_ns = mono_now_ns() + PATIENCE_NS;
	struct io_uring_cqe *cqe;
	int r;

	if (sqe)
		io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
	while (u->n_inflight > 0) {
		r = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
		if (r < 0 && r != -EINTR && r != -EBUSY && r != -EAGAIN)
			break;
		while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
			discard(u, cqe);
			io_uring_cqe_seen(&u->ring, cqe);
		}
		if (mono_now_ns() > patient_until_ns)
			send_reset_pinned(engine);
	}
}

/*
 * Only the ring's thread may enter it. If it has ended, the kernel has cancelled its requests,
 * but there is nobody left to hear of acknowledgements; tm_engine_free() asks for one of the two.
 */
static void deinit(struct tm_engine *engine)
{
	struct uring *u = TAKE(engine->backend_data);

	if (!u)
		return;
	if (engine->is_started && !u->is_broken && pthread_equal(engine->thread, pthread_self()))
		cancel_all(engine, u);
	else
		send_reset_pinned(engine);
	io_uring_queue_exit(&u->ring);
	send_unpin_all(engine);
	deinit_buffers(u);
	free(u);
}

const struct engine_backend engine_uring_backend = {
	.kind = TM_ENGINE_URING,
	.init = init,
	.start = start,
	.deinit = deinit,
	.arm_listener = arm_listener,
	.arm_connect = arm_connect,
	.arm_receive = uring_arm_receive,
	.recall = uring_stop_receive,
	.park = park,
	.stop = stop,
	.feed = uring_feed,
	.send = uring_send,
	.withdraw = uring_withdraw,
	.wait = wait_events,
};
