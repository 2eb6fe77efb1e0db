/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Makes an index from the samples of a parsed MP4: where to cut, what each
 * segment is, and the records. Runs once a track, at ingest.
 */

#include "media/index_format.h"

#include "core/err.h"
#include "media/mp4/mp4.h"
#include "media/sealed.h"
#include "media/timeline.h"
#include "media/track_record.h"

#include <stdlib.h>

typedef __int128 wide; /* a time of one scale in ticks of another never wraps */

/* Where a sample is presented; the first of the edit is at 0. */
static int64_t
presentation_time(const struct mp4_track *track, uint32_t number)
{
    const struct mp4_sample *s = &track->samples[number];
    return (int64_t) s->decode_time + s->composition_offset - track->media_time;
}

/* ---- where to cut ---- */

int
segment_cuts_of_video(const struct mp4_track *track, uint32_t target_ms,
                      uint64_t **cuts, uint32_t *cut_count)
{
    if (target_ms == 0 || track->timescale == 0)
        return ERR_INVALID;
    uint32_t sync_count = 1;
    for (uint32_t i = 0; i < track->sample_count; i++)
        sync_count += track->samples[i].is_sync;
    uint64_t *list = malloc(sync_count * sizeof *list);
    if (list == NULL)
        return ERR_MEMORY;
    const wide step = (wide) target_ms * track->timescale; /* ms x ticks/s */
    uint32_t count = 0;
    list[count++] = 0;
    wide next = step;
    for (uint32_t i = 1; i < track->sample_count; i++) {
        if (!track->samples[i].is_sync)
            continue;
        const int64_t time = presentation_time(track, i);
        if ((wide) time * 1000 < next)
            continue;
        list[count++] = (uint64_t) time;
        next = ((wide) time * 1000 / step + 1) * step;
    }
    *cuts = list;
    *cut_count = count;
    return 0;
}

/* What is worked out before anything is written. */
struct plan {
    const struct index_build *build;
    struct segment *segments;
    uint32_t segment_count;
    struct buffer segment_records, sample_records, timeline;
    struct track_index index; /* over those */
};

/* The first sample from `from` on that starts at the cut or less than half of
 * itself before it: the nearest one. */
static uint32_t
sample_at_cut(const struct plan *plan, uint32_t from, uint64_t cut)
{
    const struct mp4_track *track = plan->build->track;
    const wide cut_scaled = (wide) cut * track->timescale * 2;
    for (uint32_t i = from; i < track->sample_count; i++) {
        const struct mp4_sample *s = &track->samples[i];
        if (track->kind == TRACK_VIDEO && !s->is_sync)
            continue;
        const wide middle =
            (wide) presentation_time(track, i) * 2 + s->duration;
        if (middle * plan->build->cut_timescale >= cut_scaled)
            return i;
    }
    return track->sample_count;
}

/* Video has to be cut where the other renditions are, or a player that
 * switches would see a jump. */
static bool
is_near_cut(const struct plan *plan, uint32_t number, uint64_t cut)
{
    const struct mp4_track *track = plan->build->track;
    const wide distance =
        ((wide) presentation_time(track, number) * plan->build->cut_timescale
         - (wide) cut * track->timescale)
        * 2;
    return distance <= (wide) track->samples[number].duration
                           * plan->build->cut_timescale;
}

static int
plan_cuts(struct plan *plan)
{
    const struct index_build *build = plan->build;
    const struct mp4_track *track = build->track;
    if (build->cut_count == 0 || build->cuts[0] != 0
        || build->cut_timescale == 0)
        return ERR_INVALID;
    plan->segments = calloc(build->cut_count, sizeof *plan->segments);
    if (plan->segments == NULL)
        return ERR_MEMORY;
    plan->segment_count = 1;
    for (uint32_t i = 1; i < build->cut_count; i++) {
        if (build->cuts[i] <= build->cuts[i - 1])
            return ERR_INVALID;
        const uint32_t last =
            plan->segments[plan->segment_count - 1].first_sample;
        const uint32_t first = sample_at_cut(plan, last, build->cuts[i]);
        if (first == track->sample_count
            || presentation_time(track, first) >= (int64_t) track->duration)
            break;
        if (first == last) /* two cuts within one frame */
            continue;
        if (track->kind == TRACK_VIDEO
            && !is_near_cut(plan, first, build->cuts[i]))
            return ERR_INVALID;
        plan->segments[plan->segment_count++].first_sample = first;
    }
    return 0;
}

