/* SPDX-License-Identifier: Apache-2.0 */

/* add, set, rm, list, show: slots as the daemon keeps them. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "assign.h"
#include "base/fd.h"
#include "base/mono.h"
#include "base/parse.h"
#include "client.h"
#include "field.h"
#include "print.h"
#include "tmctl.h"
#include "verb_queue.h"
#include "view.h"

/* Shares move within seconds; a wait without a time of its own gives up after this. */
#define WAIT_DEFAULT_NS (120 * NS_PER_SEC)
/* The daemon's own control period is a second: asking more often shows nothing new. */
#define WAIT_POLL_NS (NS_PER_SEC / 2)

#define KEYS_HELP                                                                                    \
	"  weight=N      relative claim on memory that is contended, 1 to 10000; default 100\n"      \
	"  min=SIZE      guarantee, never taken away; default 0\n"                                   \
	"  max=SIZE      hard cap, or \"max\" for none but the node's budget; default max\n"         \
	"  tier=N        priority class, 0 (served first) to 3; default 1\n"                         \
	"  mode=MODE     share (default): memory follows need; off: limits only; save: as share,\n"  \
	"                and unneeded memory is given back; dry-run: only say what would be done\n"  \
	"  pool=SIZE     guaranteed huge-page memory for buffers, a multiple of 2M; default 0\n"     \
	"  pool-max=SIZE most huge-page memory it may borrow up to; default: the value of pool\n"    \
	"  revoke=WORD   pages that a task was asked for and keeps: wait (default), force, kill\n"   \
	"  revoke-deadline=TIME  how long it has to give them back; default 5s\n"                    \
	"  need=SIZE     working set to expect; booked, not guaranteed\n"                            \
	"  on-resize='PROGRAM ARG...'  run as the owner when the slot is resized, or \"none\"; by\n" \
	"                the owner or root; $TASKMEM_TARGET_BYTES and others: see tmctl(1)\n"

#define SIZES_HELP "SIZE is bytes, or a number with K, M, G or T (powers of 1024): 300M, 1.5G.\n"

#define EXIT_HELP                                                                        \
	"Exit status: 0 done; 1 failed; 2 wrong usage; 3 the daemon is not reachable;\n" \
	"4 not permitted; 5 no such slot; 6 refused: guarantees or huge pages do not fit.\n"

/* "ingest: weight 300, share 300M, min 64M", then a line per pending change. */
static void print_outcome(sd_json_variant *slot)
{
	char share[FORMAT_BYTES_MAX], min[FORMAT_BYTES_MAX], node[32] = "any node";
	sd_json_variant *pending;
	uint64_t n = field_u64(slot, "node", UINT64_MAX);
	uint64_t need = field_u64(slot, "needBytes", 0), grant = field_u64(slot, "grantBytes", 0);

	if (n != UINT64_MAX)
		snprintf(node, sizeof(node), "node %" PRIu64, n);
	printf("%s: %s, weight %" PRIu64 ", min %s, share %s\n", field_text(slot, "name", "?"),
	       node, field_u64(slot, "weight", 0),
	       format_bytes(field_u64(slot, "minBytes", 0), min),
	       format_bytes(field_u64(slot, "shareBytes", 0), share));
	if (need > 0)
		printf("  granted %s of a need of %s%s\n", format_bytes(grant, share),
		       format_bytes(need, min),
		       field_bool(slot, "needPredicted", false) ? ", from the history of the name"
								: "");
	FIELD_FOREACH(field_array(slot, "pending"), pending) {
		fputs("  pending: ", stdout);
		view_progress(pending, stdout);
	}
}

/* --wait=TIME, --wait TIME or --wait alone. Return: -1 to go on, else the exit status. */
static int take_wait(const struct verb *verb, int argc, char *argv[], uint64_t default_ns,
		     uint64_t *ret_timeout_ns)
{
	uint64_t timeout_ns = default_ns;

	if (optarg && parse_duration_ns(optarg, &timeout_ns) < 0)
		return usage_error(verb, "--wait=%s: a time is 30, 30s, 2min or 500ms", optarg);
	if (!optarg && optind < argc && parse_duration_ns(argv[optind], &timeout_ns) == 0)
		optind++;
	*ret_timeout_ns = timeout_ns;
	return -1;
}

