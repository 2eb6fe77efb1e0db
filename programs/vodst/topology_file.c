/* SPDX-License-Identifier: Apache-2.0 */
/* The servers of a cluster from a file, see programs/vodst/topology.h. */

#include "programs/vodst/topology.h"
#include "core/err.h"
#include "core/table.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BLANK " \t\r"
#define WORDS_MAX 6
#define LINE_SIZE 512 /* bytes, with the end */

static const struct {
    const char *name;
    bool is_public;
    bool is_one; /* what reads from it knows of one */
    bool may_miss;
} tiers[TIER_COUNT] = {
    [TIER_STORAGE] = {"storage", false, true},
    [TIER_CACHE] = {"cache", false, false},
    [TIER_MANAGER] = {"manager", false, false},
    [TIER_ORIGIN] = {"origin", true, false},
    [TIER_REDIRECTOR] = {"redirector", true, false},
    [TIER_VARNISH] = {"varnish", false, true},
    [TIER_CDN] = {"cdn", true, true},
    [TIER_API] = {"st-api", false, true},
    [TIER_LICENSES] = {"mlic", false, true, true},
};

/* Where in the file, and what to say of it. */
struct place {
    const char *path;
    unsigned line; /* 0: the file as a whole */
    char *error;
    size_t error_size;
};

static int __attribute__((format(printf, 2, 3)))
refuse(const struct place *place, const char *format, ...)
{
    char text[384];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (place->line > 0)
        snprintf(place->error, place->error_size, "%s:%u: %s", place->path,
                 place->line, text);
    else
        snprintf(place->error, place->error_size, "%s: %s", place->path, text);
    return ERR_INVALID;
}

