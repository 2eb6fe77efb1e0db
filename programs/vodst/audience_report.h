/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_AUDIENCE_REPORT_H
#define PROGRAMS_VODST_AUDIENCE_REPORT_H

/* What an audience saw: counted by the players, printed at the end. */

#include "core/bytes.h"
#include "core/err.h"

#include <stdio.h>

#define AUDIENCE_NODES_MAX 128 /* what further nodes do counts as "other" */
#define AUDIENCE_CONTENTS_MAX 1024
#define AUDIENCE_NODE_NAME_BYTES_MAX 64

#define AUDIENCE_ERRORS(X)                                                 \
    X(CONNECT, "connect") /* refused, or broken before the answer's end */ \
    X(TIMEOUT, "timeout")                                                  \
    X(HTTP_4XX, "http_4xx")                                                \
    X(HTTP_5XX, "http_5xx")                                                \
    X(REDIRECT, "redirect") /* too many of them, or nowhere to go */       \
    X(ANSWER, "answer")     /* st-api's answer makes no sense */           \
    X(PLAYLIST, "playlist") /* malformed, or of a kind not played */       \
    X(SIZE, "size")         /* over what a player takes */                 \
    X(MEMORY, "memory")

enum audience_error {
#define AUDIENCE_ERROR_VALUE(name, text) AUDIENCE_ERROR_##name,
    AUDIENCE_ERRORS(AUDIENCE_ERROR_VALUE)
#undef AUDIENCE_ERROR_VALUE
        AUDIENCE_ERROR_COUNT
};

struct node_count {
    char name[AUDIENCE_NODE_NAME_BYTES_MAX];
    uint64_t requests, bytes;
    uint64_t plays; /* whose first segment came from here */
};

struct node_counts {
    struct node_count nodes[AUDIENCE_NODES_MAX];
    size_t count;
};

struct content_report {
    const char *id; /* outlives the report */
    uint64_t plays;
    struct node_counts *nodes;
};

struct audience_report {
    uint64_t started, finished, failed, playing;
    uint64_t turned_away; /* arrivals while all players were busy */
    uint32_t *start_ms;   /* of each play that got so far */
    size_t start_count, start_capacity;
    uint64_t stalls, stalled_plays, stalled_ms;
    uint64_t requests, redirects, recoveries, bytes;
    uint64_t moves; /* segments that were redirected: a viewer moved mid-play */
    uint64_t cache_hits, cache_misses; /* by X-Cache: the CDN's edge */
    uint64_t errors[AUDIENCE_ERROR_COUNT];
    struct node_counts nodes;
    struct content_report *contents;
    size_t content_count;
    uint64_t duration_ms;
};

/* ERR_MEMORY. The ids must outlive the report. */
int audience_report_init(struct audience_report *report,
                         const char *const *content_ids, size_t content_count);
void audience_report_fini(struct audience_report *report);

void audience_report_start(struct audience_report *report, uint64_t start_ms);

/* The node's count, over all contents and for one; `play`: a play begins. */
void audience_report_serve(struct audience_report *report, size_t content,
                           const char *node, uint64_t bytes);
void audience_report_play(struct audience_report *report, size_t content,
                          const char *node);

/* One JSON object, and the same for people. ERR_MEMORY, ERR_IO. */
int audience_report_json(const struct audience_report *report, FILE *out);
void audience_report_print(const struct audience_report *report, FILE *out);

#endif
