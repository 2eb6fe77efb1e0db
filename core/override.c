/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of overrides, see core/override.h. */

#include "core/override.h"
#include "core/err.h"

#include <math.h>

/* <0, 0, >0 as memcmp. */
static int
place_compare(const struct override *override, enum override_target target,
              struct bytes name)
{
    if (override->target != target)
        return override->target < target ? -1 : 1;
    return bytes_compare(bytes_of_text(override->name), name);
}

/* Where it is, or belongs. */
static size_t
place_of(const struct override *list, size_t count, enum override_target target,
         struct bytes name)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (place_compare(&list[middle], target, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool
content_is_valid(const struct override *o)
{
    return content_id_is_valid(bytes_of_text(o->name)) && !o->has_budget
           && (o->is_pinned || o->is_cdn_forbidden)
           && (unsigned) o->level <= LEVEL_CRITICAL
           && (o->owner_count == 0
               || (o->is_pinned && o->level == LEVEL_NORMAL
                   && o->owner_count <= PLACEMENT_NODES_MAX));
}

static bool
cdn_is_valid(const struct override *o)
{
    return o->name[0] == '\0' && !o->is_pinned
           && o->is_cdn_forbidden != o->has_budget
           && (!o->has_budget
               || (o->budget_share >= 0 && o->budget_share <= 1
                   && o->budget_plays >= 0 && isfinite(o->budget_plays)));
}

bool
override_is_valid(const struct override *o)
{
    if (memchr(o->name, '\0', sizeof o->name) == NULL)
        return false;
    switch (o->target) {
    case OVERRIDE_CONTENT:
        return content_is_valid(o);
    case OVERRIDE_NODE:
        return table_node_name_is_valid(bytes_of_text(o->name)) && !o->is_pinned
               && !o->is_cdn_forbidden && !o->has_budget;
    case OVERRIDE_CDN:
        return cdn_is_valid(o);
    }
    return false;
}

const struct override *
override_find(const struct override *list, size_t count,
              enum override_target target, struct bytes name)
{
    const size_t at = place_of(list, count, target, name);
    return at < count && place_compare(&list[at], target, name) == 0 ? &list[at]
                                                                     : NULL;
}

int
override_put(struct override *list, size_t *count,
             const struct override *override)
{
    if (!override_is_valid(override))
        return ERR_INVALID;
    const struct bytes name = bytes_of_text(override->name);
    const size_t at = place_of(list, *count, override->target, name);
    const bool is_there =
        at < *count && place_compare(&list[at], override->target, name) == 0;
    if (!is_there && *count == OVERRIDES_MAX)
        return ERR_LIMIT;
    if (!is_there)
        memmove(&list[at + 1], &list[at], ((*count)++ - at) * sizeof *list);
    list[at] = *override;
    return 0;
}

int
override_remove(struct override *list, size_t *count,
                enum override_target target, struct bytes name)
{
    const struct override *found = override_find(list, *count, target, name);
    if (found == NULL)
        return ERR_NOT_FOUND;
    const size_t at = (size_t) (found - list);
    memmove(&list[at], &list[at + 1], (--*count - at) * sizeof *list);
    return 0;
}

bool
override_expire(struct override *list, size_t *count, uint64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (list[i].until_ms > now_ms)
            list[kept++] = list[i];
    }
    const bool has_changed = kept < *count;
    *count = kept;
    return has_changed;
}

bool
override_forbids_cdn(const struct override *list, size_t count)
{
    const struct override *cdn =
        override_find(list, count, OVERRIDE_CDN, bytes_of("", 0));
    return cdn != NULL && cdn->is_cdn_forbidden;
}

void
override_nodes(const struct override *list, size_t count,
               struct demand_node *nodes, size_t node_count)
{
    for (size_t i = 0; i < node_count; i++) {
        struct demand_node *node = &nodes[i];
        if ((node->state == NODE_UP || node->state == NODE_FULL)
            && override_find(list, count, OVERRIDE_NODE, node->last.node)
                   != NULL)
            node->state = NODE_DRAINING;
    }
}
