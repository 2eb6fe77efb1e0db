/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured, see programs/sim/figures.h. */

#include "programs/sim/figures.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct marks { /* counts as they were when the warm-up was over */
    struct traffic_stats traffic;
    struct control_stats control;
    struct node_figures nodes[PLACEMENT_NODES_MAX];
};

struct sums { /* over steps */
    double steps, ratio, copies;
    double cdn, cdn_least, plays; /* plays times steps */
};

struct worst {
    double ratio, peak, sustained;
};

struct figures {
    const struct sim_config *config;
    const struct traffic *traffic;
    const struct control *control;
    FILE *plot;
    struct marks marks;
    struct sums sums;
    struct worst worst;
    bool is_measuring;
    uint64_t now_ms;
    /* Loads of the last steps, a segment's and one more: [step][node] */
    uint32_t *history;
    uint32_t history_count, steps_seen;
};

static struct node_figures
node_figures(const struct figures *f, uint32_t node)
{
    return (struct node_figures){
        .requests = f->traffic->nodes[node].served,
        .plays = f->traffic->nodes[node].started,
    };
}

struct load { /* plays for the mean capacity, at one moment */
    double mean, most;
};

static struct load
load_now(const struct figures *f)
{
    struct load load = {0, 0};
    double alive = 0;
    for (uint32_t i = 0; i < f->config->nodes; i++) {
        const struct traffic_node *node = &f->traffic->nodes[i];
        if (node->is_dead)
            continue;
        const double part = sim_node_part(f->config, i);
        alive += part;
        load.mean += node->plays;
        load.most = fmax(load.most, node->plays / part);
    }
    if (alive > 0)
        load.mean /= alive;
    return load;
}

static void
history_add(struct figures *f)
{
    const uint32_t nodes = f->config->nodes;
    uint32_t *row = f->history + f->steps_seen++ % f->history_count * nodes;
    for (uint32_t i = 0; i < nodes; i++)
        row[i] = f->traffic->nodes[i].is_dead ? 0 : f->traffic->nodes[i].plays;
}

/* The load that a node had at least, all the while. */
static double
sustained_now(const struct figures *f)
{
    const uint32_t nodes = f->config->nodes;
    double most = 0;
    if (f->steps_seen < f->history_count)
        return 0;
    for (uint32_t i = 0; i < nodes; i++) {
        uint32_t least = UINT32_MAX;
        for (uint32_t j = 0; j < f->history_count; j++) {
            const uint32_t plays = f->history[(size_t) j * nodes + i];
            least = plays < least ? plays : least;
        }
        most = fmax(most, least / sim_node_capacity(f->config, i));
    }
    return most;
}

/* Plays that the own servers should not carry, at the target. */
static double
cdn_least_now(const struct figures *f, double plays)
{
    const struct sim_config *config = f->config;
    const double room =
        config->classify.target * config->capacity * config->nodes;
    return plays > room ? plays - room : 0;
}

static void
measure(struct figures *f, const struct load *load)
{
    const struct traffic *t = f->traffic;
    const double cdn = t->nodes[traffic_cdn(t)].plays;
    double plays = cdn;
    for (uint32_t i = 0; i < f->config->nodes; i++)
        plays += t->nodes[i].plays;
    f->sums.steps++;
    f->sums.plays += plays;
    f->sums.cdn += cdn;
    f->sums.cdn_least += cdn_least_now(f, plays);
    if (t->active_contents > 0)
        f->sums.copies += (double) t->active_pairs / t->active_contents;
    if (load->mean > 0) {
        const double ratio = load->most / load->mean;
        f->sums.ratio += ratio;
        f->worst.ratio = fmax(f->worst.ratio, ratio);
    }
    f->worst.peak = fmax(f->worst.peak, load->most / f->config->capacity);
    f->worst.sustained = fmax(f->worst.sustained, sustained_now(f));
}

static void
plot_line(const struct figures *f, const struct load *load, uint64_t now_ms)
{
    const double capacity = f->config->capacity;
    const struct traffic *t = f->traffic;
    fprintf(f->plot, "%.1f %.4f %.4f %u %u %u %.4f %" PRIu64 "\n",
            (double) now_ms / 1000, load->mean / capacity,
            load->most / capacity, t->nodes[traffic_cdn(t)].plays,
            t->crowd_plays, control_crowd_owners(f->control),
            t->active_contents ? (double) t->active_pairs / t->active_contents
                               : 0,
            t->stats.spills);
}

