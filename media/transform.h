/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_TRANSFORM_H
#define MEDIA_TRANSFORM_H

/*
 * Changes a segment's samples on their way to the viewer: pulled in pieces of
 * any size, constant memory. In: the samples' bytes of one segment, in order.
 * Out: the whole answer, headers included. Transforms nest.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Advanced as taken and put. */
struct transform_io {
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len;
};

struct transform {
    uint64_t size_in, size_out; /* bytes, exact, known before the first run */
    /* The samples may be changed where they lie: once the header is out, the
     * first size_out - size_in bytes, run takes `in` and `out` of one place and
     * size. It may then leave up to 15 bytes, a block that is not there whole:
     * they come again, with what is behind them. */
    bool is_in_place;
    /* Goes on until in or out is used up; 0, or ERR_INVALID when the samples
     * contradict the map. When size_in has gone in and size_out has come out
     * it is done. */
    int (*run)(struct transform *self, struct transform_io *io);
    void (*close)(struct transform *self); /* frees; wipes keys */
};

/* Asks for 192 bytes of the samples before their turn, wherever they end: what
 * the CPU itself reads ahead ends with each page. */
static inline void
transform_fetch(const uint8_t *in)
{
    const uint8_t *ahead = in + 2048;
    __builtin_prefetch(ahead);
    __builtin_prefetch(ahead + 64);
    __builtin_prefetch(ahead + 128);
}

#endif
