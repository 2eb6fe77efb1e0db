/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_SIGNAL_H
#define MEDIA_CRYPT_SIGNAL_H

/*
 * How a player learns of a key: `pssh` boxes of init segments (ISO/IEC 23001-7
 * §8.1), EXT-X-KEY of HLS (RFC 8216bis §4.4.4.4), ContentProtection of DASH
 * (ISO/IEC 23009-1 §5.8.4.1). Written from the key alone, for Widevine,
 * PlayReady, FairPlay and ClearKey.
 */

#include "media/crypt/cenc.h"

struct crypt_systems {
    bool has_widevine, has_playready, has_clearkey;
    bool has_fairplay;         /* HLS with cbcs only; skd://<kid> */
    struct bytes clearkey_url; /* of the licences, for DASH; empty: none */
};

/* The boxes of all systems that have one. */
void crypt_pssh_write(const struct crypt *crypt,
                      const struct crypt_systems *systems, struct buffer *out);

/* The media playlist with the tags before its EXT-X-MAP. */
void crypt_playlist_write(struct bytes playlist, const struct crypt *crypt,
                          const struct crypt_systems *systems,
                          struct buffer *out);

/* The multivariant playlist or MPD of an asset, with the keys of its tracks:
 * EXT-X-SESSION-KEY for each key, an AdaptationSet with ContentProtection for
 * each. crypts[i] is of asset->tracks[i]; scheme 0: it is in the clear.
 * Playlists of key frames are left out: their ranges are those of clear
 * segments. */
void crypt_multivariant_write(struct bytes playlist, const struct crypt *crypts,
                              size_t count, const struct crypt_systems *systems,
                              struct buffer *out);
void crypt_mpd_write(struct bytes mpd, const struct asset *asset,
                     const struct crypt *crypts,
                     const struct crypt_systems *systems, struct buffer *out);

#endif
