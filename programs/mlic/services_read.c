/* SPDX-License-Identifier: Apache-2.0 */
/* The file of services, read as a whole or not at all. */

#include "programs/mlic/services_private.h"

#include "core/buffer.h"
#include "core/err.h"
#include "platform/files.h"
#include "platform/log.h"
#include "programs/mlic/names.h"

#include <stdlib.h>

/* ---- rules ---- */

static int
rule_read(const struct place *place, json_t *json, struct policy_rule *out)
{
    static const char *const names[] = {
        "classes",          "systems",    "refuse",
        "never_persistent", "security",   "output",
        "license_s",        "playback_s", NULL};
    unsigned security = 0, output = 0;
    int err = place_names_check(place, json, names);
    if (err == 0)
        err = place_names(place, json, "classes", class_names, &out->classes);
    if (err == 0)
        err = place_names(place, json, "systems", system_names, &out->systems);
    if (err == 0)
        err = place_flag(place, json, "refuse", &out->is_refused);
    if (err == 0)
        err = place_flag(place, json, "never_persistent",
                         &out->is_never_persistent);
    if (err == 0)
        err = place_name(place, json, "security", security_names, &security);
    if (err == 0)
        err = place_name(place, json, "output", output_names, &output);
    if (err == 0)
        err =
            place_number(place, json, "license_s", UINT32_MAX, &out->license_s);
    if (err == 0)
        err = place_number(place, json, "playback_s", UINT32_MAX,
                           &out->playback_s);
    out->security = (enum security_level) security;
    out->output = (enum output_protection) output;
    return err;
}

/* ---- what is asked before a license is given ---- */

static int
callback_fail_read(const struct place *place, const json_t *json,
                   struct callback_config *out)
{
    static const char *const ways[] = {"refuse", "cached", NULL};
    unsigned way = 0;
    int err = place_name(place, json, "fail", ways, &way);
    if (err == 0 && way == 0 && json_object_get(json, "stale_s") != NULL)
        err = place_refuse(place, ERR_INVALID,
                           "\"stale_s\" is for \"fail\": \"cached\"");
    if (way == 1)
        out->stale_s = 600;
    if (err == 0)
        err = place_number(place, json, "stale_s", 86400, &out->stale_s);
    return err;
}

static int
callback_read(const struct place *place, json_t *json,
              struct callback_config *out)
{
    static const char *const names[] = {"url",      "secret_file", "timeout_ms",
                                        "failures", "pause_s",     "max_age_s",
                                        "fail",     "stale_s",     NULL};
    const char *secret =
        json_string_value(json_object_get(json, "secret_file"));
    uint32_t pause_s = 10;
    *out = (struct callback_config){
        .timeout_ms = 1000, .max_age_s = 60, .breaker = {.failures_max = 5}};
    int err = place_names_check(place, json, names);
    if (err == 0)
        err = place_url(place, json, "url", &out->url);
    if (err == 0 && (out->url == NULL || secret == NULL))
        err = place_refuse(place, ERR_INVALID,
                           "it needs a \"url\" and a \"secret_file\"");
    if (err == 0)
        err = place_secret(place, secret, out->secret, &out->secret_size);
    if (err == 0)
        err = place_number(place, json, "timeout_ms", 30000, &out->timeout_ms);
    if (err == 0)
        err = place_number(place, json, "failures", 1000,
                           &out->breaker.failures_max);
    if (err == 0)
        err = place_number(place, json, "pause_s", 3600, &pause_s);
    out->breaker.pause_ms = 1000ull * pause_s;
    if (err == 0)
        err = place_number(place, json, "max_age_s", 86400, &out->max_age_s);
    return err == 0 ? callback_fail_read(place, json, out) : err;
}

/* ---- a service ---- */

typedef int part_read(const struct place *place, json_t *json,
                      struct service *service);

static int
rule_add(const struct place *place, json_t *json, struct service *service)
{
    if (service->rule_count == POLICY_RULES_MAX)
        return place_refuse(place, ERR_LIMIT, "more than %d rules",
                            POLICY_RULES_MAX);
    return rule_read(place, json, &service->rules[service->rule_count++]);
}

/* What is for all its licenses: rules, too. */
static int
bounds_read(const struct place *place, const json_t *json,
            struct service *service)
{
    struct policy_rule others = {.classes = UINT32_MAX, .is_refused = true};
    struct policy_rule all = {.classes = UINT32_MAX, .systems = UINT32_MAX};
    unsigned systems, security = 0, output = 0;
    int err = place_names(place, json, "systems", system_names, &systems);
    if (err == 0)
        err = place_name(place, json, "security", security_names, &security);
    if (err == 0)
        err = place_name(place, json, "output", output_names, &output);
    if (err == 0 && service->rule_count > POLICY_RULES_MAX - 2)
        err = place_refuse(place, ERR_LIMIT, "more than %d rules",
                           POLICY_RULES_MAX - 2);
    if (err != 0)
        return err;
    others.systems = ~systems;
    all.security = (enum security_level) security;
    all.output = (enum output_protection) output;
    service->rules[service->rule_count++] = others;
    service->rules[service->rule_count++] = all;
    return 0;
}

