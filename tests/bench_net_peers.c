/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_net: the receivers people write without a library.
 *
 * recv: one recv of 32 KiB for each readiness, the usual loop, into a buffer from malloc that is
 * freed after use, as a receiver which hands its buffers on has to.
 * readv: eight buffers of 32 KiB from a preallocated pool for each readiness, the good one.
 * one-shot: io_uring with provided buffers and one receive armed for each connection.
 * direct: the same from direct descriptors, so that no receive has to look up its file in the
 * process's table; of our receives one in ten does, and what that costs shows here.
 */

#include "bench_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define EVENTS 256
#define WAIT_MS 20
#define RING_BUFFERS 64 /* as the library offers */
#define PAGE 4096

static const struct bench_plan *plan;
static uint64_t bytes, events, buffers;
static int reply_fd = -1;

static int open_listener(struct bench_shared *shared)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(in);
	int window = (int)(plan->credit_buffers * BENCH_BUFFER_BYTES);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window)) < 0 ||
	    bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &length) < 0)
		return -errno;
	atomic_store(&shared->port, ntohs(in.sin_port));
	return fd;
}

static void begin(struct bench_shared *shared)
{
	meter_pin(1);
	meter_start(plan, shared);
}

static int connect_reply(struct bench_shared *shared)
{
	if (plan->kind != BENCH_PING)
		return 0;
	while (atomic_load(&shared->reply_port) == 0)
		usleep(1000);
	reply_fd = sender_connect(atomic_load(&shared->reply_port));
	return reply_fd < 0 ? reply_fd : 0;
}

/* What arrived in @n_buffers of them is the task's. */
static void use(const void *data, size_t n, uint32_t n_buffers)
{
	bytes += n;
	events++;
	buffers += n_buffers;
	if (reply_fd >= 0)
		(void)!send(reply_fd, data, n, MSG_NOSIGNAL);
}

/* ---- epoll */

static int read_by_recv(int fd)
{
	char *buffer = malloc(BENCH_BUFFER_BYTES);
	ssize_t n;

	if (!buffer)
		return -ENOMEM;
	n = recv(fd, buffer, BENCH_BUFFER_BYTES, MSG_DONTWAIT);
	if (n > 0)
		use(buffer, (size_t)n, 1);
	if (n <= 0 || !hold_add(plan, buffer))
		free(buffer);
	return n == 0 ? -EPIPE : 0;
}

static int read_by_readv(int fd)
{
	static char pool[BENCH_READV_BUFFERS][BENCH_BUFFER_BYTES] __attribute__((aligned(PAGE)));
	struct iovec iov[BENCH_READV_BUFFERS];
	ssize_t n;

	for (size_t i = 0; i < BENCH_READV_BUFFERS; i++)
		iov[i] = (struct iovec){ pool[i], BENCH_BUFFER_BYTES };
	n = readv(fd, iov, BENCH_READV_BUFFERS);
	if (n > 0)
		use(pool, (size_t)n, (uint32_t)((n + BENCH_BUFFER_BYTES - 1) / BENCH_BUFFER_BYTES));
	return n == 0 ? -EPIPE : 0;
}

static int accept_all(struct bench_shared *shared, int listen_fd, int (*add)(int fd))
{
	uint32_t n = 0;
	int fd, r = 0;

	while (n < plan->n_connections && r >= 0 && !atomic_load(&shared->is_over)) {
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && errno != EAGAIN)
			return -errno;
		if (fd < 0) {
			usleep(100);
			continue;
		}
		r = add(fd);
		atomic_store(&shared->n_accepted, ++n);
	}
	return r;
}

static int epoll_fd = -1;

