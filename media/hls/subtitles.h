/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_HLS_SUBTITLES_H
#define MEDIA_HLS_SUBTITLES_H

/* What multivariant playlists of either kind say of subtitles. Internal to
 * media/hls/. */

#include "media/track.h"

/*
 * DEFAULT, AUTOSELECT, FORCED. Off until the viewer, or what they set up for
 * all films, says otherwise; and what a player may choose by itself differs in
 * language, or in being forced (RFC 8216bis §4.4.6.1).
 */
static inline void
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

#endif
