/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODULES_PACKAGE_PACKAGE_KEYS_H
#define MODULES_PACKAGE_PACKAGE_KEYS_H

/*
 * Keys from a key server, asked for through an internal location: a POST of a
 * CPIX document, one for each version of a content and scheme. A worker keeps
 * the answers in memory, to 16 MB in the order of last use; when they are old
 * one request asks anew while the others go on with what is there, as all do
 * while the server is away. What fails is not asked for again for some seconds.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "media/crypt/cpix.h"

#define PACKAGE_KEYS_AGAIN_S 5 /* after a failure */

struct package_keys;

/* A request's hold on the keys of its content, and its asking for them. Zeroed
 * is empty. */
struct package_keys_use {
    struct package_keys *keys;
    ngx_event_t ready; /* handler, data and log set by the user */

    /* private */
    bool is_loader;
    bool is_waiting;
    ngx_queue_t queue;
    ngx_http_request_t *subrequest;
    ngx_http_post_subrequest_t post;
    struct cpix_request request;
    u_char *answer; /* ngx_alloc'ed */
    size_t answer_len, answer_size;
    ngx_uint_t status;
};

/* Once a worker. */
void package_keys_init(void);

/*
 * NGX_OK: package_keys_find finds the keys that `what` names. NGX_DONE: under
 * way; to be called again, by the request's write handler or `ready`. Else
 * NGX_ERROR or an HTTP status. `prefix` is the location; keys are fresh for `valid` seconds.
 */
ngx_int_t package_keys_step(ngx_http_request_t *r, struct package_keys_use *use,
                            ngx_str_t *prefix, time_t valid,
                            const struct cpix_request *what);

/* NULL: there is none. Valid until the next step of any request. */
const struct crypt_key *package_keys_find(const struct package_keys_use *use,
                                          const struct crypt_key_name *name);

/* What the server gives of that key for players, or NULL; as long. */
const struct crypt_signals *package_keys_signals(
    const struct package_keys_use *use, const struct crypt_key_name *name);

/* Empties `use`. */
void package_keys_release(struct package_keys_use *use);

/* The use that `r` is the subrequest of, or NULL. Defined by the module. */
struct package_keys_use *package_keys_of(ngx_http_request_t *r);

/* Puts the filters in; at postconfiguration. */
void package_keys_filters(void);

#endif
