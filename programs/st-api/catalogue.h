/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_CATALOGUE_H
#define PROGRAMS_ST_API_CATALOGUE_H

/*
 * The catalogue: which contents can be played, the versions their files are
 * stored under, and the tracks of each. A version never changes: a content that
 * is replaced gets another one, and the old one is kept until no play can be
 * on it any more. Kept in platform/database.h. A catalogue belongs to one
 * thread; several, also of several programs, may be open on one database.
 */

#include "core/buffer.h"
#include "core/content.h"
#include "core/revocations.h"

#define CATALOGUE_TITLE_LEN_MAX 200 /* bytes of UTF-8 */
#define CATALOGUE_LIST_MAX 1000
#define CATALOGUE_NAME_LEN_MAX 255 /* of an idempotency key */
#define CATALOGUE_DURATION_MAX_MS (30ull * 24 * 3600 * 1000)
#define CATALOGUE_TRACKS_MAX 128 /* of one version */
#define CATALOGUE_CODECS_LEN_MAX 64
#define CATALOGUE_LANGUAGE_LEN_MAX 35 /* RFC 5646, section 4.4.1 */

struct catalogue_content {
    char id[CONTENT_ID_LEN_MAX + 1];
    char title[CATALOGUE_TITLE_LEN_MAX + 1];
    char version[CONTENT_ID_LEN_MAX + 1];
    uint64_t duration_ms;
    uint64_t created_s; /* Unix time */
    uint64_t updated_s;
    bool is_protected; /* its players need a licence */
};

struct catalogue_version {
    char content[CONTENT_ID_LEN_MAX + 1];
    char version[CONTENT_ID_LEN_MAX + 1];
    uint64_t duration_ms;
    uint64_t created_s; /* Unix time */
    uint64_t retired_s; /* when another one took its place; 0: it is played */
    bool is_collecting; /* its files are being taken away */
};

#define CATALOGUE_TRACK_KINDS(X) \
    X(VIDEO, "video")            \
    X(AUDIO, "audio")            \
    X(SUBTITLES, "subtitles")    \
    X(THUMBNAILS, "thumbnails")

enum catalogue_track_kind {
#define CATALOGUE_TRACK_KIND(symbol, name) CATALOGUE_TRACK_##symbol,
    CATALOGUE_TRACK_KINDS(CATALOGUE_TRACK_KIND)
#undef CATALOGUE_TRACK_KIND
        CATALOGUE_TRACK_KIND_COUNT
};

/* What does not fit a kind is empty or 0. */
struct catalogue_track {
    char name[CONTENT_ID_LEN_MAX + 1]; /* "v0": its files' and its URLs' */
    enum catalogue_track_kind kind;
    char codecs[CATALOGUE_CODECS_LEN_MAX + 1]; /* RFC 6381 */
    char language[CATALOGUE_LANGUAGE_LEN_MAX + 1];
    char label[CATALOGUE_TITLE_LEN_MAX + 1];
    uint64_t width, height; /* pixels */
    uint64_t bandwidth;     /* bit/s, the peak of a segment */
    uint64_t channels;
};

#define CATALOGUE_WINDOWS_MAX 64 /* of one content */
#define CATALOGUE_REGION_LEN 2   /* ISO 3166-1 alpha-2 */

/* When, where and for whom a content may be played. */
struct catalogue_window {
    uint64_t starts_s; /* Unix time; from then on */
    uint64_t ends_s;   /* and before this; 0: without an end */
    char region[CATALOGUE_REGION_LEN + 1]; /* empty: any */
    char service[CONTENT_ID_LEN_MAX + 1];  /* empty: any */
};

#define CATALOGUE_CAMPAIGN_MAX 1000 /* contents of one */

/* Contents that may be played while it runs, whatever their own windows say. */
struct catalogue_campaign {
    char id[CONTENT_ID_LEN_MAX + 1];
    char name[CATALOGUE_TITLE_LEN_MAX + 1];
    struct catalogue_window window;
    char contents[CATALOGUE_CAMPAIGN_MAX][CONTENT_ID_LEN_MAX + 1];
    unsigned content_count;
};

/* "video"; NULL for what is none. */
const char *catalogue_track_kind_name(enum catalogue_track_kind kind);

struct catalogue;

/* `place` as for database_open. Logs the reason on failure. */
int catalogue_open(const char *place, struct catalogue **out);
void catalogue_close(struct catalogue *catalogue); /* NULL is fine */

struct catalogue_put {
    struct catalogue_content content; /* of a valid id */
    const struct catalogue_track *tracks;
    unsigned track_count; /* 0: the version keeps those that it has */
    const struct catalogue_window *windows; /* NULL: those it has stay */
    unsigned window_count;
    bool is_protection_kept; /* as it was; of a new one: there is none */
};

/*
 * Adds the content or replaces it, keeping `created_s`; then reads it back
 * into *out. *is_new tells which. The version it had is retired. All or
 * nothing. ERR_STALE: the version is being taken away.
 */
