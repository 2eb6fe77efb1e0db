/* SPDX-License-Identifier: Apache-2.0 */

/* Init segments of tracks that are not as most are, and segment headers. */

#include "media/cursor.h"
#include "media/testing/track.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- init segments ---- */

static struct bytes
init_of(const struct track_info *info, struct buffer *out)
{
    buffer_init(out, 1u << 16);
    cmaf_init_write(info, out);
    assert_int_equal(out->err, 0);
    return buffer_bytes(out);
}

static struct track_info
info_of(const char *language)
{
    struct track_info info =
        test_info(TRACK_VIDEO, "v0", "avc1.64001e", language, "");
    info.width = 360;
    info.height = 640;
    return info;
}

static void
a_turned_picture_is_turned_by_the_player(void **state)
{
    static const uint32_t turned[9] = {0, 0x10000,    0, -0x10000u, 0,
                                       0, 360u << 16, 0, 0x40000000};
    struct buffer b;
    struct track_info info = info_of("und");
    memcpy(info.matrix, turned, sizeof turned);
    const struct bytes init = init_of(&info, &b);
    const uint8_t *tkhd = init.ptr + test_movie_find(init, "tkhd", 0);
    for (int i = 0; i < 9; i++)
        assert_int_equal(load_be32(tkhd + 48 + 4 * i), turned[i]);
    /* 640 wide and 360 high before */
    assert_int_equal(load_be32(tkhd + 84), 640u << 16);
    assert_int_equal(load_be32(tkhd + 88), 360u << 16);
    buffer_fini(&b);
}

static void
any_other_picture_is_shown_as_it_is(void **state)
{
    struct buffer b;
    const struct track_info info = info_of("und");
    const struct bytes init = init_of(&info, &b);
    const uint8_t *tkhd = init.ptr + test_movie_find(init, "tkhd", 0);
    assert_int_equal(load_be32(tkhd + 48), 0x10000);
    assert_int_equal(load_be32(tkhd + 80), 0x40000000);
    assert_int_equal(load_be32(tkhd + 84), 360u << 16);
    buffer_fini(&b);
}

