/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_PACKAGE_PACKAGE_TRANSFORM_H
#define MODULES_PACKAGE_PACKAGE_TRANSFORM_H

/*
 * A segment changed on its way to the viewer, in one buffer, used again and
 * again. A viewer who takes nothing holds that and, where nginx's copy filter
 * has to read (no sendfile), its buffers.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <stdbool.h>

#include "media/transform.h"

/* Zeroed is empty. */
struct package_transform {
    struct transform *transform; /* NULL: none; owned */
    uint64_t start, end;         /* what is wanted of its output */

    /* private */
    uint64_t position; /* in its output */
    ngx_chain_t *in, *free, *busy;
    ngx_chain_t *filling; /* not full, and not the end yet */
    bool has_buffer;
};

/* A body filter's work; `next` is the next body filter. */
ngx_int_t package_transform_body(struct package_transform *transform,
                                 ngx_http_request_t *r, ngx_chain_t *in,
                                 ngx_http_output_body_filter_pt next);
void package_transform_close(struct package_transform *transform);

/* The transform of the answer to `r` that does not come through a fill, or
 * NULL. Defined by the module. */
struct package_transform *package_transform_of(ngx_http_request_t *r);

#endif
