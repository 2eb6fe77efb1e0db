/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_SIGNAL_H
#define MEDIA_CRYPT_SIGNAL_H

/*
 * How a player learns of a key: `pssh` boxes of init segments (ISO/IEC 23001-7
 * §8.1), EXT-X-KEY of HLS (RFC 8216bis §4.4.4.4), ContentProtection of DASH
 * (ISO/IEC 23009-1 §5.8.4.1). For Widevine, PlayReady, FairPlay and ClearKey:
 * as the key's provider gives it, or else written from the key alone.
 */

#include "media/crypt/cenc.h"

enum crypt_system {
    CRYPT_SYSTEM_WIDEVINE,
    CRYPT_SYSTEM_PLAYREADY,
    CRYPT_SYSTEM_FAIRPLAY,
    CRYPT_SYSTEM_COMMON, /* ClearKey */
};
#define CRYPT_SYSTEM_COUNT 4

/* What a provider may give of a key for a system (CPIX 2.3 §5.2.7). */
enum crypt_part {
    CRYPT_PART_PSSH,         /* whole boxes */
    CRYPT_PART_PROTECTION,   /* what is in the MPD's ContentProtection */
    CRYPT_PART_MEDIA,        /* whole lines of media playlists */
    CRYPT_PART_MULTIVARIANT, /* whole lines of multivariant playlists */
};
#define CRYPT_PART_COUNT 4

/* What else a PlayReady header says: DS_ID is a service's domain, in base64. Empty:
 * not told. */
struct crypt_playready {
    struct bytes la_url, lui_url, ds_id;
};

struct crypt_signals { /* of one key; empty: not given */
    struct bytes parts[CRYPT_SYSTEM_COUNT][CRYPT_PART_COUNT];
};

/* What players are told of a track's encryption: one key, or another in each
 * period. */
struct crypt_track {
    enum crypt_scheme scheme;              /* 0: it is in the clear */
    const uint8_t (*kids)[CRYPT_KEY_SIZE]; /* of the periods in order */
    uint32_t period_count;                 /* 1 and more */
    uint32_t period_segments;              /* how long they are, of several */
    const struct crypt_signals *const *signals; /* of the kids, or NULL; as each
                                                 * of them */
    const struct bytes *uris; /* where the kids' keys are to be had as they are,
                               * for players of HLS without a license system,
                               * which are told of none then; or NULL */
    const struct crypt_playready *playready; /* NULL: nothing */
    /* What a box of ClearKey names instead of the kids: hls.js asks for the keys
     * of the first box that it meets, be it the sound's, and no others. */
    const uint8_t (*film_kids)[CRYPT_KEY_SIZE];
    uint32_t film_kid_count; /* 0: the kids */
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
    struct crypt_playready playready;
};

/* "edef8ba9-..." */
const char *crypt_system_id(enum crypt_system system);

/* Are players told of it? */
bool crypt_system_is_wanted(const struct crypt_systems *systems,
                            enum crypt_system system, enum crypt_scheme scheme);

/* Prefixes that are declared around CRYPT_PART_PROTECTION. */
#define CRYPT_PROTECTION_PREFIXES        \
    " xmlns:cenc=\"urn:mpeg:cenc:2013\"" \
    " xmlns:mspr=\"urn:microsoft:playready\""

/* A KID as text: "00112233-4455-6677-8899-aabbccddeeff". */
void crypt_uuid_append(const uint8_t id[CRYPT_KEY_SIZE], struct buffer *out);

/* The boxes of all systems that have one. They, and those in an MPD, are of the
 * first 64 keys; fragments have those of their own period. What is given stands
 * behind what is made for the keys that nothing is given for. */
void crypt_pssh_write(const struct crypt_track *track,
                      const struct crypt_systems *systems, struct buffer *out);

/* What a provider would give of a track's one key for a system, made from the key
 * alone; nothing where the system has none of it. */
void crypt_part_write(const struct crypt_track *track, enum crypt_system system,
                      enum crypt_part part, struct buffer *out);

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
