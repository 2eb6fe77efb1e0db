/* SPDX-License-Identifier: Apache-2.0 */
/* mlic serve: licenses over HTTP. */

#include "core/err.h"
#include "platform/clock.h"
#include "platform/database.h"
#include "platform/descriptors.h"
#include "platform/http_tls.h"
#include "platform/log.h"
#include "platform/options.h"
#include "programs/mlic/mlic.h"
#include "programs/mlic/server.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>

#define CONNECTIONS_MAX 64
#define WAITING_MAX 10000 /* requests, for a connection to be free */
#define SWEEP_S 10
#define SERVICE_CONNECTIONS_MAX 64 /* to one service's host */

struct config {
    const char *listen, *database, *master_keys, *services, *audit, *audit_key;
    const char *packager_key, *ca_file;
    struct vendors_config vendors;
    int64_t lease_ms, connections;
    bool is_audit_key_new, verbose;
};

static const struct option options[] = {
    {"listen", OPTION_TEXT, offsetof(struct config, listen), "127.0.0.1:7300",
     0, 0, false, NULL,
     "Address to answer on. A loopback address: nginx faces the network, with "
     "TLS."},
    {"database", OPTION_TEXT, offsetof(struct config, database), NULL, 0, 0,
     true, NULL,
     "Where wrapped keys and plays are: a file (SQLite), made when missing; or "
     "postgresql://[USER@]HOST[:PORT]/NAME, which several mlic may share. A "
     "password belongs into ~/.pgpass or PGPASSFILE."},
    {"database-connections", OPTION_INTEGER,
     offsetof(struct config, connections), "4", 1, CONNECTIONS_MAX, false, NULL,
     "Connections to PostgreSQL, each of which answers one question at a "
     "time."},
    {"master-keys", OPTION_TEXT, offsetof(struct config, master_keys), NULL, 0,
     0, true, NULL,
     "What content keys are wrapped under: a file that nobody but its owner "
     "may read, with a line for each key, a number and 64 hex digits, of which "
     "the first wraps; or a PKCS #11 URI (RFC 7512) with token=, object= and "
     "pin-source=. Read again on SIGHUP."},
    {"services", OPTION_TEXT, offsetof(struct config, services), NULL, 0, 0,
     true, "FILE",
     "Services, their keys, rules and limits, and the URLs where they have "
     "keys "
     "and are asked before a license is given, in JSON. Read again on SIGHUP."},
    {"audit", OPTION_TEXT, offsetof(struct config, audit), NULL, 0, 0, true,
     "FILE",
     "File that every decision is written to, of this server alone. Opened "
     "anew on SIGHUP."},
    {"audit-key", OPTION_TEXT, offsetof(struct config, audit_key), NULL, 0, 0,
     true, "FILE",
     "File with 64 hex digits, that nobody but its owner may read: lines of "
     "the audit and hashes of viewers are made with it. The same for all mlic "
     "of one database, which count plays by these hashes: one that starts with "
     "another is refused."},
    {"new-audit-key", OPTION_FLAG, offsetof(struct config, is_audit_key_new),
     NULL, 0, 0, false, NULL,
     "The audit key is another than before: let the database have it in the "
     "old one's place. For the first start after all mlic of the database "
     "were stopped, and for no other."},
    {"packager-key", OPTION_TEXT, offsetof(struct config, packager_key), NULL,
     0, 0, false, "FILE",
     "File with the key that packagers send: a line of 16 to 256 characters. "
     "Without it they get nothing. Read again on SIGHUP."},
    {"ca-file", OPTION_TEXT, offsetof(struct config, ca_file), NULL, 0, 0,
     false, "FILE",
     "Certificates, in PEM, of who vouches for services' URLs behind https://; "
     "without it, those that this machine trusts."},
    {"lease", OPTION_DURATION, offsetof(struct config, lease_ms), "60s", 1000,
     86400.0 * 1000, false, NULL,
     "How long a play counts whose player says nothing: PUT /v1/play puts its "
     "end off."},
    {"playready-url", OPTION_TEXT,
     offsetof(struct config, vendors.playready.url), NULL, 0, 0, false, "URL",
     "The back end that makes PlayReady licenses, https://. Without it there "
     "are none."},
    {"playready-key", OPTION_TEXT,
     offsetof(struct config, vendors.playready.key_file), NULL, 0, 0, false,
     "FILE",
     "File with the key that is sent to the back end as Authorization: Bearer; "
     "nobody but its owner may read it."},
    {"playready-ca", OPTION_TEXT,
     offsetof(struct config, vendors.playready.ca_file), NULL, 0, 0, false,
     "FILE",
     "CA certificates (PEM) that the back end is trusted by; without it those "
     "of the system."},
    {"playready-certificate", OPTION_TEXT,
     offsetof(struct config, vendors.playready.certificate_file), NULL, 0, 0,
     false, "FILE", "Certificate (PEM) that is shown to the back end."},
    {"playready-certificate-key", OPTION_TEXT,
     offsetof(struct config, vendors.playready.certificate_key_file), NULL, 0,
     0, false, "FILE", "The certificate's private key (PEM)."},
    {"widevine-url", OPTION_TEXT, offsetof(struct config, vendors.widevine.url),
     NULL, 0, 0, false, "URL",
     "The service that makes Widevine licenses, https://. Without it there are "
     "none."},
    {"widevine-signer", OPTION_TEXT,
     offsetof(struct config, vendors.widevine_signer), NULL, 0, 0, false,
     "NAME", "What the service calls who signs the requests."},
    {"widevine-key", OPTION_TEXT, offsetof(struct config, vendors.widevine_key),
     NULL, 0, 0, false, "FILE",
     "File with what requests are signed with: 64 hex digits of the key, a "
     "colon, 32 of the IV; nobody but its owner may read it."},
    {"widevine-ca", OPTION_TEXT,
     offsetof(struct config, vendors.widevine.ca_file), NULL, 0, 0, false,
     "FILE",
     "CA certificates (PEM) that the service is trusted by; without it those "
     "of the system."},
    {"fairplay-plugin", OPTION_TEXT,
     offsetof(struct config, vendors.fairplay.plugin), NULL, 0, 0, false,
     "FILE",
     "Shared object with Apple's D function (fairplay_plugin.h), which the "
     "operator has by contract. Without it there are no FairPlay licenses."},
    {"fairplay-certificate", OPTION_TEXT,
     offsetof(struct config, vendors.fairplay.certificate), NULL, 0, 0, false,
     "FILE", "The certificate (PEM) that Apple has given."},
    {"fairplay-key", OPTION_TEXT, offsetof(struct config, vendors.fairplay.key),
     NULL, 0, 0, false, "FILE",
     "Its private key (PEM); nobody but its owner may read it."},
    {"fairplay-ask", OPTION_TEXT, offsetof(struct config, vendors.fairplay.ask),
     NULL, 0, 0, false, "FILE",
     "File with the application secret key that Apple has given, 32 hex "
     "digits; nobody but its owner may read it."},
    {"upstream-timeout", OPTION_DURATION,
     offsetof(struct config, vendors.timeout_ms), "5s", 100, 60.0 * 1000, false,
     NULL,
     "How long a service that makes licenses may take; the player is told "
     "then."},
    {"verbose", OPTION_FLAG, offsetof(struct config, verbose), NULL, 0, 0,
     false, NULL, "Log more."},
};

