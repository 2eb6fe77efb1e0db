/* SPDX-License-Identifier: Apache-2.0 */

#include "core/err.h"
#include "media/key_frame.h"
#include "media/testing/track.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* A delay of pictures, so that no time is right by luck; 2 s a segment. */
static const struct test_movie movie = {.sample_count = 120,
                                        .gop = 48,
                                        .has_b_frames = true,
                                        .has_edit = true,
                                        .media_time = 1001};

static const uint8_t *
key_of(const struct test_track *b, const struct segment *s)
{
    return b->media.ptr + segment_samples_start(s);
}

/* Appends a key frame's segment, run through in pieces of a size. */
static void
key_append(const struct test_track *b, uint32_t number, size_t piece,
           struct buffer *out)
{
    struct transform *t;
    struct segment s;
    const size_t start = out->len;
    assert_int_equal(track_index_segment(&b->index, number, &s), 0);
    assert_int_equal(key_frame_transform_open(&b->index, number, &t), 0);
    assert_int_equal(t->size_in, s.key_size);
    uint8_t bytes[4096];
    const uint8_t *in = key_of(b, &s), *const end = in + s.key_size;
    while (out->len - start < t->size_out) {
        const size_t left = (size_t) (end - in);
        struct transform_io io = {in, left < piece ? left : piece, bytes,
                                  piece < sizeof bytes ? piece : sizeof bytes};
        assert_int_equal(t->run(t, &io), 0);
        in = io.in;
        buffer_append(out, bytes, (size_t) (io.out - bytes));
    }
    assert_ptr_equal(in, end);
    assert_int_equal(out->len - start, t->size_out);
    t->close(t);
}

static void
key_frames_are_a_film_of_one_frame_a_segment(void **state)
{
    static const size_t pieces[] = {1, 7, 4096};
    struct test_track b;
    test_track_make(&b, &movie, "v0", 2000, NULL);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct buffer film;
        struct mp4_movie read;
        struct mp4_error error;
        struct segment s;
        uint64_t time = 0;
        buffer_init(&film, 1u << 20);
        cmaf_init_write(&b.index.info, &film);
        for (uint32_t n = 0; n < b.index.info.segment_count; n++)
            key_append(&b, n, pieces[i], &film);
        const struct bytes bytes = buffer_bytes(&film);
        assert_int_equal(test_movie_open(&bytes, &read, &error), 0);
        const struct mp4_track *track = &read.tracks[0];
        assert_int_equal(track->sample_count, 3);
        assert_int_equal(track->duration, b.index.info.duration);
        for (uint32_t n = 0; n < 3; n++) {
            const struct mp4_sample *sample = &track->samples[n];
            assert_int_equal(track_index_segment(&b.index, n, &s), 0);
            assert_int_equal((int64_t) sample->decode_time
                                 + sample->composition_offset
                                 - track->media_time,
                             time);
            assert_int_equal(sample->duration, s.duration);
            assert_true(sample->is_sync);
            assert_int_equal(sample->size, s.key_size);
            assert_memory_equal(film.ptr + sample->offset, key_of(&b, &s),
                                s.key_size);
            time += s.duration;
        }
        mp4_close(&read);
        buffer_fini(&film);
    }
    test_track_fini(&b);
}

static void
what_is_no_key_frame_is_not_found(void **state)
{
    static const struct test_movie sound = {.kind = TRACK_AUDIO,
                                            .sample_count = 200};
    struct transform *t;
    struct test_track b;
    test_track_make(&b, &movie, "v0", 2000, NULL);
    assert_int_equal(key_frame_transform_open(&b.index, 3, &t), ERR_NOT_FOUND);
    test_track_fini(&b);
    test_track_make(&b, &sound, "a0", 2000, NULL);
    assert_int_equal(key_frame_transform_open(&b.index, 0, &t), ERR_NOT_FOUND);
    test_track_fini(&b);
}

static void
an_mpd_has_sets_of_them_where_they_are_asked_for(void **state)
{
    static struct asset asset;
    struct test_track b;
    struct buffer out;
    test_track_make(&b, &movie, "v0", 2000, NULL);
    asset.track_count = 1;
    asset.tracks[0] = b.index.info;
    buffer_init(&out, 1u << 20);
    dash_mpd_write(&asset, NULL, &out);
    assert_null(strstr(test_text(&out), "iframes"));
    assert_null(strstr(test_text(&out), "<AdaptationSet id="));
    out.len = 0;
    asset.has_trick_play = true;
    dash_mpd_write(&asset, NULL, &out);
    const char *set = strstr(test_text(&out), "<AdaptationSet id=\"1\"");
    assert_non_null(set);
    set = strstr(set + 1, "<AdaptationSet ");
    assert_non_null(set);
    assert_non_null(strstr(set, "guidelines/trickmode\" value=\"1\"/>"));
    assert_non_null(strstr(set, "<Representation id=\"v0/iframes\""));
    /* of one of two renditions there are none */
    out.len = 0;
    asset.tracks[asset.track_count++] = b.index.info;
    asset.tracks[1].key_bandwidth_peak = 0;
    dash_mpd_write(&asset, NULL, &out);
    assert_null(strstr(test_text(&out), "iframes"));
    buffer_fini(&out);
    test_track_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_frames_are_a_film_of_one_frame_a_segment),
        cmocka_unit_test(what_is_no_key_frame_is_not_found),
        cmocka_unit_test(an_mpd_has_sets_of_them_where_they_are_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