static int add_to_epoll(int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int run_epoll(const struct bench_plan *the_plan, struct bench_shared *shared,
		     int (*read_one)(int fd))
{
	struct epoll_event ready[EVENTS];
	int listen_fd, n, r;
	void *done;

	plan = the_plan;
	idle_begin(plan);
	listen_fd = open_listener(shared);
	if (listen_fd < 0)
		return listen_fd;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	r = accept_all(shared, listen_fd, add_to_epoll);
	if (r >= 0)
		r = connect_reply(shared);
	begin(shared);
	while (r >= 0 && !meter_is_done(bytes, events, buffers)) {
		n = epoll_wait(epoll_fd, ready, EVENTS,
			       plan->awake == BENCH_RECEIVER ? 0
			       : plan->hold_ns               ? 1
							     : WAIT_MS);
		for (int i = 0; i < n && r >= 0; i++)
			r = read_one(ready[i].data.fd);
		while ((done = hold_take(plan)))
			free(done);
	}
	return atomic_load(&shared->is_over) ? 0 : r;
}

int receive_by_recv(const struct bench_plan *the_plan, struct bench_shared *shared)
{
	return run_epoll(the_plan, shared, read_by_recv);
}

int receive_by_readv(const struct bench_plan *the_plan, struct bench_shared *shared)
{
	return run_epoll(the_plan, shared, read_by_readv);
}

/* ---- io_uring */

static struct io_uring ring;
static struct io_uring_buf_ring *provided;
static char (*ring_pool)[BENCH_BUFFER_BYTES];
static bool is_direct;

/* @fd: or the index of a direct descriptor. */
static int arm(int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (!sqe && io_uring_submit(&ring) >= 0)
		sqe = io_uring_get_sqe(&ring);
	if (!sqe)
		return -EAGAIN;
	io_uring_prep_recv(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT | (is_direct ? IOSQE_FIXED_FILE : 0);
	sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	sqe->user_data = (uint64_t)fd;
	return 0;
}

/* Of a socket that was accepted the ring's table keeps the only reference. */
static int add_direct(int fd)
{
	static int n_direct;
	int r = io_uring_register_files_update(&ring, (unsigned)n_direct, &fd, 1);

	(void)close(fd);
	return r < 0 ? r : arm(n_direct++);
}

static void provide(uint16_t id)
{
	io_uring_buf_ring_add(provided, ring_pool[id], BENCH_BUFFER_BYTES, id,
			      io_uring_buf_ring_mask(RING_BUFFERS), 0);
	io_uring_buf_ring_advance(provided, 1);
}

static int open_ring(void)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
		.cq_entries = 2 * plan->n_connections + 256,
	};
	int r = io_uring_queue_init_params(256, &ring, &params);

	if (r >= 0 && is_direct)
		r = io_uring_register_files_sparse(&ring, plan->n_connections);
	if (r < 0)
		return r;
	provided = io_uring_setup_buf_ring(&ring, RING_BUFFERS, 0, 0, &r);
	ring_pool = aligned_alloc(PAGE, RING_BUFFERS * sizeof(*ring_pool));
	if (!provided || !ring_pool)
		return -ENOMEM;
	memset(ring_pool, 0, RING_BUFFERS * sizeof(*ring_pool));
	for (uint16_t id = 0; id < RING_BUFFERS; id++)
		provide(id);
	return 0;
}

static int on_receive(const struct io_uring_cqe *cqe)
{
	uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);

	if (cqe->res > 0) {
		use(ring_pool[id], (size_t)cqe->res, 1);
		provide(id);
	} else if (cqe->res != -ENOBUFS && cqe->res != -EAGAIN) {
		return cqe->res ? cqe->res : -EPIPE;
	}
	return arm((int)cqe->user_data);
}

static int reap(void)
{
	struct io_uring_cqe *cqe, copy;
	int r = 0;

	while (r >= 0 && io_uring_peek_cqe(&ring, &cqe) == 0) {
		copy = *cqe;
		io_uring_cqe_seen(&ring, cqe);
		r = on_receive(&copy);
	}
	return r;
}

int receive_by_one_shot(const struct bench_plan *the_plan, struct bench_shared *shared)
{
	struct __kernel_timespec wait = { .tv_nsec = WAIT_MS * 1000000 };
	struct io_uring_cqe *cqe;
	int listen_fd, r;

	plan = the_plan;
	idle_begin(plan);
	listen_fd = open_listener(shared);
	r = listen_fd < 0 ? listen_fd : open_ring();
	if (r >= 0)
		r = accept_all(shared, listen_fd, is_direct ? add_direct : arm);
	if (r >= 0)
		r = connect_reply(shared);
	begin(shared);
	while (r >= 0 && !meter_is_done(bytes, events, buffers)) {
		if (plan->awake == BENCH_RECEIVER)
			(void)io_uring_submit_and_get_events(&ring);
		else
			(void)io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &wait, NULL);
		r = reap();
	}
	return atomic_load(&shared->is_over) ? 0 : r;
}

int receive_by_direct(const struct bench_plan *the_plan, struct bench_shared *shared)
{
	is_direct = true;
	return receive_by_one_shot(the_plan, shared);
}
