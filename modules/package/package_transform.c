/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   copy filter --in--> in queue --run--> one buffer --out--> next filter
 *
 * What cannot be sent stays in the buffer, what cannot be changed for want of
 * it in the queue, and the copy filter reads no further: its buffers are all
 * in the queue. `buffered` keeps the request until both are empty. Where files
 * are sent as such (sendfile) it has not read at all: the transform reads the
 * pages themselves, through a window that is moved over the file. To copy them
 * first costs as much as to send them.
 *
 * In place the copy filter's buffers go on to the next filter, and nothing is
 * kept but a block of which only the start has come:
 *
 *   ... samples | blo      held back, and put in front of
 *                    ck | samples ...      as a buffer of their own, a joint
 */
#include "modules/package/package_transform.h"

#define BUFFER_SIZE (48u << 10)
#define FILL_BUFFER_SIZE (12u << 10) /* a fill itself holds 30 kB */
#define TRANSFORM_BUFFERED 0x08u     /* a bit of r->buffered nobody else has */

_Static_assert(BUFFER_SIZE <= PACKAGE_SEAL_SIZE_MAX, "sealed in one go");

static int transform_tag; /* its address */

static size_t
buffer_room(const ngx_buf_t *b)
{
    return (size_t) (b->end - b->last);
}

/* So little room left that it is none. */
static bool
buffer_is_full(const ngx_buf_t *b)
{
    return buffer_room(b) < (size_t) (b->end - b->start) / 8;
}

/* In the request's pool: it outlives a slice. */
static ngx_chain_t *
buffer_take(struct package_transform *t, ngx_http_request_t *r)
{
    ngx_pool_t *pool = r->main->pool;
    ngx_chain_t *link = t->filling;

    if (link != NULL) {
        t->filling = NULL;
        return link;
    }
    link = t->free;
    if (link != NULL) {
        t->free = link->next;
        link->next = NULL;
        link->buf->pos = link->buf->last = link->buf->start;
        link->buf->flush = 0;
        return link;
    }
    /* not one that was given back: over HTTP/2 it may be a slice's */
    link = ngx_palloc(pool, sizeof *link);
    if (link == NULL) {
        return NULL;
    }
    link->next = NULL;
    link->buf = ngx_create_temp_buf(pool, r == r->main ? BUFFER_SIZE
                                                       : FILL_BUFFER_SIZE);
    if (link->buf == NULL) {
        return NULL;
    }
    link->buf->tag = (ngx_buf_tag_t) &transform_tag;
    link->buf->recycled = 1;
    t->has_buffer = true;
    return link;
}

/* Drops what comes before the range or behind it. */
static void
buffer_trim(struct package_transform *t, ngx_buf_t *b)
{
    uint64_t start = t->position;
    uint64_t end = start + (uint64_t) (b->last - b->pos);

    t->position = end;
    if (end <= t->start || start >= t->end) {
        b->last = b->pos;
        return;
    }
    if (start < t->start) {
        b->pos += t->start - start;
    }
    if (end > t->end) {
        b->last -= end - t->end;
    }
}

/* All that comes out, or all that is wanted of it, has come. */
static bool
is_end(const struct package_transform *t, const ngx_buf_t *b)
{
    return t->position + (uint64_t) (b->last - b->pos)
           >= ngx_min(t->transform->size_out, t->end);
}

static ngx_int_t
transform_fail(ngx_http_request_t *r, const char *what)
{
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "package: %s of a segment failed", what);
    return NGX_ERROR;
}

/* ---- pages of a file ---- */

struct window_run {
    struct transform *transform;
    struct transform_io io;
    int err;
};

static void
window_run(void *context)
{
    struct window_run *run = context;

    run->err = run->transform->run(run->transform, &run->io);
}

static void
windows_release(struct package_transform *t)
{
    for (unsigned i = 0; i < PACKAGE_TRANSFORM_FILES; i++) {
        package_window_release(t->windows[i].window);
        t->windows[i].window = NULL;
    }
}

/* Each of the files has its own: pictures and sound come in turns. */
static const struct package_window *
window_at(struct package_transform *t, ngx_http_request_t *r,
          const ngx_buf_t *in)
{
    unsigned i = 0;
    const ngx_file_t *file = in->file;

    while (t->windows[i].window != NULL && t->windows[i].fd != file->fd
           && i < PACKAGE_TRANSFORM_FILES - 1) {
        i++;
    }
    struct package_window *window = t->windows[i].window;
    if (window == NULL || t->windows[i].fd != file->fd
        || in->file_pos < window->at
        || in->file_pos >= window->at + PACKAGE_WINDOW_SIZE) {
        package_window_release(window);
        window = package_window_take(file, in->file_pos, r->connection->log);
        t->windows[i].window = window;
        t->windows[i].fd = file->fd;
    }
    return window;
}

