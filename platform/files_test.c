/* SPDX-License-Identifier: Apache-2.0 */
#include "platform/files.h"

#include "core/err.h"
#include "platform/clock.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];

static const char *
in_root(const char *name)
{
    static char path[2][256];
    static unsigned turn;
    turn ^= 1;
    snprintf(path[turn], sizeof path[turn], "%s/%s", root, name);
    return path[turn];
}

static unsigned
entry_count(const char *folder)
{
    unsigned count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count - 2;
}

static int
make_root(void **state)
{
    snprintf(root, sizeof root, "/tmp/files_test.XXXXXX");
    return mkdtemp(root) == NULL ? -1 : 0;
}

static int
remove_root(void **state)
{
    return folder_remove(root);
}

static void
what_is_written_is_read_back(void **state)
{
    struct buffer b;
    buffer_init(&b, 100);
    const struct bytes text = BYTES_LITERAL("one\0two");
    assert_int_equal(file_write_atomic(in_root("f"), text, 0600, true), 0);
    assert_int_equal(file_read(in_root("f"), &b), 0);
    assert_true(bytes_equal(buffer_bytes(&b), text));
    buffer_fini(&b);
    struct stat st;
    assert_int_equal(stat(in_root("f"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void
a_second_write_replaces_the_first(void **state)
{
    struct buffer b;
    buffer_init(&b, 100);
    file_write_atomic(in_root("f"), BYTES_LITERAL("first"), 0644, false);
    file_write_atomic(in_root("f"), BYTES_LITERAL("2"), 0644, false);
    assert_int_equal(file_read(in_root("f"), &b), 0);
    assert_true(bytes_equal(buffer_bytes(&b), BYTES_LITERAL("2")));
    buffer_fini(&b);
    assert_int_equal(entry_count(root), 1);
}

static void
a_failed_write_leaves_nothing_behind(void **state)
{
    /* a folder stands where the file should go */
    assert_int_equal(folder_make(in_root("d/inside"), 0755), 0);
    assert_int_equal(
        file_write_atomic(in_root("d"), BYTES_LITERAL("x"), 0644, false),
        ERR_IO);
    assert_int_equal(entry_count(root), 1);
    assert_int_equal(file_write_atomic(in_root("no/such/folder"),
                                       BYTES_LITERAL("x"), 0644, false),
                     ERR_IO);
    assert_int_equal(errno, ENOENT);
}

static void
a_file_over_the_limit_is_refused(void **state)
{
    struct buffer b;
    buffer_init(&b, 4);
    file_write_atomic(in_root("f"), BYTES_LITERAL("12345"), 0644, false);
    assert_int_equal(file_read(in_root("f"), &b), ERR_LIMIT);
    buffer_fini(&b);
}

static void
a_missing_file_is_not_found(void **state)
{
    struct buffer b;
    buffer_init(&b, 4);
    assert_int_equal(file_read(in_root("none"), &b), ERR_NOT_FOUND);
    assert_int_equal(file_read(root, &b), ERR_IO); /* a folder */
    buffer_fini(&b);
}

static void
folders_are_made_with_their_parents(void **state)
{
    assert_int_equal(folder_make(in_root("a/b//c/"), 0755), 0);
    assert_int_equal(folder_make(in_root("a/b/c"), 0755), 0);
    assert_int_equal(access(in_root("a/b/c"), X_OK), 0);
    file_write_atomic(in_root("file"), BYTES_LITERAL("x"), 0644, false);
    assert_int_equal(folder_make(in_root("file"), 0755), ERR_IO);
    assert_int_equal(folder_make(in_root("file/below"), 0755), ERR_IO);
    assert_int_equal(folder_make("", 0755), ERR_IO);
}

static void
removing_a_folder_follows_no_link(void **state)
{
    assert_int_equal(folder_make(in_root("kept"), 0755), 0);
    file_write_atomic(in_root("kept/f"), BYTES_LITERAL("x"), 0644, false);
    assert_int_equal(folder_make(in_root("gone/deep"), 0755), 0);
    file_write_atomic(in_root("gone/deep/f"), BYTES_LITERAL("x"), 0644, false);
    assert_int_equal(symlink("../../kept", in_root("gone/deep/link")), 0);
    assert_int_equal(folder_remove(in_root("gone")), 0);
    assert_int_equal(access(in_root("gone"), F_OK), -1);
    assert_int_equal(access(in_root("kept/f"), F_OK), 0);
    assert_int_equal(folder_remove(in_root("gone")), 0); /* again */
}

static void
the_clock_never_goes_back(void **state)
{
    uint64_t before = clock_now_ms();
    assert_in_range(before / 1000, clock_unix_s() - 2, clock_unix_s() + 2);
    for (int i = 0; i < 1000; i++) {
        const uint64_t now = clock_now_ms();
        assert_true(now >= before);
        before = now;
    }
    assert_int_not_equal(random_u64(), random_u64());
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read_back),
        TEST(a_second_write_replaces_the_first),
        TEST(a_failed_write_leaves_nothing_behind),
        TEST(a_file_over_the_limit_is_refused),
        TEST(a_missing_file_is_not_found),
        TEST(folders_are_made_with_their_parents),
        TEST(removing_a_folder_follows_no_link),
        TEST(the_clock_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
