/* SPDX-License-Identifier: Apache-2.0 */
/* Films in fragments. */

#include "media/mp4/opened.h"

static void
fragments_read_as_the_plain_film_does(void **state)
{
    const struct test_movie plain = {.sample_count = 30,
                                     .gop = 10,
                                     .has_b_frames = true,
                                     .last_duration = 77};
    static const struct test_movie forms[] = {
        {.samples_per_chunk = 10},
        {.samples_per_chunk = 4},
        {.samples_per_chunk = 1},
        {.samples_per_chunk = 10, .fragment_base = TEST_BASE_OFFSET},
        {.samples_per_chunk = 10, .fragment_base = TEST_BASE_IMPLIED},
        {.samples_per_chunk = 10, .has_text_fragments = true},
        {.samples_per_chunk = 10,
         .has_text_fragments = true,
         .fragment_base = TEST_BASE_IMPLIED},
        {.samples_per_chunk = 10, .is_hybrid = true},
        {.samples_per_chunk = 10, .is_wide = true, .is_hybrid = true},
        {.samples_per_chunk = 10, .is_without_decode_times = true},
        {.samples_per_chunk = 10, .fragment_time = 90000},
        {.samples_per_chunk = 10,
         .fragment_time = (uint64_t) 1 << 40,
         .is_wide = true},
    };
    struct opened p;
    const struct mp4_track *t = opened_track(&p, &plain);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct opened o;
        struct test_movie movie = forms[i];
        movie.sample_count = plain.sample_count;
        movie.gop = plain.gop;
        movie.has_b_frames = true;
        movie.last_duration = plain.last_duration;
        movie.is_fragmented = true;
        const struct mp4_track *f = opened_track(&o, &movie);
        assert_int_equal(f->sample_count, t->sample_count);
        assert_int_equal(f->duration, t->duration);
        assert_int_equal(f->media_time, t->media_time);
        assert_samples_match_media(&o, f);
        for (uint32_t k = 0; k < t->sample_count; k++) {
            const struct mp4_sample *a = &f->samples[k], *b = &t->samples[k];
            assert_int_equal(a->decode_time, b->decode_time);
            assert_int_equal(a->duration, b->duration);
            assert_int_equal(a->size, b->size);
            assert_int_equal(a->composition_offset, b->composition_offset);
            assert_int_equal(a->is_sync, b->is_sync);
        }
        opened_fini(&o);
    }
    opened_fini(&p);
}

static void
a_gap_between_fragments_is_the_length_of_the_sample_before(void **state)
{
    struct opened o;
    const struct test_movie movie = {.sample_count = 6,
                                     .gop = 3,
                                     .samples_per_chunk = 3,
                                     .is_fragmented = true,
                                     .fragment_gap = 5000};
    const struct mp4_track *t = opened_track(&o, &movie);
    assert_int_equal(t->samples[2].duration, 6001);
    assert_int_equal(t->samples[3].decode_time, 3 * 1001 + 5000);
    assert_int_equal(t->duration, 6 * 1001 + 5000);
    opened_fini(&o);
}

