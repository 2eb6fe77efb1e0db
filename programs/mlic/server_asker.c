/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks, by an entitlement; or why nothing comes of it. */

#include "programs/mlic/server_private.h"

#include "platform/clock.h"
#include "programs/mlic/names.h"

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- refusals ---- */

void
server_reply_refusal(struct http_request *request, enum refusal refusal,
                     const char *more)
{
    char detail[512];
    snprintf(detail, sizeof detail, "%s%s%s", refusal_sentence(refusal),
             more != NULL ? ": " : "", more != NULL ? more : "");
    const int status = refusal_status(refusal);
    json_t *json = json_pack("{s:s, s:i, s:s, s:s, s:s}", "type", "about:blank",
                             "status", status, "title", "no license", "detail",
                             detail, "reason", refusal_code(refusal));
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (status == 401)
        http_reply_header(request, "WWW-Authenticate", "Bearer realm=\"mlic\"");
    if (status == 429 || status == 503)
        http_reply_header(request, "Retry-After", "1");
    http_reply_header(request, "Cache-Control", "no-store");
    http_reply(request, status, "application/problem+json",
               bytes_of_text(text != NULL ? text : "{}"));
    free(text);
}

void
asker_refuse(struct asker_task *asker, enum refusal refusal, const char *more)
{
    struct server *server = server_of(&asker->task);
    const struct license_asker *who = &asker->asker;
    const struct entitlement *entitlement = &who->entitlement;
    char viewer[AUDIT_VIEWER_LEN + 1] = "";
    if (entitlement->content[0] != '\0') /* it was read */
        audit_viewer(server->audit, who->service, entitlement->viewer, viewer);
    const struct audit_record record = {
        .service = who->service,
        .viewer = viewer,
        .content = entitlement->content,
        .version = entitlement->version,
        .kid = "",
        .system = system_names[asker->system],
        .decision = refusal_code(refusal),
    };
    server->decisions[asker->system][refusal]++;
    if (server_note(server, asker->task.request, &record))
        server_reply_refusal(asker->task.request, refusal, more);
    task_free(&asker->task);
}

/* ---- who asks ---- */

static bool
network_has(const struct network *network, struct http_request *request)
{
    const char *header = http_request_header(request, "X-Real-IP");
    struct network address;
    return network->family == 0
           || (header != NULL && network_parse(header, &address) == 0
               && network_contains(network, &address));
}

static unsigned
smaller_limit(unsigned a, unsigned b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* What is wrong beyond what services_judge looks at. */
static enum refusal
request_judge(struct http_request *request, struct service *service,
              struct license_asker *asker, const char **reason)
{
    const struct entitlement *entitlement = &asker->entitlement;
    asker->plays = smaller_limit(entitlement->plays, service->plays);
    if (!service_may_ask(service, clock_now_ms()))
        return REFUSAL_RATE;
    if (!network_has(&entitlement->network, request))
        return REFUSAL_NETWORK;
    if (asker->plays > 0
        && (entitlement->viewer[0] == '\0' || entitlement->play[0] == '\0')) {
        *reason = "the service limits plays, and it has no sub or no play";
        return REFUSAL_INVALID;
    }
    return REFUSAL_NONE;
}

static void
asker_fill(const struct server *server, const struct service *service,
           struct license_asker *out)
{
    char viewer[AUDIT_VIEWER_LEN + 1];
    audit_viewer(server->audit, service->id, out->entitlement.viewer, viewer);
    snprintf(out->viewer, sizeof out->viewer, "%s/%s", service->id, viewer);
    memcpy(out->rules, service->rules, sizeof out->rules);
    out->rule_count = service->rule_count;
    out->classes = UINT32_MAX;
    out->now_s = clock_unix_s();
    out->lease_s = server->lease_s;
}

static void
keys_told(struct jwks_waiter *waiter)
{
    struct asker_task *asker =
        (struct asker_task *) ((char *) waiter
                               - offsetof(struct asker_task, waiter));
    if (asker->task.request != NULL)
        asker_start(asker);
    else
        task_free(&asker->task);
}

/* True: the service's keys are asked for anew, and the asker waits. */
static bool
keys_await(struct asker_task *asker, struct jwks *jwks)
{
    const uint64_t now_ms = clock_now_ms();
    if (asker->patience_ms == 0)
        asker->patience_ms = now_ms + JWKS_TIMEOUT_MS;
    asker->waiter.told = keys_told;
    if (jwks == NULL || now_ms >= asker->patience_ms
        || !jwks_wait(jwks, &asker->waiter, now_ms))
        return false;
    task_watch(&asker->task);
    return true;
}

void
asker_start(struct asker_task *asker)
{
    struct http_request *request = asker->task.request;
    struct server *server = server_of(&asker->task);
    struct entitlement *entitlement = &asker->asker.entitlement;
    const char *jwt = server_bearer(request);
    struct services_verdict verdict = {.refusal = REFUSAL_NO_ENTITLEMENT};
    if (jwt == NULL)
        jwt = http_request_query(request, "entitlement");
    if (jwt != NULL)
        services_judge(server->services, bytes_of_text(jwt), clock_unix_s(),
                       clock_now_ms(), entitlement, &verdict);
    if (keys_await(asker, verdict.wanted))
        return;
    struct service *service = verdict.service;
    if (service != NULL) {
        memcpy(asker->asker.service, service->id, sizeof service->id);
        memcpy(asker->issuer, service->issuer, sizeof service->issuer);
    }
    if (verdict.refusal == REFUSAL_NONE) {
        verdict.reason = NULL;
        verdict.refusal =
            request_judge(request, service, &asker->asker, &verdict.reason);
    } else {
        *entitlement = (struct entitlement){.classes = 0}; /* nothing it says */
    }
    if (verdict.refusal != REFUSAL_NONE) {
        asker_refuse(asker, verdict.refusal, verdict.reason);
        return;
    }
    asker_fill(server, service, &asker->asker);
    asker->ready(asker);
}
