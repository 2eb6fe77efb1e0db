/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the query of a steering request. What is accepted leads to an
 * answer, and the answer's own query is accepted and says the same. */

#include "core/content.h"
#include "core/steering.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct table_snapshot *
snapshot_make(void)
{
    static const struct table_node nodes[] = {
        {.name = {(const uint8_t *) "a", 1},
         .url = {(const uint8_t *) "http://a", 8},
         .weight = 100},
        {.name = {(const uint8_t *) "b", 1},
         .url = {(const uint8_t *) "http://b", 8},
         .weight = 100,
         .state = NODE_DRAINING},
    };
    const struct table table = {.nodes = nodes, .node_count = 2};
    struct table_snapshot *snapshot = NULL;
    struct buffer b;
    buffer_init(&b, TABLE_SIZE_MAX);
    int err = table_encode(&table, &b);
    if (err == 0)
        err = table_decode(buffer_bytes(&b), &snapshot);
    assert(err == 0);
    buffer_fini(&b);
    return snapshot;
}

static void
answer_check(const struct steering_order *order)
{
    static struct steering_query again;
    struct buffer out;
    buffer_init(&out, 4096);
    steering_query_write(&order->pathways, order->pathways.names[0],
                         order->moved_s, &out);
    assert(out.err == 0);
    assert(steering_query_parse(buffer_bytes(&out), &again) == 0);
    assert(again.pathways.count == order->pathways.count);
    assert(bytes_equal(again.told, order->pathways.names[0]));
    assert(again.moved_s == order->moved_s);
    out.len = 0;
    steering_manifest_write(order, BYTES_LITERAL("http://r"), 10, &out);
    assert(out.err == 0);
    buffer_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct table_snapshot *snapshot;
    static struct steering_query query;
    struct route_request request = {.content = BYTES_LITERAL("film"),
                                    .self = ROUTE_SELF_REDIRECTOR};
    struct steering_order order;

    if (snapshot == NULL)
        snapshot = snapshot_make();
    if (steering_query_parse(bytes_of(data, size), &query) != 0)
        return 0;
    request.hash = content_hash(request.content);
    request.has_cdn = size % 2 != 0;
    if (steering_decide(snapshot, &request, &query, 1800000000, &order) == 0)
        answer_check(&order);
    return 0;
}
