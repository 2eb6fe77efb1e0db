/* SPDX-License-Identifier: Apache-2.0 */

/*
 * HLS playlists (RFC 8216bis) of one track and of all tracks.
 */

#include "media/hls/tags.h"
#include "media/index_format.h"
#include "media/timeline.h"

#include <stdio.h>

#define VERSION 7 /* EXT-X-MAP with fragmented MP4 */
#define VISUAL_SAMPLE_ENTRY_SIZE \
    86 /* bytes, before its boxes: 14496-12 §12.1 */

/* ---- media playlist ---- */

/* Walks the segments in time; the durations as they are printed. */
struct clock {
    uint64_t ticks;
    uint64_t time; /* microseconds */
};

static struct clock
clock_of(const struct track_index *index)
{
    const uint64_t start = index->info.part.start;
    return (struct clock){start,
                          hls_microseconds(start, index->info.timescale)};
}

static uint64_t
clock_step(const struct track_index *index, uint32_t number,
           struct clock *clock)
{
    struct segment s;
    index_segment_load(index, number, &s);
    const uint64_t before = clock->time;
    clock->ticks = index->info.kind == TRACK_IMAGE
                       ? timeline_image_end(&index->info, number)
                       : clock->ticks + s.duration;
    clock->time = hls_microseconds(clock->ticks, index->info.timescale);
    return clock->time - before;
}

/* §4.4.3.1: each EXTINF, rounded to the nearest integer, is no more. */
static uint64_t
target_duration(const struct track_index *index)
{
    struct clock clock = clock_of(index);
    uint64_t longest = 1000000;
    for (uint32_t i = 0; i < index->info.segment_count; i++) {
        const uint64_t duration = clock_step(index, i, &clock);
        if (duration > longest)
            longest = duration;
    }
    return (longest + 500000) / 1000000;
}

static void
head_write(const struct track_index *index, const char *tags,
           struct buffer *out)
{
    buffer_printf(
        out,
        "#EXTM3U\n"
        "#EXT-X-VERSION:%d\n"
        "#EXT-X-TARGETDURATION:%llu\n"
        "#EXT-X-MEDIA-SEQUENCE:%u\n"
        "#EXT-X-PLAYLIST-TYPE:VOD\n"
        "%s%s",
        VERSION, (unsigned long long) target_duration(index),
        index->info.part.first_segment, tags,
        track_has_samples(&index->info) ? "#EXT-X-MAP:URI=\"init.mp4\"\n" : "");
}

static const char *
segment_suffix(enum track_kind kind)
{
    switch (kind) {
    case TRACK_VIDEO:
    case TRACK_AUDIO:
        break;
    case TRACK_TEXT:
        return "vtt";
    case TRACK_IMAGE:
        return "jpg";
    }
    return "m4s";
}

/* The tag before each sheet, as Roku's extension of HLS has it. */
static void
tiles_print(const struct track_info *info, char *out, size_t size)
{
    const uint64_t each =
        hls_microseconds(info->frame_rate_den, info->timescale);
    snprintf(out, size,
             "#EXT-X-TILES:RESOLUTION=%ux%u,LAYOUT=%ux%u,"
             "DURATION=%llu.%06llu\n",
             info->width, info->height, info->columns, info->rows,
             (unsigned long long) (each / 1000000),
             (unsigned long long) (each % 1000000));
}

/* A film that was cut off in front may start in the middle of things. */
static bool
is_key_frame_missing(const struct track_index *index)
{
    bool is_missing = false;
    if (index->info.kind != TRACK_VIDEO)
        return false;
    for (uint32_t i = 0; i < index->info.segment_count; i++) {
        struct segment s;
        index_segment_load(index, i, &s);
        is_missing |= s.key_size == 0;
    }
    return is_missing;
}

static const char *
segments_tag(const struct track_index *index)
{
    if (index->info.kind == TRACK_IMAGE)
        return "#EXT-X-IMAGES-ONLY\n";
    return is_key_frame_missing(index) ? "" : "#EXT-X-INDEPENDENT-SEGMENTS\n";
}

