/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdio.h>
#include <stdlib.h>

#include "core/content.h"
#include "core/err.h"
#include "core/table.h"

#define TEXT(s) BYTES_LITERAL(s)

static const struct table_node nodes[] = {
    {.name = TEXT("origin2"),
     .url = TEXT("http://10.0.0.2:8080"),
     .weight = 100,
     .load = 1234,
     .state = NODE_UP},
    {.name = TEXT("origin1"),
     .url = TEXT("https://o1.example"),
     .weight = 65535,
     .load = UINT32_MAX,
     .state = NODE_DRAINING},
    {.name = TEXT("origin10"),
     .url = TEXT("http://[::1]:80/base"),
     .weight = 1,
     .load = 0,
     .state = NODE_FULL},
};

static const struct table_row rows[] = {
    {.id = TEXT("film-a"),
     .level = LEVEL_NORMAL,
     .owner_count = 2,
     .rate_milli = 123456789012,
     .calmer_since_ms = 1700000000123},
    {.id = TEXT("film-b"),
     .level = LEVEL_CRITICAL,
     .owner_count = 3,
     .cdn_share = 10000},
    {.id = TEXT("film-c"),
     .level = LEVEL_CALM,
     .owner_count = 1,
     .is_cdn_forbidden = true},
};

static const struct table example = {
    .version = {.term = 7, .sequence = 12},
    .created_ms = 1700000000000,
    .nodes = nodes,
    .node_count = 3,
    .rows = rows,
    .row_count = 3,
};

static void
encode(const struct table *table, struct buffer *out)
{
    buffer_init(out, TABLE_SIZE_MAX);
    assert_int_equal(table_encode(table, out), 0);
}

static void
what_was_encoded_is_decoded(void **state)
{
    struct buffer b;
    struct table_snapshot *s;
    encode(&example, &b);
    assert_int_equal(table_decode(buffer_bytes(&b), &s), 0);
    buffer_fini(&b); /* the snapshot owns its memory */
    const struct table *t = &s->table;
    assert_int_equal(t->version.term, 7);
    assert_int_equal(t->version.sequence, 12);
    assert_int_equal(t->created_ms, 1700000000000);
    assert_false(t->is_cdn_forbidden);
    assert_int_equal(t->node_count, 3);
    static const char *const order[] = {"origin1", "origin10", "origin2"};
    for (size_t i = 0; i < 3; i++) {
        const struct table_node *n = &t->nodes[i];
        assert_true(bytes_equal(n->name, bytes_of_text(order[i])));
        assert_int_equal(table_node_find(t, n->name), (int) i);
        assert_true(n->hash == placement_node_hash(n->name));
        for (size_t j = 0; j < 3; j++) {
            if (!bytes_equal(nodes[j].name, n->name))
                continue;
            assert_true(bytes_equal(nodes[j].url, n->url));
            assert_int_equal(nodes[j].weight, n->weight);
            assert_int_equal(nodes[j].load, n->load);
            assert_int_equal(nodes[j].state, n->state);
        }
    }
    assert_int_equal(table_node_find(t, TEXT("origin")), -1);
    assert_int_equal(table_node_find(t, TEXT("origin3")), -1);
    for (size_t i = 0; i < 3; i++) {
        const struct table_row *r =
            table_find(t, content_hash(rows[i].id), rows[i].id);
        assert_non_null(r);
        assert_true(bytes_equal(r->id, rows[i].id));
        assert_int_equal(r->level, rows[i].level);
        assert_int_equal(r->owner_count, rows[i].owner_count);
        assert_int_equal(r->cdn_share, rows[i].cdn_share);
        assert_int_equal(r->is_cdn_forbidden, rows[i].is_cdn_forbidden);
        assert_true(r->rate_milli == rows[i].rate_milli);
        assert_true(r->calmer_since_ms == rows[i].calmer_since_ms);
    }
    assert_null(table_find(t, content_hash(TEXT("x")), TEXT("x")));
    assert_null(table_find(t, content_hash(rows[0].id), TEXT("x")));
    table_free(s);
    table_free(NULL);
}

static void
an_empty_table_is_a_table(void **state)
{
    struct table empty = {.version = {1, 1}, .is_cdn_forbidden = true};
    struct table_snapshot *s;
    struct buffer b;
    encode(&empty, &b);
    assert_int_equal(table_decode(buffer_bytes(&b), &s), 0);
    assert_int_equal(s->available_count, 0);
    assert_true(s->table.is_cdn_forbidden);
    assert_null(table_find(&s->table, 1, TEXT("x")));
    assert_int_equal(table_node_find(&s->table, TEXT("x")), -1);
    table_free(s);
    buffer_fini(&b);
}

