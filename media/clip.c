/* SPDX-License-Identifier: Apache-2.0 */

#include "media/clip.h"

#include "core/err.h"
#include "media/index_format.h"
#include "media/timeline.h"

#include <stdio.h>

#define SECONDS_MAX 1000000000u
#define MICROSECONDS 1000000u
/* Times are given rounded: what is nearer to a border than this is at it. */
#define SLACK_US 1000u

typedef unsigned __int128 wide;

/* ---- the query ---- */

static bool
digit_take(struct bytes *text, uint32_t *digit)
{
    if (text->len == 0 || text->ptr[0] < '0' || text->ptr[0] > '9')
        return false;
    *digit = text->ptr[0] - '0';
    *text = bytes_of(text->ptr + 1, text->len - 1);
    return true;
}

static int
seconds_parse(struct bytes text, uint64_t *us)
{
    uint64_t value = 0;
    uint32_t digit, unit = MICROSECONDS;
    if (!digit_take(&text, &digit))
        return ERR_INVALID;
    do {
        value = value * 10 + digit;
        if (value > SECONDS_MAX)
            return ERR_INVALID;
    } while (digit_take(&text, &digit));
    value *= MICROSECONDS;
    if (text.len > 1 && text.ptr[0] == '.') {
        text = bytes_of(text.ptr + 1, text.len - 1);
        while (unit > 1 && digit_take(&text, &digit))
            value += digit * (unit /= 10);
    }
    if (text.len != 0)
        return ERR_INVALID;
    *us = value;
    return 0;
}

/* Takes what comes before the next "&" off the front. */
static struct bytes
argument_take(struct bytes *query)
{
    const uint8_t *end = memchr(query->ptr, '&', query->len);
    const size_t len = end != NULL ? (size_t) (end - query->ptr) : query->len;
    const struct bytes argument = bytes_of(query->ptr, len);
    const size_t taken = len + (end != NULL);
    *query = bytes_of(query->ptr + taken, query->len - taken);
    return argument;
}

static int
value_take(struct bytes argument, struct bytes name, uint64_t *us,
           bool *is_given)
{
    if (argument.len < name.len
        || !bytes_equal(bytes_of(argument.ptr, name.len), name))
        return 0;
    if (*is_given)
        return ERR_INVALID;
    *is_given = true;
    return seconds_parse(
        bytes_of(argument.ptr + name.len, argument.len - name.len), us);
}

int
clip_parse(struct bytes query, struct clip *out)
{
    struct clip clip = {.end_us = CLIP_TO_END};
    bool has_start = false, has_end = false;
    int err = 0;
    while (err == 0 && query.len > 0) {
        const struct bytes argument = argument_take(&query);
        err = value_take(argument, BYTES_LITERAL("start="), &clip.start_us,
                         &has_start);
        if (err == 0)
            err = value_take(argument, BYTES_LITERAL("end="), &clip.end_us,
                             &has_end);
    }
    if (err != 0)
        return err;
    if (!has_start && !has_end)
        return ERR_NOT_FOUND;
    if (clip.end_us <= clip.start_us)
        return ERR_INVALID;
    *out = clip;
    return 0;
}

/* ---- borders ---- */

/* Where a segment starts, or the last one ends. */
struct border {
    uint32_t number;
    uint64_t ticks;
    uint64_t next; /* the ticks of the one after it; of the last its own */
};

static wide
scaled(const struct track_info *track, uint64_t us)
{
    return (wide) us * track->timescale;
}

/* The last one that is not after the time. */
static struct border
border_find(const struct track_info *track, uint64_t us)
{
    const wide time = scaled(track, us) / MICROSECONDS;
    struct bytes timeline = track->timeline;
    struct timeline_run run;
    struct border b = {0};
    while (timeline_take(&timeline, &run)) {
        const uint64_t end = b.ticks + (uint64_t) run.duration * run.count;
        const bool is_in_it = end > time;
        if (is_in_it)
            run.count = (uint32_t) (((uint64_t) time - b.ticks) / run.duration);
        b.number += run.count;
        b.ticks += (uint64_t) run.duration * run.count;
        b.next = b.ticks;
        if (is_in_it) {
            b.next += run.duration;
            break;
        }
    }
    return b;
}

