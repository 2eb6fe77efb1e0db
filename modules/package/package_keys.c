/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   none ---> loading ---> keys ---> old: one loads, who comes meanwhile has
 *              |  ^                   the old ones
 *              v  | after 5 s
 *            failed: 503, or the old ones
 *
 * The answer is taken out of the subrequest's buffers and these are wiped, as
 * is all memory here that held it. What nginx itself writes to a file does not
 * come in its way: the location is to have proxy_buffering off.
 */
#include "modules/package/package.h"

#include "core/err.h"

#define KEYS_MEMORY_MAX (16u << 20)
#define KEYS_REQUEST_SIZE_MAX (4u << 20)

struct package_keys {
    ngx_str_node_t node; /* first; the key is "<prefix><folder> <scheme>
                          * <systems>": what is given is of those */
    ngx_queue_t age;     /* while unused */
    ngx_queue_t waiters;
    unsigned use_count;
    bool is_loading;
    struct cpix_answer answer; /* empty: there are none */
    uint32_t period_count;
    time_t old_at;   /* the keys are old */
    time_t again_at; /* after a failure */
    size_t size;     /* bytes it is accounted for */
};

static struct {
    ngx_rbtree_t tree;
    ngx_rbtree_node_t sentinel;
    ngx_queue_t ages; /* head: used last */
    size_t memory;
} all;

extern ngx_module_t ngx_http_proxy_module; /* whose buffers may be changed */

static ngx_http_output_header_filter_pt ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt ngx_http_next_body_filter;

/* ---- what is kept ---- */

static void
wiped_free(void *memory, size_t size)
{
    if (memory != NULL) {
        ngx_explicit_memzero(memory, size);
        ngx_free(memory);
    }
}

/* Takes the answer. */
static void
keys_set(struct package_keys *k, struct cpix_answer answer, uint32_t count)
{
    all.memory -= k->answer.size;
    cpix_answer_fini(&k->answer);
    k->answer = answer;
    k->period_count = count;
    all.memory += answer.size;
}

static void
keys_shrink(void)
{
    while (all.memory > KEYS_MEMORY_MAX && !ngx_queue_empty(&all.ages)) {
        struct package_keys *k =
            ngx_queue_data(ngx_queue_last(&all.ages), struct package_keys, age);

        ngx_queue_remove(&k->age);
        ngx_rbtree_delete(&all.tree, &k->node.node);
        keys_set(k, (struct cpix_answer){0}, 0);
        all.memory -= k->size;
        ngx_free(k);
    }
}

static struct package_keys *
keys_new(ngx_str_t *name, uint32_t hash)
{
    size_t size = sizeof(struct package_keys) + name->len;
    struct package_keys *k = ngx_calloc(size, ngx_cycle->log);

    if (k == NULL) {
        return NULL;
    }
    k->node.node.key = hash;
    k->node.str.len = name->len;
    k->node.str.data = (u_char *) (k + 1);
    ngx_memcpy(k->node.str.data, name->data, name->len);
    ngx_queue_init(&k->waiters);
    ngx_rbtree_insert(&all.tree, &k->node.node);
    k->size = size;
    all.memory += size;
    return k;
}

