/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_SERVER_H
#define PROGRAMS_MLIC_SERVER_H

/*
 * The license server's requests:
 *
 *   POST   /v1/licenses/{system}        a license, in the system's own form
 *   GET    /v1/keys/{kid}               an identity key of HLS
 *   PUT    /v1/play  DELETE /v1/play    the player still plays, or no more
 *   POST   /v1/cpix                     keys for a packager (CPIX 2.3, SPEKE v2)
 *   GET    /v1/health  /metrics
 *
 * An entitlement is sent as Authorization: Bearer JWT, or as ?entitlement=JWT.
 */

#include "platform/key_file.h"
#include "platform/tasks.h"
#include "programs/mlic/audit.h"
#include "programs/mlic/license.h"
#include "programs/mlic/services.h"
#include "programs/mlic/vendors.h"

#define SERVER_BODY_SIZE_MAX (4u << 20)

/* Metrics: X(symbol, name, sentence). */
#define SERVER_METRICS(X)                                                 \
    X(KEYS, "mlic_packager_keys_total", "Keys given to packagers.")       \
    X(INVALID, "mlic_requests_invalid_total",                             \
      "Requests refused for their "                                       \
      "form.")                                                            \
    X(DENIED, "mlic_requests_denied_total",                               \
      "Requests of packagers refused "                                    \
      "for a missing or wrong key.")                                      \
    X(HEARTBEATS, "mlic_heartbeats_total", "Plays that were renewed.")    \
    X(FAILURES, "mlic_failures_total",                                    \
      "Requests that failed for a reason of "                             \
      "this program or its database.")                                    \
    X(UPSTREAM_FAILURES, "mlic_upstream_failures_total",                  \
      "Licenses that were granted and which the service that makes them " \
      "did not give.")                                                    \
    X(RELOADS, "mlic_reloads_total",                                      \
      "Times the files were read again and "                              \
      "taken over.")                                                      \
    X(RELOADS_REFUSED, "mlic_reloads_refused_total",                      \
      "Times the files were read again and refused; the old ones stay.")

enum server_metric {
#define SERVER_METRIC(symbol, name, sentence) SERVER_METRIC_##symbol,
    SERVER_METRICS(SERVER_METRIC)
#undef SERVER_METRIC
        SERVER_METRIC_COUNT
};

struct server {
    struct tasks tasks; /* what is asked is a struct store */
    struct services *services;
    struct audit *audit;
    char packager_key[KEY_SIZE]; /* empty: packagers get nothing */
    uint64_t lease_s;
    struct vendors *vendors;
    uint64_t decisions[LICENSE_SYSTEM_COUNT][REFUSAL_COUNT];
    uint64_t metrics[SERVER_METRIC_COUNT];
};

/* Answers a request whose question failed; the context is a struct server. */
void server_failed(struct http_request *request, int err, void *context);

/* The routes; their context is a struct server. */
extern const struct http_route server_routes[];
extern const size_t server_route_count;

#endif
