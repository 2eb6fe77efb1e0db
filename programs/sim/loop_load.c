/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for the nginx of many nodes, in real time: counts a Zipf load in a
 * counter file for each node, looks at each node's load table as nginx does,
 * and sends new plays where the table says. Now and then one calm content jumps
 * on its one owner; how long it takes until every node acts on a table that
 * lists it is written to standard output. For bench/loop.
 *
 *   FOLDER/n0000/counters, FOLDER/n0000/table, ...
 *
 * "ready" is written once the files are there; the jumps begin with a line on
 * standard input.
 */

#include "core/content.h"
#include "core/counters.h"
#include "core/err.h"
#include "core/placement.h"
#include "core/route.h"
#include "core/table.h"
#include "platform/clock.h"
#include "platform/files.h"
#include "platform/options.h"
#include "programs/sim/random.h"

#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS 1000000
#define LOOK_MS 100 /* as redirect_table_interval */
#define NAME_SIZE 16
#define PATH_SIZE 512
#define GAP_MS 500       /* between two jumps, and up to twice that */
#define GIVE_UP_MS 10000 /* a jump that is not seen by then */
#define TABLES_KEPT 4    /* that nodes may hold at one time */
#define BYTES_A_REQUEST 1000000
#define SEGMENT_S 6
/* Of a play, on average. Films are longer; by short plays the load is in its
 * steady state after minutes. */
#define PLAY_SEGMENTS 10

struct options {
    const char *folder;
    int64_t nodes, contents, node_contents, jumps, seed;
    double zipf, capacity, utilisation, spread, jump_rate;
};

#define FIELD(f) offsetof(struct options, f)
static const struct option options[] = {
    {"folder", OPTION_TEXT, FIELD(folder), NULL, 0, 0, true, "PATH",
     "Where each node has a folder."},
    {"nodes", OPTION_INTEGER, FIELD(nodes), "200", 1, PLACEMENT_NODES_MAX,
     false, NULL, "Origins."},
    {"contents", OPTION_INTEGER, FIELD(contents), "370000", 1, 10000000, false,
     NULL, "Contents in the catalogue; all were asked for once at node 0."},
    {"node-contents", OPTION_INTEGER, FIELD(node_contents), "16384", 1,
     10000000, false, NULL,
     "What the counter files of the others have room "
     "for: what a node owns, and more."},
    {"zipf", OPTION_NUMBER, FIELD(zipf), "1.0", 0, 5, false, NULL,
     "Exponent of the law by which contents are asked for."},
    {"capacity", OPTION_NUMBER, FIELD(capacity), "1667", 1, 1e9, false, "req/s",
     "What a node can serve."},
    {"utilisation", OPTION_NUMBER, FIELD(utilisation), "0.7", 0, 1, false, NULL,
     "Share of that which is asked for."},
    {"spread", OPTION_NUMBER, FIELD(spread), "0.033", 0.001, 1, false, NULL,
     "As of vodst-manager: how many owners the contents begin with."},
    {"jumps", OPTION_INTEGER, FIELD(jumps), "100", 0, 1000000, false, NULL,
     "How many jumps there are, one after the other."},
    {"jump-rate", OPTION_NUMBER, FIELD(jump_rate), "1667", 1, 1e9, false,
     "req/s", "How much is asked for in a jump."},
    {"seed", OPTION_INTEGER, FIELD(seed), "1", 0, 0, false, NULL,
     "Where the randomness comes from."},
};

static const struct program program = {
    .name = "loop-load",
    .summary = "count a load for many nodes and time their tables",
    .synopsis = "",
    .options = options,
    .option_count = OPTION_COUNT(options),
};

struct node {
    char table_path[PATH_SIZE];
    struct counters counters;
    uint64_t look_ns; /* when it looks at its table next */
    struct stat seen; /* of the table as it was then */
    bool is_acting;   /* on a table that lists what jumped */
};

struct content {
    uint64_t hash;
    uint32_t plays_at; /* in plays */
    uint32_t play_count;
    char name[NAME_SIZE];
};

struct kept_table {
    struct buffer bytes;
    bool is_listed; /* what jumped */
};

