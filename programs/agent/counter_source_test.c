/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/agent/counter_source.h"

#include "core/content.h"
#include "core/demand.h"
#include "core/err.h"
#include "platform/files.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define CONTENTS 16

static char folder[64], path[96];
static struct counter_source *source;
static uint64_t sequence;

/* Writes a counter file with n requests for each of the ids, as nginx would
 * after it was restarted with another shape: a new file in the old one's
 * place. */
static void
make_file(uint64_t boot, unsigned n, const char *const *ids)
{
    const size_t size = counters_file_size(CONTENTS, 32);
    uint64_t *map = calloc(1, size);
    struct counters c;
    assert_int_equal(counters_format(map, size, CONTENTS, 32, boot), 0);
    assert_int_equal(counters_open(map, size, &c), 0);
    for (; *ids != NULL; ids++)
        for (unsigned i = 0; i < n; i++)
            counters_add(&c, content_hash(bytes_of_text(*ids)),
                         bytes_of_text(*ids), 10, 0);
    assert_int_equal(file_write_atomic(path, bytes_of(map, size), 0600, false),
                     0);
    free(map);
}

/* As make_file, into the file that is there. */
static void
change_file(uint64_t boot, unsigned n, const char *const *ids)
{
    char kept[128];
    struct buffer b;
    snprintf(kept, sizeof kept, "%s.kept", path);
    assert_int_equal(rename(path, kept), 0);
    make_file(boot, n, ids);
    buffer_init(&b, 1u << 20);
    assert_int_equal(file_read(path, &b), 0);
    FILE *f = fopen(kept, "r+b");
    assert_non_null(f);
    assert_int_equal(fwrite(b.ptr, 1, b.len, f), b.len);
    fclose(f);
    assert_int_equal(rename(kept, path), 0);
    buffer_fini(&b);
}

static void
report_write(struct buffer *out)
{
    const struct report_header header = {.node = BYTES_LITERAL("n"),
                                         .url = BYTES_LITERAL("http://n:1"),
                                         .weight = 1,
                                         .sequence = ++sequence,
                                         .base = counter_source_base(source),
                                         .boot = counter_source_boot(source)};
    buffer_init(out, REPORT_PART_SIZE_MAX);
    report_begin(out, &header);
    assert_int_equal(counter_source_report(source, sequence, out), 0);
    assert_int_equal(report_finish(out), 0);
}

/* How many entries a report has now. */
static uint32_t
report_now(void)
{
    struct buffer b;
    struct report_reader reader;
    report_write(&b);
    assert_int_equal(report_open(buffer_bytes(&b), &reader), 0);
    buffer_fini(&b);
    return reader.entries_left;
}

static int
start(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/counter_source_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/counters", folder);
    source = counter_source_new(path);
    sequence = 1000;
    return source == NULL;
}

static int
stop(void **state)
{
    counter_source_free(source);
    return folder_remove(folder);
}

static const char *const ab[] = {"a", "b", NULL};
static const char *const abc[] = {"a", "b", "c", NULL};

static void
a_missing_file_has_no_boot_and_no_entries(void **state)
{
    assert_false(counter_source_refresh(source));
    assert_int_equal(counter_source_boot(source), 0);
    assert_int_equal(report_now(), 0);
    make_file(7, 1, ab);
    assert_true(counter_source_refresh(source));
    assert_int_equal(counter_source_boot(source), 7);
    assert_int_equal(report_now(), 2);
}

static void
only_what_changed_since_the_acknowledgement_is_reported(void **state)
{
    make_file(7, 1, ab);
    counter_source_refresh(source);
    assert_int_equal(report_now(), 2);
    counter_source_acknowledge(source);
    assert_int_equal(report_now(), 0);
    change_file(7, 1, abc);
    assert_true(counter_source_refresh(source));
    assert_int_equal(report_now(), 1);
    counter_source_forget(source);
    assert_int_equal(report_now(), 3);
}

static void
what_was_not_acknowledged_is_reported_again(void **state)
{
    make_file(7, 1, ab);
    counter_source_refresh(source);
    assert_int_equal(report_now(), 2);
    assert_int_equal(report_now(), 2);
    counter_source_acknowledge(source);
    change_file(7, 2, ab);
    assert_int_equal(report_now(), 2);
    assert_int_equal(report_now(), 2);
}

static void
a_report_builds_on_the_last_that_was_acknowledged(void **state)
{
    make_file(7, 1, ab);
    counter_source_refresh(source);
    report_now();
    assert_int_equal(counter_source_base(source), 0);
    report_now();
    assert_false(counter_source_acknowledge(source));
    assert_int_equal(counter_source_base(source), sequence);
    report_now(); /* lost */
    assert_int_equal(counter_source_base(source), sequence - 1);
    counter_source_forget(source);
    assert_int_equal(counter_source_base(source), 0);
    report_now();
    counter_source_acknowledge(source);
    make_file(8, 1, ab);
    counter_source_refresh(source);
    assert_int_equal(counter_source_base(source), 0);
}

/* Counts n requests more in the mapped file, as nginx does. */
static void
count_more(const char *id, unsigned n)
{
    const size_t size = counters_file_size(CONTENTS, 32);
    struct counters c;
    const int fd = open(path, O_RDWR);
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(counters_open(map, size, &c), 0);
    while (n-- > 0)
        counters_add(&c, content_hash(bytes_of_text(id)), bytes_of_text(id), 10,
                     0);
    munmap(map, size);
    close(fd);
}

