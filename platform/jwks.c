/* SPDX-License-Identifier: Apache-2.0 */

#include "platform/jwks.h"

#include "core/err.h"
#include "platform/http.h"
#include "platform/log.h"

#include <stdlib.h>

struct jwks {
    struct http_client *client;
    struct jwks_config config; /* the texts are its own */
    struct http_fetch *fetch;
    struct jwk *keys[JWKS_KEYS_MAX];
    unsigned key_count;
    uint64_t asked_ms; /* the last time; 0: never */
    uint64_t known_ms; /* when the keys were asked for; 0: never */
    bool is_failing;
    struct jwks_waiter *waiters;
    unsigned waiter_count;
    struct jwks_counts counts;
};

/* ---- a set ---- */

static const char *
use_fault(const json_t *json)
{
    const json_t *use = json_object_get(json, "use");
    return use == NULL
                   || (json_is_string(use)
                       && strcmp(json_string_value(use), "sig") == 0)
               ? NULL
               : "is for another use than \"sig\"";
}

static void
keys_free(struct jwk **keys, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        jwk_free(keys[i]);
}

static int
list_read(const json_t *list, const char *name, struct jwk **out,
          unsigned *count, unsigned *passed, const char **reason)
{
    json_t *one;
    size_t i;
    int err = 0;
    json_array_foreach(list, i, one)
    {
        const char *fault = use_fault(one);
        char *text = fault == NULL ? json_dumps(one, JSON_COMPACT) : NULL;
        if (text != NULL)
            err = jwk_read(bytes_of_text(text), name, &out[*count], &fault);
        else
            err = ERR_INVALID; /* no object, or for another use */
        free(text);
        if (err == ERR_MEMORY)
            return err;
        if (err == 0) {
            ++*count;
            continue;
        }
        ++*passed;
        *reason = fault != NULL ? fault : "is no JSON object";
    }
    return 0;
}

int
jwks_read(struct bytes text, const char *name, struct jwk *out[JWKS_KEYS_MAX],
          unsigned *count, unsigned *passed, const char **reason)
{
    struct jwk *keys[JWKS_KEYS_MAX];
    unsigned found = 0;
    json_t *json = json_loadb((const char *) text.ptr, text.len,
                              JSON_REJECT_DUPLICATES, NULL);
    const json_t *list = json_object_get(json, "keys");
    int err = 0;
    *passed = 0;
    *reason = "it is no object with a list \"keys\"";
    if (!json_is_array(list))
        err = ERR_INVALID;
    else if (json_array_size(list) > JWKS_KEYS_MAX)
        err = ERR_LIMIT;
    else
        err = list_read(list, name, keys, &found, passed, reason);
    if (err == ERR_LIMIT)
        *reason = "it has more than 64 keys";
    json_decref(json);
    if (err == 0 && found == 0) {
        err = ERR_INVALID;
        if (*passed == 0)
            *reason = "it has no key";
    }
    if (err != 0) {
        keys_free(keys, found);
        return err;
    }
    memcpy(out, keys, found * sizeof *keys);
    *count = found;
    return 0;
}

/* ---- life ---- */

int
jwks_new(struct http_client *client, const struct jwks_config *config,
         struct jwks **out)
{
    struct jwks *jwks = calloc(1, sizeof *jwks);
    if (jwks == NULL)
        return ERR_MEMORY;
    jwks->client = client;
    jwks->config = *config;
    jwks->config.url = strdup(config->url);
    jwks->config.name = strdup(config->name);
    if (jwks->config.url == NULL || jwks->config.name == NULL) {
        jwks_free(jwks);
        return ERR_MEMORY;
    }
    *out = jwks;
    return 0;
}

static void
waiters_tell(struct jwks *jwks)
{
    struct jwks_waiter *waiter = jwks->waiters, *next;
    jwks->waiters = NULL; /* who is told may wait again */
    jwks->waiter_count = 0;
    for (; waiter != NULL; waiter = next) {
        next = waiter->next;
        waiter->told(waiter);
    }
}

