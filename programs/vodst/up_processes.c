/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of every process that `vodst up` runs. */

#include "programs/vodst/up.h"
#include "core/err.h"
#include "platform/log.h"

#include <stdarg.h>
#include <stdio.h>

#define READY_MS_MAX 20000 /* a process until it answers */
#define ARGUMENT_SIZE 1024 /* bytes of one argument with its end */

/* An argument vector whose texts it owns. */
struct arguments {
    char texts[PROCESS_ARGUMENTS_MAX][ARGUMENT_SIZE];
    const char *argv[PROCESS_ARGUMENTS_MAX + 1];
    size_t count;
    bool is_full;
};

static void __attribute__((format(printf, 2, 3)))
argument_add(struct arguments *arguments, const char *format, ...)
{
    va_list list;
    if (arguments->count == PROCESS_ARGUMENTS_MAX) {
        arguments->is_full = true;
        return;
    }
    char *text = arguments->texts[arguments->count];
    va_start(list, format);
    if (vsnprintf(text, ARGUMENT_SIZE, format, list) >= ARGUMENT_SIZE)
        arguments->is_full = true;
    va_end(list);
    arguments->argv[arguments->count++] = text;
    arguments->argv[arguments->count] = NULL;
}

/* Nothing for an option that was not given: its program has the default. */
static void
option_pass(struct arguments *arguments, const char *name, const char *value)
{
    if (value != NULL) {
        argument_add(arguments, "--%s", name);
        argument_add(arguments, "%s", value);
    }
}

static int
process_add(struct up *up, const char *name, const struct arguments *arguments,
            const char *health_url)
{
    char log_name[64], log_path[STATE_FILE_SIZE];
    if (arguments->is_full) {
        log_error("up: the command line of %s is too long", name);
        return ERR_LIMIT;
    }
    snprintf(log_name, sizeof log_name, "log/%s.log", name);
    state_path(&up->state, log_name, log_path);
    const struct process_config config = {name, arguments->argv, log_path,
                                          health_url, READY_MS_MAX};
    const int err = supervisor_add(up->supervisor, &config);
    if (err != 0)
        log_error("up: cannot add %s (%s)", name, err_text(err));
    return err;
}

static int
nginx_add(struct up *up, const struct node *node, const char *process)
{
    struct arguments arguments = {0};
    char run[STATE_FILE_SIZE], health[sizeof node->listen + 32];
    char name[64];
    snprintf(name, sizeof name, "run/%s", node->name);
    state_path(&up->state, name, run);
    snprintf(health, sizeof health, "http://%s/healthz", node->listen);
    argument_add(&arguments, "%s", up->places.nginx);
    argument_add(&arguments, "-e");
    argument_add(&arguments, "stderr");
    argument_add(&arguments, "-p");
    argument_add(&arguments, "%s", run);
    argument_add(&arguments, "-c");
    argument_add(&arguments, "%s/nginx.conf", run);
    return process_add(up, process, &arguments, health);
}

static int
varnish_add(struct up *up, const struct node *node)
{
    struct arguments arguments = {0};
    char run[STATE_FILE_SIZE], health[sizeof node->listen + 32];
    state_path(&up->state, "run/varnish", run);
    snprintf(health, sizeof health, "http://%s/healthz", node->listen);
    argument_add(&arguments, "%s", up->places.varnishd);
    argument_add(&arguments, "-F");
    /* the state folder is ours alone: no change of user can read it */
    argument_add(&arguments, "-j");
    argument_add(&arguments, "none");
    argument_add(&arguments, "-n");
    argument_add(&arguments, "%s/work", run);
    argument_add(&arguments, "-a");
    argument_add(&arguments, "%s", node->listen);
    argument_add(&arguments, "-T");
    argument_add(&arguments, "none");
    argument_add(&arguments, "-f");
    argument_add(&arguments, "%s/cdn.vcl", run);
    argument_add(&arguments, "-s");
    argument_add(&arguments, "malloc,256m");
    argument_add(&arguments, "-p");
    argument_add(&arguments, "thread_pools=1");
    argument_add(&arguments, "-p");
    argument_add(&arguments, "thread_pool_min=20");
    return process_add(up, node->name, &arguments, health);
}

static void
coordination_pass(struct arguments *arguments, const struct up *up)
{
    option_pass(arguments, "coordination", up->options.coordination);
    option_pass(arguments, "consul", up->options.consul);
}

static int
agent_add(struct up *up, const struct node *node)
{
    struct arguments arguments = {0};
    const struct node *manager;
    char run[STATE_FILE_SIZE], name[64];
    snprintf(name, sizeof name, "run/%s", node->name);
    state_path(&up->state, name, run);
    snprintf(name, sizeof name, "%s-agent", node->name);
    argument_add(&arguments, "%s", up->places.agent);
    argument_add(&arguments, "--node=%s", node->name);
    argument_add(&arguments, "--role=%s",
                 node->tier == TIER_ORIGIN ? "origin" : "redirector");
    for (size_t n = 0;
         (manager = topology_node(&up->topology, TIER_MANAGER, n)) != NULL; n++)
        argument_add(&arguments, "--manager=%s", manager->url);
    argument_add(&arguments, "--manager-key=%s/secrets/manager.key",
                 up->state.folder);
    argument_add(&arguments, "--counters=%s/counters", run);
    argument_add(&arguments, "--table=%s/table", run);
    argument_add(&arguments, "--revoked=%s/revoked", run);
    argument_add(&arguments, "--api=%s",
                 topology_node(&up->topology, TIER_API, 0)->url);
    argument_add(&arguments, "--url=%s", node->url);
    argument_add(&arguments, "--check=http://%s/healthz", node->listen);
    option_pass(&arguments, "capacity", up->options.capacity);
    option_pass(&arguments, "interval", up->options.interval);
    coordination_pass(&arguments, up);
    return process_add(up, name, &arguments, NULL);
}

