/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A daemon that has nothing but slots, each of which takes as long to look at as on a real machine;
 * who asks is a process of its own, so that the loop is only held up by the daemon's half.
 */

#include "api/listing.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/encode.h"
#include "base/mono.h"
#include "client.h"
#include "field.h"
#include "suite.h"
#include "turns.h"

#define METHOD "io.taskmem.ListSlots"
#define SLOT_NS (100 * NS_PER_USEC) /* a dozen reads of the kernel's files */
#define NAMES_MAX 20000

/* ---- a manager */

struct manager {
	unsigned names[NAMES_MAX]; /* in order */
	size_t n;
	uint64_t slot_ns;
	size_t n_viewed;
	bool is_restless; /* slots with odd numbers come and go */
};

static struct manager manager;
static char nth_name[16];

static const char *name_of(unsigned number)
{
	snprintf(nth_name, sizeof(nth_name), "s%05u", number);
	return nth_name;
}

size_t manager_slot_count(const struct manager *m)
{
	return m->n;
}

const char *manager_nth_slot_name(const struct manager *m, size_t i)
{
	return name_of(m->names[i]);
}

size_t manager_find_after(const struct manager *m, const char *name)
{
	size_t i = 0;

	while (i < m->n && strcmp(name_of(m->names[i]), name) <= 0)
		i++;
	return i;
}

static uint64_t cpu_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

void manager_view_nth_slot(struct manager *m, size_t i, struct slot_view *view)
{
	uint64_t end_ns = cpu_now_ns() + m->slot_ns;

	*view = (struct slot_view){ .class = "uncontrolled" };
	snprintf(view->policy.name, sizeof(view->policy.name), "%s", name_of(m->names[i]));
	memset(view->reason, 'x', 300);
	m->n_viewed++;
	while (cpu_now_ns() < end_ns)
		;
}

/* What encode.c can show besides. */
#define NEVER(type, name, value, ...)      \
	type name(__VA_ARGS__)             \
	{                                  \
		ck_abort_msg("%s", #name); \
		return value;              \
	}
#define NOTHING
NEVER(size_t, manager_node_count, 0, const struct manager *)
NEVER(size_t, manager_count_tasks, 0, const struct manager *, const char *)
NEVER(size_t, manager_count_waiting, 0, const struct manager *)
NEVER(const struct event_count *, events_counts, NULL, const struct events *, size_t *)
NEVER(void, manager_view_nth_counters, NOTHING, struct manager *, size_t, struct counters_view *)
NEVER(void, manager_view_nth_node, NOTHING, struct manager *, size_t, struct node_view *)
NEVER(void, manager_view_nth_waiting, NOTHING, struct manager *, size_t, struct wait_view *)
NEVER(void, manager_view_nth_task, NOTHING, const struct manager *, const char *, size_t,
      struct task_view *)

int call_expect_more(const struct call *call)
{
	if (call->flags & SD_VARLINK_METHOD_MORE)
		return 1;
	(void)sd_varlink_error(call->link, SD_VARLINK_ERROR_EXPECTED_MORE, NULL);
	return 0;
}

/* ---- a server */

static sd_event *event;
static sd_varlink_server *server;
static struct listings listings;
static struct turns turns;

/* Between two turns all odd ones that are there go, or those that are not come. */
static void stir(void)
{
	static bool is_odd_there = true;
	struct manager old = manager;
	unsigned last = old.names[old.n - 1] | 1;

	is_odd_there = !is_odd_there;
	manager.n = 0;
	for (unsigned number = 0; number <= last; number++)
		if (number % 2 == 0 || is_odd_there)
			manager.names[manager.n++] = number;
}

static int encode_slot_here(struct manager *m, size_t i, sd_json_variant **ret)
{
	return encode_nth_slot(m, i, ret);
}

static int encode_beside(struct manager *m, bool is_last, sd_json_variant **ret)
{
	if (m->is_restless)
		stir();
	return sd_json_buildo(ret, SD_JSON_BUILD_PAIR_BOOLEAN("isLast", is_last));
}

static int on_list(sd_varlink *link, sd_json_variant *parameters, sd_varlink_method_flags_t flags,
		   void *userdata)
{
	static const struct listing_kind kind = { .once_max = 250,
						  .encode = encode_slot_here,
						  .encode_beside = encode_beside };
	struct call call = { .link = link,
			     .manager = &manager,
			     .listings = &listings,
			     .parameters = parameters,
			     .flags = flags,
			     .pidfd = -1 };

	(void)userdata;
	return listing_begin(&call, &kind);
}

static int on_end(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	(void)userdata;
	return sd_event_exit(event, 0);
}

static void end_loop_after(uint64_t usec)
{
	ck_assert_int_ge(
		sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC, usec, 1, on_end, NULL), 0);
}