/* What "add" is told by options. */
struct add_options {
	char need[64], min_grant[64]; /* as key=value; empty: not given */
	const char *request_id;
	bool may_wait;
	uint64_t wait_ns;
};

static int take_size(const char *key, char word[static 64])
{
	if (*word)
		return usage_error(&verb_add, "--%s is given twice", key);
	if (snprintf(word, 64, "%s=%s", key, optarg) >= 64)
		return usage_error(&verb_add, "--%s %.64s: use a size such as 300M", key, optarg);
	return -1;
}

static int take_add_options(struct options *options, int argc, char *argv[], struct add_options *a)
{
	enum { OPTION_NEED = OPTION_OF_VERB, OPTION_MIN_GRANT, OPTION_WAIT, OPTION_REQUEST_ID };
	static const struct option table[] = {
		{ "need", required_argument, NULL, OPTION_NEED },
		{ "min-grant", required_argument, NULL, OPTION_MIN_GRANT },
		{ "wait", optional_argument, NULL, OPTION_WAIT },
		{ "request-id", required_argument, NULL, OPTION_REQUEST_ID },
		COMMON_OPTIONS
	};
	int code, status;

	while ((code = getopt_long(argc, argv, "h", table, NULL)) >= 0) {
		status = -1;
		if (code == OPTION_NEED)
			status = take_size("need", a->need);
		else if (code == OPTION_MIN_GRANT)
			status = take_size("min-grant", a->min_grant);
		else if (code == OPTION_REQUEST_ID)
			a->request_id = optarg;
		else if (code == OPTION_WAIT)
			status = take_wait(&verb_add, argc, argv, QUEUE_WAIT_NO_END, &a->wait_ns);
		else
			status = common_option(options, &verb_add, code);
		if (status >= 0)
			return status;
		a->may_wait |= code == OPTION_WAIT;
	}
	return argc - optind < 1 ? usage_error(&verb_add, "an argument is missing") : -1;
}

