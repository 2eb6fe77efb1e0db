/* SPDX-License-Identifier: Apache-2.0 */
/* One call at a time: the key is read until that succeeds, then the list is
 * written after each change until that does. */

#include "programs/manager/leader_overrides.h"

#include "core/err.h"
#include "platform/log.h"
#include "platform/loop.h"
#include "programs/manager/override_json.h"

#include <stdio.h>
#include <stdlib.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#define RETRY_MS 200
#define RETRY_MS_MAX 2000
#define KEY_SIZE 160 /* with its end */

struct leader_overrides {
    struct leader_overrides_config config;
    char key[KEY_SIZE];
    struct manager *manager; /* NULL: stands by */
    struct event retry;
    struct consul_call *reading;
    bool is_read, is_writing, is_newer;
    unsigned failure_count; /* of reading or writing, one after the other */
};

static void
try_later(struct leader_overrides *kept, const char *what, int err)
{
    const struct timeval wait =
        loop_back_off(++kept->failure_count, RETRY_MS, RETRY_MS_MAX);
    if (kept->failure_count == 1)
        log_warn("leader: cannot %s the overrides in the KV (%s), try on", what,
                 err_text(err));
    event_add(&kept->retry, &wait);
}

static void
written(const struct consul_answer *answer, void *context)
{
    struct leader_overrides *kept = context;
    kept->is_writing = false;
    if (kept->manager == NULL)
        return;
    /* stale, too: the lock may just go over to another session of ours, and if
     * another one leads we stand by soon */
    if (answer->err != 0) {
        try_later(kept, "write", answer->err);
        return;
    }
    kept->failure_count = 0;
    if (kept->is_newer)
        event_active(&kept->retry, EV_TIMEOUT, 1);
    else
        overrides_set_kept(kept->config.overrides, true);
}

static void
write_all(struct leader_overrides *kept)
{
    char *text = overrides_text(kept->config.overrides);
    int err = ERR_MEMORY;
    kept->is_newer = false;
    if (text != NULL)
        err = consul_lock_put(kept->config.lock, kept->key, bytes_of_text(text),
                              written, kept);
    free(text);
    kept->is_writing = err == 0;
    if (err != 0)
        try_later(kept, "write", err);
}

static void
changed(void *context)
{
    struct leader_overrides *kept = context;
    if (kept->manager == NULL || !kept->is_read)
        return;
    overrides_set_kept(kept->config.overrides, false);
    if (kept->is_writing || event_pending(&kept->retry, EV_TIMEOUT, NULL))
        kept->is_newer = true;
    else
        write_all(kept);
}

static void
has_read(const struct consul_answer *answer, void *context)
{
    struct leader_overrides *kept = context;
    struct overrides *overrides = kept->config.overrides;
    kept->reading = NULL;
    if (answer->err != 0 && answer->err != ERR_NOT_FOUND) {
        try_later(kept, "read", answer->err);
        return;
    }
    kept->failure_count = 0;
    kept->is_read = true;
    overrides_set_ready(overrides, true);
    /* without a key, or with one that others broke, what is known holds */
    if (answer->err != 0 || overrides_replace(overrides, answer->body) != 0)
        changed(kept);
    else
        overrides_set_kept(overrides, true);
    manager_overrides_changed(kept->manager); /* which waits for them */
}

static void
read_all(struct leader_overrides *kept)
{
    char path[KEY_SIZE + 32];
    snprintf(path, sizeof path, "kv/%s?raw&consistent", kept->key);
    kept->reading = consul_call(kept->config.consul, "GET", path,
                                bytes_of("", 0), has_read, kept);
    if (kept->reading == NULL)
        try_later(kept, "read", ERR_MEMORY);
}

static void
retry_due(evutil_socket_t fd, short what, void *arg)
{
    struct leader_overrides *kept = arg;
    if (kept->manager == NULL)
        return;
    if (!kept->is_read)
        read_all(kept);
    else if (!kept->is_writing)
        write_all(kept);
}

struct leader_overrides *
leader_overrides_new(struct event_base *base,
                     const struct leader_overrides_config *config)
{
    struct leader_overrides *kept = calloc(1, sizeof *kept);
    if (kept == NULL)
        return NULL;
    kept->config = *config;
    snprintf(kept->key, sizeof kept->key, "%s/overrides", config->prefix);
    evtimer_assign(&kept->retry, base, retry_due, kept);
    overrides_set_ready(config->overrides, false);
    overrides_on_change(config->overrides, changed, kept);
    return kept;
}

void
leader_overrides_free(struct leader_overrides *kept)
{
    if (kept == NULL)
        return;
    leader_overrides_stand_by(kept);
    overrides_on_change(kept->config.overrides, NULL, NULL);
    free(kept);
}

void
leader_overrides_lead(struct leader_overrides *kept, struct manager *manager)
{
    kept->manager = manager;
    kept->is_read = kept->is_newer = false;
    kept->failure_count = 0;
    read_all(kept);
}

void
leader_overrides_stand_by(struct leader_overrides *kept)
{
    kept->manager = NULL;
    overrides_set_ready(kept->config.overrides, false);
    consul_call_cancel(kept->reading);
    kept->reading = NULL;
    event_del(&kept->retry);
}
