/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_MP4_MP4_H
#define MEDIA_MP4_MP4_H

/*
 * Reads an MP4 or QuickTime file (ISO/IEC 14496-12, -14, -15), progressive or
 * fragmented, into tables of samples. The bytes come from strangers: every
 * count and offset is checked against the box that holds it, and an error names
 * the box and its offset. Text is read of WebVTT (wvtt) and 3GPP's timed text
 * (tx3g); tracks of any other kind (time codes, chapters) are passed over.
 */

#include "core/buffer.h"
#include "media/track.h"

#define MP4_MOOV_SIZE_MAX (256u << 20) /* bytes */
#define MP4_TRACKS_MAX 64
#define MP4_TEXTS_MAX 32
#define MP4_SAMPLES_MAX 20000000u

struct mp4_error {
    char box[5];        /* "stsz" */
    uint64_t offset;    /* of the box in the file */
    const char *reason; /* static text */
};

/* A sample is presented at decode_time + composition_offset - media_time.
 * Decoding of the track that comes first starts at 0, that of one that comes in
 * later (an empty edit, a first fragment that says so) later. The empty edit of
 * a track that is alone in its file stays: it may belong to other files. */
struct mp4_sample {
    uint64_t offset; /* in the file */
    uint64_t decode_time;
    uint32_t size;
    uint32_t duration;
    int32_t composition_offset; /* never below 0 */
    bool is_sync;
};

struct mp4_track {
    uint32_t id;
    enum track_kind kind;
    struct bytes sample_entry; /* owned by the movie; ISO's form */
    uint64_t entry_offset;     /* of that in the file; text only */
    uint8_t *entry_memory;     /* where that is not the file's own, or NULL */
    char codecs[TRACK_CODECS_LEN_MAX + 1];
    char language[TRACK_LANGUAGE_LEN_MAX + 1];
    uint32_t timescale;
    uint64_t duration;      /* from 0 to the end of what is presented; not
                             * of text */
    int64_t media_time;     /* before it is decoded and not presented, ticks */
    uint32_t matrix[9];     /* of tkhd, for video; all 0: shown as decoded */
    uint32_t width, height; /* as shown: turned, where the matrix turns */
    enum video_range video_range;
    uint32_t channels, sample_rate;
    uint32_t channel_map, joc_complexity; /* as media/track.h */
    bool is_forced;                       /* text; as media/track.h */
    struct mp4_sample *samples;
    uint32_t sample_count; /* those that presentation needs */
};

struct mp4_movie {
    struct mp4_track tracks[MP4_TRACKS_MAX]; /* video and audio only */
    size_t track_count;
    /* presented at decode_time - media_time, which may be below 0; without
     * samples perhaps. media/mp4/mp4_text.h reads them. */
    struct mp4_track texts[MP4_TEXTS_MAX];
    size_t text_count;
    void *memory;
};

/* Reads `len` bytes at `offset`; a short read is ERR_TRUNCATED. */
struct mp4_source {
    int (*read)(void *context, uint64_t offset, void *out, size_t len);
    void *context;
    uint64_t size; /* bytes of the whole file */
};

/* Finds moov at either end, then each moof. *error is set on failure. */
int mp4_open(const struct mp4_source *source, struct mp4_movie *out,
             struct mp4_error *error);

/* The text tracks alone, of any film, with the times that the file has: they do
 * not count from where the film starts. */
int mp4_open_texts(const struct mp4_source *source, struct mp4_movie *out,
                   struct mp4_error *error);
void mp4_close(struct mp4_movie *movie);

#endif
