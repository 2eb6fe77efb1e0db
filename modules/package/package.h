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

#include "media/clip.h"
#include "media/crypt/keys.h"
#include "media/crypt/signal.h"
#include "modules/package/package_fill.h"
#include "modules/package/package_index.h"
#include "modules/package/package_keys.h"
#include "modules/package/package_path.h"
#include "modules/package/package_plain.h"

/* of map and header: a segment of 60,000 samples is somebody's joke */
#define PACKAGE_HEAD_SIZE_MAX (2u << 20)

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
    ngx_http_complex_value_t *pathways;   /* NULL: none */
    ngx_http_complex_value_t *trick_play; /* NULL: none */
    ngx_http_complex_value_t *encryption; /* NULL: off */
    struct crypt_keys *keys;              /* NULL: none */
    ngx_str_t key_server;                 /* or else this; slashes as fill */
    time_t key_valid;                     /* s */
    struct cpix_recipient *key_recipient; /* of its keys; NULL: none */
    struct crypt_systems *systems;        /* NULL: none */
    ngx_http_complex_value_t *key_uri;    /* NULL: none */
    ngx_http_complex_value_t *identity;   /* NULL: no */
    ngx_http_complex_value_t *quality;    /* NULL: all */
    ngx_uint_t clear_lead;                /* segments */
    struct package_plain_conf *plain;     /* NULL: ingested films only */
    ngx_uint_t key_period;                /* segments; 0: one key for all */
} ngx_http_package_loc_conf_t;

typedef struct {
    struct package_path path;
    struct clip clip; /* of a manifest, where is_clipped */
    bool is_clipped;
    struct clip_rates *rates; /* of a multivariant playlist or MPD of a part */
    size_t rate_count;        /* so many of them are looked for */
    struct package_use use;   /* of the index that the answer is made from */
    struct package_use muxed; /* of the other track's, where there are two */
    unsigned turn; /* 1: the two have changed places, in `path`, too */
    struct package_plain plain;
    struct package_fill fill;
    struct crypt crypt;           /* scheme 0: in the clear */
    struct package_keys_use keys; /* of a key server */
    struct package_transform transform;
    u_char *head;          /* read before the samples; ngx_alloc'ed */
    struct package_ts *ts; /* a transport stream on its way, or NULL */
    bool is_answering;     /* the index is there, the answer has begun */
} ngx_http_package_ctx_t;

/* Puts the path's track of this number, 0 or 1, and its index where all that
 * follows here looks for them. */
void package_track_turn(ngx_http_package_ctx_t *ctx, unsigned number);

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

/* Whose internal locations are meant: what a worker remembers of one server{}
 * is not another one's. */
static inline const void *
package_server(ngx_http_request_t *r)
{
    return ngx_http_get_module_srv_conf(r, ngx_http_core_module);
}

/* Does the answer come through the fill location? */
static inline bool
package_is_filled(const ngx_http_package_loc_conf_t *conf,
                  const ngx_http_package_ctx_t *ctx)
{
    return conf->fill.len != 0 && ctx->plain.conf == NULL;
}

/* Looks whether it is a plain film: NGX_OK, NGX_DONE or an HTTP status. */
ngx_int_t package_plain_find(ngx_http_request_t *r,
                             ngx_http_package_ctx_t *ctx);

/* Has the index made that is not there: NGX_DONE, or at last the HTTP status of
 * having failed. Where it is there, package_plain_forget. */
ngx_int_t package_plain_index(ngx_http_request_t *r,
                              ngx_http_package_ctx_t *ctx);
void package_plain_forget(ngx_http_package_ctx_t *ctx);

/* The file of a segment; data is NULL without memory. */
ngx_str_t package_plain_name(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                             uint32_t number);

/* Has the segment's file made unless it is there, which is NGX_OK. */
ngx_int_t package_plain_segment(ngx_http_request_t *r,
                                ngx_http_package_ctx_t *ctx);

/* What the answer is encrypted with: the scheme, and for a track the key.
 * NGX_OK, also for an answer in the clear; NGX_DONE; or an HTTP status. */
ngx_int_t package_crypt_set(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx);

/* The clear text with keys in it: a playlist, or with all tracks' a
 * multivariant playlist or MPD; or the init segment of an encrypted track.
 * `out` is empty. 0 or ERR_*. */
