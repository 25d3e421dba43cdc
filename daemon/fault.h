/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Why a request was not done: one value that the manager fills and the interface words. */

#include <stdint.h>

#include "model.h"

enum fault_kind {
	FAULT_NONE = 0,
	FAULT_NO_SUCH_SLOT,
	FAULT_SLOT_EXISTS,
	FAULT_SLOT_BUSY, /* needed: number of processes */
	FAULT_REFUSED,   /* message; node, needed and available in bytes */
	FAULT_BAD_VALUE, /* field, message */
	FAULT_NOT_PERMITTED,
	FAULT_NOT_IN_SLOT, /* message */
	FAULT_NO_SUCH_GRANT,
	FAULT_NO_HUGEPAGES, /* node, needed and available in chunks, message */
	FAULT_FAILED,       /* message */
};

struct fault {
	enum fault_kind kind;
	int node;
	uint64_t needed, available;
	char name[SLOT_NAME_MAX + 1];
	char field[32];
	char message[320];
};

/* @kind FAULT_NONE when it is done. Called once, perhaps before the request returns. */
typedef void (*done_fn)(enum fault_kind kind, const struct fault *fault, void *userdata);

/* Fills @fault and returns @kind, so that a function can end with it. */
enum fault_kind fault_set(struct fault *fault, enum fault_kind kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
