/* SPDX-License-Identifier: Apache-2.0 */
/* What runs where: vodst.json for programs, a few lines for people. */

#include "programs/vodst/up.h"
#include "core/err.h"
#include "platform/files.h"
#include "platform/log.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
path_put(json_t *object, const char *key, const struct up *up,
         const char *folder, const char *name, const char *ending)
{
    json_object_set_new(
        object, key,
        json_sprintf("%s/%s%s%s", up->state.folder, folder, name, ending));
}

static json_t *
node_json(const struct up *up, const struct node *node)
{
    char agent[64];
    json_t *json =
        json_pack("{s:s, s:s, s:i}", "name", node->name, "url", node->url,
                  "pid", (int) supervisor_pid(up->supervisor, node->name));
    path_put(json, "folder", up, "run/", node->name, "");
    path_put(json, "log", up, "log/", node->name, ".log");
    snprintf(agent, sizeof agent, "%s-agent", node->name);
    const pid_t agent_pid = supervisor_pid(up->supervisor, agent);
    if (agent_pid != 0)
        json_object_set_new(json, "agent_pid", json_integer(agent_pid));
    return json;
}

static json_t *
tier_json(const struct up *up, enum tier tier)
{
    json_t *nodes = json_array();
    const struct node *node;
    for (size_t n = 0; (node = topology_node(&up->topology, tier, n)); n++)
        json_array_append_new(nodes, node_json(up, node));
    return nodes;
}

static json_t *
storage_json(const struct up *up)
{
    const struct topology *topology = &up->topology;
    const struct node *node = topology_node(topology, TIER_STORAGE, 0);
    if (topology->has_s3) {
        json_t *bucket = json_pack(
            "{s:s, s:s, s:s, s:s, s:s}", "name", node->name, "url", node->url,
            "endpoint", topology->s3_endpoint, "region", topology->s3.region,
            "addressing", topology->s3_addressing);
        path_put(bucket, "credentials_file", up, STATE_S3_CREDENTIALS, "", "");
        char ca_file[STATE_FILE_SIZE];
        state_path(&up->state, STATE_S3_CA, ca_file);
        if (access(ca_file, R_OK) == 0)
            json_object_set_new(bucket, "ca_file", json_string(ca_file));
        return bucket;
    }
    json_t *json = node_json(up, node);
    json_object_set_new(json, "url", json_sprintf("%s/media/", node->url));
    json_object_set_new(json, "user", json_string(STATE_STORAGE_USER));
    path_put(json, "password_file", up, "secrets/", "storage.password", "");
    path_put(json, "fill_secret_file", up, "secrets/", "fill", "");
    path_put(json, "root", up, "storage/", "media", "");
    return json;
}

/* The one of this machine, as its operators reach it: past the nginx before
 * it, which lets nodes in. */
static json_t *
manager_json(const struct up *up)
{
    const struct node *node, *found = NULL;
    for (size_t n = 0;
         (node = topology_node(&up->topology, TIER_MANAGER, n)) != NULL; n++)
        if (found == NULL || (node->runs_here && !found->runs_here))
            found = node;
    json_t *json = node_json(up, found);
    if (found->runs_here)
        json_object_set_new(json, "url",
                            json_sprintf("http://%s", found->loopback));
    path_put(json, "key_file", up, "secrets/", "manager.key", "");
    return json;
}

static json_t *
processes_json(const struct up *up)
{
    json_t *processes = json_array();
    for (size_t i = 0; i < supervisor_count(up->supervisor); i++) {
        const char *name = supervisor_name(up->supervisor, i);
        json_array_append_new(
            processes, json_pack("{s:s, s:i}", "name", name, "pid",
                                 (int) supervisor_pid(up->supervisor, name)));
    }
    return processes;
}

