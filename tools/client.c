/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Every way a request can fail ends here as one sentence that says what to do, and as one exit
 * status. The numbers of a refusal are the daemon's: it alone knows what was promised to whom.
 */

#include "client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assign.h"
#include "base/parse.h"
#include "field.h"
#include "tmctl.h"

int client_local_error(int error)
{
	fprintf(stderr, "tmctl: %s\n", strerror(-error));
	return TMCTL_FAILED;
}

int client_explain_errno(int error, const char *socket, char *text, size_t size)
{
	switch (-error) {
	case EACCES:
	case EPERM:
		snprintf(text, size, "no permission to use %s", socket);
		return TMCTL_NOT_PERMITTED;
	case ETIME:
	case ETIMEDOUT:
		snprintf(text, size,
			 "the daemon at %s does not answer; see: systemctl status taskmemd",
			 socket);
		return TMCTL_NO_DAEMON;
	case ECONNRESET:
	case EPIPE:
	case ENOTCONN:
		snprintf(text, size,
			 "the daemon at %s closed the connection; see: systemctl status taskmemd",
			 socket);
		return TMCTL_NO_DAEMON;
	default:
		snprintf(text, size,
			 "the daemon cannot be reached at %s: %s; see: systemctl status taskmemd",
			 socket, strerror(-error));
		return TMCTL_NO_DAEMON;
	}
}

/* "refused: MESSAGE", with the numbers only where the message has none. */
static void explain_refusal(sd_json_variant *params, char *text, size_t size)
{
	char needed[FORMAT_BYTES_MAX], available[FORMAT_BYTES_MAX];
	const char *message = field_text(params, "message", "");

	if (*message || !sd_json_variant_by_key(params, "neededBytes")) {
		snprintf(text, size, "refused: %s", *message ? message : "it does not fit");
		return;
	}
	format_bytes(field_u64(params, "neededBytes", 0), needed);
	format_bytes(field_u64(params, "availableBytes", 0), available);
	snprintf(text, size, "refused: needed %s, available %s", needed, available);
}

static int explain_own(const char *id, sd_json_variant *params, char *text, size_t size)
{
	const char *name = field_text(params, "name", "?");
	const char *message = field_text(params, "message", "no reason was given");

	if (strcmp(id, "NoSuchSlot") == 0) {
		snprintf(text, size, "there is no slot \"%s\"; \"tmctl list\" shows the slots",
			 name);
		return TMCTL_NO_SLOT;
	}
	if (strcmp(id, "Refused") == 0) {
		explain_refusal(params, text, size);
		return TMCTL_REFUSED;
	}
	if (strcmp(id, "NoHugePages") == 0) {
		snprintf(text, size,
			 "refused: %s (%" PRIu64 " huge pages wanted, %" PRIu64 " available)",
			 message, field_u64(params, "wantedChunks", 0),
			 field_u64(params, "availableChunks", 0));
		return TMCTL_REFUSED;
	}
	if (strcmp(id, "BadValue") == 0) {
		snprintf(text, size, "%s: %s",
			 assign_key_of_field(field_text(params, "field", "value")), message);
		return TMCTL_USAGE;
	}
	if (strcmp(id, "SlotBusy") == 0) {
		snprintf(text, size,
			 "slot \"%s\" still has %" PRIu64 " processes; end them, or kill "
			 "them with: tmctl rm --kill %s",
			 name, field_u64(params, "processes", 0), name);
		return TMCTL_FAILED;
	}
	if (strcmp(id, "SlotExists") == 0)
		snprintf(text, size,
			 "slot \"%s\" exists already with other values: %s; change it with: "
			 "tmctl set %s",
			 name, message, name);
	else
		snprintf(text, size, "%s",
			 strcmp(message, "no reason was given") == 0 ? id : message);
	return TMCTL_FAILED;
}

int client_explain(const char *error_id, sd_json_variant *params, char *text, size_t size)
{
	size_t prefix = strlen(CLIENT_INTERFACE);

	if (strncmp(error_id, CLIENT_INTERFACE, prefix) == 0)
		return explain_own(error_id + prefix, params, text, size);
	if (strcmp(error_id, SD_VARLINK_ERROR_PERMISSION_DENIED) == 0) {
		snprintf(text, size,
			 "not permitted: this takes root, a member of group taskmem or, "
			 "for some changes, the slot's owner");
		return TMCTL_NOT_PERMITTED;
	}
	if (strcmp(error_id, SD_VARLINK_ERROR_INVALID_PARAMETER) == 0) {
		snprintf(text, size, "the daemon does not take \"%s\"",
			 assign_key_of_field(field_text(params, "parameter", "a parameter")));
		return TMCTL_USAGE;
	}
	if (strcmp(error_id, SD_VARLINK_ERROR_DISCONNECTED) == 0 ||
	    strcmp(error_id, SD_VARLINK_ERROR_TIMEOUT) == 0) {
		snprintf(text, size, "the daemon went away; see: systemctl status taskmemd");
		return TMCTL_NO_DAEMON;
	}
	snprintf(text, size, "the daemon answered %s; is it of the same version as tmctl?",
		 error_id);
	return TMCTL_FAILED;
}

int client_connect(const char *socket, sd_varlink **ret_link)
{
	CLEANUP(sd_varlink_unrefp) sd_varlink *link = NULL;
	char text[CLIENT_TEXT_MAX];
	int status, r;

	r = sd_varlink_connect_address(&link, socket);
	if (r < 0) {
		status = client_explain_errno(r, socket, text, sizeof(text));
		fprintf(stderr, "tmctl: %s\n", text);
		return status;
	}
	r = sd_varlink_set_relative_timeout(link, CLIENT_TIMEOUT_USEC);
	if (r >= 0)
		r = sd_varlink_set_description(link, socket);
	if (r < 0)
		return client_local_error(r);
	*ret_link = TAKE(link);
	return 0;
}

