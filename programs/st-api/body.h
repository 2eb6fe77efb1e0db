/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_BODY_H
#define PROGRAMS_ST_API_BODY_H

/*
 * The JSON bodies st-api takes, read strictly: a field that is unknown,
 * doubled, missing, of another type or over its size is refused with a message
 * that names it.
 */

#include "core/network.h"
#include "programs/st-api/catalogue.h"

#define BODY_SIZE_MAX (64u << 10) /* bytes */
#define BODY_VIEWER_LEN_MAX 128
#define BODY_ADDRESS_LEN_MAX 45
#define BODY_MESSAGE_SIZE 256
#define RULE_TIMEOUT_MAX_MS 10000
#define RULE_TTL_MAX_S 86400

/* What players of a device take. X(symbol, name, HLS, DASH), the last two as
 * below the version, or NULL; the first is meant where none is told. */
#define DEVICES(X)                                       \
    X(ANY, "any", "master.m3u8", "manifest.mpd")         \
    X(APPLE, "apple", "master.m3u8", NULL)               \
    X(ANDROID, "android", "master.m3u8", "manifest.mpd") \
    X(TV, "tv", "master.m3u8", "manifest.mpd")           \
    X(LEGACY, "legacy", "ts/master.m3u8", NULL)

enum device {
#define DEVICE(symbol, name, hls, dash) DEVICE_##symbol,
    DEVICES(DEVICE)
#undef DEVICE
        DEVICE_COUNT
};

/* How the film is encrypted on its way. AES-128 is of transport streams alone. */
#define PLAY_SCHEMES(X) \
    X(CLEAR, "clear")   \
    X(CENC, "cenc")     \
    X(CBCS, "cbcs")     \
    X(AES128, "aes-128")

enum play_scheme {
    PLAY_SCHEME_UNTOLD,
#define PLAY_SCHEME(symbol, name) PLAY_SCHEME_##symbol,
    PLAY_SCHEMES(PLAY_SCHEME)
#undef PLAY_SCHEME
        PLAY_SCHEME_COUNT
};

/* The best pictures that there are keys of: X(symbol, name, how the folder of
 * their manifests ends). */
#define QUALITIES(X)   \
    X(SD, "SD", "-sd") \
    X(HD, "HD", "-hd") \
    X(UHD, "UHD", "")

enum quality {
    QUALITY_ANY,
#define QUALITY(symbol, name, ending) QUALITY_##symbol,
    QUALITIES(QUALITY)
#undef QUALITY
        QUALITY_COUNT
};

#define PLAYS_MAX 1000 /* at once */

/* What a play is with, and what its entitlement says. */
struct play_terms {
    enum play_scheme scheme;
    enum quality quality;
    bool is_single_use; /* each key is given once */
    bool has_key_uris;  /* playlists say where keys are, to players that send
                         * no entitlement */
    uint64_t plays;     /* of the viewer's at once; 0: any */
};

struct body_playback {
    char content[CONTENT_ID_LEN_MAX + 1];
    char viewer[BODY_VIEWER_LEN_MAX + 1];  /* empty: not told */
    char service[CONTENT_ID_LEN_MAX + 1];  /* empty: whose key it is */
    char region[CATALOGUE_REGION_LEN + 1]; /* empty: not told */
    bool steering;   /* the player follows content steering */
    bool trick_play; /* it plays the key frames of an MPD alone */
    enum device device;
    struct play_terms terms;
    struct network address; /* the viewer's; family 0: not told */
};

struct body_content {
    char title[CATALOGUE_TITLE_LEN_MAX + 1];
    char version[CONTENT_ID_LEN_MAX + 1];
    uint64_t duration_ms;
    struct catalogue_track tracks[CATALOGUE_TRACKS_MAX]; /* names differ */
    unsigned track_count;
    struct catalogue_window windows[CATALOGUE_WINDOWS_MAX];
    unsigned window_count;
    bool has_windows;  /* they are told, if only that there are none */
    int8_t protection; /* 1: players need a licence; 0: none; -1: not told */
};

/* What is meant when a service's rule does not answer. */
#define RULE_DEFAULTS(X) \
    X(REFUSE, "refuse")  \
    X(ALLOW, "allow")

enum rule_default {
#define RULE_DEFAULT(symbol, name) RULE_DEFAULT_##symbol,
    RULE_DEFAULTS(RULE_DEFAULT)
#undef RULE_DEFAULT
};

struct body_service {
    char name[CATALOGUE_TITLE_LEN_MAX + 1];
    uint64_t rate_per_s, burst;               /* 0: not told */
    char rule_url[CATALOGUE_URL_LEN_MAX + 1]; /* empty: not told */
    uint64_t rule_timeout_ms, rule_ttl_s;     /* 0: not told */
    enum rule_default rule_default;
};

struct body_key {
    uint64_t expires_s;                  /* Unix time; 0: never */
    char jwk[CATALOGUE_JWK_LEN_MAX + 1]; /* as JSON; empty: not told */
};

/* ERR_INVALID with the message set: for the caller, to be shown as it is. */
int body_playback_parse(struct bytes body, struct body_playback *out,
                        char message[BODY_MESSAGE_SIZE]);
int body_renewal_parse(struct bytes body, struct body_playback *out,
                       char message[BODY_MESSAGE_SIZE]);
int body_content_parse(struct bytes body, struct body_content *out,
                       char message[BODY_MESSAGE_SIZE]);
int body_service_parse(struct bytes body, struct body_service *out,
                       char message[BODY_MESSAGE_SIZE]);
int body_campaign_parse(struct bytes body, struct catalogue_campaign *out,
                        char message[BODY_MESSAGE_SIZE]);
int body_key_parse(struct bytes body, struct body_key *out,
                   char message[BODY_MESSAGE_SIZE]);

#endif
