/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_REDIRECT_NGX_HTTP_REDIRECT_H
#define MODULES_REDIRECT_NGX_HTTP_REDIRECT_H

/*
 * What the parts of the redirect module share: its configuration, the load
 * table a worker holds, and what was decided about a request.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/content.h"
#include "core/pace.h"
#include "core/plays.h"
#include "core/revocations.h"
#include "core/route.h"
#include "core/steering.h"
#include "core/token.h"

/* One that the node's agent writes; path.len 0: none is configured. */
typedef struct {
    ngx_str_t path;
    struct stat seen; /* as it was at the last look; st_ino 0: no file, or none
                       * that could be read */
    ngx_err_t seen_err;
    bool is_unreadable;
} ngx_http_redirect_file_t;

/* http{}: one per worker, and only its own thread touches it. */
typedef struct {
    ngx_array_t nodes; /* struct table_node, as configured */
    ngx_http_redirect_file_t table;
    ngx_http_redirect_file_t revoked;
    ngx_msec_t table_interval;
    ngx_str_t keys_path;
    struct token_keys *keys; /* NULL: none configured */
    time_t token_early;      /* s that a token may begin in the future */
    time_t token_late;       /* s that it is good for after its end */

    /* the node's limits, a second; 0: none */
    uint64_t requests_max;
    uint64_t bits_max;
    /* decision records: of one in so many sessions, at most so many a second
     * and worker; sample 0: none */
    ngx_uint_t record_sample;
    ngx_uint_t record_rate;
    time_t record_second;
    ngx_uint_t record_count; /* in that second */

    /* what its workers share; NULL: all servers are redirectors */
    ngx_shm_zone_t *zone;

    /* The held table; from the configured nodes until a file was taken.
     * Nothing of it outlives the handler that looks at it: the next look may
     * free it. */
    struct table_snapshot *snapshot;
    ngx_uint_t generation; /* counts the tables held */
    bool is_from_file;
    u_char version[2 * NGX_INT64_LEN + 1]; /* "TERM.SEQUENCE" */
    size_t version_len;

    struct revocations *revocations; /* NULL: none were taken */

    ngx_msec_t looked_ms; /* ngx_current_msec of the last look at the files */
} ngx_http_redirect_main_conf_t;

/* server{} */
typedef struct {
    ngx_str_t self; /* empty: a redirector */
    ngx_str_t cdn;  /* empty: there is none */
    ngx_int_t hops; /* variable, or -1: the argument "hop" */
    ngx_uint_t hops_max;
    ngx_array_t *pull;                /* predicates; NULL: no CDN asks here */
    ngx_http_complex_value_t *client; /* its address; NULL: the connection's */
    ngx_str_t pathways; /* steering manifests are below it; empty: none */

    uint64_t self_hash;

    /* where `self` is in the held table */
    ngx_int_t self_index;
    ngx_uint_t self_generation;
} ngx_http_redirect_srv_conf_t;

typedef struct {
    ngx_str_t prefix; /* data == NULL: not here */
    bool has_token;   /* it is checked */
    ngx_str_t explain_prefix;
    ngx_str_t steering_prefix;
    time_t steering_ttl; /* s */
} ngx_http_redirect_loc_conf_t;

/* In the zone, for all workers and across reloads. */
typedef struct {
    struct pace pace;
    struct plays plays; /* last: its slots follow */
} ngx_http_redirect_shared_t;

/* What was decided about a request; all of it lives in the request's pool. */
typedef struct {
    struct play_path path;
    uint64_t session;
    enum level level;
    enum route_rule rule;
    enum route_action action;
    bool is_refused;   /* nothing but `text` is set */
    bool is_pull;      /* a CDN asks: it is served whoever it asked */
    ngx_str_t node;    /* inside text */
    ngx_str_t version; /* inside text */
    ngx_str_t record;  /* empty: not sampled */
    ngx_str_t text;    /* "level=hot k=3 node=origin2 rule=... version=7.12" */
} ngx_http_redirect_ctx_t;

