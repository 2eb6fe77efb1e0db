/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_SECRETS_H
#define PROGRAMS_ST_API_SECRETS_H

/*
 * What st-api must keep to itself: the keys that sign playback tokens and the
 * key that may change the catalogue. Read from files, together or not at all.
 */

#include "core/token.h"

struct secrets; /* one thread */

/* Reads both files. On failure the reason is logged, naming file and line, and
 * *out stays as it was. */
int secrets_load(const char *token_keys_path, const char *admin_key_path,
                 struct secrets **out);
void secrets_free(struct secrets *secrets); /* wipes; NULL is fine */

struct token_keys *secrets_token_keys(struct secrets *secrets);

/* Constant time whatever the key's length. */
bool secrets_is_admin_key(const struct secrets *secrets, struct bytes key);

#endif
