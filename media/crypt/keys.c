/* SPDX-License-Identifier: Apache-2.0 */
#include "media/crypt/keys.h"

#include "core/content.h"
#include "core/err.h"

#include <stdlib.h>

#define SD_LINES_MAX 576u
#define HD_LINES_MAX 1088u

#define CLASS_SD (1u << CRYPT_CLASS_SD)
#define CLASS_HD (1u << CRYPT_CLASS_HD)
#define CLASS_UHD (1u << CRYPT_CLASS_UHD)
#define CLASS_AUDIO (1u << CRYPT_CLASS_AUDIO)
#define PERIODS_ALL UINT32_MAX

struct crypt_key_line {
    struct bytes content; /* or "<content>/<version>"; empty: all */
    unsigned classes;
    uint32_t period; /* or PERIODS_ALL */
    struct crypt_key key;
};

static const struct {
    char name[6];
    unsigned classes;
} classes[] = {
    {"sd", CLASS_SD},
    {"hd", CLASS_HD},
    {"uhd", CLASS_UHD},
    {"video", CLASS_SD | CLASS_HD | CLASS_UHD},
    {"audio", CLASS_AUDIO},
    {"*", CLASS_SD | CLASS_HD | CLASS_UHD | CLASS_AUDIO},
};

static bool
is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Empty at the end of the line. */
static struct bytes
word_take(struct bytes *line)
{
    while (line->len > 0 && is_space(line->ptr[0]))
        *line = bytes_of(line->ptr + 1, line->len - 1);
    size_t len = 0;
    while (len < line->len && !is_space(line->ptr[len])
           && line->ptr[len] != '#')
        len++;
    const struct bytes word = bytes_of(line->ptr, len);
    *line = bytes_of(line->ptr + len, line->len - len);
    return word;
}

static bool
hex_parse(struct bytes text, uint8_t out[CRYPT_KEY_SIZE])
{
    if (text.len != 2 * CRYPT_KEY_SIZE)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.ptr[i];
        const uint8_t lower = c | 0x20;
        uint8_t digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (lower >= 'a' && lower <= 'f')
            digit = (uint8_t) (lower - 'a' + 10);
        else
            return false;
        out[i / 2] = (uint8_t) (out[i / 2] << 4 | digit);
    }
    return true;
}

/* What is in front of the sign, and what is behind. */
static struct bytes
part_split(struct bytes text, uint8_t sign, struct bytes *rest)
{
    const uint8_t *at = text.len > 0 ? memchr(text.ptr, sign, text.len) : NULL;
    *rest = bytes_of(NULL, 0);
    if (at == NULL)
        return text;
    const size_t len = (size_t) (at - text.ptr);
    *rest = bytes_of(at + 1, text.len - len - 1);
    return bytes_of(text.ptr, len);
}

static bool
content_parse(struct bytes text, struct bytes *out)
{
    struct bytes version;
    const struct bytes content = part_split(text, '/', &version);
    *out = text;
    if (bytes_equal(text, BYTES_LITERAL("*")))
        out->len = 0;
    else if (!content_id_is_valid(content)
             || (content.len != text.len && !content_id_is_valid(version)))
        return false;
    return true;
}

static bool
classes_parse(struct bytes text, struct crypt_key_line *out)
{
    struct bytes period;
    uint64_t number = PERIODS_ALL;
    const struct bytes name = part_split(text, ':', &period);
    if (name.len != text.len
        && (!bytes_number(period, &number) || number >= CRYPT_PERIODS_MAX))
        return false;
    out->period = (uint32_t) number;
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (bytes_equal(name, bytes_of_text(classes[i].name)))
            out->classes = classes[i].classes;
    return out->classes != 0;
}

/* content.len == 0 and ERR_OK: a line without a key. */
static int
line_parse(struct bytes text, struct crypt_key_line *out, bool *is_any)
{
    struct crypt_key_line line = {0};
    const struct bytes content = word_take(&text);
    *is_any = content.len > 0;
    if (!*is_any)
        return 0;
    if (!content_parse(content, &line.content)
        || !classes_parse(word_take(&text), &line)
        || !hex_parse(word_take(&text), line.key.kid)
        || !hex_parse(word_take(&text), line.key.key))
        return ERR_INVALID;
    const struct bytes iv = word_take(&text);
    memcpy(line.key.iv, line.key.kid, sizeof line.key.iv);
    if ((iv.len > 0 && !hex_parse(iv, line.key.iv)) || word_take(&text).len > 0)
        return ERR_INVALID;
    *out = line;
    return 0;
}

int
crypt_keys_parse(struct bytes text, struct crypt_keys *out, unsigned *line)
{
    struct crypt_keys keys = {0};
    int err = text.len > CRYPT_KEYS_SIZE_MAX ? ERR_LIMIT : 0;
    *line = 0;
    keys.lines = calloc(CRYPT_KEYS_MAX, sizeof *keys.lines);
    if (keys.lines == NULL)
        return ERR_MEMORY;
    while (text.len > 0 && err == 0) {
        const uint8_t *end = memchr(text.ptr, '\n', text.len);
        const size_t len = end == NULL ? text.len : (size_t) (end - text.ptr);
        struct crypt_key_line found;
        bool is_any;
        ++*line;
        err = line_parse(bytes_of(text.ptr, len), &found, &is_any);
        if (err == 0 && is_any && keys.count == CRYPT_KEYS_MAX)
            err = ERR_LIMIT;
        else if (err == 0 && is_any)
            keys.lines[keys.count++] = found;
        const size_t used = len + (end != NULL);
        text = bytes_of(text.ptr + used, text.len - used);
    }
    if (err != 0) {
        crypt_keys_fini(&keys);
        return err;
    }
    *out = keys;
    return 0;
}

void
crypt_keys_fini(struct crypt_keys *keys)
{
    if (keys->lines != NULL)
        explicit_bzero(keys->lines, keys->count * sizeof *keys->lines);
    free(keys->lines);
    *keys = (struct crypt_keys){0};
}

enum crypt_class
crypt_class_of(const struct track_info *track)
{
    const uint32_t lines =
        track->height < track->width ? track->height : track->width;
    return track->kind == TRACK_AUDIO ? CRYPT_CLASS_AUDIO
           : lines <= SD_LINES_MAX    ? CRYPT_CLASS_SD
           : lines <= HD_LINES_MAX    ? CRYPT_CLASS_HD
                                      : CRYPT_CLASS_UHD;
}

const struct crypt_key *
crypt_keys_find(const struct crypt_keys *keys,
                const struct crypt_key_name *name)
{
    struct bytes version;
    const struct bytes content = part_split(name->folder, '/', &version);
    for (size_t i = 0; i < keys->count; i++) {
        const struct crypt_key_line *line = &keys->lines[i];
        if ((line->classes & 1u << name->class)
            && (line->period == PERIODS_ALL || line->period == name->period)
            && (line->content.len == 0 || bytes_equal(line->content, content)
                || bytes_equal(line->content, name->folder)))
            return &line->key;
    }
    return NULL;
}
