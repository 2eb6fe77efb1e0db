/* SPDX-License-Identifier: Apache-2.0 */
#include "media/crypt/keys.h"

#include "core/content.h"
#include "core/err.h"

#include <stdlib.h>

#define SD_LINES_MAX 576u
#define HD_LINES_MAX 1088u

#define CLASS_SD 1u
#define CLASS_HD 2u
#define CLASS_UHD 4u
#define CLASS_AUDIO 8u

struct crypt_key_line {
    struct bytes content; /* empty: all */
    unsigned classes;
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

static unsigned
classes_parse(struct bytes text)
{
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (bytes_equal(text, bytes_of_text(classes[i].name)))
            return classes[i].classes;
    return 0;
}

/* content.len == 0 and ERR_OK: a line without a key. */
static int
line_parse(struct bytes text, struct crypt_key_line *out, bool *is_any)
{
    struct crypt_key_line line = {0};
    line.content = word_take(&text);
    *is_any = line.content.len > 0;
    if (!*is_any)
        return 0;
    if (bytes_equal(line.content, BYTES_LITERAL("*")))
        line.content.len = 0;
    else if (!content_id_is_valid(line.content))
        return ERR_INVALID;
    line.classes = classes_parse(word_take(&text));
    if (line.classes == 0 || !hex_parse(word_take(&text), line.key.kid)
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

const struct crypt_key *
crypt_keys_find(const struct crypt_keys *keys, struct bytes content,
                const struct track_info *track)
{
    /* a film on its side has as many lines as it has columns otherwise */
    const uint32_t lines =
        track->height < track->width ? track->height : track->width;
    const unsigned class = track->kind == TRACK_AUDIO ? CLASS_AUDIO
                           : lines <= SD_LINES_MAX    ? CLASS_SD
                           : lines <= HD_LINES_MAX    ? CLASS_HD
                                                      : CLASS_UHD;
    for (size_t i = 0; i < keys->count; i++) {
        const struct crypt_key_line *line = &keys->lines[i];
        if ((line->classes & class)
            && (line->content.len == 0 || bytes_equal(line->content, content)))
            return &line->key;
    }
    return NULL;
}
