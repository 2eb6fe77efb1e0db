/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a file: a movie, from which an index is tried, or an error with
 * a name. */

#include "media/testing/movie.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
index_try(const struct mp4_track *track, size_t size)
{
    struct index_build build = {.track = track,
                                .media_size = size,
                                .cut_timescale = track->timescale,
                                .name = "v0",
                                .label = "film"};
    uint64_t *cuts;
    if (segment_cuts_of_video(track, 4000, &cuts, &build.cut_count) != 0)
        abort();
    build.cuts = cuts;
    struct buffer file, out;
    struct track_index index;
    struct segment s;
    buffer_init(&file, INDEX_SIZE_MAX);
    buffer_init(&out, 1u << 24);
    if (track_index_build(&build, &file) == 0) {
        /* what is built can be opened */
        if (track_index_open(buffer_bytes(&file), &index) != 0)
            abort();
        cmaf_init_write(&index.info, &out);
        hls_media_playlist_write(&index, &out);
        for (uint32_t i = 0; track_index_segment(&index, i, &s) == 0; i++)
            cmaf_segment_header_write(&index, &s, &out);
    }
    buffer_fini(&out);
    buffer_fini(&file);
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
        index_try(&movie.tracks[i], size);
    mp4_close(&movie);
    return 0;
}
