/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 by OpenSSL, see programs/vodst/ingest_digest.h. */

#include "programs/vodst/ingest_digest.h"

#include "core/err.h"
#include "programs/vodst/ingest_child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define PIECE_SIZE (1u << 18)

int
digest_begin(struct digest *digest)
{
    *digest = (struct digest){.context = EVP_MD_CTX_new()};
    if (digest->context == NULL)
        return ERR_MEMORY;
    digest_again(digest);
    return 0;
}

void
digest_again(struct digest *digest)
{
    digest->has_failed =
        EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) != 1;
}

void
digest_add(struct digest *digest, const void *ptr, size_t len)
{
    if (EVP_DigestUpdate(digest->context, ptr, len) != 1)
        digest->has_failed = true;
}

int
digest_end(struct digest *digest, uint8_t out[DIGEST_SIZE])
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    const bool is_good =
        !digest->has_failed
        && EVP_DigestFinal_ex(digest->context, hash, NULL) == 1;
    digest_free(digest);
    if (!is_good)
        return ERR_MEMORY;
    memcpy(out, hash, DIGEST_SIZE);
    return 0;
}

void
digest_free(struct digest *digest)
{
    EVP_MD_CTX_free(digest->context);
    digest->context = NULL;
}

static int
file_add(struct digest *digest, int fd, uint64_t *size)
{
    static uint8_t bytes[PIECE_SIZE];
    for (;;) {
        const ssize_t got = read(fd, bytes, sizeof bytes);
        if (got < 0 && errno == EINTR && stop_signal() == 0)
            continue;
        if (stop_signal() != 0)
            return ERR_TIMEOUT;
        if (got <= 0)
            return got < 0 ? ERR_IO : 0;
        digest_add(digest, bytes, (size_t) got);
        *size += (uint64_t) got;
    }
}

int
digest_file(const char *path, uint8_t out[DIGEST_SIZE], uint64_t *size)
{
    struct digest digest;
    uint64_t found = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    int err = digest_begin(&digest);
    if (err == 0) {
        err = file_add(&digest, fd, &found);
        if (err == 0)
            err = digest_end(&digest, out);
        else
            digest_free(&digest);
    }
    const int saved = errno;
    close(fd);
    errno = saved;
    if (err == 0)
        *size = found;
    return err;
}

void
digest_text(const uint8_t *digest, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
