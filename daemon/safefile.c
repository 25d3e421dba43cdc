/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The header line is checked by writing it again from what was read in it and comparing: every
 * bit of it counts, so there is no spelling of a header that is accepted and not ours. The body
 * is covered by its length and CRC.
 */

#include "safefile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "base/fd.h"
#include "base/parse.h"

#define HEADER_MAX 80
#define BAD_NAMES_MAX 1000
#define BAD_NAME_BYTES 48

int safefile_fault(char error[static SAFEFILE_ERROR_MAX], int result, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error, SAFEFILE_ERROR_MAX, format, args);
	va_end(args);
	return result;
}

static void variant_unrefp(sd_json_variant **v)
{
	sd_json_variant_unref(*v);
}

int safefile_extra_fields(sd_json_variant *object, const char *const *known, size_t n_known,
			  char **ret)
{
	CLEANUP(variant_unrefp) sd_json_variant *extra = sd_json_variant_ref(object);
	int r = 0;

	for (size_t i = 0; i < n_known; i++) {
		char *one[] = { (char *)known[i], NULL };

		r = sd_json_variant_filter(&extra, one);
		if (r < 0)
			return r;
	}
	if (!extra || sd_json_variant_elements(extra) == 0)
		return 0;
	r = sd_json_variant_format(extra, 0, ret);
	return r < 0 ? r : 0;
}

int safefile_merge_extra(sd_json_variant **object, const char *extra)
{
	CLEANUP(variant_unrefp) sd_json_variant *fields = NULL;
	int r = extra ? sd_json_parse(extra, 0, &fields, NULL, NULL) : 0;

	if (r >= 0 && fields)
		r = sd_json_variant_merge_object(object, fields);
	return r < 0 ? r : 0;
}

static size_t format_header(const struct safefile *kind, char buf[static HEADER_MAX],
			    uint64_t format, const char *body, size_t len)
{
	uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), (const Bytef *)body, len);
	int n = snprintf(buf, HEADER_MAX, "%s%" PRIu64 " %08" PRIx32 " %zu\n", kind->magic, format,
			 crc, len);

	return n < 0 ? 0 : (size_t)n;
}

int safefile_encode(const struct safefile *kind, sd_json_variant *body, char **ret_text,
		    size_t *ret_len)
{
	CLEANUP(freep) char *json = NULL;
	char header[HEADER_MAX], *text;
	size_t header_len, len;
	int r = sd_json_variant_format(body, SD_JSON_FORMAT_NEWLINE, &json);

	if (r < 0)
		return r;
	len = strlen(json);
	header_len = format_header(kind, header, kind->format, json, len);
	text = malloc(header_len + len + 1);
	if (!text)
		return -ENOMEM;
	memcpy(text, header, header_len);
	memcpy(text + header_len, json, len + 1);
	*ret_text = text;
	*ret_len = header_len + len;
	return 0;
}

/* Checks the header line and finds the body. */
static int check_header(const struct safefile *kind, const char *text, size_t len, size_t *ret_body,
			char error[static SAFEFILE_ERROR_MAX])
{
	const size_t magic_len = strlen(kind->magic);
	const char *newline = memchr(text, '\n', MIN(len, (size_t)HEADER_MAX));
	char header[HEADER_MAX], number[24];
	size_t digits = 0, header_len;
	uint64_t format;

	if (memcmp(text, kind->magic, MIN(len, magic_len)) != 0)
		return safefile_fault(error, SAFEFILE_FOREIGN, "it does not begin with \"%s\"",
				      kind->magic);
	if (len <= magic_len || !newline)
		return safefile_fault(error, SAFEFILE_TORN,
				      "it ends in its first line, after %zu bytes", len);

	while (digits < sizeof(number) - 1 && text[magic_len + digits] >= '0' &&
	       text[magic_len + digits] <= '9')
		digits++;
	memcpy(number, text + magic_len, digits);
	number[digits] = 0;
	if (text[magic_len + digits] != ' ' || number[0] == '0' ||
	    parse_u64(number, UINT32_MAX, &format) < 0)
		return safefile_fault(error, SAFEFILE_FOREIGN, "its first line names no format");
	if (format > kind->format)
		return safefile_fault(error, SAFEFILE_NEWER,
				      "it has format %" PRIu64 ", this version knows %" PRIu32,
				      format, kind->format);

	header_len = (size_t)(newline + 1 - text);
	if (format_header(kind, header, format, text + header_len, len - header_len) !=
		    header_len ||
	    memcmp(header, text, header_len) != 0)
		return safefile_fault(
			error, SAFEFILE_TORN,
			"length or checksum of its %zu bytes differ from its first line", len);
	*ret_body = header_len;
	return SAFEFILE_OK;
}

