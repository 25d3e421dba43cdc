/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The words NAME key=value ... of "add" and "set", as parameters of a varlink method. */

#include <stddef.h>
#include <systemd/sd-json.h>

#include "base/attr.h"

enum assign_verb { ASSIGN_ADD, ASSIGN_SET, ASSIGN_MOVE };

/* Enough for every message of assign_words() with a word of 100 bytes; longer are cut. */
#define ASSIGN_ERROR_MAX 320

/**
 * assign_words() - turn a slot's name and its key=value words into parameters
 * @verb:       ASSIGN_ADD knows all keys, ASSIGN_SET all but "node" and "min-grant", ASSIGN_MOVE
 *              only "node"
 * @name:       of the slot; checked only for ASSIGN_ADD (elsewhere the daemon knows its slots)
 * @words:      @n_words texts
 * @ret_params: object for AddSlot, SetSlot or MoveSlot, owned by the caller
 * @error:      on failure one sentence: the word, what is wrong with it, the right form
 *
 * "add" completes the pool: pool-max defaults to pool, and pool to 0 beside a pool-max.
 *
 * Return: 0, -EINVAL (@error is filled) or -ENOMEM.
 */
MUST_USE int assign_words(enum assign_verb verb, const char *name, char *const words[],
			  size_t n_words, sd_json_variant **ret_params,
			  char error[static ASSIGN_ERROR_MAX]);

/* The key whose parameter is called @field ("minBytes" -> "min"), or @field itself. */
const char *assign_key_of_field(const char *field);