static ngx_int_t
keys_hold(ngx_http_request_t *r, struct package_keys_use *use,
          ngx_str_t *prefix, const struct cpix_request *what)
{
    ngx_str_t folder = {what->folder.len,
                        (u_char *) (uintptr_t) what->folder.ptr};
    unsigned systems = 0;
    ngx_str_t name;

    for (enum crypt_system i = 0; i < CRYPT_SYSTEM_COUNT; i++) {
        systems |=
            (unsigned) crypt_system_is_wanted(what->systems, i, what->scheme)
            << i;
    }
    name.data =
        ngx_pnalloc(r->pool, prefix->len + folder.len + 3 + 2 * NGX_INT_T_LEN
                                 + 2 * sizeof(void *));
    if (name.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    name.len =
        (size_t) (ngx_sprintf(name.data, "%V%V %d %ud %p", prefix, &folder,
                              (int) what->scheme, systems, package_server(r))
                  - name.data);
    uint32_t hash = ngx_murmur_hash2(name.data, name.len);
    ngx_str_node_t *node = ngx_str_rbtree_lookup(&all.tree, &name, hash);
    struct package_keys *k = (struct package_keys *) node;
    if (k == NULL) {
        k = keys_new(&name, hash);
        if (k == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    } else if (k->use_count == 0) {
        ngx_queue_remove(&k->age);
    }
    k->use_count++;
    use->keys = k;
    return NGX_OK;
}

/* Ends the loading: who waited is resumed from the event loop. */
static void
keys_settle(struct package_keys_use *use)
{
    struct package_keys *k = use->keys;

    wiped_free(use->answer, use->answer_size);
    use->answer = NULL;
    use->answer_len = use->answer_size = 0;
    use->subrequest = NULL;
    use->is_loader = false;
    k->is_loading = false;
    while (!ngx_queue_empty(&k->waiters)) {
        ngx_queue_t *first = ngx_queue_head(&k->waiters);
        struct package_keys_use *waiter =
            ngx_queue_data(first, struct package_keys_use, queue);

        ngx_queue_remove(first);
        waiter->is_waiting = false;
        ngx_post_event(&waiter->ready, &ngx_posted_events);
    }
}

/* ---- the asking ---- */

static ngx_int_t
header_add(ngx_list_t *list, const char *name, const char *lowcase,
           const char *value)
{
    ngx_table_elt_t *h = ngx_list_push(list);

    if (h == NULL) {
        return NGX_ERROR;
    }
    h->key.data = (u_char *) (uintptr_t) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) (uintptr_t) value;
    h->value.len = ngx_strlen(value);
    h->lowcase_key = (u_char *) (uintptr_t) lowcase;
    h->hash = ngx_hash_key(h->lowcase_key, h->key.len);
    return NGX_OK;
}

/* Of the viewer's request the key server learns nothing. */
static ngx_int_t
request_make(ngx_http_request_t *sr, const struct cpix_request *what,
             size_t length)
{
    ngx_str_t server = sr->headers_in.server;

    ngx_memzero(&sr->headers_in, sizeof sr->headers_in);
    sr->headers_in.server = server;
    sr->headers_in.content_length_n = (off_t) length;
    sr->headers_in.keep_alive_n = -1;
    sr->method = NGX_HTTP_POST;
    ngx_str_set(&sr->method_name, "POST");
    if (ngx_list_init(&sr->headers_in.headers, sr->pool, 2,
                      sizeof(ngx_table_elt_t))
        != NGX_OK) {
        return NGX_ERROR;
    }
    if (header_add(&sr->headers_in.headers, "Content-Type", "content-type",
                   "application/xml")
        != NGX_OK) {
        return NGX_ERROR;
    }
    if (!cpix_request_is_speke(what)) {
        return NGX_OK;
    }
    return header_add(&sr->headers_in.headers, "X-Speke-Version",
                      "x-speke-version", "2.0");
}

static ngx_int_t
body_make(ngx_http_request_t *sr, const struct cpix_request *what)
{
    ngx_http_request_body_t *body = ngx_pcalloc(sr->pool, sizeof *body);
    struct buffer text;
    ngx_buf_t *b = NULL;

    buffer_init(&text, KEYS_REQUEST_SIZE_MAX);
    cpix_request_write(what, &text);
    if (text.err == 0) {
        b = ngx_create_temp_buf(sr->pool, text.len);
    }
    if (b != NULL) {
        b->last = ngx_cpymem(b->pos, text.ptr, text.len);
        b->last_buf = 1;
    }
    buffer_fini(&text);
    if (body == NULL || b == NULL) {
        return NGX_ERROR;
    }
    body->bufs = ngx_alloc_chain_link(sr->pool);
    if (body->bufs == NULL) {
        return NGX_ERROR;
    }
    body->bufs->buf = b;
    body->bufs->next = NULL;
    sr->request_body = body;
    return request_make(sr, what, (size_t) (b->last - b->pos));
}

/* As of a fill: a failure ends the subrequest only. */
static ngx_int_t
subrequest_done(ngx_http_request_t *sr, void *context, ngx_int_t rc)
{
    return rc == NGX_ERROR ? NGX_OK : rc;
}

static ngx_int_t
keys_ask(ngx_http_request_t *r, struct package_keys_use *use, ngx_str_t *prefix)
{
    const struct bytes folder = use->request.folder;
    ngx_http_request_t *sr;
    ngx_str_t uri;

    uri.len = prefix->len + folder.len;
    uri.data = ngx_pnalloc(r->pool, uri.len);
    if (uri.data == NULL) {
        return NGX_ERROR;
    }
    ngx_memcpy(ngx_cpymem(uri.data, prefix->data, prefix->len), folder.ptr,
               folder.len);
    use->status = 0;
    use->post.handler = subrequest_done;
    use->post.data = use;
    if (ngx_http_subrequest(r, &uri, NULL, &sr, &use->post, 0) != NGX_OK) {
        return NGX_ERROR;
    }
    use->subrequest = sr; /* what it answers is never the viewer's */
    return body_make(sr, &use->request) == NGX_OK ? NGX_DONE : NGX_ERROR;
}

static ngx_int_t
package_keys_header_filter(ngx_http_request_t *r)
{
    struct package_keys_use *use = package_keys_of(r);

    if (use == NULL) {
        return ngx_http_next_header_filter(r);
    }
    r->header_sent = 1; /* as far as this subrequest goes, it is */
    r->filter_need_in_memory = 1;
    use->status = r->headers_out.status;
    return NGX_OK;
}

static ngx_int_t
answer_grow(struct package_keys_use *use, size_t len)
{
    size_t size = ngx_max(use->answer_size * 2, 16384u);

    if (len > CPIX_SIZE_MAX - use->answer_len) {
        return NGX_ERROR;
    }
    if (len <= use->answer_size - use->answer_len) {
        return NGX_OK;
    }
    size = ngx_max(size, use->answer_len + len);
    u_char *grown = ngx_alloc(size, ngx_cycle->log);
    if (grown == NULL) {
        return NGX_ERROR;
    }
    if (use->answer_len != 0) {
        ngx_memcpy(grown, use->answer, use->answer_len);
    }
    wiped_free(use->answer, use->answer_size);
    use->answer = grown;
    use->answer_size = size;
    return NGX_OK;
}

/* All of it is in memory: the header filter asked for that. */
static ngx_int_t
package_keys_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    struct package_keys_use *use = package_keys_of(r);

    if (use == NULL) {
        return ngx_http_next_body_filter(r, in);
    }
    for (; in != NULL; in = in->next) {
        ngx_buf_t *b = in->buf;

        if (ngx_buf_in_memory(b)) {
            size_t len = (size_t) (b->last - b->pos);

            if (use->status == NGX_HTTP_OK && answer_grow(use, len) != NGX_OK) {
                use->status = NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
            }
            if (use->status == NGX_HTTP_OK) {
                ngx_memcpy(use->answer + use->answer_len, b->pos, len);
                use->answer_len += len;
                if (b->temporary
                    || b->tag == (ngx_buf_tag_t) &ngx_http_proxy_module) {
                    ngx_explicit_memzero(b->pos, len);
                }
            }
        }
        b->pos = b->last;
        b->file_pos = b->file_last;
    }
    return NGX_OK;
}

