/* SPDX-License-Identifier: Apache-2.0 */

#include "core/err.h"
#include "media/sealed.h"
#include "media/track_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint8_t entry[] = {0, 0, 0, 12, 'a', 'v', 'c', '1', 1, 2, 3, 4};
/* one segment of 48048 ticks; two of 20000 and one of 8048 */
static const uint8_t one[] = {0xb0, 0xbb, 0, 0, 1, 0, 0, 0};
static const uint8_t three[] = {0x20, 0x4e, 0, 0, 2, 0, 0, 0,
                                0x70, 0x1f, 0, 0, 1, 0, 0, 0};

static struct track_info
good_track(const char *name)
{
    struct track_info t = {
        .kind = TRACK_VIDEO,
        .codecs = "avc1.64001f",
        .language = "und",
        .label = "1280×720",
        .timescale = 24000,
        .duration = 48048,
        .media_size = 123456789012,
        .sample_count = 48,
        .segment_count = 1,
        .segment_duration_max = 48048,
        .bandwidth_peak = 2000000,
        .bandwidth_average = 1500000,
        .media_time = 2002,
        .width = 1280,
        .height = 720,
        .frame_rate_num = 24000,
        .frame_rate_den = 1001,
        .channels = 6,
        .sample_rate = 48000,
        .sample_entry = {entry, sizeof entry},
        .timeline = {one, sizeof one},
    };
    snprintf(t.name, sizeof t.name, "%s", name);
    return t;
}

static void
an_asset_comes_back_as_it_was(void **state)
{
    static struct asset asset, back;
    struct buffer b, again;
    asset.track_count = ASSET_TRACKS_MAX;
    for (int i = 0; i < ASSET_TRACKS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "v%d", i);
        asset.tracks[i] = good_track(name);
        asset.tracks[i].bandwidth_peak += (uint32_t) i;
    }
    buffer_init(&b, ASSET_SIZE_MAX);
    assert_int_equal(asset_encode(&asset, &b), 0);
    assert_int_equal(asset_decode(buffer_bytes(&b), &back), 0);
    assert_int_equal(back.track_count, ASSET_TRACKS_MAX);
    for (int i = 0; i < ASSET_TRACKS_MAX; i++) {
        const struct track_info *t = &back.tracks[i];
        assert_string_equal(t->name, asset.tracks[i].name);
        assert_string_equal(t->label, "1280×720");
        assert_int_equal(t->bandwidth_peak, 2000000 + i);
        assert_int_equal(t->media_size, 123456789012);
        assert_int_equal(t->media_time, 2002);
        assert_true(
            bytes_equal(t->sample_entry, bytes_of(entry, sizeof entry)));
        assert_true(bytes_equal(t->timeline, bytes_of(one, sizeof one)));
    }
    buffer_init(&again, ASSET_SIZE_MAX);
    assert_int_equal(asset_encode(&back, &again), 0);
    assert_true(bytes_equal(buffer_bytes(&again), buffer_bytes(&b)));
    buffer_fini(&again);
    buffer_fini(&b);
}

static void
what_would_break_a_playlist_is_refused(void **state)
{
    struct track_info t = good_track("v0");
    assert_int_equal(track_info_check(&t), 0);
    static const char *const names[] = {
        "", "v/0", "..", "v 0", "v\n", "é", "0123456789abcdef"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        t = good_track("v0");
        memcpy(t.name, names[i], strlen(names[i]) + (i < 6));
        assert_int_equal(track_info_check(&t), ERR_INVALID);
    }
    static const char *const labels[] = {"a\"b", "a\nb",     "\x7f",     "\xff",
                                         "\xc3", "\xc0\x80", "a\xe2\x82"};
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        t = good_track("v0");
        snprintf(t.label, sizeof t.label, "%s", labels[i]);
        assert_int_equal(track_info_check(&t), ERR_INVALID);
    }
#define REFUSED(change)                                      \
    do {                                                     \
        t = good_track("v0");                                \
        change;                                              \
        assert_int_equal(track_info_check(&t), ERR_INVALID); \
    } while (0)
    REFUSED(t.kind = 0);
    REFUSED(t.codecs[0] = ',');
    REFUSED(t.codecs[0] = 0);
    REFUSED(t.language[0] = 0);
    REFUSED(t.language[0] = '"');
    REFUSED(t.timescale = 0);
    REFUSED(t.segment_count = 0);
    REFUSED(t.segment_count = 49);
    REFUSED(t.frame_rate_den = 0);
    REFUSED(t.media_time = -1);
    REFUSED(t.sample_entry.len = 7);
    REFUSED(t.sample_entry.len = 11);
#undef REFUSED
}

