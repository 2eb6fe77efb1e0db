/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/mlic/callback_answer.h"

#include "core/err.h"
#include "platform/jwt.h"
#include "programs/mlic/names.h"

#include <strings.h>

static bool
allow_read(const json_t *json, struct callback_answer *out)
{
    out->allows = json_is_true(json);
    return json_is_boolean(json);
}

static bool
reason_read(const json_t *json, struct callback_answer *out)
{
    return json_string_length(json) == 0
               ? json_is_string(json)
               : jwt_text_take(json, out->reason, sizeof out->reason);
}

static bool
classes_read(const json_t *list, struct callback_answer *out)
{
    const json_t *one;
    size_t i;
    out->classes = 0;
    json_array_foreach(list, i, one)
    {
        unsigned class;
        if (!name_find(one, class_names, &class))
            return false;
        out->classes |= 1u << class;
    }
    return json_is_array(list);
}

static bool
seconds_read(const json_t *json, json_int_t min, uint32_t *out)
{
    const json_int_t seconds = json_integer_value(json);
    *out = (uint32_t) seconds;
    return json_is_integer(json) && seconds >= min && seconds < UINT32_MAX;
}

static bool
license_read(const json_t *json, struct callback_answer *out)
{
    return seconds_read(json, 1, &out->license_s);
}

static bool
playback_read(const json_t *json, struct callback_answer *out)
{
    return seconds_read(json, 1, &out->playback_s);
}

static bool
age_read(const json_t *json, struct callback_answer *out)
{
    return seconds_read(json, 0, &out->max_age_s);
}

static const struct part {
    const char *name;
    bool (*read)(const json_t *json, struct callback_answer *out);
    const char *reason;
} parts[] = {
    {"allow", allow_read, "its \"allow\" is neither true nor false"},
    {"reason", reason_read, "its \"reason\" is no text of up to 128 bytes"},
    {"classes", classes_read, "its \"classes\" are no list of classes"},
    {"license_s", license_read, "its \"license_s\" is no number of seconds"},
    {"playback_s", playback_read, "its \"playback_s\" is no number of seconds"},
    {"max_age", age_read, "its \"max_age\" is no number of seconds"},
};

static int
object_read(const json_t *json, struct callback_answer *out,
            const char **reason)
{
    size_t known = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const json_t *value = json_object_get(json, parts[i].name);
        *reason = parts[i].reason;
        if (value != NULL ? !parts[i].read(value, out) : i == 0)
            return ERR_INVALID;
        known += value != NULL;
    }
    *reason = "it has a part that is not understood";
    return known == json_object_size(json) ? 0 : ERR_INVALID;
}

int
callback_answer_read(struct bytes body, struct callback_answer *out,
                     const char **reason)
{
    struct callback_answer answer = {.classes = UINT32_MAX,
                                     .max_age_s = CALLBACK_AGE_UNKNOWN};
    json_t *json = json_loadb((const char *) body.ptr, body.len,
                              JSON_REJECT_DUPLICATES, NULL);
    *reason = "it is no JSON object";
    const int err =
        json_is_object(json) ? object_read(json, &answer, reason) : ERR_INVALID;
    json_decref(json);
    if (err == 0)
        *out = answer;
    return err;
}

/* The directive at `text`, of `len` characters; UNKNOWN: it says nothing of age.
 */
static uint32_t
directive_age(const char *text, size_t len)
{
    static const char max_age[] = "max-age=";
    static const char *const never[] = {"no-store", "no-cache"};
    const size_t skip = sizeof max_age - 1;
    uint64_t seconds;
    for (size_t i = 0; i < 2; i++)
        if (len >= 8 && strncasecmp(text, never[i], 8) == 0)
            return 0;
    if (len < skip || strncasecmp(text, max_age, skip) != 0)
        return CALLBACK_AGE_UNKNOWN;
    if (!bytes_number(bytes_of(text + skip, len - skip), &seconds))
        return 0;
    return seconds < CALLBACK_AGE_UNKNOWN ? (uint32_t) seconds
                                          : CALLBACK_AGE_UNKNOWN - 1;
}

uint32_t
callback_age_read(const char *header)
{
    uint32_t least = CALLBACK_AGE_UNKNOWN;
    for (const char *at = header; at != NULL && *at != '\0';) {
        at += strspn(at, ", \t");
        const size_t len = strcspn(at, ", \t");
        const uint32_t age = directive_age(at, len);
        if (age < least)
            least = age;
        at += len;
    }
    return least;
}
