/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_SECRETS_H
#define PROGRAMS_ST_API_SECRETS_H

/*
 * What st-api must keep to itself: the keys that sign playback tokens, the key
 * that may change the catalogue, and the one that signs entitlements. Read from
 * files, together or not at all.
 */

#include "core/token.h"
#include "programs/st-api/entitlement.h"

struct secrets; /* one thread */

struct secrets_files {
    const char *token_keys, *admin_key;
    const char *entitlement_key; /* NULL: none is signed */
    const char *entitlement_kid;
};

/* Reads all files. On failure the reason is logged, naming file and line, and
 * *out stays as it was. */
int secrets_load(const struct secrets_files *files, struct secrets **out);
void secrets_free(struct secrets *secrets); /* wipes; NULL is fine */

struct token_keys *secrets_token_keys(struct secrets *secrets);

/* NULL: there is none. */
const struct entitlement_key *secrets_entitlement_key(
    const struct secrets *secrets);

/* Constant time whatever the key's length. */
bool secrets_is_admin_key(const struct secrets *secrets, struct bytes key);

#endif
