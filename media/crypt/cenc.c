/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cipher of a segment (23001-7 §9.5, §10.1, §10.4.2). Of `cenc` the counter
 * runs on over the encrypted bytes of a sample. Of `cbcs` the chain starts anew
 * with each subsample, and what is left behind its last whole block is clear.
 *
 * What of the chains is there whole is put off until all of a run is known, and
 * encrypted together; of a pattern the blocks are brought together for that. A
 * block that comes or leaves in pieces is put together in `block`. Where the
 * samples are changed in place such a block is left until it is whole.
 */
#include "media/crypt/cenc_private.h"

#include "core/err.h"
#include "media/crypt/aes.h"

#include <openssl/evp.h>
#include <stdlib.h>

#define BLOCK AES_BLOCK_SIZE
#define PATTERN_BLOCKS 10u
#define BATCH_BLOCKS 256u

struct cenc_transform {
    struct transform super;
    struct buffer header;
    size_t header_put;
    struct cenc_table table;
    uint32_t sample;     /* the current */
    uint32_t entry;      /* of the table */
    uint32_t entry_left; /* of the sample, this one included */
    uint32_t position;   /* in the entry */
    bool is_cbc, is_clear;
    uint32_t stride; /* bytes from one encrypted block to the next */
    uint8_t iv[CRYPT_KEY_SIZE];
    uint64_t iv_next; /* of cenc */
    struct aes *aes;
    uint8_t chain_iv[BLOCK]; /* of cbcs, what a chain goes on with */
    uint8_t block[BLOCK];
    uint32_t block_len, block_put; /* put: of the encrypted one */
};

/* A part of a chain whose blocks lie in the output, not encrypted yet. */
struct piece {
    uint8_t *out;
    size_t count;  /* blocks */
    bool is_first; /* of its chain */
};

/* In one run; all but the last are a chain's end. */
struct pieces {
    struct piece list[AES_CHAINS_MAX];
    size_t count, block_count;
};

static void
io_pass(struct transform_io *io, size_t in, size_t out)
{
    io->in += in;
    io->in_len -= in;
    io->out += out;
    io->out_len -= out;
}

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* As it is; `len` is the most. */
static size_t
copy_run(struct transform_io *io, size_t len)
{
    len = least(len, least(io->in_len, io->out_len));
    if (len > 0 && io->out != io->in)
        memcpy(io->out, io->in, len);
    io_pass(io, len, len);
    return len;
}

static int
counter_run(struct cenc_transform *t, struct transform_io *io, size_t len)
{
    len = least(least(len, 1u << 30), least(io->in_len, io->out_len));
    const int err = aes_counter_run(t->aes, io->in, io->out, len);
    io_pass(io, len, len);
    t->position += (uint32_t) len;
    return err;
}

static void
blocks_move(const struct cenc_transform *t, const struct piece *piece,
            uint8_t *blocks, bool is_back)
{
    for (size_t i = 0; i < piece->count; i++) {
        uint8_t *out = piece->out + i * t->stride, *in = blocks + i * BLOCK;
        memcpy(is_back ? out : in, is_back ? in : out, BLOCK);
    }
}

static int
pieces_run(struct cenc_transform *t, struct pieces *pieces)
{
    struct aes_chain chains[AES_CHAINS_MAX];
    uint8_t blocks[BATCH_BLOCKS * BLOCK];
    const bool is_pattern = t->stride > BLOCK;
    size_t put = 0;
    if (pieces->count == 0)
        return 0;
    for (size_t i = 0; i < pieces->count; i++) {
        const struct piece *piece = &pieces->list[i];
        chains[i].bytes = is_pattern ? blocks + put : piece->out;
        chains[i].len = piece->count * BLOCK;
        memcpy(chains[i].iv, piece->is_first ? t->iv : t->chain_iv, BLOCK);
        if (is_pattern)
            blocks_move(t, piece, chains[i].bytes, false);
        put += chains[i].len;
    }
    const int err = aes_chains_run(t->aes, chains, pieces->count);
    for (size_t i = 0; is_pattern && i < pieces->count; i++)
        blocks_move(t, &pieces->list[i], chains[i].bytes, true);
    memcpy(t->chain_iv, chains[pieces->count - 1].iv, BLOCK);
    pieces->count = pieces->block_count = 0;
    return err;
}

