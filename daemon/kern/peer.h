/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who is at the other end of a unix socket, from the kernel, never from what it says. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/attr.h"
#include "model.h"

/**
 * peer_read() - identify the process at the other end of @socket_fd
 * @admin_group: gid whose members are administrators, or (gid_t)-1
 * @tree_path:   tree_path(); the peer's cgroup is looked up below it
 * @ret_pidfd:   pidfd of the peer (SO_PEERPIDFD), owned by the caller; may be NULL
 *
 * Uid, groups and pid are those at connect(2); the cgroup is today's, and is only believed
 * if the pidfd shows that the process was still the same after it was read.
 *
 * Return: 0 or -errno (-ESRCH: the process is gone).
 */
MUST_USE int peer_read(int socket_fd, gid_t admin_group, const char *tree_path,
		       struct peer *ret_peer, int *ret_pidfd);
