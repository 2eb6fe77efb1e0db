/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signs what a proxy asks S3-compatible storage for (core/sigv4.h): GET and
 * HEAD, with the range that they ask for. It sends nothing itself; what is to
 * be sent is in variables, for proxy_pass and proxy_set_header.
 *
 *   s3_credentials FILE;                          in http
 *   s3_region NAME;                               in http, us-east-1
 *   s3_sign PATH host=HOST [range=RANGE];         in a location
 *
 *   $s3_path            PATH as it is signed: percent-encoded
 *   $s3_authorization   of a request for it, now
 *   $s3_date            x-amz-date
 *   $s3_content_sha256  x-amz-content-sha256
 *   $s3_security_token  x-amz-security-token; empty: there is none
 *
 * PATH, HOST and RANGE may have variables in them; a RANGE that is empty is not
 * there. The file is read with the configuration, so a reload takes new
 * credentials; one that is wrong refuses it. They are wiped when their
 * configuration is over, and stand in no log.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/err.h"
#include "core/s3.h"
#include "core/sigv4.h"

#define S3_FILE_SIZE_MAX (64 * 1024) /* bytes */
#define S3_VALUE_SIZE_MAX (16u << 10)

typedef struct {
    ngx_str_t region;
    ngx_flag_t is_set;
    struct s3_credentials credentials;
    /* Of each worker its own, after the fork: the key of the day. */
    struct sigv4_signer signer;
} ngx_http_s3_main_conf_t;

typedef struct {
    ngx_http_complex_value_t *path; /* NULL: nothing is signed here */
    ngx_http_complex_value_t *host;
    ngx_http_complex_value_t *range; /* NULL: none */
} ngx_http_s3_loc_conf_t;

ngx_module_t ngx_http_s3_module;

/* ---- variables ---- */

static void
ngx_http_s3_value_set(ngx_http_variable_value_t *v, void *data, size_t len)
{
    v->data = data;
    v->len = (unsigned) len;
    v->valid = 1;
    /* slices share the variables of their request, each with its range */
    v->no_cacheable = 1;
    v->not_found = 0;
}

/* What was written, in the request's memory. */
static ngx_int_t
ngx_http_s3_value_take(ngx_http_request_t *r, struct buffer *text, int err,
                       ngx_http_variable_value_t *v)
{
    u_char *data = NULL;
    if (err == 0)
        err = text->err;
    if (err == 0)
        data = ngx_pnalloc(r->pool, text->len + 1);
    if (data != NULL) {
        ngx_memcpy(data, text->ptr, text->len);
        ngx_http_s3_value_set(v, data, text->len);
    } else {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "s3: cannot sign \"%V\" (%s)", &r->uri,
                      err == ERR_LIMIT ? "too long" : "out of memory");
    }
    buffer_fini(text);
    return data != NULL ? NGX_OK : NGX_ERROR;
}

static ngx_int_t
ngx_http_s3_path_append(ngx_http_request_t *r,
                        const ngx_http_s3_loc_conf_t *slcf, struct buffer *out)
{
    ngx_str_t path;
    if (ngx_http_complex_value(r, slcf->path, &path) != NGX_OK)
        return NGX_ERROR;
    sigv4_encode(bytes_of(path.data, path.len), true, out);
    return NGX_OK;
}

static ngx_int_t
ngx_http_s3_path_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
                          uintptr_t data)
{
    const ngx_http_s3_loc_conf_t *slcf =
        ngx_http_get_module_loc_conf(r, ngx_http_s3_module);
    struct buffer path;
    v->not_found = 1;
    if (slcf->path == NULL)
        return NGX_OK;
    buffer_init(&path, S3_VALUE_SIZE_MAX);
    if (ngx_http_s3_path_append(r, slcf, &path) != NGX_OK) {
        buffer_fini(&path);
        return NGX_ERROR;
    }
    return ngx_http_s3_value_take(r, &path, 0, v);
}

