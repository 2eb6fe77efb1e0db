/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is given back to the allocator is wiped first, whoever gives it: a key has
 * been in buffers of libevent, jansson, OpenSSL and libpq that wipe nothing. Not
 * beside a sanitizer, whose allocator is another one.
 */

#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <string.h>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

/* glibc's own */
void __libc_free(void *memory);
void *__libc_malloc(size_t size);

void
free(void *memory)
{
    const int before = errno;
    if (memory != NULL)
        explicit_bzero(memory, malloc_usable_size(memory));
    __libc_free(memory);
    errno = before;
}

void *
realloc(void *memory, size_t size)
{
    const size_t before = memory == NULL ? 0 : malloc_usable_size(memory);
    if (memory != NULL && size == 0) {
        free(memory);
        return NULL;
    }
    if (size <= before && size >= before / 2)
        return memory;
    void *grown = __libc_malloc(size);
    if (grown == NULL)
        return NULL;
    if (before > 0)
        memcpy(grown, memory, before < size ? before : size);
    free(memory);
    return grown;
}

#endif
