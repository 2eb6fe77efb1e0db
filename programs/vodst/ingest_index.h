/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_INDEX_H
#define PROGRAMS_VODST_INGEST_INDEX_H

/*
 * From encoded files, or from a film that is copied, to what a packager reads:
 * a track file and an index of each track, and the asset file that names the
 * tracks.
 */

#include "programs/vodst/ingest_copy.h"
#include "programs/vodst/ingest_subtitles.h"

/* What was made. */
struct indexed {
    unsigned track_count;
    unsigned segment_count;                    /* of the first track */
    double duration_s;                         /* of the longest track */
    double video_duration_s, audio_duration_s; /* of the longest; or 0 */
    uint64_t frame_count; /* of the best video rendition; 0 without video */
};

/*
 * Reads <track>.mp4 of every rendition in the folder, cuts them all at the
 * same moments, writes the track file to <track>.mp4.part, <track>.idx and
 * asset.idx, and opens what it wrote. With `copy`, which else is NULL, the
 * tracks are those of the copy, and its cuts are used up. Of
 * plan->subtitles_count subtitles it writes <track>.text and <track>.idx, of
 * thumbnails i0.sheets, i1.sheets and an index of each. Tells what is wrong by
 * progress_error: ERR_INVALID, ERR_UNSUPPORTED, ERR_IO, ERR_MEMORY.
 */
int index_write(struct progress *progress, const struct source *source,
                const struct encode_plan *plan, struct copy *copy,
                const struct subtitles *subtitles, const char *folder,
                struct indexed *out);

/* Puts what index_write wrote in its place; once more does no harm. ERR_IO. */
int index_finish(struct progress *progress, const struct encode_plan *plan,
                 const char *folder);

#endif
