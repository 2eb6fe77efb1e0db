/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subrequest runs through the internal location (proxy_pass, proxy_cache)
 * and answers 206. The header filter compares what came with what was asked;
 * the body filter keeps or trims it. Both look the fill up through the parent,
 * since an error_page in the location wipes the subrequest's own contexts.
 *
 * A failure is noted in fill->status and the subrequest brought to its end;
 * the parent wakes up and answers or, its header being out, cuts the line.
 *
 * A slice may also break off: the tier behind dies, or the cache here or there
 * has no room on its disk for what it is reading. It is asked for again by the
 * other way, which is to use no disk; and so is for some seconds what is asked
 * for first, since by the usual way the viewers would wait for each other's
 * turn to fail.
 */
#include "modules/package/package_fill.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "modules/package/package_path.h"

#define FILL_AGAIN_S 5
#define FILL_POOL_SIZE 4096u

static ngx_http_output_header_filter_pt ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt ngx_http_next_body_filter;

static time_t again_until; /* in this worker */

static ngx_int_t
fill_fail(struct package_fill *fill, ngx_int_t status, const char *reason)
{
    if (fill->status == 0) {
        ngx_log_error(NGX_LOG_ERR, fill->request->connection->log, 0,
                      "package: read \"%V\" at %uL failed (%s)", &fill->uri,
                      fill->slice_start, reason);
        fill->status = status;
    }
    return NGX_ERROR;
}

/* ---- header ---- */

static ngx_int_t
fill_status_check(struct package_fill *fill, ngx_uint_t status)
{
    switch (status) {
    case NGX_HTTP_OK:
    case NGX_HTTP_PARTIAL_CONTENT:
        return NGX_OK;
    case NGX_HTTP_NOT_FOUND:
        if (fill->is_first) { /* that was the question */
            fill->status = status;
            return NGX_ERROR;
        }
        return fill_fail(fill, NGX_HTTP_NOT_FOUND, "not found");
    case NGX_HTTP_GATEWAY_TIME_OUT:
        return fill_fail(fill, NGX_HTTP_GATEWAY_TIME_OUT, "took too long");
    default:
        return fill_fail(fill, NGX_HTTP_BAD_GATEWAY, "bad status");
    }
}

/* What the answer says it carries. A whole small file may come as a 200. */
static ngx_int_t
fill_range_read(struct package_fill *fill, ngx_http_request_t *sr,
                struct content_range *range)
{
    off_t length = sr->headers_out.content_length_n;
    ngx_table_elt_t *header = sr->headers_out.content_range;

    if (sr->headers_out.status == NGX_HTTP_OK) {
        if (length < 0 || (uint64_t) length > fill->slice_size) {
            return fill_fail(fill, NGX_HTTP_BAD_GATEWAY, "no range in answer");
        }
        *range = (struct content_range){.end = (uint64_t) length,
                                        .total = (uint64_t) length};
        return NGX_OK;
    }
    if (header == NULL
        || content_range_parse(bytes_of(header->value.data, header->value.len),
                               range)
               != 0) {
        return fill_fail(fill, NGX_HTTP_BAD_GATEWAY, "bad range in answer");
    }
    if (length >= 0 && (uint64_t) length != range->end - range->start) {
        return fill_fail(fill, NGX_HTTP_BAD_GATEWAY, "wrong length of answer");
    }
    return NGX_OK;
}

/* By what the file is known to be the same: its ETag or time; never 0. */
static uint64_t
fill_tag(const ngx_http_request_t *sr)
{
    const ngx_table_elt_t *etag = sr->headers_out.etag;
    const time_t modified = sr->headers_out.last_modified_time;

    return 1
           | (etag != NULL ? XXH3_64bits(etag->value.data, etag->value.len)
                           : XXH3_64bits(&modified, sizeof modified));
}

