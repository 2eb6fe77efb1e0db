/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function a route. A play costs one lookup by primary key, one HMAC and
 * one write of JSON by hand: all that goes into it is known to need no escape.
 */

#include "programs/st-api/api.h"

#include "core/buffer.h"
#include "platform/clock.h"
#include "programs/st-api/body.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define LIST_LIMIT_DEFAULT 100
#define REPLY_SIZE_MAX (4u << 20) /* bytes */

static void
count(struct api *api, enum api_metric metric)
{
    api->metrics[metric]++;
}

static void
reply_json(struct http_request *request, int status, json_t *json)
{
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (text == NULL) {
        http_reply_error(request, ERR_MEMORY, NULL);
        return;
    }
    http_reply(request, status, "application/json", bytes_of_text(text));
    free(text);
}

static void
reply_failure(struct api *api, struct http_request *request, int err)
{
    count(api, API_METRIC_FAILURES);
    http_reply_error(request, err, "the catalogue cannot be read or written");
}

static void
reply_invalid(struct api *api, struct http_request *request, int err,
              const char *message)
{
    count(api, API_METRIC_INVALID);
    http_reply_error(request, err, "%s", message);
}

static void
reply_unknown_content(struct http_request *request, const char *id)
{
    http_reply_error(request, ERR_NOT_FOUND,
                     "no content \"%.64s\" in the catalogue", id);
}

/* "application/json", whatever parameters follow. */
static bool
has_json_body(struct http_request *request)
{
    static const char json[] = "application/json";
    const char *type = http_request_header(request, "Content-Type");
    if (type == NULL || strncasecmp(type, json, sizeof json - 1) != 0)
        return false;
    const char *rest = type + sizeof json - 1;
    rest += strspn(rest, " \t");
    return *rest == '\0' || *rest == ';';
}

/* True when the body may be parsed; else the request is answered. */
static bool
json_body_or_reply(struct api *api, struct http_request *request)
{
    if (has_json_body(request))
        return true;
    reply_invalid(api, request, ERR_UNSUPPORTED,
                  "Content-Type must be application/json");
    return false;
}

static void
reply_unauthorized(struct http_request *request)
{
    static const char problem[] =
        "{\"type\":\"about:blank\",\"status\":401,\"title\":\"Unauthorized\","
        "\"detail\":\"send the admin key as Authorization: Bearer KEY\"}";
    http_reply_header(request, "WWW-Authenticate", "Bearer realm=\"st-api\"");
    http_reply(request, 401, "application/problem+json",
               bytes_of_text(problem));
}

static bool
is_admin_or_reply(struct api *api, struct http_request *request)
{
    static const char scheme[] = "Bearer ";
    const char *header = http_request_header(request, "Authorization");
    if (header == NULL || strncasecmp(header, scheme, sizeof scheme - 1) != 0) {
        count(api, API_METRIC_DENIED);
        reply_unauthorized(request);
        return false;
    }
    if (!secrets_is_admin_key(api->secrets,
                              bytes_of_text(header + sizeof scheme - 1))) {
        count(api, API_METRIC_DENIED);
        http_reply_error(request, ERR_DENIED,
                         "the admin key is not the one this server knows");
        return false;
    }
    return true;
}

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
               const struct network *network, const char *version,
               uint64_t duration_ms, struct buffer *out)
{
    static const struct {
        const char *form, *name;
        bool is_dash;
    } manifests[] = {{"hls", "master.m3u8", false},
                     {"dash", "manifest.mpd", true}};
    struct token_claims claims = {
        .session = random_u64(),
        .expires_s = token_expires_s(api, duration_ms),
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
                      token, asked->content, version, manifests[i].name);
        query_write(asked, manifests[i].is_dash, out);
        buffer_append_text(out, "\"");
    }
    buffer_append_text(out, "}}");
    return out->err;
}

