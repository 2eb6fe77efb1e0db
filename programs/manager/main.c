/* SPDX-License-Identifier: Apache-2.0 */
/* vodst-manager: sums the nodes' counts and publishes the load table. */

#include "platform/consul_options.h"
#include "platform/descriptors.h"
#include "platform/log.h"
#include "platform/loop.h"
#include "platform/options.h"
#include "programs/manager/leader.h"

#include <stdio.h>
#include <string.h>

#include <event2/event.h>

#define OVERRIDES_WAIT_MS 30000

struct config {
    const char *listen, *url, *policy, *overrides;
    struct consul_options consul;
    double normal, hot, critical;
    int64_t normal_owners;
    double spread, target, down_ratio, requests_per_play;
    int64_t hold_ms, window_ms, node_timeout_ms, contents_max;
    bool has_cdn, cdn_whole, verbose;
};

#define FIELD(f) offsetof(struct config, f)
static const struct option options[] = {
    {"listen", OPTION_TEXT, FIELD(listen), "127.0.0.1:7100", 0, 0, false,
     "ADDRESS",
     "Address to answer on. A loopback address: nginx faces the "
     "network. Port 0 takes any that is free."},
    CONSUL_OPTIONS(FIELD(consul)),
    {"url", OPTION_TEXT, FIELD(url), NULL, 0, 0, false, "URL",
     "Where agents reach this Manager, http://HOST:PORT; with --coordination "
     "consul. Without it the address listened on."},
    {"policy", OPTION_TEXT, FIELD(policy), "capacity", 0, 0, false, "POLICY",
     "What levels go by: capacity (--spread, --target) or thresholds "
     "(--normal, --hot, --critical)."},
    {"normal", OPTION_NUMBER, FIELD(normal), "10", 0.001, 1e9, false, "req/s",
     "With thresholds: a content is normal from this demand on."},
    {"normal-owners", OPTION_INTEGER, FIELD(normal_owners), "2", 2,
     PLACEMENT_NODES_MAX, false, NULL,
     "With thresholds: how many owners a normal content has."},
    {"hot", OPTION_NUMBER, FIELD(hot), "50", 0.001, 1e9, false, "req/s",
     "With thresholds: from this demand on all origins own it."},
    {"critical", OPTION_NUMBER, FIELD(critical), "200", 0.001, 1e9, false,
     "req/s", "With thresholds: from this demand on it goes to the CDN."},
    {"spread", OPTION_NUMBER, FIELD(spread), "0.033", 0.001, 1, false, NULL,
     "Share of one node's capacity that one content may take before it gets "
     "another owner."},
    {"target", OPTION_NUMBER, FIELD(target), "0.80", 0.01, 1, false, NULL,
     "Share of the origins' capacity that may be used before contents go to "
     "the CDN."},
    {"down-ratio", OPTION_NUMBER, FIELD(down_ratio), "0.70", 0.01, 1, false,
     NULL,
     "A content steps down below this share of the demand that its step "
     "up needed."},
    {"hold", OPTION_DURATION, FIELD(hold_ms), "30s", 0, 3600000, false, NULL,
     "A content steps down after its demand has been low for so long."},
    {"window", OPTION_DURATION, FIELD(window_ms), "10s", 1000, 600000, false,
     NULL, "Time over which rates are taken. Rises are seen sooner."},
    {"node-timeout", OPTION_DURATION, FIELD(node_timeout_ms), "3s", 100, 600000,
     false, NULL, "A node that has not reported for so long is down."},
    {"cdn", OPTION_FLAG, FIELD(has_cdn), NULL, 0, 0, false, NULL,
     "There is a CDN for what the origins cannot carry."},
    {"cdn-whole", OPTION_FLAG, FIELD(cdn_whole), NULL, 0, 0, false, NULL,
     "Send all plays of a critical content to the CDN, and not only the share "
     "that does not fit. By thresholds all are sent anyway."},
    {"overrides", OPTION_TEXT, FIELD(overrides), NULL, 0, 0, false, "FILE",
     "Keeps what operators override (see vodst-override) over a restart. "
     "Without it a restart forgets that."},
    {"requests-per-play", OPTION_NUMBER, FIELD(requests_per_play), "100", 1,
     1000000, false, NULL,
     "Requests a play makes, assumed until enough plays were seen."},
    {"contents-max", OPTION_INTEGER, FIELD(contents_max), "4000000", 1, 1 << 24,
     false, NULL,
     "So many contents are counted at most, also if a node makes ids up: each "
     "that was ever asked for takes up to 0.6 kB. Later ones stay calm until "
     "a restart."},
    {"verbose", OPTION_FLAG, FIELD(verbose), NULL, 0, 0, false, NULL,
     "Log more."},
};

