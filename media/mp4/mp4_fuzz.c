/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a file: a movie, of which a track file and an index are tried,
 * or an error with a name. */

#include "media/testing/movie.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
track_try(const struct mp4_track *track, struct bytes file)
{
    const struct mp4_source source = {test_movie_read, &file, file.len};
    struct buffer stored, idx, out;
    struct track_build build = {.track = track,
                                .source = &source,
                                .sink = test_sink(&stored),
                                .cut_timescale = track->timescale,
                                .name = "v0",
                                .label = "film"};
    uint64_t *cuts;
    if (segment_cuts_of_video(track, 4000, &cuts, &build.cut_count) != 0)
        abort();
    build.cuts = cuts;
    struct track_index index;
    struct segment s;
    void *memory;
    buffer_init(&stored, 1u << 24);
    buffer_init(&idx, INDEX_SIZE_MAX);
    buffer_init(&out, 1u << 24);
    if (track_file_build(&build, &idx) == 0) {
        /* what is built can be opened */
        if (track_index_open(buffer_bytes(&idx), &index) != 0
            || index.info.media_size != stored.len)
            abort();
        hls_media_playlist_write(&index, &out);
        for (uint32_t i = 0; track_index_segment(&index, i, &s) == 0; i++) {
            test_map_open(buffer_bytes(&stored), &s, &memory);
            free(memory);
        }
    }
    buffer_fini(&out);
    buffer_fini(&idx);
    buffer_fini(&stored);
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
