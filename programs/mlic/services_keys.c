/* SPDX-License-Identifier: Apache-2.0 */
/* Services' keys, of the file of services. */

#include "programs/mlic/services_private.h"

#include "core/buffer.h"
#include "core/err.h"
#include "platform/files.h"

#include <stdlib.h>

static int
secret_key_read(const struct place *place, const char *name, const char *kid,
                struct jwk **out)
{
    uint8_t secret[KEY_LEN_MAX / 2];
    size_t size;
    int err = place_secret(place, name, secret, &size);
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
        return place_refuse(place, ERR_LIMIT, "more than %d keys",
                            SERVICE_KEYS_MAX);
    char *text = json_dumps(json, JSON_COMPACT);
    if (text == NULL)
        return place_refuse(place, ERR_INVALID, "must be an object");
    const int err = jwk_read(bytes_of_text(text), service->id,
                             &service->keys[service->key_count], &reason);
    free(text);
    if (err == ERR_INVALID)
        return place_refuse(place, err, "the key %s", reason);
    if (err == 0)
        service->key_count++;
    return err;
}

int
services_key_read(const struct place *place, json_t *json,
                  struct service *service)
{
    static const char *const names[] = {"kid", "secret_file", "jwk", NULL};
    const json_t *name = json_object_get(json, "secret_file");
    json_t *jwk = json_object_get(json, "jwk");
    char kid[JWT_KID_LEN_MAX + 1];
    int err = place_names_check(place, json, names);
    if (err != 0)
        return err;
    if ((jwk == NULL) == (name == NULL))
        return place_refuse(place, ERR_INVALID,
                            "must have either \"secret_file\" or \"jwk\"");
    if (jwk != NULL)
        return jwk_take(place, jwk, service);
    if (!json_is_string(name)
        || !jwt_text_take(json_object_get(json, "kid"), kid, sizeof kid))
        return place_refuse(place, ERR_INVALID,
                            "a secret needs a \"kid\" of 1 to 64 bytes");
    if (service->key_count == SERVICE_KEYS_MAX)
        return place_refuse(place, ERR_LIMIT, "more than %d keys",
                            SERVICE_KEYS_MAX);
    err = secret_key_read(place, json_string_value(name), kid,
                          &service->keys[service->key_count]);
    if (err == 0)
        service->key_count++;
    return err;
}

int
services_jwks_read(const struct place *place, const json_t *name,
                   struct service *service)
{
    char path[PLACE_PATH_SIZE];
    struct buffer text;
    size_t i;
    json_t *one;
    if (!json_is_string(name))
        return place_refuse(place, ERR_INVALID, "\"jwks_file\" must be a path");
    place_path(place, json_string_value(name), path);
    buffer_init(&text, SERVICES_FILE_SIZE_MAX);
    int err = file_read(path, &text);
    json_t *json = err != 0 ? NULL
                            : json_loadb((const char *) text.ptr, text.len,
                                         JSON_REJECT_DUPLICATES, NULL);
    json_t *keys = json_object_get(json, "keys");
    if (err != 0)
        err = place_refuse(place, err, "cannot read %s (%s)", path,
                           err_text(err));
    else if (!json_is_array(keys))
        err = place_refuse(place, ERR_INVALID,
                           "%s is no JWK set: an object with a list \"keys\"",
                           path);
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

int
services_jwks_url_read(const struct place *place, const json_t *object,
                       struct jwks_config *out)
{
    *out =
        (struct jwks_config){.refresh_s = 300, .pause_s = 10, .grace_s = 86400};
    int err = place_url(place, object, "jwks_url", &out->url);
    if (err == 0)
        err = place_number(place, object, "jwks_refresh_s", 86400,
                           &out->refresh_s);
    if (err == 0)
        err = place_number(place, object, "jwks_pause_s", 3600, &out->pause_s);
    if (err == 0)
        err = place_number(place, object, "jwks_grace_s", 30 * 86400,
                           &out->grace_s);
    return err;
}
