/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sending with io_uring.
 *
 * One request a channel at a time, with MSG_WAITALL, so that the kernel goes on by itself when
 * the socket was full, and completes when all is taken: one completion for up to SEND_BATCH
 * buffers.
 *
 * Without a copy (SEND_ZC) a request has two completions: its result, and later a notification
 * that the bytes are not read any more. Pinning the pages costs more than copying a little, and
 * the kernel copies after all where the packet stays on the host or the device cannot gather; it
 * says so in the notification (IORING_SEND_ZC_REPORT_USAGE). Seen on 6.18, loopback: every
 * one is copied, and 20 % slower than a plain send. So a channel tries with one large send, and
 * goes on only if nothing was copied; at the first copy it stops for good.
 */

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "send.h"
#include "uring.h"

/* Of a buffer, on average: pinning a page or two costs about what copying this does. */
#define NO_COPY_MIN_BYTES (16 << 10)

static bool may_pin(const struct tm_engine *engine, const struct sender *sender, size_t bytes,
		    uint32_t n_parts)
{
	/* a buffer waits for one notification only */
	if (sender->zero_copy == ZERO_COPY_OFF || sender->cut_pin)
		return false;
	if (engine->zero_copy == TM_ZERO_COPY_ALWAYS)
		return true;
	if (bytes / n_parts < NO_COPY_MIN_BYTES)
		return false;
	return sender->zero_copy == ZERO_COPY_ON || list_is_empty(&sender->pins);
}

static void prepare(struct io_uring_sqe *sqe, struct sender *sender, uint32_t n_parts, int flags,
		    bool is_pinned)
{
	int fd = sender->channel->fd;

	flags |= MSG_NOSIGNAL | MSG_WAITALL;
	sender->message = (struct msghdr){ .msg_iov = sender->parts, .msg_iovlen = n_parts };
	if (is_pinned) {
		io_uring_prep_sendmsg_zc(sqe, fd, &sender->message, (unsigned)flags);
		sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
	} else if (n_parts > 1) {
		io_uring_prep_sendmsg(sqe, fd, &sender->message, (unsigned)flags);
	} else {
		io_uring_prep_send(sqe, fd, sender->parts[0].iov_base, sender->parts[0].iov_len,
				   flags);
	}
}

int uring_send(struct tm_engine *engine, struct tm_channel *channel)
{
	struct uring *u = engine->backend_data;
	struct sender *sender = channel->sender;
	struct io_uring_sqe *sqe;
	struct pin *pin = NULL;
	uint32_t n_parts;
	size_t bytes;
	bool has_more;

	n_parts = send_collect(sender, sender->parts, &bytes, &has_more);
	if (may_pin(engine, sender, bytes, n_parts))
		pin = send_pin(channel); /* NULL: no memory, so a copy */
	if (pin)
		sqe = uring_get_sqe(u, OP_SEND_NO_COPY, pin);
	else
		sqe = uring_get_sqe(u, OP_SEND, channel);
	if (!sqe) {
		if (pin)
			send_unpin(pin);
		return -EAGAIN;
	}
	prepare(sqe, sender, n_parts, has_more ? MSG_MORE : 0, pin);
	/* an answer to what came just now */
	if (channel->turn_bytes > 0 && u->turn - channel->turn <= 1)
		gather_hurry(&u->gather);
	sender->is_busy = true;
	channel->n_ops++;
	return 0;
}

static void on_result(struct tm_channel *channel, int result, struct pin *pin)
{
	struct sender *sender = channel->sender;

	channel->n_ops--;
	sender->is_busy = false;
	if (result > 0)
		send_advance(sender, (size_t)result, pin);
	if (result >= 0 || result == -EAGAIN || result == -EINTR)
		send_go_on(channel);
	else
		send_fail(channel, result);
}

void uring_on_send(struct tm_channel *channel, const struct io_uring_cqe *cqe)
{
	on_result(channel, cqe->res, NULL);
}

/* Not for this socket (unix), or not for this process (RLIMIT_MEMLOCK): a copy will do. */
static bool is_refusal(int result)
{
	return result == -EOPNOTSUPP || result == -EINVAL || result == -ENOMEM ||
	       result == -ENOBUFS;
}

static void on_notification(struct sender *sender, uint32_t usage)
{
	bool was_copied = usage & IORING_NOTIF_USAGE_ZC_COPIED;

	if (!was_copied)
		sender->zero_copy_total++;
	if (sender->channel->engine->zero_copy == TM_ZERO_COPY_ALWAYS ||
	    sender->zero_copy == ZERO_COPY_OFF)
		return;
	sender->zero_copy = was_copied ? ZERO_COPY_OFF : ZERO_COPY_ON;
}

void uring_on_send_no_copy(struct pin *pin, const struct io_uring_cqe *cqe)
{
	struct tm_channel *channel = pin->channel;

	if (cqe->flags & IORING_CQE_F_NOTIF) {
		on_notification(channel->sender, (uint32_t)cqe->res);
		atomic_fetch_add(&channel->refs, 1); /* it may have been closed long ago */
		send_unpin(pin);
		send_go_on(channel);
		channel_unref(channel);
		return;
	}
	if (is_refusal(cqe->res)) {
		channel->sender->zero_copy = ZERO_COPY_OFF;
		on_result(channel, -EAGAIN, pin);
	} else {
		on_result(channel, cqe->res, pin);
	}
	if (!(cqe->flags & IORING_CQE_F_MORE))
		send_unpin(pin);
}
