/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_HTTP_TESTING_H
#define PLATFORM_HTTP_TESTING_H

/*
 * What the tests of the HTTP server and of the client share: one loop with a
 * server that has some routes, and a client to fetch from it or from another.
 */

#include "platform/http.h"

#define BODY_SIZE_MAX 1000 /* the server takes */

/* Made before each test and freed after it. */
extern struct event_base *base;
extern struct http_server *server;
extern struct http_client *client; /* four connections */

extern struct http_request *held; /* by GET /hold, which does not answer */
extern unsigned held_closed_count, handled_count;

int http_testing_start(void **state);
int http_testing_stop(void **state);

void loop_until(const bool *flag, unsigned timeout_ms);
void loop_for(unsigned ms);

struct answer {
    bool done;
    int err, status;
    uint64_t body_size;
    char body[2048], type[64], extra[64]; /* X-Answer; of a 405: Allow */
};

/* For http_fetch_config.done; the context is a struct answer. */
void answer_take(const struct http_response *r, void *context);
struct http_fetch *begin(struct answer *a, const char *method, unsigned port,
                         const char *path, struct bytes body,
                         unsigned timeout_ms);
/* Asks the server and waits; the answer is valid until the next one. */
struct answer *ask(const char *method, const char *path, const char *body);

#endif
