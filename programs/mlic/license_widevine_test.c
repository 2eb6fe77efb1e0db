/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/mlic/license_widevine.h"

#include "core/err.h"
#include "platform/log.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KID_1 "0123456789abcdef"
#define KID_2 "fedcba9876543210"
/* fields of up to 127 bytes */
#define DATA_1 "\x12\x10" KID_1
#define DATA_2 DATA_1 "\x12\x10" KID_2 "\x48\xf3\xc6\x89\x9b\x06" /* cbcs */
#define CONTENT_1 "\x0a\x12" DATA_1
/* type, then content_id with widevine_pssh_data of `size` and `size` + 2 */
#define CHALLENGE(size_2, size, content) \
    "\x08\x01\x12" size_2 "\x12" size content

#define TEXT(text) bytes_of((const uint8_t *) (text), sizeof(text) - 1)

static struct license_request request;
static const char *reason;

static int
challenge_read(struct bytes body)
{
    memset(&request, 0, sizeof request);
    reason = NULL;
    return license_widevine.read(body, &request, &reason);
}

static void
kids_of_a_challenge_are_found(void **state)
{
    assert_int_equal(
        challenge_read(TEXT(CHALLENGE("\x18", "\x16", "\x0a\x14" CONTENT_1))),
        0);
    assert_int_equal(request.kid_count, 1);
    assert_memory_equal(request.kids[0], KID_1, CRYPT_KEY_SIZE);
    assert_false(request.is_persistent);
    /* two keys, one of them twice, other fields between, to be stored */
    assert_int_equal(challenge_read(TEXT(CHALLENGE("\x46", "\x44",
                                                   "\x0a\x42\x0a\x2a" DATA_2
                                                   "\x0a\x12" DATA_1
                                                   "\x10\x02") "\x1a\x03sig")),
                     0);
    assert_int_equal(request.kid_count, 2);
    assert_memory_equal(request.kids[1], KID_2, CRYPT_KEY_SIZE);
    assert_true(request.is_persistent);
}

