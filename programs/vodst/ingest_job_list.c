/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job is known by a hash of its line and of its films' sizes and times: in
 * the results, whatever else changes in the list.
 */

#include "programs/vodst/ingest_job_list.h"

#include "core/err.h"
#include "platform/files.h"
#include "programs/vodst/ingest_digest.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST_SIZE_MAX (64u << 20) /* bytes */

/* ---- the list ---- */

static int
list_refuse(struct job_list *list, unsigned line, const char *what,
            const char *which)
{
    progress_error(list->progress, "%s:%u: %s%s", list->path, line, what,
                   which);
    return ERR_INVALID;
}

static const struct option *
option_find(const struct program *program, const char *name)
{
    /* said once for the list, and not by a job */
    static const char *const own[] = {"jobs",        "workers", "retries",
                                      "retry-pause", "results", "json",
                                      "keep-work"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(own[i], name) == 0)
            return NULL;
    for (size_t i = 0; i < program->option_count; i++)
        if (strcmp(program->options[i].name, name) == 0)
            return &program->options[i];
    return NULL;
}

static bool
is_texts(const json_t *value)
{
    size_t i;
    json_t *item;
    bool is_good = json_array_size(value) > 0;
    json_array_foreach((json_t *) (uintptr_t) value, i, item)
    {
        is_good = is_good && json_is_string(item);
    }
    return json_is_string(value) || is_good;
}

static bool
value_fits(const struct option *option, const json_t *value)
{
    if (option->type == OPTION_FLAG)
        return json_is_boolean(value);
    if (option->type == OPTION_LIST)
        return is_texts(value);
    return json_is_string(value) || json_is_number(value);
}

static void
film_add(struct digest *digest, const char *path)
{
    struct stat st = {0};
    int64_t numbers[3] = {0};
    if (stat(path, &st) == 0) {
        numbers[0] = st.st_size;
        numbers[1] = st.st_mtim.tv_sec;
        numbers[2] = st.st_mtim.tv_nsec;
    }
    digest_add(digest, numbers, sizeof numbers);
}

const char *
job_film(const struct job *job, size_t i)
{
    const json_t *film = json_object_get(job->fields, "film");
    if (json_is_string(film))
        return i == 0 ? json_string_value(film) : NULL;
    return json_string_value(json_array_get(film, i));
}

static int
key_make(struct job *job)
{
    struct digest digest;
    uint8_t hash[DIGEST_SIZE];
    char *text = json_dumps(job->fields, JSON_COMPACT | JSON_SORT_KEYS);
    int err = text == NULL ? ERR_MEMORY : digest_begin(&digest);
    if (err == 0) {
        digest_add(&digest, text, strlen(text));
        for (size_t i = 0; job_film(job, i) != NULL; i++)
            film_add(&digest, job_film(job, i));
        err = digest_end(&digest, hash);
    }
    free(text);
    if (err == 0)
        digest_text(hash, JOB_KEY_SIZE / 2, job->key);
    return err;
}

static int
job_parse(struct job_list *list, unsigned line, json_t *fields)
{
    struct job *job = &list->jobs[list->count];
    const char *id = json_string_value(json_object_get(fields, "id")), *name;
    json_t *value;
    *job = (struct job){.fields = fields};
    list->count++; /* whose fields are freed */
    if (!is_texts(json_object_get(fields, "film")))
        return list_refuse(list, line, "expected \"film\": a path, or several",
                           "");
    if (id == NULL || !content_id_is_valid(bytes_of_text(id)))
        return list_refuse(list, line, "expected \"id\": the id of the content",
                           "");
    snprintf(job->id, sizeof job->id, "%s", id);
    for (size_t i = 0; i + 1 < list->count; i++)
        if (strcmp(list->jobs[i].id, id) == 0)
            return list_refuse(list, line, "is there twice: ", id);
    json_object_foreach(fields, name, value)
    {
        if (strcmp(name, "film") == 0)
            continue;
        const struct option *option = option_find(list->program, name);
        if (option == NULL)
            return list_refuse(list, line, "a job has no option ", name);
        if (!value_fits(option, value))
            return list_refuse(list, line,
                               "of another type than expected: ", name);
    }
    return key_make(job);
}

static int
line_parse(struct job_list *list, unsigned line, const char *text, size_t len)
{
    json_error_t error;
    size_t at = 0;
    while (at < len && strchr(" \t\r", text[at]) != NULL)
        at++;
    if (at == len || text[at] == '#')
        return 0;
    json_t *fields = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(fields)) {
        const int err =
            list_refuse(list, line, "expected one JSON object a line: ",
                        fields == NULL ? error.text : "it is another value");
        json_decref(fields);
        return err;
    }
    if (list->count == JOBS_MAX) {
        json_decref(fields);
        return list_refuse(list, line, "there are too many jobs", "");
    }
    struct job *jobs = reallocarray(list->jobs, list->count + 1, sizeof *jobs);
    if (jobs == NULL) {
        json_decref(fields);
        return ERR_MEMORY;
    }
    list->jobs = jobs;
    return job_parse(list, line, fields);
}

