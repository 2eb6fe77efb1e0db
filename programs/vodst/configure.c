/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/vodst/configure.h"
#include "programs/vodst/template.h"
#include "core/err.h"
#include "platform/files.h"
#include "platform/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINES_SIZE 8192 /* bytes of a value that names every node of a tier */
#define VALUES_MAX 60
#define NO_LICENSES "127.0.0.1:1 down" /* as nginx takes it */
#define SYSTEM_CA_FILE "/etc/ssl/certs/ca-certificates.crt"

/* What a node's templates are filled with. */
struct values {
    struct template_value items[VALUES_MAX + 1];
    size_t count;
    char run_dir[STATE_FILE_SIZE], cache_dir[STATE_FILE_SIZE],
        counters[STATE_FILE_SIZE + 16], table[STATE_FILE_SIZE + 16],
        revoked[STATE_FILE_SIZE + 16], access_log[STATE_FILE_SIZE],
        decisions_log[STATE_FILE_SIZE], token_keys[STATE_FILE_SIZE],
        storage_root[STATE_FILE_SIZE], htpasswd[STATE_FILE_SIZE];
    char s3_base[S3_BASE_SIZE], s3_tls[S3_HOST_SIZE + STATE_FILE_SIZE + 512],
        s3_credentials[STATE_FILE_SIZE];
    char workers[16], cache_size[32], capacity[32], redirect_cdn[512];
    char plain_dir[STATE_FILE_SIZE], package_plain[STATE_FILE_SIZE + 64];
    char redirect_nodes[LINES_SIZE], cache_servers[LINES_SIZE],
        cache_servers_again[LINES_SIZE], manager_servers[LINES_SIZE],
        backends[LINES_SIZE], directors[LINES_SIZE];
};

static void
value_add(struct values *values, const char *name, const char *value)
{
    if (values->count < VALUES_MAX)
        values->items[values->count++] = (struct template_value){name, value};
}

static void
line_add(char lines[LINES_SIZE], const char *line)
{
    const size_t used = strlen(lines);
    snprintf(lines + used, LINES_SIZE - used, "%s%s", used > 0 ? "\n" : "",
             line);
}

/* One line for each node of the tiers that are read from. */
static void
lines_set(struct values *values, const struct topology *topology)
{
    char line[1024];
    for (size_t i = 0; i < topology->count; i++) {
        const struct node *node = &topology->nodes[i];
        if (node->tier == TIER_CACHE) {
            snprintf(line, sizeof line,
                     "        server %s max_fails=2 fail_timeout=2s;",
                     node->listen);
            line_add(values->cache_servers, line);
            snprintf(line, sizeof line, "        server %s max_fails=0;",
                     node->listen);
            line_add(values->cache_servers_again, line);
        } else if (node->tier == TIER_MANAGER) {
            snprintf(line, sizeof line, "        server %s%s;", node->listen,
                     *values->manager_servers != '\0' ? " backup" : "");
            line_add(values->manager_servers, line);
        } else if (node->tier == TIER_ORIGIN) {
            snprintf(line, sizeof line, "    redirect_node %s %s;", node->name,
                     node->url);
            line_add(values->redirect_nodes, line);
            snprintf(line, sizeof line,
                     "backend %s {\n    .host = \"%.*s\";\n"
                     "    .port = \"%u\";\n    .probe = healthz;\n}",
                     node->name, (int) strcspn(node->listen, ":"), node->listen,
                     node->port);
            line_add(values->backends, line);
            snprintf(line, sizeof line, "    origins.add_backend(%s);",
                     node->name);
            line_add(values->directors, line);
        } else if (node->tier == TIER_CDN) {
            snprintf(values->redirect_cdn, sizeof values->redirect_cdn,
                     "redirect_cdn %s;", node->url);
        }
    }
}

static void
paths_set(struct values *values, const struct configure *configure,
          const struct node *node)
{
    char name[64];
    const struct state *state = configure->state;
    snprintf(name, sizeof name, "run/%s", node->name);
    state_path(state, name, values->run_dir);
    snprintf(name, sizeof name, "cache/%s", node->name);
    state_path(state, name, values->cache_dir);
    snprintf(name, sizeof name, "plain/%s", node->name);
    state_path(state, name, values->plain_dir);
    snprintf(name, sizeof name, "log/%s.access.log", node->name);
    state_path(state, name, values->access_log);
    snprintf(name, sizeof name, "log/%s.decisions.log", node->name);
    state_path(state, name, values->decisions_log);
    state_path(state, "secrets/token.keys", values->token_keys);
    state_path(state, "secrets/storage.htpasswd", values->htpasswd);
    state_path(state, "storage", values->storage_root);
    snprintf(values->counters, sizeof values->counters, "%s/counters",
             values->run_dir);
    snprintf(values->table, sizeof values->table, "%s/table", values->run_dir);
    snprintf(values->revoked, sizeof values->revoked, "%s/revoked",
             values->run_dir);
}

