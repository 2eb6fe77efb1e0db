/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_HLS_TAGS_H
#define MEDIA_HLS_TAGS_H

/*
 * What the playlists of fragmented MP4 and of transport streams have in common
 * (RFC 8216bis §4.4). A pathway is NULL where there is only one place. Internal
 * to media/hls/.
 */

#include "core/buffer.h"
#include "media/pathways.h"
#include "media/track.h"

/* To the nearest microsecond. Each EXTINF is the difference of two of these,
 * so that rounding never adds up over a film. */
static inline uint64_t
hls_microseconds(uint64_t ticks, uint32_t timescale)
{
    return (uint64_t) (((unsigned __int128) ticks * 1000000 + timescale / 2)
                       / timescale);
}

/* What NAME says, unless another of its group is called so. */
const char *hls_label(const struct track_info *track);

/* NAME, which is unique in its group (§4.4.6.1.1): where the label is taken the
 * track's own name makes it; and LANGUAGE. */
void hls_label_write(const struct track_info *track, bool is_taken,
                     struct buffer *out);

/* "audio", then "audio1", ...; each pathway has groups of its own, as their
 * URIs are others: "audio/origin2". */
void hls_group_id_write(const char *name, size_t number,
                        const struct pathway *pathway, struct buffer *out);

/* Of a track's playlist; `muxed` with another one, or NULL. */
void hls_uri_write(const struct asset *asset, const struct track_info *track,
                   const struct track_info *muxed, const char *playlist,
                   const struct pathway *pathway, struct buffer *out);

/* EXT-X-MEDIA of a text track, and the attribute of the variants. */
void hls_subtitles_write(const struct asset *asset,
                         const struct track_info *track, bool is_taken,
                         const struct pathway *pathway, struct buffer *out);
void hls_subtitles_attribute_write(const struct pathway *pathway,
                                   struct buffer *out);

/* Attributes of variants, each behind a comma; nothing where it is unknown. */
void hls_resolution_write(const struct track_info *track, struct buffer *out);
void hls_frame_rate_write(const struct track_info *track, struct buffer *out);
void hls_pathway_id_write(const struct pathway *pathway, struct buffer *out);

void hls_steering_write(const struct pathways *steering, struct buffer *out);

#endif
