/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends plays where the load table says: directives and variables. The work is
 * in ngx_http_redirect_play.c (a request) and _held.c (the table).
 *
 *   http     redirect_node NAME URL [weight=N];   used while there is no table
 *            redirect_table PATH;
 *            redirect_table_interval TIME;
 *            redirect_revoked PATH;  plays that are good no more; looked at as
 *                                    often as the table
 *            redirect_keys PATH [early=TIME] [late=TIME];  default 10s and 0s:
 *                                 how far clocks may differ; a token counts as
 *                                 begun so long before it begins, and as valid
 *                                 so long after it ended
 *            redirect_record [sample=N] [rate=Nr/s];  for $redirect_record
 *            redirect_capacity Nr/s [N[k|m|g]bit/s];  of this node
 *   server   redirect_self NAME;                  none: a redirector
 *   (or      redirect_cdn URL;
 *   http)    redirect_hops $variable [max=N];     default: argument "hop", 2
 *            redirect_pull $variable ...;         a CDN asks where any is not
 *                                                 empty nor "0": it is served
 *            redirect_client $variable;           a viewer's address, where it
 *                                                 is not empty; otherwise, and
 *                                                 by default, $remote_addr
 *   location redirect PREFIX [token=off];
 *            redirect_explain PREFIX;
 *            redirect_steering PREFIX [ttl=TIME];  default 10s, 10s to 30s
 *
 * An origin's playlists carry content steering where it knows who answers:
 *
 *   server   redirect_pathways URL;  of a redirect_steering, up to its prefix
 *                                    and with it; for $redirect_pathways
 */

#include "modules/redirect/ngx_http_redirect.h"

#include "core/err.h"

#define REDIRECT_KEYS_SIZE_MAX 65536 /* bytes of a key file */
#define REDIRECT_HOPS_MAX_DEFAULT 2
#define REDIRECT_TABLE_INTERVAL_MS 100
#define REDIRECT_TOKEN_EARLY_S 10
#define REDIRECT_RECORD_RATE 10 /* a second and worker */

/* ---- variables ---- */

enum redirect_variable {
    VARIABLE_CONTENT,
    VARIABLE_PATH,
    VARIABLE_REST,
    VARIABLE_SESSION,
    VARIABLE_LEVEL,
    VARIABLE_RULE,
    VARIABLE_NODE,
    VARIABLE_VERSION,
    VARIABLE_DECISION,
    VARIABLE_OFFLOADED,
    VARIABLE_PATHWAYS,
    VARIABLE_RECORD,
};

static struct bytes
ngx_http_redirect_session(ngx_http_request_t *r,
                          const ngx_http_redirect_ctx_t *ctx)
{
    u_char *text = ngx_pnalloc(r->pool, 16);
    if (text == NULL)
        return bytes_of(NULL, 0);
    ngx_sprintf(text, "%016xL", ctx->session);
    return bytes_of(text, 16);
}

static struct bytes
ngx_http_redirect_value(ngx_http_request_t *r,
                        const ngx_http_redirect_ctx_t *ctx,
                        enum redirect_variable which)
{
    switch (which) {
    case VARIABLE_CONTENT:
        return ctx->path.content;
    case VARIABLE_PATH: /* the content and the rest stand side by side */
        return bytes_of(ctx->path.content.ptr,
                        (size_t) (ctx->path.rest.ptr + ctx->path.rest.len
                                  - ctx->path.content.ptr));
    case VARIABLE_REST:
        return ctx->path.rest;
    case VARIABLE_SESSION:
        return ngx_http_redirect_session(r, ctx);
    case VARIABLE_LEVEL:
        return bytes_of_text(level_name(ctx->level));
    case VARIABLE_RULE:
        return bytes_of_text(route_rule_name(ctx->rule));
    case VARIABLE_NODE:
        return bytes_of(ctx->node.data, ctx->node.len);
    case VARIABLE_VERSION:
        return bytes_of(ctx->version.data, ctx->version.len);
    case VARIABLE_DECISION:
        return bytes_of(ctx->text.data, ctx->text.len);
    case VARIABLE_OFFLOADED:
        return ctx->action == ROUTE_CDN ? BYTES_LITERAL("1")
                                        : BYTES_LITERAL("0");
    case VARIABLE_PATHWAYS:
        return ngx_http_redirect_pathways(r, ctx);
    case VARIABLE_RECORD:
        return bytes_of(ctx->record.data, ctx->record.len);
    }
    return bytes_of(NULL, 0);
}

