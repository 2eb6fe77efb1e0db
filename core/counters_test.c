/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/content.h"
#include "core/counters.h"
#include "core/err.h"

static void *
map_new(size_t size)
{
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    return map;
}

static struct counters
counters_new(uint32_t contents_max, uint32_t id_bytes)
{
    struct counters c;
    size_t size = counters_file_size(contents_max, id_bytes);
    void *map = map_new(size);
    assert_int_equal(counters_format(map, size, contents_max, id_bytes, 42), 0);
    assert_int_equal(counters_open(map, size, &c), 0);
    return c;
}

static void
counters_end(struct counters *c)
{
    munmap(c->map, c->map_size);
}

static void
add(struct counters *c, const char *id, uint64_t bytes, unsigned flags)
{
    struct bytes b = bytes_of_text(id);
    counters_add(c, content_hash(b), b, bytes, flags);
}

static bool
find(const struct counters *c, const char *id, struct counters_values *out)
{
    struct counters_entry entry;
    bool is_found = false;
    for (uint32_t cursor = 0; counters_next(c, &cursor, &entry);) {
        if (bytes_equal(entry.id, bytes_of_text(id))) {
            assert_false(is_found);
            is_found = true;
            *out = entry.values;
        }
    }
    return is_found;
}

static void
a_file_takes_at_most_64_bytes_a_content_beside_the_ids(void **state)
{
    static const uint32_t counts[] = {1024,   5000,   50000,
                                      370000, 400000, 100000000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        size_t size = counters_file_size(counts[i], 32);
        assert_true(size > 0);
        size_t beside = size - (size_t) counts[i] * 32;
        assert_true(beside <= (size_t) counts[i] * 64 + 7);
        printf("%u contents: %.4f B a content beside the ids\n", counts[i],
               (double) beside / counts[i]);
    }
}

static void
shapes_out_of_range_have_no_size(void **state)
{
    assert_int_equal(counters_file_size(0, 32), 0);
    assert_int_equal(counters_file_size(10, 0), 0);
    assert_int_equal(counters_file_size(10, 66), 0);
    assert_int_equal(counters_file_size(COUNTERS_CONTENTS_MAX + 1, 32), 0);
    assert_int_equal(counters_file_size(COUNTERS_CONTENTS_MAX, 64), 0);
    assert_true(counters_file_size(1, 2) > 4096);
}

static void
what_is_added_is_read_again(void **state)
{
    struct counters c = counters_new(100, 32);
    struct counters_values v;
    add(&c, "a", 10, 0);
    add(&c, "b", 0, COUNTERS_START);
    add(&c, "a", 5, COUNTERS_START | COUNTERS_OFFLOADED);
    add(&c, "b", 7, COUNTERS_STARVED);
    assert_int_equal(counters_used(&c), 2);
    assert_true(find(&c, "a", &v));
    assert_int_equal(v.requests, 2);
    assert_int_equal(v.bytes, 15);
    assert_int_equal(v.starts, 1);
    assert_int_equal(v.offloaded, 1);
    assert_int_equal(v.starved, 0);
    assert_true(find(&c, "b", &v));
    assert_int_equal(v.requests, 2);
    assert_int_equal(v.bytes, 7);
    assert_int_equal(v.starved, 1);
    assert_int_equal(v.starts, 1);
    assert_int_equal(v.offloaded, 0);
    assert_false(find(&c, "c", &v));
    assert_int_equal(counters_overflow(&c), 0);
    counters_end(&c);
}

static void
two_ids_of_one_hash_take_a_slot_each(void **state)
{
    struct counters c = counters_new(100, 32);
    struct counters_values v;
    for (int i = 0; i < 7; i++)
        counters_add(&c, UINT64_MAX, BYTES_LITERAL("one"), 1, 0);
    for (int i = 0; i < 5; i++)
        counters_add(&c, UINT64_MAX, BYTES_LITERAL("other"), 1, 0);
    assert_true(find(&c, "one", &v));
    assert_int_equal(v.requests, 7);
    assert_true(find(&c, "other", &v));
    assert_int_equal(v.requests, 5);
    assert_int_equal(counters_used(&c), 2);
    counters_end(&c);
}