static void
what_is_no_challenge_is_refused(void **state)
{
    static const struct {
        struct bytes body;
        const char *reason;
    } cases[] = {
        {{NULL, 0}, "no message"},
        {{(const uint8_t *) "\x08", 1}, "no message"},
        {{(const uint8_t *) "\x0b\x0c", 2}, "no message"}, /* a group */
        {{(const uint8_t *) "\x12\x7f", 2}, "no message"},
        {{(const uint8_t *) "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11},
         "no message"},
        {{(const uint8_t *) "\x08\x04", 2}, "service certificate"},
        {{(const uint8_t *) "\x08\x02", 2}, "no license request"},
        {{(const uint8_t *) "\x08\x01\x10\x01", 4}, "no license request"},
        {{(const uint8_t *) "\x08\x01\x12\x02\x12\x00", 6},
         "no license request"},
        {{(const uint8_t *) CHALLENGE("\x06", "\x04", "\x0a\x02\x0a\x00"), 10},
         "no key_ids"},
        {{(const uint8_t *) CHALLENGE("\x0a", "\x08",
                                      "\x0a\x06\x0a\x04\x12\x02no"),
          14},
         "16 bytes"},
        {{(const uint8_t *) CHALLENGE("\x08", "\x06",
                                      "\x0a\x04\x0a\x02\x10\x01"),
          12},
         "16 bytes"},
        {{(const uint8_t *) CHALLENGE("\x07", "\x05", "\x0a\x03\x0a\x01\x12"),
          11},
         "no WidevinePsshData"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(challenge_read(cases[i].body), ERR_INVALID);
        assert_non_null(strstr(reason, cases[i].reason));
    }
}

static void
a_challenge_that_is_cut_off_is_refused(void **state)
{
    const struct bytes whole =
        TEXT(CHALLENGE("\x18", "\x16", "\x0a\x14" CONTENT_1));
    for (size_t len = 0; len < whole.len; len++)
        assert_int_equal(challenge_read(bytes_of(whole.ptr, len)), ERR_INVALID);
}

static void
too_much_is_refused(void **state)
{
    static uint8_t large[WIDEVINE_CHALLENGE_SIZE_MAX + 1];
    uint8_t data[(LICENSE_KEYS_MAX + 1) * 18];
    assert_int_equal(challenge_read(bytes_of(large, sizeof large)), ERR_LIMIT);
    for (size_t i = 0; i <= LICENSE_KEYS_MAX; i++) {
        memcpy(data + 18 * i, DATA_1, 18);
        data[18 * i + 2] = (uint8_t) i;
    }
    memset(&request, 0, sizeof request);
    assert_int_equal(
        widevine_pssh_read(bytes_of(data, sizeof data - 18), &request, &reason),
        0);
    assert_int_equal(request.kid_count, LICENSE_KEYS_MAX);
    assert_int_equal(
        widevine_pssh_read(bytes_of(data, sizeof data), &request, &reason),
        ERR_LIMIT);
    assert_non_null(strstr(reason, "128"));
}

/* ---- what is written ---- */

static const struct widevine_signer signer = {
    .name = "studio", .key = {1, 2, 3}, .iv = {4, 5, 6}};

/* The bytes of a text in base64, with a zero behind them. */
static size_t
base64_read(const json_t *text, uint8_t *out, size_t size)
{
    const size_t len = json_string_length(text);
    const char *string = json_string_value(text);
    assert_non_null(string);
    assert_true(len > 0 && len % 4 == 0 && len / 4 * 3 < size);
    assert_int_equal(EVP_DecodeBlock(out, (const uint8_t *) string, (int) len),
                     len / 4 * 3);
    const size_t used =
        len / 4 * 3 - (string[len - 1] == '=') - (string[len - 2] == '=');
    out[used] = 0;
    return used;
}

static void
assert_base64(const json_t *text, const void *expected, size_t size)
{
    uint8_t bytes[256];
    assert_int_equal(base64_read(text, bytes, sizeof bytes), size);
    assert_memory_equal(bytes, expected, size);
}

static void
assert_signed(struct bytes text, const json_t *signature)
{
    uint8_t hash[EVP_MAX_MD_SIZE], sealed[64], plain[64];
    unsigned hash_len;
    int len, more;
    const size_t size = base64_read(signature, sealed, sizeof sealed);
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    assert_int_equal(
        EVP_DecryptInit(cipher, EVP_aes_256_cbc(), signer.key, signer.iv), 1);
    assert_int_equal(EVP_DecryptUpdate(cipher, plain, &len, sealed, (int) size),
                     1);
    assert_int_equal(EVP_DecryptFinal(cipher, plain + len, &more), 1);
    EVP_CIPHER_CTX_free(cipher);
    assert_int_equal(
        EVP_Digest(text.ptr, text.len, hash, &hash_len, EVP_sha1(), NULL), 1);
    assert_int_equal(len + more, hash_len);
    assert_memory_equal(plain, hash, hash_len);
}

/* What is signed. */
static json_t *
written_read(const struct license_key *keys)
{
    static uint8_t text[4096];
    struct buffer out;
    buffer_init(&out, LICENSE_BODY_SIZE_MAX);
    license_widevine.write(&request, keys, &out);
    assert_int_equal(out.err, 0);
    json_t *whole = json_loadb((const char *) out.ptr, out.len, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(whole, "signer")),
                        "studio");
    const size_t len =
        base64_read(json_object_get(whole, "request"), text, sizeof text);
    assert_signed(bytes_of(text, len), json_object_get(whole, "signature"));
    json_decref(whole);
    buffer_fini(&out);
    json_t *json = json_loadb((const char *) text, len, 0, NULL);
    assert_non_null(json);
    return json;
}

static int64_t
number_at(const json_t *json, const char *name)
{
    assert_true(json_is_integer(json_object_get(json, name)));
    return json_integer_value(json_object_get(json, name));
}

static void
granted_keys_are_asked_for_by_the_strictest_policy(void **state)
{
    const struct bytes body = TEXT("a challenge");
    const struct license_key keys[] = {
        {.name = {.content = "film", .classes = 1u << CRYPT_CLASS_SD},
         .key = {.key = "key of SD"},
         .policy = {.security = SECURITY_HARDWARE,
                    .output = OUTPUT_HDCP_2_2,
                    .license_s = 600,
                    .is_persistent = true}},
        {.refusal = REFUSAL_CLASS,
         .name = {.content = "film"},
         .policy = {.license_s = 1}},
        {.name = {.content = "film", .classes = 1u << CRYPT_CLASS_AUDIO},
         .key = {.key = "key of audio"},
         .policy = {.security = SECURITY_HARDWARE,
                    .license_s = 900,
                    .playback_s = 60}},
    };
    request = (struct license_request){
        .signer = &signer, .body = body, .kid_count = 3};
    for (unsigned i = 0; i < 3; i++)
        memset(request.kids[i], (int) i + 1, CRYPT_KEY_SIZE);
    json_t *json = written_read(keys);
    const json_t *specs = json_object_get(json, "content_key_specs");
    const json_t *policy = json_object_get(json, "policy_overrides");
    assert_base64(json_object_get(json, "payload"), body.ptr, body.len);
    assert_base64(json_object_get(json, "content_id"), "film", 4);
    assert_string_equal(json_string_value(json_object_get(json, "provider")),
                        "studio");
    assert_int_equal(json_array_size(specs), 2);
    for (unsigned i = 0; i < 2; i++) {
        const json_t *spec = json_array_get(specs, i);
        const unsigned n = 2 * i;
        assert_base64(json_object_get(spec, "key_id"), request.kids[n],
                      CRYPT_KEY_SIZE);
        assert_base64(json_object_get(spec, "key"), keys[n].key.key,
                      CRYPT_KEY_SIZE);
        assert_int_equal(number_at(spec, "security_level"), i == 0 ? 5 : 3);
        assert_string_equal(
            json_string_value(json_object_get(
                json_object_get(spec, "required_output_protection"), "hdcp")),
            i == 0 ? "HDCP_V2_2" : "HDCP_NONE");
    }
    assert_true(json_is_true(json_object_get(policy, "can_play")));
    assert_true(json_is_false(json_object_get(policy, "can_persist")));
    assert_true(json_is_false(json_object_get(policy, "can_renew")));
    assert_int_equal(number_at(policy, "license_duration_seconds"), 600);
    assert_int_equal(number_at(policy, "playback_duration_seconds"), 60);
    json_decref(json);
}

/* ---- the service's answers ---- */

static void
the_license_is_taken_out_of_the_answer(void **state)
{
    static const struct {
        const char *answer, *license;
    } cases[] = {
        {"{\"status\":\"OK\",\"license\":\"YWJj\",\"more\":[1]}", "abc"},
        {"{\"status\":\"OK\",\"license\":\"YWI=\"}", "ab"},
        {"{\"status\":\"OK\",\"license\":\"YQ==\"}", "a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer out;
        buffer_init(&out, 64);
        assert_int_equal(license_widevine.take(bytes_of_text(cases[i].answer),
                                               &out, &reason),
                         0);
        assert_true(
            bytes_equal(buffer_bytes(&out), bytes_of_text(cases[i].license)));
        buffer_fini(&out);
    }
}

static void
an_answer_without_a_license_is_told(void **state)
{
    static const struct {
        const char *answer, *reason;
    } cases[] = {
        {"", "no JSON"},
        {"[]", "no JSON"},
        {"{\"status\":1}", "no JSON"},
        {"{\"status\":\"OK\",\"status\":\"OK\",\"license\":\"YWJj\"}",
         "no JSON"},
        {"{\"status\":\"NO\",\"license\":\"YWJj\"}", "refused"},
        {"{\"status\":\"OK\"}", "in base64"},
        {"{\"status\":\"OK\",\"license\":\"\"}", "in base64"},
        {"{\"status\":\"OK\",\"license\":7}", "in base64"},
        {"{\"status\":\"OK\",\"license\":\"YWJ\"}", "in base64"},
        {"{\"status\":\"OK\",\"license\":\"????\"}", "in base64"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer out;
        buffer_init(&out, 64);
        assert_int_equal(license_widevine.take(bytes_of_text(cases[i].answer),
                                               &out, &reason),
                         ERR_INVALID);
        assert_non_null(strstr(reason, cases[i].reason));
        assert_int_equal(out.len, 0);
        buffer_fini(&out);
    }
}

/* ---- the signer ---- */

#define KEY_TEXT                                                       \
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" \
    ":000102030405060708090a0b0c0d0e0f"

static int
signer_read(const char *text, const char *name, mode_t mode,
            struct widevine_signer *out)
{
    char path[] = "/tmp/widevine_test.XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    const int err = widevine_signer_read(path, name, out);
    unlink(path);
    return err;
}

static void
a_signer_is_a_key_an_iv_and_a_name(void **state)
{
    static const char long_name[66] =
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";
    struct widevine_signer one;
    assert_int_equal(signer_read(KEY_TEXT "\n", long_name + 1, 0600, &one), 0);
    for (uint8_t i = 0; i < 32; i++)
        assert_int_equal(one.key[i], i);
    assert_int_equal(one.iv[15], 15);
    assert_string_equal(one.name, long_name + 1);
    assert_int_equal(signer_read(KEY_TEXT, long_name, 0600, &one), ERR_INVALID);
    assert_int_equal(signer_read(KEY_TEXT, NULL, 0600, &one), ERR_INVALID);
    assert_int_equal(signer_read(KEY_TEXT, "a", 0640, &one), ERR_DENIED);
    assert_int_equal(signer_read(KEY_TEXT "0", "a", 0600, &one), ERR_INVALID);
    assert_int_equal(signer_read("x" KEY_TEXT, "a", 0600, &one), ERR_INVALID);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kids_of_a_challenge_are_found),
        cmocka_unit_test(what_is_no_challenge_is_refused),
        cmocka_unit_test(a_challenge_that_is_cut_off_is_refused),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(granted_keys_are_asked_for_by_the_strictest_policy),
        cmocka_unit_test(the_license_is_taken_out_of_the_answer),
        cmocka_unit_test(an_answer_without_a_license_is_told),
        cmocka_unit_test(a_signer_is_a_key_an_iv_and_a_name),
    };
    log_init("widevine_test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