void
jwks_free(struct jwks *jwks)
{
    if (jwks == NULL)
        return;
    http_fetch_cancel(jwks->fetch);
    waiters_tell(jwks);
    keys_free(jwks->keys, jwks->key_count);
    free((void *) (uintptr_t) jwks->config.url);
    free((void *) (uintptr_t) jwks->config.name);
    free(jwks);
}

void
jwks_configure(struct jwks *jwks, const struct jwks_config *config)
{
    jwks->config.refresh_s = config->refresh_s;
    jwks->config.pause_s = config->pause_s;
    jwks->config.grace_s = config->grace_s;
}

const char *
jwks_url(const struct jwks *jwks)
{
    return jwks->config.url;
}

struct jwks_counts
jwks_counts(const struct jwks *jwks)
{
    return jwks->counts;
}

/* ---- questions ---- */

static void
failed(struct jwks *jwks, const char *reason)
{
    jwks->counts.failed++;
    if (!jwks->is_failing)
        log_warn("jwks: keep what there is of %s (%s: %s)", jwks->config.name,
                 jwks->config.url, reason);
    jwks->is_failing = true;
}

static void
answer_take(struct jwks *jwks, struct bytes body)
{
    struct jwk *keys[JWKS_KEYS_MAX];
    unsigned count, passed;
    const char *reason;
    const int err =
        jwks_read(body, jwks->config.name, keys, &count, &passed, &reason);
    if (err != 0) {
        failed(jwks, reason);
        return;
    }
    if (passed > 0)
        log_info("jwks: pass over %u keys of %s (the last %s)", passed,
                 jwks->config.name, reason);
    if (jwks->is_failing)
        log_info("jwks: the keys of %s can be had again", jwks->config.name);
    keys_free(jwks->keys, jwks->key_count);
    memcpy(jwks->keys, keys, count * sizeof *keys);
    jwks->key_count = count;
    jwks->known_ms = jwks->asked_ms;
    jwks->is_failing = false;
}

static void
answered(const struct http_response *response, void *context)
{
    struct jwks *jwks = context;
    jwks->fetch = NULL;
    if (response->err != 0)
        failed(jwks, err_text(response->err));
    else if (response->status != 200)
        failed(jwks, "its answer is not 200");
    else
        answer_take(jwks, response->body);
    waiters_tell(jwks);
}

static void
ask_if_allowed(struct jwks *jwks, uint64_t now_ms)
{
    if (jwks->fetch != NULL
        || (jwks->asked_ms != 0
            && now_ms < jwks->asked_ms + 1000ull * jwks->config.pause_s))
        return;
    const struct http_fetch_config config = {
        .method = "GET",
        .url = jwks->config.url,
        .timeout_ms = JWKS_TIMEOUT_MS,
        .body_size_max = JWKS_SIZE_MAX,
        .done = answered,
        .context = jwks,
    };
    jwks->asked_ms = now_ms;
    jwks->counts.asked++;
    jwks->fetch = http_fetch(jwks->client, &config);
    if (jwks->fetch == NULL)
        failed(jwks, "it cannot be asked");
}

void
jwks_tick(struct jwks *jwks, uint64_t now_ms)
{
    if (jwks->known_ms == 0 || jwks->is_failing
        || now_ms >= jwks->known_ms + 1000ull * jwks->config.refresh_s)
        ask_if_allowed(jwks, now_ms);
}

unsigned
jwks_keys(const struct jwks *jwks, uint64_t now_ms, struct jwk *const **out)
{
    const uint64_t good_ms =
        1000ull * ((uint64_t) jwks->config.refresh_s + jwks->config.grace_s);
    *out = jwks->keys;
    return jwks->known_ms != 0 && now_ms < jwks->known_ms + good_ms
               ? jwks->key_count
               : 0;
}

bool
jwks_wait(struct jwks *jwks, struct jwks_waiter *waiter, uint64_t now_ms)
{
    ask_if_allowed(jwks, now_ms);
    if (jwks->fetch == NULL || jwks->waiter_count == JWKS_WAITING_MAX)
        return false;
    waiter->next = jwks->waiters;
    jwks->waiters = waiter;
    jwks->waiter_count++;
    return true;
}
