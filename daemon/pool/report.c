/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The file is the task's, which may write anything at any time. So it is never mapped, only
 * copied: a page of it that could vanish would be a SIGBUS, a number that changes between check
 * and use a hole. That it has seals says it is of shmem, where a read never waits for anybody: a
 * pipe or a file of a user's own file system would stop the daemon's loop. F_SEAL_SHRINK and the
 * size say that a read gives all of it.
 */

#include "pool/report.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "model.h"

#define BUFFER_BYTES_MIN 256
#define BUFFER_BYTES_MAX (1U << 20)

static int copy(int fd, struct pool_report_file *ret)
{
	ssize_t n = pread(fd, ret, sizeof(*ret), 0);

	if (n < 0)
		return -errno;
	if (n != (ssize_t)sizeof(*ret) ||
	    memcmp(ret->magic, POOL_REPORT_MAGIC, sizeof(ret->magic)) != 0 ||
	    ret->version != POOL_REPORT_VERSION)
		return -EBADMSG;
	return 0;
}

int report_open(int fd, int *ret_fd)
{
	CLEANUP(fd_closep) int own = fd;
	struct pool_report_file file;
	struct stat st;
	int seals, r;

	seals = fcntl(own, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(own, &st) < 0 ||
	    st.st_size != (off_t)sizeof(file))
		return -EBADMSG;
	r = copy(own, &file);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(own);
	return 0;
}

static bool is_sound(const struct pool_report *report)
{
	uint32_t bytes = report->buffer_bytes;

	if (report->is_used != 1 || bytes < BUFFER_BYTES_MIN || bytes > BUFFER_BYTES_MAX ||
	    (bytes & (bytes - 1)) != 0 || report->min_buffers > report->max_buffers)
		return false;
	return report->name[0] != '\0' && memchr(report->name, '\0', sizeof(report->name));
}

static void copy_name(char to[static POOL_REPORT_NAME_MAX + 1], const char *from)
{
	size_t i;

	/* it goes to terminals and into JSON, which is UTF-8 */
	for (i = 0; i < POOL_REPORT_NAME_MAX && from[i]; i++)
		to[i] = (char)(isascii(from[i]) && isprint((unsigned char)from[i]) ? from[i] : '?');
	to[i] = '\0';
}

static void to_view(const struct pool_report *report, struct pool_view *ret)
{
	uint32_t n = report->n_buffers, out = MIN(report->n_out, n);

	*ret = (struct pool_view){
		.buffer_bytes = report->buffer_bytes,
		.min_buffers = report->min_buffers,
		.max_buffers = report->max_buffers,
		.n_buffers = n,
		.n_posted = MIN(report->n_posted, out),
		.n_idle = n - out,
		.n_in_magazines = MIN(report->n_in_magazines, n - out),
		.n_waiters = report->n_waiters,
		.high_water = report->high_water,
		.n_overdraft = MIN(report->n_overdraft, out),
		.n_chunks = report->n_chunks,
		.acquired_total = report->acquired_total,
		.empty_total = report->empty_total,
	};
	ret->n_held = out - ret->n_posted;
	ret->n_lent = n > ret->min_buffers ? n - ret->min_buffers : 0;
	copy_name(ret->name, report->name);
}

int report_read(int fd, struct pool_view views[static POOL_REPORTS], uint32_t *ret_n_unreported)
{
	struct pool_report_file file;
	int r = copy(fd, &file), n = 0;

	if (r < 0)
		return r;
	for (int i = 0; i < POOL_REPORTS; i++)
		if (is_sound(&file.pools[i]))
			to_view(&file.pools[i], &views[n++]);
	*ret_n_unreported = file.n_unreported;
	return n;
}

uint32_t pool_view_needed_chunks(const struct pool_view *view)
{
	uint64_t per_chunk = CHUNK_BYTES / view->buffer_bytes;
	uint64_t in_use = (uint64_t)view->n_held + view->n_posted + view->n_waiters;
	uint64_t chunks = (MAX(in_use, (uint64_t)view->min_buffers) + per_chunk - 1) / per_chunk;

	return (uint32_t)MIN(chunks, (uint64_t)UINT32_MAX);
}
