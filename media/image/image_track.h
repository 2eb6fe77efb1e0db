/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_IMAGE_IMAGE_TRACK_H
#define MEDIA_IMAGE_IMAGE_TRACK_H

/* Makes the stored form of thumbnails: "<track>.sheets" and its index, as
 * media/index.h has them. Runs once a film, at ingest. */

#include "media/index.h"

#define IMAGE_SHEET_SIZE_MAX (32u << 20) /* bytes */

struct image_build {
    /* Appends the JPEG of a sheet to the empty buffer. Sheets are asked for
     * once, in order; an error ends the building. */
    int (*sheet_read)(void *context, uint32_t number, struct buffer *out);
    void *context;
    struct track_sink sink;
    uint32_t width, height; /* of one thumbnail */
    uint32_t columns, rows; /* of a sheet */
    uint32_t interval_ms;   /* from one thumbnail to the next */
    uint64_t duration_ms;   /* of the film */
    const char *name;
};

/* How many sheets that takes; 0 for a film without length. */
uint64_t image_sheet_count(const struct image_build *build);

/* The track file goes to the sink, the index is appended to *index, or nothing
 * on failure: ERR_INVALID, also for what is no JPEG, ERR_LIMIT, ERR_MEMORY. */
int image_track_build(const struct image_build *build, struct buffer *index);

#endif