int catalogue_put(struct catalogue *catalogue, const struct catalogue_put *put,
                  uint64_t now_s, struct catalogue_content *out, bool *is_new);

/* ERR_NOT_FOUND. */
int catalogue_find(struct catalogue *catalogue, struct bytes id,
                   struct catalogue_content *out);

/* In order of their beginning; up to CATALOGUE_WINDOWS_MAX. */
int catalogue_windows(struct catalogue *catalogue, struct bytes content,
                      struct catalogue_window *out, unsigned *count);

/* Its version is retired. ERR_NOT_FOUND. */
int catalogue_remove(struct catalogue *catalogue, struct bytes id,
                     uint64_t now_s);

/* Calls `each` for up to `limit` contents in order of id, from the first after
 * `after` (which need not exist). *has_more: there would be another. */
int catalogue_list(struct catalogue *catalogue, struct bytes after,
                   unsigned limit,
                   void (*each)(const struct catalogue_content *content,
                                void *context),
                   void *context, bool *has_more);

/* All versions of a content, the oldest first; none of an unknown one. */
int catalogue_versions(struct catalogue *catalogue, struct bytes content,
                       void (*each)(const struct catalogue_version *version,
                                    void *context),
                       void *context);

/* Versions of any content of which no token is good any more, at `now_s`, where
 * tokens are good for `ttl_s`, or one and a half times the film if that is
 * more; and those that are being taken away. In order of when they were retired,
 * content and version, behind these three of `after`, or zeroed. */
int catalogue_retired(struct catalogue *catalogue, uint64_t now_s,
                      uint64_t ttl_s, const struct catalogue_version *after,
                      unsigned limit,
                      void (*each)(const struct catalogue_version *version,
                                   void *context),
                      void *context, bool *has_more);

/* ERR_NOT_FOUND. */
int catalogue_version_find(struct catalogue *catalogue, struct bytes content,
                           struct bytes version, struct catalogue_version *out);

/* In order of name; up to CATALOGUE_TRACKS_MAX. */
int catalogue_tracks(struct catalogue *catalogue, struct bytes content,
                     struct bytes version, struct catalogue_track *out,
                     unsigned *count);

/* Such a version is being taken away from now on, and is not played again until
 * it is forgotten. Again is fine. ERR_NOT_FOUND; ERR_STALE: it is played, or may
 * still be. */
int catalogue_version_collect(struct catalogue *catalogue, struct bytes content,
                              struct bytes version, uint64_t now_s,
                              uint64_t ttl_s);

/* It is not being taken away after all: nothing of it went. ERR_NOT_FOUND. */
int catalogue_version_release(struct catalogue *catalogue, struct bytes content,
                              struct bytes version);

/* It is about to be stored again: a retired one is so since `now_s`. Of one that
 * is played nothing changes. ERR_NOT_FOUND; ERR_STALE: it is being taken away.
 */
int catalogue_version_keep(struct catalogue *catalogue, struct bytes content,
                           struct bytes version, uint64_t now_s);

/* Forgets such a version, and its tracks. ERR_NOT_FOUND; ERR_STALE: it is
 * played, or may still be. */
int catalogue_version_remove(struct catalogue *catalogue, struct bytes content,
                             struct bytes version, uint64_t now_s,
                             uint64_t ttl_s);

/* ---- plays ---- */

struct catalogue_asker {
    const char *service, *region; /* empty: not told, which fits no window that
                                     names one */
    uint64_t now_s;
};

struct catalogue_played {
    char version[CONTENT_ID_LEN_MAX + 1];
    uint64_t duration_ms;
    char thumbnails[CONTENT_ID_LEN_MAX + 1]; /* the track; empty: none */
    bool is_protected;
    uint64_t retired_s; /* of a renewal; 0: it is not */
};

/* The version to play, all that a play needs to know: the hot path.
 * ERR_NOT_FOUND; ERR_DENIED: it has windows, and neither these nor a campaign
 * fits. One without windows is always there. */
int catalogue_play(struct catalogue *catalogue, struct bytes id,
                   const struct catalogue_asker *asker,
                   struct catalogue_played *out);

/* The same for a play that is under way, of its own version. ERR_REVOKED. */
int catalogue_renew(struct catalogue *catalogue, struct bytes id,
                    struct bytes version, uint64_t session,
                    const struct catalogue_asker *asker,
                    struct catalogue_played *out);

#define CATALOGUE_DIGEST_LEN 64

/* A play that was asked for under a name, which is its service's own: a digest
 * of what was sent. */
struct catalogue_once {
    char service[CONTENT_ID_LEN_MAX + 1]; /* empty: nobody's */
    char name[CATALOGUE_DIGEST_LEN + 1];
    char digest[CATALOGUE_DIGEST_LEN + 1]; /* of what was asked */
    uint64_t session;
    uint64_t expires_s;
    char version[CONTENT_ID_LEN_MAX + 1];
};

/* So many that are nobody's, of which anybody can make up more, are kept. */
#define CATALOGUE_ONCE_NOBODYS_MAX 10000

/* The first of a name is kept until it expires; of any other *once becomes
 * that. ERR_DENIED: the first was asked something else. Where there is no room
 * for a name that is nobody's it is as if there were none. */
