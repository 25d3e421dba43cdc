/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The kernel fills a node's pool as far as it can and reports success either way, so what it
 * did is read back. SEEK_DATA does not see holes on hugetlbfs and mincore() only shows one
 * mapping: st_blocks is the one true count of what a file holds.
 */

#include "kern/hugetlb.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "model.h"

static int open_pages_dir(int node, enum page_kind kind)
{
	const char *dir = kind == PAGES_GIGANTIC ? "hugepages-1048576kB" : "hugepages-2048kB";
	char path[80];
	int fd;

	(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/hugepages/%s", node,
		       dir);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && node == 0) {
		/* a kernel without NUMA has the global pool only */
		(void)snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/%s", dir);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

static int read_count(int dir_fd, const char *file, uint64_t *ret)
{
	char text[32];
	ssize_t n = file_read_small(dir_fd, file, text, sizeof(text));

	return n < 0 ? (int)n : parse_u64(text, UINT64_MAX, ret);
}

int hugetlb_read(int node, enum page_kind kind, struct hugetlb_counts *ret)
{
	CLEANUP(fd_closep) int dir_fd = open_pages_dir(node, kind);
	struct hugetlb_counts counts;
	int r;

	if (dir_fd < 0)
		return dir_fd;
	r = read_count(dir_fd, "nr_hugepages", &counts.total);
	if (r == 0)
		r = read_count(dir_fd, "free_hugepages", &counts.free);
	if (r == 0)
		r = read_count(dir_fd, "surplus_hugepages", &counts.surplus);
	if (r == 0)
		*ret = counts;
	return r;
}

int hugetlb_reserve(int node, enum page_kind kind, uint64_t pages, uint64_t *ret_have)
{
	CLEANUP(fd_closep) int dir_fd = open_pages_dir(node, kind);
	uint64_t have;
	char text[32];
	int r;

	if (dir_fd < 0)
		return dir_fd;
	r = read_count(dir_fd, "nr_hugepages", &have);
	if (r == 0 && have < pages) {
		(void)snprintf(text, sizeof(text), "%" PRIu64, pages); /* 20 digits fit */
		r = file_write_small(dir_fd, "nr_hugepages", text);
		if (r == 0)
			r = read_count(dir_fd, "nr_hugepages", &have);
	}
	if (r == 0)
		*ret_have = have;
	return r;
}

int hugetlb_create(const char *name, enum page_kind kind, uint64_t chunks, int *ret_fd)
{
	static const unsigned flags[PAGE_KINDS] = {
		[PAGES_HUGE] = MFD_HUGETLB | MFD_HUGE_2MB,
		[PAGES_TRANSPARENT] = 0,
		[PAGES_GIGANTIC] = MFD_HUGETLB | MFD_HUGE_1GB,
	};
	CLEANUP(fd_closep) int fd = -1;
	uint64_t bytes;

	if (chunks == 0 || __builtin_mul_overflow(chunks, CHUNK_BYTES, &bytes) || bytes > INT64_MAX)
		return -EINVAL;
	if (kind == PAGES_GIGANTIC && chunks % GIGANTIC_CHUNKS)
		return -EINVAL;
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | flags[kind]);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) < 0)
		return -errno;
	/* else a holder of a read-only descriptor opens it for writing through /proc */
	if (fchmod(fd, 0600) < 0)
		return -errno;
	/* not FUTURE_WRITE: that would forbid punching, too */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int hugetlb_kind(int fd, enum page_kind *ret)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type != HUGETLBFS_MAGIC)
		*ret = PAGES_TRANSPARENT;
	else
		*ret = (uint64_t)fs.f_bsize == GIGANTIC_BYTES ? PAGES_GIGANTIC : PAGES_HUGE;
	return 0;
}

int hugetlb_punch(int fd, uint32_t first, uint32_t n)
{
	if (n == 0)
		return 0;
	while (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)(first * CHUNK_BYTES), (off_t)(n * CHUNK_BYTES)) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int hugetlb_measure(int fd, uint64_t *ret_present, uint64_t *ret_size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_present = ((uint64_t)st.st_blocks * 512 + CHUNK_BYTES - 1) / CHUNK_BYTES;
	*ret_size = (uint64_t)st.st_size / CHUNK_BYTES;
	return 0;
}
