/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays: asked for, renewed and revoked. A new one costs one lookup by primary
 * key, two HMACs and one write of JSON by hand: all that goes into it is known
 * to need no escape.
 */

#include "programs/st-api/api_private.h"
#include "programs/st-api/playback_id.h"

#include "core/buffer.h"
#include "platform/clock.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>

/* How old the list of revoked plays may be that nodes are given. */
#define HELD_MS_MAX 10000

struct playback_task {
    struct task task;
    struct playback_id id;      /* what is asked for, then what is answered */
    struct network network;     /* of the viewer, where tokens are bound */
    struct catalogue_once once; /* without a name: it was asked for without */
    struct catalogue_played played;
    bool is_renewal;
    int refusal; /* ERR_DENIED: not for this service, here and now;
                  * ERR_REVOKED; ERR_EXPIRED: its version is; ERR_INVALID: the
                  * name is of something else that was asked; or 0 */
};

/* ---- what is answered ---- */

#define DRM_OF_ANY ~0u
#define DRM_OF_APPLE (1u << DRM_FAIRPLAY)
#define DRM_OF_ANDROID (1u << DRM_WIDEVINE | 1u << DRM_CLEARKEY)
#define DRM_OF_TV (1u << DRM_WIDEVINE | 1u << DRM_PLAYREADY)
#define DRM_OF_LEGACY 0

static const struct {
    const char *hls, *dash; /* below the version; NULL: its players take none */
    unsigned drm;           /* systems that they know */
} devices[] = {
#define DEVICE(symbol, name, hls, dash) {hls, dash, DRM_OF_##symbol},
    DEVICES(DEVICE)
#undef DEVICE
};

/* A play's URLs: deploy/nginx/protected.inc.in reads their folders. */
struct urls {
    const struct api *api;
    const struct playback_id *id;
    struct bytes token, entitlement;
    enum play_scheme scheme;
};

static const char *const scheme_names[] = {
#define PLAY_SCHEME(symbol, name) [PLAY_SCHEME_##symbol] = name,
    PLAY_SCHEMES(PLAY_SCHEME)
#undef PLAY_SCHEME
};

/* What is kept is asked for again at each renewal, when the film may be another
 * one in this. */
static enum play_scheme
scheme_of(const struct api *api, const struct playback_task *playback)
{
    const struct playback_id *id = &playback->id;
    if (secrets_entitlement_key(api->secrets) == NULL)
        return PLAY_SCHEME_CLEAR;
    if (id->terms.scheme != PLAY_SCHEME_UNTOLD)
        return id->terms.scheme;
    if (!playback->played.is_protected)
        return PLAY_SCHEME_CLEAR;
    return id->device == DEVICE_LEGACY ? PLAY_SCHEME_AES128 : PLAY_SCHEME_CBCS;
}

static void
folder_write(const struct urls *urls, bool has_entitlement, struct buffer *out)
{
    static const char *const endings[QUALITY_COUNT] = {[QUALITY_ANY] = "",
#define QUALITY(symbol, name, ending) [QUALITY_##symbol] = ending,
                                                       QUALITIES(QUALITY)
#undef QUALITY
    };
    if (urls->scheme == PLAY_SCHEME_CLEAR)
        return;
    buffer_printf(out, "%s%s", scheme_names[urls->scheme],
                  endings[urls->id->terms.quality]);
    if (has_entitlement) {
        buffer_append_text(out, "~");
        buffer_append_bytes(out, urls->entitlement);
    }
    buffer_append_text(out, "/");
}

static void
url_write(const struct urls *urls, bool has_entitlement, const char *file,
          struct buffer *out)
{
    const struct playback_id *id = urls->id;
    buffer_printf(out, "%s/p/%.*s/%s/%s/", urls->api->playback_url,
                  (int) urls->token.len, (const char *) urls->token.ptr,
                  id->content, id->version);
    folder_write(urls, has_entitlement, out);
    buffer_append_text(out, file);
}

