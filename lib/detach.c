/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The end of a grant. The daemon counts its pages until it is told or the process ends, so a
 * daemon that is being started again is waited for. When that takes too long the process goes on, and
 * the daemon hears of it at the next attach or detach: the list below belongs to the process.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mono.h"
#include "slot.h"

#define WAIT_NS (5 * NS_PER_SEC)
#define PAUSE_NS (50 * NS_PER_MSEC)
#define MISSING_MAX 4 /* looks in a row that find no socket */

struct untold {
	struct list item;
	uint64_t grant;
	char address[]; /* of the daemon's socket */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list untold = { &untold, &untold };

/* One call; a grant that the daemon does not know is gone as well. call_lock held. */
static int tell(struct tm_slot *slot, uint64_t grant)
{
	sd_json_variant *parameters = NULL, *reply;
	int r = sd_json_buildo(&parameters, SD_JSON_BUILD_PAIR_UNSIGNED("grant", grant));

	if (r >= 0)
		r = link_call(slot, "io.taskmem.Detach", parameters, &reply);
	sd_json_variant_unref(parameters);
	return r == -ESTALE ? 0 : r;
}

/* Without its socket a daemon was stopped and nothing is waited for; the file is also missing
 * for a moment when a new daemon replaces it. */
static int tell_patiently(struct tm_slot *slot)
{
	const struct timespec pause = { .tv_nsec = (long)PAUSE_NS };
	uint64_t deadline_ns = mono_now_ns() + WAIT_NS;
	int n_missing = 0, r;

	for (;;) {
		r = tell(slot, slot->grant);
		if (r != -ENOTCONN || mono_now_ns() >= deadline_ns)
			return r;
		if (slot->address[0] == '/' && access(slot->address, F_OK) < 0)
			n_missing++;
		else
			n_missing = 0;
		if (n_missing > MISSING_MAX)
			return r;
		(void)nanosleep(&pause, NULL); /* a signal only makes the pause shorter */
	}
}

static void remember(const struct tm_slot *slot)
{
	struct untold *u = calloc(1, sizeof(*u) + strlen(slot->address) + 1);

	if (!u)
		return; /* then it is told by the end of the process */
	u->grant = slot->grant;
	strcpy(u->address, slot->address);
	pthread_mutex_lock(&lock);
	list_append(&untold, &u->item);
	pthread_mutex_unlock(&lock);
}

static struct untold *take_untold(const struct tm_slot *slot)
{
	struct untold *u, *found = NULL;

	pthread_mutex_lock(&lock);
	LIST_FOREACH(&untold, u, item) {
		if (!found && strcmp(u->address, slot->address) == 0) {
			found = u;
			list_remove(&u->item);
		}
	}
	pthread_mutex_unlock(&lock);
	return found;
}

int detach_earlier(struct tm_slot *slot)
{
	struct untold *u;
	int r = 0;

	pthread_mutex_lock(&slot->call_lock);
	while (r >= 0 && (u = take_untold(slot))) {
		r = tell(slot, u->grant);
		if (r < 0) {
			pthread_mutex_lock(&lock);
			list_append(&untold, &u->item);
			pthread_mutex_unlock(&lock);
		} else {
			free(u);
		}
	}
	pthread_mutex_unlock(&slot->call_lock);
	return r;
}

int detach_grant(struct tm_slot *slot)
{
	int r;

	pthread_mutex_lock(&slot->call_lock);
	r = tell_patiently(slot);
	pthread_mutex_unlock(&slot->call_lock);
	if (r >= 0)
		return detach_earlier(slot);
	remember(slot);
	return r;
}
