/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For kernels and containers that refuse io_uring. One thread is enough: it is for writes
 * that are few and may wait for each other. It may be inside a write that takes seconds when
 * the writer is freed, so what it uses belongs to both sides and goes with the last of them.
 */

#include "kern/writer_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"

struct writer_thread {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list todo, finished; /* struct writer_job */
	int event_fd;
	int users; /* the thread and its owner */
	bool is_stopping;
};

void writer_job_free(struct writer_job *job)
{
	fd_closep(&job->fd);
	free(job);
}

static void free_jobs(struct list *head)
{
	struct writer_job *job;

	LIST_FOREACH(head, job, item) {
		list_remove(&job->item);
		writer_job_free(job);
	}
}

/* Called with the lock held, releases it. */
static void drop(struct writer_thread *t)
{
	bool is_last = --t->users == 0;

	pthread_mutex_unlock(&t->lock);
	if (!is_last)
		return;
	free_jobs(&t->todo);
	free_jobs(&t->finished);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	fd_closep(&t->event_fd);
	free(t);
}

static void do_job(struct writer_job *job)
{
	ssize_t n = pwrite(job->fd, job->text, job->len, 0);

	if (n < 0 && errno == ESPIPE)
		n = write(job->fd, job->text, job->len);
	job->result = n < 0 ? -errno : (int)n;
}

/* With the lock held. An eventfd takes this until 2^64 wake-ups were not read. */
static void finish(struct writer_thread *t, struct writer_job *job)
{
	const uint64_t one = 1;

	list_append(&t->finished, &job->item);
	(void)!write(t->event_fd, &one, sizeof(one));
}

static void *run(void *userdata)
{
	struct writer_thread *t = userdata;

	pthread_mutex_lock(&t->lock);
	while (!t->is_stopping) {
		struct writer_job *job;

		if (list_is_empty(&t->todo)) {
			pthread_cond_wait(&t->wake, &t->lock);
			continue;
		}
		job = list_entry(t->todo.next, struct writer_job, item);
		list_remove(&job->item);
		pthread_mutex_unlock(&t->lock);
		do_job(job);
		pthread_mutex_lock(&t->lock);
		finish(t, job);
	}
	drop(t);
	return NULL;
}

static int start(struct writer_thread *t)
{
	pthread_attr_t attr;
	pthread_t id;
	sigset_t all, old;
	int r = pthread_attr_init(&attr);

	if (r != 0)
		return -r;
	/* signals are for the event loop */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	r = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (r == 0)
		r = pthread_create(&id, &attr, run, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -r;
}

int writer_thread_new(int event_fd, struct writer_thread **ret_thread)
{
	struct writer_thread *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	list_init(&t->todo);
	list_init(&t->finished);
	t->users = 2;
	t->event_fd = fcntl(event_fd, F_DUPFD_CLOEXEC, 3);
	if (t->event_fd < 0) {
		r = -errno;
		free(t);
		return r;
	}
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, NULL);
	r = start(t);
	if (r < 0) {
		pthread_mutex_lock(&t->lock);
		t->users = 1;
		drop(t);
		return r;
	}
	*ret_thread = t;
	return 0;
}

void writer_thread_free(struct writer_thread *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->is_stopping = true;
	pthread_cond_signal(&t->wake);
	drop(t);
}

void writer_thread_submit(struct writer_thread *t, struct writer_job *job)
{
	pthread_mutex_lock(&t->lock);
	list_append(&t->todo, &job->item);
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
}

void writer_thread_withdraw(struct writer_thread *t, const struct writer_job *job)
{
	struct writer_job *waiting;

	pthread_mutex_lock(&t->lock);
	LIST_FOREACH(&t->todo, waiting, item) {
		if (waiting != job)
			continue;
		list_remove(&waiting->item);
		waiting->result = -ECANCELED;
		finish(t, waiting);
	}
	pthread_mutex_unlock(&t->lock);
}

struct writer_job *writer_thread_reap(struct writer_thread *t)
{
	struct writer_job *job = NULL;

	pthread_mutex_lock(&t->lock);
	if (!list_is_empty(&t->finished)) {
		job = list_entry(t->finished.next, struct writer_job, item);
		list_remove(&job->item);
	}
	pthread_mutex_unlock(&t->lock);
	return job;
}
