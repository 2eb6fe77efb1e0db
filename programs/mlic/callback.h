/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_CALLBACK_H
#define PROGRAMS_MLIC_CALLBACK_H

/*
 * A service that wants to be asked before a license is given:
 *
 *   POST URL   {"service":.., "viewer":.., "content":.., "version":..,
 *               "classes":["SD", ..], "play":.., "network":"192.0.2.0/24"}
 *   200        callback_answer.h
 *
 * What the entitlement does not tell is not in it. X-Mlic-Time is the Unix time in
 * seconds, X-Mlic-Signature "sha256=" and 64 hex digits: HMAC-SHA256 by the
 * service's secret of the time, a dot and the body.
 *
 * Anything else than such an answer in time is a failure; after some in a row
 * nobody asks for a pause (platform/breaker.h). Answers are remembered by viewer,
 * content, version, classes and network, as long as the service says and the
 * configuration allows. For one thread, that of the client's loop.
 */

#include "core/content.h"
#include "platform/breaker.h"
#include "platform/key_file.h"
#include "programs/mlic/callback_answer.h"
#include "programs/mlic/callback_question.h"

struct http_client;
struct callbacks; /* what those of all services share */
struct callback;  /* a service's */

struct callback_config {
    const char *url; /* https://, or http:// of this machine */
    uint8_t secret[KEY_LEN_MAX / 2];
    size_t secret_size;
    uint32_t timeout_ms;
    uint32_t max_age_s; /* answers hold that long at most */
    uint32_t stale_s;   /* and so much longer when it fails; 0: no longer */
    struct breaker_config breaker;
};

/* The client, which takes https:// as well, must outlive them. ERR_MEMORY. */
int callbacks_new(struct http_client *client, struct callbacks **out);
void callbacks_free(struct callbacks *callbacks); /* NULL is fine */

/* Everything is copied. ERR_MEMORY. */
int callback_new(struct callbacks *callbacks, const char *service,
                 const struct callback_config *config, struct callback **out);
/* Tells who waits CALLBACK_GONE; NULL is fine. */
void callback_free(struct callback *callback);
/* The URL stays. */
void callback_configure(struct callback *callback,
                        const struct callback_config *config);
const char *callback_url(const struct callback *callback);

enum callback_outcome {
    CALLBACK_ALLOWED,
    CALLBACK_REFUSED,
    CALLBACK_UNREACHABLE, /* and so refused */
    CALLBACK_GONE         /* it is asked no more: judge anew */
};

/* With the answer, of the first two, which is gone afterwards; else NULL. */
typedef void callback_told(enum callback_outcome outcome,
                           const struct callback_answer *answer, void *context);

/* Told once: at once where nobody needs to be asked, else later. */
void callback_ask(struct callback *callback,
                  const struct callback_question *question, callback_told *told,
                  void *context);

struct callback_counts {
    uint64_t asked, failed;     /* over HTTP; of those, without an answer */
    uint64_t remembered, stale; /* answers of before */
    uint64_t unreachable;       /* told so */
};
struct callback_counts callback_counts(const struct callback *callback);
enum breaker_state callback_state(const struct callback *callback);

#endif
