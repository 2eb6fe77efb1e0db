/* SPDX-License-Identifier: Apache-2.0 */
/* Strict readers of JSON bodies, driven by a table of fields each. */

#include "programs/st-api/body.h"

#include "core/err.h"
#include "platform/http.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum field_type {
    FIELD_ID,      /* as content_id_is_valid */
    FIELD_TEXT,    /* without control characters */
    FIELD_INTEGER, /* from 1 */
    FIELD_BOOLEAN,
    FIELD_ADDRESS, /* IPv4 or IPv6, as text */
    FIELD_NAME,    /* of an enum; `max` is its place in choices[] */
    FIELD_OBJECT,  /* as it is, for somebody else to read */
    FIELD_REGION,  /* two capital letters */
    FIELD_LIST,    /* of objects; `max` is its place in lists[] */
};

enum {
    NAMES_KIND,
    NAMES_DEVICE,
    NAMES_RULE_DEFAULT,
    NAMES_SCHEME,
    NAMES_QUALITY,
};

struct field {
    const char *name;
    enum field_type type;
    bool required;
    size_t offset;
    uint64_t max; /* bytes of a text, value of an integer */
};

struct list {
    const struct field *fields; /* of an item */
    size_t field_count, item_size;
    size_t count_offset; /* of an unsigned, beside the list */
    unsigned min, max;
    bool has_names; /* the first field is a text that only one item has */
};

static const struct field playback_fields[] = {
    {"content", FIELD_ID, true, offsetof(struct body_playback, content),
     CONTENT_ID_LEN_MAX},
    {"viewer", FIELD_TEXT, false, offsetof(struct body_playback, viewer),
     BODY_VIEWER_LEN_MAX},
    {"service", FIELD_ID, false, offsetof(struct body_playback, service),
     CONTENT_ID_LEN_MAX},
    {"region", FIELD_REGION, false, offsetof(struct body_playback, region),
     CATALOGUE_REGION_LEN},
    {"steering", FIELD_BOOLEAN, false, offsetof(struct body_playback, steering),
     0},
    {"trick_play", FIELD_BOOLEAN, false,
     offsetof(struct body_playback, trick_play), 0},
    {"device", FIELD_NAME, false, offsetof(struct body_playback, device),
     NAMES_DEVICE},
    {"scheme", FIELD_NAME, false, offsetof(struct body_playback, terms.scheme),
     NAMES_SCHEME},
    {"quality", FIELD_NAME, false,
     offsetof(struct body_playback, terms.quality), NAMES_QUALITY},
    {"single_use", FIELD_BOOLEAN, false,
     offsetof(struct body_playback, terms.is_single_use), 0},
    {"key_uris", FIELD_BOOLEAN, false,
     offsetof(struct body_playback, terms.has_key_uris), 0},
    {"plays", FIELD_INTEGER, false, offsetof(struct body_playback, terms.plays),
     PLAYS_MAX},
    {"address", FIELD_ADDRESS, false, offsetof(struct body_playback, address),
     BODY_ADDRESS_LEN_MAX},
};

/* All else is the play's own. */
static const struct field renewal_fields[] = {
    {"viewer", FIELD_TEXT, false, offsetof(struct body_playback, viewer),
     BODY_VIEWER_LEN_MAX},
    {"address", FIELD_ADDRESS, false, offsetof(struct body_playback, address),
     BODY_ADDRESS_LEN_MAX},
};

static const struct field track_fields[] = {
    {"name", FIELD_ID, true, offsetof(struct catalogue_track, name),
     CONTENT_ID_LEN_MAX},
    {"kind", FIELD_NAME, true, offsetof(struct catalogue_track, kind),
     NAMES_KIND},
    {"codecs", FIELD_TEXT, false, offsetof(struct catalogue_track, codecs),
     CATALOGUE_CODECS_LEN_MAX},
    {"language", FIELD_TEXT, false, offsetof(struct catalogue_track, language),
     CATALOGUE_LANGUAGE_LEN_MAX},
    {"label", FIELD_TEXT, false, offsetof(struct catalogue_track, label),
     CATALOGUE_TITLE_LEN_MAX},
    {"width", FIELD_INTEGER, false, offsetof(struct catalogue_track, width),
     65535},
    {"height", FIELD_INTEGER, false, offsetof(struct catalogue_track, height),
     65535},
    {"bandwidth", FIELD_INTEGER, false,
     offsetof(struct catalogue_track, bandwidth), 100000000000},
    {"channels", FIELD_INTEGER, false,
     offsetof(struct catalogue_track, channels), 64},
};

