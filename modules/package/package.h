/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_PACKAGE_PACKAGE_H
#define MODULES_PACKAGE_PACKAGE_H

/*
 * What the parts of the package module share: its configuration, what it keeps
 * for a request, and the steps of one.
 *
 * A step returns NGX_DONE when it waits for something that will resume the
 * request, and what to finalize it with otherwise (NGX_AGAIN included: a
 * filter's word for bytes not sent yet, which finalizing deals with).
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "modules/package/package_fill.h"
#include "modules/package/package_index.h"
#include "modules/package/package_path.h"

extern ngx_module_t ngx_http_package_module;

typedef struct {
    size_t index_memory;
} ngx_http_package_main_conf_t;

typedef struct {
    ngx_http_complex_value_t *path; /* NULL: not a package location */
    ngx_str_t root;                 /* no slash at the end */
    ngx_str_t fill;                 /* slashes at both ends */
    ngx_str_t again;                /* the same, or empty */
    size_t slice_size;
    ngx_http_complex_value_t *pathways; /* NULL: none */
} ngx_http_package_loc_conf_t;

typedef struct {
    struct package_path path;
    struct package_use use; /* of the index that the answer is made from */
    struct package_fill fill;
    bool is_answering; /* the index is there, the answer has begun */
} ngx_http_package_ctx_t;

/* The name of "<track><suffix>" in the source that is configured: a path, or
 * the URI of the fill. Terminated; data is NULL without memory. */
ngx_str_t package_source_name(ngx_http_request_t *r,
                              ngx_http_package_ctx_t *ctx, const char *suffix);

/* The HTTP status of a failed open. */
ngx_int_t package_file_status(ngx_err_t error);

/* Gets hold of the index that the answer is made from, loading it where no
 * other request does. NGX_OK: it is there. */
ngx_int_t package_index_step(ngx_http_request_t *r,
                             ngx_http_package_ctx_t *ctx);

/* Sends the answer; again after a NGX_DONE, package_answer_resume. */
ngx_int_t package_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx);
ngx_int_t package_answer_resume(ngx_http_request_t *r,
                                ngx_http_package_ctx_t *ctx);

#endif
