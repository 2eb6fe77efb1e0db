/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses of hosts, by libevent's own resolver: the C library's stands
 * still, and the loop with it, until a name server has answered.
 *
 * It reads /etc/hosts and /etc/resolv.conf, and asks the name servers. Other
 * sources of the C library (nsswitch.conf) it does not know. Without name
 * servers it asks the one on this machine.
 */

#include "platform/http_private.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include <event2/dns.h>
#include <event2/event.h>

#define HOSTS_FILE "/etc/hosts" /* which libevent reads, too */
#define SERVERS_FILE "/etc/resolv.conf"

struct stamp { /* of a file as it was read; zero: there was none */
    ino_t inode;
    off_t size_bytes;
    struct timespec changed;
};

struct http_names {
    LIST_ENTRY(http_names) entry; /* in leaving */
    struct event_base *base;
    struct evdns_base *dns;
    struct stamp hosts, servers;
};

/* To be freed by the loop: questions that were cancelled are answered from it
 * still, and look at the resolver. What a loop that ends leaves is nobody's. */
static _Thread_local LIST_HEAD(, http_names) leaving;

static bool
has_changed(const char *path, struct stamp *last)
{
    struct stat file;
    struct stamp now = {0};
    if (stat(path, &file) == 0)
        now = (struct stamp){file.st_ino, file.st_size, file.st_mtim};
    if (now.inode == last->inode && now.size_bytes == last->size_bytes
        && now.changed.tv_sec == last->changed.tv_sec
        && now.changed.tv_nsec == last->changed.tv_nsec)
        return false;
    *last = now;
    return true;
}

/* What is being asked is asked again, of the new ones. */
static void
files_read(struct http_names *names)
{
    struct evdns_base *dns = names->dns;
    evdns_base_clear_nameservers_and_suspend(dns);
    evdns_base_clear_host_addresses(dns);
    evdns_base_search_clear(dns);
    /* localhost, first where our servers listen, whatever the file says */
    (void) evdns_base_load_hosts(dns, NULL);
    (void) evdns_base_resolv_conf_parse(dns, DNS_OPTIONS_ALL, SERVERS_FILE);
    evdns_base_resume(dns);
}

struct http_names *
http_names_new(struct event_base *base)
{
    struct http_names *names = calloc(1, sizeof *names);
    if (names == NULL)
        return NULL;
    names->base = base;
    names->dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (names->dns == NULL) {
        free(names);
        return NULL;
    }
    /* not all name servers give a name back as it was spelt */
    (void) evdns_base_set_option(names->dns, "randomize-case:", "0");
    (void) has_changed(HOSTS_FILE, &names->hosts);
    (void) has_changed(SERVERS_FILE, &names->servers);
    files_read(names);
    return names;
}

static void
leave(evutil_socket_t fd, short what, void *arg)
{
    struct http_names *names = arg;
    LIST_REMOVE(names, entry);
    evdns_base_free(names->dns, 1);
    free(names);
}

void
http_names_free(struct http_names *names)
{
    if (names == NULL)
        return;
    LIST_INSERT_HEAD(&leaving, names, entry);
    (void) event_base_once(names->base, -1, EV_TIMEOUT, leave, names, NULL);
}

struct evdns_base *
http_names_current(struct http_names *names)
{
    if (names == NULL)
        return NULL;
    const bool has_hosts_changed = has_changed(HOSTS_FILE, &names->hosts);
    if (has_changed(SERVERS_FILE, &names->servers) || has_hosts_changed)
        files_read(names);
    return names->dns;
}
