/* SPDX-License-Identifier: Apache-2.0 */

/*
 * kernfs cannot write without blocking, so every write goes to an io_uring worker of the
 * kernel at once (IOSQE_ASYNC), which keeps submission at a tenth of a millisecond.
 *
 * One write to a file is under way at a time; the next ones to it wait in line here. io_uring
 * would keep the order of writes to one inode if it knew the file when it queues them, which with
 * IOSQE_ASYNC and a file of the ring's own table it does not (seen on 6.18: the last but two of 500
 * was the last to be done).
 *
 * A worker may start long after submission, even after the writer is gone. So it must not
 * depend on memory or descriptor numbers that somebody reuses in between: texts are in
 * registered buffers, whose pages the kernel holds, and files in the ring's own table. There
 * are as many of both as there are slots; more operations wait in line.
 *
 * Descriptors must be blocking: for O_NONBLOCK files io_uring answers -EAGAIN instead of
 * using a worker.
 */

#include "kern/writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "kern/writer_thread.h"

/* Workers for files are limited to 4 a CPU anyway. */
#define SLOTS 32
/* Room for the cancellation of each besides. */
#define RING_ENTRIES (2 * SLOTS)
#define NO_SLOT SLOTS

struct write_op {
	struct writer_job job; /* first, so that the thread can free it */
	writer_done_fn done;   /* NULL when cancelled */
	void *userdata;
	size_t slot;
	dev_t device; /* of the file, and … */
	ino_t inode;
};

static_assert(offsetof(struct write_op, job) == 0);

struct writer {
	sd_event_source *source;
	int event_fd;
	struct writer_thread *thread; /* or, if NULL, the ring: */
	struct io_uring ring;
	char (*texts)[WRITER_TEXT_MAX]; /* [SLOTS], registered */
	struct write_op *slots[SLOTS];
	struct list waiting;
	struct list withdrawn; /* from there, to be reported */
	bool has_ring;
	bool is_dispatching;
	bool is_freed;
};

static struct write_op *job_to_op(struct writer_job *job)
{
	return job ? container_of(job, struct write_op, job) : NULL;
}

static void ring_close(struct writer *w)
{
	if (w->has_ring)
		io_uring_queue_exit(&w->ring);
	w->has_ring = false;
	if (w->texts)
		munmap(w->texts, SLOTS * WRITER_TEXT_MAX);
	w->texts = NULL;
}

static int ring_open(struct writer *w)
{
	struct iovec texts = { .iov_len = SLOTS * WRITER_TEXT_MAX };
	void *memory;
	int r = io_uring_queue_init(RING_ENTRIES, &w->ring, 0);

	if (r < 0)
		return r;
	w->has_ring = true;
	memory = mmap(NULL, texts.iov_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (memory == MAP_FAILED)
		return -errno;
	w->texts = texts.iov_base = memory;
	r = io_uring_register_buffers(&w->ring, &texts, 1);
	if (r == 0)
		r = io_uring_register_files_sparse(&w->ring, SLOTS);
	if (r == 0)
		r = io_uring_register_eventfd(&w->ring, w->event_fd);
	return r;
}

/* Gives the operation to the kernel, which then has its own reference to the file. */
static int ring_start(struct writer *w, struct write_op *op, size_t slot)
{
	int r = io_uring_register_files_update(&w->ring, (unsigned)slot, &op->job.fd, 1);
	struct io_uring_sqe *sqe;

	if (r < 0)
		return r;
	sqe = io_uring_get_sqe(&w->ring);
	if (!sqe)
		return -EBUSY;
	memcpy(w->texts[slot], op->job.text, op->job.len);
	io_uring_prep_write_fixed(sqe, (int)slot, w->texts[slot], (unsigned)op->job.len,
				  /* offset= */ 0, /* buf_index= */ 0);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE | IOSQE_ASYNC);
	io_uring_sqe_set_data64(sqe, slot + 1);
	r = io_uring_submit(&w->ring);
	if (r < 0) { /* it is still queued: make it one that does nothing */
		io_uring_prep_nop(sqe);
		io_uring_sqe_set_data64(sqe, 0);
		return r;
	}
	fd_closep(&op->job.fd);
	op->slot = slot;
	w->slots[slot] = op;
	return 0;
}

