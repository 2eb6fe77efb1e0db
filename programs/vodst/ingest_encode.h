/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_INGEST_ENCODE_H
#define PROGRAMS_VODST_INGEST_ENCODE_H

/*
 * The renditions of a film, encoded by one FFmpeg that reads it once: each in
 * a single-track MP4 of its own, with key frames at the same moments.
 */

#include "programs/vodst/ingest_codec.h"
#include "programs/vodst/ingest_source.h"

#define LADDER_RUNGS_MAX 8

struct rung {
    unsigned width, height;
    unsigned bitrate_kbps_max;
};

/* A grid of thumbnails is one picture, a sheet. Parts of the film, which may
 * begin in the middle of one, have each as a picture of its own. */
#define THUMBNAIL_COLUMNS 5
#define THUMBNAIL_ROWS 5
#define THUMBNAIL_TRACKS 2

struct thumbnails {
    unsigned width, height; /* of one */
    uint32_t interval_ms;   /* 0: there are none */
};

/* A piece of the pictures, which has an encoder of its own. It starts with a
 * key frame. */
struct encode_piece {
    uint64_t from_ms, to_ms; /* of the film; to 0: to its end */
};

/* Of one sound, as EBU R 128 has them. */
struct loudness {
    bool is_known; /* what is silent has none */
    double integrated, peak, range, threshold, offset;
};

/* What to make of a source. */
struct encode_plan {
    struct rung rungs[LADDER_RUNGS_MAX]; /* best first; v0, v1, ... */
    unsigned rung_count;
    unsigned audio_count;         /* a0, a1, ... as source.audio */
    unsigned subtitles_count;     /* s0, s1, ...; not the encoder's business */
    struct thumbnails thumbnails; /* i0, and each alone: i1 */
    uint32_t segment_ms;
    unsigned threads; /* of the video encoder; 0: what there is */
    enum video_codec codec;
    unsigned crf;
    const char *preset;
    double loudness_lufs; /* to bring all sounds to; 0: they are left alone */
    struct loudness loudness[SOURCE_AUDIO_MAX];
    uint32_t piece_ms;    /* a multiple of segment_ms */
    unsigned piece_count; /* of the whole film; 0: it is encoded at once */
    bool is_piece;        /* only `piece` is made */
    bool is_sample;       /* the same, to the second or so */
    struct encode_piece piece;
    bool counts_from_picture; /* also what has no rungs: it is of this film */
};

/* "720,480,360": 1 to LADDER_RUNGS_MAX heights of 64 to 4320, as pixels of the
 * picture's shorter side, sorted greatest first. ERR_INVALID. */
int ladder_parse(const char *text, unsigned heights[LADDER_RUNGS_MAX],
                 unsigned *count);

/* The rungs that are not above the source; at least one, of its own size. */
void ladder_fit(const unsigned *heights, unsigned count,
                const struct source *source, struct encode_plan *plan);

/* Thumbnails whose longer side is `size` pixels, or the source's; none of a
 * source without video. */
void thumbnails_fit(unsigned size, uint32_t interval_ms,
                    const struct source *source, struct encode_plan *plan);

/* FFmpeg's arguments for the plan. Texts are in `text`, which must outlive
 * them. ERR_LIMIT, ERR_MEMORY. */
#define ENCODE_ARGUMENTS_MAX ARGUMENTS_MAX
int encode_arguments(const struct source *source,
                     const struct encode_plan *plan, struct buffer *text,
                     const char *argv[ENCODE_ARGUMENTS_MAX]);

/* How far a run is among the others that make the film: what is done of it at
 * its start, and what it does. */
struct encode_share {
    double before, own; /* of 1 */
};

/*
 * Writes v0.mp4, ..., a0.mp4, ... and i0.1.jpg, i0.2.jpg, ... into the folder:
 * sheets of what is seen at each interval; i0.0.jpg is empty; i1.0.jpg,
 * i1.1.jpg, ... are the same one by one. Tells what is
 * wrong by progress_error. *frame_count: frames of each video rendition, as
 * FFmpeg counted them; 0 without video. share NULL: it makes all.
 */
int encode_run(struct progress *progress, const struct source *source,
               const struct encode_plan *plan, const char *folder,
               const struct encode_share *share, uint64_t *frame_count);

#endif
