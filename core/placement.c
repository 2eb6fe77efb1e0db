/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weighted rendezvous hashing, see core/placement.h.
 *
 * A node's score for a content is weight / -log2(u), u in (0, 1) from a hash
 * of both. Scores are compared by cross multiplication, so nothing is divided
 * or rounded. The logarithm is piecewise linear over 256 pieces: within 0.2 %
 * of the true one, and monotone, which is what makes the order total and the
 * same with and without the shortcut for equal weights.
 */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/placement.h"

#include <assert.h>

#define NODE_HASH_SEED 0x6e6f6465u /* apart from hashes of contents */
#define SELECT_MAX 32 /* owners up to which selecting beats sorting */

/* log2(1 + i/256) in 2^-31, rounded. */
static const uint32_t log2_table[257] = {
    0x00000000, 0x00b84e23, 0x016fe50b, 0x0226c623, 0x02dcf2d1, 0x03926c77,
    0x04473475, 0x04fb4c25, 0x05aeb4dd, 0x06616ff1, 0x07137eae, 0x07c4e261,
    0x08759c50, 0x0925adbf, 0x09d517ef, 0x0a83dc1b, 0x0b31fb7d, 0x0bdf774b,
    0x0c8c50b7, 0x0d3888f0, 0x0de42120, 0x0e8f1a72, 0x0f397609, 0x0fe33508,
    0x108c588d, 0x1134e1b5, 0x11dcd197, 0x1284294b, 0x132ae9e2, 0x13d1146e,
    0x1476a9fa, 0x151bab90, 0x15c01a3a, 0x1663f6fb, 0x170742d5, 0x17a9fec8,
    0x184c2bd0, 0x18edcae8, 0x198edd07, 0x1a2f6323, 0x1acf5e2e, 0x1b6ecf17,
    0x1c0db6ce, 0x1cac163c, 0x1d49ee4c, 0x1de73fe4, 0x1e840be7, 0x1f205339,
    0x1fbc16b9, 0x20575745, 0x20f215b7, 0x218c52eb, 0x22260fb6, 0x22bf4ced,
    0x23580b65, 0x23f04bee, 0x24880f56, 0x251f566b, 0x25b621f9, 0x264c72c7,
    0x26e2499d, 0x2777a741, 0x280c8c76, 0x28a0f9fe, 0x2934f098, 0x29c87102,
    0x2a5b7bf9, 0x2aee1236, 0x2b803474, 0x2c11e368, 0x2ca31fc9, 0x2d33ea49,
    0x2dc4439b, 0x2e542c70, 0x2ee3a575, 0x2f72af59, 0x30014ac6, 0x308f7868,
    0x311d38e6, 0x31aa8ce7, 0x32377512, 0x32c3f20a, 0x33500472, 0x33dbaceb,
    0x3466ec15, 0x34f1c28e, 0x357c30f3, 0x360637e0, 0x368fd7ee, 0x371911b8,
    0x37a1e5d4, 0x382a54d8, 0x38b25f5a, 0x393a05ee, 0x39c14924, 0x3a482990,
    0x3acea7c0, 0x3b54c444, 0x3bda7fa9, 0x3c5fda7a, 0x3ce4d544, 0x3d697090,
    0x3dedace6, 0x3e718acf, 0x3ef50ad2, 0x3f782d72, 0x3ffaf335, 0x407d5c9e,
    0x40ff6a2e, 0x41811c68, 0x420273ca, 0x428370d4, 0x43041403, 0x43845dd5,
    0x44044ec5, 0x4483e74e, 0x450327eb, 0x45821112, 0x4600a33e, 0x467edee4,
    0x46fcc47a, 0x477a5476, 0x47f78f4c, 0x4874756f, 0x48f10751, 0x496d4563,
    0x49e93016, 0x4a64c7da, 0x4ae00d1d, 0x4b5b004d, 0x4bd5a1d8, 0x4c4ff228,
    0x4cc9f1ab, 0x4d43a0c9, 0x4dbcffee, 0x4e360f81, 0x4eaecfeb, 0x4f274192,
    0x4f9f64de, 0x50173a35, 0x508ec1fa, 0x5105fc93, 0x517cea63, 0x51f38bcb,
    0x5269e12f, 0x52dfeaf0, 0x5355a96d, 0x53cb1d07, 0x5440461c, 0x54b5250c,
    0x5529ba33, 0x559e05ee, 0x5612089a, 0x5685c293, 0x56f93433, 0x576c5dd4,
    0x57df3fd0, 0x5851da81, 0x58c42e3d, 0x59363b5e, 0x59a80239, 0x5a198326,
    0x5a8abe79, 0x5afbb489, 0x5b6c65aa, 0x5bdcd22f, 0x5c4cfa6c, 0x5cbcdeb4,
    0x5d2c7f59, 0x5d9bdcad, 0x5e0af6ff, 0x5e79cea2, 0x5ee863e5, 0x5f56b717,
    0x5fc4c886, 0x60329882, 0x60a02757, 0x610d7553, 0x617a82c3, 0x61e74ff2,
    0x6253dd2c, 0x62c02abc, 0x632c38ed, 0x63980809, 0x64039858, 0x646eea24,
    0x64d9fdb7, 0x6544d356, 0x65af6b4b, 0x6619c5db, 0x6683e34f, 0x66edc3eb,
    0x675767f5, 0x67c0cfb3, 0x6829fb69, 0x6892eb5c, 0x68fb9fce, 0x69641904,
    0x69cc5741, 0x6a345ac6, 0x6a9c23d6, 0x6b03b2b2, 0x6b6b079c, 0x6bd222d4,
    0x6c39049b, 0x6c9fad30, 0x6d061cd3, 0x6d6c53c2, 0x6dd2523d, 0x6e381882,
    0x6e9da6ce, 0x6f02fd60, 0x6f681c73, 0x6fcd0445, 0x7031b512, 0x70962f16,
    0x70fa728c, 0x715e7faf, 0x71c256ba, 0x7225f7e8, 0x72896373, 0x72ec9993,
    0x734f9a83, 0x73b2667b, 0x7414fdb5, 0x74776067, 0x74d98eca, 0x753b8916,
    0x759d4f81, 0x75fee242, 0x76604191, 0x76c16da3, 0x772266ad, 0x77832ce6,
    0x77e3c082, 0x784421b7, 0x78a450b8, 0x79044dbb, 0x796418f2, 0x79c3b292,
    0x7a231ace, 0x7a8251d8, 0x7ae157e3, 0x7b402d22, 0x7b9ed1c7, 0x7bfd4603,
    0x7c5b8a07, 0x7cb99e06, 0x7d17822f, 0x7d7536b4, 0x7dd2bbc4, 0x7e30118f,
    0x7e8d3846, 0x7eea3017, 0x7f46f932, 0x7fa393c5, 0x80000000,
};