static void
equal_tables_have_equal_bytes_in_any_order(void **state)
{
    struct table_node turned_nodes[3];
    struct table_row turned_rows[3];
    struct table turned = example;
    struct buffer a, b;
    for (size_t i = 0; i < 3; i++) {
        turned_nodes[i] = nodes[2 - i];
        turned_rows[i] = rows[(i + 1) % 3];
    }
    turned.nodes = turned_nodes;
    turned.rows = turned_rows;
    encode(&example, &a);
    encode(&turned, &b);
    assert_true(bytes_equal(buffer_bytes(&a), buffer_bytes(&b)));
    buffer_fini(&a);
    buffer_fini(&b);
}

static void
no_altered_byte_and_no_other_length_is_accepted(void **state)
{
    struct buffer b;
    struct table_snapshot *s = NULL;
    encode(&example, &b);
    for (size_t i = 0; i < b.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            b.ptr[i] = (uint8_t) (b.ptr[i] ^ 1 << bit);
            assert_int_not_equal(table_decode(buffer_bytes(&b), &s), 0);
            b.ptr[i] = (uint8_t) (b.ptr[i] ^ 1 << bit);
        }
    }
    for (size_t len = 0; len < b.len; len++) {
        uint8_t *cut = malloc(len ? len : 1);
        memcpy(cut, b.ptr, len);
        assert_int_equal(table_decode(bytes_of(cut, len), &s), ERR_TRUNCATED);
        free(cut);
    }
    buffer_append_u8(&b, 0);
    assert_int_equal(table_decode(buffer_bytes(&b), &s), ERR_INVALID);
    b.len--;
    b.ptr[100] ^= 1;
    assert_int_equal(table_decode(buffer_bytes(&b), &s), ERR_CHECKSUM);
    b.ptr[8] = 2;
    assert_int_equal(table_decode(buffer_bytes(&b), &s), ERR_VERSION);
    assert_null(s);
    buffer_fini(&b);
}

/* Bytes in the encoded example that are wrong though the checksum is right. */
static void
bad_records_with_a_right_checksum_are_refused(void **state)
{
    static const struct {
        size_t offset;
        uint8_t value;
        int err;
    } cases[] = {
        {52, 2, ERR_INVALID},         /* header: neither yes nor no */
        {40, 4, ERR_INVALID},         /* one node more */
        {41, 8, ERR_LIMIT},           /* too many nodes */
        {46, 2, ERR_LIMIT},           /* too many rows */
        {48, 1, ERR_INVALID},         /* text size */
        {56, 1, ERR_INVALID},         /* node 0: hash */
        {56 + 11, 1, ERR_INVALID},    /* name offset */
        {56 + 12, 0xff, ERR_INVALID}, /* url offset */
        {56 + 22, 0, ERR_INVALID},    /* name length */
        {56 + 22, 200, ERR_INVALID},
        {56 + 23, 255, ERR_INVALID},   /* url length */
        {56 + 24, 4, ERR_INVALID},     /* state */
        {56 + 31, 1, ERR_INVALID},     /* zero */
        {152, 1, ERR_INVALID},         /* row 0: hash */
        {152 + 27, 1, ERR_INVALID},    /* id offset */
        {152 + 31, 1, ERR_INVALID},    /* owner count */
        {152 + 33, 0xff, ERR_INVALID}, /* share */
        {152 + 34, 65, ERR_INVALID},   /* id length */
        {152 + 35, 4, ERR_INVALID},    /* level */
        {152 + 36, 2, ERR_INVALID},    /* neither yes nor no */
        {272 + 7, ' ', ERR_INVALID},   /* first url */
        {272 + 0, '/', ERR_INVALID},   /* first name */
    };
    struct buffer b;
    struct table_snapshot *s = NULL;
    encode(&example, &b);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t before = b.ptr[cases[i].offset];
        assert_int_not_equal(before, cases[i].value);
        b.ptr[cases[i].offset] = cases[i].value;
        store_le64(b.ptr + b.len - 8, XXH3_64bits(b.ptr, b.len - 8));
        assert_int_equal(table_decode(buffer_bytes(&b), &s), cases[i].err);
        b.ptr[cases[i].offset] = before;
    }
    /* two rows, and two nodes, in the wrong order */
    uint8_t record[40];
    memcpy(record, b.ptr + 152, 40);
    memmove(b.ptr + 152, b.ptr + 192, 40);
    memcpy(b.ptr + 192, record, 40);
    store_le64(b.ptr + b.len - 8, XXH3_64bits(b.ptr, b.len - 8));
    assert_int_equal(table_decode(buffer_bytes(&b), &s), ERR_INVALID);
    memcpy(b.ptr + 152, b.ptr + 192, 40); /* one twice */
    store_le64(b.ptr + b.len - 8, XXH3_64bits(b.ptr, b.len - 8));
    assert_int_equal(table_decode(buffer_bytes(&b), &s), ERR_INVALID);
    assert_null(s);
    buffer_fini(&b);
}

