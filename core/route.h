/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_ROUTE_H
#define CORE_ROUTE_H

/*
 * Where a request goes, and why: the one decision that redirectors, origins
 * and the simulator share. Pure: a function of the table, the request and
 * which node asks.
 */

#include "core/table.h"

enum route_action { ROUTE_SERVE, ROUTE_NODE, ROUTE_CDN };

/* Why: X(symbol, name in headers and logs, sentence). */
#define ROUTE_RULES(X)                                                      \
    X(OWNER, "owner", "this node owns the content")                         \
    X(ONLY, "only", "the content has one owner")                            \
    X(LESS_LOADED, "less-loaded", "the less loaded of two owners")          \
    X(STICKY, "sticky", "the session's first choice among the owners")      \
    X(OFFLOAD, "offload", "critical: this share of plays goes to the CDN")  \
    X(HOP_LIMIT, "hop-limit", "redirected often enough: it is served here") \
    X(SPILL, "spill", "this node is at its limit: another of the order")    \
    X(SPILLED, "spilled", "taken over from a node that was at its limit")   \
    X(STAY, "stay", "the play is under way here and came lately")           \
    X(MOVED, "moved", "the play went there lately, or still has its owner") \
    X(RETRY, "retry", "the viewer does not reach the nodes named before")   \
    X(NO_NODE, "no-node", "no node can take it")

enum route_rule {
#define ROUTE_RULE(symbol, name, sentence) ROUTE_RULE_##symbol,
    ROUTE_RULES(ROUTE_RULE)
#undef ROUTE_RULE
};
const char *route_rule_name(enum route_rule rule);

/* Not in table.nodes: */
#define ROUTE_SELF_REDIRECTOR -1 /* never serves */
#define ROUTE_SELF_UNLISTED -2   /* an origin the table lacks: owns nothing */

/* What an origin knows of the play from its earlier requests. */
enum route_play { ROUTE_PLAY_NEW, ROUTE_PLAY_HERE, ROUTE_PLAY_MOVED };

struct route_request {
    struct bytes content;
    uint64_t hash;    /* content_hash(content) */
    uint64_t session; /* random per play; equal sessions go the same way */
    int self;         /* this node's index in table.nodes, or ROUTE_SELF_* */
    unsigned hops;    /* how often this request was redirected already */
    unsigned hops_max;
    bool has_cdn;    /* one is configured; the table may forbid it */
    bool self_full;  /* this node is at its limit, and the play new to it */
    unsigned spills; /* how often full nodes passed this play on */
    unsigned
        retries; /* how many answers of a redirector led the viewer nowhere */
    enum route_play play;
    int moved_to; /* ROUTE_PLAY_MOVED: there; an index in table.nodes, or -1 */
    bool is_held; /* it came, or went, less than a hold time ago */
};

struct route_decision {
    enum route_action action;
    int node;          /* index in table.nodes for ROUTE_NODE, else -1 */
    bool is_passed_on; /* the node need not own it: count one spill more */
    enum route_rule rule;
    enum level level;
    uint32_t owner_count; /* the size of the owner set as applied */
};

/*
 * A redirector never serves: action is NODE or CDN, or SERVE with rule NO_NODE
 * when there is nothing to name (answer 503). An origin in the owner set
 * serves; another one redirects unless hops reached hops_max. Only a
 * redirector (self -1) sends to the CDN by share. Between the session's two
 * choices the second is taken only when the first is more loaded by over
 * ROUTE_LOAD_MARGIN, so that a session stays where it is.
 */
#define ROUTE_LOAD_MARGIN 100 /* 1/10000 of capacity */

/*
 * Spill: a full origin passes a play on along the content's order by what it
 * knows itself, however old its table is. The first full node names one of
 * the nodes behind the k owners up to k * ROUTE_SPILL_STEP, the next one of
 * those up to the square of that, and so on; past the end, any node. So few
 * nodes hold a copy while few are needed, and a crowd for all nodes finds room
 * in a handful of redirects. Who gets a spilled play serves it, owner or not,
 * unless it is full itself; after ROUTE_SPILLS_MAX it is served full or not.
 * Its redirects are not counted against hops_max.
 */
#define ROUTE_SPILL_STEP 8
#define ROUTE_SPILLS_MAX 8

/*
 * Plays under way: one that came to an origin or went from it stays there for
 * the hold time whatever the owner set does meanwhile, and after it for as
 * long as that is no worse than another place. Only when the node drains or is
 * down it moves before. One at a full node stays: it is part of what fills it.
 */

/*
 * Retry: what a viewer cannot reach, no Manager may know of. With `retries` a
 * redirector names the next place each time: the owners after the session's
 * choice, then the nodes behind them in the content's order, which keep the
 * play as they would a spilled one, then the CDN, and from the start again. A
 * play that is offloaded begins with the CDN.
 */
void route_decide(const struct table_snapshot *snapshot,
                  const struct route_request *asked,
                  struct route_decision *out);

/* There is a CDN that the content may be sent to. */
bool route_has_cdn(const struct table_snapshot *snapshot,
                   const struct route_request *request);

/* The owner set as applied: indexes in table.nodes, best first; the count. */
size_t route_owners(const struct table_snapshot *snapshot, struct bytes content,
                    uint64_t hash, uint16_t owners[PLACEMENT_NODES_MAX]);

#endif
