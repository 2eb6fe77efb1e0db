/* SPDX-License-Identifier: Apache-2.0 */
/* Overrides to and from JSON, see programs/manager/override_json.h. */

#include "programs/manager/override_json.h"

#include "core/err.h"

#include <math.h>
#include <stdio.h>

static const char *const target_names[] = {"content", "node", "cdn"};

struct reader {
    uint64_t now_ms; /* 0: of a file */
    struct override out;
    bool has_target, has_until;
    char *message;
};

static int
refuse(struct reader *r, const char *key, const char *expected)
{
    snprintf(r->message, OVERRIDE_MESSAGE_SIZE, "\"%.32s\": expected %s", key,
             expected);
    return ERR_INVALID;
}

static int
read_target(struct reader *r, const char *key, const json_t *value)
{
    const char *text = json_string_value(value);
    for (size_t i = 0; text != NULL && i < 3; i++) {
        if (strcmp(text, target_names[i]) != 0)
            continue;
        r->out.target = (enum override_target) i;
        r->has_target = true;
        return 0;
    }
    return refuse(r, key, "content, node or cdn");
}

static int
read_name(struct reader *r, const char *key, const json_t *value)
{
    const char *text = json_string_value(value);
    if (text == NULL || json_string_length(value) >= sizeof r->out.name
        || strlen(text) != json_string_length(value))
        return refuse(r, key, "the name of a content or node");
    memset(r->out.name, 0, sizeof r->out.name);
    memcpy(r->out.name, text, strlen(text));
    return 0;
}

/* Seconds as ms, from 1 s to the most there may be. */
static int
read_time(struct reader *r, const char *key, const json_t *value)
{
    const bool is_for = strcmp(key, "for_s") == 0;
    const uint64_t most_ms = (uint64_t) OVERRIDE_DAYS_MAX * 86400 * 1000;
    const json_int_t s = json_integer_value(value);
    if (r->has_until)
        return refuse(r, key, "either for_s or until, once");
    if (!json_is_integer(value) || s < 1 || s > (json_int_t) 1 << 40)
        return refuse(r, key, "a whole number of seconds");
    r->out.until_ms = (uint64_t) s * 1000 + (is_for ? r->now_ms : 0);
    if (r->now_ms != 0
        && (r->out.until_ms <= r->now_ms
            || r->out.until_ms - r->now_ms > most_ms))
        return refuse(r, key, "a time to come, 366 days from now at most");
    r->has_until = true;
    return 0;
}

static int
read_level(struct reader *r, const char *key, const json_t *value)
{
    const char *text = json_string_value(value);
    for (int level = LEVEL_CALM; text != NULL && level <= LEVEL_CRITICAL;
         level++) {
        if (strcmp(text, level_name((enum level) level)) != 0)
            continue;
        r->out.level = (enum level) level;
        r->out.is_pinned = true;
        return 0;
    }
    return refuse(r, key, "calm, normal, hot or critical");
}

static int
read_owner_count(struct reader *r, const char *key, const json_t *value)
{
    const json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 1 || n > PLACEMENT_NODES_MAX)
        return refuse(r, key, "a number of nodes");
    r->out.owner_count = (uint32_t) n;
    return 0;
}

static int
read_cdn(struct reader *r, const char *key, const json_t *value)
{
    if (!json_is_false(value))
        return refuse(r, key, "false");
    r->out.is_cdn_forbidden = true;
    return 0;
}

static int
read_budget(struct reader *r, const char *key, const json_t *value)
{
    const bool is_share = strcmp(key, "budget_share") == 0;
    const double n = json_number_value(value);
    if (!json_is_number(value) || !isfinite(n) || n < 0 || (is_share && n > 1)
        || (!is_share && n <= 0))
        return refuse(r, key,
                      is_share ? "0 to 1, of the sum of demand"
                               : "plays/s, above 0");
    if (!r->out.has_budget)
        r->out.budget_share = 1;
    r->out.has_budget = true;
    *(is_share ? &r->out.budget_share : &r->out.budget_plays) = n;
    return 0;
}

