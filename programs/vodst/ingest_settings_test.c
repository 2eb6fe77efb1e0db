/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/vodst/ingest_settings.h"

#include "core/bytes.h"
#include "core/err.h"
#include "platform/files.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static struct progress progress;
static struct settings settings;

static const char *
file(const char *name, const char *text)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    assert_int_equal(file_write_atomic(path, bytes_of_text(text), 0600, false),
                     0);
    return path;
}

static int
setup(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/settings_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    file("password", "pass word\n");
    file("fill", "f1\n");
    file("key", "0123456789abcdef\n");
    progress_init(&progress, "vodst ingest", false);
    return 0;
}

/* What is wrong is told to people: not to this test's reader. */
static int
read_quietly(const struct settings_given *given)
{
    int kept = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    assert_true(kept >= 0 && null >= 0);
    dup2(null, STDERR_FILENO);
    int err = settings_read(&progress, given, &settings);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(null);
    return err;
}

static int
teardown(void **state)
{
    return folder_remove(folder);
}

static void
state_write(const char *storage_end)
{
    char json[1024];
    snprintf(json, sizeof json,
             "{\"pid\":1,\"storage\":{\"url\":\"http://127.0.0.1:1/media\","
             "\"user\":\"ingest\",\"password_file\":\"%s/password\"%s},"
             "\"api\":{\"url\":\"http://127.0.0.1:2/\",\"key_file\":\"%s/key\""
             "}}",
             folder, storage_end, folder);
    file("vodst.json", json);
}

static void
a_state_folder_says_everything(void **state)
{
    char fill[128];
    snprintf(fill, sizeof fill, ",\"fill_secret_file\":\"%s/fill\"", folder);
    state_write(fill);
    const struct settings_given given = {.dir = folder};
    assert_int_equal(read_quietly(&given), 0);
    assert_true(settings.is_storage_http);
    assert_string_equal(settings.storage, "http://127.0.0.1:1/media/");
    assert_string_equal(settings.storage_user, "ingest");
    assert_string_equal(settings.storage_password, "pass word");
    assert_string_equal(settings.fill_secret, "f1");
    assert_string_equal(settings.api, "http://127.0.0.1:2");
    assert_string_equal(settings.api_key, "0123456789abcdef");
}

static void
another_storage_does_not_get_the_credentials(void **state)
{
    state_write("");
    const struct settings_given given = {
        .dir = folder, .storage = "https://elsewhere.example/media"};
    assert_int_equal(read_quietly(&given), 0);
    assert_string_equal(settings.storage, "https://elsewhere.example/media/");
    assert_string_equal(settings.storage_user, "");
    assert_string_equal(settings.storage_password, "");
    const struct settings_given other_api = {.dir = folder,
                                             .api = "http://elsewhere.example"};
    assert_int_equal(read_quietly(&other_api), ERR_INVALID);
}

static void
a_folder_is_storage_too(void **state)
{
    const struct settings_given given = {.storage = folder,
                                         .api = "http://127.0.0.1:2",
                                         .api_key_file =
                                             file("key", "0123456789abcdef")};
    assert_int_equal(read_quietly(&given), 0);
    assert_false(settings.is_storage_http);
    assert_int_equal(settings.storage[strlen(settings.storage) - 1], '/');
}

