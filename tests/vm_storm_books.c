/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The books of vm_storm: what was asked, what the daemon lists, what its state file and the
 * notes on the cgroups say, and what the kernel's files say.
 */

#include "vm_storm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "state.h"

#define CALL_TIMEOUT_USEC (10U * 1000000U)

struct slot_policy *model_find(struct storm_model *model, const char *name)
{
	for (size_t i = 0; i < model->n; i++)
		if (strcmp(model->slots[i].name, name) == 0)
			return &model->slots[i];
	return NULL;
}

void model_put(struct storm_model *model, const struct slot_policy *policy)
{
	struct slot_policy *slot = model_find(model, policy->name);

	if (!slot && model->n < STORM_SLOTS_MAX)
		slot = &model->slots[model->n++];
	if (slot)
		*slot = *policy;
}

void model_remove(struct storm_model *model, const char *name)
{
	struct slot_policy *slot = model_find(model, name);

	if (slot)
		*slot = model->slots[--model->n];
}

bool policy_is_same(const struct slot_policy *a, const struct slot_policy *b)
{
	return strcmp(a->name, b->name) == 0 && a->owner == b->owner && a->node == b->node &&
	       a->weight == b->weight && a->tier == b->tier && a->min_bytes == b->min_bytes &&
	       a->max_bytes == b->max_bytes && a->pool_min_bytes == b->pool_min_bytes &&
	       a->pool_max_bytes == b->pool_max_bytes;
}

PRINTF_LIKE(2, 3)
static bool differs(char why[static BOOKS_WHY_MAX], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(why, BOOKS_WHY_MAX, format, args);
	va_end(args);
	return false;
}

/* null and a missing field are @null */
static uint64_t get_number(sd_json_variant *object, const char *field, uint64_t null)
{
	sd_json_variant *v = sd_json_variant_by_key(object, field);

	return v && sd_json_variant_is_unsigned(v) ? sd_json_variant_unsigned(v) : null;
}

static void policy_from_list(sd_json_variant *slot, struct slot_policy *ret)
{
	uint64_t node = get_number(slot, "node", UINT64_MAX);

	*ret = (struct slot_policy){
		.owner = (uid_t)get_number(slot, "owner", 0),
		.node = node == UINT64_MAX ? NODE_ANY : (int)node,
		.weight = (uint32_t)get_number(slot, "weight", 0),
		.tier = (uint32_t)get_number(slot, "tier", 0),
		.min_bytes = get_number(slot, "minBytes", 0),
		.max_bytes = get_number(slot, "maxBytes", BYTES_UNLIMITED),
		.pool_min_bytes = get_number(slot, "poolMinBytes", 0),
		.pool_max_bytes = get_number(slot, "poolMaxBytes", 0),
	};
	(void)snprintf(ret->name, sizeof(ret->name), "%s",
		       sd_json_variant_string(sd_json_variant_by_key(slot, "name")) ?: "");
}

/* The slots as the daemon lists them; *ret_link owns the reply. */
static int list_slots(sd_varlink **ret_link, sd_json_variant **ret_slots)
{
	sd_json_variant *reply;
	sd_varlink *link = NULL;
	const char *error = NULL;
	int r = sd_varlink_connect_address(&link, STORM_SOCKET);

	if (r >= 0)
		r = sd_varlink_set_relative_timeout(link, CALL_TIMEOUT_USEC);
	if (r >= 0)
		r = sd_varlink_call(link, "io.taskmem.ListSlots", NULL, &reply, &error);
	if (r >= 0 && error)
		r = -EIO;
	if (r < 0) {
		sd_varlink_close_unref(link);
		return r;
	}
	*ret_slots = sd_json_variant_by_key(reply, "slots");
	*ret_link = link;
	return 0;
}

int books_read(struct storm_model *ret_model)
{
	sd_json_variant *slots;
	sd_varlink *link;
	int r = list_slots(&link, &slots);

	if (r < 0)
		return r;
	ret_model->n = 0;
	for (size_t i = 0; i < sd_json_variant_elements(slots) && i < STORM_SLOTS_MAX; i++)
		policy_from_list(sd_json_variant_by_index(slots, i), &ret_model->slots[i]);
	ret_model->n = MIN(sd_json_variant_elements(slots), (size_t)STORM_SLOTS_MAX);
	sd_varlink_close_unref(link);
	return 0;
}

