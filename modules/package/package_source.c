/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the bytes come from: names of files, and the loading of index files
 * from the folder or through the fill location.
 */
#include "modules/package/package.h"

#include "core/err.h"

/* "<root>/<folder>/<name><suffix>", terminated; data is NULL without memory. */
static ngx_str_t
package_file_name(ngx_http_request_t *r, ngx_str_t *root, struct bytes folder,
                  struct bytes name, const char *suffix)
{
    size_t suffix_len = ngx_strlen(suffix);
    size_t size = root->len + folder.len + name.len + suffix_len + 3;
    ngx_str_t file = {0, ngx_pnalloc(r->pool, size)};
    u_char *p = file.data;

    if (p == NULL) {
        return file;
    }
    p = ngx_cpymem(p, root->data, root->len);
    if (root->len == 0 || p[-1] != '/') {
        *p++ = '/';
    }
    p = ngx_cpymem(p, folder.ptr, folder.len);
    *p++ = '/';
    if (name.len != 0) {
        p = ngx_cpymem(p, name.ptr, name.len);
    }
    p = ngx_cpymem(p, suffix, suffix_len);
    file.len = (size_t) (p - file.data);
    *p = '\0';
    return file;
}

ngx_str_t
package_source_name(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                    const char *suffix)
{
    ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    ngx_str_t *root = conf->fill.len ? &conf->fill : &conf->root;

    if (ctx->plain.conf != NULL) {
        ngx_str_t kept = ctx->plain.conf->folder;

        return package_file_name(r, &kept,
                                 bytes_of_text(ctx->plain.film.identity),
                                 ctx->path.track, suffix);
    }
    return package_file_name(r, root, ctx->path.folder, ctx->path.track,
                             suffix);
}

ngx_int_t
package_file_status(ngx_err_t error)
{
    switch (error) {
    case NGX_ENOENT:
    case NGX_ENOTDIR:
    case NGX_ENAMETOOLONG:
        return NGX_HTTP_NOT_FOUND;
    case NGX_EACCES:
        return NGX_HTTP_FORBIDDEN;
    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}

static size_t
package_index_size_max(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_http_package_main_conf_t *conf =
        ngx_http_get_module_main_conf(r, ngx_http_package_module);
    size_t limit = ctx->path.track.len == 0 ? ASSET_SIZE_MAX : INDEX_SIZE_MAX;

    return ngx_min(limit, conf->index_memory);
}

/* Hands the malloc'ed file over; `status` is for one that is no good. */
static ngx_int_t
package_index_take(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                   u_char *file, size_t size, time_t modified, ngx_int_t status)
{
    ngx_str_t name = ctx->use.index->name;
    int err = package_index_open(&ctx->use, file, size, modified);

    if (err == 0) {
        return NGX_OK;
    }
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "package: open index \"%V\" failed (%s)", &name,
                  err_text(err));
    return err == ERR_MEMORY ? NGX_HTTP_INTERNAL_SERVER_ERROR : status;
}

static u_char *
package_file_read(ngx_fd_t fd, size_t size, ngx_log_t *log)
{
    u_char *file = ngx_alloc(size ? size : 1, log);
    size_t done = 0;

    while (file != NULL && done < size) {
        ssize_t n = pread(fd, file + done, size - done, (off_t) done);

        if (n <= 0 && !(n < 0 && ngx_errno == NGX_EINTR)) {
            ngx_free(file);
            return NULL;
        }
        done += n > 0 ? (size_t) n : 0;
    }
    return file;
}

static ngx_int_t
package_index_read(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                   ngx_str_t *name, ngx_fd_t fd)
{
    ngx_log_t *log = r->connection->log;
    ngx_file_info_t info;
    u_char *file;

    if (ngx_fd_info(fd, &info) == NGX_FILE_ERROR || !ngx_is_file(&info)) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "package: read index \"%V\" failed (not a file)", name);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (ngx_file_size(&info) > (off_t) package_index_size_max(r, ctx)) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "package: read index \"%V\" failed (%s)", name,
                      err_text(ERR_LIMIT));
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    file = package_file_read(fd, (size_t) ngx_file_size(&info), log);
    if (file == NULL) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "package: read index \"%V\" failed", name);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    return package_index_take(r, ctx, file, (size_t) ngx_file_size(&info),
                              ngx_file_mtime(&info),
                              NGX_HTTP_INTERNAL_SERVER_ERROR);
}