/* What is sent, which a cache may have made a GET of a HEAD. */
static struct bytes
ngx_http_s3_method(const ngx_http_request_t *r)
{
    const ngx_str_t *name = r->upstream != NULL && r->upstream->method.len > 0
                                ? &r->upstream->method
                                : &r->method_name;
    return bytes_of(name->data, name->len);
}

static int
ngx_http_s3_sign_request(ngx_http_request_t *r, ngx_http_s3_main_conf_t *smcf,
                         struct bytes path, ngx_str_t host, ngx_str_t range,
                         struct buffer *out)
{
    char time[SIGV4_TIME_SIZE];
    struct sigv4_header headers[5];
    size_t count = 0;
    const char *token = smcf->credentials.session_token;

    sigv4_time(ngx_time(), time);
    /* by name */
    headers[count++] =
        (struct sigv4_header){"host", bytes_of(host.data, host.len)};
    if (range.len > 0)
        headers[count++] =
            (struct sigv4_header){"range", bytes_of(range.data, range.len)};
    headers[count++] = (struct sigv4_header){
        "x-amz-content-sha256", BYTES_LITERAL(SIGV4_HASH_OF_NOTHING)};
    headers[count++] = (struct sigv4_header){"x-amz-date", bytes_of_text(time)};
    if (token[0] != '\0')
        headers[count++] =
            (struct sigv4_header){"x-amz-security-token", bytes_of_text(token)};
    const struct sigv4_request request = {
        .method = ngx_http_s3_method(r),
        .path = path,
        .payload_hash = BYTES_LITERAL(SIGV4_HASH_OF_NOTHING),
        .headers = headers,
        .header_count = count,
        .time = time,
    };
    return sigv4_sign(&smcf->signer, &request, out);
}

static ngx_int_t
ngx_http_s3_authorization_variable(ngx_http_request_t *r,
                                   ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_s3_main_conf_t *smcf =
        ngx_http_get_module_main_conf(r, ngx_http_s3_module);
    const ngx_http_s3_loc_conf_t *slcf =
        ngx_http_get_module_loc_conf(r, ngx_http_s3_module);
    const struct bytes method = ngx_http_s3_method(r);
    ngx_str_t host, range = ngx_null_string;
    struct buffer path, out;

    v->not_found = 1;
    if (slcf->path == NULL)
        return NGX_OK;
    if (!bytes_equal(method, BYTES_LITERAL("GET"))
        && !bytes_equal(method, BYTES_LITERAL("HEAD"))) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "s3: signs GET and HEAD only");
        return NGX_ERROR;
    }
    if (ngx_http_complex_value(r, slcf->host, &host) != NGX_OK
        || (slcf->range != NULL
            && ngx_http_complex_value(r, slcf->range, &range) != NGX_OK))
        return NGX_ERROR;
    buffer_init(&path, S3_VALUE_SIZE_MAX);
    buffer_init(&out, S3_VALUE_SIZE_MAX);
    int err = ERR_MEMORY;
    if (ngx_http_s3_path_append(r, slcf, &path) == NGX_OK
        && (err = path.err) == 0)
        err = ngx_http_s3_sign_request(r, smcf, buffer_bytes(&path), host,
                                       range, &out);
    buffer_fini(&path);
    return ngx_http_s3_value_take(r, &out, err, v);
}

static ngx_int_t
ngx_http_s3_date_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
                          uintptr_t data)
{
    char *time = ngx_pnalloc(r->pool, SIGV4_TIME_SIZE);
    if (time == NULL)
        return NGX_ERROR;
    /* the clock stands still while a request is made */
    sigv4_time(ngx_time(), time);
    ngx_http_s3_value_set(v, time, SIGV4_TIME_SIZE - 1);
    return NGX_OK;
}

static ngx_int_t
ngx_http_s3_hash_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
                          uintptr_t data)
{
    static u_char hash[] = SIGV4_HASH_OF_NOTHING;
    ngx_http_s3_value_set(v, hash, sizeof hash - 1);
    return NGX_OK;
}

static ngx_int_t
ngx_http_s3_token_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
                           uintptr_t data)
{
    ngx_http_s3_main_conf_t *smcf =
        ngx_http_get_module_main_conf(r, ngx_http_s3_module);
    char *token = smcf->credentials.session_token;
    ngx_http_s3_value_set(v, token, ngx_strlen(token));
    return NGX_OK;
}

