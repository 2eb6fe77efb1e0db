/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Writes WebVTT: the whole of it, then the segments for HLS (RFC 8216bis
 * §3.1.4). A cue that lasts over a cut is in both segments with its own times:
 * players know it again by them.
 */

#include "media/text/text_track.h"

#include "core/err.h"
#include "media/index_format.h"
#include "media/timeline.h"
#include "media/track_record.h"

#include <stdlib.h>

typedef unsigned __int128 wide;

struct writer {
    const struct text_build *build;
    struct buffer *file;
    size_t file_start;
    uint32_t *open; /* cues that began and may last on, by their start */
    uint32_t open_count;
    uint32_t next_cue; /* the first that has not begun */
    struct track_info info;
    struct buffer records, timeline;
};

static void
cue_write(const struct cues *cues, const struct cue *cue, struct buffer *out)
{
    const struct bytes settings = cue_settings(cues, cue);
    text_time_write(cue->start_ms, out);
    buffer_append_text(out, " --> ");
    text_time_write(cue->end_ms, out);
    if (settings.len > 0)
        buffer_append_u8(out, ' ');
    buffer_append_bytes(out, settings);
    buffer_append_u8(out, '\n');
    buffer_append_bytes(out, cue_text(cues, cue));
    buffer_append_text(out, "\n\n");
}

/* Of a time in ms and one in ticks: <0, 0, >0. */
static int
time_compare(const struct writer *w, uint64_t ms, uint64_t ticks)
{
    const wide a = (wide) ms * w->build->timescale, b = (wide) ticks * 1000;
    return (a > b) - (a < b);
}

/* Those that are seen between two times. Returns how many. */
static uint32_t
cues_write(struct writer *w, uint64_t start, uint64_t end)
{
    const struct cues *cues = w->build->cues;
    uint32_t count = 0;
    while (w->next_cue < cues->count
           && time_compare(w, cues->list[w->next_cue].start_ms, end) < 0)
        w->open[w->open_count++] = w->next_cue++;
    for (uint32_t i = 0; i < w->open_count && w->file->err == 0; i++) {
        const struct cue *cue = &cues->list[w->open[i]];
        if (time_compare(w, cue->end_ms, start) <= 0)
            continue;
        cue_write(cues, cue, w->file);
        w->open[count++] = w->open[i];
    }
    w->open_count = count;
    return count;
}

static size_t
written(const struct writer *w)
{
    return w->file->len - w->file_start;
}

static void
whole_write(struct writer *w)
{
    buffer_append_text(w->file, "WEBVTT\n\n");
    buffer_append_bytes(w->file, buffer_bytes(&w->build->cues->head));
    cues_write(w, 0, w->build->duration);
    w->open_count = w->next_cue = 0; /* the segments begin with the film */
}

static int
segment_write(struct writer *w, uint64_t start, uint64_t end)
{
    struct track_info *info = &w->info;
    struct segment s = {.number = info->segment_count,
                        .offset = written(w),
                        .decode_time = start,
                        .duration = (uint32_t) (end - start)};
    if (end <= start)
        return ERR_INVALID;
    if (end - start > UINT32_MAX || info->segment_count == INDEX_SEGMENTS_MAX)
        return ERR_LIMIT;
    buffer_append_text(w->file, TEXT_SEGMENT_START("0"));
    buffer_append_bytes(w->file, buffer_bytes(&w->build->cues->head));
    s.header_size = (uint32_t) (written(w) - s.offset);
    s.sample_count = cues_write(w, start, end);
    s.size = (uint32_t) (written(w) - s.offset - s.header_size);
    index_segment_append(&s, &w->records);
    info->segment_count++;
    info->sample_count += s.sample_count;
    if (s.duration > info->segment_duration_max)
        info->segment_duration_max = s.duration;
    timeline_add(&w->timeline, s.duration);
    return w->file->err != 0 ? w->file->err : w->records.err;
}

/* Cuts behind the end of the film are passed over. */
static int
segments_write(struct writer *w)
{
    const struct text_build *b = w->build;
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < b->cut_count; i++) {
        const bool is_last =
            i + 1 == b->cut_count || b->cuts[i + 1] >= b->duration;
        err = segment_write(w, b->cuts[i],
                            is_last ? b->duration : b->cuts[i + 1]);
        if (is_last)
            break;
    }
    return err != 0 ? err : w->timeline.err;
}

/* What is left when all is written; the bandwidth is that of the whole. */
static int
info_finish(struct writer *w, size_t whole_size)
{
    struct track_info *info = &w->info;
    info->kind = TRACK_TEXT;
    info->is_forced = w->build->is_forced;
    info->timescale = w->build->timescale;
    info->duration = w->build->duration;
    info->media_size = written(w);
    info->timeline = buffer_bytes(&w->timeline);
    const wide rate = (wide) whole_size * 8 * info->timescale / info->duration;
    info->bandwidth_peak =
        rate >= UINT32_MAX ? UINT32_MAX : (uint32_t) rate + 1;
    info->bandwidth_average = info->bandwidth_peak;
    return track_info_check(info);
}

static int
all_write(struct writer *w, struct buffer *index)
{
    whole_write(w);
    const size_t whole_size = written(w);
    int err = track_texts_set(&w->info, w->build->name, w->build->label,
                              w->build->language, "wvtt");
    if (err == 0)
        err = segments_write(w);
    if (err == 0 && written(w) > TEXT_TRACK_SIZE_MAX)
        err = ERR_LIMIT;
    if (err == 0)
        err = info_finish(w, whole_size);
    return err != 0
               ? err
               : index_file_append(&w->info, buffer_bytes(&w->records), index);
}

void
text_time_write(uint64_t ms, struct buffer *out)
{
    buffer_printf(out, "%02llu:%02llu:%02llu.%03llu",
                  (unsigned long long) (ms / 3600000),
                  (unsigned long long) (ms / 60000 % 60),
                  (unsigned long long) (ms / 1000 % 60),
                  (unsigned long long) (ms % 1000));
}

int
text_track_build(const struct text_build *build, struct buffer *file,
                 struct buffer *index)
{
    struct writer w = {.build = build, .file = file, .file_start = file->len};
    const size_t index_start = index->len;
    if (build->cut_count == 0 || build->cuts[0] != 0 || build->duration == 0
        || build->timescale == 0)
        return ERR_INVALID;
    w.open = calloc((size_t) build->cues->count + 1, sizeof *w.open);
    if (w.open == NULL)
        return ERR_MEMORY;
    buffer_init(&w.records, INDEX_SIZE_MAX);
    buffer_init(&w.timeline, INDEX_SIZE_MAX);
    const int err = all_write(&w, index);
    if (err != 0) {
        file->len = w.file_start;
        index->len = index_start;
    }
    buffer_fini(&w.timeline);
    buffer_fini(&w.records);
    free(w.open);
    return err;
}
