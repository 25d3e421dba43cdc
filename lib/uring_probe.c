/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Tries on TCP connections to itself what the receive path relies on. Versions say little: stable
 * kernels get features and bugs alike. And AF_UNIX says little of TCP, as only TCP tells how much
 * is left in the socket, which is what bundles go by.
 *
 * A limit for a multishot receive (sqe->optlen) came with 6.17; before, 6.12 says EINVAL. Bundles
 * came with 6.10; some of 6.13 and 6.14 returned the data of multishot bundles in another order
 * than that of the buffers. Incremental buffers came with 6.12. $TASKMEM_URING=plain does without
 * all of it, as on an older kernel; it also takes a list of limit, packed, gather, napi and resize, and tiny
 * for rings of eight entries, which any traffic overflows. Whether the kernel can resize a ring or asks
 * network devices is not tried before it is needed, and a least time for waits (6.12) is a feature of
 * the ring.
 */

#include "uring_probe.h"

#include <arpa/inet.h>
#include <liburing.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

#define BUFFERS 8
#define BYTES 4096
#define WAIT_NS 200000000

struct trial {
	struct io_uring ring;
	struct io_uring_buf_ring *entries;
	uint8_t *memory; /* BUFFERS * BYTES */
	int fds[2][2];   /* what is written to [1] is read from [0] */
	uint8_t sent[2], seen[2];
	bool has_ring;
};

static void trial_deinit(struct trial *t)
{
	for (int i = 0; i < 4; i++)
		fd_closep(&t->fds[i / 2][i % 2]);
	if (t->has_ring && t->entries)
		io_uring_free_buf_ring(&t->ring, t->entries, BUFFERS, 0);
	if (t->has_ring)
		io_uring_queue_exit(&t->ring);
	free(t->memory);
}

static bool connect_pair(int fds[static 2])
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(in);
	CLEANUP(fd_closep) int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listen_fd < 0 || fds[1] < 0 ||
	    bind(listen_fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(listen_fd, 1) < 0 ||
	    getsockname(listen_fd, (struct sockaddr *)&in, &length) < 0)
		return false;
	if (connect(fds[1], (struct sockaddr *)&in, sizeof(in)) < 0)
		return false;
	fds[0] = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	return fds[0] >= 0;
}

static bool trial_init(struct trial *t, unsigned flags)
{
	int r;

	*t = (struct trial){ .fds = { { -1, -1 }, { -1, -1 } } };
	t->memory = aligned_alloc(BYTES, BUFFERS * BYTES);
	if (!t->memory || io_uring_queue_init(16, &t->ring, 0) < 0)
		return false;
	t->has_ring = true;
	t->entries = io_uring_setup_buf_ring(&t->ring, BUFFERS, 0, flags, &r);
	if (!t->entries)
		return false;
	for (int i = 0; i < 2; i++)
		if (!connect_pair(t->fds[i]))
			return false;
	for (uint16_t i = 0; i < BUFFERS; i++)
		io_uring_buf_ring_add(t->entries, t->memory + i * BYTES, BYTES, i,
				      io_uring_buf_ring_mask(BUFFERS), i);
	io_uring_buf_ring_advance(t->entries, BUFFERS);
	return true;
}

/* Bytes that count up, for each of the two connections. */
static bool send_some(struct trial *t, int which, size_t n)
{
	uint8_t block[4 * BYTES];

	if (n == 0)
		return true;
	for (size_t i = 0; i < n; i++)
		block[i] = (uint8_t)(t->sent[which]++ * 7 + which * 101);
	return send(t->fds[which][1], block, n, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n;
}

static bool has_seen(struct trial *t, int which, uint32_t offset, int n)
{
	for (int i = 0; i < n; i++)
		if (t->memory[(offset + (uint32_t)i) % (BUFFERS * BYTES)] !=
		    (uint8_t)(t->seen[which]++ * 7 + which * 101))
			return false;
	return true;
}

static void arm(struct trial *t, int which, unsigned ioprio, uint32_t len, uint32_t limit)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&t->ring);

	io_uring_prep_recv(sqe, t->fds[which][0], NULL, len, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->ioprio |= (uint16_t)ioprio;
	sqe->optlen = limit;
	sqe->user_data = (uint64_t)which;
}

