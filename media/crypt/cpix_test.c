/* SPDX-License-Identifier: Apache-2.0 */
#include "media/crypt/cpix.h"

#include "core/err.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#define HEAD                                                        \
    "<c:CPIX xmlns:c=\"urn:dashif:org:cpix\" contentId=\"film/1\" " \
    "version=\"2.3\" xmlns:p=\"urn:ietf:params:xml:ns:keyprov:pskc\">\n"
#define KEY(n, attributes)                                         \
    "<c:ContentKey kid=\"0000000" n                                \
    "-0000-0000-0000-000000000000\" " attributes                   \
    "><c:Data><p:Secret><p:PlainValue>\n  " n                      \
    "AAAAAAAAAAAAAAAAAAAAA==\n</p:PlainValue></p:Secret></c:Data>" \
    "</c:ContentKey>\n"
#define RULE(n, type, filter)                                               \
    "<c:ContentKeyUsageRule intendedTrackType=\"" type "\" kid=\"0000000" n \
    "-0000-0000-0000-000000000000\">" filter "</c:ContentKeyUsageRule>\n"
#define PERIOD(n) "<c:KeyPeriodFilter periodId=\"keyPeriod_" n "\"/>"
#define LISTS(keys, rules)                               \
    HEAD "<c:ContentKeyList>" keys "</c:ContentKeyList>" \
         "<c:ContentKeyUsageRuleList>" rules             \
         "</c:ContentKeyUsageRuleList></c:CPIX>"

static const struct crypt_systems none;

static struct cpix_request
request_of(uint32_t period_count)
{
    return (struct cpix_request){.folder = BYTES_LITERAL("film/1"),
                                 .scheme = CRYPT_CENC,
                                 .period_count = period_count,
                                 .has_periods = period_count > 1,
                                 .systems = &none};
}

static int
read_text(const char *text, uint32_t period_count, struct crypt_key *out)
{
    const struct cpix_request request = request_of(period_count);
    return cpix_read(bytes_of_text(text), &request, out);
}

static void
each_class_gets_the_key_that_its_rule_names(void **state)
{
    static const char text[] =
        LISTS(KEY("1", "explicitIV=\"AQIDBAUGBwgJCgsMDQ4PEA==\"")
                  KEY("2", "commonEncryptionScheme=\"cenc\"") KEY("3", ""),
              RULE("3", "AUDIO", "<c:AudioFilter/>") RULE("2", "UHD", "")
                  RULE("1", "SD+HD1+HD", "") RULE("2", "ALL", ""));
    struct crypt_key keys[CRYPT_CLASS_COUNT];
    assert_int_equal(read_text(text, 1, keys), 0);
    assert_int_equal(keys[CRYPT_CLASS_SD].kid[3], 1);
    assert_int_equal(keys[CRYPT_CLASS_HD].kid[3], 1);
    assert_int_equal(keys[CRYPT_CLASS_UHD].kid[3], 2);
    assert_int_equal(keys[CRYPT_CLASS_AUDIO].kid[3], 3);
    assert_int_equal(keys[CRYPT_CLASS_SD].key[0], 0xd4); /* "1A" */
    assert_int_equal(keys[CRYPT_CLASS_UHD].key[0], 0xd8);
    assert_int_equal(keys[CRYPT_CLASS_SD].iv[15], 16);
    assert_memory_equal(keys[CRYPT_CLASS_UHD].iv, keys[CRYPT_CLASS_UHD].kid,
                        CRYPT_KEY_SIZE);
}

static void
each_period_gets_its_own_key(void **state)
{
    static const char text[] =
        LISTS(KEY("1", "") KEY("2", "") KEY("3", ""),
              RULE("1", "VIDEO", PERIOD("0")) RULE("2", "VIDEO", PERIOD("1"))
                  RULE("3", "AUDIO", ""));
    struct crypt_key keys[2 * CRYPT_CLASS_COUNT];
    assert_int_equal(read_text(text, 2, keys), 0);
    for (unsigned class = 0; class < CRYPT_CLASS_AUDIO; class ++) {
        assert_int_equal(keys[cpix_key_index(class, 0)].kid[3], 1);
        assert_int_equal(keys[cpix_key_index(class, 1)].kid[3], 2);
    }
    assert_int_equal(keys[cpix_key_index(CRYPT_CLASS_AUDIO, 1)].kid[3], 3);
    assert_int_equal(read_text(text, 3, keys), ERR_NOT_FOUND);
}

