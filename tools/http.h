/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* As much of HTTP/1.1 as it takes to answer a scraper: one request, one answer, no body comes in. */

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/attr.h"

#define HTTP_REQUEST_MAX 8192 /* bytes of a request's head; Prometheus sends about 300 */
#define HTTP_HEAD_MAX 512     /* of an answer's */

enum http_status {
	HTTP_INCOMPLETE = 0, /* more of the request has to come */
	HTTP_OK = 200,
	HTTP_BAD_REQUEST = 400,
	HTTP_NOT_FOUND = 404,
	HTTP_METHOD_NOT_ALLOWED = 405,
	HTTP_TIMEOUT = 408,
	HTTP_TOO_LARGE = 431,
	HTTP_UNAVAILABLE = 503,
	HTTP_VERSION = 505,
};

struct http_request {
	enum http_status status; /* to answer with; HTTP_OK: GET or HEAD of the path */
	bool is_head;            /* without a body, then */
};

/**
 * http_parse() - what to answer
 * @text: what has come so far, any bytes
 * @len:  at most HTTP_REQUEST_MAX; an incomplete head of that length is HTTP_TOO_LARGE
 * @path: the one that exists; what follows a "?" is not looked at
 */
struct http_request http_parse(const char *text, size_t len, const char *path);

/* "Not Found" */
const char *http_reason(enum http_status status);

/* The head of the answer at @now, for a connection that is closed after it; @type NULL: plain text.
 * Returns its length. */
size_t http_head(char buf[static HTTP_HEAD_MAX], enum http_status status, const char *type,
		 size_t body_len, time_t now);