static ngx_int_t
ngx_http_redirect_get_variable(ngx_http_request_t *r,
                               ngx_http_variable_value_t *v, uintptr_t data)
{
    /* a fill's subrequest sees what was decided about the play */
    const ngx_http_redirect_ctx_t *ctx =
        ngx_http_get_module_ctx(r->main, ngx_http_redirect_module);
    struct bytes value = bytes_of(NULL, 0);

    if (ctx != NULL && (!ctx->is_refused || data == VARIABLE_DECISION))
        value = ngx_http_redirect_value(r, ctx, (enum redirect_variable) data);
    v->not_found = value.ptr == NULL;
    v->valid = !v->not_found;
    v->no_cacheable = 0;
    v->len = (unsigned) value.len & 0xfffffff;
    v->data = (u_char *) (uintptr_t) value.ptr;
    return NGX_OK;
}

/* clang-format off */
static const struct {
    ngx_str_t name;
    enum redirect_variable which;
} ngx_http_redirect_variables[] = {
    { ngx_string("redirect_content"), VARIABLE_CONTENT },
    { ngx_string("redirect_path"), VARIABLE_PATH },
    { ngx_string("redirect_rest"), VARIABLE_REST },
    { ngx_string("redirect_session"), VARIABLE_SESSION },
    { ngx_string("redirect_level"), VARIABLE_LEVEL },
    { ngx_string("redirect_rule"), VARIABLE_RULE },
    { ngx_string("redirect_node"), VARIABLE_NODE },
    { ngx_string("redirect_version"), VARIABLE_VERSION },
    { ngx_string("redirect_decision"), VARIABLE_DECISION },
    { ngx_string("redirect_offloaded"), VARIABLE_OFFLOADED },
    { ngx_string("redirect_pathways"), VARIABLE_PATHWAYS },
    { ngx_string("redirect_record"), VARIABLE_RECORD },
};
/* clang-format on */

static ngx_int_t
ngx_http_redirect_preconfiguration(ngx_conf_t *cf)
{
    size_t count = sizeof ngx_http_redirect_variables
                   / sizeof ngx_http_redirect_variables[0];
    for (size_t i = 0; i < count; i++) {
        ngx_str_t name = ngx_http_redirect_variables[i].name;
        /* not cacheable: what is asked for before the decision is asked for
         * again after it */
        ngx_http_variable_t *v =
            ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
        if (v == NULL)
            return NGX_ERROR;
        v->get_handler = ngx_http_redirect_get_variable;
        v->data = ngx_http_redirect_variables[i].which;
    }
    return NGX_OK;
}

static ngx_int_t
ngx_http_redirect_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_core_main_conf_t *cmcf =
        ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    ngx_http_handler_pt *h =
        ngx_array_push(&cmcf->phases[NGX_HTTP_REWRITE_PHASE].handlers);
    if (h == NULL)
        return NGX_ERROR;
    *h = ngx_http_redirect_play_handler;

    const ngx_http_redirect_main_conf_t *rmcf =
        ngx_http_conf_get_module_main_conf(cf, ngx_http_redirect_module);
    if (rmcf->bits_max == 0)
        return NGX_OK;
    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL)
        return NGX_ERROR;
    *h = ngx_http_redirect_sent_handler;
    return NGX_OK;
}

/* ---- directives ---- */

/* A base of redirects: scheme and host, no slash at the end. */
static char *
ngx_http_redirect_check_url(ngx_conf_t *cf, const ngx_str_t *url)
{
    size_t scheme = ngx_strncmp(url->data, "http://", 7) == 0    ? 7
                    : ngx_strncmp(url->data, "https://", 8) == 0 ? 8
                                                                 : 0;
    bool is_valid = scheme > 0 && url->len > scheme
                    && url->len <= TABLE_NODE_URL_LEN_MAX
                    && url->data[url->len - 1] != '/';
    for (size_t i = 0; i < url->len; i++)
        is_valid = is_valid && url->data[i] > ' ' && url->data[i] < 0x7f;
    if (is_valid)
        return NGX_CONF_OK;
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid URL \"%V\", expected http://HOST[:PORT] or "
                       "https://HOST[:PORT] without a slash at the end",
                       url);
    return NGX_CONF_ERROR;
}

