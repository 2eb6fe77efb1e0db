/* SPDX-License-Identifier: Apache-2.0 */

#include "programs/mlic/callback.h"

#include "core/err.h"
#include "platform/clock.h"
#include "platform/http.h"
#include "platform/log.h"
#include "programs/mlic/callback_cache.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PENDING_MAX 10000
#define PENDING_OF_SERVICE_MAX 1000
#define ANSWER_SIZE_MAX 4096 /* bytes */
#define CALM_MS 5000         /* between two lines in the log about failures */

struct callbacks {
    struct http_client *client;
    struct callback_cache *cache;
    unsigned pending_count;
};

struct callback {
    struct callbacks *callbacks;
    char service[CONTENT_ID_LEN_MAX + 1];
    struct callback_config config; /* the URL is its own */
    struct breaker breaker;
    struct pending *pending;
    unsigned pending_count;
    uint64_t warned_ms;
    struct callback_counts counts;
};

struct pending {
    struct pending *next, **before;
    struct callback *callback;
    struct http_fetch *fetch;
    uint8_t question[CALLBACK_QUESTION_SIZE];
    bool is_remembered;
    callback_told *told;
    void *context;
};

/* ---- life ---- */

int
callbacks_new(struct http_client *client, struct callbacks **out)
{
    struct callbacks *callbacks = calloc(1, sizeof *callbacks);
    if (callbacks == NULL || callback_cache_new(&callbacks->cache) != 0) {
        free(callbacks);
        return ERR_MEMORY;
    }
    callbacks->client = client;
    *out = callbacks;
    return 0;
}

void
callbacks_free(struct callbacks *callbacks)
{
    if (callbacks == NULL)
        return;
    callback_cache_free(callbacks->cache);
    free(callbacks);
}

int
callback_new(struct callbacks *callbacks, const char *service,
             const struct callback_config *config, struct callback **out)
{
    struct callback *callback = calloc(1, sizeof *callback);
    if (callback == NULL)
        return ERR_MEMORY;
    callback->callbacks = callbacks;
    snprintf(callback->service, sizeof callback->service, "%s", service);
    callback->config = *config;
    callback->config.url = strdup(config->url);
    if (callback->config.url == NULL) {
        free(callback);
        return ERR_MEMORY;
    }
    *out = callback;
    return 0;
}

static void
pending_free(struct pending *pending)
{
    struct callback *callback = pending->callback;
    *pending->before = pending->next;
    if (pending->next != NULL)
        pending->next->before = pending->before;
    callback->pending_count--;
    callback->callbacks->pending_count--;
    http_fetch_cancel(pending->fetch);
    free(pending);
}

void
callback_free(struct callback *callback)
{
    if (callback == NULL)
        return;
    while (callback->pending != NULL) {
        struct pending *pending = callback->pending;
        callback_told *const told = pending->told;
        void *const context = pending->context;
        pending_free(pending);
        told(CALLBACK_GONE, NULL, context);
    }
    free((void *) (uintptr_t) callback->config.url);
    explicit_bzero(callback, sizeof *callback);
    free(callback);
}

void
callback_configure(struct callback *callback,
                   const struct callback_config *config)
{
    const char *url = callback->config.url;
    callback->config = *config;
    callback->config.url = url;
}

const char *
callback_url(const struct callback *callback)
{
    return callback->config.url;
}

struct callback_counts
callback_counts(const struct callback *callback)
{
    return callback->counts;
}

enum breaker_state
callback_state(const struct callback *callback)
{
    return callback->breaker.state;
}

/* ---- what is remembered ---- */

static enum callback_outcome
outcome_of(const struct callback_answer *answer)
{
    return answer->allows ? CALLBACK_ALLOWED : CALLBACK_REFUSED;
}

/* Without an answer of now. */
static void
silence_tell(struct callback *callback,
             const uint8_t question[CALLBACK_QUESTION_SIZE], bool is_remembered,
             callback_told *told, void *context)
{
    const struct callback_answer *before =
        callback->config.stale_s == 0 || !is_remembered
            ? NULL
            : callback_cache_get(callback->callbacks->cache, question, true,
                                 clock_now_ms());
    if (before != NULL) {
        const struct callback_answer answer = *before;
        callback->counts.stale++;
        told(outcome_of(&answer), &answer, context);
        return;
    }
    callback->counts.unreachable++;
    told(CALLBACK_UNREACHABLE, NULL, context);
}

/* ---- answers ---- */

static void
failed(struct callback *callback, const char *reason)
{
    const uint64_t now_ms = clock_now_ms();
    callback->counts.failed++;
    if (breaker_failed(&callback->breaker, &callback->config.breaker, now_ms))
        log_warn("callback: ask %s no more for %" PRIu64
                 " ms (%u failures in a row, the last: %s)",
                 callback->service, callback->config.breaker.pause_ms,
                 callback->breaker.failures, reason);
    else if (now_ms >= callback->warned_ms + CALM_MS)
        log_warn("callback: %s does not answer (%s)", callback->service,
                 reason);
    else
        return;
    callback->warned_ms = now_ms;
}

