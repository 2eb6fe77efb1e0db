/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TESTING_TRACK_H
#define MEDIA_TESTING_TRACK_H

/* For tests: tracks in their stored form, and what is known of one. */

#include "media/testing/movie.h"
#include "media/text/text_track.h"

struct test_track {
    struct buffer media, file; /* the track file and its index */
    struct track_index index;
};

/* As `build` says, but for its sink, and what could be built is opened.
 * Returns what track_file_build does; finished by the caller either way. */
int test_track_store(struct test_track *t, struct track_build build);
/* test_track_build, and what came of it is opened. */
void test_track_make(struct test_track *t, const struct test_movie *movie,
                     const char *name, uint32_t target_ms,
                     const struct test_movie *cuts);
/* The index alone: track files of very many segments are large. */
void test_index_make(struct test_track *t, const struct test_movie *movie,
                     uint32_t target_ms);
/* A text track: as `build` says, of the cues of a WebVTT file. */
void test_text_make(struct test_track *t, struct text_build build,
                    const char *webvtt);
void test_track_fini(struct test_track *t);

/* Three segments of 2 s in ticks of 1/512 s, 640x360 or stereo, 1000 bit/s;
 * of such the tests change what they are about. */
struct track_info test_info(enum track_kind kind, const char *name,
                            const char *codecs, const char *language,
                            const char *label);

/* What was written as a text. */
const char *test_text(struct buffer *b);

#endif
