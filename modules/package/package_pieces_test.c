/* SPDX-License-Identifier: Apache-2.0 */

#include "modules/package/package_pieces.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/err.h"
#include "media/testing/movie.h"

static uint8_t *
copy_of(const void *bytes, size_t len)
{
    uint8_t *copy = malloc(len);

    assert_non_null(copy);
    memcpy(copy, bytes, len);
    return copy;
}

static void
a_read_goes_over_several_pieces_and_tells_what_is_missing(void **state)
{
    struct pieces pieces = {0};
    char out[8];

    assert_int_equal(pieces_read(&pieces, 0, out, 4), ERR_UNAVAILABLE);
    assert_int_equal(pieces.missing_offset, 0);
    assert_int_equal(pieces.missing_len, 4);
    assert_int_equal(pieces_add(&pieces, 10, copy_of("klm", 3), 3), 0);
    assert_int_equal(pieces.missing_len, 0);
    assert_int_equal(pieces_read(&pieces, 11, out, 4), ERR_UNAVAILABLE);
    assert_int_equal(pieces.missing_offset, 13);
    assert_int_equal(pieces.missing_len, 2);
    assert_int_equal(pieces_add(&pieces, 13, copy_of("nopq", 4), 4), 0);
    assert_int_equal(pieces_read(&pieces, 11, out, 4), 0);
    assert_memory_equal(out, "lmno", 4);
    assert_int_equal(pieces_read(&pieces, 10, out, 1), 0);
    assert_memory_equal(out, "k", 1);
    assert_int_equal(pieces.missing_len, 0);
    pieces_fini(&pieces);
}

static void
there_is_a_limit_to_all_pieces(void **state)
{
    struct pieces pieces = {.size = PIECES_SIZE_MAX - 3};

    assert_int_equal(pieces_add(&pieces, 0, copy_of("abcd", 4), 4), ERR_LIMIT);
    assert_int_equal(pieces_add(&pieces, 0, copy_of("abc", 3), 3), 0);
    pieces_fini(&pieces);
}

static void
a_film_is_read_by_what_it_asks_for(void **state)
{
    static const struct test_movie shapes[] = {
        {.sample_count = 100, .sample_size = 999, .samples_per_chunk = 1},
        {.sample_count = 100, .sample_size = 999, .is_moov_last = true},
        {.sample_count = 100,
         .sample_size = 999,
         .samples_per_chunk = 10,
         .is_fragmented = true},
    };

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct pieces pieces = {0};
        struct buffer file;
        struct mp4_movie movie;
        struct mp4_error error;
        size_t most = i == 2 ? 50 : 8, rounds = 0;

        buffer_init(&file, TEST_MOVIE_SIZE_MAX);
        test_movie_write(&shapes[i], &file);
        const struct mp4_source source = {pieces_read, &pieces, file.len};
        while (mp4_open(&source, &movie, &error) != 0) {
            assert_int_not_equal(pieces.missing_len, 0);
            assert_true(++rounds <= most);
            assert_int_equal(
                pieces_add(&pieces, pieces.missing_offset,
                           copy_of(file.ptr + pieces.missing_offset,
                                   pieces.missing_len),
                           pieces.missing_len),
                0);
        }
        assert_int_equal(movie.tracks[0].sample_count, 100);
        assert_true(pieces.size < file.len / 5);
        mp4_close(&movie);
        pieces_fini(&pieces);
        buffer_fini(&file);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_read_goes_over_several_pieces_and_tells_what_is_missing),
        cmocka_unit_test(there_is_a_limit_to_all_pieces),
        cmocka_unit_test(a_film_is_read_by_what_it_asks_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
