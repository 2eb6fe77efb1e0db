/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker holds of the files that the node's agent writes: the load table
 * and the plays that were revoked. The files are read and never mapped: who
 * truncates one in place must not end a worker. Each worker looks for itself,
 * between requests, and a look that finds nothing new is one stat(2) a file. A
 * file that is refused is reported once and what is held stays (rules 1, 4 and
 * 10).
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
ngx_http_redirect_read(const ngx_http_redirect_file_t *file, size_t size_max,
                       struct bytes *out)
{
    struct stat st;
    uint8_t *memory = NULL;
    int err = 0;
    int fd =
        open((const char *) file->path.data, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1)
        return ERR_IO;

    if (fstat(fd, &st) == -1)
        err = ERR_IO;
    else if (!S_ISREG(st.st_mode))
        err = ERR_INVALID;
    else if (st.st_size > (off_t) size_max)
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
    *out = bytes_of(memory, len);
    return 0;
}

static int
ngx_http_redirect_take_table(ngx_http_redirect_main_conf_t *rmcf,
                             ngx_log_t *log)
{
    struct bytes encoded;
    int err = ngx_http_redirect_read(&rmcf->table, TABLE_SIZE_MAX, &encoded);
    if (err != 0)
        return err;

    struct table_snapshot *snapshot;
    err = table_decode(encoded, &snapshot);
    free((void *) (uintptr_t) encoded.ptr);
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
    ngx_log_error(NGX_LOG_INFO, log, 0,
                  "redirect: table version %*s taken (%uz nodes, %uz rows)",
                  rmcf->version_len, rmcf->version,
                  rmcf->snapshot->table.node_count,
                  rmcf->snapshot->table.row_count);
    return 0;
}

static int
ngx_http_redirect_take_revoked(ngx_http_redirect_main_conf_t *rmcf,
                               ngx_log_t *log)
{
    struct bytes encoded;
    int err =
        ngx_http_redirect_read(&rmcf->revoked, REVOCATIONS_SIZE_MAX, &encoded);
    if (err != 0)
        return err;

    struct revocations *revocations;
    err = revocations_decode(encoded, &revocations);
    free((void *) (uintptr_t) encoded.ptr);
    if (err != 0)
        return err;

    if (rmcf->revocations != NULL
        && revocations->number < rmcf->revocations->number) {
        free(revocations);
        return ERR_STALE;
    }
    free(rmcf->revocations);
    rmcf->revocations = revocations;
    ngx_log_error(NGX_LOG_INFO, log, 0,
                  "redirect: %uD revoked plays taken (number %uL)",
                  revocations->count, revocations->number);
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

/* There is another file than at the last look. */
static bool
ngx_http_redirect_has_changed(ngx_http_redirect_file_t *file, ngx_log_t *log)
{
    struct stat st;

    if (file->path.len == 0)
        return false;
    if (stat((const char *) file->path.data, &st) == -1) {
        /* none yet is how every node starts */
        if (errno != ENOENT && errno != file->seen_err)
            ngx_log_error(NGX_LOG_ERR, log, errno,
                          "redirect: cannot look at \"%V\"", &file->path);
        file->seen_err = errno;
        return false;
    }
    file->seen_err = 0;
    if (ngx_http_redirect_is_seen(&file->seen, &st))
        return false;
    file->seen = st;
    return true;
}

/* One that this worker has no memory or descriptor for just now is tried at
 * each look, and told of once. */
static int
ngx_http_redirect_take(ngx_http_redirect_main_conf_t *rmcf,
                       ngx_http_redirect_file_t *file,
                       int (*take)(ngx_http_redirect_main_conf_t *rmcf,
                                   ngx_log_t *log),
                       ngx_log_t *log)
{
    if (!ngx_http_redirect_has_changed(file, log))
        return 0;
    errno = 0;
    const int err = take(rmcf, log);
    const bool is_told = file->is_unreadable;
    file->is_unreadable = err == ERR_IO || err == ERR_MEMORY;
    if (!file->is_unreadable)
        return err;
    file->seen.st_ino = 0;
    return is_told ? 0 : err;
}

void
ngx_http_redirect_look_now(ngx_http_redirect_main_conf_t *rmcf, ngx_log_t *log)
{
    rmcf->looked_ms = ngx_current_msec;
    int err = ngx_http_redirect_take(rmcf, &rmcf->table,
                                     ngx_http_redirect_take_table, log);
    if (err != 0)
        ngx_log_error(NGX_LOG_ERR, log, err == ERR_IO ? errno : 0,
                      "redirect: table \"%V\" refused (%s), version %*s stays",
                      &rmcf->table.path, err_text(err), rmcf->version_len,
                      rmcf->version);

    err = ngx_http_redirect_take(rmcf, &rmcf->revoked,
                                 ngx_http_redirect_take_revoked, log);
    if (err != 0)
        ngx_log_error(NGX_LOG_ERR, log, err == ERR_IO ? errno : 0,
                      "redirect: revoked plays \"%V\" refused (%s), those "
                      "before stay",
                      &rmcf->revoked.path, err_text(err));
}

void
ngx_http_redirect_look(ngx_http_redirect_main_conf_t *rmcf, ngx_log_t *log)
{
    if (ngx_current_msec - rmcf->looked_ms >= rmcf->table_interval)
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
