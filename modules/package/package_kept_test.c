/* SPDX-License-Identifier: Apache-2.0 */

#include "modules/package/package_kept.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/err.h"
#include "media/testing/movie.h"

#define THREADS 8

/* A film in memory, and a folder that is removed. */
struct setting {
    char folder[64];
    struct buffer bytes;
    struct mp4_source source;
    struct kept_film film;
    atomic_uint looks; /* at its start: each is an attempt at making */
    struct kept_error error;
};

static int
film_read(void *context, uint64_t offset, void *out, size_t len)
{
    struct setting *s = context;
    struct bytes bytes = buffer_bytes(&s->bytes);

    if (offset == 0 && len < 100) {
        atomic_fetch_add(&s->looks, 1);
        (void) usleep(10000); /* for the others to come in */
    }
    return test_movie_read(&bytes, offset, out, len);
}

static void
film_name(struct setting *s, unsigned number)
{
    const struct stat st = {.st_ino = number, .st_size = 1, .st_mtime = 77};

    kept_identity_set(&s->film, &st);
}

static void
setting_init(struct setting *s)
{
    static const struct test_movie movie = {.kind = TRACK_AUDIO,
                                            .sample_count = 441,
                                            .samples_per_chunk = 2,
                                            .chunk_gap = 300};

    *s = (struct setting){.folder = "/tmp/vodst-kept-XXXXXX"};
    assert_non_null(mkdtemp(s->folder));
    buffer_init(&s->bytes, TEST_MOVIE_SIZE_MAX);
    test_movie_write(&movie, &s->bytes);
    s->source = (struct mp4_source){film_read, s, s->bytes.len};
    s->film = (struct kept_film){.folder = s->folder,
                                 .path = "film.mp4",
                                 .source = &s->source,
                                 .segment_ms = 4000};
    film_name(s, 1);
}

static void
setting_fini(struct setting *s)
{
    char command[96];

    snprintf(command, sizeof command, "rm -r %s", s->folder);
    assert_int_equal(system(command), 0);
    buffer_fini(&s->bytes);
}

static void
path_of(const struct setting *s, const char *name, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s%s", s->folder, s->film.identity, name);
}

static bool
has(const struct setting *s, const char *name, struct stat *st)
{
    char path[PATH_MAX];

    path_of(s, name, path);
    return stat(path, st) == 0;
}

/* The last byte of the file is another one. */
static void
spoil(const struct setting *s, const char *name)
{
    char path[PATH_MAX];
    uint8_t byte;

    path_of(s, name, path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    const off_t last = lseek(fd, -1, SEEK_END);
    assert_int_equal(pread(fd, &byte, 1, last), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, last), 1);
    close(fd);
}

static int
index_make(struct setting *s, const char *name)
{
    return kept_index_make(&s->film, name, &s->error);
}

/* ---- tests ---- */

static void *
first_touch(void *context)
{
    struct setting *s = context;
    struct kept_error error;
    int err = kept_index_make(&s->film, "a0.idx", &error);

    if (err == 0) {
        err = kept_segment_make(&s->film, "a0", 1, &error);
    }
    return (void *) (intptr_t) err;
}

static void
first_touches_at_once_do_the_work_once(void **state)
{
    pthread_t threads[THREADS];
    struct setting s;
    struct stat st;

    setting_init(&s);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, first_touch, &s), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *err;

        assert_int_equal(pthread_join(threads[i], &err), 0);
        assert_int_equal((intptr_t) err, 0);
    }
    assert_int_equal(s.looks, 1);
    assert_true(has(&s, "/asset.idx", &st));
    assert_int_equal(st.st_mtime, 77);
    assert_true(has(&s, "/a0.1", &st));
    const ino_t made = st.st_ino;
    assert_int_equal(kept_segment_make(&s.film, "a0", 1, &s.error), 0);
    assert_true(has(&s, "/a0.1", &st));
    assert_int_equal(st.st_ino, made);
    assert_false(has(&s, "/a0.0", &st));
    assert_false(has(&s, "/a0.1.part", &st));
    assert_false(has(&s, ".part", &st));
    setting_fini(&s);
}

static void
what_is_not_whole_is_made_again(void **state)
{
    static const char *const names[] = {"asset.idx", "a0.idx"};
    struct setting s;
    struct stat st;

    setting_init(&s);
    for (size_t i = 0; i < 2; i++) {
        char path[40];

        assert_int_equal(index_make(&s, names[i]), 0);
        snprintf(path, sizeof path, "/%s", names[i]);
        spoil(&s, path);
        assert_int_equal(index_make(&s, names[i]), 0);
    }
    assert_int_equal(s.looks, 3);

    spoil(&s, "/a0.places"); /* the sum of the last segment's */
    assert_int_equal(kept_segment_make(&s.film, "a0", 2, &s.error), 0);
    assert_int_equal(s.looks, 4);
    assert_true(has(&s, "/a0.2", &st));

    char path[PATH_MAX];
    const off_t size = st.st_size;
    path_of(&s, "/a0.2", path);
    assert_int_equal(truncate(path, size - 1), 0);
    assert_int_equal(kept_segment_make(&s.film, "a0", 2, &s.error), 0);
    assert_true(has(&s, "/a0.2", &st));
    assert_int_equal(st.st_size, size);
    setting_fini(&s);
}

