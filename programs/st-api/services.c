/* SPDX-License-Identifier: Apache-2.0 */
/* Services in memory: sorted arrays, looked through by halves. */

#include "programs/st-api/services.h"

#include "core/err.h"
#include "platform/clock.h"
#include "platform/log.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

struct services {
    uint64_t number;
    struct service *list;
    unsigned count;
    struct catalogue_service_key *keys; /* by service and age */
    unsigned key_count;
    struct jwk **jwks; /* as keys; NULL: it is a secret */
    const struct catalogue_service_key **by_id;
};

static int
keys_compare(const void *a, const void *b)
{
    const struct catalogue_service_key *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

static void
allowances_fill(struct services *services)
{
    for (unsigned i = 0; i < services->count; i++)
        services->list[i].allowance = (double) services->list[i].known.burst;
}

static void
jwks_read(struct services *services)
{
    for (unsigned i = 0; i < services->key_count; i++) {
        const struct catalogue_service_key *key = &services->keys[i];
        const char *reason;
        if (key->jwk != NULL
            && jwk_read(bytes_of_text(key->jwk), key->id, &services->jwks[i],
                        &reason)
                   != 0)
            log_error("services: key %s of %s cannot be used (it %s)", key->id,
                      key->service, reason);
    }
}

int
services_load(struct catalogue *catalogue, struct services **out)
{
    struct services *services = calloc(1, sizeof *services);
    struct catalogue_service *known = NULL;
    if (services == NULL)
        return ERR_MEMORY;
    /* the number first: what changes meanwhile is read again */
    int err = catalogue_services_number(catalogue, &services->number);
    if (err == 0)
        err = catalogue_services(catalogue, &known, &services->count,
                                 &services->keys, &services->key_count);
    if (err != 0) {
        services_free(services);
        return err;
    }
    services->jwks = calloc(services->key_count + 1, sizeof *services->jwks);
    services->list = calloc(services->count + 1, sizeof *services->list);
    services->by_id = calloc(services->key_count + 1, sizeof *services->by_id);
    if (services->list == NULL || services->by_id == NULL
        || services->jwks == NULL) {
        free(known);
        services_free(services);
        return ERR_MEMORY;
    }
    for (unsigned i = 0; i < services->count; i++)
        services->list[i].known = known[i];
    free(known);
    for (unsigned i = 0; i < services->key_count; i++)
        services->by_id[i] = &services->keys[i];
    qsort(services->by_id, services->key_count, sizeof *services->by_id,
          keys_compare);
    jwks_read(services);
    allowances_fill(services);
    *out = services;
    return 0;
}

void
services_free(struct services *services)
{
    if (services == NULL)
        return;
    for (unsigned i = 0; services->jwks != NULL && i < services->key_count; i++)
        jwk_free(services->jwks[i]);
    free(services->jwks);
    free(services->list);
    catalogue_keys_free(services->keys, services->key_count);
    free(services->by_id);
    free(services);
}

uint64_t
services_number(const struct services *services)
{
    return services->number;
}

static struct service *
service_find(const struct services *services, struct bytes id)
{
    unsigned low = 0, high = services->count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        struct service *service = &services->list[middle];
        int order = bytes_compare(bytes_of_text(service->known.id), id);
        if (order == 0)
            return service;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void
services_inherit(struct services *services, const struct services *before)
{
    for (unsigned i = 0; before != NULL && i < services->count; i++) {
        struct service *service = &services->list[i];
        const struct service *was =
            service_find(before, bytes_of_text(service->known.id));
        if (was != NULL) {
            service->allowance = was->allowance;
            service->allowance_ms = was->allowance_ms;
        }
    }
}

const struct catalogue_service *
services_at(const struct services *services, unsigned i)
{
    return i < services->count ? &services->list[i].known : NULL;
}

const struct catalogue_service *
services_find(const struct services *services, struct bytes id)
{
    const struct service *service = service_find(services, id);
    return service != NULL ? &service->known : NULL;
}

/* The first key of the service, in the order that they are in; or the one that
 * would be behind it. */
static unsigned
keys_begin(const struct services *services, struct bytes service)
{
    unsigned low = 0, high = services->key_count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (bytes_compare(bytes_of_text(services->keys[middle].service),
                          service)
            < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct catalogue_service_key *
services_key_at(const struct services *services, struct bytes service,
                unsigned i)
{
    const unsigned at = keys_begin(services, service);
    if (i >= services->key_count - at)
        return NULL;
    const struct catalogue_service_key *key = &services->keys[at + i];
    return bytes_equal(bytes_of_text(key->service), service) ? key : NULL;
}

static void
secret_digest(struct bytes secret, uint8_t out[SHA256_DIGEST_LENGTH])
{
    SHA256(secret.ptr, secret.len, out);
}

static bool
is_over(const struct catalogue_service_key *key, uint64_t now_s)
{
    return key->expires_s > 0 && now_s > key->expires_s;
}

static int
secret_judge(struct services *services, struct bytes text, uint64_t now_s,
             struct service **out)
{
    struct catalogue_service_key asked, *const asked_ptr = &asked;
    memcpy(asked.id, text.ptr, CATALOGUE_KEY_ID_LEN);
    asked.id[CATALOGUE_KEY_ID_LEN] = '\0';
    const struct catalogue_service_key **found =
        bsearch(&asked_ptr, services->by_id, services->key_count,
                sizeof *services->by_id, keys_compare);
    uint8_t digest[SHA256_DIGEST_LENGTH];
    secret_digest(bytes_of(text.ptr + CATALOGUE_KEY_ID_LEN + 1,
                           text.len - CATALOGUE_KEY_ID_LEN - 1),
                  digest);
    if (found == NULL || (*found)->jwk != NULL
        || CRYPTO_memcmp(digest, (*found)->digest, sizeof digest) != 0)
        return ERR_DENIED;
    if (is_over(*found, now_s))
        return ERR_EXPIRED;
    *out = service_find(services, bytes_of_text((*found)->service));
    return *out != NULL ? 0 : ERR_DENIED;
}

/* Two keys of a service may be called the same while one takes the other's
 * place. */
static int
jwt_judge(struct services *services, struct bytes text, uint64_t now_s,
          struct service **out, struct service_grant *grant)
{
    struct jwt_claimed claimed;
    if (!jwt_peek(text, &claimed))
        return ERR_DENIED;
    const struct bytes id = bytes_of_text(claimed.issuer);
    const struct catalogue_service_key *key;
    int err = ERR_DENIED;
    const unsigned begin = keys_begin(services, id);
    for (unsigned i = 0;
         err == ERR_DENIED && (key = services_key_at(services, id, i)) != NULL;
         i++) {
        const struct jwk *jwk = services->jwks[begin + i];
        if (jwk != NULL && strcmp(jwk_kid(jwk), claimed.kid) == 0
            && !is_over(key, now_s))
            err = service_jwt_verify(text, jwk, claimed.issuer, now_s, grant);
    }
    if (err == 0 && (*out = service_find(services, id)) == NULL)
        err = ERR_DENIED;
    return err;
}

int
services_authenticate(struct services *services, struct bytes text,
                      uint64_t now_s, struct service **out,
                      struct service_grant *grant)
{
    memset(grant, 0, sizeof *grant);
    return text.len == SERVICE_KEY_LEN && text.ptr[CATALOGUE_KEY_ID_LEN] == '.'
               ? secret_judge(services, text, now_s, out)
               : jwt_judge(services, text, now_s, out, grant);
}

bool
service_may_ask(struct service *service, uint64_t now_ms, unsigned *wait_s)
{
    const double rate = (double) service->known.rate_per_s;
    const double burst = (double) service->known.burst;
    if (service->known.rate_per_s == 0)
        return true;
    if (service->allowance_ms != 0 && now_ms > service->allowance_ms)
        service->allowance +=
            (double) (now_ms - service->allowance_ms) * rate / 1000;
    service->allowance_ms = now_ms;
    if (service->allowance > burst)
        service->allowance = burst;
    if (service->allowance < 1) {
        *wait_s = (unsigned) ((1 - service->allowance) / rate) + 1;
        return false;
    }
    service->allowance -= 1;
    return true;
}

void
service_key_make(char text[SERVICE_KEY_LEN + 1],
                 struct catalogue_service_key *out)
{
    uint8_t random[CATALOGUE_KEY_ID_LEN / 2 + 32];
    char *at = text;
    random_fill(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) {
        if (i == CATALOGUE_KEY_ID_LEN / 2)
            *at++ = '.';
        snprintf(at, 3, "%02x", random[i]);
        at += 2;
    }
    explicit_bzero(random, sizeof random);
    memcpy(out->id, text, CATALOGUE_KEY_ID_LEN);
    out->id[CATALOGUE_KEY_ID_LEN] = '\0';
    secret_digest(bytes_of(text + CATALOGUE_KEY_ID_LEN + 1, 64), out->digest);
}