static void
bad_tables_are_not_encoded(void **state)
{
    struct buffer b;
    buffer_init(&b, TABLE_SIZE_MAX);
    for (int i = 0; i < 17; i++) {
        struct table_node n[2] = {nodes[0], nodes[1]};
        struct table_row r[2] = {rows[0], rows[1]};
        struct table t = {
            .nodes = n, .node_count = 2, .rows = r, .row_count = 2};
        switch (i) {
        case 0:
            n[0].name = n[1].name;
            break;
        case 1:
            n[0].name = TEXT("");
            break;
        case 2:
            n[0].name = TEXT("a b");
            break;
        case 3:
            n[0].url = TEXT("");
            break;
        case 4:
            n[0].url = TEXT("ftp://x");
            break;
        case 5:
            n[0].weight = 0;
            break;
        case 6:
            n[0].weight = 65536;
            break;
        case 7:
            n[0].state = (enum node_state) 9;
            break;
        case 8:
            r[0].id = r[1].id;
            break;
        case 9:
            r[0].id = TEXT("");
            break;
        case 10:
            r[0].id = TEXT("../x");
            break;
        case 11:
            r[0].level = (enum level) 4;
            break;
        case 16:
            r[1].is_cdn_forbidden = true; /* and has a share */
            break;
        case 12:
            r[0].owner_count = 0;
            break;
        case 13:
            r[0].owner_count = PLACEMENT_NODES_MAX + 1;
            break;
        case 14:
            r[0].cdn_share = TABLE_SHARE_ONE + 1;
            break;
        default:
            t.row_count = TABLE_ROWS_MAX + 1;
            assert_int_equal(table_encode(&t, &b), ERR_LIMIT);
            continue;
        }
        assert_int_equal(table_encode(&t, &b), ERR_INVALID);
        assert_int_equal(b.len, 0);
    }
    buffer_fini(&b);
}

