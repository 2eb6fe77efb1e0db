/* SPDX-License-Identifier: Apache-2.0 */
/* What a provider gives of a key stands where ours would. */
#include "media/crypt/signal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#define TEXT(s) BYTES_LITERAL(s)
#define HELLO "aGVsbG8=" /* "hello" */

/* A box of PlayReady's with "hello" in it, of version 1 with one KID. */
static const uint8_t box[] = {
    0,    0,    0,    57,   'p',  's',  's',  'h',  1,    0,    0,    0,
    0x9a, 0x04, 0xf0, 0x79, 0x98, 0x40, 0x42, 0x86, 0xab, 0x92, 0xe6, 0x5b,
    0xe0, 0x88, 0x5f, 0x95, 0,    0,    0,    1,    1,    2,    3,    4,
    5,    6,    7,    8,    9,    10,   11,   12,   13,   14,   15,   16,
    0,    0,    0,    5,    'h',  'e',  'l',  'l',  'o'};

/* Two periods; what is given of the second one's key is `signals`. */
struct film {
    struct crypt_track track;
    const struct crypt_signals *list[2];
    uint8_t kids[2][CRYPT_KEY_SIZE];
};

static const struct crypt_track *
film_of(struct film *film, const struct crypt_signals *first,
        const struct crypt_signals *second)
{
    *film = (struct film){.list = {first, second}, .kids = {{1}, {2}}};
    film->track = (struct crypt_track){
        .scheme = CRYPT_CBCS,
        .kids = (const uint8_t(*)[CRYPT_KEY_SIZE]) film->kids,
        .period_count = 2,
        .period_segments = 1,
        .signals = film->list};
    return &film->track;
}

static void
check_text(struct buffer *out, const char *expected)
{
    buffer_append_u8(out, '\0');
    assert_int_equal(out->err, 0);
    assert_string_equal((const char *) out->ptr, expected);
    out->len = 0;
}

static void
boxes_that_are_given_stand_behind_what_is_made_for_the_others(void **state)
{
    static const struct crypt_systems systems = {.has_widevine = true};
    static const struct crypt_signals given = {
        .parts[CRYPT_SYSTEM_WIDEVINE][CRYPT_PART_PSSH] = {
            (const uint8_t *) "boxes", 5}};
    struct film film;
    struct buffer out;
    buffer_init(&out, 4096);
    crypt_pssh_write(film_of(&film, NULL, &given), &systems, &out);
    assert_int_equal(out.len, 32 + 24 + 5);
    assert_memory_equal(out.ptr + 34, film.kids[0], CRYPT_KEY_SIZE);
    assert_memory_equal(out.ptr + 56, "boxes", 5);
    out.len = 0; /* the same of both keys: once, and nothing of ours */
    crypt_pssh_write(film_of(&film, &given, &given), &systems, &out);
    check_text(&out, "boxes");
    buffer_fini(&out);
}

#define MAP "#EXT-X-MAP:URI=\"init.mp4\"\n"
#define SEGMENT(n) "#EXTINF:1,\n" n ".m4s\n"
#define PLAYLIST "#EXTM3U\n" MAP SEGMENT("0") SEGMENT("1")
#define SKD(tag)                                                              \
    "#" tag ":METHOD=SAMPLE-AES,URI=\"skd://01000000000000000000000000000000" \
    "\",KEYFORMAT=\"com.apple.streamingkeydelivery\",KEYFORMATVERSIONS="      \
    "\"1\"\n"

static void
lines_that_are_given_are_those_of_the_playlist(void **state)
{
    static const struct crypt_systems systems = {.has_fairplay = true};
    const struct crypt_signals given = {
        .parts[CRYPT_SYSTEM_FAIRPLAY][CRYPT_PART_MEDIA] = TEXT("#A\n#B\n")};
    struct film film;
    struct buffer out;
    buffer_init(&out, 4096);
    crypt_playlist_write(TEXT(PLAYLIST), film_of(&film, NULL, &given), &systems,
                         &out);
    check_text(&out, "#EXTM3U\n" SKD("EXT-X-KEY")
                         MAP SEGMENT("0") "#A\n#B\n" SEGMENT("1"));
    buffer_fini(&out);
}

#define MULTIVARIANT "#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n"

