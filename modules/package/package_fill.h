/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_PACKAGE_PACKAGE_FILL_H
#define MODULES_PACKAGE_PACKAGE_FILL_H

/*
 * Reading a stored file from the tier behind: slices of one size, one
 * subrequest each, one after the other. Either the whole file comes into
 * memory, or a window of it, or one passes through to the viewer, file-backed
 * buffers untouched unless a transform changes them. A slice that breaks off is
 * asked for once more, by another way, and goes on where it broke.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/bytes.h"
#include "modules/package/package_transform.h"

#define PACKAGE_FILL_SIZE_UNKNOWN UINT64_MAX

struct package_fill {
    /* set by the user before the first step */
    ngx_http_request_t *request;
    ngx_str_t uri;     /* of the internal location: "/fill/<...>/v0.mp4" */
    ngx_str_t again;   /* the other way: "/again/"; empty: the same */
    size_t prefix_len; /* of what that takes the place of: "/fill/" */
    uint64_t slice_size;
    bool is_whole;       /* into memory; also a window, with `memory` */
    bool is_first;       /* whole: of its first slice, if there is one */
    uint64_t size_max;   /* whole: the most that is taken */
    uint64_t start, end; /* window: what is wanted of the file */
    uint64_t total;      /* window: the size the file must have; whole:
                          * PACKAGE_FILL_SIZE_UNKNOWN */
    uint64_t tag;        /* window: of the file's ETag, or 0: any */
    struct package_transform *transform; /* of what passes, or NULL */

    /* results of a whole fill, and the tag */
    u_char *memory;  /* ngx_alloc'ed, `end` bytes */
    time_t modified; /* -1: not known */

    /* private */
    uint64_t next; /* where the next slice starts */
    uint64_t slice_start, slice_end;
    uint64_t received; /* bytes of the current slice */
    bool has_begun;
    bool has_header; /* the current slice's was accepted */
    bool is_again;   /* the current slice is asked for a second time */
    ngx_http_request_t *subrequest;
    ngx_pool_t **pool; /* of the subrequest; destroyed when it is sent */
    ngx_http_post_subrequest_t post;
    ngx_int_t status; /* it failed with this HTTP status */
};

/*
 * Goes on; to be called again whenever the request's write handler is. NGX_OK:
 * all is there or sent. NGX_DONE: under way. Else an HTTP status or, once the
 * header went out, NGX_ERROR: what to end the request with. A window's first
 * good slice sends the request's header, which must be ready.
 */
ngx_int_t package_fill_step(struct package_fill *fill);

/* The fill that `r` is the current subrequest of, or NULL. Defined by the
 * module, which knows where a request keeps its fill. */
struct package_fill *package_fill_of(ngx_http_request_t *r);

/* Puts the filters in; at postconfiguration. */
void package_fill_filters(void);

#endif