/* As many encrypted blocks as are there whole, with what is between them; `at`
 * is how far in the chain they are. */
static int
blocks_run(struct cenc_transform *t, struct pieces *pieces,
           struct transform_io *io, size_t len, uint32_t at)
{
    len = least(len, least(io->in_len, io->out_len));
    size_t count = (len - BLOCK) / t->stride + 1;
    int err = 0;
    if (at > 0 || pieces->count == AES_CHAINS_MAX
        || pieces->block_count == BATCH_BLOCKS)
        err = pieces_run(t, pieces);
    if (t->stride > BLOCK) {
        count = least(count, BATCH_BLOCKS - pieces->block_count);
        pieces->block_count += count;
    }
    pieces->list[pieces->count++] =
        (struct piece){.out = io->out, .count = count, .is_first = at == 0};
    t->position += (uint32_t) copy_run(io, least(len, count * t->stride));
    return err;
}

/* A block that is not there whole, or for which there is no room. */
static int
block_run(struct cenc_transform *t, struct transform_io *io, uint32_t at)
{
    if (t->block_len < BLOCK) {
        const size_t len = least(BLOCK - t->block_len, io->in_len);
        if (len > 0)
            memcpy(t->block + t->block_len, io->in, len);
        t->block_len += (uint32_t) len;
        io_pass(io, len, 0);
        if (t->block_len < BLOCK)
            return 0;
        struct pieces one = {.count = 1};
        one.list[0] = (struct piece){t->block, 1, at == 0};
        const int err = pieces_run(t, &one);
        if (err != 0)
            return err;
    }
    const size_t len = least(BLOCK - t->block_put, io->out_len);
    if (len > 0)
        memcpy(io->out, t->block + t->block_put, len);
    t->block_put += (uint32_t) len;
    io_pass(io, 0, len);
    if (t->block_put == BLOCK) {
        t->position += BLOCK;
        t->block_len = t->block_put = 0;
    }
    return 0;
}

/* `rest` is the encrypted part of the entry, `at` how far in it is. */
static int
chain_run(struct cenc_transform *t, struct pieces *pieces,
          struct transform_io *io, uint32_t rest, uint32_t at)
{
    const uint32_t in_stride = at % t->stride, left = rest - at;
    if (in_stride != 0 || left < BLOCK) {
        const uint32_t len = in_stride != 0 ? t->stride - in_stride : left;
        t->position += (uint32_t) copy_run(io, least(len, left));
        return 0;
    }
    if (t->block_len == 0 && io->in_len >= BLOCK && io->out_len >= BLOCK)
        return blocks_run(t, pieces, io, left, at);
    if (io->in == io->out)
        return 0;
    const int err = pieces_run(t, pieces); /* that of its chain */
    return err != 0 ? err : block_run(t, io, at);
}

/* To the next entry that has bytes; false at the end. */
static bool
entry_next(struct cenc_transform *t, int *err)
{
    const struct cenc_table *table = &t->table;
    while (t->entry_left == 0) {
        if (++t->sample >= table->sample_count) /* from UINT32_MAX */
            return false;
        t->entry_left = table->counts[t->sample];
        if (!t->is_cbc) {
            store_be64(t->iv, t->iv_next++);
            if (!t->is_clear)
                *err = aes_counter_start(t->aes, t->iv);
        }
    }
    t->position = 0;
    return *err == 0;
}

static int
entry_run(struct cenc_transform *t, struct pieces *pieces,
          const struct subsample *entry, struct transform_io *io)
{
    const uint32_t clear =
        t->is_clear ? entry->clear + entry->rest : entry->clear;
    const uint32_t end = entry->clear + entry->rest;
    if (t->position < clear) {
        t->position += (uint32_t) copy_run(io, clear - t->position);
        return 0;
    }
    if (!t->is_cbc)
        return counter_run(t, io, end - t->position);
    return chain_run(t, pieces, io, entry->rest, t->position - entry->clear);
}