/* Nothing of it where storage is a server of ours. */
static void
s3_set(struct values *values, const struct configure *configure)
{
    const struct s3_place *s3 = &configure->topology->s3;
    if (!configure->topology->has_s3)
        return;
    char ca_file[STATE_FILE_SIZE];
    state_path(configure->state, STATE_S3_CA, ca_file);
    const char *trusted = access(ca_file, R_OK) == 0 ? ca_file : SYSTEM_CA_FILE;
    /* what follows it begins with a slash */
    snprintf(values->s3_base, sizeof values->s3_base, "%.*s",
             (int) strlen(s3->base) - 1, s3->base);
    state_path(configure->state, STATE_S3_CREDENTIALS, values->s3_credentials);
    if (s3->is_tls)
        snprintf(values->s3_tls, sizeof values->s3_tls,
                 "            proxy_ssl_server_name on;\n"
                 "            proxy_ssl_name %.*s;\n"
                 "            proxy_ssl_verify on;\n"
                 "            proxy_ssl_verify_depth 5;\n"
                 "            proxy_ssl_trusted_certificate \"%s\";",
                 (int) strcspn(s3->address, ":"), s3->address, trusted);
    value_add(values, "module_s3", configure->places->s3);
    value_add(values, "s3_credentials", values->s3_credentials);
    value_add(values, "s3_region", s3->region);
    value_add(values, "s3_scheme", s3->is_tls ? "https" : "http");
    value_add(values, "s3_address", s3->address);
    value_add(values, "s3_host", s3->host);
    value_add(values, "s3_base", values->s3_base);
    value_add(values, "s3_tls", values->s3_tls);
}

static void
values_set(struct values *values, const struct configure *configure,
           const struct node *node)
{
    const struct places *places = configure->places;
    const struct topology *topology = configure->topology;

    memset(values, 0, sizeof *values);
    paths_set(values, configure, node);
    lines_set(values, topology);
    snprintf(values->workers, sizeof values->workers, "%u", configure->workers);
    snprintf(values->cache_size, sizeof values->cache_size, "%lu",
             configure->cache_size);
    snprintf(values->capacity, sizeof values->capacity, "%lu",
             configure->capacity);
    if (configure->plain_size != 0)
        snprintf(values->package_plain, sizeof values->package_plain,
                 "package_plain \"%s\" size=%lu;", values->plain_dir,
                 configure->plain_size);

    value_add(values, "name", node->name);
    value_add(values, "listen", node->listen);
    value_add(values, "loopback", node->loopback);
    value_add(values, "url", node->url);
    /* the state folder is root's then, so workers need to be root too */
    value_add(values, "user", geteuid() == 0 ? "user root;" : "");
    value_add(values, "workers", values->workers);
    value_add(values, "run_dir", values->run_dir);
    value_add(values, "cache_dir", values->cache_dir);
    value_add(values, "cache_size", values->cache_size);
    value_add(values, "capacity", values->capacity);
    value_add(values, "package_plain", values->package_plain);
    value_add(values, "counters", values->counters);
    value_add(values, "table", values->table);
    value_add(values, "revoked", values->revoked);
    value_add(values, "access_log", values->access_log);
    value_add(values, "decisions_log", values->decisions_log);
    value_add(values, "token_keys", values->token_keys);
    value_add(values, "storage_root", values->storage_root);
    value_add(values, "storage_htpasswd", values->htpasswd);
    value_add(values, "fill_secret", configure->state->fill_secret);
    value_add(values, "pull_secret", configure->state->pull_secret);
    value_add(values, "manager_key", configure->state->manager_key);
    value_add(values, "redirect_nodes", values->redirect_nodes);
    value_add(values, "front",
              topology_node(topology, TIER_REDIRECTOR, 0)->url);
    value_add(values, "redirect_cdn", values->redirect_cdn);
    value_add(values, "cache_servers", values->cache_servers);
    value_add(values, "cache_servers_again", values->cache_servers_again);
    value_add(values, "backends", values->backends);
    value_add(values, "directors", values->directors);
    value_add(values, "storage_listen",
              topology_node(topology, TIER_STORAGE, 0)->listen);
    value_add(values, "manager_servers", values->manager_servers);
    value_add(values, "api_listen",
              topology_node(topology, TIER_API, 0)->listen);
    const struct node *licenses = topology_node(topology, TIER_LICENSES, 0);
    value_add(values, "licenses_server",
              licenses != NULL ? licenses->listen : NO_LICENSES);
    value_add(values, "packager_key", configure->state->packager_key);
    value_add(values, "varnish_listen",
              topology_node(topology, TIER_VARNISH, 0)->listen);
    value_add(values, "module_meter", places->meter);
    value_add(values, "module_redirect", places->redirect);
    value_add(values, "module_package", places->package);
    value_add(values, "web_dir", places->web);
    s3_set(values, configure);
}

