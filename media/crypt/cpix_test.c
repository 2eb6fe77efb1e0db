/* SPDX-License-Identifier: Apache-2.0 */
#include "media/crypt/cpix.h"

#include "core/err.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <stdlib.h>

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
    struct cpix_answer answer;
    const char *reason;
    const int err = cpix_read(bytes_of_text(text), &request, &answer, &reason);
    if (err == 0) {
        assert_null(answer.signals);
        memcpy(out, answer.keys, cpix_key_count(&request) * sizeof *out);
        cpix_answer_fini(&answer);
    }
    return err;
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
a_rule_with_several_periods_is_for_each(void **state)
{
#define PERIODS PERIOD("0") PERIOD("2")
    static const char text[] =
        LISTS(KEY("1", "") KEY("2", "") KEY("3", ""),
              RULE("1", "VIDEO", PERIODS) RULE("2", "VIDEO", PERIOD("1"))
                  RULE("3", "AUDIO", PERIODS PERIOD("1")));
    static const uint8_t kids[] = {1, 2, 1};
    struct crypt_key keys[3 * CRYPT_CLASS_COUNT];
    assert_int_equal(read_text(text, 3, keys), 0);
    for (uint32_t period = 0; period < 3; period++) {
        for (unsigned class = 0; class < CRYPT_CLASS_AUDIO; class ++)
            assert_int_equal(keys[cpix_key_index(class, period)].kid[3],
                             kids[period]);
        assert_int_equal(keys[cpix_key_index(CRYPT_CLASS_AUDIO, period)].kid[3],
                         3);
    }
    /* as many as there are keys */
#define SIX RULE("1", "ALL", PERIODS PERIOD("1") PERIODS PERIOD("1"))
    static const char full[] = LISTS(KEY("1", ""), SIX SIX);
    static const char over[] =
        LISTS(KEY("1", ""), SIX SIX RULE("1", "ALL", ""));
    assert_int_equal(read_text(full, 3, keys), 0);
    assert_int_equal(read_text(over, 3, keys), ERR_LIMIT);
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

/* ---- what is given for systems ---- */

static const uint8_t widevine_box[] = {
    0,    0,    0,    36,   'p',  's',  's',  'h',  0,    0,    0,    0,
    0xed, 0xef, 0x8b, 0xa9, 0x79, 0xd6, 0x4a, 0xce, 0xa3, 0xc8, 0x27, 0xdc,
    0xd5, 0x1d, 0x21, 0xed, 0,    0,    0,    4,    'd',  'a',  't',  'a'};

struct element {
    const char *name, *attributes;
    struct bytes text; /* goes in as base64 */
};

#define TEXT(s) BYTES_LITERAL(s)
#define BOX bytes_of(widevine_box, sizeof widevine_box)
#define TAG "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"x\""
#define SESSION "#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI=\"x\""

/* One key for all, and these elements of a system of it. */
static int
read_given(const char *kid, const char *system, const struct element *elements,
           size_t count, struct cpix_answer *out, const char **reason)
{
    static const struct crypt_systems systems = {
        .has_widevine = true, .has_fairplay = true, .has_clearkey = true};
    struct cpix_request request = request_of(1);
    struct buffer text;
    buffer_init(&text, 1u << 20);
    buffer_printf(&text,
                  HEAD "<c:ContentKeyList>" KEY("1", "")
                      KEY("2", "") "</c:ContentKeyList><c:DRMSystemList>"
                                   "<c:DRMSystem kid=\"%s\" systemId=\"%s\">",
                  kid, system);
    for (size_t i = 0; i < count; i++) {
        const struct element *e = &elements[i];
        unsigned char *base64 = calloc(1, e->text.len * 4 / 3 + 8);
        assert_non_null(base64);
        (void) EVP_EncodeBlock(base64, e->text.ptr, (int) e->text.len);
        buffer_printf(&text, "<c:%s %s>\n %s\n</c:%s>", e->name,
                      e->attributes == NULL ? "" : e->attributes, base64,
                      e->name);
        free(base64);
    }
    buffer_append_text(
        &text,
        "</c:DRMSystem></c:DRMSystemList>"
        "<c:ContentKeyUsageRuleList>" RULE("1", "VIDEO", "")
            RULE("2", "AUDIO", "") "</c:ContentKeyUsageRuleList></c:CPIX>");
    request.systems = &systems;
    const int err = cpix_read(buffer_bytes(&text), &request, out, reason);
    buffer_fini(&text);
    return err;
}

#define KID_1 "00000001-0000-0000-0000-000000000000"

static struct bytes
part_of(const struct cpix_answer *answer, enum crypt_class class,
        enum crypt_part part)
{
    return answer->signals[class].parts[CRYPT_SYSTEM_WIDEVINE][part];
}

static void
what_is_given_of_a_key_is_taken_as_it_is(void **state)
{
    const struct element elements[] = {
        {"PSSH", NULL, BOX},
        {"ContentProtectionData", NULL,
         TEXT("<cenc:pssh a=\"&lt;\">\303\274</cenc:pssh> <x:a "
              "xmlns:x=\"y\"/>")},
        {"HLSSignalingData", "playlist=\"media\"", TEXT(TAG "\r\n\n#X\n")},
        {"HLSSignalingData", "playlist=\"master\"", TEXT("#X\n" SESSION)},
    };
    struct cpix_answer answer;
    const char *reason;
    assert_int_equal(read_given(KID_1, "EDEF8BA9-79D6-4ACE-A3C8-27DCD51D21ED",
                                elements, 4, &answer, &reason),
                     0);
    for (unsigned i = 0; i < CRYPT_CLASS_AUDIO; i++) {
        for (unsigned j = 0; j < CRYPT_PART_MULTIVARIANT; j++)
            assert_true(bytes_equal(part_of(&answer, i, j), elements[j].text));
        /* a line ends */
        assert_true(bytes_equal(part_of(&answer, i, CRYPT_PART_MULTIVARIANT),
                                TEXT("#X\n" SESSION "\n")));
    }
    for (unsigned j = 0; j < CRYPT_PART_COUNT; j++)
        assert_int_equal(part_of(&answer, CRYPT_CLASS_AUDIO, j).len, 0);
    assert_true(answer.size > 4 * sizeof(struct crypt_signals));
    cpix_answer_fini(&answer);
    /* several boxes, and lines that do not say for which playlist */
    uint8_t boxes[2 * sizeof widevine_box];
    memcpy(boxes, widevine_box, sizeof widevine_box);
    memcpy(boxes + sizeof widevine_box, widevine_box, sizeof widevine_box);
    const struct element others[] = {
        {"PSSH", NULL, bytes_of(boxes, sizeof boxes)},
        {"HLSSignalingData", NULL, TEXT(TAG)},
    };
    assert_int_equal(
        read_given(KID_1, CRYPT_WIDEVINE, others, 2, &answer, &reason), 0);
    assert_true(bytes_equal(part_of(&answer, CRYPT_CLASS_SD, CRYPT_PART_PSSH),
                            others[0].text));
    assert_true(bytes_equal(part_of(&answer, CRYPT_CLASS_SD, CRYPT_PART_MEDIA),
                            TEXT(TAG "\n")));
    cpix_answer_fini(&answer);
}

static void
what_nobody_asked_for_is_passed_over(void **state)
{
    static const char *const systems[] = {
        CRYPT_PLAYREADY, CRYPT_FAIRPLAY, "5e629af5-38da-4063-8977-97ffbd9902d4",
        "no system at all"};
    const struct element broken = {"PSSH", NULL, TEXT("broken")};
    const struct element empty = {"PSSH", NULL, {NULL, 0}};
    struct cpix_answer answer;
    const char *reason;
    for (size_t i = 0; i < sizeof systems / sizeof systems[0]; i++) {
        assert_int_equal(
            read_given(KID_1, systems[i], &broken, 1, &answer, &reason), 0);
        assert_null(answer.signals);
        cpix_answer_fini(&answer);
    }
    assert_int_equal(read_given("0000000f-0000-0000-0000-000000000000",
                                CRYPT_WIDEVINE, &broken, 1, &answer, &reason),
                     0);
    cpix_answer_fini(&answer);
    assert_int_equal(
        read_given(KID_1, CRYPT_WIDEVINE, &empty, 1, &answer, &reason), 0);
    assert_null(answer.signals);
    cpix_answer_fini(&answer);
}

/* A box with one byte changed. */
static struct bytes
box_with(uint8_t *box, size_t at, uint8_t value)
{
    memcpy(box, widevine_box, sizeof widevine_box);
    box[at] = value;
    return bytes_of(box, sizeof widevine_box);
}

static void
what_would_break_the_answer_is_refused(void **state)
{
    uint8_t boxes[6][sizeof widevine_box];
    const struct {
        struct element element;
        const char *reason;
    } cases[] = {
        {{"PSSH", NULL, TEXT("x")}, "pssh boxes"},
        {{"PSSH", NULL, bytes_of(widevine_box, 35)}, "pssh boxes"},
        {{"PSSH", NULL, box_with(boxes[0], 3, 35)}, "pssh boxes"},
        {{"PSSH", NULL, box_with(boxes[1], 4, 'P')}, "pssh boxes"},
        {{"PSSH", NULL, box_with(boxes[2], 8, 1)}, "pssh boxes"},
        {{"PSSH", NULL, box_with(boxes[3], 8, 2)}, "pssh boxes"},
        {{"PSSH", NULL, box_with(boxes[4], 12, 0)}, "pssh boxes"},
        {{"PSSH", NULL, box_with(boxes[5], 31, 5)}, "pssh boxes"},
        {{"ContentProtectionData", NULL, TEXT("</x><x>")}, "stand alone"},
        {{"ContentProtectionData", NULL, TEXT("<pssh>")}, "stand alone"},
        {{"ContentProtectionData", NULL, TEXT("<ms:pro/>")}, "stand alone"},
        {{"ContentProtectionData", NULL, TEXT("<a>&b;</a>")}, "stand alone"},
        {{"ContentProtectionData", NULL, TEXT("<a/><!-- ")}, "stand alone"},
        {{"ContentProtectionData", NULL, TEXT("<a>\303</a>")}, "stand alone"},
        {{"ContentProtectionData", NULL, TEXT("<?xml version=\"1.0\"?><a/>")},
         "stand alone"},
        {{"HLSSignalingData", NULL, TEXT("#X\n")}, "EXT-X-KEY"},
        {{"HLSSignalingData", NULL, TEXT(SESSION)}, "EXT-X-KEY"},
        {{"HLSSignalingData", NULL, TEXT(TAG "\n0.m4s")}, "EXT-X-KEY"},
        {{"HLSSignalingData", NULL, TEXT(TAG "\r0.m4s")}, "EXT-X-KEY"},
        {{"HLSSignalingData", NULL, TEXT("\357\273\277" TAG)}, "EXT-X-KEY"},
        {{"HLSSignalingData", "playlist=\"master\"", TEXT(TAG)},
         "EXT-X-SESSION-KEY"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cpix_answer answer;
        const char *reason;
        const int err = read_given(KID_1, CRYPT_WIDEVINE, &cases[i].element, 1,
                                   &answer, &reason);
        if (err != ERR_INVALID || strstr(reason, cases[i].reason) == NULL)
            fail_msg("case %zu: %s", i, err_text(err));
    }
}

/* As long as a key's part may be, and once. */
static void
what_is_given_has_its_limits(void **state)
{
    uint8_t line[(16u << 10) + 3];
    const struct element elements[] = {
        {"HLSSignalingData", NULL, bytes_of(line, 16u << 10)},
        {"HLSSignalingData", NULL, TEXT(TAG)},
    };
    const struct element more = {"HLSSignalingData", NULL,
                                 bytes_of(line, sizeof line)};
    struct cpix_answer answer;
    const char *reason;
    memset(line, 'x', sizeof line);
    memcpy(line, TAG, sizeof TAG - 1);
    assert_int_equal(
        read_given(KID_1, CRYPT_WIDEVINE, elements, 1, &answer, &reason), 0);
    assert_int_equal(part_of(&answer, CRYPT_CLASS_SD, CRYPT_PART_MEDIA).len,
                     (16u << 10) + 1);
    cpix_answer_fini(&answer);
    assert_int_equal(
        read_given(KID_1, CRYPT_WIDEVINE, elements, 2, &answer, &reason),
        ERR_INVALID);
    assert_int_equal(
        read_given(KID_1, CRYPT_WIDEVINE, &more, 1, &answer, &reason),
        ERR_LIMIT);
    assert_non_null(strstr(reason, "16 kB"));
}

/* ---- the request ---- */

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
    assert_int_equal(count_of(text, "<cpix:PSSH/>"), 24);
    assert_int_equal(count_of(text, "<cpix:ContentProtectionData/>"), 24);
    assert_int_equal(count_of(text, "<cpix:HLSSignalingData playlist="), 48);
    assert_int_equal(count_of(text, "<cpix:ContentKeyPeriod "), 3);
    assert_int_equal(count_of(text, "<cpix:KeyPeriodFilter "), 12);
    assert_int_equal(count_of(text, "intendedTrackType=\"SD\""), 3);
    assert_int_equal(count_of(text, "intendedTrackType=\"AUDIO\""), 3);
    again.len = 0;
    request = request_of(1);
    request.scheme = CRYPT_CBCS;
    request.systems =
        &(struct crypt_systems){.has_fairplay = true, .has_clearkey = true};
    cpix_request_write(&request, &again);
    buffer_append_u8(&again, 0);
    text = (const char *) again.ptr;
    assert_int_equal(
        count_of(text, "systemId=\"" CRYPT_FAIRPLAY "\"><cpix:HLS"), 4);
    assert_int_equal(count_of(text,
                              "<cpix:HLSSignalingData playlist=\"media\"/>"
                              "<cpix:HLSSignalingData "
                              "playlist=\"master\"/></cpix:DRMSystem>"),
                     4);
    assert_int_equal(count_of(text, CRYPT_COMMON), 0);
    assert_true(cpix_request_is_speke(&request));
    /* what no license system is asked for is none of SPEKE's */
    request.scheme = CRYPT_CENC;
    assert_false(cpix_request_is_speke(&request));
    again.len = 0;
    cpix_request_write(&request, &again);
    buffer_append_u8(&again, 0);
    assert_int_equal(count_of((const char *) again.ptr, "DRMSystem"), 0);
    request.systems =
        &(struct crypt_systems){.has_widevine = true, .has_playready = true};
    assert_true(cpix_request_is_speke(&request));
    request.scheme = CRYPT_AES128;
    assert_false(cpix_request_is_speke(&request));
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
        cmocka_unit_test(a_rule_with_several_periods_is_for_each),
        cmocka_unit_test(what_cannot_be_used_is_refused),
        cmocka_unit_test(deep_documents_are_refused),
        cmocka_unit_test(what_is_given_of_a_key_is_taken_as_it_is),
        cmocka_unit_test(what_nobody_asked_for_is_passed_over),
        cmocka_unit_test(what_would_break_the_answer_is_refused),
        cmocka_unit_test(what_is_given_has_its_limits),
        cmocka_unit_test(a_request_names_each_key_and_its_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