static int
cenc_run(struct transform *self, struct transform_io *io)
{
    struct cenc_transform *t = (struct cenc_transform *) self;
    const size_t header = least(t->header.len - t->header_put, io->out_len);
    if (header > 0)
        memcpy(io->out, t->header.ptr + t->header_put, header);
    t->header_put += header;
    io_pass(io, 0, header);
    if (t->header_put < t->header.len)
        return 0;
    buffer_fini(&t->header);
    t->header_put = 0;
    struct pieces pieces;
    int err = 0;
    pieces.count = pieces.block_count = 0;
    while (t->sample != t->table.sample_count && err == 0) {
        const struct subsample *entry = &t->table.entries[t->entry];
        if (t->entry_left > 0 && t->position < entry->clear + entry->rest) {
            const size_t in_len = io->in_len, out_len = io->out_len;
            err = entry_run(t, &pieces, entry, io);
            if (io->in_len == in_len && io->out_len == out_len)
                break;
        } else {
            if (t->entry_left > 0) {
                t->entry++;
                t->entry_left--;
            }
            if (!entry_next(t, &err))
                break;
        }
    }
    return err != 0 ? err : pieces_run(t, &pieces);
}

static void
cenc_close(struct transform *self)
{
    struct cenc_transform *t = (struct cenc_transform *) self;
    aes_close(t->aes);
    cenc_table_fini(&t->table);
    buffer_fini(&t->header);
    free(t);
}

uint64_t
crypt_fingerprint(const struct crypt *crypt)
{
    uint8_t text[3 * CRYPT_KEY_SIZE + 11 + EVP_MAX_MD_SIZE] = {
        (uint8_t) crypt->scheme, crypt->is_clear, crypt->has_periods};
    uint8_t digest[EVP_MAX_MD_SIZE];
    store_be64(text + 3, crypt->iv_base);
    memcpy(text + 11, crypt->key.kid, CRYPT_KEY_SIZE);
    memcpy(text + 11 + CRYPT_KEY_SIZE, crypt->key.key, CRYPT_KEY_SIZE);
    memcpy(text + 11 + 2 * CRYPT_KEY_SIZE, crypt->key.iv, CRYPT_KEY_SIZE);
    const bool is_done =
        EVP_Digest(crypt->pssh.ptr, crypt->pssh.len,
                   text + 11 + 3 * CRYPT_KEY_SIZE, NULL, EVP_sha256(), NULL)
            == 1
        && EVP_Digest(text, sizeof text, digest, NULL, EVP_sha256(), NULL) == 1;
    explicit_bzero(text, sizeof text);
    return is_done ? load_be64(digest) : 0;
}

int
cenc_transform_open(const struct cenc_segment *segment,
                    const struct crypt *crypt, struct transform **out)
{
    const bool is_video = segment->info->kind == TRACK_VIDEO;
    const uint64_t iv = crypt->iv_base + ((uint64_t) segment->number << 32);
    struct cenc_transform *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_MEMORY;
    t->super.is_in_place = true;
    t->super.run = cenc_run;
    t->super.close = cenc_close;
    t->sample = UINT32_MAX; /* before the first */
    t->is_cbc = crypt->scheme == CRYPT_CBCS;
    t->is_clear = crypt->is_clear;
    t->iv_next = iv;
    buffer_init(&t->header, 16u << 20);
    if (crypt->scheme == CRYPT_CBCS)
        memcpy(t->iv, crypt->key.iv, sizeof t->iv);
    int err =
        cenc_table_init(segment->info, segment->map, crypt->scheme, &t->table);
    if (err == 0)
        err = aes_open(crypt->key.key, &t->aes);
    if (err == 0)
        err = cenc_header_write(segment->header, &t->table, crypt, is_video, iv,
                                &t->header);
    if (err != 0) {
        cenc_close(&t->super);
        return err;
    }
    t->stride = t->is_cbc && is_video ? BLOCK * PATTERN_BLOCKS : BLOCK;
    t->super.size_in = t->table.size;
    t->super.size_out = t->header.len + t->table.size;
    *out = &t->super;
    return 0;
}
