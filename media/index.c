/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Puts an index together, and opens it. All is checked there once, so that
 * whoever asks for a segment afterwards may trust every number.
 */

#include "media/index_format.h"

#include "core/err.h"
#include "media/sealed.h"
#include "media/timeline.h"
#include "media/track_record.h"

int
index_file_append(const struct track_info *info, struct bytes records,
                  struct buffer *out)
{
    const size_t start = sealed_begin(out, INDEX_MAGIC, INDEX_VERSION);
    track_info_encode(info, out);
    buffer_append_bytes(out, records);
    if (out->err == 0 && out->len - start > INDEX_SIZE_MAX)
        out->err = ERR_LIMIT;
    sealed_end(out, start);
    return out->err;
}

/* Text has no maps, and may have nothing to show; images are bare. */
static bool
parts_are_valid(const struct track_info *info, const struct segment *s)
{
    switch (info->kind) {
    case TRACK_VIDEO:
    case TRACK_AUDIO:
        break;
    case TRACK_TEXT:
        return s->map_size == 0 && s->header_size != 0
               && (s->number != 0
                   || (s->offset != 0 && s->offset <= UINT32_MAX));
    case TRACK_IMAGE:
        return s->map_size == 0 && s->header_size == 0 && s->size != 0
               && s->sample_count != 0 && (s->number != 0 || s->offset == 0);
    }
    return s->map_size != 0 && s->header_size != 0 && s->sample_count != 0;
}

/* Segments follow each other in the file and in time, as the timeline says,
 * and are all of the file but its start. A track that comes in later than the
 * others starts inside its first segment. */
static int
segments_check(const struct track_index *index)
{
    const struct track_info *info = &index->info;
    struct bytes timeline = info->timeline;
    struct timeline_run run = {0};
    struct segment s, before = {0};
    uint64_t sample_count = 0, end = 0;
    for (uint32_t i = 0; i < info->segment_count; i++, before = s) {
        index_segment_load(index, i, &s);
        if (run.count == 0 && !timeline_take(&timeline, &run))
            return ERR_INVALID;
        run.count--;
        if (!parts_are_valid(info, &s) || s.key_size > s.size
            || s.duration != run.duration
            || (i == 0 ? s.decode_time >= info->duration
                       : s.decode_time < before.decode_time || s.offset != end)
            || s.offset > info->media_size
            || s.map_size + segment_length(&s) > info->media_size - s.offset)
            return ERR_INVALID;
        end = segment_start(&s) + segment_length(&s);
        sample_count += s.sample_count;
    }
    return end == info->media_size && sample_count == info->sample_count
               ? 0
               : ERR_INVALID;
}

int
track_index_open(struct bytes file, struct track_index *out)
{
    if (file.len > INDEX_SIZE_MAX)
        return ERR_LIMIT;
    struct bytes body;
    int err = sealed_open(file, INDEX_MAGIC, INDEX_VERSION, &body);
    if (err != 0)
        return err;
    struct cursor c = cursor_of(body);
    struct track_index index;
    if ((err = track_info_decode(&c, &index.info)) != 0)
        return err;
    if (index.info.segment_count > INDEX_SEGMENTS_MAX)
        return ERR_LIMIT;
    /* the limit above keeps this product small */
    index.segments =
        cursor_bytes(&c, (size_t) index.info.segment_count * INDEX_SEGMENT_SIZE)
            .ptr;
    if (c.is_short || c.rest.len != 0)
        return ERR_INVALID;
    if ((err = segments_check(&index)) != 0)
        return err;
    *out = index;
    return 0;
}

int
track_index_segment(const struct track_index *index, uint32_t number,
                    struct segment *out)
{
    if (number >= index->info.segment_count)
        return ERR_NOT_FOUND;
    index_segment_load(index, number, out);
    return 0;
}

int
track_index_whole(const struct track_index *index, struct segment *out)
{
    struct segment first;
    if (index->info.kind != TRACK_TEXT)
        return ERR_NOT_FOUND;
    index_segment_load(index, 0, &first);
    *out = (struct segment){.number = index->info.segment_count,
                            .size = (uint32_t) first.offset};
    return 0;
}
