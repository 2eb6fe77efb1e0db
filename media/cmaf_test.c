/* SPDX-License-Identifier: Apache-2.0 */

/* Init segments of tracks that are not as most are. */

#include "media/index.h"
#include "media/testing/movie.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const uint8_t entry[] = {0, 0, 0, 8, 'a', 'v', 'c', '1'};

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
    struct track_info info = {.kind = TRACK_VIDEO,
                              .timescale = 24000,
                              .width = 360,
                              .height = 640,
                              .sample_entry = {entry, sizeof entry}};
    memcpy(info.language, language, strlen(language) + 1);
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turned_picture_is_turned_by_the_player),
        cmocka_unit_test(any_other_picture_is_shown_as_it_is),
        cmocka_unit_test(a_language_without_three_letters_has_a_box),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
