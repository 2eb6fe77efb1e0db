/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts requests per content into the counter file (core/counters.h), in the
 * log phase. The file is mapped shared by the master before it forks, so the
 * workers need no right to it; whoever reads it (the node agent) maps it for
 * itself. Nothing here knows what a report or a level is.
 *
 *   meter_file PATH [contents=N] [id_bytes=N];
 *   meter $variable [start] [offloaded=$variable] [starved=$variable]
 *                   [redirects];
 *   meter off;
 *
 * What the player says of itself (CMCD, core/cmcd.h) is in $cmcd_<key>:
 * $cmcd_sid, $cmcd_bl, ...
 *
 * Reload: a file of the same shape is adopted and its counts go on. Of any
 * other shape, or broken, it is replaced by a new one under a new boot. A new
 * file is made while the configuration is read and takes its name only when
 * nothing can fail any more, so a refused reload changes nothing.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <sys/mman.h>
#include <sys/random.h>

#include "core/content.h"
#include "core/counters.h"
#include "core/err.h"
#include "modules/meter/meter_cmcd.h"

#define METER_CONTENTS_DEFAULT 400000

/* Up to this size a worker maps the whole file as it starts: 10,000 page
 * faults spread over the first requests cost each of them more than the
 * counting does. */
#define METER_POPULATE_SIZE_MAX (256u << 20)

typedef struct {
    ngx_str_t path;
    ngx_uint_t contents_max;
    ngx_uint_t id_bytes;

    struct counters counters; /* map == NULL: not open */
    ngx_str_t temporary;      /* its name until it is renamed; else empty */
    ngx_fd_t fd;              /* until init_module */
} ngx_http_meter_main_conf_t;

typedef struct {
    ngx_int_t content;   /* variable; NGX_CONF_UNSET: as outside, -2: off */
    ngx_int_t offloaded; /* variable, or -1 */
    ngx_int_t starved;   /* variable, or -1 */
    unsigned start : 1;
    unsigned redirects : 1;
} ngx_http_meter_loc_conf_t;

#define METER_OFF (-2)

ngx_module_t ngx_http_meter_module;

static ngx_http_output_header_filter_pt ngx_http_next_header_filter;

/* The content id of a request that counts. */
static bool
ngx_http_meter_id(ngx_http_request_t *r, const ngx_http_meter_loc_conf_t *mlcf,
                  struct bytes *id)
{
    if (mlcf->content < 0 || r != r->main)
        return false;

    ngx_uint_t status = r->err_status ? r->err_status : r->headers_out.status;
    if (status < 200 || status >= 400
        || (status >= 300 && status != 304 && !mlcf->redirects))
        return false;

    const ngx_http_variable_value_t *v =
        ngx_http_get_indexed_variable(r, (ngx_uint_t) mlcf->content);
    if (v == NULL || v->not_found || v->len == 0)
        return false;
    *id = bytes_of(v->data, v->len);
    return true;
}

/* Counting is a few cache misses in a file larger than the caches. They are
 * begun here, so that the kernel's sending of the answer hides them. */
static ngx_int_t
ngx_http_meter_header_filter(ngx_http_request_t *r)
{
    const ngx_http_meter_loc_conf_t *mlcf =
        ngx_http_get_module_loc_conf(r, ngx_http_meter_module);
    struct bytes id;

    if (ngx_http_meter_id(r, mlcf, &id)) {
        const ngx_http_meter_main_conf_t *mmcf =
            ngx_http_get_module_main_conf(r, ngx_http_meter_module);
        counters_prefetch(&mmcf->counters, content_hash(id));
    }
    return ngx_http_next_header_filter(r);
}

static bool
ngx_http_meter_is_set(ngx_http_request_t *r, ngx_int_t variable)
{
    if (variable < 0)
        return false;
    const ngx_http_variable_value_t *v =
        ngx_http_get_indexed_variable(r, (ngx_uint_t) variable);
    return v != NULL && !v->not_found && v->len > 0
           && !(v->len == 1 && v->data[0] == '0');
}

