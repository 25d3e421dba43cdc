/* SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <string.h>

#include "base/fd.h"
#include "suite.h"

#define PATH "/metrics"

static const char prometheus[] =
	"GET /metrics HTTP/1.1\r\n"
	"Host: 127.0.0.1:10205\r\n"
	"User-Agent: Prometheus/2.53.3\r\n"
	"Accept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1\r\n"
	"Accept-Encoding: gzip\r\n"
	"X-Prometheus-Scrape-Timeout-Seconds: 10\r\n"
	"\r\n";

static const struct {
	const char *text;
	enum http_status status;
} cases[] = {
	{ prometheus, HTTP_OK },
	{ "GET /metrics HTTP/1.0\r\n\r\n", HTTP_OK },
	{ "GET /metrics HTTP/1.0\n\n", HTTP_OK },
	{ "\r\nGET /metrics HTTP/1.0\r\n\r\n", HTTP_OK },
	{ "GET /metrics?name=a HTTP/1.1\r\nhOST:x\r\n\r\n", HTTP_OK },
	{ "GET http://host:1/metrics HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_OK },
	{ "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_OK },
	{ "GET /metrics HTTP/1.9\r\nHost: x\r\n\r\n", HTTP_OK },
	{ "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab", HTTP_OK },
	/* what is not there */
	{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_NOT_FOUND },
	{ "GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_NOT_FOUND },
	{ "GET /metric HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_NOT_FOUND },
	{ "GET /metrics2 HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_NOT_FOUND },
	{ "GET http://metrics HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_NOT_FOUND },
	{ "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_NOT_FOUND },
	{ "CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_NOT_FOUND },
	/* what may not be done */
	{ "POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_METHOD_NOT_ALLOWED },
	{ "get /metrics HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_METHOD_NOT_ALLOWED },
	{ "GETS /metrics HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_METHOD_NOT_ALLOWED },
	/* what is no request, or one that a proxy may read otherwise */
	{ "GET /metrics HTTP/1.1\r\n\r\n", HTTP_BAD_REQUEST },
	{ "GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", HTTP_BAD_REQUEST },
	{ "GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n", HTTP_BAD_REQUEST },
	{ "GET /metrics HTTP/1.1\r\nHost: x\r\n folded: 1\r\n\r\n", HTTP_BAD_REQUEST },
	{ "GET /metrics HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", HTTP_BAD_REQUEST },
	{ "GET /metrics HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", HTTP_BAD_REQUEST },
	{ "GET  /metrics HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_BAD_REQUEST },
	{ "GET /metrics\r\n\r\n", HTTP_BAD_REQUEST },
	{ "GET /metrics HTTP/1.1 \r\nHost: x\r\n\r\n", HTTP_BAD_REQUEST },
	{ "GET /metrics HTTP/11\r\nHost: x\r\n\r\n", HTTP_BAD_REQUEST },
	{ "GET /metrics http/1.1\r\nHost: x\r\n\r\n", HTTP_BAD_REQUEST },
	{ "G(T /metrics HTTP/1.1\r\nHost: x\r\n\r\n", HTTP_BAD_REQUEST },
	{ " \r\n\r\n", HTTP_BAD_REQUEST },
	{ "\x16\x03\x01\n\n", HTTP_BAD_REQUEST }, /* TLS, nearly */
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_VERSION },
	{ "GET /metrics HTTP/0.9\r\n\r\n", HTTP_VERSION },
};

START_TEST(a_request_has_one_answer)
{
	const char *text = cases[_i].text;

	ck_assert_msg(http_parse(text, strlen(text), PATH).status == cases[_i].status, "%d: %s",
		      (int)http_parse(text, strlen(text), PATH).status, text);
}
END_TEST

/* A heap copy of the exact size, so that a read beyond the end is found by the sanitizer. */
static enum http_status parse_copy(const char *text, size_t len)
{
	CLEANUP(freep) char *copy = malloc(len ? len : 1);

	memcpy(copy, text, len);
	return http_parse(copy, len, PATH).status;
}

START_TEST(a_request_that_comes_byte_by_byte_is_awaited)
{
	size_t len = sizeof(prometheus) - 1;

	for (size_t n = 0; n < len; n++)
		ck_assert_int_eq(parse_copy(prometheus, n), HTTP_INCOMPLETE);
	ck_assert_int_eq(parse_copy(prometheus, len), HTTP_OK);
}
END_TEST

START_TEST(a_head_without_end_is_too_large)
{
	static char text[HTTP_REQUEST_MAX + 1] = "GET /metrics HTTP/1.1\r\nHost: x\r\nX: ";

	memset(text + strlen(text), 'x', sizeof(text) - strlen(text));
	ck_assert_int_eq(parse_copy(text, HTTP_REQUEST_MAX - 1), HTTP_INCOMPLETE);
	ck_assert_int_eq(parse_copy(text, HTTP_REQUEST_MAX), HTTP_TOO_LARGE);
	memset(text, '\n', sizeof(text));
	ck_assert_int_eq(parse_copy(text, HTTP_REQUEST_MAX), HTTP_TOO_LARGE);
}
END_TEST

START_TEST(any_bytes_are_answered)
{
	static const char alphabet[] = "GET /metrics HTTP/1.1\r\nHost:x\r\n\r\n\r\n\n\n ??\0\xff";
	char text[64];

	for (int i = 0; i < 200000; i++) {
		size_t len = random_below(sizeof(text));

		for (size_t k = 0; k < len; k++)
			text[k] = random_below(4) ? alphabet[k % (sizeof(alphabet) - 1)]
						  : alphabet[random_below(sizeof(alphabet) - 1)];
		REQUIRE(parse_copy(text, len) != HTTP_TOO_LARGE);
	}
}
END_TEST

START_TEST(a_field_with_a_zero_byte_is_refused)
{
	static const char text[] = "GET /metrics HTTP/1.1\r\nHost: x\0y\r\n\r\n";

	ck_assert_int_eq(parse_copy(text, sizeof(text) - 1), HTTP_BAD_REQUEST);
}
END_TEST

START_TEST(the_method_of_an_error_is_known)
{
	static const char text[] = "HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n";
	struct http_request request = http_parse(text, strlen(text), PATH);

	ck_assert_int_eq(request.status, HTTP_NOT_FOUND);
	ck_assert(request.is_head);
}
END_TEST

START_TEST(an_answer_has_its_length_and_ends_the_connection)
{
	char buf[HTTP_HEAD_MAX];
	size_t len = http_head(buf, HTTP_OK, "text/x", 12345678901, 784111777);

	ck_assert_str_eq(buf, "HTTP/1.1 200 OK\r\n"
			      "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			      "Content-Type: text/x\r\n"
			      "Content-Length: 12345678901\r\n"
			      "Cache-Control: no-store\r\n"
			      "Connection: close\r\n"
			      "\r\n");
	ck_assert_uint_eq(len, strlen(buf));
	(void)http_head(buf, HTTP_METHOD_NOT_ALLOWED, NULL, 3, 0);
	ck_assert_ptr_nonnull(strstr(buf, "HTTP/1.1 405 Method Not Allowed\r\n"));
	ck_assert_ptr_nonnull(strstr(buf, "\r\nAllow: GET, HEAD\r\n"));
	ck_assert_ptr_nonnull(strstr(buf, "\r\nContent-Type: text/plain; charset=utf-8\r\n"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http");
	TCase *tc = tcase_create("http");

	tcase_add_loop_test(tc, a_request_has_one_answer, 0, ARRAY_LEN(cases));
	tcase_add_test(tc, a_request_that_comes_byte_by_byte_is_awaited);
	tcase_add_test(tc, a_head_without_end_is_too_large);
	tcase_add_test(tc, any_bytes_are_answered);
	tcase_add_test(tc, a_field_with_a_zero_byte_is_refused);
	tcase_add_test(tc, the_method_of_an_error_is_known);
	tcase_add_test(tc, an_answer_has_its_length_and_ends_the_connection);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
