/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vodst collect: takes the files of versions away that no play can be on any
 * more. Each in three steps, of which any may be repeated: st-api marks the
 * version, so that it cannot become playable; its files go; st-api forgets it.
 * What a killed run began is still marked, and listed for the next one.
 */

#include "core/content.h"
#include "core/err.h"
#include "platform/options.h"
#include "programs/vodst/ingest_api.h"
#include "programs/vodst/ingest_child.h"
#include "programs/vodst/ingest_progress.h"
#include "programs/vodst/ingest_settings_options.h"
#include "programs/vodst/ingest_storage.h"
#include "programs/vodst/vodst.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define STEP "collect"

struct config {
    struct settings_given given;
    int64_t patience_ms;
    bool forget_missing, dry_run, json;
};

static const struct option options[] = {
    SETTINGS_STORAGE_OPTIONS(struct config, given),
    SETTINGS_API_OPTIONS(struct config, given),
    {"patience", OPTION_DURATION, offsetof(struct config, patience_ms), "5m", 0,
     86400000, false, NULL,
     "How long to wait, with growing pauses, for a storage or an st-api that "
     "goes away. When one version has waited for so long, the others are tried "
     "once each."},
    {"forget-missing", OPTION_FLAG, offsetof(struct config, forget_missing),
     NULL, 0, 0, false, NULL,
     "Has st-api forget versions, too, of which the storage has nothing, as of "
     "those that were registered by hand. Without it they fail and stay on the "
     "list: --storage may be another than that of the films."},
    {"dry-run", OPTION_FLAG, offsetof(struct config, dry_run), NULL, 0, 0,
     false, NULL, "Says what would be taken away, and changes nothing."},
    {"json", OPTION_FLAG, offsetof(struct config, json), NULL, 0, 0, false,
     NULL,
     "Progress and result as JSON lines on standard output, for scripts."},
};

static const struct program program = {
    .name = "vodst collect",
    .summary = "take away versions that nobody plays any more",
    .synopsis = "",
    .details =
        "A version of a content that was replaced, or whose content was "
        "removed, keeps its files until the last token that names it is over. "
        "This takes away the files of all that are, and has st-api forget "
        "them. To be run now and then, by a timer; not twice at the same "
        "time.\n\n"
        "A version that became playable meanwhile, or that an ingest is about "
        "to store again, stays, and so does one of which nothing is in the "
        "storage. What fails is told, and the others go on. "
        "Killed at any moment, the next run ends what was begun.\n\n"
        "Exit status: 0 nothing is left that may go, 1 some failed, 2 wrong "
        "use, 75 some failed for now (storage or st-api is away), 128 + signal "
        "when interrupted.",
    .options = options,
    .option_count = OPTION_COUNT(options),
    .arguments_min = 0,
    .arguments_max = 0,
};

struct collect {
    const struct config *config;
    struct progress progress;
    struct settings settings;
    struct storage *storage;
    json_t *tried; /* "CONTENT/VERSION": what is listed again is not again */
    unsigned taken_count, skipped_count, failed_count;
    bool is_hopeless; /* one failed by what will not be over later */
};

struct retired {
    const char *content, *version;
    uint64_t retired_s;
    bool is_begun; /* an earlier run marked it, and may have taken all away */
};

/* ---- one version ---- */

static void
version_event(struct collect *c, const char *event, const struct retired *one)
{
    progress_event(&c->progress, event,
                   json_pack("{s:s, s:s, s:I}", "content", one->content,
                             "version", one->version, "retired",
                             (json_int_t) one->retired_s));
}

static void
skip(struct collect *c, const struct retired *one,
     const struct transfer_answer *answer)
{
    char problem[512];
    progress_note(&c->progress, "%s/%s stays (%s)", one->content, one->version,
                  transfer_problem(answer, problem));
    version_event(c, "skipped", one);
    c->skipped_count++;
}

static int
ask(struct collect *c, const char *method, const char *action,
    const struct retired *one, struct transfer_answer *answer)
{
    return api_version_ask(&c->progress, &c->settings, method, one->content,
                           one->version, action, answer);
}