static int
manager_add(struct up *up, const struct node *node)
{
    struct arguments arguments = {0};
    char health[sizeof node->loopback + 32];
    const struct up_options *options = &up->options;
    snprintf(health, sizeof health, "http://%s/healthz", node->loopback);
    argument_add(&arguments, "%s", up->places.manager);
    argument_add(&arguments, "--listen=%s", node->loopback);
    argument_add(&arguments, "--url=%s", node->url);
    coordination_pass(&arguments, up);
    argument_add(&arguments, "--cdn");
    if (options->cdn_whole)
        argument_add(&arguments, "--cdn-whole");
    argument_add(&arguments, "--overrides=%s/overrides.json", up->state.folder);
    option_pass(&arguments, "policy", options->policy);
    option_pass(&arguments, "normal", options->normal);
    option_pass(&arguments, "normal-owners", options->normal_owners);
    option_pass(&arguments, "hot", options->hot);
    option_pass(&arguments, "critical", options->critical);
    option_pass(&arguments, "spread", options->spread);
    option_pass(&arguments, "target", options->target);
    option_pass(&arguments, "down-ratio", options->down_ratio);
    option_pass(&arguments, "hold", options->hold);
    option_pass(&arguments, "window", options->window);
    option_pass(&arguments, "node-timeout", options->node_timeout);
    option_pass(&arguments, "requests-per-play", options->requests_per_play);
    return process_add(up, node->name, &arguments, health);
}

static int
licenses_add(struct up *up, const struct node *node)
{
    struct arguments arguments = {0};
    const char *folder = up->state.folder;
    char health[sizeof node->loopback + 32];
    snprintf(health, sizeof health, "http://%s/v1/health", node->loopback);
    argument_add(&arguments, "%s", up->places.mlic);
    argument_add(&arguments, "serve");
    argument_add(&arguments, "--listen=%s", node->loopback);
    argument_add(&arguments, "--database=%s/licenses.db", folder);
    argument_add(&arguments, "--master-keys=%s/secrets/master.keys", folder);
    argument_add(&arguments, "--services=%s/run/services.json", folder);
    argument_add(&arguments, "--audit=%s/licenses.audit", folder);
    argument_add(&arguments, "--audit-key=%s/secrets/audit.key", folder);
    argument_add(&arguments, "--packager-key=%s/secrets/packager.key", folder);
    return process_add(up, node->name, &arguments, health);
}

static int
api_add(struct up *up, const struct node *node)
{
    struct arguments arguments = {0};
    char health[sizeof node->loopback + 32];
    const char *front = topology_node(&up->topology, TIER_REDIRECTOR, 0)->url;
    snprintf(health, sizeof health, "http://%s/healthz", node->loopback);
    argument_add(&arguments, "%s", up->places.st_api);
    argument_add(&arguments, "--listen=%s", node->loopback);
    argument_add(&arguments, "--database=%s/catalogue.db", up->state.folder);
    argument_add(&arguments, "--keys=%s/secrets/token.keys", up->state.folder);
    argument_add(&arguments, "--admin-key=%s/secrets/admin.key",
                 up->state.folder);
    if (!up->options.is_private)
        argument_add(&arguments, "--public");
    argument_add(&arguments, "--playback-url=%s", front);
    if (topology_node(&up->topology, TIER_LICENSES, 0) != NULL) {
        argument_add(&arguments, "--entitlement-key=%s/secrets/entitlement.key",
                     up->state.folder);
        argument_add(&arguments,
                     "--license=clearkey=%s/license/v1/licenses/clearkey",
                     front);
    }
    option_pass(&arguments, "token-ttl", up->options.token_ttl);
    option_pass(&arguments, "token-form", up->options.token_form);
    option_pass(&arguments, "token-network", up->options.token_network);
    return process_add(up, node->name, &arguments, health);
}

/* The nginx that others on the network reach a daemon by. */
static int
front_add(struct up *up, const struct node *node)
{
    char name[sizeof node->name + 8];
    snprintf(name, sizeof name, "%s-front", node->name);
    return nginx_add(up, node, name);
}

static int
node_add(struct up *up, const struct node *node)
{
    int err = ERR_INVALID;
    switch (node->tier) {
    case TIER_STORAGE:
    case TIER_CACHE:
    case TIER_CDN:
        err = nginx_add(up, node, node->name);
        break;
    case TIER_ORIGIN:
    case TIER_REDIRECTOR:
        if ((err = nginx_add(up, node, node->name)) == 0)
            err = agent_add(up, node);
        break;
    case TIER_VARNISH:
        err = varnish_add(up, node);
        break;
    case TIER_MANAGER:
        err = manager_add(up, node);
        if (err == 0 && topology_has_front(node))
            err = front_add(up, node);
        break;
    case TIER_API:
        err = api_add(up, node);
        if (err == 0 && topology_has_front(node))
            err = front_add(up, node);
        break;
    case TIER_LICENSES:
        err = licenses_add(up, node);
        if (err == 0 && topology_has_front(node))
            err = front_add(up, node);
        break;
    case TIER_COUNT:
        break;
    }
    return err;
}

int
up_processes_add(struct up *up)
{
    int err = 0;
    const struct node *node;
    for (enum tier tier = 0; tier < TIER_COUNT; tier++)
        for (size_t n = 0;
             err == 0 && (node = topology_node(&up->topology, tier, n)); n++)
            if (node->runs_here)
                err = node_add(up, node);
    return err;
}
