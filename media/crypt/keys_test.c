/* SPDX-License-Identifier: Apache-2.0 */
#include "media/crypt/keys.h"
#include "media/crypt/signal.h"

#include "core/err.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#define KID "00112233445566778899aabbccddeeff"
#define KEY "0F1E2D3C4B5A69788796A5B4C3D2E1F0"

static struct crypt_keys
keys_of(const char *text)
{
    struct crypt_keys keys;
    unsigned line;
    assert_int_equal(crypt_keys_parse(bytes_of_text(text), &keys, &line), 0);
    return keys;
}

static uint8_t
found(const struct crypt_keys *keys, const char *content, uint32_t width,
      uint32_t height)
{
    const struct track_info track = {.kind = height == 0 ? TRACK_AUDIO
                                                         : TRACK_VIDEO,
                                     .width = width,
                                     .height = height};
    const struct crypt_key *key =
        crypt_keys_find(keys, bytes_of_text(content), &track);
    return key == NULL ? 0 : key->kid[0];
}

static void
the_first_line_that_fits_gives_the_key(void **state)
{
    struct crypt_keys keys =
        keys_of("# a comment\n\n"
                "film sd 01112233445566778899aabbccddeeff " KEY "\n"
                " film\tuhd 02112233445566778899aabbccddeeff " KEY " # big\r\n"
                "film video 03112233445566778899aabbccddeeff " KEY "\n"
                "* audio 04112233445566778899aabbccddeeff " KEY " " KID "\n"
                "other * 05112233445566778899aabbccddeeff " KEY);
    assert_int_equal(keys.count, 5);
    assert_int_equal(found(&keys, "film", 1024, 576), 1);
    assert_int_equal(found(&keys, "film", 480, 854), 1);
    assert_int_equal(found(&keys, "film", 1920, 1080), 3);
    assert_int_equal(found(&keys, "film", 3840, 2160), 2);
    assert_int_equal(found(&keys, "film", 0, 0), 4);
    assert_int_equal(found(&keys, "other", 0, 0), 4);
    assert_int_equal(found(&keys, "other", 1920, 1080), 5);
    assert_int_equal(found(&keys, "stranger", 1920, 1080), 0);
    crypt_keys_fini(&keys);
}

static void
a_bad_line_is_named(void **state)
{
    static const char *const cases[] = {
        "film",
        "film sd",
        "film sd " KID,
        "film sd " KID " " KEY "0",
        "film hq " KID " " KEY,
        "film sd " KID " " KEY " 00",
        "film sd " KID " " KEY " " KID " more",
        "../x sd " KID " " KEY,
        "film sd 0g112233445566778899aabbccddeeff " KEY,
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct crypt_keys keys;
        struct buffer text;
        unsigned line;
        buffer_init(&text, 4096);
        buffer_printf(&text, "* * " KID " " KEY "\n%s\n", cases[i]);
        assert_int_equal(crypt_keys_parse(buffer_bytes(&text), &keys, &line),
                         ERR_INVALID);
        assert_int_equal(line, 2);
        buffer_fini(&text);
    }
}

/* The bytes that the registries of the systems say. */
static void
each_system_has_its_pssh(void **state)
{
    static const uint8_t widevine_scheme[] = {0x48, 0xe3, 0xdc,
                                              0x95, 0x9b, 0x06};
    struct crypt_keys keys = keys_of("* * " KID " " KEY);
    const struct track_info track = {.kind = TRACK_AUDIO};
    const struct crypt crypt = {
        .scheme = CRYPT_CENC,
        .key = *crypt_keys_find(&keys, BYTES_LITERAL("x"), &track)};
    struct crypt_systems systems = {.has_widevine = true};
    struct buffer out;
    buffer_init(&out, 4096);
    crypt_pssh_write(&crypt, &systems, &out);
    assert_int_equal(load_be32(out.ptr), out.len);
    assert_int_equal(out.len, 32 + 24);
    assert_memory_equal(out.ptr + 34, crypt.key.kid, 16);
    assert_memory_equal(out.ptr + 50, widevine_scheme, 6);
    out.len = 0;
    systems = (struct crypt_systems){.has_clearkey = true};
    crypt_pssh_write(&crypt, &systems, &out);
    assert_int_equal(out.len, 52);
    assert_int_equal(out.ptr[8], 1); /* with the KID in the box itself */
    assert_memory_equal(out.ptr + 32, crypt.key.kid, 16);
    out.len = 0;
    systems = (struct crypt_systems){.has_playready = true};
    crypt_pssh_write(&crypt, &systems, &out);
    assert_int_equal(load_be32(out.ptr), out.len);
    assert_int_equal(load_le32(out.ptr + 32), out.len - 32);
    assert_int_equal(load_le16(out.ptr + 40), out.len - 42);
    buffer_fini(&out);
    crypt_keys_fini(&keys);
}

