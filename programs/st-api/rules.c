/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers are remembered in a table of one place for each hash, where a newer
 * one takes the place of an older: of a fixed size whoever asks for what.
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
#define ANSWER_SIZE_MAX 4096 /* bytes */

struct remembered {
    uint8_t question[16]; /* of its SHA-256 */
    uint64_t until_s, stale_s;
    bool allows;
};

struct pending {
    struct pending *next, **before;
    struct rules *rules;
    struct http_fetch *fetch;
    uint8_t question[SHA256_DIGEST_LENGTH];
    char service[CONTENT_ID_LEN_MAX + 1];
    uint64_t ttl_s;
    bool allows_silence;
    void (*told)(enum rule_verdict verdict, void *context);
    void *context;
};

struct rules {
    struct http_client *client;
    struct pending *pending;
    unsigned pending_count;
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

static void
pending_free(struct pending *pending)
{
    *pending->before = pending->next;
    if (pending->next != NULL)
        pending->next->before = pending->before;
    pending->rules->pending_count--;
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

static enum rule_verdict
silence_judge(struct pending *pending, const char *reason)
{
    struct rules *rules = pending->rules;
    const struct remembered *before = recall(rules, pending->question);
    rules->counts.failed++;
    log_warn("rules: the rule of service %s fails (%s)", pending->service,
             reason);
    if (before != NULL && clock_unix_s() < before->stale_s)
        return verdict_of(before->allows);
    return pending->allows_silence ? RULE_ALLOWS : RULE_SILENT;
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
        verdict = silence_judge(pending, err_text(response->err));
    } else if (response->status != 200
               || !rule_answer_read(response->body, &allows, &ttl_s)) {
        verdict = silence_judge(
            pending, response->status == 200
                         ? "its answer is not {\"allow\": true or false}"
                         : "its answer is not 200");
    } else {
        struct remembered *place = place_of(pending->rules, pending->question);
        const uint64_t now_s = clock_unix_s();
        if (ttl_s > pending->ttl_s)
            ttl_s = pending->ttl_s;
        memcpy(place->question, pending->question, sizeof place->question);
        place->until_s = now_s + ttl_s;
        place->stale_s = place->until_s + RULES_STALE_S;
        place->allows = allows;
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
        .done = answered,
        .context = pending,
    };
    struct http_fetch *fetch = http_fetch(rules->client, &config);
    free(text);
    return fetch;
}

void
rules_ask(struct rules *rules, const struct rule_question *question,
          void (*told)(enum rule_verdict verdict, void *context), void *context)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    question_digest(question, digest);
    const struct remembered *known = recall(rules, digest);
    if (known != NULL && clock_unix_s() < known->until_s) {
        rules->counts.remembered++;
        told(verdict_of(known->allows), context);
        return;
    }
    struct pending *pending =
        rules->pending_count < PENDING_MAX ? calloc(1, sizeof *pending) : NULL;
    if (pending == NULL) {
        rules->counts.failed++;
        told(RULE_SILENT, context);
        return;
    }
    pending->rules = rules;
    memcpy(pending->question, digest, sizeof digest);
    memcpy(pending->service, question->service->id, sizeof pending->service);
    pending->ttl_s = question->service->rule_ttl_s;
    pending->allows_silence = question->service->rule_allows_silence;
    pending->told = told;
    pending->context = context;
    pending->before = &rules->pending;
    pending->next = rules->pending;
    if (pending->next != NULL)
        pending->next->before = &pending->next;
    rules->pending = pending;
    rules->pending_count++;
    rules->counts.asked++;
    pending->fetch = question_send(rules, question, pending);
    if (pending->fetch == NULL) {
        const enum rule_verdict verdict =
            silence_judge(pending, "it cannot be asked");
        told(verdict, context);
        pending_free(pending);
    }
}
