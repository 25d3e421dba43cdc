/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A network device of the test's own: tm0, one end of a veth pair, in a network namespace that the
 * calling thread is moved to, beside a loopback device. Its peers have the other end, tm1, in another one.
 */

#include <stdbool.h>

#define DEVICE_ADDRESS "10.199.0.1" /* of tm0 */

/* Once in a process. False: it may have none. */
bool make_devices(void);
/* A call in the other namespace, by a thread that ends with it. */
void *call_there(void *(*function)(void *), void *userdata);
/* A blocking socket from there to port of DEVICE_ADDRESS. */
int connect_device(void);