/* An id of our own, so that a request that is made again is known as the same. */
static int set_request_id(const struct add_options *a, sd_json_variant **params)
{
	char text[2 * sizeof(uint64_t) * 2 + 1];
	uint64_t random[2];

	if (a->request_id)
		return sd_json_variant_set_field_string(params, "requestId", a->request_id);
	if (!a->may_wait || getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return 0;
	snprintf(text, sizeof(text), "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
	return sd_json_variant_set_field_string(params, "requestId", text);
}

/* The words at argv[optind] and those of the options, as parameters. */
static int add_params(int argc, char *argv[], const struct add_options *a,
		      sd_json_variant **ret_params)
{
	CLEANUP(freep) char **words = calloc((size_t)(argc - optind) + 2, sizeof(*words));
	char error[ASSIGN_ERROR_MAX];
	size_t n = 0;
	int r;

	if (!words)
		return client_local_error(-ENOMEM);
	for (int i = optind + 1; i < argc; i++)
		words[n++] = argv[i];
	if (*a->need)
		words[n++] = (char *)a->need;
	if (*a->min_grant)
		words[n++] = (char *)a->min_grant;
	r = assign_words(ASSIGN_ADD, argv[optind], words, n, ret_params, error);
	if (r == -EINVAL)
		return usage_error(&verb_add, "%s", error);
	if (r >= 0)
		r = set_request_id(a, ret_params);
	return r < 0 ? client_local_error(r) : 0;
}

static int add_main(struct options *options, int argc, char *argv[])
{
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL;
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *params = NULL;
	struct add_options a = {};
	sd_json_variant *reply;
	int status = take_add_options(options, argc, argv, &a);

	if (status >= 0)
		return status;
	status = add_params(argc, argv, &a, &params);
	if (status != 0)
		return status;
	if (a.may_wait)
		status = queue_add(options, params, a.wait_ns, &link, &reply);
	else
		status = client_connect(options->socket, &link);
	if (status == 0 && !a.may_wait)
		status = client_call(link, "AddSlot", params, &reply);
	if (status != 0)
		return status;
	if (options->is_json)
		print_json(reply);
	else
		print_outcome(sd_json_variant_by_key(reply, "slot"));
	return TMCTL_DONE;
}

static const char add_help[] =
	"Usage: tmctl add NAME [KEY=VALUE...] [--need SIZE [--min-grant SIZE]]\n"
	"                 [--wait[=TIME]] [--request-id ID]\n"
	"Make a slot. The same slot with the same values again is no error.\n"
	"\n"
	"NAME: 1 to 63 of a-z 0-9 . _ - with a letter or digit first. Keys:\n" KEYS_HELP
	"  node=N        NUMA node 0, 1, ... or \"any\" (all of them); default: auto, the node that\n"
	"                suits it best, chosen again when a task starts in it while it is empty\n"
	"  owner=USER    who may run tasks in it and change its weight and max; default: you\n"
	"  min-grant=SIZE  be content with so much of the need; default: all of it\n"
	"Without need= the history of the name predicts one, and what is left of the node is granted\n"
	"of it: a guess refuses nothing.\n"
	"\n"
	"  --need SIZE, --min-grant SIZE  the same as the keys\n"
	"  --wait[=TIME]    wait until it fits, at most TIME (30, 30s, 2min; default: without end);\n"
	"                   \"tmctl queue\" shows the queue, ^C leaves it\n"
	"  --request-id ID  the same request again, after a lost answer, has the same outcome\n"
	"\n" SIZES_HELP "\n"
	"Examples:\n"
	"  tmctl add ingest\n"
	"  tmctl add ingest weight=200 min=64M max=1G owner=flink\n"
	"  tmctl add join node=1 min=512M pool=32M pool-max=64M\n"
	"  tmctl add sort --need 2G --min-grant 1G --wait=10min\n"
	"\n" EXIT_HELP;

const struct verb verb_add = {
	.name = "add",
	.purpose = "make a slot",
	.help = add_help,
	.run = add_main,
};

/* The one slot called @name. */
static int ask_slot(sd_varlink *link, const char *name, sd_json_variant **ret_reply,
		    sd_json_variant **ret_slot)
{
	sd_json_variant *reply, *slots;
	int status = client_call_name(link, "ListSlots", name, &reply);

	if (status != 0)
		return status;
	slots = field_array(reply, "slots");
	if (!slots || sd_json_variant_elements(slots) == 0) {
		fprintf(stderr, "tmctl: there is no slot \"%s\"\n", name);
		return TMCTL_NO_SLOT;
	}
	*ret_reply = reply;
	*ret_slot = sd_json_variant_by_index(slots, 0);
	return 0;
}

static bool has_pending(sd_json_variant *slot)
{
	sd_json_variant *pending = field_array(slot, "pending");

	return pending && sd_json_variant_elements(pending) > 0;
}

/* Asks until nothing is pending; a line whenever there is progress. */
static int wait_settled(const struct options *options, sd_varlink *link, const char *name,
			uint64_t timeout_ns)
{
	const struct timespec pause = { .tv_nsec = WAIT_POLL_NS };
	uint64_t start = mono_now_ns(), now_bytes = UINT64_MAX;
	sd_json_variant *reply, *slot, *pending;
	char elapsed[FORMAT_DURATION_MAX];
	int status;

	for (;;) {
		status = ask_slot(link, name, &reply, &slot);
		if (status != 0)
			return status;
		format_duration((mono_now_ns() - start) / NS_PER_USEC, elapsed);
		if (!has_pending(slot))
			break;
		pending = sd_json_variant_by_index(field_array(slot, "pending"), 0);
		if (!options->is_json && field_u64(pending, "nowBytes", 0) != now_bytes) {
			now_bytes = field_u64(pending, "nowBytes", 0);
			printf("  %6s  ", elapsed);
			view_progress(pending, stdout);
			fflush(stdout);
		}
		if (mono_now_ns() - start >= timeout_ns) {
			fprintf(stderr, "tmctl: after %s a change of \"%s\" is still pending\n",
				elapsed, name);
			return TMCTL_FAILED;
		}
		nanosleep(&pause, NULL);
	}
	if (options->is_json)
		print_json(reply);
	else
		printf("%s: done after %s\n", name, elapsed);
	return TMCTL_DONE;
}

/* Calls SetSlot with the words at argv[optind]. */
static int set_slot(sd_varlink *link, int argc, char *argv[], sd_json_variant **ret_reply)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *params = NULL;
	char error[ASSIGN_ERROR_MAX];
	int r = assign_words(ASSIGN_SET, argv[optind], argv + optind + 1,
			     (size_t)(argc - optind - 1), &params, error);

	if (r == -EINVAL)
		return usage_error(&verb_set, "%s", error);
	if (r < 0)
		return client_local_error(r);
	return client_call(link, "SetSlot", params, ret_reply);
}

static int set_main(struct options *options, int argc, char *argv[])
{
	static const struct option table[] = { { "wait", optional_argument, NULL, OPTION_OF_VERB },
					       COMMON_OPTIONS };
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL;
	uint64_t timeout_ns = 0;
	sd_json_variant *reply, *slot;
	int code, status;

	while ((code = getopt_long(argc, argv, "h", table, NULL)) >= 0) {
		if (code == OPTION_OF_VERB)
			status = take_wait(&verb_set, argc, argv, WAIT_DEFAULT_NS, &timeout_ns);
		else
			status = common_option(options, &verb_set, code);
		if (status >= 0)
			return status;
	}
	if (argc - optind < 2)
		return usage_error(&verb_set, "a name and at least one key=value are needed");
	status = client_connect(options->socket, &link);
	if (status == 0)
		status = set_slot(link, argc, argv, &reply);
	if (status != 0)
		return status;
	slot = sd_json_variant_by_key(reply, "slot");
	if (!options->is_json)
		print_outcome(slot);
	else if (timeout_ns == 0 || !has_pending(slot))
		print_json(reply);
	fflush(stdout);
	if (timeout_ns == 0 || !has_pending(slot))
		return TMCTL_DONE;
	return wait_settled(options, link, argv[optind], timeout_ns);
}

static const char set_help[] =
	"Usage: tmctl set NAME KEY=VALUE... [--wait[=TIME]]\n"
	"Change a slot while its tasks run. Keys left out stay. Nothing is killed to make\n"
	"room: what takes time is shown as pending, with the time it is expected to take.\n"
	"\n"
	"Keys:\n" KEYS_HELP "  owner=USER    administrators only\n"
	"Its node is changed by \"tmctl move\".\n"
	"\n"
	"  --wait[=TIME]  show progress until nothing is pending; fail after TIME\n"
	"                 (30, 30s, 2min; default 2min)\n"
	"  --json         the reply to the change; with --wait the last state of the slot\n"
	"\n" SIZES_HELP "\n"
	"Examples:\n"
	"  tmctl set ingest weight=300\n"
	"  tmctl set ingest max=300M --wait\n"
	"  tmctl set join pool=64M pool-max=128M --wait=30s\n"
	"\n" EXIT_HELP;

const struct verb verb_set = {
	.name = "set",
	.purpose = "change a slot while its tasks run",
	.help = set_help,
	.run = set_main,
};

static int rm_main(struct options *options, int argc, char *argv[])
{
	static const struct option table[] = { { "kill", no_argument, NULL, OPTION_OF_VERB },
					       COMMON_OPTIONS };
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL;
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *params = NULL;
	sd_json_variant *reply;
	bool must_kill = false;
	int code, status, r;

	while ((code = getopt_long(argc, argv, "h", table, NULL)) >= 0) {
		if (code == OPTION_OF_VERB) {
			must_kill = true;
			continue;
		}
		status = common_option(options, &verb_rm, code);
		if (status >= 0)
			return status;
	}
	if (argc - optind != 1)
		return usage_error(&verb_rm, "exactly one name is needed");
	r = sd_json_variant_set_field_string(&params, "name", argv[optind]);
	if (r >= 0 && must_kill)
		r = sd_json_variant_set_field_boolean(&params, "kill", 1);
	if (r < 0)
		return client_local_error(r);
	status = client_connect(options->socket, &link);
	if (status == 0)
		status = client_call(link, "RemoveSlot", params, &reply);
	if (status == 0 && options->is_json)
		print_json(reply);
	else if (status == 0)
		printf("%s: removed\n", argv[optind]);
	return status;
}

static const char rm_help[] =
	"Usage: tmctl rm NAME [--kill]\n"
	"Remove a slot that no process runs in; its memory and huge pages are free for others.\n"
	"\n"
	"  --kill  kill the processes that run in it first\n"
	"\n"
	"Examples:\n"
	"  tmctl rm ingest\n"
	"  tmctl rm ingest --kill\n"
	"\n" EXIT_HELP;

const struct verb verb_rm = {
	.name = "rm",
	.purpose = "remove a slot",
	.help = rm_help,
	.run = rm_main,
};

static int list_main(struct options *options, int argc, char *argv[])
{
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL, *list_link = NULL;
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *reply = NULL;
	unsigned width = print_width(STDOUT_FILENO);
	sd_json_variant *info;
	uint64_t n_waiting;
	bool is_enforced;
	int r, status = plain_arguments(options, &verb_list, argc, argv, 0, 0);

	if (status >= 0)
		return status;
	status = client_ask(options->socket, "GetInfo", NULL, &link, &info);
	if (status != 0)
		return status;
	is_enforced = field_bool(info, "enforced", true);
	status = client_connect(options->socket, &list_link);
	if (status == 0)
		status = client_list(list_link, "ListSlots", &reply);
	if (status != 0)
		return status;
	if (options->is_json) {
		print_json(reply);
		return TMCTL_DONE;
	}
	if (!is_enforced)
		puts("Memory limits are NOT enforced on this host; pools are. See: tmctl doctor\n");
	r = view_slots(field_array(reply, "slots"), stdout, width, options->has_header);
	if (r == 0) {
		putchar('\n');
		r = view_nodes(field_array(reply, "nodes"), stdout, width, options->has_header);
	}
	n_waiting = field_u64(reply, "waiting", 0);
	if (r == 0 && n_waiting > 0)
		printf("\n%" PRIu64 " request%s for memory; see: tmctl queue\n", n_waiting,
		       n_waiting == 1 ? " waits" : "s wait");
	return r < 0 ? client_local_error(r) : TMCTL_DONE;
}

static const char list_help[] =
	"Usage: tmctl list [--json] [--no-header]\n"
	"Show all slots and, below, the NUMA nodes.\n"
	"\n"
	"Slots: MIN guarantee; SHARE what the slot gets when every slot is hungry; USAGE from\n"
	"the kernel; MAX cap; POOL huge-page memory its tasks hold / may hold, and of what pages\n"
	"unless all are 2M huge; STATE with changes under way, such as \"running; share\n"
	"245M->300M, 5s\".\n"
	"Nodes: BUDGET what slots may have; GUARANTEED sum of MIN; HUGEPAGES of 2M, of them\n"
	"GRANTED to tasks, PROMISED as guarantees, FREE in the kernel; PAGES what they are made\n"
	"of: 2M huge, transparent or mixed. Pages of 1G are in a line of their own.\n"
	"On a narrow terminal the less important columns are left out; --json has all.\n"
	"\n"
	"Examples:\n"
	"  tmctl list\n"
	"  tmctl list --json | jq '.slots[] | select(.usageBytes > .shareBytes) | .name'\n"
	"\n" EXIT_HELP;

const struct verb verb_list = {
	.name = "list",
	.purpose = "show all slots and nodes",
	.help = list_help,
	.run = list_main,
};

/* Watches the slot for @window_ns (0: the daemon's default) before it is shown. */
static int measure_slot(sd_varlink *link, const char *name, const char *source, uint64_t window_ns)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *params = NULL;
	sd_json_variant *reply;
	int r = sd_json_variant_set_field_string(&params, "name", name);

	if (r >= 0 && source)
		r = sd_json_variant_set_field_string(&params, "source", source);
	if (r >= 0 && window_ns)
		r = sd_json_variant_set_field_unsigned(&params, "windowUsec", window_ns / 1000);
	return r < 0 ? client_local_error(r) : client_call(link, "MeasureSlot", params, &reply);
}

