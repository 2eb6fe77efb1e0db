/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for nginx's meter in tests: makes a counter file and counts in it
 * what it is told to on standard input, until that ends.
 *
 *   counter-tool FILE [CONTENTS]
 *     add ID N [start|offloaded]   counts N requests now
 *     rate ID R [start|offloaded]  from now on R requests/s (0: none)
 *   counter-tool --report FILE NODE URL SEQUENCE [TERM]
 *     writes a full report of FILE to standard output, of a node that holds a
 *     table of that term
 *   counter-tool --table FILE
 *     writes a load table as lines of text, or says why it is none
 */

#include "core/content.h"
#include "core/err.h"
#include "core/report.h"
#include "platform/clock.h"
#include "platform/files.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TICK_MS 10
#define LOADS_MAX 64

struct load {
    char id[CONTENT_ID_LEN_MAX + 1];
    unsigned flags;
    double rate, owed; /* requests/s, requests */
};

static struct load loads[LOADS_MAX];
static size_t load_count;

static void *
map_file(const char *path, int flags, size_t *size)
{
    struct stat st;
    const int fd = open(path, flags, 0644);
    if (fd < 0)
        return NULL;
    if (*size > 0 && ftruncate(fd, (off_t) *size) != 0)
        return NULL;
    if (fstat(fd, &st) != 0)
        return NULL;
    *size = (size_t) st.st_size;
    void *map = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return map == MAP_FAILED ? NULL : map;
}

/* Made beside and renamed, as nginx does it: a reader never sees half. */
static int
make_counters(const char *path, uint32_t contents_max, struct counters *out)
{
    char beside[4096];
    size_t size = counters_file_size(contents_max, COUNTERS_ID_BYTES_DEFAULT);
    snprintf(beside, sizeof beside, "%s.new", path);
    void *map = map_file(beside, O_RDWR | O_CREAT | O_TRUNC, &size);
    if (map == NULL)
        return ERR_IO;
    int err = counters_format(map, size, contents_max,
                              COUNTERS_ID_BYTES_DEFAULT, random_u64() | 1);
    if (err == 0 && rename(beside, path) != 0)
        err = ERR_IO;
    return err != 0 ? err : counters_open(map, size, out);
}

static void
count(struct counters *c, const char *id, uint64_t n, unsigned flags)
{
    const struct bytes text = bytes_of_text(id);
    const uint64_t hash = content_hash(text);
    for (uint64_t i = 0; i < n; i++)
        counters_add(c, hash, text, 1000, flags);
}

static void
set_rate(const char *id, double rate, unsigned flags)
{
    size_t i = 0;
    while (i < load_count
           && (strcmp(loads[i].id, id) != 0 || loads[i].flags != flags))
        i++;
    if (i == LOADS_MAX)
        return;
    if (i == load_count) {
        snprintf(loads[i].id, sizeof loads[i].id, "%s", id);
        loads[i].flags = flags;
        load_count++;
    }
    loads[i].rate = rate;
}

static void
obey(struct counters *c, const char *line)
{
    char verb[8], id[CONTENT_ID_LEN_MAX + 1], flag[16] = "";
    double n;
    if (sscanf(line, "%7s %64s %lf %15s", verb, id, &n, flag) < 3)
        return;
    const unsigned flags = strcmp(flag, "start") == 0 ? COUNTERS_START
                           : strcmp(flag, "offloaded") == 0
                               ? COUNTERS_START | COUNTERS_OFFLOADED
                               : 0;
    if (strcmp(verb, "add") == 0) {
        count(c, id, (uint64_t) n, flags);
        puts("ok");
        fflush(stdout);
    } else if (strcmp(verb, "rate") == 0) {
        set_rate(id, n, flags);
    }
}

static void
tick(struct counters *c, uint64_t since_ms)
{
    for (size_t i = 0; i < load_count; i++) {
        loads[i].owed += loads[i].rate * (double) since_ms / 1000;
        const uint64_t n = (uint64_t) loads[i].owed;
        count(c, loads[i].id, n, loads[i].flags);
        loads[i].owed -= (double) n;
    }
}