/* ---- what each segment is ---- */

static uint32_t
segment_end(const struct plan *plan, uint32_t number)
{
    return number + 1 < plan->segment_count
               ? plan->segments[number + 1].first_sample
               : plan->build->track->sample_count;
}

/* One range of the file, one run of samples. */
static int
segment_place(const struct plan *plan, uint32_t number)
{
    const struct mp4_sample *samples = plan->build->track->samples;
    struct segment *segment = &plan->segments[number];
    const uint32_t end = segment_end(plan, number);
    uint64_t size = 0;
    segment->number = number;
    segment->sample_count = end - segment->first_sample;
    segment->offset = samples[segment->first_sample].offset;
    segment->decode_time = samples[segment->first_sample].decode_time;
    for (uint32_t i = segment->first_sample; i < end; i++) {
        if (samples[i].offset != segment->offset + size)
            return ERR_UNSUPPORTED;
        if (samples[i].size > INDEX_SAMPLE_SIZE_MAX)
            return ERR_LIMIT;
        size += samples[i].size;
    }
    if (size > UINT32_MAX)
        return ERR_LIMIT;
    if (segment->offset + size > plan->build->media_size)
        return ERR_TRUNCATED;
    segment->size = (uint32_t) size;
    return 0;
}

/* When the first of the segment's samples to be shown is shown. Decode order
 * is not that: an open GOP shows samples before its sync sample. */
static int
segment_start(const struct plan *plan, uint32_t number, int64_t *out)
{
    const struct mp4_track *track = plan->build->track;
    const uint32_t first = plan->segments[number].first_sample;
    int64_t start = presentation_time(track, first);
    if (track->kind == TRACK_AUDIO) {
        *out = start < 0 ? 0 : start; /* priming is heard by no one */
        return 0;
    }
    for (uint32_t i = first; i < segment_end(plan, number); i++) {
        const int64_t t = presentation_time(track, i);
        if (t < start)
            start = t;
    }
    /* tfdt is unsigned and starts at 0 here */
    if (start < 0)
        return ERR_UNSUPPORTED;
    *out = number == 0 ? 0 : start;
    return 0;
}

/* Durations are the distances between starts, so that their sum is exactly
 * what is presented. */
static int
plan_durations(struct plan *plan)
{
    const uint64_t duration = plan->build->track->duration;
    int64_t start;
    int err = segment_start(plan, 0, &start);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        int64_t end = (int64_t) duration;
        if (i + 1 < plan->segment_count
            && (err = segment_start(plan, i + 1, &end)) != 0)
            return err;
        if (end <= start)
            return ERR_UNSUPPORTED;
        if (end - start > UINT32_MAX)
            return ERR_LIMIT;
        plan->segments[i].duration = (uint32_t) (end - start);
        start = end;
    }
    return 0;
}

/* ---- records ---- */

/* The flags that the samples need, and the durations where they need none. */
static void
sample_flags_set(const struct mp4_track *track, struct track_index *index)
{
    const uint32_t count = track->sample_count;
    index->duration_default = track->samples[0].duration;
    index->duration_last = track->samples[count - 1].duration;
    const int64_t shift = track->kind == TRACK_VIDEO ? track->media_time : 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct mp4_sample *s = &track->samples[i];
        if (s->composition_offset != shift)
            index->sample_flags |= INDEX_HAS_COMPOSITION;
        if (i + 1 < count && s->duration != index->duration_default)
            index->sample_flags |= INDEX_HAS_DURATIONS;
    }
    index->sample_record_size = index_sample_record_size(index->sample_flags);
}