static struct border
border_after(struct border b)
{
    const bool is_last = b.next == b.ticks;
    b.number += !is_last;
    b.ticks = b.next; /* and nobody asks for the next */
    return b;
}

static struct border
border_nearest(const struct track_info *track, uint64_t us)
{
    const struct border b = border_find(track, us);
    const wide time = scaled(track, us);
    const bool is_next = (wide) b.next * MICROSECONDS - time
                         < time - (wide) b.ticks * MICROSECONDS;
    return b.next != b.ticks && is_next ? border_after(b) : b;
}

static uint64_t
border_us(const struct track_info *track, struct border b)
{
    return (uint64_t) (((wide) b.ticks * MICROSECONDS + track->timescale / 2)
                       / track->timescale);
}

/* To the borders around it. */
static int
clip_widen(const struct track_info *track, struct clip *clip)
{
    const struct border start = border_find(track, clip->start_us + SLACK_US);
    if (start.number == track->segment_count)
        return ERR_NOT_FOUND;
    clip->start_us = border_us(track, start);
    if (clip->end_us == CLIP_TO_END)
        return 0;
    const uint64_t end_us =
        clip->end_us > SLACK_US ? clip->end_us - SLACK_US : 0;
    struct border end = border_find(track, end_us);
    if ((wide) end.ticks * MICROSECONDS < scaled(track, end_us))
        end = border_after(end);
    if (end.number <= start.number)
        end = border_after(start);
    /* what goes on longer than the picture goes on */
    clip->end_us = end.number == track->segment_count ? CLIP_TO_END
                                                      : border_us(track, end);
    return 0;
}

/* What of a track is in it; ERR_NOT_FOUND: nothing. */
static int
borders_find(const struct track_info *track, const struct clip *clip,
             struct border *start, struct border *end)
{
    *start = border_nearest(track, clip->start_us);
    *end = border_nearest(track, clip->end_us);
    return start->number < end->number ? 0 : ERR_NOT_FOUND;
}

/* ---- parts ---- */

static uint64_t
ticks_of(const struct track_info *track, uint64_t us)
{
    return (uint64_t) ((scaled(track, us) + MICROSECONDS / 2) / MICROSECONDS);
}

/* Thumbnails are not cut where the video is: the first and the last are seen
 * for as long as they are in the part. */
static int
images_clip(struct track_info *track, const struct clip *clip)
{
    const uint64_t each = track->frame_rate_den;
    const uint64_t start = ticks_of(track, clip->start_us);
    uint64_t end = track->duration;
    if (!track_is_of_parts(track))
        return ERR_NOT_FOUND;
    if (clip->end_us != CLIP_TO_END && ticks_of(track, clip->end_us) < end)
        end = ticks_of(track, clip->end_us);
    if (start >= end)
        return ERR_NOT_FOUND;
    track->part =
        (struct track_part){.first_segment = (uint32_t) (start / each),
                            .start = start,
                            .zero = start};
    track->segment_count = (uint32_t) ((end + each - 1) / each - start / each);
    track->duration = end - start;
    return 0;
}

int
track_index_clip(struct track_index *index, const struct clip *clip)
{
    struct track_info *info = &index->info;
    struct border start, end;
    if (info->kind == TRACK_IMAGE) {
        const int err = images_clip(info, clip);
        if (err == 0)
            index->segments +=
                (size_t) info->part.first_segment * INDEX_SEGMENT_SIZE;
        return err;
    }
    const int err = borders_find(info, clip, &start, &end);
    if (err != 0)
        return err;
    index->segments += (size_t) start.number * INDEX_SEGMENT_SIZE;
    info->part.first_segment = start.number;
    info->part.start = start.ticks;
    info->segment_count = end.number - start.number;
    return 0;
}

