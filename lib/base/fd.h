/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* File descriptors: closing, small files, atomic replacement. */

#include <stddef.h>
#include <sys/types.h>

#include "base/attr.h"

/* For CLEANUP(): closes *fd unless it is negative; errno is kept. */
void fd_closep(int *fd);
/* For CLEANUP(): frees the heap block that *p points to. */
void freep(void *p);

/**
 * fd_read_small() - read a whole small file from its beginning
 * @fd:   readable; the file position is not used (pread at 0)
 * @buf:  receives the text and a terminating 0; trailing newlines are removed
 * @size: of @buf, >= 2
 *
 * Return: length without the 0, or -errno; -EFBIG when the file does not fit @buf.
 */
MUST_USE ssize_t fd_read_small(int fd, char *buf, size_t size);

/* Opens @path below @dir_fd (AT_FDCWD allowed) and does fd_read_small(). Same results. */
MUST_USE ssize_t file_read_small(int dir_fd, const char *path, char *buf, size_t size);

/* Writes @text with one write(2), never repeated, to the existing @path below @dir_fd.
 * Return: 0, -errno, or -EIO after a short write. */
MUST_USE int file_write_small(int dir_fd, const char *path, const char *text);

/**
 * file_read_all() - read a regular file of at most @max_bytes
 * @ret_text: heap block, 0-terminated, owned by the caller
 * @ret_len:  length without the 0; may be NULL
 *
 * Return: 0 or -errno; -EFBIG above @max_bytes.
 */
MUST_USE int file_read_all(int dir_fd, const char *path, size_t max_bytes, char **ret_text,
			   size_t *ret_len);

/**
 * file_replace() - atomically replace a file's content
 *
 * @name is a plain name in @dir_fd (AT_FDCWD allowed), without a slash; one writer at a time.
 * Writes ".<name>.new" beside it, fsyncs that, renames it over @name and fsyncs the directory:
 * after a crash the old or the new content is there, never a mixture.
 *
 * Return: 0 or -errno, in which case the old file is untouched and no temporary is left; only
 *         when the directory's own fsync fails is the new content in place but perhaps not
 *         yet on the disk.
 */
MUST_USE int file_replace(int dir_fd, const char *name, const void *data, size_t len, mode_t mode);

/* Writes all of @data, retrying short writes and EINTR. Return: 0 or -errno. */
MUST_USE int fd_write_all(int fd, const void *data, size_t len);
