/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TIMELINE_H
#define MEDIA_TIMELINE_H

/*
 * How long each segment of a track is, as runs of equal ones: 8 bytes for a
 * film whose segments are all alike. Internal to media/.
 */

#include "media/track.h"

#define TIMELINE_RUN_SIZE 8 /* bytes: u32 le duration, u32 le count */

struct timeline_run {
    uint32_t duration; /* ticks, of each */
    uint32_t count;
};

/* Takes a run off the front; false when no whole one is left. */
static inline bool
timeline_take(struct bytes *timeline, struct timeline_run *out)
{
    if (timeline->len < TIMELINE_RUN_SIZE)
        return false;
    out->duration = load_le32(timeline->ptr);
    out->count = load_le32(timeline->ptr + 4);
    *timeline = bytes_of(timeline->ptr + TIMELINE_RUN_SIZE,
                         timeline->len - TIMELINE_RUN_SIZE);
    return true;
}

/* What is left of a track's segments, or of those of a part of it. */
struct timeline_part {
    struct bytes timeline;
    uint32_t skip, left; /* segments: before the next, and from it on */
};

static inline struct timeline_part
timeline_part_of(const struct track_info *track)
{
    return (struct timeline_part){track->timeline, track->part.first_segment,
                                  track->segment_count};
}

static inline bool
timeline_part_take(struct timeline_part *part, struct timeline_run *out)
{
    while (part->left > 0 && timeline_take(&part->timeline, out)) {
        if (out->count <= part->skip) {
            part->skip -= out->count;
            continue;
        }
        out->count -= part->skip;
        part->skip = 0;
        if (out->count > part->left)
            out->count = part->left;
        part->left -= out->count;
        return true;
    }
    return false;
}

/* Where an image is no longer shown: as long as the others, but for what of it
 * lies outside of the track, or of the part of it. `number` is one of its
 * segments, from 0. */
static inline uint64_t
timeline_image_end(const struct track_info *track, uint32_t number)
{
    const uint64_t each =
        (uint64_t) track->frame_rate_den * track->columns * track->rows;
    const uint64_t full =
        ((uint64_t) track->part.first_segment + number + 1) * each;
    const uint64_t end = track->part.zero + track->duration;
    return full < end ? full : end;
}

static inline void
timeline_append(struct buffer *out, const struct timeline_run *run)
{
    buffer_append_le32(out, run->duration);
    buffer_append_le32(out, run->count);
}

/* One segment more. */
static inline void
timeline_add(struct buffer *timeline, uint32_t duration)
{
    if (timeline->err == 0 && timeline->len >= TIMELINE_RUN_SIZE) {
        uint8_t *last = timeline->ptr + timeline->len - TIMELINE_RUN_SIZE;
        if (load_le32(last) == duration) {
            store_le32(last + 4, load_le32(last + 4) + 1);
            return;
        }
    }
    buffer_append_le32(timeline, duration);
    buffer_append_le32(timeline, 1);
}

#endif
