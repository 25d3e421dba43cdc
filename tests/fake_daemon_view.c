/* SPDX-License-Identifier: Apache-2.0 */

/* What a test sees of the fake daemon: what was called, what is held, what was told. */

#include <sys/stat.h>

#include "fake_daemon_private.h"

const char *fake_daemon_get_socket(const struct fake_daemon *d)
{
	return d->socket;
}

/* ---- pages */

static uint32_t count_locked(struct fake_daemon *d, const bool *chunks)
{
	uint32_t n;

	pthread_mutex_lock(&d->lock);
	n = count(d, chunks);
	pthread_mutex_unlock(&d->lock);
	return n;
}

uint32_t fake_daemon_count_present(struct fake_daemon *d)
{
	return count_locked(d, d->present);
}

uint32_t fake_daemon_count_revoked(struct fake_daemon *d)
{
	return count_locked(d, d->revoked);
}

uint32_t fake_daemon_count_draining(struct fake_daemon *d)
{
	return count_locked(d, d->draining);
}

uint32_t fake_daemon_count_backed(struct fake_daemon *d)
{
	struct stat st = {};

	pthread_mutex_lock(&d->lock);
	if (d->memfd >= 0)
		must(fstat(d->memfd, &st) == 0, "fstat");
	pthread_mutex_unlock(&d->lock);
	return (uint32_t)((st.st_blocks * 512 + CHUNK - 1) / CHUNK);
}

/* ---- calls */

static uint32_t get(struct fake_daemon *d, const uint32_t *value)
{
	uint32_t n;

	pthread_mutex_lock(&d->lock);
	n = *value;
	pthread_mutex_unlock(&d->lock);
	return n;
}

uint32_t fake_daemon_count_grows(struct fake_daemon *d)
{
	return get(d, &d->n_grows);
}

uint32_t fake_daemon_count_late_detaches(struct fake_daemon *d)
{
	return get(d, &d->n_late_detaches);
}

uint32_t fake_daemon_count_errors(struct fake_daemon *d)
{
	return get(d, &d->n_errors);
}

uint32_t fake_daemon_count_watchers(struct fake_daemon *d)
{
	uint32_t n;

	pthread_mutex_lock(&d->lock);
	n = d->watcher != NULL;
	pthread_mutex_unlock(&d->lock);
	return n;
}

uint64_t fake_daemon_count_requested(struct fake_daemon *d)
{
	uint64_t held;

	pthread_mutex_lock(&d->lock);
	held = d->held;
	pthread_mutex_unlock(&d->lock);
	return held;
}

/* ---- what the library told */

bool fake_daemon_get_report(struct fake_daemon *d, uint64_t *ret_bytes, uint64_t *ret_notice)
{
	bool has_report;

	pthread_mutex_lock(&d->lock);
	has_report = d->has_report;
	*ret_bytes = d->reported_bytes;
	*ret_notice = d->reported_notice;
	pthread_mutex_unlock(&d->lock);
	return has_report;
}

const char *fake_daemon_get_engines(struct fake_daemon *d)
{
	const char *names;

	pthread_mutex_lock(&d->lock);
	names = d->has_uring ? (d->has_epoll ? "both" : "uring") : d->has_epoll ? "epoll" : "none";
	pthread_mutex_unlock(&d->lock);
	return names;
}

int fake_daemon_take_pools(struct fake_daemon *d)
{
	int fd;

	pthread_mutex_lock(&d->lock);
	fd = TAKE_FD(d->pools_fd);
	pthread_mutex_unlock(&d->lock);
	return fd;
}