int safefile_decode(const struct safefile *kind, const char *text, size_t len,
		    sd_json_variant **ret_body, char error[static SAFEFILE_ERROR_MAX])
{
	CLEANUP(variant_unrefp) sd_json_variant *body = NULL;
	CLEANUP(freep) char *json = NULL;
	size_t at = 0;
	int r;

	error[0] = 0;
	r = check_header(kind, text, len, &at, error);
	if (r != SAFEFILE_OK)
		return r;
	if (memchr(text + at, 0, len - at))
		return safefile_fault(error, SAFEFILE_FOREIGN, "its body is no text");
	json = strndup(text + at, len - at); /* the parser wants a 0 at the end */
	if (!json)
		return -ENOMEM;
	r = sd_json_parse(json, 0, &body, NULL, NULL);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return safefile_fault(error, SAFEFILE_FOREIGN, "its body is not JSON");
	if (!sd_json_variant_is_object(body))
		return safefile_fault(error, SAFEFILE_FOREIGN, "its body is no JSON object");
	*ret_body = TAKE(body);
	return SAFEFILE_OK;
}

/* Renames the file to the first free "<name>.bad-<n>". */
static int set_aside(const struct safefile *kind, int dir_fd, char name[static BAD_NAME_BYTES])
{
	for (unsigned n = 1; n <= BAD_NAMES_MAX; n++) {
		(void)snprintf(name, BAD_NAME_BYTES, "%s.bad-%u", kind->name, n);
		/* link, for rename would replace one that is there */
		if (linkat(dir_fd, kind->name, dir_fd, name, 0) == 0)
			return unlinkat(dir_fd, kind->name, 0) < 0 ? -errno : 0;
		if (errno != EEXIST)
			return -errno;
	}
	return -ENOSPC;
}

int safefile_load(const struct safefile *kind, int dir_fd, safefile_take_fn take, void *ret,
		  char error[static SAFEFILE_ERROR_MAX])
{
	CLEANUP(freep) char *text = NULL;
	char why[SAFEFILE_ERROR_MAX], name[BAD_NAME_BYTES];
	size_t len;
	int r, cond;

	error[0] = 0;
	r = file_read_all(dir_fd, kind->name, kind->bytes_max, &text, &len);
	if (r == -ENOENT)
		return safefile_fault(error, SAFEFILE_ABSENT, "there is no %s", kind->name);
	if (r == -EFBIG) {
		cond = safefile_fault(why, SAFEFILE_FOREIGN, "it is larger than any of ours");
	} else if (r < 0) {
		return r;
	} else {
		cond = take(text, len, ret, why);
		if (cond <= 0)
			return cond;
	}
	r = set_aside(kind, dir_fd, name);
	if (r < 0)
		return r;
	return safefile_fault(error, cond, "%s cannot be used: %.150s; it is kept as %s",
			      kind->name, why, name);
}

int safefile_save(const struct safefile *kind, int dir_fd, sd_json_variant *body)
{
	CLEANUP(freep) char *text = NULL;
	size_t len;
	int r = safefile_encode(kind, body, &text, &len);

	if (r < 0)
		return r;
	return file_replace(dir_fd, kind->name, text, len, 0644);
}