int
job_list_read(struct progress *progress, const char *path,
              const struct program *program, struct job_list *list)
{
    struct buffer text;
    *list = (struct job_list){
        .progress = progress, .path = path, .program = program, .results = -1};
    buffer_init(&text, LIST_SIZE_MAX);
    int err = file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, &text);
    if (err != 0) {
        progress_error(list->progress, "cannot read %s: %s", path,
                       err == ERR_IO ? strerror(errno) : err_text(err));
        err = ERR_INVALID;
    }
    const char *at = text.len > 0 ? (const char *) text.ptr : "";
    const char *end = at + text.len;
    for (unsigned line = 1; err == 0 && at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t) (end - at));
        if (stop == NULL)
            stop = end;
        err = line_parse(list, line, at, (size_t) (stop - at));
        at = stop + 1;
    }
    buffer_fini(&text);
    if (err == 0 && list->count == 0) {
        progress_error(list->progress, "%s: there are no jobs in it", path);
        err = ERR_INVALID;
    }
    return err;
}

void
job_list_free(struct job_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        json_decref(list->jobs[i].fields);
        json_decref(list->jobs[i].result);
    }
    if (list->results >= 0)
        close(list->results);
    free(list->jobs);
}

/* ---- results ---- */

static void
result_take(struct job_list *list, const char *text, size_t len)
{
    json_t *line = json_loadb(text, len, 0, NULL);
    const char *event = json_string_value(json_object_get(line, "event"));
    const char *key = json_string_value(json_object_get(line, "job"));
    for (size_t i = 0; event != NULL && key != NULL && i < list->count; i++) {
        struct job *job = &list->jobs[i];
        if (strcmp(event, "job_done") != 0 || strcmp(job->key, key) != 0
            || job->state != JOB_WAITS)
            continue;
        job->state = JOB_DONE;
        job->done = 1;
        list->before++;
    }
    json_decref(line);
}

int
job_results_open(struct job_list *list, const char *given)
{
    char path[PATH_MAX];
    struct buffer text;
    if (given != NULL)
        snprintf(path, sizeof path, "%s", given);
    else
        snprintf(path, sizeof path, "%s.results", list->path);
    list->results = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (list->results < 0) {
        progress_error(list->progress, "cannot write the results to %s: %s",
                       path, strerror(errno));
        return ERR_IO;
    }
    if (flock(list->results, LOCK_EX | LOCK_NB) != 0) {
        progress_error(list->progress,
                       "these jobs are being done already: %s is locked", path);
        return ERR_UNAVAILABLE;
    }
    buffer_init(&text, LIST_SIZE_MAX);
    int err = file_read(path, &text);
    const char *at = text.len > 0 ? (const char *) text.ptr : "";
    const char *end = at + text.len;
    while (err == 0 && at < end) {
        const char *stop = memchr(at, '\n', (size_t) (end - at));
        if (stop == NULL) { /* the last one was killed while it wrote */
            if (write(list->results, "\n", 1) != 1)
                err = ERR_IO;
            break;
        }
        result_take(list, at, (size_t) (stop - at));
        at = stop + 1;
    }
    buffer_fini(&text);
    if (err != 0)
        progress_error(list->progress, "cannot read the results in %s: %s",
                       path, err_text(err));
    return err;
}

void
job_result_write(struct job_list *list, const struct job *job, uint64_t seconds)
{
    const bool is_done = job->state == JOB_DONE;
    json_t *line = json_pack("{s:s, s:s, s:i, s:I}", "id", job->id, "job",
                             job->key, "attempts", (int) job->attempts,
                             "seconds", (json_int_t) seconds);
    if (line != NULL && is_done && job->result != NULL)
        json_object_update_missing(line, job->result);
    if (line != NULL && !is_done)
        json_object_set_new(line, "message", json_string(job->message));
    if (line == NULL)
        return;
    json_object_set_new(line, "event",
                        json_string(is_done ? "job_done" : "job_failed"));
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(6));
    const size_t len = text != NULL ? strlen(text) : 0;
    if (len > 0) {
        text[len] = '\n';
        if (write(list->results, text, len + 1) != (ssize_t) len + 1
            || fsync(list->results) != 0)
            progress_note(list->progress,
                          "cannot write the result of %s (%s): it will be "
                          "ingested again when the list is",
                          job->id, strerror(errno));
    }
    free(text);
    progress_event(list->progress, is_done ? "job_done" : "job_failed", line);
}