void
hls_media_playlist_write(const struct track_index *index, struct buffer *out)
{
    const struct track_info *info = &index->info;
    const char *suffix = segment_suffix(info->kind);
    char tiles[160] = "";
    if (info->kind == TRACK_IMAGE)
        tiles_print(info, tiles, sizeof tiles);
    head_write(index, segments_tag(index), out);
    struct clock clock = clock_of(index);
    for (uint32_t i = 0; i < info->segment_count; i++) {
        char line[256];
        const uint64_t duration = clock_step(index, i, &clock);
        const int len =
            snprintf(line, sizeof line, "#EXTINF:%llu.%06llu,\n%s%u.%s\n",
                     (unsigned long long) (duration / 1000000),
                     (unsigned long long) (duration % 1000000), tiles,
                     info->part.first_segment + i, suffix);
        buffer_append(out, line, (size_t) len);
    }
    buffer_append_text(out, "#EXT-X-ENDLIST\n");
}

/* §4.4.3.6: each EXTINF is the time to the next key frame; the range has the
 * header that tells a decoder where the frame is. A segment without one is a
 * gap (§4.4.4.7, of any version), whose time counts. */
void
hls_iframe_playlist_write(const struct track_index *index, struct buffer *out)
{
    head_write(index, "#EXT-X-I-FRAMES-ONLY\n", out);
    struct clock clock = clock_of(index);
    for (uint32_t i = 0; i < index->info.segment_count; i++) {
        struct segment s;
        const uint64_t duration = clock_step(index, i, &clock);
        index_segment_load(index, i, &s);
        buffer_printf(out, "#EXTINF:%llu.%06llu,\n",
                      (unsigned long long) (duration / 1000000),
                      (unsigned long long) (duration % 1000000));
        if (s.key_size == 0)
            buffer_append_text(out, "#EXT-X-GAP\n");
        else
            buffer_printf(out, "#EXT-X-BYTERANGE:%llu@0\n",
                          (unsigned long long) segment_key_length(&s));
        buffer_printf(out, "%u.m4s\n", index->info.part.first_segment + i);
    }
    buffer_append_text(out, "#EXT-X-ENDLIST\n");
}

/* ---- multivariant playlist ---- */

/* Audio tracks of one codec: what a variant's CODECS may promise. */
struct group {
    const char *codecs;
    uint32_t bandwidth_peak, bandwidth_average; /* of the largest */
    size_t first;                               /* track */
    size_t number;                              /* from 0 */
};

static size_t
groups_find(const struct asset *asset, struct group *groups)
{
    size_t count = 0;
    for (size_t i = 0; i < asset->track_count; i++) {
        const struct track_info *t = &asset->tracks[i];
        if (t->kind != TRACK_AUDIO)
            continue;
        size_t g = 0;
        while (g < count && strcmp(groups[g].codecs, t->codecs) != 0)
            g++;
        if (g == count)
            groups[count++] =
                (struct group){.codecs = t->codecs, .first = i, .number = g};
        if (t->bandwidth_peak > groups[g].bandwidth_peak)
            groups[g].bandwidth_peak = t->bandwidth_peak;
        if (t->bandwidth_average > groups[g].bandwidth_average)
            groups[g].bandwidth_average = t->bandwidth_average;
    }
    return count;
}

/* Is a track of its group before it called so? */
static bool
label_is_taken(const struct asset *asset, size_t number)
{
    const struct track_info *track = &asset->tracks[number];
    for (const struct track_info *t = asset->tracks; t < track; t++) {
        if (t->kind == track->kind && strcmp(t->codecs, track->codecs) == 0
            && strcmp(hls_label(t), hls_label(track)) == 0)
            return true;
    }
    return false;
}

/* Is a track of its group before it in its language? */
static bool
language_is_taken(const struct asset *asset, size_t number)
{
    const struct track_info *track = &asset->tracks[number];
    for (const struct track_info *t = asset->tracks; t < track; t++) {
        if (t->kind == track->kind && strcmp(t->codecs, track->codecs) == 0
            && strcmp(t->language, track->language) == 0)
            return true;
    }
    return false;
}