static void
a_language_without_three_letters_has_a_box(void **state)
{
    static const struct {
        const char *language;
        bool has_box;
    } cases[] = {{"und", false}, {"eng", false}, {"en", true}, {"pt-BR", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer b;
        const struct track_info info = info_of(cases[i].language);
        const struct bytes init = init_of(&info, &b);
        const uint8_t *elng = memmem(init.ptr, init.len, "elng", 4);
        assert_int_equal(elng != NULL, cases[i].has_box);
        if (elng != NULL)
            assert_string_equal((const char *) elng + 8, cases[i].language);
        buffer_fini(&b);
    }
}

/* ---- segment headers ---- */

/* A box of the given type at the cursor; its body. */
static struct cursor
take_box(struct cursor *c, const char *type)
{
    const uint32_t size = cursor_be32(c);
    const struct bytes name = cursor_bytes(c, 4);
    assert_int_equal(name.len, 4);
    assert_memory_equal(name.ptr, type, 4);
    struct cursor body = cursor_of(cursor_bytes(c, size - 8));
    assert_false(c->is_short);
    return body;
}

struct defaults {
    uint32_t duration, size, flags;
};

static struct defaults
take_tfhd(struct cursor *traf)
{
    struct defaults d = {0};
    struct cursor c = take_box(traf, "tfhd");
    const uint32_t flags = cursor_be32(&c);
    assert_int_equal(flags & 0x20000, 0x20000);
    assert_int_equal(cursor_be32(&c), 1);
    if (flags & 0x8)
        d.duration = cursor_be32(&c);
    if (flags & 0x10)
        d.size = cursor_be32(&c);
    if (flags & 0x20)
        d.flags = cursor_be32(&c);
    assert_false(c.is_short);
    assert_int_equal(c.rest.len, 0);
    return d;
}

/* Reads a header back as a player would, and compares with the index. */
static void
assert_header_says(const struct track_info *info, const struct segment *s,
                   const struct segment_map *map, struct bytes header)
{
    struct cursor c = cursor_of(header);
    take_box(&c, "styp");
    const size_t moof_start = header.len - c.rest.len;
    struct cursor moof = take_box(&c, "moof");
    struct cursor mfhd = take_box(&moof, "mfhd");
    cursor_be32(&mfhd);
    assert_int_equal(cursor_be32(&mfhd), s->number + 1);
    struct cursor traf = take_box(&moof, "traf");
    const struct defaults d = take_tfhd(&traf);
    struct cursor tfdt = take_box(&traf, "tfdt");
    assert_int_equal(cursor_be32(&tfdt), 1u << 24);
    assert_int_equal(cursor_be64(&tfdt), s->decode_time);
    struct cursor trun = take_box(&traf, "trun");
    const uint32_t flags = cursor_be32(&trun);
    assert_int_equal(flags >> 24, 1);
    assert_int_equal(cursor_be32(&trun), s->sample_count);
    assert_int_equal(cursor_be32(&trun), header.len - moof_start);
    const uint32_t first_flags = flags & 4 ? cursor_be32(&trun) : d.flags;
    const int64_t shift = info->kind == TRACK_VIDEO ? info->media_time : 0;
    for (uint32_t i = 0; i < s->sample_count; i++) {
        const struct sample sample = map->samples[i];
        assert_int_equal(flags & 0x100 ? cursor_be32(&trun) : d.duration,
                         sample.duration);
        assert_int_equal(flags & 0x200 ? cursor_be32(&trun) : d.size,
                         sample.size);
        const uint32_t sample_flags = flags & 0x400 ? cursor_be32(&trun)
                                      : i == 0      ? first_flags
                                                    : d.flags;
        assert_int_equal(sample_flags,
                         sample.is_sync ? 0x02000000 : 0x01010000);
        assert_int_equal(flags & 0x800 ? (int32_t) cursor_be32(&trun) : 0,
                         sample.composition_offset + shift);
    }
    assert_false(trun.is_short);
    assert_int_equal(trun.rest.len, 0);
    assert_int_equal(cursor_be32(&c), s->size + 8);
    assert_memory_equal(c.rest.ptr, "mdat", 4);
    assert_int_equal(c.rest.len, 4);
}

static void
assert_all_headers(const struct test_movie *movie, uint32_t target_ms)
{
    struct test_track b;
    struct segment s;
    test_track_make(&b, movie, "v0", target_ms, NULL);
    for (uint32_t i = 0; track_index_segment(&b.index, i, &s) == 0; i++) {
        void *memory;
        const struct segment_map map =
            test_map_open(buffer_bytes(&b.media), &s, &memory);
        assert_int_equal(cmaf_segment_header_size(&b.index.info, &s, &map),
                         s.header_size);
        assert_header_says(
            &b.index.info, &s, &map,
            bytes_of(b.media.ptr + segment_start(&s), s.header_size));
        free(memory);
    }
    test_track_fini(&b);
}

static void
a_segment_header_says_what_the_map_says(void **state)
{
    static const struct test_movie movies[] = {
        TEST_FILM(.sample_count = 255, .gop = 25, .has_b_frames = true,
                  .has_edit = true, .media_time = 40),
        TEST_FILM(.sample_count = 250, .gop = 25),
        TEST_FILM(.sample_count = 250, .gop = 12), /* key frames inside */
        TEST_FILM(.sample_count = 250, .gop = 100),
        TEST_FILM(.sample_count = 101, .gop = 25), /* one sample at the end */
        TEST_FILM(.sample_count = 250),
        TEST_FILM(.sample_count = 250, .sample_size = 77, .gop = 25),
        TEST_FILM(.sample_count = 250, .sample_size = 77),
        TEST_FILM(.sample_count = 64, .gop = 64, .last_duration = 3),
        TEST_FILM(.sample_count = 65, .gop = 65, .has_b_frames = true),
        {.kind = TRACK_AUDIO, .sample_count = 441, .last_duration = 500},
        {.kind = TRACK_AUDIO, .sample_count = 64, .sample_size = 9},
        {.sample_count = 1},
    };
    for (size_t i = 0; i < sizeof movies / sizeof movies[0]; i++) {
        assert_all_headers(&movies[i], 4000);
        assert_all_headers(&movies[i], 100000);
        assert_all_headers(&movies[i], 1);
    }
}

static void
a_buffer_of_the_exact_size_is_enough(void **state)
{
    static const struct test_movie movie =
        TEST_FILM(.sample_count = 200, .gop = 25, .has_b_frames = true);
    struct test_track b;
    struct segment s;
    test_track_make(&b, &movie, "v0", 4000, NULL);
    assert_int_equal(track_index_segment(&b.index, 1, &s), 0);
    void *samples;
    const struct segment_map map =
        test_map_open(buffer_bytes(&b.media), &s, &samples);
    const size_t size = s.header_size;
    uint8_t *memory = malloc(size);
    struct buffer out = {.ptr = memory, .capacity = size, .size_max = size};
    cmaf_segment_header_write(&b.index.info, &s, &map, &out);
    assert_int_equal(out.err, 0);
    assert_ptr_equal(out.ptr, memory);
    assert_int_equal(out.len, size);
    free(memory);
    free(samples);
    test_track_fini(&b);
}

static void
a_segment_of_four_gibibytes_has_a_wide_mdat(void **state)
{
    static const struct sample samples[] = {
        {.size = 0x7fffffff, .duration = 1, .is_sync = true},
        {.size = 0x7fffffff, .duration = 1},
    };
    const struct segment_map map = {.samples = samples, .sample_count = 2};
    const struct segment s = {.sample_count = 2, .size = 0xfffffffe};
    const struct track_info info = {.kind = TRACK_VIDEO};
    struct buffer out;
    buffer_init(&out, INDEX_SIZE_MAX);
    cmaf_segment_header_write(&info, &s, &map, &out);
    assert_int_equal(out.len, cmaf_segment_header_size(&info, &s, &map));
    const uint8_t *mdat = out.ptr + out.len - 16;
    assert_int_equal(load_be32(mdat), 1);
    assert_memory_equal(mdat + 4, "mdat", 4);
    assert_int_equal(load_be64(mdat + 8), 0xfffffffeull + 16);
    buffer_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turned_picture_is_turned_by_the_player),
        cmocka_unit_test(any_other_picture_is_shown_as_it_is),
        cmocka_unit_test(a_language_without_three_letters_has_a_box),
        cmocka_unit_test(a_segment_header_says_what_the_map_says),
        cmocka_unit_test(a_buffer_of_the_exact_size_is_enough),
        cmocka_unit_test(a_segment_of_four_gibibytes_has_a_wide_mdat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
