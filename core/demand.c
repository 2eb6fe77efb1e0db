/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Manager's picture of demand, see core/demand.h.
 *
 *   contents   interned once, never forgotten, as the maxima refer to them:
 *              id, sums, and a ring while requests lie in the window
 *   rings      dense array: BUCKETS counts of requests and of plays, the
 *              running bucket and WINDOW_BUCKETS whole ones
 *   nodes      sorted by name; each with its boots; each boot with the largest
 *              values seen of each content
 */

#include "core/content.h"
#include "core/demand.h"
#include "core/err.h"

#include <math.h>
#include <stdlib.h>

#define WINDOW_BUCKETS 20
#define BUCKETS (WINDOW_BUCKETS + 1)
#define CONTENTS_MAX (1u << 24)
#define NODES_MAX PLACEMENT_NODES_MAX
#define BOOTS_MAX 4      /* a node; the one heard first goes */
#define FORGOTTEN_MAX 16 /* boots that went, so that they do not come back */
#define PRIOR_PLAYS 50.0 /* weight of the assumed requests per play */
#define PLAYS_MEMORY 1e5 /* plays after which what was learnt is halved */
#define TEXT_CHUNK_SIZE 65536

const struct demand_policy demand_policy_default = {
    .window_ms = 10000,
    .node_timeout_ms = 3000,
    .requests_per_play = 100,
};

/* Requests by time. */
struct series {
    uint64_t total;
    uint32_t buckets[BUCKETS]; /* at bucket number modulo BUCKETS */
};

/* Plays by time: half the width, as there is one for each of these. */
struct plays {
    uint32_t total;
    uint16_t buckets[BUCKETS];
};

/*
 * Plays are kept by the role of who counted them, and which to go by is
 * decided when rates are asked for: so it does not matter in which order the
 * nodes were first heard (rule 3).
 */
#define ROLE_COUNT (NODE_ROLE_REDIRECTOR + 1)

struct ring {
    uint32_t content;
    struct series served; /* by origins */
    struct plays starts[ROLE_COUNT];
    struct plays offloaded[ROLE_COUNT];
};

struct content {
    uint64_t hash;
    const uint8_t *id;
    uint32_t id_len;
    uint32_t ring; /* index + 1; 0: no requests in the window */
    struct counters_values sums;
};

struct text_chunk {
    struct text_chunk *next;
    size_t used;
    uint8_t text[TEXT_CHUNK_SIZE];
};

/* Open addressing from a hash to positions in an array. */
struct index {
    uint32_t *slots; /* position + 1; 0: free */
    uint32_t size;   /* a power of two, or 0 */
};

struct maximum {
    uint32_t content;
    struct counters_values values;
};

struct boot {
    uint64_t id;
    uint64_t sequence; /* the greatest merged */
    uint64_t heard_ms;
    bool awaits_base; /* the next report is one: it adds nothing to rates */
    struct maximum *list;
    uint32_t count, capacity;
    struct index index; /* by content */
};

struct node {
    struct demand_node view;
    uint8_t name[TABLE_NODE_NAME_LEN_MAX];
    uint8_t url[TABLE_NODE_URL_LEN_MAX];
    uint64_t header_ms; /* when view.last was taken */
    struct series requests;
    struct boot boots[BOOTS_MAX]; /* in the order they were heard of */
    unsigned boot_count;
    uint64_t forgotten[FORGOTTEN_MAX];
    unsigned forgotten_count; /* ever */
};

struct demand {
    struct demand_policy policy;
    uint32_t bucket_ms;
    uint64_t now_ms;
    uint64_t bucket; /* number of the running one */
    bool has_redirector;

    struct content *contents;
    uint32_t content_count, content_capacity;
    struct index content_index;
    struct text_chunk *texts;

    struct ring *rings;
    struct demand_rate *rates; /* room for one a ring */
    uint32_t ring_count, ring_capacity;

    struct node *nodes[NODES_MAX];
    struct demand_node views[NODES_MAX];
    size_t node_count, view_count;

    double plays_seen[ROLE_COUNT]; /* that were not offloaded */
    double requests_seen;
    struct table_version held;
};

