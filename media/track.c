/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The record of a track and the asset file made of them.
 *
 *   asset body:  u32 le track count, then the records
 *   record:      u32 le size of what follows, the numbers in the order of
 *                track_info_encode, four texts (u8 length, bytes), then
 *                u32 le length and the sample entry, u32 le length and the
 *                timeline; of images, columns and rows stand where sound has
 *                channels and sample rate, and of text 1 for forced
 */

#include "media/track_record.h"

#include "core/err.h"
#include "media/sealed.h"
#include "media/timeline.h"

#define ASSET_MAGIC "VODSTast"
#define ASSET_VERSION 3
#define MATRIX_FIELDS 9
#define BOX_HEADER_SIZE 8
#define JPEG_SIDE_MAX 65535u /* pixels */

static bool
is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
           || (c >= 'a' && c <= 'z');
}

/* Letters and digits of ASCII, and those of `others`. */
static bool
text_is_of(const char *text, size_t size, const char *others)
{
    const size_t len = strnlen(text, size);
    if (len == 0 || len == size)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_alphanumeric(text[i]) && strchr(others, text[i]) == NULL)
            return false;
    }
    return true;
}

/* Whole UTF-8 characters without controls and quotes: a playlist's
 * quoted-string can hold neither (RFC 8216bis §4.2). */
static bool
label_is_valid(const char *text, size_t size)
{
    const size_t len = strnlen(text, size);
    if (len == size)
        return false;
    for (size_t i = 0; i < len;) {
        const uint8_t c = (uint8_t) text[i];
        const size_t tail = c < 0x80   ? 0
                            : c < 0xc2 ? 4
                            : c < 0xe0 ? 1
                            : c < 0xf0 ? 2
                            : c < 0xf5 ? 3
                                       : 4;
        if (c < 0x20 || c == '"' || c == 0x7f || tail == 4 || tail >= len - i)
            return false;
        for (size_t k = 1; k <= tail; k++) {
            if (((uint8_t) text[i + k] & 0xc0) != 0x80)
                return false;
        }
        i += 1 + tail;
    }
    return true;
}

static bool
sample_entry_is_valid(struct bytes entry)
{
    return entry.len >= BOX_HEADER_SIZE
           && entry.len <= TRACK_SAMPLE_ENTRY_SIZE_MAX
           && load_be32(entry.ptr) == entry.len;
}

/* Runs that differ from their neighbours, and together are the track. */
static bool
timeline_is_valid(const struct track_info *info)
{
    struct bytes rest = info->timeline;
    struct timeline_run run;
    uint32_t count = 0, before = 0;
    uint64_t duration = 0; /* of 2^32 segments of 2^32 ticks at most */
    while (timeline_take(&rest, &run)) {
        if (run.duration == 0 || run.duration == before || run.count == 0
            || run.count > info->segment_count - count
            || run.duration > info->segment_duration_max)
            return false;
        count += run.count;
        duration += (uint64_t) run.duration * run.count;
        before = run.duration;
    }
    return rest.len == 0 && count == info->segment_count
           && duration == info->duration;
}

/* As many sheets as the thumbnails fill, all but the last one of the same
 * length. The timeline is known to be valid. */
static bool
images_are_valid(const struct track_info *info)
{
    struct bytes rest = info->timeline;
    struct timeline_run first;
    const uint64_t ticks = info->frame_rate_den;
    if (info->kind != TRACK_IMAGE)
        return true;
    if (info->columns == 0 || info->rows == 0 || info->width == 0
        || info->height == 0 || info->width > JPEG_SIDE_MAX / info->columns
        || info->height > JPEG_SIDE_MAX / info->rows
        || info->frame_rate_num != info->timescale || ticks == 0)
        return false;
    const uint64_t tiles = (uint64_t) info->columns * info->rows;
    return tiles <= UINT32_MAX / ticks
           && info->sample_count == (info->duration + ticks - 1) / ticks
           && info->segment_count == (info->sample_count + tiles - 1) / tiles
           && info->segment_duration_max <= tiles * ticks
           && timeline_take(&rest, &first)
           && (info->segment_count == 1
               || (first.duration == tiles * ticks
                   && first.count >= info->segment_count - 1));
}

static bool
kind_is_known(uint32_t kind)
{
    return kind >= TRACK_VIDEO && kind <= TRACK_IMAGE;
}

