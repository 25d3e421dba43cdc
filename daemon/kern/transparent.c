/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A page of a plain memfd is charged to the cgroup of whoever allocates it, and the memory policy
 * of that process says on which node it is, as with hugetlb. fallocate() would do that, too, but it
 * has no mapping whose advice could ask for a huge page, which shmem_enabled=advise wants to see;
 * so the chunk is mapped at an address that a huge page can have, advised and populated. What the
 * kernel made of it is read by PAGEMAP_SCAN (6.7): a huge page is mapped as one. Running out is
 * ENOMEM, or EFAULT where a touch would be SIGBUS.
 */

#include "kern/transparent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "model.h"

int transparent_open_pagemap(void)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static bool is_huge_at(uint64_t address, int pagemap_fd)
{
	struct page_region region = {};
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = address,
		.end = address + CHUNK_BYTES,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_HUGE,
		.return_mask = PAGE_IS_HUGE,
	};

	return pagemap_fd >= 0 && syscall(SYS_ioctl, pagemap_fd, PAGEMAP_SCAN, &arg) == 1 &&
	       region.start == address && region.end == address + CHUNK_BYTES;
}

static long populate_at(uint64_t address, int fd, uint32_t chunk)
{
	long r = syscall(SYS_mmap, address, CHUNK_BYTES, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, (off_t)(chunk * CHUNK_BYTES));

	if (r == -1)
		return -errno;
	/* refused by a kernel without transparent huge pages: then they are small */
	(void)syscall(SYS_madvise, address, CHUNK_BYTES, MADV_HUGEPAGE);
	do
		r = syscall(SYS_madvise, address, CHUNK_BYTES, MADV_POPULATE_WRITE);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	return errno == ENOMEM || errno == EFAULT ? -ENOSPC : -errno;
}

long transparent_put_in(int fd, uint32_t chunk, int pagemap_fd, bool *ret_is_huge)
{
	/* twice the size has an aligned chunk in it */
	long window = syscall(SYS_mmap, NULL, 2 * CHUNK_BYTES, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t address;
	long r;

	if (window == -1)
		return errno == ENOMEM ? -ENOSPC : -errno;
	address = ((uint64_t)window + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1);
	r = populate_at(address, fd, chunk);
	if (r == 0)
		*ret_is_huge = is_huge_at(address, pagemap_fd);
	(void)syscall(SYS_munmap, window, 2 * CHUNK_BYTES);
	return r;
}

int transparent_read_mode(char ret_mode[static TRANSPARENT_MODE_MAX])
{
	char text[96], *mode, *end;
	ssize_t n = file_read_small(AT_FDCWD, TRANSPARENT_MODE_FILE, text, sizeof(text));

	if (n < 0)
		return (int)n;
	mode = strchr(text, '['); /* "always within_size advise [never] deny force" */
	end = mode ? strchr(mode, ']') : NULL;
	if (!end)
		return -EBADMSG;
	*end = '\0';
	(void)snprintf(ret_mode, TRANSPARENT_MODE_MAX, "%s", mode + 1);
	return 0;
}

bool transparent_mode_is_huge(const char *mode)
{
	return strcmp(mode, "never") != 0 && strcmp(mode, "deny") != 0;
}
