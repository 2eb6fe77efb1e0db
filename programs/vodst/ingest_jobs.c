/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process a job: a film that brings FFmpeg or us down takes nobody with it.
 * They die with this program, and keep what they have done, so a list that was
 * killed loses what one film loses.
 */

#include "programs/vodst/ingest_jobs.h"

#include "core/content.h"
#include "core/err.h"
#include "platform/clock.h"
#include "platform/files.h"
#include "programs/vodst/ingest_child.h"
#include "programs/vodst/ingest_digest.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIST_SIZE_MAX (64u << 20) /* bytes */
#define LINE_SIZE_MAX (1u << 16)
#define MESSAGE_SIZE 1024
#define JOB_ARGUMENTS_MAX 512
#define PAUSE_MS_MAX 600000
#define KEY_SIZE 33 /* 32 hex digits and the end */
#define TURN_MS 200 /* between looks at the clock */

enum job_state { JOB_WAITS, JOB_RUNS, JOB_DONE, JOB_FAILED };

struct job {
    json_t *fields; /* as listed */
    char id[CONTENT_ID_LEN_MAX + 1];
    char key[KEY_SIZE]; /* of what it says and of the film as it is */
    enum job_state state;
    unsigned attempts;
    uint64_t next_ms;           /* not tried again before */
    double done;                /* 0 to 1 */
    json_t *result;             /* the last "done" event; or NULL */
    char message[MESSAGE_SIZE]; /* why it failed last */
};

struct worker {
    pid_t pid; /* 0: free */
    int output;
    struct job *job;
    char line[LINE_SIZE_MAX];
    size_t len;
    uint64_t started_ms;
};

struct queue {
    struct progress *progress;
    const struct jobs_config *config;
    struct job *jobs;
    size_t count, done, failed, running, before; /* before: by another run */
    int results;
    struct worker *workers;
    bool was_stopped;
};

/* ---- the list ---- */

static int
list_refuse(struct queue *q, unsigned line, const char *what, const char *which)
{
    progress_error(q->progress, "%s:%u: %s%s", q->config->path, line, what,
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
    json_array_foreach((json_t *) (uintptr_t) value, i, item) is_good =
        is_good && json_is_string(item);
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

/* The i-th film of a job, or NULL. */
static const char *
film_of(const struct job *job, size_t i)
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
        for (size_t i = 0; film_of(job, i) != NULL; i++)
            film_add(&digest, film_of(job, i));
        err = digest_end(&digest, hash);
    }
    free(text);
    if (err == 0)
        digest_text(hash, KEY_SIZE / 2, job->key);
    return err;
}

static int
job_parse(struct queue *q, unsigned line, json_t *fields)
{
    struct job *job = &q->jobs[q->count];
    const char *id = json_string_value(json_object_get(fields, "id")), *name;
    json_t *value;
    *job = (struct job){.fields = fields};
    q->count++; /* whose fields are freed */
    if (!is_texts(json_object_get(fields, "film")))
        return list_refuse(q, line, "expected \"film\": a path, or several",
                           "");
    if (id == NULL || !content_id_is_valid(bytes_of_text(id)))
        return list_refuse(q, line, "expected \"id\": the id of the content",
                           "");
    snprintf(job->id, sizeof job->id, "%s", id);
    for (size_t i = 0; i + 1 < q->count; i++)
        if (strcmp(q->jobs[i].id, id) == 0)
            return list_refuse(q, line, "is there twice: ", id);
    json_object_foreach(fields, name, value)
    {
        if (strcmp(name, "film") == 0)
            continue;
        const struct option *option = option_find(q->config->program, name);
        if (option == NULL)
            return list_refuse(q, line, "a job has no option ", name);
        if (!value_fits(option, value))
            return list_refuse(q, line,
                               "of another type than expected: ", name);
    }
    return key_make(job);
}

