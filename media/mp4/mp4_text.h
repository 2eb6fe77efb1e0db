/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_MP4_MP4_TEXT_H
#define MEDIA_MP4_MP4_TEXT_H

/*
 * The samples of a text track made cues: WebVTT (wvtt, ISO/IEC 14496-30 §7)
 * and 3GPP's timed text (tx3g, TS 26.245 §5.17), of whose styles bold, italic
 * and underlined stay. What is no such sample is an error with box and offset.
 */

#include "media/mp4/mp4.h"
#include "media/text/cues.h"

#define MP4_TEXT_SAMPLE_SIZE_MAX (256u << 10) /* bytes */

/* Of one of movie.texts. Time 0 of the cues is at zero_us of the track's; what
 * is seen before starts there. There may be no cues in it. What the source
 * says; ERR_INVALID, ERR_TRUNCATED, ERR_LIMIT, ERR_MEMORY. */
int mp4_text_read(const struct mp4_source *source,
                  const struct mp4_track *track, int64_t zero_us,
                  struct cues *out, struct mp4_error *error);

#endif
