/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration says of keys: where they come from, and which players
 * are told. */
#include "modules/package/package.h"

#include "core/err.h"

/* ---- files ---- */

static char *
package_file_refuse(ngx_conf_t *cf, ngx_str_t *name, ngx_err_t error,
                    unsigned line, const char *reason)
{
    ngx_str_t *value = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, error,
                       "\"%V\": read \"%V\" failed (line %uD: %s)", &value[0],
                       name, (uint32_t) line, reason);
    return NGX_CONF_ERROR;
}

static char *
package_file_take(ngx_conf_t *cf, ngx_str_t *name, ngx_fd_t fd, size_t size_max,
                  ngx_str_t *out)
{
    ngx_file_info_t info;

    if (ngx_fd_info(fd, &info) == NGX_FILE_ERROR || !ngx_is_file(&info)
        || ngx_file_size(&info) > (off_t) size_max) {
        return package_file_refuse(cf, name, 0, 0, "not a file of keys");
    }
    size_t size = (size_t) ngx_file_size(&info);
    u_char *text = ngx_palloc(cf->pool, size + 1);
    if (text == NULL || ngx_read_fd(fd, text, size) != (ssize_t) size) {
        return package_file_refuse(cf, name, ngx_errno, 0, "cannot be read");
    }
    out->data = text;
    out->len = size;
    return NGX_CONF_OK;
}

/* All of it, in the configuration's pool; `name` becomes the whole path. */
static char *
package_file_read(ngx_conf_t *cf, ngx_str_t *name, size_t size_max,
                  ngx_str_t *out)
{
    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }
    ngx_fd_t fd = ngx_open_file(name->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return package_file_refuse(cf, name, ngx_errno, 0, "cannot be opened");
    }
    char *rc = package_file_take(cf, name, fd, size_max, out);
    (void) ngx_close_file(fd);
    return rc;
}

/* ---- where keys come from ---- */

/* Keys, and the text that they were read from. */
struct package_key_file {
    struct crypt_keys keys;
    ngx_str_t text;
};

static void
package_keys_cleanup(void *context)
{
    struct package_key_file *file = context;

    crypt_keys_fini(&file->keys);
    ngx_explicit_memzero(file->text.data, file->text.len);
}

char *
package_keys_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_package_loc_conf_t *plcf = conf;
    ngx_str_t *value = cf->args->elts;
    ngx_str_t name = value[1];
    unsigned line = 0;
    ngx_pool_cleanup_t *cleanup =
        ngx_pool_cleanup_add(cf->pool, sizeof(struct package_key_file));

    if (plcf->keys != NULL || plcf->key_server.len != 0) {
        return "is a second source of keys";
    }
    if (cleanup == NULL) {
        return NGX_CONF_ERROR;
    }
    struct package_key_file *file = cleanup->data;
    ngx_memzero(file, sizeof *file);
    cleanup->handler = package_keys_cleanup;
    plcf->keys = &file->keys;
    char *rc = package_file_read(cf, &name, CRYPT_KEYS_SIZE_MAX, &file->text);
    if (rc != NGX_CONF_OK) {
        return rc;
    }
    /* names point into the text */
    int err = crypt_keys_parse(bytes_of(file->text.data, file->text.len),
                               plcf->keys, &line);
    return err == 0 ? NGX_CONF_OK
                    : package_file_refuse(cf, &name, 0, line, err_text(err));
}

static void
package_recipient_cleanup(void *context)
{
    cpix_recipient_free(context);
}

static char *
package_recipient_make(ngx_conf_t *cf, ngx_str_t *certificate, ngx_str_t *key,
                       struct cpix_recipient **out)
{
    ngx_str_t *value = cf->args->elts;
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    const char *reason;

    if (cleanup == NULL) {
        return NGX_CONF_ERROR;
    }
    int err = cpix_recipient_new(bytes_of(certificate->data, certificate->len),
                                 bytes_of(key->data, key->len), out, &reason);
    if (err != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": \"%V\" and \"%V\" cannot be used (%s)",
                           &value[0], &value[1], &value[2],
                           reason == NULL ? err_text(err) : reason);
        return NGX_CONF_ERROR;
    }
    cleanup->handler = package_recipient_cleanup;
    cleanup->data = *out;
    return NGX_CONF_OK;
}

