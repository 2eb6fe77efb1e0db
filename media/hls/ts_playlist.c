/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Playlists of transport streams. What they need stands in the tracks' records
 * (durations in the timeline), so no index is read for a multivariant one.
 */

#include "media/hls/ts_playlist.h"

#include "core/err.h"
#include "media/hls/tags.h"
#include "media/timeline.h"
#include "media/ts/ts.h"

#include <stdio.h>

#define VERSION 4 /* floating EXTINF is 3, EXT-X-MEDIA is 4 */

/* ---- media playlist ---- */

/* Walks through the segments in time; durations as they are printed. */
struct walk {
    struct timeline_part part;
    struct timeline_run run;
    uint32_t timescale;
    uint64_t ticks, time; /* microseconds */
};

static struct walk
walk_of(const struct track_info *info)
{
    return (struct walk){
        .part = timeline_part_of(info),
        .timescale = info->timescale,
        .ticks = info->part.start,
        .time = hls_microseconds(info->part.start, info->timescale),
    };
}

static bool
walk_next(struct walk *w, uint64_t *duration)
{
    while (w->run.count == 0)
        if (!timeline_part_take(&w->part, &w->run))
            return false;
    const uint64_t before = w->time;
    w->run.count--;
    w->ticks += w->run.duration;
    w->time = hls_microseconds(w->ticks, w->timescale);
    *duration = w->time - before;
    return true;
}

/* §4.4.3.1: each EXTINF, rounded to the nearest integer, is no more. */
static uint64_t
target_duration(const struct track_info *info)
{
    struct walk walk = walk_of(info);
    uint64_t duration, longest = 1000000;
    while (walk_next(&walk, &duration))
        if (duration > longest)
            longest = duration;
    return (longest + 500000) / 1000000;
}

static void
key_write(const struct hls_key *key, struct buffer *out)
{
    buffer_append_text(out, "#EXT-X-KEY:METHOD=AES-128,URI=\"");
    buffer_append_bytes(out, key->uri);
    buffer_append_text(out, "\"");
    if (key->has_iv) {
        buffer_append_text(out, ",IV=0x");
        for (size_t i = 0; i < sizeof key->iv; i++)
            buffer_printf(out, "%02x", key->iv[i]);
    }
    buffer_append_text(out, "\n");
}

/* NULL: the segment is in the clear. */
static const struct hls_key *
key_of_segment(const struct hls_keys *keys, uint32_t number)
{
    if (number < keys->clear_segments)
        return NULL;
    const uint32_t period =
        keys->count > 1 ? number / keys->period_segments : 0;
    return &keys->list[period < keys->count ? period : keys->count - 1];
}

static bool
is_same_key(const struct hls_key *a, const struct hls_key *b)
{
    return bytes_equal(a->uri, b->uri) && a->has_iv == b->has_iv
           && memcmp(a->iv, b->iv, sizeof a->iv) == 0;
}

/* Before the segments that have another key than those before them. */
static void
segment_key_write(const struct hls_keys *keys, uint32_t number,
                  const struct hls_key **last, struct buffer *out)
{
    const struct hls_key *key = key_of_segment(keys, number);
    if (key == NULL && number == 0)
        buffer_append_text(out, "#EXT-X-KEY:METHOD=NONE\n");
    if (key != NULL && (*last == NULL || !is_same_key(*last, key)))
        key_write(key, out);
    *last = key;
}

void
ts_media_playlist_write(const struct track_info *info,
                        const struct hls_keys *keys, struct buffer *out)
{
    const struct hls_key *key = NULL;
    const char *suffix = info->kind == TRACK_TEXT ? "vtt" : "ts";
    struct walk walk = walk_of(info);
    uint64_t duration;
    buffer_printf(out,
                  "#EXTM3U\n"
                  "#EXT-X-VERSION:%d\n"
                  "#EXT-X-TARGETDURATION:%llu\n"
                  "#EXT-X-MEDIA-SEQUENCE:%u\n"
                  "#EXT-X-PLAYLIST-TYPE:VOD\n"
                  "#EXT-X-INDEPENDENT-SEGMENTS\n",
                  VERSION, (unsigned long long) target_duration(info),
                  info->part.first_segment);
    uint32_t number = info->part.first_segment;
    for (; walk_next(&walk, &duration); number++) {
        char line[96];
        if (keys != NULL)
            segment_key_write(keys, number, &key, out);
        const int len =
            snprintf(line, sizeof line, "#EXTINF:%llu.%06llu,\n%u.%s\n",
                     (unsigned long long) (duration / 1000000),
                     (unsigned long long) (duration % 1000000), number, suffix);
        buffer_append(out, line, (size_t) len);
    }
    buffer_append_text(out, "#EXT-X-ENDLIST\n");
}

