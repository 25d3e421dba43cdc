/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The disk is as slow, or as full, as a case wants it: fsync() here takes the place of libc's. A save
 * calls it twice, for the file and for its directory.
 */

#include "saver.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mono.h"
#include "preempted.h"
#include "suite.h"
#include "turns.h"

#define SLOW_USEC 100000
#define FSYNCS_PER_SAVE 2

static _Atomic unsigned n_syncs;
static _Atomic int sync_error, sync_usec;

int fsync(int fd)
{
	n_syncs++;
	if (sync_usec > 0)
		usleep((useconds_t)sync_usec);
	if (sync_error) {
		errno = sync_error;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

/* ---- a daemon that is nothing but its state */

static char dir_path[64];
static int dir_fd;
static sd_event *event;
static struct turns turns;
static struct state *state;
static struct saver *saver;
static char undone[512]; /* names in order, "+" before one that was new, "-" one that was removed */
static int failed_error;
static size_t n_failed;
static bool may_undo;

static void on_failed(int error, size_t n_changes, void *userdata)
{
	(void)userdata;
	failed_error = error;
	n_failed = n_changes;
}

static bool on_undo(const struct saver_change *change, void *userdata)
{
	size_t len = strlen(undone);

	(void)userdata;
	snprintf(undone + len, sizeof(undone) - len, "%s%s%s", len ? " " : "",
		 change->is_new       ? "+"
		 : change->is_removed ? "-"
				      : "",
		 change->name);
	return may_undo;
}

static void setup(void)
{
	static const struct saver_hooks hooks = { .failed = on_failed, .undo = on_undo };

	strcpy(dir_path, "/tmp/test-saver-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir_path));
	dir_fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(dir_fd, 0);
	ck_assert_int_ge(sd_event_new(&event), 0);
	state = state_new();
	ck_assert_int_eq(saver_new(event, dir_fd, "/there", state, &hooks, &saver), 0);
	turns = (struct turns){};
	n_syncs = 0;
	sync_error = sync_usec = 0;
	undone[0] = '\0';
	failed_error = 0;
	n_failed = SIZE_MAX;
	may_undo = true;
}

static void teardown(void)
{
	DIR *dir = opendir(dir_path);
	struct dirent *entry;

	saver_free(saver);
	state_free(state);
	sd_event_unref(event);
	while ((entry = readdir(dir)))
		(void)unlinkat(dir_fd, entry->d_name, 0);
	closedir(dir);
	close(dir_fd);
	rmdir(dir_path);
}

static struct slot_policy slot_of(const char *name, uint32_t weight)
{
	struct slot_policy policy = { .node = NODE_ANY,
				      .weight = weight,
				      .tier = TIER_DEFAULT,
				      .max_bytes = BYTES_UNLIMITED };

	snprintf(policy.name, sizeof(policy.name), "%s", name);
	return policy;
}

static void put(const char *name, uint32_t weight)
{
	struct slot_policy policy = slot_of(name, weight);

	ck_assert_int_eq(saver_put(saver, &policy), 0);
}

/* Of the state, or of what is on disk; 0: there is no such slot. */
static uint32_t weight_in(const struct state *where, const char *name)
{
	const struct state_slot *slot = state_find(where, name);

	return slot ? slot->policy.weight : 0;
}

static uint32_t weight_on_disk(const char *name)
{
	char error[STATE_ERROR_MAX];
	struct state *loaded;
	uint32_t weight;

	ck_assert_int_ge(state_load(dir_fd, &loaded, error), 0);
	weight = weight_in(loaded, name);
	state_free(loaded);
	return weight;
}

/* ---- requests */

struct request {
	const char *name;            /* NULL: what is on disk is not looked at */
	unsigned n_answers, n_syncs; /* when it was answered */
	bool ends_loop;
	enum fault_kind kind;
	uint32_t weight_on_disk;
	char message[sizeof(((struct fault *)NULL)->message)];
};

static void on_done(enum fault_kind kind, const struct fault *fault, void *userdata)
{
	struct request *request = userdata;

	request->n_answers++;
	request->n_syncs = n_syncs;
	request->kind = kind;
	request->weight_on_disk = request->name ? weight_on_disk(request->name) : 0;
	snprintf(request->message, sizeof(request->message), "%s",
		 kind == FAULT_NONE ? "" : fault->message);
	if (request->ends_loop)
		ck_assert_int_ge(sd_event_exit(event, 0), 0);
}

static void ask(struct request *request, const char *name)
{
	*request = (struct request){ .name = name };
	saver_answer(saver, name, on_done, request);
}

/* Runs the loop until all is on disk, or taken back. */
static void settle(const struct request *last)
{
	while (last->n_answers == 0)
		ck_assert_int_ge(sd_event_run(event, SLOW_USEC), 0);
}

static void put_on_disk(const char *name, uint32_t weight)
{
	struct request request;

	put(name, weight);
	ask(&request, name);
	settle(&request);
	ck_assert_int_eq(request.kind, FAULT_NONE);
}

static int on_beat(sd_event_source *source, uint64_t usec, void *userdata)
{
	unsigned *n_beats = userdata;

	(void)usec;
	++*n_beats;
	return sd_event_source_set_time_relative(source, 1000);
}

/* ---- cases */

START_TEST(the_loop_goes_on_while_the_disk_is_slow)
{
	sd_event_source *beat = NULL;
	struct request request;
	unsigned n_beats = 0;

	sync_usec = SLOW_USEC;
	put("a", 1);
	ask(&request, "a");
	ck_assert_uint_eq(request.n_answers, 0);
	ck_assert_int_ge(sd_event_add_time_relative(event, &beat, CLOCK_MONOTONIC, 1000, 1, on_beat,
						    &n_beats),
			 0);
	ck_assert_int_ge(sd_event_source_set_enabled(beat, SD_EVENT_ON), 0);
	request.ends_loop = true;
	ck_assert_int_eq(turns_loop(event, &turns), 0);
	sd_event_source_unref(beat);
	ck_assert_uint_eq(request.n_answers, 1);
	ck_assert_int_eq(request.kind, FAULT_NONE);
	ck_assert_uint_gt(n_beats, 5);
	ck_assert_msg(turns.longest_ns < SLOW_USEC / 2 * NS_PER_USEC, "%llu µs in one turn",
		      (unsigned long long)turns.longest_ns / 1000);
}
END_TEST

START_TEST(who_made_a_change_is_answered_when_it_is_on_disk)
{
	struct request request;

	sync_usec = SLOW_USEC / 10;
	put("a", 7);
	ask(&request, "a");
	settle(&request);
	ck_assert_uint_eq(request.n_answers, 1);
	ck_assert_uint_eq(request.n_syncs, FSYNCS_PER_SAVE);
	ck_assert_uint_eq(request.weight_on_disk, 7);
}
END_TEST

START_TEST(who_asks_about_a_slot_that_is_on_disk_does_not_wait)
{
	struct request other, again;

	put("a", 7);
	ask(&other, "b");
	ck_assert_uint_eq(other.n_answers, 1);
	ask(&again, "a"); /* the same slot once more is not on disk either */
	ck_assert_uint_eq(again.n_answers, 0);
	settle(&again);
	ask(&again, "a");
	ck_assert_uint_eq(again.n_answers, 1);
}
END_TEST

#define N_MEANWHILE 50
static struct request meanwhile[N_MEANWHILE];
static char names[N_MEANWHILE][8];

static int on_meanwhile(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	(void)userdata;
	for (int i = 0; i < N_MEANWHILE; i++) {
		snprintf(names[i], sizeof(names[i]), "s%d", i);
		put(names[i], (uint32_t)i + 1);
		ask(&meanwhile[i], names[i]);
	}
	return 0;
}

START_TEST(changes_that_come_while_the_disk_is_busy_go_there_together)
{
	struct request first;

	sync_usec = SLOW_USEC;
	put("a", 7);
	ask(&first, "a");
	ck_assert_int_ge(sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC, SLOW_USEC / 2, 1,
						    on_meanwhile, NULL),
			 0);
	settle(&first);
	while (meanwhile[N_MEANWHILE - 1].n_answers == 0)
		ck_assert_int_ge(sd_event_run(event, SLOW_USEC), 0);
	ck_assert_uint_eq(first.n_syncs, FSYNCS_PER_SAVE); /* it does not wait for the others */
	for (int i = 0; i < N_MEANWHILE; i++) {
		ck_assert_uint_eq(meanwhile[i].n_answers, 1);
		ck_assert_uint_eq(meanwhile[i].weight_on_disk, (uint32_t)i + 1);
	}
	ck_assert_uint_eq(n_syncs, 2 * FSYNCS_PER_SAVE);
}
END_TEST

START_TEST(on_a_full_disk_all_is_taken_back_from_the_last_to_the_first)
{
	struct request set, added, removed;

	put_on_disk("a", 1);
	put_on_disk("c", 1);
	sync_error = ENOSPC;
	put("a", 2);
	ask(&set, "a");
	put("b", 3);
	ask(&added, "b");
	ck_assert_int_eq(saver_remove(saver, "c"), 0);
	ask(&removed, "c");
	put("a", 4);
	settle(&removed);
	ck_assert_str_eq(undone, "a -c +b a");
	ck_assert_int_eq(failed_error, -ENOSPC);
	ck_assert_uint_eq(n_failed, 4);
	ck_assert_int_eq(set.kind, FAULT_FAILED);
	ck_assert_str_eq(set.message, "the state file in /there could not be written: No space "
				      "left on device");
	ck_assert_int_eq(added.kind, FAULT_FAILED);
	ck_assert_int_eq(removed.kind, FAULT_FAILED);
	ck_assert_uint_eq(set.n_answers + added.n_answers + removed.n_answers, 3);
	ck_assert_uint_eq(weight_in(state, "a"), 1);
	ck_assert_uint_eq(weight_in(state, "b"), 0);
	ck_assert_uint_eq(weight_in(state, "c"), 1);
	ck_assert_uint_eq(weight_on_disk("a"), 1);
}
END_TEST

START_TEST(what_cannot_be_taken_back_goes_to_the_disk_with_the_next_save)
{
	struct request request;

	sync_error = EIO;
	may_undo = false;
	put("a", 5);
	ask(&request, "a");
	settle(&request);
	ck_assert_int_eq(request.kind, FAULT_FAILED);
	ck_assert_uint_eq(weight_in(state, "a"), 5);
	sync_error = 0;
	put_on_disk("b", 6);
	ck_assert_uint_eq(weight_on_disk("a"), 5);
}
END_TEST

START_TEST(a_change_that_did_not_come_about_never_gets_to_the_disk)
{
	put_on_disk("a", 1);
	put("a", 2);
	saver_cancel(saver, "a");
	put("b", 3);
	saver_cancel(saver, "b");
	ck_assert_int_eq(saver_remove(saver, "a"), 0);
	saver_cancel(saver, "a");
	ck_assert_int_eq(saver_remove(saver, "nobody"), 0);
	ck_assert_uint_eq(weight_in(state, "a"), 1);
	ck_assert_uint_eq(weight_in(state, "b"), 0);
	put_on_disk("c", 4);
	ck_assert_uint_eq(weight_on_disk("a"), 1);
	ck_assert_uint_eq(weight_on_disk("b"), 0);
	ck_assert_uint_eq(n_syncs, 2 * FSYNCS_PER_SAVE);
}
END_TEST

START_TEST(at_the_end_all_is_on_disk)
{
	struct request first, second;

	sync_usec = SLOW_USEC / 2;
	put("a", 1);
	ask(&first, "a");
	while (n_syncs == 0) /* the first is on its way */
		ck_assert_int_ge(sd_event_run(event, 1000), 0);
	put("b", 2);
	ask(&second, "b");
	saver_free(TAKE(saver));
	ck_assert_uint_eq(first.n_answers + second.n_answers, 2);
	ck_assert_uint_eq(second.weight_on_disk, 2);
	ck_assert_int_eq(second.kind, FAULT_NONE);
	ck_assert_uint_eq(n_syncs, 2 * FSYNCS_PER_SAVE);
}
END_TEST

START_TEST(what_cannot_be_saved_at_the_end_is_told)
{
	struct request request;

	sync_error = ENOSPC;
	put("a", 1);
	ask(&request, "a");
	saver_free(TAKE(saver));
	ck_assert_int_eq(request.kind, FAULT_FAILED);
	ck_assert_int_eq(failed_error, -ENOSPC);
	ck_assert_str_eq(undone, ""); /* tasks run on: the next daemon finds them */
}
END_TEST

/* All that the loop does of a save, with as many slots as there can be. */
START_TEST(ten_thousand_slots_hold_the_loop_up_for_no_longer)
{
	struct request request;
	uint64_t others_ns;
	char name[16];

	for (int i = 0; i < SLOTS_MAX - 1; i++) {
		struct slot_policy policy;

		snprintf(name, sizeof(name), "s%05d", i);
		policy = slot_of(name, 1);
		ck_assert_int_eq(state_put(state, &policy), 0);
	}
	put("z", 7);
	ask(&request, "z");
	request.name = NULL;
	request.ends_loop = true;
	others_ns = preempted_ns();
	ck_assert_int_eq(turns_loop(event, &turns), 0);
	others_ns = preempted_ns() - others_ns; /* other tests run beside it */
	ck_assert_int_eq(request.kind, FAULT_NONE);
	ck_assert_uint_eq(request.n_syncs, FSYNCS_PER_SAVE);
	ck_assert_msg(turns.longest_ns < 20 * NS_PER_MSEC + others_ns, "%llu µs in one turn",
		      (unsigned long long)turns.longest_ns / 1000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("saver");
	TCase *tc = tcase_create("saver");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_loop_goes_on_while_the_disk_is_slow);
	tcase_add_test(tc, who_made_a_change_is_answered_when_it_is_on_disk);
	tcase_add_test(tc, who_asks_about_a_slot_that_is_on_disk_does_not_wait);
	tcase_add_test(tc, changes_that_come_while_the_disk_is_busy_go_there_together);
	tcase_add_test(tc, on_a_full_disk_all_is_taken_back_from_the_last_to_the_first);
	tcase_add_test(tc, what_cannot_be_taken_back_goes_to_the_disk_with_the_next_save);
	tcase_add_test(tc, a_change_that_did_not_come_about_never_gets_to_the_disk);
	tcase_add_test(tc, at_the_end_all_is_on_disk);
	tcase_add_test(tc, what_cannot_be_saved_at_the_end_is_told);
	tcase_add_test(tc, ten_thousand_slots_hold_the_loop_up_for_no_longer);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