/* Lines are split by hand: stdio's buffer and poll(2) do not mix. */
static bool
read_lines(struct counters *c)
{
    static char text[4096];
    static size_t len;
    const ssize_t n = read(STDIN_FILENO, text + len, sizeof text - 1 - len);
    if (n <= 0)
        return false;
    len += (size_t) n;
    text[len] = '\0';
    char *line = text;
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        obey(c, line);
    }
    len -= (size_t) (line - text);
    memmove(text, line, len);
    return len < sizeof text - 1;
}

static int
run(struct counters *c)
{
    uint64_t last_ms = clock_now_ms();
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        if (poll(&input, 1, TICK_MS) > 0 && !read_lines(c))
            return 0;
        const uint64_t now_ms = clock_now_ms();
        tick(c, now_ms - last_ms);
        last_ms = now_ms;
    }
}

static int
write_report(int argc, char **argv)
{
    struct counters c;
    struct buffer out;
    size_t size = 0;
    void *map = map_file(argv[0], O_RDWR, &size);
    if (map == NULL || counters_open(map, size, &c) != 0)
        return 1;
    struct report_header header = {.node = bytes_of_text(argv[1]),
                                   .url = bytes_of_text(argv[2]),
                                   .weight = 100,
                                   .capacity_milli = 100000,
                                   .boot = c.boot,
                                   .sequence = strtoull(argv[3], NULL, 10)};
    if (argc > 4)
        header.held = (struct table_version){strtoull(argv[4], NULL, 10), 1};
    buffer_init(&out, REPORT_SIZE_MAX);
    report_begin(&out, &header);
    uint32_t cursor = 0;
    struct counters_entry entry;
    while (counters_next(&c, &cursor, &entry)) {
        const struct report_entry e = {entry.id, entry.values};
        report_add(&out, &e);
    }
    int status = report_finish(&out) != 0
                 || fwrite(out.ptr, 1, out.len, stdout) != out.len;
    buffer_fini(&out);
    return status;
}

static int
print_table(const char *path)
{
    struct buffer text;
    struct table_snapshot *snapshot;
    buffer_init(&text, TABLE_SIZE_MAX);
    int err = file_read(path, &text);
    if (err == 0)
        err = table_decode(buffer_bytes(&text), &snapshot);
    buffer_fini(&text);
    if (err != 0) {
        printf("error %s\n", err_name(err));
        return 1;
    }
    const struct table *t = &snapshot->table;
    printf("version %llu %llu\n", (unsigned long long) t->version.term,
           (unsigned long long) t->version.sequence);
    for (size_t i = 0; i < t->node_count; i++)
        printf("node %.*s %s %u\n", (int) t->nodes[i].name.len,
               (const char *) t->nodes[i].name.ptr,
               node_state_name(t->nodes[i].state), t->nodes[i].load);
    for (size_t i = 0; i < t->row_count; i++)
        printf("row %.*s %s %u %u\n", (int) t->rows[i].id.len,
               (const char *) t->rows[i].id.ptr, level_name(t->rows[i].level),
               t->rows[i].owner_count, t->rows[i].cdn_share);
    table_free(snapshot);
    return 0;
}

int
main(int argc, char **argv)
{
    struct counters c;
    if (argc == 3 && strcmp(argv[1], "--table") == 0)
        return print_table(argv[2]);
    if (argc >= 6 && strcmp(argv[1], "--report") == 0)
        return write_report(argc - 2, argv + 2);
    if (argc < 2)
        return 2;
    const uint32_t contents = argc > 2 ? (uint32_t) atoi(argv[2]) : 1000;
    const int err = make_counters(argv[1], contents, &c);
    if (err != 0) {
        fprintf(stderr, "counter-tool: %s (%s)\n", argv[1], err_text(err));
        return 1;
    }
    return run(&c);
}