/* What one report is merged with: where to, and over which buckets. */
struct merge {
    struct demand *demand;
    struct node *node;
    struct boot *boot;
    bool is_base; /* adds nothing to rates */
    enum node_role role;
    uint64_t from_ms;
    bool has_changed;
};

static uint64_t
mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Grows an array of `size`-byte items by half when it is full. `array` is the
 * address of the pointer to it, of whatever type. */
static int
array_grow(void *array, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity)
        return 0;
    uint32_t more = *capacity < 64 ? 64 : *capacity + *capacity / 2;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = realloc(old, more * size);
    if (grown == NULL)
        return ERR_MEMORY;
    memcpy(array, &grown, sizeof grown);
    *capacity = more;
    return 0;
}

static void
index_put(struct index *index, uint64_t hash, uint32_t position)
{
    uint32_t mask = index->size - 1;
    uint32_t at = (uint32_t) hash & mask;
    while (index->slots[at] != 0)
        at = (at + 1) & mask;
    index->slots[at] = position + 1;
}

static bool
index_has_room(const struct index *index, uint32_t count)
{
    return (uint64_t) count * 4 < (uint64_t) index->size * 3;
}

/* An empty index of twice the size in place of *index; the caller refills. */
static int
index_double(struct index *index)
{
    uint32_t size = index->size ? index->size * 2 : 64;
    uint32_t *slots = calloc(size, sizeof *slots);
    if (slots == NULL)
        return ERR_MEMORY;
    free(index->slots);
    *index = (struct index){.slots = slots, .size = size};
    return 0;
}

/* ---- windows */

/* What falls into each of the buckets from `first` to the running one. */
struct spread {
    uint64_t first;
    uint32_t parts[BUCKETS];
};

/* Spreads n evenly over from_ms to now. Rounding is of the sum so far, so that
 * nothing is lost. */
static struct spread
spread_of(const struct demand *d, uint64_t from_ms, uint64_t n)
{
    struct spread spread = {.first = from_ms / d->bucket_ms};
    uint64_t span_ms = d->now_ms - from_ms;
    uint64_t done = 0;
    size_t i = 0;

    if (n > UINT32_MAX)
        n = UINT32_MAX;
    for (uint64_t bucket = spread.first; bucket < d->bucket; bucket++) {
        uint64_t until_ms = (bucket + 1) * d->bucket_ms - from_ms;
        uint64_t so_far = n * until_ms / span_ms;
        spread.parts[i++] = (uint32_t) (so_far - done);
        done = so_far;
    }
    spread.parts[i] = (uint32_t) (n - done);
    return spread;
}

/* Both saturate: rates stay finite whatever a report says. */
static void
series_add(const struct demand *d, struct series *series, uint64_t from_ms,
           uint64_t n)
{
    struct spread spread = spread_of(d, from_ms, n);
    for (uint64_t b = spread.first; b <= d->bucket; b++) {
        uint32_t *at = &series->buckets[b % BUCKETS];
        uint32_t part = spread.parts[b - spread.first];
        if (part > UINT32_MAX - *at)
            part = UINT32_MAX - *at;
        *at += part;
        series->total += part;
    }
}

static void
plays_add(const struct demand *d, struct plays *plays, uint64_t from_ms,
          uint64_t n)
{
    struct spread spread = spread_of(d, from_ms, n);
    for (uint64_t b = spread.first; b <= d->bucket; b++) {
        uint16_t *at = &plays->buckets[b % BUCKETS];
        uint32_t part = spread.parts[b - spread.first];
        if (part > (uint32_t) (UINT16_MAX - *at))
            part = (uint32_t) (UINT16_MAX - *at);
        *at = (uint16_t) (*at + part);
        plays->total += part;
    }
}

/* Empties the buckets that begin after `from`, up to and with `to`. */
static void
series_rotate(struct series *series, uint64_t from, uint64_t to)
{
    if (series->total == 0)
        return;
    if (to - from > BUCKETS)
        from = to - BUCKETS; /* each once */
    while (from != to) {
        uint32_t *at = &series->buckets[++from % BUCKETS];
        series->total -= *at;
        *at = 0;
    }
}

