/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Writes the track file and its index from the samples of a parsed MP4, once a
 * track, at ingest. Or the index alone, and what each segment is made from when
 * it is asked for, its place:
 *
 *   of each sample:  offset              u64 le, in the source
 *                    size | sync << 31   u32 le
 *                    duration            u32 le
 *                    composition offset  u32 le
 *   XXH3-64 of those                     u64 le
 */

#include "core/err.h"
#include "media/crypt/subsamples.h"
#include "media/index_format.h"
#include "media/mp4/mp4.h"
#include "media/segment_map.h"
#include "media/segment_plan.h"
#include "media/timeline.h"
#include "media/track_record.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* A range of whole pages leaves at half the cost of one that is not. */
#define PAGE_SIZE 4096u             /* bytes */
#define COPY_SIZE (1u << 20)        /* bytes, at once */
#define PIECES_SIZE_MAX (64u << 20) /* bytes */
#define SAMPLE_SIZE_MAX 0x7fffffffu /* bytes; a bit of the map is for sync */
#define PLACE_SIZE 20u              /* bytes */
#define PLACES_SUM_SIZE 8u          /* bytes */
/* of a map, for the subsamples of a sample: ten slices, each in the open by
 * some hundred bytes */
#define SUBSAMPLES_ROOM 64u /* bytes */

struct writer {
    const struct track_build *build;
    struct planned_segment *plan;
    uint32_t segment_count;
    struct track_info info;
    uint64_t written;      /* bytes of the track file */
    struct buffer *places; /* NULL: segments are written */
    uint32_t map_size;     /* of a segment that has its place; 0: as needed */
    struct buffer pieces;  /* a map and a header */
    struct buffer records; /* of the segments so far */
    struct buffer timeline;
    struct sample *samples; /* of the current segment */
    uint16_t *subsample_counts;
    struct buffer subsamples;
    struct buffer sample;            /* the bytes of one */
    struct subsample_reader *reader; /* NULL: of no use for this codec */
    uint8_t *copy;
};

/* ---- the info ---- */

static uint64_t
greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        const uint64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static void
frame_rate_set(struct track_info *info, const struct mp4_track *track)
{
    uint64_t ticks = 0;
    for (uint32_t i = 0; i < track->sample_count; i++)
        ticks += track->samples[i].duration;
    uint64_t num = (uint64_t) track->sample_count * track->timescale;
    uint64_t den = ticks == 0 ? 1 : ticks;
    const uint64_t divisor = greatest_common_divisor(num, den);
    num /= divisor;
    den /= divisor;
    for (; num > UINT32_MAX || den > UINT32_MAX; num >>= 1, den >>= 1)
        ;
    info->frame_rate_num = (uint32_t) num;
    info->frame_rate_den = den == 0 ? 1 : (uint32_t) den;
}

/* All but what only the written file tells: its size and the bandwidths. */
static int
info_set(struct writer *w)
{
    const struct track_build *build = w->build;
    const struct mp4_track *track = build->track;
    struct track_info *info = &w->info;
    const int err = track_texts_set(info, build->name, build->label,
                                    build->language == NULL ? track->language
                                                            : build->language,
                                    track->codecs);
    if (err != 0)
        return err;
    info->kind = track->kind;
    info->timescale = track->timescale;
    info->duration = track->duration;
    info->media_time = track->media_time;
    info->sample_count = track->sample_count;
    info->segment_count = w->segment_count;
    info->sample_entry = track->sample_entry;
    for (uint32_t i = 0; i < w->segment_count; i++) {
        timeline_add(&w->timeline, w->plan[i].duration);
        if (w->plan[i].duration > info->segment_duration_max)
            info->segment_duration_max = w->plan[i].duration;
    }
    info->timeline = buffer_bytes(&w->timeline);
    if (track->kind == TRACK_VIDEO) {
        info->width = track->width;
        info->height = track->height;
        memcpy(info->matrix, track->matrix, sizeof info->matrix);
        info->video_range = track->video_range;
        frame_rate_set(info, track);
    } else {
        info->channels = track->channels;
        info->sample_rate = track->sample_rate;
        info->channel_map = track->channel_map;
        info->joc_complexity = track->joc_complexity;
    }
    return w->timeline.err != 0 ? w->timeline.err : track_info_check(info);
}

/* ---- the file ---- */

static int
bytes_write(struct writer *w, struct bytes bytes)
{
    w->written += bytes.len;
    return w->places != NULL
               ? 0
               : w->build->sink.write(w->build->sink.context, bytes);
}