static uint32_t
smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void
answer_keep(const struct pending *pending, const struct callback_answer *answer,
            uint32_t header_s)
{
    const struct callback_config *config = &pending->callback->config;
    const bool is_never = header_s == 0; /* not even as stale */
    uint32_t age_s = smaller(answer->max_age_s, header_s);
    if (age_s == CALLBACK_AGE_UNKNOWN)
        age_s = 0;
    if (pending->is_remembered)
        callback_cache_put(pending->callback->callbacks->cache,
                           pending->question, answer,
                           smaller(age_s, config->max_age_s),
                           is_never ? 0 : config->stale_s, clock_now_ms());
}

/* What is wrong with it; NULL: nothing. */
static const char *
response_read(const struct http_response *response,
              struct callback_answer *answer)
{
    const char *reason = NULL;
    if (response->err != 0)
        return err_text(response->err);
    if (response->status != 200)
        return "its answer is not 200";
    return callback_answer_read(response->body, answer, &reason) != 0 ? reason
                                                                      : NULL;
}

static void
answered(const struct http_response *response, void *context)
{
    struct pending *pending = context;
    struct callback *callback = pending->callback;
    struct callback_answer answer;
    const char *reason = response_read(response, &answer);
    pending->fetch = NULL;
    if (reason != NULL) {
        failed(callback, reason);
        silence_tell(callback, pending->question, pending->is_remembered,
                     pending->told, pending->context);
    } else {
        if (breaker_answered(&callback->breaker))
            log_info("callback: %s answers again", callback->service);
        answer_keep(
            pending, &answer,
            callback_age_read(http_response_header(response, "Cache-Control")));
        pending->told(outcome_of(&answer), &answer, pending->context);
    }
    pending_free(pending);
}

/* ---- questions ---- */

static struct http_fetch *
question_send(struct pending *pending, const struct callback_question *question)
{
    const struct callback *callback = pending->callback;
    char time[24], signature[CALLBACK_SIGNATURE_SIZE];
    char *text = callback_question_text(question, callback->service);
    snprintf(time, sizeof time, "%" PRIu64, clock_unix_s());
    const char *const headers[] = {
        "Content-Type",     "application/json", "X-Mlic-Time", time,
        "X-Mlic-Signature", signature,          NULL};
    struct http_fetch *fetch = NULL;
    if (text != NULL
        && callback_question_sign(
            bytes_of(callback->config.secret, callback->config.secret_size),
            time, text, signature)) {
        const struct http_fetch_config config = {
            .method = "POST",
            .url = callback->config.url,
            .headers = headers,
            .body = bytes_of_text(text),
            .timeout_ms = callback->config.timeout_ms,
            .body_size_max = ANSWER_SIZE_MAX,
            .may_repeat = true,
            .done = answered,
            .context = pending,
        };
        fetch = http_fetch(callback->callbacks->client, &config);
    }
    free(text);
    return fetch;
}

/* NULL: as many wait as may, or the breaker is open. */
static struct pending *
pending_new(struct callback *callback)
{
    if (callback->pending_count >= PENDING_OF_SERVICE_MAX
        || callback->callbacks->pending_count >= PENDING_MAX)
        return NULL;
    struct pending *pending = calloc(1, sizeof *pending);
    if (pending == NULL
        || !breaker_may_ask(&callback->breaker, clock_now_ms())) {
        free(pending);
        return NULL;
    }
    pending->callback = callback;
    pending->before = &callback->pending;
    pending->next = callback->pending;
    if (pending->next != NULL)
        pending->next->before = &pending->next;
    callback->pending = pending;
    callback->pending_count++;
    callback->callbacks->pending_count++;
    return pending;
}

void
callback_ask(struct callback *callback,
             const struct callback_question *question, callback_told *told,
             void *context)
{
    uint8_t digest[CALLBACK_QUESTION_SIZE];
    /* whose answer it is must be known, or it is another's, too */
    const bool is_remembered =
        callback_question_digest(question, callback->service,
                                 callback->config.url, digest)
        && question->viewer[0] != '\0';
    const struct callback_answer *known =
        is_remembered ? callback_cache_get(callback->callbacks->cache, digest,
                                           false, clock_now_ms())
                      : NULL;
    if (known != NULL) {
        const struct callback_answer answer = *known;
        callback->counts.remembered++;
        told(outcome_of(&answer), &answer, context);
        return;
    }
    struct pending *pending = pending_new(callback);
    if (pending == NULL) {
        silence_tell(callback, digest, is_remembered, told, context);
        return;
    }
    memcpy(pending->question, digest, sizeof digest);
    pending->is_remembered = is_remembered;
    pending->told = told;
    pending->context = context;
    callback->counts.asked++;
    pending->fetch = question_send(pending, question);
    if (pending->fetch == NULL) {
        failed(callback, "it cannot be asked");
        silence_tell(callback, digest, is_remembered, told, context);
        pending_free(pending);
    }
}
