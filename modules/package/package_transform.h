/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_PACKAGE_PACKAGE_TRANSFORM_H
#define MODULES_PACKAGE_PACKAGE_TRANSFORM_H

/*
 * A segment changed on its way to the viewer: from the pages of its file into
 * one buffer, used again and again; or, of what nginx's copy filter has read,
 * in place where the transform can. A viewer who takes nothing holds that
 * buffer and, where the copy filter has to read, its buffers.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <stdbool.h>

#include "media/transform.h"
#include "modules/package/package_seal.h"
#include "modules/package/package_window.h"

#define PACKAGE_TRANSFORM_BLOCK 16u
#define PACKAGE_TRANSFORM_FILES 2u /* that a segment is made of */

/* Zeroed is empty. */
struct package_transform {
    struct transform *transform; /* NULL: none; owned */
    struct package_seal *seal;   /* NULL: its output goes as it is; owned */
    uint64_t start, end;         /* what is wanted of its output */

    /* Where set, ranges of files go in, each when the one before is through,
     * and before what is passed on to the filter. False: there is none. */
    bool (*next)(void *context, ngx_buf_t *range);
    void *next_context;

    /* private */
    ngx_buf_t range;   /* that `next` gave */
    uint64_t position; /* in its output */
    ngx_chain_t *in, *free, *busy;
    struct {
        struct package_window *window; /* NULL: none */
        ngx_fd_t fd;
    } windows[PACKAGE_TRANSFORM_FILES];
    bool is_in_place;
    ngx_chain_t *filling; /* not full, and not the end yet */
    ngx_chain_t *sealing; /* full, or the end; at most until the seal is done */
    bool has_buffer;
    bool has_begun;                       /* in place: the header is out */
    ngx_buf_t *header;                    /* in place: until it is sent */
    ngx_chain_t *joints;                  /* in place: all there are */
    u_char rest[PACKAGE_TRANSFORM_BLOCK]; /* in place: what was left */
    size_t rest_len;
};

/* Says how what follows of the answer to `r` is read, as nginx reads static
 * files: where it sends them as such, by windows over their pages; where
 * threads read them, or without sendfile, by the copy filter. With wants_place
 * so too where the transform can change that in place. */
void package_transform_read(struct package_transform *transform,
                            ngx_http_request_t *r, bool wants_place);

/* A body filter's work; `next` is the next body filter. */
ngx_int_t package_transform_body(struct package_transform *transform,
                                 ngx_http_request_t *r, ngx_chain_t *in,
                                 ngx_http_output_body_filter_pt next);
void package_transform_close(struct package_transform *transform);

/* All that it gave out is sent. */
void package_transform_sent(struct package_transform *transform);

/* The transform of the answer to `r` that does not come through a fill, or
 * NULL. Defined by the module. */
struct package_transform *package_transform_of(ngx_http_request_t *r);

#endif
