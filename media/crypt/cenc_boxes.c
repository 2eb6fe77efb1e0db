/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The boxes of an encrypted track: sinf in the sample entry (§8.12 of 14496-12,
 * tenc of 23001-7 §8.2), senc, saiz and saio in the fragment (§7.2, 14496-12
 * §8.7.8), and the sample group `seig` of a segment that has its own key
 * (23001-7 §6).
 */
#include "media/crypt/cenc_private.h"

#include "core/err.h"
#include "media/box_write.h"
#include "media/cursor.h"

#include <stdlib.h>

#define PATTERN_VIDEO 0x19u /* one block of ten */

/* ---- init segment ---- */

/* The end of tenc, and an entry of seig: pattern, protection, KID and IV. */
static void
protection_write(const struct crypt *crypt, bool is_video, bool is_clear,
                 struct buffer *out)
{
    const bool is_cbcs = crypt->scheme == CRYPT_CBCS;
    static const uint8_t none[CRYPT_KEY_SIZE];
    buffer_append_u8(out, 0);
    buffer_append_u8(out, is_cbcs && is_video && !is_clear ? PATTERN_VIDEO : 0);
    buffer_append_u8(out, !is_clear);
    buffer_append_u8(out, is_cbcs || is_clear ? 0 : CENC_IV_SIZE);
    buffer_append(out, is_clear ? none : crypt->key.kid, CRYPT_KEY_SIZE);
    if (is_cbcs && !is_clear) {
        buffer_append_u8(out, CRYPT_KEY_SIZE);
        buffer_append(out, crypt->key.iv, CRYPT_KEY_SIZE);
    }
}

static void
sinf_write(const uint8_t *format, const struct crypt *crypt, bool is_video,
           struct buffer *out)
{
    const bool is_cbcs = crypt->scheme == CRYPT_CBCS;
    const size_t sinf = box_begin(out, "sinf");
    const size_t frma = box_begin(out, "frma");
    buffer_append(out, format, 4);
    box_end(out, frma);
    const size_t schm = full_box_begin(out, "schm", 0, 0);
    buffer_append_text(out, is_cbcs ? "cbcs" : "cenc");
    buffer_append_be32(out, 0x10000);
    box_end(out, schm);
    const size_t schi = box_begin(out, "schi");
    const size_t tenc = full_box_begin(out, "tenc", is_cbcs, 0);
    protection_write(crypt, is_video, false, out);
    box_end(out, tenc);
    box_end(out, schi);
    box_end(out, sinf);
}

static void
entry_write(const struct track_info *info, const struct crypt *crypt,
            struct buffer *out)
{
    const struct bytes entry = info->sample_entry;
    const bool is_video = info->kind == TRACK_VIDEO;
    if (entry.len < 8) {
        out->err = ERR_INVALID;
        return;
    }
    const size_t box = box_begin(out, is_video ? "encv" : "enca");
    buffer_append(out, entry.ptr + 8, entry.len - 8);
    sinf_write(entry.ptr + 4, crypt, is_video, out);
    box_end(out, box);
}

void
cenc_init_write(const struct track_info *info, const struct crypt *crypt,
                struct bytes pssh, struct buffer *out)
{
    struct track_info encrypted = *info;
    struct buffer entry;
    buffer_init(&entry, info->sample_entry.len + 128);
    entry_write(info, crypt, &entry);
    const size_t start = out->len;
    if (entry.err != 0) {
        out->err = entry.err;
    } else {
        encrypted.sample_entry = buffer_bytes(&entry);
        cmaf_init_write(&encrypted, out);
        buffer_append_bytes(out, pssh);
    }
    if (out->err == 0) { /* moov is behind ftyp, and the last */
        const size_t moov = start + load_be32(out->ptr + start);
        box_end(out, moov);
    }
    buffer_fini(&entry);
}

/* ---- segments ---- */

static size_t
info_size(const struct cenc_table *table, uint32_t sample, size_t iv_size)
{
    return iv_size + (table->is_whole ? 0 : 2 + 6u * table->counts[sample]);
}

static void
saiz_write(const struct cenc_table *table, size_t iv_size, struct buffer *out)
{
    const uint32_t count = table->sample_count;
    const size_t first = info_size(table, 0, iv_size);
    bool is_same = true;
    for (uint32_t i = 1; i < count; i++)
        is_same = is_same && info_size(table, i, iv_size) == first;
    const size_t saiz = full_box_begin(out, "saiz", 0, 0);
    buffer_append_u8(out, is_same ? (uint8_t) first : 0);
    buffer_append_be32(out, count);
    for (uint32_t i = 0; i < count && !is_same; i++)
        buffer_append_u8(out, (uint8_t) info_size(table, i, iv_size));
    box_end(out, saiz);
}

static void
senc_write(const struct cenc_table *table, size_t iv_size, uint64_t iv,
           struct buffer *out)
{
    const struct subsample *entry = table->entries;
    const size_t senc = full_box_begin(out, "senc", 0, table->is_whole ? 0 : 2);
    buffer_append_be32(out, table->sample_count);
    for (uint32_t i = 0; i < table->sample_count; i++) {
        if (iv_size != 0)
            buffer_append_be64(out, iv + i);
        if (table->is_whole)
            continue;
        buffer_append_be16(out, table->counts[i]);
        for (unsigned n = table->counts[i]; n > 0; n--, entry++) {
            buffer_append_be16(out, (uint16_t) entry->clear);
            buffer_append_be32(out, entry->rest);
        }
    }
    box_end(out, senc);
}