static char *
ngx_http_redirect_invalid(ngx_conf_t *cf, const ngx_str_t *parameter)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       parameter);
    return NGX_CONF_ERROR;
}

static char *
ngx_http_redirect_node(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_redirect_main_conf_t *rmcf = conf;
    ngx_str_t *value = cf->args->elts;
    ngx_int_t weight = 100;

    if (cf->args->nelts == 4) {
        weight = ngx_strncmp(value[3].data, "weight=", 7) == 0
                     ? ngx_atoi(value[3].data + 7, value[3].len - 7)
                     : NGX_ERROR;
        if (weight < 1 || weight > 65535)
            return ngx_http_redirect_invalid(cf, &value[3]);
    }
    if (ngx_http_redirect_check_url(cf, &value[2]) != NGX_CONF_OK)
        return NGX_CONF_ERROR;

    struct table_node *node = ngx_array_push(&rmcf->nodes);
    if (node == NULL)
        return NGX_CONF_ERROR;
    *node = (struct table_node){
        .name = bytes_of(value[1].data, value[1].len),
        .url = bytes_of(value[2].data, value[2].len),
        .weight = (uint32_t) weight,
        .state = NODE_UP,
    };
    /* each time anew: the line that is wrong is the one that is named */
    int err = ngx_http_redirect_hold_nodes(rmcf);
    if (err != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "node \"%V\" cannot be used (%s): its name is "
                           "malformed, too long or taken",
                           &value[1], err_text(err));
        return NGX_CONF_ERROR;
    }
    return NGX_CONF_OK;
}

static char *
ngx_http_redirect_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t *value = cf->args->elts;
    ngx_http_redirect_file_t *file =
        (ngx_http_redirect_file_t *) ((u_char *) conf + cmd->offset);

    if (file->path.len > 0)
        return "is duplicate";
    file->path = value[1];
    if (value[1].len == 0
        || ngx_conf_full_name(cf->cycle, &file->path, 0) != NGX_OK)
        return "needs a path";
    return NGX_CONF_OK;
}

static ngx_int_t
ngx_http_redirect_read_keys(ngx_conf_t *cf, const ngx_str_t *path,
                            struct token_keys **out)
{
    uint8_t *text = ngx_pnalloc(cf->temp_pool, REDIRECT_KEYS_SIZE_MAX);
    if (text == NULL)
        return NGX_ERROR;
    ngx_fd_t fd = ngx_open_file(path->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "cannot open key file \"%V\"", path);
        return NGX_ERROR;
    }
    ssize_t n = read(fd, text, REDIRECT_KEYS_SIZE_MAX);
    ngx_err_t read_err = n < 0 ? ngx_errno : 0;
    ngx_close_file(fd);

    unsigned line = 0;
    int err = n < 0 ? ERR_IO
              : n == REDIRECT_KEYS_SIZE_MAX
                  ? ERR_LIMIT
                  : token_keys_parse(bytes_of(text, (size_t) n), out, &line);
    ngx_explicit_memzero(text, REDIRECT_KEYS_SIZE_MAX);
    if (err == 0)
        return NGX_OK;
    ngx_conf_log_error(NGX_LOG_EMERG, cf, read_err, "key file \"%V\":%ui (%s)",
                       path, (ngx_uint_t) line, err_text(err));
    return NGX_ERROR;
}