static int
samples_encode(const struct mp4_track *track, uint32_t flags,
               struct buffer *out)
{
    const int64_t shift = track->kind == TRACK_VIDEO ? track->media_time : 0;
    for (uint32_t i = 0; i < track->sample_count; i++) {
        const struct mp4_sample *s = &track->samples[i];
        const int64_t offset = s->composition_offset - shift;
        if (offset < INT32_MIN || offset > INT32_MAX)
            return ERR_UNSUPPORTED;
        buffer_append_le32(out, s->size << 1 | s->is_sync);
        if (flags & INDEX_HAS_COMPOSITION)
            buffer_append_le32(out, (uint32_t) (int32_t) offset);
        if (flags & INDEX_HAS_DURATIONS)
            buffer_append_le32(out, s->duration);
    }
    return out->err;
}

static void
segment_encode(const struct segment *s, struct buffer *out)
{
    buffer_append_le32(out, s->number);
    buffer_append_le32(out, s->first_sample);
    buffer_append_le32(out, s->sample_count);
    buffer_append_le32(out, s->size);
    buffer_append_le64(out, s->offset);
    buffer_append_le64(out, s->decode_time);
    buffer_append_le32(out, s->duration);
    buffer_append_le32(out, 0);
}

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

static uint32_t
bit_rate(uint64_t bytes, uint64_t duration, uint32_t timescale)
{
    const wide rate =
        ((wide) bytes * 8 * timescale + (wide) duration - 1) / (wide) duration;
    return rate > UINT32_MAX ? UINT32_MAX : (uint32_t) rate;
}

/*
 * RFC 8216bis §4.4.6.2: the peak is that of any run of segments between half
 * and one and a half target durations, so a last segment of two frames does
 * not count for itself. Each run here is the shortest that ends at segment
 * `last`. Headers are counted: they go over the wire too.
 */
static void
bandwidth_set(struct track_info *info, const struct plan *plan)
{
    const uint64_t target = info->segment_duration_max;
    uint64_t all = 0, run = 0, run_duration = 0;
    uint32_t peak = 0, first = 0;
    for (uint32_t last = 0; last < plan->segment_count; last++) {
        const struct segment *s = &plan->segments[last];
        const uint64_t size =
            s->size + cmaf_segment_header_size(&plan->index, s);
        all += size;
        run += size;
        run_duration += s->duration;
        while (first < last
               && (run_duration - plan->segments[first].duration) * 2
                      >= target) {
            const struct segment *f = &plan->segments[first++];
            run -= f->size + cmaf_segment_header_size(&plan->index, f);
            run_duration -= f->duration;
        }
        const uint32_t rate = bit_rate(run, run_duration, info->timescale);
        if (run_duration * 2 >= target && run_duration * 2 <= target * 3
            && rate > peak)
            peak = rate;
    }
    info->bandwidth_peak = peak;
    info->bandwidth_average = bit_rate(all, info->duration, info->timescale);
}

/* Equal segments in a row are one run. */
static int
timeline_set(struct track_info *info, struct plan *plan)
{
    struct timeline_run run = {0};
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        const uint32_t duration = plan->segments[i].duration;
        if (run.count > 0 && duration != run.duration) {
            timeline_append(&plan->timeline, &run);
            run.count = 0;
        }
        run.duration = duration;
        run.count++;
    }
    timeline_append(&plan->timeline, &run);
    info->timeline = buffer_bytes(&plan->timeline);
    return plan->timeline.err;
}

