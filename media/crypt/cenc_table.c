/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map's subsamples as one scheme wants them. Of H.264 and HEVC `cenc` takes
 * whole blocks from behind (23001-7 §9.5.2.5), and so do both schemes of AV1
 * and VP9 (their bindings to ISO BMFF): no block of the counter is shared.
 */
#include "media/crypt/cenc_private.h"

#include "core/err.h"

#include <stdlib.h>

#define CLEAR_MAX 0xffffu
/* saiz counts in bytes of 8 bits: an IV, a count and these */
#define ENTRIES_MAX 40u

static bool
has_whole_blocks(const struct track_info *info, enum crypt_scheme scheme)
{
    if (scheme == CRYPT_CENC)
        return true;
    const struct bytes entry = info->sample_entry;
    return entry.len >= 8
           && (memcmp(entry.ptr + 4, "av01", 4) == 0
               || memcmp(entry.ptr + 4, "vp09", 4) == 0);
}

/* The entries of one sample into `out`, of which there is room for
 * ENTRIES_MAX; of its subsamples the first `kept` are encrypted. 0: too
 * many. */
static unsigned
entries_write(const struct subsample *subsamples, unsigned count, unsigned kept,
              bool is_aligned, struct subsample *out)
{
    uint64_t clear = 0;
    unsigned n = 0;
    for (unsigned i = 0; i < count; i++) {
        uint32_t rest = i < kept ? subsamples[i].rest : 0;
        if (is_aligned)
            rest -= rest % 16;
        clear += subsamples[i].clear + (subsamples[i].rest - rest);
        if (rest == 0 && i + 1 < count)
            continue;
        for (; clear > CLEAR_MAX; clear -= CLEAR_MAX) {
            if (n == ENTRIES_MAX)
                return 0;
            out[n++] = (struct subsample){CLEAR_MAX, 0};
        }
        if (n == ENTRIES_MAX)
            return 0;
        out[n++] = (struct subsample){(uint32_t) clear, rest};
        clear = 0;
    }
    return n;
}

/* Where there are too many the last ones stay in the clear. */
static unsigned
sample_write(const struct subsample *subsamples, unsigned count,
             bool is_aligned, struct subsample *out)
{
    unsigned kept = count, n;
    do {
        n = entries_write(subsamples, count, kept, is_aligned, out);
    } while (n == 0 && kept-- > 0);
    return n;
}

static int
whole_samples_write(const struct segment_map *map, struct cenc_table *out)
{
    out->is_whole = true;
    out->entries = calloc(map->sample_count, sizeof *out->entries);
    if (out->entries == NULL)
        return ERR_MEMORY;
    for (uint32_t i = 0; i < map->sample_count; i++) {
        out->entries[i].rest = map->samples[i].size;
        out->counts[i] = 1;
        out->size += map->samples[i].size;
    }
    return 0;
}

static int
subsamples_write(const struct segment_map *map, bool is_aligned,
                 struct cenc_table *out)
{
    const struct subsample *subsamples = map->subsamples;
    struct buffer entries;
    buffer_init(&entries, (size_t) map->sample_count * ENTRIES_MAX
                              * sizeof(struct subsample));
    int err = 0;
    for (uint32_t i = 0; i < map->sample_count && err == 0; i++) {
        struct subsample of_sample[ENTRIES_MAX];
        const unsigned count = map->subsample_counts[i];
        uint64_t sum = 0;
        for (unsigned j = 0; j < count; j++)
            sum += (uint64_t) subsamples[j].clear + subsamples[j].rest;
        const unsigned n =
            sample_write(subsamples, count, is_aligned, of_sample);
        buffer_append(&entries, of_sample, n * sizeof of_sample[0]);
        out->counts[i] = (uint16_t) n;
        out->size += sum;
        subsamples += count;
        err = sum != map->samples[i].size ? ERR_INVALID
              : n == 0 && sum != 0        ? ERR_LIMIT
                                          : entries.err;
    }
    out->entries = (struct subsample *) (void *) entries.ptr;
    return err;
}

int
cenc_table_init(const struct track_info *info, const struct segment_map *map,
                enum crypt_scheme scheme, struct cenc_table *out)
{
    struct cenc_table table = {.sample_count = map->sample_count};
    if (map->sample_count == 0)
        return ERR_INVALID;
    if (info->kind == TRACK_VIDEO && map->subsample_counts == NULL)
        return ERR_UNSUPPORTED;
    table.counts = calloc(map->sample_count, sizeof *table.counts);
    int err = ERR_MEMORY;
    if (table.counts != NULL)
        err =
            map->subsample_counts == NULL
                ? whole_samples_write(map, &table)
                : subsamples_write(map, has_whole_blocks(info, scheme), &table);
    if (err != 0) {
        cenc_table_fini(&table);
        return err;
    }
    *out = table;
    return 0;
}

void
cenc_table_fini(struct cenc_table *table)
{
    free(table->entries);
    free(table->counts);
}
