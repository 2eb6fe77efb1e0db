/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Opens an index. All is checked here once, so that whoever asks for a
 * segment afterwards may trust every number.
 */

#include "media/index_format.h"

#include "core/err.h"
#include "media/sealed.h"
#include "media/timeline.h"
#include "media/track_record.h"

#include <assert.h>

/* What the samples of a segment add up to. */
struct sums {
    uint64_t size;
    uint64_t duration;
};

static struct sums
samples_sum(const struct track_index *index, uint32_t first, uint32_t count)
{
    struct sums sums = {0};
    for (uint32_t i = first; i < first + count; i++) {
        struct sample s;
        index_sample_load(index, i, &s);
        sums.size += s.size;
        sums.duration += s.duration;
    }
    return sums;
}

/* Segments follow each other in samples and in time, as the timeline says, and
 * each one's size is that of its samples and inside the file. */
static int
segments_check(const struct track_index *index)
{
    const struct track_info *info = &index->info;
    struct bytes timeline = info->timeline;
    struct timeline_run run = {0};
    uint32_t sample = 0;
    uint64_t decode_time = 0;
    for (uint32_t i = 0; i < info->segment_count; i++) {
        struct segment s;
        index_segment_load(index, i, &s);
        if (run.count == 0 && !timeline_take(&timeline, &run))
            return ERR_INVALID;
        run.count--;
        if (s.number != i || s.first_sample != sample || s.sample_count == 0
            || s.sample_count > info->sample_count - sample
            || s.decode_time != decode_time || s.duration != run.duration
            || s.offset > info->media_size
            || s.size > info->media_size - s.offset)
            return ERR_INVALID;
        const struct sums sums = samples_sum(index, sample, s.sample_count);
        if (sums.size != s.size)
            return ERR_INVALID;
        sample += s.sample_count;
        decode_time += sums.duration;
    }
    return sample == info->sample_count ? 0 : ERR_INVALID;
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
    struct track_index index = {.file = file};
    if ((err = track_info_decode(&c, &index.info)) != 0)
        return err;
    const struct track_info *info = &index.info;
    if (info->segment_count > INDEX_SEGMENTS_MAX
        || info->sample_count > INDEX_SAMPLES_MAX)
        return ERR_LIMIT;
    index.sample_flags = cursor_le32(&c);
    index.duration_default = cursor_le32(&c);
    index.duration_last = cursor_le32(&c);
    if (index.sample_flags & ~(INDEX_HAS_COMPOSITION | INDEX_HAS_DURATIONS))
        return ERR_INVALID;
    index.sample_record_size = index_sample_record_size(index.sample_flags);
    /* the limits above keep these products small */
    index.segments =
        cursor_bytes(&c, (size_t) info->segment_count * INDEX_SEGMENT_SIZE).ptr;
    index.samples =
        cursor_bytes(&c, (size_t) info->sample_count * index.sample_record_size)
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

void
track_index_sample(const struct track_index *index, uint32_t number,
                   struct sample *out)
{
    assert(number < index->info.sample_count);
    index_sample_load(index, number, out);
}
