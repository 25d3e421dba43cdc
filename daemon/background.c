/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A thread for each piece of work: it begins some 50 µs later than in one that waits for it, which
 * is nothing beside a disk, and there is no queue whose head could be stuck. An eventfd tells the
 * loop; after that the thread only returns, so joining it does not wait.
 */

#include "background.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"

struct background {
	pthread_t thread;
	sd_event_source *source;
	int event_fd;
	background_work_fn work;
	background_done_fn done;
	void *userdata;
	int result; /* the thread's until it has ended */
};

static void background_free(struct background *b)
{
	sd_event_source_disable_unref(b->source);
	fd_closep(&b->event_fd);
	free(b);
}

static void *run(void *userdata)
{
	const uint64_t one = 1;
	struct background *b = userdata;

	b->result = b->work(b->userdata);
	(void)!write(b->event_fd, &one, sizeof(one));
	return NULL;
}

int background_wait(struct background *b)
{
	int result;

	(void)pthread_join(b->thread, NULL);
	result = b->result;
	background_free(b);
	return result;
}

static int on_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct background *b = userdata;
	background_done_fn done = b->done;
	void *done_userdata = b->userdata;

	(void)source;
	(void)fd;
	(void)events;
	done(background_wait(b), done_userdata);
	return 0;
}

/* Signals are for the event loop. */
static int start(struct background *b)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	r = pthread_create(&b->thread, NULL, run, b);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

int background_start(sd_event *event, background_work_fn work, background_done_fn done,
		     void *userdata, struct background **ret)
{
	struct background *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->work = work;
	b->done = done;
	b->userdata = userdata;
	b->event_fd = eventfd(0, EFD_CLOEXEC);
	r = b->event_fd < 0 ? -errno
			    : sd_event_add_io(event, &b->source, b->event_fd, EPOLLIN, on_end, b);
	if (r >= 0)
		r = start(b);
	if (r < 0) {
		background_free(b);
		return r;
	}
	*ret = b;
	return 0;
}