static ngx_int_t
file_run(struct package_transform *t, ngx_http_request_t *r, ngx_buf_t *in,
         ngx_buf_t *b)
{
    const struct package_window *window = window_at(t, r, in);

    if (window == NULL) {
        return NGX_ERROR;
    }
    const off_t end = ngx_min(in->file_last, window->at + PACKAGE_WINDOW_SIZE);
    const u_char *start = window->start + (in->file_pos - window->at);
    struct window_run run = {
        .transform = t->transform,
        .io = {.in = start,
               .in_len = (size_t) (end - in->file_pos),
               .out = b->last,
               .out_len = buffer_room(b)},
    };

    if (package_window_read(window, window_run, &run) != NGX_OK) {
        return transform_fail(r, "read");
    }
    if (run.err != 0) {
        return transform_fail(r, "change");
    }
    if (run.io.in == start && run.io.out == b->last) {
        in->file_pos = in->file_last; /* more than the segment: never sent */
    } else {
        in->file_pos += run.io.in - start;
    }
    b->last = run.io.out;
    return NGX_OK;
}

/* Of memory; `in` NULL: what comes out with nothing more going in. */
static ngx_int_t
memory_run(struct package_transform *t, ngx_http_request_t *r, ngx_buf_t *in,
           ngx_buf_t *b)
{
    struct transform_io io = {.out = b->last, .out_len = buffer_room(b)};

    if (in != NULL) {
        io.in = in->pos;
        io.in_len = (size_t) (in->last - in->pos);
    }
    if (t->transform->run(t->transform, &io) != 0) {
        return transform_fail(r, "change");
    }
    if (in != NULL) {
        bool is_still = io.in == in->pos && io.out == b->last;

        /* more than the segment: never sent */
        in->pos = is_still ? in->last : (u_char *) (uintptr_t) io.in;
    }
    b->last = io.out;
    return NGX_OK;
}

/* NULL: nothing, or a special buffer. */
static ngx_buf_t *
input_next(struct package_transform *t)
{
    if (t->next != NULL) {
        if (ngx_buf_size(&t->range) != 0
            || t->next(t->next_context, &t->range)) {
            return &t->range;
        }
        t->next = NULL;
    }
    return t->in != NULL && !ngx_buf_special(t->in->buf) ? t->in->buf : NULL;
}

/* What goes in into the buffer, until that is full, or nothing is next. */
static ngx_int_t
buffer_fill(struct package_transform *t, ngx_http_request_t *r, ngx_buf_t *b)
{
    while (!buffer_is_full(b)) {
        ngx_buf_t *in = input_next(t);
        const u_char *was = b->last;
        ngx_int_t rc;

        rc = in != NULL && !ngx_buf_in_memory(in) ? file_run(t, r, in, b)
                                                  : memory_run(t, r, in, b);
        if (rc != NGX_OK) {
            return rc;
        }
        if (in != NULL && in != &t->range && ngx_buf_size(in) == 0) {
            ngx_chain_t *used = t->in;

            t->in = used->next;
            ngx_free_chain(r->pool, used);
        } else if (in == NULL && b->last == was) {
            break;
        }
    }
    return NGX_OK;
}

/* The next buffer that is to be sent, or sealed before; NULL: none yet, or
 * what came is not wanted. */
static ngx_int_t
buffer_make(struct package_transform *t, ngx_http_request_t *r,
            ngx_chain_t **full)
{
    *full = NULL;
    while (t->filling != NULL || t->free != NULL || !t->has_buffer) {
        ngx_chain_t *link = buffer_take(t, r);

        if (link == NULL || buffer_fill(t, r, link->buf) != NGX_OK) {
            return NGX_ERROR;
        }
        bool is_full = buffer_is_full(link->buf);
        if (!is_full && !is_end(t, link->buf)) {
            t->filling = link; /* small writes cost as much as large ones */
            break;
        }
        if (link->buf->pos != link->buf->last) {
            *full = link;
            break;
        }
        link->next = t->free;
        t->free = link;
        if (!is_full) {
            break;
        }
    }
    return NGX_OK;
}