#define UNIX_S_MAX 253402300799 /* the last second of the year 9999 */

static const struct field window_fields[] = {
    {"starts", FIELD_INTEGER, false,
     offsetof(struct catalogue_window, starts_s), UNIX_S_MAX},
    {"ends", FIELD_INTEGER, false, offsetof(struct catalogue_window, ends_s),
     UNIX_S_MAX},
    {"region", FIELD_REGION, false, offsetof(struct catalogue_window, region),
     CATALOGUE_REGION_LEN},
    {"service", FIELD_ID, false, offsetof(struct catalogue_window, service),
     CONTENT_ID_LEN_MAX},
};

static const struct field campaign_content_fields[] = {
    {"id", FIELD_ID, true, 0, CONTENT_ID_LEN_MAX},
};

enum { LIST_TRACKS, LIST_WINDOWS, LIST_CAMPAIGN_CONTENTS };

static const struct list lists[] = {
    [LIST_TRACKS] = {track_fields, COUNT(track_fields),
                     sizeof(struct catalogue_track),
                     offsetof(struct body_content, track_count), 1,
                     CATALOGUE_TRACKS_MAX, true},
    [LIST_WINDOWS] = {window_fields, COUNT(window_fields),
                      sizeof(struct catalogue_window),
                      offsetof(struct body_content, window_count), 0,
                      CATALOGUE_WINDOWS_MAX, false},
    [LIST_CAMPAIGN_CONTENTS] = {campaign_content_fields,
                                COUNT(campaign_content_fields),
                                CONTENT_ID_LEN_MAX + 1,
                                offsetof(struct catalogue_campaign,
                                         content_count),
                                0, CATALOGUE_CAMPAIGN_MAX, true},
};

static const struct field content_fields[] = {
    {"title", FIELD_TEXT, true, offsetof(struct body_content, title),
     CATALOGUE_TITLE_LEN_MAX},
    {"version", FIELD_ID, true, offsetof(struct body_content, version),
     CONTENT_ID_LEN_MAX},
    {"duration_ms", FIELD_INTEGER, true,
     offsetof(struct body_content, duration_ms), CATALOGUE_DURATION_MAX_MS},
    {"tracks", FIELD_LIST, false, offsetof(struct body_content, tracks),
     LIST_TRACKS},
    {"windows", FIELD_LIST, false, offsetof(struct body_content, windows),
     LIST_WINDOWS},
    {"protected", FIELD_BOOLEAN, false,
     offsetof(struct body_content, protection), 0},
};

static const struct field service_fields[] = {
    {"name", FIELD_TEXT, true, offsetof(struct body_service, name),
     CATALOGUE_TITLE_LEN_MAX},
    {"rate_per_s", FIELD_INTEGER, false,
     offsetof(struct body_service, rate_per_s), CATALOGUE_RATE_MAX},
    {"burst", FIELD_INTEGER, false, offsetof(struct body_service, burst),
     CATALOGUE_RATE_MAX},
    {"rule_url", FIELD_TEXT, false, offsetof(struct body_service, rule_url),
     CATALOGUE_URL_LEN_MAX},
    {"rule_timeout_ms", FIELD_INTEGER, false,
     offsetof(struct body_service, rule_timeout_ms), RULE_TIMEOUT_MAX_MS},
    {"rule_ttl_s", FIELD_INTEGER, false,
     offsetof(struct body_service, rule_ttl_s), RULE_TTL_MAX_S},
    {"rule_default", FIELD_NAME, false,
     offsetof(struct body_service, rule_default), NAMES_RULE_DEFAULT},
};

