/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers are remembered in a table of one place for each hash, where a newer
 * one takes the place of an older: of a fixed size whoever asks for what.
 * Of each service is kept how many of its questions wait: one whose rule hangs
 * must not take the place of the others' questions.
 */

#include "programs/st-api/rules.h"

#include "core/err.h"
#include "platform/clock.h"
#include "platform/http.h"
#include "platform/log.h"

#include <jansson.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#define PLACES 65536 /* a power of two */
#define PENDING_MAX 10000
#define PENDING_OF_SERVICE_MAX 1000
#define ASKED_MAX (2 * PENDING_MAX) /* services; so one is without a question */
#define ASKED_BUCKETS 1024          /* a power of two */
#define CALM_MS 5000         /* without a failure, until a rule answers again */
#define ANSWER_SIZE_MAX 4096 /* bytes */

struct remembered {
    uint8_t question[16];        /* of its SHA-256 */
    uint64_t until_ms, stale_ms; /* of Unix time */
    bool allows;
};

struct asked {          /* a service with a rule */
    struct asked *next; /* of the same bucket */
    char service[CONTENT_ID_LEN_MAX + 1];
    unsigned pending_count;
    bool is_failing; /* which was told */
    uint64_t failed_ms;
};

struct pending {
    struct pending *next, **before;
    struct rules *rules;
    struct asked *asked;
    struct http_fetch *fetch;
    uint8_t question[SHA256_DIGEST_LENGTH];
    uint64_t ttl_s;
    bool allows_silence;
    void (*told)(enum rule_verdict verdict, void *context);
    void *context;
};

struct rules {
    struct http_client *client;
    struct pending *pending;
    unsigned pending_count, asked_count;
    struct asked *asked[ASKED_BUCKETS];
    struct rules_counts counts;
    struct remembered places[PLACES];
};

int
rules_new(struct http_client *client, struct rules **out)
{
    struct rules *rules = calloc(1, sizeof *rules);
    if (rules == NULL)
        return ERR_MEMORY;
    rules->client = client;
    *out = rules;
    return 0;
}

/* ---- services ---- */

/* Those without a question that waits. What was told of them may be told
 * again. */
static void
asked_forget(struct rules *rules)
{
    for (size_t i = 0; i < ASKED_BUCKETS; i++)
        for (struct asked **at = &rules->asked[i], *asked;
             (asked = *at) != NULL;) {
            if (asked->pending_count > 0) {
                at = &asked->next;
                continue;
            }
            *at = asked->next;
            free(asked);
            rules->asked_count--;
        }
}

/* NULL: there is no memory for it. */
static struct asked *
asked_get(struct rules *rules, const char *service)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256((const uint8_t *) service, strlen(service), digest);
    struct asked **bucket = &rules->asked[load_le64(digest) % ASKED_BUCKETS];
    for (struct asked *asked = *bucket; asked != NULL; asked = asked->next)
        if (strcmp(asked->service, service) == 0)
            return asked;
    if (rules->asked_count == ASKED_MAX)
        asked_forget(rules);
    struct asked *asked = calloc(1, sizeof *asked);
    if (asked == NULL)
        return NULL;
    memcpy(asked->service, service, strnlen(service, CONTENT_ID_LEN_MAX));
    asked->next = *bucket;
    *bucket = asked;
    rules->asked_count++;
    return asked;
}

/* Once, however many questions fail: there may be thousands in a second. */
static void
failure_tell(struct asked *asked, const char *reason)
{
    asked->failed_ms = clock_now_ms();
    if (asked->is_failing)
        return;
    asked->is_failing = true;
    log_warn("rules: the rule of service %s fails (%s)", asked->service,
             reason);
}

/* Not at the first answer: of one that answers some and not others each would
 * be told. */
static void
answer_tell(struct asked *asked)
{
    if (!asked->is_failing || clock_now_ms() < asked->failed_ms + CALM_MS)
        return;
    asked->is_failing = false;
    log_info("rules: the rule of service %s answers again", asked->service);
}