extern ngx_module_t ngx_http_redirect_module;

/* ngx_http_redirect_held.c */

/* Makes the held table from the configured nodes. ERR_INVALID, ERR_MEMORY. */
int ngx_http_redirect_hold_nodes(ngx_http_redirect_main_conf_t *rmcf);

/* Looks at the files, at most every table_interval. */
void ngx_http_redirect_look(ngx_http_redirect_main_conf_t *rmcf,
                            ngx_log_t *log);

/* Looks at them whenever that was last: as a worker starts. */
void ngx_http_redirect_look_now(ngx_http_redirect_main_conf_t *rmcf,
                                ngx_log_t *log);

/* The server's node in the held table, or ROUTE_SELF_*. */
ngx_int_t ngx_http_redirect_self(ngx_http_redirect_main_conf_t *rmcf,
                                 ngx_http_redirect_srv_conf_t *rscf);

/* ngx_http_redirect_shared.c */

/* Adds the zone: a server is an origin. */
ngx_int_t ngx_http_redirect_shared_add(ngx_conf_t *cf,
                                       ngx_http_redirect_main_conf_t *rmcf);

/* At its limit, by its own measure; without a limit nothing is measured. */
bool ngx_http_redirect_is_full(const ngx_http_redirect_main_conf_t *rmcf,
                               struct pace_rate *rate);

/* Log phase: adds what was sent to the node's bits. */
ngx_int_t ngx_http_redirect_sent_handler(ngx_http_request_t *r);

/* Fills in what this origin knows of the play; false: nothing is to be noted,
 * as this is no origin. */
bool ngx_http_redirect_recall(const ngx_http_redirect_main_conf_t *rmcf,
                              const ngx_http_redirect_srv_conf_t *rscf,
                              struct route_request *request);

/* Notes where the play is now, and what it costs. */
void ngx_http_redirect_remember(const ngx_http_redirect_main_conf_t *rmcf,
                                const ngx_http_redirect_srv_conf_t *rscf,
                                const struct route_request *request,
                                const struct route_decision *decision);

/* Notes what a CDN pulls: it is no play, and costs as much as one's request. */
void ngx_http_redirect_pulled(const ngx_http_redirect_main_conf_t *rmcf);

/* ngx_http_redirect_token.c */

/* What a token is asked for: "/p/" "film" "v1/0.m4s". */
typedef struct {
    struct bytes token, prefix, content, rest;
    bool is_expiry_ignored;
} ngx_http_redirect_play_t;

/* As token_verify_request, with all else that the request says; and
 * ERR_REVOKED. */
int ngx_http_redirect_token(ngx_http_request_t *r,
                            const ngx_http_redirect_play_t *play,
                            struct token_claims *claims);

/* ngx_http_redirect_play.c */
ngx_int_t ngx_http_redirect_play_handler(ngx_http_request_t *r);

/* ngx_http_redirect_explain.c */
ngx_int_t ngx_http_redirect_explain_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_redirect_send_json(ngx_http_request_t *r, struct bytes json);

/* ngx_http_redirect_record.c */

/* Puts a redirect on record, if it is to be. */
void ngx_http_redirect_record(ngx_http_request_t *r,
                              ngx_http_redirect_main_conf_t *rmcf,
                              const ngx_http_redirect_srv_conf_t *rscf,
                              ngx_http_redirect_ctx_t *ctx,
                              const struct route_request *request,
                              const struct route_decision *decision);

/* ngx_http_redirect_steering.c */
ngx_int_t ngx_http_redirect_steering_handler(ngx_http_request_t *r);

/* The pathways of a play that is served here, as the package module takes
 * them; empty where there are none. */
struct bytes ngx_http_redirect_pathways(ngx_http_request_t *r,
                                        const ngx_http_redirect_ctx_t *ctx);

#endif
