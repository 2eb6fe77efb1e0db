/* SPDX-License-Identifier: Apache-2.0 */
/* The `static` way to coordinate: a list of Managers, taken in turn when one
 * does not answer. */

#include "platform/coordination.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_WAIT_MS 30000

struct coordination_static {
    struct coordination super;
    const char *const *urls;
    size_t count;
    size_t current;
};

static const char *
static_manager(struct coordination *self)
{
    const struct coordination_static *c = (struct coordination_static *) self;
    return c->urls[c->current];
}

static void
static_manager_failed(struct coordination *self, const char *url)
{
    struct coordination_static *c = (struct coordination_static *) self;
    /* several questions fail together: only the first moves on */
    if (strcmp(c->urls[c->current], url) == 0)
        c->current = (c->current + 1) % c->count;
}

/* Only to one of the list: that is what the configuration trusts. */
static void
static_manager_moved(struct coordination *self, const char *url,
                     const char *leader)
{
    struct coordination_static *c = (struct coordination_static *) self;
    if (strcmp(c->urls[c->current], url) != 0)
        return;
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->urls[i], leader) == 0)
            c->current = i;
}

static void
static_node_is(struct coordination *self, enum node_state state)
{
    /* the reports say it */
}

static void
static_free(struct coordination *self)
{
    free(self);
}

struct coordination *
coordination_static_new(const char *const *urls, size_t count)
{
    struct coordination_static *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->super = (struct coordination){
        .manager = static_manager,
        .manager_failed = static_manager_failed,
        .manager_moved = static_manager_moved,
        .node_is = static_node_is,
        .free = static_free,
        .table_wait_ms = TABLE_WAIT_MS,
    };
    c->urls = urls;
    c->count = count;
    return &c->super;
}
