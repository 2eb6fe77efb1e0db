/* SPDX-License-Identifier: Apache-2.0 */
/* vodst override: tells the manager what an operator decides by hand. */

#include "programs/vodst/manager_ask.h"
#include "programs/vodst/vodst.h"
#include "core/content.h"
#include "core/err.h"
#include "core/table.h"
#include "platform/options.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ANSWER_SIZE_MAX (1u << 20) /* bytes */
#define URL_SIZE 1024              /* with its end */

struct override_options {
    const char *dir, *manager, *level;
    int64_t for_ms, owners;
    double budget_share, budget_plays;
    bool no_cdn, clear, json;
};

#define FIELD(name) offsetof(struct override_options, name)

static const struct option override_table[] = {
    {"dir", OPTION_TEXT, FIELD(dir), ".vodst", 0, 0, false, NULL,
     "The state folder given to `vodst up`."},
    {"manager", OPTION_TEXT, FIELD(manager), NULL, 0, 0, false, "URL",
     "The manager's address, instead of what the state folder says."},
    {"for", OPTION_DURATION, FIELD(for_ms), NULL, 0, 366.0 * 86400000, false,
     NULL, "How long it holds; then it ends by itself."},
    {"level", OPTION_TEXT, FIELD(level), NULL, 0, 0, false, "LEVEL",
     "Of a content: calm, normal, hot or critical."},
    {"owners", OPTION_INTEGER, FIELD(owners), NULL, 0, PLACEMENT_NODES_MAX,
     false, NULL, "Of a normal content: how many owners it has."},
    {"no-cdn", OPTION_FLAG, FIELD(no_cdn), NULL, 0, 0, false, NULL,
     "Nothing of the content, or nothing at all, goes to the CDN."},
    {"budget-share", OPTION_NUMBER, FIELD(budget_share), "1", 0, 1, false, NULL,
     "Of the CDN: it gets this share of the sum of demand at most."},
    {"budget-plays", OPTION_NUMBER, FIELD(budget_plays), NULL, 0, 1e9, false,
     "plays/s", "Of the CDN: it gets so many plays at most."},
    {"clear", OPTION_FLAG, FIELD(clear), NULL, 0, 0, false, NULL,
     "Take it back now."},
    {"json", OPTION_FLAG, FIELD(json), NULL, 0, 0, false, NULL,
     "Print what the manager answers, as it is."},
};

static const struct program override_program = {
    "vodst override",
    "decide by hand, for a time",
    "[content ID | node NAME | cdn]",
    "Without an argument: lists what is overridden.\n\n"
    "content ID --level LEVEL pins a content's level, content ID --no-cdn "
    "keeps it from the CDN. node NAME drains a node: no new play goes there, "
    "and those in progress go on. cdn --no-cdn stops the CDN, cdn with a "
    "budget limits what it gets.\n\n"
    "All of them need --for and end by themselves after that, or with "
    "--clear. The manager keeps them over a restart.",
    override_table,
    OPTION_COUNT(override_table),
    0,
    2,
};

static int
fail(const char *what, const char *value)
{
    fprintf(stderr, "vodst override: %s%s\n", what, value);
    return 1;
}

static int
fail_use(const char *message)
{
    fprintf(stderr, "vodst override: %s\nTry 'vodst override --help'.\n",
            message);
    return 2;
}

/* ---- what is asked */

/* "/contents/film", or NULL: no such thing. Names are a content's or node's,
 * so that they stand in a URL as they are. */
static const char *
place_of(int argc, char **argv, char out[URL_SIZE])
{
    const bool is_content = argc == 2 && strcmp(argv[0], "content") == 0;
    const bool is_node = argc == 2 && strcmp(argv[0], "node") == 0;
    if (argc == 1 && strcmp(argv[0], "cdn") == 0)
        return "/cdn";
    if ((!is_content && !is_node)
        || !content_id_is_valid(bytes_of_text(argv[1])))
        return NULL;
    snprintf(out, URL_SIZE, "/%s/%s", is_content ? "contents" : "nodes",
             argv[1]);
    return out;
}

