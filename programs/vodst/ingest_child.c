/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child leads a process group of its own, so that the terminal's Ctrl-C
 * reaches only this program, which then ends the group in its own order.
 */

#include "programs/vodst/ingest_child.h"

#include "core/err.h"
#include "platform/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_PATIENCE_MS 5000 /* from SIGTERM to SIGKILL */
#define LINE_SIZE_MAX (1 << 16)

static volatile sig_atomic_t caught_signal;

static void
signal_caught(int number)
{
    caught_signal = number;
}

void
stop_signals_catch(void)
{
    struct sigaction action = {.sa_handler = signal_caught};
    sigemptyset(&action.sa_mask); /* no SA_RESTART: poll must come back */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int
stop_signal(void)
{
    return caught_signal;
}

struct line_reader {
    const struct child_config *config;
    char text[LINE_SIZE_MAX];
    size_t len;
};

struct child {
    pid_t pid;
    int output, errors; /* -1 at their ends */
    uint64_t stop_ms;   /* when it was asked to stop; 0: it was not */
    bool is_killed;
};

static void
pipe_close(int fds[2])
{
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* In the child: never returns. What goes wrong is told by `failure`, which
 * exec closes. */
static void
child_exec(const struct child_config *config, int output, int errors,
           int failure, pid_t parent)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], SIG_DFL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (getppid() == parent && null >= 0 && dup2(null, 0) == 0
        && dup2(output, 1) == 1 && dup2(errors, 2) == 2
        && (config->folder == NULL || chdir(config->folder) == 0)) {
        /* execvp wants char *const *, and changes nothing */
        union {
            const char *const *in;
            char *const *out;
        } argv = {config->argv};
        execvp(config->argv[0], argv.out);
    }
    int reason = errno;
    if (write(failure, &reason, sizeof reason) < 0)
        _exit(126);
    _exit(127);
}

static int
child_start(const struct child_config *config, struct child *out)
{
    int output[2] = {-1, -1}, errors[2] = {-1, -1}, failure[2] = {-1, -1};
    int err = ERR_IO;
    if (pipe2(output, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0
        || pipe2(failure, O_CLOEXEC) != 0)
        goto failed;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        goto failed;
    if (pid == 0)
        child_exec(config, output[1], errors[1], failure[1], parent);
    setpgid(pid, pid); /* in both: whichever comes first */
    close(failure[1]);
    failure[1] = -1;
    int reason = 0;
    ssize_t got;
    do
        got = read(failure[0], &reason, sizeof reason);
    while (got < 0 && errno == EINTR);
    if (got != 0) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        errno = reason;
        err = reason == ENOENT ? ERR_NOT_FOUND : ERR_IO;
        goto failed;
    }
    close(output[1]);
    close(errors[1]);
    close(failure[0]);
    *out = (struct child){.pid = pid, .output = output[0], .errors = errors[0]};
    return 0;

failed:
    pipe_close(output);
    pipe_close(errors);
    pipe_close(failure);
    return err;
}

/* What was read, cut into lines. A line that does not fit is dropped. */
static void
lines_take(struct line_reader *reader)
{
    char *start = reader->text;
    char *end = reader->text + reader->len;
    for (char *stop;
         (stop = memchr(start, '\n', (size_t) (end - start))) != NULL;
         start = stop + 1) {
        *stop = '\0';
        if (reader->config->line != NULL)
            reader->config->line(start, reader->config->context);
    }
    reader->len = (size_t) (end - start);
    memmove(reader->text, start, reader->len);
    if (reader->len == sizeof reader->text)
        reader->len = 0;
}

/* False at the end. */
static bool
output_read(int fd, struct line_reader *reader)
{
    ssize_t got =
        read(fd, reader->text + reader->len, sizeof reader->text - reader->len);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN;
    reader->len += (size_t) got;
    lines_take(reader);
    return got > 0;
}

static bool
errors_read(int fd, char tail[CHILD_ERRORS_SIZE])
{
    char text[CHILD_ERRORS_SIZE / 2];
    ssize_t got = read(fd, text, sizeof text);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN;
    for (ssize_t i = 0; i < got; i++)
        if (text[i] == '\0')
            text[i] = ' ';
    size_t len = strlen(tail), size = (size_t) got;
    if (len + size >= CHILD_ERRORS_SIZE) {
        size_t over = len + size - (CHILD_ERRORS_SIZE - 1);
        memmove(tail, tail + over, len - over);
        len -= over;
    }
    memcpy(tail + len, text, size);
    tail[len + size] = '\0';
    return got > 0;
}

static void
child_stop(struct child *child)
{
    if (child->stop_ms == 0) {
        child->stop_ms = clock_now_ms();
        kill(-child->pid, SIGTERM);
    } else if (!child->is_killed
               && clock_now_ms() - child->stop_ms > STOP_PATIENCE_MS) {
        child->is_killed = true;
        kill(-child->pid, SIGKILL);
    }
}

static void
fd_end(int *fd)
{
    close(*fd);
    *fd = -1;
}

static void
child_follow(struct child *child, struct line_reader *reader, char *tail)
{
    while (child->output >= 0 || child->errors >= 0) {
        if (stop_signal() != 0)
            child_stop(child);
        struct pollfd fds[2] = {
            {.fd = child->output, .events = POLLIN},
            {.fd = child->errors, .events = POLLIN},
        };
        if (poll(fds, 2, 200) <= 0)
            continue;
        if (fds[0].revents != 0 && !output_read(child->output, reader))
            fd_end(&child->output);
        if (fds[1].revents != 0 && !errors_read(child->errors, tail))
            fd_end(&child->errors);
    }
}

int
child_run(const struct child_config *config, struct child_result *out)
{
    struct child child;
    static struct line_reader reader; /* too large for the stack */
    out->exit_status = 0;
    out->errors[0] = '\0';
    int err = child_start(config, &child);
    if (err != 0)
        return err;
    reader.config = config;
    reader.len = 0;
    child_follow(&child, &reader, out->errors);

    for (size_t len = strlen(out->errors);
         len > 0 && out->errors[len - 1] == '\n';)
        out->errors[--len] = '\0';

    int status = 0;
    while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR)
        if (stop_signal() != 0)
            child_stop(&child);
    out->exit_status =
        WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return stop_signal() != 0 ? ERR_TIMEOUT : 0;
}

const char *
text_last_lines(const char *text, unsigned lines)
{
    size_t at = strlen(text);
    while (at > 0 && text[at - 1] == '\n')
        at--;
    for (; at > 0; at--)
        if (text[at - 1] == '\n' && --lines == 0)
            break;
    return text + at;
}