static int
line_parse(struct queue *q, unsigned line, const char *text, size_t len)
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
            list_refuse(q, line, "expected one JSON object a line: ",
                        fields == NULL ? error.text : "it is another value");
        json_decref(fields);
        return err;
    }
    if (q->count == JOBS_MAX) {
        json_decref(fields);
        return list_refuse(q, line, "there are too many jobs", "");
    }
    struct job *jobs = reallocarray(q->jobs, q->count + 1, sizeof *jobs);
    if (jobs == NULL) {
        json_decref(fields);
        return ERR_MEMORY;
    }
    q->jobs = jobs;
    return job_parse(q, line, fields);
}

static int
list_read(struct queue *q)
{
    const char *path = q->config->path;
    struct buffer text;
    buffer_init(&text, LIST_SIZE_MAX);
    int err = file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, &text);
    if (err != 0) {
        progress_error(q->progress, "cannot read %s: %s", path,
                       err == ERR_IO ? strerror(errno) : err_text(err));
        err = ERR_INVALID;
    }
    const char *at = text.len > 0 ? (const char *) text.ptr : "";
    const char *end = at + text.len;
    for (unsigned line = 1; err == 0 && at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t) (end - at));
        if (stop == NULL)
            stop = end;
        err = line_parse(q, line, at, (size_t) (stop - at));
        at = stop + 1;
    }
    buffer_fini(&text);
    if (err == 0 && q->count == 0) {
        progress_error(q->progress, "%s: there are no jobs in it", path);
        err = ERR_INVALID;
    }
    return err;
}

/* ---- results ---- */

static void
result_take(struct queue *q, const char *text, size_t len)
{
    json_t *line = json_loadb(text, len, 0, NULL);
    const char *event = json_string_value(json_object_get(line, "event"));
    const char *key = json_string_value(json_object_get(line, "job"));
    for (size_t i = 0; event != NULL && key != NULL && i < q->count; i++) {
        struct job *job = &q->jobs[i];
        if (strcmp(event, "job_done") != 0 || strcmp(job->key, key) != 0
            || job->state != JOB_WAITS)
            continue;
        job->state = JOB_DONE;
        job->done = 1;
        q->done++;
        q->before++;
    }
    json_decref(line);
}

/* Opens the file, locks it, and takes what is in it. */
static int
results_open(struct queue *q)
{
    char path[PATH_MAX];
    struct buffer text;
    if (q->config->results != NULL)
        snprintf(path, sizeof path, "%s", q->config->results);
    else
        snprintf(path, sizeof path, "%s.results", q->config->path);
    q->results = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (q->results < 0) {
        progress_error(q->progress, "cannot write the results to %s: %s", path,
                       strerror(errno));
        return ERR_IO;
    }
    if (flock(q->results, LOCK_EX | LOCK_NB) != 0) {
        progress_error(q->progress,
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
            if (write(q->results, "\n", 1) != 1)
                err = ERR_IO;
            break;
        }
        result_take(q, at, (size_t) (stop - at));
        at = stop + 1;
    }
    buffer_fini(&text);
    if (err != 0)
        progress_error(q->progress, "cannot read the results in %s: %s", path,
                       err_text(err));
    return err;
}

static void
result_write(struct queue *q, const struct job *job, uint64_t seconds)
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
        if (write(q->results, text, len + 1) != (ssize_t) len + 1
            || fsync(q->results) != 0)
            progress_note(q->progress,
                          "cannot write the result of %s (%s): it will be "
                          "ingested again when the list is",
                          job->id, strerror(errno));
    }
    free(text);
    progress_event(q->progress, is_done ? "job_done" : "job_failed", line);
}

/* ---- one job's process ---- */