/* It is listed again as it was, by whatever mistake nothing was found. */
static int
release(struct collect *c, const struct retired *one)
{
    struct transfer_answer answer;
    progress_error(&c->progress,
                   "of %s/%s nothing was in %s: it stays listed, as that may "
                   "not be where the films are (--storage); if it is, "
                   "--forget-missing ends it",
                   one->content, one->version, c->settings.storage);
    const int err = ask(c, "DELETE", "/collect", one, &answer);
    return err != 0 ? err : ERR_NOT_FOUND;
}

static int
files_remove(struct collect *c, const struct retired *one)
{
    const struct storage_version version = {.content = one->content,
                                            .version = one->version};
    bool was_there = false;
    const int err =
        c->storage->remove(c->storage, &c->progress, &version, &was_there);
    if (err == 0 && !was_there && !one->is_begun && !c->config->forget_missing)
        return release(c, one);
    if (err == 0 && !was_there)
        progress_note(&c->progress, "of %s/%s nothing was in %s", one->content,
                      one->version, c->settings.storage);
    return err;
}

static int
version_take_away(struct collect *c, const struct retired *one)
{
    struct transfer_answer answer;
    int err = ask(c, "POST", "/collect", one, &answer);
    if (err != 0)
        return err;
    if (answer.status != 204) { /* it is played now, or is gone already */
        skip(c, one, &answer);
        return 0;
    }
    err = files_remove(c, one);
    if (err == 0)
        err = ask(c, "DELETE", "", one, &answer);
    if (err == 0 && answer.status == 409)
        err = api_judge(&c->progress, &c->settings, one->version, 0, &answer);
    if (err != 0)
        return err;
    version_event(c, "collected", one);
    c->taken_count++;
    return 0;
}

static void
patience_set(struct collect *c, bool has_any)
{
    transfer_patience_set(has_any ? (uint64_t) c->config->patience_ms : 0,
                          progress_waiting, &c->progress);
}

/* What it came to. */
static void
version_settle(struct collect *c, const struct retired *one, int err)
{
    patience_set(c, err == 0 || !storage_err_is_temporary(err));
    if (err == 0)
        return;
    c->progress.step = STEP; /* the others go on */
    version_event(c, "failed", one);
    c->failed_count++;
    c->is_hopeless = c->is_hopeless || !storage_err_is_temporary(err);
}

static void
version_show(struct collect *c, const struct retired *one)
{
    char since[32] = "?";
    struct tm tm;
    const time_t time = (time_t) one->retired_s;
    if (gmtime_r(&time, &tm) != NULL)
        strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (!c->config->json)
        printf("%s/%s, retired %s\n", one->content, one->version, since);
    version_event(c, "would_collect", one);
    c->taken_count++;
}

/* ---- lists of them ---- */

/* Names of files and of folders are made of these. */
static int
retired_read(struct collect *c, json_t *json, struct retired *out)
{
    json_int_t retired_s = 0;
    int is_begun = 0;
    if (json_unpack(json, "{s:s, s:s, s?I, s?b}", "content", &out->content,
                    "version", &out->version, "retired", &retired_s,
                    "collecting", &is_begun)
            != 0
        || !content_id_is_valid(bytes_of_text(out->content))
        || !content_id_is_valid(bytes_of_text(out->version))) {
        progress_error(&c->progress,
                       "%s lists a retired version that has no valid content "
                       "and version: is that st-api?",
                       c->settings.api);
        return ERR_INVALID;
    }
    out->is_begun = is_begun != 0;
    out->retired_s = retired_s > 0 ? (uint64_t) retired_s : 0;
    return 0;
}

/* True the first time. */
static bool
is_new(struct collect *c, const struct retired *one)
{
    char name[2 * (CONTENT_ID_LEN_MAX + 1)];
    snprintf(name, sizeof name, "%s/%s", one->content, one->version);
    return json_object_get(c->tried, name) == NULL
           && json_object_set_new(c->tried, name, json_true()) == 0;
}

/* A folder that is not there is not made: it is another than that of the
 * films. */
