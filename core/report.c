/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoded report, see core/report.h.
 *
 *   header    0  magic  8  form  12  size of all  16  boot  24  sequence
 *            32  capacity_milli  40  overflow  48  held term
 *            56  held sequence  64  entry count  68  weight  72  role
 *            73  state  74  has_more  75  length of node  76  length of url
 *            77  zero  80  base  88  node, url
 *   entries   length of id (1 byte), id, requests, bytes, starts, offloaded
 *   checksum  XXH3_64bits of all before it
 */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/content.h"
#include "core/err.h"
#include "core/report.h"

#define REPORT_FORM 2
#define HEADER_SIZE 88
#define COUNT_AT 64
#define HAS_MORE_AT 74
#define VALUES_SIZE 32
#define CHECKSUM_SIZE 8

static const uint8_t magic[8] = {'V', 'O', 'D', 'S', 'T', 'R', 'E', 'P'};

static bool
header_is_valid(const struct report_header *header)
{
    bool is_url_optional =
        header->role == NODE_ROLE_REDIRECTOR && header->url.len == 0;
    return table_node_name_is_valid(header->node)
           && (is_url_optional || table_node_url_is_valid(header->url))
           && (unsigned) header->role <= NODE_ROLE_REDIRECTOR
           && (unsigned) header->state <= NODE_DOWN && header->weight >= 1
           && header->weight <= UINT16_MAX && header->sequence >= 1
           && header->base < header->sequence
           && (header->boot != 0
               || (header->entry_count == 0 && header->base == 0));
}

/* The header's fixed part; lengths of texts are checked by the caller. */
static void
header_read(const uint8_t *from, struct report_header *out)
{
    size_t node_len = from[75], url_len = from[76];
    *out = (struct report_header){
        .node = bytes_of(from + HEADER_SIZE, node_len),
        .url = bytes_of(from + HEADER_SIZE + node_len, url_len),
        .role = (enum node_role) from[72],
        .state = (enum node_state) from[73],
        .weight = load_le32(from + 68),
        .capacity_milli = load_le64(from + 32),
        .boot = load_le64(from + 16),
        .sequence = load_le64(from + 24),
        .base = load_le64(from + 80),
        .has_more = from[HAS_MORE_AT] == 1,
        .overflow = load_le64(from + 40),
        .held = {.term = load_le64(from + 48),
                 .sequence = load_le64(from + 56)},
        .entry_count = load_le32(from + COUNT_AT),
    };
}

/* Form, size and checksum. */
static int
frame_check(struct bytes encoded)
{
    size_t seen = encoded.len < sizeof magic ? encoded.len : sizeof magic;
    if (seen > 0 && memcmp(encoded.ptr, magic, seen) != 0)
        return ERR_INVALID;
    if (encoded.len < HEADER_SIZE + CHECKSUM_SIZE)
        return ERR_TRUNCATED;
    if (load_le32(encoded.ptr + 8) != REPORT_FORM)
        return ERR_VERSION;
    size_t size = load_le32(encoded.ptr + 12);
    if (size > REPORT_SIZE_MAX || encoded.len > REPORT_SIZE_MAX)
        return ERR_LIMIT;
    if (size > encoded.len)
        return ERR_TRUNCATED;
    if (size < encoded.len)
        return ERR_INVALID;
    if (XXH3_64bits(encoded.ptr, size - CHECKSUM_SIZE)
        != load_le64(encoded.ptr + size - CHECKSUM_SIZE))
        return ERR_CHECKSUM;
    return 0;
}

/* Takes one entry off *rest. */
static bool
entry_take(struct bytes *rest, struct report_entry *out)
{
    if (rest->len < 1)
        return false;
    size_t id_len = rest->ptr[0];
    size_t size = 1 + id_len + VALUES_SIZE;
    if (rest->len < size)
        return false;
    const uint8_t *values = rest->ptr + 1 + id_len;
    out->id = bytes_of(rest->ptr + 1, id_len);
    out->values = (struct counters_values){
        .requests = load_le64(values),
        .bytes = load_le64(values + 8),
        .starts = load_le64(values + 16),
        .offloaded = load_le64(values + 24),
    };
    *rest = bytes_of(rest->ptr + size, rest->len - size);
    return true;
}

static int
entries_check(struct bytes rest, uint32_t count)
{
    struct report_entry entry;
    for (uint32_t i = 0; i < count; i++) {
        if (!entry_take(&rest, &entry) || !content_id_is_valid(entry.id))
            return ERR_INVALID;
    }
    return rest.len == 0 ? 0 : ERR_INVALID;
}

