/* SPDX-License-Identifier: Apache-2.0 */

/* What HLS and DASH say of a track beside its codec. */

#include "core/err.h"
#include "media/testing/track.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct track_info
track(enum track_kind kind, const char *name, const char *codecs)
{
    return test_info(kind, name, codecs, "und", "");
}

/* Both, one behind the other, as a text; after a way through the file. */
static const char *
signalled(const struct asset *asset, struct buffer *out)
{
    static struct asset decoded;
    struct buffer file;
    buffer_init(&file, ASSET_SIZE_MAX);
    buffer_init(out, 1u << 20);
    assert_int_equal(asset_encode(asset, &file), 0);
    assert_int_equal(asset_decode(buffer_bytes(&file), &decoded), 0);
    hls_multivariant_write(&decoded, NULL, out);
    dash_mpd_write(&decoded, NULL, out);
    buffer_fini(&file);
    return test_text(out);
}

static unsigned
count_of(const char *text, const char *what)
{
    unsigned count = 0;
    while ((text = strstr(text, what)) != NULL) {
        text++;
        count++;
    }
    return count;
}

static void
the_range_of_a_picture_is_told(void **state)
{
    static struct asset asset;
    struct buffer b;
    asset.track_count = 4;
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "v%d", i);
        asset.tracks[i] = track(TRACK_VIDEO, name, "hvc1.2.4.L153.90");
    }
    asset.tracks[0].video_range = VIDEO_RANGE_PQ;
    asset.tracks[1].video_range = VIDEO_RANGE_HLG;
    asset.tracks[2].video_range = VIDEO_RANGE_SDR;
    const char *text = signalled(&asset, &b);
    assert_int_equal(count_of(text, ",VIDEO-RANGE=PQ\n"), 1);
    assert_int_equal(count_of(text, ",VIDEO-RANGE=HLG\n"), 1);
    assert_int_equal(count_of(text, ",VIDEO-RANGE=SDR\n"), 1);
    /* a player does not switch between ranges */
    assert_int_equal(count_of(text, "<AdaptationSet"), 3);
#define TRANSFER "\"urn:mpeg:mpegB:cicp:TransferCharacteristics\" value="
    assert_int_equal(count_of(text, TRANSFER "\"16\""), 1);
    assert_int_equal(count_of(text, TRANSFER "\"18\""), 1);
    buffer_fini(&b);
}

static void
the_channels_of_a_sound_are_told(void **state)
{
    static const struct {
        uint32_t channels, map, joc;
        const char *hls, *dash;
    } cases[] = {
        {2, 0, 0, "CHANNELS=\"2\"",
         "\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" "
         "value=\"2\""},
        {6, 0, 0, "CHANNELS=\"6\"",
         "\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" "
         "value=\"6\""},
        {8, 0, 0, "CHANNELS=\"8\"",
         "\"urn:mpeg:mpegB:cicp:ChannelConfiguration\" value=\"12\""},
        {6, 0xf801, 0, "CHANNELS=\"6\"",
         "\"tag:dolby.com,2014:dash:audio_channel_configuration:2011\" "
         "value=\"F801\""},
        {6, 0xf801, 16, "CHANNELS=\"16/JOC\"",
         "\"tag:dolby.com,2018:dash:EC3_ExtensionComplexityIndex:2018\" "
         "value=\"16\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct asset asset;
        struct buffer b;
        asset.track_count = 2;
        asset.tracks[0] = track(TRACK_VIDEO, "v0", "hvc1.2.4.L153.90");
        asset.tracks[1] = track(TRACK_AUDIO, "a0", "ec-3");
        asset.tracks[1].channels = cases[i].channels;
        asset.tracks[1].channel_map = cases[i].map;
        asset.tracks[1].joc_complexity = cases[i].joc;
        const char *text = signalled(&asset, &b);
        assert_int_equal(count_of(text, cases[i].hls), 1);
        assert_int_equal(count_of(text, cases[i].dash), 1);
        assert_int_equal(count_of(text, "value=\"JOC\""), cases[i].joc != 0);
        buffer_fini(&b);
    }
}

static void
a_range_that_is_none_is_refused(void **state)
{
    static struct asset asset;
    struct buffer b;
    asset.track_count = 1;
    asset.tracks[0] = track(TRACK_VIDEO, "v0", "hvc1.2.4.L153.90");
    asset.tracks[0].video_range = (enum video_range) 4;
    buffer_init(&b, ASSET_SIZE_MAX);
    assert_int_equal(asset_encode(&asset, &b), ERR_INVALID);
    buffer_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_range_of_a_picture_is_told),
        cmocka_unit_test(the_channels_of_a_sound_are_told),
        cmocka_unit_test(a_range_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