static ngx_int_t
ngx_http_meter_log_handler(ngx_http_request_t *r)
{
    const ngx_http_meter_loc_conf_t *mlcf =
        ngx_http_get_module_loc_conf(r, ngx_http_meter_module);
    struct bytes id;
    if (!ngx_http_meter_id(r, mlcf, &id) || !content_id_is_valid(id))
        return NGX_OK;

    unsigned flags = mlcf->start ? COUNTERS_START : 0;
    if (ngx_http_meter_is_set(r, mlcf->offloaded))
        flags |= COUNTERS_OFFLOADED;
    if (ngx_http_meter_is_set(r, mlcf->starved))
        flags |= COUNTERS_STARVED;

    ngx_http_meter_main_conf_t *mmcf =
        ngx_http_get_module_main_conf(r, ngx_http_meter_module);
    /* what $bytes_sent says: with HTTP/2 the stream's own connection */
    counters_add(&mmcf->counters, content_hash(id), id,
                 (uint64_t) r->connection->sent, flags);
    return NGX_OK;
}

static void
ngx_http_meter_close(void *data)
{
    ngx_http_meter_main_conf_t *mmcf = data;

    if (mmcf->counters.map != NULL)
        munmap(mmcf->counters.map, mmcf->counters.map_size);
    if (mmcf->fd != NGX_INVALID_FILE)
        ngx_close_file(mmcf->fd);
    if (mmcf->temporary.len > 0)
        ngx_delete_file(mmcf->temporary.data);
    mmcf->counters.map = NULL;
    mmcf->fd = NGX_INVALID_FILE;
    mmcf->temporary.len = 0;
}

static void *
ngx_http_meter_map(ngx_fd_t fd, size_t size)
{
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return map == MAP_FAILED ? NULL : map;
}

/* NGX_DECLINED: there is none that can be gone on with, for a reason that was
 * logged where it is worth a line. */
static ngx_int_t
ngx_http_meter_adopt(ngx_conf_t *cf, ngx_http_meter_main_conf_t *mmcf)
{
    const char *path = (const char *) mmcf->path.data;
    const char *reason;
    ngx_fd_t fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd == NGX_INVALID_FILE) {
        if (ngx_errno != NGX_ENOENT)
            ngx_conf_log_error(NGX_LOG_WARN, cf, ngx_errno,
                               "meter: cannot open \"%s\", making a new file",
                               path);
        return NGX_DECLINED;
    }

    struct stat st;
    void *map = NULL;
    struct counters counters;
    int err;
    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        reason = "not a regular file";
    } else if (st.st_size == 0) {
        reason = err_text(ERR_TRUNCATED);
    } else if ((map = ngx_http_meter_map(fd, (size_t) st.st_size)) == NULL) {
        reason = "cannot be mapped";
    } else if ((err = counters_open(map, (size_t) st.st_size, &counters))
               != 0) {
        reason = err_text(err);
    } else if (!counters_has_shape(&counters, (uint32_t) mmcf->contents_max,
                                   (uint32_t) mmcf->id_bytes)) {
        reason = "made for another shape";
    } else if (fallocate(fd, 0, 0, st.st_size) == -1
               && ngx_errno != EOPNOTSUPP) {
        /* a copy by a tool that leaves out what is zero */
        reason = "has holes, and there is no room to fill them";
    } else {
        mmcf->counters = counters;
        mmcf->fd = fd;
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                       "meter: \"%s\" is not adopted (%s), making a new file",
                       path, reason);
    if (map != NULL)
        munmap(map, (size_t) st.st_size);
    ngx_close_file(fd);
    return NGX_DECLINED;
}

/* Leaves a file under a temporary name; what it took is given back by
 * ngx_http_meter_close. */
