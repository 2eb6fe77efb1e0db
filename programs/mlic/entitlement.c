/* SPDX-License-Identifier: Apache-2.0 */
/* Each claim by its row of a table; one that has none refuses. */

#include "programs/mlic/entitlement.h"

#include "core/err.h"
#include "platform/jwt.h"
#include "programs/mlic/names.h"

#define SECONDS_MAX (10u * 365 * 86400)
#define PLAYS_MAX 1000
#define ALL_CLASSES ((1u << CRYPT_CLASS_COUNT) - 1)

_Static_assert(sizeof(enum output_protection) == sizeof(unsigned)
                   && sizeof(enum security_level) == sizeof(unsigned),
               "levels_read writes them");

/* ---- values ---- */

static bool
id_read(const json_t *json, char out[CONTENT_ID_LEN_MAX + 1])
{
    return jwt_text_take(json, out, CONTENT_ID_LEN_MAX + 1)
           && content_id_is_valid(bytes_of_text(out));
}

static bool
number_read(const json_t *json, json_int_t max, uint32_t *out)
{
    const json_int_t number = json_integer_value(json);
    *out = (uint32_t) number;
    return json_is_integer(json) && number >= 1 && number <= max;
}

static bool
flag_read(const json_t *json, bool *out)
{
    *out = json_is_true(json);
    return json_is_boolean(json);
}

static bool
classes_read(const json_t *list, unsigned *out)
{
    const json_t *one;
    size_t i;
    *out = 0;
    json_array_foreach(list, i, one)
    {
        unsigned class;
        if (!name_find(one, class_names, &class))
            return false;
        *out |= 1u << class;
    }
    return *out != 0;
}

/* One name for all classes, or {"UHD":NAME}. */
static bool
levels_read(json_t *json, const char *const *names,
            unsigned out[CRYPT_CLASS_COUNT])
{
    bool is_told = json_is_object(json);
    if (json_is_string(json)) {
        unsigned level;
        is_told = name_find(json, names, &level);
        for (unsigned i = 0; is_told && i < CRYPT_CLASS_COUNT; i++)
            out[i] = level;
        return is_told;
    }
    size_t count = 0;
    for (unsigned i = 0; i < CRYPT_CLASS_COUNT; i++) {
        const json_t *value = json_object_get(json, class_names[i]);
        if (value == NULL)
            continue;
        count++;
        is_told = is_told && name_find(value, names, &out[i]);
    }
    return is_told && count == json_object_size(json);
}

/* ---- claims ---- */

static bool
content_read(json_t *json, struct entitlement *out)
{
    return id_read(json, out->content);
}

static bool
version_read(json_t *json, struct entitlement *out)
{
    return id_read(json, out->version);
}

static bool
viewer_read(json_t *json, struct entitlement *out)
{
    return jwt_text_take(json, out->viewer, sizeof out->viewer);
}

static bool
jti_read(json_t *json, struct entitlement *out)
{
    return jwt_text_take(json, out->id, sizeof out->id);
}

static bool
play_read(json_t *json, struct entitlement *out)
{
    return jwt_text_take(json, out->play, sizeof out->play);
}

static bool
allowed_read(json_t *json, struct entitlement *out)
{
    return classes_read(json, &out->classes);
}

static bool
license_read(json_t *json, struct entitlement *out)
{
    return number_read(json, SECONDS_MAX, &out->license_s);
}

static bool
playback_read(json_t *json, struct entitlement *out)
{
    return number_read(json, SECONDS_MAX, &out->playback_s);
}

static bool
persistent_read(json_t *json, struct entitlement *out)
{
    return flag_read(json, &out->is_persistent);
}

static bool
once_read(json_t *json, struct entitlement *out)
{
    return flag_read(json, &out->is_single_use);
}

static bool
output_read(json_t *json, struct entitlement *out)
{
    return levels_read(json, output_names, (unsigned *) out->output);
}

static bool
security_read(json_t *json, struct entitlement *out)
{
    return levels_read(json, security_names, (unsigned *) out->security);
}

static bool
plays_read(json_t *json, struct entitlement *out)
{
    return number_read(json, PLAYS_MAX, &out->plays);
}

static bool
network_read(json_t *json, struct entitlement *out)
{
    const char *text = json_string_value(json);
    return text != NULL
           && network_parse_prefix(bytes_of(text, json_string_length(json)),
                                   &out->network)
                  == 0;
}

static bool
expiry_read(json_t *json, struct entitlement *out)
{
    out->expires_s = (uint64_t) json_number_value(json); /* it was judged */
    return json_is_number(json);
}

static bool
judged(json_t *json, struct entitlement *out)
{
    return true;
}

static const struct claim {
    const char *name;
    bool (*read)(json_t *json, struct entitlement *out);
    const char *reason;
} claims[] = {
    {"iss", judged, NULL},
    {"aud", judged, NULL},
    {"nbf", judged, NULL},
    {"iat", judged, NULL},
    {"exp", expiry_read, "its exp is no number"},
    {"sub", viewer_read, "its sub is no text of 1 to 128 bytes"},
    {"jti", jti_read, "its jti is no text of 1 to 64 bytes"},
    {"content", content_read, "its content is no id of a content"},
    {"version", version_read, "its version is no id of a version"},
    {"classes", allowed_read,
     "its classes are no list of \"SD\", \"HD\", \"UHD\" and \"AUDIO\""},
    {"license_s", license_read, "its license_s is no number of seconds"},
    {"playback_s", playback_read, "its playback_s is no number of seconds"},
    {"persistent", persistent_read, "its persistent is neither true nor false"},
    {"output", output_read,
     "its output is none of \"none\", \"hdcp-1\" and \"hdcp-2.2\", nor such by "
     "class"},
    {"security", security_read,
     "its security is neither \"software\" nor \"hardware\", nor such by "
     "class"},
    {"plays", plays_read, "its plays is no number from 1 to 1000"},
    {"play", play_read, "its play is no text of 1 to 64 bytes"},
    {"network", network_read, "its network is none, as 192.0.2.0/24 is"},
    {"single_use", once_read, "its single_use is neither true nor false"},
};

static const struct claim *
claim_find(const char *name)
{
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++)
        if (strcmp(claims[i].name, name) == 0)
            return &claims[i];
    return NULL;
}

/* NULL: it is whole. */
static const char *
whole_reason(const struct entitlement *entitlement)
{
    if (entitlement->content[0] == '\0')
        return "it has no content";
    if (entitlement->is_single_use && entitlement->id[0] == '\0')
        return "it is good once, and has no jti";
    if (entitlement->plays > 0
        && (entitlement->viewer[0] == '\0' || entitlement->play[0] == '\0'))
        return "it limits plays, and has no sub or no play";
    return NULL;
}

int
entitlement_read(const json_t *json, struct entitlement *out,
                 const char **reason)
{
    const char *name;
    json_t *value;
    *out = (struct entitlement){.classes = ALL_CLASSES};
    json_object_foreach((json_t *) (uintptr_t) json, name, value)
    {
        const struct claim *claim = claim_find(name);
        *reason = claim == NULL ? "it has a claim that is not understood"
                                : claim->reason;
        if (claim == NULL || !claim->read(value, out))
            return ERR_INVALID;
    }
    *reason = whole_reason(out);
    return *reason == NULL ? 0 : ERR_INVALID;
}