int
track_info_check(const struct track_info *info)
{
    const bool is_video = info->kind == TRACK_VIDEO;
    const bool is_text = info->kind == TRACK_TEXT;
    if (!kind_is_known(info->kind))
        return ERR_INVALID;
    if (!text_is_of(info->name, sizeof info->name, "_-")
        || !text_is_of(info->codecs, sizeof info->codecs, "._-+")
        || !text_is_of(info->language, sizeof info->language, "-")
        || !label_is_valid(info->label, sizeof info->label))
        return ERR_INVALID;
    if (info->timescale == 0 || info->segment_count == 0
        || (!is_text && info->sample_count < info->segment_count)
        || (is_video && info->frame_rate_den == 0) || info->media_time < 0
        || (uint32_t) info->video_range > VIDEO_RANGE_HLG)
        return ERR_INVALID;
    if (track_has_samples(info) ? !sample_entry_is_valid(info->sample_entry)
                                : info->sample_entry.len != 0)
        return ERR_INVALID;
    return timeline_is_valid(info) && images_are_valid(info) ? 0 : ERR_INVALID;
}

static void
text_encode(struct buffer *out, const char *text)
{
    const size_t len = strlen(text);
    buffer_append_u8(out, (uint8_t) len);
    buffer_append(out, text, len);
}

static bool
text_set(char *out, size_t size, const char *text)
{
    const size_t len = strlen(text);
    if (len < size)
        memcpy(out, text, len + 1);
    return len < size;
}

int
track_texts_set(struct track_info *info, const char *name, const char *label,
                const char *language, const char *codecs)
{
    return text_set(info->name, sizeof info->name, name)
                   && text_set(info->label, sizeof info->label,
                               label == NULL ? "" : label)
                   && text_set(info->language, sizeof info->language, language)
                   && text_set(info->codecs, sizeof info->codecs, codecs)
               ? 0
               : ERR_INVALID;
}

uint32_t
track_bit_rate(uint64_t bytes, uint64_t duration, uint32_t timescale)
{
    const unsigned __int128 bits = (unsigned __int128) bytes * 8 * timescale;
    const unsigned __int128 rate = (bits + duration - 1) / duration;
    return rate > UINT32_MAX ? UINT32_MAX : (uint32_t) rate;
}

/* Of each kind something else: a field that sound was the first to have. */
static uint32_t
shared_field(const struct track_info *info)
{
    return info->kind == TRACK_IMAGE  ? info->columns
           : info->kind == TRACK_TEXT ? info->is_forced
                                      : info->channels;
}

void
track_info_encode(const struct track_info *info, struct buffer *out)
{
    const bool is_image = info->kind == TRACK_IMAGE;
    const size_t start = out->len;
    buffer_append_le32(out, 0);
    buffer_append_le32(out, (uint32_t) info->kind);
    buffer_append_le32(out, info->timescale);
    buffer_append_le64(out, info->duration);
    buffer_append_le64(out, info->media_size);
    buffer_append_le32(out, info->sample_count);
    buffer_append_le32(out, info->segment_count);
    buffer_append_le32(out, info->segment_duration_max);
    buffer_append_le32(out, info->bandwidth_peak);
    buffer_append_le32(out, info->bandwidth_average);
    buffer_append_le32(out, info->key_bandwidth_peak);
    buffer_append_le32(out, info->key_bandwidth_average);
    buffer_append_le64(out, (uint64_t) info->media_time);
    buffer_append_le32(out, info->width);
    buffer_append_le32(out, info->height);
    for (size_t i = 0; i < MATRIX_FIELDS; i++)
        buffer_append_le32(out, info->matrix[i]);
    buffer_append_le32(out, info->frame_rate_num);
    buffer_append_le32(out, info->frame_rate_den);
    buffer_append_le32(out, (uint32_t) info->video_range);
    buffer_append_le32(out, shared_field(info));
    buffer_append_le32(out, is_image ? info->rows : info->sample_rate);
    buffer_append_le32(out, info->channel_map);
    buffer_append_le32(out, info->joc_complexity);
    text_encode(out, info->name);
    text_encode(out, info->codecs);
    text_encode(out, info->language);
    text_encode(out, info->label);
    buffer_append_le32(out, (uint32_t) info->sample_entry.len);
    buffer_append_bytes(out, info->sample_entry);
    buffer_append_le32(out, (uint32_t) info->timeline.len);
    buffer_append_bytes(out, info->timeline);
    if (out->err == 0)
        store_le32(out->ptr + start, (uint32_t) (out->len - start - 4));
}

/* `text` is all zero before, so that it ends up terminated. */
static void
text_decode(struct cursor *in, char *text, size_t size)
{
    const struct bytes bytes = cursor_bytes(in, cursor_u8(in));
    if (bytes.len >= size || memchr(bytes.ptr, 0, bytes.len) != NULL) {
        in->is_short = true;
        return;
    }
    memcpy(text, bytes.ptr, bytes.len);
}

