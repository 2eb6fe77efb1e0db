/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_CRYPT_BITS_H
#define MEDIA_CRYPT_BITS_H

/*
 * Reads bits from bytes that may end too early: past the end every read gives
 * 0 and `is_short` stays set. Of a NAL unit the emulation prevention bytes are
 * passed over and counted (ISO/IEC 14496-10 §7.3.1). Internal to media/crypt/.
 */

#include "core/bytes.h"

struct bits {
    struct bytes bytes;
    size_t used;    /* bytes of which a bit was taken, or that lie before */
    unsigned left;  /* bits of the last of them */
    unsigned zeros; /* bytes of zero right before `used` */
    bool is_nal, is_short;
};

static inline struct bits
bits_of(struct bytes bytes, bool is_nal)
{
    return (struct bits){.bytes = bytes, .is_nal = is_nal};
}

static inline bool
bits_flag(struct bits *b)
{
    if (b->left == 0) {
        if (b->is_nal && b->zeros >= 2 && b->used < b->bytes.len
            && b->bytes.ptr[b->used] == 3) {
            b->used++;
            b->zeros = 0;
        }
        if (b->used >= b->bytes.len) {
            b->is_short = true;
            return false;
        }
        b->zeros = b->bytes.ptr[b->used] == 0 ? b->zeros + 1 : 0;
        b->used++;
        b->left = 8;
    }
    b->left--;
    return b->bytes.ptr[b->used - 1] >> b->left & 1;
}

/* count <= 32 */
static inline uint32_t
bits_u(struct bits *b, unsigned count)
{
    uint32_t v = 0;
    while (count-- > 0)
        v = v << 1 | bits_flag(b);
    return v;
}

static inline void
bits_skip(struct bits *b, uint64_t count)
{
    while (count-- > 0 && !b->is_short)
        (void) bits_flag(b);
}

/* ue(v) of 14496-10 §9.1; one that does not fit 32 bits is as bytes that end
 * too early. */
static inline uint32_t
bits_ue(struct bits *b)
{
    unsigned zeros = 0;
    while (!b->is_short && !bits_flag(b))
        zeros++;
    if (zeros > 31) {
        b->is_short = true;
        return 0;
    }
    return (1u << zeros) - 1 + bits_u(b, zeros);
}

static inline int32_t
bits_se(struct bits *b)
{
    const uint32_t v = bits_ue(b);
    return v & 1 ? (int32_t) (v / 2) + 1 : -(int32_t) (v / 2);
}

/* Bits that a value below `count` takes: Ceil(Log2(count)). */
static inline unsigned
bits_for(uint64_t count)
{
    return count <= 1 ? 0 : 64 - (unsigned) __builtin_clzll(count - 1);
}

#endif
