/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads multivariant and media playlists line by line (RFC 8216 §4). Tags that
 * an emulated player has no use for are passed over; those it would play
 * wrongly without (byte ranges, a missing end) are refused.
 */

#include "programs/vodst/playlist_parse.h"

#include <stdlib.h>

/* Takes the next line off the text, without its end; false at the end. */
static bool
line_take(struct bytes *text, struct bytes *line)
{
    if (text->len == 0)
        return false;
    const uint8_t *end = memchr(text->ptr, '\n', text->len);
    size_t len = end != NULL ? (size_t) (end - text->ptr) : text->len;
    size_t step = end != NULL ? len + 1 : len;
    *line = bytes_of(text->ptr, len);
    if (line->len > 0 && line->ptr[line->len - 1] == '\r')
        line->len--;
    text->ptr += step;
    text->len -= step;
    return true;
}

/* True when the line is the tag; `rest` is then what follows it. */
static bool
tag_match(struct bytes line, const char *tag, struct bytes *rest)
{
    size_t len = strlen(tag);
    if (line.len < len || memcmp(line.ptr, tag, len) != 0)
        return false;
    *rest = bytes_of(line.ptr + len, line.len - len);
    return true;
}

/* Takes NAME=value or NAME="value" off an attribute list (§4.2); false at its
 * end or where it is malformed. */
static bool
attribute_take(struct bytes *list, struct bytes *name, struct bytes *value)
{
    const uint8_t *equals =
        list->len > 0 ? memchr(list->ptr, '=', list->len) : NULL;
    if (equals == NULL)
        return false;
    *name = bytes_of(list->ptr, (size_t) (equals - list->ptr));
    struct bytes rest = bytes_of(equals + 1, list->len - name->len - 1);
    if (rest.len > 0 && rest.ptr[0] == '"') {
        const uint8_t *quote = memchr(rest.ptr + 1, '"', rest.len - 1);
        if (quote == NULL)
            return false;
        *value = bytes_of(rest.ptr + 1, (size_t) (quote - rest.ptr) - 1);
        rest = bytes_of(quote + 1, rest.len - value->len - 2);
        if (rest.len > 0 && rest.ptr[0] != ',')
            return false;
    } else {
        const uint8_t *comma =
            rest.len > 0 ? memchr(rest.ptr, ',', rest.len) : NULL;
        size_t len = comma != NULL ? (size_t) (comma - rest.ptr) : rest.len;
        *value = bytes_of(rest.ptr, len);
        rest = bytes_of(rest.ptr + len, rest.len - len);
    }
    if (rest.len > 0) {
        rest.ptr++;
        rest.len--;
    }
    *list = rest;
    return true;
}

static bool
is_named(struct bytes name, const char *text)
{
    return bytes_equal(name, bytes_of_text(text));
}

static int
decimal_parse(struct bytes text, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    if (text.len == 0)
        return ERR_INVALID;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned) text.ptr[i] - '0';
        if (digit > 9)
            return ERR_INVALID;
        if (value > (max - digit) / 10)
            return ERR_LIMIT;
        value = value * 10 + digit;
    }
    *out = value;
    return 0;
}

/* What stands before a byte; all where it is not there. */
static struct bytes
bytes_before(struct bytes text, int byte)
{
    const uint8_t *end = text.len > 0 ? memchr(text.ptr, byte, text.len) : NULL;
    return end != NULL ? bytes_of(text.ptr, (size_t) (end - text.ptr)) : text;
}

/* "4.004,title" in microseconds. */
static int
duration_parse(struct bytes text, uint64_t *out_us)
{
    text = bytes_before(text, ',');
    struct bytes whole = bytes_before(text, '.');
    uint64_t seconds;
    int err = decimal_parse(whole, PLAYLIST_SEGMENT_MS_MAX / 1000, &seconds);
    if (err != 0)
        return err;
    uint64_t us = 0, unit = 100000;
    for (size_t i = whole.len + 1; i < text.len; i++, unit /= 10) {
        unsigned digit = (unsigned) text.ptr[i] - '0';
        if (digit > 9)
            return ERR_INVALID;
        us += digit * unit;
    }
    *out_us = seconds * 1000000 + us;
    return 0;
}

