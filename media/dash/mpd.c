/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The MPD of all tracks (ISO/IEC 23009-1, profile isoff-live): static, one
 * period, and in it the segments that the HLS playlists name, with the exact
 * time of each. The times are those of the presentation, after the edit list
 * of the init segment, so that each track starts at 0 and none but those of a
 * part of the film needs a presentationTimeOffset.
 */

#include "media/index.h"
#include "media/markup.h"
#include "media/timeline.h"

#include <stdio.h>

/* ---- texts ---- */

/* Rounded up: what ends at the end of the presentation is inside it. A player
 * drops a picture that is not. */
static void
duration_write(const char *name, uint64_t microseconds, struct buffer *out)
{
    buffer_printf(out, " %s=\"PT%llu.%06lluS\"", name,
                  (unsigned long long) (microseconds / 1000000),
                  (unsigned long long) (microseconds % 1000000));
}

static uint64_t
microseconds(uint64_t ticks, uint32_t timescale)
{
    return (uint64_t) (((unsigned __int128) ticks * 1000000 + timescale - 1)
                       / timescale);
}

/* ---- segments ---- */

static void
timeline_write(const struct track_info *track, struct buffer *out)
{
    struct timeline_part part = timeline_part_of(track);
    struct timeline_run run;
    char start[32];
    snprintf(start, sizeof start, " t=\"%llu\"",
             (unsigned long long) track->part.start);
    buffer_append_text(out, "<SegmentTimeline>\n");
    for (; timeline_part_take(&part, &run); start[0] = 0) {
        buffer_printf(out, "<S%s d=\"%u\"", start, run.duration);
        if (run.count > 1)
            buffer_printf(out, " r=\"%u\"", run.count - 1);
        buffer_append_text(out, "/>\n");
    }
    buffer_append_text(out, "</SegmentTimeline>\n");
}

/* In a template "$$" stands for "$" (§5.3.9.4.4). */
static void
query_write(struct bytes query, struct buffer *out)
{
    for (size_t i = 0; i < query.len; i++) {
        if (query.ptr[i] == '$')
            buffer_append_text(out, "$");
        markup_append(out, bytes_of(query.ptr + i, 1));
    }
}

static void
template_write(const struct track_info *track, struct bytes query,
               struct buffer *out)
{
    buffer_printf(out, "<SegmentTemplate timescale=\"%u\" startNumber=\"%u\"",
                  track->timescale, track->part.first_segment);
    if (track->part.zero > 0)
        buffer_printf(out, " presentationTimeOffset=\"%llu\"",
                      (unsigned long long) track->part.zero);
    buffer_append_text(out, " initialization=\"$RepresentationID$/init.mp4");
    query_write(query, out);
    buffer_append_text(out, "\" media=\"$RepresentationID$/$Number$.m4s");
    query_write(query, out);
    buffer_append_text(out, "\">\n");
    timeline_write(track, out);
    buffer_append_text(out, "</SegmentTemplate>\n");
}

static bool
has_same_segments(const struct track_info *a, const struct track_info *b)
{
    return a->timescale == b->timescale
           && bytes_equal(a->timeline, b->timeline);
}

/* ---- tracks ---- */

/* The code point of ISO/IEC 23091-2 that a player needs to know of before it
 * decodes; 0: none. */
static unsigned
transfer_of(const struct track_info *track)
{
    switch (track->video_range) {
    case VIDEO_RANGE_PQ:
        return 16;
    case VIDEO_RANGE_HLG:
        return 18;
    case VIDEO_RANGE_UNKNOWN:
    case VIDEO_RANGE_SDR:
        break;
    }
    return 0;
}

/* A player switches among the pictures of one sort of codec and range, and
 * stays with one sound: of those each is a set of its own. */
