/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The histories of the slots' names on disk, in a file of their own: safefile.h. */

#include "base/attr.h"
#include "policy/history.h"
#include "safefile.h"

#define HISTORY_FILE "history.json"
#define HISTORY_FILE_BYTES_MAX ((size_t)64 << 20)

/**
 * history_file_load() - read HISTORY_FILE below @dir_fd
 * @half_life_s: as for history_new()
 * @ret:         an empty history for the conditions other than SAFEFILE_OK
 * @error:       as for safefile_load()
 *
 * Fields that this version does not know are kept with their name. Return: an enum safefile_cond,
 * or -errno.
 */
MUST_USE int history_file_load(int dir_fd, uint64_t half_life_s, struct history **ret,
			       char error[static SAFEFILE_ERROR_MAX]);

/* Replaces the file atomically; any thread. Return: 0 or -errno; then the old one holds. */
MUST_USE int history_file_save(int dir_fd, const struct history *history);
