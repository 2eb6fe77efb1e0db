/* SPDX-License-Identifier: Apache-2.0 */
#include "modules/meter/meter_cmcd.h"

#include <ngx_http.h>

#include "core/cmcd.h"

#define PREFIX "cmcd_"
#define HEADER_PREFIX "cmcd-"

static bool
find_in_headers(ngx_http_request_t *r, struct bytes key, struct bytes *value)
{
    const ngx_list_part_t *part = &r->headers_in.headers.part;

    for (; part != NULL; part = part->next) {
        const ngx_table_elt_t *header = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (header[i].key.len > sizeof(HEADER_PREFIX) - 1
                && ngx_strncmp(header[i].lowcase_key, HEADER_PREFIX,
                               sizeof(HEADER_PREFIX) - 1)
                       == 0
                && cmcd_find(
                    bytes_of(header[i].value.data, header[i].value.len), key,
                    value))
                return true;
        }
    }
    return false;
}

static bool
find_in_argument(ngx_http_request_t *r, struct bytes key, struct bytes *value)
{
    ngx_str_t said;

    if (ngx_http_arg(r, (u_char *) "CMCD", 4, &said) != NGX_OK)
        return false;
    u_char *to = ngx_pnalloc(r->pool, said.len);
    if (to == NULL)
        return false;
    const u_char *text = to;
    u_char *from = said.data;
    ngx_unescape_uri(&to, &from, said.len, 0);
    return cmcd_find(bytes_of(text, (size_t) (to - text)), key, value);
}

/* `data` is the variable's name. */
static ngx_int_t
cmcd_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
              uintptr_t data)
{
    const ngx_str_t *name = (const ngx_str_t *) data;
    const struct bytes key = bytes_of(name->data + sizeof(PREFIX) - 1,
                                      name->len - (sizeof(PREFIX) - 1));
    struct bytes value;

    if (!find_in_argument(r, key, &value) && !find_in_headers(r, key, &value)) {
        v->not_found = 1;
        return NGX_OK;
    }
    v->data = (u_char *) (uintptr_t) value.ptr;
    v->len = (unsigned) value.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    return NGX_OK;
}

ngx_int_t
ngx_http_meter_cmcd_variables(ngx_conf_t *cf)
{
    ngx_str_t name = ngx_string(PREFIX);
    ngx_http_variable_t *v =
        ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_PREFIX);
    if (v == NULL)
        return NGX_ERROR;
    v->get_handler = cmcd_variable;
    return NGX_OK;
}