/* ---- multivariant playlist ---- */

/* What can be carried: the video tracks, and the audio tracks of one codec
 * behind one another; and text. */
struct groups {
    const struct asset *asset;
    const struct track_info *video[ASSET_TRACKS_MAX];
    size_t video_count;
    const struct track_info *audio[ASSET_TRACKS_MAX];
    size_t audio_count;
    const struct track_info *text[ASSET_TRACKS_MAX];
    size_t text_count;
};

static bool
is_same_group(const struct track_info *a, const struct track_info *b)
{
    return strcmp(a->codecs, b->codecs) == 0;
}

static bool
is_taken(const struct groups *g, const struct track_info *track)
{
    for (size_t i = 0; i < g->audio_count; i++)
        if (g->audio[i] == track)
            return true;
    return false;
}

static void
groups_find(const struct asset *asset, struct groups *g)
{
    const struct track_info *audio[ASSET_TRACKS_MAX];
    size_t audio_count = 0;
    *g = (struct groups){.asset = asset};
    for (size_t i = 0; i < asset->track_count; i++) {
        const struct track_info *t = &asset->tracks[i];
        if (t->kind == TRACK_TEXT)
            g->text[g->text_count++] = t;
        if (!track_has_samples(t) || ts_track_check(t) != 0)
            continue;
        if (t->kind == TRACK_VIDEO)
            g->video[g->video_count++] = t;
        else
            audio[audio_count++] = t;
    }
    for (size_t i = 0; i < audio_count; i++)
        for (size_t j = i; j < audio_count; j++)
            if (is_same_group(audio[i], audio[j]) && !is_taken(g, audio[j]))
                g->audio[g->audio_count++] = audio[j];
}

/* Of the group that starts at `first`. */
static size_t
group_size(const struct groups *g, size_t first)
{
    size_t count = 1;
    while (first + count < g->audio_count
           && is_same_group(g->audio[first], g->audio[first + count]))
        count++;
    return count;
}

/* A bound of what packets and headers add (media/ts/): 188 bytes for 184, a
 * PES packet's header and last packet, and what a segment has once. */
#define PES_OVERHEAD 230      /* bytes: half of it stuffing, at most */
#define SEGMENT_OVERHEAD 3400 /* 15 + 2 packets, parameter sets */
#define SOUND_PES_PER_S 16    /* at most 12 of 4 frames, for all rates */

static uint64_t
ts_bandwidth(const struct track_info *t, uint64_t media)
{
    uint64_t pes = SOUND_PES_PER_S;
    if (t->kind == TRACK_VIDEO)
        pes = t->frame_rate_num / t->frame_rate_den + 1;
    /* segments of less than a second on average are nobody's */
    const unsigned __int128 second =
        (unsigned __int128) t->segment_count * SEGMENT_OVERHEAD * t->timescale;
    const uint64_t duration = t->duration > 0 ? t->duration : 1;
    uint64_t once = (uint64_t) (second / duration);
    if (once > SEGMENT_OVERHEAD)
        once = SEGMENT_OVERHEAD;
    return media + media / 40 + (pes * PES_OVERHEAD + once) * 8;
}

/* Is a track of its group before it called so? */
static bool
label_is_taken(const struct track_info *const *group, size_t number)
{
    for (size_t i = 0; i < number; i++)
        if (strcmp(hls_label(group[i]), hls_label(group[number])) == 0)
            return true;
    return false;
}

/* Is a track of its group before it in its language? */
static bool
language_is_taken(const struct track_info *const *group, size_t number)
{
    for (size_t i = 0; i < number; i++)
        if (strcmp(group[i]->language, group[number]->language) == 0)
            return true;
    return false;
}

static void
subtitles_write(const struct groups *g, const struct pathway *pathway,
                struct buffer *out)
{
    for (size_t i = 0; i < g->text_count; i++)
        hls_subtitles_write(g->asset, g->text[i], label_is_taken(g->text, i),
                            pathway, out);
}

/* The first of a group has no URI: it is in the variants. What a player may
 * choose by itself differs in language (§4.4.6.1.1). */