static int
text_copy(char *out, size_t size, const char *text)
{
    if (strlen(text) >= size)
        return ERR_INVALID;
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

static int
info_texts_set(struct track_info *info, const struct index_build *build)
{
    const struct mp4_track *track = build->track;
    const char *language =
        build->language == NULL ? track->language : build->language;
    const char *label = build->label == NULL ? "" : build->label;
    int err;
    if ((err = text_copy(info->name, sizeof info->name, build->name)) != 0
        || (err = text_copy(info->label, sizeof info->label, label)) != 0
        || (err = text_copy(info->language, sizeof info->language, language))
               != 0)
        return err;
    return text_copy(info->codecs, sizeof info->codecs, track->codecs);
}

static int
info_set(struct track_info *info, struct plan *plan)
{
    const struct mp4_track *track = plan->build->track;
    const int err = info_texts_set(info, plan->build);
    if (err != 0)
        return err;
    info->kind = track->kind;
    info->timescale = track->timescale;
    info->duration = track->duration;
    info->media_size = plan->build->media_size;
    info->media_time = track->media_time;
    info->sample_count = track->sample_count;
    info->segment_count = plan->segment_count;
    info->sample_entry = track->sample_entry;
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        if (plan->segments[i].duration > info->segment_duration_max)
            info->segment_duration_max = plan->segments[i].duration;
    }
    if (track->kind == TRACK_VIDEO) {
        info->width = track->width;
        info->height = track->height;
        frame_rate_set(info, track);
    } else {
        info->channels = track->channels;
        info->sample_rate = track->sample_rate;
    }
    return timeline_set(info, plan);
}

/* ---- all of it ---- */

static int
plan_make(struct plan *plan)
{
    const struct mp4_track *track = plan->build->track;
    struct track_index *index = &plan->index;
    int err;
    if (track->sample_count == 0 || track->duration > INT64_MAX)
        return ERR_INVALID;
    if ((err = plan_cuts(plan)) != 0)
        return err;
    if (plan->segment_count > INDEX_SEGMENTS_MAX
        || track->sample_count > INDEX_SAMPLES_MAX)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        if ((err = segment_place(plan, i)) != 0)
            return err;
    }
    if ((err = plan_durations(plan)) != 0)
        return err;
    sample_flags_set(track, index);
    err = samples_encode(track, index->sample_flags, &plan->sample_records);
    if (err != 0 || (err = info_set(&index->info, plan)) != 0)
        return err;
    for (uint32_t i = 0; i < plan->segment_count; i++)
        segment_encode(&plan->segments[i], &plan->segment_records);
    index->segments = plan->segment_records.ptr;
    index->samples = plan->sample_records.ptr;
    bandwidth_set(&index->info, plan);
    return plan->segment_records.err;
}

static int
plan_write(const struct plan *plan, struct buffer *out)
{
    const struct track_index *index = &plan->index;
    const int err = track_info_check(&index->info);
    if (err != 0)
        return err;
    const size_t start = sealed_begin(out, INDEX_MAGIC, INDEX_VERSION);
    track_info_encode(&index->info, out);
    buffer_append_le32(out, index->sample_flags);
    buffer_append_le32(out, index->duration_default);
    buffer_append_le32(out, index->duration_last);
    buffer_append_bytes(out, buffer_bytes(&plan->segment_records));
    buffer_append_bytes(out, buffer_bytes(&plan->sample_records));
    if (out->err == 0 && out->len - start > INDEX_SIZE_MAX)
        out->err = ERR_LIMIT;
    sealed_end(out, start);
    return out->err;
}

int
track_index_build(const struct index_build *build, struct buffer *out)
{
    struct plan plan = {.build = build};
    const size_t start = out->len;
    buffer_init(&plan.segment_records, INDEX_SIZE_MAX);
    buffer_init(&plan.sample_records, INDEX_SIZE_MAX);
    buffer_init(&plan.timeline, INDEX_SIZE_MAX);
    int err = plan_make(&plan);
    if (err == 0)
        err = plan_write(&plan, out);
    if (err != 0)
        out->len = start;
    buffer_fini(&plan.timeline);
    buffer_fini(&plan.sample_records);
    buffer_fini(&plan.segment_records);
    free(plan.segments);
    return err;
}
