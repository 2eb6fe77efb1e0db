/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_MP4_BOX_H
#define MEDIA_MP4_BOX_H

/*
 * Boxes inside a moov or moof held in memory (ISO/IEC 14496-12 §4.2), the
 * error that names one, and the steps of mp4_open. Internal to media/mp4/.
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

/* The bytes that a box says are samples. */
struct extent {
    uint64_t start, end; /* in the file */
    uint64_t box_offset;
    uint32_t box_type;
};

struct extents {
    struct extent *list;
    size_t count, capacity;
};

/* What every step of the parser needs: where the bytes come from, and where
 * an error goes. */
struct mp4_parse {
    const uint8_t *memory; /* the moov or moof box */
    uint64_t offset;       /* of that in the file */
    uint64_t file_size;
    uint64_t samples_left; /* of MP4_SAMPLES_MAX, over all tracks */
    uint64_t bytes_left;   /* of the file: no byte is of two samples */
    bool is_fragmented;
    bool is_text_only; /* video and audio are passed over */
    struct extents extents;
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

/* ---- samples' places ---- */

/* Takes [start, start + size) for samples of `box`: ERR_TRUNCATED past the end
 * of the file, ERR_INVALID when there are more bytes of samples than of file.
 */
int extent_add(struct mp4_parse *parse, const struct box *box, uint64_t start,
               uint64_t size);
/* ERR_INVALID, named after the box of the later one, where two overlap. */
int extents_check(const struct mp4_parse *parse);

/* ---- steps of mp4_open ---- */

/* What is known of a track while the file is read, beside the track. */
struct track_state {
    struct box mdhd, elst; /* by these its errors are named */
    bool has_edit;
    uint64_t delay;         /* ticks of the track, of empty edits */
    uint64_t edit_duration; /* ticks of the track, rounded; 0: all */
    uint64_t edit_rounding; /* ticks: so much may that be off */
    uint32_t capacity;      /* of track->samples */
    uint64_t decode_time;   /* at which the next fragment goes on */
};

#define TEXT_WVTT BOX_TYPE('w', 'v', 't', 't')
#define TEXT_TX3G BOX_TYPE('t', 'x', '3', 'g')
#define TEXT_ENTRY_SIZE 8 /* bytes of fields before the child boxes of wvtt */

/* stsd: sample entry, codecs, width or channels of the track. */
int sample_entry_parse(const struct mp4_parse *parse, const struct box *stsd,
                       struct mp4_track *track);

struct sample_boxes {
    struct box stbl, stts, ctts, stsc, stsz, stz2, stco, co64, stss;
};

/* Fills track->samples (malloc'ed) and sample_count; nothing is allocated on
 * failure. A fragmented file need not have any here. */
int sample_table_parse(struct mp4_parse *parse,
                       const struct sample_boxes *boxes,
                       struct mp4_track *track);

/* moov: all tracks and the samples of its tables. On failure the caller
 * frees what is in *movie. */
struct fragment_defaults {
    uint32_t track_id, duration, size, flags;
};
#define FRAGMENT_DEFAULTS_MAX 256 /* tracks of any kind */
struct moov {
    struct track_state states[MP4_TRACKS_MAX], text_states[MP4_TEXTS_MAX];
    uint32_t chapters[MP4_TEXTS_MAX]; /* ids of tracks that are no subtitles */
    size_t chapter_count;
    struct fragment_defaults defaults[FRAGMENT_DEFAULTS_MAX]; /* trex */
    size_t defaults_count;
};
int moov_parse(struct mp4_parse *parse, size_t size, struct moov *moov,
               struct mp4_movie *movie);

/* moof, which parse->memory holds: adds its samples to the tracks. */
int moof_parse(struct mp4_parse *parse, size_t size, struct moov *moov,
               struct mp4_movie *movie);

/* elst, with durations in ticks of the movie. */
int edit_list_parse(const struct mp4_parse *parse, const struct box *elst,
                    uint32_t movie_timescale, struct mp4_track *track,
                    struct track_state *state);

/* What is presented, once all samples are known: media_time, duration, and no
 * sample that is not needed. */
int presentation_set(const struct mp4_parse *parse, struct moov *moov,
                     struct mp4_movie *movie);

#endif