struct load {
    struct options options;
    struct rng rng;
    struct alias ranks;
    struct node *nodes;
    struct content *contents;
    uint16_t *plays; /* the node that each is at */
    double owed;     /* requests, by the clock */

    struct table_snapshot *table; /* of node 0; NULL: none yet */
    struct stat table_seen;
    uint64_t table_look_ns;

    struct content *jumped; /* NULL: none */
    double jump_owed;
    struct kept_table tables[TABLES_KEPT];
    size_t table_next;
    size_t acting_count;
};

static void
give_up(const char *what)
{
    fprintf(stderr, "loop-load: %s\n", what);
    exit(1);
}

static void *
allocate(size_t count, size_t size)
{
    void *p = calloc(count, size);
    if (p == NULL)
        give_up("out of memory");
    return p;
}

static uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

/* ---- nodes and contents ---- */

static void
counters_make(struct counters *c, const char *path, uint32_t contents)
{
    const size_t size = counters_file_size(contents, COUNTERS_ID_BYTES_DEFAULT);
    const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, (off_t) size) != 0)
        give_up("cannot make a counter file");
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED
        || counters_format(map, size, contents, COUNTERS_ID_BYTES_DEFAULT,
                           random_u64() | 1)
               != 0
        || counters_open(map, size, c) != 0)
        give_up("cannot make a counter file");
    close(fd);
}

static void
nodes_make(struct load *l, struct placement_node *places)
{
    const struct options *o = &l->options;
    l->nodes = allocate((size_t) o->nodes, sizeof *l->nodes);
    for (int64_t i = 0; i < o->nodes; i++) {
        char name[8], path[PATH_SIZE];
        struct node *node = &l->nodes[i];
        snprintf(name, sizeof name, "n%04u", (unsigned) i % 10000);
        places[i].hash = placement_node_hash(bytes_of_text(name));
        places[i].weight = 100;
        snprintf(path, sizeof path, "%s/%s", o->folder, name);
        if (folder_make(path, 0755) != 0)
            give_up("cannot make a folder");
        snprintf(node->table_path, PATH_SIZE, "%s/%s/table", o->folder, name);
        snprintf(path, sizeof path, "%s/%s/counters", o->folder, name);
        counters_make(&node->counters, path,
                      (uint32_t) (i == 0 ? o->contents : o->node_contents));
        node->look_ns = now_ns() + rng_next(&l->rng) % (LOOK_MS * 1000000);
    }
}

/* Its plays are at as many owners as the Manager would find for a rate that is
 * known. */
static void
content_make(struct load *l, const struct placement_node *places, uint32_t i,
             double rate, uint32_t *used)
{
    static uint16_t owners[PLACEMENT_NODES_MAX];
    const struct options *o = &l->options;
    struct content *c = &l->contents[i];
    const double k = ceil(rate / (o->spread * o->capacity));
    snprintf(c->name, NAME_SIZE, "film-%07u", i);
    c->hash = content_hash(bytes_of_text(c->name));
    const size_t count = placement_owners(places, (size_t) o->nodes, c->hash,
                                          k > 1 ? (size_t) k : 1, owners);
    c->plays_at = *used;
    c->play_count = (uint32_t) ceil(rate * SEGMENT_S);
    for (uint32_t play = 0; play < c->play_count; play++)
        l->plays[c->plays_at + play] = owners[play % count];
    *used += c->play_count;
}

static void
contents_make(struct load *l, const struct placement_node *places)
{
    const struct options *o = &l->options;
    const double all = o->capacity * o->utilisation * (double) o->nodes;
    double *weights = allocate((size_t) o->contents, sizeof *weights);
    double sum = 0;
    uint32_t used = 0;
    for (int64_t i = 0; i < o->contents; i++)
        sum += weights[i] = pow((double) i + 1, -o->zipf);
    l->contents = allocate((size_t) o->contents, sizeof *l->contents);
    /* rounded up, a content has one play more than its part of them all */
    l->plays = allocate((size_t) (all * SEGMENT_S) + (size_t) o->contents + 1,
                        sizeof *l->plays);
    for (int64_t i = 0; i < o->contents; i++)
        content_make(l, places, (uint32_t) i, all * weights[i] / sum, &used);
    if (alias_init(&l->ranks, weights, (uint32_t) o->contents) != 0)
        give_up("out of memory");
    free(weights);
}

