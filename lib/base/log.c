/* SPDX-License-Identifier: Apache-2.0 */

/*
 * systemd sets $JOURNAL_STREAM to device:inode of the socket it gave as standard error. Only when
 * that is still so are fields sent to the journal; a redirected or inherited stream gets lines
 * with "<level>", which both a terminal and systemd-cat understand. See systemd.exec(5).
 */

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "base/parse.h"

#define LINE_MAX_BYTES 2048

static enum log_level level_max = LOG_LEVEL_INFO;
static bool is_journal;

/* "device:inode" of fd 2? */
static bool stderr_is_journal(const char *stream)
{
	uint64_t device, inode;
	char text[32];
	const char *colon;
	struct stat st;

	if (!stream)
		return false;
	colon = strchr(stream, ':');
	if (!colon || (size_t)(colon - stream) >= sizeof(text))
		return false;
	memcpy(text, stream, (size_t)(colon - stream));
	text[colon - stream] = 0;
	if (parse_u64(text, UINT64_MAX, &device) < 0 ||
	    parse_u64(colon + 1, UINT64_MAX, &inode) < 0)
		return false;
	if (fstat(STDERR_FILENO, &st) < 0)
		return false;
	return st.st_dev == device && st.st_ino == inode;
}

void log_setup(enum log_level max_level)
{
	level_max = max_level;
	is_journal = stderr_is_journal(getenv("JOURNAL_STREAM"));
}

int log_level_parse(const char *text, enum log_level *ret)
{
	static const struct {
		const char *name;
		enum log_level level;
	} levels[] = {
		{ "error", LOG_LEVEL_ERROR },   { "warning", LOG_LEVEL_WARNING },
		{ "notice", LOG_LEVEL_NOTICE }, { "info", LOG_LEVEL_INFO },
		{ "debug", LOG_LEVEL_DEBUG },
	};

	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		if (strcmp(text, levels[i].name) == 0) {
			*ret = levels[i].level;
			return 0;
		}
	return -EINVAL;
}

static struct iovec field(char *buf, size_t size, const char *name, const char *value)
{
	int n = snprintf(buf, size, "%s=%s", name, value);

	return (struct iovec){ buf, n < 0 ? 0 : MIN((size_t)n, size - 1) };
}

static int send_to_journal(enum log_level level, const char *message_id, const char *slot,
			   const char *text)
{
	char message[LINE_MAX_BYTES + 16], priority[16], id[64], name[128], number[4];
	struct iovec fields[4];
	int n = 0;

	(void)snprintf(number, sizeof(number), "%u", (unsigned)level % 8);
	fields[n++] = field(message, sizeof(message), "MESSAGE", text);
	fields[n++] = field(priority, sizeof(priority), "PRIORITY", number);
	if (message_id)
		fields[n++] = field(id, sizeof(id), "MESSAGE_ID", message_id);
	if (slot)
		fields[n++] = field(name, sizeof(name), "TASKMEM_SLOT", slot);
	return sd_journal_sendv(fields, n);
}

void log_event(enum log_level level, const char *message_id, const char *slot, const char *format,
	       ...)
{
	char text[LINE_MAX_BYTES];
	int saved = errno;
	va_list args;

	if (level > level_max)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *p = text; *p; p++) /* one event is one line, whatever a name or an error holds */
		if (*p == '\n')
			*p = ' ';
	if (!is_journal || send_to_journal(level, message_id, slot, text) < 0)
		(void)fprintf(stderr, "<%u>%s%s%s\n", (unsigned)level, slot ? slot : "",
			      slot ? ": " : "", text);
	errno = saved;
}