static void slot_dir(const struct slot_policy *policy, char *buf, size_t size)
{
	if (policy->node == NODE_ANY)
		(void)snprintf(buf, size, STORM_TREE "/any/%s", policy->name);
	else
		(void)snprintf(buf, size, STORM_TREE "/node%d/%s", policy->node, policy->name);
}

/* "max" is BYTES_UNLIMITED; what cannot be read is a number that nothing equals. */
static uint64_t read_bytes(const char *dir, const char *file)
{
	char path[512], text[64];
	uint64_t value;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, file);
	if (file_read_small(AT_FDCWD, path, text, sizeof(text)) < 0 ||
	    parse_bytes_or_max(text, &value) < 0)
		return UINT64_MAX - 1;
	return value;
}

static bool compare_kernel(const char *dir, const struct slot_policy *policy, sd_json_variant *slot,
			   char why[static BOOKS_WHY_MAX])
{
	uint64_t low = get_number(slot, "lowBytes", 0) & ~UINT64_C(4095);
	uint64_t granted = get_number(slot, "poolGrantedBytes", 0);
	uint64_t pool = MAX(get_number(slot, "poolMinBytes", 0), granted);
	const struct {
		const char *file;
		uint64_t wanted;
	} files[] = {
		{ "memory.min", policy->min_bytes }, { "memory.max", policy->max_bytes },
		{ "memory.high", BYTES_UNLIMITED },  { "memory.low", low },
		{ "memory.oom.group", 1 },           { "hugetlb.2MB.max", pool },
		{ "hugetlb.2MB.rsvd.max", pool },    { "hugetlb.2MB.current", granted },
	};
	char text[64], path[512], node[16] = "";

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		uint64_t seen = read_bytes(dir, files[i].file);

		if (seen != files[i].wanted)
			return differs(why, "%s: %s is %" PRIu64 ", not %" PRIu64, policy->name,
				       files[i].file, seen, files[i].wanted);
	}
	if (policy->node != NODE_ANY)
		(void)snprintf(node, sizeof(node), "%d", policy->node);
	if (snprintf(path, sizeof(path), "%s/cpuset.mems", dir) >= (int)sizeof(path))
		return differs(why, "%s: its path is too long", policy->name);
	if (file_read_small(AT_FDCWD, path, text, sizeof(text)) < 0 || strcmp(text, node) != 0)
		return differs(why, "%s: cpuset.mems is \"%s\", not \"%s\"", policy->name, text,
			       node);
	return true;
}

static bool compare_note(const char *dir, const struct slot_policy *policy,
			 char why[static BOOKS_WHY_MAX])
{
	char text[SLOT_POLICY_JSON_MAX], error[STATE_ERROR_MAX];
	struct slot_policy noted;
	ssize_t n = getxattr(dir, "user.taskmem.policy", text, sizeof(text) - 1);

	if (n < 0)
		return differs(why, "%s: no policy noted on its cgroup: %s", policy->name,
			       strerror(errno));
	text[n] = '\0';
	if (slot_policy_from_json(text, &noted, error) < 0 || !policy_is_same(&noted, policy))
		return differs(why, "%s: the policy noted on its cgroup is %s", policy->name, text);
	return true;
}

/* Counts the slots' directories below one group. */
static size_t count_dirs(const char *group)
{
	char path[512];
	struct dirent *entry;
	size_t n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), STORM_TREE "/%s", group);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		n += entry->d_type == DT_DIR && entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return n;
}

