/* SPDX-License-Identifier: Apache-2.0 */
#include "media/crypt/aes.h"

#include "core/err.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if HAS_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

#define ROUND_KEYS 11
#define JOB_SIZE_MAX 65520u /* bytes: a chain's are counted in 16 bits */

struct aes {
    EVP_CIPHER_CTX *counter, *chain; /* NULL: by libipsec-mb */
    /* of libipsec-mb */
    uint8_t round_keys[ROUND_KEYS * AES_BLOCK_SIZE]
        __attribute__((aligned(16)));
    uint8_t block[AES_BLOCK_SIZE]; /* the counter's */
    size_t done;                   /* bytes of that block */
};

/* ---- by libipsec-mb ---- */

#if HAS_IPSEC_MB

/* What is asked of it keeps nothing there from call to call. */
static IMB_MGR *
manager_get(void)
{
    static _Thread_local IMB_MGR *manager;
    static _Thread_local bool is_tried;
    IMB_ARCH arch = IMB_ARCH_NONE;
    if (is_tried)
        return manager;
    is_tried = true;
    manager = alloc_mb_mgr(0);
    if (manager == NULL)
        return NULL;
    init_mb_mgr_auto(manager, &arch);
    if (arch == IMB_ARCH_NONE || arch == IMB_ARCH_NOAESNI) {
        free_mb_mgr(manager);
        manager = NULL;
    }
    return manager;
}

static bool
keys_expand(struct aes *aes, const uint8_t *key)
{
    uint8_t unused[sizeof aes->round_keys] __attribute__((aligned(16)));
    IMB_MGR *manager = manager_get();
    if (manager == NULL)
        return false;
    IMB_AES_KEYEXP_128(manager, key, aes->round_keys, unused);
    explicit_bzero(unused, sizeof unused);
    return true;
}

static void
job_set(const struct aes *aes, IMB_JOB *job, const uint8_t *in, uint8_t *out,
        size_t len, const uint8_t *iv)
{
    job->src = in;
    job->dst = out;
    job->enc_keys = job->dec_keys = aes->round_keys;
    job->key_len_in_bytes = AES_BLOCK_SIZE;
    job->iv = iv;
    job->iv_len_in_bytes = AES_BLOCK_SIZE;
    job->msg_len_to_cipher_in_bytes = len;
    job->cipher_start_src_offset_in_bytes = 0;
}

static void
counter_crypt(const struct aes *aes, const uint8_t *in, uint8_t *out,
              size_t len)
{
    IMB_JOB job;
    job_set(aes, &job, in, out, len, aes->block);
    IMB_SUBMIT_CIPHER_BURST_NOCHECK(manager_get(), &job, 1, IMB_CIPHER_CNTR,
                                    IMB_DIR_ENCRYPT, IMB_KEY_128_BYTES);
}

/* What each chain has from there on, as much of it as one job can do. The IV is
 * read before anything is written. */
static uint32_t
jobs_set(const struct aes *aes, const struct aes_chain *chains, size_t count,
         size_t at, IMB_JOB *jobs)
{
    uint32_t job_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (chains[i].len <= at)
            continue;
        const size_t left = chains[i].len - at;
        uint8_t *bytes = chains[i].bytes + at;
        job_set(aes, &jobs[job_count++], bytes, bytes,
                left < JOB_SIZE_MAX ? left : JOB_SIZE_MAX,
                at == 0 ? chains[i].iv : bytes - AES_BLOCK_SIZE);
    }
    return job_count;
}

static void
chains_crypt(const struct aes *aes, struct aes_chain *chains, size_t count)
{
    IMB_JOB jobs[AES_CHAINS_MAX];
    size_t at = 0;
    uint32_t job_count;
    while ((job_count = jobs_set(aes, chains, count, at, jobs)) > 0) {
        IMB_SUBMIT_CIPHER_BURST_NOCHECK(manager_get(), jobs, job_count,
                                        IMB_CIPHER_CBC, IMB_DIR_ENCRYPT,
                                        IMB_KEY_128_BYTES);
        at += JOB_SIZE_MAX;
    }
}

#else

static bool
keys_expand(struct aes *aes, const uint8_t *key)
{
    return false;
}

static void
counter_crypt(const struct aes *aes, const uint8_t *in, uint8_t *out,
              size_t len)
{
}

static void
chains_crypt(const struct aes *aes, struct aes_chain *chains, size_t count)
{
}

#endif

/* The counter's block, `blocks` later. */
static void
counter_add(struct aes *aes, size_t blocks)
{
    uint32_t count = 0;
    for (size_t i = AES_BLOCK_SIZE - 4; i < AES_BLOCK_SIZE; i++)
        count = count << 8 | aes->block[i];
    count += (uint32_t) blocks;
    for (size_t i = AES_BLOCK_SIZE; i-- > AES_BLOCK_SIZE - 4; count >>= 8)
        aes->block[i] = (uint8_t) count;
}