static void
what_cannot_be_used_is_refused(void **state)
{
#define ALL RULE("1", "ALL", "")
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        {"", ERR_INVALID},
        {"<CPIX/>", ERR_INVALID},
        {HEAD, ERR_INVALID},
        {HEAD "</c:CPIX>", ERR_NOT_FOUND},
        {LISTS(KEY("1", ""), ""), ERR_NOT_FOUND},
        {LISTS(KEY("1", ""), RULE("2", "ALL", "")), ERR_NOT_FOUND},
        {LISTS(KEY("1", ""), RULE("1", "AUDIO", "")), ERR_NOT_FOUND},
        {LISTS(KEY("1", "commonEncryptionScheme=\"cbcs\""), ALL), ERR_INVALID},
        {LISTS(KEY("1", "explicitIV=\"AAAA\""), ALL), ERR_INVALID},
        {LISTS(KEY("x", ""), ALL), ERR_INVALID},
        {LISTS("<c:ContentKey/>", ALL), ERR_INVALID},
        {LISTS(KEY("1", "") KEY("2", "") KEY("3", "") KEY("4", "") KEY("5", ""),
               ALL),
         ERR_LIMIT},
        {LISTS(KEY("1", ""), ALL ALL ALL ALL ALL), ERR_LIMIT},
        {LISTS(KEY("1", ""), RULE("1", "ALL", PERIOD("1"))), ERR_INVALID},
        {LISTS(KEY("1", ""), RULE("1", "ALL", PERIOD("x"))), ERR_INVALID},
        {LISTS("<c:ContentKey kid=\"00000001-0000-0000-0000-000000000000\">"
               "<c:Data><p:Secret><p:EncryptedValue/></p:Secret></c:Data>"
               "</c:ContentKey>",
               ALL),
         ERR_UNSUPPORTED},
        {LISTS("<c:ContentKey kid=\"00000001-0000-0000-0000-000000000000\">"
               "<c:Data><p:Secret><p:PlainValue>AAAA</p:PlainValue>"
               "</p:Secret></c:Data></c:ContentKey>",
               ALL),
         ERR_INVALID},
        {LISTS("<c:ContentKey kid=\"00000001-0000-0000-0000-000000000000\"/>",
               ALL),
         ERR_NOT_FOUND},
        {"<!DOCTYPE x [<!ENTITY a \"b\">]>" LISTS(KEY("1", ""), ALL),
         ERR_INVALID},
        {LISTS(KEY("1", ""), ALL "&lol;"), ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *text = cases[i].text;
        struct crypt_key keys[CRYPT_CLASS_COUNT];
        const int err = read_text(text, 1, keys);
        if (err != cases[i].err)
            fail_msg("case %zu: %s", i, err_text(err));
    }
}

static void
deep_documents_are_refused(void **state)
{
    struct crypt_key keys[CRYPT_CLASS_COUNT];
    struct buffer text;
    buffer_init(&text, 65536);
    buffer_append_text(&text, HEAD);
    for (int i = 0; i < 40; i++)
        buffer_append_text(&text, "<c:x>");
    buffer_append_u8(&text, 0);
    assert_int_equal(read_text((const char *) text.ptr, 1, keys), ERR_LIMIT);
    buffer_fini(&text);
}

static unsigned
count_of(const char *text, const char *part)
{
    unsigned count = 0;
    while ((text = strstr(text, part)) != NULL) {
        text++;
        count++;
    }
    return count;
}

static void
a_request_names_each_key_and_its_use(void **state)
{
    static const struct crypt_systems systems = {
        .has_widevine = true, .has_playready = true, .has_fairplay = true};
    struct cpix_request request = request_of(3);
    struct buffer out, again;
    request.systems = &systems;
    buffer_init(&out, 1 << 20);
    buffer_init(&again, 1 << 20);
    cpix_request_write(&request, &out);
    cpix_request_write(&request, &again);
    assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&again)));
    buffer_append_u8(&out, 0);
    const char *text = (const char *) out.ptr;
    assert_int_equal(count_of(text, "contentId=\"film/1\" version=\"2.3\""), 1);
    assert_int_equal(count_of(text, "<cpix:ContentKey kid=\""), 12);
    assert_int_equal(count_of(text, "commonEncryptionScheme=\"cenc\""), 12);
    assert_int_equal(count_of(text, "systemId=\"" CRYPT_WIDEVINE "\""), 12);
    assert_int_equal(count_of(text, "systemId=\"" CRYPT_PLAYREADY "\""), 12);
    /* of which cenc is no part */
    assert_int_equal(count_of(text, "systemId=\"" CRYPT_FAIRPLAY "\""), 0);
    assert_int_equal(count_of(text, "<cpix:ContentKeyPeriod "), 3);
    assert_int_equal(count_of(text, "<cpix:KeyPeriodFilter "), 12);
    assert_int_equal(count_of(text, "intendedTrackType=\"SD\""), 3);
    assert_int_equal(count_of(text, "intendedTrackType=\"AUDIO\""), 3);
    again.len = 0;
    request = request_of(1);
    cpix_request_write(&request, &again);
    buffer_append_u8(&again, 0);
    text = (const char *) again.ptr;
    assert_int_equal(count_of(text, "Period"), 0);
    assert_int_equal(count_of(text, "kid=\""), 8);
    buffer_fini(&out);
    buffer_fini(&again);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_class_gets_the_key_that_its_rule_names),
        cmocka_unit_test(each_period_gets_its_own_key),
        cmocka_unit_test(what_cannot_be_used_is_refused),
        cmocka_unit_test(deep_documents_are_refused),
        cmocka_unit_test(a_request_names_each_key_and_its_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