static void
count(struct node *node, const struct content *c)
{
    counters_add(&node->counters, c->hash, bytes_of_text(c->name),
                 BYTES_A_REQUEST, 0);
}

/* ---- load ---- */

static uint16_t
node_of(struct bytes name)
{
    uint16_t node = 0;
    for (size_t i = 1; i < name.len; i++)
        node = (uint16_t) (node * 10 + (name.ptr[i] - '0'));
    return node;
}

/* Where the table sends a new play of it; else where the last one was. */
static void
play_begin(struct load *l, const struct content *c, uint16_t *node)
{
    const struct route_request asked = {
        .content = bytes_of_text(c->name),
        .hash = c->hash,
        .session = rng_next(&l->rng),
        .self = -1,
    };
    struct route_decision to;
    if (l->table == NULL)
        return;
    route_decide(l->table, &asked, &to);
    if (to.action == ROUTE_NODE)
        *node = node_of(l->table->table.nodes[to.node].name);
}

static void
requests_count(struct load *l, uint64_t since_ns)
{
    const struct options *o = &l->options;
    const double seconds = (double) since_ns / 1e9;
    l->owed += o->capacity * o->utilisation * (double) o->nodes * seconds;
    for (; l->owed >= 1; l->owed--) {
        const struct content *c = &l->contents[alias_draw(&l->ranks, &l->rng)];
        uint16_t *play =
            &l->plays[c->plays_at + rng_next(&l->rng) % c->play_count];
        if (rng_next(&l->rng) % PLAY_SEGMENTS == 0)
            play_begin(l, c, play);
        count(&l->nodes[*play], c);
    }
    if (l->jumped == NULL)
        return;
    l->jump_owed += o->jump_rate * seconds;
    for (; l->jump_owed >= 1; l->jump_owed--)
        count(&l->nodes[l->plays[l->jumped->plays_at]], l->jumped);
}

/* ---- tables ---- */

static bool
table_lists(struct bytes encoded, const struct content *c)
{
    struct table_snapshot *snapshot;
    if (table_decode(encoded, &snapshot) != 0)
        give_up("a table that no node would take");
    const bool is_listed =
        table_find(&snapshot->table, c->hash, bytes_of_text(c->name)) != NULL;
    table_free(snapshot);
    return is_listed;
}

/* All nodes hold the same few tables, so each is decoded once. Takes the
 * bytes. */
static bool
is_listed(struct load *l, struct buffer *bytes)
{
    for (size_t i = 0; i < TABLES_KEPT; i++) {
        if (bytes_equal(buffer_bytes(&l->tables[i].bytes),
                        buffer_bytes(bytes))) {
            buffer_fini(bytes);
            return l->tables[i].is_listed;
        }
    }
    struct kept_table *kept = &l->tables[l->table_next++ % TABLES_KEPT];
    buffer_fini(&kept->bytes);
    kept->bytes = *bytes;
    kept->is_listed = table_lists(buffer_bytes(&kept->bytes), l->jumped);
    return kept->is_listed;
}

static void
tables_forget(struct load *l)
{
    for (size_t i = 0; i < TABLES_KEPT; i++) {
        buffer_fini(&l->tables[i].bytes);
        buffer_init(&l->tables[i].bytes, TABLE_SIZE_MAX);
    }
}

/* Another file than the one seen; the caller frees the bytes then. */
static bool
file_is_new(const char *path, struct stat *seen, struct buffer *bytes)
{
    struct stat st;
    if (stat(path, &st) != 0
        || (st.st_ino == seen->st_ino
            && st.st_mtim.tv_nsec == seen->st_mtim.tv_nsec
            && st.st_mtim.tv_sec == seen->st_mtim.tv_sec))
        return false;
    buffer_init(bytes, TABLE_SIZE_MAX);
    if (file_read(path, bytes) != 0) {
        buffer_fini(bytes);
        return false;
    }
    *seen = st;
    return true;
}

