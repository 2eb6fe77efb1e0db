/* SPDX-License-Identifier: Apache-2.0 */
/* vodst status: the manager's view of nodes and contents, as two tables. */

#include "programs/vodst/fetch.h"
#include "programs/vodst/vodst.h"
#include "core/err.h"
#include "platform/files.h"
#include "platform/options.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define STATUS_SIZE_MAX (16u << 20) /* bytes */
#define TIMEOUT_MS 5000
#define OWNERS_SIZE 96 /* bytes of the owners' column with its end */

struct status_options {
    const char *dir;
    bool json;
};

static const struct option status_table[] = {
    {"dir", OPTION_TEXT, offsetof(struct status_options, dir), ".vodst", 0, 0,
     false, NULL, "The state folder given to `vodst up`."},
    {"json", OPTION_FLAG, offsetof(struct status_options, json), NULL, 0, 0,
     false, NULL, "Print what the manager answers, as it is."},
};

static const struct program status_program = {
    "vodst status",
    "show nodes, levels and owner sets",
    "",
    "Asks the manager. A content that is not listed is calm: it has one "
    "owner.",
    status_table,
    OPTION_COUNT(status_table),
    0,
    0,
};

static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "-";
}

static double
number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static int
manager_url(const char *folder, char *url, size_t url_size)
{
    char path[4096];
    struct buffer file;
    int err;
    snprintf(path, sizeof path, "%s/vodst.json", folder);
    buffer_init(&file, STATUS_SIZE_MAX);
    if ((err = file_read(path, &file)) == 0) {
        json_t *json = json_loadb((const char *) file.ptr, file.len, 0, NULL);
        snprintf(url, url_size, "%s/v1/status",
                 text_of(json_object_get(json, "manager"), "url"));
        json_decref(json);
    }
    buffer_fini(&file);
    return err;
}

static void
nodes_print(const json_t *nodes)
{
    size_t i;
    json_t *node;
    printf("%-14s %-10s %-9s %6s %10s %10s  %s\n", "NODE", "ROLE", "STATE",
           "LOAD", "RATE", "CAPACITY", "URL");
    json_array_foreach(nodes, i, node)
    {
        printf("%-14s %-10s %-9s %5.0f%% %8.1f/s %8.0f/s  %s\n",
               text_of(node, "name"), text_of(node, "role"),
               text_of(node, "state"), 100 * number_of(node, "load"),
               number_of(node, "rate"), number_of(node, "capacity"),
               text_of(node, "url"));
    }
}

static void
owners_join(const json_t *owners, char out[OWNERS_SIZE])
{
    size_t i;
    json_t *owner;
    out[0] = '\0';
    json_array_foreach(owners, i, owner)
    {
        const size_t used = strlen(out);
        snprintf(out + used, OWNERS_SIZE - used, "%s%s", i ? " " : "",
                 json_string_value(owner) ? json_string_value(owner) : "-");
    }
}

static void
contents_print(const json_t *contents)
{
    size_t i;
    json_t *content;
    char owners[OWNERS_SIZE];
    if (json_array_size(contents) == 0) {
        puts("\nAll contents are calm.");
        return;
    }
    printf("\n%-24s %-9s %3s %5s %10s  %s\n", "CONTENT", "LEVEL", "K", "CDN",
           "RATE", "OWNERS");
    json_array_foreach(contents, i, content)
    {
        owners_join(json_object_get(content, "owners"), owners);
        printf("%-24s %-9s %3.0f %4.0f%% %8.1f/s  %s\n", text_of(content, "id"),
               text_of(content, "level"), number_of(content, "owner_count"),
               100 * number_of(content, "cdn_share"),
               number_of(content, "rate"), owners);
    }
}

static int
status_print(struct bytes body)
{
    json_error_t error;
    json_t *json = json_loadb((const char *) body.ptr, body.len, 0, &error);
    if (json == NULL) {
        fprintf(stderr, "vodst status: the manager's answer is no JSON (%s)\n",
                error.text);
        return 1;
    }
    printf("load table %s, %.0f requests a play\n\n", text_of(json, "version"),
           number_of(json, "requests_per_play"));
    nodes_print(json_object_get(json, "nodes"));
    contents_print(json_object_get(json, "contents"));
    json_decref(json);
    return 0;
}

int
status_main(int argc, char **argv)
{
    struct status_options options;
    struct buffer body;
    char url[512];
    int http_status = 0, err, result = 1;

    options_parse(&status_program, argc, argv, &options);
    if (manager_url(options.dir, url, sizeof url) != 0) {
        fprintf(stderr,
                "vodst status: nothing is up in %s (no vodst.json): "
                "start it with `vodst up --dir %s`\n",
                options.dir, options.dir);
        return 1;
    }
    buffer_init(&body, STATUS_SIZE_MAX);
    err = fetch(url, TIMEOUT_MS, &body, &http_status);
    if (err != 0 || http_status != 200)
        fprintf(stderr,
                "vodst status: the manager does not answer at %s "
                "(%s, HTTP status %d): see %s/log/manager.log\n",
                url, err_text(err != 0 ? err : ERR_UPSTREAM), http_status,
                options.dir);
    else if (options.json)
        result = printf("%.*s\n", (int) body.len, (const char *) body.ptr) < 0;
    else
        result = status_print(buffer_bytes(&body));
    buffer_fini(&body);
    return result;
}
