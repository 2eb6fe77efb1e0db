/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/mlic/services_place.h"

#include "core/err.h"
#include "platform/http.h"
#include "platform/jwt.h"
#include "platform/log.h"
#include "programs/mlic/names.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int
place_refuse(const struct place *place, int err, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    log_error("services: refuse %s (%s: %s)", place->path, place->where, text);
    return err;
}

struct place
place_in(const struct place *place, const char *name, size_t index)
{
    struct place inner = *place;
    const size_t len = strlen(inner.where);
    snprintf(inner.where + len, sizeof inner.where - len, "%s%s[%zu]",
             len > 0 ? "." : "", name, index);
    return inner;
}

struct place
place_part(const struct place *place, const char *name)
{
    struct place inner = *place;
    const size_t len = strlen(inner.where);
    snprintf(inner.where + len, sizeof inner.where - len, ".%s", name);
    return inner;
}

int
place_names_check(const struct place *place, json_t *object,
                  const char *const *names)
{
    const char *name;
    json_t *value;
    if (!json_is_object(object))
        return place_refuse(place, ERR_INVALID, "must be an object");
    json_object_foreach(object, name, value)
    {
        size_t i = 0;
        while (names[i] != NULL && strcmp(names[i], name) != 0)
            i++;
        if (names[i] == NULL)
            return place_refuse(place, ERR_INVALID, "unknown name \"%s\"",
                                name);
    }
    return 0;
}

int
place_number(const struct place *place, const json_t *object, const char *name,
             json_int_t max, uint32_t *out)
{
    const json_t *json = json_object_get(object, name);
    const json_int_t number = json_integer_value(json);
    if (json == NULL)
        return 0;
    if (!json_is_integer(json) || number < 1 || number > max)
        return place_refuse(place, ERR_INVALID,
                            "\"%s\" must be a number from 1 to "
                            "%lld",
                            name, (long long) max);
    *out = (uint32_t) number;
    return 0;
}

int
place_flag(const struct place *place, const json_t *object, const char *name,
           bool *out)
{
    const json_t *json = json_object_get(object, name);
    if (json != NULL && !json_is_boolean(json))
        return place_refuse(place, ERR_INVALID, "\"%s\" must be true or false",
                            name);
    *out = json_is_true(json);
    return 0;
}

int
place_name(const struct place *place, const json_t *object, const char *name,
           const char *const *names, unsigned *out)
{
    const json_t *json = json_object_get(object, name);
    if (json == NULL || name_find(json, names, out))
        return 0;
    return place_refuse(place, ERR_INVALID,
                        "\"%s\" is none of \"%s\", \"%s\" ...", name, names[0],
                        names[1]);
}

int
place_names(const struct place *place, const json_t *object, const char *name,
            const char *const *names, unsigned *out)
{
    const json_t *list = json_object_get(object, name), *one;
    size_t i;
    *out = list == NULL ? UINT32_MAX : 0;
    json_array_foreach(list, i, one)
    {
        unsigned bit;
        if (!name_find(one, names, &bit))
            return place_refuse(place, ERR_INVALID,
                                "\"%s\"[%zu] is none of \"%s\", \"%s\" ...",
                                name, i, names[0], names[1]);
        *out |= 1u << bit;
    }
    return *out == 0
               ? place_refuse(place, ERR_INVALID, "\"%s\" must be a list", name)
               : 0;
}

void
place_path(const struct place *place, const char *name,
           char out[PLACE_PATH_SIZE])
{
    const char *slash = strrchr(place->path, '/');
    const int len =
        slash == NULL || name[0] == '/' ? 0 : (int) (slash - place->path) + 1;
    snprintf(out, PLACE_PATH_SIZE, "%.*s%s", len, place->path, name);
}

int
place_secret(const struct place *place, const char *name,
             uint8_t out[KEY_LEN_MAX / 2], size_t *size)
{
    char path[PLACE_PATH_SIZE], text[KEY_SIZE];
    place_path(place, name, path);
    int err = key_file_owner_check(path);
    if (err == 0)
        err = key_file_read(path, text);
    if (err != 0)
        return place_refuse(place, err, "its \"secret_file\" cannot be used");
    if (OPENSSL_hexstr2buf_ex(out, KEY_LEN_MAX / 2, size, text, '\0') != 1)
        *size = 0;
    explicit_bzero(text, sizeof text);
    return *size < JWT_SECRET_SIZE_MIN ? place_refuse(
               place, ERR_INVALID, "%s must hold 64 hex digits or more", path)
                                       : 0;
}

int
place_url(const struct place *place, const json_t *object, const char *name,
          const char **out)
{
    const json_t *json = json_object_get(object, name);
    const char *url = json_string_value(json);
    if (json == NULL)
        return 0;
    if (url == NULL || !http_url_is_private(url))
        return place_refuse(
            place, ERR_INVALID,
            "\"%s\" must be https://, or http:// of this machine", name);
    *out = strdup(url);
    return *out == NULL ? ERR_MEMORY : 0;
}