static ngx_int_t
fill_whole_begin(struct package_fill *fill, ngx_http_request_t *sr,
                 uint64_t total)
{
    uint64_t size = fill->is_first ? ngx_min(total, fill->slice_size) : total;

    if (size > fill->size_max) {
        return fill_fail(fill, NGX_HTTP_BAD_GATEWAY, "larger than allowed");
    }
    fill->memory = ngx_alloc(size ? size : 1, sr->connection->log);
    if (fill->memory == NULL) {
        return fill_fail(fill, NGX_HTTP_INTERNAL_SERVER_ERROR, "out of memory");
    }
    fill->modified = sr->headers_out.last_modified_time;
    fill->tag = fill_tag(sr);
    fill->total = total;
    fill->end = size;
    return NGX_OK;
}

static ngx_int_t
fill_range_check(struct package_fill *fill, ngx_http_request_t *sr)
{
    struct content_range range;
    uint64_t end;

    if (fill_range_read(fill, sr, &range) != NGX_OK) {
        return NGX_ERROR;
    }
    if (fill->is_whole && fill->total == PACKAGE_FILL_SIZE_UNKNOWN) {
        if (fill_whole_begin(fill, sr, range.total) != NGX_OK) {
            return NGX_ERROR;
        }
    }
    if (fill->tag != 0 && fill->tag != fill_tag(sr)) {
        return fill_fail(fill, NGX_HTTP_BAD_GATEWAY, "the file has changed");
    }
    if (range.total != fill->total) {
        return fill_fail(fill, NGX_HTTP_BAD_GATEWAY, "unexpected file size");
    }
    end = ngx_min(fill->slice_start + fill->slice_size, fill->total);
    if (range.start != fill->slice_start || range.end != end) {
        return fill_fail(fill, NGX_HTTP_BAD_GATEWAY, "unexpected range");
    }
    fill->slice_end = end;
    return NGX_OK;
}

static ngx_int_t
fill_header(struct package_fill *fill, ngx_http_request_t *sr)
{
    ngx_http_request_t *r = fill->request;
    ngx_int_t rc;

    sr->header_sent = 1; /* as far as this subrequest goes, it is */
    if (sr->headers_out.status == NGX_HTTP_BAD_GATEWAY && !fill->is_again) {
        return NGX_OK; /* it broke off before it began */
    }
    if (fill_status_check(fill, sr->headers_out.status) != NGX_OK) {
        /* let it end in its own way: the cache may remember errors, too */
        return NGX_OK;
    }
    if (fill_range_check(fill, sr) != NGX_OK) {
        return NGX_ERROR;
    }
    fill->has_header = true;
    if (fill->transform != NULL) {
        /* a slice's buffers are there already */
        package_transform_read(fill->transform, sr, true);
    }
    if (!fill->is_whole && !r->header_sent) {
        rc = ngx_http_send_header(r);
        if (rc == NGX_ERROR || rc > NGX_OK || r->header_only
            || r->filter_finalize) {
            return fill_fail(fill, NGX_HTTP_INTERNAL_SERVER_ERROR,
                             "cannot send the header");
        }
    }
    return NGX_OK;
}

/* ---- body ---- */

static void
buf_consume(ngx_buf_t *b)
{
    b->pos = b->last;
    if (b->in_file) {
        b->file_pos = b->file_last;
    }
}

/* Counts the buffer's bytes; *start is where in the file they lie. */
static ngx_int_t
fill_take(struct package_fill *fill, ngx_buf_t *b, uint64_t *start)
{
    uint64_t size = (uint64_t) ngx_buf_size(b);

    *start = fill->slice_start + fill->received;
    if (size > fill->slice_end - *start) {
        return fill_fail(fill, NGX_HTTP_BAD_GATEWAY, "more bytes than asked");
    }
    fill->received += size;
    return NGX_OK;
}

/* Cuts the buffer to the window; false when nothing is left of it. */
static bool
buf_trim(struct package_fill *fill, ngx_buf_t *b, uint64_t start)
{
    uint64_t end = start + (uint64_t) ngx_buf_size(b);
    off_t before, after;

    if (end <= fill->start || start >= fill->end) {
        buf_consume(b);
        return false;
    }
    before = start < fill->start ? (off_t) (fill->start - start) : 0;
    after = end > fill->end ? (off_t) (end - fill->end) : 0;
    if (ngx_buf_in_memory(b)) {
        b->pos += before;
        b->last -= after;
    }
    if (b->in_file) {
        b->file_pos += before;
        b->file_last -= after;
    }
    return true;
}

