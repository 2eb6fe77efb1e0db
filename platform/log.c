/* SPDX-License-Identifier: Apache-2.0 */
/* The daemons' error log: one write(2) a line, so that lines of several
 * processes on one terminal stay whole. */

#include "platform/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE_MAX 2048 /* bytes; the rest of a longer line is cut */

static const char *program_name = "vodst";
static enum log_level level_max = LOG_LEVEL_INFO;
static bool has_journal;

static size_t
prefix(char *line, size_t size, enum log_level level)
{
    static const struct {
        int priority; /* of syslog(3) */
        const char *name;
    } levels[] = {
        [LOG_LEVEL_ERROR] = {3, "error"},
        [LOG_LEVEL_WARN] = {4, "warn"},
        [LOG_LEVEL_INFO] = {6, "info"},
        [LOG_LEVEL_DEBUG] = {7, "debug"},
    };
    int n;
    if (has_journal) {
        n = snprintf(line, size, "<%d>", levels[level].priority);
    } else {
        struct timeval now;
        struct tm tm;
        char text[32];
        gettimeofday(&now, NULL);
        gmtime_r(&now.tv_sec, &tm);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
        n = snprintf(line, size, "%s.%03dZ %s[%d] %s: ", text,
                     (int) (now.tv_usec / 1000), program_name, (int) getpid(),
                     levels[level].name);
    }
    return n < 0 ? 0 : (size_t) n < size ? (size_t) n : size - 1;
}

__attribute__((format(printf, 2, 0))) static void
write_line(enum log_level level, const char *format, va_list arguments)
{
    if (level > level_max)
        return;
    char line[LINE_SIZE_MAX];
    size_t len = prefix(line, sizeof line - 1, level);
    size_t room = sizeof line - 1 - len;
    int n = vsnprintf(line + len, room, format, arguments);
    if (n < 0)
        return;
    size_t end = len + ((size_t) n < room ? (size_t) n : room - 1);
    /* what came from outside must not forge a second line */
    for (size_t i = len; i < end; i++)
        if ((unsigned char) line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    line[end++] = '\n';
    if (write(STDERR_FILENO, line, end) < 0)
        return; /* nowhere is left to say it */
}

void
log_init(const char *program, enum log_level level)
{
    program_name = program;
    level_max = level;
    has_journal = getenv("JOURNAL_STREAM") != NULL;
}

#define LOG_FUNCTION(name, level)             \
    void name(const char *format, ...)        \
    {                                         \
        va_list arguments;                    \
        va_start(arguments, format);          \
        write_line(level, format, arguments); \
        va_end(arguments);                    \
    }

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