static void
playback_create(struct http_request *request, void *context)
{
    struct api *api = context;
    if (!json_body_or_reply(api, request))
        return;
    struct body_playback asked;
    char message[BODY_MESSAGE_SIZE];
    int err = body_playback_parse(http_request_body(request), &asked, message);
    if (err != 0) {
        reply_invalid(api, request, err, message);
        return;
    }
    struct network network;
    if (!network_find(api, request, &asked, &network)) {
        reply_invalid(api, request, ERR_INVALID,
                      "field \"address\" is missing: playback URLs are bound "
                      "to the viewer's network");
        return;
    }
    char version[CONTENT_ID_LEN_MAX + 1];
    uint64_t duration_ms;
    err = catalogue_find_version(api->catalogue, bytes_of_text(asked.content),
                                 version, &duration_ms);
    if (err == ERR_NOT_FOUND) {
        count(api, API_METRIC_PLAYBACKS_UNKNOWN);
        reply_unknown_content(request, asked.content);
        return;
    }
    struct buffer reply;
    buffer_init(&reply, REPLY_SIZE_MAX);
    if (err == 0)
        err =
            playback_write(api, &asked, &network, version, duration_ms, &reply);
    if (err != 0) {
        reply_failure(api, request, err);
    } else {
        count(api, API_METRIC_PLAYBACKS);
        http_reply_header(request, "Cache-Control", "no-store");
        http_reply(request, 201, "application/json", buffer_bytes(&reply));
    }
    buffer_fini(&reply);
}

static json_t *
content_json(const struct catalogue_content *content)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "id", content->id,
                     "title", content->title, "version", content->version,
                     "duration_ms", (json_int_t) content->duration_ms,
                     "created", (json_int_t) content->created_s, "updated",
                     (json_int_t) content->updated_s);
}

static void
content_put(struct http_request *request, void *context)
{
    struct api *api = context;
    if (!is_admin_or_reply(api, request) || !json_body_or_reply(api, request))
        return;
    const char *id = http_request_segment(request, 0);
    if (id == NULL || !content_id_is_valid(bytes_of_text(id))) {
        reply_invalid(api, request, ERR_INVALID,
                      "a content id is 1 to 64 of A-Z a-z 0-9 . _ - and does "
                      "not start with a dot");
        return;
    }
    struct body_content asked;
    char message[BODY_MESSAGE_SIZE];
    int err = body_content_parse(http_request_body(request), &asked, message);
    if (err != 0) {
        reply_invalid(api, request, err, message);
        return;
    }
    struct catalogue_content content = {.duration_ms = asked.duration_ms};
    snprintf(content.id, sizeof content.id, "%s", id);
    snprintf(content.title, sizeof content.title, "%s", asked.title);
    snprintf(content.version, sizeof content.version, "%s", asked.version);
    bool is_new;
    err = catalogue_put(api->catalogue, &content, clock_unix_s(), &content,
                        &is_new);
    if (err != 0) {
        reply_failure(api, request, err);
        return;
    }
    count(api, API_METRIC_CHANGES);
    reply_json(request, is_new ? 201 : 200, content_json(&content));
}

/* Reading needs no key. One that is presented must be right, though: who is
 * about to change the catalogue can see beforehand that he may. */
static bool
may_read_or_reply(struct api *api, struct http_request *request)
{
    return http_request_header(request, "Authorization") == NULL
           || is_admin_or_reply(api, request);
}

static void
content_get(struct http_request *request, void *context)
{
    struct api *api = context;
    if (!may_read_or_reply(api, request))
        return;
    const char *id = http_request_segment(request, 0);
    struct catalogue_content content;
    int err = id == NULL
                  ? ERR_NOT_FOUND
                  : catalogue_find(api->catalogue, bytes_of_text(id), &content);
    if (err == ERR_NOT_FOUND)
        reply_unknown_content(request, id != NULL ? id : "");
    else if (err != 0)
        reply_failure(api, request, err);
    else
        reply_json(request, 200, content_json(&content));
}

static void
content_delete(struct http_request *request, void *context)
{
    struct api *api = context;
    if (!is_admin_or_reply(api, request))
        return;
    const char *id = http_request_segment(request, 0);
    int err = id == NULL ? ERR_NOT_FOUND
                         : catalogue_remove(api->catalogue, bytes_of_text(id));
    if (err == ERR_NOT_FOUND) {
        reply_unknown_content(request, id != NULL ? id : "");
    } else if (err != 0) {
        reply_failure(api, request, err);
    } else {
        count(api, API_METRIC_CHANGES);
        http_reply(request, 204, NULL, bytes_of(NULL, 0));
    }
}

static bool
list_limit_parse(const char *text, unsigned *out)
{
    if (text == NULL) {
        *out = LIST_LIMIT_DEFAULT;
        return true;
    }
    size_t len = strlen(text);
    if (len == 0 || len > 4 || strspn(text, "0123456789") != len)
        return false;
    unsigned long n = strtoul(text, NULL, 10);
    if (n < 1 || n > CATALOGUE_LIST_MAX)
        return false;
    *out = (unsigned) n;
    return true;
}

struct listing {
    json_t *contents;
    char last[CONTENT_ID_LEN_MAX + 1];
};

