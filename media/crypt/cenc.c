/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cipher of a segment (23001-7 §9.5, §10.1, §10.4.2). Of `cenc` the counter
 * runs on over the encrypted bytes of a sample. Of `cbcs` the chain starts anew
 * with each subsample, and what is left behind its last whole block is clear.
 *
 * A block of CBC that comes or leaves in pieces is put together in `block`. Of
 * a pattern the blocks are brought together and encrypted in one call: a call
 * of EVP costs more than a block. Where the samples are changed in place such a
 * block is left until it is whole.
 */
#include "media/crypt/cenc_private.h"

#include "core/err.h"

#include <openssl/evp.h>
#include <stdlib.h>

#define BLOCK 16u
#define PATTERN_BLOCKS 10u
#define BATCH_BLOCKS 64u

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
    EVP_CIPHER_CTX *cipher;
    uint8_t block[BLOCK];
    uint32_t block_len, block_put; /* put: of the encrypted one */
};

static int
iv_set(struct cenc_transform *t)
{
    return EVP_EncryptInit_ex(t->cipher, NULL, NULL, NULL, t->iv) == 1
               ? 0
               : ERR_MEMORY;
}

static int
cipher_run(struct cenc_transform *t, const uint8_t *in, uint8_t *out,
           size_t len)
{
    int put;
    return EVP_EncryptUpdate(t->cipher, out, &put, in, (int) len) == 1
                   && put == (int) len
               ? 0
               : ERR_MEMORY;
}

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
    const int err = cipher_run(t, io->in, io->out, len);
    io_pass(io, len, len);
    t->position += (uint32_t) len;
    return err;
}

/* As many encrypted blocks as are there whole, with what is between them. */
static int
blocks_run(struct cenc_transform *t, struct transform_io *io, size_t len)
{
    uint8_t batch[BATCH_BLOCKS * BLOCK];
    len = least(len, least(io->in_len, io->out_len));
    size_t count = (len - BLOCK) / t->stride + 1;
    if (t->stride == BLOCK) {
        const size_t size = least(count * BLOCK, 1u << 30);
        const int err = cipher_run(t, io->in, io->out, size);
        io_pass(io, size, size);
        t->position += (uint32_t) size;
        return err;
    }
    count = least(count, BATCH_BLOCKS);
    const size_t size = least(len, count * t->stride);
    uint8_t *out = io->out; /* where it is in the cache */
    t->position += (uint32_t) copy_run(io, size);
    for (size_t i = 0; i < count; i++)
        memcpy(batch + i * BLOCK, out + i * t->stride, BLOCK);
    const int err = cipher_run(t, batch, batch, count * BLOCK);
    for (size_t i = 0; i < count; i++)
        memcpy(out + i * t->stride, batch + i * BLOCK, BLOCK);
    return err;
}

/* A block that is not there whole, or for which there is no room. */
static int
block_run(struct cenc_transform *t, struct transform_io *io)
{
    if (t->block_len < BLOCK) {
        const size_t len = least(BLOCK - t->block_len, io->in_len);
        if (len > 0)
            memcpy(t->block + t->block_len, io->in, len);
        t->block_len += (uint32_t) len;
        io_pass(io, len, 0);
        if (t->block_len < BLOCK)
            return 0;
        const int err = cipher_run(t, t->block, t->block, BLOCK);
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
chain_run(struct cenc_transform *t, struct transform_io *io, uint32_t rest,
          uint32_t at)
{
    const uint32_t in_stride = at % t->stride, left = rest - at;
    if (in_stride != 0 || left < BLOCK) {
        const uint32_t len = in_stride != 0 ? t->stride - in_stride : left;
        t->position += (uint32_t) copy_run(io, least(len, left));
        return 0;
    }
    if (t->block_len > 0 || io->in_len < BLOCK || io->out_len < BLOCK)
        return io->in == io->out ? 0 : block_run(t, io);
    return blocks_run(t, io, left);
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
                *err = iv_set(t);
        }
    }
    t->position = 0;
    if (t->is_cbc && !t->is_clear && table->entries[t->entry].rest > 0)
        *err = iv_set(t);
    return *err == 0;
}

static int
entry_run(struct cenc_transform *t, const struct subsample *entry,
          struct transform_io *io)
{
    const uint32_t clear =
        t->is_clear ? entry->clear + entry->rest : entry->clear;
    const uint32_t end = entry->clear + entry->rest;
    if (t->position < clear) {
        t->position += (uint32_t) copy_run(io, clear - t->position);
        return 0;
    }
    return t->is_cbc ? chain_run(t, io, entry->rest, t->position - entry->clear)
                     : counter_run(t, io, end - t->position);
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
    int err = 0;
    while (t->sample != t->table.sample_count && err == 0) {
        const struct subsample *entry = &t->table.entries[t->entry];
        if (t->entry_left > 0 && t->position < entry->clear + entry->rest) {
            const size_t in_len = io->in_len, out_len = io->out_len;
            err = entry_run(t, entry, io);
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
    return err;
}

static void
cenc_close(struct transform *self)
{
    struct cenc_transform *t = (struct cenc_transform *) self;
    EVP_CIPHER_CTX_free(t->cipher);
    cenc_table_fini(&t->table);
    buffer_fini(&t->header);
    free(t);
}

static int
cipher_open(struct cenc_transform *t, const struct crypt *crypt)
{
    t->is_cbc = crypt->scheme == CRYPT_CBCS;
    t->cipher = EVP_CIPHER_CTX_new();
    if (t->cipher == NULL
        || EVP_EncryptInit_ex(t->cipher,
                              t->is_cbc ? EVP_aes_128_cbc() : EVP_aes_128_ctr(),
                              NULL, crypt->key.key, t->iv)
               != 1
        || EVP_CIPHER_CTX_set_padding(t->cipher, 0) != 1)
        return ERR_MEMORY;
    return 0;
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
    t->is_clear = crypt->is_clear;
    t->iv_next = iv;
    buffer_init(&t->header, 16u << 20);
    if (crypt->scheme == CRYPT_CBCS)
        memcpy(t->iv, crypt->key.iv, sizeof t->iv);
    int err =
        cenc_table_init(segment->info, segment->map, crypt->scheme, &t->table);
    if (err == 0)
        err = cipher_open(t, crypt);
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
