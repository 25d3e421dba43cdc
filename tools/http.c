/* SPDX-License-Identifier: Apache-2.0 */

/* RFC 9112, strict where a lax reader could be led to see another request than a proxy before it:
 * no folded lines, no blank before a colon, one Host. Lines may end in LF alone. */

#include "http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct span {
	const char *text;
	size_t len;
};

static bool is(struct span span, const char *text)
{
	return span.len == strlen(text) && memcmp(span.text, text, span.len) == 0;
}

static bool is_token(struct span span)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < span.len; i++) {
		char c = span.text[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      memchr(others, c, sizeof(others) - 1)))
			return false;
	}
	return span.len > 0;
}

/* Cuts off what is before the first @c. Return: false, and all of it, if there is none. */
static bool cut(struct span *rest, char c, struct span *ret_part)
{
	const char *at = memchr(rest->text, c, rest->len);

	*ret_part = (struct span){ rest->text, at ? (size_t)(at - rest->text) : rest->len };
	if (!at)
		return false;
	rest->text = at + 1;
	rest->len -= ret_part->len + 1;
	return true;
}

/* The next line without its end. Return: false if it is not complete. */
static bool next_line(struct span *rest, struct span *ret_line)
{
	if (!cut(rest, '\n', ret_line))
		return false;
	if (ret_line->len > 0 && ret_line->text[ret_line->len - 1] == '\r')
		ret_line->len--;
	return true;
}

/* Is the head complete? A first empty line is skipped, as some clients send one too many. */
static bool has_head(struct span *text)
{
	struct span rest, line;

	while (text->len > 0 && (text->text[0] == '\r' || text->text[0] == '\n')) {
		text->text++;
		text->len--;
	}
	rest = *text;
	while (next_line(&rest, &line))
		if (line.len == 0)
			return true;
	return false;
}

/* "/metrics?x" or "http://host/metrics?x" */
static bool is_path(struct span target, const char *path)
{
	static const char scheme[] = "http://";
	struct span before;

	if (target.len >= sizeof(scheme) - 1 &&
	    strncasecmp(target.text, scheme, sizeof(scheme) - 1) == 0) {
		target.text += sizeof(scheme) - 1;
		target.len -= sizeof(scheme) - 1;
		if (!cut(&target, '/', &before))
			return false;
		target.text--;
		target.len++;
	}
	(void)cut(&target, '?', &before);
	return is(before, path);
}

/* @version: "HTTP/1.1". Return: HTTP_OK or what is wrong with it. */
static enum http_status check_version(struct span version, bool *ret_needs_host)
{
	const char *v = version.text;

	if (version.len != 8 || memcmp(v, "HTTP/", 5) != 0 || v[5] < '0' || v[5] > '9' ||
	    v[6] != '.' || v[7] < '0' || v[7] > '9')
		return HTTP_BAD_REQUEST;
	*ret_needs_host = v[7] != '0';
	return v[5] == '1' ? HTTP_OK : HTTP_VERSION;
}

static enum http_status check_fields(struct span rest, bool needs_host)
{
	unsigned n_hosts = 0;
	struct span line, name;

	while (next_line(&rest, &line) && line.len > 0) {
		if (memchr(line.text, '\0', line.len) || !cut(&line, ':', &name) || !is_token(name))
			return HTTP_BAD_REQUEST;
		n_hosts += name.len == 4 && strncasecmp(name.text, "Host", 4) == 0;
	}
	return n_hosts > 1 || (needs_host && n_hosts == 0) ? HTTP_BAD_REQUEST : HTTP_OK;
}

struct http_request http_parse(const char *text, size_t len, const char *path)
{
	struct http_request request = { .status = HTTP_BAD_REQUEST };
	struct span rest = { text, len }, line, method, target;
	bool needs_host = false;

	if (!has_head(&rest)) {
		request.status = len < HTTP_REQUEST_MAX ? HTTP_INCOMPLETE : HTTP_TOO_LARGE;
		return request;
	}
	(void)next_line(&rest, &line);
	if (!cut(&line, ' ', &method) || !is_token(method) || !cut(&line, ' ', &target) ||
	    target.len == 0)
		return request;
	request.is_head = is(method, "HEAD");
	request.status = check_version(line, &needs_host);
	if (request.status == HTTP_OK)
		request.status = check_fields(rest, needs_host);
	if (request.status != HTTP_OK)
		return request;
	if (!is_path(target, path))
		request.status = HTTP_NOT_FOUND;
	else if (!request.is_head && !is(method, "GET"))
		request.status = HTTP_METHOD_NOT_ALLOWED;
	return request;
}

const char *http_reason(enum http_status status)
{
	switch (status) {
	case HTTP_INCOMPLETE:
	case HTTP_BAD_REQUEST:
		break;
	case HTTP_OK:
		return "OK";
	case HTTP_NOT_FOUND:
		return "Not Found";
	case HTTP_METHOD_NOT_ALLOWED:
		return "Method Not Allowed";
	case HTTP_TIMEOUT:
		return "Request Timeout";
	case HTTP_TOO_LARGE:
		return "Request Header Fields Too Large";
	case HTTP_UNAVAILABLE:
		return "Service Unavailable";
	case HTTP_VERSION:
		return "HTTP Version Not Supported";
	}
	return "Bad Request";
}

size_t http_head(char buf[static HTTP_HEAD_MAX], enum http_status status, const char *type,
		 size_t body_len, time_t now)
{
	char date[32] = "";
	struct tm utc;

	if (gmtime_r(&now, &utc))
		(void)strftime(date, sizeof(date), "%a, %d %b %Y %T GMT", &utc);
	return (size_t)snprintf(buf, HTTP_HEAD_MAX,
				"HTTP/1.1 %d %s\r\n"
				"Date: %s\r\n"
				"Content-Type: %s\r\n"
				"Content-Length: %zu\r\n"
				"Cache-Control: no-store\r\n"
				"%s"
				"Connection: close\r\n"
				"\r\n",
				(int)status, http_reason(status), date,
				type ? type : "text/plain; charset=utf-8", body_len,
				status == HTTP_METHOD_NOT_ALLOWED ? "Allow: GET, HEAD\r\n" : "");
}
