/* SPDX-License-Identifier: Apache-2.0 */

#include "device_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine_fixture.h"

struct call {
	void *(*function)(void *);
	void *userdata;
};

static int ours_fd = -1, theirs_fd = -1; /* namespaces */

static int open_own_namespace(void)
{
	return unshare(CLONE_NEWNET) < 0 ? -1
					 : open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

static void *make_theirs(void *userdata)
{
	char command[128];

	(void)userdata;
	theirs_fd = open_own_namespace();
	(void)snprintf(command, sizeof(command),
		       "ip link add tm0 netns %d type veth peer name tm1 && "
		       "ip address add 10.199.0.2/24 dev tm1 && ip link set tm1 up",
		       (int)getpid());
	return theirs_fd >= 0 && system(command) == 0 ? &theirs_fd : NULL;
}

bool make_devices(void)
{
	pthread_t thread;
	void *is_made = NULL;

	ours_fd = open_own_namespace();
	if (ours_fd < 0 || pthread_create(&thread, NULL, make_theirs, NULL) != 0)
		return false;
	pthread_join(thread, &is_made);
	return is_made &&
	       system("ip link set lo up && ip address add " DEVICE_ADDRESS "/24 dev tm0 && "
		      "ip link set tm0 up") == 0;
}

static void *do_call(void *userdata)
{
	const struct call *call = userdata;

	return setns(theirs_fd, CLONE_NEWNET) < 0 ? NULL : call->function(call->userdata);
}

void *call_there(void *(*function)(void *), void *userdata)
{
	struct call call = { function, userdata };
	pthread_t thread;
	void *result = NULL;

	ck_assert_int_eq(pthread_create(&thread, NULL, do_call, &call), 0);
	pthread_join(thread, &result);
	return result;
}

static void *connect_to_us(void *ret_fd)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)inet_pton(AF_INET, DEVICE_ADDRESS, &in.sin_addr);
	*(int *)ret_fd = connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0 ? fd : -errno;
	return NULL;
}

int connect_device(void)
{
	int fd = -1;

	(void)call_there(connect_to_us, &fd);
	ck_assert_int_ge(fd, 0);
	return fd;
}
