/* SPDX-License-Identifier: Apache-2.0 */

/* The map and the header of a segment of 180 samples, and what an origin does
 * for the first playlist of a film of two hours. CPU time. */

#include "media/testing/track.h"

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
    struct test_track t;
    struct buffer out;
    struct segment s;
    void *memory;
    test_track_make(&t, &movie, "v0", 7000, NULL);
    if (track_index_segment(&t.index, 1, &s) != 0)
        return;
    const double map_start = cpu_us();
    for (int i = 0; i < ROUNDS; i++) {
        test_map_open(buffer_bytes(&t.media), &s, &memory);
        free(memory);
    }
    const double map_us = (cpu_us() - map_start) / ROUNDS;
    const struct segment_map map =
        test_map_open(buffer_bytes(&t.media), &s, &memory);
    const double start = cpu_us();
    for (int i = 0; i < ROUNDS; i++) {
        buffer_init(&out, 1 << 20);
        cmaf_segment_header_write(&t.index.info, &s, &map, &out);
        buffer_fini(&out);
    }
    printf("segment of %u samples: header %.2f us, map of %u bytes %.2f us\n",
           s.sample_count, (cpu_us() - start) / ROUNDS, s.map_size, map_us);
    free(memory);
    test_track_fini(&t);
}

static void
playlist_bench(void)
{
    const struct test_movie movie = {.timescale = 24,
                                     .sample_duration = 1,
                                     .sample_count = 7200 * 24,
                                     .gop = 96,
                                     .sample_size = 1};
    struct test_track t;
    struct buffer out;
    test_index_make(&t, &movie, 4000);
    const double open_start = cpu_us();
    if (track_index_open(buffer_bytes(&t.file), &t.index) != 0)
        return;
    const double open_us = cpu_us() - open_start;
    const int rounds = ROUNDS / 100;
    const double start = cpu_us();
    for (int i = 0; i < rounds; i++) {
        buffer_init(&out, 1 << 20);
        hls_media_playlist_write(&t.index, &out);
        buffer_fini(&out);
    }
    printf("playlist of %u segments: %.0f us; opening its index of %zu "
           "bytes: %.0f us\n",
           t.index.info.segment_count, (cpu_us() - start) / rounds, t.file.len,
           open_us);
    test_track_fini(&t);
}

int
main(void)
{
    header_bench();
    playlist_bench();
    return 0;
}
