/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   session/create ─▶ watch the key ─▶ free? ─▶ txn: cas + lock ─▶ held
 *        ▲                  ▲ ▲                        │409          │the key
 *        │ gone             │ └── there ──┐            ▼             │is not
 *        └──────────────────┼─── session/info ◀────────┘             │ours
 *                           └──────────────── lost ◀─────────────────┘
 *
 * One call is under way at a time; the watch runs beside it all along.
 *
 * The session ends with the node's own health, as other nodes see it. After a
 * cut Consul takes up to half a minute to call the node well again, and makes
 * no such session until then: a frail one is made instead, which ends by
 * itself when it is not renewed. As soon as Consul makes a session that ends
 * with the node, the lock goes over to it with its next term.
 */

#include "platform/consul_lock.h"

#include "core/err.h"
#include "core/term.h"
#include "platform/clock.h"
#include "platform/consul_answer.h"
#include "platform/log.h"
#include "platform/loop.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/evp.h>

#define WAIT_MS 30000 /* of the watch */
#define RETRY_MS 100
#define RETRY_MS_MAX 2000
#define NODE_CHECK "serfHealth" /* Consul's own, of every node */
#define FRAIL_TTL "10s" /* Consul allows no less, and may take twice that */
#define RENEW_MS 3000
#define TEXT_SIZE 256
#define TERM_SLACK_S 86400

struct consul_lock {
    struct consul *consul;
    struct consul_lock_config config;
    char key[TEXT_SIZE], name[TEXT_SIZE], check[TEXT_SIZE];
    char url[COORDINATION_URL_SIZE];
    char session[CONSUL_ID_SIZE]; /* "": none */
    bool is_frail;                /* the session is, or is to be */
    char former[CONSUL_ID_SIZE];  /* frail, and may hold the key; "": none */
    struct consul_watch *watch;
    struct consul_call *call; /* NULL: none under way */
    struct event timer;       /* the next step, after a failure */
    struct event renewal;     /* of a frail session */
    unsigned failure_count;

    bool is_known;            /* the key has been read since the last try */
    struct consul_key seen;   /* modify_index 0: there is no such key */
    struct leader_value last; /* its value; term 0: none */
    uint64_t asked_term;      /* of the try under way */
    uint64_t term;            /* of the last that succeeded */
    uint64_t term_least;
    bool is_held;
    bool is_outgrown; /* held, and waiting for a greater term */
};

static void step(struct consul_lock *lock);
static void lose(struct consul_lock *lock);

/* Does the session, if it is one, hold the key as it was last read? */
static bool
holds(const struct consul_lock *lock, const char *session)
{
    return session[0] != '\0' && strcmp(lock->seen.session, session) == 0;
}

static bool
is_ours(const struct consul_lock *lock)
{
    return holds(lock, lock->session) || holds(lock, lock->former);
}

static void
failed(struct consul_lock *lock)
{
    const struct timeval wait =
        loop_back_off(++lock->failure_count, RETRY_MS, RETRY_MS_MAX);
    event_del(&lock->timer);
    event_add(&lock->timer, &wait);
}

static bool
call(struct consul_lock *lock, const char *method, const char *path,
     json_t *body, consul_done *done)
{
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    json_decref(body);
    lock->call = consul_call(
        lock->consul, method, path,
        text == NULL ? bytes_of("", 0) : bytes_of_text(text), done, lock);
    free(text);
    if (lock->call == NULL)
        failed(lock);
    return lock->call != NULL;
}

static json_t *
base64(struct bytes value)
{
    uint8_t *text = malloc((value.len + 2) / 3 * 4 + 1);
    if (text == NULL)
        return NULL;
    const int len = EVP_EncodeBlock(text, value.ptr, (int) value.len);
    json_t *string = json_stringn_nocheck((const char *) text, (size_t) len);
    free(text);
    return string;
}

/* ---- the session ---- */

static void
renew_soon(struct consul_lock *lock)
{
    const struct timeval wait = loop_ms(RENEW_MS);
    event_add(&lock->renewal, &wait);
}