static ngx_int_t
ngx_http_meter_make(ngx_conf_t *cf, ngx_http_meter_main_conf_t *mmcf)
{
    size_t size = counters_file_size((uint32_t) mmcf->contents_max,
                                     (uint32_t) mmcf->id_bytes);
    u_char *name =
        ngx_pnalloc(cf->pool, mmcf->path.len + NGX_INT_T_LEN + sizeof("..new"));
    if (name == NULL)
        return NGX_ERROR;
    ngx_sprintf(name, "%V.%P.new%Z", &mmcf->path, ngx_pid);

    ngx_delete_file(name); /* of one that died with this process id */
    mmcf->fd =
        open((const char *) name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (mmcf->fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "meter: cannot make \"%s\"", name);
        return NGX_ERROR;
    }
    mmcf->temporary.data = name;
    mmcf->temporary.len = ngx_strlen(name);

    /* real blocks: a hole that finds no room later would be a SIGBUS */
    int failed = posix_fallocate(mmcf->fd, 0, (off_t) size);
    if (failed) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, failed,
                           "meter: no room for \"%s\" (%uz bytes)", name, size);
        return NGX_ERROR;
    }

    void *map = ngx_http_meter_map(mmcf->fd, size);
    if (map == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "meter: cannot map \"%s\"", name);
        return NGX_ERROR;
    }
    mmcf->counters.map = map; /* for close, whatever follows */
    mmcf->counters.map_size = size;

    uint64_t boot = 0;
    while (boot == 0)
        if (getrandom(&boot, sizeof boot, 0) != sizeof boot)
            boot = 0;

    int err = counters_format(map, size, (uint32_t) mmcf->contents_max,
                              (uint32_t) mmcf->id_bytes, boot);
    if (err == 0)
        err = counters_open(map, size, &mmcf->counters);
    if (err != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "meter: cannot make \"%s\" (%s)", name,
                           err_text(err));
        return NGX_ERROR;
    }
    return NGX_OK;
}

static ngx_int_t
ngx_http_meter_open(ngx_conf_t *cf, ngx_http_meter_main_conf_t *mmcf)
{
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    if (cleanup == NULL)
        return NGX_ERROR;
    cleanup->handler = ngx_http_meter_close;
    cleanup->data = mmcf;

    ngx_int_t rc = ngx_http_meter_adopt(cf, mmcf);
    return rc == NGX_DECLINED ? ngx_http_meter_make(cf, mmcf) : rc;
}

static ngx_int_t
ngx_http_meter_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_meter_main_conf_t *mmcf =
        ngx_http_conf_get_module_main_conf(cf, ngx_http_meter_module);
    if (mmcf->path.len == 0)
        return NGX_OK;

    if (!ngx_test_config && ngx_http_meter_open(cf, mmcf) != NGX_OK)
        return NGX_ERROR;

    ngx_http_core_main_conf_t *cmcf =
        ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    ngx_http_handler_pt *h =
        ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL)
        return NGX_ERROR;
    *h = ngx_http_meter_log_handler;

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_meter_header_filter;
    return NGX_OK;
}

/* Here the configuration is accepted, and the user of the workers known. */
static ngx_int_t
ngx_http_meter_init_module(ngx_cycle_t *cycle)
{
    ngx_http_meter_main_conf_t *mmcf =
        ngx_http_cycle_get_module_main_conf(cycle, ngx_http_meter_module);
    if (mmcf == NULL || mmcf->fd == NGX_INVALID_FILE)
        return NGX_OK;

    ngx_core_conf_t *ccf =
        (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);
    if (geteuid() == 0 && fchown(mmcf->fd, ccf->user, ccf->group) == -1)
        ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_errno,
                      "meter: cannot give \"%V\" to the workers' user",
                      &mmcf->path);
    ngx_close_file(mmcf->fd);
    mmcf->fd = NGX_INVALID_FILE;

    if (mmcf->temporary.len > 0) {
        if (ngx_rename_file(mmcf->temporary.data, mmcf->path.data)
            == NGX_FILE_ERROR) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                          "meter: cannot rename \"%V\" to \"%V\"",
                          &mmcf->temporary, &mmcf->path);
            /* an error would end a running master, and every play with it */
            return ngx_is_init_cycle(cycle->old_cycle) ? NGX_ERROR : NGX_OK;
        }
        mmcf->temporary.len = 0;
    }
    return NGX_OK;
}

