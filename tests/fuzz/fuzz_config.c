/* SPDX-License-Identifier: Apache-2.0 */

/* Any text as taskmemd.conf: taken, or refused with file and line; what was taken makes budgets that
 * add up, whatever the machine. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t totals[] = { 0, UINT64_C(1) << 30, UINT64_C(1) << 50 };
	char *text = fuzz_text(data, size), error[CONFIG_ERROR_MAX] = "";
	struct config *config = malloc(sizeof(*config));
	struct node_info info;
	int r;

	MUST(config);
	r = config_parse(text, "x.conf", config, error);
	MUST(r == 0 || r == -ENOMEM || (r == -EINVAL && strncmp(error, "x.conf", 6) == 0));
	for (size_t i = 0; r == 0 && i < 3; i++) {
		const struct node_info found = { .total_bytes = totals[i], .hugepages = 16 };

		if (config_node_budget(config, &found, &info, error) == 0)
			MUST(info.reserve_bytes <= info.budget_bytes &&
			     info.budget_bytes <= totals[i]);
	}
	free(config);
	free(text);
	return 0;
}