int catalogue_play_once(struct catalogue *catalogue,
                        struct catalogue_once *once, uint64_t now_s);

/* Of all that may be revoked at a time, how many one service may have, and how
 * many are left to the admin, whatever services do. */
#define CATALOGUE_REVOCATIONS_SHARE (REVOCATIONS_MAX / 4)

struct catalogue_revocation {
    uint64_t session;
    uint64_t ends_s;     /* all its tokens are over by then */
    const char *service; /* that revokes it; empty: nobody's; NULL: the admin */
};

/* None of its tokens is to be good any more; again is fine. ERR_LIMIT: as
 * many are as may be. */
int catalogue_revoke(struct catalogue *catalogue,
                     const struct catalogue_revocation *revocation,
                     uint64_t now_ms);

/* Higher than last time: another was revoked, here or elsewhere. It is no less
 * than the time of that in ms, so that of a database that begins anew it is
 * higher, too. */
int catalogue_revocations_number(struct catalogue *catalogue, uint64_t *out);
/* All of them as core/revocations.h has them. */
int catalogue_revocations(struct catalogue *catalogue, uint64_t *number,
                          struct buffer *out);

/* Forgets of plays what is over, and of very many the rest the next time. */
int catalogue_plays_forget(struct catalogue *catalogue, uint64_t now_s);

/* ---- campaigns ---- */

/* Contents need not exist yet. */
int catalogue_campaign_put(struct catalogue *catalogue,
                           const struct catalogue_campaign *campaign,
                           bool *is_new);
/* ERR_NOT_FOUND. */
int catalogue_campaign_find(struct catalogue *catalogue, struct bytes id,
                            struct catalogue_campaign *out);
int catalogue_campaign_remove(struct catalogue *catalogue, struct bytes id);
/* In order of id, without their contents. */
int catalogue_campaigns(struct catalogue *catalogue, struct bytes after,
                        unsigned limit,
                        void (*each)(const struct catalogue_campaign *campaign,
                                     void *context),
                        void *context, bool *has_more);

/* ---- services, which ask for plays ---- */

#define CATALOGUE_SERVICES_MAX 16384
#define CATALOGUE_SERVICE_KEYS_MAX 65536 /* of all services */
#define CATALOGUE_KEY_ID_LEN 16
#define CATALOGUE_RATE_MAX 1000000
#define CATALOGUE_URL_LEN_MAX 512
#define CATALOGUE_JWK_LEN_MAX 2048

struct catalogue_service {
    char id[CONTENT_ID_LEN_MAX + 1];
    char name[CATALOGUE_TITLE_LEN_MAX + 1];
    uint64_t rate_per_s; /* requests it may make; 0: any number */
    uint64_t burst;      /* at once */
    uint64_t created_s;
    char rule_url[CATALOGUE_URL_LEN_MAX + 1]; /* empty: there is no rule */
    uint64_t rule_timeout_ms, rule_ttl_s;
    bool rule_allows_silence; /* who does not answer has allowed it */
};

/* Of a key that is a secret only what recognises it is kept. */
struct catalogue_service_key {
    char id[CATALOGUE_KEY_ID_LEN + 1];
    char service[CONTENT_ID_LEN_MAX + 1];
    uint8_t digest[32]; /* SHA-256; of a public key it means nothing */
    uint64_t created_s;
    uint64_t expires_s; /* 0: never */
    char *jwk;          /* a public key; NULL: it is a secret */
};

/* A service that is there keeps its creation and its keys. ERR_LIMIT: there are
 * CATALOGUE_SERVICES_MAX others. */
int catalogue_service_put(struct catalogue *catalogue,
                          const struct catalogue_service *service,
                          uint64_t now_s, bool *is_new);
/* With its keys. ERR_NOT_FOUND. */
int catalogue_service_remove(struct catalogue *catalogue, struct bytes id);
/* ERR_NOT_FOUND: there is no such service. ERR_LIMIT: there are
 * CATALOGUE_SERVICE_KEYS_MAX keys. */
int catalogue_service_key_add(struct catalogue *catalogue,
                              const struct catalogue_service_key *key);
int catalogue_service_key_remove(struct catalogue *catalogue,
                                 struct bytes service, struct bytes id);

/* Another number than last time: something about services changed. */
int catalogue_services_number(struct catalogue *catalogue, uint64_t *out);

/* All of them, in order of id, to be freed, and their keys in order of service
 * and age, for catalogue_keys_free. ERR_LIMIT: more than may be. */
int catalogue_services(struct catalogue *catalogue,
                       struct catalogue_service **services,
                       unsigned *service_count,
                       struct catalogue_service_key **keys,
                       unsigned *key_count);
void catalogue_keys_free(struct catalogue_service_key *keys, unsigned count);

/* ---- the whole ---- */

/* Contents there are. */
int catalogue_count(struct catalogue *catalogue, uint64_t *out);

/* 0 while the database answers. */
int catalogue_check(struct catalogue *catalogue);

#endif
