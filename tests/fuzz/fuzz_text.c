/* SPDX-License-Identifier: Apache-2.0 */

/* What people write in one word: sizes, durations, parts, names, commands. A size that is taken is
 * the same when it is written exactly and read again. */

#include "base/parse.h"
#include "fuzz.h"
#include "policy/admit.h"
#include "policy/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), exact[FORMAT_BYTES_MAX], why[COMMAND_ERROR_MAX] = "";
	struct command command;
	enum slot_mode mode;
	uint64_t value, again;
	uint32_t permille;
	bool yes;

	if (parse_bytes_or_max(text, &value) == 0) {
		(void)format_bytes_exact(value, exact);
		MUST(parse_bytes_or_max(exact, &again) == 0 && again == value);
		MUST(strlen(format_bytes(value, exact)) < FORMAT_BYTES_MAX);
	}
	if (parse_u64(text, 1000, &value) == 0)
		MUST(value <= 1000);
	if (parse_permille(text, &permille) == 0)
		MUST(permille <= 1000);
	if (parse_duration_ns(text, &value) == 0)
		MUST(size > 0);
	(void)!parse_bool(text, &yes);
	if (admit_parse_mode(text, &mode) == 0)
		MUST(mode < SLOT_MODES);
	if (admit_name_is_valid(text))
		MUST(size >= 1 && strlen(text) <= SLOT_NAME_MAX && !strchr(text, '/'));
	if (command_parse(text, &command, why) == 0)
		MUST(command.n_words >= 1 && command.n_words <= COMMAND_WORDS_MAX &&
		     command.words[0][0] == '/' && !command.words[command.n_words]);
	else
		MUST(why[0]);
	free(text);
	return 0;
}
