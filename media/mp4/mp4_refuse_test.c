/* SPDX-License-Identifier: Apache-2.0 */
/* Broken films: an error that names the place, and never a movie. */

#include "media/mp4/opened.h"

static void
a_broken_box_is_named_with_its_offset(void **state)
{
    static const struct test_movie plain = {.sample_count = 12,
                                            .gop = 4,
                                            .has_b_frames = true,
                                            .has_edit = true,
                                            .media_time = 1001};
    const struct patch cases[] = {
        {plain, "stsz", 0, 8, 13, ERR_TRUNCATED, "stsz"},
        {plain, "stsz", 0, 8, 0xffffffff, ERR_TRUNCATED, "stsz"},
        {plain, "stsz", 0, 8, 0, ERR_INVALID, "stsz"},
        {plain, "stsz", 0, 4, 0x7fffffff, ERR_TRUNCATED, "stsz"},
        {plain, "stsz", 0, 12, 0x00ffffff, ERR_TRUNCATED, "stco"},
        {plain, "stts", 0, 4, 2, ERR_TRUNCATED, "stts"},
        {plain, "stts", 0, 8, 11, ERR_INVALID, "stts"},
        {{.sample_count = 3}, "stts", 0, 12, 0, ERR_INVALID, "mdhd"},
        {plain, "ctts", 0, 4, 13, ERR_TRUNCATED, "ctts"},
        {plain, "ctts", 0, 4, 11, ERR_INVALID, "ctts"},
        {plain, "stsc", 0, 4, 2, ERR_TRUNCATED, "stsc"},
        {plain, "stsc", 0, 8, 2, ERR_INVALID, "stsc"},
        {plain, "stsc", 0, 12, 0, ERR_INVALID, "stsc"},
        {plain, "stsc", 0, 12, 11, ERR_INVALID, "stco"},
        {plain, "stsc", 0, 16, 2, ERR_UNSUPPORTED, "stsc"},
        {plain, "stco", 0, 4, 2, ERR_TRUNCATED, "stco"},
        {plain, "stco", 0, 4, 0, ERR_INVALID, "stco"},
        {plain, "stco", 0, 8, 0xfffffff0, ERR_TRUNCATED, "stco"},
        {plain, "stss", 0, 4, 9, ERR_TRUNCATED, "stss"},
        {plain, "stss", 0, 8, 0, ERR_INVALID, "stss"},
        {plain, "stss", 0, 8, 5, ERR_INVALID, "stss"},
        {plain, "stss", 0, 16, 13, ERR_INVALID, "stss"},
        {plain, "stsd", 0, 4, 2, ERR_UNSUPPORTED, "stsd"},
        {plain, "stsd", 0, 8, 1, ERR_INVALID, "avc1"},
        {plain, "stsd", 0, 12, 0x7a7a7a7a, ERR_UNSUPPORTED, "zzzz"},
        {plain, "avcC", 0, 0, 0x02640000, ERR_UNSUPPORTED, "avcC"},
        {plain, "avcC", 0, -4u, 0x7a7a7a7a, ERR_INVALID, "avcC"},
        {plain, "avc1", 0, -8u, 60, ERR_TRUNCATED, "avc1"},
        {plain, "mdhd", 0, 12, 0, ERR_INVALID, "mdhd"},
        {plain, "mdhd", 0, 0, 0x02000000, ERR_UNSUPPORTED, "mdhd"},
        {plain, "mvhd", 0, 12, 0, 0, NULL},
        {plain, "elst", 0, 4, 2, ERR_TRUNCATED, "elst"},
        {plain, "elst", 0, 12, -2u, ERR_INVALID, "elst"},
        {plain, "elst", 0, 12, 99999999, ERR_INVALID, "elst"},
        {plain, "elst", 0, 0, 0x02000000, ERR_UNSUPPORTED, "elst"},
        {plain, "url ", 0, 0, 0, ERR_UNSUPPORTED, "url "},
        {plain, "dref", 0, -8u, 16, ERR_TRUNCATED, "dref"},
        {plain, "trak", 0, -8u, 0x7fffffff, ERR_TRUNCATED, "trak"},
        {plain, "trak", 0, -8u, 7, ERR_INVALID, "trak"},
        {plain, "moov", 0, -8u, 0x7fffffff, ERR_TRUNCATED, "moov"},
        {plain, "moov", 0, -4u, 0x6d6f6f78, ERR_INVALID, "moov"},
        {plain, "ftyp", 0, -8u, 4, ERR_INVALID, "ftyp"},
        {plain, "hdlr", 0, 8, 0x74657874, ERR_INVALID, "moov"},
        {{.kind = TRACK_AUDIO}, "esds", 0, 4, 0, ERR_INVALID, "esds"},
        {{.kind = TRACK_AUDIO}, "esds", 0, 4, 0x03ffffff, ERR_INVALID, "esds"},
        {{.kind = TRACK_AUDIO}, "mp4a", 0, 8, 0x30000, ERR_UNSUPPORTED, "mp4a"},
        {{.kind = TRACK_AUDIO},
         "stsd",
         0,
         12,
         0x616c6163,
         ERR_UNSUPPORTED,
         "alac"},
        {{.codec = "hvc1"}, "hvcC", 0, 0, 0, ERR_UNSUPPORTED, "hvcC"},
        {{.sample_count = 3, .compact_bits = 8},
         "stz2",
         0,
         4,
         7,
         ERR_INVALID,
         "stz2"},
    };
    assert_patches(cases, sizeof cases / sizeof cases[0]);
}