static const struct program program = {
    .name = "mlic serve",
    .summary = "give licenses, and keys to packagers",
    .synopsis = "",
    .details =
        "POST /v1/licenses/clearkey answers a player's request by the keys "
        "that "
        "its entitlement allows, GET /v1/keys/KID with a key of HLS (AES-128, "
        "SAMPLE-AES identity). The entitlement, a JWT for the audience "
        "\"mlic\" "
        "that a service signs, is sent as Authorization: Bearer JWT or as "
        "?entitlement=JWT. Who is refused is told why, with a code in "
        "\"reason\"; of several keys those that are refused are named in "
        "X-Keys-Refused.\n\n"
        "POST /v1/licenses/playready, where --playready-url is set, has the "
        "license of a PlayReady client made by a back end, which is told the "
        "keys and rights; /v1/licenses/widevine, where --widevine-url is set, "
        "that of a Widevine client by a license service, in a request that "
        "--widevine-key signs.\n\n"
        "Where plays at once are limited, PUT /v1/play, with the entitlement, "
        "says that one goes on, and DELETE /v1/play that it is over.\n\n"
        "POST /v1/cpix gives a packager keys, in the document that it sends "
        "(CPIX 2.3; SPEKE v2 with X-Speke-Version: 2.0), in the clear or "
        "encrypted to the certificates in it.\n\n"
        "On SIGHUP master keys, services, the packagers' key and what "
        "licenses of others are made with (but FairPlay's plug-in) are read "
        "again, together or not at all. A new master key is put into the file "
        "as its "
        "last line (of a device: the URI names the old one by id=), and every "
        "mlic is told by SIGHUP; then it is made the first, all are told "
        "again, "
        "`mlic rewrap` is run, and the old one may be taken out. Exit status: "
        "0 stopped by a signal, 1 could "
        "not start, 2 wrong use.",
    .options = options,
    .option_count = OPTION_COUNT(options),
};

struct serve {
    const struct config *config;
    struct event_base *base;
    struct http_tls *tls;
    struct http_client *client; /* to services */
    struct callbacks *callbacks;
    struct server server;
    /* of each connection to the database; a master key may be used by one
     * thread */
    struct store *stores[CONNECTIONS_MAX];
    struct master_keys *masters[CONNECTIONS_MAX];
    unsigned store_count;
};

