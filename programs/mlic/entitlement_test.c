/* SPDX-License-Identifier: Apache-2.0 */
#include "programs/mlic/entitlement.h"

#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int
read_text(const char *text, struct entitlement *out, const char **reason)
{
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (json == NULL)
        fail_msg("no JSON: %s", text);
    const int err = entitlement_read(json, out, reason);
    json_decref(json);
    return err;
}

static void
a_claim_that_is_not_understood_refuses_all(void **state)
{
    static const struct {
        const char *claims; /* beside the content */
        const char *reason; /* part of it; NULL: it is good */
    } cases[] = {
        {"", NULL},
        {",\"iss\":\"a\",\"aud\":\"mlic\",\"nbf\":1,\"iat\":1,\"exp\":9", NULL},
        {",\"colour\":\"red\"", "not understood"},
        {",\"Classes\":[\"SD\"]", "not understood"},
        {",\"exp\":\"9\"", "exp"},
        {",\"sub\":\"\"", "sub"},
        {",\"sub\":\"a\\u0001\"", "sub"},
        {",\"sub\":7", "sub"},
        {",\"jti\":null", "jti"},
        {",\"version\":\"../v1\"", "version"},
        {",\"classes\":[]", "classes"},
        {",\"classes\":\"SD\"", "classes"},
        {",\"classes\":{\"SD\":true}", "classes"},
        {",\"classes\":[\"SD\",\"8K\"]", "classes"},
        {",\"classes\":[\"SD\",\"SD\"]", NULL},
        {",\"license_s\":0", "license_s"},
        {",\"license_s\":-1", "license_s"},
        {",\"license_s\":1.5", "license_s"},
        {",\"license_s\":\"60\"", "license_s"},
        {",\"license_s\":315360000", NULL},
        {",\"license_s\":315360001", "license_s"},
        {",\"playback_s\":4294967297", "playback_s"},
        {",\"persistent\":1", "persistent"},
        {",\"persistent\":\"true\"", "persistent"},
        {",\"output\":\"hdcp-3\"", "output"},
        {",\"output\":{}", NULL},
        {",\"output\":[]", "output"},
        {",\"output\":null", "output"},
        {",\"output\":{\"UHD\":\"hdcp-2.2\"}", NULL},
        {",\"output\":{\"8K\":\"hdcp-2.2\"}", "output"},
        {",\"output\":{\"UHD\":\"hdcp-2.2\",\"8K\":\"none\"}", "output"},
        {",\"output\":{\"UHD\":1}", "output"},
        {",\"security\":\"Hardware\"", "security"},
        {",\"security\":{\"HD\":\"hardware\",\"UHD\":\"iron\"}", "security"},
        {",\"plays\":2", "no sub or no play"},
        {",\"plays\":2,\"sub\":\"v\"", "no sub or no play"},
        {",\"plays\":2,\"play\":\"p\"", "no sub or no play"},
        {",\"plays\":2,\"sub\":\"v\",\"play\":\"p\"", NULL},
        {",\"plays\":0,\"sub\":\"v\",\"play\":\"p\"", "plays"},
        {",\"plays\":1001,\"sub\":\"v\",\"play\":\"p\"", "plays"},
        {",\"network\":\"192.0.2.0/24\"", NULL},
        {",\"network\":\"2001:db8::/32\"", NULL},
        {",\"network\":\"192.0.2.0/33\"", "network"},
        {",\"network\":\"home\"", "network"},
        {",\"network\":[\"192.0.2.0/24\"]", "network"},
        {",\"single_use\":true", "no jti"},
        {",\"single_use\":true,\"jti\":\"1\"", NULL},
        {",\"single_use\":false", NULL},
        {",\"single_use\":\"no\"", "single_use"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        struct entitlement read;
        const char *reason = NULL;
        snprintf(text, sizeof text, "{\"content\":\"film\"%s}",
                 cases[i].claims);
        const int err = read_text(text, &read, &reason);
        if (cases[i].reason == NULL
                ? err != 0
                : err != ERR_INVALID || strstr(reason, cases[i].reason) == NULL)
            fail_msg("%s: %d %s", text, err, reason);
    }
}

static void
it_is_of_one_content(void **state)
{
    static const char *const cases[] = {
        "{}", "{\"content\":\"\"}", "{\"content\":\"..\"}",
        "{\"content\":\"a/b\"}", "{\"content\":[\"a\",\"b\"]}"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct entitlement read;
        const char *reason = NULL;
        assert_int_equal(read_text(cases[i], &read, &reason), ERR_INVALID);
        assert_non_null(strstr(reason, "content"));
    }
}

static void
what_it_says_is_read(void **state)
{
    struct entitlement read;
    const char *reason = NULL;
    assert_int_equal(
        read_text("{\"content\":\"film\",\"version\":\"v1\",\"sub\":\"me\","
                  "\"jti\":\"1\",\"play\":\"p\",\"exp\":99,\"classes\":[\"SD\","
                  "\"AUDIO\"],\"license_s\":60,\"playback_s\":30,"
                  "\"persistent\":true,\"single_use\":true,\"plays\":3,"
                  "\"output\":\"hdcp-1\",\"security\":{\"HD\":\"hardware\"},"
                  "\"network\":\"192.0.2.7/24\"}",
                  &read, &reason),
        0);
    assert_string_equal(read.content, "film");
    assert_string_equal(read.version, "v1");
    assert_string_equal(read.viewer, "me");
    assert_string_equal(read.id, "1");
    assert_string_equal(read.play, "p");
    assert_int_equal(read.expires_s, 99);
    assert_int_equal(read.classes,
                     1u << CRYPT_CLASS_SD | 1u << CRYPT_CLASS_AUDIO);
    assert_int_equal(read.license_s, 60);
    assert_int_equal(read.playback_s, 30);
    assert_true(read.is_persistent && read.is_single_use);
    assert_int_equal(read.plays, 3);
    for (unsigned i = 0; i < CRYPT_CLASS_COUNT; i++) {
        assert_int_equal(read.output[i], OUTPUT_HDCP_1);
        assert_int_equal(read.security[i], i == CRYPT_CLASS_HD
                                               ? SECURITY_HARDWARE
                                               : SECURITY_SOFTWARE);
    }
    assert_int_equal(read.network.family, 4);
    assert_int_equal(read.network.bits, 24);
    /* without any of it: all classes, and no other limit */
    assert_int_equal(read_text("{\"content\":\"film\"}", &read, &reason), 0);
    assert_int_equal(read.classes, (1u << CRYPT_CLASS_COUNT) - 1);
    assert_int_equal(read.plays + read.license_s + read.playback_s, 0);
    assert_int_equal(read.network.family, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_that_is_not_understood_refuses_all),
        cmocka_unit_test(it_is_of_one_content),
        cmocka_unit_test(what_it_says_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
