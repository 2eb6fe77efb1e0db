/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_SEGMENT_PLAN_H
#define MEDIA_SEGMENT_PLAN_H

/* Which samples of a track become which segment. Internal to media/. */

#include "media/index.h"

typedef __int128 wide; /* a time of one scale in ticks of another never wraps */

struct planned_segment {
    uint32_t first_sample; /* from 0 */
    uint32_t sample_count;
    uint32_t duration; /* ticks, of what is presented */
};

/* By build->track and its cuts; all samples, in order. *segments is
 * malloc'ed. */
int segment_plan_make(const struct track_build *build,
                      struct planned_segment **segments, uint32_t *count);

#endif
