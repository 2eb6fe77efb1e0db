/* SPDX-License-Identifier: Apache-2.0 */
#include "modules/package/package_path.h"

#include "core/content.h"
#include "core/err.h"
#include "media/hls/ts_playlist.h"
#include "media/track.h"

const char *
package_kind_name(enum package_kind kind)
{
    switch (kind) {
    case PACKAGE_MULTIVARIANT:
    case PACKAGE_TS_MULTIVARIANT:
        return "multivariant";
    case PACKAGE_MPD:
        return "mpd";
    case PACKAGE_PLAYLIST:
    case PACKAGE_TS_PLAYLIST:
        return "playlist";
    case PACKAGE_IFRAMES:
        return "iframes";
    case PACKAGE_INIT:
        return "init";
    case PACKAGE_SEGMENT:
    case PACKAGE_KEY_SEGMENT:
    case PACKAGE_TEXT_SEGMENT:
    case PACKAGE_TS_SEGMENT:
    case PACKAGE_TS_TEXT_SEGMENT:
        return "segment";
    case PACKAGE_TEXT:
    case PACKAGE_TEXT_PART:
        return "text";
    case PACKAGE_IMAGE:
        return "image";
    }
    return "unknown";
}

/* Takes digits off the front of `text`. */
static int
number_take(struct bytes *text, uint64_t *out)
{
    uint64_t value = 0;
    size_t len = 0;

    for (; len < text->len; len++) {
        uint8_t digit = (uint8_t) (text->ptr[len] - '0');
        if (digit > 9) {
            break;
        }
        if (__builtin_mul_overflow(value, 10u, &value)
            || __builtin_add_overflow(value, digit, &value)) {
            return ERR_INVALID;
        }
    }
    if (len == 0) {
        return ERR_INVALID;
    }
    *text = bytes_of(text->ptr + len, text->len - len);
    *out = value;
    return 0;
}

static bool
byte_take(struct bytes *text, uint8_t byte)
{
    if (text->len == 0 || text->ptr[0] != byte) {
        return false;
    }
    *text = bytes_of(text->ptr + 1, text->len - 1);
    return true;
}

/* Takes "<name>/" off the front of `path`. */
static bool
part_take(struct bytes *path, struct bytes *part)
{
    const uint8_t *slash = path->len ? memchr(path->ptr, '/', path->len) : NULL;

    if (slash == NULL) {
        return false;
    }
    *part = bytes_of(path->ptr, (size_t) (slash - path->ptr));
    *path = bytes_of(slash + 1, path->len - part->len - 1);
    return content_id_is_valid(*part);
}

/* Takes the number off the front of "<n>.<suffix>" or "<n>-<n>.<suffix>". */
static bool
segment_take(struct bytes *name, uint32_t *out)
{
    bool is_zero_first = name->len > 1 && name->ptr[0] == '0'
                         && name->ptr[1] != '.' && name->ptr[1] != '-';
    uint64_t number;

    if (is_zero_first || number_take(name, &number) != 0
        || number > UINT32_MAX) {
        return false;
    }
    *out = (uint32_t) number;
    return true;
}

static int
segment_parse(struct bytes name, struct package_path *out)
{
    if (!segment_take(&name, &out->segment)) {
        return ERR_NOT_FOUND;
    }
    if (byte_take(&name, '-')) {
        out->kind = PACKAGE_TEXT_PART;
        if (!segment_take(&name, &out->last) || out->last < out->segment
            || !bytes_equal(name, BYTES_LITERAL(".vtt"))) {
            return ERR_NOT_FOUND;
        }
    } else if (bytes_equal(name, BYTES_LITERAL(".m4s"))) {
        out->kind = PACKAGE_SEGMENT;
    } else if (bytes_equal(name, BYTES_LITERAL(".vtt"))) {
        out->kind = PACKAGE_TEXT_SEGMENT;
    } else if (bytes_equal(name, BYTES_LITERAL(".jpg"))) {
        out->kind = PACKAGE_IMAGE;
    } else {
        return ERR_NOT_FOUND;
    }
    return 0;
}

static bool
is_track(struct bytes name)
{
    return name.len <= TRACK_NAME_LEN_MAX && content_id_is_valid(name);
}

/* Takes "<track>/" or "<track>~<muxed>/" off the front of `path`. */
static bool
tracks_take(struct bytes *path, struct package_path *out)
{
    const uint8_t *slash = path->len ? memchr(path->ptr, '/', path->len) : NULL;

    if (slash == NULL) {
        return false;
    }
    const struct bytes all = bytes_of(path->ptr, (size_t) (slash - path->ptr));
    const uint8_t *between = memchr(all.ptr, TS_TRACKS_SEPARATOR, all.len);
    *path = bytes_of(slash + 1, path->len - all.len - 1);
    out->track = all;
    if (between == NULL) {
        return is_track(all);
    }
    out->track.len = (size_t) (between - all.ptr);
    out->muxed = bytes_of(between + 1, all.len - out->track.len - 1);
    return is_track(out->track) && is_track(out->muxed);
}

