/* SPDX-License-Identifier: Apache-2.0 */
/* Where an MPD names the keys. */
#include "media/crypt/signal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define HEAD "<MPD>\n<Period>\n"
#define SET "<AdaptationSet contentType=\"video\">\n"
#define V0 "<Representation id=\"v0\" bandwidth=\"2\"/>\n"
#define V1 "<Representation id=\"v1\" bandwidth=\"1\"/>\n"
#define END "</AdaptationSet>\n"
#define CHANNELS "<AudioChannelConfiguration value=\"2\"/>\n"
#define SOUND "<Label>A</Label>\n<Representation id=\"a0\"/>\n"
#define TAIL "</Period>\n</MPD>\n"
#define KEY(digit)                                                            \
    "<ContentProtection schemeIdUri=\"urn:mpeg:dash:mp4protection:2011\" "    \
    "value=\"cbcs\" xmlns:cenc=\"urn:mpeg:cenc:2013\" "                       \
    "cenc:default_KID=\"" digit digit digit digit digit digit digit digit     \
    "-" digit digit digit digit "-" digit digit digit digit                   \
    "-" digit digit digit digit "-" digit digit digit digit digit digit digit \
        digit digit digit digit digit "\"/>\n"

/* Tracks v0, v1, a0 with keys of these bytes; 0: in the clear. */
static void
check(const uint8_t keys[3], const char *mpd, const char *expected)
{
    static const char names[][3] = {"v0", "v1", "a0"};
    static const struct crypt_systems none;
    struct asset *asset = calloc(1, sizeof *asset);
    uint8_t kids[3][CRYPT_KEY_SIZE];
    struct crypt_track tracks[3] = {{0}};
    struct buffer out;
    assert_non_null(asset);
    asset->track_count = 3;
    for (int i = 0; i < 3; i++) {
        memcpy(asset->tracks[i].name, names[i], sizeof names[i]);
        memset(kids[i], keys[i], sizeof kids[i]);
        tracks[i].scheme = keys[i] != 0 ? CRYPT_CBCS : 0;
        tracks[i].kids = (const void *) &kids[i];
        tracks[i].period_count = 1;
    }
    buffer_init(&out, 1u << 16);
    crypt_mpd_write(bytes_of_text(mpd), asset, tracks, &none, &out);
    buffer_append_u8(&out, '\0');
    assert_int_equal(out.err, 0);
    assert_string_equal((const char *) out.ptr, expected);
    buffer_fini(&out);
    free(asset);
}

static void
one_key_of_a_set_is_named_once(void **state)
{
    (void) state;
    check((const uint8_t[]){0x11, 0x11, 0x22},
          HEAD SET V0 V1 END SET CHANNELS SOUND END TAIL,
          HEAD SET KEY("1") V0 V1 END SET CHANNELS KEY("2") SOUND END TAIL);
}

static void
what_is_in_the_clear_has_none(void **state)
{
    (void) state;
    check((const uint8_t[]){0x11, 0x11, 0},
          HEAD SET V0 V1 END SET CHANNELS SOUND END TAIL,
          HEAD SET KEY("1") V0 V1 END SET CHANNELS SOUND END TAIL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_key_of_a_set_is_named_once),
        cmocka_unit_test(what_is_in_the_clear_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