static const struct field key_fields[] = {
    {"expires", FIELD_INTEGER, false, offsetof(struct body_key, expires_s),
     UNIX_S_MAX},
    {"jwk", FIELD_OBJECT, false, offsetof(struct body_key, jwk),
     CATALOGUE_JWK_LEN_MAX},
};

/* A name from outside inside a message: short, and cut between characters. */
static int
shown_len(const char *name)
{
    size_t len = strlen(name);
    if (len <= 64)
        return (int) len;
    for (len = 64; len > 0 && ((uint8_t) name[len] & 0xc0) == 0x80; len--)
        ;
    return (int) len;
}

static bool
text_is_plain(const char *text)
{
    for (; *text != '\0'; text++)
        if ((uint8_t) *text < 0x20 || *text == 0x7f)
            return false;
    return true;
}

static int
text_read(const struct field *field, const json_t *value, char *out,
          char *message)
{
    const char *text = json_string_value(value);
    if (text == NULL) {
        snprintf(message, BODY_MESSAGE_SIZE, "field \"%s\" must be a string",
                 field->name);
        return ERR_INVALID;
    }
    size_t len = json_string_length(value);
    if (field->type == FIELD_ID && !content_id_is_valid(bytes_of(text, len))) {
        snprintf(message, BODY_MESSAGE_SIZE,
                 "field \"%s\" must be 1 to %d of A-Z a-z 0-9 . _ - and not "
                 "start with a dot",
                 field->name, CONTENT_ID_LEN_MAX);
        return ERR_INVALID;
    }
    if (len == 0 || len > field->max || !text_is_plain(text)) {
        snprintf(message, BODY_MESSAGE_SIZE,
                 "field \"%s\" must be 1 to %u bytes without control "
                 "characters",
                 field->name, (unsigned) field->max);
        return ERR_INVALID;
    }
    memcpy(out, text, len + 1);
    return 0;
}

static int
integer_read(const struct field *field, const json_t *value, uint64_t *out,
             char *message)
{
    json_int_t n = json_integer_value(value); /* 0 for another type */
    if (n < 1 || (uint64_t) n > field->max) {
        snprintf(message, BODY_MESSAGE_SIZE,
                 "field \"%s\" must be an integer from 1 to %llu", field->name,
                 (unsigned long long) field->max);
        return ERR_INVALID;
    }
    *out = (uint64_t) n;
    return 0;
}

static int
boolean_read(const struct field *field, const json_t *value, uint8_t *out,
             char *message)
{
    const bool is_true = json_is_true(value);
    if (!json_is_boolean(value)) {
        snprintf(message, BODY_MESSAGE_SIZE,
                 "field \"%s\" must be true or false", field->name);
        return ERR_INVALID;
    }
    memcpy(out, &is_true, sizeof is_true);
    return 0;
}

#define NAME_OF(symbol, name, ...) name,
static const char *const kind_names[] = {CATALOGUE_TRACK_KINDS(NAME_OF)};
static const char *const device_names[] = {DEVICES(NAME_OF)};
static const char *const rule_default_names[] = {RULE_DEFAULTS(NAME_OF)};
static const char *const scheme_names[] = {PLAY_SCHEMES(NAME_OF)};
static const char *const quality_names[] = {QUALITIES(NAME_OF)};
#undef NAME_OF

static const struct {
    const char *const *names; /* in the enum's order */
    unsigned count;
    unsigned first; /* value; those below are not told */
} choices[] = {
    [NAMES_KIND] = {kind_names, COUNT(kind_names), 0},
    [NAMES_DEVICE] = {device_names, COUNT(device_names), 0},
    [NAMES_RULE_DEFAULT] = {rule_default_names, COUNT(rule_default_names), 0},
    [NAMES_SCHEME] = {scheme_names, COUNT(scheme_names), 1},
    [NAMES_QUALITY] = {quality_names, COUNT(quality_names), 1},
};

_Static_assert(sizeof(enum catalogue_track_kind) == sizeof(unsigned)
                   && sizeof(enum device) == sizeof(unsigned)
                   && sizeof(enum rule_default) == sizeof(unsigned)
                   && sizeof(enum play_scheme) == sizeof(unsigned)
                   && sizeof(enum quality) == sizeof(unsigned),
               "name_read writes them all");

