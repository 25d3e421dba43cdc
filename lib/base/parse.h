/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Strict text to value: the whole string must be consumed, no sign, no leading space, no
 * octal, overflow is an error. Fractions have at most nine digits. Nobody else calls strtoull().
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

#define BYTES_UNLIMITED UINT64_MAX

/* Decimal number. Return: 0, -EINVAL (not a number) or -ERANGE (above @max). */
MUST_USE int parse_u64(const char *text, uint64_t max, uint64_t *ret);

/**
 * parse_bytes() - a size as people write it
 *
 * "4096", "64K", "64KiB", "1.5G", "2MB" is refused (decimal units are ambiguous for memory);
 * suffixes K M G T, with optional "iB", either case, all powers of 1024. A fraction needs a
 * suffix and is rounded down to a byte.
 *
 * Return: 0, -EINVAL or -ERANGE (does not fit 64 bits, or would read as BYTES_UNLIMITED).
 */
MUST_USE int parse_bytes(const char *text, uint64_t *ret);

/* As parse_bytes(), and "max", "unlimited" or "infinity" give BYTES_UNLIMITED. */
MUST_USE int parse_bytes_or_max(const char *text, uint64_t *ret);

/* "37%" or "12.5%" as parts per 1000 (370, 125), 0..1000; at most one digit after the point.
 * Return: 0, -EINVAL or -ERANGE. */
MUST_USE int parse_permille(const char *text, uint32_t *ret);

/* A duration: "20us", "250ms", "1.5s", "2min", "1h", or a bare number of seconds. Nanoseconds.
 * Return: 0, -EINVAL or -ERANGE. */
MUST_USE int parse_duration_ns(const char *text, uint64_t *ret);

/* "yes/true/on/1" and "no/false/off/0". Return: 0 or -EINVAL. */
MUST_USE int parse_bool(const char *text, bool *ret);

/* Longest text of format_bytes() with its 0. */
#define FORMAT_BYTES_MAX 24

/*
 * format_bytes() - for people: the largest binary suffix that leaves 1 or more, rounded to at
 * most one decimal: "0", "512", "64K", "1.5G"; BYTES_UNLIMITED is "max". Returns @buf.
 */
const char *format_bytes(uint64_t bytes, char buf[static FORMAT_BYTES_MAX]);
/* The exact text parse_bytes() reads back to the same value: the largest suffix that divides. */
const char *format_bytes_exact(uint64_t bytes, char buf[static FORMAT_BYTES_MAX]);
