/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Small files that must not be lost nor half believed: a line "<magic><format> <crc32 of the
 * body, 8 hex digits> <body length>" and a JSON object. Replaced atomically; one that cannot be
 * used is set aside under another name, never overwritten.
 */

#include <stddef.h>
#include <stdint.h>

#include <systemd/sd-json.h>

#include "base/attr.h"

#define SAFEFILE_ERROR_MAX 256

enum safefile_cond {
	SAFEFILE_OK = 0,
	SAFEFILE_ABSENT,  /* there is no file */
	SAFEFILE_TORN,    /* begins like ours, but is cut, longer or altered */
	SAFEFILE_FOREIGN, /* not ours, or its content makes no sense */
	SAFEFILE_NEWER,   /* written by a later version */
};

/* One kind of file. Static. */
struct safefile {
	const char *name;  /* in its directory, at most 24 bytes */
	const char *magic; /* first word and a blank, at most 24 bytes */
	uint32_t format;   /* the highest that is understood, and what is written */
	size_t bytes_max;  /* larger ones are not ours */
};

/* Fills @error and returns @result. */
int safefile_fault(char error[static SAFEFILE_ERROR_MAX], int result, const char *format, ...)
	PRINTF_LIKE(3, 4);

/* Return: 0 or -ENOMEM. *ret_text is the caller's, 0-terminated, *ret_len without the 0. */
MUST_USE int safefile_encode(const struct safefile *kind, sd_json_variant *body, char **ret_text,
			     size_t *ret_len);

/**
 * safefile_decode() - the other way; trusts nothing
 * @ret_body: an object, owned by the caller; on SAFEFILE_OK only
 * @error:    why, for every condition but SAFEFILE_OK
 *
 * Return: SAFEFILE_OK, SAFEFILE_TORN, SAFEFILE_FOREIGN, SAFEFILE_NEWER, or -ENOMEM.
 */
MUST_USE int safefile_decode(const struct safefile *kind, const char *text, size_t len,
			     sd_json_variant **ret_body, char error[static SAFEFILE_ERROR_MAX]);

/* From the whole text to the caller's object in *@ret: an enum safefile_cond or -ENOMEM. */
typedef int (*safefile_take_fn)(const char *text, size_t len, void *ret,
				char error[static SAFEFILE_ERROR_MAX]);

/**
 * safefile_load() - read the file below @dir_fd
 * @take:  called if there is one; what it does not take (above 0) is set aside
 * @ret:   for @take
 * @error: what was found and under which name it was set aside: "<name>.bad-<n>", the first
 *         free n
 *
 * Return: an enum safefile_cond, or -errno.
 */
MUST_USE int safefile_load(const struct safefile *kind, int dir_fd, safefile_take_fn take,
			   void *ret, char error[static SAFEFILE_ERROR_MAX]);

/* Replaces the file below @dir_fd atomically. Return: 0 or -errno; then the old one holds. */
MUST_USE int safefile_save(const struct safefile *kind, int dir_fd, sd_json_variant *body);

/* The fields of @object that are not in @known, as the text of an object in *@ret, the caller's;
 * none: *@ret stays as it is. Text, for a variant counts its references for one thread alone.
 * Return: 0 or -ENOMEM. */
MUST_USE int safefile_extra_fields(sd_json_variant *object, const char *const *known,
				   size_t n_known, char **ret);
/* Puts them, which may be NULL, into *@object again. Return: 0 or -errno. */
MUST_USE int safefile_merge_extra(sd_json_variant **object, const char *extra);