static int
storage_open(struct collect *c)
{
    const struct settings *settings = &c->settings;
    struct stat st;
    if (c->storage != NULL)
        return 0;
    if (!settings->is_storage_http && !settings->is_storage_s3
        && stat(settings->storage, &st) != 0) {
        progress_error(&c->progress,
                       "cannot find the storage folder %s (%s): give the one "
                       "that the films are in by --storage",
                       settings->storage, strerror(errno));
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    }
    const int err = storage_new(settings, &c->storage);
    return err != 0 ? err : c->storage->check(c->storage, &c->progress);
}

static int
version_run(struct collect *c, const struct retired *one)
{
    if (c->config->dry_run) {
        version_show(c, one);
        return 0;
    }
    int err = storage_open(c);
    if (err != 0)
        return err;
    err = version_take_away(c, one);
    if (stop_signal() != 0 && err != 0)
        return ERR_TIMEOUT;
    version_settle(c, one, err);
    return 0;
}

static int
list_run(struct collect *c, const json_t *list, bool *had_any)
{
    const size_t count = json_array_size(list);
    *had_any = false;
    for (size_t i = 0; i < count; i++) {
        struct retired one;
        char at[48];
        int err = retired_read(c, json_array_get(list, i), &one);
        if (err == 0 && stop_signal() != 0)
            err = ERR_TIMEOUT;
        if (err != 0)
            return err;
        if (!is_new(c, &one))
            continue;
        *had_any = true;
        err = version_run(c, &one);
        if (err != 0)
            return err;
        snprintf(at, sizeof at, "%zu of %zu", i + 1, count);
        progress_update(&c->progress, (double) (i + 1) / (double) count, at);
    }
    return 0;
}

/* st-api lists so many at a time. Until it lists none that is new: no list of
 * its is without an end. */
static int
lists_run(struct collect *c)
{
    char after[API_AFTER_SIZE] = "";
    bool had_any;
    int err;
    do {
        json_t *list;
        err = api_retired(&c->progress, &c->settings, after, &list);
        if (err != 0)
            break;
        err = list_run(c, list, &had_any);
        json_decref(list);
    } while (err == 0 && had_any && after[0] != '\0');
    return err;
}

/* ---- the whole ---- */

static void
result_tell(struct collect *c)
{
    if (c->config->dry_run) {
        if (!c->config->json)
            printf("%u versions would be taken away\n", c->taken_count);
    } else if (!c->config->json) {
        printf("%u versions were taken away, %u stay, %u failed\n",
               c->taken_count, c->skipped_count, c->failed_count);
    }
    progress_event(&c->progress, "done",
                   json_pack("{s:b, s:i, s:i, s:i}", "dry_run",
                             c->config->dry_run, "collected",
                             c->config->dry_run ? 0 : (int) c->taken_count,
                             "skipped", (int) c->skipped_count, "failed",
                             (int) c->failed_count));
}

static int
collect_run(struct collect *c)
{
    c->tried = json_object();
    if (c->tried == NULL) {
        progress_error(&c->progress, "out of memory");
        return 1;
    }
    patience_set(c, true);
    progress_begin(&c->progress, STEP);
    const int err = lists_run(c);
    if (c->storage != NULL)
        c->storage->free(c->storage);
    json_decref(c->tried);
    if (stop_signal() != 0 && err != 0) {
        progress_error(&c->progress, "interrupted: what was begun is ended by "
                                     "the same command");
        return 128 + stop_signal();
    }
    if (err != 0)
        return storage_err_is_temporary(err) && !c->is_hopeless ? EXIT_TEMPORARY
                                                                : 1;
    progress_end(&c->progress);
    result_tell(c);
    return c->failed_count == 0 ? 0 : c->is_hopeless ? 1 : EXIT_TEMPORARY;
}

int
collect_main(int argc, char **argv)
{
    static struct config config;
    static struct collect collect; /* large */
    options_parse(&program, argc, argv, &config);
    collect.config = &config;
    progress_init(&collect.progress, program.name, config.json);
    const int err =
        settings_read(&collect.progress, &config.given, &collect.settings);
    if (err != 0)
        return err == ERR_INVALID ? 2 : 1;
    stop_signals_catch();
    const int status = collect_run(&collect);
    settings_fini(&collect.settings);
    return status;
}