static ngx_int_t
package_index_load(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx,
                   ngx_str_t *name)
{
    ngx_fd_t fd = ngx_open_file(name->data, NGX_FILE_RDONLY | NGX_FILE_NONBLOCK,
                                NGX_FILE_OPEN, 0);
    ngx_int_t rc;

    if (fd == NGX_INVALID_FILE) {
        ngx_err_t error = ngx_errno;

        rc = package_file_status(error);
        if (rc != NGX_HTTP_NOT_FOUND) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, error,
                          "package: open index \"%V\" failed", name);
        }
        return rc;
    }
    rc = package_index_read(r, ctx, name, fd);
    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", name);
    }
    return rc;
}

/* One step of whoever has the loading of the index. */
static ngx_int_t
package_index_load_step(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    struct package_fill *fill = &ctx->fill;
    ngx_int_t rc;

    if (fill->request == NULL || ctx->plain.conf != NULL) {
        rc = package_index_load(r, ctx, &ctx->use.index->name);
        if (rc == NGX_OK) {
            package_plain_forget(ctx);
        } else if (ctx->plain.conf != NULL) {
            rc = package_plain_index(r, ctx);
            if (rc == NGX_DONE) {
                return rc;
            }
        }
    } else {
        rc = package_fill_step(fill);
        if (rc == NGX_DONE) {
            return rc;
        }
        if (rc == NGX_OK) {
            const struct package_fill done = *fill;

            /* another index may be looked for, by a fill of its own */
            *fill = (struct package_fill){.pool = done.pool};
            rc = package_index_take(r, ctx, done.memory, (size_t) done.total,
                                    done.modified, NGX_HTTP_BAD_GATEWAY);
        }
    }
    if (rc != NGX_OK) {
        package_index_fail(
            &ctx->use, rc == NGX_ERROR ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc);
    }
    return rc;
}

/* Gets hold of the index, to load it where nobody has. */
static ngx_int_t
package_index_find(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    ngx_http_package_loc_conf_t *conf =
        ngx_http_get_module_loc_conf(r, ngx_http_package_module);
    bool is_asset = ctx->path.track.len == 0;
    ngx_int_t rc = package_plain_find(r, ctx);
    ngx_str_t name, key;

    if (rc != NGX_OK) {
        return rc;
    }
    name = package_source_name(r, ctx, is_asset ? "asset.idx" : ".idx");
    if (name.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    key = name;
    if (package_is_filled(conf,
                          ctx)) { /* the fill location is a server's own */
        key.data = ngx_pnalloc(r->pool, name.len + 1 + 2 * sizeof(void *));
        if (key.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
        key.len =
            (size_t) (ngx_sprintf(key.data, "%V %p", &name, package_server(r))
                      - key.data);
    }
    if (package_index_get(&key, name.len, is_asset, &ctx->use) != 0) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (package_is_filled(conf, ctx) && ctx->use.is_loader) {
        ctx->fill = (struct package_fill){
            .request = r,
            .uri = name,
            .again = conf->again,
            .prefix_len = conf->fill.len,
            .slice_size = conf->slice_size,
            .is_whole = true,
            .size_max = package_index_size_max(r, ctx),
            .end = PACKAGE_FILL_SIZE_UNKNOWN,
            .total = PACKAGE_FILL_SIZE_UNKNOWN,
            .pool = ctx->fill.pool,
        };
    }
    return NGX_OK;
}

ngx_int_t
package_index_step(ngx_http_request_t *r, ngx_http_package_ctx_t *ctx)
{
    for (;;) {
        if (ctx->use.index == NULL) {
            ngx_int_t rc = package_index_find(r, ctx);

            if (rc != NGX_OK) {
                return rc;
            }
        }
        switch (ctx->use.index->state) {
        case PACKAGE_INDEX_READY:
            return NGX_OK;
        case PACKAGE_INDEX_FAILED:
            return ctx->use.index->status;
        case PACKAGE_INDEX_LOADING:
            if (ctx->use.is_loader) {
                return package_index_load_step(r, ctx);
            }
            package_index_wait(&ctx->use);
            return NGX_DONE;
        case PACKAGE_INDEX_ABANDONED:
            package_index_release(&ctx->use);
            break; /* and once more: this request may become the loader */
        }
    }
}
