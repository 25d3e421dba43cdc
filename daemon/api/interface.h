/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The varlink interface io.taskmem, described for `varlinkctl introspect`. */

#include <systemd/sd-varlink-idl.h>

#define API_NAME "io.taskmem"
#define API_METHOD(name) API_NAME "." name
#define API_ERROR(name) API_NAME "." name

extern const sd_varlink_interface vl_interface_io_taskmem;