/* "--name=value" */
static bool
option_write(struct buffer *text, const char *name, const json_t *value)
{
    size_t i;
    json_t *item;
    switch (json_typeof(value)) {
    case JSON_TRUE:
        buffer_printf(text, "--%s", name);
        break;
    case JSON_STRING:
        buffer_printf(text, "--%s=%s", name, json_string_value(value));
        break;
    case JSON_INTEGER:
        buffer_printf(text, "--%s=%lld", name,
                      (long long) json_integer_value(value));
        break;
    case JSON_REAL:
        buffer_printf(text, "--%s=%.17g", name, json_real_value(value));
        break;
    case JSON_ARRAY:
        json_array_foreach(value, i, item) option_write(text, name, item);
        return true;
    case JSON_OBJECT:
    case JSON_FALSE:
    case JSON_NULL:
        return true;
    }
    buffer_append(text, "", 1);
    return true;
}

/* Texts one behind the other, each with its end. */
static void
arguments_write(const struct queue *q, const struct job *job,
                struct buffer *text)
{
    const char *name;
    json_t *value;
    buffer_append(text, "vodst\0ingest", sizeof "vodst\0ingest");
    for (char *const *common = q->config->argv; *common != NULL; common++)
        buffer_append(text, *common, strlen(*common) + 1);
    /* a file of options would name the list once more */
    static const char last[] = "--jobs=\0--json\0--keep-work";
    buffer_append(text, last, sizeof last);
    json_object_foreach(job->fields, name, value)
    {
        if (strcmp(name, "film") != 0)
            option_write(text, name, value);
    }
    buffer_append(text, "--", 3);
    for (size_t i = 0; film_of(job, i) != NULL; i++)
        buffer_append(text, film_of(job, i), strlen(film_of(job, i)) + 1);
}

static _Noreturn void
job_exec(struct buffer *text, int output, pid_t parent)
{
    static char *argv[JOB_ARGUMENTS_MAX];
    size_t count = 0;
    for (size_t at = 0; at < text->len && count < JOB_ARGUMENTS_MAX - 1;
         at += strlen((char *) text->ptr + at) + 1)
        argv[count++] = (char *) text->ptr + at;
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    setpgid(0, 0); /* the terminal's Ctrl-C is for us to pass on */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && null >= 0 && dup2(null, 0) == 0
        && dup2(output, 1) == 1 && dup2(output, 2) == 2)
        execv("/proc/self/exe", argv);
    _exit(126);
}

static int
job_start(struct queue *q, struct worker *worker, struct job *job)
{
    int ends[2];
    struct buffer text;
    buffer_init(&text, 1u << 20);
    arguments_write(q, job, &text);
    if (text.err != 0 || pipe2(ends, O_CLOEXEC) != 0) {
        buffer_fini(&text);
        return ERR_IO;
    }
    const pid_t parent = getpid();
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0)
        job_exec(&text, ends[1], parent);
    buffer_fini(&text);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return ERR_IO;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    worker->pid = pid;
    worker->output = ends[0];
    worker->job = job;
    worker->len = 0;
    worker->started_ms = clock_now_ms();
    job->state = JOB_RUNS;
    job->attempts++;
    job->message[0] = '\0';
    q->running++;
    return 0;
}

/* How far a job is when a step is. */
static double
job_share(const char *step, double percent)
{
    static const struct {
        const char *step;
        double before, own;
    } shares[] = {
        {"encode", 0, 0.9},   {"thumbnails", 0, 0.4}, {"copy", 0.4, 0.3},
        {"index", 0.9, 0.03}, {"store", 0.7, 0.29},   {"publish", 0.99, 0},
    };
    for (size_t i = 0; step != NULL && i < sizeof shares / sizeof *shares; i++)
        if (strcmp(shares[i].step, step) == 0)
            return shares[i].before + shares[i].own * percent / 100;
    return 0;
}

