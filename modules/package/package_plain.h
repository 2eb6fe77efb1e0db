/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_PACKAGE_PACKAGE_PLAIN_H
#define MODULES_PACKAGE_PACKAGE_PLAIN_H

/*
 * Films that nobody ingested: "<content>/<version>/film.mp4". What is made of
 * them (package_kept.h) is made in a thread of nginx's pool, while the request
 * waits; of a film behind the fill location from pieces, which are fetched
 * between one try and the next.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "modules/package/package_kept.h"
#include "modules/package/package_pieces.h"

/* Of the directive. */
struct package_plain_conf {
    ngx_str_t folder; /* terminated */
    off_t size_max;
    uint32_t segment_ms;
    ngx_thread_pool_t *threads;
};

struct package_plain_job;

/* What a request has of it. Zeroed is a film that was ingested. */
struct package_plain {
    const struct package_plain_conf *conf; /* NULL: not a plain film */
    struct kept_film film;
    bool is_far; /* behind the fill location; then also: */
    uint64_t size, tag;
    struct pieces pieces; /* what came of it, but while there is a job */
    struct package_plain_job *job; /* under way */
    unsigned made;                 /* so many tracks have the segment */
    bool is_done;                  /* the last one is, with this status */
    ngx_int_t status;
};

/* package_plain folder [size=10g] [segment=4s]; */
char *package_plain_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

#endif