static char *
ngx_http_redirect_keys(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_redirect_main_conf_t *rmcf = conf;
    ngx_str_t *value = cf->args->elts;

    if (rmcf->keys != NULL)
        return "is duplicate";
    rmcf->keys_path = value[1];
    if (value[1].len == 0
        || ngx_conf_full_name(cf->cycle, &rmcf->keys_path, 1) != NGX_OK)
        return "needs a path";
    rmcf->token_early = REDIRECT_TOKEN_EARLY_S;
    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {
        bool is_early = ngx_strncmp(value[i].data, "early=", 6) == 0;
        bool is_late = ngx_strncmp(value[i].data, "late=", 5) == 0;
        size_t skip = is_early ? 6 : 5;
        ngx_str_t text = {value[i].len - skip, value[i].data + skip};
        time_t seconds =
            is_early || is_late ? ngx_parse_time(&text, 1) : NGX_ERROR;
        if (seconds < 0 || seconds > TOKEN_SKEW_MAX_S)
            return ngx_http_redirect_invalid(cf, &value[i]);
        *(is_early ? &rmcf->token_early : &rmcf->token_late) = seconds;
    }
    return ngx_http_redirect_read_keys(cf, &rmcf->keys_path, &rmcf->keys)
                   == NGX_OK
               ? NGX_CONF_OK
               : NGX_CONF_ERROR;
}

/* A number before `unit`, with a decimal k, m or g between them where that is
 * allowed; 0: it is not one. */
static uint64_t
ngx_http_redirect_amount(const ngx_str_t *text, const char *unit,
                         bool has_prefix)
{
    size_t unit_len = ngx_strlen(unit);
    size_t len = text->len - ngx_min(unit_len, text->len);
    uint64_t scale = 1;

    if (len == 0 || ngx_memcmp(text->data + len, unit, unit_len) != 0)
        return 0;
    u_char prefix = text->data[len - 1];
    if (has_prefix && (prefix < '0' || prefix > '9')) {
        scale = prefix == 'k'   ? 1000
                : prefix == 'm' ? 1000000
                : prefix == 'g' ? 1000000000
                                : 0;
        len--;
    }
    ngx_int_t n = ngx_atoi(text->data, len);
    return n < 1 || n > 1000000000 ? 0 : (uint64_t) n * scale;
}

static char *
ngx_http_redirect_capacity(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_redirect_main_conf_t *rmcf = conf;
    ngx_str_t *value = cf->args->elts;

    if (rmcf->requests_max > 0)
        return "is duplicate";
    rmcf->requests_max = ngx_http_redirect_amount(&value[1], "r/s", false);
    if (rmcf->requests_max == 0)
        return ngx_http_redirect_invalid(cf, &value[1]);
    if (cf->args->nelts == 3) {
        rmcf->bits_max = ngx_http_redirect_amount(&value[2], "bit/s", true);
        if (rmcf->bits_max == 0)
            return ngx_http_redirect_invalid(cf, &value[2]);
    }
    return NGX_CONF_OK;
}

/* The sample is of sessions: every redirect of one in N; the rate is each
 * worker's. */
static char *
ngx_http_redirect_record_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_redirect_main_conf_t *rmcf = conf;
    ngx_str_t *value = cf->args->elts;

    if (rmcf->record_sample > 0)
        return "is duplicate";
    rmcf->record_sample = 1;
    rmcf->record_rate = REDIRECT_RECORD_RATE;
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        bool is_sample = ngx_strncmp(value[i].data, "sample=", 7) == 0;
        bool is_rate = ngx_strncmp(value[i].data, "rate=", 5) == 0;
        size_t skip = is_sample ? 7 : is_rate ? 5 : 0;
        ngx_str_t text = {value[i].len - skip, value[i].data + skip};
        uint64_t n =
            skip == 0
                ? 0
                : ngx_http_redirect_amount(&text, is_rate ? "r/s" : "", false);
        if (n == 0)
            return ngx_http_redirect_invalid(cf, &value[i]);
        *(is_rate ? &rmcf->record_rate : &rmcf->record_sample) = n;
    }
    return NGX_CONF_OK;
}

static char *
ngx_http_redirect_self_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_redirect_srv_conf_t *rscf = conf;
    ngx_str_t *value = cf->args->elts;

    if (rscf->self.data != NULL)
        return "is duplicate";
    if (value[1].len > TABLE_NODE_NAME_LEN_MAX)
        return "is longer than a node's name may be";
    rscf->self = value[1];
    return ngx_http_redirect_shared_add(cf, ngx_http_conf_get_module_main_conf(
                                                cf, ngx_http_redirect_module))
                   == NGX_OK
               ? NGX_CONF_OK
               : NGX_CONF_ERROR;
}

