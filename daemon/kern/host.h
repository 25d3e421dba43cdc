/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What this host offers, one line a feature, with the way to get what is missing. */

#include <stddef.h>

#include "base/attr.h"
#include "model.h"

/* Never fails as a whole: what cannot be read is a check of its own. @ret_n <= HOST_CHECKS_MAX. */
void host_diagnose(struct host_check checks[static HOST_CHECKS_MAX], size_t *ret_n);
const char *host_status_name(enum host_status status); /* "ok", "degraded", "missing" */