static bool compare_groups(const struct storm_model *model, uint64_t guaranteed,
			   char why[static BOOKS_WHY_MAX])
{
	size_t n = 0;
	char text[64];
	DIR *tree = opendir(STORM_TREE);
	struct dirent *entry;

	while (tree && (entry = readdir(tree)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
		    strcmp(entry->d_name, "hold") != 0)
			n += count_dirs(entry->d_name);
	if (tree)
		closedir(tree);
	if (n != model->n)
		return differs(why, "%zu cgroups for %zu slots", n, model->n);
	for (int node = 0; node < STORM_NODES; node++) {
		char group[512];

		(void)snprintf(group, sizeof(group), STORM_TREE "/node%d", node);
		if (read_bytes(group, "memory.max") >= BYTES_UNLIMITED - 1)
			return differs(why, "node%d lost its limits", node);
	}
	if (file_read_small(AT_FDCWD, STORM_TREE "/hold/cgroup.procs", text, sizeof(text)) <= 0)
		return differs(why, "nothing holds the scope");
	if (read_bytes(STORM_TREE, "memory.min") != guaranteed)
		return differs(why, "memory.min of the scope is %" PRIu64 ", not %" PRIu64,
			       read_bytes(STORM_TREE, "memory.min"), guaranteed);
	return true;
}

static bool compare_state(const struct storm_model *model, char why[static BOOKS_WHY_MAX])
{
	CLEANUP(freep) char *text = NULL;
	CLEANUP(state_freep) struct state *state = NULL;
	char error[STATE_ERROR_MAX];
	struct dirent *entry;
	DIR *dir;
	size_t len;

	if (file_read_all(AT_FDCWD, STORM_STATE "/" STATE_FILE, STATE_FILE_BYTES_MAX, &text, &len) <
	    0)
		return differs(why, "the state file cannot be read");
	if (state_decode(text, len, &state, error) != STATE_OK)
		return differs(why, "the state file: %s", error);
	if (state->n_slots != model->n)
		return differs(why, "the state file has %zu slots, not %zu", state->n_slots,
			       model->n);
	for (size_t i = 0; i < model->n; i++) {
		const struct state_slot *slot = state_find(state, model->slots[i].name);

		if (!slot || !policy_is_same(&slot->policy, &model->slots[i]))
			return differs(why, "the state file has another policy of %s",
				       model->slots[i].name);
	}
	dir = opendir(STORM_STATE);
	while (dir && (entry = readdir(dir)))
		if (strncmp(entry->d_name, STATE_FILE ".bad", strlen(STATE_FILE ".bad")) == 0) {
			closedir(dir);
			return differs(why, "a state file was set aside");
		}
	if (dir)
		closedir(dir);
	return true;
}

static bool compare_tasks(const struct slot_policy *policy, sd_json_variant *slot,
			  const struct task *tasks, size_t n_tasks, char why[static BOOKS_WHY_MAX])
{
	uint64_t granted = get_number(slot, "poolGrantedBytes", 0) / CHUNK_BYTES, held = 0;

	for (size_t i = 0; i < n_tasks; i++)
		if (strcmp(tasks[i].slot, policy->name) == 0)
			held += atomic_load(&tasks[i].page->held);
	if (held == granted)
		return true;
	return differs(why, "%s: its tasks hold %" PRIu64 " chunks, the daemon counts %" PRIu64,
		       policy->name, held, granted);
}

bool books_compare(const struct storm_model *model, const struct task *tasks, size_t n_tasks,
		   bool with_tasks, char why[static BOOKS_WHY_MAX])
{
	sd_json_variant *slots;
	uint64_t guaranteed = 0;
	sd_varlink *link;
	bool is_same = true;
	int r = list_slots(&link, &slots);

	if (r < 0)
		return differs(why, "the daemon does not answer: %s", strerror(-r));
	if (sd_json_variant_elements(slots) != model->n)
		is_same = differs(why, "%zu slots are listed, not %zu",
				  sd_json_variant_elements(slots), model->n);
	for (size_t i = 0; is_same && i < sd_json_variant_elements(slots); i++) {
		sd_json_variant *slot = sd_json_variant_by_index(slots, i);
		const struct slot_policy *asked;
		struct slot_policy policy;
		char dir[512];

		policy_from_list(slot, &policy);
		asked = model_find((struct storm_model *)model, policy.name);
		if (!asked || !policy_is_same(asked, &policy)) {
			is_same = differs(why, "%s: another policy is listed", policy.name);
			break;
		}
		guaranteed += policy.min_bytes;
		slot_dir(&policy, dir, sizeof(dir));
		is_same = compare_kernel(dir, &policy, slot, why) &&
			  compare_note(dir, &policy, why) &&
			  (!with_tasks || compare_tasks(&policy, slot, tasks, n_tasks, why));
	}
	sd_varlink_close_unref(link);
	return is_same && compare_groups(model, guaranteed, why) && compare_state(model, why);
}