int package_crypt_text(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                       struct bytes clear, struct buffer *out);

/* Opens ctx->transform from the segment's map and header. 0 or ERR_*. */
int package_crypt_open(ngx_http_package_ctx_t *ctx,
                       const struct segment *segment, struct bytes head);

/* package_encryption's companions in the configuration. */
char *package_keys_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *package_key_server_directive(ngx_conf_t *cf, ngx_command_t *cmd,
                                   void *conf);
char *package_key_certificate_directive(ngx_conf_t *cf, ngx_command_t *cmd,
                                        void *conf);
char *package_drm_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* ---- what answers are made of ---- */

/* The tag is of what is sent: the same on every node that would send it. */
ngx_int_t package_headers_set(ngx_http_request_t *r,
                              ngx_http_package_ctx_t *ctx, off_t length,
                              uint64_t tag);

/* One range of what is made on the way, which nginx's filter cannot cut: it
 * comes before the making. A conditional request gets all or nothing. The
 * headers are set; NGX_OK, or NGX_HTTP_RANGE_NOT_SATISFIABLE. */
ngx_int_t package_range_take(ngx_http_request_t *r, struct byte_range *out);

/* A text that is made for this request alone, with what came of making it. */
ngx_int_t package_made_send(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                            struct buffer *text, int err);

/* Logs why a text could not be made, and says the status of the answer. */
ngx_int_t package_text_failed(ngx_http_request_t *r,
                              ngx_http_package_ctx_t *ctx, int err);

/* The track file, opened as nginx's static handler does. */
ngx_int_t package_media_open(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                             const struct segment *segment, ngx_file_t *file);

/* Sends the header. NGX_DECLINED: the body is to follow. Else the handler's
 * result: a condition that fails, too, has nginx's filter send another answer,
 * and takes the request's context away. */
ngx_int_t package_header_send(ngx_http_request_t *r);

/* The header and a window of an open file, through the transform where there
 * is one. */
ngx_int_t package_window_send(ngx_http_request_t *r, ngx_file_t *file,
                              uint64_t start, uint64_t end);

/* A fill of a window of the track file, to be gone on with. */
ngx_int_t package_fill_set(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                           uint64_t start, uint64_t end);

/* Sends a window of the track file, which comes through a fill or lies there,
 * as the transform changes it where there is one. What lies there and is not
 * changed nginx's filter may cut ranges from. */
ngx_int_t package_window_answer(ngx_http_request_t *r,
                                ngx_http_package_ctx_t *ctx,
                                const struct segment *segment, uint64_t start,
                                uint64_t end);

/* Before a fill that passes: sends the header where it may be all of the
 * answer. NGX_DECLINED: go on, an error can still have its status. */
ngx_int_t package_header_begin(ngx_http_request_t *r);

/* A segment whose samples are encrypted on the way; again after a NGX_DONE,
 * package_encrypted_resume. */
ngx_int_t package_encrypted_answer(ngx_http_request_t *r,
                                   ngx_http_package_ctx_t *ctx,
                                   const struct segment *segment);
ngx_int_t package_encrypted_resume(ngx_http_request_t *r,
                                   ngx_http_package_ctx_t *ctx);

/* The WebVTT of a part of a film; again after a NGX_DONE,
 * package_text_part_resume. */
ngx_int_t package_text_part_answer(ngx_http_request_t *r,
                                   ngx_http_package_ctx_t *ctx);
ngx_int_t package_text_part_resume(ngx_http_request_t *r,
                                   ngx_http_package_ctx_t *ctx);

/* False, and it is logged why, for what cannot be a transport stream, and for
 * an encryption that is of transport streams alone, or of all but those. */
bool package_ts_fits(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx);

/* A segment as a transport stream; again after a NGX_DONE, package_ts_resume.
 */
ngx_int_t package_ts_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx);
ngx_int_t package_ts_resume(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx);

/* A segment of WebVTT beside transport streams. */
ngx_int_t package_ts_text_answer(ngx_http_request_t *r,
                                 ngx_http_package_ctx_t *ctx);

/* Sends the answer; again after a NGX_DONE, package_answer_resume. */
ngx_int_t package_answer(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx);
ngx_int_t package_answer_resume(ngx_http_request_t *r,
                                ngx_http_package_ctx_t *ctx);

#endif