static int
node_folders_make(const struct values *values)
{
    const bool has_plain = *values->package_plain != '\0';
    char tmp[STATE_FILE_SIZE + 16];
    int err;
    snprintf(tmp, sizeof tmp, "%s/tmp", values->run_dir);
    if ((err = folder_make(tmp, 0700)) != 0
        || (err = folder_make(values->cache_dir, 0700)) != 0
        || (has_plain && (err = folder_make(values->plain_dir, 0700)) != 0))
        log_error("up: cannot make %s (%s)", tmp, strerror(errno));
    return err;
}

static int
node_write(const struct values *values, const char *folder, const char *file,
           const char *name)
{
    char path[STATE_FILE_SIZE + 16], error[1024];
    struct buffer out;
    int err;
    buffer_init(&out, TEMPLATE_SIZE_MAX);
    err =
        template_render(folder, file, values->items, &out, error, sizeof error);
    if (err != 0) {
        log_error("up: %s", error);
        goto done;
    }
    /* the secrets stand in it */
    snprintf(path, sizeof path, "%s/%s", values->run_dir, name);
    if ((err = file_write_atomic(path, buffer_bytes(&out), 0600, false)) != 0)
        log_error("up: cannot write %s (%s)", path, strerror(errno));
done:
    buffer_fini(&out);
    return err;
}

static int
node_configure(const struct configure *configure, const struct node *node)
{
    static const char *const templates[TIER_COUNT] = {
        [TIER_STORAGE] = "storage.conf", [TIER_CACHE] = "cache.conf",
        [TIER_ORIGIN] = "origin.conf",   [TIER_REDIRECTOR] = "redirector.conf",
        [TIER_CDN] = "cdn.conf",         [TIER_VARNISH] = "cdn.vcl",
    };
    const char *template = templates[node->tier];
    struct values values;
    int err;
    if (topology_has_front(node))
        template = node->tier == TIER_MANAGER ? "manager.conf"
                   : node->tier == TIER_API   ? "api.conf"
                                              : "licenses.conf";
    if (node->tier == TIER_CACHE && configure->topology->has_s3)
        template = "cache-s3.conf";
    if (template == NULL)
        return 0; /* all of its options are on its command line */
    values_set(&values, configure, node);
    if ((err = node_folders_make(&values)) != 0)
        return err;
    if (node->tier == TIER_VARNISH)
        return node_write(&values, configure->places->varnish_templates,
                          template, "cdn.vcl");
    return node_write(&values, configure->places->nginx_templates, template,
                      "nginx.conf");
}

/* The one service that mlic knows: st-api, which speaks for all. */
static int
services_write(const struct configure *configure)
{
    char path[STATE_FILE_SIZE], secret[STATE_FILE_SIZE];
    char text[STATE_FILE_SIZE + 128];
    state_path(configure->state, "run/services.json", path);
    state_path(configure->state, "secrets/entitlement.key", secret);
    snprintf(text, sizeof text,
             "{\"services\": [{\"id\": \"st-api\", \"keys\": [{\"kid\": \"1\", "
             "\"secret_file\": \"%s\"}]}]}\n",
             secret);
    const int err = file_write_atomic(path, bytes_of_text(text), 0600, false);
    if (err != 0)
        log_error("up: cannot write %s (%s)", path, strerror(errno));
    return err;
}

/* nginx would say so, too, but in a log. */
static int
s3_credentials_check(const struct configure *configure)
{
    struct s3_credentials credentials;
    char path[STATE_FILE_SIZE];
    const char *reason;
    unsigned line;
    struct buffer text;
    state_path(configure->state, STATE_S3_CREDENTIALS, path);
    buffer_init(&text, 65536);
    int err = file_read(path, &text);
    if (err != 0)
        log_error("up: caches need the credentials for the bucket in %s (%s)",
                  path, err == ERR_IO ? strerror(errno) : err_text(err));
    else if ((err = s3_credentials_read(buffer_bytes(&text), &credentials,
                                        &line, &reason))
             != 0)
        log_error("up: %s:%u: %s", path, line, reason);
    if (text.ptr != NULL)
        explicit_bzero(text.ptr, text.capacity);
    explicit_bzero(&credentials, sizeof credentials);
    buffer_fini(&text);
    return err;
}

int
configure_all(const struct configure *configure)
{
    bool has_cache = false;
    for (size_t i = 0; i < configure->topology->count; i++)
        has_cache = has_cache
                    || (configure->topology->nodes[i].tier == TIER_CACHE
                        && configure->topology->nodes[i].runs_here);
    int err = has_cache && configure->topology->has_s3
                  ? s3_credentials_check(configure)
                  : 0;
    if (err == 0)
        err = services_write(configure);
    for (size_t i = 0; i < configure->topology->count && err == 0; i++)
        if (configure->topology->nodes[i].runs_here)
            err = node_configure(configure, &configure->topology->nodes[i]);
    return err;
}
