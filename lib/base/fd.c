/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reading follows what kernfs and procfs do: a file has no size worth trusting and may come in
 * pieces, so everything is read until read() says 0. pread() at 0 makes a kept descriptor of a
 * cgroup file show its present content without a seek. Writes to such files are one write(2) and
 * are not repeated after EINTR: for memory.reclaim the interrupted part has been done.
 */

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP 4096

void fd_closep(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd); /* on Linux the descriptor is gone even after an error */
	*fd = -1;
	errno = saved;
}

void freep(void *p)
{
	void *block;

	memcpy(&block, p, sizeof(block));
	free(block);
}

ssize_t fd_read_small(int fd, char *buf, size_t size)
{
	size_t len = 0;

	for (;;) {
		ssize_t n = pread(fd, buf + len, size - len, (off_t)len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			break;
		len += (size_t)n;
		if (len == size)
			return -EFBIG;
	}
	while (len > 0 && buf[len - 1] == '\n')
		len--;
	buf[len] = 0;
	return (ssize_t)len;
}

ssize_t file_read_small(int dir_fd, const char *path, char *buf, size_t size)
{
	CLEANUP(fd_closep) int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	return fd_read_small(fd, buf, size);
}

int file_write_small(int dir_fd, const char *path, const char *text)
{
	/* O_TRUNC: kernfs ignores it, a plain file needs it. */
	CLEANUP(fd_closep)
	int fd = openat(dir_fd, path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
	size_t len = strlen(text);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int file_read_all(int dir_fd, const char *path, size_t max_bytes, char **ret_text, size_t *ret_len)
{
	CLEANUP(fd_closep) int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	CLEANUP(freep) char *text = NULL;
	size_t len = 0, size = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n;

		if (size - len < 2) { /* one byte to read and the 0 */
			size_t grown = size ? size * 2 : READ_STEP;
			char *more = realloc(text, grown);

			if (!more)
				return -ENOMEM;
			text = more;
			size = grown;
		}
		n = read(fd, text + len, size - len - 1);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max_bytes)
			return -EFBIG;
	}
	text[len] = 0;
	*ret_text = TAKE(text);
	if (ret_len)
		*ret_len = len;
	return 0;
}

int fd_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			return -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int temporary_fill(int dir_fd, const char *temporary, const void *data, size_t len,
			  mode_t mode)
{
	CLEANUP(fd_closep)
	int fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
			0600);
	int r;

	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, data, len);
	if (r < 0)
		return r;
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

int file_replace(int dir_fd, const char *name, const void *data, size_t len, mode_t mode)
{
	CLEANUP(fd_closep) int sync_fd = -1;
	char temporary[NAME_MAX + 1];
	int r;

	if (strchr(name, '/') || *name == 0)
		return -EINVAL;
	r = snprintf(temporary, sizeof(temporary), ".%s.new", name);
	if (r < 0 || (size_t)r >= sizeof(temporary))
		return -ENAMETOOLONG;
	/* opened apart: fsync() refuses an O_PATH descriptor, and AT_FDCWD is none */
	sync_fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sync_fd < 0)
		return -errno;

	/* A crash may have left one; the name is ours. */
	if (unlinkat(dir_fd, temporary, 0) < 0 && errno != ENOENT)
		return -errno;
	r = temporary_fill(dir_fd, temporary, data, len, mode);
	if (r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dir_fd, temporary, 0); /* may not have been made */
		return r;
	}
	return fsync(sync_fd) < 0 ? -errno : 0;
}