/* LockDelay is for holders that write without a fence. Ours is in every
 * write, so the next one need not wait for the last one's writes to end. */
static void
session_create(struct consul_lock *lock, bool is_frail, consul_done *done)
{
    json_t *body =
        json_pack("{s:s, s:s, s:s, s:[], s:[{s:s}]}", "Name", lock->name,
                  "LockDelay", "0s", "Behavior", "release", "NodeChecks",
                  "ServiceChecks", "ID", lock->check);
    if (is_frail)
        json_object_set_new(body, "TTL", json_string(FRAIL_TTL));
    else
        json_array_append_new(json_object_get(body, "NodeChecks"),
                              json_string(NODE_CHECK));
    call(lock, "PUT", "session/create", body, done);
}

static void
session_created(const struct consul_answer *answer, void *context)
{
    struct consul_lock *lock = context;
    lock->call = NULL;
    if (answer->err != 0 || consul_id_parse(answer->body, lock->session) != 0) {
        lock->is_frail = memmem(answer->body.ptr, answer->body.len, NODE_CHECK,
                                sizeof NODE_CHECK - 1)
                         != NULL;
        /* the check may be on its way to the servers still */
        if (++lock->failure_count % 10 == 2)
            log_warn("lock: cannot make a session (%s%s%.*s), try on",
                     err_text(answer->err), answer->body.len > 0 ? ": " : "",
                     (int) (answer->body.len < 120 ? answer->body.len : 120),
                     (const char *) answer->body.ptr);
        failed(lock);
        return;
    }
    lock->failure_count = 0;
    if (lock->is_frail) {
        log_info("lock: Consul does not call this node well yet");
        renew_soon(lock);
    }
    step(lock);
}

/* The lock goes with it, and no write must go out under no session: that
 * would hold while nobody has the lock. */
static void
session_ended(struct consul_lock *lock)
{
    event_del(&lock->renewal);
    lock->session[0] = lock->former[0] = '\0';
    lock->is_frail = false;
    if (lock->is_held)
        lose(lock);
    step(lock);
}

static void
session_looked(const struct consul_answer *answer, void *context)
{
    struct consul_lock *lock = context;
    bool exists = true;
    lock->call = NULL;
    if (answer->err != 0 || consul_session_parse(answer->body, &exists) != 0) {
        failed(lock);
        return;
    }
    lock->is_known = false;
    consul_watch_restart(lock->watch);
    if (exists) {
        failed(lock); /* whatever it was, not at once again */
        return;
    }
    session_ended(lock);
}

static void
session_look(struct consul_lock *lock)
{
    char path[TEXT_SIZE];
    snprintf(path, sizeof path, "session/info/%s", lock->session);
    call(lock, "GET", path, NULL, session_looked);
}

/* ---- a frail session ---- */

static void
firm_created(const struct consul_answer *answer, void *context)
{
    struct consul_lock *lock = context;
    char id[CONSUL_ID_SIZE];
    lock->call = NULL;
    if (answer->err != 0 || consul_id_parse(answer->body, id) != 0) {
        renew_soon(lock);
    } else {
        memcpy(lock->former, lock->session, sizeof lock->former);
        memcpy(lock->session, id, sizeof lock->session);
        lock->is_frail = false;
        lock->is_outgrown = lock->is_held; /* to be taken again, by it */
    }
    step(lock);
}

static void
renewed(const struct consul_answer *answer, void *context)
{
    struct consul_lock *lock = context;
    lock->call = NULL;
    if (answer->err == ERR_NOT_FOUND) {
        session_ended(lock);
        return;
    }
    if (answer->err == 0)
        session_create(lock, false, firm_created);
    if (lock->call == NULL)
        renew_soon(lock);
}

static void
renewal_due(evutil_socket_t fd, short what, void *arg)
{
    struct consul_lock *lock = arg;
    char path[TEXT_SIZE];
    snprintf(path, sizeof path, "session/renew/%s", lock->session);
    if (lock->call != NULL || !call(lock, "PUT", path, NULL, renewed))
        renew_soon(lock);
}

