/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of a process:  added -> running -> ready, and from there to waiting
 * (it died; due at start_at_ms) and back to running, until it is stopped.
 * During start-up a death is an error; afterwards it is mended.
 */

#include "programs/vodst/supervise.h"
#include "programs/vodst/fetch.h"
#include "core/err.h"
#include "platform/clock.h"
#include "platform/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 500
#define BACKOFF_MAX_MS 10000
#define BACKOFF_FORGET_MS 30000 /* up for this long: the next wait is short */
#define STOP_MS_MAX 5000        /* then SIGKILL */
#define HEALTH_TIMEOUT_MS 500
#define HEALTH_PAUSE_MS 20
#define CHANGED_RETRY_MS 1000
#define LOG_TAIL_SIZE 2048 /* bytes of a log that are shown */

struct process {
    char *name, *log_path, *health_url;
    char *argv[PROCESS_ARGUMENTS_MAX + 1];
    unsigned ready_ms_max;
    pid_t pid; /* 0: not running */
    uint64_t started_ms, start_at_ms;
    unsigned backoff_ms;
};

struct supervisor {
    struct process processes[PROCESSES_MAX];
    size_t count;
    int signal_fd;
    sigset_t signals_before;
    bool restart;  /* what dies from here on */
    bool started;  /* the start-up is over */
    bool has_died; /* one did, during start-up */
    bool told_to_stop;
    int (*changed)(void *context);
    void *context;
    bool is_untold; /* `changed` failed, and is called again */
};

static void
log_tail_show(const struct process *process)
{
    char text[LOG_TAIL_SIZE + 1];
    const int fd = open(process->log_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    const off_t size = lseek(fd, 0, SEEK_END);
    const off_t from = size > LOG_TAIL_SIZE ? size - LOG_TAIL_SIZE : 0;
    const ssize_t len = pread(fd, text, LOG_TAIL_SIZE, from);
    close(fd);
    if (len <= 0)
        return;
    text[len] = '\0';
    const char *at = from > 0 ? strchr(text, '\n') : NULL;
    log_error("up: the end of %s:", process->log_path);
    fputs(at != NULL ? at + 1 : text, stderr);
    if (text[len - 1] != '\n')
        fputc('\n', stderr);
}

/* In the child, between fork and exec. */
static void
process_exec(struct supervisor *supervisor, struct process *process,
             pid_t parent, int flags)
{
    setpgid(0, 0);
    /* should this program be killed, nothing stays behind */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    int log =
        open(process->log_path, O_WRONLY | O_CREAT | O_APPEND | flags, 0644);
    if (log < 0) { /* a full disk, perhaps: better without a log than not */
        log_error("up: cannot open %s (%s), %s has no log", process->log_path,
                  strerror(errno), process->name);
        log = open("/dev/null", O_WRONLY);
    }
    const int null = open("/dev/null", O_RDONLY);
    if (log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0
        || dup2(log, 2) < 0)
        _exit(1);
    if (log > 2)
        close(log);
    if (null > 2)
        close(null);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &supervisor->signals_before, NULL);
    execv(process->argv[0], process->argv);
    dprintf(2, "%s cannot be started (%s)\n", process->argv[0],
            strerror(errno));
    _exit(127);
}

static int
process_start(struct supervisor *supervisor, struct process *process)
{
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) {
        log_error("up: cannot start %s (%s)", process->name, strerror(errno));
        return ERR_IO;
    }
    if (pid == 0)
        process_exec(supervisor, process, parent,
                     supervisor->started ? 0 : O_TRUNC);
    setpgid(pid, pid); /* the child does so too: whoever is first */
    process->pid = pid;
    process->started_ms = clock_now_ms();
    process->start_at_ms = 0;
    return 0;
}

static void
changes_tell(struct supervisor *supervisor)
{
    supervisor->is_untold = supervisor->changed(supervisor->context) != 0;
}