static int
name_read(const struct field *field, const json_t *value, uint8_t *out,
          char *message)
{
    const char *const *names = choices[field->max].names;
    const unsigned count = choices[field->max].count;
    const char *text = json_string_value(value);
    int len = snprintf(message, BODY_MESSAGE_SIZE, "field \"%s\" must be ",
                       field->name);
    for (unsigned i = 0; i < count; i++) {
        if (text != NULL && strcmp(text, names[i]) == 0) {
            const unsigned number = choices[field->max].first + i;
            memcpy(out, &number, sizeof number);
            return 0;
        }
        len += snprintf(message + len, BODY_MESSAGE_SIZE - (size_t) len, "%s%s",
                        i == 0           ? ""
                        : i + 1 == count ? " or "
                                         : ", ",
                        names[i]);
    }
    return ERR_INVALID;
}

static int
object_copy(const struct field *field, const json_t *value, char *out,
            char *message)
{
    size_t len = json_is_object(value)
                     ? json_dumpb(value, out, (size_t) field->max, JSON_COMPACT)
                     : 0;
    if (len == 0 || len > field->max) {
        snprintf(message, BODY_MESSAGE_SIZE,
                 "field \"%s\" must be an object of up to %u bytes",
                 field->name, (unsigned) field->max);
        return ERR_INVALID;
    }
    out[len] = '\0';
    return 0;
}

static int
region_read(const struct field *field, const json_t *value, char *out,
            char *message)
{
    const char *text = json_string_value(value);
    if (text == NULL || strlen(text) != CATALOGUE_REGION_LEN
        || strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != CATALOGUE_REGION_LEN) {
        snprintf(message, BODY_MESSAGE_SIZE,
                 "field \"%s\" must be two capital letters (ISO 3166-1), as "
                 "DE",
                 field->name);
        return ERR_INVALID;
    }
    memcpy(out, text, CATALOGUE_REGION_LEN + 1);
    return 0;
}

static int
address_read(const struct field *field, const json_t *value,
             struct network *out, char *message)
{
    const char *text = json_string_value(value);
    if (text == NULL || json_string_length(value) > field->max
        || network_parse(text, out) != 0) {
        snprintf(message, BODY_MESSAGE_SIZE,
                 "field \"%s\" must be an IPv4 or IPv6 address", field->name);
        return ERR_INVALID;
    }
    return 0;
}

static int list_read(const struct field *field, const json_t *value,
                     uint8_t *out, char *message);

static int
field_read(const struct field *field, const json_t *value, uint8_t *out,
           char *message)
{
    switch (field->type) {
    case FIELD_ID:
    case FIELD_TEXT:
        return text_read(field, value, (char *) (out + field->offset), message);
    case FIELD_INTEGER: {
        uint64_t n = 0;
        int err = integer_read(field, value, &n, message);
        if (err == 0)
            memcpy(out + field->offset, &n, sizeof n);
        return err;
    }
    case FIELD_BOOLEAN:
        return boolean_read(field, value, out + field->offset, message);
    case FIELD_ADDRESS:
        return address_read(field, value,
                            (struct network *) (out + field->offset), message);
    case FIELD_NAME:
        return name_read(field, value, out + field->offset, message);
    case FIELD_OBJECT:
        return object_copy(field, value, (char *) (out + field->offset),
                           message);
    case FIELD_REGION:
        return region_read(field, value, (char *) (out + field->offset),
                           message);
    case FIELD_LIST:
        return list_read(field, value, out, message);
    }
    return ERR_INVALID;
}

static const struct field *
field_find(const struct field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

static int
object_read(json_t *object, const struct field *fields, size_t count,
            uint8_t *out, char *message)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        const struct field *field = field_find(fields, count, name);
        if (field == NULL) {
            snprintf(message, BODY_MESSAGE_SIZE, "unknown field \"%.*s\"",
                     shown_len(name), name);
            return ERR_INVALID;
        }
        int err = field_read(field, value, out, message);
        if (err != 0)
            return err;
    }
    for (size_t i = 0; i < count; i++) {
        if (fields[i].required
            && json_object_get(object, fields[i].name) == NULL) {
            snprintf(message, BODY_MESSAGE_SIZE, "field \"%s\" is missing",
                     fields[i].name);
            return ERR_INVALID;
        }
    }
    return 0;
}

