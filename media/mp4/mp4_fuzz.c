/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a file: a movie, of which a track file and an index are tried,
 * or an error with a name. */

#include "media/testing/track.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
track_try(const struct mp4_track *track, struct bytes file)
{
    const struct mp4_source source = {test_movie_read, &file, file.len};
    struct track_build build = {.track = track,
                                .source = &source,
                                .cut_timescale = track->timescale,
                                .name = "v0",
                                .label = "film"};
    struct test_track t;
    struct buffer out;
    uint64_t *cuts;
    if (segment_cuts_of_video(track, 4000, &cuts, &build.cut_count) != 0)
        abort();
    build.cuts = cuts;
    buffer_init(&out, 1u << 24);
    if (test_track_store(&t, build) == 0) {
        struct segment s;
        void *memory;
        hls_media_playlist_write(&t.index, &out);
        for (uint32_t i = 0; track_index_segment(&t.index, i, &s) == 0; i++) {
            test_map_open(buffer_bytes(&t.media), &s, &memory);
            free(memory);
        }
    }
    test_track_fini(&t);
    buffer_fini(&out);
    free(cuts);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct bytes file = {data, size};
    struct mp4_movie movie;
    struct mp4_error error = {0};
    if (test_movie_open(&file, &movie, &error) != 0) {
        if (error.reason == NULL || strlen(error.box) != 4)
            abort();
        return 0;
    }
    for (size_t i = 0; i < movie.track_count; i++)
        track_try(&movie.tracks[i], file);
    mp4_close(&movie);
    return 0;
}
