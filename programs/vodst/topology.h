/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_TOPOLOGY_H
#define PROGRAMS_VODST_TOPOLOGY_H

/*
 * The servers of the platform, their names, ports and addresses, and which of
 * them `vodst up` runs on this machine: all, or some of a cluster's. Plain
 * data; nothing is started here.
 */

#include "core/s3.h"

#include <stdbool.h>
#include <stddef.h>

#define TOPOLOGY_NODES_MAX 64
#define TOPOLOGY_TIER_NODES_MAX 16 /* redirectors, origins, caches: of each */

/* In the order in which they are started; what is below starts before what
 * reads from it. */
enum tier {
    TIER_STORAGE,
    TIER_CACHE,
    TIER_MANAGER,
    TIER_LICENSES,
    TIER_ORIGIN,
    TIER_REDIRECTOR,
    TIER_VARNISH,
    TIER_CDN,
    TIER_API,
    TIER_COUNT
};

struct node {
    enum tier tier;
    char name[32];
    unsigned port;
    bool is_public;  /* viewers reach it */
    bool runs_here;  /* on this machine */
    char listen[64]; /* "127.0.0.1:8080" */
    /* Where a daemon listens: `listen`, or behind an nginx there that others on
     * the network reach it by (in a cluster). */
    char loopback[64];
    char url[320]; /* "http://127.0.0.1:8080" */
};

struct topology {
    struct node nodes[TOPOLOGY_NODES_MAX]; /* in the order of their ports */
    size_t count;
    /* Storage that is a bucket: its node has a name and the bucket's URL, and
     * runs nowhere. */
    bool has_s3;
    struct s3_place s3;
    char s3_endpoint[320];
    char s3_addressing[16];
};

struct topology_config {
    unsigned redirectors, origins, caches; /* 1 to TOPOLOGY_TIER_NODES_MAX */
    const char *address; /* IPv4, where the public ones listen */
    const char *host;    /* what public URLs name; NULL: the address */
    const char *port;    /* of the first redirector, or "auto" */
};

/*
 * Names every server and gives it a port: consecutive ones from the first, or
 * any that are free. The first redirector, the front, has the first port.
 * ERR_INVALID, or ERR_UNAVAILABLE when a port is taken; `error` then says
 * which, who needs it and what to do.
 */
int topology_plan(const struct topology_config *config, struct topology *out,
                  char *error, size_t error_size);

/*
 * Reads the servers of a cluster from the text of a file: "TIER NAME
 * ADDRESS:PORT [URL]" on a line each, '#' comments on lines of their own. The
 * URL is what others reach it by, http://ADDRESS:PORT if it is not given. Every
 * tier but the license server, mlic, has one server at least; storage, varnish,
 * cdn, st-api and mlic have no more. All run here. "storage NAME s3://BUCKET[/PREFIX] ENDPOINT [REGION [ADDRESSING]]"
 * is a bucket (core/s3.h). ERR_INVALID: `error` then says what is wrong, with `path` and line.
 */
int topology_read(const char *path, struct bytes text, struct topology *out,
                  char *error, size_t error_size);

/* Only those run here; none named: all. ERR_NOT_FOUND, with `error`. */
int topology_select(struct topology *topology, const char *const *names,
                    size_t count, char *error, size_t error_size);

/* A daemon with an nginx before it. */
bool topology_has_front(const struct node *node);

/* The n-th of its tier, or NULL. */
const struct node *topology_node(const struct topology *topology,
                                 enum tier tier, size_t n);

#endif