struct figures *
figures_new(const struct sim_config *config, const struct traffic *traffic,
            const struct control *control, FILE *plot)
{
    struct figures *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->config = config;
    f->traffic = traffic;
    f->control = control;
    f->plot = plot;
    f->history_count = (uint32_t) (config->segment_ms / config->step_ms) + 2;
    f->history =
        calloc((size_t) f->history_count * config->nodes, sizeof *f->history);
    if (f->history == NULL) {
        free(f);
        return NULL;
    }
    if (plot != NULL)
        fprintf(plot, "# seconds mean-load most-load cdn-plays crowd-plays "
                      "crowd-owners copies spills\n");
    return f;
}

void
figures_free(struct figures *f)
{
    if (f == NULL)
        return;
    free(f->history);
    free(f);
}

void
figures_step(struct figures *f, uint64_t now_ms)
{
    const struct load load = load_now(f);
    f->now_ms = now_ms;
    history_add(f);
    if (f->plot != NULL && now_ms % 1000 == 0)
        plot_line(f, &load, now_ms);
    if (now_ms < f->config->warmup_ms)
        return;
    if (!f->is_measuring) {
        f->marks.traffic = f->traffic->stats;
        f->marks.control = *control_stats(f->control);
        for (uint32_t i = 0; i < f->traffic->node_count; i++)
            f->marks.nodes[i] = node_figures(f, i);
        f->is_measuring = true;
    }
    measure(f, &load);
}

static double
ratio_of(double a, double b)
{
    return b > 0 ? a / b : NAN;
}

static double
seconds_since(uint64_t from_ms, uint64_t at_ms)
{
    return at_ms == 0 ? NAN : ((double) at_ms - (double) from_ms) / 1000;
}

static void
crowd_figures(const struct figures *f, struct figures_values *out)
{
    const struct control_stats *c = control_stats(f->control);
    const uint64_t from_ms = f->config->flash_ms;
    uint64_t first_ms = 0;
    for (int i = 0; i <= LEVEL_CRITICAL; i++) {
        const uint64_t at_ms = c->crowd_published_ms[i];
        if (at_ms != 0 && (first_ms == 0 || at_ms < first_ms))
            first_ms = at_ms;
    }
    out->seconds_to_first_table = seconds_since(from_ms, first_ms);
    out->seconds_to_normal =
        seconds_since(from_ms, c->crowd_acted_ms[LEVEL_NORMAL]);
    out->seconds_to_hot = seconds_since(from_ms, c->crowd_acted_ms[LEVEL_HOT]);
    out->seconds_to_critical =
        seconds_since(from_ms, c->crowd_acted_ms[LEVEL_CRITICAL]);
}

static void
traffic_figures(const struct figures *f, struct figures_values *out)
{
    const struct traffic_stats *t = &f->traffic->stats;
    const struct traffic_stats *before = &f->marks.traffic;
    const double starts = (double) (t->starts - before->starts);
    out->starts = starts;
    out->moves_per_play = ratio_of((double) (t->moves - before->moves), starts);
    out->moves_too_soon = (double) (t->moves_too_soon - before->moves_too_soon);
    out->spills_per_play =
        ratio_of((double) (t->spills - before->spills), starts);
    out->redirects_max = (double) t->redirects_max;
    out->dead_requests = (double) (t->dead_requests - before->dead_requests);
    out->refused = (double) (t->refused - before->refused);
    out->fills_to_least = ratio_of((double) t->fills, (double) t->fills_least);
    for (uint32_t i = 0; i < f->config->nodes; i++)
        out->plays += f->traffic->nodes[i].plays;
    out->plays += f->traffic->nodes[traffic_cdn(f->traffic)].plays;
}

static void
nodes_figures(const struct figures *f, struct figures_values *out)
{
    for (uint32_t i = 0; i < f->traffic->node_count; i++) {
        out->nodes[i] = node_figures(f, i);
        out->nodes[i].requests -= f->marks.nodes[i].requests;
        out->nodes[i].plays -= f->marks.nodes[i].plays;
    }
}