static void
urls_write(const struct urls *urls, const char *thumbnails, struct buffer *out)
{
    const struct playback_id *id = urls->id;
    const bool is_ts = urls->scheme == PLAY_SCHEME_AES128;
    const enum device device = is_ts ? DEVICE_LEGACY : id->device;
    const char *dash = devices[device].dash;
    buffer_append_text(out, ",\"urls\":{\"hls\":\"");
    url_write(urls, is_ts || id->terms.has_key_uris, devices[device].hls, out);
    buffer_append_text(out, id->steering ? "?steering=1\"" : "\"");
    if (dash != NULL) {
        buffer_append_text(out, ",\"dash\":\"");
        url_write(urls, false, dash, out);
        if (id->steering)
            buffer_append_text(out, "?steering=1");
        if (id->trick_play)
            buffer_printf(out, "%ctrick=1", id->steering ? '&' : '?');
        buffer_append_text(out, "\"");
    }
    if (thumbnails[0] != '\0') {
        buffer_append_text(out, ",\"thumbnails\":\"");
        url_write(urls, false, thumbnails, out);
        buffer_append_text(out, "/index.m3u8\"");
    }
    buffer_append_text(out, "}");
}

static void
drm_write(const struct api *api, enum device device, struct buffer *out)
{
    static const char *const names[] = {
#define DRM_SYSTEM(symbol, name) name,
        DRM_SYSTEMS(DRM_SYSTEM)
#undef DRM_SYSTEM
    };
    const char *separator = "";
    buffer_append_text(out, ",\"drm\":{");
    for (unsigned i = 0; i < DRM_SYSTEM_COUNT; i++) {
        if (api->license_urls[i] == NULL || !(devices[device].drm & 1u << i))
            continue;
        buffer_printf(out, "%s\"%s\":{\"license_url\":\"%s\"}", separator,
                      names[i], api->license_urls[i]);
        separator = ",";
    }
    buffer_append_text(out, "}");
}

/* With the entitlement, where there is one. */
static int
scheme_write(struct urls *urls, char entitlement[ENTITLEMENT_LEN_MAX],
             struct buffer *out)
{
    const struct api *api = urls->api;
    const struct entitlement_key *key = secrets_entitlement_key(api->secrets);
    size_t len;
    if (key == NULL)
        return 0;
    buffer_printf(out, ",\"scheme\":\"%s\"", scheme_names[urls->scheme]);
    if (urls->scheme == PLAY_SCHEME_CLEAR)
        return 0;
    const int err = entitlement_write(key, api->entitlement_issuer, urls->id,
                                      entitlement, &len);
    if (err != 0)
        return err;
    urls->entitlement = bytes_of(entitlement, len);
    buffer_append_text(out, ",\"entitlement\":\"");
    buffer_append_bytes(out, urls->entitlement);
    buffer_append_text(out, "\"");
    return 0;
}

static int
playback_write(struct api *api, const struct playback_task *playback,
               struct buffer *out)
{
    const struct playback_id *id = &playback->id;
    struct token_keys *keys = secrets_token_keys(api->secrets);
    char entitlement[ENTITLEMENT_LEN_MAX];
    const struct token_claims claims = {
        .session = id->session,
        .expires_s = id->expires_s,
        .network = playback->network,
    };
    char token[TOKEN_ISSUED_LEN_MAX], text[PLAYBACK_ID_SIZE];
    size_t token_len;
    int err = token_issue(keys, api->token_form, bytes_of_text(id->content),
                          &claims, token, &token_len);
    if (err == 0)
        err = playback_id_write(keys, id, text);
    if (err != 0)
        return err;
    buffer_printf(out,
                  "{\"id\":\"%s\",\"content\":\"%s\","
                  "\"session\":\"%016" PRIx64 "\",\"expires\":%" PRIu32,
                  text, id->content, id->session, id->expires_s);
    struct urls urls = {.api = api,
                        .id = id,
                        .token = bytes_of(token, token_len),
                        .scheme = scheme_of(api, playback)};
    err = scheme_write(&urls, entitlement, out);
    if (err != 0)
        return err;
    urls_write(&urls, playback->played.thumbnails, out);
    if (playback->played.is_protected || urls.scheme != PLAY_SCHEME_CLEAR)
        drm_write(api, id->device, out);
    buffer_append_text(out, "}");
    return out->err;
}