static void
line_take(struct queue *q, struct job *job, const char *text)
{
    json_t *line = json_loads(text, 0, NULL);
    const char *event = json_string_value(json_object_get(line, "event"));
    if (event == NULL) {
        if (job->message[0] == '\0')
            snprintf(job->message, sizeof job->message, "%.1000s", text);
        json_decref(line);
        return;
    }
    const char *message = json_string_value(json_object_get(line, "message"));
    const char *note = json_string_value(json_object_get(line, "text"));
    const double done =
        job_share(json_string_value(json_object_get(line, "step")),
                  json_number_value(json_object_get(line, "percent")));
    if (strcmp(event, "error") == 0 && message != NULL)
        snprintf(job->message, sizeof job->message, "%s", message);
    else if (strcmp(event, "progress") == 0 && done > job->done)
        job->done = done;
    if (strcmp(event, "done") == 0) {
        json_decref(job->result);
        job->result = json_incref(line);
    }
    if (q->progress->is_json) {
        json_object_set_new(line, "id", json_string(job->id));
        progress_event(q->progress, event, json_incref(line));
    } else if (strcmp(event, "note") == 0 && note != NULL) {
        progress_note(q->progress, "%s: %s", job->id, note);
    }
    json_decref(line);
}

/* False at the end of what it says. */
static bool
worker_read(struct queue *q, struct worker *w)
{
    const ssize_t got =
        read(w->output, w->line + w->len, sizeof w->line - 1 - w->len);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    w->len += (size_t) got;
    char *at = w->line, *end = w->line + w->len;
    for (char *stop; (stop = memchr(at, '\n', (size_t) (end - at))) != NULL;
         at = stop + 1) {
        *stop = '\0';
        line_take(q, w->job, at);
    }
    w->len = (size_t) (end - at);
    memmove(w->line, at, w->len);
    if (w->len == sizeof w->line - 1)
        w->len = 0; /* no line of ours is as long */
    return got > 0;
}

/* ---- what came of it ---- */

static void
job_retry(struct queue *q, struct job *job)
{
    uint64_t pause_ms = q->config->pause_ms;
    for (unsigned i = 1; i < job->attempts && pause_ms < PAUSE_MS_MAX; i++)
        pause_ms *= 2;
    if (pause_ms > PAUSE_MS_MAX)
        pause_ms = PAUSE_MS_MAX;
    job->state = JOB_WAITS;
    job->next_ms = clock_now_ms() + pause_ms;
    progress_note(q->progress, "%s: failed (%s), again in %.1f s: %u of %u",
                  job->id, job->message, (double) pause_ms / 1000,
                  job->attempts, q->config->retries);
}

static void
job_settle(struct queue *q, struct worker *w, int status)
{
    struct job *job = w->job;
    const uint64_t seconds = (clock_now_ms() - w->started_ms) / 1000;
    /* killed: by the system, for want of memory perhaps */
    const bool is_temporary =
        WIFSIGNALED(status) || WEXITSTATUS(status) == EXIT_TEMPORARY;
    q->running--;
    w->pid = 0;
    if (WIFSIGNALED(status))
        snprintf(job->message, sizeof job->message, "killed by signal %d",
                 WTERMSIG(status));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        job->state = JOB_DONE;
        q->done++;
        job->done = 1;
    } else if (q->was_stopped) {
        job->state = JOB_WAITS;
        return;
    } else if (is_temporary && job->attempts <= q->config->retries) {
        job_retry(q, job);
        return;
    } else {
        job->state = JOB_FAILED;
        q->failed++;
        job->done = 1;
    }
    result_write(q, job, seconds);
    if (!q->progress->is_json && job->state == JOB_FAILED)
        progress_note(q->progress, "%s: FAILED: %s", job->id, job->message);
    else if (!q->progress->is_json)
        progress_note(
            q->progress, "%s is playable: version %s", job->id,
            json_string_value(json_object_get(job->result, "version")));
}

static void
worker_end(struct queue *q, struct worker *w)
{
    int status = 0;
    close(w->output);
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
        ;
    job_settle(q, w, status);
}

/* ---- the turns ---- */

