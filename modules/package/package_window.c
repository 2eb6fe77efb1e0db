/* SPDX-License-Identifier: Apache-2.0 */
#include "modules/package/package_window.h"

#include <ngx_event.h>

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#define WINDOWS_MAX 32u /* that nobody uses; 32 MB */
#define IDLE_MAX_MS 10000

static struct {
    ngx_queue_t idle; /* the one used last in front */
    ngx_queue_t busy;
    unsigned idle_count;
    ngx_event_t timer;
} windows;

/* ---- pages that are not there ---- */

static sigjmp_buf page_missing;
static const struct package_window *volatile read_now;

static void
bus_error(int signal_number, siginfo_t *info, void *context)
{
    const struct package_window *window = read_now;
    const u_char *at = info->si_addr;

    if (window != NULL && at >= window->start
        && at < window->start + PACKAGE_WINDOW_SIZE) {
        siglongjmp(page_missing, 1);
    }
    (void) signal(signal_number, SIG_DFL); /* not ours: it comes again */
}

ngx_int_t
package_window_read(const struct package_window *window,
                    void (*run)(void *context), void *context)
{
    if (sigsetjmp(page_missing, 0) != 0) {
        read_now = NULL;
        return NGX_ERROR;
    }
    read_now = window;
    run(context);
    read_now = NULL;
    return NGX_OK;
}

/* ---- the windows ---- */

static void
window_drop(ngx_queue_t *link)
{
    struct package_window *window =
        ngx_queue_data(link, struct package_window, queue);

    ngx_queue_remove(link);
    windows.idle_count--;
    (void) munmap(window->start, PACKAGE_WINDOW_SIZE);
    ngx_free(window);
}

static void
windows_age(ngx_event_t *event)
{
    while (!ngx_queue_empty(&windows.idle)) {
        ngx_queue_t *last = ngx_queue_last(&windows.idle);
        const struct package_window *window =
            ngx_queue_data(last, struct package_window, queue);
        const ngx_msec_t age = ngx_current_msec - window->used;

        if (age < IDLE_MAX_MS) {
            ngx_add_timer(&windows.timer, IDLE_MAX_MS - age);
            return;
        }
        window_drop(last);
    }
}

ngx_int_t
package_window_init(ngx_cycle_t *cycle)
{
    /* not blocked within itself: it is left by a jump */
    struct sigaction action = {.sa_sigaction = bus_error,
                               .sa_flags = SA_SIGINFO | SA_NODEFER};

    ngx_queue_init(&windows.idle);
    ngx_queue_init(&windows.busy);
    windows.timer.handler = windows_age;
    windows.timer.data = &windows;
    windows.timer.log = cycle->log;
    windows.timer.cancelable = 1;
    if (sigaction(SIGBUS, &action, NULL) != 0) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "sigaction(SIGBUS) failed");
        return NGX_ERROR;
    }
    return NGX_OK;
}

static struct package_window *
window_find(ngx_queue_t *queue, const struct stat *of, off_t at)
{
    for (ngx_queue_t *link = ngx_queue_head(queue);
         link != ngx_queue_sentinel(queue); link = ngx_queue_next(link)) {
        struct package_window *window =
            ngx_queue_data(link, struct package_window, queue);

        if (window->at == at && window->inode == of->st_ino
            && window->device == of->st_dev) {
            return window;
        }
    }
    return NULL;
}

static struct package_window *
window_open(const ngx_file_t *file, const struct stat *of, off_t at,
            ngx_log_t *log)
{
    struct package_window *window = ngx_alloc(sizeof *window, log);

    if (window == NULL) {
        return NULL;
    }
    *window = (struct package_window){
        .start = mmap(NULL, PACKAGE_WINDOW_SIZE, PROT_READ, MAP_SHARED,
                      file->fd, at),
        .at = at,
        .device = of->st_dev,
        .inode = of->st_ino,
    };
    if (window->start == MAP_FAILED) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "package: mmap() of \"%V\" failed", &file->name);
        ngx_free(window);
        return NULL;
    }
    return window;
}

struct package_window *
package_window_take(const ngx_file_t *file, off_t at, ngx_log_t *log)
{
    struct stat of;
    struct package_window *window;

    at -= at % PACKAGE_WINDOW_SIZE;
    if (fstat(file->fd, &of) != 0) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "package: fstat() of \"%V\" failed", &file->name);
        return NULL;
    }
    window = window_find(&windows.busy, &of, at);
    if (window != NULL) {
        window->uses++;
        return window;
    }
    window = window_find(&windows.idle, &of, at);
    if (window != NULL) {
        ngx_queue_remove(&window->queue);
        windows.idle_count--;
    } else {
        window = window_open(file, &of, at, log);
        if (window == NULL) {
            return NULL;
        }
    }
    window->uses = 1;
    ngx_queue_insert_head(&windows.busy, &window->queue);
    return window;
}

void
package_window_release(struct package_window *window)
{
    if (window == NULL || --window->uses > 0) {
        return;
    }
    ngx_queue_remove(&window->queue);
    ngx_queue_insert_head(&windows.idle, &window->queue);
    window->used = ngx_current_msec;
    if (++windows.idle_count > WINDOWS_MAX) {
        window_drop(ngx_queue_last(&windows.idle));
    }
    if (!windows.timer.timer_set) {
        ngx_add_timer(&windows.timer, IDLE_MAX_MS);
    }
}
