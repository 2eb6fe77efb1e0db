/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_PACKAGE_PACKAGE_WINDOW_H
#define MODULES_PACKAGE_PACKAGE_WINDOW_H

/*
 * Parts of files in a worker's address space, for transforms to read. Copying
 * them first costs about as much as sending them, and mapping them anew for
 * each answer a tenth, so that they stay for the next one that wants them: the
 * most used 32 MB, which are the page cache's own pages, and none longer than
 * some seconds after its last use, as it holds even a deleted file.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#define PACKAGE_WINDOW_SIZE ((off_t) 1 << 20)

struct package_window {
    u_char *start;
    off_t at; /* in the file, a multiple of the size */

    /* private */
    dev_t device;
    ino_t inode;
    unsigned uses;
    ngx_msec_t used;
    ngx_queue_t queue;
};

/* Once in a worker. */
ngx_int_t package_window_init(ngx_cycle_t *cycle);

/* The one that holds that byte of the file, until it is released. It may end
 * behind the file: what is there must not be read. NULL: said to the log. */
struct package_window *package_window_take(const ngx_file_t *file, off_t at,
                                           ngx_log_t *log);
void package_window_release(struct package_window *window); /* NULL is fine */

/*
 * Calls run(context), which reads the window and keeps nothing that a jump out
 * of it would leave broken. NGX_ERROR: a page of it cannot be read or is not
 * there any more, as the file was cut off or its disk fails; run was left where
 * it was.
 */
ngx_int_t package_window_read(const struct package_window *window,
                              void (*run)(void *context), void *context);

#endif