struct candidate {
    uint64_t mixed;      /* uniform hash of content and node */
    uint64_t minus_log2; /* of mixed / 2^64, in 2^-55; never 0 */
    uint32_t weight;
    uint32_t index;
};

/* Finaliser with full avalanche; both inputs are hashes already. One to one
 * for each content, so two nodes never tie. */
static inline uint64_t
mix(uint64_t content, uint64_t node)
{
    uint64_t x = content ^ node;
    x ^= x >> 32;
    x *= 0xe9846af9b1a615d5u;
    x ^= x >> 32;
    x *= 0xe9846af9b1a615d5u;
    x ^= x >> 28;
    return x;
}

static inline uint64_t
minus_log2(uint64_t x)
{
    x |= x == 0; /* the logarithm of 0 is that of 1 here */
    unsigned shift = (unsigned) __builtin_clzll(x);
    uint64_t mantissa = x << shift; /* the top bit is the 1 before the point */
    unsigned piece = (unsigned) (mantissa >> 55) & 0xff;
    uint64_t rest = (mantissa >> 31) & 0xffffff; /* 24 bits within it */
    uint64_t low = log2_table[piece];
    uint64_t log2 = (low << 24) + (log2_table[piece + 1] - low) * rest;
    return ((uint64_t) (shift + 1) << 55) - log2;
}

static inline bool
is_better(const struct candidate *a, const struct candidate *b)
{
    unsigned __int128 score_a = (unsigned __int128) a->weight * b->minus_log2;
    unsigned __int128 score_b = (unsigned __int128) b->weight * a->minus_log2;
    if (score_a != score_b)
        return score_a > score_b;
    return a->mixed > b->mixed;
}

static inline struct candidate
candidate_of(const struct placement_node *nodes, size_t i, uint64_t content)
{
    uint64_t mixed = mix(content, nodes[i].hash);
    return (struct candidate){
        .mixed = mixed,
        .minus_log2 = minus_log2(mixed),
        .weight = nodes[i].weight,
        .index = (uint32_t) i,
    };
}

/* Keeps the best k so far in order: one pass, for small k. */
static size_t
owners_select(const struct placement_node *nodes, size_t count,
              uint64_t content, size_t k, uint16_t *owners)
{
    struct candidate best[SELECT_MAX];
    size_t found = 0;

    for (size_t i = 0; i < count; i++) {
        if (nodes[i].weight == 0)
            continue;
        struct candidate c = candidate_of(nodes, i, content);
        if (found == k && !is_better(&c, &best[k - 1]))
            continue;
        size_t at = found < k ? found++ : k - 1;
        for (; at > 0 && is_better(&c, &best[at - 1]); at--)
            best[at] = best[at - 1];
        best[at] = c;
    }
    for (size_t i = 0; i < found; i++)
        owners[i] = (uint16_t) best[i].index;
    return found;
}

/* The same for equal weights, where the hash itself gives the order; none
 * where weights turn out to differ. */
