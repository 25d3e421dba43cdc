/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Buffers are released by any thread, an engine runs in one. A releaser leaves a note here and
 * writes the eventfd only when the engine sleeps, so that a handler which releases at once
 * costs no system call. A buffer may be released long after its engine is gone: the mailbox is
 * then closed but still there.
 */

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine.h"

struct mailbox *mailbox_new(void)
{
	struct mailbox *mailbox = calloc(1, sizeof(*mailbox));

	if (!mailbox)
		return NULL;
	mailbox->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mailbox->event_fd < 0) {
		free(mailbox);
		return NULL;
	}
	atomic_init(&mailbox->refs, 1);
	pthread_mutex_init(&mailbox->lock, NULL);
	list_init(&mailbox->credited);
	mailbox->is_open = true;
	return mailbox;
}

struct mailbox *mailbox_ref(struct mailbox *mailbox)
{
	atomic_fetch_add(&mailbox->refs, 1);
	return mailbox;
}

void mailbox_unref(struct mailbox *mailbox)
{
	if (!mailbox || atomic_fetch_sub(&mailbox->refs, 1) > 1)
		return;
	fd_closep(&mailbox->event_fd);
	pthread_mutex_destroy(&mailbox->lock);
	piece_home_deinit(&mailbox->pieces);
	free(mailbox);
}

/* Lock held. */
static void wake(struct mailbox *mailbox)
{
	if (!mailbox->is_asleep)
		return;
	mailbox->is_asleep = false;
	/* fails only when the counter is full, and then the fd is readable already */
	(void)eventfd_write(mailbox->event_fd, 1);
}

void mailbox_credit(struct mailbox *mailbox, struct tm_channel *channel)
{
	pthread_mutex_lock(&mailbox->lock);
	if (mailbox->is_open && !channel->is_mailed) {
		channel->is_mailed = true;
		atomic_fetch_add(&channel->refs, 1);
		list_append(&mailbox->credited, &channel->mail);
		wake(mailbox);
	}
	pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_share(struct mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	mailbox->should_share = true;
	wake(mailbox);
	pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_give(struct mailbox *mailbox, struct buffer *buffer)
{
	pthread_mutex_lock(&mailbox->lock);
	mailbox->given = buffer;
	wake(mailbox);
	pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_withdraw(struct mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	mailbox->should_withdraw = true;
	wake(mailbox);
	pthread_mutex_unlock(&mailbox->lock);
}

int mailbox_wake(struct mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	mailbox->should_return = true;
	wake(mailbox);
	pthread_mutex_unlock(&mailbox->lock);
	return 0;
}

struct tm_channel *mailbox_pop(struct mailbox *mailbox)
{
	struct tm_channel *channel = NULL;

	pthread_mutex_lock(&mailbox->lock);
	if (!list_is_empty(&mailbox->credited)) {
		channel = list_entry(mailbox->credited.next, struct tm_channel, mail);
		list_remove(&channel->mail);
		channel->is_mailed = false;
	}
	pthread_mutex_unlock(&mailbox->lock);
	return channel;
}

/* Lock held. */
static struct mail take(struct mailbox *mailbox)
{
	struct mail mail = {
		.given = TAKE(mailbox->given),
		.should_withdraw = mailbox->should_withdraw,
		.should_return = mailbox->should_return,
	};

	/* to share needs no message: floating_look() is part of each turn */
	mailbox->should_withdraw = mailbox->should_return = mailbox->should_share = false;
	return mail;
}

struct mail mailbox_take(struct mailbox *mailbox)
{
	struct mail mail;

	pthread_mutex_lock(&mailbox->lock);
	mail = take(mailbox);
	pthread_mutex_unlock(&mailbox->lock);
	return mail;
}

bool mailbox_try_sleep(struct mailbox *mailbox)
{
	bool may_sleep;

	pthread_mutex_lock(&mailbox->lock);
	may_sleep = list_is_empty(&mailbox->credited) && !mailbox->given &&
		    !mailbox->should_withdraw && !mailbox->should_return && !mailbox->should_share;
	mailbox->is_asleep = may_sleep;
	pthread_mutex_unlock(&mailbox->lock);
	return may_sleep;
}

void mailbox_awake(struct mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	mailbox->is_asleep = false;
	pthread_mutex_unlock(&mailbox->lock);
}

struct mail mailbox_close(struct mailbox *mailbox)
{
	struct mail mail;

	pthread_mutex_lock(&mailbox->lock);
	mailbox->is_open = false;
	mail = take(mailbox);
	pthread_mutex_unlock(&mailbox->lock);
	return mail;
}
