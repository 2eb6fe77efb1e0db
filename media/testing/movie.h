/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TESTING_MOVIE_H
#define MEDIA_TESTING_MOVIE_H

/*
 * For tests: MP4 files, most with one track, made in memory, the same bytes on every
 * machine, and ways to break them.
 */

#include "media/index.h"
#include "media/mp4/mp4.h"
#include "media/segment_map.h"

#define TEST_MOVIE_SIZE_MAX (16u << 20)

struct test_edit {
    uint64_t duration;  /* ticks of the movie */
    int64_t media_time; /* -1: an empty edit */
    uint32_t rate;      /* (1: 0x10000) */
};

/* What a fragment's data offsets count from. */
enum test_base { TEST_BASE_IS_MOOF, TEST_BASE_OFFSET, TEST_BASE_IMPLIED };

/* What is not set is left out of the file or has the value in parentheses. */
struct test_movie {
    enum track_kind kind;     /* (video) */
    const char *codec;        /* ("avc1", "mp4a", "wvtt") */
    uint32_t timescale;       /* (24000, 44100, 1000) */
    uint32_t movie_timescale; /* (1000) */
    uint32_t sample_count;    /* (1) */
    uint32_t sample_duration; /* (1001, 1024, 1000) */
    uint32_t last_duration;   /* of the last sample (as the others) */
    uint32_t gap_sample;      /* this one, not 0, lasts for gap_duration */
    uint32_t gap_duration;
    uint32_t sample_size; /* all of this size */
    uint32_t gop;         /* samples from one sync sample to the next */
    bool has_b_frames;    /* I P B B: a delay of one sample */
    bool has_edit;
    int64_t media_time;            /* of the edit */
    uint64_t edit_duration;        /* ticks of the movie */
    bool has_empty_edit;           /* before the other */
    uint32_t samples_per_chunk;    /* (all in one) */
    uint32_t chunk_gap;            /* bytes between chunks */
    uint32_t compact_bits;         /* stz2 with fields of this size */
    const char *language;          /* ("und") */
    const struct test_edit *edits; /* instead of those above */
    uint32_t edit_count;
    int32_t composition_shift;     /* added to each composition offset */
    const uint32_t *matrix;        /* 9 words of tkhd (all 0) */
    const char *extended_language; /* elng */
    bool is_moov_last;
    bool is_fragmented; /* a fragment for each chunk */
    bool is_hybrid;     /* fragmented, and the first chunk's samples in moov */
    enum test_base fragment_base;
    bool has_text_fragments;      /* before the track's own in each moof */
    bool is_without_decode_times; /* no tfdt */
    uint64_t fragment_time;       /* decode time of the first fragment */
    uint64_t fragment_gap;        /* ticks more before each of the others */
    bool is_wide;      /* version 1 boxes, co64, 64-bit size of mdat */
    bool is_open_size; /* mdat of size 0: to the end; implies moov first */
    bool has_text_track;
    const char *without; /* a box that is left out */
    /* text: */
    const struct bytes *texts; /* its samples, as many as sample_count */
    const char *text_head;     /* of vttC ("WEBVTT") */
    uint32_t text_flags;       /* displayFlags of tx3g */
    uint8_t text_faces;        /* of its style */
    const char *role;          /* kind, of DASH's roles */
    bool is_chapters;          /* its own */
};

/* 25 frames a second in ticks of 1 ms, so that times are easy to see. */
#define TEST_FILM(...)                                        \
    {                                                         \
        .timescale = 1000, .sample_duration = 40, __VA_ARGS__ \
    }

/* Appends the file. */
void test_movie_write(const struct test_movie *movie, struct buffer *out);
/* One with a track of each, none of them fragmented; moov is last. */
void test_movies_write(const struct test_movie *movies, uint32_t count,
                       struct buffer *out);

/* Where the nth box of the type starts (its size field); asserted. */
size_t test_movie_find(struct bytes file, const char *type, unsigned nth);

/* mp4_open over memory. */
int test_movie_open(const struct bytes *file, struct mp4_movie *out,
                    struct mp4_error *error);
int test_movie_read(void *context, uint64_t offset, void *out, size_t len);

/* A sink that appends to a buffer. */
struct track_sink test_sink(struct buffer *out);

/* Written, parsed, cut at target_ms by `cuts` (NULL: by its own key frames),
 * and built: the track file, which may be NULL, and the index. */
void test_track_build(const struct test_movie *movie, const char *name,
                      uint32_t target_ms, const struct test_movie *cuts,
                      struct buffer *track_file, struct buffer *index);

/* The map of a segment of that track file; the caller frees *memory. */
struct segment_map test_map_open(struct bytes track_file,
                                 const struct segment *segment, void **memory);

#endif
