/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_STEERING_H
#define CORE_STEERING_H

/*
 * Content steering (RFC 8216bis section 7, ETSI TS 103 998): which of its
 * pathways a play under way should use. A pathway is a node by its name, or
 * the CDN. The play's playlist declares some; the answer orders them. What the
 * answer has to remember travels in its own URL and nobody else keeps it:
 *
 *   ?pathways=origin1,origin2,cdn   declared, where the play starts first
 *   &told=origin2                   what the last answer put first
 *   &moved=1700000000               Unix s of the play's last move
 *   &_HLS_pathway=origin2           the player's own words; _DASH_pathway="..."
 */

#include "core/route.h"

#define STEERING_PATHWAYS_MAX 6
#define STEERING_QUERY_SIZE_MAX 1024 /* bytes, as it is in the URL */
#define STEERING_HOLD_S 300          /* from one move of a play to the next */
#define STEERING_TTL_MIN_S 10
#define STEERING_TTL_MAX_S 30
#define STEERING_CDN BYTES_LITERAL("cdn")

struct steering_pathways {
    struct bytes names[STEERING_PATHWAYS_MAX];
    size_t count;
};

struct steering_query {
    struct steering_pathways pathways;
    struct bytes current; /* what the player uses; empty: it does not say */
    struct bytes told;    /* empty: it was told nothing yet */
    uint64_t moved_s;     /* 0: never */
    uint8_t text[STEERING_QUERY_SIZE_MAX]; /* what the above points into */
};

/* `query` is what follows the "?"; other arguments are passed over. ERR_LIMIT,
 * ERR_INVALID for names that are none or an escape that is none. */
int steering_query_parse(struct bytes query, struct steering_query *out);

/* "pathways=a,b&told=a&moved=1": told and moved_s are left out when empty. */
void steering_query_write(const struct steering_pathways *pathways,
                          struct bytes told, uint64_t moved_s,
                          struct buffer *out);

/*
 * The pathways that a play's playlist should declare: `first`, where it is,
 * then owners, at least two nodes where there are, then the CDN. All owners
 * where they are few, else some that differ from session to session. The names
 * point into the snapshot and `first`.
 */
void steering_declare(const struct table_snapshot *snapshot,
                      const struct route_request *request, struct bytes first,
                      struct steering_pathways *out);

struct steering_order {
    struct steering_pathways pathways; /* best first */
    uint64_t moved_s;
};

/*
 * Orders the declared pathways; `request` is as a redirector would route it. A
 * play stays on its pathway while that owns the content or is full, and else
 * for STEERING_HOLD_S after its last move, unless the pathway drains or is
 * down. Otherwise it goes where a new play would, or to the next best. One
 * that left by itself, because the pathway failed it, is not sent back before
 * that time either. Names point into the query and the snapshot.
 * ERR_UNAVAILABLE: nothing is declared, and there is no node.
 */
int steering_decide(const struct table_snapshot *snapshot,
                    const struct route_request *request,
                    const struct steering_query *query, uint64_t now_s,
                    struct steering_order *out);

/* The steering manifest, for HLS and DASH players alike. `reload` is the URL
 * up to its query. */
void steering_manifest_write(const struct steering_order *order,
                             struct bytes reload, unsigned ttl_s,
                             struct buffer *out);

#endif
