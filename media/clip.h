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
 * sheets of thumbnails, which may have begun long before. ERR_NOT_FOUND when
 * the film is over before it; the asset is then of no more use. */
int asset_clip(struct asset *asset, const struct clip *clip);

/* The playlists of the index are those of the part, from the border nearest to
 * the start to the one nearest to the end: the multivariant playlist says
 * where those of the video are, and others are a little beside. ERR_NOT_FOUND:
 * nothing is in it. */
int track_index_clip(struct track_index *index, const struct clip *clip);

/* The bandwidths of a part, which its segments tell, and so the indexes of its
 * tracks: an asset has those of the whole film. */
struct clip_rate {
    char name[TRACK_NAME_LEN_MAX + 1]; /* of the track */
    uint32_t peak, average;            /* bit/s; 0: not known */
    uint32_t key_peak, key_average;    /* of key frames alone */
};

struct clip_rates {
    struct clip clip; /* its borders */
    size_t count;
    struct clip_rate list[ASSET_TRACKS_MAX];
};

/* Which tracks there are in an asset that is clipped; none is known.
 * ERR_INVALID: a film of more than 10^9 s. */
int clip_rates_init(struct clip_rates *rates, const struct asset *part);
/* Of the track with that number in the list, by its index of the whole film. */
void clip_rates_find(struct clip_rates *rates, size_t number,
                     const struct track_index *index);
/* What is known takes the place of the film's. */
void asset_rates_set(struct asset *part, const struct clip_rates *rates);

#endif