/* To be sent only when it is. */
static ngx_int_t
buffer_seal(struct package_transform *t, ngx_http_request_t *r,
            ngx_chain_t *link)
{
    ngx_buf_t *b = link->buf;
    const size_t len = (size_t) (b->last - b->pos);

    if (len % AES128_BLOCK_SIZE != 0) {
        return transform_fail(r, "padding");
    }
    t->sealing = link;
    package_seal_start(t->seal, r->connection, b->pos, len);
    return NGX_OK;
}

/* What can be sent now into *out. */
static ngx_int_t
output_make(struct package_transform *t, ngx_http_request_t *r,
            ngx_chain_t **out)
{
    ngx_chain_t **last = out;

    while (t->sealing == NULL || !t->seal->is_waiting) {
        ngx_chain_t *link = t->sealing;

        t->sealing = NULL;
        if (link == NULL) {
            if (buffer_make(t, r, &link) != NGX_OK) {
                return NGX_ERROR;
            }
            if (link == NULL) {
                break;
            }
            if (t->seal != NULL) {
                if (buffer_seal(t, r, link) != NGX_OK) {
                    return NGX_ERROR;
                }
                continue;
            }
        }
        buffer_trim(t, link->buf);
        if (link->buf->pos != link->buf->last) {
            *last = link;
            last = &link->next;
            break;
        }
        link->next = t->free;
        t->free = link;
    }
    /* behind the bytes before it */
    while (t->next == NULL && t->in != NULL && ngx_buf_special(t->in->buf)) {
        ngx_chain_t *special = t->in;

        if ((t->busy != NULL || t->sealing != NULL) && *out == NULL) {
            break;
        }
        t->in = special->next;
        special->next = NULL;
        *last = special;
        last = &special->next;
    }
    return NGX_OK;
}

/* ---- in place ---- */

/* A buffer for a block that lies in two: one that was sent, or another. */
static ngx_buf_t *
joint_take(struct package_transform *t, ngx_http_request_t *r)
{
    ngx_chain_t *link = t->joints;

    while (link != NULL && link->buf->pos != link->buf->last) {
        link = link->next;
    }
    if (link != NULL) {
        link->buf->pos = link->buf->last = link->buf->start;
        return link->buf;
    }
    link = ngx_palloc(r->main->pool, sizeof *link); /* as a buffer's */
    if (link == NULL) {
        return NULL;
    }
    link->buf = ngx_create_temp_buf(r->main->pool, 2 * PACKAGE_TRANSFORM_BLOCK);
    if (link->buf == NULL) {
        return NULL;
    }
    link->next = t->joints;
    t->joints = link;
    return link->buf;
}

static ngx_int_t
link_add(ngx_http_request_t *r, ngx_buf_t *b, ngx_chain_t ***last)
{
    ngx_chain_t *link = ngx_alloc_chain_link(r->pool);

    if (link == NULL) {
        return NGX_ERROR;
    }
    link->buf = b;
    link->next = NULL;
    **last = link;
    *last = &link->next;
    return NGX_OK;
}

/* Changes all of it but what is left for later, and passes on what of it is
 * wanted. */
static ngx_int_t
place_run(struct package_transform *t, ngx_http_request_t *r, ngx_buf_t *b,
          ngx_chain_t ***last)
{
    size_t size = (size_t) (b->last - b->pos);
    struct transform_io io = {b->pos, size, b->pos, size};

    if (t->transform->run(t->transform, &io) != 0
        || io.in_len >= PACKAGE_TRANSFORM_BLOCK) {
        return transform_fail(r, "change");
    }
    b->last -= io.in_len;
    t->rest_len = io.in_len;
    ngx_memcpy(t->rest, b->last, t->rest_len);
    b->in_file = 0; /* no more as it is there */
    buffer_trim(t, b);
    return b->pos != b->last ? link_add(r, b, last) : NGX_OK;
}

static ngx_int_t
place_take(struct package_transform *t, ngx_http_request_t *r, ngx_buf_t *b,
           ngx_chain_t ***last)
{
    if (t->rest_len > 0) {
        ngx_buf_t *joint = joint_take(t, r);
        size_t size =
            ngx_min((size_t) (b->last - b->pos), PACKAGE_TRANSFORM_BLOCK);

        if (joint == NULL) {
            return NGX_ERROR;
        }
        joint->last = ngx_cpymem(joint->last, t->rest, t->rest_len);
        joint->last = ngx_cpymem(joint->last, b->pos, size);
        b->pos += size;
        if (place_run(t, r, joint, last) != NGX_OK) {
            return NGX_ERROR;
        }
        if (b->pos != b->last) { /* what is left lies in it, too */
            b->pos -= t->rest_len;
            t->rest_len = 0;
        }
    }
    return b->pos != b->last ? place_run(t, r, b, last) : NGX_OK;
}

