/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load table a worker holds, and the file it comes from. The file is read
 * and never mapped: who truncates it in place must not end a worker. Each
 * worker looks for itself, between requests, and a look that finds nothing new
 * is one stat(2). A file that is refused is reported once and the held table
 * stays (rules 1, 4 and 10).
 */

#include "modules/redirect/ngx_http_redirect.h"

#include "core/err.h"

static void
ngx_http_redirect_hold(ngx_http_redirect_main_conf_t *rmcf,
                       struct table_snapshot *snapshot)
{
    table_free(rmcf->snapshot);
    rmcf->snapshot = snapshot;
    rmcf->generation++;
    rmcf->version_len =
        (size_t) (ngx_snprintf(rmcf->version, sizeof rmcf->version, "%uL.%uL",
                               snapshot->table.version.term,
                               snapshot->table.version.sequence)
                  - rmcf->version);
}

/* The file's bytes in memory of malloc. A file that shrinks meanwhile gives
 * what there was; the checksum decides. */
static int
ngx_http_redirect_read(const char *path, uint8_t **out, size_t *out_len)
{
    struct stat st;
    uint8_t *memory = NULL;
    int err = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1)
        return ERR_IO;

    if (fstat(fd, &st) == -1)
        err = ERR_IO;
    else if (!S_ISREG(st.st_mode))
        err = ERR_INVALID;
    else if (st.st_size > (off_t) TABLE_SIZE_MAX)
        err = ERR_LIMIT;
    else if ((memory = malloc((size_t) st.st_size + 1)) == NULL)
        err = ERR_MEMORY;

    size_t len = 0;
    while (err == 0 && len < (size_t) st.st_size) {
        ssize_t n = read(fd, memory + len, (size_t) st.st_size - len);
        if (n == 0)
            break;
        if (n > 0)
            len += (size_t) n;
        else if (errno != EINTR)
            err = ERR_IO;
    }
    if (err != 0) {
        int saved = errno;
        free(memory);
        close(fd);
        errno = saved;
        return err;
    }
    close(fd);
    *out = memory;
    *out_len = len;
    return 0;
}

static int
ngx_http_redirect_take(ngx_http_redirect_main_conf_t *rmcf)
{
    uint8_t *memory;
    size_t len;
    int err = ngx_http_redirect_read((const char *) rmcf->table_path.data,
                                     &memory, &len);
    if (err != 0)
        return err;

    struct table_snapshot *snapshot;
    err = table_decode(bytes_of(memory, len), &snapshot);
    free(memory);
    if (err != 0)
        return err;

    if (rmcf->is_from_file
        && table_version_compare(snapshot->table.version,
                                 rmcf->snapshot->table.version)
               < 0) {
        table_free(snapshot);
        return ERR_STALE;
    }
    ngx_http_redirect_hold(rmcf, snapshot);
    rmcf->is_from_file = true;
    return 0;
}

static bool
ngx_http_redirect_is_seen(const struct stat *seen, const struct stat *st)
{
    return seen->st_ino == st->st_ino && seen->st_dev == st->st_dev
           && seen->st_size == st->st_size
           && seen->st_mtim.tv_sec == st->st_mtim.tv_sec
           && seen->st_mtim.tv_nsec == st->st_mtim.tv_nsec
           && seen->st_ctim.tv_sec == st->st_ctim.tv_sec
           && seen->st_ctim.tv_nsec == st->st_ctim.tv_nsec;
}

int
ngx_http_redirect_hold_nodes(ngx_http_redirect_main_conf_t *rmcf)
{
    struct table table = {
        .nodes = rmcf->nodes.elts,
        .node_count = rmcf->nodes.nelts,
    };
    struct table_snapshot *snapshot;
    struct buffer encoded;

    buffer_init(&encoded, TABLE_SIZE_MAX);
    int err = table_encode(&table, &encoded);
    if (err == 0)
        err = table_decode(buffer_bytes(&encoded), &snapshot);
    buffer_fini(&encoded);
    if (err == 0)
        ngx_http_redirect_hold(rmcf, snapshot);
    return err;
}

void
ngx_http_redirect_look_now(ngx_http_redirect_main_conf_t *rmcf, ngx_log_t *log)
{
    struct stat st;

    rmcf->looked_ms = ngx_current_msec;
    if (stat((const char *) rmcf->table_path.data, &st) == -1) {
        /* no table yet is how every node starts */
        if (errno != ENOENT && errno != rmcf->seen_err)
            ngx_log_error(NGX_LOG_ERR, log, errno,
                          "redirect: cannot look at table \"%V\"",
                          &rmcf->table_path);
        rmcf->seen_err = errno;
        return;
    }
    rmcf->seen_err = 0;
    if (ngx_http_redirect_is_seen(&rmcf->seen, &st))
        return;
    rmcf->seen = st;

    errno = 0;
    int err = ngx_http_redirect_take(rmcf);
    if (err != 0) {
        ngx_log_error(NGX_LOG_ERR, log, err == ERR_IO ? errno : 0,
                      "redirect: table \"%V\" refused (%s), version %*s stays",
                      &rmcf->table_path, err_text(err), rmcf->version_len,
                      rmcf->version);
        return;
    }
    ngx_log_error(NGX_LOG_INFO, log, 0,
                  "redirect: table version %*s taken (%uz nodes, %uz rows)",
                  rmcf->version_len, rmcf->version,
                  rmcf->snapshot->table.node_count,
                  rmcf->snapshot->table.row_count);
}

void
ngx_http_redirect_look(ngx_http_redirect_main_conf_t *rmcf, ngx_log_t *log)
{
    if (rmcf->table_path.len > 0
        && ngx_current_msec - rmcf->looked_ms >= rmcf->table_interval)
        ngx_http_redirect_look_now(rmcf, log);
}

ngx_int_t
ngx_http_redirect_self(ngx_http_redirect_main_conf_t *rmcf,
                       ngx_http_redirect_srv_conf_t *rscf)
{
    if (rscf->self_generation != rmcf->generation) {
        rscf->self_generation = rmcf->generation;
        rscf->self_index = ROUTE_SELF_REDIRECTOR;
        if (rscf->self.len > 0) {
            rscf->self_index =
                table_node_find(&rmcf->snapshot->table,
                                bytes_of(rscf->self.data, rscf->self.len));
            if (rscf->self_index < 0)
                rscf->self_index = ROUTE_SELF_UNLISTED;
        }
    }
    return rscf->self_index;
}