/* What is left of a block of which some was used; returns how much. */
static size_t
counter_rest(struct aes *aes, const uint8_t *in, uint8_t *out, size_t len)
{
    uint8_t stream[AES_BLOCK_SIZE] = {0};
    size_t i = 0;
    if (aes->done == 0)
        return 0;
    counter_crypt(aes, stream, stream, sizeof stream);
    for (; i < len && aes->done < AES_BLOCK_SIZE; i++)
        out[i] = in[i] ^ stream[aes->done++];
    if (aes->done == AES_BLOCK_SIZE) {
        aes->done = 0;
        counter_add(aes, 1);
    }
    return i;
}

static void
counter_blocks(struct aes *aes, const uint8_t *in, uint8_t *out, size_t len)
{
    const size_t rest = counter_rest(aes, in, out, len);
    len -= rest;
    if (len == 0)
        return;
    counter_crypt(aes, in + rest, out + rest, len);
    counter_add(aes, len / AES_BLOCK_SIZE);
    aes->done = len % AES_BLOCK_SIZE;
}

/* ---- by OpenSSL ---- */

static EVP_CIPHER_CTX *
evp_open(const EVP_CIPHER *cipher, const uint8_t *key)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx != NULL
        && (EVP_EncryptInit_ex(ctx, cipher, NULL, key, NULL) != 1
            || EVP_CIPHER_CTX_set_padding(ctx, 0) != 1)) {
        EVP_CIPHER_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

static int
evp_start(EVP_CIPHER_CTX *ctx, const uint8_t *iv)
{
    return EVP_EncryptInit_ex(ctx, NULL, NULL, NULL, iv) == 1 ? 0 : ERR_MEMORY;
}

static int
evp_run(EVP_CIPHER_CTX *ctx, const uint8_t *in, uint8_t *out, size_t len)
{
    int put;
    while (len > 0) {
        const int n = len < INT_MAX / 2 ? (int) len : INT_MAX / 2 + 1;
        if (EVP_EncryptUpdate(ctx, out, &put, in, n) != 1 || put != n)
            return ERR_MEMORY;
        in += n;
        out += n;
        len -= (size_t) n;
    }
    return 0;
}

static int
evp_chains(struct aes *aes, struct aes_chain *chains, size_t count)
{
    int err = 0;
    for (size_t i = 0; i < count && err == 0; i++) {
        err = evp_start(aes->chain, chains[i].iv);
        if (err == 0)
            err = evp_run(aes->chain, chains[i].bytes, chains[i].bytes,
                          chains[i].len);
    }
    return err;
}

/* ---- */

int
aes_open(const uint8_t key[AES_BLOCK_SIZE], struct aes **out)
{
    struct aes *aes = aligned_alloc(16, sizeof *aes);
    if (aes == NULL)
        return ERR_MEMORY;
    *aes = (struct aes){0};
    if (!keys_expand(aes, key)) {
        aes->counter = evp_open(EVP_aes_128_ctr(), key);
        aes->chain = evp_open(EVP_aes_128_cbc(), key);
        if (aes->counter == NULL || aes->chain == NULL) {
            aes_close(aes);
            return ERR_MEMORY;
        }
    }
    *out = aes;
    return 0;
}

void
aes_close(struct aes *aes)
{
    if (aes == NULL)
        return;
    EVP_CIPHER_CTX_free(aes->counter); /* wipes the key */
    EVP_CIPHER_CTX_free(aes->chain);
    explicit_bzero(aes, sizeof *aes);
    free(aes);
}

int
aes_counter_start(struct aes *aes, const uint8_t iv[AES_BLOCK_SIZE])
{
    if (aes->counter != NULL)
        return evp_start(aes->counter, iv);
    memcpy(aes->block, iv, sizeof aes->block);
    aes->done = 0;
    return 0;
}

int
aes_counter_run(struct aes *aes, const uint8_t *in, uint8_t *out, size_t len)
{
    if (aes->counter != NULL)
        return evp_run(aes->counter, in, out, len);
    counter_blocks(aes, in, out, len);
    return 0;
}

int
aes_chains_run(struct aes *aes, struct aes_chain *chains, size_t count)
{
    int err = 0;
    if (aes->chain != NULL)
        err = evp_chains(aes, chains, count);
    else
        chains_crypt(aes, chains, count);
    for (size_t i = 0; i < count; i++)
        memcpy(chains[i].iv, chains[i].bytes + chains[i].len - AES_BLOCK_SIZE,
               AES_BLOCK_SIZE);
    return err;
}
