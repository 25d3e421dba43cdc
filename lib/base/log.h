/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Logging for the daemon: journal fields when standard error is the journal, plain text
 * otherwise. lib/, daemon/kern, daemon/policy and daemon/pool never log above debug; the
 * function that ends the chain logs once.
 */

#include <stdbool.h>

#include "base/attr.h"

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

/* Messages above @max_level are dropped. Detects the journal from $JOURNAL_STREAM. */
void log_setup(enum log_level max_level);
/* "error", "warning", "notice", "info", "debug". Return: 0 or -EINVAL. */
MUST_USE int log_level_parse(const char *text, enum log_level *ret);

/**
 * log_event() - one line of the daemon's log
 * @level:      syslog priority
 * @message_id: 32 hex digits of the journal's MESSAGE_ID, or NULL
 * @slot:       value of TASKMEM_SLOT=, or NULL
 * @format:     the text, without newline
 */
void log_event(enum log_level level, const char *message_id, const char *slot, const char *format,
	       ...) PRINTF_LIKE(4, 5);

#define log_error(...) log_event(LOG_LEVEL_ERROR, NULL, NULL, __VA_ARGS__)
#define log_warning(...) log_event(LOG_LEVEL_WARNING, NULL, NULL, __VA_ARGS__)
#define log_notice(...) log_event(LOG_LEVEL_NOTICE, NULL, NULL, __VA_ARGS__)
#define log_info(...) log_event(LOG_LEVEL_INFO, NULL, NULL, __VA_ARGS__)
#define log_debug(...) log_event(LOG_LEVEL_DEBUG, NULL, NULL, __VA_ARGS__)
