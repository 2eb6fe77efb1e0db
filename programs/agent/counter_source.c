/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For each slot of the file the agent keeps one number, the requests that the
 * Manager has acknowledged, and for each block the number of changes that
 * these belong to: only blocks whose number differs are walked. Both are kept
 * modulo 2^32: nobody counts that much between two reports.
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

/* room that the entries of a block and the end of a report may take */
#define REPORT_BLOCK_ROOM (COUNTERS_BLOCK_SLOTS * 128 + 256)

struct reported { /* an entry of a report */
    uint32_t slot;
    uint32_t requests, changes; /* as of that report */
    uint32_t more;              /* requests that came with it */
};

struct counter_source {
    const char *path;
    int fd; /* -1: no file is mapped */
    dev_t device;
    ino_t inode;
    struct counters counters;
    uint32_t *requests;     /* acknowledged, by slot */
    uint32_t *changes;      /* by block, in the same allocation */
    struct reported *sent;  /* with the last report, by slot */
    uint64_t base;          /* of the last report that was acknowledged */
    uint64_t sent_sequence; /* of the one on its way; 0: none */
    bool has_more;          /* than went with that one */
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
    free(s->requests);
    s->requests = s->changes = NULL;
    s->sent_count = 0;
    s->base = 0;
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
    uint32_t *requests = NULL;
    if (err == 0) {
        requests = calloc((size_t) counters.slot_count
                              + counters_block_count(&counters),
                          sizeof *requests);
        err = requests == NULL ? ERR_MEMORY : 0;
    }
    if (err != 0) {
        munmap(map, size);
        return err;
    }
    s->counters = counters;
    s->counters.map_size = size;
    s->requests = requests;
    s->changes = requests + counters.slot_count;
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
remember(struct counter_source *s, const struct reported *entry)
{
    if (s->sent_count == s->sent_room) {
        const size_t room = s->sent_room == 0 ? 256 : s->sent_room * 2;
        struct reported *sent = realloc(s->sent, room * sizeof *sent);
        if (sent == NULL)
            return ERR_MEMORY;
        s->sent = sent;
        s->sent_room = room;
    }
    s->sent[s->sent_count++] = *entry;
    return 0;
}

/* The next block from *block on in which something was counted that is not
 * acknowledged; false: none. What its slots hold then is at least that. */
static bool
next_changed(const struct counter_source *s, uint32_t *block, uint32_t *changes)
{
    const uint32_t *now = counters_changes(&s->counters);
    const uint32_t count = counters_block_count(&s->counters);
    for (; *block < count; ++*block) {
        *changes = __atomic_load_n(&now[*block], __ATOMIC_RELAXED);
        if (*changes == s->changes[*block])
            continue;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        return true;
    }
    return false;
}

static uint32_t
block_end(const struct counter_source *s, uint32_t block)
{
    const uint32_t end = (block + 1) * COUNTERS_BLOCK_SLOTS;
    return end < s->counters.slot_count ? end : s->counters.slot_count;
}

static int
block_report(struct counter_source *s, uint32_t block, uint32_t changes,
             struct buffer *report)
{
    const uint32_t end = block_end(s, block);
    for (uint32_t i = block * COUNTERS_BLOCK_SLOTS; i < end; i++) {
        struct counters_entry entry;
        if ((uint32_t) counters_requests(&s->counters, i) == s->requests[i]
            || !counters_get(&s->counters, i, &entry))
            continue;
        const struct report_entry out = {.id = entry.id,
                                         .values = entry.values};
        const uint32_t requests = (uint32_t) entry.values.requests;
        const struct reported sent = {
            .slot = i,
            .requests = requests,
            .changes = changes,
            .more = requests - s->requests[i],
        };
        report_add(report, &out);
        const int err = remember(s, &sent);
        if (err != 0)
            return err;
    }
    return 0;
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
    uint32_t changes;
    s->sent_count = 0;
    s->sent_sequence = sequence;
    s->has_more = false;
    if (s->fd < 0)
        return 0;
    for (uint32_t block = 0; next_changed(s, &block, &changes); block++) {
        if (report->len + REPORT_BLOCK_ROOM > report->size_max) {
            s->has_more = true;
            report_has_more(report);
            break;
        }
        const int err = block_report(s, block, changes, report);
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
    for (size_t i = 0; i < s->sent_count; i++) {
        const struct reported *entry = &s->sent[i];
        s->requests[entry->slot] = entry->requests;
        s->changes[entry->slot / COUNTERS_BLOCK_SLOTS] = entry->changes;
    }
    s->base = s->sent_sequence;
    s->sent_sequence = 0;
    return s->has_more;
}

void
counter_source_forget(struct counter_source *s)
{
    s->base = 0;
    s->sent_sequence = 0;
    if (s->fd < 0)
        return;
    memset(s->requests, 0, s->counters.slot_count * sizeof *s->requests);
    memset(s->changes, 0,
           counters_block_count(&s->counters) * sizeof *s->changes);
}

bool
counter_source_has_jumped(const struct counter_source *s, uint32_t least,
                          double spans)
{
    const struct reported *before = s->sent, *end = before + s->sent_count;
    uint32_t changes;
    if (s->fd < 0)
        return false;
    for (uint32_t block = 0; next_changed(s, &block, &changes); block++) {
        uint32_t slot = block * COUNTERS_BLOCK_SLOTS;
        for (; slot < block_end(s, block); slot++) {
            const uint32_t more =
                (uint32_t) counters_requests(&s->counters, slot)
                - s->requests[slot];
            while (before < end && before->slot < slot)
                before++;
            const bool is_known = before < end && before->slot == slot;
            const double usual = is_known ? before->more * spans : 0;
            if (more >= least + 2 * usual)
                return true;
        }
    }
    return false;
}