static size_t n_viewed_before; /* the client hung up */

static void on_disconnect(sd_varlink_server *s, sd_varlink *link, void *userdata)
{
	(void)s;
	(void)link;
	(void)userdata;
	n_viewed_before = manager.n_viewed;
	end_loop_after(100000);
}

static void setup(void)
{
	manager = (struct manager){ .slot_ns = SLOT_NS };
	listings = (struct listings){};
	turns = (struct turns){};
	ck_assert_int_ge(sd_event_new(&event), 0);
	ck_assert_int_ge(sd_varlink_server_new(&server, 0), 0);
	ck_assert_int_ge(sd_varlink_server_bind_method(server, METHOD, on_list), 0);
	ck_assert_int_ge(sd_varlink_server_bind_disconnect(server, on_disconnect), 0);
	ck_assert_int_ge(sd_varlink_server_attach_event(server, event, SD_EVENT_PRIORITY_NORMAL),
			 0);
}

static void teardown(void)
{
	sd_varlink_server_unref(server);
	sd_event_unref(event);
	ck_assert_uint_eq(listings.n_gathering, 0);
}

static void make_slots(size_t n)
{
	for (manager.n = 0; manager.n < n; manager.n++)
		manager.names[manager.n] = (unsigned)manager.n;
}

/* ---- a client */