static void
a_broken_fragment_is_named_with_its_offset(void **state)
{
    static const struct test_movie plain = {.sample_count = 12,
                                            .gop = 4,
                                            .samples_per_chunk = 4,
                                            .has_b_frames = true,
                                            .is_fragmented = true};
    static const struct test_movie sized = {.sample_count = 12,
                                            .samples_per_chunk = 4,
                                            .sample_size = 20,
                                            .is_fragmented = true};
    static const struct test_movie based = {.sample_count = 4,
                                            .is_fragmented = true,
                                            .fragment_base = TEST_BASE_OFFSET};
    const struct patch cases[] = {
        {plain, "trun", 1, 4, 5, ERR_TRUNCATED, "trun"},
        {plain, "trun", 1, 4, 0xffffffff, ERR_TRUNCATED, "trun"},
        {plain, "trun", 1, 8, 0x7fffffff, ERR_TRUNCATED, "trun"},
        {plain, "trun", 0, 8, 0x80000000, ERR_INVALID, "trun"},
        {plain, "trun", 1, 0, 0x1, ERR_INVALID, "trun"}, /* no sizes */
        {plain, "trun", 2, 8, -9u, ERR_INVALID, "trun"}, /* overlaps */
        {plain, "trun", 2, 16, 0xffffff, ERR_TRUNCATED, "trun"},
        {sized, "trun", 1, 4, 0x10000000, ERR_TRUNCATED, "trun"},
        {plain, "tfdt", 1, 4, 0, ERR_INVALID, "tfdt"},
        {plain, "tfdt", 2, 4, 7007, ERR_INVALID, "tfdt"},
        {plain, "tfdt", 1, 0, 0x01000000, ERR_TRUNCATED, "tfdt"},
        {plain, "tfhd", 1, 0, 0x020002, ERR_TRUNCATED, "tfhd"},
        {plain, "tfhd", 0, 4, 99, 0, NULL}, /* a track that is not there */
        {plain, "traf", 0, -8u, 0x7fffffff, ERR_TRUNCATED, "traf"},
        {plain, "traf", 0, -8u, 7, ERR_INVALID, "traf"},
        {plain, "moof", 1, -8u, 0x7fffffff, ERR_TRUNCATED, "moof"},
        {plain, "trex", 0, 8, 2, ERR_UNSUPPORTED, "trex"},
        {plain, "trex", 0, -8u, 12, ERR_TRUNCATED, "trex"},
        {based, "tfhd", 0, 8, 1, ERR_TRUNCATED, "tfhd"},
        {plain, "moof", 0, -4u, 0x66726565, 0, NULL}, /* the first is free */
    };
    assert_patches(cases, sizeof cases / sizeof cases[0]);
}

static void
a_fragmented_file_without_fragments_has_no_samples(void **state)
{
    struct opened o;
    const struct test_movie movie = {
        .sample_count = 4, .is_fragmented = true, .without = "moof"};
    opened_write(&o, &movie);
    opened_parse(&o);
    assert_int_equal(o.err, ERR_INVALID);
    assert_string_equal(o.error.box, "mdhd");
    opened_fini(&o);
}

/* A recording that counts from 90000 and lasts no tick. */
static void
fragments_of_no_length_are_no_film(void **state)
{
    struct opened o;
    const struct test_movie movie = {
        .sample_count = 1, .is_fragmented = true, .fragment_time = 90000};
    opened_write(&o, &movie);
    const size_t trun = test_movie_find(buffer_bytes(&o.file), "trun", 0);
    store_be32(o.file.ptr + trun + 20, 0); /* the sample's duration */
    opened_parse(&o);
    assert_int_equal(o.err, ERR_INVALID);
    assert_string_equal(o.error.reason, "track has no duration");
    opened_fini(&o);
}

/* What is cut off between two boxes of the file is not missed, as no box says
 * how many fragments there are. */
static void
a_fragmented_file_cut_inside_a_box_is_an_error(void **state)
{
    struct opened o;
    const struct test_movie movie = {.sample_count = 9,
                                     .gop = 3,
                                     .samples_per_chunk = 3,
                                     .is_fragmented = true};
    opened_write(&o, &movie);
    const size_t size = o.file.len;
    size_t good = 0;
    for (size_t len = 0; len < size; len++) {
        opened_parse_cut(&o, len);
        good += o.err == 0;
        if (o.err != 0)
            assert_non_null(o.error.reason);
        mp4_close(&o.movie);
    }
    /* before and behind the second and the third sidx */
    assert_int_equal(good, 4);
    opened_fini(&o);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fragments_read_as_the_plain_film_does),
        cmocka_unit_test(
            a_gap_between_fragments_is_the_length_of_the_sample_before),
        cmocka_unit_test(a_broken_fragment_is_named_with_its_offset),
        cmocka_unit_test(a_fragmented_file_without_fragments_has_no_samples),
        cmocka_unit_test(fragments_of_no_length_are_no_film),
        cmocka_unit_test(a_fragmented_file_cut_inside_a_box_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