static bool
is_in_set(const struct track_info *track, const struct track_info *first)
{
    return track == first
           || (track->kind == TRACK_VIDEO && first->kind == TRACK_VIDEO
               && strncmp(track->codecs, first->codecs, 4) == 0
               && transfer_of(track) == transfer_of(first));
}

static void
video_write(const struct track_info *track, bool has_rate, struct buffer *out)
{
    if (track->width != 0 && track->height != 0)
        buffer_printf(out, " width=\"%u\" height=\"%u\"", track->width,
                      track->height);
    if (track->frame_rate_num == 0 || !has_rate)
        return;
    buffer_printf(out, " frameRate=\"%u", track->frame_rate_num);
    if (track->frame_rate_den != 1)
        buffer_printf(out, "/%u", track->frame_rate_den);
    buffer_append_text(out, "\"");
}

/* What a set is of: the tracks themselves, or the key frames of video. */
enum content { CONTENT_ALL, CONTENT_KEY_FRAMES };

/* `query` is NULL where the set has the segments of all. */
static void
representation_write(const struct track_info *track, enum content content,
                     const struct bytes *query, struct buffer *out)
{
    const bool is_all = content == CONTENT_ALL;
    buffer_printf(out,
                  "<Representation id=\"%s%s\" codecs=\"%s\" bandwidth=\"%u\"",
                  track->name, is_all ? "" : "/iframes", track->codecs,
                  is_all ? track->bandwidth_peak : track->key_bandwidth_peak);
    if (track->kind == TRACK_VIDEO)
        video_write(track, is_all, out);
    else if (track->sample_rate != 0)
        buffer_printf(out, " audioSamplingRate=\"%u\"", track->sample_rate);
    if (query == NULL) {
        buffer_append_text(out, "/>\n");
        return;
    }
    buffer_append_text(out, ">\n");
    template_write(track, *query, out);
    buffer_append_text(out, "</Representation>\n");
}

static void
property_write(const char *element, const char *scheme, const char *value,
               struct buffer *out)
{
    buffer_printf(out, "<%s schemeIdUri=\"%s\" value=\"%s\"/>\n", element,
                  scheme, value);
}

/* Of Dolby's codecs which speakers there are; of others how many channels, by
 * a number that from 7 on is one of a list of layouts (ISO/IEC 23091-3). */
static void
channels_write(const struct track_info *track, struct buffer *out)
{
    char value[16];
    const char *scheme =
        "urn:mpeg:dash:23003:3:audio_channel_configuration:2011";
    snprintf(value, sizeof value, "%u", track->channels);
    if (track->channel_map != 0) {
        scheme = "tag:dolby.com,2014:dash:audio_channel_configuration:2011";
        snprintf(value, sizeof value, "%04X", track->channel_map);
    } else if (track->channels == 7 || track->channels == 8) {
        scheme = "urn:mpeg:mpegB:cicp:ChannelConfiguration";
        snprintf(value, sizeof value, "%u", track->channels == 7 ? 11 : 12);
    }
    if (track->channels != 0)
        property_write("AudioChannelConfiguration", scheme, value, out);
    if (track->joc_complexity == 0)
        return;
    snprintf(value, sizeof value, "%u", track->joc_complexity);
    property_write("SupplementalProperty",
                   "tag:dolby.com,2018:dash:EC3_ExtensionType:2018", "JOC",
                   out);
    property_write("SupplementalProperty",
                   "tag:dolby.com,2018:dash:EC3_ExtensionComplexityIndex:2018",
                   value, out);
}

static void
label_write(const struct track_info *track, struct buffer *out)
{
    if (track->label[0] == 0)
        return;
    buffer_append_text(out, "<Label>");
    markup_append(out, bytes_of_text(track->label));
    buffer_append_text(out, "</Label>\n");
}

/* What is said of one sound; `is_main`: it is played where none is chosen. */
static void
audio_write(const struct track_info *track, bool is_main, struct buffer *out)
{
    channels_write(track, out);
    label_write(track, out);
    buffer_printf(out,
                  "<Role schemeIdUri=\"urn:mpeg:dash:role:2011\""
                  " value=\"%s\"/>\n",
                  is_main ? "main" : "alternate");
}

