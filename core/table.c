/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoded load table, see core/table.h.
 *
 *   header    0  magic  8  form  12  size of all  16  term  24  sequence
 *            32  created_ms  40  node_count  44  row_count  48  text_size
 *            52  1: the CDN is forbidden
 *   nodes    56 on, 32 B each:
 *             0  hash  8  name offset  12  url offset  16  load
 *            20  weight (16 bits)  22  name length  23  url length
 *            24  state  25  zero
 *   rows     40 B each:
 *             0  hash  8  rate_milli  16  calmer_since_ms  24  id offset
 *            28  owner_count  32  cdn_share (16 bits)  34  id length
 *            35  level  36  1: the CDN is forbidden
 *   text     names, URLs and ids; offsets count from its start
 *   checksum XXH3_64bits of all before it
 */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/content.h"
#include "core/err.h"
#include "core/table.h"

#include <stdlib.h>

#define TABLE_FORM 1
#define HEADER_SIZE 56
#define NODE_SIZE 32
#define ROW_SIZE 40
#define CHECKSUM_SIZE 8

static const uint8_t magic[8] = {'V', 'O', 'D', 'S', 'T', 'T', 'B', 'L'};

struct shape {
    uint32_t node_count;
    uint32_t row_count;
    struct bytes text;
};

static int
node_compare(const struct table_node *a, const struct table_node *b)
{
    return bytes_compare(a->name, b->name);
}

int
table_row_compare(const void *a_void, const void *b_void)
{
    const struct table_row *a = a_void, *b = b_void;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return bytes_compare(a->id, b->id);
}

static int
node_compare_void(const void *a, const void *b)
{
    return node_compare(a, b);
}

static bool
node_is_valid(const struct table_node *node)
{
    return table_node_name_is_valid(node->name)
           && table_node_url_is_valid(node->url) && node->weight >= 1
           && node->weight <= UINT16_MAX && (unsigned) node->state <= NODE_DOWN
           && node->hash == placement_node_hash(node->name);
}

static bool
row_is_valid(const struct table_row *row)
{
    return content_id_is_valid(row->id) && row->hash == content_hash(row->id)
           && (unsigned) row->level <= LEVEL_CRITICAL && row->owner_count >= 1
           && row->owner_count <= PLACEMENT_NODES_MAX
           && row->cdn_share <= (row->is_cdn_forbidden ? 0 : TABLE_SHARE_ONE);
}

/* Every node and row, their order, and that none is there twice. */
static bool
table_is_valid(const struct table *table)
{
    for (size_t i = 0; i < table->node_count; i++) {
        if (!node_is_valid(&table->nodes[i])
            || (i > 0
                && node_compare(&table->nodes[i - 1], &table->nodes[i]) >= 0))
            return false;
    }
    for (size_t i = 0; i < table->row_count; i++) {
        if (!row_is_valid(&table->rows[i])
            || (i > 0
                && table_row_compare(&table->rows[i - 1], &table->rows[i])
                       >= 0))
            return false;
    }
    return true;
}

static void
append_node(struct buffer *out, const struct table_node *node, size_t offset)
{
    buffer_append_le64(out, node->hash);
    buffer_append_le32(out, (uint32_t) offset);
    buffer_append_le32(out, (uint32_t) (offset + node->name.len));
    buffer_append_le32(out, node->load);
    buffer_append_le16(out, (uint16_t) node->weight);
    buffer_append_u8(out, (uint8_t) node->name.len);
    buffer_append_u8(out, (uint8_t) node->url.len);
    buffer_append_le64(out, (uint64_t) node->state);
}

static void
append_row(struct buffer *out, const struct table_row *row, size_t offset)
{
    buffer_append_le64(out, row->hash);
    buffer_append_le64(out, row->rate_milli);
    buffer_append_le64(out, row->calmer_since_ms);
    buffer_append_le32(out, (uint32_t) offset);
    buffer_append_le32(out, row->owner_count);
    buffer_append_le16(out, (uint16_t) row->cdn_share);
    buffer_append_u8(out, (uint8_t) row->id.len);
    buffer_append_u8(out, (uint8_t) row->level);
    buffer_append_le32(out, row->is_cdn_forbidden);
}

static size_t
text_size_of(const struct table *table)
{
    size_t size = 0;
    for (size_t i = 0; i < table->node_count; i++)
        size += table->nodes[i].name.len + table->nodes[i].url.len;
    for (size_t i = 0; i < table->row_count; i++)
        size += table->rows[i].id.len;
    return size;
}

