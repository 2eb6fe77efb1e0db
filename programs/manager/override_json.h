/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MANAGER_OVERRIDE_JSON_H
#define PROGRAMS_MANAGER_OVERRIDE_JSON_H

/*
 * Overrides as JSON, for the file and over HTTP:
 *
 *   {"target": "content", "name": "film", "until": 1800000000,
 *    "level": "normal", "owner_count": 3, "cdn": false}
 *   {"target": "node", "name": "origin2", "until": 1800000000}
 *   {"target": "cdn", "until": 1800000000, "cdn": false}
 *   {"target": "cdn", "until": 1800000000, "budget_share": 0.2,
 *    "budget_plays": 5}
 *
 * "until" is the Unix time in s. Read strictly: what is unknown, missing, of
 * another type or out of range is refused with a message that names it.
 */

#include "core/override.h"

#include <jansson.h>

#define OVERRIDE_MESSAGE_SIZE 256
#define OVERRIDES_SIZE_MAX (1u << 20) /* bytes of a list */
#define OVERRIDE_DAYS_MAX 366

/* NULL: memory. */
json_t *override_object(const struct override *override);
json_t *override_array(const struct override *list, size_t count);

/* Of a request: target and name are the URL's and stand in *out; "for_s",
 * seconds from now, may stand for "until". ERR_INVALID with the message. */
int override_parse(struct bytes body, uint64_t now_ms, struct override *out,
                   char message[OVERRIDE_MESSAGE_SIZE]);

/* The file's list, into room for OVERRIDES_MAX. ERR_INVALID, ERR_LIMIT with
 * the message. */
int override_array_parse(struct bytes text, struct override *list,
                         size_t *count, char message[OVERRIDE_MESSAGE_SIZE]);

#endif