/* ---- the answer ---- */

static int
answer_read(struct package_keys_use *use, time_t valid, const char **reason)
{
    struct cpix_answer answer;
    int err;

    *reason = NULL;
    if (use->status != NGX_HTTP_OK) {
        return ERR_UPSTREAM;
    }
    err = cpix_read(bytes_of(use->answer, use->answer_len), &use->request,
                    &answer, reason);
    if (err == 0) {
        keys_set(use->keys, answer, use->request.period_count);
        use->keys->old_at = ngx_time() + valid;
        use->keys->again_at = 0;
    }
    return err;
}

static void
answer_take(ngx_http_request_t *r, struct package_keys_use *use, time_t valid)
{
    const char *reason;
    int err = answer_read(use, valid, &reason);

    if (err != 0) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "package: ask for the keys of \"%*s\" failed (status "
                      "%ui, %s%s%s)",
                      use->request.folder.len, use->request.folder.ptr,
                      use->status, err_text(err), reason == NULL ? "" : ": ",
                      reason == NULL ? "" : reason);
        use->keys->again_at = ngx_time() + PACKAGE_KEYS_AGAIN_S;
    }
    keys_settle(use);
}

/* ---- a request ---- */

static ngx_int_t
keys_refuse(ngx_http_request_t *r)
{
    ngx_table_elt_t *h = ngx_list_push(&r->headers_out.headers);

    if (h == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    h->hash = 1;
    ngx_str_set(&h->key, "Retry-After");
    h->value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (h->value.data == NULL) {
        h->hash = 0;
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    h->value.len =
        (size_t) (ngx_sprintf(h->value.data, "%d", PACKAGE_KEYS_AGAIN_S)
                  - h->value.data);
    return NGX_HTTP_SERVICE_UNAVAILABLE;
}

void
package_keys_init(void)
{
    ngx_rbtree_init(&all.tree, &all.sentinel, ngx_str_rbtree_insert_value);
    ngx_queue_init(&all.ages);
}

ngx_int_t
package_keys_step(ngx_http_request_t *r, struct package_keys_use *use,
                  ngx_str_t *prefix, time_t valid,
                  const struct cpix_request *what)
{
    ngx_int_t rc;

    if (use->keys == NULL) {
        rc = keys_hold(r, use, prefix, what);
        if (rc != NGX_OK) {
            return rc;
        }
    }
    if (use->is_loader) {
        if (!use->subrequest->done) {
            return NGX_DONE;
        }
        answer_take(r, use, valid);
    }
    struct package_keys *k = use->keys;
    bool has_keys =
        k->answer.keys != NULL && k->period_count >= what->period_count;
    if (has_keys && (ngx_time() < k->old_at || k->is_loading)) {
        return NGX_OK;
    }
    if (k->is_loading) {
        if (!use->is_waiting) {
            use->is_waiting = true;
            ngx_queue_insert_tail(&k->waiters, &use->queue);
        }
        return NGX_DONE;
    }
    if (ngx_time() < k->again_at) {
        return has_keys ? NGX_OK : keys_refuse(r);
    }
    use->request = *what;
    if (k->period_count > what->period_count) { /* as it was asked before */
        use->request.period_count = k->period_count;
        use->request.has_periods = true;
    }
    use->is_loader = k->is_loading = true;
    rc = keys_ask(r, use, prefix);
    if (rc != NGX_DONE) {
        keys_settle(use); /* the subrequest may be posted: both end */
    }
    return rc;
}

static bool
keys_have(const struct package_keys *k, const struct crypt_key_name *name)
{
    return k != NULL && k->answer.keys != NULL
           && name->period < k->period_count;
}

const struct crypt_key *
package_keys_find(const struct package_keys_use *use,
                  const struct crypt_key_name *name)
{
    const struct package_keys *k = use->keys;

    return keys_have(k, name)
               ? &k->answer.keys[cpix_key_index(name->class, name->period)]
               : NULL;
}

const struct crypt_signals *
package_keys_signals(const struct package_keys_use *use,
                     const struct crypt_key_name *name)
{
    const struct package_keys *k = use->keys;

    return keys_have(k, name) && k->answer.signals != NULL
               ? &k->answer.signals[cpix_key_index(name->class, name->period)]
               : NULL;
}

void
package_keys_release(struct package_keys_use *use)
{
    struct package_keys *k = use->keys;

    if (k == NULL) {
        return;
    }
    if (use->is_loader) {
        keys_settle(use); /* one of those who wait asks anew */
    }
    if (use->is_waiting) {
        ngx_queue_remove(&use->queue);
        use->is_waiting = false;
    }
    if (use->ready.posted) {
        ngx_delete_posted_event(&use->ready);
    }
    use->keys = NULL;
    if (--k->use_count == 0) {
        ngx_queue_insert_head(&all.ages, &k->age);
        keys_shrink();
    }
}

void
package_keys_filters(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = package_keys_header_filter;
    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = package_keys_body_filter;
}
