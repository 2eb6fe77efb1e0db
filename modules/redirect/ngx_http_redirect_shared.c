/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workers of an origin share: how busy the node is, and which plays
 * are under way on it. From the first follows when new plays are passed on,
 * from the second which plays are new. Outlives a reload.
 */

#include "modules/redirect/ngx_http_redirect.h"

#define SHARED_BUCKETS 32768 /* of plays: 2 MiB hold 131,072 of them */

static ngx_http_redirect_shared_t *
shared_of(const ngx_http_redirect_main_conf_t *rmcf)
{
    return rmcf->zone != NULL ? rmcf->zone->data : NULL;
}

static uint32_t
now_s(void)
{
    return (uint32_t) (ngx_current_msec / 1000) + PLAYS_SEEN_S + 1;
}

/* The play, at this node: of the servers of one nginx each is a node. */
static uint64_t
play_key(const ngx_http_redirect_srv_conf_t *rscf,
         const struct route_request *request)
{
    uint64_t key = request->session ^ request->hash ^ rscf->self_hash;
    key = (key ^ key >> 32) * 0x9e3779b97f4a7c15u;
    return key ^ key >> 29;
}

static int
node_at(const struct table *table, uint32_t place)
{
    for (size_t i = 0; i < table->node_count; i++) {
        if (play_place_of(table->nodes[i].hash) == place)
            return (int) i;
    }
    return -1;
}

static ngx_int_t
shared_init(ngx_shm_zone_t *zone, void *old)
{
    ngx_slab_pool_t *pool = (ngx_slab_pool_t *) zone->shm.addr;
    ngx_http_redirect_shared_t *shared = old;

    if (shared == NULL && zone->shm.exists)
        shared = pool->data;
    if (shared == NULL) {
        shared = ngx_slab_calloc(pool, sizeof *shared
                                           + SHARED_BUCKETS * PLAYS_BUCKET
                                                 * sizeof(struct play_slot));
        if (shared == NULL)
            return NGX_ERROR;
        shared->plays.bucket_count = SHARED_BUCKETS;
        pool->data = shared;
    }
    zone->data = shared;
    return NGX_OK;
}

ngx_int_t
ngx_http_redirect_shared_add(ngx_conf_t *cf,
                             ngx_http_redirect_main_conf_t *rmcf)
{
    ngx_str_t name = ngx_string("redirect");
    size_t size = sizeof(ngx_http_redirect_shared_t)
                  + SHARED_BUCKETS * PLAYS_BUCKET * sizeof(struct play_slot);

    /* nginx's pool in it takes some pages for itself */
    rmcf->zone = ngx_shared_memory_add(cf, &name, size + 16 * ngx_pagesize,
                                       &ngx_http_redirect_module);
    if (rmcf->zone == NULL)
        return NGX_ERROR;
    rmcf->zone->init = shared_init;
    return NGX_OK;
}

bool
ngx_http_redirect_is_full(const ngx_http_redirect_main_conf_t *rmcf,
                          struct pace_rate *rate)
{
    const ngx_http_redirect_shared_t *shared = shared_of(rmcf);

    *rate = (struct pace_rate){0};
    if (shared == NULL || rmcf->requests_max == 0)
        return false;
    pace_read(&shared->pace, ngx_current_msec, rate);
    return rate->requests >= rmcf->requests_max
           || (rmcf->bits_max > 0 && rate->bits >= rmcf->bits_max);
}

ngx_int_t
ngx_http_redirect_sent_handler(ngx_http_request_t *r)
{
    ngx_http_redirect_shared_t *shared =
        shared_of(ngx_http_get_module_main_conf(r, ngx_http_redirect_module));
    if (shared != NULL)
        pace_add(&shared->pace, ngx_current_msec, 0,
                 (uint64_t) r->connection->sent);
    return NGX_OK;
}

bool
ngx_http_redirect_recall(const ngx_http_redirect_main_conf_t *rmcf,
                         const ngx_http_redirect_srv_conf_t *rscf,
                         struct route_request *request)
{
    const ngx_http_redirect_shared_t *shared = shared_of(rmcf);
    struct play_memory memory;
    struct pace_rate rate;

    if (rscf->self.len == 0 || shared == NULL)
        return false;
    plays_find(&shared->plays, play_key(rscf, request), now_s(), &memory);
    if (memory.is_known && memory.place >= PLAY_ELSEWHERE) {
        request->play = ROUTE_PLAY_MOVED;
        request->moved_to = node_at(&rmcf->snapshot->table, memory.place);
    } else if (memory.is_known) {
        request->play = ROUTE_PLAY_HERE;
        if (memory.place == PLAY_HERE_SPILLED)
            request->spills = ngx_max(request->spills, 1);
    }
    request->is_held = memory.is_held;
    request->self_full = request->play != ROUTE_PLAY_HERE
                         && ngx_http_redirect_is_full(rmcf, &rate);
    return true;
}

void
ngx_http_redirect_remember(const ngx_http_redirect_main_conf_t *rmcf,
                           const ngx_http_redirect_srv_conf_t *rscf,
                           const struct route_request *request,
                           const struct route_decision *decision)
{
    ngx_http_redirect_shared_t *shared = shared_of(rmcf);
    uint32_t place = request->spills > 0 ? PLAY_HERE_SPILLED : PLAY_HERE;

    if (decision->action == ROUTE_NODE)
        place = play_place_of(rmcf->snapshot->table.nodes[decision->node].hash);
    else
        pace_add(&shared->pace, ngx_current_msec,
                 request->play == ROUTE_PLAY_HERE ? 1 : 1 + PACE_START_REQUESTS,
                 0);
    plays_note(&shared->plays, play_key(rscf, request), now_s(), place);
}

void
ngx_http_redirect_pulled(const ngx_http_redirect_main_conf_t *rmcf)
{
    ngx_http_redirect_shared_t *shared = shared_of(rmcf);
    if (shared != NULL)
        pace_add(&shared->pace, ngx_current_msec, 1, 0);
}