/* What was put together goes out, and its memory is used again. */
static int
pieces_write(struct writer *w)
{
    if (w->pieces.err != 0)
        return w->pieces.err;
    const int err = bytes_write(w, buffer_bytes(&w->pieces));
    w->pieces.len = 0;
    return err;
}

static int
range_copy(struct writer *w, uint64_t offset, uint64_t size)
{
    const struct mp4_source *source = w->build->source;
    while (size > 0) {
        const size_t len = size < COPY_SIZE ? (size_t) size : COPY_SIZE;
        int err = source->read(source->context, offset, w->copy, len);
        if (err == 0)
            err = bytes_write(w, bytes_of(w->copy, len));
        if (err != 0)
            return err;
        offset += len;
        size -= len;
    }
    return 0;
}

/* Samples that lie one behind the other are read as one. */
static int
samples_copy(struct writer *w, const struct planned_segment *planned)
{
    const struct mp4_sample *s =
        &w->build->track->samples[planned->first_sample];
    uint64_t start = s->offset, end = start;
    for (uint32_t i = 0; i < planned->sample_count; i++, s++) {
        if (s->offset != end) {
            const int err = range_copy(w, start, end - start);
            if (err != 0)
                return err;
            start = end = s->offset;
        }
        end += s->size;
    }
    return range_copy(w, start, end - start);
}

/* The samples' bytes in *size. */
static int
samples_take(struct writer *w, const struct planned_segment *planned,
             uint32_t *size)
{
    const struct mp4_track *track = w->build->track;
    const int64_t shift = track->kind == TRACK_VIDEO ? track->media_time : 0;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < planned->sample_count; i++) {
        const struct mp4_sample *s = &track->samples[planned->first_sample + i];
        const int64_t offset = s->composition_offset - shift;
        if (offset < INT32_MIN || offset > INT32_MAX)
            return ERR_UNSUPPORTED;
        if (s->size > SAMPLE_SIZE_MAX)
            return ERR_LIMIT;
        w->samples[i] = (struct sample){.size = s->size,
                                        .duration = s->duration,
                                        .composition_offset = (int32_t) offset,
                                        .is_sync = s->is_sync};
        sum += s->size;
    }
    if (sum > UINT32_MAX)
        return ERR_LIMIT;
    *size = (uint32_t) sum;
    return 0;
}

static int
sample_read(struct writer *w, const struct mp4_sample *s)
{
    const struct mp4_source *source = w->build->source;
    if (s->size > w->sample.capacity) {
        uint8_t *p = realloc(w->sample.ptr, s->size);
        if (p == NULL)
            return ERR_MEMORY;
        w->sample.ptr = p;
        w->sample.capacity = s->size;
    }
    return s->size == 0 ? 0
                        : source->read(source->context, s->offset,
                                       w->sample.ptr, s->size);
}

/* The subsamples into the map; none where the samples are not what the codec
 * says: the film can be played then, and not be encrypted. */
static int
subsamples_take(struct writer *w, const struct planned_segment *planned,
                struct segment_map *map)
{
    w->subsamples.len = 0;
    for (uint32_t i = 0; i < planned->sample_count; i++) {
        const struct mp4_sample *s =
            &w->build->track->samples[planned->first_sample + i];
        struct subsample found[SUBSAMPLES_MAX];
        const int err = sample_read(w, s);
        if (err != 0)
            return err;
        if (subsample_reader_next(w->reader, bytes_of(w->sample.ptr, s->size),
                                  found, &w->subsample_counts[i])
            != 0)
            return 0;
        buffer_append(&w->subsamples, found,
                      w->subsample_counts[i] * sizeof found[0]);
    }
    map->subsamples = (const struct subsample *) (void *) w->subsamples.ptr;
    map->subsample_counts = w->subsample_counts;
    return w->subsamples.err;
}

/* All of the record but where it lies. */
static int
segment_take(struct writer *w, const struct planned_segment *planned,
             uint32_t number, struct segment *out)
{
    *out = (struct segment){
        .number = number,
        .sample_count = planned->sample_count,
        .offset = w->written,
        .decode_time =
            w->build->track->samples[planned->first_sample].decode_time,
        .duration = planned->duration,
    };
    const int err = samples_take(w, planned, &out->size);
    out->key_size = w->samples[0].is_sync ? w->samples[0].size : 0;
    return err;
}

static uint32_t
padding_of(uint64_t size)
{
    return (uint32_t) (-size % PAGE_SIZE);
}

