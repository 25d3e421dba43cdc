/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A taskmemd with nothing behind it: one slot, one client, plain pages unless huge ones are asked for.
 * It serves the calls that the library makes in a thread, and checks what it is told.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

struct fake_daemon;

/* A file of @file_chunks, of which the slot may have @share. Running on return. */
struct fake_daemon *fake_daemon_new(uint32_t file_chunks, uint32_t share);
void fake_daemon_free(struct fake_daemon *daemon);
const char *fake_daemon_get_socket(const struct fake_daemon *daemon);

/* Changes the slot's share and sends a notice. */
void fake_daemon_set_share(struct fake_daemon *daemon, uint32_t share);
/* With the next notices: when pages are taken by force. */
void fake_daemon_set_deadline(struct fake_daemon *daemon, uint64_t deadline_ns);
/* Takes @n pages by force, of those that drain first; tells of it now, or when it runs again. */
void fake_daemon_revoke(struct fake_daemon *daemon, uint32_t n);
/* Chunks taken by force which the library has not said it is done with. */
uint32_t fake_daemon_count_revoked(struct fake_daemon *daemon);
/* Chunks that drain, as the library told last. */
uint32_t fake_daemon_count_draining(struct fake_daemon *daemon);
/* Grow gives no more than this over what is present, whatever the share. */
void fake_daemon_set_available(struct fake_daemon *daemon, uint32_t available);
/* The next file handed out is not sealed. */
void fake_daemon_omit_seals(struct fake_daemon *daemon);
/* The next file handed out has pages of 2 MiB, of which the machine must have enough. */
void fake_daemon_use_huge_pages(struct fake_daemon *daemon);

/* Serves WatchSlot, as of now with this target, usage and max; tells who watches. A @deadline_ns of
 * 0: none. */
void fake_daemon_tell(struct fake_daemon *daemon, const char *why, uint64_t target, uint64_t usage,
		      uint64_t max, uint64_t deadline_ns);
/* What ReportFreed was last called with; false: never. */
bool fake_daemon_get_report(struct fake_daemon *daemon, uint64_t *ret_bytes, uint64_t *ret_notice);
uint32_t fake_daemon_count_watchers(struct fake_daemon *daemon);

/* Goes away as on a restart: the file and the grant are kept. */
void fake_daemon_stop(struct fake_daemon *daemon);
void fake_daemon_start(struct fake_daemon *daemon);
/* The grant is unknown from now on. */
void fake_daemon_forget(struct fake_daemon *daemon);

/* RequestMemory gives so much, 0 at first; what waits is looked at again. */
void fake_daemon_set_room(struct fake_daemon *daemon, uint64_t bytes);
/* What is held by RequestMemory now. */
uint64_t fake_daemon_count_requested(struct fake_daemon *daemon);

/* What ReportEngine has told since the start: "none", "uring", "epoll" or "both". */
const char *fake_daemon_get_engines(struct fake_daemon *daemon);

uint32_t fake_daemon_count_present(struct fake_daemon *daemon);
uint32_t fake_daemon_count_grows(struct fake_daemon *daemon);
/* Of grants before the one there is now. */
uint32_t fake_daemon_count_late_detaches(struct fake_daemon *daemon);
/* Calls that the library must never make, such as returning a page it does not hold. */
uint32_t fake_daemon_count_errors(struct fake_daemon *daemon);
/* Pages of the file that exist; more than present means that the library touched others. */
uint32_t fake_daemon_count_backed(struct fake_daemon *daemon);
/* What ReportPools was last called with, once; -1: nothing. The caller closes it. */
int fake_daemon_take_pools(struct fake_daemon *daemon);
