/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Channels that are watched on a network device: the kernel asks that for packets in the engine's
 * waits. veth can be asked as soon as it gathers packets (GRO), and where
 * the sender leaves something to gather (no TSO).
 */

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mono.h"
#include "device_fixture.h"
#include "engine.h"
#include "engine_fixture.h"

#define BYTES (4 * MIB)
#define WAIT_MS 300
#define WAITS_MAX 20

static bool set_feature(const char *device, uint32_t command, bool is_on)
{
	struct ethtool_value value = { .cmd = command, .data = is_on };
	struct ifreq request = { .ifr_data = (char *)&value };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	r = fd < 0 ? -1 : ioctl(fd, SIOCETHTOOL, &request);
	close(fd);
	return r == 0;
}

static void *leave_to_gather(void *userdata)
{
	(void)userdata;
	return set_feature("tm1", ETHTOOL_STSO, false) ? &port : NULL;
}

/* False: this process may have no devices of its own. */
static bool make_gathering_devices(void)
{
	return make_devices() && call_there(leave_to_gather, NULL) &&
	       set_feature("tm0", ETHTOOL_SGRO, true);
}

static unsigned int ring_asks(int fd)
{
	char path[48], line[128];
	unsigned int time = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "napi_busy_poll_dt: %u", &time) == 1)
			break;
	if (f)
		fclose(f);
	return time;
}

/* Does the kernel ask devices for a ring or an epoll of this process? */
static bool is_asking(void)
{
	struct epoll_params params = {};
	char path[32], target[64];
	bool is = false;

	for (int fd = 0; fd < 256; fd++) {
		ssize_t n;

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		target[MAX(n, 0)] = '\0';
		if (strcmp(target, "anon_inode:[io_uring]") == 0)
			is |= ring_asks(fd) > 0;
		else if (strcmp(target, "anon_inode:[eventpoll]") == 0)
			is |= ioctl(fd, EPIOCGPARAMS, &params) == 0 && params.busy_poll_usecs > 0;
	}
	return is;
}

/* Of this thread, while the engine waits for what does not come. */
static uint64_t waiting_cpu_ns(void)
{
	struct timespec before, after;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	ck_assert_int_eq(tm_engine_run(engine, WAIT_MS), 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
	return (uint64_t)(after.tv_sec - before.tv_sec) * NS_PER_SEC + (uint64_t)after.tv_nsec -
	       (uint64_t)before.tv_nsec;
}

/*
 * To ask takes all the time that a machine gives within some milliseconds, to sleep takes 0.1. A busy
 * machine may give none in one wait, but not in every one.
 */
static bool is_waiting_awake(void)
{
	for (int i = 0; i < WAITS_MAX; i++)
		if (waiting_cpu_ns() > NS_PER_MSEC / 2)
			return true;
	return false;
}

/* The kernel's version is no question of hope: before 6.9 there is nothing to be tested. */
static bool has_devices(void)
{
	static int has = -1;

	if (has < 0)
		has = make_gathering_devices();
	if (!has)
		puts("busy_poll: no network devices of its own here, left out");
	return has;
}

/* So many are on devices, and that is known to the kernel. */
static void check_watched(uint32_t n, bool is_kernels)
{
	run_until_quiet();
	ck_assert_uint_eq(engine->n_on_device, n);
	ck_assert_int_eq(engine->is_kernel_spinning, n > 0 && is_kernels);
	ck_assert_int_eq(is_asking(), n > 0 && is_kernels);
}

START_TEST(the_device_of_a_watched_channel_is_asked)
{
	/* of the four kinds, the two that have it (engine_fixture.c) */
	bool is_kernels = _i == 0 || _i == 3;
	struct peer peer = { .fd = -1, .listen_fd = -1 };
	int fd;

	if (!has_devices())
		return;
	set_up(_i, 32768, 64);
	port = tm_engine_listen(engine, "tcp:" DEVICE_ADDRESS ":0");
	ck_assert_int_gt(port, 0);
	fd = connect_device();
	run_until_open(1);
	check_watched(0, is_kernels);

	ck_assert_int_eq(tm_channel_set_latency(streams[0].channel, _i % 2 ? 9000 : 100000), 0);
	(void)tm_engine_run(engine, 0);
	ck_assert_int_eq(send(fd, "", 1, MSG_NOSIGNAL), 1); /* by what comes a device is known */
	check_watched(1, is_kernels);
	ck_assert_int_eq(send(fd, "", 1, MSG_NOSIGNAL), 1);
	while (streams[0].bytes < 2)
		ck_assert_int_ge(tm_engine_run(engine, WAIT_MS), 0);
	ck_assert(is_waiting_awake());
	peer.fd = connect_device();
	run_until_open(2);
	start_peer(&peer, 1, BYTES);
	run_until_closed(1);
	join_peers(&peer, 1);
	ck_assert_uint_eq(streams[1].bytes, BYTES);
	ck_assert(!streams[1].is_wrong);
	check_watched(1, is_kernels);

	close(fd);
	run_until_closed(2);
	check_watched(0, is_kernels);
	tear_down();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { the_device_of_a_watched_channel_is_asked };

	return run_suite("busy_poll", tests, ARRAY_LEN(tests));
}