static void
a_missing_box_is_named(void **state)
{
    static const char *const boxes[] = {"mvhd", "tkhd", "mdia", "mdhd", "hdlr",
                                        "minf", "stbl", "stsd", "avcC", "stts",
                                        "stsc", "stsz", "stco", "moov"};
    for (size_t i = 0; i < sizeof boxes / sizeof boxes[0]; i++) {
        struct opened o;
        const struct test_movie movie = {.sample_count = 3,
                                         .without = boxes[i]};
        opened_write(&o, &movie);
        opened_parse(&o);
        assert_int_equal(o.err, ERR_INVALID);
        assert_string_equal(o.error.box, boxes[i]);
        opened_fini(&o);
    }
}

static void
samples_that_overlap_are_refused(void **state)
{
    struct opened o;
    const struct test_movie movie = {.sample_count = 12,
                                     .samples_per_chunk = 4};
    opened_write(&o, &movie);
    const size_t stco = test_movie_find(buffer_bytes(&o.file), "stco", 0);
    uint8_t *second = o.file.ptr + stco + 20;
    store_be32(second, load_be32(second) - 1);
    opened_parse(&o);
    assert_int_equal(o.err, ERR_INVALID);
    assert_string_equal(o.error.box, "stco");
    assert_int_equal(o.error.offset, stco);
    assert_string_equal(o.error.reason, "samples overlap");
    opened_fini(&o);
}

static void
a_box_that_is_there_twice_is_refused(void **state)
{
    struct opened o;
    const struct test_movie movie = {.sample_count = 4, .gop = 2};
    opened_write(&o, &movie);
    const size_t stss = test_movie_find(buffer_bytes(&o.file), "stss", 0);
    memcpy(o.file.ptr + stss + 4, "stts", 4);
    opened_parse(&o);
    assert_int_equal(o.err, ERR_INVALID);
    assert_string_equal(o.error.box, "stts");
    assert_int_equal(o.error.offset, stss);
    opened_fini(&o);
}

/* Whatever is cut off, the answer is an error and never a movie. */
static void
a_file_cut_anywhere_is_an_error(void **state)
{
    static const struct test_movie movies[] = {
        {.sample_count = 9, .gop = 3, .has_b_frames = true},
        {.sample_count = 9, .is_moov_last = true, .kind = TRACK_AUDIO},
        {.sample_count = 9, .is_open_size = true},
    };
    for (size_t m = 0; m < sizeof movies / sizeof movies[0]; m++) {
        struct opened o;
        opened_write(&o, &movies[m]);
        for (size_t len = 0; len < o.file.len; len++) {
            opened_parse_cut(&o, len);
            assert_int_not_equal(o.err, 0);
            assert_non_null(o.error.reason);
        }
        opened_fini(&o);
    }
}

static void
a_film_that_ends_early_says_so(void **state)
{
    struct opened o;
    const struct test_movie movie = {.sample_count = 9, .is_open_size = true};
    opened_write(&o, &movie);
    o.file.len -= 1;
    opened_parse(&o);
    assert_int_equal(o.err, ERR_TRUNCATED);
    assert_string_equal(o.error.box, "stco");
    assert_non_null(strstr(o.error.reason, "truncated file"));
    opened_fini(&o);
}

/* Under the sanitizers this is a small fuzzer that always runs. */
static void
no_changed_byte_breaks_the_parser(void **state)
{
    static const struct test_movie movies[] = {
        {.sample_count = 12,
         .gop = 4,
         .has_b_frames = true,
         .has_edit = true,
         .media_time = 1001,
         .samples_per_chunk = 5},
        {.sample_count = 5, .kind = TRACK_AUDIO, .is_wide = true},
        {.sample_count = 5, .codec = "hvc1", .compact_bits = 4},
        {.sample_count = 6,
         .gop = 3,
         .samples_per_chunk = 3,
         .is_fragmented = true,
         .has_text_fragments = true},
    };
    for (size_t m = 0; m < sizeof movies / sizeof movies[0]; m++) {
        static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
        struct opened o;
        opened_write(&o, &movies[m]);
        for (size_t i = 0; i < o.file.len; i++) {
            const uint8_t good = o.file.ptr[i];
            for (size_t v = 0; v < sizeof values; v++) {
                o.file.ptr[i] = values[v];
                opened_parse(&o);
                mp4_close(&o.movie);
            }
            o.file.ptr[i] = good;
        }
        opened_fini(&o);
    }
}

static int
failing_read(void *context, uint64_t offset, void *out, size_t len)
{
    return ERR_IO;
}

static void
an_error_of_the_source_is_passed_on(void **state)
{
    const struct mp4_source source = {failing_read, NULL, 1000};
    struct mp4_movie movie;
    struct mp4_error error;
    assert_int_equal(mp4_open(&source, &movie, &error), ERR_IO);
    assert_string_equal(error.reason, "file cannot be read");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broken_box_is_named_with_its_offset),
        cmocka_unit_test(a_missing_box_is_named),
        cmocka_unit_test(samples_that_overlap_are_refused),
        cmocka_unit_test(a_box_that_is_there_twice_is_refused),
        cmocka_unit_test(a_file_cut_anywhere_is_an_error),
        cmocka_unit_test(a_film_that_ends_early_says_so),
        cmocka_unit_test(no_changed_byte_breaks_the_parser),
        cmocka_unit_test(an_error_of_the_source_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