static void
playback_refuse(const struct playback_task *playback)
{
    struct http_request *request = playback->task.request;
    struct api *api = api_of(&playback->task);
    const char *content = playback->id.content;
    switch (playback->refusal) {
    case ERR_DENIED:
        api_count(api, API_METRIC_PLAYBACKS_CLOSED);
        http_reply_error(request, ERR_DENIED,
                         "content \"%s\" is not available now, to this service "
                         "in this region",
                         content);
        break;
    case ERR_INVALID:
        api_count(api, API_METRIC_INVALID);
        http_reply_problem(request, 422, "another request",
                           "the Idempotency-Key was used for a request that "
                           "differs from this one");
        break;
    case ERR_REVOKED:
        http_reply_problem(request, 410, "gone", "the playback was revoked");
        break;
    default:
        http_reply_problem(request, 410, "gone",
                           "the content was replaced: ask for a new playback");
        break;
    }
}

static void
terms_refuse(struct api *api, struct http_request *request, const char *message)
{
    api_count(api, API_METRIC_INVALID);
    http_reply_problem(request, 422, "cannot be", message);
}

static void
playback_answer(struct task *task)
{
    const struct playback_task *playback = (struct playback_task *) task;
    struct api *api = api_of(task);
    if (playback->refusal != 0) {
        playback_refuse(playback);
        return;
    }
    if (task->err != 0) {
        api_count(api, API_METRIC_PLAYBACKS_UNKNOWN);
        api_reply_unknown(task->request, playback->id.content);
        return;
    }
    if (playback->played.is_protected
        && secrets_entitlement_key(api->secrets) != NULL
        && scheme_of(api, playback) == PLAY_SCHEME_CLEAR) {
        terms_refuse(api, task->request,
                     "the film is protected: it is sent to nobody with "
                     "\"scheme\" clear");
        return;
    }
    struct buffer reply;
    buffer_init(&reply, REPLY_SIZE_MAX);
    int err = playback_write(api, playback, &reply);
    if (err != 0) {
        api_count(api, API_METRIC_FAILURES);
        http_reply_error(task->request, err, "the play cannot be signed");
    } else {
        api_count(api, playback->is_renewal ? API_METRIC_PLAYBACKS_RENEWED
                                            : API_METRIC_PLAYBACKS);
        http_reply_header(task->request, "Cache-Control", "no-store");
        http_reply(task->request, playback->is_renewal ? 200 : 201,
                   "application/json", buffer_bytes(&reply));
    }
    buffer_fini(&reply);
}

/* ---- how long it is good ---- */

/* A film goes on for half its length more, for who pauses: a token that ends
 * before its film would stop the play. As IS_OVER of the catalogue has it. */
static uint64_t
token_ttl_s(const struct api *api, uint64_t duration_ms)
{
    const uint64_t film_s = duration_ms * 3 / 2000;
    return film_s > api->token_ttl_s ? film_s : api->token_ttl_s;
}

static uint32_t
token_end(uint64_t end_s)
{
    return end_s > UINT32_MAX ? UINT32_MAX : (uint32_t) end_s;
}

/* ---- what comes with it ---- */

/* The viewer's network, where tokens are bound to it: by the caller's word, or
 * by that of the nginx before this program where viewers ask by themselves.
 * False: it is missing, and the request answered. */
static bool
network_take(struct api *api, struct http_request *request,
             const struct network *asked, struct network *out)
{
    const char *header = http_request_header(request, "X-Real-IP");

    *out = *asked;
    if (!api->is_bound) {
        out->family = 0;
        return true;
    }
    if (out->family == 0
        && (header == NULL || network_parse(header, out) != 0)) {
        api_reply_invalid(api, request, ERR_INVALID,
                          "field \"address\" is missing: playback URLs are "
                          "bound to the viewer's network");
        return false;
    }
    network_widen(out, api->network_bits4, api->network_bits6);
    return true;
}

