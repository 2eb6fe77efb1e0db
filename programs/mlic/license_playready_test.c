/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Microsoft's published examples: headers of "Key and Key IDs" and "How to
 * generate a PlayReady Header", the key seed of "PlayReady Test Server" with the
 * algorithms of "PlayReady Key Seed" and "PlayReady Header Specification" (all on
 * learn.microsoft.com/playready).
 */

#include "media/crypt/signal.h"
#include "programs/mlic/license_playready.h"

#include "core/err.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NS "http://schemas.microsoft.com/DRM/2007/03/"
#define HEADER(version, inside)                                           \
    "<WRMHEADER xmlns=\"" NS "PlayReadyHeader\" version=\"" version "\">" \
    "<DATA>" inside "<LA_URL>http://rm.contoso.com/rightsmanager.asmx"    \
    "</LA_URL></DATA></WRMHEADER>"
#define CHALLENGE(header)                                                   \
    "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\""      \
    "http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><AcquireLicense "  \
    "xmlns=\"" NS "protocols\"><challenge><Challenge xmlns=\"" NS           \
    "protocols/messages\"><LA xmlns=\"" NS "protocols\" Id=\"SignedData\">" \
    "<Version>1</Version><ContentHeader>" header                            \
    "</ContentHeader></LA></Challenge></challenge></AcquireLicense>"        \
    "</s:Body></s:Envelope>"
/* of "How to generate a PlayReady Header" */
#define KID_1 "PV1LM/VEVk+kEOB8qqcWDg=="
#define KID_2 "tuhDoKUN7EyxDPtMRNmhyA=="

static struct license_request request;
static const char *reason;

static void
assert_kid(unsigned index, const char *expected)
{
    struct buffer text;
    buffer_init(&text, 64);
    crypt_uuid_append(request.kids[index], &text);
    buffer_append_u8(&text, '\0');
    assert_string_equal((const char *) text.ptr, expected);
    buffer_fini(&text);
}

static int
challenge_read(const char *text)
{
    memset(&request, 0, sizeof request);
    reason = NULL;
    return playready_challenge_read(bytes_of_text(text), &request, &reason);
}

static void
kids_of_all_versions_are_found(void **state)
{
    static const char *const one[] = {
        CHALLENGE(HEADER("4.0.0.0", "<PROTECTINFO><KEYLEN>16</KEYLEN><ALGID>"
                                    "AESCTR</ALGID></PROTECTINFO><KID> " KID_1
                                    "\n</KID>")),
        CHALLENGE(HEADER("4.1.0.0", "<PROTECTINFO><KID ALGID=\"AESCTR\" VALUE="
                                    "\"" KID_1 "\"></KID></PROTECTINFO>")),
        CHALLENGE(HEADER("4.2.0.0",
                         "<PROTECTINFO><KIDS><KID VALUE=\"" KID_1
                         "\"></KID></KIDS></PROTECTINFO><CUSTOMATTRIBUTES><KID>"
                         "x</KID><KIDS><KID>y</KID></KIDS>"
                         "</CUSTOMATTRIBUTES>")),
    };
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
        assert_int_equal(challenge_read(one[i]), 0);
        assert_int_equal(request.kid_count, 1);
        assert_kid(0, "334b5d3d-44f5-4f56-a410-e07caaa7160e");
    }
    assert_int_equal(
        challenge_read(CHALLENGE(HEADER(
            "4.3.0.0", "<PROTECTINFO><KIDS><KID ALGID=\"AESCBC\" VALUE=\"" KID_1
                       "\"></KID><KID ALGID=\"AESCBC\" VALUE=\"" KID_2
                       "\"></KID></KIDS></PROTECTINFO>"))),
        0);
    assert_int_equal(request.kid_count, 2);
    assert_kid(1, "a043e8b6-0da5-4cec-b10c-fb4c44d9a1c8");
}

