/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_TABLE_H
#define CORE_TABLE_H

/*
 * The load table: what the Manager publishes and every node acts on. It lists
 * the nodes with weight, health and load, and the contents that are not calm
 * or that the CDN must not get.
 * The encoded form is a flat little-endian file of fixed-size records with a
 * heap of text behind them and an XXH3 checksum over all; docs/adr/ draws it.
 */

#include "core/buffer.h"
#include "core/placement.h"

#define TABLE_ROWS_MAX 65536
#define TABLE_NODE_NAME_LEN_MAX 63
#define TABLE_NODE_URL_LEN_MAX 255
#define TABLE_SIZE_MAX (16u << 20) /* bytes, encoded */
#define TABLE_SHARE_ONE 10000      /* shares and loads are in 1/10000 */

/* Published tables are ordered by (term, sequence). */
struct table_version {
    uint64_t term;
    uint64_t sequence;
};

/* <0, 0, >0 as memcmp. */
int table_version_compare(struct table_version a, struct table_version b);

/* "TERM.SEQUENCE", as versions are written everywhere. ERR_INVALID. */
int table_version_parse(struct bytes text, struct table_version *out);

enum level { LEVEL_CALM, LEVEL_NORMAL, LEVEL_HOT, LEVEL_CRITICAL };
const char *level_name(enum level level); /* "calm" ... */

enum node_state {
    NODE_UP,
    NODE_DRAINING, /* serves what it has, gets nothing new */
    NODE_FULL,     /* at its capacity */
    NODE_DOWN,
};
const char *node_state_name(enum node_state state); /* "up" ... */

struct table_node {
    struct bytes name; /* unique */
    struct bytes url;  /* base of redirects: "http://host:port", no slash */
    uint64_t hash;     /* placement_node_hash(name); set by encode/decode */
    uint32_t weight;   /* 1 to 65535 */
    uint32_t load;     /* 1/10000 of its capacity, saturating */
    enum node_state state;
};

struct table_row {
    struct bytes id;
    uint64_t hash; /* content_hash(id); set by encode/decode */
    enum level level;
    uint32_t owner_count;     /* k, at least 1 */
    uint32_t cdn_share;       /* 1/10000 of new plays that go to the CDN */
    bool is_cdn_forbidden;    /* nobody is sent there for it; the share is 0 */
    uint64_t rate_milli;      /* demanded requests in 1000 s, for people; 0 of
                               * a calm one */
    uint64_t calmer_since_ms; /* since when a lower k or share would do, by the
                               * Manager's clock; 0: it would not */
};

struct table {
    struct table_version version;
    uint64_t created_ms;            /* Unix time */
    bool is_cdn_forbidden;          /* for all contents */
    const struct table_node *nodes; /* origins only, sorted by name */
    size_t node_count;
    const struct table_row *rows; /* sorted by (hash, id) */
    size_t row_count;
};

/* The order of rows, as qsort asks for it. */
int table_row_compare(const void *a, const void *b);

/* 1 to 63 bytes of the characters of a content id. */
bool table_node_name_is_valid(struct bytes name);
/* http:// or https:// and what follows, visible ASCII without quotes, no slash
 * at the end: nothing that could break out of a header line. */
bool table_node_url_is_valid(struct bytes url);

/* Sorts copies of nodes and rows, sets hashes, appends the encoded table.
 * ERR_INVALID for a bad or doubled name, id, weight, level or share;
 * ERR_LIMIT. */
int table_encode(const struct table *table, struct buffer *out);

/* A decoded table: owns its memory, immutable, so any thread may read it. */
struct table_snapshot {
    struct table table;
    struct placement_node *placement; /* as table.nodes; weight 0 unless up */
    size_t available_count;           /* nodes that are up */
    void *memory;
};

/*
 * Verifies every byte before anything is made of it. When no node is up, the
 * full ones count as available, and when there are none, those that are down
 * (trying beats refusing; see placement); those that are draining never.
 * ERR_TRUNCATED, ERR_CHECKSUM, ERR_VERSION, ERR_INVALID, ERR_LIMIT,
 * ERR_MEMORY.
 */
int table_decode(struct bytes encoded, struct table_snapshot **out);
void table_free(struct table_snapshot *snapshot); /* NULL is fine */

/* The row of a content, or NULL: it is calm. One that has a row may be calm as
 * well, where the CDN is forbidden for it. */
const struct table_row *table_find(const struct table *table, uint64_t hash,
                                   struct bytes id);

/* The node of that name, or -1. */
int table_node_find(const struct table *table, struct bytes name);

/* Version of an encoded table by its header alone (for If-newer questions). */
int table_peek_version(struct bytes encoded, struct table_version *out);

#endif
