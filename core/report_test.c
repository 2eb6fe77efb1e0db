/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>

#include "core/err.h"
#include "core/report.h"

static struct report_header
header_make(void)
{
    return (struct report_header){
        .node = BYTES_LITERAL("origin1"),
        .url = BYTES_LITERAL("http://127.0.0.1:8081"),
        .role = NODE_ROLE_ORIGIN,
        .state = NODE_FULL,
        .weight = 150,
        .capacity_milli = 100000,
        .boot = 0xb007b007b007b007,
        .sequence = 9,
        .base = 8,
        .overflow = 3,
        .held = {.term = 5, .sequence = 6},
    };
}

static void
encode(const struct report_header *header, unsigned count, struct buffer *out)
{
    buffer_init(out, REPORT_SIZE_MAX);
    report_begin(out, header);
    for (unsigned i = 0; i < count; i++) {
        uint8_t id[2] = {'f', (uint8_t) ('a' + i)};
        struct report_entry entry = {
            .id = bytes_of(id, 2),
            .values = {i + 1, (uint64_t) i << 40, i, UINT64_MAX - i},
        };
        report_add(out, &entry);
    }
    assert_int_equal(report_finish(out), 0);
}

static void
what_was_written_is_read(void **state)
{
    struct report_header header = header_make();
    struct report_reader r;
    struct report_entry e;
    struct buffer b;
    encode(&header, 5, &b);
    assert_int_equal(report_open(buffer_bytes(&b), &r), 0);
    assert_true(bytes_equal(r.header.node, header.node));
    assert_true(bytes_equal(r.header.url, header.url));
    assert_int_equal(r.header.role, header.role);
    assert_int_equal(r.header.state, header.state);
    assert_int_equal(r.header.weight, header.weight);
    assert_true(r.header.capacity_milli == header.capacity_milli);
    assert_true(r.header.boot == header.boot);
    assert_true(r.header.sequence == header.sequence);
    assert_true(r.header.base == header.base);
    assert_false(r.header.has_more);
    assert_true(r.header.overflow == header.overflow);
    assert_int_equal(table_version_compare(r.header.held, header.held), 0);
    assert_int_equal(r.header.entry_count, 5);
    for (unsigned i = 0; i < 5; i++) {
        assert_true(report_next(&r, &e));
        assert_int_equal(e.id.ptr[1], 'a' + i);
        assert_int_equal(e.values.requests, i + 1);
        assert_true(e.values.bytes == (uint64_t) i << 40);
        assert_int_equal(e.values.starts, i);
        assert_true(e.values.offloaded == UINT64_MAX - i);
    }
    assert_false(report_next(&r, &e));
    buffer_fini(&b);
}

static void
a_report_that_was_cut_says_so(void **state)
{
    struct report_header header = header_make();
    struct report_reader r;
    struct buffer b;
    buffer_init(&b, REPORT_SIZE_MAX);
    report_begin(&b, &header);
    report_has_more(&b);
    assert_int_equal(report_finish(&b), 0);
    assert_int_equal(report_open(buffer_bytes(&b), &r), 0);
    assert_true(r.header.has_more);
    buffer_fini(&b);
}

static void
a_redirector_needs_no_url_and_a_node_without_counters_no_boot(void **state)
{
    struct report_header header = header_make();
    struct report_reader r;
    struct buffer b;
    header.role = NODE_ROLE_REDIRECTOR;
    header.url = bytes_of(NULL, 0);
    header.boot = 0;
    header.base = 0;
    encode(&header, 0, &b);
    assert_int_equal(report_open(buffer_bytes(&b), &r), 0);
    assert_int_equal(r.header.url.len, 0);
    buffer_fini(&b);
}

