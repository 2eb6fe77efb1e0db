/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vodst up: the whole platform on this machine, in the foreground. Plans the
 * servers and their ports, writes their configurations, runs and minds them.
 */

#include "programs/vodst/configure.h"
#include "programs/vodst/fetch.h"
#include "programs/vodst/up.h"
#include "programs/vodst/vodst.h"
#include "core/err.h"
#include "platform/descriptors.h"
#include "platform/files.h"
#include "platform/log.h"
#include "platform/options.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NODES_READY_MS_MAX 20000 /* all nodes until the manager knows them */
#define DESCRIPTORS_WANTED 65536
#define STATUS_SIZE_MAX (16u << 20) /* bytes of the manager's status */
#define CLUSTER_SIZE_MAX (1u << 16) /* bytes of the cluster's file */

#define FIELD(name) offsetof(struct up_options, name)

static const struct option up_table[] = {
    {"dir", OPTION_TEXT, FIELD(dir), ".vodst", 0, 0, false, NULL,
     "The state folder: keys, configurations, logs, stored films."},
    {"port", OPTION_TEXT, FIELD(port), "8080", 0, 0, false, NULL,
     "The port of the front; the other servers take the ones after it. "
     "`auto` takes any that are free."},
    {"address", OPTION_TEXT, FIELD(address), "127.0.0.1", 0, 0, false, NULL,
     "Where redirectors, origins and the CDN listen for viewers. What is "
     "behind them listens on loopback only."},
    {"host", OPTION_TEXT, FIELD(host), NULL, 0, 0, false, NULL,
     "The name or address that viewers' URLs carry, if not --address."},
    {"cluster", OPTION_TEXT, FIELD(cluster), NULL, 0, 0, false, "file",
     "The servers of the platform on several machines, one a line: TIER NAME "
     "ADDRESS:PORT [URL], with a tier of redirector, origin, cdn, varnish, "
     "cache, storage, manager, st-api and, for protected films, mlic. Storage "
     "may be a bucket: storage NAME "
     "s3://BUCKET[/PREFIX] http[s]://HOST[:PORT] [REGION [path|virtual-hosted]"
     "], with credentials for reading in secrets/s3.credentials of the state "
     "folder (see --s3-credentials-file of vodst ingest) and, where this "
     "machine does not trust an https endpoint, who vouches for it in "
     "secrets/s3.ca.pem. Viewers are given "
     "the first "
     "redirector's URL: of several, one that leads to all. Instead of --port, "
     "--address, --host, --redirectors, --origins and --caches."},
    {"node", OPTION_LIST, FIELD(nodes), NULL, 0, 0, false, "name",
     "With --cluster: run only this server here; may be given often. The "
     "folder secrets/ of the state folder must be the same everywhere."},
    {"coordination", OPTION_TEXT, FIELD(coordination), NULL, 0, 0, false, "way",
     "static or consul: how Managers and nodes find each other, see "
     "vodst-manager."},
    {"consul", OPTION_TEXT, FIELD(consul), NULL, 0, 0, false, "URL",
     "The Consul agent of this machine. What CONSUL_HTTP_ADDR and the others "
     "say in the environment holds as well."},
    {"redirectors", OPTION_INTEGER, FIELD(redirectors), "1", 1,
     TOPOLOGY_TIER_NODES_MAX, false, NULL, "How many redirectors."},
    {"origins", OPTION_INTEGER, FIELD(origins), "3", 1, TOPOLOGY_TIER_NODES_MAX,
     false, NULL, "How many origins."},
    {"caches", OPTION_INTEGER, FIELD(caches), "2", 1, TOPOLOGY_TIER_NODES_MAX,
     false, NULL, "How many proxy caches."},
    {"workers", OPTION_INTEGER, FIELD(workers), "1", 1, 64, false, NULL,
     "Worker processes of each nginx."},
    {"cache-size", OPTION_SIZE, FIELD(cache_size), "1G", 1 << 20,
     (double) (1ull << 50), false, NULL,
     "Disk space for the slices of each origin and proxy cache."},
    {"plain-size", OPTION_SIZE, FIELD(plain_size), "0", 0,
     (double) (1ull << 50), false, NULL,
     "Films that nobody ingested, ID/VERSION/film.mp4 in the storage, are "
     "served, too, with so much disk space of each origin for what is made of "
     "them. 0: they are not looked for."},
    {"capacity", OPTION_TEXT, FIELD(capacity), "100", 0, 0, false, "req/s",
     "What each origin can carry."},
    {"interval", OPTION_TEXT, FIELD(interval), NULL, 0, 0, false, NULL,
     "How often nodes report (see vodst-agent)."},
    {"policy", OPTION_TEXT, FIELD(policy), NULL, 0, 0, false, NULL,
     "What levels go by: capacity or thresholds. This and the next ones up to "
     "cdn-whole are vodst-manager's options."},
    {"normal", OPTION_TEXT, FIELD(normal), NULL, 0, 0, false, "req/s",
     "The threshold from which a content is normal."},
    {"normal-owners", OPTION_TEXT, FIELD(normal_owners), NULL, 0, 0, false,
     NULL, "How many owners it has then."},
    {"hot", OPTION_TEXT, FIELD(hot), NULL, 0, 0, false, "req/s",
     "The threshold from which it is hot."},
    {"critical", OPTION_TEXT, FIELD(critical), NULL, 0, 0, false, "req/s",
     "The threshold from which it goes to the CDN."},
    {"spread", OPTION_TEXT, FIELD(spread), "0.10", 0, 0, false, NULL,
     "Share of an origin's capacity that one content may take before it gets "
     "another owner: more than vodst-manager's own, as the origins are small."},
    {"target", OPTION_TEXT, FIELD(target), NULL, 0, 0, false, NULL,
     "The utilisation above which the CDN takes contents."},
    {"down-ratio", OPTION_TEXT, FIELD(down_ratio), NULL, 0, 0, false, NULL,
     "How far below a threshold demand must fall for a step down."},
    {"hold", OPTION_TEXT, FIELD(hold), NULL, 0, 0, false, NULL,
     "How long it must stay there."},
    {"window", OPTION_TEXT, FIELD(window), NULL, 0, 0, false, NULL,
     "The window over which rates are taken."},
    {"node-timeout", OPTION_TEXT, FIELD(node_timeout), NULL, 0, 0, false, NULL,
     "How long a node may be silent before it counts as down."},
    {"requests-per-play", OPTION_TEXT, FIELD(requests_per_play), NULL, 0, 0,
     false, NULL, "What a play started is expected to ask."},
    {"cdn-whole", OPTION_FLAG, FIELD(cdn_whole), NULL, 0, 0, false, NULL,
     "The CDN takes all plays of a critical content, not only a share."},
    {"token-ttl", OPTION_TEXT, FIELD(token_ttl), NULL, 0, 0, false, NULL,
     "How long a playback URL is good for (see st-api)."},
    {"token-form", OPTION_TEXT, FIELD(token_form), NULL, 0, 0, false, NULL,
     "Form of the token in a playback URL: compact, jwt or cat (see st-api)."},
    {"token-network", OPTION_TEXT, FIELD(token_network), NULL, 0, 0, false,
     NULL, "Binds playback URLs to the viewer's network (see st-api)."},
    {"private", OPTION_FLAG, FIELD(is_private), NULL, 0, 0, false, NULL,
     "Plays are asked for by services, with their keys or JWTs (see st-api); "
     "the player page then plays nothing by itself."},
    {"share", OPTION_TEXT, FIELD(share), NULL, 0, 0, false, NULL,
     "The folder with deploy/ and web/, if not where they are expected."},
    {"no-restart", OPTION_FLAG, FIELD(no_restart), NULL, 0, 0, false, NULL,
     "Processes that end stay down."},
    {"detach", OPTION_FLAG, FIELD(detach), NULL, 0, 0, false, NULL,
     "Go to the background once everything is ready."},
};

