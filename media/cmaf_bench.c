/* SPDX-License-Identifier: Apache-2.0 */

/* The map and the header of a segment of 180 samples, and what an origin does
 * for the first playlist of a film of two hours. CPU time. */

#include "media/testing/movie.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 20000

static double
cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static void
header_bench(void)
{
    const struct test_movie movie = {.sample_count = 360,
                                     .gop = 180,
                                     .has_b_frames = true,
                                     .has_edit = true,
                                     .media_time = 1001};
    struct buffer file, idx, out;
    struct track_index index;
    struct segment s;
    void *memory;
    buffer_init(&file, TEST_MOVIE_SIZE_MAX);
    buffer_init(&idx, INDEX_SIZE_MAX);
    test_track_build(&movie, "v0", 7000, NULL, &file, &idx);
    if (track_index_open(buffer_bytes(&idx), &index) != 0
        || track_index_segment(&index, 1, &s) != 0)
        return;
    const double map_start = cpu_us();
    for (int i = 0; i < ROUNDS; i++) {
        test_map_open(buffer_bytes(&file), &s, &memory);
        free(memory);
    }
    const double map_us = (cpu_us() - map_start) / ROUNDS;
    const struct segment_map map =
        test_map_open(buffer_bytes(&file), &s, &memory);
    const double start = cpu_us();
    for (int i = 0; i < ROUNDS; i++) {
        buffer_init(&out, 1 << 20);
        cmaf_segment_header_write(&index.info, &s, &map, &out);
        buffer_fini(&out);
    }
    printf("segment of %u samples: header %.2f us, map of %u bytes %.2f us\n",
           s.sample_count, (cpu_us() - start) / ROUNDS, s.map_size, map_us);
    free(memory);
    buffer_fini(&idx);
    buffer_fini(&file);
}

static void
playlist_bench(void)
{
    const struct test_movie movie = {.timescale = 24,
                                     .sample_duration = 1,
                                     .sample_count = 7200 * 24,
                                     .gop = 96,
                                     .sample_size = 1};
    struct buffer file, out;
    struct track_index index;
    buffer_init(&file, INDEX_SIZE_MAX);
    test_track_build(&movie, "v0", 4000, NULL, NULL, &file);
    const double open_start = cpu_us();
    if (track_index_open(buffer_bytes(&file), &index) != 0)
        return;
    const double open_us = cpu_us() - open_start;
    const int rounds = ROUNDS / 100;
    const double start = cpu_us();
    for (int i = 0; i < rounds; i++) {
        buffer_init(&out, 1 << 20);
        hls_media_playlist_write(&index, &out);
        buffer_fini(&out);
    }
    printf("playlist of %u segments: %.0f us; opening its index of %zu "
           "bytes: %.0f us\n",
           index.info.segment_count, (cpu_us() - start) / rounds, file.len,
           open_us);
    buffer_fini(&file);
}

int
main(void)
{
    header_bench();
    playlist_bench();
    return 0;
}
