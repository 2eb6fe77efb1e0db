/* SPDX-License-Identifier: Apache-2.0 */
/* mlic audit: whether what was written down is all, and as it was. */

#include "core/err.h"
#include "platform/log.h"
#include "platform/options.h"
#include "programs/mlic/audit.h"
#include "programs/mlic/mlic.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct config {
    const char *audit_key, *before;
    bool json;
};

static const struct option options[] = {
    {"audit-key", OPTION_TEXT, offsetof(struct config, audit_key), NULL, 0, 0,
     true, "FILE", "As of mlic serve."},
    {"after", OPTION_TEXT, offsetof(struct config, before), NULL, 0, 0, false,
     "MAC",
     "The first file goes on behind the line with this MAC: the last one of "
     "the "
     "file before."},
    {"json", OPTION_FLAG, offsetof(struct config, json), NULL, 0, 0, false,
     NULL, "Tell it as JSON."},
};

static const struct program program = {
    .name = "mlic audit",
    .summary = "verify what was written down of decisions",
    .synopsis = "FILE...",
    .details =
        "Verifies that no line of the files was changed, left out or put in, "
        "each file going on behind the one before; and tells how many lines "
        "there are, and the last one's MAC, to compare with what the server "
        "tells. The lines themselves are JSON, for any other program. Exit "
        "status: 0 all are good, 1 one is not or a file cannot be read, 2 "
        "wrong "
        "use.",
    .options = options,
    .option_count = OPTION_COUNT(options),
    .arguments_min = 1,
    .arguments_max = -1,
};

int
audit_main(int argc, char **argv)
{
    struct config config;
    unsigned char key[AUDIT_KEY_SIZE];
    char last[2 * AUDIT_MAC_SIZE + 1] = "";
    uint64_t all = 0, lines = 0;
    int i = options_parse(&program, argc, argv, &config);
    log_init("mlic", LOG_LEVEL_INFO);
    int err = audit_key_read(config.audit_key, key);
    if (err != 0)
        return 1;
    const char *before = config.before;
    for (; i < argc && err == 0; i++) {
        char now[sizeof last];
        err = audit_verify(argv[i], key, before, &lines, now);
        all += lines;
        memcpy(last, now, sizeof last);
        before = last;
        if (err == ERR_CHECKSUM)
            log_error("audit: %s: line %" PRIu64 " is not the next one: it was "
                      "changed, or lines before it are missing",
                      argv[i], lines + 1);
        else if (err != 0)
            log_error("audit: cannot read %s (%s)", argv[i], err_text(err));
    }
    explicit_bzero(key, sizeof key);
    if (config.json)
        printf("{\"good\":%s,\"lines\":%" PRIu64 ",\"mac\":\"%s\"}\n",
               err == 0 ? "true" : "false", all, last);
    else if (err == 0)
        printf("%" PRIu64 " lines, all good; the last one's MAC is %s\n", all,
               last);
    return err == 0 ? 0 : 1;
}