static const struct track_info *
first_of_kind(const struct asset *asset, enum track_kind kind)
{
    const struct track_info *track = asset->tracks;
    while (track->kind != kind)
        track++;
    return track;
}

/* Key frames can be played alone where all pictures of the set have them. */
static bool
has_key_frames(const struct asset *asset, const struct track_info *first)
{
    const struct track_info *const end = asset->tracks + asset->track_count;
    bool has_all = asset->has_trick_play && first->kind == TRACK_VIDEO;
    for (const struct track_info *t = first; t < end; t++)
        has_all &= !is_in_set(t, first) || t->key_bandwidth_peak != 0;
    return has_all;
}

static size_t
set_id(const struct asset *asset, const struct track_info *first)
{
    return (size_t) (first - asset->tracks) + 1;
}

static void
set_begin(const struct asset *asset, const struct track_info *first,
          enum content content, struct buffer *out)
{
    const char *type = first->kind == TRACK_VIDEO ? "video" : "audio";
    buffer_append_text(out, "<AdaptationSet");
    if (content == CONTENT_ALL && has_key_frames(asset, first))
        buffer_printf(out, " id=\"%zu\"", set_id(asset, first));
    buffer_printf(out,
                  " contentType=\"%s\" mimeType=\"%s/mp4\""
                  " segmentAlignment=\"true\"",
                  type, type);
    if (content == CONTENT_KEY_FRAMES)
        buffer_append_text(out, " codingDependency=\"false\"");
    if (strcmp(first->language, "und") != 0)
        buffer_printf(out, " lang=\"%s\"", first->language);
    buffer_append_text(out, ">\n");
    if (content == CONTENT_KEY_FRAMES)
        buffer_printf(out,
                      "<EssentialProperty schemeIdUri="
                      "\"http://dashif.org/guidelines/trickmode\""
                      " value=\"%zu\"/>\n",
                      set_id(asset, first));
}

static void
set_write(const struct asset *asset, const struct track_info *first,
          enum content content, struct bytes query, struct buffer *out)
{
    const struct track_info *const end = asset->tracks + asset->track_count;
    bool is_shared = true;
    set_begin(asset, first, content, out);
    if (first->kind == TRACK_VIDEO && transfer_of(first) != 0)
        property_write("SupplementalProperty",
                       "urn:mpeg:mpegB:cicp:TransferCharacteristics",
                       transfer_of(first) == 16 ? "16" : "18", out);
    if (first->kind == TRACK_AUDIO)
        audio_write(first, first == first_of_kind(asset, TRACK_AUDIO), out);
    for (const struct track_info *t = first; t < end; t++)
        is_shared &= !is_in_set(t, first) || has_same_segments(t, first);
    if (is_shared)
        template_write(first, query, out);
    for (const struct track_info *t = first; t < end; t++) {
        if (is_in_set(t, first))
            representation_write(t, content, is_shared ? NULL : &query, out);
    }
    buffer_append_text(out, "</AdaptationSet>\n");
}

/* ---- subtitles ---- */

/* One file each, whose times dash.js takes as they are: a part that does not
 * start with the film has one of its own. */
static void
text_name_write(const struct track_info *track, struct buffer *out)
{
    const uint32_t first = track->part.first_segment;
    if (track->part.zero == 0)
        buffer_append_text(out, "all.vtt");
    else
        buffer_printf(out, "%u-%u.vtt", first,
                      first + track->segment_count - 1);
}

