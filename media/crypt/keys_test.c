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
found_in(const struct crypt_keys *keys, const char *folder,
         enum crypt_class class, uint32_t period)
{
    const struct crypt_key_name name = {
        .folder = bytes_of_text(folder), .class = class, .period = period};
    const struct crypt_key *key = crypt_keys_find(keys, &name);
    return key == NULL ? 0 : key->kid[0];
}

static uint8_t
found(const struct crypt_keys *keys, const char *folder, uint32_t width,
      uint32_t height)
{
    const struct track_info track = {.kind = height == 0 ? TRACK_AUDIO
                                                         : TRACK_VIDEO,
                                     .width = width,
                                     .height = height};
    return found_in(keys, folder, crypt_class_of(&track), 0);
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
    assert_int_equal(found(&keys, "film/1", 1024, 576), 1);
    assert_int_equal(found(&keys, "film/1", 480, 854), 1);
    assert_int_equal(found(&keys, "film/1", 1920, 1080), 3);
    assert_int_equal(found(&keys, "film/1", 3840, 2160), 2);
    assert_int_equal(found(&keys, "film/1", 0, 0), 4);
    assert_int_equal(found(&keys, "other/1", 0, 0), 4);
    assert_int_equal(found(&keys, "other/1", 1920, 1080), 5);
    assert_int_equal(found(&keys, "stranger/1", 1920, 1080), 0);
    crypt_keys_fini(&keys);
}

static void
a_line_may_be_of_one_version_or_period(void **state)
{
    struct crypt_keys keys =
        keys_of("film/2 hd:1 01112233445566778899aabbccddeeff " KEY "\n"
                "film hd:1 02112233445566778899aabbccddeeff " KEY "\n"
                "film/2 * 03112233445566778899aabbccddeeff " KEY "\n"
                "* video:255 04112233445566778899aabbccddeeff " KEY "\n");
    assert_int_equal(found_in(&keys, "film/2", CRYPT_CLASS_HD, 1), 1);
    assert_int_equal(found_in(&keys, "film/1", CRYPT_CLASS_HD, 1), 2);
    assert_int_equal(found_in(&keys, "film/2", CRYPT_CLASS_HD, 0), 3);
    assert_int_equal(found_in(&keys, "film/2", CRYPT_CLASS_SD, 1), 3);
    assert_int_equal(found_in(&keys, "film/1", CRYPT_CLASS_HD, 0), 0);
    assert_int_equal(found_in(&keys, "film/22", CRYPT_CLASS_HD, 1), 2);
    assert_int_equal(found_in(&keys, "fil/2", CRYPT_CLASS_HD, 1), 0);
    assert_int_equal(found_in(&keys, "fil/2", CRYPT_CLASS_UHD, 255), 4);
    assert_int_equal(found_in(&keys, "fil/2", CRYPT_CLASS_AUDIO, 255), 0);
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
        "film/ sd " KID " " KEY,
        "film/1/2 sd " KID " " KEY,
        "*/1 sd " KID " " KEY,
        "film sd: " KID " " KEY,
        "film sd:256 " KID " " KEY,
        "film sd:-1 " KID " " KEY,
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
    static const uint8_t kids[2][CRYPT_KEY_SIZE] = {{1, 2}, {3, 4}};
    struct crypt_track track = {
        .scheme = CRYPT_CENC, .kids = kids, .period_count = 1};
    struct crypt_systems systems = {.has_widevine = true};
    struct buffer out;
    buffer_init(&out, 65536);
    crypt_pssh_write(&track, &systems, &out);
    assert_int_equal(load_be32(out.ptr), out.len);
    assert_int_equal(out.len, 32 + 24);
    assert_memory_equal(out.ptr + 34, kids[0], 16);
    assert_memory_equal(out.ptr + 50, widevine_scheme, 6);
    out.len = 0;
    systems = (struct crypt_systems){.has_clearkey = true};
    crypt_pssh_write(&track, &systems, &out);
    assert_int_equal(out.len, 52);
    assert_int_equal(out.ptr[8], 1); /* with the KID in the box itself */
    assert_memory_equal(out.ptr + 32, kids[0], 16);
    out.len = 0;
    systems = (struct crypt_systems){.has_playready = true};
    crypt_pssh_write(&track, &systems, &out);
    assert_int_equal(load_be32(out.ptr), out.len);
    assert_int_equal(load_le32(out.ptr + 32), out.len - 32);
    assert_int_equal(load_le16(out.ptr + 40), out.len - 42);
    buffer_fini(&out);
}

