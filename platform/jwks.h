/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_JWKS_H
#define PLATFORM_JWKS_H

/*
 * Public keys at a URL (a JWK set, RFC 7517 §5), asked for again and again: by
 * interval, and when a token names a key that is not among them, but never more
 * often than once in a pause. What was got last stays in use for a grace when the
 * URL fails. Time is the caller's, in ms, and does not go back. For one thread.
 */

#include "platform/jwt.h"

#define JWKS_KEYS_MAX 64
#define JWKS_SIZE_MAX (256u << 10)
#define JWKS_WAITING_MAX 1000
#define JWKS_TIMEOUT_MS 5000 /* of a question */

struct http_client;
struct jwks;

struct jwks_config {
    const char *url;    /* https://, or http:// of this machine */
    const char *name;   /* whose they are, for the log and keys without "kid" */
    unsigned refresh_s; /* from one answer to the next question */
    unsigned pause_s;   /* between questions at least */
    unsigned grace_s; /* keys stay that long when they could not be had anew */
};

/* Both texts are copied. The client, which takes https:// as well, must outlive
 * it. ERR_MEMORY. Asks when it is first looked after. */
int jwks_new(struct http_client *client, const struct jwks_config *config,
             struct jwks **out);
void jwks_free(struct jwks *jwks); /* tells who waits; NULL is fine */
/* The URL and the name stay. */
void jwks_configure(struct jwks *jwks, const struct jwks_config *config);
const char *jwks_url(const struct jwks *jwks);

/* Looks after it; to be called each second or so. */
void jwks_tick(struct jwks *jwks, uint64_t now_ms);

/* The keys that are good now; valid until the loop goes on. */
unsigned jwks_keys(const struct jwks *jwks, uint64_t now_ms,
                   struct jwk *const **out);

/* In whatever waits; `told` is the caller's. */
struct jwks_waiter {
    void (*told)(struct jwks_waiter *waiter);
    struct jwks_waiter *next;
};
/* For the answer to a question that is under way, or may be put now: true, and
 * told once, later, when it came or failed. False: it is no use to wait. */
bool jwks_wait(struct jwks *jwks, struct jwks_waiter *waiter, uint64_t now_ms);

struct jwks_counts {
    uint64_t asked, failed;
};
struct jwks_counts jwks_counts(const struct jwks *jwks);

/* A set's keys, each to be freed. Those that are for something else, or by no
 * algorithm of ours, are passed over (RFC 7517 §5): *passed is how many, *reason
 * why the last of them. ERR_INVALID, with the reason: it is no set, or there is
 * none for us; ERR_LIMIT: too many; ERR_MEMORY. */
int jwks_read(struct bytes text, const char *name,
              struct jwk *out[JWKS_KEYS_MAX], unsigned *count, unsigned *passed,
              const char **reason);

#endif
