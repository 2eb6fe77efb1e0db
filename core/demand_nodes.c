/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes, their boots and the maxima of each, see core/demand_nodes.h. */

#include "core/demand_nodes.h"
#include "core/err.h"

#include <math.h>
#include <stdlib.h>

static uint64_t
mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static void
boot_fini(struct boot *boot)
{
    free(boot->list);
    free(boot->index.slots);
}

static int
boot_index_grow(struct boot *boot)
{
    if (index_has_room(&boot->index, boot->count))
        return 0;
    int err = index_double(&boot->index);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < boot->count; i++)
        index_put(&boot->index, mix(boot->list[i].content), i);
    return 0;
}

static void
node_free(struct node *node)
{
    for (unsigned i = 0; i < node->boot_count; i++)
        boot_fini(&node->boots[i]);
    free(node);
}

/* From the oldest mark on. */
static void
steady_refresh(struct node *node, const struct window_clock *clock,
               double unheard_s)
{
    struct demand_node *view = &node->view;
    const uint64_t mark = clock->now_ms / MARK_MS;
    const uint64_t from_ms = (mark - MARKS + 1) * MARK_MS;
    const double seconds =
        (double) (clock->now_ms - from_ms) / 1000 - unheard_s;
    const double n =
        (double) (node->requests_ever - node->marks[(mark + 1) % MARKS]);
    view->is_young = view->since_ms > from_ms;
    view->steady = n / seconds;
    view->steady_least = n > 4 ? (n - 2 * sqrt(n)) / seconds : 0;
}

static void
node_refresh(struct node *node, const struct window_clock *clock,
             bool is_silent)
{
    struct demand_node *view = &node->view;
    view->state = is_silent ? NODE_DOWN : view->last.state;
    const double unheard_s = (double) (clock->now_ms - view->heard_ms) / 1000;
    const double window_s = window_seconds(clock, WINDOW_BUCKETS);
    /* what it answered since its last report is in no count: else who has just
     * reported would look more loaded than who will in a moment */
    view->rate =
        (double) node->requests.total
        / (is_silent ? window_s : fmax(window_s - unheard_s, window_s / 2));
    steady_refresh(node, clock, is_silent ? 0 : unheard_s);
    double load = 0;
    if (view->last.capacity_milli > 0)
        load = view->rate * 1000 * TABLE_SHARE_ONE
               / (double) view->last.capacity_milli;
    view->load = load < UINT32_MAX ? (uint32_t) load : UINT32_MAX;
}

void
nodes_fini(struct nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++)
        node_free(nodes->list[i]);
}

bool
nodes_find(const struct nodes *nodes, struct bytes name, size_t *at)
{
    size_t low = 0, high = nodes->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = bytes_compare(nodes->list[middle]->view.last.node, name);
        if (order == 0) {
            *at = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *at = low;
    return false;
}

int
nodes_add(struct nodes *nodes, size_t at, const struct report_header *header,
          uint64_t now_ms)
{
    if (nodes->count == NODES_MAX)
        return ERR_LIMIT;
    struct node *node = calloc(1, sizeof *node);
    if (node == NULL)
        return ERR_MEMORY;
    node_take_header(node, header, now_ms);
    memmove(&nodes->list[at + 1], &nodes->list[at],
            (nodes->count - at) * sizeof nodes->list[0]);
    nodes->list[at] = node;
    nodes->count++;
    return 0;
}

static void
marks_rotate(struct node *node, uint64_t from, uint64_t to)
{
    if (to - from > MARKS)
        from = to - MARKS; /* each once */
    while (from != to)
        node->marks[++from % MARKS] = node->requests_ever;
}

void
nodes_rotate(struct nodes *nodes, const struct window_clock *clock,
             uint64_t to_ms)
{
    for (size_t i = 0; i < nodes->count; i++) {
        series_rotate(&nodes->list[i]->requests, clock->bucket,
                      to_ms / clock->bucket_ms);
        marks_rotate(nodes->list[i], clock->now_ms / MARK_MS, to_ms / MARK_MS);
    }
}

void
nodes_refresh(struct nodes *nodes, const struct window_clock *clock,
              uint32_t timeout_ms)
{
    size_t kept = 0;
    nodes->has_redirector = false;
    nodes->heard_until_ms = clock->now_ms;
    for (size_t i = 0; i < nodes->count; i++) {
        struct node *node = nodes->list[i];
        if (clock->now_ms - node->view.heard_ms > DEMAND_NODE_FORGET_MS) {
            node_free(node);
            continue;
        }
        bool is_silent = clock->now_ms - node->view.heard_ms > timeout_ms;
        node_refresh(node, clock, is_silent);
        if (!is_silent && node->view.heard_ms < nodes->heard_until_ms)
            nodes->heard_until_ms = node->view.heard_ms;
        nodes->has_redirector |=
            node->view.last.role == NODE_ROLE_REDIRECTOR && !is_silent;
        nodes->views[kept] = node->view;
        nodes->list[kept++] = node;
    }
    nodes->count = kept;
    nodes->view_count = kept;
}

void
node_take_header(struct node *node, const struct report_header *header,
                 uint64_t now_ms)
{
    memcpy(node->name, header->node.ptr, header->node.len);
    if (header->url.len > 0)
        memcpy(node->url, header->url.ptr, header->url.len);
    node->view.last = *header;
    node->view.last.node.ptr = node->name;
    node->view.last.url.ptr = node->url;
    node->header_ms = now_ms;
}

struct boot *
boot_find(struct node *node, uint64_t id)
{
    for (unsigned i = 0; i < node->boot_count; i++) {
        if (node->boots[i].id == id)
            return &node->boots[i];
    }
    return NULL;
}

bool
boot_is_forgotten(const struct node *node, uint64_t id)
{
    for (unsigned i = 0; i < FORGOTTEN_MAX && i < node->forgotten_count; i++) {
        if (node->forgotten[i] == id)
            return true;
    }
    return false;
}

struct boot *
boot_add(struct nodes *nodes, struct node *node, uint64_t id)
{
    if (node->boot_count == BOOTS_MAX) {
        unsigned at = node->forgotten_count++ % FORGOTTEN_MAX;
        node->forgotten[at] = node->boots[0].id;
        boot_fini(&node->boots[0]);
        node->boot_count--;
        memmove(&node->boots[0], &node->boots[1],
                node->boot_count * sizeof node->boots[0]);
    }
    struct boot *boot = &node->boots[node->boot_count++];
    *boot = (struct boot){.id = id, .number = ++nodes->boot_number};
    return boot;
}

void
boot_prefetch(const struct boot *boot, uint32_t content)
{
    const struct index *index = &boot->index;
    if (index->size > 0)
        __builtin_prefetch(&index->slots[mix(content) & (index->size - 1)]);
}

int
boot_place(struct boot *boot, uint32_t content, uint32_t *place)
{
    const uint64_t hash = mix(content);
    struct index_walk walk = index_walk(hash);
    while (index_next(&boot->index, &walk, place)) {
        if (boot->list[*place].content == content)
            return 0;
    }
    int err = array_grow(&boot->list, boot->count, &boot->capacity,
                         sizeof *boot->list);
    if (err != 0 || (err = boot_index_grow(boot)) != 0)
        return err;
    *place = boot->count++;
    boot->list[*place] = (struct maximum){.content = content};
    index_put(&boot->index, hash, *place);
    return 0;
}
