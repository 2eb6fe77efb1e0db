/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/consul_answer.h"

#include "core/err.h"
#include "platform/consul.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void
an_index_is_the_whole_of_64_bits(void **state)
{
    uint64_t index = 7;
    assert_int_equal(consul_index_parse("18446744073709551615", &index), 0);
    assert_true(index == UINT64_MAX);
    static const char *const bad[] = {"", "-1", "1x", " 1",
                                      "18446744073709551616"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(consul_index_parse(bad[i], &index), ERR_INVALID);
    assert_true(index == UINT64_MAX);
}

static void
the_next_index_begins_again_where_it_went_back_but_for_events(void **state)
{
    assert_true(consul_index_next(false, 5, 9) == 9);
    assert_true(consul_index_next(false, 9, 9) == 9);
    assert_true(consul_index_next(false, 9, 5) == 0);
    assert_true(consul_index_next(false, 0, 0) == 1);
    assert_true(consul_index_next(true, UINT64_MAX, 5) == 5);
    assert_true(consul_index_next(true, 5, UINT64_MAX) == UINT64_MAX);
}

static void
a_key_is_read_with_its_holder_and_its_value(void **state)
{
    struct consul_key key;
    assert_int_equal(
        consul_key_parse(BYTES_LITERAL("[{\"LockIndex\":1,\"Key\":\"v/l\","
                                       "\"Value\":\"MTIgaHR0cDovL2E6MQo=\","
                                       "\"Session\":\"99c7-bb36\","
                                       "\"ModifyIndex\":19}]"),
                         &key),
        0);
    assert_int_equal(key.modify_index, 19);
    assert_string_equal(key.session, "99c7-bb36");
    assert_int_equal(key.value_len, 14);
    assert_memory_equal(key.value, "12 http://a:1\n", 14);
    assert_int_equal(
        consul_key_parse(BYTES_LITERAL("[{\"Value\":null,\"ModifyIndex\":3}]"),
                         &key),
        0);
    assert_string_equal(key.session, "");
    assert_int_equal(key.value_len, 0);
}

static void
a_bad_key_is_refused_and_changes_nothing(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "[1]",
        "[{}]",
        "[{\"ModifyIndex\":-1}]",
        "[{\"ModifyIndex\":\"1\"}]",
        "[{\"ModifyIndex\":1},{\"ModifyIndex\":2}]",
        "[{\"ModifyIndex\":1,\"Session\":\"a/../b\"}]",
        "[{\"ModifyIndex\":1,\"Session\":\"a?b\"}]",
        "[{\"ModifyIndex\":1,\"Session\":7}]",
        "[{\"ModifyIndex\":1,\"Value\":\"abc\"}]",
        "[{\"ModifyIndex\":1,\"Value\":\"ab*=\"}]",
    };
    struct consul_key key = {.modify_index = 42};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (consul_key_parse(bytes_of_text(bad[i]), &key) != ERR_INVALID)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(key.modify_index, 42);
}

static void
a_value_longer_than_its_room_is_refused(void **state)
{
    char text[3000];
    struct consul_key key;
    int n = snprintf(text, sizeof text, "[{\"ModifyIndex\":1,\"Value\":\"");
    for (int i = 0; i < CONSUL_VALUE_SIZE / 3 + 1; i++)
        n += snprintf(text + n, sizeof text - (size_t) n, "AAAA");
    snprintf(text + n, sizeof text - (size_t) n, "\"}]");
    assert_int_equal(consul_key_parse(bytes_of_text(text), &key), ERR_LIMIT);
}

static void
an_id_can_go_into_a_path(void **state)
{
    char id[CONSUL_ID_SIZE] = "kept";
    assert_int_equal(consul_id_parse(BYTES_LITERAL("{\"ID\":\"a-1\"}"), id), 0);
    assert_string_equal(id, "a-1");
    static const char *const bad[] = {"",
                                      "[]",
                                      "{}",
                                      "{\"ID\":\"\"}",
                                      "{\"ID\":\"a/b\"}",
                                      "{\"ID\":7}",
                                      "{\"ID\":\"a\\u0000b\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (consul_id_parse(bytes_of_text(bad[i]), id) != ERR_INVALID)
            fail_msg("taken: %s", bad[i]);
    assert_string_equal(id, "a-1");
}

static void
append_payload(struct bytes payload, void *context)
{
    char *text = context;
    const size_t len = strlen(text);
    snprintf(text + len, 64 - len, "[%.*s]", (int) payload.len,
             (const char *) payload.ptr);
}

static void
each_event_gives_its_payload_and_a_bad_one_is_left_out(void **state)
{
    char seen[64] = "";
    assert_int_equal(
        consul_events_parse(
            BYTES_LITERAL("[{\"Payload\":\"MS4y\"},{\"Payload\":null},"
                          "{\"Payload\":\"x\"},{\"Payload\":7},3,"
                          "{\"Payload\":\"MS4zMQ==\"}]"),
            append_payload, seen),
        0);
    assert_string_equal(seen, "[1.2][][][1.31]");
    assert_int_equal(
        consul_events_parse(BYTES_LITERAL("{}"), append_payload, seen),
        ERR_INVALID);
}

static void
services_are_found_by_their_url_or_their_address(void **state)
{
    struct consul_services s;
    assert_int_equal(
        consul_services_parse(
            BYTES_LITERAL(
                "[{\"Service\":{\"Meta\":{\"url\":\"http://a:1\"}}},"
                "{\"Service\":{\"Address\":\"10.0.0.1\",\"Port\":7100}},"
                "{\"Node\":{\"Address\":\"fe80::1\"},"
                "\"Service\":{\"Address\":\"\",\"Port\":7100}},"
                "{\"Service\":{\"Meta\":{\"url\":\"ftp://a\"}}},"
                "{\"Service\":{\"Address\":\"a b\",\"Port\":1}},"
                "{\"Service\":{\"Address\":\"a\",\"Port\":0}},{},7]"),
            &s),
        0);
    assert_int_equal(s.count, 3);
    assert_string_equal(s.urls[0], "http://a:1");
    assert_string_equal(s.urls[1], "http://10.0.0.1:7100");
    assert_string_equal(s.urls[2], "http://[fe80::1]:7100");
    assert_int_equal(consul_services_parse(BYTES_LITERAL("null"), &s),
                     ERR_INVALID);
    assert_int_equal(s.count, 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_is_the_whole_of_64_bits),
        cmocka_unit_test(
            the_next_index_begins_again_where_it_went_back_but_for_events),
        cmocka_unit_test(a_key_is_read_with_its_holder_and_its_value),
        cmocka_unit_test(a_bad_key_is_refused_and_changes_nothing),
        cmocka_unit_test(a_value_longer_than_its_room_is_refused),
        cmocka_unit_test(an_id_can_go_into_a_path),
        cmocka_unit_test(
            each_event_gives_its_payload_and_a_bad_one_is_left_out),
        cmocka_unit_test(services_are_found_by_their_url_or_their_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