/* The tasks' pools: beside the slot in JSON, else instead of it. */
static int show_pools(const struct options *options, sd_varlink *link, const char *name,
		      sd_json_variant *slot_reply)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *both = sd_json_variant_ref(slot_reply);
	sd_json_variant *reply, *tasks;
	int status = client_call_name(link, "ListPools", name, &reply), r;

	if (status != 0)
		return status;
	tasks = field_array(reply, "tasks");
	if (options->is_json) {
		r = sd_json_variant_set_field(&both, "tasks", tasks);
		if (r >= 0)
			print_json(both);
	} else {
		r = view_pools(tasks, stdout, print_width(STDOUT_FILENO), options->has_header);
	}
	return r < 0 ? client_local_error(r) : TMCTL_DONE;
}

static int show_main(struct options *options, int argc, char *argv[])
{
	enum { OPTION_HEAT = OPTION_OF_VERB, OPTION_SOURCE, OPTION_POOLS };
	static const struct option table[] = { { "heat", optional_argument, NULL, OPTION_HEAT },
					       { "source", required_argument, NULL, OPTION_SOURCE },
					       { "pools", no_argument, NULL, OPTION_POOLS },
					       COMMON_OPTIONS };
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL;
	sd_json_variant *reply, *slot;
	const char *source = NULL;
	bool must_measure = false, has_pools = false;
	uint64_t window_ns = 0;
	int code, status;

	while ((code = getopt_long(argc, argv, "h", table, NULL)) >= 0) {
		if (code == OPTION_SOURCE)
			source = optarg;
		if (code == OPTION_HEAT && optarg && parse_duration_ns(optarg, &window_ns) < 0)
			return usage_error(&verb_show, "--heat=%s: use 1s to 45s", optarg);
		must_measure |= code == OPTION_HEAT || code == OPTION_SOURCE;
		has_pools |= code == OPTION_POOLS;
		if (code >= OPTION_OF_VERB && code <= OPTION_POOLS)
			continue;
		status = common_option(options, &verb_show, code);
		if (status >= 0)
			return status;
	}
	if (argc - optind != 1)
		return usage_error(&verb_show, "exactly one name is needed");
	status = client_connect(options->socket, &link);
	if (status == 0 && must_measure)
		status = measure_slot(link, argv[optind], source, window_ns);
	if (status == 0)
		status = ask_slot(link, argv[optind], &reply, &slot);
	if (status != 0)
		return status;
	if (has_pools)
		return show_pools(options, link, argv[optind], reply);
	if (options->is_json)
		print_json(reply);
	else
		view_slot(slot, stdout);
	return TMCTL_DONE;
}

static const char show_help[] =
	"Usage: tmctl show NAME [--heat[=TIME]] [--source SOURCE] [--pools] [--json]\n"
	"Show all of one slot: its policy, its memory as the kernel's own files have it, its\n"
	"working set as last measured, its pool with the nodes the pages are on, and changes\n"
	"under way.\n"
	"\n"
	"  --heat[=TIME]    watch for TIME (1s to 45s, default 5s) which memory its processes\n"
	"                   touch, then show; root, group taskmem and the slot's owner\n"
	"  --source SOURCE  lru_gen: page tables and the multi-gen LRU, exact (default where the\n"
	"                   host has it); damon: sampled addresses. Implies --heat\n"
	"  --pools          instead: the buffer pools in its tasks, as these report them; with\n"
	"                   --json both\n"
	"\n"
	"Examples:\n"
	"  tmctl show ingest\n"
	"  tmctl show ingest --heat=10s\n"
	"  tmctl show ingest --pools\n"
	"  tmctl show ingest --json | jq '.slots[0].heat.workingSetBytes'\n"
	"\n" EXIT_HELP;

const struct verb verb_show = {
	.name = "show",
	.purpose = "show one slot in full",
	.help = show_help,
	.run = show_main,
};