/* What comes before the samples; in memory that can be freed alone. */
static ngx_int_t
place_begin(struct package_transform *t, ngx_http_request_t *r,
            ngx_chain_t ***last)
{
    struct transform *transform = t->transform;
    size_t size = (size_t) (transform->size_out - transform->size_in);
    ngx_buf_t *b = ngx_calloc_buf(r->main->pool);

    if (b == NULL) {
        return NGX_ERROR;
    }
    b->start = ngx_pmemalign(r->main->pool, size, NGX_ALIGNMENT);
    if (b->start == NULL) {
        return NGX_ERROR;
    }
    struct transform_io io = {.out = b->start, .out_len = size};
    if (transform->run(transform, &io) != 0 || io.out_len != 0) {
        return NGX_ERROR;
    }
    b->temporary = 1;
    b->pos = b->start;
    b->last = b->end = b->start + size;
    t->has_begun = true;
    t->header = b;
    buffer_trim(t, b);
    return b->pos != b->last ? link_add(r, b, last) : NGX_OK;
}

static void
place_header_free(struct package_transform *t, ngx_http_request_t *r)
{
    if (t->header != NULL && t->header->pos == t->header->last) {
        (void) ngx_pfree(r->main->pool, t->header->start);
        t->header = NULL;
    }
}

static ngx_int_t
place_body(struct package_transform *t, ngx_http_request_t *r, ngx_chain_t *in,
           ngx_http_output_body_filter_pt next)
{
    ngx_chain_t *out = NULL, **last = &out;
    ngx_int_t rc = NGX_OK;

    place_header_free(t, r);
    if (in != NULL && !t->has_begun) {
        rc = place_begin(t, r, &last);
    }
    for (; in != NULL && rc == NGX_OK; in = in->next) {
        rc = ngx_buf_special(in->buf) ? link_add(r, in->buf, &last)
                                      : place_take(t, r, in->buf, &last);
    }
    if (rc == NGX_OK) {
        rc = next(r, out);
    }
    while (out != NULL) {
        ngx_chain_t *link = out;

        out = out->next;
        ngx_free_chain(r->pool, link);
    }
    return rc;
}

ngx_int_t
package_transform_body(struct package_transform *t, ngx_http_request_t *r,
                       ngx_chain_t *in, ngx_http_output_body_filter_pt next)
{
    bool is_going_on;
    ngx_int_t rc;

    if (t->is_in_place) {
        return place_body(t, r, in, next);
    }
    if (in != NULL && ngx_chain_add_copy(r->pool, &t->in, in) != NGX_OK) {
        return NGX_ERROR;
    }
    do {
        ngx_chain_t *out = NULL;

        if (output_make(t, r, &out) != NGX_OK) {
            return NGX_ERROR;
        }
        is_going_on = out != NULL || t->busy != NULL;
        rc = next(r, out);
        if (rc == NGX_ERROR) {
            return rc;
        }
        ngx_chain_update_chains(r->pool, &t->free, &t->busy, &out,
                                (ngx_buf_tag_t) &transform_tag);
    } while (is_going_on && t->busy == NULL);
    if (t->busy != NULL || t->in != NULL || t->next != NULL
        || t->sealing != NULL) {
        r->buffered |= TRANSFORM_BUFFERED;
        return NGX_AGAIN;
    }
    r->buffered &= ~TRANSFORM_BUFFERED & 0x0f;
    return rc;
}

void
package_transform_read(struct package_transform *t, ngx_http_request_t *r,
                       bool wants_place)
{
    const ngx_http_core_loc_conf_t *clcf =
        ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    const bool is_by_copy = !r->connection->sendfile
                            || clcf->aio != NGX_HTTP_AIO_OFF
                            || (wants_place && t->transform->is_in_place);

    windows_release(t); /* another file may have that number now */
    t->is_in_place = is_by_copy && t->transform->is_in_place;
    r->filter_need_in_memory = is_by_copy;
    r->filter_need_temporary = t->is_in_place;
}

void
package_transform_close(struct package_transform *t)
{
    windows_release(t);
    if (t->transform != NULL) {
        t->transform->close(t->transform);
        t->transform = NULL;
    }
    package_seal_close(t->seal);
    t->seal = NULL;
}

void
package_transform_sent(struct package_transform *t)
{
    while (t->busy != NULL) {
        ngx_chain_t *link = t->busy;

        t->busy = link->next;
        if (link->buf->tag == (ngx_buf_tag_t) &transform_tag) {
            link->next = t->free;
            t->free = link;
        }
    }
}
