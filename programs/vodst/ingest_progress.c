/* SPDX-License-Identifier: Apache-2.0 */
/* What an ingest shows while it runs. */

#include "programs/vodst/ingest_progress.h"

#include "platform/clock.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 30
#define TERMINAL_INTERVAL_MS 100
#define LINE_INTERVAL_MS 5000
#define JSON_INTERVAL_MS 1000
#define MESSAGE_SIZE 8192

const char *
time_text(double seconds, char out[32])
{
    unsigned long s =
        seconds > 0 && seconds < 1e9 ? (unsigned long) (seconds + 0.5) : 0;
    if (s >= 3600)
        snprintf(out, 32, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, 32, "%lu:%02lu", s / 60, s % 60);
    return out;
}

void
progress_init(struct progress *progress, const char *program, bool is_json)
{
    memset(progress, 0, sizeof *progress);
    progress->program = program;
    progress->is_json = is_json;
    progress->is_terminal = !is_json && isatty(STDERR_FILENO);
}

/* JSON texts are UTF-8; file names and programs' errors need not be. */
static json_t *
text_json(const char *text)
{
    json_t *json = json_string(text);
    if (json != NULL)
        return json;
    char plain[MESSAGE_SIZE];
    snprintf(plain, sizeof plain, "%s", text);
    for (char *p = plain; *p != '\0'; p++)
        if ((unsigned char) *p >= 0x80)
            *p = '?';
    return json_string(plain);
}

void
progress_event(struct progress *progress, const char *event,
               struct json_t *fields)
{
    json_t *line = json_pack("{s:s}", "event", event);
    if (progress->is_json && line != NULL) {
        if (fields != NULL)
            json_object_update(line, fields);
        json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        putchar('\n');
        fflush(stdout);
    }
    json_decref(line);
    json_decref(fields);
}

/* The bar's line is written over by whatever comes next. */
static void
bar_clear(const struct progress *progress)
{
    if (progress->is_terminal && progress->step != NULL)
        fputs("\r\033[K", stderr);
}

void
progress_begin(struct progress *progress, const char *step)
{
    progress->step = step;
    progress->started_ms = clock_now_ms();
    progress->shown_ms = 0;
    progress->done_before = 0;
    progress->speed[0] = '\0';
    progress_event(progress, "step", json_pack("{s:s}", "step", step));
}

void
progress_end(struct progress *progress)
{
    double seconds = (double) (clock_now_ms() - progress->started_ms) / 1000;
    char took[32];
    bar_clear(progress);
    if (!progress->is_json && (seconds >= 1 || progress->speed[0] != '\0'))
        fprintf(stderr, "%-8s done in %s%s%s\n", progress->step,
                time_text(seconds, took), progress->speed[0] ? ", " : "",
                progress->speed);
    progress_event(
        progress, "step_done",
        json_pack("{s:s, s:f}", "step", progress->step, "seconds", seconds));
    progress->step = NULL;
}

static void
bar_show(const struct progress *progress, double done, const char *left)
{
    char bar[BAR_WIDTH + 1];
    int filled = done > 0 ? (int) (done * BAR_WIDTH) : 0;
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '=' : i == filled && done >= 0 ? '>' : ' ';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r\033[K%-8s [%s]", progress->step, bar);
    if (done >= 0)
        fprintf(stderr, " %3d %%", (int) (done * 100));
    fprintf(stderr, "  %s%s%s%s", progress->speed, left[0] ? "  " : "", left,
            left[0] ? " left" : "");
    fflush(stderr);
}

static void
line_show(const struct progress *progress, double done, const char *left)
{
    fprintf(stderr, "%-8s", progress->step);
    if (done >= 0)
        fprintf(stderr, " %3d %%", (int) (done * 100));
    fprintf(stderr, "  %s%s%s%s\n", progress->speed, left[0] ? "  " : "", left,
            left[0] ? " left" : "");
}

static void
json_show(struct progress *progress, double done, double left_s)
{
    json_t *fields = json_pack("{s:s}", "step", progress->step);
    if (done >= 0)
        json_object_set_new(fields, "percent",
                            json_real((int) (done * 1000) / 10.0));
    if (left_s >= 0)
        json_object_set_new(fields, "remaining_s",
                            json_integer((json_int_t) (left_s + 0.5)));
    if (progress->speed[0] != '\0')
        json_object_set_new(fields, "speed", json_string(progress->speed));
    progress_event(progress, "progress", fields);
}

void
progress_update(struct progress *progress, double done, const char *speed)
{
    uint64_t now_ms = clock_now_ms();
    uint64_t since =
        progress->shown_ms != 0 ? progress->shown_ms : progress->started_ms;
    uint64_t interval = progress->is_json       ? JSON_INTERVAL_MS
                        : progress->is_terminal ? TERMINAL_INTERVAL_MS
                                                : LINE_INTERVAL_MS;
    snprintf(progress->speed, sizeof progress->speed, "%s", speed);
    if (now_ms - since < interval)
        return;
    progress->shown_ms = now_ms;
    if (done > 1)
        done = 1;
    double elapsed_s = (double) (now_ms - progress->started_ms) / 1000;
    const double own = done - progress->done_before;
    double left_s = own > 0.005 ? elapsed_s * (1 - done) / own : -1;
    char left[32] = "";
    if (left_s >= 0)
        time_text(left_s, left);
    if (progress->is_json)
        json_show(progress, done, left_s);
    else if (progress->is_terminal)
        bar_show(progress, done, left);
    else
        line_show(progress, done, left);
}

static void
note_tell(struct progress *progress, const char *text)
{
    bar_clear(progress);
    if (!progress->is_json)
        fprintf(stderr, "%s\n", text);
    progress_event(progress, "note",
                   json_pack("{s:o}", "text", text_json(text)));
}

void
progress_note(struct progress *progress, const char *format, ...)
{
    char text[MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    note_tell(progress, text);
}

void
progress_error(struct progress *progress, const char *format, ...)
{
    char text[MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (progress->is_optional) {
        note_tell(progress, text);
        return;
    }
    bar_clear(progress);
    fprintf(stderr, "%s: %s\n", progress->program, text);
    json_t *fields = json_pack("{s:o}", "message", text_json(text));
    if (fields != NULL && progress->step != NULL)
        json_object_set_new(fields, "step", json_string(progress->step));
    progress_event(progress, "error", fields);
    progress->step = NULL;
}

void
progress_waiting(const char *url, const char *reason, uint64_t pause_ms,
                 uint64_t left_ms, void *context)
{
    char left[32];
    progress_note(context,
                  "waiting for %s (%s): again in %.1f s, for at most %s more",
                  url, reason, (double) pause_ms / 1000,
                  time_text((double) left_ms / 1000, left));
}
