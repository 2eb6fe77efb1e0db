/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_PLAYLIST_PARSE_H
#define PROGRAMS_VODST_PLAYLIST_PARSE_H

/*
 * HLS playlists (RFC 8216) as an emulated player reads them: which renditions
 * there are, and where the segments of one lie. Every struct bytes points into
 * the parsed text, which must outlive it. Only finished playlists (VOD) whose
 * segments are whole files are read.
 */

#include "core/bytes.h"
#include "core/err.h"

#define PLAYLIST_TEXT_BYTES_MAX (8u << 20)
#define PLAYLIST_VARIANTS_MAX 32
#define PLAYLIST_AUDIOS_MAX 32
#define PLAYLIST_SEGMENTS_MAX 200000
#define PLAYLIST_URI_BYTES_MAX 2048
#define PLAYLIST_SEGMENT_MS_MAX 3600000

struct playlist_variant {
    struct bytes uri;
    struct bytes audio_group; /* empty: the sound is in the variant itself */
    struct bytes pathway;     /* empty: the only place */
    uint64_t bandwidth_bps;
};

struct playlist_audio {
    struct bytes group;
    struct bytes uri; /* empty: the sound is in the variant itself */
    bool is_default;
};

struct multivariant {
    struct playlist_variant variants[PLAYLIST_VARIANTS_MAX]; /* best first */
    size_t variant_count;
    struct playlist_audio audios[PLAYLIST_AUDIOS_MAX];
    size_t audio_count;
};

struct playlist_segment {
    struct bytes uri;
    uint64_t end_ms; /* from the film's start to this segment's end */
};

struct media_playlist {
    struct playlist_segment *segments;
    size_t segment_count;
    struct bytes init_uri; /* empty: none */
};

/* Of several pathways the first is read: the player does not steer.
 * ERR_INVALID (no playlist, a bad tag), ERR_LIMIT, ERR_NOT_FOUND (no variant
 * in it). */
int multivariant_parse(struct bytes text, struct multivariant *out);

/* The audio rendition that plays beside a variant: the group's default, else
 * its first. NULL where the sound is in the variant itself. */
const struct playlist_audio *multivariant_audio(
    const struct multivariant *multivariant,
    const struct playlist_variant *variant);

/* ERR_INVALID, ERR_LIMIT, ERR_MEMORY, ERR_UNSUPPORTED (live, or byte ranges).
 * A success is given back by media_playlist_fini. */
int media_playlist_parse(struct bytes text, struct media_playlist *out);
void media_playlist_fini(struct media_playlist *playlist);

/* The first segment that ends after a time; segment_count past the end. */
size_t media_playlist_find(const struct media_playlist *playlist,
                           uint64_t time_ms);

#endif
