/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_COORDINATION_VALUES_H
#define PLATFORM_COORDINATION_VALUES_H

/*
 * What the Managers keep in Consul's KV for all to read:
 *
 *   PREFIX/leader   TERM URL "\n"
 *   PREFIX/table    TERM.SEQUENCE URL "\n" and the encoded table, or nothing
 *                   where it is too large: then the URL has it
 *
 * URL is the leading Manager's, http://HOST:PORT.
 */

#include "core/table.h"

#define COORDINATION_URL_SIZE 512 /* with its end */

struct leader_value {
    uint64_t term;
    char url[COORDINATION_URL_SIZE];
};

struct table_value {
    struct table_version version;
    char url[COORDINATION_URL_SIZE];
    struct bytes encoded; /* into what was parsed; may be empty */
};

/* ERR_INVALID, ERR_LIMIT; results are untouched then. The encoded table is
 * left to table_decode(), but its version must be the one that is told. */
int leader_value_parse(struct bytes value, struct leader_value *out);
int table_value_parse(struct bytes value, struct table_value *out);

void leader_value_write(struct buffer *out, uint64_t term, const char *url);
void table_value_write(struct buffer *out, struct table_version version,
                       const char *url, struct bytes encoded);

#endif
