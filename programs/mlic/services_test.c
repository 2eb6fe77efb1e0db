/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/mlic/services.h"

#include "core/base64url.h"
#include "core/err.h"
#include "platform/files.h"
#include "platform/log.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW 1000000
#define KEYS "\"keys\":[{\"kid\":\"1\",\"secret_file\":\"a.key\"}]"

static char folder[64], path[128];

static void
file_put(const char *name, const char *text)
{
    char place[128];
    snprintf(place, sizeof place, "%s/%s", folder, name);
    assert_int_equal(file_write_atomic(place, bytes_of_text(text), 0600, false),
                     0);
}

static int
setup(void **state)
{
    log_init("services_test", LOG_LEVEL_ERROR);
    snprintf(folder, sizeof folder, "/tmp/services_test.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/services", folder);
    file_put("a.key", "6161616161616161616161616161616161616161616161616161616"
                      "161616161\n"); /* 32 times a */
    file_put("b.key", "6262626262626262626262626262626262626262626262626262626"
                      "262626262\n");
    file_put("short.key", "61616161616161616161616161616161\n");
    return 0;
}

static int
teardown(void **state)
{
    return folder_remove(folder);
}

static int
read_text(const char *text, struct services **out)
{
    file_put("services", text);
    return services_read(path, out);
}

static struct services *
good(const char *text)
{
    struct services *services = NULL;
    assert_int_equal(read_text(text, &services), 0);
    return services;
}

/* By HS256. */
static const char *
sign(const char *kid, char letter, const char *claims)
{
    static char text[2048];
    char header[128], secret[32];
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned size;
    snprintf(header, sizeof header, "{\"alg\":\"HS256\",\"kid\":\"%s\"}", kid);
    memset(secret, letter, sizeof secret);
    size_t len = 0;
    base64url_encode(bytes_of_text(header), text);
    len = BASE64URL_LEN(strlen(header));
    text[len++] = '.';
    base64url_encode(bytes_of_text(claims), text + len);
    len += BASE64URL_LEN(strlen(claims));
    HMAC(EVP_sha256(), secret, sizeof secret, (uint8_t *) text, len, mac,
         &size);
    text[len++] = '.';
    base64url_encode(bytes_of(mac, size), text + len);
    text[len + BASE64URL_LEN(size)] = '\0';
    return text;
}

static enum refusal
judge(struct services *services, const char *jwt, struct service **service,
      struct entitlement *out)
{
    struct services_verdict verdict = {.refusal = REFUSAL_NONE};
    services_judge(services, bytes_of_text(jwt), NOW, 0, out, &verdict);
    const enum refusal refusal = verdict.refusal;
    *service = verdict.service;
    assert_true(refusal == REFUSAL_NONE || verdict.reason != NULL);
    return refusal;
}

