/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a query, and the part that it says of a film. */

#include "core/err.h"
#include "media/clip.h"
#include "media/hls/ts_playlist.h"
#include "media/timeline.h"

#include <assert.h>
#include <stdio.h>

#define TRACKS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 40 segments of 4.004 s; sound beside it, whose borders are elsewhere, and
 * which ends earlier; and thumbnails. */
static void
film_make(struct asset *asset, struct buffer timelines[TRACKS])
{
    static const struct {
        const char *name;
        enum track_kind kind;
        uint32_t timescale;
        struct timeline_run runs[2];
    } tracks[] = {
        {"v0", TRACK_VIDEO, 24000, {{96096, 39}, {1001, 1}}},
        {"a0", TRACK_AUDIO, 44100, {{176128, 20}, {177152, 10}}},
        {"i1", TRACK_IMAGE, 1000, {{10000, 15}, {6198, 1}}},
    };
    for (size_t i = 0; i < TRACKS; i++) {
        struct track_info *t = &asset->tracks[asset->track_count++];
        buffer_init(&timelines[i], 100);
        *t = (struct track_info){.kind = tracks[i].kind,
                                 .timescale = tracks[i].timescale,
                                 .language = "und",
                                 .bandwidth_peak = 1,
                                 .frame_rate_num = 24,
                                 .frame_rate_den = 1};
        if (t->kind == TRACK_IMAGE) {
            t->columns = t->rows = 1;
            t->frame_rate_den = tracks[i].runs[0].duration;
        }
        snprintf(t->name, sizeof t->name, "%s", tracks[i].name);
        for (size_t k = 0; k < 2; k++) {
            timeline_append(&timelines[i], &tracks[i].runs[k]);
            t->segment_count += tracks[i].runs[k].count;
            t->duration +=
                (uint64_t) tracks[i].runs[k].duration * tracks[i].runs[k].count;
        }
        t->timeline = buffer_bytes(&timelines[i]);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct asset asset;
    struct buffer timelines[TRACKS], out;
    struct clip clip;
    const int err = clip_parse(bytes_of(data, size), &clip);
    assert(err == 0 || err == ERR_NOT_FOUND || err == ERR_INVALID);
    if (err != 0)
        return 0;
    assert(clip.start_us < clip.end_us);
    asset = (struct asset){.track_count = 0};
    film_make(&asset, timelines);
    buffer_init(&out, 1u << 20);
    if (asset_clip(&asset, &clip) == 0) {
        assert(asset.track_count >= 1 && asset.tracks[0].name[0] == 'v');
        for (size_t i = 0; i < asset.track_count; i++) {
            const struct track_info *t = &asset.tracks[i];
            assert(t->segment_count > 0 && t->duration > 0);
            assert(t->part.first_segment + t->segment_count <= 40);
            ts_media_playlist_write(t, NULL, &out);
        }
        hls_multivariant_write(&asset, NULL, &out);
        dash_mpd_write(&asset, NULL, &out);
        assert(out.err == 0);
        assert(clip_parse(bytes_of_text(asset.query), &clip) == 0);
    }
    buffer_fini(&out);
    for (size_t i = 0; i < TRACKS; i++)
        buffer_fini(&timelines[i]);
    return 0;
}