static void
plays_rotate(struct plays *plays, uint64_t from, uint64_t to)
{
    if (plays->total == 0)
        return;
    if (to - from > BUCKETS)
        from = to - BUCKETS;
    while (from != to) {
        uint16_t *at = &plays->buckets[++from % BUCKETS];
        plays->total -= *at;
        *at = 0;
    }
}

/* Counts in the running bucket and the `whole` ones before. */
static double
series_sum(const struct series *series, uint64_t bucket, unsigned whole)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i <= whole && i <= bucket; i++)
        sum += series->buckets[(bucket - i) % BUCKETS];
    return (double) sum;
}

static double
plays_sum(const struct plays *plays, uint64_t bucket, unsigned whole)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i <= whole && i <= bucket; i++)
        sum += plays->buckets[(bucket - i) % BUCKETS];
    return sum;
}

/* The last ring takes the place of ring i. */
static void
ring_remove(struct demand *d, uint32_t i)
{
    d->contents[d->rings[i].content].ring = 0;
    d->ring_count--;
    if (i < d->ring_count) {
        d->rings[i] = d->rings[d->ring_count];
        d->contents[d->rings[i].content].ring = i + 1;
    }
}

static void
rings_rotate(struct demand *d, uint64_t bucket)
{
    for (uint32_t i = 0; i < d->ring_count;) {
        struct ring *ring = &d->rings[i];
        series_rotate(&ring->served, d->bucket, bucket);
        uint64_t left = ring->served.total;
        for (int role = 0; role < ROLE_COUNT; role++) {
            plays_rotate(&ring->starts[role], d->bucket, bucket);
            plays_rotate(&ring->offloaded[role], d->bucket, bucket);
            left += ring->starts[role].total + ring->offloaded[role].total;
        }
        if (left == 0)
            ring_remove(d, i);
        else
            i++;
    }
    for (size_t i = 0; i < d->node_count; i++)
        series_rotate(&d->nodes[i]->requests, d->bucket, bucket);
}

static void
time_advance(struct demand *d, uint64_t now_ms)
{
    if (now_ms <= d->now_ms)
        return;
    uint64_t bucket = now_ms / d->bucket_ms;
    if (bucket != d->bucket)
        rings_rotate(d, bucket);
    d->bucket = bucket;
    d->now_ms = now_ms;
}

static struct ring *
ring_of(struct demand *d, uint32_t content)
{
    struct content *c = &d->contents[content];
    if (c->ring != 0)
        return &d->rings[c->ring - 1];
    uint32_t capacity = d->ring_capacity;
    if (array_grow(&d->rings, d->ring_count, &capacity, sizeof *d->rings) != 0)
        return NULL;
    if (capacity != d->ring_capacity) {
        struct demand_rate *rates = realloc(d->rates, capacity * sizeof *rates);
        if (rates == NULL)
            return NULL;
        d->rates = rates;
        d->ring_capacity = capacity;
    }
    struct ring *ring = &d->rings[d->ring_count++];
    memset(ring, 0, sizeof *ring);
    ring->content = content;
    c->ring = d->ring_count;
    return ring;
}

/* ---- contents */

static const uint8_t *
text_keep(struct demand *d, struct bytes text)
{
    struct text_chunk *chunk = d->texts;
    if (chunk == NULL || chunk->used + text.len > TEXT_CHUNK_SIZE) {
        chunk = malloc(sizeof *chunk);
        if (chunk == NULL)
            return NULL;
        chunk->next = d->texts;
        chunk->used = 0;
        d->texts = chunk;
    }
    uint8_t *kept = chunk->text + chunk->used;
    memcpy(kept, text.ptr, text.len);
    chunk->used += text.len;
    return kept;
}

static bool
content_find(const struct demand *d, struct bytes id, uint64_t hash,
             uint32_t *position)
{
    const struct index *index = &d->content_index;
    uint32_t mask = index->size - 1;

    if (index->size == 0)
        return false;
    for (uint32_t at = (uint32_t) hash & mask; index->slots[at] != 0;
         at = (at + 1) & mask) {
        const struct content *c = &d->contents[index->slots[at] - 1];
        if (c->hash == hash && bytes_equal(bytes_of(c->id, c->id_len), id)) {
            *position = index->slots[at] - 1;
            return true;
        }
    }
    return false;
}