static void
what_is_no_challenge_is_refused(void **state)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"", "well-formed"},
        {"<a/>", "no WRMHEADER"},
        {HEADER("4.0.0.0", "<KID>" KID_1 "</KID>"), "no WRMHEADER"},
        {CHALLENGE(""), "no WRMHEADER"},
        {CHALLENGE(HEADER("4.0.0.0", "")), "no KID"},
        {CHALLENGE(HEADER("4.4.0.0", "")), "4.0 to 4.3"},
        {CHALLENGE(HEADER("4.0.0.0", "<KID>" KID_1 "AA</KID>")), "16 bytes"},
        {CHALLENGE(HEADER("4.0.0.0", "<KID>PV1L</KID>")), "16 bytes"},
        {CHALLENGE(HEADER("4.0.0.0", "<KID>" KID_1 "</KID>")
                       HEADER("4.0.0.0", "<KID>" KID_1 "</KID>")),
         "two WRMHEADERs"},
        {"<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "document type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(challenge_read(cases[i].text), ERR_INVALID);
        assert_non_null(strstr(reason, cases[i].reason));
    }
}

/* The headers of the published pages, in the canonical form that the specification
 * wants: without the white space of the pages. */
#define ONE "<KID ALGID=\"AESCTR\" VALUE=\"" KID_1 "\"></KID>"
#define PUBLISHED(kids, rest)                                               \
    "<WRMHEADER xmlns=\"" NS "PlayReadyHeader\" version=\"4.3.0.0\"><DATA>" \
    "<PROTECTINFO><KIDS>" kids "</KIDS></PROTECTINFO>" rest "</DATA>"       \
    "</WRMHEADER>"
#define LA_URL "<LA_URL>http://rm.contoso.com/rightsmanager.asmx</LA_URL>"

static void
our_objects_are_as_published(void **state)
{
    static const uint8_t kids[2][CRYPT_KEY_SIZE] = {
        {0x33, 0x4b, 0x5d, 0x3d, 0x44, 0xf5, 0x4f, 0x56, 0xa4, 0x10, 0xe0, 0x7c,
         0xaa, 0xa7, 0x16, 0x0e},
        {0xa0, 0x43, 0xe8, 0xb6, 0x0d, 0xa5, 0x4c, 0xec, 0xb1, 0x0c, 0xfb, 0x4c,
         0x44, 0xd9, 0xa1, 0xc8}};
    const struct bytes la_url =
        BYTES_LITERAL("http://rm.contoso.com/rightsmanager.asmx");
    const struct crypt_playready
        none = {0},
        service = {la_url, {0}, BYTES_LITERAL("AH+03juKbUGbHl1V/QIwRA==")},
        page = {la_url, BYTES_LITERAL("http://www.contoso.com/pay/"), {0}},
        hostile = {BYTES_LITERAL("http://a/?b&<c>"), {0}, {0}};
    const struct {
        uint32_t kid_count;
        const struct crypt_playready *playready;
        const char *expected;
    } cases[] = {
        {2, &service,
         PUBLISHED(ONE "<KID ALGID=\"AESCTR\" VALUE=\"" KID_2 "\"></KID>",
                   LA_URL "<DS_ID>AH+03juKbUGbHl1V/QIwRA==</DS_ID>")},
        {1, &page,
         PUBLISHED(ONE, LA_URL "<LUI_URL>http://www.contoso.com/pay/"
                               "</LUI_URL>")},
        {1, &none, PUBLISHED(ONE, "")},
        {1, NULL, PUBLISHED(ONE, "")},
        {1, &hostile,
         PUBLISHED(ONE, "<LA_URL>http://a/?b&amp;&lt;c&gt;</LA_URL>")},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        const struct crypt_track track = {.scheme = CRYPT_CENC,
                                          .kids = kids,
                                          .period_count = cases[n].kid_count,
                                          .playready = cases[n].playready};
        const size_t size = strlen(cases[n].expected);
        struct buffer box;
        buffer_init(&box, 4096);
        crypt_part_write(&track, CRYPT_SYSTEM_PLAYREADY, CRYPT_PART_PSSH, &box);
        assert_int_equal(box.err, 0);
        const struct bytes object = bytes_of(box.ptr + 32, box.len - 32);
        assert_int_equal(object.len, 10 + 2 * size);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(object.ptr[10 + 2 * i], cases[n].expected[i]);
            assert_int_equal(object.ptr[11 + 2 * i], 0);
        }
        memset(&request, 0, sizeof request);
        assert_int_equal(playready_object_read(object, &request, &reason), 0);
        assert_int_equal(request.kid_count, cases[n].kid_count);
        assert_memory_equal(request.kids, kids,
                            cases[n].kid_count * sizeof *kids);
        for (size_t len = 0; len < object.len; len++)
            assert_int_equal(playready_object_read(bytes_of(object.ptr, len),
                                                   &request, &reason),
                             ERR_INVALID);
        buffer_fini(&box);
    }
}