static void
append_header(struct buffer *out, const struct table *table, size_t text_size)
{
    size_t size = HEADER_SIZE + table->node_count * NODE_SIZE
                  + table->row_count * ROW_SIZE + text_size + CHECKSUM_SIZE;
    buffer_append(out, magic, sizeof magic);
    buffer_append_le32(out, TABLE_FORM);
    buffer_append_le32(out, (uint32_t) size);
    buffer_append_le64(out, table->version.term);
    buffer_append_le64(out, table->version.sequence);
    buffer_append_le64(out, table->created_ms);
    buffer_append_le32(out, (uint32_t) table->node_count);
    buffer_append_le32(out, (uint32_t) table->row_count);
    buffer_append_le32(out, (uint32_t) text_size);
    buffer_append_le32(out, table->is_cdn_forbidden);
}

/* A table whose nodes and rows are in order and checked. */
static int
append_table(const struct table *table, struct buffer *out)
{
    size_t start = out->len;
    size_t offset = 0;

    append_header(out, table, text_size_of(table));
    for (size_t i = 0; i < table->node_count; i++) {
        append_node(out, &table->nodes[i], offset);
        offset += table->nodes[i].name.len + table->nodes[i].url.len;
    }
    for (size_t i = 0; i < table->row_count; i++) {
        append_row(out, &table->rows[i], offset);
        offset += table->rows[i].id.len;
    }
    for (size_t i = 0; i < table->node_count; i++) {
        buffer_append_bytes(out, table->nodes[i].name);
        buffer_append_bytes(out, table->nodes[i].url);
    }
    for (size_t i = 0; i < table->row_count; i++)
        buffer_append_bytes(out, table->rows[i].id);
    if (out->err != 0)
        return out->err;
    buffer_append_le64(out, XXH3_64bits(out->ptr + start, out->len - start));
    return out->err;
}

/* Checks the frame: form, sizes and checksum. */
static int
frame_check(struct bytes encoded, struct shape *shape)
{
    struct table_version version;
    int err = table_peek_version(encoded, &version);
    if (err != 0)
        return err;
    size_t size = load_le32(encoded.ptr + 12);
    if (size > TABLE_SIZE_MAX || encoded.len > TABLE_SIZE_MAX)
        return ERR_LIMIT;
    if (size > encoded.len)
        return ERR_TRUNCATED;
    if (size < encoded.len || size < HEADER_SIZE + CHECKSUM_SIZE)
        return ERR_INVALID;
    if (XXH3_64bits(encoded.ptr, size - CHECKSUM_SIZE)
        != load_le64(encoded.ptr + size - CHECKSUM_SIZE))
        return ERR_CHECKSUM;
    shape->node_count = load_le32(encoded.ptr + 40);
    shape->row_count = load_le32(encoded.ptr + 44);
    if (shape->node_count > PLACEMENT_NODES_MAX
        || shape->row_count > TABLE_ROWS_MAX)
        return ERR_LIMIT;
    size_t text_at = HEADER_SIZE + (size_t) shape->node_count * NODE_SIZE
                     + (size_t) shape->row_count * ROW_SIZE;
    shape->text = bytes_of(encoded.ptr + text_at, load_le32(encoded.ptr + 48));
    if (text_at + shape->text.len + CHECKSUM_SIZE != size
        || load_le32(encoded.ptr + 52) > 1)
        return ERR_INVALID;
    return 0;
}

/* The text at an offset; length 0, which no name has, when out of bounds. */
static struct bytes
text_at(struct bytes text, uint32_t offset, uint8_t len)
{
    if (offset > text.len || len > text.len - offset)
        return bytes_of(NULL, 0);
    return bytes_of(text.ptr + offset, len);
}

static bool
node_read(const uint8_t *from, struct bytes text, struct table_node *node)
{
    node->hash = load_le64(from);
    node->name = text_at(text, load_le32(from + 8), from[22]);
    node->url = text_at(text, load_le32(from + 12), from[23]);
    node->load = load_le32(from + 16);
    node->weight = load_le16(from + 20);
    node->state = (enum node_state) from[24];
    return load_le64(from + 24) == from[24];
}

static bool
row_read(const uint8_t *from, struct bytes text, struct table_row *row)
{
    row->hash = load_le64(from);
    row->rate_milli = load_le64(from + 8);
    row->calmer_since_ms = load_le64(from + 16);
    row->id = text_at(text, load_le32(from + 24), from[34]);
    row->owner_count = load_le32(from + 28);
    row->cdn_share = load_le16(from + 32);
    row->level = (enum level) from[35];
    row->is_cdn_forbidden = load_le32(from + 36) == 1;
    return load_le32(from + 36) <= 1;
}