static void
urls_are_http_without_what_breaks_a_header(void **state)
{
    static const struct {
        const char *url;
        bool is_valid;
    } cases[] = {
        {"http://a", true},
        {"https://a.b:80", true},
        {"http://[::1]:8080", true},
        {"http://a/base", true},
        {"http://", false},
        {"https://", false},
        {"http:///x", false},
        {"HTTP://a", false},
        {"//a", false},
        {"a", false},
        {"", false},
        {"http://a/", false},
        {"http://a b", false},
        {"http://a\r\nX: y", false},
        {"http://a\"", false},
        {"http://a'", false},
        {"http://a\\", false},
        {"http://a<", false},
        {"http://\xc3\xa4", false},
        {"javascript:http://a", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(table_node_url_is_valid(bytes_of_text(cases[i].url)),
                         cases[i].is_valid);
}

static void
nodes_that_are_up_are_used_and_others_only_when_there_are_none(void **state)
{
    static const struct {
        enum node_state states[3];
        int available[3];
    } cases[] = {
        {{NODE_UP, NODE_UP, NODE_UP}, {1, 1, 1}},
        {{NODE_UP, NODE_DOWN, NODE_FULL}, {1, 0, 0}},
        {{NODE_DRAINING, NODE_DOWN, NODE_FULL}, {0, 0, 1}},
        {{NODE_DRAINING, NODE_DOWN, NODE_DOWN}, {0, 1, 1}},
        {{NODE_DRAINING, NODE_DRAINING, NODE_DRAINING}, {0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct table_node n[3];
        struct table t = {.nodes = n, .node_count = 3};
        struct table_snapshot *s;
        struct buffer b;
        size_t sum = 0;
        for (size_t j = 0; j < 3; j++) {
            static const char names[3][2] = {"a", "b", "c"};
            n[j] = nodes[0];
            n[j].name = bytes_of_text(names[j]);
            n[j].state = cases[i].states[j];
        }
        encode(&t, &b);
        assert_int_equal(table_decode(buffer_bytes(&b), &s), 0);
        for (size_t j = 0; j < 3; j++) {
            assert_int_equal(s->placement[j].weight,
                             cases[i].available[j] ? 100 : 0);
            sum += (size_t) cases[i].available[j];
        }
        assert_int_equal(s->available_count, sum);
        table_free(s);
        buffer_fini(&b);
    }
}

static void
versions_are_ordered_by_term_then_sequence(void **state)
{
    struct table_version a = {1, 9}, b = {2, 1}, c = {2, 2};
    assert_true(table_version_compare(a, b) < 0);
    assert_true(table_version_compare(b, c) < 0);
    assert_true(table_version_compare(c, a) > 0);
    assert_int_equal(table_version_compare(c, c), 0);
    struct buffer buffer;
    struct table_version found = {0, 0};
    encode(&example, &buffer);
    assert_int_equal(table_peek_version(buffer_bytes(&buffer), &found), 0);
    assert_int_equal(table_version_compare(found, example.version), 0);
    assert_int_equal(table_peek_version(bytes_of(buffer.ptr, 30), &found),
                     ERR_TRUNCATED);
    assert_int_equal(table_peek_version(TEXT("hello"), &found), ERR_INVALID);
    buffer_fini(&buffer);
    assert_string_equal(level_name(LEVEL_CRITICAL), "critical");
    assert_string_equal(level_name((enum level) 9), "unknown");
    assert_string_equal(node_state_name(NODE_DRAINING), "draining");
    assert_string_equal(node_state_name((enum node_state) 9), "unknown");
}

static void
a_version_is_read_whole_or_not_at_all(void **state)
{
    static const char *const bad[] = {
        "",      ".",    "1",    "1.",  ".1",
        "1.2.3", "1.2 ", "-1.2", "1.x", "18446744073709551616.1"};
    struct table_version version;
    assert_int_equal(
        table_version_parse(BYTES_LITERAL("18446744073709551615.7"), &version),
        0);
    assert_true(version.term == UINT64_MAX && version.sequence == 7);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(table_version_parse(bytes_of_text(bad[i]), &version),
                         ERR_INVALID);
    assert_true(version.term == UINT64_MAX && version.sequence == 7);
}

static void
the_largest_table_fits(void **state)
{
    struct table_row *many = calloc(TABLE_ROWS_MAX, sizeof *many);
    char(*ids)[65] = calloc(TABLE_ROWS_MAX, sizeof *ids);
    struct table_snapshot *s;
    struct buffer b;
    for (unsigned i = 0; i < TABLE_ROWS_MAX; i++) {
        snprintf(ids[i], sizeof ids[i], "%064u", i);
        many[i] = rows[0];
        many[i].id = bytes_of(ids[i], 64);
    }
    struct table t = {.rows = many, .row_count = TABLE_ROWS_MAX};
    encode(&t, &b);
    assert_int_equal(table_decode(buffer_bytes(&b), &s), 0);
    for (unsigned i = 0; i < TABLE_ROWS_MAX; i += 7) {
        const struct table_row *r =
            table_find(&s->table, content_hash(many[i].id), many[i].id);
        assert_non_null(r);
        assert_true(bytes_equal(r->id, many[i].id));
    }
    table_free(s);
    buffer_fini(&b);
    free(many);
    free(ids);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_encoded_is_decoded),
        cmocka_unit_test(an_empty_table_is_a_table),
        cmocka_unit_test(equal_tables_have_equal_bytes_in_any_order),
        cmocka_unit_test(no_altered_byte_and_no_other_length_is_accepted),
        cmocka_unit_test(bad_records_with_a_right_checksum_are_refused),
        cmocka_unit_test(bad_tables_are_not_encoded),
        cmocka_unit_test(urls_are_http_without_what_breaks_a_header),
        cmocka_unit_test(
            nodes_that_are_up_are_used_and_others_only_when_there_are_none),
        cmocka_unit_test(versions_are_ordered_by_term_then_sequence),
        cmocka_unit_test(a_version_is_read_whole_or_not_at_all),
        cmocka_unit_test(the_largest_table_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
