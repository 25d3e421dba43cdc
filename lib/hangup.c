/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How sockets end.
 *
 * close(2) ends a connection, or takes a listener away, with the last descriptor only. A child that
 * was forked has all of them until it exits or executes something, and meanwhile the peer would see
 * no end, and what was sent without a copy would be read on out of buffers that are somebody else's.
 * So it is said first, and in the way that close() would say it:
 *
 *	something unread	a reset: a peer that reads an end might take all for received
 *	otherwise		the end, after what the kernel has taken has been sent
 *
 * Seen on 6.18: shutdown(SHUT_RDWR) of a TCP socket leaves what is to be sent alone, and data that
 * comes afterwards is answered with a reset, as if it were closed; connect(2) to AF_UNSPEC resets the
 * connection and drops all that is queued, whoever has descriptors. A unix socket knows no such
 * call, so a peer of that reads an end. A TCP listener resets those that wait to be accepted, a unix
 * one keeps them. With no child about nothing of this can be told from close() alone; it costs two
 * system calls more.
 */

#include "hangup.h"

#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/fd.h"

static void disconnect(int fd)
{
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	(void)connect(fd, &nobody, sizeof(nobody));
}

void hangup_connection(int *fd)
{
	int n_unread = 0;

	if (*fd < 0)
		return;
	if (ioctl(*fd, FIONREAD, &n_unread) == 0 && n_unread > 0)
		disconnect(*fd);
	(void)shutdown(*fd, SHUT_RDWR); /* fails if the connection is gone already */
	fd_closep(fd);
}

void hangup_reset(int *fd)
{
	const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	disconnect(*fd);
	/* close() would do the same, if this process has the only descriptor */
	(void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	fd_closep(fd);
}

void hangup_listener(int *fd)
{
	int waiting;

	(void)shutdown(*fd, SHUT_RDWR);
	while ((waiting = accept(*fd, NULL, NULL)) >= 0)
		hangup_connection(&waiting);
	fd_closep(fd);
}
