/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A thread that writes texts to files, one after the other: writer.c's second engine. */

#include <stddef.h>

#include "base/attr.h"
#include "base/list.h"

#define WRITER_TEXT_MAX 256 /* with its 0 */

struct writer_job {
	struct list item;
	int fd; /* owned by the job */
	size_t len;
	int result; /* bytes written or -errno */
	char text[WRITER_TEXT_MAX];
};

struct writer_thread;

/* @event_fd (duplicated) is written when a job is done. Return: 0 or -errno. */
MUST_USE int writer_thread_new(int event_fd, struct writer_thread **ret_thread);
/* Jobs not begun are dropped; one in progress ends by itself. */
void writer_thread_free(struct writer_thread *thread);
/* Takes the job over; @job->item is in no list. */
void writer_thread_submit(struct writer_thread *thread, struct writer_job *job);
/* One that has not begun is finished now, with -ECANCELED; else nothing happens. */
void writer_thread_withdraw(struct writer_thread *thread, const struct writer_job *job);
/* Next finished job, which the caller frees, or NULL. */
struct writer_job *writer_thread_reap(struct writer_thread *thread);
void writer_job_free(struct writer_job *job);
