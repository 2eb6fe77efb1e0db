/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_HLS_TS_PLAYLIST_H
#define MEDIA_HLS_TS_PLAYLIST_H

/*
 * The HLS playlists of transport streams (RFC 8216bis), for players that know
 * no fragmented MP4.
 */

#include "media/pathways.h"
#include "media/track.h"

/* Between two tracks that are muxed: "v0~a0". No track has it in its name. */
#define TS_TRACKS_SEPARATOR '~'

/* AES-128 (§4.4.4.4). Without an IV it is the segment's number. */
struct hls_key {
    struct bytes uri; /* fits into a quoted string */
    bool has_iv;
    uint8_t iv[16];
};

/* The key of each period in order, behind a clear lead. */
struct hls_keys {
    const struct hls_key *list;
    uint32_t count;           /* 1 and more */
    uint32_t period_segments; /* how long the periods are, of several */
    uint32_t clear_segments;  /* at the start */
};

/* Media playlist of a track: "<n>.ts", of text "<n>.vtt" relative to it; VOD,
 * exact EXTINF. Muxed tracks have the one of the video. `keys` NULL: in the
 * clear. */
void ts_media_playlist_write(const struct track_info *info,
                             const struct hls_keys *keys, struct buffer *out);

/*
 * Multivariant: "<video>~<audio>/index.m3u8" relative to it, or to each
 * pathway's base; steering NULL: no pathways. A variant holds the first audio
 * track of a codec; where there are several, the others are renditions of
 * their own. Subtitles are renditions. Tracks that cannot be carried are left
 * out (ts_track_check).
 * The buffer has ERR_NOT_FOUND when none is left.
 */
void ts_multivariant_write(const struct asset *asset,
                           const struct pathways *steering, struct buffer *out);

#endif