static char *
ngx_http_redirect_cdn(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_redirect_srv_conf_t *rscf = conf;
    ngx_str_t *value = cf->args->elts;

    if (rscf->cdn.data != NULL)
        return "is duplicate";
    rscf->cdn = value[1];
    return ngx_http_redirect_check_url(cf, &value[1]);
}

static char *
ngx_http_redirect_hops(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_redirect_srv_conf_t *rscf = conf;
    ngx_str_t *value = cf->args->elts;
    ngx_str_t name = {value[1].len - 1, value[1].data + 1};

    if (rscf->hops != NGX_CONF_UNSET)
        return "is duplicate";
    if (value[1].len < 2 || value[1].data[0] != '$')
        return "needs a variable";
    rscf->hops = ngx_http_get_variable_index(cf, &name);
    if (rscf->hops == NGX_ERROR)
        return NGX_CONF_ERROR;
    if (cf->args->nelts == 3) {
        ngx_int_t max = ngx_strncmp(value[2].data, "max=", 4) == 0
                            ? ngx_atoi(value[2].data + 4, value[2].len - 4)
                            : NGX_ERROR;
        if (max < 1 || max > 99)
            return ngx_http_redirect_invalid(cf, &value[2]);
        rscf->hops_max = (ngx_uint_t) max;
    }
    return NGX_CONF_OK;
}

static char *
ngx_http_redirect(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_redirect_loc_conf_t *rlcf = conf;
    ngx_str_t *value = cf->args->elts;

    if (rlcf->prefix.data != NULL)
        return "is duplicate";
    if (value[1].len == 0 || value[1].data[0] != '/'
        || value[1].data[value[1].len - 1] != '/')
        return "needs a prefix that starts and ends with a slash";
    rlcf->prefix = value[1];
    rlcf->has_token = true;
    if (cf->args->nelts == 3) {
        if (ngx_strcmp(value[2].data, "token=off") != 0)
            return ngx_http_redirect_invalid(cf, &value[2]);
        rlcf->has_token = false;
    }
    return NGX_CONF_OK;
}

static char *
ngx_http_redirect_explain(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_redirect_loc_conf_t *rlcf = conf;
    ngx_str_t *value = cf->args->elts;

    if (rlcf->explain_prefix.data != NULL)
        return "is duplicate";
    rlcf->explain_prefix = value[1];
    ngx_http_core_loc_conf_t *clcf =
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_redirect_explain_handler;
    return NGX_CONF_OK;
}

static char *
ngx_http_redirect_steering(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_redirect_loc_conf_t *rlcf = conf;
    ngx_str_t *value = cf->args->elts;

    if (rlcf->steering_prefix.data != NULL)
        return "is duplicate";
    rlcf->steering_prefix = value[1];
    rlcf->steering_ttl = STEERING_TTL_MIN_S;
    if (cf->args->nelts == 3) {
        ngx_str_t ttl = {value[2].len - 4, value[2].data + 4};
        rlcf->steering_ttl = ngx_strncmp(value[2].data, "ttl=", 4) == 0
                                 ? ngx_parse_time(&ttl, 1)
                                 : NGX_ERROR;
        if (rlcf->steering_ttl < STEERING_TTL_MIN_S
            || rlcf->steering_ttl > STEERING_TTL_MAX_S)
            return ngx_http_redirect_invalid(cf, &value[2]);
    }
    ngx_http_core_loc_conf_t *clcf =
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_redirect_steering_handler;
    return NGX_CONF_OK;
}

/* The URL that steering manifests are below: with a slash at its end. */
static char *
ngx_http_redirect_pathways_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_redirect_srv_conf_t *rscf = conf;
    ngx_str_t *value = cf->args->elts;
    ngx_str_t url = value[1];

    if (rscf->pathways.data != NULL)
        return "is duplicate";
    if (url.len == 0 || url.data[url.len - 1] != '/')
        return "needs a URL that ends with a slash";
    rscf->pathways = url;
    url.len--;
    return ngx_http_redirect_check_url(cf, &url);
}

