/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/mlic/audit.h"

#include "core/buffer.h"
#include "core/err.h"
#include "platform/files.h"
#include "platform/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_MS 1700000000123

static const uint8_t key[AUDIT_KEY_SIZE] = {1, 2, 3};
static const uint8_t other_key[AUDIT_KEY_SIZE] = {1, 2, 4};
static const struct audit_record granted = {.service = "kino",
                                            .viewer = "00ff",
                                            .content = "film",
                                            .version = "v1",
                                            .kid = "0123",
                                            .system = "clearkey",
                                            .decision = "granted"};

static char folder[64], path[128];

static int
setup(void **state)
{
    log_init("audit_test", LOG_LEVEL_ERROR);
    snprintf(folder, sizeof folder, "/tmp/audit_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/audit", folder);
    return 0;
}

static int
teardown(void **state)
{
    return folder_remove(folder);
}

static struct audit *
opened(const uint8_t by[AUDIT_KEY_SIZE])
{
    struct audit *audit = NULL;
    assert_int_equal(audit_open(path, by, &audit), 0);
    return audit;
}

static void
write_lines(struct audit *audit, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(audit_write(audit, &granted, NOW_MS + i), 0);
}

/* How many lines are good, before one that is not. */
static uint64_t
good_lines(int expected)
{
    uint64_t lines = 99;
    char last[2 * AUDIT_MAC_SIZE + 1];
    assert_int_equal(audit_verify(path, key, NULL, &lines, last), expected);
    return lines;
}

static void
file_load(struct buffer *out)
{
    buffer_init(out, 1u << 20);
    assert_int_equal(file_read(path, out), 0);
}

static void
file_store(struct bytes text)
{
    assert_int_equal(file_write_atomic(path, text, 0600, false), 0);
}

static void
lines_are_a_chain_that_goes_on(void **state)
{
    char mac[2 * AUDIT_MAC_SIZE + 1], last[2 * AUDIT_MAC_SIZE + 1];
    uint64_t lines;
    for (unsigned i = 1; i <= 4; i++) { /* each time it is opened anew */
        struct audit *audit = opened(key);
        assert_int_equal(audit_count(audit), 3 * (i - 1));
        write_lines(audit, 3);
        assert_int_equal(audit_sync(audit), 0);
        assert_int_equal(audit_count(audit), 3 * i);
        audit_mac_text(audit, mac);
        audit_close(audit);
    }
    assert_int_equal(audit_verify(path, key, NULL, &lines, last), 0);
    assert_int_equal(lines, 12);
    assert_string_equal(last, mac);
    struct buffer text;
    file_load(&text);
    buffer_append_u8(&text, '\0');
    assert_non_null(strstr((char *) text.ptr,
                           "{\"n\":1,\"at\":1700000000.123,\"service\":"
                           "\"kino\",\"viewer\":\"00ff\",\"content\":\"film\","
                           "\"version\":\"v1\",\"kid\":\"0123\",\"system\":"
                           "\"clearkey\",\"decision\":\"granted\",\"mac\":\""));
    buffer_fini(&text);
}

static void
every_changed_byte_is_seen(void **state)
{
    struct audit *audit = opened(key);
    write_lines(audit, 3);
    audit_close(audit);
    struct buffer text;
    file_load(&text);
    for (size_t i = 0; i < text.len; i++) {
        text.ptr[i] ^= 1;
        file_store(buffer_bytes(&text));
        assert_in_range(good_lines(ERR_CHECKSUM), 0, 2);
        text.ptr[i] ^= 1;
    }
    /* cut off anywhere but behind a line */
    unsigned whole = 0;
    for (size_t len = 0; len < text.len; len++) {
        const bool is_whole = len == 0 || text.ptr[len - 1] == '\n';
        file_store(bytes_of(text.ptr, len));
        assert_int_equal(good_lines(is_whole ? 0 : ERR_CHECKSUM),
                         is_whole && len > 0 ? ++whole : whole);
    }
    file_store(buffer_bytes(&text));
    assert_int_equal(good_lines(0), 3);
    buffer_fini(&text);
    uint64_t lines;
    char last[2 * AUDIT_MAC_SIZE + 1];
    assert_int_equal(audit_verify(path, other_key, NULL, &lines, last),
                     ERR_CHECKSUM);
    assert_int_equal(audit_verify(path, key, "00", &lines, last), ERR_INVALID);
    assert_int_equal(audit_verify(folder, key, NULL, &lines, last), ERR_IO);
}

