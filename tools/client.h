/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The daemon seen from tmctl: one connection, one call, and errors as sentences. */

#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-json.h>
#include <systemd/sd-varlink.h>

#include "base/attr.h"

#define CLIENT_SOCKET_DEFAULT "/run/taskmem/io.taskmem"
#define CLIENT_INTERFACE "io.taskmem."

/* An answer may wait for the kernel (huge pages are cleared, processes are killed). */
#define CLIENT_TIMEOUT_USEC (UINT64_C(60) * 1000000)

/* Enough for the longest message of the daemon and our words around it; longer are cut. */
#define CLIENT_TEXT_MAX 1024

/* Return: 0, or the exit status after a sentence on standard error. */
MUST_USE int client_connect(const char *socket, sd_varlink **ret_link);

/**
 * client_call() - one request, one reply
 * @method:    without the interface's name
 * @params:    may be NULL
 * @ret_reply: borrowed until the next call on @link
 *
 * Return: 0, or the exit status after a sentence on standard error.
 */
MUST_USE int client_call(sd_varlink *link, const char *method, sd_json_variant *params,
			 sd_json_variant **ret_reply);

/* client_call() with only {"name": @name}; NULL: without parameters. */
MUST_USE int client_call_name(sd_varlink *link, const char *method, const char *name,
			      sd_json_variant **ret_reply);

/* Connects and calls; *@ret_link must stay open while *@ret_reply is used. */
MUST_USE int client_ask(const char *socket, const char *method, const char *name,
			sd_varlink **ret_link, sd_json_variant **ret_reply);

/**
 * client_list() - a list that the daemon makes in parts, as if it had come in one
 * @link:      for lists alone: after a client_call() its reply would be taken for the first part
 *             (sd_varlink_observe() of systemd 257)
 * @ret_reply: the last reply with the "slots" of all, to be unreferenced
 *
 * Return: as client_call().
 */
MUST_USE int client_list(sd_varlink *link, const char *method, sd_json_variant **ret_reply);

/* The exit status for an error reply; @text receives the sentence. */
int client_explain(const char *error_id, sd_json_variant *params, char *text, size_t size);

/* The exit status for a failure of the connection itself; @text receives the sentence. */
int client_explain_errno(int error, const char *socket, char *text, size_t size);

/* For a failure of libsystemd on our side (out of memory). Return: TMCTL_FAILED. */
MUST_USE int client_local_error(int error);