static void
node_look(struct load *l, struct node *node)
{
    struct buffer bytes;
    if (l->jumped == NULL || node->is_acting
        || !file_is_new(node->table_path, &node->seen, &bytes))
        return;
    node->is_acting = is_listed(l, &bytes);
    l->acting_count += node->is_acting;
}

static void
nodes_look(struct load *l, uint64_t at_ns)
{
    for (int64_t i = 0; i < l->options.nodes; i++) {
        struct node *node = &l->nodes[i];
        if (at_ns < node->look_ns)
            continue;
        node_look(l, node);
        while (node->look_ns <= at_ns)
            node->look_ns += LOOK_MS * 1000000;
    }
}

/* New plays go by the table of node 0. */
static void
table_follow(struct load *l, uint64_t at_ns)
{
    struct buffer bytes;
    if (at_ns < l->table_look_ns)
        return;
    l->table_look_ns = at_ns + LOOK_MS * 1000000;
    if (!file_is_new(l->nodes[0].table_path, &l->table_seen, &bytes))
        return;
    table_free(l->table);
    if (table_decode(buffer_bytes(&bytes), &l->table) != 0)
        give_up("a table that no node would take");
    buffer_fini(&bytes);
}

/* ---- time ---- */

static uint64_t
tick(struct load *l, uint64_t last_ns)
{
    static const struct timespec wait = {.tv_nsec = TICK_NS};
    nanosleep(&wait, NULL);
    const uint64_t at_ns = now_ns();
    requests_count(l, at_ns - last_ns);
    nodes_look(l, at_ns);
    table_follow(l, at_ns);
    return at_ns;
}

static uint64_t
ticks(struct load *l, uint64_t last_ns, uint64_t ms)
{
    const uint64_t end_ns = last_ns + ms * 1000000;
    while (last_ns < end_ns)
        last_ns = tick(l, last_ns);
    return last_ns;
}

/* One of the colder half: calm, and hardly asked for. */
static struct content *
content_to_jump(struct load *l)
{
    const uint64_t contents = (uint64_t) l->options.contents;
    const uint64_t half = contents / 2;
    return &l->contents[half + rng_next(&l->rng) % (contents - half)];
}

static void
jump_begin(struct load *l)
{
    tables_forget(l);
    for (int64_t i = 0; i < l->options.nodes; i++)
        l->nodes[i].is_acting = false;
    l->acting_count = 0;
    l->jumped = content_to_jump(l);
    l->jump_owed = 1; /* the first request, at the next tick */
}

static uint64_t
jump(struct load *l, uint64_t last_ns)
{
    const uint64_t begin_ns = last_ns;
    uint64_t first_ns = 0;
    jump_begin(l);
    while (l->acting_count < (size_t) l->options.nodes
           && last_ns - begin_ns < (uint64_t) GIVE_UP_MS * 1000000) {
        last_ns = tick(l, last_ns);
        if (first_ns == 0 && l->acting_count > 0)
            first_ns = last_ns;
    }
    printf("jump %.1f %.1f\n",
           (double) (first_ns ? first_ns - begin_ns : 0) / 1e6,
           (double) (last_ns - begin_ns) / 1e6);
    fflush(stdout);
    l->jumped = NULL;
    return ticks(l, last_ns, GAP_MS + rng_next(&l->rng) % GAP_MS);
}

int
main(int argc, char **argv)
{
    static struct placement_node places[PLACEMENT_NODES_MAX];
    struct load *l = allocate(1, sizeof *l);
    options_parse(&program, argc, argv, &l->options);
    l->rng = rng_of((uint64_t) l->options.seed, 5);
    nodes_make(l, places);
    contents_make(l, places);
    for (int64_t i = 0; i < l->options.contents; i++)
        count(&l->nodes[0], &l->contents[i]);
    puts("ready");
    fflush(stdout);
    uint64_t last_ns = now_ns();
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (poll(&input, 1, 0) == 0)
        last_ns = tick(l, last_ns);
    for (int64_t i = 0; i < l->options.jumps; i++)
        last_ns = jump(l, last_ns);
    options_release();
    return 0;
}
