/* SPDX-License-Identifier: Apache-2.0 */
/* GET PREFIX<content>: what this node would do with a content, as JSON, for
 * people and tests. */

#include "modules/redirect/ngx_http_redirect.h"

#define EXPLAIN_SIZE_MAX (1u << 20)

static void
append_string(struct buffer *out, struct bytes text)
{
    buffer_append_u8(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        if (c < 0x20 || c >= 0x7f)
            buffer_printf(out, "\\u%04x", (unsigned) c);
        else if (c == '"' || c == '\\')
            buffer_printf(out, "\\%c", c);
        else
            buffer_append_u8(out, c);
    }
    buffer_append_u8(out, '"');
}

static void
append_owners(struct buffer *out, const struct table *table,
              const uint16_t *owners, size_t count)
{
    buffer_append_text(out, ",\"owners\":[");
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(out, i > 0 ? "," : "");
        append_string(out, table->nodes[owners[i]].name);
    }
    buffer_append_text(out, "]");
}

static void
append_nodes(struct buffer *out, const struct table *table)
{
    buffer_append_text(out, ",\"nodes\":[");
    for (size_t i = 0; i < table->node_count; i++) {
        const struct table_node *node = &table->nodes[i];
        buffer_append_text(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        append_string(out, node->name);
        buffer_append_text(out, ",\"url\":");
        append_string(out, node->url);
        buffer_printf(out, ",\"state\":\"%s\",\"load\":%.4g}",
                      node_state_name(node->state),
                      (double) node->load / TABLE_SHARE_ONE);
    }
    buffer_append_text(out, "]");
}

/* How busy the node is, by its own measure. */
static void
append_pace(struct buffer *out, const ngx_http_redirect_main_conf_t *rmcf)
{
    struct pace_rate rate;
    bool is_full = ngx_http_redirect_is_full(rmcf, &rate);
    buffer_printf(out,
                  ",\"pace\":{\"requests\":%llu,\"bits\":%llu,\"full\":%s}",
                  (unsigned long long) rate.requests,
                  (unsigned long long) rate.bits, is_full ? "true" : "false");
}

static void
append_explanation(struct buffer *out,
                   const ngx_http_redirect_main_conf_t *rmcf,
                   const ngx_http_redirect_srv_conf_t *rscf,
                   struct bytes content)
{
    const struct table *table = &rmcf->snapshot->table;
    uint64_t hash = content_hash(content);
    const struct table_row *row = table_find(table, hash, content);
    uint16_t owners[PLACEMENT_NODES_MAX];
    size_t owner_count = route_owners(rmcf->snapshot, content, hash, owners);

    buffer_append_text(out, "{\"content\":");
    append_string(out, content);
    buffer_printf(out, ",\"level\":\"%s\",\"owner_count\":%zu",
                  level_name(row != NULL ? row->level : LEVEL_CALM),
                  owner_count);
    append_owners(out, table, owners, owner_count);
    buffer_printf(out, ",\"cdn_share\":%.4g,\"rate\":%.6g,\"node\":",
                  row != NULL ? (double) row->cdn_share / TABLE_SHARE_ONE : 0.0,
                  row != NULL ? (double) row->rate_milli / 1000 : 0.0);
    if (rscf->self.len > 0)
        append_string(out, bytes_of(rscf->self.data, rscf->self.len));
    else
        buffer_append_text(out, "null");
    buffer_append_text(out, ",\"version\":");
    append_string(out, bytes_of(rmcf->version, rmcf->version_len));
    append_nodes(out, table);
    append_pace(out, rmcf);
    buffer_append_text(out, "}\n");
}

ngx_int_t
ngx_http_redirect_send_json(ngx_http_request_t *r, struct bytes json)
{
    ngx_buf_t *b = ngx_create_temp_buf(r->pool, json.len);
    ngx_table_elt_t *cache = ngx_list_push(&r->headers_out.headers);
    ngx_table_elt_t *cors = ngx_list_push(&r->headers_out.headers);
    if (b == NULL || cache == NULL || cors == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;

    cache->hash = 1;
    cache->lowcase_key = NULL;
    ngx_str_set(&cache->key, "Cache-Control");
    ngx_str_set(&cache->value, "no-store");
    cors->hash = 1;
    cors->lowcase_key = NULL;
    ngx_str_set(&cors->key, "Access-Control-Allow-Origin");
    ngx_str_set(&cors->value, "*");

    b->last = ngx_cpymem(b->last, json.ptr, json.len);
    b->last_buf = 1;
    b->last_in_chain = 1;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = (off_t) json.len;
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    ngx_int_t rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only)
        return rc;
    ngx_chain_t chain = {b, NULL};
    return ngx_http_output_filter(r, &chain);
}

ngx_int_t
ngx_http_redirect_explain_handler(ngx_http_request_t *r)
{
    ngx_http_redirect_main_conf_t *rmcf =
        ngx_http_get_module_main_conf(r, ngx_http_redirect_module);
    const ngx_http_redirect_srv_conf_t *rscf =
        ngx_http_get_module_srv_conf(r, ngx_http_redirect_module);
    const ngx_http_redirect_loc_conf_t *rlcf =
        ngx_http_get_module_loc_conf(r, ngx_http_redirect_module);

    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)))
        return NGX_HTTP_NOT_ALLOWED;
    ngx_int_t rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK)
        return rc;

    const ngx_str_t *prefix = &rlcf->explain_prefix;
    if (r->uri.len < prefix->len
        || ngx_memcmp(r->uri.data, prefix->data, prefix->len) != 0)
        return NGX_HTTP_NOT_FOUND;
    struct bytes content =
        bytes_of(r->uri.data + prefix->len, r->uri.len - prefix->len);
    if (!content_id_is_valid(content))
        return NGX_HTTP_NOT_FOUND;

    ngx_http_redirect_look(rmcf, r->connection->log);

    struct buffer json;
    buffer_init(&json, EXPLAIN_SIZE_MAX);
    append_explanation(&json, rmcf, rscf, content);
    rc = json.err != 0 ? NGX_HTTP_INTERNAL_SERVER_ERROR
                       : ngx_http_redirect_send_json(r, buffer_bytes(&json));
    buffer_fini(&json);
    return rc;
}
