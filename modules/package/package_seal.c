/* SPDX-License-Identifier: Apache-2.0 */
#include "modules/package/package_seal.h"

#include <ngx_event.h>

#if HAS_IPSEC_MB

#include <intel-ipsec-mb.h>

static struct {
    IMB_MGR *manager; /* NULL: this CPU has no AES */
    ngx_queue_t waiting;
    ngx_event_t batch;
} seals;

static void
job_submit(struct package_seal *seal)
{
    IMB_JOB *job = IMB_GET_NEXT_JOB(seals.manager);

    *job = (IMB_JOB){
        .cipher_mode = IMB_CIPHER_CBC,
        .cipher_direction = IMB_DIR_ENCRYPT,
        .chain_order = IMB_ORDER_CIPHER_HASH,
        .hash_alg = IMB_AUTH_NULL,
        .src = seal->bytes,
        .dst = seal->bytes,
        .enc_keys = seal->keys,
        .dec_keys = seal->keys,
        .key_len_in_bytes = AES128_KEY_SIZE,
        .iv = seal->iv,
        .iv_len_in_bytes = sizeof seal->iv,
        .msg_len_to_cipher_in_bytes = seal->len,
    };
    (void) IMB_SUBMIT_JOB(seals.manager);
}

static void
batch_run(ngx_event_t *event)
{
    ngx_queue_t sealed;

    for (ngx_queue_t *link = ngx_queue_head(&seals.waiting);
         link != ngx_queue_sentinel(&seals.waiting);
         link = ngx_queue_next(link)) {
        job_submit(ngx_queue_data(link, struct package_seal, queue));
    }
    while (IMB_FLUSH_JOB(seals.manager) != NULL) {
    }
    /* writing may end an answer, and start what is sealed next */
    ngx_queue_init(&sealed);
    ngx_queue_add(&sealed, &seals.waiting);
    ngx_queue_init(&seals.waiting);
    for (ngx_queue_t *link = ngx_queue_head(&sealed);
         link != ngx_queue_sentinel(&sealed); link = ngx_queue_next(link)) {
        struct package_seal *seal =
            ngx_queue_data(link, struct package_seal, queue);

        ngx_memcpy(seal->iv, seal->bytes + seal->len - sizeof seal->iv,
                   sizeof seal->iv);
    }
    while (!ngx_queue_empty(&sealed)) {
        struct package_seal *seal =
            ngx_queue_data(ngx_queue_head(&sealed), struct package_seal, queue);
        ngx_event_t *write = seal->connection->write;

        ngx_queue_remove(&seal->queue);
        seal->is_waiting = false;
        write->handler(write);
    }
}

void
package_seal_init(ngx_log_t *log)
{
    IMB_ARCH arch = IMB_ARCH_NONE;

    ngx_queue_init(&seals.waiting);
    seals.batch.handler = batch_run;
    seals.batch.data = &seals;
    seals.batch.log = log;
    seals.manager = alloc_mb_mgr(0);
    if (seals.manager == NULL) {
        return;
    }
    init_mb_mgr_auto(seals.manager, &arch);
    if (arch == IMB_ARCH_NONE || arch == IMB_ARCH_NOAESNI) {
        free_mb_mgr(seals.manager);
        seals.manager = NULL;
    }
}

struct package_seal *
package_seal_open(ngx_pool_t *pool, const uint8_t key[AES128_KEY_SIZE],
                  const uint8_t iv[AES128_BLOCK_SIZE])
{
    uint8_t unused[11 * AES128_BLOCK_SIZE] __attribute__((aligned(16)));
    struct package_seal *seal;

    if (seals.manager == NULL) {
        return NULL;
    }
    seal = ngx_pmemalign(pool, sizeof *seal, 16);
    if (seal == NULL) {
        return NULL;
    }
    seal->is_waiting = false;
    ngx_memcpy(seal->iv, iv, sizeof seal->iv);
    IMB_AES_KEYEXP_128(seals.manager, key, seal->keys, unused);
    ngx_explicit_memzero(unused, sizeof unused);
    return seal;
}

void
package_seal_start(struct package_seal *seal, ngx_connection_t *connection,
                   u_char *bytes, size_t len)
{
    seal->connection = connection;
    seal->bytes = bytes;
    seal->len = len;
    seal->is_waiting = true;
    ngx_queue_insert_tail(&seals.waiting, &seal->queue);
    ngx_post_event(&seals.batch, &ngx_posted_next_events);
}

void
package_seal_close(struct package_seal *seal)
{
    if (seal == NULL) {
        return;
    }
    if (seal->is_waiting) {
        ngx_queue_remove(&seal->queue);
    }
    ngx_explicit_memzero(seal, sizeof *seal);
}

#else /* answers are sealed one by one, by OpenSSL */

void
package_seal_init(ngx_log_t *log)
{
}

struct package_seal *
package_seal_open(ngx_pool_t *pool, const uint8_t key[AES128_KEY_SIZE],
                  const uint8_t iv[AES128_BLOCK_SIZE])
{
    return NULL;
}

void
package_seal_start(struct package_seal *seal, ngx_connection_t *connection,
                   u_char *bytes, size_t len)
{
}

void
package_seal_close(struct package_seal *seal)
{
}

#endif