static const struct program up_program = {
    "vodst up",
    "start the whole platform on this machine",
    "",
    "Runs redirectors, origins, proxy caches, the storage, a stand-in for a "
    "CDN, the manager, the agents, st-api and the license server, waits until "
    "all are ready, and "
    "minds them until Ctrl-C, SIGTERM or `vodst down`. What runs where stands "
    "in vodst.json in the state folder.\n\nVODST_TOOLS in the environment, "
    "folders as in PATH, says where to look for nginx, varnishd and ffmpeg "
    "instead of PATH and Debian's folders.",
    up_table,
    OPTION_COUNT(up_table),
    0,
    0,
};

static int
processes_changed(void *context)
{
    return up_report_write(context);
}

/* From the options: what runs where, and what of it here. */
static int
plan(struct up *up, char *error, size_t error_size)
{
    const struct up_options *options = &up->options;
    const struct topology_config config = {(unsigned) options->redirectors,
                                           (unsigned) options->origins,
                                           (unsigned) options->caches,
                                           options->address,
                                           options->host,
                                           options->port};
    struct buffer text;
    int err;

    if (options->cluster == NULL && options->nodes.count > 0) {
        snprintf(error, error_size, "--node needs --cluster FILE");
        return ERR_INVALID;
    }
    if (options->cluster == NULL)
        return topology_plan(&config, &up->topology, error, error_size);
    buffer_init(&text, CLUSTER_SIZE_MAX);
    if ((err = file_read(options->cluster, &text)) != 0)
        snprintf(error, error_size, "cannot read %s (%s)", options->cluster,
                 err == ERR_IO ? strerror(errno) : err_text(err));
    else if ((err = topology_read(options->cluster, buffer_bytes(&text),
                                  &up->topology, error, error_size))
             == 0)
        err = topology_select(&up->topology, options->nodes.items,
                              options->nodes.count, error, error_size);
    buffer_fini(&text);
    return err;
}