static int
records_read(const uint8_t *from, const struct shape *shape,
             struct table_node *nodes, struct table_row *rows)
{
    bool is_valid = true;
    from += HEADER_SIZE;
    for (uint32_t i = 0; i < shape->node_count; i++, from += NODE_SIZE)
        is_valid &= node_read(from, shape->text, &nodes[i]);
    for (uint32_t i = 0; i < shape->row_count; i++, from += ROW_SIZE)
        is_valid &= row_read(from, shape->text, &rows[i]);
    return is_valid ? 0 : ERR_INVALID;
}

/* The best state any node is in that may still take viewers; NODE_DRAINING
 * stands for none. */
static enum node_state
state_to_use(const struct table *table)
{
    static const enum node_state order[] = {NODE_UP, NODE_FULL, NODE_DOWN};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        for (size_t j = 0; j < table->node_count; j++) {
            if (table->nodes[j].state == order[i])
                return order[i];
        }
    }
    return NODE_DRAINING;
}

static void
placement_fill(struct table_snapshot *snapshot)
{
    const struct table *table = &snapshot->table;
    enum node_state use = state_to_use(table);
    for (size_t i = 0; i < table->node_count; i++) {
        bool is_used = use != NODE_DRAINING && table->nodes[i].state == use;
        snapshot->placement[i] = (struct placement_node){
            .hash = table->nodes[i].hash,
            .weight = is_used ? table->nodes[i].weight : 0,
        };
        snapshot->available_count += is_used;
    }
}

/* One block for the snapshot, its arrays and a copy of the text. */
static struct table_snapshot *
snapshot_new(const struct shape *shape)
{
    size_t nodes_size = shape->node_count * sizeof(struct table_node);
    size_t rows_size = shape->row_count * sizeof(struct table_row);
    size_t placement_size = shape->node_count * sizeof(struct placement_node);
    struct table_snapshot *snapshot =
        calloc(1, sizeof *snapshot + nodes_size + rows_size + placement_size
                      + shape->text.len);
    if (snapshot == NULL)
        return NULL;
    uint8_t *at = (uint8_t *) (snapshot + 1);
    snapshot->table.nodes = (struct table_node *) (void *) at;
    at += nodes_size;
    snapshot->table.rows = (struct table_row *) (void *) at;
    at += rows_size;
    snapshot->placement = (struct placement_node *) (void *) at;
    at += placement_size;
    snapshot->memory = at;
    snapshot->table.node_count = shape->node_count;
    snapshot->table.row_count = shape->row_count;
    return snapshot;
}

int
table_version_compare(struct table_version a, struct table_version b)
{
    if (a.term != b.term)
        return a.term < b.term ? -1 : 1;
    return (a.sequence > b.sequence) - (a.sequence < b.sequence);
}

int
table_version_parse(struct bytes text, struct table_version *out)
{
    struct table_version version;
    const uint8_t *dot = text.len == 0 ? NULL : memchr(text.ptr, '.', text.len);
    if (dot == NULL)
        return ERR_INVALID;
    const size_t at = (size_t) (dot - text.ptr);
    if (!bytes_number(bytes_of(text.ptr, at), &version.term)
        || !bytes_number(bytes_of(dot + 1, text.len - at - 1),
                         &version.sequence))
        return ERR_INVALID;
    *out = version;
    return 0;
}

const char *
level_name(enum level level)
{
    switch (level) {
    case LEVEL_CALM:
        return "calm";
    case LEVEL_NORMAL:
        return "normal";
    case LEVEL_HOT:
        return "hot";
    case LEVEL_CRITICAL:
        return "critical";
    }
    return "unknown";
}

const char *
node_state_name(enum node_state state)
{
    switch (state) {
    case NODE_UP:
        return "up";
    case NODE_DRAINING:
        return "draining";
    case NODE_FULL:
        return "full";
    case NODE_DOWN:
        return "down";
    }
    return "unknown";
}

bool
table_node_name_is_valid(struct bytes name)
{
    return name.len <= TABLE_NODE_NAME_LEN_MAX && content_id_is_valid(name);
}

bool
table_node_url_is_valid(struct bytes url)
{
    static const char http[] = "http://", https[] = "https://";
    size_t scheme = 0;

    if (url.len > TABLE_NODE_URL_LEN_MAX)
        return false;
    if (url.len >= sizeof http && memcmp(url.ptr, http, sizeof http - 1) == 0)
        scheme = sizeof http - 1;
    if (url.len >= sizeof https
        && memcmp(url.ptr, https, sizeof https - 1) == 0)
        scheme = sizeof https - 1;
    if (scheme == 0 || url.ptr[scheme] == '/' || url.ptr[url.len - 1] == '/')
        return false;
    for (size_t i = scheme; i < url.len; i++) {
        uint8_t c = url.ptr[i];
        /* what could end the header or the JSON text it is put into */
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\'' || c == '\\'
            || c == '<' || c == '>')
            return false;
    }
    return true;
}