/* NULL: memory. */
static char *
body_make(const struct override_options *options)
{
    json_t *json = json_pack("{s:I}", "for_s",
                             (json_int_t) ((options->for_ms + 999) / 1000));
    if (options->level != NULL)
        json_object_set_new(json, "level", json_string(options->level));
    if (options->owners > 0)
        json_object_set_new(json, "owner_count", json_integer(options->owners));
    if (options->no_cdn)
        json_object_set_new(json, "cdn", json_false());
    if (options->budget_share < 1)
        json_object_set_new(json, "budget_share",
                            json_real(options->budget_share));
    if (options->budget_plays > 0)
        json_object_set_new(json, "budget_plays",
                            json_real(options->budget_plays));
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

/* ---- what is shown */

static void
print_one(const json_t *o)
{
    const char *level = json_string_value(json_object_get(o, "level"));
    const char *name = json_string_value(json_object_get(o, "name"));
    const char *target = json_string_value(json_object_get(o, "target"));
    const json_t *owners = json_object_get(o, "owner_count");
    const json_t *share = json_object_get(o, "budget_share");
    const json_t *plays = json_object_get(o, "budget_plays");
    char until[32] = "-";
    struct tm tm;
    const time_t end = (time_t) json_integer_value(json_object_get(o, "until"));
    if (gmtime_r(&end, &tm) != NULL)
        strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", &tm);
    printf("%-8s %-24s %-20s ", target != NULL ? target : "-",
           name != NULL ? name : "-", until);
    if (target != NULL && strcmp(target, "node") == 0)
        printf(" drains");
    if (level != NULL)
        printf(" level %s", level);
    if (owners != NULL)
        printf(" owners %.0f", json_number_value(owners));
    if (json_is_false(json_object_get(o, "cdn")))
        printf(" no CDN");
    if (share != NULL)
        printf(" at most %g of the demand", json_number_value(share));
    if (plays != NULL)
        printf(" at most %g plays/s", json_number_value(plays));
    printf("\n");
}

static void
print_list(const json_t *list)
{
    size_t i;
    json_t *o;
    if (json_array_size(list) == 0) {
        puts("Nothing is overridden.");
        return;
    }
    printf("%-8s %-24s %-20s  %s\n", "WHAT", "NAME", "UNTIL", "SAYS");
    json_array_foreach(list, i, o) print_one(o);
}

static int
print_answer(const struct override_options *options, struct bytes body,
             int status)
{
    json_t *json = json_loadb((const char *) body.ptr, body.len, 0, NULL);
    const json_t *list = json_object_get(json, "overrides");
    int result = 0;
    if (status == 202)
        fprintf(stderr,
                "vodst override: it holds, but Consul has not taken it yet: a "
                "manager that came to lead now would not know of it\n");
    if (status != 200 && status != 202 && status != 204) {
        const char *detail = json_string_value(json_object_get(json, "detail"));
        result = fail("the manager refuses: ",
                      detail != NULL ? detail : "no reason given");
    } else if (options->json) {
        printf("%.*s\n", (int) body.len, (const char *) body.ptr);
    } else if (body.len == 0) {
        puts("Taken back.");
    } else if (list != NULL) {
        print_list(list);
    } else {
        print_one(json);
    }
    json_decref(json);
    return result;
}

static int
ask(const struct override_options *options, const char *method,
    const char *place, const char *json)
{
    char path[URL_SIZE + 32];
    struct buffer answer;
    int status = 0, result = 1;
    snprintf(path, sizeof path, "/v1/overrides%s", place);
    const struct manager_question question = {
        .program = "vodst override",
        .dir = options->dir,
        .url = options->manager,
        .method = method,
        .path = path,
        .json = json,
    };
    buffer_init(&answer, ANSWER_SIZE_MAX);
    if (manager_ask(&question, &answer, &status) == 0)
        result = print_answer(options, buffer_bytes(&answer), status);
    buffer_fini(&answer);
    return result;
}

int
override_main(int argc, char **argv)
{
    struct override_options options;
    char place_text[URL_SIZE];
    const int first = options_parse(&override_program, argc, argv, &options);
    if (first == argc)
        return ask(&options, "GET", "", "");
    const char *place = place_of(argc - first, argv + first, place_text);
    if (place == NULL)
        return fail_use("expected content ID, node NAME or cdn");
    if (options.clear)
        return ask(&options, "DELETE", place, "");
    if (options.for_ms == 0)
        return fail_use("--for is needed: how long does it hold?");
    char *json = body_make(&options);
    if (json == NULL)
        return fail("", err_text(ERR_MEMORY));
    const int status = ask(&options, "PUT", place, json);
    free(json);
    return status;
}
