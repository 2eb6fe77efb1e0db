/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/coordination_values.h"

#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct buffer out;

static int
start(void **state)
{
    buffer_init(&out, 4096);
    return 0;
}

static int
stop(void **state)
{
    buffer_fini(&out);
    return 0;
}

/* A table of that version, encoded. */
static void
encode(struct buffer *encoded, struct table_version version)
{
    const struct table_node node = {.name = BYTES_LITERAL("n"),
                                    .url = BYTES_LITERAL("http://n:1"),
                                    .weight = 1};
    const struct table table = {
        .version = version, .nodes = &node, .node_count = 1};
    buffer_init(encoded, 4096);
    assert_int_equal(table_encode(&table, encoded), 0);
}

static void
a_leader_is_read_as_it_was_written(void **state)
{
    struct leader_value leader;
    leader_value_write(&out, 1795359974, "http://10.0.0.1:7100");
    assert_int_equal(leader_value_parse(buffer_bytes(&out), &leader), 0);
    assert_int_equal(leader.term, 1795359974);
    assert_string_equal(leader.url, "http://10.0.0.1:7100");
}

static void
a_table_is_read_as_it_was_written_with_its_bytes_or_without(void **state)
{
    const struct table_version version = {7, 12};
    struct table_value value;
    struct buffer encoded;
    encode(&encoded, version);
    table_value_write(&out, version, "http://a:1", buffer_bytes(&encoded));
    assert_int_equal(table_value_parse(buffer_bytes(&out), &value), 0);
    assert_int_equal(table_version_compare(value.version, version), 0);
    assert_string_equal(value.url, "http://a:1");
    assert_true(bytes_equal(value.encoded, buffer_bytes(&encoded)));
    buffer_fini(&encoded);
    out.len = 0;
    table_value_write(&out, version, "http://a:1", bytes_of("", 0));
    assert_int_equal(table_value_parse(buffer_bytes(&out), &value), 0);
    assert_int_equal(value.encoded.len, 0);
}

static void
a_table_of_another_version_than_told_is_refused(void **state)
{
    struct table_value value = {.version = {1, 1}};
    struct buffer encoded;
    encode(&encoded, (struct table_version){7, 12});
    table_value_write(&out, (struct table_version){7, 13}, "http://a:1",
                      buffer_bytes(&encoded));
    assert_int_equal(table_value_parse(buffer_bytes(&out), &value),
                     ERR_INVALID);
    assert_int_equal(value.version.term, 1);
    buffer_fini(&encoded);
}

static void
bad_values_are_refused_and_change_nothing(void **state)
{
    static const struct bytes leaders[] = {
        BYTES_LITERAL(""),
        BYTES_LITERAL("1"),
        BYTES_LITERAL("1 http://a:1"),
        BYTES_LITERAL(" http://a:1\n"),
        BYTES_LITERAL("x http://a:1\n"),
        BYTES_LITERAL("1 ftp://a:1\n"),
        BYTES_LITERAL("1 http://a:1\nx"),
        BYTES_LITERAL("1 http://a\0b:1\n"),
        BYTES_LITERAL("1 http://a b\n"),
        BYTES_LITERAL("18446744073709551616 http://a:1\n")};
    static const struct bytes tables[] = {BYTES_LITERAL(""),
                                          BYTES_LITERAL("1.2"),
                                          BYTES_LITERAL("1 http://a:1\n"),
                                          BYTES_LITERAL("1.2 http://a:1"),
                                          BYTES_LITERAL("1. http://a:1\n"),
                                          BYTES_LITERAL("1.2 http://a:1\nx"),
                                          BYTES_LITERAL("1.2 a:1\n")};
    struct leader_value leader = {.term = 42};
    struct table_value table = {.version = {42, 42}};
    for (size_t i = 0; i < sizeof leaders / sizeof *leaders; i++)
        assert_true(leader_value_parse(leaders[i], &leader) != 0);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        assert_true(table_value_parse(tables[i], &table) != 0);
    assert_int_equal(leader.term, 42);
    assert_int_equal(table.version.term, 42);
}

static void
a_url_longer_than_its_room_is_refused(void **state)
{
    struct leader_value leader;
    buffer_append_text(&out, "1 http://");
    for (size_t i = 0; i < COORDINATION_URL_SIZE; i++)
        buffer_append_u8(&out, 'a');
    buffer_append_text(&out, ":1\n");
    assert_int_equal(leader_value_parse(buffer_bytes(&out), &leader),
                     ERR_LIMIT);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_leader_is_read_as_it_was_written),
        TEST(a_table_is_read_as_it_was_written_with_its_bytes_or_without),
        TEST(a_table_of_another_version_than_told_is_refused),
        TEST(bad_values_are_refused_and_change_nothing),
        TEST(a_url_longer_than_its_room_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
