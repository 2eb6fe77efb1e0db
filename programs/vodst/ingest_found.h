/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_FOUND_H
#define PROGRAMS_VODST_INGEST_FOUND_H

/* What a finished step found out, for the steps behind it in a run after this
 * one: to JSON, for ingest_work.h, and back. */

#include "programs/vodst/ingest_index.h"

struct json_t;

/* NULL: out of memory. False: it is not there, or not whole. */
struct json_t *found_ladder_json(const struct encode_plan *plan);
bool found_ladder_parse(const struct json_t *done, struct encode_plan *plan);

struct json_t *found_index_json(const struct indexed *indexed);
bool found_index_parse(const struct json_t *done, struct indexed *out);

struct json_t *found_thumbnails_json(const struct thumbnails *thumbnails);
void found_thumbnails_parse(const struct json_t *done, struct thumbnails *out);

#endif