static int
item_read(const struct list *list, json_t *item, uint8_t *out, char *message)
{
    if (!json_is_object(item)) {
        snprintf(message, BODY_MESSAGE_SIZE, "it must be a JSON object");
        return ERR_INVALID;
    }
    return object_read(item, list->fields, list->field_count, out, message);
}

static bool
has_name(const struct list *list, const uint8_t *items, size_t count,
         const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp((const char *) items + i * list->item_size
                       + list->fields[0].offset,
                   name)
            == 0)
            return true;
    return false;
}

/* What is wrong in one of them is told with its place in the list. */
static int
list_read(const struct field *field, const json_t *value, uint8_t *out,
          char *message)
{
    const struct list *list = &lists[field->max];
    size_t count = json_array_size(value); /* 0 for another type */
    if (!json_is_array(value) || count < list->min || count > list->max) {
        snprintf(message, BODY_MESSAGE_SIZE,
                 "field \"%s\" must be a list of %u to %u objects", field->name,
                 list->min, list->max);
        return ERR_INVALID;
    }
    uint8_t *items = out + field->offset;
    for (size_t i = 0; i < count; i++) {
        uint8_t *item = items + i * list->item_size;
        const char *name = (const char *) item + list->fields[0].offset;
        char reason[BODY_MESSAGE_SIZE];
        int err = item_read(list, json_array_get(value, i), item, reason);
        if (err == 0 && list->has_names && has_name(list, items, i, name)) {
            snprintf(reason, sizeof reason, "\"%s\" is there already", name);
            err = ERR_INVALID;
        }
        if (err != 0) {
            snprintf(message, BODY_MESSAGE_SIZE, "%s[%zu]: %.200s", field->name,
                     i, reason);
            return err;
        }
    }
    unsigned n = (unsigned) count;
    memcpy(out + list->count_offset, &n, sizeof n);
    return 0;
}

static int
body_read(struct bytes body, const struct field *fields, size_t count,
          void *out, char *message)
{
    if (body.len == 0) {
        snprintf(message, BODY_MESSAGE_SIZE,
                 "the body is empty: expected a JSON object");
        return ERR_INVALID;
    }
    json_error_t error;
    json_t *root = json_loadb((const char *) body.ptr, body.len,
                              JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        /* The parser's own text may quote what was sent: not shown. */
        bool is_double = json_error_code(&error) == json_error_duplicate_key;
        snprintf(message, BODY_MESSAGE_SIZE, "%s at line %d, column %d",
                 is_double ? "a field is given twice" : "bad JSON", error.line,
                 error.column);
        return ERR_INVALID;
    }
    int err = ERR_INVALID;
    if (!json_is_object(root))
        snprintf(message, BODY_MESSAGE_SIZE, "the body must be a JSON object");
    else
        err = object_read(root, fields, count, out, message);
    json_decref(root);
    return err;
}

static int
playback_parse(struct bytes body, const struct field *fields, size_t count,
               struct body_playback *out, char message[BODY_MESSAGE_SIZE])
{
    struct body_playback read = {0};
    int err = body_read(body, fields, count, &read, message);
    if (err == 0)
        *out = read;
    return err;
}

int
body_playback_parse(struct bytes body, struct body_playback *out,
                    char message[BODY_MESSAGE_SIZE])
{
    return playback_parse(body, playback_fields, COUNT(playback_fields), out,
                          message);
}

int
body_renewal_parse(struct bytes body, struct body_playback *out,
                   char message[BODY_MESSAGE_SIZE])
{
    return playback_parse(body, renewal_fields, COUNT(renewal_fields), out,
                          message);
}

static int
window_check(const struct catalogue_window *window, unsigned i,
             char message[BODY_MESSAGE_SIZE])
{
    if (window->ends_s == 0 || window->ends_s > window->starts_s)
        return 0;
    snprintf(message, BODY_MESSAGE_SIZE,
             "windows[%u]: it ends before it starts", i);
    return ERR_INVALID;
}

