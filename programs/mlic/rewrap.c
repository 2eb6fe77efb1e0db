/* SPDX-License-Identifier: Apache-2.0 */
/* mlic rewrap: content keys go over to the master key that wraps now. */

#include "core/err.h"
#include "platform/log.h"
#include "platform/options.h"
#include "programs/mlic/mlic.h"
#include "programs/mlic/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define AT_ONCE 500 /* keys in a transaction */

struct config {
    const char *database, *master_keys;
    bool dry_run, json;
};

static const struct option options[] = {
    {"database", OPTION_TEXT, offsetof(struct config, database), NULL, 0, 0,
     true, NULL, "As of mlic serve."},
    {"master-keys", OPTION_TEXT, offsetof(struct config, master_keys), NULL, 0,
     0, true, NULL, "As of mlic serve: with the new key and the old ones."},
    {"dry-run", OPTION_FLAG, offsetof(struct config, dry_run), NULL, 0, 0,
     false, NULL, "Only tell how many keys there are to do."},
    {"json", OPTION_FLAG, offsetof(struct config, json), NULL, 0, 0, false,
     NULL, "Tell it as JSON."},
};

static const struct program program = {
    .name = "mlic rewrap",
    .summary = "put content keys under the newest master key",
    .synopsis = "",
    .details =
        "Wraps every content key anew that is under another master key than "
        "the "
        "one that wraps, beside servers that go on. It may be stopped or "
        "killed "
        "at any moment and run again. When it has ended well, and every server "
        "has read the new file (SIGHUP), the old master key is needed no more "
        "but for backups of the database. Exit status: 0 done, 1 failed, 2 "
        "wrong use.",
    .options = options,
    .option_count = OPTION_COUNT(options),
};

static void
progress(const struct config *config, uint64_t done, uint64_t all)
{
    if (config->json || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " keys%s", done, all,
            done >= all ? "\n" : "");
}

static int
rewrap(struct key_store *keys, const struct config *config)
{
    uint64_t total, old, done = 0;
    unsigned count = 1;
    int err = key_store_count(keys, &total, &old);
    while (err == 0 && count > 0 && !config->dry_run) {
        err = key_store_rewrap(keys, AT_ONCE, &count);
        done += err == 0 ? count : 0;
        progress(config, done, old > done ? old : done);
    }
    if (err != 0) {
        log_error("rewrap: stopped after %" PRIu64 " keys (%s); nothing is "
                  "lost, run it again",
                  done, err_text(err));
        return 1;
    }
    if (config->json)
        printf("{\"keys\":%" PRIu64 ",\"old\":%" PRIu64
               ",\"rewrapped\":%" PRIu64 "}\n",
               total, old, done);
    else
        printf("%" PRIu64 " keys, %" PRIu64 " under an old master key, %" PRIu64
               " wrapped anew\n",
               total, old, done);
    return 0;
}

int
rewrap_main(int argc, char **argv)
{
    struct config config;
    struct master_keys *master = NULL;
    struct store *store = NULL;
    options_parse(&program, argc, argv, &config);
    log_init("mlic", LOG_LEVEL_INFO);
    int status = 1;
    if (master_keys_open(config.master_keys, &master) == 0
        && store_open(config.database, master, &store) == 0)
        status = rewrap(store->keys, &config);
    store_close(store);
    master_keys_close(master);
    return status;
}
