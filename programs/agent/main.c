/* SPDX-License-Identifier: Apache-2.0 */
/* vodst-agent: ties one nginx to the Manager. */

#include "platform/consul_options.h"
#include "platform/descriptors.h"
#include "platform/key_file.h"
#include "platform/log.h"
#include "platform/loop.h"
#include "platform/options.h"
#include "programs/agent/agent.h"

#include "core/err.h"

#include <stdio.h>
#include <string.h>

struct config {
    const char *node, *role, *counters, *table, *url, *check, *manager_key,
        *revoked;
    struct option_list managers, apis;
    struct consul_options consul;
    double capacity;
    int64_t weight, interval_ms;
    bool verbose;
};

#define FIELD(f) offsetof(struct config, f)
static const struct option options[] = {
    {"node", OPTION_TEXT, FIELD(node), NULL, 0, 0, true, "NAME",
     "Name of this node, unique among all."},
    {"role", OPTION_TEXT, FIELD(role), NULL, 0, 0, true, "ROLE",
     "origin or redirector."},
    {"manager", OPTION_LIST, FIELD(managers), "http://127.0.0.1:7100", 0, 0,
     false, "URL",
     "A Manager's address. The next one is taken when one does "
     "not answer, until an earlier one answers again. With --coordination "
     "consul only while Consul has named none."},
    {"manager-key", OPTION_TEXT, FIELD(manager_key), NULL, 0, 0, false, "FILE",
     "Holds the key that the nginx before the Manager knows nodes by."},
    CONSUL_OPTIONS(FIELD(consul)),
    {"counters", OPTION_TEXT, FIELD(counters), NULL, 0, 0, true, "FILE",
     "Counter file that nginx writes (its meter_file)."},
    {"table", OPTION_TEXT, FIELD(table), NULL, 0, 0, true, "FILE",
     "Load table file that nginx reads (its redirect_table)."},
    {"api", OPTION_LIST, FIELD(apis), "http://127.0.0.1:7200", 0, 0, false,
     "URL",
     "An st-api's address, asked for revoked plays where --revoked is given. "
     "The next one is asked when one does not answer."},
    {"revoked", OPTION_TEXT, FIELD(revoked), NULL, 0, 0, false, "FILE",
     "List of revoked plays that nginx reads (its redirect_revoked), fetched "
     "every second. Without it none is."},
    {"url", OPTION_TEXT, FIELD(url), "", 0, 0, false, "URL",
     "Where viewers reach this node, http://HOST:PORT; needed for an "
     "origin."},
    {"capacity", OPTION_NUMBER, FIELD(capacity), "100", 0.001, 1e9, false,
     "req/s", "Requests/s this node can serve."},
    {"weight", OPTION_INTEGER, FIELD(weight), "100", 1, 65535, false, NULL,
     "Share of the contents this node owns, beside the other nodes' "
     "weights."},
    {"check", OPTION_TEXT, FIELD(check), NULL, 0, 0, false, "URL",
     "Asked twice a second whether nginx is well: any 2xx is. Without it the "
     "node counts as well."},
    {"interval", OPTION_DURATION, FIELD(interval_ms), "500ms", 50, 60000, false,
     NULL, "Time between reports."},
    {"verbose", OPTION_FLAG, FIELD(verbose), NULL, 0, 0, false, NULL,
     "Log more."},
};

static const struct program program = {
    .name = "vodst-agent",
    .summary = "tie one nginx to the Manager",
    .synopsis = "",
    .details =
        "Runs beside each nginx: reports to the Manager what nginx counted "
        "and whether it is well, and installs the load table the Manager "
        "publishes and the list of plays that st-api revoked. It shares these "
        "files and the counter file with nginx and nothing else: either may be "
        "restarted without the other.\n\n"
        "With --coordination consul it registers the node, and has the leading "
        "Manager and the tables from Consul. While Consul is away it goes on "
        "with the Managers it knows.",
    .options = options,
    .option_count = OPTION_COUNT(options),
};

static int
fail_use(const char *message, const char *value)
{
    fprintf(stderr, "%s: %s%s\nTry '%s --help'.\n", program.name, message,
            value, program.name);
    return 2;
}

/* 0, or the exit status after telling what is wrong. */
static int
check_texts(const struct config *config)
{
    if (strcmp(config->role, "origin") != 0
        && strcmp(config->role, "redirector") != 0)
        return fail_use("--role is neither origin nor redirector: ",
                        config->role);
    for (size_t i = 0; i < config->managers.count; i++) {
        const char *url = config->managers.items[i];
        if (!http_url_is_valid(url) || strlen(url) >= MANAGER_URL_SIZE)
            return fail_use("--manager is no http://HOST:PORT: ", url);
    }
    for (size_t i = 0; i < config->apis.count; i++) {
        const char *url = config->apis.items[i];
        if (!http_url_is_valid(url) || strlen(url) >= MANAGER_URL_SIZE)
            return fail_use("--api is no http://HOST:PORT: ", url);
    }
    if (config->check != NULL && !http_url_is_valid(config->check))
        return fail_use("--check is no http://HOST:PORT/PATH: ", config->check);
    const char *fault = consul_options_fault(&config->consul);
    return fault[0] == '\0' ? 0 : fail_use(fault, "");
}

static int
run(struct agent_config *config, const struct consul_options *consul)
{
    struct event_base *base = event_base_new();
    struct agent *agent = NULL;
    int err = base == NULL ? ERR_MEMORY : 0;
    if (err == 0 && consul_options_chosen(consul)) {
        config->consul_prefix = consul->prefix;
        if (consul_options_open(consul, base, &config->consul) != 0) {
            event_base_free(base);
            return 1; /* it has said why */
        }
    }
    if (err == 0)
        err = agent_new(base, config, &agent);
    int status = err == 0 ? 0 : 1;
    if (err == ERR_INVALID) {
        status = fail_use("--node or --url is not valid (a name has up to 63 "
                          "of A-Z a-z 0-9 . _ -, a URL is http://HOST:PORT)",
                          "");
    } else {
        if (err == 0)
            err = loop_run(base);
        if (err != 0)
            log_error("agent: cannot run (%s)", err_text(err));
    }
    agent_free(agent);
    consul_free(config->consul);
    if (base != NULL)
        event_base_free(base);
    libevent_global_shutdown();
    return status;
}

int
main(int argc, char **argv)
{
    struct config config;
    options_parse(&program, argc, argv, &config);
    log_init(program.name, config.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    descriptors_raise(DESCRIPTORS_ALL);
    int status = check_texts(&config);
    if (status != 0)
        return status;
    const bool is_origin = strcmp(config.role, "origin") == 0;
    char key[KEY_SIZE];
    if (config.manager_key != NULL
        && key_file_read(config.manager_key, key) != 0)
        return 1;
    struct agent_config agent = {
        .node = config.node,
        .url = config.url,
        .counters = config.counters,
        .table = config.table,
        .check = config.check,
        .role = is_origin ? NODE_ROLE_ORIGIN : NODE_ROLE_REDIRECTOR,
        .weight = (uint32_t) config.weight,
        .capacity_milli = (uint64_t) (config.capacity * 1000),
        .interval_ms = (unsigned) config.interval_ms,
        .managers = config.managers.items,
        .manager_count = config.managers.count,
        .manager_key = config.manager_key != NULL ? key : NULL,
        .revoked = config.revoked,
        .apis = config.apis.items,
        .api_count = config.apis.count,
    };
    status = run(&agent, &config.consul);
    options_release();
    return status;
}