/* What a player may choose by itself differs in language (§4.4.6.1.1). */
static void
media_write(const struct asset *asset, const struct group *group, size_t number,
            const struct pathway *pathway, struct buffer *out)
{
    const struct track_info *t = &asset->tracks[number];
    buffer_append_text(out, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=");
    hls_group_id_write("audio", group->number, pathway, out);
    hls_label_write(t, label_is_taken(asset, number), out);
    buffer_printf(out, ",DEFAULT=%s,AUTOSELECT=%s",
                  number == group->first ? "YES" : "NO",
                  language_is_taken(asset, number) ? "NO" : "YES");
    if (t->joc_complexity != 0) /* objects, not channels */
        buffer_printf(out, ",CHANNELS=\"%u/JOC\"", t->joc_complexity);
    else if (t->channels != 0)
        buffer_printf(out, ",CHANNELS=\"%u\"", t->channels);
    buffer_append_text(out, ",URI=\"");
    hls_uri_write(asset, t, NULL, "/index.m3u8", pathway, out);
    buffer_append_text(out, "\"\n");
}

static void
group_write(const struct asset *asset, const struct group *group,
            const struct pathway *pathway, struct buffer *out)
{
    for (size_t i = group->first; i < asset->track_count; i++) {
        const struct track_info *t = &asset->tracks[i];
        if (t->kind == TRACK_AUDIO && strcmp(t->codecs, group->codecs) == 0)
            media_write(asset, group, i, pathway, out);
    }
}

/* ---- subtitles ---- */

static bool
has_text(const struct asset *asset)
{
    for (size_t i = 0; i < asset->track_count; i++) {
        if (asset->tracks[i].kind == TRACK_TEXT)
            return true;
    }
    return false;
}

static void
subtitles_write(const struct asset *asset, const struct pathway *pathway,
                struct buffer *out)
{
    for (size_t i = 0; i < asset->track_count; i++)
        if (asset->tracks[i].kind == TRACK_TEXT)
            hls_subtitles_write(asset, &asset->tracks[i],
                                label_is_taken(asset, i), pathway, out);
}

/* ---- variants ---- */

static void
video_range_write(const struct track_info *track, struct buffer *out)
{
    switch (track->video_range) {
    case VIDEO_RANGE_UNKNOWN:
        break;
    case VIDEO_RANGE_SDR:
        buffer_append_text(out, ",VIDEO-RANGE=SDR");
        break;
    case VIDEO_RANGE_PQ:
        buffer_append_text(out, ",VIDEO-RANGE=PQ");
        break;
    case VIDEO_RANGE_HLG:
        buffer_append_text(out, ",VIDEO-RANGE=HLG");
        break;
    }
}

/* `group` is NULL for a variant without one; for sound alone it names the
 * group that the variant's own track belongs to. */
static void
variant_write(const struct asset *asset, const struct track_info *track,
              const struct group *group, const struct pathway *pathway,
              struct buffer *out)
{
    uint64_t peak = track->bandwidth_peak;
    uint64_t average = track->bandwidth_average;
    const bool has_video = track->kind == TRACK_VIDEO;
    if (group != NULL) {
        peak = (has_video ? peak : 0) + group->bandwidth_peak;
        average = (has_video ? average : 0) + group->bandwidth_average;
    }
    buffer_printf(out,
                  "#EXT-X-STREAM-INF:BANDWIDTH=%llu,AVERAGE-BANDWIDTH=%llu,"
                  "CODECS=\"%s",
                  (unsigned long long) peak, (unsigned long long) average,
                  track->codecs);
    if (has_video && group != NULL)
        buffer_printf(out, ",%s", group->codecs);
    buffer_append_text(out, "\"");
    if (has_video) {
        hls_resolution_write(track, out);
        hls_frame_rate_write(track, out);
        video_range_write(track, out);
    }
    if (group != NULL) {
        buffer_append_text(out, ",AUDIO=");
        hls_group_id_write("audio", group->number, pathway, out);
    }
    if (has_text(asset))
        hls_subtitles_attribute_write(pathway, out);
    hls_pathway_id_write(pathway, out);
    buffer_append_text(out, "\n");
    hls_uri_write(asset, track, NULL, "/index.m3u8", pathway, out);
    buffer_append_text(out, "\n");
}

static void
iframe_variant_write(const struct asset *asset, const struct track_info *track,
                     const struct pathway *pathway, struct buffer *out)
{
    if (track->kind != TRACK_VIDEO || track->key_bandwidth_peak == 0)
        return;
    buffer_printf(out,
                  "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=%u,"
                  "AVERAGE-BANDWIDTH=%u,CODECS=\"%s\"",
                  track->key_bandwidth_peak, track->key_bandwidth_average,
                  track->codecs);
    hls_resolution_write(track, out);
    video_range_write(track, out);
    hls_pathway_id_write(pathway, out);
    buffer_append_text(out, ",URI=\"");
    hls_uri_write(asset, track, NULL, "/iframes.m3u8", pathway, out);
    buffer_append_text(out, "\"\n");
}

/* An extension that Roku has made and others read; who does not passes over
 * it. Not steered: one place is enough for them. */
static void
images_write(const struct asset *asset, struct buffer *out)
{
    for (size_t i = 0; i < asset->track_count; i++) {
        const struct track_info *t = &asset->tracks[i];
        if (!asset_shows_images(asset, t))
            continue;
        buffer_printf(out,
                      "#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=%u,"
                      "RESOLUTION=%ux%u,CODECS=\"%s\",URI=\"",
                      t->bandwidth_peak, t->width, t->height, t->codecs);
        hls_uri_write(asset, t, NULL, "/index.m3u8", NULL, out);
        buffer_append_text(out, "\"\n");
    }
}

/* The groups and variants of one pathway, or of the only place there is. */
static void
place_write(const struct asset *asset, const struct group *groups,
            size_t group_count, const struct pathway *pathway,
            struct buffer *out)
{
    size_t video_count = 0;
    for (size_t i = 0; i < asset->track_count; i++)
        video_count += asset->tracks[i].kind == TRACK_VIDEO;
    if (video_count == 0 && asset->track_count == 1) {
        variant_write(asset, &asset->tracks[0], NULL, pathway, out);
        return;
    }
    subtitles_write(asset, pathway, out);
    for (size_t g = 0; g < group_count; g++)
        group_write(asset, &groups[g], pathway, out);
    for (size_t g = 0; video_count == 0 && g < group_count; g++)
        variant_write(asset, &asset->tracks[groups[g].first], &groups[g],
                      pathway, out);
    for (size_t i = 0; i < asset->track_count; i++) {
        if (asset->tracks[i].kind != TRACK_VIDEO)
            continue;
        if (group_count == 0)
            variant_write(asset, &asset->tracks[i], NULL, pathway, out);
        for (size_t g = 0; g < group_count; g++)
            variant_write(asset, &asset->tracks[i], &groups[g], pathway, out);
    }
    for (size_t i = 0; i < asset->track_count; i++)
        iframe_variant_write(asset, &asset->tracks[i], pathway, out);
}

void
hls_multivariant_write(const struct asset *asset,
                       const struct pathways *steering, struct buffer *out)
{
    struct group groups[ASSET_TRACKS_MAX];
    const size_t group_count = groups_find(asset, groups);
    buffer_printf(out,
                  "#EXTM3U\n#EXT-X-VERSION:%d\n#EXT-X-INDEPENDENT-SEGMENTS\n",
                  VERSION);
    if (steering == NULL)
        place_write(asset, groups, group_count, NULL, out);
    else
        hls_steering_write(steering, out);
    for (size_t i = 0; steering != NULL && i < steering->count; i++)
        place_write(asset, groups, group_count, &steering->list[i], out);
    images_write(asset, out);
}