/* ---- configuration ---- */

static void
ngx_http_redirect_cleanup(void *data)
{
    ngx_http_redirect_main_conf_t *rmcf = data;
    table_free(rmcf->snapshot);
    free(rmcf->revocations);
    token_keys_free(rmcf->keys);
    rmcf->snapshot = NULL;
    rmcf->revocations = NULL;
    rmcf->keys = NULL;
}

static void *
ngx_http_redirect_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_redirect_main_conf_t *rmcf = ngx_pcalloc(cf->pool, sizeof *rmcf);
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    if (rmcf == NULL || cleanup == NULL
        || ngx_array_init(&rmcf->nodes, cf->pool, 4, sizeof(struct table_node))
               != NGX_OK)
        return NULL;
    cleanup->handler = ngx_http_redirect_cleanup;
    cleanup->data = rmcf;
    rmcf->table_interval = NGX_CONF_UNSET_MSEC;
    return rmcf;
}

static char *
ngx_http_redirect_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_redirect_main_conf_t *rmcf = conf;

    ngx_conf_init_msec_value(rmcf->table_interval, REDIRECT_TABLE_INTERVAL_MS);
    if (rmcf->snapshot == NULL && ngx_http_redirect_hold_nodes(rmcf) != 0)
        return NGX_CONF_ERROR;
    return NGX_CONF_OK;
}

static void *
ngx_http_redirect_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_redirect_srv_conf_t *rscf = ngx_pcalloc(cf->pool, sizeof *rscf);
    if (rscf == NULL)
        return NULL;
    rscf->hops = NGX_CONF_UNSET;
    rscf->hops_max = NGX_CONF_UNSET_UINT;
    rscf->pull = NGX_CONF_UNSET_PTR;
    rscf->client = NULL; /* as its directive's handler expects */
    return rscf;
}

static char *
ngx_http_redirect_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_redirect_srv_conf_t *outer = parent;
    ngx_http_redirect_srv_conf_t *inner = child;

    ngx_conf_merge_str_value(inner->self, outer->self, "");
    ngx_conf_merge_str_value(inner->cdn, outer->cdn, "");
    ngx_conf_merge_str_value(inner->pathways, outer->pathways, "");
    ngx_conf_merge_value(inner->hops, outer->hops, -1);
    ngx_conf_merge_uint_value(inner->hops_max, outer->hops_max,
                              REDIRECT_HOPS_MAX_DEFAULT);
    ngx_conf_merge_ptr_value(inner->pull, outer->pull, NULL);
    if (inner->client == NULL)
        inner->client = outer->client;
    inner->self_hash =
        placement_node_hash(bytes_of(inner->self.data, inner->self.len));
    return NGX_CONF_OK;
}

static void *
ngx_http_redirect_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_redirect_loc_conf_t));
}

static char *
ngx_http_redirect_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    const ngx_http_redirect_loc_conf_t *outer = parent;
    ngx_http_redirect_loc_conf_t *inner = child;
    const ngx_http_redirect_main_conf_t *rmcf =
        ngx_http_conf_get_module_main_conf(cf, ngx_http_redirect_module);
    const ngx_http_core_loc_conf_t *clcf =
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (inner->prefix.data == NULL) {
        inner->prefix = outer->prefix;
        inner->has_token = outer->has_token;
    }
    if (clcf->noname) { /* an `if` keeps the handler */
        inner->explain_prefix = outer->explain_prefix;
        inner->steering_prefix = outer->steering_prefix;
        inner->steering_ttl = outer->steering_ttl;
    }
    if (inner->prefix.data != NULL && inner->has_token && rmcf->keys == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redirect %V\" needs \"redirect_keys\", or "
                           "\"token=off\"",
                           &inner->prefix);
        return NGX_CONF_ERROR;
    }
    if (inner->steering_prefix.data != NULL && rmcf->keys == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redirect_steering\" needs \"redirect_keys\"");
        return NGX_CONF_ERROR;
    }
    return NGX_CONF_OK;
}

