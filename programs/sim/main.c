/* SPDX-License-Identifier: Apache-2.0 */
/* vodst-sim: the load loop in virtual time. */

#include "core/content.h"
#include "core/err.h"
#include "platform/options.h"
#include "programs/sim/schedule.h"
#include "programs/sim/sim.h"

#include <stdlib.h>
#include <unistd.h>

#define AUDIENCE_CONTENTS_MAX 1024
#define AUDIENCE_NODES_MAX 9 /* whose names sort by number */

struct options {
    int64_t seed, nodes, contents;
    int64_t names;
    double zipf, capacity, uneven, utilisation, loss;
    int64_t duration_ms, warmup_ms, step_ms, interval_ms;
    int64_t segment_ms, watch_ms, buffer_ms, opening, tracks;
    struct option_list audience;
    double rate;
    int64_t ramp_ms, audience_seed;
    int64_t table_delay_ms, delay_ms, swap_ms;
    const char *flash, *kill, *plot;
    double spread, target, down_ratio, requests_per_play;
    int64_t hold_ms, window_ms, node_timeout_ms;
    bool has_cdn, cdn_whole, is_exact, no_spill, is_json;
};

#define FIELD(f) offsetof(struct options, f)
#define WEEK_MS 604800000
static const struct option options[] = {
    {"seed", OPTION_INTEGER, FIELD(seed), "1", 0, 0, false, NULL,
     "Where all randomness comes from: the same seed gives the same figures."},
    {"nodes", OPTION_INTEGER, FIELD(nodes), "20", 1, SIM_ORIGINS_MAX, false,
     NULL, "Origins."},
    {"contents", OPTION_INTEGER, FIELD(contents), "370000", 1, SIM_CONTENTS_MAX,
     false, NULL, "Contents in the catalogue."},
    {"zipf", OPTION_NUMBER, FIELD(zipf), "1.0", 0, 5, false, NULL,
     "Exponent of the law by which contents are asked for."},
    {"capacity", OPTION_NUMBER, FIELD(capacity), "10000", 1, 1000000, false,
     "plays", "Plays that a node can serve at once, on average."},
    {"uneven", OPTION_NUMBER, FIELD(uneven), "0", 0, 100, false, NULL,
     "Of two nodes the second has so many times the first's capacity and "
     "weight; 0: all are alike."},
    {"names", OPTION_INTEGER, FIELD(names), "0", 0, 0, false, NULL,
     "Another set of the nodes' names for each number: which contents a node "
     "owns follows from its name."},
    {"utilisation", OPTION_NUMBER, FIELD(utilisation), "0.7", 0.001, 10, false,
     NULL, "Plays under way as a share of all capacity, a crowd's apart."},
    {"duration", OPTION_DURATION, FIELD(duration_ms), "10m", 1000, WEEK_MS,
     false, NULL, "Virtual time that is measured."},
    {"warmup", OPTION_DURATION, FIELD(warmup_ms), "1m", 0, WEEK_MS, false, NULL,
     "Virtual time before that."},
    {"step", OPTION_DURATION, FIELD(step_ms), "500ms", 10, 1000, false, NULL,
     "Virtual time goes in steps of this."},
    {"interval", OPTION_DURATION, FIELD(interval_ms), "500ms", 10, 60000, false,
     NULL, "Time between an agent's reports; in steps."},
    {"segment", OPTION_DURATION, FIELD(segment_ms), "6s", 500, 60000, false,
     NULL, "How often a play asks; in steps."},
    {"watch", OPTION_DURATION, FIELD(watch_ms), "30m", 1000, 86400000, false,
     NULL, "How long a play lasts, on average."},
    {"buffer", OPTION_DURATION, FIELD(buffer_ms), "0s", 0, 600000, false, NULL,
     "What a play fetches ahead of its playhead, in segments; as it starts, "
     "all at once."},
    {"opening", OPTION_INTEGER, FIELD(opening), "0", 0, 1000, false, NULL,
     "Requests before a play's first segment: playlists and init segments."},
    {"tracks", OPTION_INTEGER, FIELD(tracks), "1", 1, 16, false, NULL,
     "Requests for each segment."},
    {"audience", OPTION_LIST, FIELD(audience), NULL, 0, 0, false, "ID[=WEIGHT]",
     "A content of an audience that comes as that of `vodst audience` does, "
     "with its --rate, --ramp and --seed: from nothing, and each play lasts as "
     "long. In place of the catalogue and the plays under way; may be given "
     "often, and the first one's levels are timed."},
    {"rate", OPTION_NUMBER, FIELD(rate), "10", 0.001, 1e6, false, "plays/s",
     "Plays of the audience that start a second."},
    {"ramp", OPTION_DURATION, FIELD(ramp_ms), "0s", 0, WEEK_MS, false, NULL,
     "Time over which that rises from nothing."},
    {"audience-seed", OPTION_INTEGER, FIELD(audience_seed), "1", 0, 0, false,
     NULL, "Where the audience's moments and choices come from."},
    {"table-delay", OPTION_DURATION, FIELD(table_delay_ms), "0s", 0, 3600000,
     false, NULL, "Age of a table when nodes begin to act on it."},
    {"delay", OPTION_DURATION, FIELD(delay_ms), "0s", 0, 60000, false, NULL,
     "How late reports are: half to one and a half times this."},
    {"loss", OPTION_NUMBER, FIELD(loss), "0", 0, 0.99, false, NULL,
     "Share of reports, of their answers and of tables that is lost."},
    {"exact", OPTION_FLAG, FIELD(is_exact), NULL, 0, 0, false, NULL,
     "The Manager knows the demand and need not measure it by reports."},
    {"flash", OPTION_TEXT, FIELD(flash), NULL, 0, 0, false,
     "at=T,ramp=T,share=S",
     "A crowd for one content that nobody asked for before: plays up to this "
     "share of all capacity."},
    {"swap", OPTION_DURATION, FIELD(swap_ms), "0s", 0, WEEK_MS, false, NULL,
     "When every content gets another rank; 0: never."},
    {"kill", OPTION_TEXT, FIELD(kill), NULL, 0, 0, false, "NODE@T",
     "A node, from 0, that dies at a time."},
    {"no-spill", OPTION_FLAG, FIELD(no_spill), NULL, 0, 0, false, NULL,
     "Nodes at their limit take whatever comes."},
    {"spread", OPTION_NUMBER, FIELD(spread), "0.033", 0.001, 1, false, NULL,
     "As of vodst-manager, and so are the next ones."},
    {"target", OPTION_NUMBER, FIELD(target), "0.80", 0.01, 1, false, NULL,
     "Share of the origins' capacity that may be used before the CDN is."},
    {"down-ratio", OPTION_NUMBER, FIELD(down_ratio), "0.70", 0.01, 1, false,
     NULL, "Share of the demand of a step up below which the step down is."},
    {"hold", OPTION_DURATION, FIELD(hold_ms), "30s", 0, 3600000, false, NULL,
     "For how long demand must have been low."},
    {"window", OPTION_DURATION, FIELD(window_ms), "10s", 1000, 600000, false,
     NULL, "Time over which rates are taken."},
    {"node-timeout", OPTION_DURATION, FIELD(node_timeout_ms), "3s", 100, 600000,
     false, NULL, "A node that has not reported for so long is down."},
    {"requests-per-play", OPTION_NUMBER, FIELD(requests_per_play), "100", 1,
     1000000, false, NULL, "Assumed until enough plays were seen."},
    {"cdn", OPTION_FLAG, FIELD(has_cdn), NULL, 0, 0, false, NULL,
     "There is a CDN."},
    {"cdn-whole", OPTION_FLAG, FIELD(cdn_whole), NULL, 0, 0, false, NULL,
     "Critical contents go there as a whole, not only the share that does not "
     "fit."},
    {"json", OPTION_FLAG, FIELD(is_json), NULL, 0, 0, false, NULL,
     "Print the figures as JSON."},
    {"plot", OPTION_TEXT, FIELD(plot), NULL, 0, 0, false, "FILE",
     "Write a line a second for gnuplot there."},
};