static int
content_index_grow(struct demand *d)
{
    if (index_has_room(&d->content_index, d->content_count))
        return 0;
    int err = index_double(&d->content_index);
    if (err != 0)
        return err;
    for (uint32_t i = 0; i < d->content_count; i++)
        index_put(&d->content_index, d->contents[i].hash, i);
    return 0;
}

static int
content_intern(struct demand *d, struct bytes id, uint32_t *position)
{
    uint64_t hash = content_hash(id);
    if (content_find(d, id, hash, position))
        return 0;
    if (d->content_count == CONTENTS_MAX)
        return ERR_LIMIT;
    int err = array_grow(&d->contents, d->content_count, &d->content_capacity,
                         sizeof *d->contents);
    if (err != 0 || (err = content_index_grow(d)) != 0)
        return err;
    const uint8_t *kept = text_keep(d, id);
    if (kept == NULL)
        return ERR_MEMORY;
    *position = d->content_count++;
    d->contents[*position] = (struct content){
        .hash = hash,
        .id = kept,
        .id_len = (uint32_t) id.len,
    };
    index_put(&d->content_index, hash, *position);
    return 0;
}

/* ---- boots */

static void
boot_fini(struct boot *boot)
{
    free(boot->list);
    free(boot->index.slots);
}

static struct boot *
boot_find(struct node *node, uint64_t id)
{
    for (unsigned i = 0; i < node->boot_count; i++) {
        if (node->boots[i].id == id)
            return &node->boots[i];
    }
    return NULL;
}

static bool
boot_is_forgotten(const struct node *node, uint64_t id)
{
    for (unsigned i = 0; i < FORGOTTEN_MAX && i < node->forgotten_count; i++) {
        if (node->forgotten[i] == id)
            return true;
    }
    return false;
}

static struct boot *
boot_add(struct node *node, uint64_t id)
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
    *boot = (struct boot){.id = id};
    return boot;
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

/* The largest values seen of a content, made as zeros. NULL: memory. */
static struct counters_values *
boot_maximum(struct boot *boot, uint32_t content)
{
    struct index *index = &boot->index;
    uint64_t hash = mix(content);
    if (index->size != 0) {
        uint32_t mask = index->size - 1;
        for (uint32_t at = (uint32_t) hash & mask; index->slots[at] != 0;
             at = (at + 1) & mask) {
            struct maximum *maximum = &boot->list[index->slots[at] - 1];
            if (maximum->content == content)
                return &maximum->values;
        }
    }
    if (array_grow(&boot->list, boot->count, &boot->capacity,
                   sizeof *boot->list)
            != 0
        || boot_index_grow(boot) != 0)
        return NULL;
    boot->list[boot->count] = (struct maximum){.content = content};
    index_put(index, hash, boot->count);
    return &boot->list[boot->count++].values;
}

/* ---- nodes */