static ngx_int_t
fill_keep(struct package_fill *fill, ngx_buf_t *b)
{
    uint64_t start;

    if (fill_take(fill, b, &start) != NGX_OK) {
        return NGX_ERROR;
    }
    if (ngx_buf_size(b) == 0 || !buf_trim(fill, b, start)) {
        return NGX_OK;
    }
    size_t size = (size_t) ngx_buf_size(b);
    u_char *to = fill->memory + (ngx_max(start, fill->start) - fill->start);
    if (ngx_buf_in_memory(b)) {
        ngx_memcpy(to, b->pos, size);
    } else if (ngx_read_file(b->file, to, size, b->file_pos)
               != (ssize_t) size) {
        return fill_fail(fill, NGX_HTTP_INTERNAL_SERVER_ERROR,
                         "cannot read the cache file");
    }
    return NGX_OK;
}

static ngx_int_t
fill_pass(struct package_fill *fill, ngx_http_request_t *sr, ngx_chain_t *in)
{
    ngx_chain_t *out = NULL, **last = &out;
    ngx_int_t rc;

    for (; in != NULL; in = in->next) {
        ngx_chain_t *link;

        if (!ngx_buf_special(in->buf)) {
            uint64_t start;

            if (fill_take(fill, in->buf, &start) != NGX_OK) {
                return NGX_ERROR;
            }
            if (!buf_trim(fill, in->buf, start)) {
                continue;
            }
        }
        link = ngx_alloc_chain_link(sr->pool);
        if (link == NULL) {
            return NGX_ERROR;
        }
        link->buf = in->buf;
        *last = link;
        last = &link->next;
    }
    *last = NULL;
    rc = fill->transform != NULL ? package_transform_body(
             fill->transform, sr, out, ngx_http_next_body_filter)
                                 : ngx_http_next_body_filter(sr, out);
    while (out != NULL) {
        ngx_chain_t *link = out;

        out = out->next;
        ngx_free_chain(sr->pool, link);
    }
    return rc;
}