static size_t find_slot(const struct writer *w)
{
	size_t slot = 0;

	while (slot < SLOTS && w->slots[slot])
		slot++;
	return slot;
}

/* Takes the operation out of its slot. */
static struct write_op *ring_finish(struct writer *w, size_t slot, int result)
{
	struct write_op *op = w->slots[slot];
	int none = -1;

	w->slots[slot] = NULL;
	/* else the slot's next file replaces it */
	(void)io_uring_register_files_update(&w->ring, (unsigned)slot, &none, 1);
	op->job.result = result;
	return op;
}

static bool is_same_file(const struct write_op *a, const struct write_op *b)
{
	return a->inode == b->inode && a->device == b->device;
}

static bool is_file_busy(const struct writer *w, const struct write_op *op)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (w->slots[i] && is_same_file(w->slots[i], op))
			return true;
	return false;
}

/* The first in line whose file nobody writes to now, or NULL. */
static struct write_op *find_startable(struct writer *w)
{
	struct writer_job *job;

	LIST_FOREACH(&w->waiting, job, item)
		if (!is_file_busy(w, job_to_op(job)))
			return job_to_op(job);
	return NULL;
}

/* Must it wait for another one to the same file? */
static bool is_behind(struct writer *w, const struct write_op *op)
{
	struct writer_job *job;

	LIST_FOREACH(&w->waiting, job, item)
		if (is_same_file(job_to_op(job), op))
			return true;
	return is_file_busy(w, op);
}

/* Next finished operation, or NULL. */
static struct write_op *ring_reap(struct writer *w)
{
	struct io_uring_cqe *cqe;
	struct write_op *op;

	if (!list_is_empty(&w->withdrawn)) {
		op = job_to_op(list_entry(w->withdrawn.next, struct writer_job, item));
		list_remove(&op->job.item);
		return op;
	}
	while (io_uring_peek_cqe(&w->ring, &cqe) == 0) {
		uint64_t data = io_uring_cqe_get_data64(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&w->ring, cqe);
		if (data != 0) /* 0: a cancellation, whose own result is of no interest */
			return ring_finish(w, (size_t)data - 1, result);
	}
	while (find_slot(w) != NO_SLOT && (op = find_startable(w))) {
		int r;

		list_remove(&op->job.item);
		r = ring_start(w, op, find_slot(w));
		if (r < 0) {
			op->job.result = r;
			return op;
		}
	}
	return NULL; /* what is done by now has written the eventfd again */
}

static void free_jobs(struct list *head)
{
	struct writer_job *job;

	LIST_FOREACH(head, job, item) {
		list_remove(&job->item);
		writer_job_free(job);
	}
}

static void destroy(struct writer *w)
{
	if (w->source)
		sd_event_source_disable_unref(w->source);
	writer_thread_free(w->thread);
	ring_close(w);
	for (size_t i = 0; i < SLOTS; i++) {
		if (w->slots[i])
			writer_job_free(&w->slots[i]->job);
	}
	free_jobs(&w->waiting);
	free_jobs(&w->withdrawn);
	fd_closep(&w->event_fd);
	free(w);
}

static int on_completion(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct writer *w = userdata;
	uint64_t count;

	(void)source;
	(void)events;
	(void)!read(fd, &count, sizeof(count)); /* only resets it */
	w->is_dispatching = true;
	while (!w->is_freed) {
		struct write_op *op =
			w->thread ? job_to_op(writer_thread_reap(w->thread)) : ring_reap(w);
		writer_done_fn done;
		void *done_userdata;
		int result;

		if (!op)
			break;
		done = op->done;
		done_userdata = op->userdata;
		result = op->job.result;
		writer_job_free(&op->job);
		if (done)
			done(result, done_userdata);
	}
	w->is_dispatching = false;
	if (w->is_freed)
		destroy(w);
	return 0;
}