/* Into w->pieces; without the subsamples where they have no room. */
static void
map_write(struct writer *w, struct segment_map *map)
{
    uint32_t padding;
    segment_map_encode(map, &w->pieces);
    if (w->map_size == 0) {
        padding = padding_of(w->written + w->pieces.len);
    } else {
        if (w->pieces.len > w->map_size) {
            map->subsample_counts = NULL;
            w->pieces.len = 0;
            segment_map_encode(map, &w->pieces);
        }
        if (w->pieces.len > w->map_size)
            w->pieces.err = ERR_INVALID;
        padding = w->map_size - (uint32_t) w->pieces.len;
    }
    if (w->pieces.err == 0)
        segment_map_pad(&w->pieces, 0, padding);
}

static int
segment_write(struct writer *w, const struct planned_segment *planned,
              uint32_t number)
{
    struct segment_map map = {.samples = w->samples,
                              .sample_count = planned->sample_count};
    struct segment s;
    int err = segment_take(w, planned, number, &s);
    if (err == 0 && w->reader != NULL)
        err = subsamples_take(w, planned, &map);
    if (err != 0)
        return err;
    map_write(w, &map);
    s.map_size = (uint32_t) w->pieces.len;
    cmaf_segment_header_write(&w->info, &s, &map, &w->pieces);
    s.header_size = (uint32_t) w->pieces.len - s.map_size;
    index_segment_append(&s, &w->records);
    err = pieces_write(w);
    return err != 0 ? err : samples_copy(w, planned);
}

static void
places_append(struct writer *w, const struct planned_segment *planned)
{
    const struct mp4_sample *s =
        &w->build->track->samples[planned->first_sample];
    const size_t start = w->places->len;
    for (uint32_t i = 0; i < planned->sample_count; i++, s++) {
        buffer_append_le64(w->places, s->offset);
        buffer_append_le32(w->places, s->size | (uint32_t) s->is_sync << 31);
        buffer_append_le32(w->places, s->duration);
        buffer_append_le32(w->places, (uint32_t) s->composition_offset);
    }
    if (w->places->err == 0)
        buffer_append_le64(w->places, XXH3_64bits(w->places->ptr + start,
                                                  w->places->len - start));
}

static int
segment_place(struct writer *w, const struct planned_segment *planned,
              uint32_t number)
{
    const struct segment_map map = {.samples = w->samples,
                                    .sample_count = planned->sample_count};
    struct segment s;
    const int err = segment_take(w, planned, number, &s);
    if (err != 0)
        return err;
    segment_map_encode(&map, &w->pieces);
    if (w->pieces.err != 0)
        return w->pieces.err;
    uint64_t map_size = w->pieces.len;
    w->pieces.len = 0;
    if (w->reader != NULL)
        map_size += (uint64_t) planned->sample_count * SUBSAMPLES_ROOM;
    map_size += padding_of(map_size);
    if (map_size > SEGMENT_MAP_SIZE_MAX)
        return ERR_LIMIT;
    s.map_size = (uint32_t) map_size;
    s.header_size = cmaf_segment_header_size(&w->info, &s, &map);
    index_segment_append(&s, &w->records);
    places_append(w, planned);
    w->written += s.map_size + segment_length(&s);
    return w->places->err;
}

static int
file_write(struct writer *w)
{
    cmaf_init_write(&w->info, &w->pieces);
    int err = pieces_write(w);
    for (uint32_t i = 0; err == 0 && i < w->segment_count; i++)
        err = w->places != NULL ? segment_place(w, &w->plan[i], i)
                                : segment_write(w, &w->plan[i], i);
    return err;
}

/* ---- the index ---- */

static int
index_write(struct writer *w, struct buffer *out)
{
    const struct track_index index = {.segments = w->records.ptr};
    if (w->records.err != 0)
        return w->records.err;
    w->info.media_size = w->written;
    index_bandwidths_set(&w->info, &index);
    return index_file_append(&w->info, buffer_bytes(&w->records), out);
}

static int
memory_take(struct writer *w)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < w->segment_count; i++) {
        if (w->plan[i].sample_count > most)
            most = w->plan[i].sample_count;
    }
    w->samples = calloc(most, sizeof *w->samples);
    w->subsample_counts = calloc(most, sizeof *w->subsample_counts);
    w->copy = malloc(COPY_SIZE);
    if (w->samples == NULL || w->subsample_counts == NULL || w->copy == NULL)
        return ERR_MEMORY;
    const int err =
        subsample_reader_new(w->build->track->sample_entry, &w->reader);
    return err == ERR_MEMORY ? err : 0;
}