static void
what_has_no_slot_is_overflow_and_evicts_nothing(void **state)
{
    struct counters c = counters_new(50, 32);
    struct counters_values v;
    char id[32];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 80; i++) {
            snprintf(id, sizeof id, "film-%d", i);
            add(&c, id, 1, 0);
        }
    }
    assert_int_equal(counters_used(&c), 50);
    assert_int_equal(counters_overflow(&c), 60);
    for (int i = 0; i < 80; i++) {
        snprintf(id, sizeof id, "film-%d", i);
        assert_int_equal(find(&c, id, &v), i < 50);
        assert_true(i >= 50 || v.requests == 2);
    }
    counters_end(&c);
}

static void
what_has_no_heap_is_overflow_and_short_ids_may_still_fit(void **state)
{
    struct counters c = counters_new(50, 4); /* 200 bytes of ids */
    struct counters_values v;
    char id[65];
    memset(id, 'x', 64);
    id[64] = 0;
    for (int i = 0; i < 5; i++) {
        id[0] = (char) ('a' + i);
        add(&c, id, 0, 0);
    }
    assert_int_equal(counters_overflow(&c), 2);
    assert_int_equal(counters_used(&c), 3);
    add(&c, "ab", 0, 0);
    assert_true(find(&c, "ab", &v));
    counters_end(&c);
}

static void
an_id_that_is_none_is_overflow(void **state)
{
    struct counters c = counters_new(50, 32);
    char id[65];
    memset(id, 'x', sizeof id);
    counters_add(&c, 5, bytes_of(id, 65), 0, 0);
    counters_add(&c, 5, bytes_of(id, 0), 0, 0);
    counters_add(&c, 0, bytes_of(id, 5), 0, 0);
    assert_int_equal(counters_overflow(&c), 3);
    counters_end(&c);
}

static void
a_file_is_adopted_with_its_counts_and_its_shape_is_told(void **state)
{
    struct counters c = counters_new(1000, 32), again;
    struct counters_values v;
    add(&c, "a", 1, 0);
    assert_int_equal(counters_open(c.map, c.map_size, &again), 0);
    assert_int_equal(again.boot, 42);
    add(&again, "a", 1, 0);
    assert_true(find(&c, "a", &v));
    assert_int_equal(v.requests, 2);
    assert_true(counters_has_shape(&again, 1000, 32));
    assert_false(counters_has_shape(&again, 1001, 32));
    assert_false(counters_has_shape(&again, 1000, 31));
    counters_end(&c);
}