/* The next completion; false: none comes. */
static bool next(struct trial *t, struct io_uring_cqe *ret_cqe)
{
	struct __kernel_timespec wait = { .tv_nsec = WAIT_NS };
	struct io_uring_cqe *cqe;

	(void)io_uring_submit(&t->ring);
	if (io_uring_wait_cqe_timeout(&t->ring, &cqe, &wait) < 0)
		return false;
	*ret_cqe = *cqe;
	io_uring_cqe_seen(&t->ring, cqe);
	return true;
}

static uint32_t id_of(const struct io_uring_cqe *cqe)
{
	return cqe->flags >> IORING_CQE_BUFFER_SHIFT;
}

/* Of six buffers' worth it takes two, and says that this was all; then with bundles two and a
 * bit. */
static bool limits(struct trial *t)
{
	const struct {
		unsigned ioprio;
		uint32_t len, limit;
	} rounds[] = {
		{ 0, 0, 2 * BYTES },
		{ IORING_RECVSEND_BUNDLE, 2 * BYTES, 2 * BYTES + 100 },
	};
	struct io_uring_cqe cqe;
	bool is_last;

	if (!send_some(t, 0, 3 * BYTES) || !send_some(t, 0, 3 * BYTES))
		return false;
	for (size_t r = 0; r < ARRAY_LEN(rounds); r++) {
		arm(t, 0, IORING_RECV_MULTISHOT | rounds[r].ioprio, rounds[r].len, rounds[r].limit);
		for (uint32_t got = 0; got < rounds[r].limit; got += (uint32_t)cqe.res) {
			if (!next(t, &cqe) || cqe.res <= 0 || !(cqe.flags & IORING_CQE_F_BUFFER) ||
			    got + (uint32_t)cqe.res > rounds[r].limit ||
			    !has_seen(t, 0, id_of(&cqe) * BYTES, cqe.res))
				return false;
			is_last = !(cqe.flags & IORING_CQE_F_MORE);
			if (is_last != (got + (uint32_t)cqe.res == rounds[r].limit))
				return false;
		}
	}
	return true;
}

/* Two connections in turns, over the end of a buffer. */
static bool packs(struct trial *t)
{
	uint32_t used[BUFFERS] = {}, id;
	struct io_uring_cqe cqe;
	int which, n_left;

	for (int round = 0; round < 12; round++) {
		which = round % 2;
		n_left = round % 3 == 2 ? 900 : 64;
		if (!send_some(t, which, (size_t)n_left))
			return false;
		while (n_left > 0) {
			arm(t, which, 0, 0, 0);
			if (!next(t, &cqe) || cqe.res <= 0 || !(cqe.flags & IORING_CQE_F_BUFFER))
				return false;
			id = id_of(&cqe);
			if (!has_seen(t, which, id * BYTES + used[id], cqe.res))
				return false;
			used[id] += (uint32_t)cqe.res;
			n_left -= cqe.res;
			if (!(cqe.flags & IORING_CQE_F_BUF_MORE) != (used[id] == BYTES))
				return false;
		}
	}
	return true;
}

static bool try(bool (*run)(struct trial *t), unsigned flags)
{
	struct trial t;
	bool is_good = trial_init(&t, flags) && run(&t);

	trial_deinit(&t);
	return is_good;
}

static struct uring_abilities abilities;

static void try_all(void)
{
	const char *text = secure_getenv("TASKMEM_URING");
	bool has_choice = text && *text;

	abilities = (struct uring_abilities){
		.has_limit = (!has_choice || strstr(text, "limit")) && try(limits, 0),
		.has_packed =
			(!has_choice || strstr(text, "packed")) && try(packs, IOU_PBUF_RING_INC),
		.has_gather = !has_choice || strstr(text, "gather"),
		.has_napi = !has_choice || strstr(text, "napi"),
		.has_resize = !has_choice || strstr(text, "resize"),
		.is_tiny = has_choice && strstr(text, "tiny"),
	};
}

struct uring_abilities uring_probe(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, try_all);
	return abilities;
}