static void
subtitles_write(const struct asset *asset, struct bytes query,
                struct buffer *out)
{
    const struct track_info *const end = asset->tracks + asset->track_count;
    for (const struct track_info *t = asset->tracks; t < end; t++) {
        if (t->kind != TRACK_TEXT)
            continue;
        buffer_append_text(out, "<AdaptationSet contentType=\"text\""
                                " mimeType=\"text/vtt\"");
        if (strcmp(t->language, "und") != 0)
            buffer_printf(out, " lang=\"%s\"", t->language);
        buffer_append_text(out, ">\n");
        label_write(t, out);
        buffer_printf(out,
                      "<Role schemeIdUri=\"urn:mpeg:dash:role:2011\""
                      " value=\"%s\"/>\n"
                      "<Representation id=\"%s\" bandwidth=\"%u\">\n"
                      "<BaseURL>%s/",
                      t->is_forced ? "forced-subtitle" : "subtitle", t->name,
                      t->bandwidth_peak, t->name);
        text_name_write(t, out);
        markup_append(out, query);
        buffer_append_text(out, "</BaseURL>\n</Representation>\n"
                                "</AdaptationSet>\n");
    }
}

/* ---- thumbnails ---- */

/* Of a part, whose first and last are seen for less long than the others. */
static void
images_timeline_write(const struct track_info *track, struct buffer *out)
{
    const uint32_t count = track->segment_count;
    const uint64_t start = track->part.start;
    buffer_printf(out, "<SegmentTimeline>\n<S t=\"%llu\" d=\"%llu\"/>\n",
                  (unsigned long long) start,
                  (unsigned long long) (timeline_image_end(track, 0) - start));
    if (count > 3)
        buffer_printf(out, "<S d=\"%u\" r=\"%u\"/>\n", track->frame_rate_den,
                      count - 3);
    else if (count > 2)
        buffer_printf(out, "<S d=\"%u\"/>\n", track->frame_rate_den);
    if (count > 1)
        buffer_printf(
            out, "<S d=\"%llu\"/>\n",
            (unsigned long long) (timeline_image_end(track, count - 1)
                                  - timeline_image_end(track, count - 2)));
    buffer_append_text(out, "</SegmentTimeline>\n");
}

/* As the guidelines of the DASH Industry Forum have them. Every sheet is of the
 * same length, the last one, too: players find a thumbnail by its share. */
static void
images_template_write(const struct track_info *track, struct bytes query,
                      struct buffer *out)
{
    const bool is_part = track_is_of_parts(track);
    buffer_printf(out, "<SegmentTemplate timescale=\"%u\"", track->timescale);
    if (!is_part)
        buffer_printf(out, " duration=\"%u\"",
                      track->frame_rate_den * track->columns * track->rows);
    buffer_printf(out, " startNumber=\"%u\"", track->part.first_segment);
    if (track->part.zero > 0)
        buffer_printf(out, " presentationTimeOffset=\"%llu\"",
                      (unsigned long long) track->part.zero);
    buffer_append_text(out, " media=\"$RepresentationID$/$Number$.jpg");
    query_write(query, out);
    if (!is_part) {
        buffer_append_text(out, "\"/>\n");
        return;
    }
    buffer_append_text(out, "\">\n");
    images_timeline_write(track, out);
    buffer_append_text(out, "</SegmentTemplate>\n");
}

static void
thumbnails_write(const struct asset *asset, struct bytes query,
                 struct buffer *out)
{
    const struct track_info *const end = asset->tracks + asset->track_count;
    for (const struct track_info *t = asset->tracks; t < end; t++) {
        char layout[24];
        if (!asset_shows_images(asset, t))
            continue;
        snprintf(layout, sizeof layout, "%ux%u", t->columns, t->rows);
        buffer_append_text(out, "<AdaptationSet contentType=\"image\""
                                " mimeType=\"image/jpeg\">\n");
        images_template_write(t, query, out);
        buffer_printf(out,
                      "<Representation id=\"%s\" bandwidth=\"%u\""
                      " width=\"%u\" height=\"%u\">\n",
                      t->name, t->bandwidth_peak, t->width * t->columns,
                      t->height * t->rows);
        property_write("EssentialProperty",
                       "http://dashif.org/guidelines/thumbnail_tile", layout,
                       out);
        buffer_append_text(out, "</Representation>\n</AdaptationSet>\n");
    }
}