static int
packager_key_read(const struct config *config, char out[KEY_SIZE])
{
    if (config->packager_key != NULL)
        return key_file_read(config->packager_key, out);
    out[0] = '\0';
    return 0;
}

static void
masters_close(struct master_keys **masters, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        master_keys_close(masters[i]);
}

static int
masters_open(const struct config *config, struct master_keys **out,
             unsigned count)
{
    int err = 0;
    for (unsigned i = 0; i < count && err == 0; i++)
        err = master_keys_open(config->master_keys, &out[i]);
    return err;
}

/* ---- signals ---- */

static void
masters_install(struct serve *serve, struct master_keys **masters)
{
    for (unsigned i = 0; i < serve->store_count; i++) {
        key_store_use(serve->stores[i]->keys, masters[i]);
        master_keys_close(serve->masters[i]);
        serve->masters[i] = masters[i];
    }
}

static void
reload(evutil_socket_t number, short events, void *context)
{
    struct serve *serve = context;
    struct server *server = &serve->server;
    struct master_keys *masters[CONNECTIONS_MAX] = {NULL};
    struct services *services = NULL, *before = server->services;
    struct vendors *vendors = NULL;
    char key[KEY_SIZE];
    int err = services_read(serve->config->services, &services);
    if (err == 0)
        err = masters_open(serve->config, masters, serve->store_count);
    if (err == 0)
        err = packager_key_read(serve->config, key);
    if (err == 0)
        err = vendors_new(serve->base, &serve->config->vendors, &vendors);
    if (err == 0)
        err = services_begin(services, before, serve->client, serve->callbacks);
    if (audit_reopen(server->audit) != 0)
        log_error("audit: nothing is decided until it can be written");
    if (err != 0) {
        log_error("main: keep what there was (the new is refused)");
        server->metrics[SERVER_METRIC_RELOADS_REFUSED]++;
        services_free(services);
        vendors_free(vendors);
        masters_close(masters, serve->store_count);
        return;
    }
    masters_install(serve, masters);
    vendors->before = server->vendors; /* with who asks by it */
    server->vendors = vendors;
    server->services = services;
    services_tick(services, clock_now_ms());
    services_free(before); /* who waits for them is judged by the new */
    memcpy(server->packager_key, key, sizeof key);
    explicit_bzero(key, sizeof key);
    server->metrics[SERVER_METRIC_RELOADS]++;
    log_info("main: read again");
}

static void
stop(evutil_socket_t number, short events, void *context)
{
    log_info("main: stop (signal %d)", (int) number);
    event_base_loopbreak(context);
}

/* ---- now and then ---- */

struct sweep {
    struct work work;
    struct serve *serve;
    bool is_under_way;
};

static void
sweep_run(struct work *work, void *store)
{
    (void) play_store_sweep(((struct store *) store)->plays, clock_unix_s());
}

static void
sweep_done(struct work *work)
{
    ((struct sweep *) work)->is_under_way = false;
}

static void
each_second(evutil_socket_t number, short events, void *context)
{
    struct sweep *sweep = context;
    struct server *server = &sweep->serve->server;
    (void) audit_sync(server->audit);
    services_tick(server->services, clock_now_ms());
    vendors_sweep(server->vendors);
    if (sweep->is_under_way || clock_now_ms() / 1000 % SWEEP_S != 0)
        return;
    sweep->work.run = sweep_run;
    sweep->work.done = sweep_done;
    if (server->tasks.workers == NULL)
        sweep_run(&sweep->work, server->tasks.state);
    else
        sweep->is_under_way =
            workers_submit(server->tasks.workers, &sweep->work);
}

/* ---- life ---- */

static int
loop_serve(struct serve *serve)
{
    const struct http_server_config http = {
        .listen = serve->config->listen,
        .body_size_max = SERVER_BODY_SIZE_MAX,
        .idle_timeout_s = 60,
        .routes = server_routes,
        .route_count = server_route_count,
        .context = &serve->server,
    };
    const struct timeval second = {.tv_sec = 1};
    struct sweep sweep = {.serve = serve};
    struct http_server *server;
    if (http_server_new(serve->base, &http, &server) != 0)
        return 1;
    struct event *timer =
        event_new(serve->base, -1, EV_PERSIST, each_second, &sweep);
    event_add(timer, &second);
    struct event *signals[] = {
        evsignal_new(serve->base, SIGHUP, reload, serve),
        evsignal_new(serve->base, SIGTERM, stop, serve->base),
        evsignal_new(serve->base, SIGINT, stop, serve->base),
    };
    for (size_t i = 0; i < 3; i++)
        event_add(signals[i], NULL);
    services_tick(serve->server.services, clock_now_ms());
    log_info("main: answer on port %u", http_server_port(server));
    event_base_dispatch(serve->base);
    for (size_t i = 0; i < 3; i++)
        event_free(signals[i]);
    event_free(timer);
    http_server_free(server);
    return 0;
}

