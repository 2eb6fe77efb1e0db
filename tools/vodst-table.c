/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A developer's look into the files the processes share, and a maker of them
 * for tests and benches. Reads and writes standard input and output:
 *
 *   vodst-table make              text -> load table
 *   vodst-table show              load table -> text
 *   vodst-table owners FILE       content ids -> "ID OWNER OWNER ..."
 *   vodst-table sign KEYS EXPIRES "ID SESSION" lines -> tokens
 *   vodst-table counters FILE     counter file -> text
 *   vodst-table revoked NUMBER    sessions, in hex -> list of revoked plays
 *
 * The text of a table, one a line:
 *
 *   version TERM.SEQUENCE
 *   node NAME URL WEIGHT LOAD STATE
 *   row ID LEVEL OWNER_COUNT CDN_SHARE RATE_MILLI [no-cdn]
 *   no-cdn                        where the CDN is forbidden for all
 */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/content.h"
#include "core/counters.h"
#include "core/err.h"
#include "core/revocations.h"
#include "core/route.h"
#include "core/table.h"
#include "core/token.h"

#define LINE_SIZE_MAX 1024

static int
fail(const char *what, int err)
{
    fprintf(stderr, "vodst-table: %s (%s)\n", what, err_text(err));
    return 1;
}

static int
read_all(FILE *file, struct buffer *out)
{
    char piece[65536];
    size_t n;
    buffer_init(out, TABLE_SIZE_MAX);
    while ((n = fread(piece, 1, sizeof piece, file)) > 0)
        buffer_append(out, piece, n);
    return ferror(file) ? ERR_IO : out->err;
}

static int
read_file(const char *path, struct buffer *out)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return ERR_NOT_FOUND;
    int err = read_all(file, out);
    fclose(file);
    return err;
}

static struct bytes
keep(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        abort();
    return bytes_of_text(copy);
}

static int
state_of(const char *name)
{
    for (int s = NODE_UP; s <= NODE_DOWN; s++)
        if (strcmp(node_state_name((enum node_state) s), name) == 0)
            return s;
    return -1;
}

static int
level_of(const char *name)
{
    for (int l = LEVEL_CALM; l <= LEVEL_CRITICAL; l++)
        if (strcmp(level_name((enum level) l), name) == 0)
            return l;
    return -1;
}

static int
make(void)
{
    static struct table_node nodes[PLACEMENT_NODES_MAX];
    static struct table_row rows[TABLE_ROWS_MAX];
    struct table table = {.nodes = nodes, .rows = rows};
    char line[LINE_SIZE_MAX], a[256], b[512];

    while (fgets(line, sizeof line, stdin) != NULL) {
        struct table_node *node = &nodes[table.node_count];
        struct table_row *row = &rows[table.row_count];
        if (sscanf(line, "version %" SCNu64 ".%" SCNu64, &table.version.term,
                   &table.version.sequence)
            == 2)
            continue;
        if (strcmp(line, "no-cdn\n") == 0) {
            table.is_cdn_forbidden = true;
            continue;
        }
        if (table.node_count < PLACEMENT_NODES_MAX) {
            char state[16];
            if (sscanf(line, "node %255s %511s %" SCNu32 " %" SCNu32 " %15s", a,
                       b, &node->weight, &node->load, state)
                    == 5
                && state_of(state) >= 0) {
                node->state = (enum node_state) state_of(state);
                node->name = keep(a);
                node->url = keep(b);
                table.node_count++;
                continue;
            }
        }
        if (table.row_count < TABLE_ROWS_MAX
            && sscanf(line, "row %255s %511s %" SCNu32 " %" SCNu32 " %" SCNu64,
                      a, b, &row->owner_count, &row->cdn_share,
                      &row->rate_milli)
                   == 5
            && level_of(b) >= 0) {
            row->id = keep(a);
            row->level = (enum level) level_of(b);
            row->is_cdn_forbidden = strstr(line, " no-cdn") != NULL;
            table.row_count++;
            continue;
        }
        fprintf(stderr, "vodst-table: not understood: %s", line);
        return 1;
    }

    struct buffer out;
    buffer_init(&out, TABLE_SIZE_MAX);
    int err = table_encode(&table, &out);
    if (err != 0)
        return fail("cannot make the table", err);
    bool is_written = fwrite(out.ptr, 1, out.len, stdout) == out.len;
    buffer_fini(&out);
    return is_written ? 0 : 1;
}

static int
load(FILE *file, struct table_snapshot **out)
{
    struct buffer encoded;
    if (file == NULL)
        return ERR_NOT_FOUND;
    int err = read_all(file, &encoded);
    if (err == 0)
        err = table_decode(buffer_bytes(&encoded), out);
    buffer_fini(&encoded);
    return err;
}