/* ---- taking the lock ---- */

static void
taken(const struct consul_answer *answer, void *context)
{
    struct consul_lock *lock = context;
    lock->call = NULL;
    if (answer->err == ERR_STALE) {
        /* another one was quicker, or our session is gone */
        session_look(lock);
        return;
    }
    if (answer->err != 0) {
        /* it may have happened all the same: read, and take it again */
        lock->is_known = false;
        consul_watch_restart(lock->watch);
        failed(lock);
        return;
    }
    lock->failure_count = 0;
    lock->former[0] = '\0';
    lock->is_held = true;
    lock->term = lock->term_least = lock->asked_term;
    lock->is_outgrown = false;
    /* the watch may have seen it before us */
    lock->is_known = holds(lock, lock->session);
    log_info("lock: %s is ours (term %llu)", lock->key,
             (unsigned long long) lock->asked_term);
    lock->config.held(lock->config.context, lock->asked_term);
}

static uint64_t
next_term(const struct consul_lock *lock)
{
    const uint64_t before =
        lock->last.term > lock->term_least ? lock->last.term : lock->term_least;
    uint64_t round = clock_unix_s();
    if (round <= term_round(before))
        round = term_round(before) + 1;
    return term_make(round, random_u64());
}

static json_t *
verb(const struct consul_lock *lock, const char *name, const char *session,
     json_t *value)
{
    return json_pack("{s:{s:s, s:s, s:s, s:O}}", "KV", "Verb", name, "Key",
                     lock->key, "Session", session, "Value", value);
}

/* The cas makes sure that nobody has taken a term since the key was read, and
 * the lock that nobody else holds it. */
static void
take(struct consul_lock *lock)
{
    struct buffer value;
    lock->asked_term = next_term(lock);
    buffer_init(&value, CONSUL_VALUE_SIZE);
    leader_value_write(&value, lock->asked_term, lock->url);
    json_t *text = value.err != 0 ? NULL : base64(buffer_bytes(&value));
    json_t *body = json_array();
    json_array_append_new(
        body, json_pack("{s:{s:s, s:s, s:I, s:O}}", "KV", "Verb", "cas", "Key",
                        lock->key, "Index",
                        (json_int_t) lock->seen.modify_index, "Value", text));
    if (holds(lock, lock->former))
        json_array_append_new(body, verb(lock, "unlock", lock->former, text));
    json_array_append_new(body, verb(lock, "lock", lock->session, text));
    json_decref(text);
    buffer_fini(&value);
    if (body == NULL)
        failed(lock);
    else
        call(lock, "PUT", "txn", body, taken);
}

/* ---- what the key says ---- */

static bool
is_free(const struct consul_lock *lock)
{
    /* ours, and we do not know: the answer to a try was lost */
    return lock->seen.session[0] == '\0' || is_ours(lock);
}

/* What is to be done now, if anything. */
static void
step(struct consul_lock *lock)
{
    if (lock->call != NULL || event_pending(&lock->timer, EV_TIMEOUT, NULL))
        return;
    if (lock->session[0] == '\0')
        session_create(lock, lock->is_frail, session_created);
    else if (lock->is_known
             && (lock->is_held ? lock->is_outgrown : is_free(lock)))
        take(lock);
}

static void
step_due(evutil_socket_t fd, short what, void *arg)
{
    step(arg);
}

/* The session may be there still: then the next try takes the lock again. */
static void
lose(struct consul_lock *lock)
{
    lock->is_held = false;
    lock->is_outgrown = false;
    log_warn("lock: %s is lost (its session is over)", lock->key);
    lock->config.lost(lock->config.context);
}