/* The name is part of file names and of configurations. */
static bool
name_is_valid(const char *name, size_t size_max)
{
    const size_t len = strlen(name);
    return len > 0 && len < size_max && name[0] != '-'
           && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static bool
listen_read(const char *text, struct node *node)
{
    char address[INET_ADDRSTRLEN], more;
    struct in_addr in;
    return sscanf(text, "%15[0-9.]:%5u%c", address, &node->port, &more) == 2
           && inet_pton(AF_INET, address, &in) == 1
           && in.s_addr != htonl(INADDR_ANY) && node->port > 0
           && node->port < 65536
           && snprintf(node->listen, sizeof node->listen, "%s:%u", address,
                       node->port)
                  > 0;
}

static struct node *
node_named(struct topology *topology, const char *name)
{
    for (size_t i = 0; i < topology->count; i++)
        if (strcmp(topology->nodes[i].name, name) == 0)
            return &topology->nodes[i];
    return NULL;
}

static size_t
tier_count(const struct topology *topology, enum tier tier)
{
    size_t count = 0;
    for (size_t i = 0; i < topology->count; i++)
        count += topology->nodes[i].tier == tier;
    return count;
}

static int
s3_read(const struct place *place, char *const *words, size_t count,
        struct node *node, struct topology *out)
{
    const char *region = count > 4 ? words[4] : NULL;
    const char *addressing = count > 5 ? words[5] : "path";
    const char *reason;
    if (count < 4)
        return refuse(place, "a bucket needs its endpoint, like "
                             "https://s3.example.org");
    if (strlen(words[3]) >= sizeof out->s3_endpoint
        || strlen(addressing) >= sizeof out->s3_addressing
        || strlen(words[2]) + 2 > sizeof node->url)
        return refuse(place, "'%s' is too long", words[2]);
    if (s3_place_read(words[2], words[3], region, addressing, &out->s3, &reason)
        != 0)
        return refuse(place, "'%s' at '%s': %s", words[2], words[3], reason);
    snprintf(node->url, sizeof node->url, "s3://%s/%s", out->s3.bucket,
             out->s3.prefix);
    snprintf(out->s3_endpoint, sizeof out->s3_endpoint, "%s", words[3]);
    snprintf(out->s3_addressing, sizeof out->s3_addressing, "%s", addressing);
    node->runs_here = false;
    out->has_s3 = true;
    return 0;
}

static int
address_read(const struct place *place, char *const *words, size_t count,
             struct node *node)
{
    if (count > 4)
        return refuse(place,
                      "'%s' is too much: a server is TIER NAME ADDRESS:PORT "
                      "[URL]",
                      words[4]);
    if (!listen_read(words[2], node))
        return refuse(place,
                      "'%s' is no IPv4 address and port, like "
                      "192.0.2.7:80",
                      words[2]);
    snprintf(node->loopback, sizeof node->loopback, "127.0.0.1:%u", node->port);
    snprintf(node->url, sizeof node->url, "http://%s", node->listen);
    if (count > 3) {
        if (!table_node_url_is_valid(bytes_of_text(words[3]))
            || strlen(words[3]) >= sizeof node->url)
            return refuse(place, "'%s' is no base URL, like http://host:port",
                          words[3]);
        snprintf(node->url, sizeof node->url, "%s", words[3]);
    }
    return 0;
}

static int
node_read(const struct place *place, char *const *words, size_t count,
          struct topology *out)
{
    struct node node = {.runs_here = true};
    enum tier tier = 0;

    if (count < 3)
        return refuse(place, "a server is TIER NAME ADDRESS:PORT [URL]");
    while (tier < TIER_COUNT && strcmp(words[0], tiers[tier].name) != 0)
        tier++;
    if (tier == TIER_COUNT)
        return refuse(place,
                      "'%s' is no tier: it must be redirector, origin, cdn, "
                      "varnish, cache, storage, manager, st-api or mlic",
                      words[0]);
    if (!name_is_valid(words[1], sizeof node.name))
        return refuse(place,
                      "'%s' is no name: it must be 1 to %zu of a-z, 0-9, -",
                      words[1], sizeof node.name - 1);
    if (node_named(out, words[1]) != NULL)
        return refuse(place, "there is a server '%s' already", words[1]);
    snprintf(node.name, sizeof node.name, "%s", words[1]);
    if (tiers[tier].is_one && tier_count(out, tier) > 0)
        return refuse(place, "there can be one %s only", words[0]);
    if (tier_count(out, tier) == TOPOLOGY_TIER_NODES_MAX
        || out->count == TOPOLOGY_NODES_MAX)
        return refuse(place, "too many servers: %d of a tier, %d in all",
                      TOPOLOGY_TIER_NODES_MAX, TOPOLOGY_NODES_MAX);
    const int err = tier == TIER_STORAGE && strncmp(words[2], "s3://", 5) == 0
                        ? s3_read(place, words, count, &node, out)
                        : address_read(place, words, count, &node);
    if (err != 0)
        return err;
    node.tier = tier;
    node.is_public = tiers[tier].is_public;
    out->nodes[out->count++] = node;
    return 0;
}

static int
line_read(const struct place *place, struct bytes text, struct topology *out)
{
    char line[LINE_SIZE], *words[WORDS_MAX], *rest;
    size_t count = 0;

    if (text.len >= sizeof line || memchr(text.ptr, '\0', text.len) != NULL)
        return refuse(place, "is no line of text of under %d bytes", LINE_SIZE);
    memcpy(line, text.ptr, text.len);
    line[text.len] = '\0';
    for (char *word = strtok_r(line, BLANK, &rest);
         word != NULL && (count > 0 || word[0] != '#');
         word = strtok_r(NULL, BLANK, &rest)) {
        if (count == WORDS_MAX)
            return refuse(place,
                          "'%s' is too much: a server is TIER NAME "
                          "ADDRESS:PORT [URL]",
                          word);
        words[count++] = word;
    }
    return count > 0 ? node_read(place, words, count, out) : 0;
}

int
topology_read(const char *path, struct bytes text, struct topology *out,
              char *error, size_t error_size)
{
    struct place place = {path, 0, error, error_size};
    int err = 0;

    out->count = 0;
    out->has_s3 = false;
    while (text.len > 0 && err == 0) {
        const uint8_t *end = memchr(text.ptr, '\n', text.len);
        const size_t len = end ? (size_t) (end - text.ptr) : text.len;
        const size_t step = end ? len + 1 : len;
        place.line++;
        err = line_read(&place, bytes_of(text.ptr, len), out);
        text = bytes_of(text.ptr + step, text.len - step);
    }
    if (err != 0)
        return err;
    place.line = 0;
    for (enum tier tier = 0; tier < TIER_COUNT; tier++)
        if (tier_count(out, tier) == 0 && !tiers[tier].may_miss)
            return refuse(&place, "there is no %s", tiers[tier].name);
    return 0;
}

int
topology_select(struct topology *topology, const char *const *names,
                size_t count, char *error, size_t error_size)
{
    for (size_t i = 0; i < topology->count; i++)
        topology->nodes[i].runs_here =
            count == 0
            && !(topology->has_s3 && topology->nodes[i].tier == TIER_STORAGE);
    for (size_t i = 0; i < count; i++) {
        struct node *node = node_named(topology, names[i]);
        if (node == NULL) {
            snprintf(error, error_size,
                     "--node is '%s', which the cluster does not have",
                     names[i]);
            return ERR_NOT_FOUND;
        }
        if (topology->has_s3 && node->tier == TIER_STORAGE) {
            snprintf(error, error_size,
                     "--node is '%s', which is a bucket and runs nowhere here",
                     names[i]);
            return ERR_INVALID;
        }
        node->runs_here = true;
    }
    return 0;
}
