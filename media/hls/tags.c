/* SPDX-License-Identifier: Apache-2.0 */
#include "media/hls/tags.h"

#include "media/hls/ts_playlist.h"

const char *
hls_label(const struct track_info *track)
{
    if (track->label[0] != 0)
        return track->label;
    return strcmp(track->language, "und") != 0 ? track->language : track->name;
}

void
hls_label_write(const struct track_info *track, bool is_taken,
                struct buffer *out)
{
    buffer_printf(out, ",NAME=\"%s", hls_label(track));
    if (is_taken)
        buffer_printf(out, " (%s)", track->name);
    buffer_append_text(out, "\"");
    if (strcmp(track->language, "und") != 0)
        buffer_printf(out, ",LANGUAGE=\"%s\"", track->language);
}

void
hls_group_id_write(const char *name, size_t number,
                   const struct pathway *pathway, struct buffer *out)
{
    buffer_printf(out, "\"%s", name);
    if (number > 0)
        buffer_printf(out, "%zu", number);
    if (pathway != NULL) {
        buffer_append_text(out, "/");
        buffer_append_bytes(out, pathway->name);
    }
    buffer_append_text(out, "\"");
}

void
hls_uri_write(const struct asset *asset, const struct track_info *track,
              const struct track_info *muxed, const char *playlist,
              const struct pathway *pathway, struct buffer *out)
{
    const bool has_query = pathway != NULL && pathway->query.len > 0;
    if (pathway != NULL)
        buffer_append_bytes(out, pathway->base);
    buffer_append_text(out, track->name);
    if (muxed != NULL)
        buffer_printf(out, "%c%s", TS_TRACKS_SEPARATOR, muxed->name);
    buffer_append_text(out, playlist);
    if (has_query)
        buffer_append_bytes(out, pathway->query);
    if (asset->query[0] != 0)
        buffer_printf(out, "%s%s", has_query ? "&" : "?", asset->query);
}

/*
 * DEFAULT, AUTOSELECT, FORCED. Off until the viewer, or what they set up for
 * all films, says otherwise; and what a player may choose by itself differs in
 * language, or in being forced (RFC 8216bis §4.4.6.1).
 */
static void
subtitles_choice_write(const struct asset *asset,
                       const struct track_info *track, struct buffer *out)
{
    bool is_first = true;
    for (const struct track_info *t = asset->tracks; t < track; t++) {
        if (t->kind == TRACK_TEXT && t->is_forced == track->is_forced
            && strcmp(t->language, track->language) == 0)
            is_first = false;
    }
    buffer_printf(out, ",DEFAULT=NO,AUTOSELECT=%s,FORCED=%s",
                  is_first ? "YES" : "NO", track->is_forced ? "YES" : "NO");
}

void
hls_subtitles_write(const struct asset *asset, const struct track_info *track,
                    bool is_taken, const struct pathway *pathway,
                    struct buffer *out)
{
    buffer_append_text(out, "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=");
    hls_group_id_write("subs", 0, pathway, out);
    hls_label_write(track, is_taken, out);
    subtitles_choice_write(asset, track, out);
    buffer_append_text(out, ",URI=\"");
    hls_uri_write(asset, track, NULL, "/index.m3u8", pathway, out);
    buffer_append_text(out, "\"\n");
}

void
hls_subtitles_attribute_write(const struct pathway *pathway, struct buffer *out)
{
    buffer_append_text(out, ",SUBTITLES=");
    hls_group_id_write("subs", 0, pathway, out);
}

void
hls_resolution_write(const struct track_info *track, struct buffer *out)
{
    if (track->width != 0 && track->height != 0)
        buffer_printf(out, ",RESOLUTION=%ux%u", track->width, track->height);
}

void
hls_frame_rate_write(const struct track_info *track, struct buffer *out)
{
    const uint64_t den = track->frame_rate_den;
    const uint64_t rate =
        ((uint64_t) track->frame_rate_num * 1000 + den / 2) / den;
    if (rate > 0)
        buffer_printf(out, ",FRAME-RATE=%llu.%03llu",
                      (unsigned long long) (rate / 1000),
                      (unsigned long long) (rate % 1000));
}

void
hls_pathway_id_write(const struct pathway *pathway, struct buffer *out)
{
    if (pathway == NULL)
        return;
    buffer_append_text(out, ",PATHWAY-ID=\"");
    buffer_append_bytes(out, pathway->name);
    buffer_append_text(out, "\"");
}

void
hls_steering_write(const struct pathways *steering, struct buffer *out)
{
    buffer_append_text(out, "#EXT-X-CONTENT-STEERING:SERVER-URI=\"");
    buffer_append_bytes(out, steering->server_uri);
    buffer_append_text(out, "\",PATHWAY-ID=\"");
    buffer_append_bytes(out, steering->list[0].name);
    buffer_append_text(out, "\"\n");
}
