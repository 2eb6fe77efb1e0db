/* SPDX-License-Identifier: Apache-2.0 */
/* The file of services, read as a whole or not at all. */

#include "programs/mlic/services_private.h"

#include "core/err.h"
#include "platform/files.h"
#include "platform/http.h"
#include "platform/key_file.h"
#include "platform/log.h"
#include "programs/mlic/names.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_SIZE_MAX (16u << 20)
#define WHERE_SIZE 128
#define PATH_SIZE 4096

/* Where in the file something is wrong. */
struct place {
    const char *path;
    char where[WHERE_SIZE]; /* "services[0].keys[1]" */
};

static int refuse(const struct place *place, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int
refuse(const struct place *place, int err, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    log_error("services: refuse %s (%s: %s)", place->path, place->where, text);
    return err;
}

static struct place
place_in(const struct place *place, const char *name, size_t index)
{
    struct place inner = *place;
    const size_t len = strlen(inner.where);
    snprintf(inner.where + len, sizeof inner.where - len, "%s%s[%zu]",
             len > 0 ? "." : "", name, index);
    return inner;
}

static struct place
place_part(const struct place *place, const char *name)
{
    struct place inner = *place;
    const size_t len = strlen(inner.where);
    snprintf(inner.where + len, sizeof inner.where - len, ".%s", name);
    return inner;
}

/* A name that is not looked at is a mistake. */
static int
names_check(const struct place *place, json_t *object, const char *const *names)
{
    const char *name;
    json_t *value;
    if (!json_is_object(object))
        return refuse(place, ERR_INVALID, "must be an object");
    json_object_foreach(object, name, value)
    {
        size_t i = 0;
        while (names[i] != NULL && strcmp(names[i], name) != 0)
            i++;
        if (names[i] == NULL)
            return refuse(place, ERR_INVALID, "unknown name \"%s\"", name);
    }
    return 0;
}

static int
number_take(const struct place *place, const json_t *object, const char *name,
            json_int_t max, uint32_t *out)
{
    const json_t *json = json_object_get(object, name);
    const json_int_t number = json_integer_value(json);
    if (json == NULL)
        return 0;
    if (!json_is_integer(json) || number < 1 || number > max)
        return refuse(place, ERR_INVALID,
                      "\"%s\" must be a number from 1 to "
                      "%lld",
                      name, (long long) max);
    *out = (uint32_t) number;
    return 0;
}

static int
flag_take(const struct place *place, const json_t *object, const char *name,
          bool *out)
{
    const json_t *json = json_object_get(object, name);
    if (json != NULL && !json_is_boolean(json))
        return refuse(place, ERR_INVALID, "\"%s\" must be true or false", name);
    *out = json_is_true(json);
    return 0;
}

/* ---- names ---- */

static int
name_take(const struct place *place, const json_t *object, const char *name,
          const char *const *names, unsigned *out)
{
    const json_t *json = json_object_get(object, name);
    if (json == NULL || name_find(json, names, out))
        return 0;
    return refuse(place, ERR_INVALID, "\"%s\" is none of \"%s\", \"%s\" ...",
                  name, names[0], names[1]);
}

/* Bits; all, where there is no list. */
static int
names_take(const struct place *place, const json_t *object, const char *name,
           const char *const *names, unsigned *out)
{
    const json_t *list = json_object_get(object, name), *one;
    size_t i;
    *out = list == NULL ? UINT32_MAX : 0;
    json_array_foreach(list, i, one)
    {
        unsigned bit;
        if (!name_find(one, names, &bit))
            return refuse(place, ERR_INVALID,
                          "\"%s\"[%zu] is none of \"%s\", \"%s\" ...", name, i,
                          names[0], names[1]);
        *out |= 1u << bit;
    }
    return *out == 0 ? refuse(place, ERR_INVALID, "\"%s\" must be a list", name)
                     : 0;
}

/* ---- rules ---- */

static int
rule_read(const struct place *place, json_t *json, struct policy_rule *out)
{
    static const char *const names[] = {
        "classes",          "systems",    "refuse",
        "never_persistent", "security",   "output",
        "license_s",        "playback_s", NULL};
    unsigned security = 0, output = 0;
    int err = names_check(place, json, names);
    if (err == 0)
        err = names_take(place, json, "classes", class_names, &out->classes);
    if (err == 0)
        err = names_take(place, json, "systems", system_names, &out->systems);
    if (err == 0)
        err = flag_take(place, json, "refuse", &out->is_refused);
    if (err == 0)
        err = flag_take(place, json, "never_persistent",
                        &out->is_never_persistent);
    if (err == 0)
        err = name_take(place, json, "security", security_names, &security);
    if (err == 0)
        err = name_take(place, json, "output", output_names, &output);
    if (err == 0)
        err =
            number_take(place, json, "license_s", UINT32_MAX, &out->license_s);
    if (err == 0)
        err = number_take(place, json, "playback_s", UINT32_MAX,
                          &out->playback_s);
    out->security = (enum security_level) security;
    out->output = (enum output_protection) output;
    return err;
}

/* ---- keys ---- */

static void
path_of(const struct place *place, const char *name, char out[PATH_SIZE])
{
    const char *slash = strrchr(place->path, '/');
    const int len =
        slash == NULL || name[0] == '/' ? 0 : (int) (slash - place->path) + 1;
    snprintf(out, PATH_SIZE, "%.*s%s", len, place->path, name);
}

/* Wipe it. */
static int
secret_read(const struct place *place, const char *name,
            uint8_t out[KEY_LEN_MAX / 2], size_t *size)
{
    char path[PATH_SIZE], text[KEY_SIZE];
    path_of(place, name, path);
    int err = key_file_owner_check(path);
    if (err == 0)
        err = key_file_read(path, text);
    if (err != 0)
        return refuse(place, err, "its \"secret_file\" cannot be used");
    if (OPENSSL_hexstr2buf_ex(out, KEY_LEN_MAX / 2, size, text, '\0') != 1)
        *size = 0;
    explicit_bzero(text, sizeof text);
    return *size < JWT_SECRET_SIZE_MIN ? refuse(
               place, ERR_INVALID, "%s must hold 64 hex digits or more", path)
                                       : 0;
}

static int
secret_key_read(const struct place *place, const char *name, const char *kid,
                struct jwk **out)
{
    uint8_t secret[KEY_LEN_MAX / 2];
    size_t size;
    int err = secret_read(place, name, secret, &size);
    if (err == 0)
        err = jwk_of_secret(bytes_of(secret, size), kid, out);
    explicit_bzero(secret, sizeof secret);
    return err;
}

static int
jwk_take(const struct place *place, json_t *json, struct service *service)
{
    const char *reason = NULL;
    if (service->key_count == SERVICE_KEYS_MAX)
        return refuse(place, ERR_LIMIT, "more than %d keys", SERVICE_KEYS_MAX);
    char *text = json_dumps(json, JSON_COMPACT);
    if (text == NULL)
        return refuse(place, ERR_INVALID, "must be an object");
    const int err = jwk_read(bytes_of_text(text), service->id,
                             &service->keys[service->key_count], &reason);
    free(text);
    if (err == ERR_INVALID)
        return refuse(place, err, "the key %s", reason);
    if (err == 0)
        service->key_count++;
    return err;
}

static int
key_read(const struct place *place, json_t *json, struct service *service)
{
    static const char *const names[] = {"kid", "secret_file", "jwk", NULL};
    const json_t *name = json_object_get(json, "secret_file");
    json_t *jwk = json_object_get(json, "jwk");
    char kid[JWT_KID_LEN_MAX + 1];
    int err = names_check(place, json, names);
    if (err != 0)
        return err;
    if ((jwk == NULL) == (name == NULL))
        return refuse(place, ERR_INVALID,
                      "must have either \"secret_file\" or \"jwk\"");
    if (jwk != NULL)
        return jwk_take(place, jwk, service);
    if (!json_is_string(name)
        || !jwt_text_take(json_object_get(json, "kid"), kid, sizeof kid))
        return refuse(place, ERR_INVALID,
                      "a secret needs a \"kid\" of 1 to 64 bytes");
    if (service->key_count == SERVICE_KEYS_MAX)
        return refuse(place, ERR_LIMIT, "more than %d keys", SERVICE_KEYS_MAX);
    err = secret_key_read(place, json_string_value(name), kid,
                          &service->keys[service->key_count]);
    if (err == 0)
        service->key_count++;
    return err;
}

static int
jwks_file_read(const struct place *place, const json_t *name,
               struct service *service)
{
    char path[PATH_SIZE];
    struct buffer text;
    size_t i;
    json_t *one;
    if (!json_is_string(name))
        return refuse(place, ERR_INVALID, "\"jwks_file\" must be a path");
    path_of(place, json_string_value(name), path);
    buffer_init(&text, FILE_SIZE_MAX);
    int err = file_read(path, &text);
    json_t *json = err != 0 ? NULL
                            : json_loadb((const char *) text.ptr, text.len,
                                         JSON_REJECT_DUPLICATES, NULL);
    json_t *keys = json_object_get(json, "keys");
    if (err != 0)
        err = refuse(place, err, "cannot read %s (%s)", path, err_text(err));
    else if (!json_is_array(keys))
        err = refuse(place, ERR_INVALID,
                     "%s is no JWK set: an object with a list \"keys\"", path);
    json_array_foreach(keys, i, one)
    {
        const struct place at = place_in(place, "jwks_file", i);
        if (err == 0)
            err = jwk_take(&at, one, service);
    }
    json_decref(json);
    buffer_fini(&text);
    return err;
}

/* A URL that nobody on the way can read or change; NULL: there is none. */
static int
url_take(const struct place *place, const json_t *object, const char *name,
         const char **out)
{
    const json_t *json = json_object_get(object, name);
    const char *url = json_string_value(json);
    if (json == NULL)
        return 0;
    if (url == NULL || !http_url_is_private(url))
        return refuse(place, ERR_INVALID,
                      "\"%s\" must be https://, or http:// of this machine",
                      name);
    *out = strdup(url);
    return *out == NULL ? ERR_MEMORY : 0;
}

static int
jwks_url_read(const struct place *place, const json_t *object,
              struct jwks_config *out)
{
    *out =
        (struct jwks_config){.refresh_s = 300, .pause_s = 10, .grace_s = 86400};
    int err = url_take(place, object, "jwks_url", &out->url);
    if (err == 0)
        err = number_take(place, object, "jwks_refresh_s", 86400,
                          &out->refresh_s);
    if (err == 0)
        err = number_take(place, object, "jwks_pause_s", 3600, &out->pause_s);
    if (err == 0)
        err = number_take(place, object, "jwks_grace_s", 30 * 86400,
                          &out->grace_s);
    return err;
}

/* ---- what is asked before a license is given ---- */

static int
callback_fail_read(const struct place *place, const json_t *json,
                   struct callback_config *out)
{
    static const char *const ways[] = {"refuse", "cached", NULL};
    unsigned way = 0;
    int err = name_take(place, json, "fail", ways, &way);
    if (err == 0 && way == 0 && json_object_get(json, "stale_s") != NULL)
        err = refuse(place, ERR_INVALID,
                     "\"stale_s\" is for \"fail\": \"cached\"");
    if (way == 1)
        out->stale_s = 600;
    if (err == 0)
        err = number_take(place, json, "stale_s", 86400, &out->stale_s);
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
    int err = names_check(place, json, names);
    if (err == 0)
        err = url_take(place, json, "url", &out->url);
    if (err == 0 && (out->url == NULL || secret == NULL))
        err = refuse(place, ERR_INVALID,
                     "it needs a \"url\" and a \"secret_file\"");
    if (err == 0)
        err = secret_read(place, secret, out->secret, &out->secret_size);
    if (err == 0)
        err = number_take(place, json, "timeout_ms", 30000, &out->timeout_ms);
    if (err == 0)
        err = number_take(place, json, "failures", 1000,
                          &out->breaker.failures_max);
    if (err == 0)
        err = number_take(place, json, "pause_s", 3600, &pause_s);
    out->breaker.pause_ms = 1000ull * pause_s;
    if (err == 0)
        err = number_take(place, json, "max_age_s", 86400, &out->max_age_s);
    return err == 0 ? callback_fail_read(place, json, out) : err;
}

/* ---- a service ---- */

typedef int part_read(const struct place *place, json_t *json,
                      struct service *service);

static int
rule_add(const struct place *place, json_t *json, struct service *service)
{
    if (service->rule_count == POLICY_RULES_MAX)
        return refuse(place, ERR_LIMIT, "more than %d rules", POLICY_RULES_MAX);
    return rule_read(place, json, &service->rules[service->rule_count++]);
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
        return refuse(place, ERR_INVALID, "\"%s\" must be a list", name);
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
    static const char *const names[] = {"id",
                                        "issuer",
                                        "keys",
                                        "jwks_file",
                                        "jwks_url",
                                        "jwks_pause_s",
                                        "jwks_refresh_s",
                                        "jwks_grace_s",
                                        "rules",
                                        "rate_per_s",
                                        "burst",
                                        "plays",
                                        "callback",
                                        NULL};
    const json_t *issuer = json_object_get(json, "issuer");
    const json_t *jwks = json_object_get(json, "jwks_file");
    json_t *callback = json_object_get(json, "callback");
    const struct place callback_place = place_part(place, "callback");
    int err = names_check(place, json, names);
    if (err != 0)
        return err;
    if (!jwt_text_take(json_object_get(json, "id"), out->id, sizeof out->id)
        || !content_id_is_valid(bytes_of_text(out->id)))
        return refuse(place, ERR_INVALID,
                      "\"id\" must be 1 to 64 of A-Z a-z 0-9 . _ -");
    memcpy(out->issuer, out->id, sizeof out->id);
    if (issuer != NULL
        && !jwt_text_take(issuer, out->issuer, sizeof out->issuer))
        return refuse(place, ERR_INVALID,
                      "\"issuer\" must be 1 to 256 printable bytes");
    err = list_read(place, json, "keys", key_read, out);
    if (err == 0 && jwks != NULL)
        err = jwks_file_read(place, jwks, out);
    if (err == 0)
        err = jwks_url_read(place, json, &out->jwks_config);
    if (err == 0 && callback != NULL)
        err = callback_read(&callback_place, callback, &out->callback_config);
    if (err == 0)
        err = list_read(place, json, "rules", rule_add, out);
    if (err == 0)
        err = number_take(place, json, "rate_per_s", 1000000, &out->rate_per_s);
    if (err == 0)
        err = number_take(place, json, "burst", 1000000, &out->burst);
    if (err == 0)
        err = number_take(place, json, "plays", 1000, &out->plays);
    if (err == 0 && out->key_count == 0 && out->jwks_config.url == NULL)
        err = refuse(place, ERR_INVALID, "it has no key");
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
    err = names_check(place, json, names);
    if (err == 0 && !json_is_array(list))
        err = refuse(place, ERR_INVALID, "\"services\" must be a list");
    if (err == 0 && json_array_size(list) > SERVICES_MAX)
        err = refuse(place, ERR_LIMIT, "more than %d services", SERVICES_MAX);
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
            return refuse(place, ERR_INVALID,
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
    buffer_init(&text, FILE_SIZE_MAX);
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
