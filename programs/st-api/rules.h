/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_ST_API_RULES_H
#define PROGRAMS_ST_API_RULES_H

/*
 * Services' own rules of who may play what: asked over HTTP, with a time-out,
 * and remembered for a while.
 *
 *   POST <rule_url>  {"service":.., "content":.., "viewer":.., "region":..}
 *   200              {"allow": true or false, "ttl_s": seconds}
 *
 * What is not known is not in the question. "ttl_s" is how long the answer
 * holds, up to the service's rule_ttl_s, which it is where it is missing. Any
 * other answer, or none in time, is a failure: the answer before decides, if it
 * is no older than RULES_STALE_S, else the service's rule_default. So it is for
 * a question that cannot be asked, as too many wait: of all, or of its service.
 */

#include "programs/st-api/catalogue.h"

#define RULES_STALE_S 3600
#define RULES_VIEWER_LEN_MAX 128

struct event_base;
struct http_client;

enum rule_verdict {
    RULE_ALLOWS,
    RULE_REFUSES,
    RULE_SILENT /* and so refuses */
};

struct rule_question {
    const struct catalogue_service *service; /* with a rule_url */
    const char *content, *viewer, *region;   /* empty: not known */
};

struct rules;

/* The client, which takes https:// as well, must outlive it. */
int rules_new(struct http_client *client, struct rules **out);
void rules_free(struct rules *rules); /* tells who waits; NULL is fine */

/* Told once: at once where the answer is remembered, else later; everything is
 * copied. */
void rules_ask(struct rules *rules, const struct rule_question *question,
               void (*told)(enum rule_verdict verdict, void *context),
               void *context);

struct rules_counts {
    uint64_t asked, remembered, failed;
};
struct rules_counts rules_counts(const struct rules *rules);

/* The body of an answer; false: it is none. *ttl_s stays where none is said. */
bool rule_answer_read(struct bytes body, bool *allows, uint64_t *ttl_s);

#endif