static int
head_check(struct bytes *text)
{
    struct bytes line, rest;
    if (text->len > PLAYLIST_TEXT_BYTES_MAX)
        return ERR_LIMIT;
    if (!line_take(text, &line) || !tag_match(line, "#EXTM3U", &rest))
        return ERR_INVALID;
    return 0;
}

static int
variant_parse(struct bytes list, struct playlist_variant *out)
{
    struct bytes name, value;
    int err = ERR_INVALID; /* BANDWIDTH is required */
    while (attribute_take(&list, &name, &value)) {
        if (is_named(name, "BANDWIDTH")) {
            err = decimal_parse(value, UINT64_MAX / 16, &out->bandwidth_bps);
            if (err != 0)
                return err;
        } else if (is_named(name, "AUDIO")) {
            out->audio_group = value;
        } else if (is_named(name, "PATHWAY-ID")) {
            out->pathway = value;
        }
    }
    return err;
}

static int
audio_add(struct bytes list, struct multivariant *out)
{
    struct playlist_audio audio = {0};
    struct bytes name, value;
    bool is_audio = false;
    while (attribute_take(&list, &name, &value)) {
        if (is_named(name, "TYPE"))
            is_audio = is_named(value, "AUDIO");
        else if (is_named(name, "GROUP-ID"))
            audio.group = value;
        else if (is_named(name, "URI"))
            audio.uri = value;
        else if (is_named(name, "DEFAULT"))
            audio.is_default = is_named(value, "YES");
    }
    if (!is_audio)
        return 0;
    if (audio.group.len == 0)
        return ERR_INVALID;
    if (audio.uri.len > PLAYLIST_URI_BYTES_MAX
        || out->audio_count == PLAYLIST_AUDIOS_MAX)
        return ERR_LIMIT;
    out->audios[out->audio_count++] = audio;
    return 0;
}

/* Keeps the list ordered, best first. */
static int
variant_add(struct playlist_variant variant, struct bytes uri,
            struct multivariant *out)
{
    if (uri.len > PLAYLIST_URI_BYTES_MAX
        || out->variant_count == PLAYLIST_VARIANTS_MAX)
        return ERR_LIMIT;
    if (out->variant_count > 0
        && !bytes_equal(variant.pathway, out->variants[0].pathway))
        return 0;
    variant.uri = uri;
    struct playlist_variant *at = &out->variants[out->variant_count++];
    for (; at > out->variants && at[-1].bandwidth_bps < variant.bandwidth_bps;
         at--)
        at[0] = at[-1];
    *at = variant;
    return 0;
}

static int
segment_add(struct media_playlist *playlist, size_t *capacity,
            struct playlist_segment segment)
{
    if (playlist->segment_count == PLAYLIST_SEGMENTS_MAX
        || segment.uri.len > PLAYLIST_URI_BYTES_MAX)
        return ERR_LIMIT;
    if (playlist->segment_count == *capacity) {
        size_t grown = *capacity == 0 ? 64 : *capacity * 2;
        void *segments =
            realloc(playlist->segments, grown * sizeof *playlist->segments);
        if (segments == NULL)
            return ERR_MEMORY;
        playlist->segments = segments;
        *capacity = grown;
    }
    playlist->segments[playlist->segment_count++] = segment;
    return 0;
}

static int
map_parse(struct bytes list, struct bytes *uri)
{
    struct bytes name, value;
    *uri = (struct bytes){0};
    while (attribute_take(&list, &name, &value)) {
        if (is_named(name, "URI"))
            *uri = value;
        else if (is_named(name, "BYTERANGE"))
            return ERR_UNSUPPORTED;
    }
    if (uri->len > PLAYLIST_URI_BYTES_MAX)
        return ERR_LIMIT;
    return uri->len > 0 ? 0 : ERR_INVALID;
}