static bool
key_keep(struct consul_lock *lock, const struct consul_answer *answer)
{
    struct consul_key key = {0};
    struct leader_value leader = {0};
    if (answer->err == 0) {
        if (consul_key_parse(answer->body, &key) != 0) {
            log_error("lock: the value of %s is not ours; remove the key",
                      lock->key);
            return false;
        }
        (void) leader_value_parse(bytes_of(key.value, key.value_len), &leader);
    }
    lock->seen = key;
    /* no Manager ever writes more, though one may have followed a term that was
     * just credible, or have a fast clock: it is not ours */
    lock->last = term_is_credible(leader.term, clock_unix_s() + TERM_SLACK_S)
                     ? leader
                     : (struct leader_value){0};
    /* remembered, for a key that is removed */
    if (lock->last.term > lock->term_least)
        lock->term_least = lock->last.term;
    lock->is_known = true;
    return true;
}

static void
key_answered(const struct consul_answer *answer, bool changed, void *context)
{
    struct consul_lock *lock = context;
    if (answer->err != 0 && answer->err != ERR_NOT_FOUND)
        return;
    if (!key_keep(lock, answer))
        return;
    if (lock->is_held && !is_ours(lock))
        lose(lock);
    /* somebody wrote over it by hand: nodes would go astray */
    if (lock->is_held && lock->call == NULL
        && (lock->last.term != lock->term
            || strcmp(lock->last.url, lock->url) != 0))
        lock->is_outgrown = true;
    if (!lock->is_held && !is_ours(lock) && lock->last.term > 0)
        lock->config.other(lock->config.context, &lock->last);
    step(lock);
}

struct consul_lock *
consul_lock_new(struct consul *consul, struct event_base *base,
                const struct consul_lock_config *config)
{
    char path[TEXT_SIZE + 16];
    struct consul_lock *lock = calloc(1, sizeof *lock);
    if (lock == NULL)
        return NULL;
    lock->consul = consul;
    lock->config = *config;
    snprintf(lock->key, sizeof lock->key, "%s", config->key);
    snprintf(lock->name, sizeof lock->name, "%s", config->name);
    snprintf(lock->check, sizeof lock->check, "%s", config->check);
    snprintf(lock->url, sizeof lock->url, "%s", config->url);
    evtimer_assign(&lock->timer, base, step_due, lock);
    evtimer_assign(&lock->renewal, base, renewal_due, lock);
    snprintf(path, sizeof path, "kv/%s", lock->key);
    const struct consul_watch_config watch = {
        .path = path,
        .wait_ms = WAIT_MS,
        .answered = key_answered,
        .context = lock,
    };
    lock->watch = consul_watch_new(consul, &watch);
    if (lock->watch == NULL) {
        free(lock);
        return NULL;
    }
    step(lock);
    return lock;
}

void
consul_lock_free(struct consul_lock *lock)
{
    if (lock == NULL)
        return;
    event_del(&lock->timer);
    event_del(&lock->renewal);
    consul_watch_free(lock->watch);
    consul_call_cancel(lock->call);
    free(lock);
}

void
consul_lock_outgrow(struct consul_lock *lock, uint64_t term)
{
    if (!lock->is_held || !term_is_credible(term, clock_unix_s())
        || term < lock->term)
        return;
    if (term > lock->term_least)
        lock->term_least = term;
    lock->is_outgrown = true;
    step(lock);
}

int
consul_lock_put(struct consul_lock *lock, const char *key, struct bytes value,
                consul_done *done, void *context)
{
    if (value.len > CONSUL_LOCK_PUT_MAX)
        return ERR_LIMIT;
    /* while the lock goes over to another session the former has it still */
    const char *session =
        holds(lock, lock->former) ? lock->former : lock->session;
    json_t *body =
        json_pack("[{s:{s:s, s:s, s:s}}, {s:{s:s, s:s, s:o}}]", "KV", "Verb",
                  "check-session", "Key", lock->key, "Session", session, "KV",
                  "Verb", "set", "Key", key, "Value", base64(value));
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    json_decref(body);
    int err = ERR_MEMORY;
    if (text != NULL
        && consul_call(lock->consul, "PUT", "txn", bytes_of_text(text), done,
                       context)
               != NULL)
        err = 0;
    free(text);
    return err;
}