static void
a_segment_of_a_film_that_was_removed_is_made(void **state)
{
    struct setting s;
    struct stat st;

    setting_init(&s);
    assert_int_equal(kept_segment_make(&s.film, "a0", 0, &s.error), 0);
    assert_true(has(&s, "/a0.0", &st));
    assert_int_equal(kept_segment_make(&s.film, "a0", 3, &s.error),
                     ERR_NOT_FOUND);
    assert_int_equal(kept_segment_make(&s.film, "v0", 0, &s.error),
                     ERR_NOT_FOUND);
    assert_int_equal(index_make(&s, "v0.idx"), ERR_NOT_FOUND);
    assert_int_equal(index_make(&s, "a0"), ERR_NOT_FOUND);
    assert_int_equal(s.looks, 1);
    setting_fini(&s);
}

static void
a_bad_film_is_told_of_once_and_looked_at_again_later(void **state)
{
    struct setting s;
    char path[PATH_MAX];
    struct stat st;

    setting_init(&s);
    const struct bytes bytes = buffer_bytes(&s.bytes);
    const size_t at = test_movie_find(bytes, "stsz", 0);
    store_be32(s.bytes.ptr + at, 7);
    assert_int_equal(index_make(&s, "asset.idx"), ERR_INVALID);
    assert_non_null(strstr(s.error.reason, "box 'stsz' at byte "));
    assert_false(has(&s, ".part", &st));
    assert_int_equal(index_make(&s, "asset.idx"), ERR_INVALID);
    assert_string_equal(s.error.reason, "");
    assert_int_equal(s.looks, 1);

    const struct timespec then[2] = {
        {.tv_sec = time(NULL) - KEPT_BAD_S - 1},
        {.tv_sec = time(NULL) - KEPT_BAD_S - 1},
    };
    path_of(&s, ".bad", path);
    assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
    assert_int_equal(index_make(&s, "asset.idx"), ERR_INVALID);
    assert_string_not_equal(s.error.reason, "");
    assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
    assert_int_equal(kept_shrink(s.folder, 0), 0);
    assert_false(has(&s, ".bad", &st));
    setting_fini(&s);
}

static void
a_file_is_another_film_when_it_is_changed(void **state)
{
    struct setting s;
    struct stat st;

    setting_init(&s);
    char path[96];
    snprintf(path, sizeof path, "%s/film.mp4", s.folder);
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(s.bytes.ptr, 1, s.bytes.len, file), s.bytes.len);
    assert_int_equal(fclose(file), 0);
    s.film.path = path;
    s.film.source = NULL;
    assert_int_equal(index_make(&s, "a0.idx"), ERR_STALE);
    assert_int_equal(stat(path, &st), 0);
    kept_identity_set(&s.film, &st);
    assert_int_equal(index_make(&s, "a0.idx"), 0);
    assert_int_equal(kept_segment_make(&s.film, "a0", 0, &s.error), 0);

    const struct timespec then[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
    assert_int_equal(kept_segment_make(&s.film, "a0", 1, &s.error), ERR_STALE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kept_segment_make(&s.film, "a0", 1, &s.error), ERR_IO);
    setting_fini(&s);
}

static void
the_films_used_longest_ago_make_room(void **state)
{
    struct setting s;
    struct stat st;
    char path[PATH_MAX];

    setting_init(&s);
    for (unsigned i = 0; i < 4; i++) {
        const struct timespec then[2] = {{.tv_sec = 100 + i},
                                         {.tv_sec = 100 + i}};
        film_name(&s, i);
        assert_int_equal(kept_segment_make(&s.film, "a0", 0, &s.error), 0);
        path_of(&s, "", path);
        assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
    }
    film_name(&s, 0);
    kept_touch(s.folder, s.film.identity);
    const uint64_t all = kept_shrink(s.folder, UINT64_MAX);
    assert_int_equal(kept_shrink(s.folder, all / 2), all / 2);
    for (unsigned i = 0; i < 4; i++) {
        film_name(&s, i);
        assert_int_equal(has(&s, "", &st), i == 0 || i == 3);
    }
    assert_int_equal(kept_shrink(s.folder, 0), 0);
    setting_fini(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_touches_at_once_do_the_work_once),
        cmocka_unit_test(what_is_not_whole_is_made_again),
        cmocka_unit_test(a_segment_of_a_film_that_was_removed_is_made),
        cmocka_unit_test(a_bad_film_is_told_of_once_and_looked_at_again_later),
        cmocka_unit_test(a_file_is_another_film_when_it_is_changed),
        cmocka_unit_test(the_films_used_longest_ago_make_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
