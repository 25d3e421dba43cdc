/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Chunks of ordinary memory in a plain memfd, each one huge page where the kernel finds one. */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

/* The functions of a child that may make system calls only. */

/* /proc/self/pagemap, or -errno. */
int transparent_open_pagemap(void);
/**
 * transparent_put_in() - fill one chunk of a file, by the caller's memory policy and on its charge
 * @pagemap_fd:  from transparent_open_pagemap(); below 0: no page counts as huge
 * @ret_is_huge: it is one page of 2 MiB now; the kernel may split it later
 *
 * Return: 0, -ENOSPC (memory has run out; part of the chunk may be there) or -errno.
 */
MUST_USE long transparent_put_in(int fd, uint32_t chunk, int pagemap_fd, bool *ret_is_huge);

#define TRANSPARENT_MODE_FILE "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define TRANSPARENT_MODE_MAX 16
/* The word of shmem_enabled that holds: "never", "advise", ... Return: 0, -ENOENT where the kernel
 * has no transparent huge pages, or -errno. */
MUST_USE int transparent_read_mode(char ret_mode[static TRANSPARENT_MODE_MAX]);
/* A mode in which chunks can become huge. */
bool transparent_mode_is_huge(const char *mode);
