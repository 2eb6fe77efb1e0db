/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How many bits a second a track is, or a part of one.
 */

#include "media/index_format.h"
#include "media/track_record.h"

typedef unsigned __int128 wide;

#define RUN_MORE_MAX 16 /* segments; in ordinary films 2 at most */

/* A segment, or some that follow each other. */
struct part {
    uint64_t length; /* bytes */
    uint64_t duration;
};

struct run {
    struct part all;
    uint32_t first; /* segment */
    /* the segments right before it, each at its number % RUN_MORE_MAX */
    struct part before[RUN_MORE_MAX];
};

/* Makes the fastest that of the run and of those with more at its front that is
 * faster, of those not longer than one and a half target durations. */
static void
fastest_find(const struct run *run, uint64_t target, struct part *fastest)
{
    struct part part = run->all;
    for (uint32_t more = 1; part.duration * 2 <= target * 3; more++) {
        if ((wide) part.length * fastest->duration
            > (wide) fastest->length * part.duration)
            *fastest = part;
        if (more > RUN_MORE_MAX || more > run->first)
            break;
        const struct part *front =
            &run->before[(run->first - more) % RUN_MORE_MAX];
        part.length += front->length;
        part.duration += front->duration;
    }
}

/*
 * RFC 8216bis §4.4.6.2: the peak is that of any run of segments between half
 * and one and a half target durations, so a last segment of two frames does
 * not count for itself. Looked at are the shortest that ends at each segment
 * and those with up to RUN_MORE_MAX more before it. Headers are counted: they
 * go over the wire too.
 */
static void
bandwidth_find(const struct track_info *info, const struct track_index *index,
               uint64_t (*length_of)(const struct segment *), uint32_t *peak,
               uint32_t *average)
{
    const uint64_t target = info->segment_duration_max;
    uint64_t all = 0;
    struct run run = {0};
    struct part fastest = {0, 1};
    struct segment s, first;
    index_segment_load(index, 0, &first);
    for (uint32_t last = 0; last < info->segment_count; last++) {
        index_segment_load(index, last, &s);
        all += length_of(&s);
        run.all.length += length_of(&s);
        run.all.duration += s.duration;
        while (run.first < last
               && (run.all.duration - first.duration) * 2 >= target) {
            const struct part front = {length_of(&first), first.duration};
            run.all.length -= front.length;
            run.all.duration -= front.duration;
            run.before[run.first % RUN_MORE_MAX] = front;
            index_segment_load(index, ++run.first, &first);
        }
        if (run.all.duration * 2 >= target)
            fastest_find(&run, target, &fastest);
    }
    *peak = track_bit_rate(fastest.length, fastest.duration, info->timescale);
    *average = track_bit_rate(all, info->duration, info->timescale);
}

/* What a player of key frames reads of a segment. */
static uint64_t
key_length(const struct segment *segment)
{
    return segment->key_size == 0 ? 0 : segment_key_length(segment);
}

void
index_bandwidths_set(struct track_info *info, const struct track_index *index)
{
    info->key_bandwidth_peak = 0;
    bandwidth_find(info, index, segment_length, &info->bandwidth_peak,
                   &info->bandwidth_average);
    if (info->kind == TRACK_VIDEO)
        bandwidth_find(info, index, key_length, &info->key_bandwidth_peak,
                       &info->key_bandwidth_average);
}
