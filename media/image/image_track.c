/* SPDX-License-Identifier: Apache-2.0 */

/* Writes sheets of thumbnails one behind the other, and the index of them. The
 * timescale is ms. */

#include "media/image/image_track.h"

#include "core/err.h"
#include "media/index_format.h"
#include "media/timeline.h"
#include "media/track_record.h"

#define TIMESCALE 1000

struct writer {
    const struct image_build *build;
    struct track_info info;
    uint64_t written;
    uint32_t size_max; /* of a sheet */
    struct buffer records, timeline, sheet;
};

static uint64_t
divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static uint64_t
sheet_ms(const struct image_build *build)
{
    return (uint64_t) build->interval_ms * build->columns * build->rows;
}

static int
build_check(const struct image_build *b)
{
    if (b->interval_ms == 0 || b->columns == 0 || b->rows == 0
        || b->duration_ms == 0)
        return ERR_INVALID;
    if ((uint64_t) b->columns * b->rows > UINT32_MAX / b->interval_ms
        || divide_up(b->duration_ms, b->interval_ms) > UINT32_MAX
        || image_sheet_count(b) > INDEX_SEGMENTS_MAX)
        return ERR_LIMIT;
    return 0;
}

/* A picture that breaks off has no end. */
static bool
is_jpeg(struct bytes file)
{
    return file.len > 4 && load_be16(file.ptr) == 0xffd8
           && load_be16(file.ptr + file.len - 2) == 0xffd9;
}

static int
sheet_write(struct writer *w, struct segment *s)
{
    const struct image_build *b = w->build;
    w->sheet.len = 0;
    int err = b->sheet_read(b->context, s->number, &w->sheet);
    if (err == 0)
        err = w->sheet.err;
    if (err == 0 && !is_jpeg(buffer_bytes(&w->sheet)))
        err = ERR_INVALID;
    if (err != 0)
        return err;
    s->offset = w->written;
    s->size = (uint32_t) w->sheet.len;
    w->written += s->size;
    w->size_max = s->size > w->size_max ? s->size : w->size_max;
    index_segment_append(s, &w->records);
    return b->sink.write(b->sink.context, buffer_bytes(&w->sheet));
}

/* All sheets are full but the last, which ends with the film. */
static int
sheets_write(struct writer *w)
{
    const struct image_build *b = w->build;
    struct track_info *info = &w->info;
    const uint64_t length = sheet_ms(b);
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < info->segment_count; i++) {
        const uint64_t start = i * length, rest = b->duration_ms - start;
        const uint64_t duration = rest < length ? rest : length;
        struct segment s = {
            .number = i,
            .sample_count = (uint32_t) divide_up(duration, b->interval_ms),
            .decode_time = start,
            .duration = (uint32_t) duration,
        };
        timeline_add(&w->timeline, s.duration);
        if (s.duration > info->segment_duration_max)
            info->segment_duration_max = s.duration;
        err = sheet_write(w, &s);
    }
    info->timeline = buffer_bytes(&w->timeline);
    if (err == 0)
        err = w->records.err != 0 ? w->records.err : w->timeline.err;
    return err;
}

static int
info_start(struct writer *w)
{
    const struct image_build *b = w->build;
    struct track_info *info = &w->info;
    info->kind = TRACK_IMAGE;
    info->timescale = info->frame_rate_num = TIMESCALE;
    info->frame_rate_den = b->interval_ms;
    info->duration = b->duration_ms;
    info->width = b->width;
    info->height = b->height;
    info->columns = b->columns;
    info->rows = b->rows;
    info->sample_count = (uint32_t) divide_up(b->duration_ms, b->interval_ms);
    info->segment_count = (uint32_t) image_sheet_count(b);
    return track_texts_set(info, b->name, NULL, "und", "jpeg");
}

static int
info_finish(struct writer *w)
{
    const uint64_t length = sheet_ms(w->build);
    struct track_info *info = &w->info;
    info->media_size = w->written;
    info->bandwidth_average =
        track_bit_rate(w->written, info->duration, TIMESCALE);
    info->bandwidth_peak = track_bit_rate(
        w->size_max, length < info->duration ? length : info->duration,
        TIMESCALE);
    if (info->bandwidth_peak < info->bandwidth_average)
        info->bandwidth_peak = info->bandwidth_average;
    return track_info_check(info);
}

uint64_t
image_sheet_count(const struct image_build *build)
{
    return divide_up(build->duration_ms, sheet_ms(build));
}

int
image_track_build(const struct image_build *build, struct buffer *index)
{
    struct writer w = {.build = build};
    const size_t start = index->len;
    int err = build_check(build);
    if (err != 0)
        return err;
    buffer_init(&w.records, INDEX_SIZE_MAX);
    buffer_init(&w.timeline, INDEX_SIZE_MAX);
    buffer_init(&w.sheet, IMAGE_SHEET_SIZE_MAX);
    err = info_start(&w);
    if (err == 0)
        err = sheets_write(&w);
    if (err == 0)
        err = info_finish(&w);
    if (err == 0)
        err = index_file_append(&w.info, buffer_bytes(&w.records), index);
    if (err != 0)
        index->len = start;
    buffer_fini(&w.sheet);
    buffer_fini(&w.timeline);
    buffer_fini(&w.records);
    return err;
}
