/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CLIP_H
#define MEDIA_CLIP_H

/*
 * A part of a film, by times: playlists and MPDs of some of its segments, which
 * stay what and where they are. It is cut at borders of segments, where key
 * frames are.
 */

#include "media/index.h"

#define CLIP_TO_END UINT64_MAX

struct clip {
    uint64_t start_us, end_us; /* of the film; end_us after start_us */
};

/* "start=12.5&end=60" of a query, in seconds with up to six decimals, either
 * of which may be left out; other arguments are passed over. ERR_NOT_FOUND:
 * neither is there. ERR_INVALID: given twice, no number, more than 10^9 s, or
 * nothing lies between them. */
int clip_parse(struct bytes query, struct clip *out);

/* The manifests that are written of the asset from now on are those of the
 * part: from the border before the start to the one behind the end, of the
 * segments of its first video. What has nothing in it is taken out, and so are
 * thumbnails, whose sheets are longer than that. ERR_NOT_FOUND when the film is
 * over before it; the asset is then of no more use. */
int asset_clip(struct asset *asset, const struct clip *clip);

/* The playlists of the index are those of the part, from the border nearest to
 * the start to the one nearest to the end: the multivariant playlist says
 * where those of the video are, and others are a little beside. ERR_NOT_FOUND:
 * nothing is in it. */
int track_index_clip(struct track_index *index, const struct clip *clip);

#endif