static void
workers_fill(struct queue *q)
{
    const uint64_t now_ms = clock_now_ms();
    size_t next = 0;
    for (unsigned i = 0; i < q->config->workers; i++) {
        struct worker *w = &q->workers[i];
        if (w->pid != 0)
            continue;
        while (next < q->count
               && (q->jobs[next].state != JOB_WAITS
                   || q->jobs[next].next_ms > now_ms))
            next++;
        if (next == q->count)
            return;
        if (job_start(q, w, &q->jobs[next]) != 0) {
            progress_note(q->progress, "cannot start a job: %s",
                          strerror(errno));
            q->jobs[next].next_ms = now_ms + 1000;
        }
    }
}

static void
queue_show(struct queue *q)
{
    char text[32];
    double sum = 0;
    for (size_t i = 0; i < q->count; i++)
        sum += q->jobs[i].done;
    snprintf(text, sizeof text, "%zu/%zu, %zu failed", q->done, q->count,
             q->failed);
    progress_update(q->progress, sum / (double) q->count, text);
}

static void
queue_stop(struct queue *q)
{
    q->was_stopped = true;
    for (unsigned i = 0; i < q->config->workers; i++)
        if (q->workers[i].pid != 0)
            kill(q->workers[i].pid, SIGTERM);
}

static void
queue_turn(struct queue *q)
{
    struct pollfd fds[JOB_WORKERS_MAX];
    unsigned owners[JOB_WORKERS_MAX], count = 0;
    for (unsigned i = 0; i < q->config->workers; i++) {
        if (q->workers[i].pid == 0)
            continue;
        fds[count] =
            (struct pollfd){.fd = q->workers[i].output, .events = POLLIN};
        owners[count++] = i;
    }
    const int ready = poll(fds, count, TURN_MS);
    for (unsigned i = 0; ready > 0 && i < count; i++)
        if (fds[i].revents != 0 && !worker_read(q, &q->workers[owners[i]]))
            worker_end(q, &q->workers[owners[i]]);
}

static void
queue_run(struct queue *q)
{
    q->progress->done_before = (double) q->before / (double) q->count;
    while (q->running > 0
           || (!q->was_stopped && q->done + q->failed < q->count)) {
        if (stop_signal() != 0 && !q->was_stopped)
            queue_stop(q);
        if (!q->was_stopped)
            workers_fill(q);
        queue_turn(q);
        queue_show(q);
    }
}

static int
queue_tell(struct queue *q)
{
    progress_end(q->progress);
    if (!q->progress->is_json)
        printf("%zu of %zu playable, %zu failed%s\n", q->done, q->count,
               q->failed,
               q->was_stopped ? "; interrupted: run it again to go on" : "");
    progress_event(
        q->progress, "jobs_done",
        json_pack("{s:I, s:I, s:I, s:I}", "jobs", (json_int_t) q->count, "done",
                  (json_int_t) q->done, "before", (json_int_t) q->before,
                  "failed", (json_int_t) q->failed));
    if (q->was_stopped)
        return 128 + stop_signal();
    return q->failed > 0 ? 1 : 0;
}

int
jobs_run(struct progress *progress, const struct jobs_config *config)
{
    struct queue q = {.progress = progress, .config = config, .results = -1};
    int status = 2;
    q.workers = calloc(config->workers, sizeof *q.workers);
    progress_begin(progress, "jobs");
    if (q.workers == NULL)
        progress_error(progress, "out of memory");
    else if (list_read(&q) == 0) {
        status = 1;
        if (results_open(&q) == 0) {
            if (q.before > 0)
                progress_note(progress, "%zu of %zu were done before", q.before,
                              q.count);
            queue_run(&q);
            status = queue_tell(&q);
        }
    }
    for (size_t i = 0; i < q.count; i++) {
        json_decref(q.jobs[i].fields);
        json_decref(q.jobs[i].result);
    }
    if (q.results >= 0)
        close(q.results);
    free(q.jobs);
    free(q.workers);
    return status;
}
