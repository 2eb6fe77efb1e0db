/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TEXT_TEXT_TRACK_H
#define MEDIA_TEXT_TEXT_TRACK_H

/* Makes the stored form of subtitles: "<track>.text" and its index, as
 * media/index.h has them. Runs once a track, at ingest. */

#include "media/index.h"
#include "media/text/cues.h"

#define TEXT_TRACK_SIZE_MAX (64u << 20) /* bytes */

/* How each segment starts: where presentation time 0 is in the stream's time,
 * in 90 kHz. It is stored with "0", as is right beside CMAF. */
#define TEXT_SEGMENT_START(time) \
    "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:" time "\n\n"

/* "00:01:02.345"; hours have as many digits as they need. */
void text_time_write(uint64_t ms, struct buffer *out);

struct text_build {
    const struct cues *cues;
    const uint64_t *cuts; /* ticks; the film's, ascending from 0 */
    uint32_t cut_count;
    uint32_t timescale;
    uint64_t duration; /* ticks; the film's: what comes later is left out */
    const char *name, *label, *language; /* label NULL: none */
    bool is_forced;
};

/* Appends to both, or nothing on failure: ERR_INVALID for texts that cannot
 * stand in a playlist, ERR_LIMIT, ERR_MEMORY. */
int text_track_build(const struct text_build *build, struct buffer *file,
                     struct buffer *index);

#endif
