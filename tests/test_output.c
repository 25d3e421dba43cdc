/* SPDX-License-Identifier: Apache-2.0 */

/* "tmctl run --output": a pipe through a pool to a peer. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "base/mono.h"
#include "fake_daemon.h"
#include "output.h"
#include "suite.h"

#define TOTAL ((size_t)6 << 20)

static struct fake_daemon *fake;
static struct tm_slot *slot;
static struct output *output;
static char address[120];
static int listen_fd = -1, pipe_fd = -1;
static uint32_t latency; /* microseconds */

static const char *const engines[] = { "uring", "epoll" };

static void set_up(int i)
{
	struct tm_attach_options options = { .size = sizeof(options) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int n = snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "taskmem-test-output-%d",
			 (int)getpid());

	signal(SIGPIPE, SIG_IGN);
	setenv("TASKMEM_ENGINE", engines[i], 1);
	fake = fake_daemon_new(4, 2);
	options.socket = fake_daemon_get_socket(fake);
	ck_assert_int_eq(tm_slot_attach(&options, &slot), 0);
	snprintf(address, sizeof(address), "unix:@%s", un.sun_path + 1);
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listen_fd, (struct sockaddr *)&un,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)),
			 0);
	ck_assert_int_eq(listen(listen_fd, 1), 0);
}

/* Returns the peer's end. */
static int open_output(void)
{
	int fds[2], fd;

	ck_assert_int_eq(output_open(slot, address, 32768, latency, &output), 0);
	fd = accept(listen_fd, NULL, NULL);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(output_start(output, fds[0]), 0);
	pipe_fd = fds[1];
	return fd;
}

static void tear_down(void)
{
	output_free(output);
	tm_slot_detach(slot);
	ck_assert_uint_eq(fake_daemon_count_present(fake), 0);
	ck_assert_uint_eq(fake_daemon_count_errors(fake), 0);
	fake_daemon_free(fake);
	close(listen_fd);
}

/* The program: lines of different lengths, in writes of different lengths. */
static void *write_all(void *userdata)
{
	static uint8_t bytes[TOTAL];
	uint32_t sum;
	size_t done = 0, length;
	ssize_t n;

	for (size_t i = 0; i < TOTAL; i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 9));
	while (done < TOTAL) {
		length = done % 3 ? 100 : 50001;
		n = write(pipe_fd, bytes + done, length < TOTAL - done ? length : TOTAL - done);
		if (n < 0)
			break;
		done += (size_t)n;
	}
	close(pipe_fd);
	sum = (uint32_t)crc32_z(0, bytes, done);
	*(uint32_t *)userdata = sum;
	return (void *)done;
}

static uint32_t read_all(int fd, size_t *ret_bytes)
{
	static uint8_t block[65536];
	uint32_t sum = 0;
	ssize_t n;

	*ret_bytes = 0;
	while ((n = read(fd, block, sizeof(block))) > 0) {
		sum = (uint32_t)crc32_z(sum, block, (size_t)n);
		*ret_bytes += (size_t)n;
	}
	close(fd);
	return sum;
}

START_TEST(all_that_is_written_arrives)
{
	struct output_totals totals;
	uint32_t written, received;
	pthread_t program;
	size_t bytes;
	void *done;
	int fd;

	set_up(_i);
	fd = open_output();
	ck_assert_str_eq(output_get_engine(output), _i == 0 ? "io_uring" : "epoll");
	/* the peer has nothing to say, and says so */
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	ck_assert_int_eq(pthread_create(&program, NULL, write_all, &written), 0);
	received = read_all(fd, &bytes);
	ck_assert_int_eq(pthread_join(program, &done), 0);
	output_finish(output);
	totals = output_get_totals(output);
	ck_assert_int_eq(totals.error, 0);
	ck_assert_uint_eq(bytes, TOTAL);
	ck_assert_uint_eq((uintptr_t)done, TOTAL);
	ck_assert_uint_eq(totals.bytes, TOTAL);
	ck_assert_uint_eq(totals.crc32, written);
	ck_assert_uint_eq(received, written);
	ck_assert_uint_ge(totals.last_ns, totals.first_ns);
	tear_down();
}
END_TEST