/* A file is asked in the loop's thread: it answers in microseconds. Of a server
 * each worker has a connection. */
static int
stores_open(struct serve *serve)
{
    const struct config *config = serve->config;
    const bool is_server = database_is_server(config->database);
    const unsigned count = is_server ? (unsigned) config->connections : 1;
    int err = masters_open(config, serve->masters, count);
    for (; serve->store_count < count && err == 0; serve->store_count++) {
        err = store_open(config->database, serve->masters[serve->store_count],
                         &serve->stores[serve->store_count]);
        if (err != 0)
            return err;
    }
    if (err == 0 && is_server)
        return workers_new(serve->base, (void *const *) serve->stores, count,
                           WAITING_MAX, &serve->server.tasks.workers);
    serve->server.tasks.state = serve->stores[0];
    return err;
}

/* With different keys each mlic would count plays for itself. */
static int
audit_key_agree(struct serve *serve, const char *mark)
{
    const struct config *config = serve->config;
    const int err = mark[0] == '\0'
                        ? ERR_MEMORY
                        : play_store_key_agree(serve->stores[0]->plays, mark,
                                               config->is_audit_key_new);
    if (err == ERR_CHECKSUM)
        log_error("audit: refuse %s (the database is of another audit key: "
                  "take that of the other mlic; or, to change it, stop all of "
                  "them and start one with --new-audit-key)",
                  config->audit_key);
    else if (err == 0 && config->is_audit_key_new)
        log_warn("audit: the database is now of the key in %s: leave "
                 "--new-audit-key out from the next start on",
                 config->audit_key);
    return err;
}

static int
client_open(struct serve *serve)
{
    const struct http_tls_config trusted = {.ca_file = serve->config->ca_file};
    int err = http_tls_new(&trusted, &serve->tls);
    if (err == 0) {
        serve->client = http_client_new(serve->base, SERVICE_CONNECTIONS_MAX);
        err = serve->client == NULL ? ERR_MEMORY : 0;
    }
    if (err == 0)
        http_client_use_tls(serve->client, serve->tls);
    return err == 0 ? callbacks_new(serve->client, &serve->callbacks) : err;
}

static int
run(struct serve *serve)
{
    const struct config *config = serve->config;
    struct server *server = &serve->server;
    unsigned char key[AUDIT_KEY_SIZE];
    char mark[AUDIT_VIEWER_LEN + 1] = "";
    int err = services_read(config->services, &server->services);
    if (err == 0)
        err = client_open(serve);
    if (err == 0)
        err = services_begin(server->services, NULL, serve->client,
                             serve->callbacks);
    if (err == 0)
        err = packager_key_read(config, server->packager_key);
    if (err == 0)
        err = audit_key_read(config->audit_key, key);
    if (err == 0)
        audit_key_mark(key, mark);
    if (err == 0)
        err = audit_open(config->audit, key, &server->audit);
    explicit_bzero(key, sizeof key);
    if (err == 0)
        err = vendors_new(serve->base, &config->vendors, &server->vendors);
    if (err == 0)
        err = stores_open(serve);
    if (err == 0)
        err = audit_key_agree(serve, mark);
    return err == 0 ? loop_serve(serve) : 1;
}

int
serve_main(int argc, char **argv)
{
    struct config config;
    options_parse(&program, argc, argv, &config);
    log_init("mlic", config.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    descriptors_raise(DESCRIPTORS_ALL);
    signal(SIGPIPE, SIG_IGN);
    struct serve *serve = calloc(1, sizeof *serve);
    if (serve == NULL)
        return 1;
    struct server *server = &serve->server;
    serve->config = &config;
    serve->base = event_base_new();
    server->tasks = (struct tasks){.failed = server_failed, .context = server};
    server->lease_s = (uint64_t) config.lease_ms / 1000;
    const int status = serve->base != NULL ? run(serve) : 1;
    workers_free(server->tasks.workers);
    for (unsigned i = 0; i < serve->store_count; i++)
        store_close(serve->stores[i]);
    masters_close(serve->masters, CONNECTIONS_MAX);
    audit_close(server->audit);
    services_free(server->services);
    callbacks_free(serve->callbacks);
    http_client_free(serve->client);
    vendors_free(server->vendors);
    http_tls_free(serve->tls);
    if (serve->base != NULL) {
        /* a connection whose last word is put off lives, with what it holds,
         * until that was said */
        event_base_loop(serve->base, EVLOOP_NONBLOCK);
        event_base_free(serve->base);
    }
    explicit_bzero(serve, sizeof *serve);
    free(serve);
    return status;
}