static void
no_altered_byte_and_no_other_length_is_accepted(void **state)
{
    struct report_header header = header_make();
    struct report_reader r;
    struct buffer b;
    encode(&header, 3, &b);
    for (size_t i = 0; i < b.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            b.ptr[i] = (uint8_t) (b.ptr[i] ^ 1 << bit);
            assert_int_not_equal(report_open(buffer_bytes(&b), &r), 0);
            b.ptr[i] = (uint8_t) (b.ptr[i] ^ 1 << bit);
        }
    }
    for (size_t len = 0; len < b.len; len++) {
        uint8_t *cut = malloc(len ? len : 1);
        memcpy(cut, b.ptr, len);
        assert_int_equal(report_open(bytes_of(cut, len), &r), ERR_TRUNCATED);
        free(cut);
    }
    buffer_append_u8(&b, 0);
    assert_int_equal(report_open(buffer_bytes(&b), &r), ERR_INVALID);
    buffer_fini(&b);
}

static void
bad_fields_with_a_right_checksum_are_refused(void **state)
{
    static const struct {
        size_t offset;
        uint8_t value;
    } cases[] = {
        {24, 0},             /* sequence 0 */
        {64, 2},             /* entries fewer */
        {64, 4},             /* and more than there are */
        {67, 0xff}, {70, 1}, /* weight 65536 and more */
        {72, 2},             /* role */
        {73, 4},             /* state */
        {74, 2},             /* has_more */
        {75, 0},    {75, 255}, {76, 0},    {76, 255}, /* lengths */
        {77, 1},    {79, 1},                          /* zero */
        {80, 9},    {87, 1},                          /* base from 9 on */
        {88, '/'},                                    /* node */
        {95, 'x'},                                    /* url */
        {116, 0},   {116, 65}, {116, 255}, /* length of the first id */
        {117, '/'},                        /* the id */
    };
    struct report_header header = header_make();
    struct report_reader r = {.entries_left = 77};
    struct buffer b;
    encode(&header, 3, &b);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t before = b.ptr[cases[i].offset];
        assert_int_not_equal(before, cases[i].value);
        b.ptr[cases[i].offset] = cases[i].value;
        store_le64(b.ptr + b.len - 8, XXH3_64bits(b.ptr, b.len - 8));
        assert_int_equal(report_open(buffer_bytes(&b), &r), ERR_INVALID);
        assert_int_equal(r.entries_left, 77);
        b.ptr[cases[i].offset] = before;
    }
    buffer_fini(&b);
}

static void
bad_reports_are_not_written(void **state)
{
    for (int i = 0; i < 10; i++) {
        struct report_header header = header_make();
        struct report_entry entry = {.id = BYTES_LITERAL("film")};
        struct buffer b;
        buffer_init(&b, i == 9 ? 100 : REPORT_SIZE_MAX);
        switch (i) {
        case 0:
            header.node = BYTES_LITERAL("");
            break;
        case 1:
            header.url = BYTES_LITERAL("");
            break;
        case 2:
            header.weight = 0;
            break;
        case 3:
            header.sequence = 0;
            break;
        case 4:
            header.state = (enum node_state) 7;
            break;
        case 5:
            header.boot = header.base = 0;
            break; /* with an entry */
        case 6:
            header.base = header.sequence;
            break;
        case 7:
            entry.id = BYTES_LITERAL("a/b");
            break;
        case 8:
            buffer_append_u8(&b, 1);
            break; /* not empty */
        default:
            break; /* too small */
        }
        report_begin(&b, &header);
        report_add(&b, &entry);
        assert_int_equal(report_finish(&b), i == 9 ? ERR_LIMIT : ERR_INVALID);
        buffer_fini(&b);
    }
    struct buffer b;
    buffer_init(&b, 1000);
    assert_int_equal(report_finish(&b), ERR_INVALID);
    buffer_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(a_report_that_was_cut_says_so),
        cmocka_unit_test(
            a_redirector_needs_no_url_and_a_node_without_counters_no_boot),
        cmocka_unit_test(no_altered_byte_and_no_other_length_is_accepted),
        cmocka_unit_test(bad_fields_with_a_right_checksum_are_refused),
        cmocka_unit_test(bad_reports_are_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