static ngx_int_t
fill_body(struct package_fill *fill, ngx_http_request_t *sr, ngx_chain_t *in)
{
    if (fill->status == 0 && fill->has_header && !fill->is_whole) {
        ngx_int_t rc = fill_pass(fill, sr, in);

        if (rc == NGX_ERROR && fill->status == 0) {
            /* what was lost on its way to the viewer must not be passed over */
            fill->status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
        return rc;
    }
    /* the text of an error page is for nobody, and after a failure here the
     * parent will find fill->status */
    for (; in != NULL; in = in->next) {
        if (fill->status == 0 && fill->has_header
            && !ngx_buf_special(in->buf)) {
            (void) fill_keep(fill, in->buf);
        }
        buf_consume(in->buf);
    }
    return NGX_OK;
}

/* ---- the chain of slices ---- */

/* What fails ends the subrequest only: without this the NGX_ERROR would end
 * the connection, and the viewer see no status. The parent sees what is
 * missing. */
static ngx_int_t
fill_slice_done(ngx_http_request_t *sr, void *context, ngx_int_t rc)
{
    return rc == NGX_ERROR ? NGX_OK : rc;
}

/* Of the viewer's request the tier behind learns nothing: no cookies, no
 * conditions, no ranges. */
static ngx_int_t
fill_headers_clear(ngx_http_request_t *sr)
{
    ngx_str_t server = sr->headers_in.server;

    ngx_memzero(&sr->headers_in, sizeof sr->headers_in);
    sr->headers_in.server = server;
    sr->headers_in.content_length_n = -1;
    sr->headers_in.keep_alive_n = -1;
    return ngx_list_init(&sr->headers_in.headers, sr->pool, 1,
                         sizeof(ngx_table_elt_t));
}

static void
fill_pool_destroy(void *context)
{
    ngx_pool_t **pool = context;

    if (*pool != NULL) {
        ngx_destroy_pool(*pool);
        *pool = NULL;
    }
}

/* nginx's HTTP/2 takes links of chains from the pool of the subrequest that
 * sends, and gives them back to lists of the request when they are sent. */
static void
fill_links_forget(ngx_http_request_t *r)
{
#if (NGX_HTTP_V2)
    if (r->stream != NULL) {
        r->pool->chain = NULL;
        r->stream->free_bufs = NULL;
        r->stream->free_frame_headers = NULL;
    }
#endif
}

/* A viewer's request would else hold the memory of each of its slices until
 * its end. Where something still uses it, it stays for the next one. */
static void
fill_pool_release(struct package_fill *fill)
{
    ngx_http_request_t *r = fill->request;

    if (fill->pool != NULL && *fill->pool != NULL && r->out == NULL
        && r->posted_requests == NULL
        && r->count == 1) { /* no update of the cache goes on behind it */
        if (fill->transform != NULL) {
            package_transform_sent(fill->transform);
        }
        fill_links_forget(r);
        fill_pool_destroy(fill->pool);
    }
}

static ngx_pool_t *
fill_pool_make(struct package_fill *fill)
{
    ngx_http_request_t *r = fill->request;

    if (fill->pool == NULL) {
        ngx_pool_cleanup_t *cleanup =
            ngx_pool_cleanup_add(r->pool, sizeof *fill->pool);

        if (cleanup == NULL) {
            return NULL;
        }
        fill->pool = cleanup->data;
        *fill->pool = NULL;
        cleanup->handler = fill_pool_destroy;
    }
    if (*fill->pool == NULL) {
        *fill->pool = ngx_create_pool(FILL_POOL_SIZE, r->connection->log);
    }
    return *fill->pool;
}

/* What it sets of the request's variables is in its own memory, and so must
 * they be. */
static ngx_int_t
fill_variables_copy(ngx_http_request_t *sr)
{
    const ngx_http_core_main_conf_t *conf =
        ngx_http_get_module_main_conf(sr, ngx_http_core_module);
    size_t size = conf->variables.nelts * sizeof *sr->variables;
    ngx_http_variable_value_t *variables = ngx_palloc(sr->pool, size);

    if (variables == NULL) {
        return NGX_ERROR;
    }
    ngx_memcpy(variables, sr->variables, size);
    sr->variables = variables;
    return NGX_OK;
}

/* All of it in that pool. */
static ngx_int_t
fill_subrequest(struct package_fill *fill, ngx_pool_t *pool, ngx_str_t *uri,
                ngx_str_t *args)
{
    ngx_http_request_t *r = fill->request, *sr;
    ngx_pool_t *own = r->pool;
    ngx_int_t rc;

    r->pool = pool;
    rc = ngx_http_subrequest(r, uri, args, &sr, &fill->post, 0);
    r->pool = own;
    if (rc != NGX_OK || fill_headers_clear(sr) != NGX_OK
        || fill_variables_copy(sr) != NGX_OK) {
        return NGX_ERROR;
    }
    fill->subrequest = sr;
    return NGX_OK;
}

/* Without `data`: no memory. */
static ngx_str_t
fill_uri(struct package_fill *fill, ngx_pool_t *pool)
{
    ngx_str_t name = fill->uri, uri;

    if (fill->again.len == 0
        || (!fill->is_again && ngx_time() >= again_until)) {
        return name;
    }
    name.data += fill->prefix_len;
    name.len -= fill->prefix_len;
    uri.len = fill->again.len + name.len;
    uri.data = ngx_pnalloc(pool, uri.len);
    if (uri.data != NULL) {
        (void) ngx_sprintf(uri.data, "%V%V", &fill->again, &name);
    }
    return uri;
}

static ngx_int_t
fill_slice_start(struct package_fill *fill)
{
    ngx_pool_t *pool = fill_pool_make(fill);
    ngx_str_t uri, args;

    if (pool == NULL) {
        return NGX_ERROR;
    }
    uri = fill_uri(fill, pool);
    args.data = ngx_pnalloc(pool, sizeof("slice=") + NGX_INT64_LEN);
    if (args.data == NULL || uri.data == NULL) {
        return NGX_ERROR;
    }
    args.len = (size_t) (ngx_sprintf(args.data, "slice=%uL",
                                     fill->next / fill->slice_size)
                         - args.data);
    fill->slice_start = fill->next;
    fill->slice_end = fill->next + fill->slice_size;
    fill->received = 0;
    fill->has_header = false;
    fill->post.handler = fill_slice_done;
    fill->post.data = fill;

    return fill_subrequest(fill, pool, &uri, &args) == NGX_OK ? NGX_DONE
                                                              : NGX_ERROR;
}

/* Waits until the viewer took what it got, so that a slow one is not read
 * ahead for. */
static ngx_int_t
fill_drain(ngx_http_request_t *r)
{
    ngx_connection_t *c = r->connection;
    ngx_event_t *wev = c->write;
    ngx_http_core_loc_conf_t *clcf =
        ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (wev->timedout) {
        c->timedout = 1;
        return NGX_HTTP_REQUEST_TIME_OUT;
    }
    if (!wev->delayed) {
        if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
            return NGX_ERROR;
        }
        if (!c->buffered) {
            if (wev->timer_set && !wev->delayed) {
                ngx_del_timer(wev);
            }
            return NGX_OK;
        }
        if (!wev->delayed) {
            ngx_add_timer(wev, clcf->send_timeout);
        }
    }
    return ngx_handle_write_event(wev, clcf->send_lowat) == NGX_OK ? NGX_DONE
                                                                   : NGX_ERROR;
}

