/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process a job: a film that brings FFmpeg or us down takes nobody with it.
 * They die with this program, and keep what they have done, so a list that was
 * killed loses what one film loses.
 */

#include "programs/vodst/ingest_jobs.h"

#include "core/buffer.h"
#include "core/err.h"
#include "platform/clock.h"
#include "programs/vodst/ingest_child.h"
#include "programs/vodst/vodst.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_SIZE_MAX (1u << 16)
#define JOB_ARGUMENTS_MAX 512
#define PAUSE_MS_MAX 600000
#define TURN_MS 200 /* between looks at the clock */

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
    struct job_list list;
    size_t done, failed, running;
    struct worker *workers;
    bool was_stopped;
};

/* ---- one job's process ---- */

/* "--name=value" */
static void
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
        json_array_foreach(value, i, item)
        {
            option_write(text, name, item);
        }
        return;
    case JSON_OBJECT:
    case JSON_FALSE:
    case JSON_NULL:
        return;
    }
    buffer_append(text, "", 1);
}

/* Is it this option, and is its value in the next argument? */
static bool
argument_is(const char *argument, const char *name, bool *has_next)
{
    const size_t len = strlen(name);
    if (strncmp(argument, "--", 2) != 0
        || strncmp(argument + 2, name, len) != 0)
        return false;
    *has_next = argument[2 + len] == '\0';
    return *has_next || argument[2 + len] == '=';
}

/* What is said for all jobs. The list's own options go. */
static void
common_write(char *const *argv, struct buffer *text)
{
    static const char *const own[] = {"jobs", "workers", "retries",
                                      "retry-pause", "results"};
    for (char *const *at = argv + 1; *at != NULL; at++) {
        bool is_own = false, has_next = false;
        for (size_t k = 0; !is_own && k < sizeof own / sizeof *own; k++)
            is_own = argument_is(*at, own[k], &has_next);
        if (is_own)
            at += has_next && at[1] != NULL;
        else if (strcmp(*at, "--json") != 0 && strcmp(*at, "--") != 0)
            buffer_append(text, *at, strlen(*at) + 1);
    }
}

/* Texts one behind the other, each with its end. */
static void
arguments_write(const struct queue *q, const struct job *job,
                struct buffer *text)
{
    const char *name;
    json_t *value;
    buffer_append(text, "vodst\0ingest", sizeof "vodst\0ingest");
    common_write(q->config->argv, text);
    /* a file of options would name the list once more */
    static const char last[] = "--jobs=\0--json\0--keep-work";
    buffer_append(text, last, sizeof last);
    json_object_foreach(job->fields, name, value)
    {
        if (strcmp(name, "film") != 0)
            option_write(text, name, value);
    }
    buffer_append(text, "--", 3);
    for (size_t i = 0; job_film(job, i) != NULL; i++)
        buffer_append(text, job_film(job, i), strlen(job_film(job, i)) + 1);
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
    job_result_write(&q->list, job, seconds);
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
        while (next < q->list.count
               && (q->list.jobs[next].state != JOB_WAITS
                   || q->list.jobs[next].next_ms > now_ms))
            next++;
        if (next == q->list.count)
            return;
        if (job_start(q, w, &q->list.jobs[next]) != 0) {
            progress_note(q->progress, "cannot start a job: %s",
                          strerror(errno));
            q->list.jobs[next].next_ms = now_ms + 1000;
        }
    }
}

static void
queue_show(struct queue *q)
{
    char text[32];
    double sum = 0;
    for (size_t i = 0; i < q->list.count; i++)
        sum += q->list.jobs[i].done;
    snprintf(text, sizeof text, "%zu/%zu, %zu failed", q->done, q->list.count,
             q->failed);
    progress_update(q->progress, sum / (double) q->list.count, text);
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
    q->progress->done_before = (double) q->list.before / (double) q->list.count;
    while (q->running > 0
           || (!q->was_stopped && q->done + q->failed < q->list.count)) {
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
        printf("%zu of %zu playable, %zu failed%s\n", q->done, q->list.count,
               q->failed,
               q->was_stopped ? "; interrupted: run it again to go on" : "");
    progress_event(q->progress, "jobs_done",
                   json_pack("{s:I, s:I, s:I, s:I}", "jobs",
                             (json_int_t) q->list.count, "done",
                             (json_int_t) q->done, "before",
                             (json_int_t) q->list.before, "failed",
                             (json_int_t) q->failed));
    if (q->was_stopped)
        return 128 + stop_signal();
    return q->failed > 0 ? 1 : 0;
}

int
jobs_run(struct progress *progress, const struct jobs_config *config)
{
    struct queue q = {.progress = progress, .config = config};
    int status = 2;
    progress_begin(progress, "jobs");
    int err = job_list_read(progress, config->path, config->program, &q.list);
    if (err == 0) {
        status = 1;
        err = job_results_open(&q.list, config->results);
    }
    q.workers = calloc(config->workers, sizeof *q.workers);
    if (err == 0 && q.workers == NULL) {
        progress_error(progress, "out of memory");
        err = ERR_MEMORY;
    }
    if (err == 0) {
        q.done = q.list.before;
        if (q.done > 0)
            progress_note(progress, "%zu of %zu were done before", q.done,
                          q.list.count);
        queue_run(&q);
        status = queue_tell(&q);
    }
    job_list_free(&q.list);
    free(q.workers);
    return status;
}