static int
show(void)
{
    struct table_snapshot *snapshot;
    int err = load(stdin, &snapshot);
    if (err != 0)
        return fail("not a load table", err);
    const struct table *t = &snapshot->table;
    printf("version %" PRIu64 ".%" PRIu64 "\n", t->version.term,
           t->version.sequence);
    if (t->is_cdn_forbidden)
        printf("no-cdn\n");
    for (size_t i = 0; i < t->node_count; i++)
        printf("node %.*s %.*s %" PRIu32 " %" PRIu32 " %s\n",
               (int) t->nodes[i].name.len, (const char *) t->nodes[i].name.ptr,
               (int) t->nodes[i].url.len, (const char *) t->nodes[i].url.ptr,
               t->nodes[i].weight, t->nodes[i].load,
               node_state_name(t->nodes[i].state));
    for (size_t i = 0; i < t->row_count; i++)
        printf("row %.*s %s %" PRIu32 " %" PRIu32 " %" PRIu64 "%s\n",
               (int) t->rows[i].id.len, (const char *) t->rows[i].id.ptr,
               level_name(t->rows[i].level), t->rows[i].owner_count,
               t->rows[i].cdn_share, t->rows[i].rate_milli,
               t->rows[i].is_cdn_forbidden ? " no-cdn" : "");
    table_free(snapshot);
    return 0;
}

static int
show_owners(const char *path)
{
    struct table_snapshot *snapshot;
    FILE *file = fopen(path, "rb");
    int err = load(file, &snapshot);
    if (file != NULL)
        fclose(file);
    if (err != 0)
        return fail(path, err);
    char id[LINE_SIZE_MAX];
    while (scanf("%1023s", id) == 1) {
        uint16_t owners[PLACEMENT_NODES_MAX];
        struct bytes content = bytes_of_text(id);
        size_t n =
            route_owners(snapshot, content, content_hash(content), owners);
        printf("%s", id);
        for (size_t i = 0; i < n; i++) {
            struct bytes name = snapshot->table.nodes[owners[i]].name;
            printf(" %.*s", (int) name.len, (const char *) name.ptr);
        }
        printf("\n");
    }
    table_free(snapshot);
    return 0;
}

static int
sign(const char *path, const char *expires)
{
    struct buffer text;
    struct token_keys *keys = NULL;
    unsigned line = 0;
    buffer_init(&text, 0);
    int err = read_file(path, &text);
    if (err == 0)
        err = token_keys_parse(buffer_bytes(&text), &keys, &line);
    buffer_fini(&text);
    if (err != 0)
        return fail(path, err);

    char id[LINE_SIZE_MAX];
    struct token_claims claims = {.expires_s =
                                      (uint32_t) strtoul(expires, NULL, 10)};
    while (scanf("%1023s %" SCNx64, id, &claims.session) == 2) {
        char token[TOKEN_TEXT_LEN];
        err = token_sign(keys, bytes_of_text(id), &claims, token);
        if (err != 0)
            return fail(id, err);
        printf("%.*s\n", TOKEN_TEXT_LEN, token);
    }
    token_keys_free(keys);
    return 0;
}

static int
show_counters(const char *path)
{
    int fd = open(path, O_RDONLY);
    struct stat st;
    if (fd == -1 || fstat(fd, &st) == -1) {
        perror(path);
        return 1;
    }
    void *map = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    struct counters counters;
    int err = map == MAP_FAILED
                  ? ERR_IO
                  : counters_open(map, (size_t) st.st_size, &counters);
    if (err != 0)
        return fail(path, err);

    printf("boot %016" PRIx64 "\noverflow %" PRIu64 "\nused %" PRIu32 "\n",
           counters.boot, counters_overflow(&counters),
           counters_used(&counters));
    struct counters_entry e;
    for (uint32_t cursor = 0; counters_next(&counters, &cursor, &e);)
        printf("content %.*s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
               " %" PRIu32 "\n",
               (int) e.id.len, (const char *) e.id.ptr, e.values.requests,
               e.values.bytes, e.values.starts, e.values.offloaded,
               e.values.starved);
    return 0;
}

static int
make_revoked(const char *number)
{
    static uint64_t sessions[REVOCATIONS_MAX];
    size_t count = 0;
    struct buffer out;
    while (count < REVOCATIONS_MAX && scanf("%" SCNx64, &sessions[count]) == 1)
        count++;
    buffer_init(&out, REVOCATIONS_SIZE_MAX);
    int err =
        revocations_encode(strtoull(number, NULL, 10), sessions, count, &out);
    if (err == 0 && fwrite(out.ptr, 1, out.len, stdout) != out.len)
        err = ERR_IO;
    buffer_fini(&out);
    return err != 0 ? fail("standard output", err) : 0;
}

int
main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "make") == 0 && argc == 2)
        return make();
    if (strcmp(word, "show") == 0 && argc == 2)
        return show();
    if (strcmp(word, "owners") == 0 && argc == 3)
        return show_owners(argv[2]);
    if (strcmp(word, "sign") == 0 && argc == 4)
        return sign(argv[2], argv[3]);
    if (strcmp(word, "counters") == 0 && argc == 3)
        return show_counters(argv[2]);
    if (strcmp(word, "revoked") == 0 && argc == 3)
        return make_revoked(argv[2]);
    fprintf(stderr, "usage: vodst-table make | show | owners FILE | "
                    "sign KEYS EXPIRES | counters FILE | "
                    "revoked NUMBER\n");
    return 2;
}
