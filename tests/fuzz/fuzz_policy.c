/* SPDX-License-Identifier: Apache-2.0 */

/* Any text in a slot's attribute user.taskmem.policy: what is taken is sound, and is the same when it
 * is written and read again. */

#include <errno.h>

#include "fuzz.h"
#include "policy/admit.h"
#include "state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), *first = NULL, *second = NULL;
	char error[STATE_ERROR_MAX] = "";
	struct slot_policy policy, again;
	struct refusal refusal;
	int r = slot_policy_from_json(text, &policy, error);

	if (r == 0) {
		MUST(admit_check_policy(&policy, &refusal) == ADMIT_OK);
		MUST(slot_policy_to_json(&policy, &first) == 0);
		MUST(slot_policy_from_json(first, &again, error) == 0);
		MUST(slot_policy_to_json(&again, &second) == 0);
		MUST(strcmp(first, second) == 0);
	} else {
		MUST(r == -ENOMEM || (r == -EINVAL && error[0]));
	}
	free(second);
	free(first);
	free(text);
	return 0;
}