static void
pending_free(struct pending *pending)
{
    *pending->before = pending->next;
    if (pending->next != NULL)
        pending->next->before = pending->before;
    pending->rules->pending_count--;
    pending->asked->pending_count--;
    http_fetch_cancel(pending->fetch);
    free(pending);
}

void
rules_free(struct rules *rules)
{
    if (rules == NULL)
        return;
    while (rules->pending != NULL) {
        struct pending *pending = rules->pending;
        pending->told(RULE_SILENT, pending->context);
        pending_free(pending);
    }
    asked_forget(rules);
    free(rules);
}

struct rules_counts
rules_counts(const struct rules *rules)
{
    return rules->counts;
}

/* ---- what is remembered ---- */

/* Each text with its end: "a","bc" is not "ab","c". Of which rule, too: what
 * another one said, or said for longer, is not this one's answer. */
static void
question_digest(const struct rule_question *question,
                uint8_t out[SHA256_DIGEST_LENGTH])
{
    char ttl_s[24];
    char text[2 * (CONTENT_ID_LEN_MAX + 1) + RULES_VIEWER_LEN_MAX + 1
              + CATALOGUE_REGION_LEN + 1 + CATALOGUE_URL_LEN_MAX + 1
              + sizeof ttl_s];
    const struct catalogue_service *service = question->service;
    const char *const parts[] = {service->id,       question->content,
                                 question->viewer,  question->region,
                                 service->rule_url, ttl_s};
    size_t len = 0;
    snprintf(ttl_s, sizeof ttl_s, "%llu",
             (unsigned long long) service->rule_ttl_s);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const size_t part_len = strnlen(parts[i], sizeof text - 1 - len);
        memcpy(text + len, parts[i], part_len);
        len += part_len;
        text[len++] = '\0';
        if (len == sizeof text)
            break;
    }
    SHA256((const uint8_t *) text, len, out);
}

static struct remembered *
place_of(struct rules *rules, const uint8_t question[SHA256_DIGEST_LENGTH])
{
    return &rules->places[load_le64(question + 16) % PLACES];
}

static const struct remembered *
recall(struct rules *rules, const uint8_t question[SHA256_DIGEST_LENGTH])
{
    const struct remembered *place = place_of(rules, question);
    return memcmp(place->question, question, sizeof place->question) == 0
               ? place
               : NULL;
}

static enum rule_verdict
verdict_of(bool allows)
{
    return allows ? RULE_ALLOWS : RULE_REFUSES;
}

/* ---- what is asked ---- */

bool
rule_answer_read(struct bytes body, bool *allows, uint64_t *ttl_s)
{
    json_t *json = json_loadb((const char *) body.ptr, body.len,
                              JSON_REJECT_DUPLICATES, NULL);
    const json_t *allow = json_object_get(json, "allow");
    const json_t *ttl = json_object_get(json, "ttl_s");
    const bool is_read =
        json_is_boolean(allow)
        && (ttl == NULL
            || (json_is_integer(ttl) && json_integer_value(ttl) >= 0));
    if (is_read) {
        *allows = json_is_true(allow);
        if (ttl != NULL)
            *ttl_s = (uint64_t) json_integer_value(ttl);
    }
    json_decref(json);
    return is_read;
}

/* `asked` may be NULL. */
static enum rule_verdict
silence_judge(struct rules *rules, const uint8_t question[SHA256_DIGEST_LENGTH],
              bool allows_silence, struct asked *asked, const char *reason)
{
    const struct remembered *before = recall(rules, question);
    rules->counts.failed++;
    if (asked != NULL)
        failure_tell(asked, reason);
    if (before != NULL && clock_unix_ms() < before->stale_ms)
        return verdict_of(before->allows);
    return allows_silence ? RULE_ALLOWS : RULE_SILENT;
}

static enum rule_verdict
failure_judge(struct pending *pending, const char *reason)
{
    return silence_judge(pending->rules, pending->question,
                         pending->allows_silence, pending->asked, reason);
}

