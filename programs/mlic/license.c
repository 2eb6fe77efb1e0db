/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/mlic/license.h"

#include "core/err.h"

#include <stdio.h>

int
license_kid_add(struct license_request *request,
                const uint8_t kid[CRYPT_KEY_SIZE])
{
    for (unsigned i = 0; i < request->kid_count; i++)
        if (memcmp(request->kids[i], kid, CRYPT_KEY_SIZE) == 0)
            return 0;
    if (request->kid_count == LICENSE_KEYS_MAX)
        return ERR_LIMIT;
    memcpy(request->kids[request->kid_count++], kid, CRYPT_KEY_SIZE);
    return 0;
}

static enum refusal
key_judge(const struct license_request *request,
          const struct license_asker *asker, struct license_key *key)
{
    const struct entitlement *entitlement = &asker->entitlement;
    if (strcmp(key->name.content, entitlement->content) != 0
        || (entitlement->version[0] != '\0'
            && strcmp(key->name.version, entitlement->version) != 0))
        return REFUSAL_CONTENT;
    const enum refusal refusal =
        policy_make(entitlement, asker->rules, asker->rule_count,
                    request->system, key->name.classes, &key->policy);
    if (refusal != REFUSAL_NONE)
        return refusal;
    if (key->policy.license_s == 0) { /* as long as the entitlement */
        const uint64_t left = entitlement->expires_s > asker->now_s
                                  ? entitlement->expires_s - asker->now_s
                                  : 1; /* clocks may differ */
        key->policy.license_s =
            left < UINT32_MAX ? (uint32_t) left : UINT32_MAX;
    }
    if (request->is_persistent && !key->policy.is_persistent)
        return REFUSAL_PERSISTENCE;
    return (key->name.classes & ~asker->classes) != 0 ? REFUSAL_REFUSED
                                                      : REFUSAL_NONE;
}

static int
key_decide(struct store *store, const struct license_request *request,
           const struct license_asker *asker, unsigned i,
           struct license_key *out)
{
    int err =
        key_store_find(store->keys, request->kids[i], &out->name, &out->key);
    if (err == ERR_NOT_FOUND) {
        out->refusal = REFUSAL_KEY;
        return 0;
    }
    if (err == 0)
        out->refusal = key_judge(request, asker, out);
    return err;
}

/* An entitlement that is good once gives each key once. */
static int
use_note(struct store *store, const struct license_asker *asker,
         const uint8_t kid[CRYPT_KEY_SIZE], enum refusal *refusal)
{
    const struct entitlement *entitlement = &asker->entitlement;
    char name[CONTENT_ID_LEN_MAX + ENTITLEMENT_ID_LEN_MAX + 2];
    char text[2 * CRYPT_KEY_SIZE + 1];
    snprintf(name, sizeof name, "%s/%s", asker->service, entitlement->id);
    for (unsigned i = 0; i < CRYPT_KEY_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", kid[i]);
    const int err = play_store_use(store->plays, name, text,
                                   entitlement->expires_s + 86400);
    if (err == ERR_STALE)
        *refusal = REFUSAL_USED;
    return err == ERR_STALE ? 0 : err;
}

static void
granted_refuse(struct license_key *keys, unsigned count, enum refusal refusal)
{
    for (unsigned i = 0; i < count; i++)
        if (keys[i].refusal == REFUSAL_NONE)
            keys[i].refusal = refusal;
}

static unsigned
granted_count(const struct license_key *keys, unsigned count)
{
    unsigned granted = 0;
    for (unsigned i = 0; i < count; i++)
        granted += keys[i].refusal == REFUSAL_NONE;
    return granted;
}

int
license_foresee(struct store *store, const struct license_request *request,
                const struct license_asker *asker, struct license_prospect *out)
{
    int err = 0;
    *out = (struct license_prospect){.classes = 0};
    for (unsigned i = 0; i < request->kid_count && err == 0; i++) {
        struct license_key key = {.refusal = REFUSAL_NONE};
        err = key_decide(store, request, asker, i, &key);
        if (err == 0 && key.refusal == REFUSAL_NONE) {
            if (out->classes == 0)
                memcpy(out->version, key.name.version, sizeof out->version);
            out->classes |= key.name.classes;
        }
        explicit_bzero(&key, sizeof key);
    }
    return err;
}

int
license_decide(struct store *store, const struct license_request *request,
               const struct license_asker *asker, struct license_key *keys)
{
    const unsigned count = request->kid_count;
    int err = 0;
    for (unsigned i = 0; i < count && err == 0; i++)
        err = key_decide(store, request, asker, i, &keys[i]);
    if (err == 0 && asker->plays > 0 && granted_count(keys, count) > 0) {
        const struct lease lease = {asker->viewer, asker->entitlement.play,
                                    asker->now_s + asker->lease_s};
        err =
            play_store_lease(store->plays, &lease, asker->plays, asker->now_s);
        if (err == ERR_LIMIT) {
            granted_refuse(keys, count, REFUSAL_PLAYS);
            err = 0;
        }
    }
    for (unsigned i = 0; i < count && err == 0; i++)
        if (keys[i].refusal == REFUSAL_NONE && asker->entitlement.is_single_use)
            err = use_note(store, asker, request->kids[i], &keys[i].refusal);
    for (unsigned i = 0; i < count; i++)
        if (keys[i].refusal != REFUSAL_NONE || err != 0)
            explicit_bzero(&keys[i].key, sizeof keys[i].key);
    return err;
}