static void
process_ended(struct supervisor *supervisor, struct process *process,
              int status)
{
    char how[64];
    const uint64_t now = clock_now_ms();
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "killed by signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof how, "exit status %d", WEXITSTATUS(status));
    /* its children, nginx workers for one, must not hold the port */
    kill(-process->pid, SIGKILL);
    process->pid = 0;
    if (!supervisor->started) {
        supervisor->has_died = true;
        log_error("up: %s ended at its start (%s)", process->name, how);
        log_tail_show(process);
        return;
    }
    if (!supervisor->restart) {
        log_error("up: %s ended (%s); it stays down (--no-restart)",
                  process->name, how);
    } else {
        if (process->backoff_ms == 0
            || now - process->started_ms > BACKOFF_FORGET_MS)
            process->backoff_ms = BACKOFF_FIRST_MS;
        else if (process->backoff_ms * 2 <= BACKOFF_MAX_MS)
            process->backoff_ms *= 2;
        process->start_at_ms = now + process->backoff_ms;
        log_error("up: %s ended (%s); it is started again in %u ms, its log "
                  "is %s",
                  process->name, how, process->backoff_ms, process->log_path);
    }
    changes_tell(supervisor);
}

static void
children_reap(struct supervisor *supervisor)
{
    int status;
    for (size_t i = 0; i < supervisor->count; i++) {
        struct process *process = &supervisor->processes[i];
        if (process->pid > 0
            && waitpid(process->pid, &status, WNOHANG) == process->pid)
            process_ended(supervisor, process, status);
    }
}

static void
children_revive(struct supervisor *supervisor)
{
    const uint64_t now = clock_now_ms();
    for (size_t i = 0; i < supervisor->count; i++) {
        struct process *process = &supervisor->processes[i];
        if (process->pid > 0 || process->start_at_ms == 0
            || process->start_at_ms > now)
            continue;
        if (process_start(supervisor, process) == 0) {
            log_info("up: %s runs again as process %d", process->name,
                     (int) process->pid);
            changes_tell(supervisor);
        } else {
            process->start_at_ms = now + BACKOFF_MAX_MS;
        }
    }
}

/* Until a child is due to be started again; -1: none is. */
static int
revive_wait_ms(const struct supervisor *supervisor)
{
    const uint64_t now = clock_now_ms();
    int wait_ms = -1;
    for (size_t i = 0; i < supervisor->count; i++) {
        const struct process *process = &supervisor->processes[i];
        if (process->start_at_ms == 0)
            continue;
        const int ms =
            process->start_at_ms > now ? (int) (process->start_at_ms - now) : 0;
        if (wait_ms < 0 || ms < wait_ms)
            wait_ms = ms;
    }
    return wait_ms;
}

/* One turn: signals, deaths, restarts. */
static void
supervisor_turn(struct supervisor *supervisor, int timeout_ms)
{
    struct pollfd fd = {.fd = supervisor->signal_fd, .events = POLLIN};
    struct signalfd_siginfo info;
    const int revive_ms = revive_wait_ms(supervisor);
    if (revive_ms >= 0 && (timeout_ms < 0 || revive_ms < timeout_ms))
        timeout_ms = revive_ms;
    if (poll(&fd, 1, timeout_ms) > 0)
        while (read(supervisor->signal_fd, &info, sizeof info) == sizeof info)
            if (info.ssi_signo != SIGCHLD)
                supervisor->told_to_stop = true;
    children_reap(supervisor);
    children_revive(supervisor);
}

static bool
process_is_healthy(void *context)
{
    const struct process *process = context;
    struct buffer body;
    int status = 0;
    if (process->health_url == NULL)
        return true;
    buffer_init(&body, 65536);
    const int err =
        fetch(process->health_url, HEALTH_TIMEOUT_MS, &body, &status);
    buffer_fini(&body);
    return err == 0 && status == 200;
}

static void
process_stop(struct process *process)
{
    const uint64_t until_ms = clock_now_ms() + STOP_MS_MAX;
    const struct timespec pause = {.tv_nsec = 5000000};
    if (process->pid == 0)
        return;
    kill(process->pid, SIGTERM);
    while (waitpid(process->pid, NULL, WNOHANG) == 0) {
        if (clock_now_ms() > until_ms) {
            log_warn("up: %s does not end within %d s: killed", process->name,
                     STOP_MS_MAX / 1000);
            kill(process->pid, SIGKILL);
            waitpid(process->pid, NULL, 0);
            break;
        }
        nanosleep(&pause, NULL);
    }
    kill(-process->pid, SIGKILL); /* what it may have left behind */
    process->pid = 0;
}