static void
media_write(const struct groups *g, size_t first, size_t number,
            size_t group_number, const struct pathway *pathway,
            struct buffer *out)
{
    const struct track_info *t = g->audio[number];
    const struct track_info *const *group = g->audio + first;
    buffer_append_text(out, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=");
    hls_group_id_write("audio", group_number, pathway, out);
    hls_label_write(t, label_is_taken(group, number - first), out);
    buffer_printf(out, ",DEFAULT=%s,AUTOSELECT=%s",
                  number == first ? "YES" : "NO",
                  language_is_taken(group, number - first) ? "NO" : "YES");
    if (t->channels != 0)
        buffer_printf(out, ",CHANNELS=\"%u\"", t->channels);
    if (number > first) {
        buffer_append_text(out, ",URI=\"");
        hls_uri_write(g->asset, t, NULL, "/index.m3u8", pathway, out);
        buffer_append_text(out, "\"");
    }
    buffer_append_text(out, "\n");
}

/* Where a variant's sound comes from: of no group when it has no other. */
struct sound {
    const struct track_info *track; /* muxed; NULL: none */
    bool is_group;
    size_t group_number;
    uint64_t peak, average; /* bit/s of the largest of the group */
};

static void
variant_write(const struct groups *g, const struct track_info *t,
              const struct sound *sound, const struct pathway *pathway,
              struct buffer *out)
{
    buffer_printf(
        out,
        "#EXT-X-STREAM-INF:BANDWIDTH=%llu,AVERAGE-BANDWIDTH=%llu,"
        "CODECS=\"%s",
        (unsigned long long) (ts_bandwidth(t, t->bandwidth_peak) + sound->peak),
        (unsigned long long) (ts_bandwidth(t, t->bandwidth_average)
                              + sound->average),
        t->codecs);
    if (sound->track != NULL)
        buffer_printf(out, ",%s", sound->track->codecs);
    buffer_append_text(out, "\"");
    if (t->kind == TRACK_VIDEO) {
        hls_resolution_write(t, out);
        hls_frame_rate_write(t, out);
    }
    if (sound->is_group) {
        buffer_append_text(out, ",AUDIO=");
        hls_group_id_write("audio", sound->group_number, pathway, out);
    }
    if (g->text_count > 0)
        hls_subtitles_attribute_write(pathway, out);
    hls_pathway_id_write(pathway, out);
    buffer_append_text(out, "\n");
    hls_uri_write(g->asset, t, sound->track, "/index.m3u8", pathway, out);
    buffer_append_text(out, "\n");
}

/* A variant that carries the first of its group may be played with any. */
static struct sound
sound_of(const struct groups *g, size_t first, size_t number)
{
    const size_t count = group_size(g, first);
    struct sound sound = {
        .track = g->audio[first],
        .is_group = count > 1,
        .group_number = number,
    };
    for (size_t i = first; i < first + count; i++) {
        const struct track_info *t = g->audio[i];
        const uint64_t peak = ts_bandwidth(t, t->bandwidth_peak);
        const uint64_t average = ts_bandwidth(t, t->bandwidth_average);
        sound.peak = peak > sound.peak ? peak : sound.peak;
        sound.average = average > sound.average ? average : sound.average;
    }
    return sound;
}

/* Sound alone: the variant is the first of the group itself. */
static void
sound_variant_write(const struct groups *g, size_t first, size_t number,
                    const struct pathway *pathway, struct buffer *out)
{
    const struct sound sound = {
        .is_group = group_size(g, first) > 1,
        .group_number = number,
    };
    variant_write(g, g->audio[first], &sound, pathway, out);
}

/* The groups and variants of one pathway, or of the only place there is. */
static void
place_write(const struct groups *g, const struct pathway *pathway,
            struct buffer *out)
{
    static const struct sound silence;
    size_t first, number = 0;
    subtitles_write(g, pathway, out);
    for (first = 0; first < g->audio_count;
         first += group_size(g, first), number++)
        for (size_t i = 0; group_size(g, first) > 1 && i < group_size(g, first);
             i++)
            media_write(g, first, first + i, number, pathway, out);
    for (size_t v = 0; v < g->video_count && g->audio_count == 0; v++)
        variant_write(g, g->video[v], &silence, pathway, out);
    number = 0;
    for (first = 0; first < g->audio_count;
         first += group_size(g, first), number++) {
        const struct sound sound = sound_of(g, first, number);
        if (g->video_count == 0)
            sound_variant_write(g, first, number, pathway, out);
        for (size_t v = 0; v < g->video_count; v++)
            variant_write(g, g->video[v], &sound, pathway, out);
    }
}

void
ts_multivariant_write(const struct asset *asset,
                      const struct pathways *steering, struct buffer *out)
{
    struct groups groups;
    groups_find(asset, &groups);
    if (groups.video_count + groups.audio_count == 0 && out->err == 0)
        out->err = ERR_NOT_FOUND;
    buffer_printf(out,
                  "#EXTM3U\n#EXT-X-VERSION:%d\n#EXT-X-INDEPENDENT-SEGMENTS\n",
                  VERSION);
    if (steering == NULL) {
        place_write(&groups, NULL, out);
        return;
    }
    hls_steering_write(steering, out);
    for (size_t i = 0; i < steering->count; i++)
        place_write(&groups, &steering->list[i], out);
}
