/* SPDX-License-Identifier: Apache-2.0 */
/* st-api: answers plays with signed URLs, and keeps the catalogue. */

#include "core/err.h"
#include "platform/clock.h"
#include "platform/database.h"
#include "platform/http_tls.h"
#include "platform/descriptors.h"
#include "platform/log.h"
#include "platform/options.h"
#include "platform/workers.h"
#include "programs/st-api/api_private.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECTIONS_MAX 64
#define RULE_CONNECTIONS_MAX 64 /* to a service's rule */
#define WAITING_MAX 10000       /* requests, for a connection to be free */

struct config {
    const char *listen, *database, *keys, *playback_url, *admin_key;
    const char *token_form, *token_network, *ca_file;
    struct option_list licenses;
    int64_t token_ttl_ms, connections;
    const char *entitlement_key, *entitlement_kid, *entitlement_issuer;
    bool public_plays, verbose;
};

static const struct option options[] = {
    {"listen", OPTION_TEXT, offsetof(struct config, listen), "127.0.0.1:7200",
     0, 0, false, NULL,
     "Address to answer on. A loopback address: nginx faces the network."},
    {"database", OPTION_TEXT, offsetof(struct config, database), NULL, 0, 0,
     true, NULL,
     "Where the catalogue is: a file (SQLite), made when missing; or "
     "postgresql://[USER@]HOST[:PORT]/NAME, which several st-api may share. A "
     "password belongs into ~/.pgpass or PGPASSFILE: what is written here "
     "others can read."},
    {"database-connections", OPTION_INTEGER,
     offsetof(struct config, connections), "4", 1, CONNECTIONS_MAX, false, NULL,
     "Connections to PostgreSQL, each of which answers one question at a "
     "time."},
    {"keys", OPTION_TEXT, offsetof(struct config, keys), NULL, 0, 0, true, NULL,
     "File of token keys, a line each: id (0 to 255) and 64 hex digits. The "
     "first signs, the others are for rotation. Behind them may stand "
     "kid=NAME, what JWTs and CATs call the key, and jwe=HEX, 64 hex digits "
     "that hide the viewer's network in a JWT. Read again on SIGHUP."},
    {"playback-url", OPTION_TEXT, offsetof(struct config, playback_url), NULL,
     0, 0, true, NULL,
     "Base of the playback URLs: where viewers reach the redirectors."},
    {"token-ttl", OPTION_DURATION, offsetof(struct config, token_ttl_ms), "6h",
     1000, 365.0 * 24 * 3600 * 1000, false, NULL,
     "How long a playback URL stays valid; one of a longer film, one and a "
     "half times the film's length."},
    {"token-form", OPTION_TEXT, offsetof(struct config, token_form), "compact",
     0, 0, false, NULL,
     "Form of the token in the URL: compact, jwt (RFC 9246) or cat "
     "(CTA-5007). Every tier takes all three."},
    {"token-network", OPTION_TEXT, offsetof(struct config, token_network),
     "off", 0, 0, false, NULL,
     "Binds playback URLs to the viewer's network: prefix lengths for IPv4 and "
     "IPv6 such as 24/64, or off. The address is the body's \"address\", else "
     "the header X-Real-IP. As a JWT, needs a key with jwe=."},
    {"admin-key", OPTION_TEXT, offsetof(struct config, admin_key), NULL, 0, 0,
     true, NULL,
     "File with the key that may change the catalogue: one line of 16 to 256 "
     "characters. Read again on SIGHUP."},
    {"license", OPTION_LIST, offsetof(struct config, licenses), NULL, 0, 0,
     false, "SYSTEM=URL",
     "Where players of protected contents get licences: widevine, playready, "
     "fairplay or clearkey, and the URL."},
    {"entitlement-key", OPTION_TEXT, offsetof(struct config, entitlement_key),
     NULL, 0, 0, false, "FILE",
     "File with the secret that entitlements are signed with, which players "
     "show to the license server: 64 hex digits or more, that nobody but its "
     "owner may read; the secret_file of a service of mlic's. With it a play "
     "may be asked for in a \"scheme\", and protected films are given in no "
     "other way. Read again on SIGHUP."},
    {"entitlement-kid", OPTION_TEXT, offsetof(struct config, entitlement_kid),
     "1", 0, 0, false, NULL, "What the license server calls that secret."},
    {"entitlement-issuer", OPTION_TEXT,
     offsetof(struct config, entitlement_issuer), "st-api", 0, 0, false, NULL,
     "Which of its services it is."},
    {"ca-file", OPTION_TEXT, offsetof(struct config, ca_file), NULL, 0, 0,
     false, "FILE",
     "Certificates, in PEM, of who vouches for services' rules behind "
     "https://; "
     "without it, those that this machine trusts."},
    {"public", OPTION_FLAG, offsetof(struct config, public_plays), NULL, 0, 0,
     false, NULL,
     "Plays are for whoever asks. Without it they are asked for with the key "
     "of "
     "a service."},
    {"verbose", OPTION_FLAG, offsetof(struct config, verbose), NULL, 0, 0,
     false, NULL, "Log more."},
};