static void
a_map_that_is_no_counter_file_is_refused(void **state)
{
    struct counters good = counters_new(1000, 32), c = {.boot = 77};
    static const struct {
        size_t offset;
        uint32_t value;
        int err;
    } cases[] = {
        {0, 0, ERR_INVALID},           /* magic */
        {8, 1, ERR_VERSION},           /* form */
        {12, 0, ERR_INVALID},          /* no slots */
        {12, 0xffffffff, ERR_INVALID}, /* slots past the limit */
        {12, 100000, ERR_TRUNCATED},   /* more slots than there is file */
        {12, 1000, ERR_INVALID},       /* fewer */
        {16, 0, ERR_INVALID},          /* no heap */
        {16, 0xffffffff, ERR_INVALID}, /* heap past the limit */
        {16, 50000, ERR_TRUNCATED},    /* more heap than there is file */
        {20, 100000, ERR_INVALID},     /* more contents than slots */
        {32, 0, ERR_INVALID},          /* boot 0 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t *at = good.map + cases[i].offset;
        uint32_t before = load_le32(at);
        store_le32(at, cases[i].value);
        assert_int_equal(counters_open(good.map, good.map_size, &c),
                         cases[i].err);
        assert_int_equal(c.boot, 77);
        store_le32(at, before);
    }
    assert_int_equal(counters_open(good.map, 100, &c), ERR_TRUNCATED);
    assert_int_equal(counters_open(good.map, good.map_size - 1, &c),
                     ERR_TRUNCATED);
    assert_int_equal(counters_open(good.map, good.map_size, &c), 0);
    assert_int_equal(counters_format(good.map, good.map_size, 1000, 32, 0),
                     ERR_INVALID);
    assert_int_equal(counters_format(good.map, good.map_size, 999, 32, 1),
                     ERR_INVALID);
    counters_end(&good);
}

static void
entries_with_wild_offsets_are_passed_over(void **state)
{
    struct counters c = counters_new(1000, 32);
    struct counters_entry entry;
    struct counters_values v;
    add(&c, "good", 1, 0);
    add(&c, "bad", 1, 0);
    uint32_t bad_slot = 0;
    for (uint32_t cursor = 0; counters_next(&c, &cursor, &entry);) {
        if (bytes_equal(entry.id, BYTES_LITERAL("bad")))
            bad_slot = entry.slot;
    }
    uint8_t *id_ref = c.map + 4096 + (size_t) bad_slot * 48 + 8;
    const uint32_t wild[] = {
        0,          c.heap_size, c.heap_size - 1, c.heap_size + 1, 0xffffffff,
        0x80000000, 500};
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++) {
        store_le32(id_ref, wild[i]);
        assert_false(find(&c, "bad", &v));
        assert_true(find(&c, "good", &v));
    }
    /* a length that steps past the heap, and one past the limit */
    uint8_t *heap = c.map + c.map_size - c.heap_size;
    store_le32(id_ref, c.heap_size - 3);
    heap[c.heap_size - 4] = 10;
    assert_false(find(&c, "bad", &v));
    store_le32(id_ref, 1);
    heap[0] = 200;
    assert_false(find(&c, "bad", &v));
    add(&c, "bad", 1, 0); /* takes another slot, and is read again */
    assert_true(find(&c, "bad", &v));
    counters_end(&c);
}

static void
a_slot_left_without_id_by_a_killed_worker_is_completed(void **state)
{
    struct counters c = counters_new(1000, 32);
    struct counters_values v;
    add(&c, "a", 1, 0);
    for (uint32_t i = 0; i < c.slot_count; i++) {
        if (load_le64(c.map + 4096 + (size_t) i * 48) != 0)
            store_le32(c.map + 4096 + (size_t) i * 48 + 8, 0);
    }
    assert_false(find(&c, "a", &v));
    add(&c, "a", 1, 0);
    assert_true(find(&c, "a", &v));
    assert_int_equal(v.requests, 2);
    assert_int_equal(counters_used(&c), 1);
    counters_end(&c);
}

/* ---- many at once */

#define IDS 500
#define ROUNDS 40

static void
worker_run(struct counters *c, unsigned seed)
{
    char id[32];
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < IDS; i++) {
            /* each worker in another order: they meet on new slots */
            unsigned n = (i * 7 + seed * 131) % IDS;
            snprintf(id, sizeof id, "content-%u", n);
            /* every tenth pair shares a hash */
            struct bytes b = bytes_of_text(id);
            uint64_t hash = n % 10 < 2 ? 1 + n / 10 : content_hash(b);
            counters_add(c, hash, b, n, n % 2 ? COUNTERS_START : 0);
        }
    }
}

