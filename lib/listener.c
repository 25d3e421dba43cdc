/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Listening sockets.
 *
 * SO_RCVBUF is set before listen(), because an accepted socket inherits it together with the
 * window scale that goes with it. It follows the credit window: the kernel doubles the value
 * for its own overhead, and without it each parked TCP socket could queue up to tcp_rmem[2]
 * (6 MiB) of kernel memory that is billed to the slot.
 */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mono.h"
#include "engine.h"
#include "hangup.h"
#include "info.h"

#define BACKLOG 1024
#define WINDOW_MIN_BYTES (64 << 10)
#define WINDOW_MAX_BYTES (64 << 20)  /* the kernel caps it at net.core.rmem_max anyway */
#define PAUSE_NS (100 * NS_PER_MSEC) /* after EMFILE and its like, for descriptors to come free */

void listener_set_window(const struct tm_engine *engine, int fd)
{
	uint64_t window = (uint64_t)engine->credit_buffers * engine->pool->buffer_bytes;
	int bytes;

	window = MAX(window, (uint64_t)WINDOW_MIN_BYTES);
	bytes = (int)MIN(window, (uint64_t)WINDOW_MAX_BYTES);
	/* a larger buffer than wanted is no reason to refuse the connection */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

void listener_on_accept(struct tm_engine *engine, struct listener *listener, int fd)
{
	struct tm_channel *channel = NULL;

	listener->retry_at_ns = 0;
	if (engine->n_channels < engine->max_channels)
		channel = channel_new(engine, fd);
	if (!channel) {
		hangup_connection(&fd);
		return;
	}
	channel_open(channel);
}

void listener_on_stop(struct tm_engine *engine, struct listener *listener, int error)
{
	(void)engine;
	listener->is_armed = false;
	switch (-error) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		listener->retry_at_ns = mono_now_ns() + PAUSE_NS;
		break;
	default: /* the connection died in the queue, or no error at all */
		listener->retry_at_ns = 0;
		break;
	}
}

void listener_free(struct listener *listener)
{
	list_remove(&listener->node);
	hangup_listener(&listener->fd);
	if (listener->unlink_path)
		(void)unlink(listener->unlink_path);
	free(listener->unlink_path);
	free(listener);
}

void listener_arm_all(struct tm_engine *engine, int *timeout_ms)
{
	struct listener *listener;
	uint64_t now_ns = 0;
	int wait_ms;

	LIST_FOREACH(&engine->listeners, listener, node) {
		if (listener->is_armed)
			continue;
		if (listener->retry_at_ns) {
			now_ns = mono_now_ns();
			wait_ms = (int)((PAUSE_NS + NS_PER_MSEC) / NS_PER_MSEC);
			if (now_ns < listener->retry_at_ns) {
				if (*timeout_ms < 0 || *timeout_ms > wait_ms)
					*timeout_ms = wait_ms;
				continue;
			}
		}
		listener->is_armed = engine->backend->arm_listener(engine, listener) >= 0;
	}
}

/* A socket file that nobody listens on any more is left over from a crash. */
static bool is_stale(const struct address *address)
{
	CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return false;
	return connect(fd, (const struct sockaddr *)&address->storage, address->length) < 0 &&
	       errno == ECONNREFUSED;
}

static int bind_socket(int fd, const struct address *address)
{
	const struct sockaddr *sockaddr = (const struct sockaddr *)&address->storage;
	const char *path = ((const struct sockaddr_un *)&address->storage)->sun_path;
	int on = 1, off = 0;

	if (sockaddr->sa_family != AF_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (sockaddr->sa_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, sockaddr, address->length) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	if (sockaddr->sa_family != AF_UNIX || *path == '\0' || !is_stale(address))
		return -EADDRINUSE;
	(void)unlink(path);
	return bind(fd, sockaddr, address->length) < 0 ? -errno : 0;
}

static int open_listener(struct tm_engine *engine, const struct address *address, int *ret_fd)
{
	CLEANUP(fd_closep) int fd = -1;
	int family = address->storage.ss_family, r;

	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (family != AF_UNIX)
		listener_set_window(engine, fd);
	if (family != AF_UNIX)
		patience_set(engine, fd); /* inherited by what is accepted */
	r = bind_socket(fd, address);
	if (r < 0)
		return r;
	if (listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int bound_port(int fd)
{
	struct sockaddr_storage storage = {};
	socklen_t length = sizeof(storage);

	if (getsockname(fd, (struct sockaddr *)&storage, &length) < 0)
		return -errno;
	if (storage.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&storage)->sin_port);
	if (storage.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&storage)->sin6_port);
	return 0;
}

TM_PUBLIC int tm_engine_listen(struct tm_engine *engine, const char *address)
{
	struct address addresses[ADDRESSES_MAX];
	struct listener *listener;
	int n, r = -EINVAL, fd = -1;

	n = address_resolve(address, /* is_passive= */ true, addresses);
	if (n < 0)
		return n;
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return -ENOMEM;
	for (int i = 0; i < n && fd < 0; i++) {
		r = open_listener(engine, &addresses[i], &fd);
		if (r == -EADDRINUSE)
			break; /* not a reason to take another family */
	}
	if (fd < 0) {
		free(listener);
		return r;
	}
	listener->fd = fd;
	if (strncmp(address, "unix:/", 6) == 0)
		listener->unlink_path = strdup(address + 5);
	list_append(&engine->listeners, &listener->node);
	return bound_port(fd);
}
