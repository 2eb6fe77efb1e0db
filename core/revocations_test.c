/* SPDX-License-Identifier: Apache-2.0 */
#include "core/err.h"
#include "core/revocations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct buffer encoded;

static int
start(void **state)
{
    buffer_init(&encoded, REVOCATIONS_SIZE_MAX);
    return 0;
}

static int
stop(void **state)
{
    buffer_fini(&encoded);
    return 0;
}

static void
what_was_revoked_is_found_and_nothing_else(void **state)
{
    uint64_t sessions[] = {7, UINT64_MAX, 3, 0, 7, 1ull << 63};
    struct revocations *read;
    assert_int_equal(revocations_encode(9, sessions, 6, &encoded), 0);
    assert_int_equal(revocations_decode(buffer_bytes(&encoded), &read), 0);
    assert_int_equal(read->number, 9);
    assert_int_equal(read->count, 5);
    assert_true(revocations_has(read, 0));
    assert_true(revocations_has(read, 3));
    assert_true(revocations_has(read, 7));
    assert_true(revocations_has(read, 1ull << 63));
    assert_true(revocations_has(read, UINT64_MAX));
    assert_false(revocations_has(read, 1));
    assert_false(revocations_has(read, 8));
    free(read);
}

static void
an_empty_list_has_nobody(void **state)
{
    struct revocations *read;
    assert_int_equal(revocations_encode(0, NULL, 0, &encoded), 0);
    assert_int_equal(revocations_decode(buffer_bytes(&encoded), &read), 0);
    assert_int_equal(read->count, 0);
    assert_false(revocations_has(read, 0));
    free(read);
}

static void
no_more_than_the_limit(void **state)
{
    uint64_t *sessions = calloc(REVOCATIONS_MAX + 1, sizeof *sessions);
    struct revocations *read;
    for (uint64_t i = 0; i <= REVOCATIONS_MAX; i++)
        sessions[i] = i;
    assert_int_equal(
        revocations_encode(1, sessions, REVOCATIONS_MAX + 1, &encoded),
        ERR_LIMIT);
    assert_int_equal(encoded.len, 0);
    assert_int_equal(revocations_encode(1, sessions, REVOCATIONS_MAX, &encoded),
                     0);
    assert_int_equal(encoded.len, REVOCATIONS_SIZE_MAX);
    assert_int_equal(revocations_decode(buffer_bytes(&encoded), &read), 0);
    assert_int_equal(read->count, REVOCATIONS_MAX);
    free(read);
    free(sessions);
}

static void
every_altered_or_cut_byte_is_refused(void **state)
{
    uint64_t sessions[] = {1, 2, 3};
    struct revocations *read = NULL;
    assert_int_equal(revocations_encode(5, sessions, 3, &encoded), 0);
    for (size_t i = 0; i < encoded.len; i++) {
        assert_int_not_equal(
            revocations_decode(bytes_of(encoded.ptr, i), &read), 0);
        encoded.ptr[i] ^= 1;
        assert_int_not_equal(revocations_decode(buffer_bytes(&encoded), &read),
                             0);
        encoded.ptr[i] ^= 1;
    }
    buffer_append_u8(&encoded, 0);
    assert_int_equal(revocations_decode(buffer_bytes(&encoded), &read),
                     ERR_INVALID);
    assert_null(read);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(what_was_revoked_is_found_and_nothing_else),
        TEST(an_empty_list_has_nobody),
        TEST(no_more_than_the_limit),
        TEST(every_altered_or_cut_byte_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