int
body_content_parse(struct bytes body, struct body_content *out,
                   char message[BODY_MESSAGE_SIZE])
{
    struct body_content *read = calloc(1, sizeof *read); /* large */
    if (read == NULL) {
        snprintf(message, BODY_MESSAGE_SIZE, "out of memory");
        return ERR_MEMORY;
    }
    read->window_count = UINT_MAX; /* not told */
    read->protection = -1;
    int err =
        body_read(body, content_fields, COUNT(content_fields), read, message);
    read->has_windows = read->window_count != UINT_MAX;
    if (!read->has_windows)
        read->window_count = 0;
    for (unsigned i = 0; i < read->window_count && err == 0; i++)
        err = window_check(&read->windows[i], i, message);
    if (err == 0)
        *out = *read;
    free(read);
    return err;
}

static const struct field campaign_fields[] = {
    {"name", FIELD_TEXT, true, offsetof(struct catalogue_campaign, name),
     CATALOGUE_TITLE_LEN_MAX},
    {"starts", FIELD_INTEGER, true,
     offsetof(struct catalogue_campaign, window.starts_s), UNIX_S_MAX},
    {"ends", FIELD_INTEGER, true,
     offsetof(struct catalogue_campaign, window.ends_s), UNIX_S_MAX},
    {"region", FIELD_REGION, false,
     offsetof(struct catalogue_campaign, window.region), CATALOGUE_REGION_LEN},
    {"service", FIELD_ID, false,
     offsetof(struct catalogue_campaign, window.service), CONTENT_ID_LEN_MAX},
    {"contents", FIELD_LIST, true,
     offsetof(struct catalogue_campaign, contents), LIST_CAMPAIGN_CONTENTS},
};

int
body_campaign_parse(struct bytes body, struct catalogue_campaign *out,
                    char message[BODY_MESSAGE_SIZE])
{
    struct catalogue_campaign *read = calloc(1, sizeof *read); /* large */
    if (read == NULL) {
        snprintf(message, BODY_MESSAGE_SIZE, "out of memory");
        return ERR_MEMORY;
    }
    int err =
        body_read(body, campaign_fields, COUNT(campaign_fields), read, message);
    if (err == 0 && read->window.ends_s <= read->window.starts_s) {
        snprintf(message, BODY_MESSAGE_SIZE, "it ends before it starts");
        err = ERR_INVALID;
    }
    if (err == 0)
        *out = *read;
    free(read);
    return err;
}

int
body_service_parse(struct bytes body, struct body_service *out,
                   char message[BODY_MESSAGE_SIZE])
{
    struct body_service read = {0};
    int err =
        body_read(body, service_fields, COUNT(service_fields), &read, message);
    if (err == 0 && read.burst > 0 && read.rate_per_s == 0) {
        snprintf(message, BODY_MESSAGE_SIZE,
                 "field \"burst\" means nothing without \"rate_per_s\"");
        err = ERR_INVALID;
    }
    if (err == 0 && read.rule_url[0] != '\0'
        && !http_url_is_valid_tls(read.rule_url)) {
        snprintf(message, BODY_MESSAGE_SIZE,
                 "field \"rule_url\" must be http(s)://HOST[:PORT][/PATH]");
        err = ERR_INVALID;
    }
    if (err == 0 && read.rule_url[0] == '\0'
        && (read.rule_timeout_ms > 0 || read.rule_ttl_s > 0
            || read.rule_default != RULE_DEFAULT_REFUSE)) {
        snprintf(message, BODY_MESSAGE_SIZE,
                 "a rule's fields mean nothing without \"rule_url\"");
        err = ERR_INVALID;
    }
    if (err == 0)
        *out = read;
    return err;
}

int
body_key_parse(struct bytes body, struct body_key *out,
               char message[BODY_MESSAGE_SIZE])
{
    struct body_key read = {0};
    int err = body_read(body, key_fields, COUNT(key_fields), &read, message);
    if (err == 0)
        *out = read;
    return err;
}
