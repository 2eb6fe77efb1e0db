/* SPDX-License-Identifier: Apache-2.0 */

/* Where to cut a track, and how long each segment is. Runs once a track, at
 * ingest. */

#include "media/segment_plan.h"

#include "core/err.h"
#include "media/mp4/mp4.h"

#include <stdlib.h>

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

int
segment_cuts_of_audio(const struct mp4_track *track, uint32_t target_ms,
                      uint64_t **cuts, uint32_t *cut_count)
{
    if (target_ms == 0 || track->timescale == 0)
        return ERR_INVALID;
    const uint64_t ms = track->duration * 1000 / track->timescale;
    uint64_t count = ms / target_ms;
    count += ms % target_ms > 0 || count == 0;
    if (count > INDEX_SEGMENTS_MAX)
        return ERR_LIMIT;
    uint64_t *list = calloc(count, sizeof *list);
    if (list == NULL)
        return ERR_MEMORY;
    for (uint64_t i = 0; i < count; i++)
        list[i] = i * target_ms;
    *cuts = list;
    *cut_count = (uint32_t) count;
    return 0;
}

int
segment_cuts_extend(const struct mp4_track *track, uint32_t target_ms,
                    uint32_t cut_timescale, uint64_t **cuts,
                    uint32_t *cut_count)
{
    if (target_ms == 0 || track->timescale == 0)
        return ERR_INVALID;
    const uint64_t step = (uint64_t) target_ms * cut_timescale / 1000;
    const wide exact =
        (wide) track->duration * cut_timescale / track->timescale;
    const uint64_t end = exact < INT64_MAX ? (uint64_t) exact : INT64_MAX;
    const uint64_t last = (*cuts)[*cut_count - 1];
    const uint64_t more = end > last && step > 0 ? (end - last) / step : 0;
    if (more < 2) /* the usual odd end stays with the last segment */
        return 0;
    if (more + *cut_count > INDEX_SEGMENTS_MAX)
        return ERR_LIMIT;
    uint64_t *list = realloc(*cuts, (*cut_count + more - 1) * sizeof *list);
    if (list == NULL)
        return ERR_MEMORY;
    *cuts = list;
    for (uint64_t i = 1; i < more; i++)
        list[(*cut_count)++] = last + i * step;
    return 0;
}

struct plan {
    const struct track_build *build;
    struct planned_segment *segments;
    uint32_t segment_count;
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
    const struct track_build *build = plan->build;
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

uint32_t
segment_cuts_missed(const struct track_build *build)
{
    const struct plan plan = {.build = build};
    uint32_t last = 0;
    for (uint32_t i = 1; i < build->cut_count; i++) {
        const uint32_t first = sample_at_cut(&plan, last, build->cuts[i]);
        if (first == build->track->sample_count || first == last
            || !is_near_cut(&plan, first, build->cuts[i]))
            return i;
        last = first;
    }
    return build->cut_count;
}

/* ---- how long each segment is ---- */

static uint32_t
segment_end(const struct plan *plan, uint32_t number)
{
    return number + 1 < plan->segment_count
               ? plan->segments[number + 1].first_sample
               : plan->build->track->sample_count;
}

/* When the first of the segment's samples to be shown is shown. Decode order
 * is not that: an open GOP shows samples before its sync sample. */
static int
presentation_start(const struct plan *plan, uint32_t number, int64_t *out)
{
    const struct mp4_track *track = plan->build->track;
    const uint32_t first = plan->segments[number].first_sample;
    int64_t start = presentation_time(track, first);
    if (track->kind == TRACK_AUDIO) {
        /* priming is heard by no one, and what comes in late is waited for */
        *out = number == 0 || start < 0 ? 0 : start;
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
    int err = presentation_start(plan, 0, &start);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        int64_t end = (int64_t) duration;
        if (i + 1 < plan->segment_count
            && (err = presentation_start(plan, i + 1, &end)) != 0)
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

int
segment_plan_make(const struct track_build *build,
                  struct planned_segment **segments, uint32_t *count)
{
    const struct mp4_track *track = build->track;
    struct plan plan = {.build = build};
    if (track->sample_count == 0 || track->duration > INT64_MAX)
        return ERR_INVALID;
    int err = plan_cuts(&plan);
    if (err == 0 && plan.segment_count > INDEX_SEGMENTS_MAX)
        err = ERR_LIMIT;
    for (uint32_t i = 0; err == 0 && i < plan.segment_count; i++)
        plan.segments[i].sample_count =
            segment_end(&plan, i) - plan.segments[i].first_sample;
    if (err == 0)
        err = plan_durations(&plan);
    if (err != 0) {
        free(plan.segments);
        return err;
    }
    *segments = plan.segments;
    *count = plan.segment_count;
    return 0;
}