static void
listing_add(const struct catalogue_content *content, void *context)
{
    struct listing *listing = context;
    json_array_append_new(listing->contents, content_json(content));
    memcpy(listing->last, content->id, sizeof listing->last);
}

static void
contents_list(struct http_request *request, void *context)
{
    struct api *api = context;
    if (!may_read_or_reply(api, request))
        return;
    unsigned limit;
    if (!list_limit_parse(http_request_query(request, "limit"), &limit)) {
        reply_invalid(api, request, ERR_INVALID,
                      "limit must be an integer from 1 to 1000");
        return;
    }
    const char *after = http_request_query(request, "after");
    if (after != NULL && !content_id_is_valid(bytes_of_text(after))) {
        reply_invalid(api, request, ERR_INVALID,
                      "after must be the id of a content");
        return;
    }
    struct listing listing = {.contents = json_array()};
    if (listing.contents == NULL) {
        reply_failure(api, request, ERR_MEMORY);
        return;
    }
    bool has_more;
    int err = catalogue_list(api->catalogue,
                             bytes_of_text(after != NULL ? after : ""), limit,
                             listing_add, &listing, &has_more);
    if (err != 0) {
        json_decref(listing.contents);
        reply_failure(api, request, err);
        return;
    }
    reply_json(request, 200,
               json_pack("{s:o, s:s?}", "contents", listing.contents, "next",
                         has_more ? listing.last : NULL));
}

static void
health(struct http_request *request, void *context)
{
    struct api *api = context;
    int err = catalogue_check(api->catalogue);
    if (err != 0)
        http_reply_error(request, ERR_UNAVAILABLE,
                         "the catalogue does not answer");
    else
        http_reply(request, 200, "text/plain", BYTES_LITERAL("ok\n"));
}

static void
metrics(struct http_request *request, void *context)
{
    static const struct {
        const char *name, *type, *sentence;
    } table[] = {
#define API_METRIC(symbol, name, type, sentence) {name, type, sentence},
        API_METRICS(API_METRIC)
#undef API_METRIC
    };
    struct api *api = context;
    struct buffer text;
    buffer_init(&text, REPLY_SIZE_MAX);
    for (size_t i = 0; i < API_METRIC_COUNT; i++)
        buffer_printf(&text, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n",
                      table[i].name, table[i].sentence, table[i].name,
                      table[i].type, table[i].name, api->metrics[i]);
    buffer_printf(&text,
                  "# HELP st_api_contents Contents in the catalogue.\n"
                  "# TYPE st_api_contents gauge\nst_api_contents %" PRIu64 "\n",
                  catalogue_count(api->catalogue));
    if (text.err != 0)
        http_reply_error(request, text.err, NULL);
    else
        http_reply(request, 200, "text/plain; version=0.0.4",
                   buffer_bytes(&text));
    buffer_fini(&text);
}

bool
api_network_parse(const char *text, struct api *api)
{
    const struct bytes all = bytes_of_text(text);
    const char *slash = strchr(text, '/');
    uint64_t bits4, bits6;

    if (strcmp(text, "off") == 0) {
        api->is_bound = false;
        return true;
    }
    if (slash == NULL
        || !bytes_number(bytes_of(text, (size_t) (slash - text)), &bits4)
        || !bytes_number(
            bytes_of(slash + 1, all.len - 1 - (size_t) (slash - text)), &bits6)
        || bits4 < 1 || bits4 > 32 || bits6 < 1 || bits6 > 128)
        return false;
    api->is_bound = true;
    api->network_bits4 = (unsigned) bits4;
    api->network_bits6 = (unsigned) bits6;
    return true;
}

bool
api_playback_url_is_valid(const char *url)
{
    const char *host = NULL;
    if (strncmp(url, "http://", 7) == 0)
        host = url + 7;
    else if (strncmp(url, "https://", 8) == 0)
        host = url + 8;
    if (host == NULL || *host == '\0' || *host == '/' || strlen(url) > 255)
        return false;
    for (const char *p = url; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~' || strchr("\"\\<>?#%", *p) != NULL)
            return false;
    return true;
}

const struct http_route api_routes[] = {
    {"POST", "/v1/playbacks", playback_create},
    {"GET", "/v1/contents", contents_list},
    {"GET", "/v1/contents/{id}", content_get},
    {"PUT", "/v1/contents/{id}", content_put},
    {"DELETE", "/v1/contents/{id}", content_delete},
    {"GET", "/healthz", health},
    {"GET", "/metrics", metrics},
};
const size_t api_route_count = sizeof api_routes / sizeof *api_routes;
