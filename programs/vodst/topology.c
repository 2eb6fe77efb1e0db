/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/vodst/topology.h"
#include "core/err.h"
#include "platform/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOPBACK "127.0.0.1"
#define HOST_LEN_MAX 200 /* bytes; node URLs end at 255 */

/* `auto` stays below the ports that the kernel gives to connections. */
#define AUTO_PORT_MIN 10000
#define AUTO_PORT_MAX 30000
#define AUTO_TRIES 200

static void
node_add(struct topology *topology, enum tier tier, const char *name,
         unsigned number, bool is_public)
{
    struct node *node = &topology->nodes[topology->count++];
    node->tier = tier;
    node->is_public = is_public;
    node->runs_here = true;
    if (number > 0)
        snprintf(node->name, sizeof node->name, "%s%u", name, number);
    else
        snprintf(node->name, sizeof node->name, "%s", name);
}

static void
nodes_name(struct topology *topology, const struct topology_config *config)
{
    topology->count = 0;
    topology->has_s3 = false;
    for (unsigned i = 1; i <= config->redirectors; i++)
        node_add(topology, TIER_REDIRECTOR, "redirector", i, true);
    for (unsigned i = 1; i <= config->origins; i++)
        node_add(topology, TIER_ORIGIN, "origin", i, true);
    node_add(topology, TIER_CDN, "cdn", 0, true);
    node_add(topology, TIER_VARNISH, "varnish", 0, false);
    for (unsigned i = 1; i <= config->caches; i++)
        node_add(topology, TIER_CACHE, "cache", i, false);
    node_add(topology, TIER_STORAGE, "storage", 0, false);
    node_add(topology, TIER_MANAGER, "manager", 0, false);
    node_add(topology, TIER_API, "st-api", 0, false);
    node_add(topology, TIER_LICENSES, "mlic", 0, false);
}

/* 0 when a server could listen there now, else errno. */
static int
port_try(const char *address, unsigned port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t) port)};
    const int on = 1;
    int failed = 0;

    inet_pton(AF_INET, address, &in.sin_addr);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *) &in, sizeof in) != 0 || listen(fd, 1) != 0)
        failed = errno;
    close(fd);
    return failed;
}

/* The first node whose port cannot be had, or NULL. */
static const struct node *
ports_give(struct topology *topology, const struct topology_config *config,
           unsigned base, int *failed)
{
    for (size_t i = 0; i < topology->count; i++) {
        struct node *node = &topology->nodes[i];
        const char *address = node->is_public ? config->address : LOOPBACK;
        const char *host =
            node->is_public && config->host ? config->host : address;
        node->port = base + (unsigned) i;
        snprintf(node->listen, sizeof node->listen, "%s:%u", address,
                 node->port);
        snprintf(node->loopback, sizeof node->loopback, "%s", node->listen);
        snprintf(node->url, sizeof node->url, "http://%s:%u", host, node->port);
        if ((*failed = port_try(address, node->port)) != 0)
            return node;
    }
    return NULL;
}

static int
ports_give_any(struct topology *topology, const struct topology_config *config,
               char *error, size_t error_size)
{
    int failed = 0;
    for (unsigned i = 0; i < AUTO_TRIES; i++) {
        const unsigned base =
            AUTO_PORT_MIN
            + (unsigned) (random_u64() % (AUTO_PORT_MAX - AUTO_PORT_MIN));
        if (ports_give(topology, config, base, &failed) == NULL)
            return 0;
    }
    snprintf(error, error_size,
             "no %zu free ports in a row between %d and %d (%s); give --port",
             topology->count, AUTO_PORT_MIN, AUTO_PORT_MAX, strerror(failed));
    return ERR_UNAVAILABLE;
}

static int
ports_give_from(struct topology *topology, const struct topology_config *config,
                char *error, size_t error_size)
{
    char *end;
    int failed = 0;
    const unsigned long base = strtoul(config->port, &end, 10);
    const unsigned long base_max = 65536 - topology->count;
    if (*config->port < '0' || *config->port > '9' || *end != '\0' || base < 1
        || base > base_max) {
        snprintf(error, error_size,
                 "--port is '%s', it must be 1 to %lu, or auto", config->port,
                 base_max);
        return ERR_INVALID;
    }
    const struct node *node =
        ports_give(topology, config, (unsigned) base, &failed);
    if (node == NULL)
        return 0;
    if (failed == EADDRINUSE)
        snprintf(error, error_size,
                 "port %u is taken (needed by %s); stop what uses it (see "
                 "`ss -ltnp`) or give --port",
                 node->port, node->name);
    else
        snprintf(error, error_size, "%s cannot listen on %s (%s)", node->name,
                 node->listen, strerror(failed));
    return ERR_UNAVAILABLE;
}

/* A name or address as it stands in a URL, and in configurations. */
static bool
host_is_valid(const char *host)
{
    return *host != '\0'
           && strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                           "abcdefghijklmnopqrstuvwxyz0123456789.-")
                  == strlen(host)
           && strlen(host) <= HOST_LEN_MAX;
}

int
topology_plan(const struct topology_config *config, struct topology *out,
              char *error, size_t error_size)
{
    struct in_addr address;
    if (inet_pton(AF_INET, config->address, &address) != 1) {
        snprintf(error, error_size,
                 "--address is '%s', it must be an IPv4 address",
                 config->address);
        return ERR_INVALID;
    }
    if (config->host != NULL && !host_is_valid(config->host)) {
        snprintf(error, error_size,
                 "--host is '%s', it must be a host name or an IPv4 address",
                 config->host);
        return ERR_INVALID;
    }
    if (config->host == NULL && address.s_addr == htonl(INADDR_ANY)) {
        snprintf(error, error_size,
                 "--address %s needs --host NAME: what viewers are to ask for",
                 config->address);
        return ERR_INVALID;
    }
    nodes_name(out, config);
    if (strcmp(config->port, "auto") == 0)
        return ports_give_any(out, config, error, error_size);
    return ports_give_from(out, config, error, error_size);
}

bool
topology_has_front(const struct node *node)
{
    return (node->tier == TIER_MANAGER || node->tier == TIER_API
            || node->tier == TIER_LICENSES)
           && strcmp(node->listen, node->loopback) != 0;
}

const struct node *
topology_node(const struct topology *topology, enum tier tier, size_t n)
{
    for (size_t i = 0; i < topology->count; i++)
        if (topology->nodes[i].tier == tier && n-- == 0)
            return &topology->nodes[i];
    return NULL;
}