static void
sums_are_exact(const struct counters *c, unsigned workers)
{
    struct counters_entry entry;
    unsigned seen = 0;
    for (uint32_t cursor = 0; counters_next(c, &cursor, &entry); seen++) {
        unsigned n =
            (unsigned) strtoul((const char *) entry.id.ptr + 8, NULL, 10);
        /* the text in the heap is not terminated, the next length ends it:
         * lengths are below '0' */
        assert_int_equal(entry.values.requests, ROUNDS * workers);
        assert_int_equal(entry.values.bytes, (uint64_t) n * ROUNDS * workers);
        assert_int_equal(entry.values.starts, n % 2 ? ROUNDS * workers : 0);
    }
    assert_int_equal(seen, IDS);
    assert_int_equal(counters_used(c), IDS);
    assert_int_equal(counters_overflow(c), 0);
}

struct thread_arg {
    struct counters *c;
    unsigned seed;
};

static void *
thread_main(void *arg_void)
{
    struct thread_arg *arg = arg_void;
    worker_run(arg->c, arg->seed);
    return NULL;
}

/* A reader's copy: of a block that did not change, nothing is read again. */
struct follower {
    uint32_t changes[IDS];
    uint64_t requests[IDS * 2], bytes[IDS * 2];
    unsigned read_count;
};

static void
follow(struct follower *f, const struct counters *c)
{
    const uint32_t *changes = counters_changes(c);
    for (uint32_t block = 0; block < counters_block_count(c); block++) {
        uint32_t now = __atomic_load_n(&changes[block], __ATOMIC_ACQUIRE);
        if (now == f->changes[block])
            continue;
        f->changes[block] = now;
        f->read_count++;
        for (uint32_t i = block * COUNTERS_BLOCK_SLOTS;
             i < (block + 1) * COUNTERS_BLOCK_SLOTS && i < c->slot_count; i++) {
            struct counters_entry entry;
            if (!counters_get(c, i, &entry))
                continue;
            f->requests[i] = entry.values.requests;
            f->bytes[i] = entry.values.bytes;
        }
    }
}

static void
a_change_is_of_its_block_alone(void **state)
{
    struct counters c = counters_new(IDS + 100, 32);
    struct follower f = {.read_count = 0};
    assert_true(counters_block_count(&c) * COUNTERS_BLOCK_SLOTS
                >= c.slot_count);
    for (unsigned i = 0; i < 300; i++) {
        char id[16];
        struct counters_values v;
        snprintf(id, sizeof id, "film-%u", i);
        add(&c, id, i, 0);
        follow(&f, &c);
        assert_int_equal(f.read_count, i + 1);
        assert_true(find(&c, id, &v));
    }
    follow(&f, &c);
    assert_int_equal(f.read_count, 300);
    /* the id that has no room changes nothing */
    counters_add(&c, 5, bytes_of("", 0), 1, 0);
    follow(&f, &c);
    assert_int_equal(f.read_count, 300);
    counters_end(&c);
}

static void
who_follows_the_changes_misses_nothing(void **state)
{
    enum { THREADS = 4 };
    struct counters c = counters_new(IDS + 100, 32);
    struct follower f = {.read_count = 0};
    pthread_t threads[THREADS];
    struct thread_arg args[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        args[i] = (struct thread_arg){&c, i};
        assert_int_equal(
            pthread_create(&threads[i], NULL, thread_main, &args[i]), 0);
    }
    for (unsigned i = 0; i < 200; i++)
        follow(&f, &c);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    follow(&f, &c);
    for (uint32_t i = 0; i < c.slot_count; i++) {
        struct counters_entry entry;
        if (!counters_get(&c, i, &entry))
            continue;
        assert_int_equal(f.requests[i], entry.values.requests);
        assert_int_equal(f.bytes[i], entry.values.bytes);
    }
    counters_end(&c);
}

