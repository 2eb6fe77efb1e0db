/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CONTENT_H
#define CORE_CONTENT_H

/*
 * Names of contents, their hash, and the path under which a play asks for
 * them:  <prefix>/<token>/<content>/<rest>   with rest = "<version>/master.m3u8",
 * "<version>/v0/3.m4s", ...
 */

#include "core/bytes.h"

#define CONTENT_ID_LEN_MAX 64

/* 1 to 64 bytes of A-Z a-z 0-9 . _ - and not starting with a dot. */
bool content_id_is_valid(struct bytes id);

/* XXH3_64bits of the id, never 0. The same on every machine and for ever:
 * counters, tables and placement all name a content by it. */
uint64_t content_hash(struct bytes id);

struct play_path {
    struct bytes token;
    struct bytes content;
    struct bytes rest; /* without the slash before it; never empty */
};

/*
 * Splits what follows the prefix ("<token>/<content>/<rest>", no leading
 * slash). ERR_INVALID when a part is missing, the id is not valid, or rest has
 * an empty, "." or ".." segment. The parts point into `path`.
 */
int play_path_parse(struct bytes path, struct play_path *out);

#endif