static const struct field {
    const char *name;
    bool of_file, of_request;
    int (*read)(struct reader *r, const char *key, const json_t *value);
} fields[] = {
    {"target", true, false, read_target},
    {"name", true, false, read_name},
    {"until", true, true, read_time},
    {"for_s", false, true, read_time},
    {"level", true, true, read_level},
    {"owner_count", true, true, read_owner_count},
    {"cdn", true, true, read_cdn},
    {"budget_share", true, true, read_budget},
    {"budget_plays", true, true, read_budget},
};

static int
read_field(struct reader *r, const char *key, const json_t *value)
{
    const bool is_file = r->now_ms == 0;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if ((is_file ? fields[i].of_file : fields[i].of_request)
            && strcmp(key, fields[i].name) == 0)
            return fields[i].read(r, key, value);
    }
    return refuse(r, key, "no such field");
}

static int
read_object(struct reader *r, json_t *object)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object)) {
        snprintf(r->message, OVERRIDE_MESSAGE_SIZE, "expected a JSON object");
        return ERR_INVALID;
    }
    json_object_foreach(object, key, value)
    {
        const int err = read_field(r, key, value);
        if (err != 0)
            return err;
    }
    if (r->now_ms == 0 && !r->has_target)
        return refuse(r, "target", "content, node or cdn");
    if (!r->has_until)
        return refuse(r, "until", "when it ends (or for_s)");
    if (!override_is_valid(&r->out)) {
        snprintf(r->message, OVERRIDE_MESSAGE_SIZE,
                 "expected of a content a level (normal with an owner_count) "
                 "or cdn false, of the CDN cdn false or a budget, of a node "
                 "nothing more, and valid names");
        return ERR_INVALID;
    }
    return 0;
}

/* json_loadb with the reason in the message. */
static json_t *
load(struct bytes text, char *message)
{
    json_error_t error;
    json_t *json = json_loadb((const char *) text.ptr, text.len,
                              JSON_REJECT_DUPLICATES, &error);
    if (json == NULL)
        snprintf(message, OVERRIDE_MESSAGE_SIZE, "expected JSON (%.150s)",
                 error.text);
    return json;
}

json_t *
override_object(const struct override *o)
{
    json_t *object = json_pack("{s:s, s:I}", "target", target_names[o->target],
                               "until", (json_int_t) (o->until_ms / 1000));
    if (o->name[0] != '\0')
        json_object_set_new(object, "name", json_string(o->name));
    if (o->is_pinned)
        json_object_set_new(object, "level", json_string(level_name(o->level)));
    if (o->owner_count > 0)
        json_object_set_new(object, "owner_count",
                            json_integer(o->owner_count));
    if (o->is_cdn_forbidden)
        json_object_set_new(object, "cdn", json_false());
    if (o->has_budget)
        json_object_set_new(object, "budget_share", json_real(o->budget_share));
    if (o->budget_plays > 0)
        json_object_set_new(object, "budget_plays", json_real(o->budget_plays));
    return object;
}

json_t *
override_array(const struct override *list, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, override_object(&list[i]));
    return array;
}

int
override_parse(struct bytes body, uint64_t now_ms, struct override *out,
               char message[OVERRIDE_MESSAGE_SIZE])
{
    struct reader r = {.now_ms = now_ms, .message = message};
    json_t *object = load(body, message);
    if (object == NULL)
        return ERR_INVALID;
    r.out.target = out->target;
    memcpy(r.out.name, out->name, sizeof r.out.name);
    const int err = read_object(&r, object);
    json_decref(object);
    if (err == 0)
        *out = r.out;
    return err;
}

int
override_array_parse(struct bytes text, struct override *list, size_t *count,
                     char message[OVERRIDE_MESSAGE_SIZE])
{
    size_t i, found = 0;
    json_t *object, *array = load(text, message);
    int err = 0;
    if (!json_is_array(array)) {
        if (array != NULL)
            snprintf(message, OVERRIDE_MESSAGE_SIZE, "expected a JSON array");
        json_decref(array);
        return ERR_INVALID;
    }
    json_array_foreach(array, i, object)
    {
        struct reader r = {.message = message};
        if ((err = read_object(&r, object)) != 0)
            break;
        if ((err = override_put(list, &found, &r.out)) != 0) {
            snprintf(message, OVERRIDE_MESSAGE_SIZE,
                     "expected %d overrides at most", OVERRIDES_MAX);
            break;
        }
    }
    json_decref(array);
    if (err == 0)
        *count = found;
    return err;
}
