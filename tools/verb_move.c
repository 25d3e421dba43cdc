/* SPDX-License-Identifier: Apache-2.0 */

/* move: a slot goes to another node, with its tasks and their pages. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "assign.h"
#include "base/parse.h"
#include "client.h"
#include "field.h"
#include "print.h"
#include "tmctl.h"
#include "view.h"

/* "ingest: on node 1 now; 64M left behind, charged on node 0 until it is freed" */
static void print_moved(sd_json_variant *slot)
{
	sd_json_variant *pending, *left;
	uint64_t node = field_u64(slot, "node", UINT64_MAX);
	char text[FORMAT_BYTES_MAX];

	if (node == UINT64_MAX)
		printf("%s: on all nodes now\n", field_text(slot, "name", "?"));
	else
		printf("%s: on node %" PRIu64 " now\n", field_text(slot, "name", "?"), node);
	FIELD_FOREACH(field_array(slot, "left"), left)
		printf("  %s left behind: charged on node %" PRIu64 " until it is freed\n",
		       format_bytes(field_u64(left, "bytes", 0), text), field_u64(left, "node", 0));
	FIELD_FOREACH(field_array(slot, "pending"), pending) {
		fputs("  pending: ", stdout);
		view_progress(pending, stdout);
	}
}

static int move_main(struct options *options, int argc, char *argv[])
{
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL;
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *params = NULL;
	char error[ASSIGN_ERROR_MAX];
	sd_json_variant *reply;
	int r, status = plain_arguments(options, &verb_move, argc, argv, 2, 2);

	if (status >= 0)
		return status;
	r = assign_words(ASSIGN_MOVE, argv[optind], argv + optind + 1, 1, &params, error);
	if (r == -EINVAL)
		return usage_error(&verb_move, "%s", error);
	if (r < 0)
		return client_local_error(r);
	status = client_connect(options->socket, &link);
	if (status == 0)
		status = client_call(link, "MoveSlot", params, &reply);
	if (status != 0)
		return status;
	if (options->is_json)
		print_json(reply);
	else
		print_moved(sd_json_variant_by_key(reply, "slot"));
	return TMCTL_DONE;
}

static const char move_help[] =
	"Usage: tmctl move NAME node=NODE\n"
	"Put a slot on another NUMA node while its tasks run: first their pages are moved, then the\n"
	"processes. Nothing is killed. Administrators only.\n"
	"\n"
	"  node=N     node 0, 1, ...; the slot stays there\n"
	"  node=auto  the node that suits it best, chosen again when a task starts in it while it\n"
	"             is empty\n"
	"  node=any   bound to no node\n"
	"\n"
	"It is refused like a new slot that does not fit there, and while tasks hold huge pages of\n"
	"the slot's pool, which cannot follow them: detach first. What the kernel has charged stays\n"
	"charged on the old node until the tasks free it; \"tmctl show\" has it as \"left behind\".\n"
	"\n"
	"Examples:\n"
	"  tmctl move ingest node=1\n"
	"  tmctl move ingest node=auto --json | jq .slot.left\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 wrong usage; 3 the daemon is not reachable;\n"
	"4 not permitted; 5 no such slot; 6 refused: guarantees or huge pages do not fit.\n";

const struct verb verb_move = {
	.name = "move",
	.purpose = "put a slot with its tasks on another NUMA node",
	.help = move_help,
	.run = move_main,
};