static void
boxes_hold_the_keys_of_all_periods_to_a_limit(void **state)
{
    static const uint8_t kids[100][CRYPT_KEY_SIZE] = {{1, 2}, {3, 4}};
    struct crypt_track track = {
        .scheme = CRYPT_CBCS, .kids = kids, .period_count = 2};
    struct crypt_systems systems = {.has_widevine = true};
    struct buffer out;
    buffer_init(&out, 65536);
    crypt_pssh_write(&track, &systems, &out);
    assert_int_equal(load_be32(out.ptr), out.len);
    assert_int_equal(out.len, 32 + 2 * 18 + 6);
    assert_memory_equal(out.ptr + 34, kids[0], 16);
    assert_memory_equal(out.ptr + 52, kids[1], 16);
    out.len = 0;
    systems = (struct crypt_systems){.has_clearkey = true};
    crypt_pssh_write(&track, &systems, &out);
    assert_int_equal(out.len, 68);
    assert_int_equal(load_be32(out.ptr + 28), 2);
    assert_memory_equal(out.ptr + 32, kids, 32);
    out.len = 0;
    track.period_count = 100;
    crypt_pssh_write(&track, &systems, &out);
    assert_int_equal(load_be32(out.ptr + 28), 64);
    assert_int_equal(out.len, 36 + 64 * 16);
    out.len = 0;
    systems = (struct crypt_systems){.has_playready = true};
    crypt_pssh_write(&track, &systems, &out);
    assert_int_equal(out.err, 0);
    assert_int_equal(load_be32(out.ptr), out.len);
    assert_true(out.len < 15360);
    buffer_fini(&out);
}

static void
a_playlist_has_a_key_where_a_period_starts(void **state)
{
    static const char clear[] = "#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\"\n"
                                "#EXTINF:1,\n0.m4s\n#EXTINF:1,\n1.m4s\n"
                                "#EXTINF:1,\n2.m4s\n#EXTINF:1,\n3.m4s\n"
                                "#EXTINF:1,\n4.m4s\n#EXT-X-ENDLIST\n";
    /* the second period has the first one's key */
    static const uint8_t kids[3][CRYPT_KEY_SIZE] = {{1}, {1}, {2}};
#define SKD(n)                                                \
    "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://0" n            \
    "000000000000000000000000000000\",KEYFORMAT=\"com.apple." \
    "streamingkeydelivery\",KEYFORMATVERSIONS=\"1\"\n"
    static const char expected[] =
        "#EXTM3U\n" SKD("1") "#EXT-X-MAP:URI=\"init.mp4\"\n"
                             "#EXTINF:1,\n0.m4s\n#EXTINF:1,\n1.m4s\n"
                             "#EXTINF:1,\n2.m4s\n#EXTINF:1,\n3.m4s\n" SKD(
                                 "2") "#EXTINF:1,\n4.m4s\n#EXT-X-ENDLIST\n";
    static const struct crypt_systems systems = {.has_fairplay = true};
    const struct crypt_track track = {.scheme = CRYPT_CBCS,
                                      .kids = kids,
                                      .period_count = 3,
                                      .period_segments = 2};
    struct buffer out;
    buffer_init(&out, 4096);
    crypt_playlist_write(bytes_of_text(clear), &track, &systems, &out);
    assert_int_equal(out.len, sizeof expected - 1);
    assert_memory_equal(out.ptr, expected, out.len);
    /* a part of the film, in which only the third period is */
    static const char part[] = "#EXT-X-MAP:URI=\"init.mp4\"\n"
                               "#EXTINF:1,\n../4.m4s\n#EXTINF:1,\n../5.m4s\n";
    static const char part_expected[] =
        SKD("2") "#EXT-X-MAP:URI=\"init.mp4\"\n"
                 "#EXTINF:1,\n../4.m4s\n#EXTINF:1,\n../5.m4s\n";
    out.len = 0;
    crypt_playlist_write(bytes_of_text(part), &track, &systems, &out);
    assert_int_equal(out.len, sizeof part_expected - 1);
    assert_memory_equal(out.ptr, part_expected, out.len);
    buffer_fini(&out);
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
    static const char mpd[] = "<Period>\n"
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
    static struct asset asset = {
        .track_count = 4,
        .tracks = {
            {.name = "v0"}, {.name = "v1"}, {.name = "v10"}, {.name = "a0"}}};
    static const uint8_t kids[3][CRYPT_KEY_SIZE] = {{1}, {2}, {3}};
    const struct crypt_track tracks[4] = {
        {CRYPT_CENC, kids, 1, 0, NULL, NULL, NULL, NULL, 0},
        {CRYPT_CENC, kids, 1, 0, NULL, NULL, NULL, NULL, 0},
        {CRYPT_CENC, kids + 1, 1, 0, NULL, NULL, NULL, NULL, 0},
        {CRYPT_CENC, kids + 2, 1, 0, NULL, NULL, NULL, NULL, 0}};
    struct buffer out;
    const char *at = "";
    buffer_init(&out, 8192);
    crypt_mpd_write(bytes_of_text(mpd), &asset, tracks, &none, &out);
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
    crypt_mpd_write(bytes_of_text(mpd), &asset, tracks, &none, &out);
    assert_int_equal(out.err, ERR_INVALID);
    buffer_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_line_that_fits_gives_the_key),
        cmocka_unit_test(a_line_may_be_of_one_version_or_period),
        cmocka_unit_test(a_bad_line_is_named),
        cmocka_unit_test(each_system_has_its_pssh),
        cmocka_unit_test(boxes_hold_the_keys_of_all_periods_to_a_limit),
        cmocka_unit_test(a_playlist_has_a_key_where_a_period_starts),
        cmocka_unit_test(each_key_has_a_set_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
