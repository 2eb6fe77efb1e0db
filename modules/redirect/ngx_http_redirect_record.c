/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decision records: why a viewer was sent where, in one line, with what this
 * worker saw as it decided. Sampled by session, so that of a viewer who is in
 * the sample every redirect is on record, on every node.
 */

#include "modules/redirect/ngx_http_redirect.h"

#define RECORD_SIZE_MAX 2048
#define RECORD_OWNERS_MAX 8

static void
append_name(struct buffer *out, const char *key, struct bytes name)
{
    buffer_append_text(out, key);
    buffer_append(out, name.ptr, name.len);
}

/* "origin1:0.31,origin2:0.47+2": those with their loads, and two more. */
static void
append_owners(struct buffer *out, const struct table_snapshot *snapshot,
              const struct route_request *request)
{
    uint16_t owners[PLACEMENT_NODES_MAX];
    size_t count =
        route_owners(snapshot, request->content, request->hash, owners);
    size_t shown = ngx_min(count, (size_t) RECORD_OWNERS_MAX);

    for (size_t i = 0; i < shown; i++) {
        const struct table_node *node = &snapshot->table.nodes[owners[i]];
        append_name(out, i == 0 ? " owners=" : ",", node->name);
        buffer_printf(out, ":%.2f", (double) node->load / TABLE_SHARE_ONE);
    }
    if (count > shown)
        buffer_printf(out, "+%zu", count - shown);
}

static void
append_record(struct buffer *out, const ngx_http_redirect_main_conf_t *rmcf,
              const ngx_http_redirect_srv_conf_t *rscf,
              const ngx_http_redirect_ctx_t *ctx,
              const struct route_request *request,
              const struct route_decision *decision)
{
    const struct table *table = &rmcf->snapshot->table;
    const struct table_row *row =
        table_find(table, request->hash, request->content);

    append_name(out, "content=", request->content);
    buffer_printf(out, " session=%016llx ",
                  (unsigned long long) request->session);
    buffer_append(out, ctx->text.data, ctx->text.len);
    append_name(out, " at=",
                rscf->self.len > 0 ? bytes_of(rscf->self.data, rscf->self.len)
                                   : BYTES_LITERAL("-"));
    buffer_printf(out, " hop=%u spill=%u full=%d", request->hops,
                  request->spills, request->self_full);
    if (decision->action == ROUTE_NODE)
        buffer_printf(out, " load=%.2f",
                      (double) table->nodes[decision->node].load
                          / TABLE_SHARE_ONE);
    buffer_printf(out, " rate=%.1f cdn_share=%.2f",
                  row != NULL ? (double) row->rate_milli / 1000 : 0.0,
                  row != NULL ? (double) row->cdn_share / TABLE_SHARE_ONE
                              : 0.0);
    append_owners(out, rmcf->snapshot, request);
}

static bool
is_sampled(const ngx_http_redirect_main_conf_t *rmcf, uint64_t session)
{
    return rmcf->record_sample > 0
           && (session * 0x9e3779b97f4a7c15u >> 32) % rmcf->record_sample == 0;
}

/* Takes one of the records of this second, if there are any left. */
static bool
is_within_rate(ngx_http_redirect_main_conf_t *rmcf)
{
    time_t now = ngx_time();
    if (rmcf->record_second != now) {
        rmcf->record_second = now;
        rmcf->record_count = 0;
    }
    return rmcf->record_count++ < rmcf->record_rate;
}

void
ngx_http_redirect_record(ngx_http_request_t *r,
                         ngx_http_redirect_main_conf_t *rmcf,
                         const ngx_http_redirect_srv_conf_t *rscf,
                         ngx_http_redirect_ctx_t *ctx,
                         const struct route_request *request,
                         const struct route_decision *decision)
{
    struct buffer out;

    if (decision->action == ROUTE_SERVE || !is_sampled(rmcf, request->session)
        || !is_within_rate(rmcf))
        return;
    buffer_init(&out, RECORD_SIZE_MAX);
    append_record(&out, rmcf, rscf, ctx, request, decision);
    ctx->record.data = out.err == 0 ? ngx_pnalloc(r->pool, out.len) : NULL;
    if (ctx->record.data != NULL) {
        ngx_memcpy(ctx->record.data, out.ptr, out.len);
        ctx->record.len = out.len;
    }
    buffer_fini(&out);
}