struct media_reader {
    struct media_playlist playlist;
    size_t capacity;
    uint64_t end_us;
    uint64_t duration_us;
    bool has_duration, is_ended;
};

static int
media_line(struct media_reader *reader, struct bytes line)
{
    struct bytes rest;
    if (line.len == 0)
        return 0;
    if (line.ptr[0] != '#') {
        if (!reader->has_duration)
            return ERR_INVALID;
        reader->has_duration = false;
        /* summed before rounding, so that long films do not drift */
        reader->end_us += reader->duration_us;
        return segment_add(&reader->playlist, &reader->capacity,
                           (struct playlist_segment){
                               .uri = line, .end_ms = reader->end_us / 1000});
    }
    if (tag_match(line, "#EXTINF:", &rest)) {
        reader->has_duration = true;
        return duration_parse(rest, &reader->duration_us);
    }
    if (tag_match(line, "#EXT-X-MAP:", &rest))
        return map_parse(rest, &reader->playlist.init_uri);
    if (tag_match(line, "#EXT-X-BYTERANGE:", &rest))
        return ERR_UNSUPPORTED;
    if (tag_match(line, "#EXT-X-STREAM-INF:", &rest))
        return ERR_INVALID;
    if (tag_match(line, "#EXT-X-ENDLIST", &rest))
        reader->is_ended = true;
    return 0;
}

int
multivariant_parse(struct bytes text, struct multivariant *out)
{
    struct multivariant found = {0};
    struct playlist_variant variant = {0};
    struct bytes line, rest;
    bool has_variant = false;
    int err = head_check(&text);
    while (err == 0 && line_take(&text, &line)) {
        if (line.len == 0)
            continue;
        if (tag_match(line, "#EXT-X-STREAM-INF:", &rest)) {
            variant = (struct playlist_variant){0};
            err = variant_parse(rest, &variant);
            has_variant = true;
        } else if (tag_match(line, "#EXT-X-MEDIA:", &rest)) {
            err = audio_add(rest, &found);
        } else if (line.ptr[0] != '#') {
            if (!has_variant)
                return ERR_INVALID;
            err = variant_add(variant, line, &found);
            has_variant = false;
        }
    }
    if (err != 0)
        return err;
    if (found.variant_count == 0)
        return ERR_NOT_FOUND;
    *out = found;
    return 0;
}

const struct playlist_audio *
multivariant_audio(const struct multivariant *multivariant,
                   const struct playlist_variant *variant)
{
    const struct playlist_audio *found = NULL;
    if (variant->audio_group.len == 0)
        return NULL;
    for (size_t i = 0; i < multivariant->audio_count; i++) {
        const struct playlist_audio *audio = &multivariant->audios[i];
        if (!bytes_equal(audio->group, variant->audio_group))
            continue;
        if (found == NULL || (audio->is_default && !found->is_default))
            found = audio;
    }
    return found != NULL && found->uri.len > 0 ? found : NULL;
}

int
media_playlist_parse(struct bytes text, struct media_playlist *out)
{
    struct media_reader reader = {0};
    struct bytes line;
    int err = head_check(&text);
    while (err == 0 && line_take(&text, &line))
        err = media_line(&reader, line);
    if (err == 0 && reader.playlist.segment_count == 0)
        err = ERR_INVALID;
    if (err == 0 && !reader.is_ended)
        err = ERR_UNSUPPORTED;
    if (err != 0) {
        media_playlist_fini(&reader.playlist);
        return err;
    }
    *out = reader.playlist;
    return 0;
}

void
media_playlist_fini(struct media_playlist *playlist)
{
    free(playlist->segments);
    *playlist = (struct media_playlist){0};
}

size_t
media_playlist_find(const struct media_playlist *playlist, uint64_t time_ms)
{
    size_t low = 0, high = playlist->segment_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (playlist->segments[middle].end_ms > time_ms)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}