static void
seig_write(const struct cenc_table *table, const struct crypt *crypt,
           bool is_video, struct buffer *out)
{
    const bool has_iv = crypt->scheme == CRYPT_CBCS && !crypt->is_clear;
    const size_t sbgp = full_box_begin(out, "sbgp", 0, 0);
    buffer_append_text(out, "seig");
    buffer_append_be32(out, 1);
    buffer_append_be32(out, table->sample_count);
    buffer_append_be32(out, 0x10001); /* the fragment's own first */
    box_end(out, sbgp);
    const size_t sgpd = full_box_begin(out, "sgpd", 1, 0);
    buffer_append_text(out, "seig");
    buffer_append_be32(out, has_iv ? 37 : 20);
    buffer_append_be32(out, 1);
    protection_write(crypt, is_video, crypt->is_clear, out);
    box_end(out, sgpd);
}

/* `moof_end` is how far from moof the boxes come to lie. */
static void
boxes_write(const struct cenc_table *table, const struct crypt *crypt,
            bool is_video, uint64_t first_iv, size_t moof_end,
            struct buffer *out)
{
    const size_t iv_size = crypt->scheme == CRYPT_CENC ? CENC_IV_SIZE : 0;
    const size_t start = out->len;
    if (crypt->has_periods)
        seig_write(table, crypt, is_video, out);
    if (crypt->is_clear || (iv_size == 0 && table->is_whole))
        return; /* tenc says it all */
    saiz_write(table, iv_size, out);
    const size_t saio = full_box_begin(out, "saio", 0, 0);
    buffer_append_be32(out, 1);
    /* behind this number, and the head of senc */
    buffer_append_be32(out,
                       (uint32_t) (moof_end + (out->len + 4 - start) + 16));
    box_end(out, saio);
    senc_write(table, iv_size, first_iv, out);
}

/* Where in the clear header what is changed lies. */
struct header_shape {
    size_t moof, traf, trun;
    size_t moof_end;
};

/* The offset of the child of this type, behind `skip` bytes of its parent. */
static int
child_find(struct bytes header, size_t parent, const char *type, size_t *out,
           size_t *end)
{
    const size_t size = load_be32(header.ptr + parent);
    const size_t parent_end = parent + size;
    for (size_t at = parent + 8; parent_end - at >= 8;) {
        const size_t child = load_be32(header.ptr + at);
        if (child < 8 || child > parent_end - at)
            return ERR_INVALID;
        if (memcmp(header.ptr + at + 4, type, 4) == 0) {
            *out = at;
            *end = at + child;
            return 0;
        }
        at += child;
    }
    return ERR_INVALID;
}

static int
header_shape_find(struct bytes header, struct header_shape *out)
{
    struct header_shape shape = {0};
    size_t end, trun_end;
    for (;;) { /* the first moof */
        if (header.len - shape.moof < 8)
            return ERR_INVALID;
        const size_t size = load_be32(header.ptr + shape.moof);
        if (size < 8 || size > header.len - shape.moof)
            return ERR_INVALID;
        shape.moof_end = shape.moof + size;
        if (memcmp(header.ptr + shape.moof + 4, "moof", 4) == 0)
            break;
        shape.moof = shape.moof_end;
    }
    if (child_find(header, shape.moof, "traf", &shape.traf, &end) != 0
        || end != shape.moof_end
        || child_find(header, shape.traf, "trun", &shape.trun, &trun_end) != 0
        || trun_end != shape.moof_end || trun_end - shape.trun < 20
        || !(load_be32(header.ptr + shape.trun + 8) & 1))
        return ERR_INVALID;
    *out = shape;
    return 0;
}

static void
number_grow(struct buffer *out, size_t at, size_t size)
{
    store_be32(out->ptr + at, load_be32(out->ptr + at) + (uint32_t) size);
}

int
cenc_header_write(struct bytes clear, const struct cenc_table *table,
                  const struct crypt *crypt, bool is_video, uint64_t first_iv,
                  struct buffer *out)
{
    struct header_shape shape;
    const size_t start = out->len;
    const int err = header_shape_find(clear, &shape);
    if (err != 0)
        return err;
    buffer_append(out, clear.ptr, shape.moof_end);
    const size_t boxes = out->len;
    boxes_write(table, crypt, is_video, first_iv, shape.moof_end - shape.moof,
                out);
    const size_t size = out->len - boxes;
    buffer_append_bytes(out, crypt->pssh); /* in moof, behind traf */
    const size_t moof_size = out->len - boxes;
    buffer_append(out, clear.ptr + shape.moof_end, clear.len - shape.moof_end);
    if (out->err != 0)
        return out->err;
    number_grow(out, start + shape.moof, moof_size);
    number_grow(out, start + shape.traf, size);
    number_grow(out, start + shape.trun + 16, moof_size); /* data_offset */
    return 0;
}