static int
list_read(const struct place *place, const json_t *object, const char *name,
          part_read *read, struct service *service)
{
    const json_t *list = json_object_get(object, name);
    json_t *one;
    size_t i;
    int err = 0;
    if (list != NULL && !json_is_array(list))
        return place_refuse(place, ERR_INVALID, "\"%s\" must be a list", name);
    json_array_foreach(list, i, one)
    {
        const struct place at = place_in(place, name, i);
        if (err == 0)
            err = read(&at, one, service);
    }
    return err;
}

static int
service_read(const struct place *place, json_t *json, struct service *out)
{
    static const char *const names[] = {
        "id",         "issuer",       "keys",           "jwks_file",
        "jwks_url",   "jwks_pause_s", "jwks_refresh_s", "jwks_grace_s",
        "systems",    "security",     "output",         "rules",
        "rate_per_s", "burst",        "plays",          "callback",
        NULL};
    const json_t *issuer = json_object_get(json, "issuer");
    const json_t *jwks = json_object_get(json, "jwks_file");
    json_t *callback = json_object_get(json, "callback");
    const struct place callback_place = place_part(place, "callback");
    int err = place_names_check(place, json, names);
    if (err != 0)
        return err;
    if (!jwt_text_take(json_object_get(json, "id"), out->id, sizeof out->id)
        || !content_id_is_valid(bytes_of_text(out->id)))
        return place_refuse(place, ERR_INVALID,
                            "\"id\" must be 1 to 64 of A-Z a-z 0-9 . _ -");
    memcpy(out->issuer, out->id, sizeof out->id);
    if (issuer != NULL
        && !jwt_text_take(issuer, out->issuer, sizeof out->issuer))
        return place_refuse(place, ERR_INVALID,
                            "\"issuer\" must be 1 to 256 printable bytes");
    err = list_read(place, json, "keys", services_key_read, out);
    if (err == 0 && jwks != NULL)
        err = services_jwks_read(place, jwks, out);
    if (err == 0)
        err = services_jwks_url_read(place, json, &out->jwks_config);
    if (err == 0 && callback != NULL)
        err = callback_read(&callback_place, callback, &out->callback_config);
    if (err == 0)
        err = list_read(place, json, "rules", rule_add, out);
    if (err == 0)
        err = bounds_read(place, json, out);
    if (err == 0)
        err =
            place_number(place, json, "rate_per_s", 1000000, &out->rate_per_s);
    if (err == 0)
        err = place_number(place, json, "burst", 1000000, &out->burst);
    if (err == 0)
        err = place_number(place, json, "plays", 1000, &out->plays);
    if (err == 0 && out->key_count == 0 && out->jwks_config.url == NULL)
        err = place_refuse(place, ERR_INVALID, "it has no key");
    if (out->burst == 0)
        out->burst = out->rate_per_s;
    out->allowance = out->burst;
    return err;
}

/* ---- all of them ---- */

static int
issuers_compare(const void *a, const void *b)
{
    return strcmp(((const struct service *) a)->issuer,
                  ((const struct service *) b)->issuer);
}

static int
file_parse(const struct place *place, struct bytes text,
           struct services *services)
{
    static const char *const names[] = {"services", NULL};
    json_error_t error;
    json_t *one;
    size_t i;
    json_t *json = json_loadb((const char *) text.ptr, text.len,
                              JSON_REJECT_DUPLICATES, &error);
    json_t *list = json_object_get(json, "services");
    int err = 0;
    if (json == NULL) {
        log_error("services: refuse %s:%d (%s)", place->path, error.line,
                  error.text);
        return ERR_INVALID;
    }
    err = place_names_check(place, json, names);
    if (err == 0 && !json_is_array(list))
        err = place_refuse(place, ERR_INVALID, "\"services\" must be a list");
    if (err == 0 && json_array_size(list) > SERVICES_MAX)
        err = place_refuse(place, ERR_LIMIT, "more than %d services",
                           SERVICES_MAX);
    if (err == 0) {
        services->list =
            calloc(json_array_size(list) + 1, sizeof *services->list);
        err = services->list == NULL ? ERR_MEMORY : 0;
    }
    json_array_foreach(list, i, one)
    {
        const struct place at = place_in(place, "services", i);
        if (err == 0)
            err = service_read(&at, one, &services->list[services->count++]);
    }
    json_decref(json);
    return err;
}

static int
issuers_check(const struct place *place, struct services *services)
{
    qsort(services->list, services->count, sizeof *services->list,
          issuers_compare);
    for (unsigned i = 1; i < services->count; i++)
        if (issuers_compare(&services->list[i - 1], &services->list[i]) == 0)
            return place_refuse(place, ERR_INVALID,
                                "two services have the issuer "
                                "\"%s\"",
                                services->list[i].issuer);
    return 0;
}

int
services_read(const char *path, struct services **out)
{
    const struct place place = {.path = path};
    struct services *services = calloc(1, sizeof *services);
    struct buffer text;
    buffer_init(&text, SERVICES_FILE_SIZE_MAX);
    int err = services == NULL ? ERR_MEMORY : file_read(path, &text);
    if (err != 0)
        log_error("services: cannot read %s (%s)", path, err_text(err));
    else
        err = file_parse(&place, buffer_bytes(&text), services);
    if (err == 0)
        err = issuers_check(&place, services);
    buffer_fini(&text);
    if (err != 0)
        services_free(services);
    else
        *out = services;
    return err;
}
