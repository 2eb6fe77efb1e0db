/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How many bits a second a track is, or a part of one.
 */

#include "media/index_format.h"
#include "media/track_record.h"

/*
 * RFC 8216bis §4.4.6.2: the peak is that of any run of segments between half
 * and one and a half target durations, so a last segment of two frames does
 * not count for itself. Each run here is the shortest that ends at segment
 * `last`. Headers are counted: they go over the wire too.
 */
static void
bandwidth_find(const struct track_info *info, const struct track_index *index,
               uint64_t (*length_of)(const struct segment *), uint32_t *peak,
               uint32_t *average)
{
    const uint64_t target = info->segment_duration_max;
    uint64_t all = 0, run = 0, run_duration = 0;
    struct segment s, first;
    index_segment_load(index, 0, &first);
    for (uint32_t last = 0; last < info->segment_count; last++) {
        index_segment_load(index, last, &s);
        all += length_of(&s);
        run += length_of(&s);
        run_duration += s.duration;
        while (first.number < last
               && (run_duration - first.duration) * 2 >= target) {
            run -= length_of(&first);
            run_duration -= first.duration;
            index_segment_load(index, first.number + 1, &first);
        }
        const uint32_t rate =
            track_bit_rate(run, run_duration, info->timescale);
        if (run_duration * 2 >= target && run_duration * 2 <= target * 3
            && rate > *peak)
            *peak = rate;
    }
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
    info->bandwidth_peak = info->key_bandwidth_peak = 0;
    bandwidth_find(info, index, segment_length, &info->bandwidth_peak,
                   &info->bandwidth_average);
    if (info->kind == TRACK_VIDEO)
        bandwidth_find(info, index, key_length, &info->key_bandwidth_peak,
                       &info->key_bandwidth_average);
}
