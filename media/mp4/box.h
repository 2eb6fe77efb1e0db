/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_MP4_BOX_H
#define MEDIA_MP4_BOX_H

/*
 * Boxes inside a moov held in memory (ISO/IEC 14496-12 §4.2), and the error
 * that names one. Internal to media/mp4/.
 */

#include "media/cursor.h"
#include "media/mp4/mp4.h"

#define BOX_TYPE(a, b, c, d)                                           \
    ((uint32_t) (a) << 24 | (uint32_t) (b) << 16 | (uint32_t) (c) << 8 \
     | (uint32_t) (d))

struct box {
    uint32_t type;
    uint64_t offset;   /* of its header in the file */
    struct bytes body; /* behind the header; ptr NULL: there is no such box */
    struct bytes all;  /* with the header */
};

/* What every step of the parser needs: where the bytes come from, and where
 * an error goes. */
struct mp4_parse {
    const uint8_t *memory; /* the moov box */
    uint64_t offset;       /* of that in the file */
    uint64_t file_size;
    uint64_t samples_left; /* of MP4_SAMPLES_MAX, over all tracks */
    struct mp4_error *error;
};

/* Sets the error and returns `err`. `reason` is static text. */
int mp4_fail(const struct mp4_parse *parse, uint32_t type, uint64_t offset,
             int err, const char *reason);
int box_fail(const struct mp4_parse *parse, const struct box *box, int err,
             const char *reason);

static inline bool
box_is_there(const struct box *box)
{
    return box->body.ptr != NULL;
}

/* Takes the box at the start of *rest, inside `parent`. At the end *out has no
 * body pointer. */
int box_next(const struct mp4_parse *parse, const struct box *parent,
             struct bytes *rest, struct box *out);

/* One pass over the children (in `children`, inside `parent`): the box of each
 * wanted type, or one that is not there. A wanted type twice is an error. */
struct box_want {
    uint32_t type;
    struct box *box;
};
int boxes_collect(const struct mp4_parse *parse, const struct box *parent,
                  struct bytes children, const struct box_want *wants,
                  size_t count);

/* A missing box is named with the offset of the parent that lacks it. */
int box_require(const struct mp4_parse *parse, const struct box *parent,
                const struct box *box, uint32_t type);

/* The fields behind version and flags. `is_short` is left for the caller. */
struct cursor full_box_cursor(const struct box *box, uint8_t *version,
                              uint32_t *flags);

/* ---- steps of mp4_open ---- */

/* stsd: sample entry, codecs, width or channels of the track. */
int sample_entry_parse(const struct mp4_parse *parse, const struct box *stsd,
                       struct mp4_track *track);

struct sample_boxes {
    struct box stbl, stts, ctts, stsc, stsz, stz2, stco, co64, stss;
};

/* Fills track->samples (malloc'ed) and sample_count; nothing is allocated on
 * failure. */
int sample_table_parse(struct mp4_parse *parse,
                       const struct sample_boxes *boxes,
                       struct mp4_track *track);

#endif