static void
digest_text(struct bytes bytes, char out[CATALOGUE_DIGEST_LEN + 1])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256(bytes.ptr, bytes.len, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* The name of a request that may be made more than once
 * (draft-ietf-httpapi-idempotency-key-header), kept as a digest. The viewers
 * whose JWTs a service signs choose names by themselves: each has its own, as
 * has each region that is granted. False: it is bad, and the request answered.
 */
static bool
once_take(struct api *api, struct http_request *request,
          const struct service_grant *grant, struct catalogue_once *out)
{
    char text[CATALOGUE_NAME_LEN_MAX + sizeof grant->region
              + sizeof grant->viewer];
    const char *name = http_request_header(request, "Idempotency-Key");
    if (name == NULL)
        return true;
    const size_t len = strlen(name);
    size_t i = 0;
    while (i < len && name[i] > ' ' && name[i] <= '~')
        i++;
    if (len == 0 || len > CATALOGUE_NAME_LEN_MAX || i < len) {
        api_reply_invalid(api, request, ERR_INVALID,
                          "Idempotency-Key must be 1 to 255 visible "
                          "characters");
        return false;
    }
    /* no name has a space in it, nor a region: where each ends is clear */
    int text_len = snprintf(text, sizeof text, "%s %s %s", name, grant->region,
                            grant->viewer);
    digest_text(bytes_of(text, (size_t) text_len), out->name);
    digest_text(http_request_body(request), out->digest);
    return true;
}

/* ---- what the service itself says of it ---- */

/* A JWT's own words win over the body's, which may not say otherwise. False:
 * the request is answered. */
static bool
grant_apply(struct api *api, struct http_request *request,
            const struct service_grant *grant, const char *content,
            char *viewer, char *region)
{
    const struct {
        const char *granted;
        char *asked;
        const char *field;
        size_t size;
    } texts[] = {
        {grant->viewer, viewer, "viewer", sizeof grant->viewer},
        {grant->region, region, "region", sizeof grant->region},
    };
    bool is_granted = service_grant_has(grant, content);
    const char *field = "content";
    for (size_t i = 0; is_granted && i < sizeof texts / sizeof *texts; i++) {
        if (texts[i].granted[0] == '\0')
            continue;
        is_granted = texts[i].asked[0] == '\0'
                     || strcmp(texts[i].asked, texts[i].granted) == 0;
        field = texts[i].field;
        memcpy(texts[i].asked, texts[i].granted, texts[i].size);
    }
    if (is_granted)
        return true;
    api_count(api, API_METRIC_PLAYBACKS_REFUSED);
    http_reply_error(request, ERR_DENIED, "the JWT is not good for this %s",
                     field);
    return false;
}

/* The most that is granted is what is meant where less is not asked for. */
static bool
terms_grant(struct api *api, struct http_request *request,
            const struct service_grant *grant, struct play_terms *terms)
{
    const bool is_better =
        grant->quality != QUALITY_ANY && terms->quality > grant->quality;
    const bool is_more = grant->plays != 0 && terms->plays > grant->plays;
    if (is_better || is_more) {
        api_count(api, API_METRIC_PLAYBACKS_REFUSED);
        http_reply_error(request, ERR_DENIED, "the JWT is not good for %s",
                         is_better ? "this quality" : "so many plays");
        return false;
    }
    if (terms->quality == QUALITY_ANY)
        terms->quality = grant->quality;
    if (terms->plays == 0)
        terms->plays = grant->plays;
    return true;
}

/* False: they cannot be, and the request is answered. */
static bool
terms_check(struct api *api, struct http_request *request,
            const struct body_playback *asked)
{
    const struct play_terms *terms = &asked->terms;
    const bool is_plain = terms->scheme == PLAY_SCHEME_UNTOLD
                          && terms->quality == QUALITY_ANY && terms->plays == 0
                          && !terms->is_single_use && !terms->has_key_uris;
    const char *message = NULL;
    if (!is_plain && secrets_entitlement_key(api->secrets) == NULL)
        message = "this st-api signs no entitlements (--entitlement-key), so "
                  "there is no \"scheme\", \"quality\", \"plays\", "
                  "\"single_use\" and \"key_uris\"";
    else if (terms->plays > 0 && asked->viewer[0] == '\0')
        message = "\"plays\" are counted for a \"viewer\", who is missing";
    else if (asked->device == DEVICE_LEGACY
             && (terms->scheme == PLAY_SCHEME_CENC
                 || terms->scheme == PLAY_SCHEME_CBCS))
        message = "players of \"device\" legacy know no other \"scheme\" than "
                  "aes-128";
    if (message == NULL)
        return true;
    terms_refuse(api, request, message);
    return false;
}

static void
rule_told(enum rule_verdict verdict, void *context)
{
    struct playback_task *playback = context;
    struct task *task = &playback->task;
    struct http_request *request = task->request;
    struct api *api = api_of(task);
    if (request != NULL && verdict == RULE_ALLOWS) {
        task_ask(task);
        return;
    }
    if (request != NULL && verdict == RULE_REFUSES) {
        api_count(api, API_METRIC_PLAYBACKS_REFUSED);
        http_reply_error(request, ERR_DENIED,
                         "service \"%s\" does not let this viewer play \"%s\"",
                         playback->id.service, playback->id.content);
    } else if (request != NULL) {
        api_count(api, API_METRIC_FAILURES);
        http_reply_header(request, "Retry-After", "1");
        http_reply_error(request, ERR_UNAVAILABLE,
                         "service \"%s\" does not say whether this viewer may "
                         "play",
                         playback->id.service);
    }
    task_free(task);
}

/* Goes on with it, once its service's rule, where there is one, allows. */
static void
playback_ask(struct playback_task *playback,
             const struct catalogue_service *service, const char *viewer)
{
    struct task *task = &playback->task;
    if (service == NULL || service->rule_url[0] == '\0') {
        task_ask(task);
        return;
    }
    const struct rule_question question = {
        .service = service,
        .content = playback->id.content,
        .viewer = viewer,
        .region = playback->id.region,
    };
    task_watch(task);
    rules_ask(api_of(task)->rules, &question, rule_told, playback);
}

/* ---- a new one ---- */

/* One that was asked for before is of the version of then, and not again once it
 * was revoked: as a renewal of it is. */
static int
once_apply(struct playback_task *playback, struct catalogue *catalogue,
           const struct catalogue_asker *asker)
{
    struct playback_id *id = &playback->id;
    const struct catalogue_once *once = &playback->once;
    int err = catalogue_renew(catalogue, bytes_of_text(id->content),
                              bytes_of_text(once->version), once->session,
                              asker, &playback->played);
    if (err == ERR_DENIED || err == ERR_REVOKED)
        playback->refusal = err;
    else if (err == ERR_NOT_FOUND) /* the content was there just now */
        playback->refusal = ERR_EXPIRED;
    if (err != 0)
        return playback->refusal != 0 ? ERR_STALE : err;
    memcpy(id->version, once->version, sizeof id->version);
    id->session = once->session;
    id->expires_s = token_end(once->expires_s);
    return 0;
}

static int
playback_query(struct task *task, void *catalogue)
{
    struct playback_task *playback = (struct playback_task *) task;
    struct playback_id *id = &playback->id;
    struct catalogue_once *once = &playback->once;
    const struct catalogue_played *played = &playback->played;
    const struct catalogue_asker asker = {
        .service = id->service, .region = id->region, .now_s = clock_unix_s()};
    int err = catalogue_play(catalogue, bytes_of_text(id->content), &asker,
                             &playback->played);
    if (err != 0) {
        playback->refusal = err == ERR_DENIED ? err : 0;
        return err == ERR_DENIED ? ERR_STALE : err;
    }
    id->session = random_u64();
    id->expires_s =
        token_end(asker.now_s + token_ttl_s(api_of(task), played->duration_ms));
    memcpy(id->version, played->version, sizeof id->version);
    if (once->name[0] == '\0')
        return 0;
    memcpy(once->service, id->service, sizeof once->service);
    memcpy(once->version, id->version, sizeof once->version);
    once->session = id->session;
    once->expires_s = id->expires_s;
    err = catalogue_play_once(catalogue, once, asker.now_s);
    if (err == ERR_DENIED)
        playback->refusal = ERR_INVALID;
    if (err != 0)
        return err == ERR_DENIED ? ERR_STALE : err;
    return once->session == id->session
               ? 0
               : once_apply(playback, catalogue, &asker);
}

static void
id_set(const struct body_playback *asked,
       const struct catalogue_service *service, struct playback_id *out)
{
    memcpy(out->content, asked->content, sizeof out->content);
    memcpy(out->region, asked->region, sizeof out->region);
    if (service != NULL)
        memcpy(out->service, service->id, sizeof out->service);
    out->device = asked->device;
    out->terms = asked->terms;
    out->steering = asked->steering;
    out->trick_play = asked->trick_play;
}

void
playback_create(struct http_request *request, void *context)
{
    struct api *api = context;
    struct api_caller caller;
    if (!api_caller_take(api, request, &caller) || !api_has_json(api, request))
        return;
    const struct catalogue_service *service = caller.service;
    struct body_playback asked;
    char message[BODY_MESSAGE_SIZE];
    int err = body_playback_parse(http_request_body(request), &asked, message);
    if (err != 0) {
        api_reply_invalid(api, request, err, message);
        return;
    }
    if (asked.service[0] != '\0'
        && (service == NULL || strcmp(asked.service, service->id) != 0)) {
        api_count(api, API_METRIC_DENIED);
        http_reply_error(request, ERR_DENIED,
                         "the key that was sent is not one of service \"%s\"",
                         asked.service);
        return;
    }
    struct network network;
    struct catalogue_once once = {0};
    if (!grant_apply(api, request, &caller.grant, asked.content, asked.viewer,
                     asked.region)
        || !terms_grant(api, request, &caller.grant, &asked.terms)
        || !terms_check(api, request, &asked)
        || !network_take(api, request, &asked.address, &network)
        || !once_take(api, request, &caller.grant, &once))
        return;
    struct playback_task *playback =
        task_new(&api->tasks, request, sizeof *playback, playback_query,
                 playback_answer);
    if (playback == NULL)
        return;
    id_set(&asked, service, &playback->id);
    const struct entitlement_key *key = secrets_entitlement_key(api->secrets);
    if (key != NULL && asked.viewer[0] != '\0')
        entitlement_viewer(key, playback->id.service, asked.viewer,
                           playback->id.viewer);
    playback->network = network;
    playback->once = once;
    playback_ask(playback, service, asked.viewer);
}

/* ---- one that there is ---- */

/* The play that the path names, for the service that asked for it; a caller of
 * NULL is the admin. ERR_EXPIRED: this id of it is over, and *out told. Else the
 * request is answered. */
static int
id_take(struct api *api, struct http_request *request,
        struct api_caller *caller, struct playback_id *out)
{
    const char *text = http_request_segment(request, 0);
    const bool is_admin = caller == NULL;
    if (!is_admin && !api_caller_take(api, request, caller))
        return ERR_DENIED;
    const char *service =
        is_admin || caller->service == NULL ? "" : caller->service->id;
    int err = playback_id_read(secrets_token_keys(api->secrets),
                               bytes_of_text(text != NULL ? text : ""),
                               clock_unix_s(), out);
    if ((err == 0 || err == ERR_EXPIRED) && !is_admin
        && (strcmp(out->service, service) != 0
            || !service_grant_has(&caller->grant, out->content)))
        err = ERR_DENIED;
    if (err == 0 || err == ERR_EXPIRED)
        return err;
    http_reply_error(request, ERR_NOT_FOUND, "no such playback of this caller");
    return ERR_DENIED;
}

static int
renewal_query(struct task *task, void *catalogue)
{
    struct playback_task *playback = (struct playback_task *) task;
    struct playback_id *id = &playback->id;
    const struct catalogue_asker asker = {
        .service = id->service, .region = id->region, .now_s = clock_unix_s()};
    int err = catalogue_renew(catalogue, bytes_of_text(id->content),
                              bytes_of_text(id->version), id->session, &asker,
                              &playback->played);
    if (err == ERR_DENIED || err == ERR_REVOKED)
        playback->refusal = err;
    if (err != 0)
        return playback->refusal != 0 ? ERR_STALE : err;
    const uint64_t ttl_s =
        token_ttl_s(api_of(task), playback->played.duration_ms);
    uint64_t end_s = asker.now_s + ttl_s;
    /* its files are taken away when the last token of before it was retired is
     * over */
    const uint64_t retired_s = playback->played.retired_s;
    if (retired_s > 0 && end_s > retired_s + ttl_s)
        end_s = retired_s + ttl_s;
    if (end_s <= asker.now_s) {
        playback->refusal = ERR_EXPIRED;
        return ERR_STALE;
    }
    id->expires_s = token_end(end_s);
    return 0;
}

void
playback_renew(struct http_request *request, void *context)
{
    struct api *api = context;
    struct api_caller caller;
    struct playback_id id;
    int err = id_take(api, request, &caller, &id);
    if (err == ERR_EXPIRED)
        http_reply_problem(request, 410, "gone",
                           "the playback has ended: ask for a new one");
    if (err != 0)
        return;
    struct body_playback asked = {0};
    char message[BODY_MESSAGE_SIZE];
    if (http_request_body(request).len > 0) {
        if (!api_has_json(api, request))
            return;
        err = body_renewal_parse(http_request_body(request), &asked, message);
        if (err != 0) {
            api_reply_invalid(api, request, err, message);
            return;
        }
    }
    struct network network;
    if (!grant_apply(api, request, &caller.grant, id.content, asked.viewer,
                     id.region)
        || !terms_grant(api, request, &caller.grant, &id.terms)
        || !network_take(api, request, &asked.address, &network))
        return;
    struct playback_task *playback = task_new(
        &api->tasks, request, sizeof *playback, renewal_query, playback_answer);
    if (playback == NULL)
        return;
    playback->id = id;
    playback->network = network;
    playback->is_renewal = true;
    playback_ask(playback, caller.service, asked.viewer);
}

/* ---- revoked ---- */

struct revocation_task {
    struct task task;
    struct playback_id id;
    bool is_admin, is_full;
};

/* Its end is not that of the id, after which it may have been renewed: no token
 * that was signed until now, by st-api whose clocks are ahead, is good longer
 * than one that would be signed now. */
static int
revocation_query(struct task *task, void *catalogue)
{
    struct revocation_task *revocation = (struct revocation_task *) task;
    const struct playback_id *id = &revocation->id;
    struct catalogue_version version = {0};
    int err = catalogue_version_find(catalogue, bytes_of_text(id->content),
                                     bytes_of_text(id->version), &version);
    if (err != 0 && err != ERR_NOT_FOUND)
        return err;
    uint64_t end_s =
        clock_unix_s() + token_ttl_s(api_of(task), version.duration_ms);
    if (end_s < id->expires_s)
        end_s = id->expires_s;
    const struct catalogue_revocation asked = {
        .session = id->session,
        .ends_s = end_s + TOKEN_SKEW_MAX_S, /* nodes may have late= */
        .service = revocation->is_admin ? NULL : id->service,
    };
    err = catalogue_revoke(catalogue, &asked, clock_unix_ms());
    revocation->is_full = err == ERR_LIMIT;
    return revocation->is_full ? ERR_STALE : err;
}

static void
revocation_answer(struct task *task)
{
    const struct revocation_task *revocation = (struct revocation_task *) task;
    if (revocation->is_full) {
        api_count(api_of(task), API_METRIC_FAILURES);
        http_reply_error(task->request, ERR_FULL,
                         "as many playbacks of this caller as may be are "
                         "revoked: more when the first of them would have "
                         "ended");
        return;
    }
    api_count(api_of(task), API_METRIC_PLAYBACKS_REVOKED);
    http_reply(task->request, 204, NULL, bytes_of(NULL, 0));
}

void
playback_revoke(struct http_request *request, void *context)
{
    struct api *api = context;
    struct api_caller caller;
    struct playback_id id;
    const bool is_admin = api_has_admin_key(api, request);
    int err = id_take(api, request, is_admin ? NULL : &caller, &id);
    if (err != 0 && err != ERR_EXPIRED) /* it may go on under another id */
        return;
    struct revocation_task *revocation =
        task_new(&api->tasks, request, sizeof *revocation, revocation_query,
                 revocation_answer);
    if (revocation == NULL)
        return;
    revocation->id = id;
    revocation->is_admin = is_admin;
    task_ask(&revocation->task);
}

void
revocations_get(struct http_request *request, void *context)
{
    struct api *api = context;
    const char *text = http_request_query(request, "after");
    uint64_t after = 0;
    if (!api_may_read(api, request))
        return;
    if (text != NULL && !bytes_number(bytes_of_text(text), &after)) {
        api_reply_invalid(api, request, ERR_INVALID,
                          "after must be the number of a list");
        return;
    }
    /* nodes are to ask another, which may know of more */
    if (clock_now_ms() - api->revoked_ms > HELD_MS_MAX) {
        api_count(api, API_METRIC_FAILURES);
        http_reply_error(request, ERR_UNAVAILABLE,
                         "the list is too old: the catalogue does not answer");
        return;
    }
    if (revoked_number(api->revoked) <= after) {
        http_reply(request, 204, NULL, bytes_of(NULL, 0));
        return;
    }
    http_reply_header(request, "Cache-Control", "no-store");
    http_reply(request, 200, "application/octet-stream",
               revoked_list(api->revoked));
}
