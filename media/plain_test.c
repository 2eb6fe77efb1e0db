/* SPDX-License-Identifier: Apache-2.0 */

#include "media/plain.h"

#include "core/err.h"
#include "media/testing/movie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define FILES_MAX 8
#define SEGMENT_MS 4000

/* What the film was made into, in the order of the making. */
struct kept {
    struct {
        char name[32];
        struct buffer bytes;
    } files[FILES_MAX];
    size_t count;
    int refuse; /* at the file of this number, from 1 */
};

static int
kept_write(void *context, const char *name, struct bytes bytes)
{
    struct kept *kept = context;
    assert_true(kept->count < FILES_MAX);
    if (kept->refuse == (int) kept->count + 1)
        return ERR_FULL;
    assert_true(strlen(name) < sizeof kept->files[0].name);
    memcpy(kept->files[kept->count].name, name, strlen(name) + 1);
    buffer_init(&kept->files[kept->count].bytes, TEST_MOVIE_SIZE_MAX);
    buffer_append_bytes(&kept->files[kept->count++].bytes, bytes);
    return 0;
}

static void
kept_fini(struct kept *kept)
{
    while (kept->count > 0)
        buffer_fini(&kept->files[--kept->count].bytes);
}

static struct bytes
kept_file(struct kept *kept, const char *name)
{
    for (size_t i = 0; i < kept->count; i++) {
        if (strcmp(kept->files[i].name, name) == 0)
            return buffer_bytes(&kept->files[i].bytes);
    }
    fail_msg("no file %s", name);
    return bytes_of(NULL, 0);
}

static int
layout(struct bytes *film, struct kept *out, struct mp4_error *error)
{
    const struct mp4_source source = {test_movie_read, film, film->len};
    const struct plain_sink sink = {kept_write, out};
    return plain_film_layout(&source, SEGMENT_MS, true, &sink, error);
}

static struct bytes
places_of(const struct track_index *index, uint32_t number, struct bytes all)
{
    const struct place_range range = track_layout_places(index, number);
    assert_true(range.offset + range.size <= all.len);
    return bytes_of(all.ptr + range.offset, range.size);
}

static const struct test_movie picture = {.timescale = 1000,
                                          .sample_duration = 40,
                                          .sample_count = 255,
                                          .gop = 25,
                                          .has_b_frames = true,
                                          .has_edit = true,
                                          .media_time = 40,
                                          .samples_per_chunk = 1,
                                          .chunk_gap = 3};
static const struct test_movie sound = {.kind = TRACK_AUDIO,
                                        .sample_count = 441,
                                        .last_duration = 500,
                                        .has_edit = true,
                                        .media_time = 1024,
                                        .samples_per_chunk = 2,
                                        .chunk_gap = 5};

/* ---- tests ---- */

