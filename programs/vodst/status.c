/* SPDX-License-Identifier: Apache-2.0 */
/* vodst status: the manager's view of nodes and contents, as two tables. */

#include "programs/vodst/manager_ask.h"
#include "programs/vodst/vodst.h"
#include "core/err.h"
#include "platform/options.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define STATUS_SIZE_MAX (16u << 20) /* bytes */
#define OWNERS_SIZE 96 /* bytes of the owners' column with its end */

struct status_options {
    const char *dir, *manager;
    bool json;
};

static const struct option status_table[] = {
    {"dir", OPTION_TEXT, offsetof(struct status_options, dir), ".vodst", 0, 0,
     false, NULL, "The state folder given to `vodst up`."},
    {"manager", OPTION_TEXT, offsetof(struct status_options, manager), NULL, 0,
     0, false, "URL",
     "The manager's address, instead of what the state folder says."},
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
    int http_status = 0, result = 1;

    options_parse(&status_program, argc, argv, &options);
    const struct manager_question question = {
        .program = "vodst status",
        .dir = options.dir,
        .url = options.manager,
        .method = "GET",
        .path = "/v1/status",
        .json = "",
    };
    buffer_init(&body, STATUS_SIZE_MAX);
    if (manager_ask(&question, &body, &http_status) != 0)
        result = 1; /* told */
    else if (http_status != 200)
        fprintf(stderr, "vodst status: the manager answers HTTP status %d\n",
                http_status);
    else if (options.json)
        result = printf("%.*s\n", (int) body.len, (const char *) body.ptr) < 0;
    else
        result = status_print(buffer_bytes(&body));
    buffer_fini(&body);
    return result;
}