static const struct program program = {
    .name = "vodst-manager",
    .summary = "sum up demand and publish the load table",
    .synopsis = "",
    .details =
        "The agents of all nodes post their counts here. From them it decides "
        "how many origins may serve each content, and publishes that as the "
        "load table, which the agents fetch.\n\n"
        "It keeps nothing on disk but what operators override: after a restart "
        "the nodes tell it all again within one report.\n\n"
        "With --coordination consul several may run: one leads, and when it "
        "falls silent for 3 s another one does. Those that stand by redirect "
        "to it.",
    .options = options,
    .option_count = OPTION_COUNT(options),
};

static int
run_alone(struct event_base *base, const struct manager_config *policy,
          struct api *api)
{
    struct manager *manager = manager_new(base, policy);
    if (manager == NULL)
        return ERR_MEMORY;
    api_lead(api, manager);
    log_info("manager: listen on port %u (term %llu)", api_port(api),
             (unsigned long long) manager_term(manager));
    const int err = loop_run(base);
    api_stand_by(api, NULL);
    manager_free(manager);
    return err;
}

static int
run_with_others(struct event_base *base, const struct config *config,
                const struct manager_config *policy, struct api *api)
{
    char url[300];
    const char *colon = strrchr(config->listen, ':');
    /* the port may be any that was free */
    snprintf(url, sizeof url, "http://%.*s:%u", (int) (colon - config->listen),
             config->listen, api_port(api));
    struct consul *consul = NULL;
    struct leader *leader = NULL;
    int err = consul_options_open(&config->consul, base, &consul);
    const struct leader_config with = {
        .consul = consul,
        .prefix = config->consul.prefix,
        .url = config->url != NULL ? config->url : url,
        .policy = policy,
    };
    if (err == 0)
        err = leader_new(base, &with, api, &leader);
    if (err == 0) {
        log_info("manager: stand by, listen on port %u", api_port(api));
        err = loop_run(base);
    }
    leader_free(leader);
    consul_free(consul);
    return err;
}

static int
run(struct event_base *base, const struct config *config,
    struct overrides *overrides)
{
    const struct manager_config policy = {
        .demand = {.window_ms = (uint32_t) config->window_ms,
                   .node_timeout_ms = (uint32_t) config->node_timeout_ms,
                   .requests_per_play = config->requests_per_play,
                   .contents_max = (uint32_t) config->contents_max},
        .classify = {.rule = strcmp(config->policy, "thresholds") == 0
                                 ? CLASSIFY_THRESHOLDS
                                 : CLASSIFY_CAPACITY,
                     .thresholds = {.normal = config->normal,
                                    .hot = config->hot,
                                    .critical = config->critical,
                                    .owner_count =
                                        (uint32_t) config->normal_owners},
                     .spread = config->spread,
                     .target = config->target,
                     .down_ratio = config->down_ratio,
                     .hold_ms = (uint32_t) config->hold_ms,
                     .cdn_by_share = !config->cdn_whole,
                     .has_cdn = config->has_cdn},
        .overrides = overrides,
        .overrides_wait_ms = OVERRIDES_WAIT_MS,
    };
    struct api *api = NULL;
    int err = api_new(base, config->listen, &api);
    if (err == 0)
        err = consul_options_chosen(&config->consul)
                  ? run_with_others(base, config, &policy, api)
                  : run_alone(base, &policy, api);
    api_free(api);
    return err;
}

/* 0, or the exit status after telling what is wrong. */
static int
check_options(const struct config *config)
{
    const char *fault = consul_options_fault(&config->consul);
    if (fault[0] == '\0' && config->url != NULL
        && !http_url_is_valid(config->url))
        fault = "--url is no http://HOST:PORT";
    if (strcmp(config->policy, "capacity") != 0
        && strcmp(config->policy, "thresholds") != 0)
        fault = "--policy is neither capacity nor thresholds";
    else if (config->normal > config->hot || config->hot > config->critical)
        fault = "--normal, --hot and --critical must not fall";
    if (fault[0] == '\0')
        return 0;
    fprintf(stderr, "%s: %s\nTry '%s --help'.\n", program.name, fault,
            program.name);
    return 2;
}

int
main(int argc, char **argv)
{
    struct config config;
    options_parse(&program, argc, argv, &config);
    int status = check_options(&config);
    if (status != 0)
        return status;
    log_init(program.name, config.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    descriptors_raise(DESCRIPTORS_ALL);
    struct event_base *base = event_base_new();
    struct overrides *overrides = NULL;
    int err =
        base == NULL ? ERR_MEMORY : overrides_new(config.overrides, &overrides);
    if (err == 0)
        err = run(base, &config, overrides);
    if (err != 0)
        log_error("manager: cannot run (%s)", err_text(err));
    overrides_free(overrides);
    if (base != NULL)
        event_base_free(base);
    options_release();
    libevent_global_shutdown();
    return err == 0 ? 0 : 1;
}