static void
somebody_elses_is_not_written_to(void **state)
{
    struct audit *audit = opened(key);
    write_lines(audit, 3);
    audit_close(audit);
    assert_int_equal(audit_open(path, other_key, &audit), ERR_CHECKSUM);
    assert_int_equal(chmod(path, 0620), 0);
    assert_int_equal(audit_open(path, key, &audit), ERR_DENIED);
    assert_int_equal(chmod(path, 0600), 0);
    file_store(BYTES_LITERAL("these are notes\nof something else\n"));
    assert_int_equal(audit_open(path, key, &audit), ERR_CHECKSUM);
}

static void
a_torn_line_is_taken_off(void **state)
{
    struct audit *audit = opened(key);
    write_lines(audit, 2);
    audit_close(audit);
    struct buffer text;
    file_load(&text);
    const size_t len = text.len;
    buffer_append_bytes(&text, BYTES_LITERAL("{\"n\":3,\"at\":17"));
    file_store(buffer_bytes(&text));
    audit = opened(key);
    assert_int_equal(audit_count(audit), 2);
    write_lines(audit, 1);
    audit_close(audit);
    assert_int_equal(good_lines(0), 3);
    /* of the first line, too */
    file_store(bytes_of(text.ptr + len, text.len - len));
    audit = opened(key);
    assert_int_equal(audit_count(audit), 0);
    audit_close(audit);
    buffer_fini(&text);
}

static void
what_is_not_written_is_not_there(void **state)
{
    struct rlimit before, less;
    struct stat status;
    struct audit *audit = opened(key);
    write_lines(audit, 2);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    less = before;
    less.rlim_cur = (rlim_t) status.st_size + 10; /* as a disk that gets full */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
    const int err = audit_write(audit, &granted, NOW_MS);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err, ERR_FULL);
    assert_int_equal(audit_count(audit), 2);
    write_lines(audit, 1); /* there is room again */
    audit_close(audit);
    assert_int_equal(good_lines(0), 3);
}

static void
a_new_file_goes_on_behind_the_old_one(void **state)
{
    char moved[160], mac[2 * AUDIT_MAC_SIZE + 1], last[2 * AUDIT_MAC_SIZE + 1];
    uint64_t lines;
    struct audit *audit = opened(key);
    write_lines(audit, 2);
    audit_mac_text(audit, mac);
    snprintf(moved, sizeof moved, "%s.1", path);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(audit_reopen(audit), 0);
    write_lines(audit, 2);
    assert_int_equal(audit_count(audit), 4);
    audit_close(audit);
    assert_int_equal(audit_verify(path, key, mac, &lines, last), 0);
    assert_int_equal(lines, 2);
    assert_int_equal(good_lines(ERR_CHECKSUM), 0); /* alone it is no begin */
}

static void
viewers_are_hashes_of_their_service(void **state)
{
    char one[AUDIT_VIEWER_LEN + 1], two[AUDIT_VIEWER_LEN + 1];
    struct audit *audit = opened(key);
    audit_viewer(audit, "kino", "me@home", one);
    assert_int_equal(strlen(one), AUDIT_VIEWER_LEN);
    audit_viewer(audit, "kino", "me@home", two);
    assert_string_equal(one, two);
    audit_viewer(audit, "club", "me@home", two);
    assert_string_not_equal(one, two);
    audit_viewer(audit, "kino", "", two);
    assert_string_equal(two, "");
    audit_close(audit);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(lines_are_a_chain_that_goes_on),
        CASE(every_changed_byte_is_seen),
        CASE(somebody_elses_is_not_written_to),
        CASE(a_torn_line_is_taken_off),
        CASE(what_is_not_written_is_not_there),
        CASE(a_new_file_goes_on_behind_the_old_one),
        CASE(viewers_are_hashes_of_their_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