int client_call(sd_varlink *link, const char *method, sd_json_variant *params,
		sd_json_variant **ret_reply)
{
	char full_method[64], text[CLIENT_TEXT_MAX];
	const char *error_id = NULL;
	sd_json_variant *reply = NULL;
	int r, status;

	snprintf(full_method, sizeof(full_method), CLIENT_INTERFACE "%s", method);
	r = sd_varlink_call(link, full_method, params, &reply, &error_id);
	if (r >= 0 && !error_id) {
		*ret_reply = reply;
		return 0;
	}
	if (r < 0)
		status = client_explain_errno(r, "its socket", text, sizeof(text));
	else
		status = client_explain(error_id, reply, text, sizeof(text));
	fprintf(stderr, "tmctl: %s\n", text);
	return status;
}

int client_call_name(sd_varlink *link, const char *method, const char *name,
		     sd_json_variant **ret_reply)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *params = NULL;
	int r = name ? sd_json_variant_set_field_string(&params, "name", name) : 0;

	if (r < 0)
		return client_local_error(r);
	return client_call(link, method, params, ret_reply);
}

int client_ask(const char *socket, const char *method, const char *name, sd_varlink **ret_link,
	       sd_json_variant **ret_reply)
{
	CLEANUP(sd_varlink_close_unrefp) sd_varlink *link = NULL;
	sd_json_variant *reply;
	int status = client_connect(socket, &link);

	if (status == 0)
		status = client_call_name(link, method, name, &reply);
	if (status != 0)
		return status;
	*ret_link = TAKE(link);
	*ret_reply = reply;
	return 0;
}

/* ---- a list in parts */

struct parts {
	sd_json_variant **slots; /* of all that came so far */
	size_t n_slots;
	sd_json_variant *last; /* the last reply */
	int error;             /* -errno, or 0 */
	int status;            /* of an error reply, which was told */
	bool is_over;
};

static void parts_deinit(struct parts *parts)
{
	while (parts->n_slots > 0)
		sd_json_variant_unref(parts->slots[--parts->n_slots]);
	free(parts->slots);
	sd_json_variant_unref(parts->last);
}

static int add_slots(struct parts *parts, sd_json_variant *slots)
{
	size_t n = slots ? sd_json_variant_elements(slots) : 0;
	sd_json_variant **grown =
		reallocarray(parts->slots, parts->n_slots + n + 1, sizeof(sd_json_variant *));

	if (!grown)
		return -ENOMEM;
	parts->slots = grown;
	for (size_t i = 0; i < n; i++)
		grown[parts->n_slots++] = sd_json_variant_ref(sd_json_variant_by_index(slots, i));
	return 0;
}

static int on_part(sd_varlink *link, sd_json_variant *reply, const char *error_id,
		   sd_varlink_reply_flags_t flags, void *userdata)
{
	struct parts *parts = userdata;
	char text[CLIENT_TEXT_MAX];

	(void)link;
	if (error_id) {
		parts->status = client_explain(error_id, reply, text, sizeof(text));
		fprintf(stderr, "tmctl: %s\n", text);
	} else {
		parts->error = add_slots(parts, field_array(reply, "slots"));
		sd_json_variant_unref(parts->last);
		parts->last = sd_json_variant_ref(reply);
	}
	parts->is_over = error_id || parts->error < 0 || !(flags & SD_VARLINK_REPLY_CONTINUES);
	return 0;
}

/* Return: 0, or -errno of the connection. */
static int take_parts(sd_varlink *link, const char *method, struct parts *parts)
{
	char full_method[64];
	int r;

	snprintf(full_method, sizeof(full_method), CLIENT_INTERFACE "%s", method);
	sd_varlink_set_userdata(link, parts);
	r = sd_varlink_bind_reply(link, on_part);
	if (r >= 0)
		r = sd_varlink_observe(link, full_method, NULL);
	while (r >= 0 && !parts->is_over) {
		r = sd_varlink_process(link);
		if (r == 0) /* its own time-out ends it, if the daemon says nothing */
			r = sd_varlink_wait(link, UINT64_MAX);
		if (r == -EINTR)
			r = 0;
	}
	(void)sd_varlink_bind_reply(link, NULL);
	sd_varlink_set_userdata(link, NULL);
	return MIN(r, 0);
}

static int join_parts(const struct parts *parts, sd_json_variant **ret_reply)
{
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *slots = NULL;
	CLEANUP(sd_json_variant_unrefp) sd_json_variant *reply = sd_json_variant_ref(parts->last);
	int r = sd_json_variant_new_array(&slots, parts->slots, parts->n_slots);

	if (r >= 0)
		r = sd_json_variant_set_field(&reply, "slots", slots);
	if (r < 0)
		return r;
	*ret_reply = TAKE(reply);
	return 0;
}

int client_list(sd_varlink *link, const char *method, sd_json_variant **ret_reply)
{
	CLEANUP(parts_deinit) struct parts parts = {};
	char text[CLIENT_TEXT_MAX];
	int status, r = take_parts(link, method, &parts);

	if (r < 0) {
		status = client_explain_errno(r, "its socket", text, sizeof(text));
		fprintf(stderr, "tmctl: %s\n", text);
		return status;
	}
	if (parts.status != 0)
		return parts.status;
	r = parts.error < 0 ? parts.error : join_parts(&parts, ret_reply);
	return r < 0 ? client_local_error(r) : 0;
}
