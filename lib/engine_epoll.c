/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The epoll back end, for where io_uring is refused, with the same promises.
 *
 * Buffers are acquired only when a socket has data: the kernel is asked how much (FIONREAD),
 * and one readv fills as many buffers as that needs. The end of the stream is seen by a peek of
 * one byte, without any buffer. A channel that must not receive is watched with EPOLLONESHOT
 * and no events, because EPOLLERR and EPOLLHUP cannot be masked and, level-triggered, would
 * keep the loop spinning for as long as the channel is parked.
 *
 * Sending is one sendmsg after the other until the socket takes no more; EPOLLOUT tells when it
 * does again.
 */

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine.h"
#include "send.h"

#define EVENTS_PER_WAIT 128
#define BUFFERS_PER_READ 8 /* more gains nothing on loopback and is unfair to others */
#define ACCEPTS_PER_EVENT 64

enum watch { WATCH_CHANNEL, WATCH_LISTENER, WATCH_MAIL, WATCH_SLOT };

#define WATCH_MASK ((uintptr_t)3) /* lives in the low bits of the pointer in the event */

/* Packets that a device is asked for at a time: all that is to be had without CAP_NET_ADMIN. */
#define DEVICE_BUDGET 8

struct epoll {
	int fd;
	uint32_t device_us; /* for so long a wait asks network devices; 0: it does not */
	bool has_no_params; /* the kernel does not let it */
};