static void
a_segment_made_when_asked_for_is_that_of_ingest(void **state)
{
    struct buffer film, media, file;
    struct track_index stored, index;
    struct mp4_error error;
    struct kept kept = {0};
    buffer_init(&film, TEST_MOVIE_SIZE_MAX);
    buffer_init(&media, TEST_MOVIE_SIZE_MAX);
    buffer_init(&file, INDEX_SIZE_MAX);
    test_movie_write(&picture, &film);
    test_track_build(&picture, "v0", SEGMENT_MS, NULL, &media, &file);
    assert_int_equal(track_index_open(buffer_bytes(&file), &stored), 0);

    struct bytes bytes = buffer_bytes(&film);
    assert_int_equal(layout(&bytes, &kept, &error), 0);
    assert_int_equal(kept.count, 3);
    assert_string_equal(kept.files[2].name, "asset.idx");
    assert_int_equal(track_index_open(kept_file(&kept, "v0.idx"), &index), 0);
    assert_int_equal(index.info.segment_count, stored.info.segment_count);
    assert_int_equal(index.info.bandwidth_peak, stored.info.bandwidth_peak);

    const struct mp4_source source = {test_movie_read, &bytes, bytes.len};
    for (uint32_t i = 0; i < index.info.segment_count; i++) {
        struct segment want, got;
        struct buffer out;
        void *memory;
        buffer_init(&out, TEST_MOVIE_SIZE_MAX);
        assert_int_equal(track_index_segment(&stored, i, &want), 0);
        assert_int_equal(track_index_segment(&index, i, &got), 0);
        assert_int_equal(got.map_size % 4096, 0);
        assert_int_equal(
            track_segment_build(
                &index, i, places_of(&index, i, kept_file(&kept, "v0.places")),
                &source, test_sink(&out)),
            0);
        assert_true(bytes_equal(
            bytes_of(out.ptr + got.map_size, out.len - got.map_size),
            bytes_of(media.ptr + segment_start(&want),
                     (size_t) segment_length(&want))));
        got.offset = 0;
        (void) test_map_open(buffer_bytes(&out), &got, &memory);
        free(memory);
        buffer_fini(&out);
    }
    kept_fini(&kept);
    buffer_fini(&file);
    buffer_fini(&media);
    buffer_fini(&film);
}

static void
sound_alone_is_cut_as_often_as_asked(void **state)
{
    struct buffer film;
    struct track_index index;
    struct mp4_error error;
    struct kept kept = {0};
    buffer_init(&film, TEST_MOVIE_SIZE_MAX);
    test_movie_write(&sound, &film);
    struct bytes bytes = buffer_bytes(&film);
    assert_int_equal(layout(&bytes, &kept, &error), 0);
    assert_int_equal(track_index_open(kept_file(&kept, "a0.idx"), &index), 0);
    assert_int_equal(index.info.segment_count, 3); /* of 10.2 s */
    kept_fini(&kept);
    buffer_fini(&film);
}

/* Key frames of one picture every 14 s, of the other every 2 s, and the sound
 * goes on for 13.8 s behind the last that they have in common. */
static void
sound_behind_the_last_cut_leaves_pictures_as_they_are(void **state)
{
    const struct test_movie tracks[] = {
        {.timescale = 1000,
         .sample_duration = 200,
         .sample_count = 349,
         .gop = 70},
        {.timescale = 1000,
         .sample_duration = 200,
         .sample_count = 349,
         .gop = 10},
        {.kind = TRACK_AUDIO, .sample_count = 3006},
    };
    struct buffer film;
    struct track_index index;
    struct mp4_error error;
    struct kept kept = {0};
    buffer_init(&film, TEST_MOVIE_SIZE_MAX);
    test_movies_write(tracks, 3, &film);
    struct bytes bytes = buffer_bytes(&film);
    const int err = layout(&bytes, &kept, &error);
    if (err != 0)
        fail_msg("%s: %s", err_text(err), error.reason);
    assert_int_equal(kept.count, 7);
    assert_int_equal(track_index_open(kept_file(&kept, "v0.idx"), &index), 0);
    assert_int_equal(index.info.segment_count, 5);
    assert_int_equal(track_index_open(kept_file(&kept, "v1.idx"), &index), 0);
    assert_int_equal(index.info.segment_count, 5);
    assert_int_equal(track_index_open(kept_file(&kept, "a0.idx"), &index), 0);
    assert_int_equal(index.info.segment_count, 7); /* 56, 60 and 64 s */
    kept_fini(&kept);
    buffer_fini(&film);
}