START_TEST(a_peer_that_does_not_read_makes_the_program_wait)
{
	size_t written = 0, bytes;
	static char block[65536];
	int fd, quiet = 0;
	ssize_t n;

	set_up(_i);
	fd = open_output();
	ck_assert_int_eq(fcntl(pipe_fd, F_SETFL, O_NONBLOCK), 0);
	while (quiet < 20) {
		n = write(pipe_fd, block, sizeof(block));
		if (n > 0)
			written += (size_t)n;
		else
			usleep(10000);
		quiet = n > 0 ? 0 : quiet + 1;
		/* the pool, the pipe and the socket */
		ck_assert_uint_lt(written, 8U << 20);
	}
	ck_assert_uint_gt(written, 1U << 20);
	close(pipe_fd);
	(void)read_all(fd, &bytes);
	ck_assert_uint_eq(bytes, written);
	output_finish(output);
	ck_assert_int_eq(output_get_totals(output).error, 0);
	tear_down();
}
END_TEST

START_TEST(a_peer_that_goes_away_ends_the_program)
{
	uint32_t sum;
	pthread_t program;
	char byte;
	void *done;
	int fd;

	set_up(_i);
	fd = open_output();
	ck_assert_int_eq(pthread_create(&program, NULL, write_all, &sum), 0);
	ck_assert_int_eq(read(fd, &byte, 1), 1);
	close(fd);
	/* its write fails with EPIPE */
	ck_assert_int_eq(pthread_join(program, &done), 0);
	ck_assert_uint_lt((uintptr_t)done, TOTAL);
	output_finish(output);
	ck_assert_int_lt(output_get_totals(output).error, 0);
	tear_down();
}
END_TEST

START_TEST(a_connection_that_cannot_be_made_is_an_error)
{
	set_up(_i);
	ck_assert_int_eq(output_open(slot, "unix:/nonexistent/socket", 32768, 0, &output), -ENOENT);
	ck_assert_int_eq(output_open(slot, "unix:relative", 32768, 0, &output), -EINVAL);
	close(listen_fd);
	ck_assert_int_eq(output_open(slot, address, 32768, 0, &output), -ECONNREFUSED);
	output = NULL;
	listen_fd = -1;
	tear_down();
}
END_TEST

START_TEST(an_output_can_be_given_up)
{
	int fd;

	set_up(_i);
	ck_assert_int_eq(output_open(slot, address, 32768, 0, &output), 0);
	output_free(output); /* the program could not be started */
	fd = open_output();
	ck_assert_int_eq(write(pipe_fd, "x", 1), 1);
	output_free(output); /* and here it still has its standard output open */
	output = NULL;
	close(fd);
	close(pipe_fd);
	tear_down();
}
END_TEST

static uint64_t busy_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

/* Time of a processor while nothing comes, after something came. */
static uint64_t idle_busy_ns(uint32_t latency_us)
{
	uint64_t begin_ns;
	char byte;
	int fd;

	latency = latency_us;
	fd = open_output();
	ck_assert_int_eq(write(pipe_fd, "x", 1), 1);
	ck_assert_int_eq(read(fd, &byte, 1), 1);
	usleep(50000);
	begin_ns = busy_ns();
	usleep(300000);
	begin_ns = busy_ns() - begin_ns;
	close(pipe_fd);
	(void)read(fd, &byte, 1);
	close(fd);
	output_finish(output);
	output_free(output);
	output = NULL;
	return begin_ns;
}

/* How much time a busy machine gives is not known, but all of it is used. */
START_TEST(an_impatient_output_does_not_sleep)
{
	set_up(_i);
	ck_assert_uint_lt(idle_busy_ns(0), 5 * NS_PER_MSEC);
	ck_assert_uint_gt(idle_busy_ns(1000000), 5 * NS_PER_MSEC);
	tear_down();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		all_that_is_written_arrives,
		a_peer_that_does_not_read_makes_the_program_wait,
		a_peer_that_goes_away_ends_the_program,
		a_connection_that_cannot_be_made_is_an_error,
		an_output_can_be_given_up,
		an_impatient_output_does_not_sleep,
	};
	Suite *suite = suite_create("output");
	TCase *tc = tcase_create("output");

	tcase_set_timeout(tc, 120);
	for (size_t i = 0; i < ARRAY_LEN(tests); i++)
		tcase_add_loop_test(tc, tests[i], 0, (int)ARRAY_LEN(engines));
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
