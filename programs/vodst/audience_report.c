/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of an audience, and the two forms in which they are told. */

#include "programs/vodst/audience_report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

static const char *const error_names[] = {
#define ERROR_NAME(name, text) text,
    AUDIENCE_ERRORS(ERROR_NAME)
#undef ERROR_NAME
};

struct percentiles {
    uint32_t p50, p95, p99, max;
};

static struct node_count *
node_find(struct node_counts *counts, const char *name)
{
    for (size_t i = 0; i < counts->count; i++)
        if (strcmp(counts->nodes[i].name, name) == 0)
            return &counts->nodes[i];
    if (counts->count == AUDIENCE_NODES_MAX)
        return &counts->nodes[AUDIENCE_NODES_MAX - 1];
    struct node_count *node = &counts->nodes[counts->count++];
    snprintf(node->name, sizeof node->name, "%s",
             counts->count == AUDIENCE_NODES_MAX ? "other" : name);
    return node;
}

static int
ascending(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Nearest rank: the smallest value that at least this part is not above. */
static uint32_t
rank_at(const uint32_t *sorted, size_t count, unsigned percent)
{
    size_t rank = (count * percent + 99) / 100;
    return sorted[rank > 0 ? rank - 1 : 0];
}

static struct percentiles
percentiles_of(const struct audience_report *report)
{
    struct percentiles found = {0};
    if (report->start_count == 0)
        return found;
    /* the order in which plays started is told nowhere */
    qsort(report->start_ms, report->start_count, sizeof *report->start_ms,
          ascending);
    found.p50 = rank_at(report->start_ms, report->start_count, 50);
    found.p95 = rank_at(report->start_ms, report->start_count, 95);
    found.p99 = rank_at(report->start_ms, report->start_count, 99);
    found.max = report->start_ms[report->start_count - 1];
    return found;
}

static json_t *
nodes_json(const struct node_counts *counts)
{
    json_t *nodes = json_object();
    for (size_t i = 0; i < counts->count; i++) {
        const struct node_count *node = &counts->nodes[i];
        json_object_set_new(nodes, node->name,
                            json_pack("{sI sI sI}", "requests",
                                      (json_int_t) node->requests, "bytes",
                                      (json_int_t) node->bytes, "plays",
                                      (json_int_t) node->plays));
    }
    return nodes;
}

static json_t *
tiers_json(const struct audience_report *report)
{
    uint64_t requests[2] = {0}, bytes[2] = {0};
    for (size_t i = 0; i < report->nodes.count; i++) {
        const struct node_count *node = &report->nodes.nodes[i];
        bool is_cdn = strcmp(node->name, "cdn") == 0;
        requests[is_cdn] += node->requests;
        bytes[is_cdn] += node->bytes;
    }
    return json_pack("{s{sI sI} s{sI sI sI sI}}", "origin", "requests",
                     (json_int_t) requests[0], "bytes", (json_int_t) bytes[0],
                     "cdn", "requests", (json_int_t) requests[1], "bytes",
                     (json_int_t) bytes[1], "hits",
                     (json_int_t) report->cache_hits, "misses",
                     (json_int_t) report->cache_misses);
}

static json_t *
contents_json(const struct audience_report *report)
{
    json_t *contents = json_object();
    for (size_t i = 0; i < report->content_count; i++) {
        const struct content_report *content = &report->contents[i];
        json_object_set_new(contents, content->id,
                            json_pack("{sI so}", "plays",
                                      (json_int_t) content->plays, "nodes",
                                      nodes_json(content->nodes)));
    }
    return contents;
}

static json_t *
errors_json(const struct audience_report *report)
{
    json_t *errors = json_object();
    for (size_t i = 0; i < AUDIENCE_ERROR_COUNT; i++)
        if (report->errors[i] > 0)
            json_object_set_new(errors, error_names[i],
                                json_integer((json_int_t) report->errors[i]));
    return errors;
}

int
audience_report_init(struct audience_report *report,
                     const char *const *content_ids, size_t content_count)
{
    *report = (struct audience_report){0};
    report->contents = calloc(content_count, sizeof *report->contents);
    if (report->contents == NULL)
        return ERR_MEMORY;
    report->content_count = content_count;
    for (size_t i = 0; i < content_count; i++) {
        report->contents[i].id = content_ids[i];
        report->contents[i].nodes =
            calloc(1, sizeof *report->contents[i].nodes);
        if (report->contents[i].nodes == NULL) {
            audience_report_fini(report);
            return ERR_MEMORY;
        }
    }
    return 0;
}

void
audience_report_fini(struct audience_report *report)
{
    for (size_t i = 0; i < report->content_count; i++)
        free(report->contents[i].nodes);
    free(report->contents);
    free(report->start_ms);
    *report = (struct audience_report){0};
}

void
audience_report_start(struct audience_report *report, uint64_t start_ms)
{
    if (report->start_count == report->start_capacity) {
        size_t capacity =
            report->start_capacity == 0 ? 1024 : report->start_capacity * 2;
        void *grown =
            realloc(report->start_ms, capacity * sizeof *report->start_ms);
        if (grown == NULL) {
            report->errors[AUDIENCE_ERROR_MEMORY]++;
            return;
        }
        report->start_ms = grown;
        report->start_capacity = capacity;
    }
    report->start_ms[report->start_count++] =
        start_ms < UINT32_MAX ? (uint32_t) start_ms : UINT32_MAX;
}

void
audience_report_serve(struct audience_report *report, size_t content,
                      const char *node, uint64_t bytes)
{
    struct node_count *counts[] = {
        node_find(&report->nodes, node),
        node_find(report->contents[content].nodes, node),
    };
    for (size_t i = 0; i < 2; i++) {
        counts[i]->requests++;
        counts[i]->bytes += bytes;
    }
}

void
audience_report_play(struct audience_report *report, size_t content,
                     const char *node)
{
    report->contents[content].plays++;
    node_find(&report->nodes, node)->plays++;
    node_find(report->contents[content].nodes, node)->plays++;
}

int
audience_report_json(const struct audience_report *report, FILE *out)
{
    struct percentiles start = percentiles_of(report);
    json_t *root = json_pack(
        "{sI s{sI sI sI sI sI} s{sI sI sI sI} s{sI sI sI} sI sI sI sI sI"
        " so so so so}",
        "duration_ms", (json_int_t) report->duration_ms, "plays", "started",
        (json_int_t) report->started, "finished", (json_int_t) report->finished,
        "failed", (json_int_t) report->failed, "playing",
        (json_int_t) report->playing, "turned_away",
        (json_int_t) report->turned_away, "start_ms", "p50",
        (json_int_t) start.p50, "p95", (json_int_t) start.p95, "p99",
        (json_int_t) start.p99, "max", (json_int_t) start.max, "stalls",
        "count", (json_int_t) report->stalls, "plays",
        (json_int_t) report->stalled_plays, "total_ms",
        (json_int_t) report->stalled_ms, "requests",
        (json_int_t) report->requests, "redirects",
        (json_int_t) report->redirects, "moves", (json_int_t) report->moves,
        "recoveries", (json_int_t) report->recoveries, "bytes",
        (json_int_t) report->bytes, "errors", errors_json(report), "nodes",
        nodes_json(&report->nodes), "tiers", tiers_json(report), "contents",
        contents_json(report));
    if (root == NULL)
        return ERR_MEMORY;
    int err = json_dumpf(root, out, JSON_COMPACT) == 0 ? 0 : ERR_IO;
    json_decref(root);
    if (err == 0 && (fputc('\n', out) == EOF || fflush(out) != 0))
        err = ERR_IO;
    return err;
}

void
audience_report_print(const struct audience_report *report, FILE *out)
{
    struct percentiles start = percentiles_of(report);
    double seconds = (double) report->duration_ms / 1000;
    fprintf(out,
            "plays       %" PRIu64 " started, %" PRIu64 " finished, %" PRIu64
            " failed, %" PRIu64 " still playing\n",
            report->started, report->finished, report->failed, report->playing);
    if (report->turned_away > 0)
        fprintf(out,
                "            %" PRIu64 " more would have come: all players"
                " were busy (--players)\n",
                report->turned_away);
    fprintf(out, "start time  p50 %u ms, p95 %u ms, p99 %u ms, max %u ms\n",
            start.p50, start.p95, start.p99, start.max);
    fprintf(out,
            "stalls      %" PRIu64 " in %" PRIu64 " plays, %.1f s in all\n",
            report->stalls, report->stalled_plays,
            (double) report->stalled_ms / 1000);
    fprintf(out,
            "requests    %" PRIu64 " in %.1f s, %.1f Mbit/s; %" PRIu64
            " redirects, %" PRIu64 " segments moved mid-play, %" PRIu64
            " recoveries\n",
            report->requests, seconds,
            seconds > 0 ? (double) report->bytes * 8 / 1e6 / seconds : 0,
            report->redirects, report->moves, report->recoveries);
    for (size_t i = 0; i < AUDIENCE_ERROR_COUNT; i++)
        if (report->errors[i] > 0)
            fprintf(out, "errors      %-12s %" PRIu64 "\n", error_names[i],
                    report->errors[i]);
    for (size_t i = 0; i < report->nodes.count; i++) {
        const struct node_count *node = &report->nodes.nodes[i];
        fprintf(out,
                "served by   %-12s %" PRIu64 " requests, %.1f MB, %" PRIu64
                " plays started\n",
                node->name, node->requests, (double) node->bytes / 1e6,
                node->plays);
    }
    if (report->cache_hits + report->cache_misses > 0)
        fprintf(out, "CDN edge    %" PRIu64 " hits, %" PRIu64 " misses\n",
                report->cache_hits, report->cache_misses);
    for (size_t i = 0; i < report->content_count; i++) {
        const struct content_report *content = &report->contents[i];
        fprintf(out, "content     %-12s %" PRIu64 " plays:", content->id,
                content->plays);
        for (size_t n = 0; n < content->nodes->count; n++)
            fprintf(out, " %s %" PRIu64, content->nodes->nodes[n].name,
                    content->nodes->nodes[n].plays);
        fputc('\n', out);
    }
}