/* clang-format off */
static ngx_http_variable_t ngx_http_s3_variables[] = {

    { ngx_string("s3_path"), NULL, ngx_http_s3_path_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("s3_authorization"), NULL, ngx_http_s3_authorization_variable,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("s3_date"), NULL, ngx_http_s3_date_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("s3_content_sha256"), NULL, ngx_http_s3_hash_variable, 0,
      0, 0 },

    { ngx_string("s3_security_token"), NULL, ngx_http_s3_token_variable, 0,
      0, 0 },

      ngx_http_null_variable
};
/* clang-format on */

static ngx_int_t
ngx_http_s3_preconfiguration(ngx_conf_t *cf)
{
    for (ngx_http_variable_t *one = ngx_http_s3_variables; one->name.len > 0;
         one++) {
        ngx_http_variable_t *v =
            ngx_http_add_variable(cf, &one->name, one->flags);
        if (v == NULL)
            return NGX_ERROR;
        v->get_handler = one->get_handler;
        v->data = one->data;
    }
    return NGX_OK;
}

/* ---- configuration ---- */

static void
ngx_http_s3_wipe(void *data)
{
    ngx_http_s3_main_conf_t *smcf = data;
    explicit_bzero(&smcf->credentials, sizeof smcf->credentials);
    sigv4_fini(&smcf->signer);
}

/* The file's bytes; NULL when it cannot be read, which is logged. */
static u_char *
ngx_http_s3_file_read(ngx_conf_t *cf, const ngx_str_t *path, size_t *len)
{
    u_char *text = NULL;
    const ngx_fd_t fd = open((const char *) path->data, O_RDONLY | O_CLOEXEC);
    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "s3: cannot open \"%V\"", path);
        return NULL;
    }
    text = ngx_pnalloc(cf->temp_pool, S3_FILE_SIZE_MAX);
    const ssize_t got = text != NULL ? read(fd, text, S3_FILE_SIZE_MAX) : -1;
    if (got < 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "s3: cannot read \"%V\"", path);
        text = NULL;
    } else if (got == S3_FILE_SIZE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "s3: \"%V\" is no file of credentials: it is over "
                           "%d bytes",
                           path, S3_FILE_SIZE_MAX - 1);
        explicit_bzero(text, S3_FILE_SIZE_MAX);
        text = NULL;
    } else {
        *len = (size_t) got;
    }
    ngx_close_file(fd);
    return text;
}

static char *
ngx_http_s3_credentials(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_s3_main_conf_t *smcf = conf;
    ngx_str_t path = ((ngx_str_t *) cf->args->elts)[1];
    const char *reason;
    unsigned line;
    size_t len;

    if (smcf->is_set)
        return "is duplicate";
    if (path.len == 0 || ngx_conf_full_name(cf->cycle, &path, 0) != NGX_OK)
        return "needs a path";
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    if (cleanup == NULL)
        return NGX_CONF_ERROR;
    cleanup->handler = ngx_http_s3_wipe;
    cleanup->data = smcf;
    u_char *text = ngx_http_s3_file_read(cf, &path, &len);
    if (text == NULL)
        return NGX_CONF_ERROR;
    const int err = s3_credentials_read(bytes_of(text, len), &smcf->credentials,
                                        &line, &reason);
    explicit_bzero(text, S3_FILE_SIZE_MAX);
    if (err != 0 && line > 0)
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "s3: %V:%ud: %s", &path, line,
                           reason);
    else if (err != 0)
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "s3: %V: %s", &path, reason);
    smcf->is_set = err == 0;
    return err == 0 ? NGX_CONF_OK : NGX_CONF_ERROR;
}

static ngx_http_complex_value_t *
ngx_http_s3_value(ngx_conf_t *cf, ngx_str_t *text, size_t skip)
{
    ngx_str_t rest = {text->len - skip, text->data + skip};
    ngx_http_complex_value_t *value = ngx_pcalloc(cf->pool, sizeof *value);
    ngx_http_compile_complex_value_t ccv = {
        .cf = cf, .value = &rest, .complex_value = value};
    if (value == NULL || ngx_http_compile_complex_value(&ccv) != NGX_OK)
        return NULL;
    return value;
}

