/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the fake daemon share: fake_daemon.c serves in a thread, fake_daemon_view.c looks
 * from the test's. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <systemd/sd-event.h>
#include <systemd/sd-varlink.h>

#include "fake_daemon.h"

#define CHUNK ((off_t)2 << 20)

struct fake_daemon {
	char directory[64], socket[80];
	int command_fd;
	pthread_t thread;
	pthread_mutex_t lock; /* all below */
	bool is_running, should_stop, should_notify, has_no_seals, is_huge;
	int memfd;
	uint64_t grant;
	bool is_granted;
	uint32_t file_chunks, share, available, n_grows, n_errors, n_late_detaches;
	bool *present, *revoked, *draining;
	uint32_t n_to_revoke;
	uint64_t revocation, pages_deadline_ns;
	sd_event *event;
	sd_varlink_server *server;
	sd_varlink *client;  /* the long Attach call */
	sd_varlink *watcher; /* the long WatchSlot call */
	bool should_tell, has_report;
	const char *why;
	uint64_t notice, target, usage, max, deadline_ns, reported_bytes, reported_notice;
	sd_varlink *request; /* the long RequestMemory call */
	uint64_t room, requested, held;
	bool has_room_changed;
	bool has_uring, has_epoll; /* of ReportEngine */
	int pools_fd;              /* of ReportPools */
};

/* Our own calls are expected to succeed; if not, the test is worth nothing. */
static inline void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fake daemon: %s: %m\n", what);
	abort();
}

/* Of the file's chunks those for which @chunks, an array of the daemon's, says so. Under the lock. */
static inline uint32_t count(const struct fake_daemon *d, const bool *chunks)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < d->file_chunks; i++)
		n += chunks[i];
	return n;
}