static void
each_service_has_its_own_keys_and_rules(void **state)
{
    struct services *services = good(
        "{\"services\":[{\"id\":\"b\",\"issuer\":\"https://b.example\","
        "\"keys\":[{\"kid\":\"1\",\"secret_file\":\"b.key\"}],"
        "\"plays\":2,\"rules\":[{\"classes\":[\"UHD\"],\"systems\":["
        "\"clearkey\",\"identity\"],\"refuse\":true},{\"security\":"
        "\"hardware\",\"output\":\"hdcp-2.2\",\"license_s\":60,\"playback_s\":"
        "30,\"never_persistent\":true}]},{\"id\":\"a\"," KEYS "}]}");
#define CLAIMS "\"aud\":\"mlic\",\"exp\":1000600,\"content\":\"film\"}"
    static const struct {
        const char *kid, *claims;
        char letter;
        enum refusal refusal;
    } cases[] = {
        {"1", "{\"iss\":\"a\"," CLAIMS, 'a', REFUSAL_NONE},
        {"1", "{\"iss\":\"https://b.example\"," CLAIMS, 'b', REFUSAL_NONE},
        {"1", "{\"iss\":\"b\"," CLAIMS, 'b', REFUSAL_SERVICE},
        {"1", "{\"iss\":\"a\"," CLAIMS, 'b', REFUSAL_INVALID},
        {"1", "{\"iss\":\"https://b.example\"," CLAIMS, 'a', REFUSAL_INVALID},
        {"2", "{\"iss\":\"a\"," CLAIMS, 'a', REFUSAL_INVALID},
        {"1", "{" CLAIMS, 'a', REFUSAL_INVALID},
        {"1", "{\"iss\":\"a\",\"x\":1," CLAIMS, 'a', REFUSAL_INVALID},
        {"1",
         "{\"iss\":\"a\",\"aud\":\"st-api\",\"exp\":1000600,"
         "\"content\":\"film\"}",
         'a', REFUSAL_INVALID},
        {"1",
         "{\"iss\":\"a\",\"aud\":[\"x\",\"mlic\"],\"exp\":1000600,"
         "\"content\":\"film\"}",
         'a', REFUSAL_NONE},
        {"1", "{\"iss\":\"a\",\"aud\":\"mlic\",\"content\":\"film\"}", 'a',
         REFUSAL_INVALID},
        /* clocks may differ by a minute */
        {"1",
         "{\"iss\":\"a\",\"aud\":\"mlic\",\"exp\":999950,"
         "\"content\":\"film\"}",
         'a', REFUSAL_NONE},
        {"1",
         "{\"iss\":\"a\",\"aud\":\"mlic\",\"exp\":999900,"
         "\"content\":\"film\"}",
         'a', REFUSAL_EXPIRED},
        {"1", "{\"iss\":\"a\",\"nbf\":1000050," CLAIMS, 'a', REFUSAL_NONE},
        {"1", "{\"iss\":\"a\",\"nbf\":1000100," CLAIMS, 'a', REFUSAL_EXPIRED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct service *service = NULL;
        struct entitlement read;
        const enum refusal refusal = judge(
            services, sign(cases[i].kid, cases[i].letter, cases[i].claims),
            &service, &read);
        if (refusal != cases[i].refusal)
            fail_msg("%s: %s", cases[i].claims, refusal_code(refusal));
        /* a service is known from its name, though it has not signed */
        assert_true((service == NULL)
                    == (refusal == REFUSAL_SERVICE || i == 6));
    }
    struct service *b = NULL;
    struct entitlement read;
    assert_int_equal(judge(services, "x.y.z", &b, &read), REFUSAL_INVALID);
    assert_int_equal(
        judge(services, sign("1", 'b', cases[1].claims), &b, &read),
        REFUSAL_NONE);
    assert_string_equal(b->id, "b");
    assert_int_equal(b->plays, 2);
    assert_int_equal(b->rule_count, 4); /* with those of the service itself */
    assert_true(b->rules[0].is_refused && !b->rules[1].is_refused);
    assert_int_equal(b->rules[0].classes, 1u << CRYPT_CLASS_UHD);
    assert_int_equal(b->rules[0].systems,
                     1u << LICENSE_CLEARKEY | 1u << LICENSE_IDENTITY);
    assert_int_equal(b->rules[1].classes, UINT32_MAX);
    assert_int_equal(b->rules[1].security, SECURITY_HARDWARE);
    assert_int_equal(b->rules[1].output, OUTPUT_HDCP_2_2);
    assert_int_equal(b->rules[1].license_s, 60);
    assert_int_equal(b->rules[1].playback_s, 30);
    assert_true(b->rules[1].is_never_persistent);
    services_free(services);
}

static void
a_file_that_is_not_right_is_refused(void **state)
{
#define RULE(text) "{\"id\":\"a\"," KEYS ",\"rules\":[" text "]}"
    static const struct {
        const char *service;
        int err;
    } cases[] = {
        {"{\"id\":\"a\"," KEYS "}", 0},
        {"{}", ERR_INVALID},
        {"7", ERR_INVALID},
        {"{\"id\":\"a\"}", ERR_INVALID},
        {"{\"id\":\"a/b\"," KEYS "}", ERR_INVALID},
        {"{\"id\":\"a\",\"keys\":{}}", ERR_INVALID},
        {"{\"id\":\"a\",\"keys\":[{\"kid\":\"1\"}]}", ERR_INVALID},
        {"{\"id\":\"a\",\"keys\":[{\"secret_file\":\"a.key\"}]}", ERR_INVALID},
        {"{\"id\":\"a\",\"keys\":[{\"kid\":\"1\",\"secret_file\":\"a.key\","
         "\"jwk\":{}}]}",
         ERR_INVALID},
        {"{\"id\":\"a\",\"keys\":[{\"kid\":\"1\",\"secret_file\":\"none\"}]}",
         ERR_NOT_FOUND},
        {"{\"id\":\"a\",\"keys\":[{\"kid\":\"1\",\"secret_file\":\"short.key\"}"
         "]}",
         ERR_INVALID},
        {"{\"id\":\"a\",\"jwks_file\":\"none\"}", ERR_NOT_FOUND},
        {"{\"id\":\"a\",\"jwks_file\":\"a.key\"}", ERR_INVALID},
        {"{\"id\":\"a\"," KEYS "},{\"id\":\"a\"," KEYS "}", ERR_INVALID},
        {"{\"id\":\"a\"," KEYS "},{\"id\":\"b\",\"issuer\":\"a\"," KEYS "}",
         ERR_INVALID},
        {"{\"id\":\"a\"," KEYS ",\"plays\":0}", ERR_INVALID},
        {"{\"id\":\"a\"," KEYS ",\"rate_per_s\":\"9\"}", ERR_INVALID},
        {RULE("{}"), 0},
        {RULE("7"), ERR_INVALID},
        {RULE("{\"colour\":1}"), ERR_INVALID},
        {RULE("{\"classes\":[]}"), ERR_INVALID},
        {RULE("{\"classes\":\"SD\"}"), ERR_INVALID},
        {RULE("{\"classes\":[\"8K\"]}"), ERR_INVALID},
        {RULE("{\"systems\":[\"clearkey\",\"x\"]}"), ERR_INVALID},
        {RULE("{\"refuse\":\"yes\"}"), ERR_INVALID},
        {RULE("{\"never_persistent\":1}"), ERR_INVALID},
        {RULE("{\"security\":\"iron\"}"), ERR_INVALID},
        {RULE("{\"output\":2}"), ERR_INVALID},
        {RULE("{\"license_s\":0}"), ERR_INVALID},
        {RULE("{\"playback_s\":4294967296}"), ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        struct services *services = NULL;
        snprintf(text, sizeof text, "{\"services\":[%s]}", cases[i].service);
        const int err = read_text(text, &services);
        services_free(services);
        if (err != cases[i].err)
            fail_msg("%s: %s", text, err_text(err));
    }
}

static void
a_service_asks_as_often_as_it_may(void **state)
{
    struct services *services = good("{\"services\":[{\"id\":\"a\"," KEYS
                                     ",\"rate_per_s\":2,\"burst\":3}]}");
    struct service *service = NULL;
    struct entitlement read;
    const char *jwt = sign("1", 'a', "{\"iss\":\"a\"," CLAIMS);
    assert_int_equal(judge(services, jwt, &service, &read), REFUSAL_NONE);
    for (unsigned i = 0; i < 3; i++)
        assert_true(service_may_ask(service, 5000));
    assert_false(service_may_ask(service, 5000));
    assert_false(service_may_ask(service, 5499));
    assert_true(service_may_ask(service, 5500));
    assert_false(service_may_ask(service, 5400)); /* a clock goes back */
    /* no more than the burst, however long it was silent */
    for (unsigned i = 0; i < 3; i++)
        assert_true(service_may_ask(service, 1000000));
    assert_false(service_may_ask(service, 1000000));
    /* and none of it anew by reading the file again */
    struct services *again = good("{\"services\":[{\"id\":\"a\"," KEYS
                                  ",\"rate_per_s\":2,\"burst\":3}]}");
    assert_int_equal(services_begin(again, services, NULL, NULL), 0);
    services_free(services);
    assert_int_equal(judge(again, jwt, &service, &read), REFUSAL_NONE);
    assert_false(service_may_ask(service, 1000001));
    services_free(again);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_service_has_its_own_keys_and_rules),
        cmocka_unit_test(a_service_asks_as_often_as_it_may),
        cmocka_unit_test(a_file_that_is_not_right_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
