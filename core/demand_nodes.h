/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_DEMAND_NODES_H
#define CORE_DEMAND_NODES_H

/*
 * For core/demand*.c alone: the nodes that report, sorted by name. Each has the
 * last boots of its counter file, and each boot the largest values seen of
 * each content: what makes a repeated or late report harmless (rule 2).
 */

#include "core/demand.h"
#include "core/demand_index.h"
#include "core/demand_windows.h"

#define NODES_MAX PLACEMENT_NODES_MAX
#define BOOTS_MAX 4      /* a node; the one heard first goes */
#define FORGOTTEN_MAX 16 /* boots that went, so that they do not come back */

/* The newest mark is of now, the oldest DEMAND_STEADY_MS before it. */
#define MARK_MS 10000
#define MARKS (DEMAND_STEADY_MS / MARK_MS + 1)

struct maximum {
    uint32_t content;
    struct totals values;
};

struct boot {
    uint64_t id;
    uint32_t number;    /* from 1, of all boots of all nodes */
    uint64_t sequence;  /* the greatest merged */
    uint64_t has_up_to; /* all that a Manager acknowledged of the reports up to
                         * this one; 0: nothing yet */
    uint64_t heard_ms;  /* its counts until then are merged */
    bool awaits_base;   /* the next report is one: it adds nothing to rates */
    struct maximum *list;
    uint32_t count, capacity;
    struct index index; /* by content */
};

struct node {
    struct demand_node view;
    uint8_t name[TABLE_NODE_NAME_LEN_MAX];
    uint8_t url[TABLE_NODE_URL_LEN_MAX];
    uint64_t header_ms; /* when view.last was taken */
    struct series requests;
    uint64_t requests_ever;
    uint64_t marks[MARKS];        /* of that, when each MARK_MS began */
    struct boot boots[BOOTS_MAX]; /* in the order they were heard of */
    unsigned boot_count;
    uint64_t forgotten[FORGOTTEN_MAX];
    unsigned forgotten_count; /* ever */
};

struct nodes {
    struct node *list[NODES_MAX];
    size_t count;
    struct demand_node views[NODES_MAX]; /* as of the last refresh */
    size_t view_count;
    uint64_t heard_until_ms; /* all that are not silent have reported since */
    uint32_t boot_number;    /* of the last boot that was added */
    bool has_redirector;     /* heard, as of the last refresh */
};

/* All zeros is an empty one. */
void nodes_fini(struct nodes *nodes);

/* True with its place, or false with the place where it belongs. */
bool nodes_find(const struct nodes *nodes, struct bytes name, size_t *at);
/* Adds one at that place. ERR_LIMIT, ERR_MEMORY. */
int nodes_add(struct nodes *nodes, size_t at,
              const struct report_header *header, uint64_t now_ms);
/* From the clock's time on. */
void nodes_rotate(struct nodes *nodes, const struct window_clock *clock,
                  uint64_t to_ms);
/* Drops who was silent for too long and makes the views. */
void nodes_refresh(struct nodes *nodes, const struct window_clock *clock,
                   uint32_t timeout_ms);

/* Makes the header, with copies of its texts, the node's last word. */
void node_take_header(struct node *node, const struct report_header *header,
                      uint64_t now_ms);

struct boot *boot_find(struct node *node, uint64_t id);
bool boot_is_forgotten(const struct node *node, uint64_t id);
/* Adds the newest boot; forgets the oldest when there are too many. */
struct boot *boot_add(struct nodes *nodes, struct node *node, uint64_t id);
/* Asks the processor for what boot_place() will touch first. */
void boot_prefetch(const struct boot *boot, uint32_t content);
/* Where in the list the largest values seen of a content are, made as zeros.
 * ERR_MEMORY. */
int boot_place(struct boot *boot, uint32_t content, uint32_t *place);

#endif