static const struct program program = {
    .name = "st-api",
    .summary = "answer plays with signed URLs",
    .synopsis = "",
    .details =
        "POST /v1/playbacks {\"content\":ID} answers 201 with the signed "
        "URLs of a play, \"hls\" and \"dash\", for a player that follows "
        "content steering with \"steering\":true, with key frames alone in "
        "the MPD with \"trick_play\":true, for a viewer at "
        "\"address\":\"192.0.2.1\" (see --token-network), for a \"device\" "
        "any, apple, android, tv or legacy (HLS in transport streams). With "
        "--entitlement-key, in a \"scheme\" clear, cenc, cbcs or aes-128, with "
        "an entitlement for pictures of a \"quality\" SD, HD or UHD at most, "
        "for so many \"plays\" of the viewer at once, for each key once with "
        "\"single_use\":true; with \"key_uris\":true playlists say where a "
        "player that shows no entitlement gets its keys. With an "
        "Idempotency-Key it may be sent again. POST /v1/playbacks/{id}/renew "
        "signs the play's URLs anew, DELETE /v1/playbacks/{id} ends it, within "
        "seconds on all nodes. GET /v1/contents "
        "lists what can be "
        "played; PUT and DELETE /v1/contents/{id} change it and need the admin "
        "key.\n\n"
        "Plays are asked for by services. PUT /v1/services/{id} "
        "{\"name\":NAME, "
        "\"rate_per_s\":N, \"burst\":N} makes one, and POST "
        "/v1/services/{id}/keys {\"expires\":UNIX_S} a key of it, which is "
        "told "
        "this once; a service may have several, so that a new one is in use "
        "before the old one is removed. With {\"jwk\":KEY}, a public key, the "
        "service signs JWTs by itself (iss, aud \"st-api\", exp, and sub, "
        "region, contents, quality "
        "and plays, which bind who presents it). With \"rule_url\" it is "
        "asked "
        "for each viewer and content: POST {\"service\", \"content\", "
        "\"viewer\", \"region\"}, answered by {\"allow\":true, "
        "\"ttl_s\":N}. All st-api of one database know of a "
        "change within a second or two.\n\n"
        "On SIGHUP the key files are read again, together or not at all. "
        "Exit status: 0 stopped by a signal, 1 could not start, 2 wrong use.",
    .options = options,
    .option_count = OPTION_COUNT(options),
};

static int
secrets_read(const struct config *config, struct secrets **out)
{
    const struct secrets_files files = {config->keys, config->admin_key,
                                        config->entitlement_key,
                                        config->entitlement_kid};
    return secrets_load(&files, out);
}

struct keys_reload {
    struct api *api;
    const struct config *config;
};

static const struct {
    const char *name;
    enum token_form form;
} token_forms[] = {
    {"compact", TOKEN_COMPACT},
    {"jwt", TOKEN_JWT},
    {"cat", TOKEN_CAT},
};

static bool
token_form_parse(const char *text, struct api *api)
{
    for (size_t i = 0; i < sizeof token_forms / sizeof *token_forms; i++)
        if (strcmp(text, token_forms[i].name) == 0) {
            api->token_form = token_forms[i].form;
            return true;
        }
    return false;
}

/* The keys are such that tokens can be issued as configured. */
static bool
keys_suit(const struct api *api, struct secrets *secrets)
{
    if (api->token_form != TOKEN_JWT || !api->is_bound
        || token_keys_can_hide(secrets_token_keys(secrets)))
        return true;
    log_error("keys: the one that signs needs jwe= (--token-form=jwt with "
              "--token-network)");
    return false;
}

static void
reload_keys(evutil_socket_t number, short events, void *context)
{
    struct keys_reload *reload = context;
    struct api *api = reload->api;
    struct secrets *secrets;
    int err = secrets_read(reload->config, &secrets);
    if (err == 0 && !keys_suit(api, secrets)) {
        secrets_free(secrets);
        err = ERR_INVALID;
    }
    if (err != 0) {
        log_error("keys: keep the old ones (the new ones were refused)");
        api->metrics[API_METRIC_RELOADS_REFUSED]++;
        return;
    }
    secrets_free(api->secrets);
    api->secrets = secrets;
    api->metrics[API_METRIC_RELOADS]++;
    log_info("keys: read again");
}

static void
stop(evutil_socket_t number, short events, void *context)
{
    log_info("main: stop (signal %d)", (int) number);
    event_base_loopbreak(context);
}

static void
refresh(evutil_socket_t number, short events, void *api)
{
    api_refresh(api);
}