static void
answered(const struct http_response *response, void *context)
{
    struct pending *pending = context;
    enum rule_verdict verdict;
    bool allows = false;
    uint64_t ttl_s = pending->ttl_s;
    pending->fetch = NULL;
    if (response->err != 0) {
        verdict = failure_judge(pending, err_text(response->err));
    } else if (response->status != 200
               || !rule_answer_read(response->body, &allows, &ttl_s)) {
        verdict = failure_judge(
            pending, response->status == 200
                         ? "its answer is not {\"allow\": true or false}"
                         : "its answer is not 200");
    } else {
        struct remembered *place = place_of(pending->rules, pending->question);
        const uint64_t now_ms = clock_unix_ms();
        if (ttl_s > pending->ttl_s)
            ttl_s = pending->ttl_s;
        memcpy(place->question, pending->question, sizeof place->question);
        place->until_ms = now_ms + ttl_s * 1000;
        place->stale_ms = place->until_ms + RULES_STALE_S * 1000;
        place->allows = allows;
        answer_tell(pending->asked);
        verdict = verdict_of(allows);
    }
    pending->told(verdict, pending->context);
    pending_free(pending);
}

static struct http_fetch *
question_send(struct rules *rules, const struct rule_question *question,
              struct pending *pending)
{
    static const char *const headers[] = {"Content-Type", "application/json",
                                          NULL};
    json_t *json = json_pack("{s:s, s:s}", "service", question->service->id,
                             "content", question->content);
    if (json != NULL && question->viewer[0] != '\0')
        json_object_set_new(json, "viewer", json_string(question->viewer));
    if (json != NULL && question->region[0] != '\0')
        json_object_set_new(json, "region", json_string(question->region));
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (text == NULL)
        return NULL;
    const struct http_fetch_config config = {
        .method = "POST",
        .url = question->service->rule_url,
        .headers = headers,
        .body = bytes_of_text(text),
        .timeout_ms = (unsigned) question->service->rule_timeout_ms,
        .body_size_max = ANSWER_SIZE_MAX,
        .may_repeat = true,
        .done = answered,
        .context = pending,
    };
    struct http_fetch *fetch = http_fetch(rules->client, &config);
    free(text);
    return fetch;
}

/* Why another question of the service cannot wait; NULL: it can. */
static const char *
refusal_of(const struct rules *rules, const struct asked *asked)
{
    if (asked->pending_count >= PENDING_OF_SERVICE_MAX)
        return "as many of its questions wait as may";
    if (rules->pending_count >= PENDING_MAX)
        return "as many questions of all services wait as may";
    return NULL;
}

static struct pending *
pending_new(struct rules *rules, struct asked *asked)
{
    struct pending *pending = calloc(1, sizeof *pending);
    if (pending == NULL)
        return NULL;
    pending->rules = rules;
    pending->asked = asked;
    pending->before = &rules->pending;
    pending->next = rules->pending;
    if (pending->next != NULL)
        pending->next->before = &pending->next;
    rules->pending = pending;
    rules->pending_count++;
    asked->pending_count++;
    return pending;
}

void
rules_ask(struct rules *rules, const struct rule_question *question,
          void (*told)(enum rule_verdict verdict, void *context), void *context)
{
    const struct catalogue_service *service = question->service;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    question_digest(question, digest);
    const struct remembered *known = recall(rules, digest);
    if (known != NULL && clock_unix_ms() < known->until_ms) {
        rules->counts.remembered++;
        told(verdict_of(known->allows), context);
        return;
    }
    struct asked *asked = asked_get(rules, service->id);
    const char *refusal = asked != NULL ? refusal_of(rules, asked) : NULL;
    struct pending *pending =
        asked != NULL && refusal == NULL ? pending_new(rules, asked) : NULL;
    if (pending == NULL) {
        told(silence_judge(rules, digest, service->rule_allows_silence, asked,
                           refusal != NULL ? refusal : err_text(ERR_MEMORY)),
             context);
        return;
    }
    memcpy(pending->question, digest, sizeof digest);
    pending->ttl_s = service->rule_ttl_s;
    pending->allows_silence = service->rule_allows_silence;
    pending->told = told;
    pending->context = context;
    rules->counts.asked++;
    pending->fetch = question_send(rules, question, pending);
    if (pending->fetch == NULL) {
        const enum rule_verdict verdict =
            failure_judge(pending, "it cannot be asked");
        told(verdict, context);
        pending_free(pending);
    }
}