static size_t
owners_select_equal(const struct placement_node *nodes, size_t count,
                    uint64_t content, size_t k, uint16_t *owners)
{
    uint64_t best[SELECT_MAX];
    uint64_t worst = 0;           /* of the k best, once there are k */
    uint32_t weight = UINT32_MAX; /* of all owners; no node has this one */
    size_t found = 0;

    for (size_t i = 0; i < count; i++) {
        if (nodes[i].weight != weight) {
            if (nodes[i].weight == 0)
                continue;
            if (weight != UINT32_MAX)
                return 0;
            weight = nodes[i].weight;
        }
        uint64_t mixed = mix(content, nodes[i].hash);
        if (found == k && mixed <= worst)
            continue;
        size_t at = found < k ? found++ : k - 1;
        for (; at > 0 && mixed > best[at - 1]; at--) {
            best[at] = best[at - 1];
            owners[at] = owners[at - 1];
        }
        best[at] = mixed;
        owners[at] = (uint16_t) i;
        worst = best[found - 1];
    }
    return found;
}

/* Sorts until the first k are the best k in order, and no further. Hashes come
 * in no order, so that any of them is a good pivot. */
static void
candidates_sort(struct candidate *list, size_t count, size_t k)
{
    while (count > 1 && k > 0) {
        struct candidate pivot = list[(count - 1) / 2];
        size_t i = 0, j = count - 1;
        for (;; i++, j--) {
            while (is_better(&list[i], &pivot))
                i++;
            while (is_better(&pivot, &list[j]))
                j--;
            if (i >= j)
                break;
            struct candidate swapped = list[i];
            list[i] = list[j];
            list[j] = swapped;
        }
        size_t better = j + 1;
        candidates_sort(list, better, k);
        k = k > better ? k - better : 0;
        list += better;
        count -= better;
    }
}

static size_t
owners_sort(const struct placement_node *nodes, size_t count, uint64_t content,
            size_t k, uint16_t *owners)
{
    struct candidate all[PLACEMENT_NODES_MAX];
    size_t found = 0;

    for (size_t i = 0; i < count; i++) {
        if (nodes[i].weight != 0)
            all[found++] = candidate_of(nodes, i, content);
    }
    candidates_sort(all, found, k);
    if (found > k)
        found = k;
    for (size_t i = 0; i < found; i++)
        owners[i] = (uint16_t) all[i].index;
    return found;
}

/* Hashes are even: with as many buckets as nodes, the greatest hashes in the
 * first, each has about one and none needs more than a glance to be in order.
 */
static size_t
bucket_of(uint64_t mixed, size_t count)
{
    return (size_t) (((unsigned __int128) ~mixed * count) >> 64);
}

/* The same for equal weights, in one pass. */
static size_t
owners_sort_equal(const struct placement_node *nodes, size_t count,
                  uint64_t content, size_t k, uint16_t *owners)
{
    uint64_t mixed[PLACEMENT_NODES_MAX], sorted[PLACEMENT_NODES_MAX];
    uint16_t order[PLACEMENT_NODES_MAX];
    uint16_t begin[PLACEMENT_NODES_MAX + 1] = {0}, end[PLACEMENT_NODES_MAX];

    for (size_t i = 0; i < count; i++) {
        mixed[i] = mix(content, nodes[i].hash);
        if (nodes[i].weight != 0)
            begin[bucket_of(mixed[i], count) + 1]++;
    }
    for (size_t b = 0; b < count; b++) {
        end[b] = begin[b];
        begin[b + 1] = (uint16_t) (begin[b + 1] + begin[b]);
    }
    for (size_t i = 0; i < count; i++) {
        size_t b = bucket_of(mixed[i], count);
        if (nodes[i].weight == 0 || begin[b] >= k)
            continue;
        size_t at = end[b]++;
        for (; at > begin[b] && mixed[i] > sorted[at - 1]; at--) {
            sorted[at] = sorted[at - 1];
            order[at] = order[at - 1];
        }
        sorted[at] = mixed[i];
        order[at] = (uint16_t) i;
    }
    size_t found = begin[count] < k ? begin[count] : k;
    memcpy(owners, order, found * sizeof *owners);
    return found;
}

/* True unless all nodes that may be owners have the same weight. */
static bool
nodes_are_weighted(const struct placement_node *nodes, size_t count)
{
    uint32_t weight = 0;
    for (size_t i = 0; i < count; i++) {
        if (nodes[i].weight == 0 || nodes[i].weight == weight)
            continue;
        if (weight != 0)
            return true;
        weight = nodes[i].weight;
    }
    return false;
}

uint64_t
placement_node_hash(struct bytes name)
{
    return XXH3_64bits_withSeed(name.ptr, name.len, NODE_HASH_SEED);
}

size_t
placement_owners(const struct placement_node *nodes, size_t count,
                 uint64_t content, size_t k, uint16_t *owners)
{
    assert(count <= PLACEMENT_NODES_MAX);
    if (k > count)
        k = count;
    if (k == 0)
        return 0;
    if (k > SELECT_MAX)
        return nodes_are_weighted(nodes, count)
                   ? owners_sort(nodes, count, content, k, owners)
                   : owners_sort_equal(nodes, count, content, k, owners);
    const size_t found = owners_select_equal(nodes, count, content, k, owners);
    return found > 0 ? found : owners_select(nodes, count, content, k, owners);
}