static int
serve(struct event_base *base, struct http_client *client, struct api *api,
      const struct config *config)
{
    const struct http_server_config http = {
        .listen = config->listen,
        .body_size_max = BODY_SIZE_MAX,
        .idle_timeout_s = 60,
        .routes = api_routes,
        .route_count = api_route_count,
        .context = api,
    };
    struct http_server *server;
    if (rules_new(client, &api->rules) != 0
        || http_server_new(base, &http, &server) != 0) {
        rules_free(api->rules);
        return 1;
    }
    struct keys_reload reload = {api, config};
    const struct timeval second = {.tv_sec = 1};
    api->revoked_ms = clock_now_ms();
    struct event *timer = event_new(base, -1, EV_PERSIST, refresh, api);
    event_add(timer, &second);
    struct event *signals[] = {
        evsignal_new(base, SIGHUP, reload_keys, &reload),
        evsignal_new(base, SIGTERM, stop, base),
        evsignal_new(base, SIGINT, stop, base),
    };
    for (size_t i = 0; i < 3; i++)
        event_add(signals[i], NULL);
    log_info("main: answer on port %u", http_server_port(server));
    event_base_dispatch(base);
    for (size_t i = 0; i < 3; i++)
        event_free(signals[i]);
    event_free(timer);
    http_server_free(server);
    rules_free(api->rules);
    return 0;
}

static int
held_load(struct api *api, struct catalogue *catalogue)
{
    const char *what = "services";
    int err = services_load(catalogue, &api->services);
    if (err == 0) {
        what = "revoked plays";
        err = revoked_load(catalogue, &api->revoked);
    }
    if (err != 0)
        log_error("main: cannot load the %s (%s)", what, err_text(err));
    return err;
}

/* With who asks services' rules. */
static int
run(struct event_base *base, struct api *api, const struct config *config)
{
    const struct http_tls_config trusted = {.ca_file = config->ca_file};
    struct http_tls *tls = NULL;
    struct http_client *client = http_client_new(base, RULE_CONNECTIONS_MAX);
    int status = 1;
    if (client != NULL && http_tls_new(&trusted, &tls) == 0) {
        http_client_use_tls(client, tls);
        status = serve(base, client, api, config);
    }
    http_client_free(client);
    http_tls_free(tls);
    return status;
}

/* A file is asked in the loop's thread: it answers in microseconds. Of a server
 * each worker has a connection. */
static int
catalogues_run(struct event_base *base, struct api *api,
               const struct config *config)
{
    if (!database_is_server(config->database)) {
        int status = 1;
        struct catalogue *catalogue = NULL;
        if (catalogue_open(config->database, &catalogue) == 0
            && held_load(api, catalogue) == 0) {
            api->tasks.state = catalogue;
            status = run(base, api, config);
        }
        catalogue_close(catalogue);
        return status;
    }
    void *catalogues[CONNECTIONS_MAX] = {NULL};
    unsigned count = 0;
    int status = 1;
    while (count < config->connections
           && catalogue_open(config->database,
                             (struct catalogue **) &catalogues[count])
                  == 0)
        count++;
    if (count == config->connections && held_load(api, catalogues[0]) == 0
        && workers_new(base, catalogues, count, WAITING_MAX,
                       &api->tasks.workers)
               == 0) {
        status = run(base, api, config);
        workers_free(api->tasks.workers);
    }
    for (unsigned i = 0; i < count; i++)
        catalogue_close(catalogues[i]);
    return status;
}

int
main(int argc, char **argv)
{
    struct config config;
    options_parse(&program, argc, argv, &config);
    log_init("st-api", config.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    descriptors_raise(DESCRIPTORS_ALL);
    char *url = strdup(config.playback_url);
    for (size_t n = url != NULL ? strlen(url) : 0; n > 0 && url[n - 1] == '/';)
        url[--n] = '\0';
    if (url == NULL || !api_playback_url_is_valid(url)) {
        fprintf(stderr,
                "st-api: --playback-url '%s': expected http://HOST[:PORT]\n",
                config.playback_url);
        free(url);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);

    struct api api = {
        .playback_url = url,
        .tasks = {.failed = api_failed, .context = &api},
        .is_public = config.public_plays,
        .token_ttl_s = (uint64_t) config.token_ttl_ms / 1000,
        .entitlement_issuer = config.entitlement_issuer,
    };
    if (!token_form_parse(config.token_form, &api)
        || !api_network_parse(config.token_network, &api)) {
        fprintf(stderr,
                "st-api: --token-form '%s' --token-network '%s': expected "
                "compact, jwt or cat, and prefix lengths such as 24/64 or "
                "off\n",
                config.token_form, config.token_network);
        free(url);
        return 2;
    }
    for (size_t i = 0; i < config.licenses.count; i++) {
        if (api_license_parse(config.licenses.items[i], &api))
            continue;
        fprintf(stderr,
                "st-api: --license '%s': expected widevine, playready, "
                "fairplay or clearkey, '=' and http(s)://HOST[:PORT][/PATH]\n",
                config.licenses.items[i]);
        free(url);
        return 2;
    }
    int status = 1;
    struct event_base *base = event_base_new();
    if (base != NULL && secrets_read(&config, &api.secrets) == 0
        && keys_suit(&api, api.secrets))
        status = catalogues_run(base, &api, &config);
    secrets_free(api.secrets);
    services_free(api.services);
    revoked_free(api.revoked);
    if (base != NULL)
        event_base_free(base);
    free(url);
    return status;
}
