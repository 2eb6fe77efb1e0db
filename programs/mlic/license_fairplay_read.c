/* SPDX-License-Identifier: Apache-2.0 */
/* What lies where in an SPC; no key is needed for it. */

#include "programs/mlic/license_fairplay.h"

#include "core/err.h"

#include <ctype.h>
#include <openssl/crypto.h>

#define ENVELOPE_SIZE 176
#define BLOCK_SIZE 16 /* of AES */

static const struct {
    uint64_t tag;
    size_t offset, size; /* in the struct; 0: any */
} blocks[] = {
    {0x3d1a10b8bffac2ec, offsetof(struct fairplay_payload, session), 112},
    {0xb349d4809e910687, offsetof(struct fairplay_payload, integrity), 16},
    {0x89c90f12204106b2, offsetof(struct fairplay_payload, seed), 16},
    {0x71b5595ac1521133, offsetof(struct fairplay_payload, r2), 0},
    {0x1bf7f53f5d5d5a1f, offsetof(struct fairplay_payload, asset), 0},
    {0x19f9d4e5ab7609cb, offsetof(struct fairplay_payload, tags), 0},
};
#define BLOCK_COUNT (sizeof blocks / sizeof *blocks)

int
fairplay_envelope_read(struct bytes spc, struct fairplay_envelope *out,
                       const char **reason)
{
    *reason = "it has more than 64 KiB";
    if (spc.len > FAIRPLAY_SPC_SIZE_MAX)
        return ERR_LIMIT;
    *reason = "it is no SPC";
    if (spc.len < ENVELOPE_SIZE)
        return ERR_INVALID;
    *reason = "it is an SPC of another version than 1";
    if (load_be32(spc.ptr) != 1)
        return ERR_UNSUPPORTED;
    *reason = "the SPC's size is not what it says";
    if (load_be32(spc.ptr + 172) != spc.len - ENVELOPE_SIZE
        || spc.len == ENVELOPE_SIZE || spc.len % BLOCK_SIZE != 0)
        return ERR_INVALID;
    *out = (struct fairplay_envelope){
        .iv = spc.ptr + 8,
        .key = spc.ptr + 24,
        .certificate_hash = spc.ptr + 152,
        .payload = bytes_of(spc.ptr + ENVELOPE_SIZE, spc.len - ENVELOPE_SIZE),
    };
    return 0;
}

/* False: what is there is none. */
static bool
block_take(struct bytes *rest, uint64_t *tag, struct bytes *block,
           struct bytes *value)
{
    if (rest->len < 16)
        return false;
    const size_t size = load_be32(rest->ptr + 8);
    const size_t value_size = load_be32(rest->ptr + 12);
    if (size > rest->len - 16 || value_size > size)
        return false;
    *tag = load_be64(rest->ptr);
    *block = bytes_of(rest->ptr, 16 + size);
    *value = bytes_of(rest->ptr + 16, value_size);
    *rest = bytes_of(rest->ptr + 16 + size, rest->len - 16 - size);
    return true;
}

bool
fairplay_block_find(struct bytes payload, uint64_t tag, struct bytes *block)
{
    uint64_t found;
    struct bytes value;
    while (block_take(&payload, &found, block, &value))
        if (found == tag)
            return true;
    return false;
}

int
fairplay_payload_read(struct bytes payload, struct fairplay_payload *out,
                      const char **reason)
{
    struct bytes rest = payload, block, value;
    uint64_t tag;
    *out = (struct fairplay_payload){.whole = payload};
    *reason = "the SPC's blocks are not right";
    while (rest.len > 0) {
        if (!block_take(&rest, &tag, &block, &value))
            return ERR_INVALID;
        for (size_t i = 0; i < BLOCK_COUNT; i++) {
            if (blocks[i].tag != tag)
                continue;
            struct bytes *place =
                (struct bytes *) ((char *) out + blocks[i].offset);
            if (place->ptr != NULL
                || (blocks[i].size != 0 && blocks[i].size != value.len))
                return ERR_INVALID;
            *place = value;
        }
    }
    *reason = "the SPC lacks a block that a license needs";
    if (out->session.ptr == NULL || out->integrity.ptr == NULL
        || out->seed.ptr == NULL || out->r2.len == 0 || out->asset.len == 0)
        return ERR_INVALID;
    *reason = "the SPC wants other blocks back than 16 tags";
    if (out->tags.len % 8 != 0 || out->tags.len / 8 > FAIRPLAY_TAGS_MAX)
        return ERR_INVALID;
    return 0;
}

int
fairplay_asset_read(struct bytes asset, struct license_request *out,
                    const char **reason)
{
    static const char scheme[] = "skd://";
    char text[2 * CRYPT_KEY_SIZE + 1];
    uint8_t kid[CRYPT_KEY_SIZE];
    size_t len = 0, size;
    size_t at = asset.len > 6 && memcmp(asset.ptr, scheme, 6) == 0 ? 6 : 0;
    *reason = "its content id is not skd:// and a KID of 32 hex digits";
    for (; at < asset.len; at++) {
        if (asset.ptr[at] == '-')
            continue;
        if (len == 2 * CRYPT_KEY_SIZE || !isxdigit(asset.ptr[at]))
            return ERR_INVALID;
        text[len++] = (char) asset.ptr[at];
    }
    text[len] = '\0';
    if (len != 2 * CRYPT_KEY_SIZE
        || OPENSSL_hexstr2buf_ex(kid, sizeof kid, &size, text, '\0') != 1)
        return ERR_INVALID;
    return license_kid_add(out, kid);
}