static void
sha256(const struct bytes *parts, unsigned count, uint8_t out[32])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestInit(context, EVP_sha256()), 1);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(EVP_DigestUpdate(context, parts[i].ptr, parts[i].len),
                         1);
    assert_int_equal(EVP_DigestFinal(context, out, NULL), 1);
    EVP_MD_CTX_free(context);
}

/* The published checksums of a key of the published seed for the GUIDs that were
 * read: so they are read right. */
static void
checksums_of_the_key_seed_are_as_published(void **state)
{
    static const uint8_t seed[] = {
        0x5d, 0x50, 0x68, 0xbe, 0xc9, 0xb3, 0x84, 0xff, 0x60, 0x44,
        0x86, 0x71, 0x59, 0xf1, 0x6d, 0x6b, 0x75, 0x55, 0x44, 0xfc,
        0xd5, 0x11, 0x69, 0x89, 0xb1, 0xac, 0xc4, 0x27, 0x8e, 0x88};
    static const char *const checksums[] = {"xNvWVxoWk04=", "GnKaQIRacPU="};
    assert_int_equal(
        challenge_read(CHALLENGE(
            HEADER("4.2.0.0",
                   "<PROTECTINFO><KIDS><KID ALGID=\"AESCTR\" CHECKSUM=\""
                   "xNvWVxoWk04=\" VALUE=\"0IbHou/5s0yzM80yOkKEpQ==\"></KID>"
                   "<KID ALGID=\"AESCTR\" CHECKSUM=\"GnKaQIRacPU=\" VALUE=\""
                   "/qgG2xbs4k2SKCxx6bhWqw==\"></KID></KIDS>"
                   "</PROTECTINFO>"))),
        0);
    assert_int_equal(request.kid_count, 2);
    for (unsigned n = 0; n < 2; n++) {
        static const uint8_t order[] = {3, 2, 1,  0,  5,  4,  7,  6,
                                        8, 9, 10, 11, 12, 13, 14, 15};
        uint8_t guid[16], key[16], hashes[3][32], checksum[32], text[16];
        int len;
        for (size_t i = 0; i < sizeof guid; i++)
            guid[i] = request.kids[n][order[i]];
        const struct bytes parts[] = {
            bytes_of(seed, sizeof seed), bytes_of(guid, sizeof guid),
            bytes_of(seed, sizeof seed), bytes_of(guid, sizeof guid)};
        for (unsigned i = 0; i < 3; i++)
            sha256(parts, i + 2, hashes[i]);
        for (unsigned i = 0; i < sizeof key; i++) {
            key[i] = 0;
            for (unsigned j = 0; j < 3; j++)
                key[i] ^= hashes[j][i] ^ hashes[j][i + 16];
        }
        EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
        assert_int_equal(EVP_EncryptInit(cipher, EVP_aes_128_ecb(), key, NULL),
                         1);
        assert_int_equal(EVP_EncryptUpdate(cipher, checksum, &len, guid, 16),
                         1);
        EVP_CIPHER_CTX_free(cipher);
        EVP_EncodeBlock(text, checksum, 8);
        assert_string_equal((const char *) text, checksums[n]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kids_of_all_versions_are_found),
        cmocka_unit_test(what_is_no_challenge_is_refused),
        cmocka_unit_test(our_objects_are_as_published),
        cmocka_unit_test(checksums_of_the_key_seed_are_as_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