#define FAILS(condition)                                                   \
	do {                                                               \
		if (condition) {                                           \
			fprintf(stderr, "%s: %s\n", __func__, #condition); \
			_exit(1);                                          \
		}                                                          \
	} while (0)

/* Runs the loop until @client, in a process of its own, has hung up; it must exit with 0. */
static void serve(void (*client)(int fd))
{
	int pair[2], status;
	pid_t pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		close(pair[0]);
		client(pair[1]);
		_exit(0);
	}
	close(pair[1]);
	ck_assert_int_ge(sd_varlink_server_add_connection(server, pair[0], NULL), 0);
	ck_assert_int_eq(turns_loop(event, &turns), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

static sd_varlink *connect_fd(int fd)
{
	sd_varlink *link = NULL;

	FAILS(sd_varlink_connect_fd(&link, fd) < 0);
	return link;
}

static sd_json_variant *list_all(sd_varlink *link)
{
	sd_json_variant *reply = NULL;

	FAILS(client_list(link, "ListSlots", &reply) != 0);
	FAILS(!field_bool(reply, "isLast", false));
	return field_array(reply, "slots");
}

static const char *nth_slot(sd_json_variant *slots, size_t i)
{
	return field_text(sd_json_variant_by_index(slots, i), "name", "?");
}

static void ask_for_all(int fd)
{
	sd_json_variant *slots = list_all(connect_fd(fd));

	FAILS(sd_json_variant_elements(slots) != manager.n);
	for (size_t i = 0; i < manager.n; i++)
		FAILS(strcmp(nth_slot(slots, i), name_of((unsigned)i)) != 0);
}

/* Those that are there all the time, each once. */
static void ask_for_the_even(int fd)
{
	sd_json_variant *slots = list_all(connect_fd(fd));
	unsigned next = 0;

	for (size_t i = 0; i < sd_json_variant_elements(slots); i++) {
		FAILS(i > 0 && strcmp(nth_slot(slots, i - 1), nth_slot(slots, i)) >= 0);
		if (strcmp(nth_slot(slots, i), name_of(next)) == 0)
			next += 2;
	}
	FAILS(next <= manager.names[manager.n - 1] - 1);
}

static void ask_twice(int fd)
{
	sd_varlink *link = connect_fd(fd);

	FAILS(sd_json_variant_elements(list_all(link)) != manager.n);
	FAILS(sd_json_variant_elements(list_all(link)) != manager.n);
}

static void ask_for_one_reply(int fd)
{
	sd_json_variant *reply;
	const char *error;

	FAILS(sd_varlink_call(connect_fd(fd), METHOD, NULL, &reply, &error) < 0);
	FAILS(error || sd_json_variant_elements(field_array(reply, "slots")) != manager.n);
	FAILS(!field_bool(reply, "isLast", false));
}

static void ask_for_one_reply_of_too_many(int fd)
{
	sd_json_variant *reply;
	const char *error;

	FAILS(sd_varlink_call(connect_fd(fd), METHOD, NULL, &reply, &error) < 0);
	FAILS(!error || strcmp(error, SD_VARLINK_ERROR_EXPECTED_MORE) != 0);
}

static void ask_and_hang_up(int fd)
{
	sd_varlink *link = connect_fd(fd);

	FAILS(sd_varlink_observe(link, METHOD, NULL) < 0 || sd_varlink_flush(link) < 0);
	FAILS(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 10000) != 1);
}

/* ---- cases */

#if defined(__SANITIZE_ADDRESS__) || (defined(__has_feature) && __has_feature(address_sanitizer))
#define TURN_MAX_NS (100 * NS_PER_MSEC)
#else
#define TURN_MAX_NS (10 * NS_PER_MSEC)
#endif

static void check_turns(void)
{
	ck_assert_msg(turns.longest_ns < TURN_MAX_NS, "%llu µs in one turn",
		      (unsigned long long)turns.longest_ns / 1000);
}

START_TEST(a_long_list_never_holds_up_the_loop)
{
	make_slots(3000);
	serve(ask_for_all);
	ck_assert_uint_eq(manager.n_viewed, manager.n);
	ck_assert_uint_gt(turns.n, 100);
	check_turns();
}
END_TEST

START_TEST(a_gathered_list_never_holds_up_the_loop)
{
	make_slots(250);
	serve(ask_for_one_reply);
	check_turns();
}
END_TEST

START_TEST(ten_thousand_slots_are_listed)
{
	manager.slot_ns = 0;
	make_slots(10000);
	serve(ask_for_all);
}
END_TEST

START_TEST(slots_that_come_and_go_hide_none_and_double_none)
{
	manager.is_restless = true;
	make_slots(1000);
	serve(ask_for_the_even);
}
END_TEST

START_TEST(few_slots_are_one_reply_at_once)
{
	manager.slot_ns = 0;
	make_slots(3);
	serve(ask_for_one_reply);
}
END_TEST

START_TEST(no_slots_are_an_empty_list)
{
	serve(ask_for_all);
}
END_TEST

START_TEST(one_connection_may_ask_again)
{
	make_slots(200);
	serve(ask_twice);
}
END_TEST

START_TEST(too_many_for_one_reply_are_refused_by_name)
{
	make_slots(251);
	serve(ask_for_one_reply_of_too_many);
	ck_assert_uint_eq(manager.n_viewed, 0);
}
END_TEST

START_TEST(who_does_not_read_gets_no_more_made)
{
	sd_varlink *link;
	int pair[2];

	manager.slot_ns = 0;
	make_slots(NAMES_MAX);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
	ck_assert_int_ge(sd_varlink_connect_fd(&link, pair[1]), 0);
	ck_assert_int_ge(sd_varlink_server_add_connection(server, pair[0], NULL), 0);
	ck_assert_int_ge(sd_varlink_observe(link, METHOD, NULL), 0);
	ck_assert_int_ge(sd_varlink_flush(link), 0);
	end_loop_after(1000000);
	ck_assert_int_eq(turns_loop(event, &turns), 0);
	ck_assert_uint_gt(manager.n_viewed, 0);
	ck_assert_uint_lt(manager.n_viewed, NAMES_MAX / 2);
	ck_assert_uint_lt(turns.n, 2000); /* and nobody looks at it all the time */
	sd_varlink_close_unref(link);
}
END_TEST

START_TEST(who_hangs_up_is_forgotten)
{
	make_slots(3000);
	serve(ask_and_hang_up);
	ck_assert_uint_lt(n_viewed_before, manager.n / 2);
	ck_assert_uint_le(manager.n_viewed, n_viewed_before + 100); /* a turn later it is seen */
}
END_TEST

static int on_room(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	(void)userdata;
	ck_assert_uint_eq(manager.n_viewed, 0);
	listings.n_gathering = 0;
	return 0;
}

START_TEST(few_lists_are_gathered_at_a_time_and_the_others_wait)
{
	make_slots(100);
	listings.n_gathering = 1000;
	ck_assert_int_ge(
		sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC, 200000, 1, on_room, NULL),
		0);
	serve(ask_for_one_reply);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("listing");
	TCase *tc = tcase_create("listing");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_long_list_never_holds_up_the_loop);
	tcase_add_test(tc, a_gathered_list_never_holds_up_the_loop);
	tcase_add_test(tc, ten_thousand_slots_are_listed);
	tcase_add_test(tc, slots_that_come_and_go_hide_none_and_double_none);
	tcase_add_test(tc, few_slots_are_one_reply_at_once);
	tcase_add_test(tc, no_slots_are_an_empty_list);
	tcase_add_test(tc, one_connection_may_ask_again);
	tcase_add_test(tc, too_many_for_one_reply_are_refused_by_name);
	tcase_add_test(tc, who_does_not_read_gets_no_more_made);
	tcase_add_test(tc, who_hangs_up_is_forgotten);
	tcase_add_test(tc, few_lists_are_gathered_at_a_time_and_the_others_wait);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
