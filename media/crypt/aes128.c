/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The plain text is written to where the answer goes, and encrypted there
 * while it is in the cache. What is left of a block waits for the next call.
 */

#include "media/crypt/aes128.h"

#include "core/bytes.h"
#include "core/err.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define BLOCK AES128_BLOCK_SIZE
#define STEP_SIZE_MAX (1u << 20) /* bytes; OpenSSL counts in int */

struct aes128_transform {
    struct transform super;
    struct transform *inner; /* NULL: none */
    EVP_CIPHER_CTX *cipher;  /* NULL: only padded */
    uint64_t plain_left;     /* bytes to come from inner */
    bool is_padded;
    uint8_t tail[BLOCK]; /* plain, less than a block between the calls */
    uint32_t tail_len;
    uint8_t block[BLOCK]; /* encrypted, where there was no room for one */
    uint32_t block_left;
};

/* Plain text to `out`: how much came. */
static int
plain_take(struct aes128_transform *t, struct transform_io *io, uint8_t *out,
           size_t room, size_t *came)
{
    struct transform_io inner = {io->in, io->in_len, out, room};
    int err = 0;
    if (t->inner != NULL) {
        err = t->inner->run(t->inner, &inner);
    } else {
        size_t len = io->in_len < room ? io->in_len : room;
        if (len > t->plain_left)
            len = (size_t) t->plain_left;
        if (len > 0)
            memcpy(out, io->in, len);
        inner.in += len;
        inner.in_len -= len;
        inner.out_len -= len;
    }
    io->in = inner.in;
    io->in_len = inner.in_len;
    *came = room - inner.out_len;
    if (err == 0 && *came > t->plain_left)
        return ERR_INVALID;
    t->plain_left -= *came;
    return err;
}

static int
encrypt(struct aes128_transform *t, uint8_t *bytes, size_t len)
{
    int done;
    if (len > 0 && t->cipher != NULL
        && EVP_EncryptUpdate(t->cipher, bytes, &done, bytes, (int) len) != 1)
        return ERR_MEMORY;
    return 0;
}

/* With room for blocks: in place. */
static int
blocks_put(struct aes128_transform *t, struct transform_io *io, size_t *came)
{
    const size_t room =
        io->out_len < STEP_SIZE_MAX ? io->out_len : STEP_SIZE_MAX;
    uint8_t *out = io->out;
    memcpy(out, t->tail, t->tail_len);
    int err = plain_take(t, io, out + t->tail_len, room - t->tail_len, came);
    if (err != 0)
        return err;
    const size_t len = t->tail_len + *came;
    const size_t whole = len - len % BLOCK;
    t->tail_len = (uint32_t) (len - whole);
    memcpy(t->tail, out + whole, t->tail_len);
    io->out += whole;
    io->out_len -= whole;
    return encrypt(t, out, whole);
}

static int
block_fill(struct aes128_transform *t)
{
    memcpy(t->block, t->tail, BLOCK);
    t->tail_len = 0;
    t->block_left = BLOCK;
    return encrypt(t, t->block, BLOCK);
}

/* With room for less than a block: through one of our own. */
static int
block_put(struct aes128_transform *t, struct transform_io *io, size_t *came)
{
    const int err =
        plain_take(t, io, t->tail + t->tail_len, BLOCK - t->tail_len, came);
    if (err != 0)
        return err;
    t->tail_len += (uint32_t) *came;
    return t->tail_len == BLOCK ? block_fill(t) : 0;
}

static int
padding_put(struct aes128_transform *t)
{
    const uint32_t count = BLOCK - t->tail_len;
    memset(t->tail + t->tail_len, (int) count, count);
    t->is_padded = true;
    return block_fill(t);
}

static void
block_drain(struct aes128_transform *t, struct transform_io *io)
{
    const uint32_t len =
        io->out_len < t->block_left ? (uint32_t) io->out_len : t->block_left;
    memcpy(io->out, t->block + BLOCK - t->block_left, len);
    t->block_left -= len;
    io->out += len;
    io->out_len -= len;
}

static int
aes128_run(struct transform *self, struct transform_io *io)
{
    struct aes128_transform *t = (struct aes128_transform *) self;
    while (io->out_len > 0) {
        size_t came = 1;
        int err = 0;
        if (t->block_left > 0)
            block_drain(t, io);
        else if (t->plain_left > 0)
            err = io->out_len >= 2 * BLOCK ? blocks_put(t, io, &came)
                                           : block_put(t, io, &came);
        else if (!t->is_padded)
            err = padding_put(t);
        else
            return 0;
        if (err != 0 || came == 0)
            return err;
    }
    return 0;
}

static void
aes128_close(struct transform *self)
{
    struct aes128_transform *t = (struct aes128_transform *) self;
    if (t->inner != NULL)
        t->inner->close(t->inner);
    EVP_CIPHER_CTX_free(t->cipher); /* wipes the key */
    OPENSSL_cleanse(t, sizeof *t);
    free(t);
}

void
aes128_iv_of_segment(uint32_t number, uint8_t iv[AES128_BLOCK_SIZE])
{
    memset(iv, 0, BLOCK);
    store_be32(iv + BLOCK - 4, number);
}

int
aes128_transform_open(struct transform *inner, uint64_t size,
                      const uint8_t key[AES128_KEY_SIZE],
                      const uint8_t iv[AES128_BLOCK_SIZE],
                      struct transform **out)
{
    struct aes128_transform *t = calloc(1, sizeof *t);
    if (t == NULL) {
        if (inner != NULL)
            inner->close(inner);
        return ERR_MEMORY;
    }
    t->inner = inner;
    t->plain_left = inner != NULL ? inner->size_out : size;
    t->super.size_in = inner != NULL ? inner->size_in : size;
    t->super.size_out = (t->plain_left / BLOCK + 1) * BLOCK;
    t->super.run = aes128_run;
    t->super.close = aes128_close;
    *out = &t->super;
    if (key == NULL)
        return 0;
    t->cipher = EVP_CIPHER_CTX_new();
    if (t->cipher == NULL
        || EVP_EncryptInit_ex(t->cipher, EVP_aes_128_cbc(), NULL, key, iv)
               != 1) {
        aes128_close(&t->super);
        return ERR_MEMORY;
    }
    EVP_CIPHER_CTX_set_padding(t->cipher, 0);
    return 0;
}