static ngx_int_t
ngx_http_meter_init_process(ngx_cycle_t *cycle)
{
    ngx_http_meter_main_conf_t *mmcf =
        ngx_http_cycle_get_module_main_conf(cycle, ngx_http_meter_module);
    if (mmcf == NULL || mmcf->counters.map == NULL
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
        return NGX_OK;
#ifdef MADV_POPULATE_WRITE
    /* a kernel that cannot is no loss but of time */
    if (mmcf->counters.map_size <= METER_POPULATE_SIZE_MAX)
        (void) madvise(mmcf->counters.map, mmcf->counters.map_size,
                       MADV_POPULATE_WRITE);
#endif
    return NGX_OK;
}

/* "name=N" with N of min to max. */
static char *
ngx_http_meter_number(ngx_conf_t *cf, ngx_str_t *argument, size_t name_len,
                      ngx_int_t min, ngx_int_t max, ngx_uint_t *out)
{
    ngx_int_t n = ngx_atoi(argument->data + name_len, argument->len - name_len);
    if (n == NGX_ERROR || n < min || n > max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\", allowed are %i to %i",
                           argument, min, max);
        return NGX_CONF_ERROR;
    }
    *out = (ngx_uint_t) n;
    return NGX_CONF_OK;
}

static char *
ngx_http_meter_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_meter_main_conf_t *mmcf = conf;
    ngx_str_t *value = cf->args->elts;

    if (mmcf->path.len > 0)
        return "is duplicate";
    mmcf->path = value[1];
    if (mmcf->path.len == 0
        || ngx_conf_full_name(cf->cycle, &mmcf->path, 0) != NGX_OK)
        return "needs a path";

    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {
        char *rv;
        if (ngx_strncmp(value[i].data, "contents=", 9) == 0) {
            rv = ngx_http_meter_number(cf, &value[i], 9, 1,
                                       COUNTERS_CONTENTS_MAX,
                                       &mmcf->contents_max);
        } else if (ngx_strncmp(value[i].data, "id_bytes=", 9) == 0) {
            rv = ngx_http_meter_number(cf, &value[i], 9, 2,
                                       CONTENT_ID_LEN_MAX + 1, &mmcf->id_bytes);
        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                               &value[i]);
            rv = NGX_CONF_ERROR;
        }
        if (rv != NGX_CONF_OK)
            return rv;
    }

    if (counters_file_size((uint32_t) mmcf->contents_max,
                           (uint32_t) mmcf->id_bytes)
        == 0)
        return "is too large";
    return NGX_CONF_OK;
}

static ngx_int_t
ngx_http_meter_variable(ngx_conf_t *cf, u_char *data, size_t len)
{
    ngx_str_t name = {len - 1, data + 1};

    if (len < 2 || data[0] != '$') {
        name.data = data;
        name.len = len;
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" is not a variable",
                           &name);
        return NGX_ERROR;
    }
    return ngx_http_get_variable_index(cf, &name);
}

