/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_net: the sender, the same for all receivers.
 *
 * Large messages go to whichever connection has room; small ones in turn to all connections, one
 * each, as many sources of events would send them. A ping goes out only when the answer to the
 * one before has come, on a second connection, so that receivers answer with a plain send.
 */

#include "bench_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define SMALL_BYTES 4096
#define SEND_BUFFER_BYTES (128 << 10)

static char block[256 << 10];

int sender_connect(int port)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

static bool is_over(struct bench_shared *shared)
{
	return atomic_load_explicit(&shared->is_over, memory_order_relaxed);
}

/* -errno of a connection that broke; a full one is fine. */
static int send_one(int fd, uint32_t bytes)
{
	ssize_t n = send(fd, block, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n > 0 || errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static int send_small(const struct bench_plan *plan, struct bench_shared *shared, const int fds[])
{
	int r = 0;

	while (!is_over(shared) && r >= 0)
		for (uint32_t i = 0; i < plan->n_connections && r >= 0; i++)
			r = send_one(fds[i], plan->message_bytes);
	return r;
}

/* Adds to @ret_at what went out. */
static int send_checked(int fd, uint32_t bytes, uint32_t which, uint64_t *ret_at)
{
	ssize_t n;

	pattern_fill(block, bytes, which, *ret_at);
	n = send(fd, block, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		*ret_at += (uint64_t)n;
	return n > 0 || errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

/* As send_large(), but what goes out is told, and can be told from everything else. */
static int send_pattern(const struct bench_plan *plan, struct bench_shared *shared, const int fds[])
{
	uint64_t *at = calloc(plan->n_connections, sizeof(*at)), sum = 0;
	struct epoll_event events[EVENTS];
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), n, r = 0;

	if (!at || epoll_fd < 0)
		return -ENOMEM; /* the process ends */
	for (uint32_t i = 0; i < plan->n_connections; i++) {
		struct epoll_event event = { .events = EPOLLOUT, .data.u32 = i };

		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event) < 0)
			r = -errno;
	}
	while (!is_over(shared) && r >= 0) {
		n = epoll_wait(epoll_fd, events, EVENTS, 100);
		for (int i = 0; i < n && r >= 0; i++) {
			uint32_t which = events[i].data.u32;

			r = send_checked(fds[which], plan->message_bytes, which + 1, &at[which]);
		}
	}
	for (uint32_t i = 0; i < plan->n_connections; i++)
		sum += at[i];
	atomic_store(&shared->sent, sum + 1);
	free(at);
	close(epoll_fd);
	return r;
}

static int send_large(const struct bench_plan *plan, struct bench_shared *shared, const int fds[])
{
	struct epoll_event events[EVENTS];
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), n, r = 0;

	if (epoll_fd < 0)
		return -errno;
	for (uint32_t i = 0; i < plan->n_connections; i++) {
		struct epoll_event event = { .events = EPOLLOUT, .data.fd = fds[i] };

		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event) < 0)
			r = -errno;
	}
	while (!is_over(shared) && r >= 0) {
		n = epoll_wait(epoll_fd, events, EVENTS, 100);
		for (int i = 0; i < n && r >= 0; i++)
			r = send_one(events[i].data.fd, plan->message_bytes);
	}
	close(epoll_fd);
	return r;
}

/* One message on each, then nothing. Closing resets them, so that none is left waiting for the
 * next run. */
static int send_once(const struct bench_plan *plan, struct bench_shared *shared, const int fds[])
{
	const struct linger linger = { .l_onoff = 1, .l_linger = 0 };
	int r = 0;

	for (uint32_t i = 0; i < plan->n_connections && r >= 0; i++) {
		(void)setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		r = send_one(fds[i], plan->message_bytes);
	}
	while (!is_over(shared) && r >= 0)
		usleep(1000);
	return r;
}

static int open_reply_listener(struct bench_shared *shared)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &length) < 0)
		return -errno;
	atomic_store(&shared->reply_port, ntohs(in.sin_port));
	return fd;
}

/* All of one message, as TCP may cut it. */
static int receive_all(int fd, uint32_t bytes, bool spins)
{
	char answer[4096];
	ssize_t n;

	while (bytes > 0) {
		n = recv(fd, answer, bytes, spins ? MSG_DONTWAIT : 0);
		if (n < 0 && errno == EAGAIN)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		bytes -= (uint32_t)n;
	}
	return 0;
}

static int send_pings(const struct bench_plan *plan, struct bench_shared *shared, int fd)
{
	struct bench_result *result = &shared->result;
	uint64_t begin_ns, end_ns, now_ns;
	int listen_fd = open_reply_listener(shared), reply_fd, r = 0;

	if (listen_fd < 0)
		return listen_fd;
	reply_fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	close(listen_fd);
	if (reply_fd < 0)
		return -errno;
	now_ns = meter_now_ns();
	end_ns = now_ns + plan->warm_ns + plan->run_ns;
	while (now_ns < end_ns && result->n_pings < BENCH_PINGS_MAX && r >= 0) {
		begin_ns = meter_now_ns();
		r = send_one(fd, plan->message_bytes);
		if (r >= 0)
			r = receive_all(reply_fd, plan->message_bytes, plan->awake == BENCH_SENDER);
		now_ns = meter_now_ns();
		if (now_ns > end_ns - plan->run_ns)
			result->ping_ns[result->n_pings++] = (uint32_t)(now_ns - begin_ns);
	}
	atomic_store(&shared->is_over, true);
	(void)send_one(fd, 1); /* wakes it */
	close(reply_fd);
	return r;
}

static int connect_all(const struct bench_plan *plan, struct bench_shared *shared, int fds[])
{
	int bytes = SEND_BUFFER_BYTES;

	for (uint32_t i = 0; i < plan->n_connections; i++) {
		fds[i] = sender_connect(atomic_load(&shared->port));
		if (fds[i] < 0)
			return fds[i];
		(void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
		/* a full backlog costs a second */
		while (i > atomic_load(&shared->n_accepted) + 256 && !is_over(shared))
			usleep(100);
	}
	while (atomic_load(&shared->n_accepted) < plan->n_connections && !is_over(shared))
		usleep(100);
	return 0;
}

int sender_run(const struct bench_plan *plan, struct bench_shared *shared)
{
	int *fds = calloc(plan->n_connections, sizeof(*fds));
	int r;

	if (!fds)
		return -ENOMEM;
	meter_pin(0);
	while (atomic_load(&shared->port) == 0)
		usleep(1000);
	if (atomic_load(&shared->port) < 0) {
		free(fds);
		return atomic_load(&shared->port);
	}
	r = connect_all(plan, shared, fds);
	if (r < 0)
		;
	else if (plan->kind == BENCH_PING)
		r = send_pings(plan, shared, fds[0]);
	else if (plan->kind == BENCH_IDLE)
		r = send_once(plan, shared, fds);
	else if (plan->kind == BENCH_RESIZE)
		r = send_pattern(plan, shared, fds);
	else if (plan->message_bytes <= SMALL_BYTES)
		r = send_small(plan, shared, fds);
	else
		r = send_large(plan, shared, fds);
	free(fds);
	return is_over(shared) ? 0 : r;
}