static void
a_jump_is_seen_before_the_next_report(void **state)
{
    make_file(7, 20, ab);
    assert_true(counter_source_refresh(source));
    assert_int_equal(report_now(), 2);
    counter_source_acknowledge(source);
    assert_false(counter_source_has_jumped(source, 8, 1));
    /* what is asked for as before is no jump, nor what is not much */
    count_more("a", 47);
    count_more("c", 7);
    assert_false(counter_source_has_jumped(source, 8, 1));
    count_more("c", 1);
    assert_true(counter_source_has_jumped(source, 8, 1));
    assert_int_equal(report_now(), 2);
    counter_source_acknowledge(source);
    assert_false(counter_source_has_jumped(source, 8, 1));
    /* 8 came with the last report: 16 and 8 more are too many for one span,
     * and nothing new in two */
    count_more("c", 24);
    assert_true(counter_source_has_jumped(source, 8, 1));
    assert_false(counter_source_has_jumped(source, 8, 2));
}

static void
a_replaced_file_starts_over(void **state)
{
    make_file(7, 1, ab);
    counter_source_refresh(source);
    report_now();
    make_file(8, 1, ab);
    assert_true(counter_source_refresh(source));
    assert_int_equal(counter_source_boot(source), 8);
    counter_source_acknowledge(source); /* of the old one: too late */
    assert_int_equal(counter_source_base(source), 0);
    assert_int_equal(report_now(), 2);
}

static void
a_file_cut_short_is_left(void **state)
{
    make_file(7, 1, ab);
    assert_true(counter_source_refresh(source));
    assert_int_equal(truncate(path, 4096), 0);
    assert_false(counter_source_refresh(source));
    assert_int_equal(report_now(), 0);
}

static void
a_file_of_another_kind_is_refused(void **state)
{
    file_write_atomic(path, BYTES_LITERAL("not counters"), 0600, false);
    assert_false(counter_source_refresh(source));
    file_write_atomic(path, BYTES_LITERAL(""), 0600, false);
    assert_false(counter_source_refresh(source));
    make_file(9, 1, ab);
    assert_true(counter_source_refresh(source));
}

/* ---- more contents than fit in a report */

enum { MANY = 1050000 };

static struct bytes
many_name(unsigned i, char name[16])
{
    const int len = snprintf(name, 16, "content%08u", i);
    return bytes_of(name, (size_t) len);
}

static struct counters
make_large_file(void)
{
    const size_t size = counters_file_size(MANY, 16);
    const int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(ftruncate(fd, (off_t) size), 0);
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    struct counters c;
    assert_int_equal(counters_format(map, size, MANY, 16, 7), 0);
    assert_int_equal(counters_open(map, size, &c), 0);
    c.map_size = size;
    return c;
}

static void
count_each(struct counters *c, unsigned step)
{
    char name[16];
    for (unsigned i = 0; i < MANY; i += step) {
        const struct bytes id = many_name(i, name);
        counters_add(c, content_hash(id), id, 10, 0);
    }
}

/* Reports until the Manager has all; how many it took. NULL: one that nothing
 * is asked of. */
static unsigned
tell(struct demand *d)
{
    struct demand_merge_result result = {.wants_full = false};
    struct buffer b;
    unsigned count = 0;
    bool has_more = true;
    while (has_more) {
        report_write(&b);
        if (d != NULL)
            assert_int_equal(
                demand_merge(d, buffer_bytes(&b), 1000000, &result), 0);
        buffer_fini(&b);
        if (result.wants_full)
            counter_source_forget(source);
        else
            has_more = counter_source_acknowledge(source);
        count++;
    }
    return count;
}

static void
assert_knows_all(struct demand *d, unsigned step)
{
    char name[16];
    struct counters_values v;
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(demand_sums(d, many_name(i, name), &v), 0);
        assert_int_equal(v.requests, i % step == 0 ? 2 : 1);
    }
}

static void
more_contents_than_a_report_holds_are_told_in_parts(void **state)
{
    struct demand *second = demand_new(&demand_policy_default);
    struct counters c = make_large_file();
    size_t count;
    count_each(&c, 1);
    assert_true(counter_source_refresh(source));
    assert_true(tell(NULL) > 40);
    /* some change, and another Manager is to hear of all */
    count_each(&c, 1000);
    assert_true(tell(second) > 40);
    assert_knows_all(second, 1000);
    assert_int_equal(tell(second), 1);
    /* they were counted before it heard of the node */
    demand_advance(second, 1000000);
    demand_rates(second, &count);
    assert_int_equal(count, 0);
    demand_free(second);
    munmap(c.map, c.map_size);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_missing_file_has_no_boot_and_no_entries),
        TEST(only_what_changed_since_the_acknowledgement_is_reported),
        TEST(what_was_not_acknowledged_is_reported_again),
        TEST(a_report_builds_on_the_last_that_was_acknowledged),
        TEST(a_jump_is_seen_before_the_next_report),
        TEST(a_replaced_file_starts_over),
        TEST(a_file_cut_short_is_left),
        TEST(a_file_of_another_kind_is_refused),
        TEST(more_contents_than_a_report_holds_are_told_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
