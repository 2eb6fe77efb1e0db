/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_API_H
#define PROGRAMS_ST_API_API_H

/*
 * st-api's requests: plays are answered with signed URLs, the catalogue is
 * shown and changed. Holds no state of its own beside counters and what each
 * service may still ask for.
 */

#include "platform/tasks.h"
#include "programs/st-api/catalogue.h"
#include "programs/st-api/revoked.h"
#include "programs/st-api/rules.h"
#include "programs/st-api/secrets.h"
#include "programs/st-api/services.h"

/* Metrics: X(symbol, name, type, sentence). */
#define API_METRICS(X)                                                      \
    X(PLAYBACKS, "st_api_playbacks_total", "counter",                       \
      "Signed playback URLs answered.")                                     \
    X(PLAYBACKS_RENEWED, "st_api_playbacks_renewed_total", "counter",       \
      "Plays whose URLs were signed anew.")                                 \
    X(PLAYBACKS_REVOKED, "st_api_playbacks_revoked_total", "counter",       \
      "Plays that were revoked.")                                           \
    X(PLAYBACKS_UNKNOWN, "st_api_playbacks_unknown_total", "counter",       \
      "Plays asked for of contents that are not in the catalogue.")         \
    X(PLAYBACKS_CLOSED, "st_api_playbacks_closed_total", "counter",         \
      "Plays asked for of contents that are not available there and then.") \
    X(PLAYBACKS_REFUSED, "st_api_playbacks_refused_total", "counter",       \
      "Plays that the rule or the JWT of their service refuses.")           \
    X(RULES_ASKED, "st_api_rules_asked_total", "counter",                   \
      "Questions to services' rules.")                                      \
    X(RULES_REMEMBERED, "st_api_rules_remembered_total", "counter",         \
      "Plays decided by what a rule had answered before.")                  \
    X(RULES_FAILED, "st_api_rules_failed_total", "counter",                 \
      "Questions to services' rules without an answer that is one.")        \
    X(INVALID, "st_api_requests_invalid_total", "counter",                  \
      "Requests refused for their form: JSON, fields, type, parameters.")   \
    X(DENIED, "st_api_requests_denied_total", "counter",                    \
      "Requests refused for a missing or wrong key.")                       \
    X(LIMITED, "st_api_requests_limited_total", "counter",                  \
      "Requests refused as their service asked more often than it may.")    \
    X(CHANGES, "st_api_catalogue_changes_total", "counter",                 \
      "Contents, services and keys added, replaced or removed.")            \
    X(FAILURES, "st_api_failures_total", "counter",                         \
      "Requests that failed for a reason of this program or its database.") \
    X(RELOADS, "st_api_key_reloads_total", "counter",                       \
      "Times the keys were read again and taken over.")                     \
    X(RELOADS_REFUSED, "st_api_key_reloads_refused_total", "counter",       \
      "Times the keys were read again and refused; the old ones stay.")

enum api_metric {
#define API_METRIC(symbol, name, type, sentence) API_METRIC_##symbol,
    API_METRICS(API_METRIC)
#undef API_METRIC
        API_METRIC_COUNT
};

#define DRM_SYSTEMS(X)        \
    X(WIDEVINE, "widevine")   \
    X(PLAYREADY, "playready") \
    X(FAIRPLAY, "fairplay")   \
    X(CLEARKEY, "clearkey")

enum drm_system {
#define DRM_SYSTEM(symbol, name) DRM_##symbol,
    DRM_SYSTEMS(DRM_SYSTEM)
#undef DRM_SYSTEM
        DRM_SYSTEM_COUNT
};

struct api {
    struct tasks tasks; /* what is asked is a struct catalogue */
    struct secrets *secrets;
    struct services *services;
    struct revoked *revoked;
    struct rules *rules;
    bool is_refreshing; /* these two are looked at just now */
    uint64_t
        revoked_ms; /* clock_now_ms of when `revoked` was the catalogue's */
    unsigned refresh_count;
    bool is_public;           /* plays are for whoever asks */
    const char *playback_url; /* "http://host:port", no slash at the end */
    uint64_t token_ttl_s;     /* at least: a token outlives its film */
    enum token_form token_form;
    bool is_bound; /* tokens are, to the viewer's network of so many bits */
    unsigned network_bits4, network_bits6;
    const char *license_urls[DRM_SYSTEM_COUNT]; /* NULL: none is told */
    const char *entitlement_issuer;
    uint64_t metrics[API_METRIC_COUNT];
};

/* "http://..." or "https://..." with a host, and nothing that would have to be
 * escaped in JSON or end the URL early. */
bool api_playback_url_is_valid(const char *url);

/* "24/64": prefix lengths for IPv4 and IPv6, or "off". */
bool api_network_parse(const char *text, struct api *api);

/* "clearkey=https://license.example/clearkey"; kept as long as `api` is. */
bool api_license_parse(const char *text, struct api *api);

/* Looks whether services or revoked plays changed, here or through another
 * st-api; every second or so. */
void api_refresh(struct api *api);

/* The routes; their context is a struct api. */
extern const struct http_route api_routes[];
extern const size_t api_route_count;

#endif
