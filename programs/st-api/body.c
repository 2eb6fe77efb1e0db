/* SPDX-License-Identifier: Apache-2.0 */
/* Strict readers of JSON bodies, driven by a table of fields each. */

#include "programs/st-api/body.h"

#include "core/err.h"

#include <jansson.h>
#include <stdio.h>

enum field_type {
    FIELD_ID,      /* as content_id_is_valid */
    FIELD_TEXT,    /* without control characters */
    FIELD_INTEGER, /* from 1 */
    FIELD_BOOLEAN,
    FIELD_ADDRESS, /* IPv4 or IPv6, as text */
};

struct field {
    const char *name;
    enum field_type type;
    bool required;
    size_t offset;
    uint64_t max; /* bytes of a text, value of an integer */
};

static const struct field playback_fields[] = {
    {"content", FIELD_ID, true, offsetof(struct body_playback, content),
     CONTENT_ID_LEN_MAX},
    {"viewer", FIELD_TEXT, false, offsetof(struct body_playback, viewer),
     BODY_VIEWER_LEN_MAX},
    {"steering", FIELD_BOOLEAN, false, offsetof(struct body_playback, steering),
     0},
    {"trick_play", FIELD_BOOLEAN, false,
     offsetof(struct body_playback, trick_play), 0},
    {"address", FIELD_ADDRESS, false, offsetof(struct body_playback, address),
     BODY_ADDRESS_LEN_MAX},
};

static const struct field content_fields[] = {
    {"title", FIELD_TEXT, true, offsetof(struct body_content, title),
     CATALOGUE_TITLE_LEN_MAX},
    {"version", FIELD_ID, true, offsetof(struct body_content, version),
     CONTENT_ID_LEN_MAX},
    {"duration_ms", FIELD_INTEGER, true,
     offsetof(struct body_content, duration_ms), CATALOGUE_DURATION_MAX_MS},
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
boolean_read(const struct field *field, const json_t *value, bool *out,
             char *message)
{
    if (!json_is_boolean(value)) {
        snprintf(message, BODY_MESSAGE_SIZE,
                 "field \"%s\" must be true or false", field->name);
        return ERR_INVALID;
    }
    *out = json_is_true(value);
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
        return boolean_read(field, value, (bool *) (out + field->offset),
                            message);
    case FIELD_ADDRESS:
        return address_read(field, value,
                            (struct network *) (out + field->offset), message);
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
    if (!json_is_object(object)) {
        snprintf(message, BODY_MESSAGE_SIZE, "the body must be a JSON object");
        return ERR_INVALID;
    }
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
    int err = object_read(root, fields, count, out, message);
    json_decref(root);
    return err;
}

#define COUNT(a) (sizeof(a) / sizeof *(a))

int
body_playback_parse(struct bytes body, struct body_playback *out,
                    char message[BODY_MESSAGE_SIZE])
{
    struct body_playback read = {0};
    int err = body_read(body, playback_fields, COUNT(playback_fields), &read,
                        message);
    if (err == 0)
        *out = read;
    return err;
}

int
body_content_parse(struct bytes body, struct body_content *out,
                   char message[BODY_MESSAGE_SIZE])
{
    struct body_content read = {0};
    int err =
        body_read(body, content_fields, COUNT(content_fields), &read, message);
    if (err == 0)
        *out = read;
    return err;
}