/* True once the manager knows every node as up and each has its table. */
static bool
nodes_are_known(void *context)
{
    const struct up *up = context;
    char url[sizeof up->topology.nodes->url + 32];
    char path[STATE_FILE_SIZE], name[64];
    struct buffer body;
    size_t known = 0, wanted = 0, i;
    json_t *node, *json = NULL;
    int status = 0;

    snprintf(url, sizeof url, "%s/v1/status",
             topology_node(&up->topology, TIER_MANAGER, 0)->url);
    buffer_init(&body, STATUS_SIZE_MAX);
    if (fetch(url, 1000, &body, &status) == 0 && status == 200)
        json = json_loadb((const char *) body.ptr, body.len, 0, NULL);
    buffer_fini(&body);
    json_array_foreach(json_object_get(json, "nodes"), i, node)
    {
        const char *state = json_string_value(json_object_get(node, "state"));
        known += state != NULL && strcmp(state, "up") == 0;
    }
    json_decref(json);
    for (i = 0; i < up->topology.count; i++) {
        const struct node *one = &up->topology.nodes[i];
        if (one->tier != TIER_ORIGIN && one->tier != TIER_REDIRECTOR)
            continue;
        wanted++;
        snprintf(name, sizeof name, "run/%s/table", one->name);
        state_path(&up->state, name, path);
        if (access(path, R_OK) != 0)
            return false;
    }
    return known >= wanted;
}

static int
platform_start(struct up *up)
{
    int err = supervisor_start(up->supervisor);
    /* the machines of a cluster start in any order */
    if (err != 0 || up->options.nodes.count > 0)
        return err;
    err = supervisor_wait(up->supervisor, nodes_are_known, up,
                          NODES_READY_MS_MAX);
    if (err == ERR_TIMEOUT)
        log_error("up: the manager does not know all nodes as up within %d s: "
                  "see the logs of the agents in %s/log",
                  NODES_READY_MS_MAX / 1000, up->state.folder);
    return err;
}

/* From here on the terminal is free, and messages go to a log. */
static void
terminal_leave(struct up *up)
{
    char path[STATE_FILE_SIZE];
    state_path(&up->state, "log/up.log", path);
    const int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0)
        dup2(null, 0);
    if (log >= 0) {
        dup2(log, 1);
        dup2(log, 2);
    }
    if (write(up->ready_fd, "r", 1) != 1)
        log_warn("up: nobody waits for the start any more");
    close(up->ready_fd);
    up->ready_fd = -1;
}

/* As nginx takes it. What is no number the agent refuses. */
static unsigned long
capacity_whole(const char *text)
{
    const double capacity = strtod(text, NULL);
    return capacity < 1     ? 1
           : capacity > 1e9 ? 1000000000
                            : (unsigned long) capacity;
}

/* Plans, configures, starts, minds and stops: the exit status. */
static int
platform_run(struct up *up)
{
    char error[512];
    const struct up_options *options = &up->options;
    const struct configure configure = {&up->places,
                                        &up->state,
                                        &up->topology,
                                        (unsigned) options->workers,
                                        (unsigned long) options->cache_size,
                                        capacity_whole(options->capacity),
                                        (unsigned long) options->plain_size};
    int err;

    if ((err = plan(up, error, sizeof error)) != 0) {
        log_error("up: %s", error);
        return 1;
    }
    if (state_prepare(&up->state) != 0 || configure_all(&configure) != 0)
        return 1;
    up->supervisor =
        supervisor_new(!options->no_restart, processes_changed, up);
    if (up->supervisor == NULL) {
        log_error("up: cannot mind processes (%s)", strerror(errno));
        return 1;
    }
    if ((err = up_processes_add(up)) == 0 && (err = platform_start(up)) == 0
        && (err = up_report_write(up)) == 0) {
        up_report_print(up);
        if (up->ready_fd >= 0)
            terminal_leave(up);
        supervisor_run(up->supervisor);
    }
    up_report_remove(up);
    log_info("up: stops %zu processes", supervisor_count(up->supervisor));
    supervisor_stop(up->supervisor);
    supervisor_free(up->supervisor);
    return err != 0;
}

/* Returns in the child; the parent ends here, with how the start went. */
static int
detach(struct up *up)
{
    int fds[2];
    char byte;
    if (pipe2(fds, O_CLOEXEC) != 0) {
        log_error("up: cannot detach (%s)", strerror(errno));
        return ERR_IO;
    }
    const pid_t pid = fork();
    if (pid < 0) {
        log_error("up: cannot detach (%s)", strerror(errno));
        return ERR_IO;
    }
    if (pid > 0) {
        close(fds[1]);
        exit(read(fds[0], &byte, 1) == 1 ? 0 : 1);
    }
    close(fds[0]);
    up->ready_fd = fds[1];
    setsid();
    return state_lock_sign(&up->state);
}

int
up_main(int argc, char **argv)
{
    struct up up = {.ready_fd = -1};
    int status = 1;

    options_parse(&up_program, argc, argv, &up.options);
    log_init("vodst", LOG_LEVEL_INFO);
    /* a player holds a connection, each of them a descriptor or two */
    descriptors_raise(DESCRIPTORS_WANTED);
    if (places_find(up.options.share, &up.places) != 0
        || state_open(up.options.dir, &up.state) != 0)
        return 1;
    if (!up.options.detach || detach(&up) == 0)
        status = platform_run(&up);
    state_close(&up.state);
    return status;
}