static bool
is_first_of_set(const struct asset *asset, const struct track_info *track)
{
    for (const struct track_info *t = asset->tracks; t < track; t++) {
        if (is_in_set(track, t))
            return false;
    }
    return true;
}

/* ---- pathways ---- */

static void
place_write(const struct pathway *pathway, struct buffer *out)
{
    buffer_append_text(out, "<BaseURL serviceLocation=\"");
    markup_append(out, pathway->name);
    buffer_append_text(out, "\">");
    markup_append(out,
                  pathway->base.len > 0 ? pathway->base : BYTES_LITERAL("./"));
    buffer_append_text(out, "</BaseURL>\n");
}

/* The relative one comes last: dash.js reads none behind it. */
static void
steering_write(const struct pathways *steering, struct buffer *out)
{
    for (size_t i = 0; i < steering->count; i++) {
        if (steering->list[i].base.len > 0)
            place_write(&steering->list[i], out);
    }
    for (size_t i = 0; i < steering->count; i++) {
        if (steering->list[i].base.len == 0)
            place_write(&steering->list[i], out);
    }
    buffer_append_text(out, "<ContentSteering defaultServiceLocation=\"");
    markup_append(out, steering->list[0].name);
    buffer_append_text(out, "\" queryBeforeStart=\"false\">");
    markup_append(out, steering->server_uri);
    buffer_append_text(out, "</ContentSteering>\n");
}

/* A segment's URL is the same in every place but for its base. */
static struct bytes
query_of(const struct pathways *steering)
{
    for (size_t i = 0; steering != NULL && i < steering->count; i++) {
        if (steering->list[i].query.len > 0)
            return steering->list[i].query;
    }
    return bytes_of(NULL, 0);
}

/* ---- all of it ---- */

void
dash_mpd_write(const struct asset *asset, const struct pathways *steering,
               struct buffer *out)
{
    const struct track_info *const end = asset->tracks + asset->track_count;
    uint64_t duration = 0, segment_max = 0, buffer = 0;
    for (const struct track_info *t = asset->tracks; t < end; t++) {
        const uint64_t d = microseconds(t->duration, t->timescale);
        const uint64_t s = microseconds(t->segment_duration_max, t->timescale);
        if (t->kind != TRACK_IMAGE || asset_shows_images(asset, t))
            segment_max = s > segment_max ? s : segment_max;
        if (t->kind == TRACK_IMAGE)
            continue;
        duration = d > duration ? d : duration;
        buffer = s > buffer ? s : buffer;
    }
    buffer_append_text(out,
                       "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                       "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\""
                       " profiles=\"urn:mpeg:dash:profile:isoff-live:2011\""
                       " type=\"static\"");
    duration_write("mediaPresentationDuration", duration, out);
    duration_write("maxSegmentDuration", segment_max, out);
    duration_write("minBufferTime", buffer, out);
    buffer_append_text(out, ">\n");
    if (steering != NULL)
        steering_write(steering, out);
    buffer_append_text(out, "<Period id=\"0\" start=\"PT0S\">\n");
    for (const struct track_info *t = asset->tracks; t < end; t++) {
        if (!track_has_samples(t) || !is_first_of_set(asset, t))
            continue;
        set_write(asset, t, CONTENT_ALL, query_of(steering), out);
        if (has_key_frames(asset, t))
            set_write(asset, t, CONTENT_KEY_FRAMES, query_of(steering), out);
    }
    subtitles_write(asset, query_of(steering), out);
    thumbnails_write(asset, query_of(steering), out);
    buffer_append_text(out, "</Period>\n</MPD>\n");
}
