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

/* What players are told of a track's encryption: one key, or another in each
 * period. */
struct crypt_track {
    enum crypt_scheme scheme;              /* 0: it is in the clear */
    const uint8_t (*kids)[CRYPT_KEY_SIZE]; /* of the periods in order */
    uint32_t period_count;                 /* 1 and more */
    uint32_t period_segments;              /* how long they are, of several */
};

/* The systems' identifiers in DASH-IF's registry; COMMON is ClearKey's where it
 * has boxes. */
#define CRYPT_WIDEVINE "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"
#define CRYPT_PLAYREADY "9a04f079-9840-4286-ab92-e65be0885f95"
#define CRYPT_FAIRPLAY "94ce86fb-07ff-4f43-adb8-93d2fa968ca2"
#define CRYPT_COMMON "1077efec-c0b2-4d02-ace3-3c1e52e2fb4b"

struct crypt_systems {
    bool has_widevine, has_playready, has_clearkey;
    bool has_fairplay;         /* HLS with cbcs only; skd://<kid> */
    struct bytes clearkey_url; /* of the licences, for DASH; empty: none */
};

/* A KID as text: "00112233-4455-6677-8899-aabbccddeeff". */
void crypt_uuid_append(const uint8_t id[CRYPT_KEY_SIZE], struct buffer *out);

/* The boxes of all systems that have one. They, and those in an MPD, are of the
 * first 64 keys; fragments have those of their own period. */
void crypt_pssh_write(const struct crypt_track *track,
                      const struct crypt_systems *systems, struct buffer *out);

/* The media playlist with the tags before its EXT-X-MAP, and before the first
 * segment of each period with another key. */
void crypt_playlist_write(struct bytes playlist,
                          const struct crypt_track *track,
                          const struct crypt_systems *systems,
                          struct buffer *out);

/* The multivariant playlist or MPD of an asset, with the keys of its tracks:
 * EXT-X-SESSION-KEY for each key of the first period, an AdaptationSet with
 * ContentProtection for each. tracks[i] is of asset->tracks[i]. Playlists of
 * key frames are left out: their ranges are those of clear segments. */
void crypt_multivariant_write(struct bytes playlist,
                              const struct crypt_track *tracks, size_t count,
                              const struct crypt_systems *systems,
                              struct buffer *out);
void crypt_mpd_write(struct bytes mpd, const struct asset *asset,
                     const struct crypt_track *tracks,
                     const struct crypt_systems *systems, struct buffer *out);

#endif