static const struct program program = {
    .name = "vodst-sim",
    .summary = "simulate the load loop in virtual time",
    .synopsis = "",
    .details =
        "Plays start, ask for segments and end; agents report, the Manager "
        "publishes tables, redirectors and origins act on them: all by the "
        "platform's own code, in virtual time, from a seed. What comes out is "
        "a table of figures.",
    .options = options,
    .option_count = OPTION_COUNT(options),
};

static uint64_t
in_steps(int64_t ms, const struct options *o)
{
    const int64_t whole_ms = ms / o->step_ms * o->step_ms;
    return (uint64_t) (whole_ms > 0 ? whole_ms : o->step_ms);
}

static struct sim_config
config_of(const struct options *o)
{
    return (struct sim_config){
        .seed = (uint64_t) o->seed,
        .nodes = (uint32_t) o->nodes,
        .contents = (uint32_t) o->contents,
        .zipf = o->zipf,
        .capacity = o->capacity,
        .uneven = o->uneven,
        .name_set = (uint64_t) o->names,
        .utilisation = o->utilisation,
        .warmup_ms = (uint64_t) o->warmup_ms,
        .duration_ms = (uint64_t) o->duration_ms,
        .step_ms = (uint64_t) o->step_ms,
        .interval_ms = in_steps(o->interval_ms, o),
        .segment_ms = in_steps(o->segment_ms, o),
        .watch_ms = (uint64_t) o->watch_ms,
        .buffer_ms = (uint64_t) o->buffer_ms,
        .opening = (uint32_t) o->opening,
        .tracks = (uint32_t) o->tracks,
        .rate = o->rate,
        .ramp_ms = (uint64_t) o->ramp_ms,
        .audience_seed = (uint64_t) o->audience_seed,
        .loss = o->loss,
        .delay_ms = (uint64_t) o->delay_ms,
        .table_delay_ms = (uint64_t) o->table_delay_ms,
        .is_exact = o->is_exact,
        .has_spill = !o->no_spill,
        .swap_ms = (uint64_t) o->swap_ms,
        .demand = {.window_ms = (uint32_t) o->window_ms,
                   .node_timeout_ms = (uint32_t) o->node_timeout_ms,
                   .requests_per_play = o->requests_per_play},
        .classify = {.spread = o->spread,
                     .target = o->target,
                     .down_ratio = o->down_ratio,
                     .hold_ms = (uint32_t) o->hold_ms,
                     .cdn_by_share = !o->cdn_whole,
                     .has_cdn = o->has_cdn},
    };
}

