/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The varlink server of io.taskmem on top of a manager. */

#include <systemd/sd-event.h>

#include "base/attr.h"
#include "manager.h"

struct api;
struct turns;

/* The hooks to hand to manager_new(), which comes between the two calls. NULL: no memory. */
MUST_USE struct api *api_new(struct manager_hooks *ret_hooks);

/**
 * api_listen() - serve @manager on the unix socket @path
 *
 * @turns: of the loop, for GetInfo; borrowed until api_free()
 *
 * The socket is open to everyone; rights are checked per call. Return: 0 or -errno.
 */
MUST_USE int api_listen(struct api *api, struct manager *manager, sd_event *event,
			const struct turns *turns, const char *path);
/* Closes all connections. Before manager_free(). NULL is fine. */
void api_free(struct api *api);