int
track_info_decode(struct cursor *in, struct track_info *out)
{
    struct cursor c = cursor_of(cursor_bytes(in, cursor_le32(in)));
    struct track_info info = {0};
    const uint32_t kind = cursor_le32(&c);
    if (!kind_is_known(kind))
        return ERR_INVALID;
    info.kind = (enum track_kind) kind;
    info.timescale = cursor_le32(&c);
    info.duration = cursor_le64(&c);
    info.media_size = cursor_le64(&c);
    info.sample_count = cursor_le32(&c);
    info.segment_count = cursor_le32(&c);
    info.segment_duration_max = cursor_le32(&c);
    info.bandwidth_peak = cursor_le32(&c);
    info.bandwidth_average = cursor_le32(&c);
    info.key_bandwidth_peak = cursor_le32(&c);
    info.key_bandwidth_average = cursor_le32(&c);
    info.media_time = (int64_t) cursor_le64(&c);
    info.width = cursor_le32(&c);
    info.height = cursor_le32(&c);
    for (size_t i = 0; i < MATRIX_FIELDS; i++)
        info.matrix[i] = cursor_le32(&c);
    info.frame_rate_num = cursor_le32(&c);
    info.frame_rate_den = cursor_le32(&c);
    info.video_range = (enum video_range) cursor_le32(&c);
    const bool is_image = kind == TRACK_IMAGE;
    *(is_image ? &info.columns : &info.channels) = cursor_le32(&c);
    if (kind == TRACK_TEXT) {
        if (info.channels > 1)
            return ERR_INVALID;
        info.is_forced = info.channels == 1;
        info.channels = 0;
    }
    *(is_image ? &info.rows : &info.sample_rate) = cursor_le32(&c);
    info.channel_map = cursor_le32(&c);
    info.joc_complexity = cursor_le32(&c);
    text_decode(&c, info.name, sizeof info.name);
    text_decode(&c, info.codecs, sizeof info.codecs);
    text_decode(&c, info.language, sizeof info.language);
    text_decode(&c, info.label, sizeof info.label);
    info.sample_entry = cursor_bytes(&c, cursor_le32(&c));
    info.timeline = cursor_bytes(&c, cursor_le32(&c));
    if (in->is_short || c.is_short || c.rest.len != 0)
        return ERR_INVALID;
    const int err = track_info_check(&info);
    if (err != 0)
        return err;
    *out = info;
    return 0;
}

static bool
name_is_taken(const struct asset *asset, size_t number)
{
    for (size_t i = 0; i < number; i++) {
        if (strcmp(asset->tracks[i].name, asset->tracks[number].name) == 0)
            return true;
    }
    return false;
}

static int
asset_check(const struct asset *asset)
{
    if (asset->track_count == 0 || asset->track_count > ASSET_TRACKS_MAX)
        return ERR_INVALID;
    for (size_t i = 0; i < asset->track_count; i++) {
        const int err = track_info_check(&asset->tracks[i]);
        if (err != 0)
            return err;
        if (name_is_taken(asset, i))
            return ERR_INVALID;
    }
    return 0;
}

int
asset_encode(const struct asset *asset, struct buffer *out)
{
    const int err = asset_check(asset);
    if (err != 0)
        return err;
    const size_t start = sealed_begin(out, ASSET_MAGIC, ASSET_VERSION);
    buffer_append_le32(out, (uint32_t) asset->track_count);
    for (size_t i = 0; i < asset->track_count; i++)
        track_info_encode(&asset->tracks[i], out);
    sealed_end(out, start);
    if (out->err == 0 && out->len - start > ASSET_SIZE_MAX)
        return ERR_LIMIT;
    return out->err;
}

int
asset_decode(struct bytes file, struct asset *out)
{
    if (file.len > ASSET_SIZE_MAX)
        return ERR_LIMIT;
    struct bytes body;
    int err = sealed_open(file, ASSET_MAGIC, ASSET_VERSION, &body);
    if (err != 0)
        return err;
    struct cursor in = cursor_of(body);
    const uint32_t count = cursor_le32(&in);
    if (in.is_short || count > ASSET_TRACKS_MAX)
        return ERR_INVALID;
    struct asset asset = {.track_count = count};
    for (uint32_t i = 0; i < count; i++) {
        if ((err = track_info_decode(&in, &asset.tracks[i])) != 0)
            return err;
    }
    if (in.rest.len != 0)
        return ERR_INVALID;
    if ((err = asset_check(&asset)) != 0)
        return err;
    *out = asset;
    return 0;
}