static void
writer_init(struct writer *w, const struct track_build *build)
{
    *w = (struct writer){.build = build};
    buffer_init(&w->pieces, PIECES_SIZE_MAX);
    buffer_init(&w->records, INDEX_SIZE_MAX);
    buffer_init(&w->timeline, INDEX_SIZE_MAX);
    buffer_init(&w->subsamples, PIECES_SIZE_MAX);
    buffer_init(&w->sample, SAMPLE_SIZE_MAX);
}

static void
writer_fini(struct writer *w)
{
    subsample_reader_free(w->reader);
    free(w->copy);
    free(w->subsample_counts);
    free(w->samples);
    buffer_fini(&w->sample);
    buffer_fini(&w->subsamples);
    buffer_fini(&w->timeline);
    buffer_fini(&w->records);
    buffer_fini(&w->pieces);
}

static int
track_build_run(const struct track_build *build, struct buffer *places,
                struct buffer *index)
{
    struct writer w;
    const size_t start = index->len;
    writer_init(&w, build);
    w.places = places;
    int err = segment_plan_make(build, &w.plan, &w.segment_count);
    if (err == 0)
        err = info_set(&w);
    if (err == 0)
        err = memory_take(&w);
    if (err == 0)
        err = file_write(&w);
    if (err == 0)
        err = index_write(&w, index);
    if (err != 0)
        index->len = start;
    free(w.plan);
    writer_fini(&w);
    return err;
}

int
track_file_build(const struct track_build *build, struct buffer *index)
{
    return track_build_run(build, NULL, index);
}

/* ---- a segment from its place ---- */

int
track_layout_build(const struct track_build *build, struct buffer *places,
                   struct buffer *index)
{
    return track_build_run(build, places, index);
}

struct place_range
track_layout_places(const struct track_index *index, uint32_t number)
{
    struct place_range range = {0};
    struct segment s;
    for (uint32_t i = 0;; i++) {
        index_segment_load(index, i, &s);
        range.size = (size_t) s.sample_count * PLACE_SIZE + PLACES_SUM_SIZE;
        if (i == number)
            return range;
        range.offset += range.size;
    }
}

static int
places_load(const struct segment *segment, struct bytes places,
            uint64_t source_size, struct mp4_sample *out)
{
    const size_t size = (size_t) segment->sample_count * PLACE_SIZE;
    uint64_t sum = 0;
    if (places.len != size + PLACES_SUM_SIZE)
        return ERR_INVALID;
    if (load_le64(places.ptr + size) != XXH3_64bits(places.ptr, size))
        return ERR_CHECKSUM;
    for (uint32_t i = 0; i < segment->sample_count; i++) {
        const uint8_t *p = places.ptr + (size_t) i * PLACE_SIZE;
        const uint32_t word = load_le32(p + 8);
        out[i] = (struct mp4_sample){
            .offset = load_le64(p),
            .size = word & SAMPLE_SIZE_MAX,
            .is_sync = word >> 31,
            .duration = load_le32(p + 12),
            .composition_offset = (int32_t) load_le32(p + 16),
        };
        if (out[i].offset > source_size
            || out[i].size > source_size - out[i].offset)
            return ERR_INVALID;
        sum += out[i].size;
    }
    out[0].decode_time = segment->decode_time;
    return sum == segment->size ? 0 : ERR_INVALID;
}

int
track_segment_build(const struct track_index *index, uint32_t number,
                    struct bytes places, const struct mp4_source *source,
                    struct track_sink sink)
{
    struct segment s;
    const int found = track_index_segment(index, number, &s);
    if (found != 0)
        return found;
    struct planned_segment planned = {.sample_count = s.sample_count,
                                      .duration = s.duration};
    struct mp4_track track = {
        .kind = index->info.kind,
        .sample_entry = index->info.sample_entry,
        .media_time = index->info.media_time,
        .samples = calloc(s.sample_count, sizeof *track.samples),
    };
    const struct track_build build = {
        .track = &track, .source = source, .sink = sink};
    struct writer w;
    writer_init(&w, &build);
    w.plan = &planned;
    w.segment_count = 1;
    w.info = index->info;
    w.written = s.offset;
    w.map_size = s.map_size;
    int err = track.samples == NULL ? ERR_MEMORY : memory_take(&w);
    if (err == 0)
        err = places_load(&s, places, source->size, track.samples);
    if (err == 0)
        err = segment_write(&w, &planned, number);
    if (err == 0 && w.written - s.offset != s.map_size + segment_length(&s))
        err = ERR_INVALID;
    writer_fini(&w);
    free(track.samples);
    return err;
}
