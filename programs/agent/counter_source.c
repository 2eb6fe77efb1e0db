/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For each slot of the file the agent keeps one number, the sum of the slot's
 * counts that the Manager has acknowledged: counts only grow, so a different
 * sum is a change.
 */

#include "programs/agent/counter_source.h"

#include "core/err.h"
#include "platform/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* room that an entry and the end of a report may take */
#define REPORT_ENTRY_ROOM 256

struct on_its_way {
    uint32_t slot;
    uint64_t sum;
};

struct counter_source {
    const char *path;
    int fd; /* -1: no file is mapped */
    dev_t device;
    ino_t inode;
    struct counters counters;
    uint64_t *acknowledged; /* sums, by slot */
    uint64_t base;          /* of the last report that was acknowledged */
    uint64_t sent_sequence; /* of the one on its way; 0: none */
    uint32_t from, until;   /* slots that one goes through; 0: the last */
    struct on_its_way *sent;
    size_t sent_count, sent_room;
    dev_t refused_device; /* the file that was complained about */
    ino_t refused_inode;
};

static void
unmap(struct counter_source *s)
{
    if (s->fd < 0)
        return;
    munmap(s->counters.map, s->counters.map_size);
    close(s->fd);
    free(s->acknowledged);
    s->acknowledged = NULL;
    s->base = 0;
    s->from = 0;
    s->sent_sequence = 0;
    s->counters = (struct counters){0};
    s->fd = -1;
}

static void
refuse(struct counter_source *s, const struct stat *st, const char *reason)
{
    if (s->refused_device == st->st_dev && s->refused_inode == st->st_ino)
        return;
    log_warn("agent: refuse counter file %s (%s)", s->path, reason);
    s->refused_device = st->st_dev;
    s->refused_inode = st->st_ino;
}

/* Takes fd when it succeeds. */
static int
map_fd(struct counter_source *s, int fd, const struct stat *st)
{
    const size_t size = (size_t) st->st_size;
    if (!S_ISREG(st->st_mode) || size == 0)
        return ERR_INVALID;
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return ERR_IO;
    struct counters counters;
    int err = counters_open(map, size, &counters);
    uint64_t *acknowledged = NULL;
    if (err == 0) {
        acknowledged = calloc(counters.slot_count, sizeof *acknowledged);
        err = acknowledged == NULL ? ERR_MEMORY : 0;
    }
    if (err != 0) {
        munmap(map, size);
        return err;
    }
    s->counters = counters;
    s->counters.map_size = size;
    s->acknowledged = acknowledged;
    s->fd = fd;
    s->device = st->st_dev;
    s->inode = st->st_ino;
    return 0;
}

static void
open_file(struct counter_source *s)
{
    struct stat st;
    const int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return; /* nginx has not made it yet */
    int err = fstat(fd, &st) != 0 ? ERR_IO : map_fd(s, fd, &st);
    if (err == 0) {
        log_info("agent: read counter file %s (boot %016llx, %u contents)",
                 s->path, (unsigned long long) s->counters.boot,
                 counters_used(&s->counters));
        return;
    }
    refuse(s, &st, err == ERR_IO ? strerror(errno) : err_text(err));
    close(fd);
}

/* The mapped file is still the one at the path, and as long as its map. */
static bool
is_current(const struct counter_source *s)
{
    struct stat at_path, mapped;
    if (fstat(s->fd, &mapped) != 0
        || (size_t) mapped.st_size < s->counters.map_size)
        return false; /* cut short: reading on would be a fault */
    if (stat(s->path, &at_path) != 0)
        return true; /* removed: what is mapped still counts */
    return at_path.st_dev == s->device && at_path.st_ino == s->inode;
}

static int
remember(struct counter_source *s, uint32_t slot, uint64_t sum)
{
    if (s->sent_count == s->sent_room) {
        const size_t room = s->sent_room == 0 ? 256 : s->sent_room * 2;
        struct on_its_way *sent = realloc(s->sent, room * sizeof *sent);
        if (sent == NULL)
            return ERR_MEMORY;
        s->sent = sent;
        s->sent_room = room;
    }
    s->sent[s->sent_count++] = (struct on_its_way){slot, sum};
    return 0;
}

static uint64_t
sum_of(const struct counters_values *values)
{
    return values->requests + values->bytes + values->starts
           + values->offloaded;
}

struct counter_source *
counter_source_new(const char *path)
{
    struct counter_source *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->path = path;
    s->fd = -1;
    return s;
}

void
counter_source_free(struct counter_source *s)
{
    if (s == NULL)
        return;
    unmap(s);
    free(s->sent);
    free(s);
}

bool
counter_source_refresh(struct counter_source *s)
{
    if (s->fd >= 0 && !is_current(s))
        unmap(s);
    if (s->fd < 0)
        open_file(s);
    return s->fd >= 0;
}

uint64_t
counter_source_boot(const struct counter_source *s)
{
    return s->fd < 0 ? 0 : s->counters.boot;
}

uint64_t
counter_source_overflow(const struct counter_source *s)
{
    return s->fd < 0 ? 0 : counters_overflow(&s->counters);
}

uint64_t
counter_source_base(const struct counter_source *s)
{
    return s->base;
}

int
counter_source_report(struct counter_source *s, uint64_t sequence,
                      struct buffer *report)
{
    uint32_t cursor = s->from;
    struct counters_entry entry;
    s->sent_count = 0;
    s->sent_sequence = sequence;
    s->until = 0;
    while (s->fd >= 0 && counters_next(&s->counters, &cursor, &entry)) {
        const uint64_t sum = sum_of(&entry.values);
        if (s->acknowledged[entry.slot] == sum)
            continue;
        if (report->len + REPORT_ENTRY_ROOM > report->size_max) {
            s->until = entry.slot;
            report_has_more(report);
            break;
        }
        const struct report_entry out = {.id = entry.id,
                                         .values = entry.values};
        report_add(report, &out);
        const int err = remember(s, entry.slot, sum);
        if (err != 0)
            return err;
    }
    return 0;
}

bool
counter_source_acknowledge(struct counter_source *s)
{
    if (s->sent_sequence == 0) /* the file was replaced since */
        return true;
    for (size_t i = 0; i < s->sent_count; i++)
        s->acknowledged[s->sent[i].slot] = s->sent[i].sum;
    s->base = s->sent_sequence;
    s->sent_sequence = 0;
    s->from = s->until;
    return s->until > 0;
}

void
counter_source_forget(struct counter_source *s)
{
    if (s->fd >= 0)
        memset(s->acknowledged, 0,
               s->counters.slot_count * sizeof *s->acknowledged);
    s->base = 0;
    s->from = 0;
    s->sent_sequence = 0;
}