static void
a_bucket_is_storage_with_credentials_of_its_own(void **state)
{
    char json[1024];
    snprintf(json, sizeof json,
             "{\"storage\":{\"url\":\"s3://films/vod/\",\"endpoint\":"
             "\"http://127.0.0.1:9\",\"region\":\"eu\",\"addressing\":"
             "\"path\",\"credentials_file\":\"%s\"},\"api\":{\"url\":"
             "\"http://127.0.0.1:2/\",\"key_file\":\"%s/key\"}}",
             file("s3", "aws_access_key_id=A\naws_secret_access_key=B\n"),
             folder);
    file("vodst.json", json);
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_REGION");
    const struct settings_given given = {.dir = folder};
    assert_int_equal(read_quietly(&given), 0);
    assert_true(settings.is_storage_s3);
    assert_false(settings.is_storage_http);
    assert_string_equal(settings.storage, "s3://films/vod/");
    assert_string_equal(settings.s3.base, "/films/vod/");
    assert_string_equal(settings.s3.region, "eu");
    assert_string_equal(settings.s3_credentials.secret_key, "B");
    assert_int_equal(settings.s3_part_size, 16 << 20);

    /* those of the state folder are not for another bucket */
    const struct settings_given other = {
        .dir = folder,
        .storage = "s3://other",
        .s3 = {.endpoint = "http://127.0.0.1:8"}};
    assert_int_equal(read_quietly(&other), ERR_INVALID);
    setenv("AWS_ACCESS_KEY_ID", "C", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "D", 1);
    setenv("AWS_SESSION_TOKEN", "E", 1);
    setenv("AWS_REGION", "us", 1);
    assert_int_equal(read_quietly(&other), 0);
    assert_string_equal(settings.s3_credentials.access_key, "C");
    assert_string_equal(settings.s3_credentials.session_token, "E");
    assert_string_equal(settings.s3.region, "us");
    /* and what the state folder says is before the environment */
    assert_int_equal(read_quietly(&given), 0);
    assert_string_equal(settings.s3_credentials.access_key, "A");
    assert_string_equal(settings.s3_credentials.session_token, "");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    assert_int_equal(read_quietly(&other), ERR_INVALID);
}

#define API .api = "http://a", .api_key_file = key

static void
what_is_missing_or_wrong_is_refused(void **state)
{
    const char *key = file("key", "0123456789abcdef");
    const char *empty = file("empty", "\n");
    const struct {
        struct settings_given given;
        int err;
    } cases[] = {
        {{.api = "http://a", .api_key_file = key}, ERR_INVALID},
        {{.storage = "/s", .api_key_file = key}, ERR_INVALID},
        {{.storage = "/s", .api = "http://a"}, ERR_INVALID},
        {{.storage = "ftp://s", .api = "http://a", .api_key_file = key},
         ERR_INVALID},
        {{.storage = "/s", .api = "a", .api_key_file = key}, ERR_INVALID},
        {{.storage = "/s",
          .storage_user = "u",
          .api = "http://a",
          .api_key_file = key},
         ERR_INVALID},
        {{.storage = "/s",
          .storage_user = "u:v",
          .storage_password_file = key,
          .api = "http://a",
          .api_key_file = key},
         ERR_INVALID},
        {{.storage = "/s", .api = "http://a", .api_key_file = "/nonexistent"},
         ERR_NOT_FOUND},
        {{.storage = "/s", .api = "http://a", .api_key_file = empty}, ERR_IO},
        {{.dir = "/nonexistent"}, ERR_NOT_FOUND},
        {{.storage = "s3://films", API}, ERR_INVALID},
        {{.storage = "s3://f", .s3.endpoint = "http://a", API}, ERR_INVALID},
        {{.storage = "s3://films", .s3.endpoint = "a", API}, ERR_INVALID},
        {{.storage = "s3://films",
          .s3 = {.endpoint = "http://a", .credentials_file = "/nonexistent"},
          API},
         ERR_NOT_FOUND},
        {{.storage = "s3://films",
          .s3 = {.endpoint = "http://a", .credentials_file = key},
          API},
         ERR_IO},
        {{.storage = "s3://films",
          .storage_user = "u",
          .storage_password_file = key,
          .s3.endpoint = "http://a",
          API},
         ERR_INVALID},
        {{.storage = "/s", .s3.region = "eu", API}, ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (read_quietly(&cases[i].given) != cases[i].err)
            fail_msg("case %zu", i);
}

static void
a_bad_state_file_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{\"storage\":{\"url\":5}}",
        "{\"storage\":{\"url\":\"\"}}",
    };
    const struct settings_given given = {.dir = folder};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        file("vodst.json", texts[i]);
        if (read_quietly(&given) != ERR_IO)
            fail_msg("%s", texts[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_state_folder_says_everything),
        TEST(another_storage_does_not_get_the_credentials),
        TEST(a_folder_is_storage_too),
        TEST(a_bucket_is_storage_with_credentials_of_its_own),
        TEST(what_is_missing_or_wrong_is_refused),
        TEST(a_bad_state_file_is_refused),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
