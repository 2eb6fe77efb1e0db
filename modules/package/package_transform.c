/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   copy filter --in--> in queue --run--> one buffer --out--> next filter
 *
 * What cannot be sent stays in the buffer, what cannot be changed for want of
 * it in the queue, and the copy filter reads no further: its buffers are all
 * in the queue. `buffered` keeps the request until both are empty. Where files
 * are sent as such (sendfile) it has not read at all, and the buffer serves for
 * both:
 *
 *   out ------->      <---- read of the file, which what comes out
 *   |=========|       |xxxxxxxxxxxxxxxxxxxxxx|  never overtakes
 */
#include "modules/package/package_transform.h"

#define TRANSFORM_BUFFER_SIZE (34u << 10)
#define ROOM_MIN (TRANSFORM_BUFFER_SIZE / 8) /* bytes; less is none */
#define PIECE_SIZE_MIN 64u                   /* bytes, read of a file */
#define TRANSFORM_BUFFERED 0x08u /* a bit of r->buffered nobody else has */

static int transform_tag; /* its address */

static size_t
buffer_room(const ngx_buf_t *b)
{
    return (size_t) (b->end - b->last);
}

static ngx_chain_t *
buffer_take(struct package_transform *t, ngx_http_request_t *r)
{
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
    link = ngx_alloc_chain_link(r->pool);
    if (link == NULL) {
        return NULL;
    }
    link->next = NULL;
    link->buf = ngx_create_temp_buf(r->pool, TRANSFORM_BUFFER_SIZE);
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

/* Of a file: read to the end of the buffer, and what comes out goes before
 * that. What finds no place there will be read again. */
static ngx_int_t
file_run(struct package_transform *t, ngx_http_request_t *r, ngx_buf_t *in,
         ngx_buf_t *b)
{
    const struct transform *transform = t->transform;
    const uint64_t room = buffer_room(b);
    /* an eighth is between the two from the start, and at the end if all of it
     * grows alike */
    uint64_t size = room * transform->size_in
                    / ngx_max(transform->size_out, transform->size_in);
    struct transform_io io = {.out = b->last};

    size = ngx_min(ngx_max(size - size / 8, PIECE_SIZE_MIN),
                   (uint64_t) (in->file_last - in->file_pos));
    io.in = b->end - size;
    io.in_len = (size_t) size;
    if (ngx_read_file(in->file, b->end - size, io.in_len, in->file_pos)
        != (ssize_t) size) {
        return transform_fail(r, "read");
    }
    const uint8_t *before;
    const u_char *was;
    do {
        before = io.in;
        was = io.out;
        io.out_len = (size_t) (io.in - io.out);
        if (t->transform->run(t->transform, &io) != 0) {
            return transform_fail(r, "change");
        }
    } while (io.in_len > 0 && (io.in != before || io.out != was));
    in->file_pos += (off_t) (size - io.in_len);
    if (io.in_len == size && io.out == b->last) {
        in->file_pos = in->file_last; /* more than the segment: never sent */
    }
    b->last = io.out;
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

/* From the queue into the buffer, until that is full, or a special buffer or
 * nothing is next. */
static ngx_int_t
buffer_fill(struct package_transform *t, ngx_http_request_t *r, ngx_buf_t *b)
{
    while (buffer_room(b) >= ROOM_MIN) {
        ngx_buf_t *in = t->in != NULL ? t->in->buf : NULL;
        const u_char *was = b->last;
        ngx_int_t rc;

        if (in != NULL && ngx_buf_special(in)) {
            in = NULL;
        }
        rc = in != NULL && !ngx_buf_in_memory(in) ? file_run(t, r, in, b)
                                                  : memory_run(t, r, in, b);
        if (rc != NGX_OK) {
            return rc;
        }
        if (in != NULL && ngx_buf_size(in) == 0) {
            ngx_chain_t *used = t->in;

            t->in = used->next;
            ngx_free_chain(r->pool, used);
        } else if (in == NULL && b->last == was) {
            break;
        }
    }
    return NGX_OK;
}

/* What can be sent now into *out. */
static ngx_int_t
output_make(struct package_transform *t, ngx_http_request_t *r,
            ngx_chain_t **out)
{
    ngx_chain_t **last = out;

    while (t->filling != NULL || t->free != NULL || !t->has_buffer) {
        ngx_chain_t *link = buffer_take(t, r);

        if (link == NULL || buffer_fill(t, r, link->buf) != NGX_OK) {
            return NGX_ERROR;
        }
        bool is_full = buffer_room(link->buf) < ROOM_MIN;
        if (!is_full && !is_end(t, link->buf)) {
            t->filling = link; /* small writes cost as much as large ones */
            break;
        }
        buffer_trim(t, link->buf);
        if (link->buf->pos != link->buf->last) {
            *last = link;
            last = &link->next;
            break;
        }
        link->next = t->free;
        t->free = link;
        if (!is_full) {
            break;
        }
    }
    /* behind the bytes before it */
    while (t->in != NULL && ngx_buf_special(t->in->buf)) {
        ngx_chain_t *special = t->in;

        if (t->busy != NULL && *out == NULL) {
            break;
        }
        t->in = special->next;
        special->next = NULL;
        *last = special;
        last = &special->next;
    }
    return NGX_OK;
}

ngx_int_t
package_transform_body(struct package_transform *t, ngx_http_request_t *r,
                       ngx_chain_t *in, ngx_http_output_body_filter_pt next)
{
    bool is_going_on;
    ngx_int_t rc;

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
    if (t->busy != NULL || t->in != NULL) {
        r->buffered |= TRANSFORM_BUFFERED;
        return NGX_AGAIN;
    }
    r->buffered &= ~TRANSFORM_BUFFERED & 0x0f;
    return rc;
}

void
package_transform_close(struct package_transform *t)
{
    if (t->transform != NULL) {
        t->transform->close(t->transform);
        t->transform = NULL;
    }
}