char *
package_key_certificate_directive(ngx_conf_t *cf, ngx_command_t *cmd,
                                  void *conf)
{
    ngx_http_package_loc_conf_t *plcf = conf;
    ngx_str_t *value = cf->args->elts;
    ngx_str_t certificate, key;

    if (plcf->key_recipient != NULL) {
        return "is duplicate";
    }
    char *rc =
        package_file_read(cf, &value[1], CPIX_PEM_SIZE_MAX, &certificate);
    if (rc == NGX_CONF_OK) {
        rc = package_file_read(cf, &value[2], CPIX_PEM_SIZE_MAX, &key);
    }
    if (rc == NGX_CONF_OK) {
        rc = package_recipient_make(cf, &certificate, &key,
                                    &plcf->key_recipient);
        ngx_explicit_memzero(key.data, key.len);
    }
    return rc;
}

char *
package_key_server_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_package_loc_conf_t *plcf = conf;
    ngx_str_t *value = cf->args->elts;
    ngx_str_t valid = ngx_string("valid=1h");

    if (plcf->keys != NULL || plcf->key_server.len != 0) {
        return "is a second source of keys";
    }
    if (value[1].len == 0 || value[1].data[0] != '/'
        || value[1].data[value[1].len - 1] != '/') {
        return "must start and end with a slash";
    }
    if (cf->args->nelts > 2) {
        valid = value[2];
    }
    if (valid.len < 6 || ngx_strncmp(valid.data, "valid=", 6) != 0) {
        return "has an unknown parameter";
    }
    valid.data += 6;
    valid.len -= 6;
    plcf->key_valid = ngx_parse_time(&valid, 1);
    if (plcf->key_valid == (time_t) NGX_ERROR) {
        return "has an invalid time";
    }
    plcf->key_server = value[1];
    return NGX_CONF_OK;
}

/* ---- which players are told ---- */

#define DRM_VALUE_LEN_MAX 1024 /* a PlayReady object has 15 kB at the most */

/* What follows "NAME=". */
static bool
drm_value_take(struct bytes word, const char *name, struct bytes *out)
{
    const size_t len = ngx_strlen(name);

    if (word.len <= len || word.len - len > DRM_VALUE_LEN_MAX
        || ngx_memcmp(word.ptr, name, len) != 0) {
        return false;
    }
    *out = bytes_of(word.ptr + len, word.len - len);
    return true;
}

char *
package_drm_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_package_loc_conf_t *plcf = conf;
    ngx_str_t *value = cf->args->elts;

    if (plcf->systems != NULL) {
        return "is duplicate";
    }
    plcf->systems = ngx_pcalloc(cf->pool, sizeof *plcf->systems);
    if (plcf->systems == NULL) {
        return NGX_CONF_ERROR;
    }
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        const struct bytes name = bytes_of(value[i].data, value[i].len);

        if (bytes_equal(name, BYTES_LITERAL("widevine"))) {
            plcf->systems->has_widevine = true;
        } else if (bytes_equal(name, BYTES_LITERAL("playready"))
                   || drm_value_take(
                       name, "playready=", &plcf->systems->playready.la_url)) {
            plcf->systems->has_playready = true;
        } else if (drm_value_take(
                       name, "playready-ui=", &plcf->systems->playready.lui_url)
                   || drm_value_take(name, "playready-service=",
                                     &plcf->systems->playready.ds_id)) {
            continue;
        } else if (bytes_equal(name, BYTES_LITERAL("fairplay"))) {
            plcf->systems->has_fairplay = true;
        } else if (bytes_equal(name, BYTES_LITERAL("clearkey"))
                   || drm_value_take(
                       name, "clearkey=", &plcf->systems->clearkey_url)) {
            plcf->systems->has_clearkey = true;
        } else {
            return "has an unknown name";
        }
    }
    return NGX_CONF_OK;
}
