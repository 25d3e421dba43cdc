/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The bytes that tests send. What stands where depends on the position and on the number of the
 * stream, so that a lost, doubled or misplaced piece is seen. They are in a table, for megabytes
 * of them are compared by programs that are built to find errors, not to be quick.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_PIECE 65536

/* The next PATTERN_PIECE bytes at least of stream @id. Any thread. */
const uint8_t *pattern_at(uint8_t id, uint64_t position);
/* Are the @length bytes at @data those of stream @id from @position on? Any thread. */
bool pattern_is(const void *data, size_t length, uint8_t id, uint64_t position);