static void
fill_slice_end(struct package_fill *fill)
{
    uint64_t reached = fill->slice_start + fill->received;
    bool is_broken = !fill->has_header || reached != fill->slice_end;

    fill->subrequest = NULL;
    if (is_broken && fill->status == 0 && !fill->is_again) {
        ngx_log_error(NGX_LOG_WARN, fill->request->connection->log, 0,
                      "package: read \"%V\" at %uL broke off after %uL bytes",
                      &fill->uri, fill->slice_start, fill->received);
        again_until = ngx_time() + FILL_AGAIN_S;
        fill->is_again = true;
        if (!fill->is_whole) { /* what came has gone to the viewer */
            fill->start = ngx_max(fill->start, ngx_min(reached, fill->end));
        }
        return;
    }
    if (is_broken) {
        (void) fill_fail(fill, NGX_HTTP_BAD_GATEWAY, "fewer bytes than asked");
    }
    fill->is_again = false;
    fill->next = fill->slice_end;
}

ngx_int_t
package_fill_step(struct package_fill *fill)
{
    ngx_http_request_t *r = fill->request;
    ngx_int_t rc;

    if (fill->subrequest != NULL) {
        if (!fill->subrequest->done) {
            return NGX_DONE;
        }
        fill_slice_end(fill);
    } else if (!fill->has_begun) {
        fill->has_begun = true;
        fill->next = fill->start - fill->start % fill->slice_size;
    }
    if (fill->status != 0) {
        return r->header_sent ? NGX_ERROR : fill->status;
    }
    if (r->connection->buffered) {
        rc = fill_drain(r);
        if (rc != NGX_OK) {
            return rc;
        }
    }
    if (fill->next >= fill->end || fill->start >= fill->end) {
        return NGX_OK;
    }
    fill_pool_release(fill);
    return fill_slice_start(fill);
}

static ngx_int_t
package_fill_header_filter(ngx_http_request_t *r)
{
    struct package_fill *fill = package_fill_of(r);

    return fill ? fill_header(fill, r) : ngx_http_next_header_filter(r);
}

static ngx_int_t
package_fill_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    struct package_fill *fill = package_fill_of(r);

    if (fill != NULL) {
        return fill_body(fill, r, in);
    }
    struct package_transform *transform = package_transform_of(r);
    return transform ? package_transform_body(transform, r, in,
                                              ngx_http_next_body_filter)
                     : ngx_http_next_body_filter(r, in);
}

void
package_fill_filters(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = package_fill_header_filter;
    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = package_fill_body_filter;
}
