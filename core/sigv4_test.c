/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/err.h"
#include "core/sigv4.h"

#define TEXT(s) BYTES_LITERAL(s)

/* The examples of "Authenticating Requests: Using the Authorization Header" in
 * the documentation of Amazon S3. */
#define HASH_OF_WELCOME \
    "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
#define HOST                                           \
    {                                                  \
        "host", TEXT("examplebucket.s3.amazonaws.com") \
    }
#define TIME                                   \
    {                                          \
        "x-amz-date", TEXT("20130524T000000Z") \
    }
#define EMPTY                                               \
    {                                                       \
        "x-amz-content-sha256", TEXT(SIGV4_HASH_OF_NOTHING) \
    }

static const struct example {
    const char *method, *path, *query, *hash;
    struct sigv4_header headers[5];
    size_t header_count;
    const char *names, *signature;
} examples[] = {
    {"GET",
     "/test.txt",
     "",
     SIGV4_HASH_OF_NOTHING,
     {HOST, {"range", TEXT("bytes=0-9")}, EMPTY, TIME},
     4,
     "host;range;x-amz-content-sha256;x-amz-date",
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {"PUT",
     "/test%24file.text",
     "",
     HASH_OF_WELCOME,
     {{"date", TEXT("Fri, 24 May 2013 00:00:00 GMT")},
      HOST,
      {"x-amz-content-sha256", TEXT(HASH_OF_WELCOME)},
      TIME,
      {"x-amz-storage-class", TEXT("REDUCED_REDUNDANCY")}},
     5,
     "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {"GET",
     "/",
     "lifecycle=",
     SIGV4_HASH_OF_NOTHING,
     {HOST, EMPTY, TIME},
     3,
     "host;x-amz-content-sha256;x-amz-date",
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {"GET",
     "/",
     "max-keys=2&prefix=J",
     SIGV4_HASH_OF_NOTHING,
     {HOST, EMPTY, TIME},
     3,
     "host;x-amz-content-sha256;x-amz-date",
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

static struct sigv4_signer
signer_of_examples(void)
{
    return (struct sigv4_signer){
        .access_key = TEXT("AKIAIOSFODNN7EXAMPLE"),
        .secret_key = TEXT("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        .region = TEXT("us-east-1"),
        .service = TEXT("s3")};
}

static struct sigv4_request
request_of(const struct example *one)
{
    return (struct sigv4_request){.method = bytes_of_text(one->method),
                                  .path = bytes_of_text(one->path),
                                  .query = bytes_of_text(one->query),
                                  .payload_hash = bytes_of_text(one->hash),
                                  .headers = one->headers,
                                  .header_count = one->header_count,
                                  .time = "20130524T000000Z"};
}

static void
requests_are_signed_as_in_the_documentation_of_s3(void **state)
{
    struct sigv4_signer signer = signer_of_examples();
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const struct sigv4_request request = request_of(&examples[i]);
        struct buffer out, want;
        buffer_init(&out, 4096);
        buffer_init(&want, 4096);
        buffer_printf(&want,
                      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/"
                      "20130524/us-east-1/s3/aws4_request,SignedHeaders=%s,"
                      "Signature=%s",
                      examples[i].names, examples[i].signature);
        assert_int_equal(sigv4_sign(&signer, &request, &out), 0);
        assert_int_equal(out.len, want.len);
        assert_memory_equal(out.ptr, want.ptr, want.len);
        buffer_fini(&out);
        buffer_fini(&want);
    }
    sigv4_fini(&signer);
    assert_true(signer.day[0] == '\0' && signer.key[0] == 0);
}

/* The key of "Create a signing key" in AWS' documentation. */
static void
the_key_is_that_of_the_documentation_and_of_its_day(void **state)
{
    struct sigv4_signer signer = signer_of_examples();
    signer.secret_key = TEXT("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    signer.service = TEXT("iam");
    struct sigv4_request request = request_of(&examples[2]);
    char hex[SIGV4_HASH_SIZE];
    struct buffer out;
    buffer_init(&out, 4096);
    request.time = "20150830T123600Z";
    assert_int_equal(sigv4_sign(&signer, &request, &out), 0);
    sigv4_hex(signer.key, hex);
    assert_string_equal(
        hex,
        "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    uint8_t key[SIGV4_KEY_SIZE];
    memcpy(key, signer.key, sizeof key);
    request.time = "20150830T235959Z";
    assert_int_equal(sigv4_sign(&signer, &request, &out), 0);
    assert_memory_equal(signer.key, key, sizeof key);
    request.time = "20150831T000000Z";
    assert_int_equal(sigv4_sign(&signer, &request, &out), 0);
    assert_memory_not_equal(signer.key, key, sizeof key);
    buffer_fini(&out);
}

static void
what_is_too_large_is_refused(void **state)
{
    static uint8_t path[SIGV4_REQUEST_SIZE_MAX];
    memset(path, 'a', sizeof path);
    struct sigv4_signer signer = signer_of_examples();
    struct sigv4_request request = request_of(&examples[0]);
    struct buffer out;
    buffer_init(&out, 4096);
    request.path = bytes_of(path, sizeof path);
    assert_int_equal(sigv4_sign(&signer, &request, &out), ERR_LIMIT);
    assert_int_equal(out.len, 0);
    signer.secret_key = bytes_of(path, 1025);
    signer.day[0] = '\0';
    assert_int_equal(sigv4_sign(&signer, &request, &out), ERR_LIMIT);
    buffer_fini(&out);
}

static void
spaces_of_a_value_do_not_count(void **state)
{
    struct sigv4_signer signer = signer_of_examples();
    struct example one = examples[0];
    one.headers[1].value = TEXT("  bytes=0-9\t ");
    const struct sigv4_request request = request_of(&one);
    struct buffer out;
    buffer_init(&out, 4096);
    assert_int_equal(sigv4_sign(&signer, &request, &out), 0);
    assert_memory_equal(out.ptr + out.len - 64, one.signature, 64);
    buffer_fini(&out);
}

static void
times_and_paths_are_written_as_they_are_signed(void **state)
{
    char time[SIGV4_TIME_SIZE];
    struct buffer out;
    sigv4_time(1369353600, time);
    assert_string_equal(time, "20130524T000000Z");
    sigv4_time(1709251199, time);
    assert_string_equal(time, "20240229T235959Z");
    sigv4_time((time_t) 1 << 60, time);
    assert_string_equal(time, "19700101T000000Z");
    buffer_init(&out, 4096);
    sigv4_encode(TEXT("/a b/\xc3\xa4+~*"), true, &out);
    buffer_append_u8(&out, ' ');
    sigv4_encode(TEXT("a/b=c&d"), false, &out);
    buffer_append_u8(&out, '\0');
    assert_string_equal((const char *) out.ptr,
                        "/a%20b/%C3%A4%2B~%2A a%2Fb%3Dc%26d");
    buffer_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_signed_as_in_the_documentation_of_s3),
        cmocka_unit_test(the_key_is_that_of_the_documentation_and_of_its_day),
        cmocka_unit_test(what_is_too_large_is_refused),
        cmocka_unit_test(spaces_of_a_value_do_not_count),
        cmocka_unit_test(times_and_paths_are_written_as_they_are_signed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
