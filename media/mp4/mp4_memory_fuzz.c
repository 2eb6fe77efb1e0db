/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a file, behind a first one that says which allocation fails:
 * the answer is that there is no memory, nothing is used that is not there,
 * and nothing is left behind. Linked so that malloc, calloc and realloc of
 * everything in the target are these. */

#include "core/err.h"
#include "media/testing/track.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);

static unsigned calls_left; /* 0: none fails any more */
static bool has_failed;

static bool
fails_now(void)
{
    if (calls_left == 0 || --calls_left > 0)
        return false;
    has_failed = true;
    return true;
}

void *
__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *ptr, size_t size)
{
    return fails_now() ? NULL : __real_realloc(ptr, size);
}

/* What failed has to be what is said. */
static void
answer_check(int err)
{
    if (has_failed && err != ERR_MEMORY)
        abort();
}

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
    uint64_t *cuts;
    int err = segment_cuts_of_video(track, 4000, &cuts, &build.cut_count);
    answer_check(err);
    if (err != 0)
        return;
    build.cuts = cuts;
    answer_check(test_track_store(&t, build));
    test_track_fini(&t);
    free(cuts);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mp4_movie movie; /* large */
    struct mp4_error error = {0};
    if (size < 1)
        return 0;
    const struct bytes file = {data + 1, size - 1};
    has_failed = false;
    calls_left = data[0];
    const int err = test_movie_open(&file, &movie, &error);
    answer_check(err);
    for (size_t i = 0; err == 0 && i < movie.track_count; i++)
        track_try(&movie.tracks[i], file);
    calls_left = 0;
    if (err == 0)
        mp4_close(&movie);
    return 0;
}