static int create(sd_event *event, bool use_thread, struct writer **ret_writer)
{
	struct writer *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	list_init(&w->waiting);
	list_init(&w->withdrawn);
	w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->event_fd < 0) {
		r = -errno;
		free(w);
		return r;
	}
	r = use_thread ? -EOPNOTSUPP : ring_open(w);
	if (r < 0) {
		ring_close(w);
		r = writer_thread_new(w->event_fd, &w->thread);
	}
	if (r == 0)
		r = sd_event_add_io(event, &w->source, w->event_fd, EPOLLIN, on_completion, w);
	if (r < 0) {
		destroy(w);
		return r;
	}
	*ret_writer = w;
	return 0;
}

int writer_new(sd_event *event, struct writer **ret_writer)
{
	return create(event, /* use_thread= */ false, ret_writer);
}

int writer_new_thread(sd_event *event, struct writer **ret_writer)
{
	return create(event, /* use_thread= */ true, ret_writer);
}

void writer_free(struct writer *writer)
{
	if (!writer)
		return;
	if (writer->is_dispatching)
		writer->is_freed = true;
	else
		destroy(writer);
}

const char *writer_kind(const struct writer *writer)
{
	return writer->thread ? "thread" : "io_uring";
}

int writer_submit(struct writer *writer, int fd, const char *text, writer_done_fn done,
		  void *userdata, struct write_op **ret_op)
{
	size_t len = strlen(text), slot;
	struct write_op *op;
	struct stat st;
	int r = 0;

	if (len >= WRITER_TEXT_MAX)
		return -E2BIG;
	op = calloc(1, sizeof(*op));
	if (!op)
		return -ENOMEM;
	list_init(&op->job.item);
	op->done = done;
	op->userdata = userdata;
	op->slot = NO_SLOT;
	op->job.len = len;
	memcpy(op->job.text, text, len + 1);
	op->job.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (op->job.fd < 0 || fstat(op->job.fd, &st) < 0) {
		r = -errno;
		writer_job_free(&op->job);
		return r;
	}
	op->device = st.st_dev;
	op->inode = st.st_ino;

	slot = find_slot(writer);
	if (writer->thread)
		writer_thread_submit(writer->thread, &op->job);
	else if (slot == NO_SLOT || is_behind(writer, op))
		list_append(&writer->waiting, &op->job.item);
	else
		r = ring_start(writer, op, slot);
	if (r < 0) {
		writer_job_free(&op->job);
		return r;
	}
	if (ret_op)
		*ret_op = op;
	return 0;
}

void writer_end_early(struct writer *writer, struct write_op *op)
{
	const uint64_t one = 1;
	struct io_uring_sqe *sqe;

	if (writer->thread) {
		writer_thread_withdraw(writer->thread, &op->job);
		return;
	}
	if (op->slot == NO_SLOT) {
		list_remove(&op->job.item);
		op->job.result = -ECANCELED;
		list_append(&writer->withdrawn, &op->job.item);
		(void)!write(writer->event_fd, &one, sizeof(one));
		return;
	}
	/* A reclaim in progress ends after its current batch; no room means that it does not. */
	sqe = io_uring_get_sqe(&writer->ring);
	if (!sqe)
		return;
	io_uring_prep_cancel64(sqe, op->slot + 1, 0);
	io_uring_sqe_set_data64(sqe, 0);
	(void)io_uring_submit(&writer->ring);
}

void writer_cancel(struct writer *writer, struct write_op *op)
{
	op->done = NULL;
	if (!writer->thread && op->slot == NO_SLOT) {
		list_remove(&op->job.item);
		writer_job_free(&op->job);
		return;
	}
	writer_end_early(writer, op);
}