void
report_begin(struct buffer *out, const struct report_header *header)
{
    struct report_header checked = *header;
    static const uint8_t zeros[3];

    checked.entry_count = 0;
    if (out->len != 0 || !header_is_valid(&checked)) {
        out->err = out->err ? out->err : ERR_INVALID;
        return;
    }
    buffer_append(out, magic, sizeof magic);
    buffer_append_le32(out, REPORT_FORM);
    buffer_append_le32(out, 0); /* size and count: see report_finish */
    buffer_append_le64(out, header->boot);
    buffer_append_le64(out, header->sequence);
    buffer_append_le64(out, header->capacity_milli);
    buffer_append_le64(out, header->overflow);
    buffer_append_le64(out, header->held.term);
    buffer_append_le64(out, header->held.sequence);
    buffer_append_le32(out, 0);
    buffer_append_le32(out, header->weight);
    buffer_append_u8(out, (uint8_t) header->role);
    buffer_append_u8(out, (uint8_t) header->state);
    buffer_append_u8(out, header->has_more);
    buffer_append_u8(out, (uint8_t) header->node.len);
    buffer_append_u8(out, (uint8_t) header->url.len);
    buffer_append(out, zeros, sizeof zeros);
    buffer_append_le64(out, header->base);
    buffer_append_bytes(out, header->node);
    buffer_append_bytes(out, header->url);
}

void
report_add(struct buffer *out, const struct report_entry *entry)
{
    uint8_t record[1 + CONTENT_ID_LEN_MAX + VALUES_SIZE];

    if (out->err != 0)
        return;
    /* a report without a boot has no counts */
    if (out->len < HEADER_SIZE || load_le64(out->ptr + 16) == 0
        || !content_id_is_valid(entry->id)) {
        out->err = ERR_INVALID;
        return;
    }
    uint8_t *values = record + 1 + entry->id.len;
    record[0] = (uint8_t) entry->id.len;
    memcpy(record + 1, entry->id.ptr, entry->id.len);
    store_le64(values, entry->values.requests);
    store_le64(values + 8, entry->values.bytes);
    store_le64(values + 16, entry->values.starts);
    store_le64(values + 24, entry->values.offloaded);
    buffer_append(out, record, 1 + entry->id.len + VALUES_SIZE);
    if (out->err == 0)
        store_le32(out->ptr + COUNT_AT, load_le32(out->ptr + COUNT_AT) + 1);
}

void
report_has_more(struct buffer *out)
{
    if (out->err == 0 && out->len >= HEADER_SIZE)
        out->ptr[HAS_MORE_AT] = 1;
}

int
report_finish(struct buffer *out)
{
    if (out->err == 0 && out->len < HEADER_SIZE)
        out->err = ERR_INVALID;
    if (out->err == 0 && out->len + CHECKSUM_SIZE > REPORT_SIZE_MAX)
        out->err = ERR_LIMIT;
    if (out->err != 0)
        return out->err;
    store_le32(out->ptr + 12, (uint32_t) (out->len + CHECKSUM_SIZE));
    buffer_append_le64(out, XXH3_64bits(out->ptr, out->len));
    return out->err;
}

int
report_open(struct bytes encoded, struct report_reader *out)
{
    struct report_reader reader;
    int err = frame_check(encoded);
    if (err != 0)
        return err;
    const uint8_t *ptr = encoded.ptr;
    size_t size = encoded.len - CHECKSUM_SIZE;
    size_t entries_at = (size_t) HEADER_SIZE + ptr[75] + ptr[76];
    if (entries_at > size || ptr[HAS_MORE_AT] > 1 || ptr[77] || ptr[78]
        || ptr[79])
        return ERR_INVALID;
    header_read(ptr, &reader.header);
    if (!header_is_valid(&reader.header))
        return ERR_INVALID;
    reader.rest = bytes_of(ptr + entries_at, size - entries_at);
    reader.entries_left = reader.header.entry_count;
    if ((err = entries_check(reader.rest, reader.entries_left)) != 0)
        return err;
    *out = reader;
    return 0;
}

bool
report_next(struct report_reader *reader, struct report_entry *out)
{
    if (reader->entries_left == 0 || !entry_take(&reader->rest, out))
        return false;
    reader->entries_left--;
    return true;
}