int
table_encode(const struct table *table, struct buffer *out)
{
    struct table sorted = *table;
    struct table_node *nodes = NULL;
    struct table_row *rows = NULL;
    size_t start = out->len;
    int err = ERR_MEMORY;

    if (table->node_count > PLACEMENT_NODES_MAX
        || table->row_count > TABLE_ROWS_MAX)
        return ERR_LIMIT;
    /* one more, as an empty table is no failed allocation */
    nodes = calloc(table->node_count + 1, sizeof *nodes);
    rows = calloc(table->row_count + 1, sizeof *rows);
    if (nodes == NULL || rows == NULL)
        goto done;
    for (size_t i = 0; i < table->node_count; i++) {
        nodes[i] = table->nodes[i];
        nodes[i].hash = placement_node_hash(nodes[i].name);
    }
    for (size_t i = 0; i < table->row_count; i++) {
        rows[i] = table->rows[i];
        rows[i].hash = content_hash(rows[i].id);
    }
    qsort(nodes, table->node_count, sizeof *nodes, node_compare_void);
    qsort(rows, table->row_count, sizeof *rows, table_row_compare);
    sorted.nodes = nodes;
    sorted.rows = rows;
    err = table_is_valid(&sorted) ? append_table(&sorted, out) : ERR_INVALID;
    if (err == 0 && out->len - start > TABLE_SIZE_MAX)
        err = ERR_LIMIT;
done:
    free(nodes);
    free(rows);
    return err;
}

int
table_decode(struct bytes encoded, struct table_snapshot **out)
{
    struct shape shape;
    int err = frame_check(encoded, &shape);
    if (err != 0)
        return err;
    struct table_snapshot *snapshot = snapshot_new(&shape);
    if (snapshot == NULL)
        return ERR_MEMORY;
    if (shape.text.len > 0)
        memcpy(snapshot->memory, shape.text.ptr, shape.text.len);
    shape.text.ptr = snapshot->memory;
    struct table *table = &snapshot->table;
    table->version.term = load_le64(encoded.ptr + 16);
    table->version.sequence = load_le64(encoded.ptr + 24);
    table->created_ms = load_le64(encoded.ptr + 32);
    table->is_cdn_forbidden = load_le32(encoded.ptr + 52) == 1;
    struct table_node *nodes = (struct table_node *) (void *) (snapshot + 1);
    struct table_row *rows =
        (struct table_row *) (void *) (nodes + shape.node_count);
    err = records_read(encoded.ptr, &shape, nodes, rows);
    if (err == 0 && !table_is_valid(table))
        err = ERR_INVALID;
    if (err != 0) {
        table_free(snapshot);
        return err;
    }
    placement_fill(snapshot);
    *out = snapshot;
    return 0;
}

void
table_free(struct table_snapshot *snapshot)
{
    free(snapshot); /* all in one block, see snapshot_new */
}

const struct table_row *
table_find(const struct table *table, uint64_t hash, struct bytes id)
{
    const struct table_row *row = table->rows;
    size_t count = table->row_count;

    /* the first row whose hash is not below */
    while (count > 0) {
        size_t half = count / 2;
        if (row[half].hash < hash) {
            row += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    const struct table_row *end = table->rows + table->row_count;
    for (; row != end && row->hash == hash; row++) {
        if (bytes_equal(row->id, id))
            return row;
    }
    return NULL;
}

int
table_node_find(const struct table *table, struct bytes name)
{
    size_t low = 0, high = table->node_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = bytes_compare(table->nodes[middle].name, name);
        if (order == 0)
            return (int) middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

int
table_peek_version(struct bytes encoded, struct table_version *out)
{
    size_t seen = encoded.len < sizeof magic ? encoded.len : sizeof magic;
    if (seen > 0 && memcmp(encoded.ptr, magic, seen) != 0)
        return ERR_INVALID;
    if (encoded.len < HEADER_SIZE)
        return ERR_TRUNCATED;
    if (load_le32(encoded.ptr + 8) != TABLE_FORM)
        return ERR_VERSION;
    out->term = load_le64(encoded.ptr + 16);
    out->sequence = load_le64(encoded.ptr + 24);
    return 0;
}