static int
track_clip(struct track_info *track, const struct clip *clip)
{
    struct border start, end;
    if (track->kind == TRACK_IMAGE)
        return images_clip(track, clip);
    const int err = borders_find(track, clip, &start, &end);
    if (err != 0)
        return err;
    track->part.first_segment = start.number;
    track->part.start = start.ticks;
    track->part.zero = ticks_of(track, clip->start_us);
    track->segment_count = end.number - start.number;
    track->duration = end.ticks - track->part.zero;
    return 0;
}

static const struct track_info *
first_video(const struct asset *asset)
{
    for (size_t i = 0; i < asset->track_count; i++) {
        if (asset->tracks[i].kind == TRACK_VIDEO)
            return &asset->tracks[i];
    }
    return &asset->tracks[0];
}

static void
query_write(struct asset *asset, const struct clip *clip)
{
    const int len =
        snprintf(asset->query, sizeof asset->query, "start=%llu.%06llu",
                 (unsigned long long) (clip->start_us / MICROSECONDS),
                 (unsigned long long) (clip->start_us % MICROSECONDS));
    if (clip->end_us != CLIP_TO_END)
        snprintf(asset->query + len, sizeof asset->query - (size_t) len,
                 "&end=%llu.%06llu",
                 (unsigned long long) (clip->end_us / MICROSECONDS),
                 (unsigned long long) (clip->end_us % MICROSECONDS));
}

int
asset_clip(struct asset *asset, const struct clip *clip)
{
    struct clip wide_clip = *clip;
    const int err = clip_widen(first_video(asset), &wide_clip);
    if (err != 0)
        return err;
    size_t count = 0;
    for (size_t i = 0; i < asset->track_count; i++) {
        struct track_info track = asset->tracks[i];
        if (track_clip(&track, &wide_clip) == 0)
            asset->tracks[count++] = track;
    }
    if (count == 0)
        return ERR_NOT_FOUND;
    asset->track_count = count;
    query_write(asset, &wide_clip);
    return 0;
}

/* ---- bandwidths ---- */

int
clip_rates_init(struct clip_rates *rates, const struct asset *part)
{
    rates->count = 0;
    const int err = clip_parse(bytes_of_text(part->query), &rates->clip);
    if (err != 0)
        return err;
    for (; rates->count < part->track_count; rates->count++) {
        struct clip_rate *rate = &rates->list[rates->count];
        *rate = (struct clip_rate){.peak = 0};
        memcpy(rate->name, part->tracks[rates->count].name, sizeof rate->name);
    }
    return 0;
}

void
clip_rates_find(struct clip_rates *rates, size_t number,
                const struct track_index *index)
{
    struct clip_rate *rate = &rates->list[number];
    struct track_index part = *index;
    if (track_index_clip(&part, &rates->clip) != 0)
        return;
    struct track_info info = part.info;
    info.duration = info.segment_duration_max = 0;
    for (uint32_t i = 0; i < info.segment_count; i++) {
        struct segment s;
        index_segment_load(&part, i, &s);
        info.duration += s.duration;
        if (s.duration > info.segment_duration_max)
            info.segment_duration_max = s.duration;
    }
    index_bandwidths_set(&info, &part);
    rate->peak = info.bandwidth_peak;
    rate->average = info.bandwidth_average;
    rate->key_peak = info.key_bandwidth_peak;
    rate->key_average = info.key_bandwidth_average;
}

static void
rate_set(struct track_info *track, const struct clip_rate *rate)
{
    track->bandwidth_peak = rate->peak;
    track->bandwidth_average = rate->average;
    track->key_bandwidth_peak = rate->key_peak;
    track->key_bandwidth_average = rate->key_average;
}

void
asset_rates_set(struct asset *part, const struct clip_rates *rates)
{
    for (size_t i = 0; i < part->track_count; i++) {
        for (size_t k = 0; k < rates->count; k++) {
            if (rates->list[k].peak != 0
                && strcmp(part->tracks[i].name, rates->list[k].name) == 0)
                rate_set(&part->tracks[i], &rates->list[k]);
        }
    }
}