static void
process_fini(struct process *process)
{
    free(process->name);
    free(process->log_path);
    free(process->health_url);
    for (size_t i = 0; process->argv[i] != NULL; i++)
        free(process->argv[i]);
    memset(process, 0, sizeof *process);
}

struct supervisor *
supervisor_new(bool restart, int (*changed)(void *context), void *context)
{
    static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    sigset_t signals;
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (supervisor == NULL)
        return NULL;
    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++) {
        sigaddset(&signals, handled[i]);
        /* a shell may have left them ignored, which children would inherit */
        signal(handled[i], SIG_DFL);
    }
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &signals, &supervisor->signals_before);
    supervisor->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (supervisor->signal_fd < 0) {
        free(supervisor);
        return NULL;
    }
    supervisor->restart = restart;
    supervisor->changed = changed;
    supervisor->context = context;
    return supervisor;
}

void
supervisor_free(struct supervisor *supervisor)
{
    if (supervisor == NULL)
        return;
    for (size_t i = 0; i < supervisor->count; i++)
        process_fini(&supervisor->processes[i]);
    close(supervisor->signal_fd);
    free(supervisor);
}

int
supervisor_add(struct supervisor *supervisor,
               const struct process_config *config)
{
    if (supervisor->count == PROCESSES_MAX)
        return ERR_LIMIT;
    struct process *process = &supervisor->processes[supervisor->count];
    process->name = strdup(config->name);
    process->log_path = strdup(config->log_path);
    process->ready_ms_max = config->ready_ms_max;
    bool failed = process->name == NULL || process->log_path == NULL;
    if (config->health_url != NULL)
        failed |= (process->health_url = strdup(config->health_url)) == NULL;
    for (size_t i = 0; !failed && config->argv[i] != NULL; i++) {
        if (i == PROCESS_ARGUMENTS_MAX) {
            process_fini(process);
            return ERR_LIMIT;
        }
        failed = (process->argv[i] = strdup(config->argv[i])) == NULL;
    }
    if (failed) {
        process_fini(process);
        return ERR_MEMORY;
    }
    supervisor->count++;
    return 0;
}

int
supervisor_wait(struct supervisor *supervisor, bool (*done)(void *context),
                void *context, unsigned timeout_ms)
{
    const uint64_t until_ms = clock_now_ms() + timeout_ms;
    while (!done(context)) {
        supervisor_turn(supervisor, HEALTH_PAUSE_MS);
        if (supervisor->told_to_stop || supervisor->has_died)
            return ERR_UNAVAILABLE;
        if (clock_now_ms() > until_ms)
            return ERR_TIMEOUT;
    }
    return 0;
}

int
supervisor_start(struct supervisor *supervisor)
{
    int err;
    for (size_t i = 0; i < supervisor->count; i++)
        if ((err = process_start(supervisor, &supervisor->processes[i])) != 0)
            return err;
    for (size_t i = 0; i < supervisor->count; i++) {
        struct process *process = &supervisor->processes[i];
        err = supervisor_wait(supervisor, process_is_healthy, process,
                              process->ready_ms_max);
        if (err == ERR_TIMEOUT) {
            log_error("up: %s does not answer at %s within %u ms",
                      process->name, process->health_url,
                      process->ready_ms_max);
            log_tail_show(process);
        }
        if (err != 0)
            return err;
    }
    return 0;
}

void
supervisor_run(struct supervisor *supervisor)
{
    supervisor->started = true;
    while (!supervisor->told_to_stop) {
        supervisor_turn(supervisor,
                        supervisor->is_untold ? CHANGED_RETRY_MS : -1);
        if (supervisor->is_untold)
            changes_tell(supervisor);
    }
}

void
supervisor_stop(struct supervisor *supervisor)
{
    for (size_t i = supervisor->count; i > 0; i--)
        process_stop(&supervisor->processes[i - 1]);
}

size_t
supervisor_count(const struct supervisor *supervisor)
{
    return supervisor->count;
}

const char *
supervisor_name(const struct supervisor *supervisor, size_t i)
{
    return supervisor->processes[i].name;
}

pid_t
supervisor_pid(const struct supervisor *supervisor, const char *name)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (strcmp(supervisor->processes[i].name, name) == 0)
            return supervisor->processes[i].pid;
    return 0;
}
