/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays. One costs one lookup by primary key, one HMAC and one write of JSON by
 * hand: all that goes into it is known to need no escape.
 */

#include "programs/st-api/api_private.h"

#include "core/buffer.h"
#include "platform/clock.h"

#include <inttypes.h>

struct playback_task {
    struct task task;
    struct body_playback asked; /* of the service whose key it is */
    struct network network;     /* of the viewer, where tokens are bound */
    struct catalogue_played played;
    bool is_closed; /* not for this service, here and now */
};

static void
query_write(const struct body_playback *asked, bool is_dash, struct buffer *out)
{
    if (asked->steering)
        buffer_append_text(out, "?steering=1");
    if (asked->trick_play && is_dash)
        buffer_printf(out, "%ctrick=1", asked->steering ? '&' : '?');
}

/* A film goes on for half its length more, for who pauses: a token that ends
 * before its film would stop the play. */
static uint32_t
token_expires_s(const struct api *api, uint64_t duration_ms)
{
    const uint64_t film_s = duration_ms / 1000 + duration_ms / 2000;
    const uint64_t ttl_s =
        film_s > api->token_ttl_s ? film_s : api->token_ttl_s;
    const uint64_t end_s = clock_unix_s() + ttl_s;
    return end_s > UINT32_MAX ? UINT32_MAX : (uint32_t) end_s;
}

/* The viewer's network, where tokens are bound to it: by the caller's word, or
 * by that of the nginx before this program where viewers ask by themselves.
 * False when it is missing. */
static bool
network_find(const struct api *api, struct http_request *request,
             const struct body_playback *asked, struct network *out)
{
    const char *header = http_request_header(request, "X-Real-IP");

    *out = asked->address;
    if (!api->is_bound) {
        out->family = 0;
        return true;
    }
    if (out->family == 0 && (header == NULL || network_parse(header, out) != 0))
        return false;
    network_widen(out, api->network_bits4, api->network_bits6);
    return true;
}

static int
playback_write(struct api *api, const struct body_playback *asked,
               const struct network *network,
               const struct catalogue_played *played, struct buffer *out)
{
    static const struct {
        const char *form, *name;
        bool is_dash;
    } manifests[] = {{"hls", "master.m3u8", false},
                     {"dash", "manifest.mpd", true}};
    struct token_claims claims = {
        .session = random_u64(),
        .expires_s = token_expires_s(api, played->duration_ms),
        .network = *network,
    };
    char token[TOKEN_ISSUED_LEN_MAX];
    size_t token_len;
    int err =
        token_issue(secrets_token_keys(api->secrets), api->token_form,
                    bytes_of_text(asked->content), &claims, token, &token_len);
    if (err != 0)
        return err;
    buffer_printf(
        out,
        "{\"id\":\"%016" PRIx64 "\",\"content\":\"%s\","
        "\"session\":\"%016" PRIx64 "\",\"expires\":%" PRIu32 ",\"urls\":{",
        random_u64(), asked->content, claims.session, claims.expires_s);
    for (size_t i = 0; i < sizeof manifests / sizeof *manifests; i++) {
        buffer_printf(out, "%s\"%s\":\"%s/p/%.*s/%s/%s/%s", i > 0 ? "," : "",
                      manifests[i].form, api->playback_url, (int) token_len,
                      token, asked->content, played->version,
                      manifests[i].name);
        query_write(asked, manifests[i].is_dash, out);
        buffer_append_text(out, "\"");
    }
    buffer_append_text(out, "}}");
    return out->err;
}

static int
playback_query(struct task *task, struct catalogue *catalogue)
{
    struct playback_task *playback = (struct playback_task *) task;
    const struct catalogue_asker asker = {.service = playback->asked.service,
                                          .region = playback->asked.region,
                                          .now_s = clock_unix_s()};
    int err = catalogue_play(catalogue, bytes_of_text(playback->asked.content),
                             &asker, &playback->played);
    playback->is_closed = err == ERR_DENIED;
    return playback->is_closed ? ERR_STALE : err;
}

static void
playback_answer(struct task *task)
{
    const struct playback_task *playback = (struct playback_task *) task;
    struct api *api = task->api;
    if (playback->is_closed) {
        api_count(api, API_METRIC_PLAYBACKS_CLOSED);
        http_reply_error(task->request, ERR_DENIED,
                         "content \"%s\" is not available now, to this service "
                         "in this region",
                         playback->asked.content);
        return;
    }
    if (task->err != 0) {
        api_count(api, API_METRIC_PLAYBACKS_UNKNOWN);
        api_reply_unknown(task->request, playback->asked.content);
        return;
    }
    struct buffer reply;
    buffer_init(&reply, REPLY_SIZE_MAX);
    int err = playback_write(api, &playback->asked, &playback->network,
                             &playback->played, &reply);
    if (err != 0) {
        api_count(api, API_METRIC_FAILURES);
        http_reply_error(task->request, err, "the play cannot be signed");
    } else {
        api_count(api, API_METRIC_PLAYBACKS);
        http_reply_header(task->request, "Cache-Control", "no-store");
        http_reply(task->request, 201, "application/json",
                   buffer_bytes(&reply));
    }
    buffer_fini(&reply);
}

void
playback_create(struct http_request *request, void *context)
{
    struct api *api = context;
    const struct catalogue_service *service;
    if (!api_service_take(api, request, &service)
        || !api_has_json(api, request))
        return;
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
    if (!network_find(api, request, &asked, &network)) {
        api_reply_invalid(api, request, ERR_INVALID,
                          "field \"address\" is missing: playback URLs are "
                          "bound to the viewer's network");
        return;
    }
    struct playback_task *playback = api_task_new(
        api, request, sizeof *playback, playback_query, playback_answer);
    if (playback == NULL)
        return;
    playback->asked = asked;
    playback->network = network;
    if (service != NULL)
        memcpy(playback->asked.service, service->id, sizeof service->id);
    api_ask(&playback->task);
}