static void
sums_of_many_threads_are_exact(void **state)
{
    enum { THREADS = 8 };
    for (int repeat = 0; repeat < 5; repeat++) {
        struct counters c = counters_new(IDS + 100, 32);
        pthread_t threads[THREADS];
        struct thread_arg args[THREADS];
        for (unsigned i = 0; i < THREADS; i++) {
            args[i] = (struct thread_arg){&c, i};
            assert_int_equal(
                pthread_create(&threads[i], NULL, thread_main, &args[i]), 0);
        }
        for (unsigned i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        sums_are_exact(&c, THREADS);
        counters_end(&c);
    }
}

static void
sums_of_many_processes_are_exact(void **state)
{
    enum { PROCESSES = 6 };
    char path[] = "/tmp/counters-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    size_t size = counters_file_size(IDS + 100, 32);
    assert_int_equal(ftruncate(fd, (off_t) size), 0);
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(counters_format(map, size, IDS + 100, 32, 9), 0);
    pid_t pids[PROCESSES];
    for (unsigned i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] > 0)
            continue;
        /* a map of its own, at another address than the parent's */
        struct counters c;
        void *own = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (own == MAP_FAILED || counters_open(own, size, &c) != 0)
            _exit(1);
        worker_run(&c, i);
        _exit(0);
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    struct counters c;
    assert_int_equal(counters_open(map, size, &c), 0);
    sums_are_exact(&c, PROCESSES);
    munmap(map, size);
    close(fd);
}

static double
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

static void
a_full_catalogue_fits_and_is_walked(void **state)
{
    enum { CONTENTS = 370000 };
    struct counters c = counters_new(CONTENTS, 32);
    char(*ids)[24] = malloc((size_t) CONTENTS * sizeof *ids);
    uint64_t *hashes = malloc((size_t) CONTENTS * sizeof *hashes);
    assert_non_null(ids);
    assert_non_null(hashes);
    for (unsigned i = 0; i < CONTENTS; i++) {
        snprintf(ids[i], sizeof ids[i], "film-%u", i);
        hashes[i] = content_hash(bytes_of_text(ids[i]));
    }
    for (int round = 0; round < 2; round++) {
        double start = now_ns();
        for (unsigned i = 0; i < CONTENTS; i++)
            counters_add(&c, hashes[i], bytes_of_text(ids[i]), 10000, 0);
        printf("%s %.0f ns\n", round ? "found" : "new",
               (now_ns() - start) / CONTENTS);
    }
    double start = now_ns();
    struct counters_entry entry;
    uint32_t seen = 0;
    for (uint32_t cursor = 0; counters_next(&c, &cursor, &entry); seen++)
        assert_true(entry.values.requests == 2);
    printf("walk %.1f ms\n", (now_ns() - start) / 1e6);
    assert_int_equal(seen, CONTENTS);
    assert_int_equal(counters_overflow(&c), 0);
    free(ids);
    free(hashes);
    counters_end(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_file_takes_at_most_64_bytes_a_content_beside_the_ids),
        cmocka_unit_test(shapes_out_of_range_have_no_size),
        cmocka_unit_test(what_is_added_is_read_again),
        cmocka_unit_test(two_ids_of_one_hash_take_a_slot_each),
        cmocka_unit_test(what_has_no_slot_is_overflow_and_evicts_nothing),
        cmocka_unit_test(
            what_has_no_heap_is_overflow_and_short_ids_may_still_fit),
        cmocka_unit_test(an_id_that_is_none_is_overflow),
        cmocka_unit_test(
            a_file_is_adopted_with_its_counts_and_its_shape_is_told),
        cmocka_unit_test(a_map_that_is_no_counter_file_is_refused),
        cmocka_unit_test(entries_with_wild_offsets_are_passed_over),
        cmocka_unit_test(
            a_slot_left_without_id_by_a_killed_worker_is_completed),
        cmocka_unit_test(a_change_is_of_its_block_alone),
        cmocka_unit_test(who_follows_the_changes_misses_nothing),
        cmocka_unit_test(sums_of_many_threads_are_exact),
        cmocka_unit_test(sums_of_many_processes_are_exact),
        cmocka_unit_test(a_full_catalogue_fits_and_is_walked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