static void
a_text_is_forced_or_not(void **state)
{
    static struct asset asset, back;
    struct buffer b;
    buffer_init(&b, ASSET_SIZE_MAX);
    asset.track_count = 3;
    for (size_t i = 0; i < 3; i++) {
        asset.tracks[i] = good_track(i == 0 ? "a0" : i == 1 ? "s0" : "s1");
        asset.tracks[i].kind = i == 0 ? TRACK_AUDIO : TRACK_TEXT;
        asset.tracks[i].is_forced = i == 2;
        if (i > 0)
            asset.tracks[i].sample_entry.len = 0;
    }
    assert_int_equal(asset_encode(&asset, &b), 0);
    assert_int_equal(asset_decode(buffer_bytes(&b), &back), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(back.tracks[i].is_forced, i == 2);
        assert_int_equal(back.tracks[i].channels, i == 0 ? 6 : 0);
    }
    buffer_fini(&b);
}

static void
a_timeline_is_as_long_as_its_track(void **state)
{
    struct track_info t = good_track("v0");
    uint8_t runs[sizeof three];
    t.segment_count = 3;
    t.timeline = bytes_of(three, sizeof three);
    assert_int_equal(track_info_check(&t), 0);
    t.timeline.ptr = runs;
    static const uint32_t wrong[][4] = {
        {20000, 2, 8049, 1}, /* longer, shorter */
        {20000, 2, 8047, 1},
        {20000, 1, 28048, 1}, /* fewer segments, and more */
        {10000, 4, 8048, 1},
        {16016, 2, 16016, 1},      /* runs that are one */
        {48048, 0, 16016, 3},      /* an empty one */
        {0, 1, 24024, 2},          /* segments of nothing */
        {16016, 0xffffffff, 1, 4}, /* counts that wrap around */
        {48049, 1, 4294967295, 1},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        for (size_t n = 0; n < 4; n++)
            store_le32(runs + 4 * n, wrong[i][n]);
        assert_int_equal(track_info_check(&t), ERR_INVALID);
    }
    t.timeline.ptr = three;
    static const size_t lens[] = {0, 4, 8, 15};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        t.timeline.len = lens[i];
        assert_int_equal(track_info_check(&t), ERR_INVALID);
    }
    t.timeline.len = sizeof three;
    t.segment_duration_max = 19999;
    assert_int_equal(track_info_check(&t), ERR_INVALID);
}

static void
an_asset_needs_tracks_of_different_names(void **state)
{
    static struct asset asset;
    struct buffer b;
    buffer_init(&b, ASSET_SIZE_MAX);
    asset.track_count = 0;
    assert_int_equal(asset_encode(&asset, &b), ERR_INVALID);
    asset.track_count = ASSET_TRACKS_MAX + 1;
    assert_int_equal(asset_encode(&asset, &b), ERR_INVALID);
    asset.track_count = 2;
    asset.tracks[0] = good_track("v0");
    asset.tracks[1] = good_track("v0");
    assert_int_equal(asset_encode(&asset, &b), ERR_INVALID);
    assert_int_equal(b.len, 0);
    asset.tracks[1] = good_track("v1");
    assert_int_equal(asset_encode(&asset, &b), 0);
    buffer_fini(&b);
}

static void
no_changed_byte_of_an_asset_is_taken(void **state)
{
    static struct asset asset, back;
    struct buffer b;
    buffer_init(&b, ASSET_SIZE_MAX);
    asset.track_count = 2;
    asset.tracks[0] = good_track("v0");
    asset.tracks[1] = good_track("v1");
    assert_int_equal(asset_encode(&asset, &b), 0);
    for (size_t i = 0; i < b.len; i++) {
        b.ptr[i] ^= 0x40;
        assert_int_not_equal(asset_decode(buffer_bytes(&b), &back), 0);
        b.ptr[i] ^= 0x40;
    }
    for (size_t len = 0; len < b.len; len++) {
        uint8_t *exact = malloc(len + 1);
        memcpy(exact, b.ptr, len);
        assert_int_equal(asset_decode(bytes_of(exact, len), &back),
                         ERR_TRUNCATED);
        free(exact);
    }
    /* sealed again: an error, or an asset that may be encoded */
    for (size_t i = SEALED_HEADER_SIZE; i < b.len; i++) {
        struct buffer again;
        buffer_init(&again, ASSET_SIZE_MAX);
        b.ptr[i] ^= 0x40;
        sealed_end(&b, 0);
        if (asset_decode(buffer_bytes(&b), &back) == 0) {
            assert_int_equal(asset_encode(&back, &again), 0);
            assert_true(bytes_equal(buffer_bytes(&again), buffer_bytes(&b)));
        }
        b.ptr[i] ^= 0x40;
        buffer_fini(&again);
    }
    assert_int_equal(back.track_count, 2);
    buffer_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_asset_comes_back_as_it_was),
        cmocka_unit_test(what_would_break_a_playlist_is_refused),
        cmocka_unit_test(a_text_is_forced_or_not),
        cmocka_unit_test(a_timeline_is_as_long_as_its_track),
        cmocka_unit_test(an_asset_needs_tracks_of_different_names),
        cmocka_unit_test(no_changed_byte_of_an_asset_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