/* The first request need not wait for the files. */
static ngx_int_t
ngx_http_redirect_init_process(ngx_cycle_t *cycle)
{
    ngx_http_redirect_main_conf_t *rmcf =
        ngx_http_cycle_get_module_main_conf(cycle, ngx_http_redirect_module);
    if (rmcf != NULL
        && (ngx_process == NGX_PROCESS_WORKER
            || ngx_process == NGX_PROCESS_SINGLE))
        ngx_http_redirect_look_now(rmcf, cycle->log);
    return NGX_OK;
}

/* clang-format off */
static ngx_command_t ngx_http_redirect_commands[] = {

    { ngx_string("redirect_node"),
      NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE23,
      ngx_http_redirect_node,
      NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },

    { ngx_string("redirect_table"),
      NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1,
      ngx_http_redirect_file,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_redirect_main_conf_t, table), NULL },

    { ngx_string("redirect_revoked"),
      NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1,
      ngx_http_redirect_file,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_redirect_main_conf_t, revoked), NULL },

    { ngx_string("redirect_table_interval"),
      NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_redirect_main_conf_t, table_interval), NULL },

    { ngx_string("redirect_keys"),
      NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE123,
      ngx_http_redirect_keys,
      NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },

    { ngx_string("redirect_self"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1,
      ngx_http_redirect_self_set,
      NGX_HTTP_SRV_CONF_OFFSET, 0, NULL },

    { ngx_string("redirect_record"),
      NGX_HTTP_MAIN_CONF | NGX_CONF_NOARGS | NGX_CONF_TAKE12,
      ngx_http_redirect_record_set,
      NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },

    { ngx_string("redirect_capacity"),
      NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE12,
      ngx_http_redirect_capacity,
      NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },

    { ngx_string("redirect_cdn"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1,
      ngx_http_redirect_cdn,
      NGX_HTTP_SRV_CONF_OFFSET, 0, NULL },

    { ngx_string("redirect_hops"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE12,
      ngx_http_redirect_hops,
      NGX_HTTP_SRV_CONF_OFFSET, 0, NULL },

    { ngx_string("redirect_client"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_redirect_srv_conf_t, client), NULL },

    { ngx_string("redirect_pull"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_1MORE,
      ngx_http_set_predicate_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_redirect_srv_conf_t, pull), NULL },

    { ngx_string("redirect"),
      NGX_HTTP_LOC_CONF | NGX_CONF_TAKE12,
      ngx_http_redirect,
      NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    { ngx_string("redirect_pathways"),
      NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1,
      ngx_http_redirect_pathways_set,
      NGX_HTTP_SRV_CONF_OFFSET, 0, NULL },

    { ngx_string("redirect_steering"),
      NGX_HTTP_LOC_CONF | NGX_CONF_TAKE12,
      ngx_http_redirect_steering,
      NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    { ngx_string("redirect_explain"),
      NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1,
      ngx_http_redirect_explain,
      NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

    ngx_null_command
};
/* clang-format on */

static ngx_http_module_t ngx_http_redirect_module_ctx = {
    .preconfiguration = ngx_http_redirect_preconfiguration,
    .postconfiguration = ngx_http_redirect_postconfiguration,
    .create_main_conf = ngx_http_redirect_create_main_conf,
    .init_main_conf = ngx_http_redirect_init_main_conf,
    .create_srv_conf = ngx_http_redirect_create_srv_conf,
    .merge_srv_conf = ngx_http_redirect_merge_srv_conf,
    .create_loc_conf = ngx_http_redirect_create_loc_conf,
    .merge_loc_conf = ngx_http_redirect_merge_loc_conf,
};

ngx_module_t ngx_http_redirect_module = {
    NGX_MODULE_V1,
    &ngx_http_redirect_module_ctx,
    ngx_http_redirect_commands,
    NGX_HTTP_MODULE,
    NULL,                           /* init master */
    NULL,                           /* init module */
    ngx_http_redirect_init_process, /* init process */
    NULL,                           /* init thread */
    NULL,                           /* exit thread */
    NULL,                           /* exit process */
    NULL,                           /* exit master */
    NGX_MODULE_V1_PADDING,
};