static int
name_compare(struct bytes a, struct bytes b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* True with its place, or false with the place where it belongs. */
static bool
node_find(const struct demand *d, struct bytes name, size_t *at)
{
    size_t low = 0, high = d->node_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = name_compare(d->nodes[middle]->view.last.node, name);
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

static void
node_free(struct node *node)
{
    for (unsigned i = 0; i < node->boot_count; i++)
        boot_fini(&node->boots[i]);
    free(node);
}

static void
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

static int
node_add(struct demand *d, size_t at, const struct report_header *header)
{
    if (d->node_count == NODES_MAX)
        return ERR_LIMIT;
    struct node *node = calloc(1, sizeof *node);
    if (node == NULL)
        return ERR_MEMORY;
    node_take_header(node, header, d->now_ms);
    memmove(&d->nodes[at + 1], &d->nodes[at],
            (d->node_count - at) * sizeof d->nodes[0]);
    d->nodes[at] = node;
    d->node_count++;
    return 0;
}

static bool
node_is_silent(const struct demand *d, const struct node *node)
{
    return d->now_ms - node->view.heard_ms > d->policy.node_timeout_ms;
}

/* Seconds that the running bucket and `whole` ones before cover. */
static double
seconds_covered(const struct demand *d, unsigned whole)
{
    uint64_t elapsed_ms = d->now_ms - d->bucket * d->bucket_ms;
    return ((double) whole * d->bucket_ms + (double) elapsed_ms) / 1000;
}

static void
node_refresh(const struct demand *d, struct node *node)
{
    struct demand_node *view = &node->view;
    view->state = node_is_silent(d, node) ? NODE_DOWN : view->last.state;
    view->rate =
        (double) node->requests.total / seconds_covered(d, WINDOW_BUCKETS);
    double load = 0;
    if (view->last.capacity_milli > 0)
        load = view->rate * 1000 * TABLE_SHARE_ONE
               / (double) view->last.capacity_milli;
    view->load = load < UINT32_MAX ? (uint32_t) load : UINT32_MAX;
}

static void
nodes_refresh(struct demand *d)
{
    size_t kept = 0;
    d->has_redirector = false;
    for (size_t i = 0; i < d->node_count; i++) {
        struct node *node = d->nodes[i];
        if (d->now_ms - node->view.heard_ms > DEMAND_NODE_FORGET_MS) {
            node_free(node);
            continue;
        }
        node_refresh(d, node);
        d->has_redirector |= node->view.last.role == NODE_ROLE_REDIRECTOR
                             && !node_is_silent(d, node);
        d->views[kept] = node->view;
        d->nodes[kept++] = node;
    }
    d->node_count = kept;
    d->view_count = kept;
}

/* ---- merging */

/* Raises *maximum to the value; returns by how much. */
static uint64_t
raise_to(uint64_t *maximum, uint64_t value)
{
    if (value <= *maximum)
        return 0;
    uint64_t more = value - *maximum;
    *maximum = value;
    return more;
}

static int
rates_add(const struct merge *m, uint32_t content,
          const struct counters_values *more)
{
    struct demand *d = m->demand;
    bool is_served = m->role == NODE_ROLE_ORIGIN && more->requests > 0;

    if (is_served || (more->starts | more->offloaded) != 0) {
        struct ring *ring = ring_of(d, content);
        if (ring == NULL)
            return ERR_MEMORY;
        if (is_served)
            series_add(d, &ring->served, m->from_ms, more->requests);
        if (more->starts > 0)
            plays_add(d, &ring->starts[m->role], m->from_ms, more->starts);
        if (more->offloaded > 0)
            plays_add(d, &ring->offloaded[m->role], m->from_ms,
                      more->offloaded);
    }
    d->plays_seen[m->role] += (double) more->starts - (double) more->offloaded;
    if (is_served)
        d->requests_seen += (double) more->requests;
    return 0;
}

static int
entry_merge(struct merge *m, const struct report_entry *entry)
{
    struct demand *d = m->demand;
    const struct counters_values *new = &entry->values;
    uint32_t content;

    if ((new->requests | new->bytes | new->starts | new->offloaded) == 0)
        return 0;
    int err = content_intern(d, entry->id, &content);
    if (err != 0)
        return err;
    struct counters_values *maximum = boot_maximum(m->boot, content);
    if (maximum == NULL)
        return ERR_MEMORY;
    struct counters_values more = {
        .requests = raise_to(&maximum->requests, new->requests),
        .bytes = raise_to(&maximum->bytes, new->bytes),
        .starts = raise_to(&maximum->starts, new->starts),
        .offloaded = raise_to(&maximum->offloaded, new->offloaded),
    };
    if ((more.requests | more.bytes | more.starts | more.offloaded) == 0)
        return 0;
    m->has_changed = true;
    struct counters_values *sums = &d->contents[content].sums;
    sums->requests += more.requests;
    sums->bytes += more.bytes;
    sums->starts += more.starts;
    sums->offloaded += more.offloaded;
    if (m->is_base)
        return 0;
    if (more.requests > 0)
        series_add(d, &m->node->requests, m->from_ms, more.requests);
    return rates_add(m, content, &more);
}

/* The moment since which the boot's new counts were made, as far as known. */
static uint64_t
merge_from_ms(const struct demand *d, const struct boot *boot)
{
    uint64_t since_ms =
        boot->heard_ms ? d->now_ms - boot->heard_ms : d->bucket_ms;
    uint64_t window_ms = (uint64_t) d->bucket_ms * WINDOW_BUCKETS;
    if (since_ms > window_ms)
        since_ms = window_ms;
    return since_ms < d->now_ms ? d->now_ms - since_ms : 0;
}

static int
entries_merge(struct demand *d, struct node *node, struct boot *boot,
              struct report_reader *reader, bool *has_changed)
{
    struct merge m = {
        .demand = d,
        .node = node,
        .boot = boot,
        .is_base = boot->awaits_base,
        .role = reader->header.role,
        .from_ms = merge_from_ms(d, boot),
    };
    struct report_entry entry;
    while (report_next(reader, &entry)) {
        int err = entry_merge(&m, &entry);
        if (err != 0)
            return err;
    }
    *has_changed = m.has_changed;
    return 0;
}

/*
 * True when the header is the node's newest word. Sequences order the reports
 * of the newest boot; after a silence any word is the newest, so that an agent
 * that lost its count is not ignored.
 */
static bool
header_is_newest(const struct demand *d, const struct node *node,
                 const struct boot *boot, const struct report_header *header)
{
    if (d->now_ms - node->header_ms > d->policy.node_timeout_ms)
        return true;
    if (boot == NULL)
        return node->view.last.boot != 0
               || header->sequence > node->view.last.sequence;
    return boot == &node->boots[node->boot_count - 1]
           && header->sequence > boot->sequence;
}

static int
node_merge(struct demand *d, struct node *node, bool is_new_node,
           struct report_reader *reader, struct demand_merge_result *result)
{
    const struct report_header *header = &reader->header;
    struct boot *boot = header->boot ? boot_find(node, header->boot) : NULL;
    bool has_changed = false;

    node->view.heard_ms = d->now_ms;
    if (boot == NULL && header->boot != 0) {
        boot = boot_add(node, header->boot);
        boot->awaits_base = is_new_node && header->sequence > 1;
    }
    bool is_newest = is_new_node || header_is_newest(d, node, boot, header);
    if (boot != NULL) {
        /* a word for word repetition, and the usual one: spare the walk */
        if (!is_newest && header->sequence == boot->sequence)
            return 0;
        int err = entries_merge(d, node, boot, reader, &has_changed);
        if (err != 0)
            return err;
        boot->awaits_base = false;
        if (header->sequence > boot->sequence) {
            boot->sequence = header->sequence;
            boot->heard_ms = d->now_ms;
        }
    }
    if (is_newest)
        node_take_header(node, header, d->now_ms);
    result->is_new = is_newest || has_changed;
    return 0;
}

/* ---- rates */

/* The role whose counts of plays are gone by. */
static enum node_role
plays_role(const struct demand *d)
{
    return d->has_redirector ? NODE_ROLE_REDIRECTOR : NODE_ROLE_ORIGIN;
}

/* What was learnt long ago counts less and less. */
static void
plays_fade(struct demand *d)
{
    if (d->plays_seen[plays_role(d)] <= PLAYS_MEMORY)
        return;
    for (int role = 0; role < ROLE_COUNT; role++)
        d->plays_seen[role] /= 2;
    d->requests_seen /= 2;
}

/* n - 2 sigma over the shorter windows: what the demand is at least. */
static double
surge_of(const struct demand *d, const struct ring *ring,
         double requests_per_play)
{
    static const unsigned windows[] = {WINDOW_BUCKETS / 10, WINDOW_BUCKETS / 5,
                                       WINDOW_BUCKETS / 2};
    double greatest = 0;
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        double served = series_sum(&ring->served, d->bucket, windows[i]);
        double plays =
            plays_sum(&ring->offloaded[plays_role(d)], d->bucket, windows[i]);
        double n = served + plays * requests_per_play;
        double variance =
            served + plays * requests_per_play * requests_per_play;
        double rate = (n - 2 * sqrt(variance)) / seconds_covered(d, windows[i]);
        greatest = rate > greatest ? rate : greatest;
    }
    return greatest;
}

static struct demand_rate
rate_of(const struct demand *d, const struct ring *ring,
        double requests_per_play)
{
    const struct content *c = &d->contents[ring->content];
    double seconds = seconds_covered(d, WINDOW_BUCKETS);
    double requests =
        (double) ring->served.total
        + ring->offloaded[plays_role(d)].total * requests_per_play;
    struct demand_rate rate = {
        .id = bytes_of(c->id, c->id_len),
        .hash = c->hash,
        .rate = requests / seconds,
        .starts = ring->starts[plays_role(d)].total / seconds,
    };
    /* n - 2 sqrt(n) is above 0 from 5 on: most contents end here */
    rate.rate_surge = requests >= 5 ? surge_of(d, ring, requests_per_play) : 0;
    if (rate.rate_surge < rate.rate)
        rate.rate_surge = rate.rate;
    return rate;
}

static int
rate_compare(const void *a_void, const void *b_void)
{
    const struct demand_rate *a = a_void, *b = b_void;
    if (a->rate_surge != b->rate_surge)
        return a->rate_surge > b->rate_surge ? -1 : 1;
    return name_compare(a->id, b->id);
}

struct demand *
demand_new(const struct demand_policy *policy)
{
    struct demand *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->policy = *policy;
    d->bucket_ms = policy->window_ms / WINDOW_BUCKETS;
    if (d->bucket_ms == 0)
        d->bucket_ms = 1;
    return d;
}

void
demand_free(struct demand *d)
{
    if (d == NULL)
        return;
    for (size_t i = 0; i < d->node_count; i++)
        node_free(d->nodes[i]);
    while (d->texts != NULL) {
        struct text_chunk *next = d->texts->next;
        free(d->texts);
        d->texts = next;
    }
    free(d->contents);
    free(d->content_index.slots);
    free(d->rings);
    free(d->rates);
    free(d);
}

int
demand_merge(struct demand *d, struct bytes report, uint64_t now_ms,
             struct demand_merge_result *out)
{
    struct demand_merge_result result = {.is_new = false};
    struct report_reader reader;
    size_t at;
    int err = report_open(report, &reader);
    if (err != 0)
        return err;
    const struct report_header *header = &reader.header;
    time_advance(d, now_ms);
    if (table_version_compare(header->held, d->held) > 0)
        d->held = header->held;
    bool is_new_node = !node_find(d, header->node, &at);
    struct node *node = is_new_node ? NULL : d->nodes[at];
    bool is_known = header->boot == 0
                    || (node != NULL
                        && (boot_find(node, header->boot) != NULL
                            || boot_is_forgotten(node, header->boot)));
    if (!is_known && header->sequence > 1 && !header->is_full) {
        result.wants_full = true;
        if (node != NULL)
            node->view.heard_ms = d->now_ms;
        *out = result;
        return 0;
    }
    if (is_new_node && (err = node_add(d, at, header)) != 0)
        return err;
    node = d->nodes[at];
    if (!boot_is_forgotten(node, header->boot)
        && (err = node_merge(d, node, is_new_node, &reader, &result)) != 0)
        return err;
    *out = result;
    return 0;
}

void
demand_advance(struct demand *d, uint64_t now_ms)
{
    time_advance(d, now_ms);
    nodes_refresh(d);
    plays_fade(d);
}

const struct demand_rate *
demand_rates(struct demand *d, size_t *count)
{
    double requests_per_play = demand_requests_per_play(d);
    size_t found = 0;
    for (uint32_t i = 0; i < d->ring_count; i++) {
        struct demand_rate rate = rate_of(d, &d->rings[i], requests_per_play);
        if (rate.rate > 0)
            d->rates[found++] = rate;
    }
    if (found > 1)
        qsort(d->rates, found, sizeof *d->rates, rate_compare);
    *count = found;
    return d->rates;
}

const struct demand_node *
demand_nodes(struct demand *d, size_t *count)
{
    *count = d->view_count;
    return d->views;
}

double
demand_requests_per_play(const struct demand *d)
{
    double plays = d->plays_seen[plays_role(d)];
    /* requests of plays whose start nobody counts would teach nonsense */
    if (plays <= 0)
        return d->policy.requests_per_play;
    return (d->policy.requests_per_play * PRIOR_PLAYS + d->requests_seen)
           / (PRIOR_PLAYS + plays);
}

int
demand_sums(const struct demand *d, struct bytes id,
            struct counters_values *out)
{
    uint32_t position;
    if (!content_find(d, id, content_hash(id), &position))
        return ERR_NOT_FOUND;
    *out = d->contents[position].sums;
    return 0;
}

struct table_version
demand_held_version(const struct demand *d)
{
    return d->held;
}