static int control(struct tm_engine *engine, int fd, uint32_t events, enum watch watch,
		   void *object)
{
	struct epoll *ep = engine->backend_data;
	struct epoll_event event = { .events = events, .data.u64 = (uintptr_t)object | watch };

	if (epoll_ctl(ep->fd, EPOLL_CTL_MOD, fd, &event) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	return epoll_ctl(ep->fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int arm_listener(struct tm_engine *engine, struct listener *listener)
{
	return control(engine, listener->fd, EPOLLIN, WATCH_LISTENER, listener);
}

static int arm_connect(struct tm_engine *engine, struct tm_channel *channel)
{
	return control(engine, channel->fd, EPOLLOUT | EPOLLONESHOT, WATCH_CHANNEL, channel);
}

/* For input, if is_polled says so, and for output, if the sender waits for it. */
static int watch_channel(struct tm_engine *engine, struct tm_channel *channel)
{
	uint32_t events = channel->is_polled ? EPOLLIN | EPOLLRDHUP : EPOLLONESHOT;

	if (channel->sender && channel->sender->is_busy)
		events |= EPOLLOUT;
	return control(engine, channel->fd, events, WATCH_CHANNEL, channel);
}

static int arm_receive(struct tm_engine *engine, struct tm_channel *channel)
{
	if (channel->is_polled) /* here: armed for input already */
		return 0;
	channel->is_polled = true;
	return watch_channel(engine, channel);
}

static int park(struct tm_engine *engine, struct tm_channel *channel)
{
	channel->is_polled = false;
	return watch_channel(engine, channel);
}

static void stop(struct tm_engine *engine, struct tm_channel *channel)
{
	struct epoll *ep = engine->backend_data;

	(void)epoll_ctl(ep->fd, EPOLL_CTL_DEL, channel->fd, NULL);
}

static int socket_error(int fd)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		return -errno;
	return -error;
}

/* How many bytes a read would get at least; 0: none yet; ends the channel at its end. */
static int readable_bytes(struct tm_channel *channel)
{
	int bytes = 0;
	ssize_t n;
	char byte;

	if (ioctl(channel->fd, FIONREAD, &bytes) == 0 && bytes > 0)
		return bytes;
	n = recv(channel->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	if (n > 0)
		return 1;
	if (n == 0)
		channel_close(channel, 0);
	else if (errno != EAGAIN && errno != EINTR)
		channel_close(channel, -errno);
	return 0;
}

static uint32_t take_buffers(struct tm_engine *engine, uint32_t want,
			     struct buffer *ret[static BUFFERS_PER_READ])
{
	uint32_t n = 0;

	ret[0] = engine_take_buffer(engine);
	if (!ret[0])
		return 0;
	n = 1;
	if (want > 1)
		n += pool_take(engine->pool, want - 1, BUFFER_HELD, ret + 1);
	return n;
}

/* Hands out the filled buffers in order; those left over, and all after a close, go back. */
static void deliver(struct tm_channel *channel, struct buffer *buffers[], uint32_t n_buffers,
		    size_t bytes)
{
	uint32_t length;

	for (uint32_t i = 0; i < n_buffers; i++) {
		length = (uint32_t)MIN(bytes, (size_t)buffers[i]->public.capacity);
		bytes -= length;
		if (length > 0 && channel->state != CHANNEL_CLOSING)
			channel_on_data(channel, buffers[i], length);
		else
			pool_put(buffers[i]);
	}
}

/* One read; false: the pool is empty. */
static bool receive(struct tm_engine *engine, struct tm_channel *channel)
{
	struct buffer *buffers[BUFFERS_PER_READ];
	struct iovec iov[BUFFERS_PER_READ];
	uint32_t size = engine->pool->buffer_bytes, n_buffers;
	int bytes;
	ssize_t n;

	bytes = readable_bytes(channel);
	channel->has_more = bytes > 0;
	if (bytes == 0) {
		if (channel->state != CHANNEL_CLOSING)
			channel_go_on(channel);
		return true;
	}
	n_buffers = floating_ask(channel, ((uint32_t)bytes + size - 1) / size);
	if (n_buffers == 0) {
		channel_go_on(channel); /* parks it */
		return true;
	}
	n_buffers = take_buffers(engine, MIN(n_buffers, (uint32_t)BUFFERS_PER_READ), buffers);
	if (n_buffers == 0)
		return false;
	for (uint32_t i = 0; i < n_buffers; i++)
		iov[i] = (struct iovec){ buffers[i]->public.data, buffers[i]->public.capacity };
	n = readv(channel->fd, iov, (int)n_buffers);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		channel_close(channel, -errno);
	else if (n == 0)
		channel_close(channel, 0);
	deliver(channel, buffers, n_buffers, n > 0 ? (size_t)n : 0);
	channel->has_more = false; /* level-triggered: epoll will say */
	if (channel->state != CHANNEL_CLOSING)
		channel_go_on(channel);
	return true;
}

static void feed(struct tm_engine *engine)
{
	struct tm_channel *channel;

	while (!list_is_empty(&engine->starved)) {
		channel = list_entry(engine->starved.next, struct tm_channel, queue);
		list_remove(&channel->queue);
		channel->state = CHANNEL_ARMED;
		channel->was_starved = true;
		if (receive(engine, channel))
			continue;
		channel_starve(channel);
		engine_want_buffer(engine);
		return;
	}
}

/* One sendmsg. Return: 1, 0: the socket takes no more now, or -errno. */
static int send_some(struct tm_channel *channel)
{
	struct sender *sender = channel->sender;
	struct msghdr message = { .msg_iov = sender->parts };
	size_t bytes;
	bool has_more;
	ssize_t n;

	message.msg_iovlen = send_collect(sender, sender->parts, &bytes, &has_more);
	n = sendmsg(channel->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL | (has_more ? MSG_MORE : 0));
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		return errno == EINTR ? 1 : -errno;
	send_advance(sender, (size_t)n, NULL);
	return 1;
}

static int send_queued(struct tm_engine *engine, struct tm_channel *channel)
{
	struct sender *sender = channel->sender;
	int r = 1;

	while (r > 0 && sender->n_items > 0)
		r = send_some(channel);
	if (r == 0) {
		sender->is_busy = true;
		r = watch_channel(engine, channel);
	}
	if (r < 0)
		return r;
	send_go_on(channel);
	return 0;
}

/* The socket takes more, or is broken, which sending will say. */
static void on_output(struct tm_engine *engine, struct tm_channel *channel)
{
	int r;

	channel->sender->is_busy = false;
	r = send_queued(engine, channel);
	/* the watch for output was the last one, or has to end */
	if (r >= 0 && channel->state != CHANNEL_CLOSING && !channel->sender->is_busy)
		r = watch_channel(engine, channel);
	if (r < 0)
		send_fail(channel, r);
}

static void withdraw(struct tm_engine *engine)
{
	(void)engine; /* nothing is ever posted */
}

static void on_channel(struct tm_engine *engine, struct tm_channel *channel, uint32_t events)
{
	int error;

	if (channel->sender && channel->sender->is_busy && channel->state != CHANNEL_CLOSING &&
	    (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
		on_output(engine, channel);
		if (events == EPOLLOUT)
			return;
	}
	switch (channel->state) {
	case CHANNEL_CONNECTING:
		channel_on_writable(channel);
		break;
	case CHANNEL_ARMED:
		/* those who wait for a buffer come first */
		if (!list_is_empty(&engine->starved) || !receive(engine, channel))
			channel_starve(channel);
		break;
	case CHANNEL_PARKED:
	case CHANNEL_STARVED:
	case CHANNEL_ENDED:
		/* hang-up alone is no news: what was sent before it is still to be read */
		if (events & EPOLLERR) {
			error = socket_error(channel->fd);
			/* sending may have been told before */
			channel_close(channel, error < 0 ? error : -ECONNRESET);
		}
		break;
	case CHANNEL_CLOSING:
		break;
	}
}

static void on_listener(struct tm_engine *engine, struct listener *listener)
{
	struct epoll *ep = engine->backend_data;
	int fd;

	for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
		fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			listener_on_accept(engine, listener, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			listener_on_stop(engine, listener, -errno);
			(void)epoll_ctl(ep->fd, EPOLL_CTL_DEL, listener->fd, NULL);
		}
		return;
	}
}

/* As long as only channels on network devices are watched, the kernel asks these in each wait. After
 * a wait in vain it does not until something came from a device again, so for others it is no use. */
static void watch_devices(struct tm_engine *engine)
{
	struct epoll *ep = engine->backend_data;
	bool has_others = engine->n_spinning > engine->n_on_device;
	uint32_t wanted_us = engine->n_on_device > 0 && !has_others ? engine->spin_us : 0;
	struct epoll_params params = { .busy_poll_usecs = wanted_us,
				       .busy_poll_budget = DEVICE_BUDGET };

	if (ep->has_no_params || wanted_us == ep->device_us)
		return;
	ep->has_no_params = ioctl(ep->fd, EPIOCSPARAMS, &params) < 0; /* not before 6.9 */
	ep->device_us = ep->has_no_params ? 0 : wanted_us;
	engine->is_kernel_spinning = ep->device_us > 0;
}

static int wait_events(struct tm_engine *engine, int timeout_ms)
{
	struct epoll *ep = engine->backend_data;
	struct epoll_event events[EVENTS_PER_WAIT];
	void *object;
	int n;

	watch_devices(engine);
	n = epoll_wait(ep->fd, events, EVENTS_PER_WAIT, timeout_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	engine_tick(engine);
	/* channels are freed after the batch, so every pointer in it is good */
	for (int i = 0; i < n; i++) {
		object = (void *)(uintptr_t)(events[i].data.u64 & ~WATCH_MASK);
		switch ((enum watch)(events[i].data.u64 & WATCH_MASK)) {
		case WATCH_CHANNEL:
			on_channel(engine, object, events[i].events);
			break;
		case WATCH_LISTENER:
			on_listener(engine, object);
			break;
		case WATCH_MAIL:
			engine_on_mail(engine);
			break;
		case WATCH_SLOT:
			engine_on_slot(engine);
			break;
		}
	}
	return 0;
}

static void deinit(struct tm_engine *engine)
{
	struct epoll *ep = TAKE(engine->backend_data);

	if (!ep)
		return;
	fd_closep(&ep->fd);
	free(ep);
}

static int init(struct tm_engine *engine)
{
	struct epoll *ep = calloc(1, sizeof(*ep));
	int r;

	if (!ep)
		return -ENOMEM;
	ep->fd = epoll_create1(EPOLL_CLOEXEC);
	engine->backend_data = ep;
	if (ep->fd < 0) {
		r = -errno;
		deinit(engine);
		return r;
	}
	r = control(engine, engine->mailbox->event_fd, EPOLLIN, WATCH_MAIL, NULL);
	if (r >= 0)
		r = control(engine, tm_slot_fd(engine->pool->slot), EPOLLIN, WATCH_SLOT, NULL);
	if (r < 0)
		deinit(engine);
	return r;
}

static int start(struct tm_engine *engine)
{
	(void)engine; /* any thread would do */
	return 0;
}

const struct engine_backend engine_epoll_backend = {
	.kind = TM_ENGINE_EPOLL,
	.asks_always = true,
	.init = init,
	.start = start,
	.deinit = deinit,
	.arm_listener = arm_listener,
	.arm_connect = arm_connect,
	.arm_receive = arm_receive,
	.park = park,
	.stop = stop,
	.feed = feed,
	.send = send_queued,
	.withdraw = withdraw,
	.wait = wait_events,
};