static char *
ngx_http_s3_sign(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_s3_loc_conf_t *slcf = conf;
    ngx_str_t *value = cf->args->elts;

    if (slcf->path != NULL)
        return "is duplicate";
    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {
        ngx_http_complex_value_t **one;
        size_t skip;
        if (ngx_strncmp(value[i].data, "host=", 5) == 0) {
            one = &slcf->host;
            skip = 5;
        } else if (ngx_strncmp(value[i].data, "range=", 6) == 0) {
            one = &slcf->range;
            skip = 6;
        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                               &value[i]);
            return NGX_CONF_ERROR;
        }
        if (*one != NULL || value[i].len == skip) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" is empty or given before", &value[i]);
            return NGX_CONF_ERROR;
        }
        if ((*one = ngx_http_s3_value(cf, &value[i], skip)) == NULL)
            return NGX_CONF_ERROR;
    }
    if (slcf->host == NULL)
        return "needs a host=";
    if (value[1].len == 0
        || (value[1].data[0] != '/' && value[1].data[0] != '$'))
        return "needs a path that begins with a slash or a variable";
    slcf->path = ngx_http_s3_value(cf, &value[1], 0);
    return slcf->path != NULL ? NGX_CONF_OK : NGX_CONF_ERROR;
}

static void *
ngx_http_s3_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_s3_main_conf_t));
}

static char *
ngx_http_s3_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_s3_main_conf_t *smcf = conf;
    if (smcf->region.len == 0)
        ngx_str_set(&smcf->region, S3_REGION_DEFAULT);
    smcf->signer = (struct sigv4_signer){
        .access_key = bytes_of_text(smcf->credentials.access_key),
        .secret_key = bytes_of_text(smcf->credentials.secret_key),
        .region = bytes_of(smcf->region.data, smcf->region.len),
        .service = BYTES_LITERAL("s3"),
    };
    return NGX_CONF_OK;
}

static void *
ngx_http_s3_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_s3_loc_conf_t));
}

static char *
ngx_http_s3_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    const ngx_http_s3_main_conf_t *smcf =
        ngx_http_conf_get_module_main_conf(cf, ngx_http_s3_module);
    const ngx_http_s3_loc_conf_t *outer = parent;
    ngx_http_s3_loc_conf_t *inner = child;
    if (inner->path == NULL)
        *inner = *outer;
    if (inner->path != NULL && !smcf->is_set) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"s3_sign\" needs \"s3_credentials\"");
        return NGX_CONF_ERROR;
    }
    return NGX_CONF_OK;
}

/* clang-format off */
static ngx_command_t ngx_http_s3_commands[] = {

    { ngx_string("s3_credentials"),
      NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1,
      ngx_http_s3_credentials,
      NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },

    { ngx_string("s3_region"),
      NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_s3_main_conf_t, region), NULL },

    { ngx_string("s3_sign"),
      NGX_HTTP_LOC_CONF | NGX_CONF_TAKE2 | NGX_CONF_TAKE3,
      ngx_http_s3_sign,
      NGX_HTTP_LOC_CONF_OFFSET, 0, NULL },

      ngx_null_command
};
/* clang-format on */

static ngx_http_module_t ngx_http_s3_module_ctx = {
    .preconfiguration = ngx_http_s3_preconfiguration,
    .create_main_conf = ngx_http_s3_create_main_conf,
    .init_main_conf = ngx_http_s3_init_main_conf,
    .create_loc_conf = ngx_http_s3_create_loc_conf,
    .merge_loc_conf = ngx_http_s3_merge_loc_conf,
};

ngx_module_t ngx_http_s3_module = {
    NGX_MODULE_V1,
    .ctx = &ngx_http_s3_module_ctx,
    .commands = ngx_http_s3_commands,
    .type = NGX_HTTP_MODULE,
    NGX_MODULE_V1_PADDING,
};