static void
a_session_has_the_lines_that_are_given_for_it(void **state)
{
    static const struct crypt_systems systems = {.has_fairplay = true};
    struct crypt_signals given = {
        .parts[CRYPT_SYSTEM_FAIRPLAY][CRYPT_PART_MULTIVARIANT] = TEXT("#C\n")};
    struct film film;
    struct buffer out;
    buffer_init(&out, 4096);
    crypt_multivariant_write(TEXT(MULTIVARIANT), film_of(&film, &given, NULL),
                             1, &systems, &out);
    check_text(&out, MULTIVARIANT "#C\n");
    /* it is of the first period's key */
    crypt_multivariant_write(TEXT(MULTIVARIANT), film_of(&film, NULL, &given),
                             1, &systems, &out);
    check_text(&out, MULTIVARIANT SKD("EXT-X-SESSION-KEY"));
    /* what is said in media playlists alone is not said otherwise here */
    given = (struct crypt_signals){
        .parts[CRYPT_SYSTEM_FAIRPLAY][CRYPT_PART_MEDIA] = TEXT("#A\n")};
    crypt_multivariant_write(TEXT(MULTIVARIANT), film_of(&film, &given, NULL),
                             1, &systems, &out);
    check_text(&out, MULTIVARIANT);
    buffer_fini(&out);
}

static void
tags_that_are_made_have_the_box_that_is_given(void **state)
{
    const struct crypt_systems systems = {.has_playready = true};
    const struct crypt_signals given = {
        .parts[CRYPT_SYSTEM_PLAYREADY][CRYPT_PART_PSSH] = {box, sizeof box}};
    struct film film;
    struct buffer out;
    buffer_init(&out, 4096);
    crypt_multivariant_write(TEXT(MULTIVARIANT), film_of(&film, &given, NULL),
                             1, &systems, &out);
    check_text(&out,
               MULTIVARIANT "#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI=\"data:"
                            "text/plain;charset=UTF-16;base64," HELLO
                            "\",KEYFORMAT=\"com.microsoft.playready\","
                            "KEYFORMATVERSIONS=\"1\"\n");
    buffer_fini(&out);
}

#define PROTECTION "<ContentProtection schemeIdUri=\"urn:uuid:"
#define END "</ContentProtection>\n"
#define MPD_HEAD "<AdaptationSet contentType=\"video\">\n"
#define MPD_TAIL "<Representation id=\"v0\"/>\n</AdaptationSet>\n"
#define KID                                                                \
    "<ContentProtection schemeIdUri=\"urn:mpeg:dash:mp4protection:2011\" " \
    "value=\"cbcs\" xmlns:cenc=\"urn:mpeg:cenc:2013\" cenc:default_KID=\"" \
    "01000000-0000-0000-0000-000000000000\"/>\n"

static void
an_mpd_has_what_is_given_for_it_or_the_boxes(void **state)
{
    static const struct crypt_systems systems = {.has_widevine = true};
    static struct asset asset = {.track_count = 1, .tracks = {{.name = "v0"}}};
    const struct crypt_signals first = {
        .parts[CRYPT_SYSTEM_WIDEVINE] = {[CRYPT_PART_PROTECTION] = TEXT("<a/>"),
                                         [CRYPT_PART_PSSH] = TEXT("other")}};
    const struct crypt_signals second = {
        .parts[CRYPT_SYSTEM_WIDEVINE][CRYPT_PART_PSSH] = TEXT("hello")};
    struct film film;
    struct buffer out;
    buffer_init(&out, 4096);
    crypt_mpd_write(TEXT(MPD_HEAD MPD_TAIL), &asset,
                    film_of(&film, &first, &second), &systems, &out);
    check_text(&out, MPD_HEAD KID PROTECTION CRYPT_WIDEVINE
               "\"" CRYPT_PROTECTION_PREFIXES
               "><a/>" END PROTECTION CRYPT_WIDEVINE
               "\"><cenc:pssh xmlns:cenc=\"urn:mpeg:cenc:2013\">" HELLO
               "</cenc:pssh>" END MPD_TAIL);
    buffer_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            boxes_that_are_given_stand_behind_what_is_made_for_the_others),
        cmocka_unit_test(lines_that_are_given_are_those_of_the_playlist),
        cmocka_unit_test(a_session_has_the_lines_that_are_given_for_it),
        cmocka_unit_test(tags_that_are_made_have_the_box_that_is_given),
        cmocka_unit_test(an_mpd_has_what_is_given_for_it_or_the_boxes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
