/* SPDX-License-Identifier: Apache-2.0 */
/* mlic: the license server. Picks the command, and keeps what it has in memory
 * from being seen elsewhere. */

#include "programs/mlic/mlic.h"
#include "programs/mlic/audit.h"

#include "core/err.h"
#include "platform/key_file.h"
#include "platform/log.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static const struct command {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"serve", serve_main, "give licenses, and keys to packagers"},
    {"rewrap", rewrap_main, "put content keys under the newest master key"},
    {"audit", audit_main, "verify what was written down of decisions"},
};

int
audit_key_read(const char *path, unsigned char out[AUDIT_KEY_SIZE])
{
    char text[KEY_SIZE];
    size_t size;
    int err = key_file_owner_check(path);
    if (err == 0)
        err = key_file_read(path, text);
    if (err == 0
        && (strlen(text) != 2 * AUDIT_KEY_SIZE
            || OPENSSL_hexstr2buf_ex(out, AUDIT_KEY_SIZE, &size, text, '\0')
                   != 1)) {
        log_error("keys: refuse %s (it must hold 64 hex digits)", path);
        err = ERR_INVALID;
    }
    explicit_bzero(text, sizeof text);
    return err;
}

/* No core dump, no debugger of the same user, and no swap as far as the system
 * lets memory be locked. */
static void
memory_guard(void)
{
    const struct rlimit none = {0, 0};
    (void) setrlimit(RLIMIT_CORE, &none);
    (void) prctl(PR_SET_DUMPABLE, 0);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        fputs(
            "mlic: memory cannot be locked, so keys may be swapped out: raise "
            "LimitMEMLOCK (ulimit -l), or have encrypted swap or none\n",
            stderr);
}

static void
usage(FILE *out)
{
    fputs("usage: mlic COMMAND [OPTION...] [ARGUMENT...]\n\ncommands:\n", out);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`mlic COMMAND --help` tells of each.\n", out);
}

int
main(int argc, char **argv)
{
    if (argc >= 2
        && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
        usage(stdout);
        return 0;
    }
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        puts("mlic " VODST_VERSION);
        return 0;
    }
    for (size_t i = 0; argc >= 2 && i < sizeof commands / sizeof *commands;
         i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        memory_guard();
        return commands[i].main(argc - 1, argv + 1);
    }
    if (argc >= 2)
        fprintf(stderr, "mlic: unknown command '%s'\n", argv[1]);
    usage(stderr);
    return 2;
}
