/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/err.h"
#include "core/s3.h"

static const char *reason;

static int
read_place(const char *url, const char *endpoint, const char *addressing,
           struct s3_place *out)
{
    return s3_place_read(url, endpoint, NULL, addressing, out, &reason);
}

static void
a_bucket_is_in_the_path_or_in_the_name_of_the_host(void **state)
{
    static const struct {
        const char *url, *endpoint, *addressing;
        bool is_tls;
        const char *host, *address, *root, *base;
    } cases[] = {
        {"s3://films", "http://10.0.0.1:9000", NULL, false, "10.0.0.1:9000",
         "10.0.0.1:9000", "/films/", "/films/"},
        {"s3://films/", "http://10.0.0.1:9000/", "path", false, "10.0.0.1:9000",
         "10.0.0.1:9000", "/films/", "/films/"},
        {"s3://films/vod/a_b", "https://s3.example.org", "path", true,
         "s3.example.org", "s3.example.org:443", "/films/", "/films/vod/a_b/"},
        {"s3://films/vod/", "https://s3.example.org:443", "virtual-hosted",
         true, "films.s3.example.org", "films.s3.example.org:443", "/",
         "/vod/"},
        {"s3://films", "http://s3.example.org:80", "virtual-hosted", false,
         "films.s3.example.org", "films.s3.example.org:80", "/", "/"},
        {"s3://films", "https://s3.example.org:80", "virtual-hosted", true,
         "films.s3.example.org:80", "films.s3.example.org:80", "/", "/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct s3_place place;
        assert_int_equal(read_place(cases[i].url, cases[i].endpoint,
                                    cases[i].addressing, &place),
                         0);
        assert_string_equal(place.bucket, "films");
        assert_string_equal(place.region, "us-east-1");
        assert_int_equal(place.is_tls, cases[i].is_tls);
        assert_string_equal(place.host, cases[i].host);
        assert_string_equal(place.address, cases[i].address);
        assert_string_equal(place.root, cases[i].root);
        assert_string_equal(place.base, cases[i].base);
    }
}

static void
what_is_no_place_is_refused_with_a_reason(void **state)
{
    static const struct {
        const char *url, *endpoint, *region, *addressing, *reason;
    } cases[] = {
        {"http://films", "http://h", NULL, NULL, "s3://BUCKET"},
        {"s3://", "http://h", NULL, NULL, "s3://BUCKET"},
        {"s3://ab", "http://h", NULL, NULL, "s3://BUCKET"},
        {"s3://.ab", "http://h", NULL, NULL, "s3://BUCKET"},
        {"s3://a b c", "http://h", NULL, NULL, "s3://BUCKET"},
        {"s3://films//", "http://h", NULL, NULL, "a prefix of"},
        {"s3://films/a//b", "http://h", NULL, NULL, "a prefix of"},
        {"s3://films/../b", "http://h", NULL, NULL, "a prefix of"},
        {"s3://films/a/.", "http://h", NULL, NULL, "a prefix of"},
        {"s3://films/a%20b", "http://h", NULL, NULL, "a prefix of"},
        {"s3://films", "ftp://h", NULL, NULL, "an endpoint of"},
        {"s3://films", "http://", NULL, NULL, "an endpoint of"},
        {"s3://films", "http://h/x", NULL, NULL, "an endpoint of"},
        {"s3://films", "http://h:0", NULL, NULL, "an endpoint of"},
        {"s3://films", "http://h:65536", NULL, NULL, "an endpoint of"},
        {"s3://films", "http://h:", NULL, NULL, "an endpoint of"},
        {"s3://films", "http://h:1:2", NULL, NULL, "an endpoint of"},
        {"s3://films", "http://u@h", NULL, NULL, "an endpoint of"},
        {"s3://films", "http://h", "", NULL, "a region of"},
        {"s3://films", "http://h", "a b", NULL, "a region of"},
        {"s3://films", "http://h", NULL, "vhost", "an addressing of"},
        {"s3://fi_lms", "http://h", NULL, "virtual-hosted", "underscore"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct s3_place place = {.bucket = "untouched"};
        assert_int_equal(s3_place_read(cases[i].url, cases[i].endpoint,
                                       cases[i].region, cases[i].addressing,
                                       &place, &reason),
                         ERR_INVALID);
        assert_non_null(strstr(reason, cases[i].reason));
        assert_string_equal(place.bucket, "untouched");
    }
}

static void
a_place_that_is_too_long_is_refused(void **state)
{
    char url[1024], endpoint[1024];
    struct s3_place place;
    for (size_t len = 1; len < 900; len++) {
        memset(url, 'a', sizeof url);
        memcpy(url, "s3://films/", 11);
        url[11 + len] = '\0';
        const int err = read_place(url, "http://h", NULL, &place);
        assert_int_equal(err, len + 2 <= S3_PREFIX_SIZE ? 0 : ERR_INVALID);
        if (err == 0)
            assert_int_equal(strlen(place.base), 7 + len + 1);
        memset(endpoint, 'a', sizeof endpoint);
        memcpy(endpoint, "http://", 7);
        endpoint[7 + len] = '\0';
        assert_int_equal(
            read_place("s3://films", endpoint, "virtual-hosted", &place),
            len <= 190 ? 0 : ERR_INVALID);
    }
}

static void
credentials_are_read_as_other_programs_write_them(void **state)
{
    static const char *const texts[] = {
        "aws_access_key_id=AK\naws_secret_access_key=S/+k\n",
        "[default]\r\naws_access_key_id = AK\r\n"
        "aws_secret_access_key = S/+k\r\nregion = eu-central-1\r\n",
        "# ours\n[other]\naws_access_key_id = no\nno such line\n\n[default]\n"
        "; key\n aws_secret_access_key=S/+k\n\taws_access_key_id=AK",
    };
    struct s3_credentials found;
    unsigned line;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(s3_credentials_read(bytes_of_text(texts[i]), &found,
                                             &line, &reason),
                         0);
        assert_string_equal(found.access_key, "AK");
        assert_string_equal(found.secret_key, "S/+k");
        assert_string_equal(found.session_token, "");
    }
    assert_int_equal(
        s3_credentials_read(
            BYTES_LITERAL("aws_session_token = t==\naws_access_key_id=AK\n"
                          "aws_secret_access_key = a=b\n"),
            &found, &line, &reason),
        0);
    assert_string_equal(found.session_token, "t==");
    assert_string_equal(found.secret_key, "a=b");
}

static void
what_are_no_credentials_is_refused_with_the_line(void **state)
{
    static const struct {
        const char *text, *reason;
        unsigned line;
    } cases[] = {
        {"", "there is no", 0},
        {"aws_access_key_id=AK\n", "there is no", 0},
        {"[x]\naws_access_key_id=AK\naws_secret_access_key=s\n", "there is no",
         0},
        {"aws_access_key_id=AK\naws_secret_access_key=\n", "is empty", 2},
        {"aws_access_key_id=AK\n\naws_secret_access_key=a b\n", "a space", 3},
        {"AK\n", "expected NAME", 1},
        {"aws_access_key_id=AK\naws_access_key_id=AL\n", "given before", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct s3_credentials found = {.access_key = "untouched"};
        unsigned line = 99;
        assert_int_equal(s3_credentials_read(bytes_of_text(cases[i].text),
                                             &found, &line, &reason),
                         ERR_INVALID);
        assert_non_null(strstr(reason, cases[i].reason));
        assert_int_equal(line, cases[i].line);
        assert_string_equal(found.access_key, "untouched");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_is_in_the_path_or_in_the_name_of_the_host),
        cmocka_unit_test(what_is_no_place_is_refused_with_a_reason),
        cmocka_unit_test(a_place_that_is_too_long_is_refused),
        cmocka_unit_test(credentials_are_read_as_other_programs_write_them),
        cmocka_unit_test(what_are_no_credentials_is_refused_with_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
