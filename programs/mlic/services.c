/* SPDX-License-Identifier: Apache-2.0 */
/* What is done with services once they are read. */

#include "programs/mlic/services_private.h"

#include "core/err.h"

#include <stdlib.h>

#define AUDIENCE "mlic"
#define SKEW_S 60 /* that clocks may differ by */

void
services_free(struct services *services)
{
    if (services == NULL)
        return;
    for (unsigned i = 0; i < services->count; i++) {
        struct service *service = &services->list[i];
        jwks_free(service->jwks);
        free((void *) (uintptr_t) service->jwks_config.url);
        callback_free(service->callback);
        free((void *) (uintptr_t) service->callback_config.url);
        for (unsigned k = 0; k < service->key_count; k++)
            jwk_free(service->keys[k]);
    }
    free(services->list);
    free(services);
}

struct service *
services_find(const struct services *services, const char *issuer)
{
    unsigned low = 0, high = services->count;
    while (low < high) {
        const unsigned middle = low + (high - low) / 2;
        const int order = strcmp(services->list[middle].issuer, issuer);
        if (order == 0)
            return &services->list[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* ---- what goes on from the services of before ---- */

static bool
is_same(const char *url, const char *before)
{
    return url != NULL && before != NULL && strcmp(url, before) == 0;
}

static bool
is_same_jwks(const struct service *service, const struct service *was)
{
    return was != NULL && was->jwks != NULL
           && is_same(service->jwks_config.url, jwks_url(was->jwks));
}

static bool
is_same_callback(const struct service *service, const struct service *was)
{
    return was != NULL && was->callback != NULL
           && is_same(service->callback_config.url,
                      callback_url(was->callback));
}

static void
service_inherit(struct service *service, struct service *was)
{
    service->allowance = was->allowance;
    service->allowance_ms = was->allowance_ms;
    if (is_same_jwks(service, was)) {
        service->jwks = was->jwks;
        was->jwks = NULL;
        jwks_configure(service->jwks, &service->jwks_config);
    }
    if (is_same_callback(service, was)) {
        service->callback = was->callback;
        was->callback = NULL;
        callback_configure(service->callback, &service->callback_config);
    }
}

/* What it does not inherit. */
static int
service_begin(struct service *service, const struct service *was,
              struct http_client *client, struct callbacks *callbacks)
{
    int err = 0;
    service->jwks_config.name = service->id;
    if (service->jwks_config.url != NULL && !is_same_jwks(service, was))
        err = jwks_new(client, &service->jwks_config, &service->jwks);
    if (err == 0 && service->callback_config.url != NULL
        && !is_same_callback(service, was))
        err = callback_new(callbacks, service->id, &service->callback_config,
                           &service->callback);
    return err;
}

int
services_begin(struct services *services, struct services *before,
               struct http_client *client, struct callbacks *callbacks)
{
    for (unsigned i = 0; i < services->count; i++) {
        struct service *service = &services->list[i];
        const int err = service_begin(
            service,
            before != NULL ? services_find(before, service->issuer) : NULL,
            client, callbacks);
        if (err != 0)
            return err;
    }
    for (unsigned i = 0; i < services->count && before != NULL; i++) {
        struct service *service = &services->list[i];
        struct service *was = services_find(before, service->issuer);
        if (was != NULL)
            service_inherit(service, was);
    }
    return 0;
}

void
services_tick(struct services *services, uint64_t now_ms)
{
    for (unsigned i = 0; i < services->count; i++)
        if (services->list[i].jwks != NULL)
            jwks_tick(services->list[i].jwks, now_ms);
}

const struct service *
services_at(const struct services *services, unsigned i)
{
    return i < services->count ? &services->list[i] : NULL;
}

/* ---- limits ---- */

bool
service_may_ask(struct service *service, uint64_t now_ms)
{
    if (service->rate_per_s == 0)
        return true;
    if (now_ms > service->allowance_ms) {
        service->allowance += (double) (now_ms - service->allowance_ms) / 1000
                              * service->rate_per_s;
        if (service->allowance > service->burst)
            service->allowance = service->burst;
        service->allowance_ms = now_ms;
    }
    if (service->allowance < 1)
        return false;
    service->allowance--;
    return true;
}

/* ---- entitlements ---- */

/* NULL: none of the keys has signed it; *is_known tells whether one of them is
 * called as it says. */
static json_t *
claims_take(struct bytes jwt, const char *kid, struct jwk *const *keys,
            unsigned count, bool *is_known)
{
    json_t *claims = NULL;
    for (unsigned i = 0; i < count && claims == NULL; i++) {
        if (strcmp(jwk_kid(keys[i]), kid) != 0)
            continue;
        *is_known = true;
        if (jwt_verify(jwt, keys[i], &claims) != 0)
            claims = NULL;
    }
    return claims;
}

/* NULL: refused. */
static json_t *
signature_judge(struct bytes jwt, const char *kid, uint64_t now_ms,
                struct services_verdict *verdict)
{
    const struct service *service = verdict->service;
    struct jwk *const *keys;
    unsigned count = 0;
    bool is_known = false;
    json_t *claims =
        claims_take(jwt, kid, service->keys, service->key_count, &is_known);
    if (claims == NULL && service->jwks != NULL) {
        count = jwks_keys(service->jwks, now_ms, &keys);
        claims = claims_take(jwt, kid, keys, count, &is_known);
    }
    if (claims != NULL)
        return claims;
    verdict->refusal = REFUSAL_INVALID;
    verdict->reason = "none of the service's keys has signed it";
    if (is_known)
        return NULL;
    verdict->wanted = service->jwks;
    if (service->jwks_config.url != NULL && count == 0) {
        verdict->refusal = REFUSAL_UNREACHABLE;
        verdict->reason = "its keys cannot be had";
    }
    return NULL;
}

static enum refusal
claims_judge(const json_t *claims, uint64_t now_s, struct entitlement *out,
             const char **reason)
{
    const int err = jwt_times_judge(claims, now_s, SKEW_S);
    if (!jwt_audience_has(claims, AUDIENCE)) {
        *reason = "its \"aud\" is not \"mlic\"";
        return REFUSAL_INVALID;
    }
    if (err != 0) {
        *reason = "its \"exp\", \"nbf\" or \"iat\" does not include now";
        return err == ERR_EXPIRED ? REFUSAL_EXPIRED : REFUSAL_INVALID;
    }
    return entitlement_read(claims, out, reason) != 0 ? REFUSAL_INVALID
                                                      : REFUSAL_NONE;
}

void
services_judge(struct services *services, struct bytes jwt, uint64_t now_s,
               uint64_t now_ms, struct entitlement *out,
               struct services_verdict *verdict)
{
    struct jwt_claimed claimed;
    *verdict = (struct services_verdict){
        .refusal = REFUSAL_INVALID,
        .reason = "it is no JWT with an \"iss\" and a \"kid\""};
    if (!jwt_peek(jwt, &claimed))
        return;
    verdict->service = services_find(services, claimed.issuer);
    if (verdict->service == NULL) {
        verdict->refusal = REFUSAL_SERVICE;
        verdict->reason = "its \"iss\" is of no service";
        return;
    }
    json_t *claims = signature_judge(jwt, claimed.kid, now_ms, verdict);
    if (claims == NULL)
        return;
    verdict->refusal = claims_judge(claims, now_s, out, &verdict->reason);
    json_decref(claims);
}
