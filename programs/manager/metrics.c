/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics: one table of metrics, in the text format of Prometheus. */

#include "programs/manager/api.h"

#include <math.h>

/* X(name, type, sentence, value), with m the manager and s its stats */
#define METRICS(X)                                                         \
    X("reports_total", "counter", "Reports merged.", (double) s->reports)  \
    X("reports_refused_total", "counter", "Reports refused as not valid.", \
      (double) s->reports_refused)                                         \
    X("reports_repeated_total", "counter",                                 \
      "Reports that changed nothing, being repetitions.",                  \
      (double) s->reports_repeated)                                        \
    X("reports_full_asked_total", "counter",                               \
      "Reports answered by asking for a full one.",                        \
      (double) s->reports_full_asked)                                      \
    X("tables_built_total", "counter", "Tables built, published or not.",  \
      (double) s->tables_built)                                            \
    X("tables_published_total", "counter", "Tables published.",            \
      (double) s->tables_published)                                        \
    X("build_seconds_total", "counter", "CPU time spent building tables.", \
      (double) s->build_ns / 1e9)                                          \
    X("level_changes_total", "counter", "Changes of a content's level.",   \
      (double) s->level_changes)                                           \
    X("term", "gauge", "Term of the tables published now.",                \
      (double) manager_term(m))                                            \
    X("sequence", "gauge", "Sequence of the table in force.",              \
      (double) manager_version(m).sequence)                                \
    X("table_bytes", "gauge", "Size of the table in force.",               \
      (double) manager_table_encoded(m).len)                               \
    X("waiting", "gauge", "Long polls that wait for the next table.",      \
      (double) waiting_count)                                              \
    X("entries_left_out_total", "counter",                                 \
      "Entries of reports not counted, being of too many contents.",       \
      (double) demand_left_out(manager_demand(m)))                         \
    X("requests_per_play", "gauge", "Requests a play makes, as seen.",     \
      demand_requests_per_play(manager_demand(m)))

static void
write_head(struct buffer *out, const char *name, const char *type,
           const char *sentence)
{
    buffer_printf(out,
                  "# HELP vodst_manager_%s %s\n# TYPE vodst_manager_%s "
                  "%s\n",
                  name, sentence, name, type);
}

static void
write_contents(struct manager *m, struct buffer *out)
{
    size_t counts[LEVEL_CRITICAL + 1] = {0};
    const struct table_snapshot *snapshot = manager_table(m);
    for (size_t i = 0; snapshot != NULL && i < snapshot->table.row_count; i++)
        counts[snapshot->table.rows[i].level]++;
    write_head(out, "contents", "gauge",
               "Contents of each level in the table in force.");
    for (int level = LEVEL_NORMAL; level <= LEVEL_CRITICAL; level++)
        buffer_printf(out, "vodst_manager_contents{level=\"%s\"} %zu\n",
                      level_name((enum level) level), counts[level]);
}

static void
write_nodes(struct manager *m, struct buffer *out)
{
    size_t count;
    const struct demand_node *nodes = manager_nodes(m, &count);
    write_head(out, "node_rate", "gauge", "Requests/s of a node.");
    for (size_t i = 0; i < count; i++)
        buffer_printf(out, "vodst_manager_node_rate{node=\"%.*s\"} %g\n",
                      (int) nodes[i].last.node.len,
                      (const char *) nodes[i].last.node.ptr, nodes[i].rate);
    write_head(out, "node_up", "gauge", "1 when the node takes requests.");
    for (size_t i = 0; i < count; i++)
        buffer_printf(out, "vodst_manager_node_up{node=\"%.*s\"} %d\n",
                      (int) nodes[i].last.node.len,
                      (const char *) nodes[i].last.node.ptr,
                      nodes[i].state == NODE_UP);
}

void
metrics_lead_write(bool leads, struct buffer *out)
{
    write_head(out, "leads", "gauge",
               "1: this Manager leads; 0: it stands by.");
    buffer_printf(out, "vodst_manager_leads %d\n", leads);
}

void
metrics_write(struct manager *m, size_t waiting_count, struct buffer *out)
{
    const struct manager_stats *s = manager_stats(m);
#define METRIC_WRITE(name, type, sentence, value) \
    write_head(out, name, type, sentence);        \
    buffer_printf(out, "vodst_manager_%s %.15g\n", name, value);
    METRICS(METRIC_WRITE)
#undef METRIC_WRITE
    write_contents(m, out);
    write_nodes(m, out);
}