static json_t *
report_json(const struct up *up)
{
    const struct places *places = &up->places;
    const struct topology *topology = &up->topology;
    json_t *json = json_pack("{s:i}", "pid", (int) getpid());
    json_object_set_new(
        json, "front",
        json_string(topology_node(topology, TIER_REDIRECTOR, 0)->url));
    json_object_set_new(json, "folder", json_string(up->state.folder));
    json_object_set_new(json, "redirectors", tier_json(up, TIER_REDIRECTOR));
    json_object_set_new(json, "origins", tier_json(up, TIER_ORIGIN));
    json_object_set_new(json, "caches", tier_json(up, TIER_CACHE));
    json_object_set_new(json, "storage", storage_json(up));
    json_object_set_new(json, "cdn",
                        node_json(up, topology_node(topology, TIER_CDN, 0)));
    json_object_set_new(
        json, "varnish",
        node_json(up, topology_node(topology, TIER_VARNISH, 0)));
    json_object_set_new(json, "manager", manager_json(up));
    json_t *api = node_json(up, topology_node(topology, TIER_API, 0));
    path_put(api, "key_file", up, "secrets/", "admin.key", "");
    path_put(api, "token_keys_file", up, "secrets/", "token.keys", "");
    json_object_set_new(json, "api", api);
    const struct node *licenses = topology_node(topology, TIER_LICENSES, 0);
    if (licenses != NULL) {
        json_t *mlic = node_json(up, licenses);
        path_put(mlic, "packager_key_file", up, "secrets/", "packager.key", "");
        path_put(mlic, "audit_key_file", up, "secrets/", "audit.key", "");
        path_put(mlic, "audit", up, "", "licenses", ".audit");
        json_object_set_new(json, "mlic", mlic);
    }
    json_object_set_new(json, "processes", processes_json(up));
    json_object_set_new(
        json, "programs",
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "vodst",
                  places->vodst, "manager", places->manager, "agent",
                  places->agent, "st-api", places->st_api, "mlic", places->mlic,
                  "nginx", places->nginx, "varnishd", places->varnishd,
                  "ffmpeg", places->ffmpeg));
    return json;
}

int
up_report_write(struct up *up)
{
    char path[STATE_FILE_SIZE];
    json_t *json = report_json(up);
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2)) : NULL;
    int err = ERR_MEMORY;
    state_path(&up->state, "vodst.json", path);
    if (text != NULL)
        err = file_write_atomic(path, bytes_of_text(text), 0644, false);
    if (err != 0 && !up->cannot_report)
        log_error("up: cannot write %s (%s)", path,
                  err == ERR_IO ? strerror(errno) : err_text(err));
    if (err == 0 && up->cannot_report)
        log_info("up: can write %s again", path);
    up->cannot_report = err != 0;
    free(text);
    json_decref(json);
    return err;
}

void
up_report_remove(const struct up *up)
{
    char path[STATE_FILE_SIZE];
    state_path(&up->state, "vodst.json", path);
    unlink(path);
}

void
up_report_print(const struct up *up)
{
    const struct up_options *options = &up->options;
    if (options->nodes.count > 0) {
        printf("VODST is up here: %zu of the cluster's %zu servers\n"
               "  logs  %s/log/\n",
               options->nodes.count, up->topology.count, up->state.folder);
        fflush(stdout);
        return;
    }
    const char *front = topology_node(&up->topology, TIER_REDIRECTOR, 0)->url;
    printf("VODST is up: %d redirector%s, %d origin%s, %d cache%s, storage, "
           "CDN, manager, agents, st-api, mlic\n"
           "  player page  %s/\n"
           "  status       %s/manager/v1/status\n"
           "               vodst status --dir %s\n"
           "  logs         %s/log/\n",
           (int) options->redirectors, options->redirectors > 1 ? "s" : "",
           (int) options->origins, options->origins > 1 ? "s" : "",
           (int) options->caches, options->caches > 1 ? "s" : "", front, front,
           up->state.folder, up->state.folder);
    fflush(stdout);
}