void
figures_get(const struct figures *f, struct figures_values *out)
{
    const struct control_stats *c = control_stats(f->control);
    const double seconds = f->sums.steps * (double) f->config->step_ms / 1000;
    const double changes =
        (double) (c->level_changes - f->marks.control.level_changes);
    const double report_bytes =
        (double) (c->report_bytes - f->marks.control.report_bytes);
    *out = (struct figures_values){
        .most_loaded_to_mean = f->worst.ratio,
        .most_loaded_to_mean_average = ratio_of(f->sums.ratio, f->sums.steps),
        .copies_per_content = ratio_of(f->sums.copies, f->sums.steps),
        .load_sustained = f->worst.sustained,
        .load_peak = f->worst.peak,
        .level_changes_per_hour = ratio_of(changes * 3600, seconds),
        .cdn_to_least = ratio_of(f->sums.cdn, f->sums.cdn_least),
        .cdn_share = ratio_of(f->sums.cdn, f->sums.plays),
        .tables = (double) c->tables,
        .rows = (double) c->rows,
        .table_bytes_max = (double) c->table_bytes_max,
        .report_bytes_per_second = ratio_of(report_bytes, seconds),
    };
    crowd_figures(f, out);
    traffic_figures(f, out);
    nodes_figures(f, out);
}

static void
table_line(FILE *to, const char *name, const char *sentence, double value)
{
    if (isnan(value))
        fprintf(to, "%-28s %12s  %s\n", name, "-", sentence);
    else if (value == floor(value) && fabs(value) >= 100)
        fprintf(to, "%-28s %12.0f  %s\n", name, value, sentence);
    else
        fprintf(to, "%-28s %12.4f  %s\n", name, value, sentence);
}

/* The name of an origin or the CDN; false: there is no such node. */
static bool
server_name(const struct sim_config *config, uint32_t node,
            char text[SIM_NODE_NAME_SIZE])
{
    const bool is_cdn = node == config->nodes + 1;
    if (config->names == NULL || (node >= config->nodes && !is_cdn))
        return false;
    const struct bytes name =
        is_cdn ? BYTES_LITERAL("cdn") : node_name(config, node, text);
    memmove(text, name.ptr, name.len);
    text[name.len] = '\0';
    return true;
}

void
figures_print_table(const struct sim_config *config,
                    const struct figures_values *values, FILE *to)
{
    char name[SIM_NODE_NAME_SIZE];
#define FIGURE_LINE(name, sentence) \
    table_line(to, #name, sentence, values->name);
    FIGURES(FIGURE_LINE)
#undef FIGURE_LINE
    for (uint32_t i = 0; i < config->nodes + 2; i++)
        if (server_name(config, i, name))
            fprintf(to,
                    "%-28s %12" PRIu64 "  requests, of %" PRIu64
                    " plays that started here\n",
                    name, values->nodes[i].requests, values->nodes[i].plays);
}

static void
json_member(FILE *to, bool is_first, const char *name, double value)
{
    fprintf(to, "%s  \"%s\": ", is_first ? "{\n" : ",\n", name);
    if (isnan(value))
        fprintf(to, "null");
    else
        fprintf(to, "%.10g", value);
}

static void
json_nodes(const struct sim_config *config, const struct figures_values *values,
           FILE *to)
{
    char name[SIM_NODE_NAME_SIZE];
    const char *before = ",\n  \"nodes\": {";
    for (uint32_t i = 0; i < config->nodes + 2; i++) {
        if (!server_name(config, i, name))
            continue;
        fprintf(to,
                "%s\n    \"%s\": {\"requests\": %" PRIu64
                ", \"plays\": %" PRIu64 "}",
                before, name, values->nodes[i].requests,
                values->nodes[i].plays);
        before = ",";
    }
    fprintf(to, "\n  }");
}

void
figures_print_json(const struct sim_config *config,
                   const struct figures_values *values, FILE *to)
{
    bool is_first = true;
#define FIGURE_MEMBER(name, sentence) \
    json_member(to, is_first, #name, values->name), is_first = false;
    FIGURES(FIGURE_MEMBER)
#undef FIGURE_MEMBER
    if (config->names != NULL)
        json_nodes(config, values, to);
    fprintf(to, "\n}\n");
}
