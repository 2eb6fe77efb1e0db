/* SPDX-License-Identifier: Apache-2.0 */
/* Services in memory: sorted arrays, looked through by halves. */

#include "programs/st-api/services.h"

#include "core/err.h"
#include "platform/clock.h"

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
    services->list = calloc(services->count + 1, sizeof *services->list);
    services->by_id = calloc(services->key_count + 1, sizeof *services->by_id);
    if (services->list == NULL || services->by_id == NULL) {
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
    allowances_fill(services);
    *out = services;
    return 0;
}

void
services_free(struct services *services)
{
    if (services == NULL)
        return;
    free(services->list);
    free(services->keys);
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

const struct catalogue_service_key *
services_key_at(const struct services *services, struct bytes service,
                unsigned i)
{
    for (unsigned k = 0; k < services->key_count; k++)
        if (bytes_equal(bytes_of_text(services->keys[k].service), service)
            && i-- == 0)
            return &services->keys[k];
    return NULL;
}

static void
secret_digest(struct bytes secret, uint8_t out[SHA256_DIGEST_LENGTH])
{
    SHA256(secret.ptr, secret.len, out);
}

struct service *
services_authenticate(struct services *services, struct bytes key,
                      uint64_t now_s)
{
    if (key.len != SERVICE_KEY_LEN || key.ptr[CATALOGUE_KEY_ID_LEN] != '.')
        return NULL;
    struct catalogue_service_key asked, *const asked_ptr = &asked;
    memcpy(asked.id, key.ptr, CATALOGUE_KEY_ID_LEN);
    asked.id[CATALOGUE_KEY_ID_LEN] = '\0';
    const struct catalogue_service_key **found =
        bsearch(&asked_ptr, services->by_id, services->key_count,
                sizeof *services->by_id, keys_compare);
    uint8_t digest[SHA256_DIGEST_LENGTH];
    secret_digest(bytes_of(key.ptr + CATALOGUE_KEY_ID_LEN + 1,
                           key.len - CATALOGUE_KEY_ID_LEN - 1),
                  digest);
    if (found == NULL
        || CRYPTO_memcmp(digest, (*found)->digest, sizeof digest) != 0
        || ((*found)->expires_s > 0 && now_s > (*found)->expires_s))
        return NULL;
    return service_find(services, bytes_of_text((*found)->service));
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