static void
sound_alone_is_cut_for_as_long_as_any_of_it(void **state)
{
    const struct test_movie tracks[] = {
        {.kind = TRACK_AUDIO, .sample_count = 431},   /* 10 s */
        {.kind = TRACK_AUDIO, .sample_count = 12920}, /* 300 s */
    };
    struct buffer film;
    struct track_index index;
    struct mp4_error error;
    struct kept kept = {0};
    buffer_init(&film, TEST_MOVIE_SIZE_MAX);
    test_movies_write(tracks, 2, &film);
    struct bytes bytes = buffer_bytes(&film);
    assert_int_equal(layout(&bytes, &kept, &error), 0);
    assert_int_equal(track_index_open(kept_file(&kept, "a0.idx"), &index), 0);
    assert_int_equal(index.info.segment_count, 3);
    assert_int_equal(track_index_open(kept_file(&kept, "a1.idx"), &index), 0);
    assert_int_equal(index.info.segment_count, 75);
    kept_fini(&kept);
    buffer_fini(&film);
}

static void
places_that_are_not_of_the_segment_make_none(void **state)
{
    struct buffer film, out;
    struct track_index index;
    struct mp4_error error;
    struct kept kept = {0};
    buffer_init(&film, TEST_MOVIE_SIZE_MAX);
    buffer_init(&out, TEST_MOVIE_SIZE_MAX);
    test_movie_write(&sound, &film);
    struct bytes bytes = buffer_bytes(&film);
    assert_int_equal(layout(&bytes, &kept, &error), 0);
    assert_int_equal(track_index_open(kept_file(&kept, "a0.idx"), &index), 0);

    const struct bytes places =
        places_of(&index, 0, kept_file(&kept, "a0.places"));
    const struct mp4_source source = {test_movie_read, &bytes, bytes.len};
    const struct mp4_source shorter = {test_movie_read, &bytes, 2000};
    uint8_t *changed = malloc(places.len);
    assert_int_equal(
        track_segment_build(&index, 2, places, &source, test_sink(&out)),
        ERR_INVALID);
    assert_int_equal(track_segment_build(&index, 0,
                                         bytes_of(places.ptr, places.len - 1),
                                         &source, test_sink(&out)),
                     ERR_INVALID);
    assert_int_equal(
        track_segment_build(&index, 0, places, &shorter, test_sink(&out)),
        ERR_INVALID);
    for (size_t i = 0; i < places.len; i += 7) {
        memcpy(changed, places.ptr, places.len);
        changed[i] ^= 1;
        assert_int_equal(track_segment_build(&index, 0,
                                             bytes_of(changed, places.len),
                                             &source, test_sink(&out)),
                         ERR_CHECKSUM);
    }
    assert_int_equal(
        track_segment_build(&index, 3, places, &source, test_sink(&out)),
        ERR_NOT_FOUND);
    assert_int_equal(out.len, 0);
    free(changed);
    kept_fini(&kept);
    buffer_fini(&out);
    buffer_fini(&film);
}

static void
a_bad_film_is_named_by_its_box_and_a_full_disk_is_not(void **state)
{
    struct buffer film;
    struct mp4_error error;
    struct kept kept = {.refuse = 2};
    buffer_init(&film, TEST_MOVIE_SIZE_MAX);
    test_movie_write(&sound, &film);
    struct bytes bytes = buffer_bytes(&film);
    assert_int_equal(layout(&bytes, &kept, &error), ERR_FULL);
    kept_fini(&kept);

    kept.refuse = 0;
    const size_t at = test_movie_find(bytes, "stsz", 0);
    store_be32(film.ptr + at, 7);
    assert_int_equal(layout(&bytes, &kept, &error), ERR_INVALID);
    assert_int_equal(kept.count, 0);
    assert_string_equal(error.box, "stsz");
    assert_int_equal(error.offset, at);
    buffer_fini(&film);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_segment_made_when_asked_for_is_that_of_ingest),
        cmocka_unit_test(sound_alone_is_cut_as_often_as_asked),
        cmocka_unit_test(sound_behind_the_last_cut_leaves_pictures_as_they_are),
        cmocka_unit_test(sound_alone_is_cut_for_as_long_as_any_of_it),
        cmocka_unit_test(places_that_are_not_of_the_segment_make_none),
        cmocka_unit_test(a_bad_film_is_named_by_its_box_and_a_full_disk_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
