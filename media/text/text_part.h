/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TEXT_TEXT_PART_H
#define MEDIA_TEXT_TEXT_PART_H

/*
 * The subtitles of a part of a film as one file, whose times count from where
 * the part starts: players of DASH take those of a file as they are.
 */

#include "media/index.h"

/* Where in the track file the stored segments are that the part is made of.
 * ERR_NOT_FOUND: there are none, or it is no text. */
struct text_part {
    uint32_t first, last; /* segments */
    uint64_t start, end;  /* in the file */
};
int text_part_find(const struct track_index *index, uint32_t first,
                   uint32_t last, struct text_part *out);

/* `stored` is what the file has there. A cue that is seen in several segments
 * is written once; one that is seen before the part starts with it. ERR_INVALID
 * for what is not as text_track_build writes it, ERR_LIMIT, ERR_MEMORY; *out is
 * then of no use. */
int text_part_write(const struct track_index *index,
                    const struct text_part *part, struct bytes stored,
                    struct buffer *out);

#endif