struct audience_contents {
    char *names[AUDIENCE_CONTENTS_MAX];
    double weights[AUDIENCE_CONTENTS_MAX];
};

static bool
content_is_valid(char *text, double *weight)
{
    return arrivals_content(text, weight) == 0
           && content_id_is_valid(bytes_of_text(text));
}

/* Wrong ones end the program. */
static void
audience_read(const struct options *o, struct audience_contents *contents,
              struct sim_config *config)
{
    for (size_t i = 0; i < o->audience.count; i++) {
        char *name =
            i < AUDIENCE_CONTENTS_MAX ? strdup(o->audience.items[i]) : NULL;
        if (name == NULL || o->flash != NULL
            || !content_is_valid(name, &contents->weights[i])) {
            fprintf(stderr,
                    "vodst-sim: --audience: found \"%s\", expected an id or "
                    "id=weight, not with --flash, and at most %d of them\n",
                    o->audience.items[i], AUDIENCE_CONTENTS_MAX);
            exit(2);
        }
        contents->names[i] = name;
    }
    if (o->audience.count == 0)
        return;
    if (config->nodes > AUDIENCE_NODES_MAX) {
        fprintf(stderr, "vodst-sim: --nodes: at most %d with --audience\n",
                AUDIENCE_NODES_MAX);
        exit(2);
    }
    config->contents = (uint32_t) o->audience.count;
    config->names = (const char *const *) contents->names;
    config->weights = contents->weights;
}

/* The scripted events; wrong ones end the program. */
static void
schedule_read(const struct options *o, struct sim_config *config)
{
    if (o->flash != NULL && schedule_flash(o->flash, config) != 0) {
        fprintf(stderr,
                "vodst-sim: --flash: found \"%s\", expected "
                "at=TIME,ramp=TIME,share=0 to 1\n",
                o->flash);
        exit(2);
    }
    if (o->kill != NULL && schedule_kill(o->kill, config) != 0) {
        fprintf(stderr,
                "vodst-sim: --kill: found \"%s\", expected NODE@TIME with a "
                "node below %u\n",
                o->kill, config->nodes);
        exit(2);
    }
}

static FILE *
plot_open(const char *path)
{
    FILE *plot = fopen(path, "w");
    if (plot == NULL) {
        fprintf(stderr, "vodst-sim: cannot write %s\n", path);
        exit(1);
    }
    return plot;
}

/* Memory is walked in no order: large pages spare the processor the search for
 * them. The C library takes this from the environment alone, as it begins. */
static void
large_pages_ask(char **argv)
{
    if (getenv("GLIBC_TUNABLES") == NULL
        && setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 1) == 0)
        execvp(argv[0], argv);
}

int
main(int argc, char **argv)
{
    struct options o;
    static struct audience_contents contents;
    static struct figures_values values;
    large_pages_ask(argv);
    options_parse(&program, argc, argv, &o);
    struct sim_config config = config_of(&o);
    schedule_read(&o, &config);
    audience_read(&o, &contents, &config);
    FILE *plot = o.plot != NULL ? plot_open(o.plot) : NULL;
    int err = sim_run(&config, plot, &values);
    if (plot != NULL && fclose(plot) != 0 && err == 0)
        err = ERR_IO;
    if (err != 0)
        fprintf(stderr, "vodst-sim: cannot run (%s)\n", err_text(err));
    else if (o.is_json)
        figures_print_json(&config, &values, stdout);
    else
        figures_print_table(&config, &values, stdout);
    for (size_t i = 0; i < o.audience.count; i++)
        free(contents.names[i]);
    options_release();
    return err == 0 ? 0 : 1;
}