/* What is below "ts/". */
static int
ts_parse(struct bytes rest, struct package_path *out)
{
    if (bytes_equal(rest, BYTES_LITERAL("master.m3u8"))) {
        out->kind = PACKAGE_TS_MULTIVARIANT;
        return 0;
    }
    if (!tracks_take(&rest, out)) {
        return ERR_NOT_FOUND;
    }
    if (bytes_equal(rest, BYTES_LITERAL("index.m3u8"))) {
        out->kind = PACKAGE_TS_PLAYLIST;
        return 0;
    }
    if (!segment_take(&rest, &out->segment)) {
        return ERR_NOT_FOUND;
    }
    if (bytes_equal(rest, BYTES_LITERAL(".vtt")) && out->muxed.len == 0) {
        out->kind = PACKAGE_TS_TEXT_SEGMENT;
        return 0;
    }
    out->kind = PACKAGE_TS_SEGMENT;
    return bytes_equal(rest, BYTES_LITERAL(".ts")) ? 0 : ERR_NOT_FOUND;
}

/* What is behind "<track>/". */
static int
track_part_parse(struct bytes name, struct package_path *out)
{
    struct bytes folder, rest = name;

    if (part_take(&rest, &folder)) {
        if (!bytes_equal(folder, BYTES_LITERAL("iframes"))) {
            return ERR_NOT_FOUND;
        }
        if (bytes_equal(rest, BYTES_LITERAL("init.mp4"))) {
            out->kind = PACKAGE_INIT;
            return 0;
        }
        if (segment_parse(rest, out) != 0 || out->kind != PACKAGE_SEGMENT) {
            return ERR_NOT_FOUND;
        }
        out->kind = PACKAGE_KEY_SEGMENT;
        return 0;
    }
    if (bytes_equal(name, BYTES_LITERAL("index.m3u8"))) {
        out->kind = PACKAGE_PLAYLIST;
    } else if (bytes_equal(name, BYTES_LITERAL("iframes.m3u8"))) {
        out->kind = PACKAGE_IFRAMES;
    } else if (bytes_equal(name, BYTES_LITERAL("init.mp4"))) {
        out->kind = PACKAGE_INIT;
    } else if (bytes_equal(name, BYTES_LITERAL("all.vtt"))) {
        out->kind = PACKAGE_TEXT;
    } else {
        return segment_parse(name, out);
    }
    return 0;
}

int
package_path_parse(struct bytes path, struct package_path *out)
{
    struct package_path found = {.kind = PACKAGE_MULTIVARIANT};
    struct bytes content, version, rest = path;

    if (!part_take(&rest, &content) || !part_take(&rest, &version)) {
        return ERR_NOT_FOUND;
    }
    found.folder = bytes_of(path.ptr, content.len + 1 + version.len);
    if (bytes_equal(rest, BYTES_LITERAL("manifest.mpd"))) {
        found.kind = PACKAGE_MPD;
        *out = found;
        return 0;
    }
    if (bytes_equal(rest, BYTES_LITERAL("master.m3u8"))) {
        *out = found;
        return 0;
    }
    if (!part_take(&rest, &found.track)
        || found.track.len > TRACK_NAME_LEN_MAX) {
        return ERR_NOT_FOUND;
    }
    int err;
    if (bytes_equal(found.track, BYTES_LITERAL("ts"))) {
        found.track.len = 0;
        err = ts_parse(rest, &found);
    } else {
        err = track_part_parse(rest, &found);
    }
    if (err == 0) {
        *out = found;
    }
    return err;
}

int
content_range_parse(struct bytes text, struct content_range *out)
{
    static const char unit[] = "bytes ";
    struct content_range range;
    uint64_t last;

    for (size_t i = 0; unit[i]; i++) {
        if (!byte_take(&text, (uint8_t) unit[i])) {
            return ERR_INVALID;
        }
    }
    if (number_take(&text, &range.start) != 0 || !byte_take(&text, '-')
        || number_take(&text, &last) != 0 || !byte_take(&text, '/')
        || number_take(&text, &range.total) != 0 || text.len != 0) {
        return ERR_INVALID;
    }
    if (range.start > last || last >= range.total) {
        return ERR_INVALID;
    }
    range.end = last + 1;
    *out = range;
    return 0;
}

int
byte_range_parse(struct bytes text, uint64_t size, struct byte_range *out)
{
    static const char unit[] = "bytes=";
    uint64_t first = 0, last = UINT64_MAX;

    for (size_t i = 0; unit[i]; i++) {
        if (!byte_take(&text, (uint8_t) unit[i])) {
            return ERR_UNSUPPORTED;
        }
    }
    bool is_suffix = byte_take(&text, '-');
    if (number_take(&text, &first) != 0
        || (!is_suffix && !byte_take(&text, '-'))) {
        return ERR_UNSUPPORTED;
    }
    if (text.len != 0
        && (is_suffix || number_take(&text, &last) != 0 || text.len != 0
            || last < first)) {
        return ERR_UNSUPPORTED;
    }
    if (is_suffix) {
        uint64_t len = first < size ? first : size;

        first = size - len;
    }
    if (first >= size) {
        return ERR_NOT_FOUND;
    }
    out->start = first;
    out->end = last < size ? last + 1 : size;
    return 0;
}