static char *
ngx_http_meter(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_meter_loc_conf_t *mlcf = conf;
    ngx_str_t *value = cf->args->elts;

    if (mlcf->content != NGX_CONF_UNSET)
        return "is duplicate";
    if (ngx_strcmp(value[1].data, "off") == 0) {
        mlcf->content = METER_OFF;
        return cf->args->nelts == 2 ? NGX_CONF_OK
                                    : "takes no parameters with \"off\"";
    }

    mlcf->content = ngx_http_meter_variable(cf, value[1].data, value[1].len);
    if (mlcf->content == NGX_ERROR)
        return NGX_CONF_ERROR;

    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {
        if (ngx_strcmp(value[i].data, "start") == 0) {
            mlcf->start = 1;
        } else if (ngx_strcmp(value[i].data, "redirects") == 0) {
            mlcf->redirects = 1;
        } else if (ngx_strncmp(value[i].data, "offloaded=", 10) == 0) {
            mlcf->offloaded = ngx_http_meter_variable(cf, value[i].data + 10,
                                                      value[i].len - 10);
            if (mlcf->offloaded == NGX_ERROR)
                return NGX_CONF_ERROR;
        } else if (ngx_strncmp(value[i].data, "starved=", 8) == 0) {
            mlcf->starved = ngx_http_meter_variable(cf, value[i].data + 8,
                                                    value[i].len - 8);
            if (mlcf->starved == NGX_ERROR)
                return NGX_CONF_ERROR;
        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                               &value[i]);
            return NGX_CONF_ERROR;
        }
    }
    return NGX_CONF_OK;
}

static void *
ngx_http_meter_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_meter_main_conf_t *mmcf = ngx_pcalloc(cf->pool, sizeof *mmcf);
    if (mmcf == NULL)
        return NULL;
    mmcf->contents_max = METER_CONTENTS_DEFAULT;
    mmcf->id_bytes = COUNTERS_ID_BYTES_DEFAULT;
    mmcf->fd = NGX_INVALID_FILE;
    return mmcf;
}

static void *
ngx_http_meter_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_meter_loc_conf_t *mlcf = ngx_pcalloc(cf->pool, sizeof *mlcf);
    if (mlcf == NULL)
        return NULL;
    mlcf->content = NGX_CONF_UNSET;
    mlcf->offloaded = -1;
    mlcf->starved = -1;
    return mlcf;
}

static char *
ngx_http_meter_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_meter_loc_conf_t *outer = parent;
    ngx_http_meter_loc_conf_t *inner = child;

    if (inner->content == NGX_CONF_UNSET)
        *inner = *outer;
    if (inner->content == NGX_CONF_UNSET)
        inner->content = METER_OFF;

    ngx_http_meter_main_conf_t *mmcf =
        ngx_http_conf_get_module_main_conf(cf, ngx_http_meter_module);
    if (inner->content >= 0 && mmcf->path.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"meter\" needs a \"meter_file\"");
        return NGX_CONF_ERROR;
    }
    return NGX_CONF_OK;
}

/* clang-format off */
static ngx_command_t ngx_http_meter_commands[] = {

    { ngx_string("meter_file"),
      NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE123,
      ngx_http_meter_file,
      NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },

    { ngx_string("meter"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF
          | NGX_CONF_1MORE,
      ngx_http_meter,
      NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    ngx_null_command
};
/* clang-format on */

static ngx_http_module_t ngx_http_meter_module_ctx = {
    .preconfiguration = ngx_http_meter_cmcd_variables,
    .postconfiguration = ngx_http_meter_postconfiguration,
    .create_main_conf = ngx_http_meter_create_main_conf,
    .create_loc_conf = ngx_http_meter_create_loc_conf,
    .merge_loc_conf = ngx_http_meter_merge_loc_conf,
};

ngx_module_t ngx_http_meter_module = {
    NGX_MODULE_V1,
    &ngx_http_meter_module_ctx,
    ngx_http_meter_commands,
    NGX_HTTP_MODULE,
    NULL,                        /* init master */
    ngx_http_meter_init_module,  /* init module */
    ngx_http_meter_init_process, /* init process */
    NULL,                        /* init thread */
    NULL,                        /* exit thread */
    NULL,                        /* exit process */
    NULL,                        /* exit master */
    NGX_MODULE_V1_PADDING,
};
