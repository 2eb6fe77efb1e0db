/* SPDX-License-Identifier: Apache-2.0 */

#include "media/esds.h"

#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* 12 bytes nobody reads */
#define RATES 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
#define DECODER 4, 17, 0x40, RATES, 5, 2, 0x12, 0x10

struct text {
    uint8_t size, bytes[60];
};

static const struct text plain = {24, {3, 22, 0, 1, 0, DECODER}};

/* In memory of exactly its size, for the sanitizers. */
static int
parse(const struct text *text, size_t size, struct esds *out, uint8_t config[2])
{
    uint8_t *exact = malloc(size);
    memcpy(exact, text->bytes, size);
    *out = (struct esds){0};
    const int err = esds_parse(bytes_of(exact, size), out);
    if (err == 0 && out->config.len == 2)
        memcpy(config, out->config.ptr, 2);
    free(exact);
    return err;
}

static void
whatever_an_es_says_before_its_decoder_is_passed_over(void **state)
{
    static const struct text cases[] = {
        {24, {3, 22, 0, 1, 0, DECODER}},
        {26, {3, 24, 0, 1, 0x80, 9, 9, DECODER}},
        {28, {3, 26, 0, 1, 0x40, 3, 'u', 'r', 'l', DECODER}},
        {26, {3, 24, 0, 1, 0x20, 9, 9, DECODER}},
        {31, {3, 29, 0, 1, 0xe0, 9, 9, 2, 'u', 'r', 9, 9, DECODER}},
        {27, {3, 0x80, 0x80, 0x80, 22, 0, 1, 0, DECODER}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct esds esds;
        uint8_t config[2] = {0};
        assert_int_equal(parse(&cases[i], cases[i].size, &esds, config), 0);
        assert_int_equal(esds.object, 0x40);
        assert_int_equal(esds.config.len, 2);
        assert_int_equal(load_be16(config), 0x1210);
    }
}

static void
a_descriptor_in_the_place_of_another_is_not_taken_for_it(void **state)
{
    static const size_t es = 0, decoder = 5, specific = 20;
    struct esds esds;
    uint8_t config[2];
    struct text other = plain;
    other.bytes[es] = 4;
    assert_int_equal(parse(&other, other.size, &esds, config), ERR_INVALID);
    other = plain;
    other.bytes[decoder] = 5;
    assert_int_equal(parse(&other, other.size, &esds, config), ERR_INVALID);
    other = plain;
    other.bytes[specific] = 6;
    assert_int_equal(parse(&other, other.size, &esds, config), 0);
    assert_int_equal(esds.object, 0x40);
    assert_int_equal(esds.config.len, 0);
}

static void
nothing_is_read_behind_the_end(void **state)
{
    for (size_t size = 0; size < plain.size; size++) {
        struct esds esds;
        uint8_t config[2];
        assert_int_equal(parse(&plain, size, &esds, config), ERR_INVALID);
        /* and one that says it is longer than its parent */
        struct text longer = plain;
        longer.bytes[1] = (uint8_t) size;
        if (parse(&longer, longer.size, &esds, config) == 0)
            assert_true(esds.config.len < 2 || size == 22);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_an_es_says_before_its_decoder_is_passed_over),
        cmocka_unit_test(
            a_descriptor_in_the_place_of_another_is_not_taken_for_it),
        cmocka_unit_test(nothing_is_read_behind_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