/* How many times, and where the last time. */
static unsigned
count_of(const struct buffer *text, const char *part, const char **last)
{
    unsigned count = 0;
    const char *at = (const char *) text->ptr;
    while ((at = strstr(at, part)) != NULL) {
        *last = at++;
        count++;
    }
    return count;
}

/* Three pictures, of which two have one key, and sound. */
static void
each_key_has_a_set_of_its_own(void **state)
{
    static const char mpd[] =
        "<Period>\n"
        "<AdaptationSet contentType=\"video\">\n"
        "<SegmentTemplate/>\n"
        "<Representation id=\"v0\" bandwidth=\"1\"/>\n"
        "<Representation id=\"v10\" bandwidth=\"2\">\n"
        "<More/>\n</Representation>\n"
        "<Representation id=\"v1\" bandwidth=\"3\"/>\n"
        "</AdaptationSet>\n"
        "<AdaptationSet contentType=\"audio\">\n"
        "<AudioChannelConfiguration/>\n"
        "<SupplementalProperty/>\n"
        "<Representation id=\"a0\" bandwidth=\"4\"/>\n"
        "</AdaptationSet>\n"
        "</Period>\n";
    static const char video[] =
        "<Period>\n"
        "<AdaptationSet id=\"1\" contentType=\"video\">\n"
        "<ContentProtection schemeIdUri=\"urn:mpeg:dash:mp4protection:2011\""
        " value=\"cenc\" xmlns:cenc=\"urn:mpeg:cenc:2013\" cenc:default_KID=\""
        "01000000-0000-0000-0000-000000000000\"/>\n"
        "<SupplementalProperty schemeIdUri=\"urn:mpeg:dash:"
        "adaptation-set-switching:2016\" value=\"2\"/>\n"
        "<SegmentTemplate/>\n"
        "<Representation id=\"v0\" bandwidth=\"1\"/>\n"
        "<Representation id=\"v1\" bandwidth=\"3\"/>\n"
        "</AdaptationSet>\n"
        "<AdaptationSet id=\"2\" contentType=\"video\">\n";
    static const struct crypt_systems none;
    static struct asset asset = {.track_count = 4,
                                 .tracks = {{.name = "v0"},
                                            {.name = "v1"},
                                            {.name = "v10"},
                                            {.name = "a0"}}};
    struct crypt crypts[4] = {{.scheme = CRYPT_CENC, .key.kid = {1}},
                              {.scheme = CRYPT_CENC, .key.kid = {1}},
                              {.scheme = CRYPT_CENC, .key.kid = {2}},
                              {.scheme = CRYPT_CENC, .key.kid = {3}}};
    struct buffer out;
    const char *at;
    buffer_init(&out, 8192);
    crypt_mpd_write(bytes_of_text(mpd), &asset, crypts, &none, &out);
    buffer_append_u8(&out, 0);
    assert_int_equal(out.err, 0);
    assert_memory_equal(out.ptr, video, sizeof video - 1);
    assert_int_equal(count_of(&out, "<AdaptationSet", &at), 3);
    assert_ptr_equal(strstr(at, "<AdaptationSet contentType=\"audio\">\n"
                                "<AudioChannelConfiguration/>\n"
                                "<ContentProtection"),
                     at);
    assert_int_equal(count_of(&out, "<ContentProtection", &at), 3);
    assert_int_equal(count_of(&out, "<Representation", &at), 4);
    assert_int_equal(count_of(&out, "</AdaptationSet>\n</Period>\n", &at), 1);
    out.len = 0;
    asset.track_count = 3; /* now the sound is of no track */
    crypt_mpd_write(bytes_of_text(mpd), &asset, crypts, &none, &out);
    assert_int_equal(out.err, ERR_INVALID);
    buffer_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_line_that_fits_gives_the_key),
        cmocka_unit_test(a_bad_line_is_named),
        cmocka_unit_test(each_system_has_its_pssh),
        cmocka_unit_test(each_key_has_a_set_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
