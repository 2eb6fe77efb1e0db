/* SPDX-License-Identifier: Apache-2.0 */
/* vodst: the command line. Picks the command; each is a file of its own. */

#include "programs/vodst/vodst.h"

#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"up", up_main, "start the whole platform on this machine"},
    {"down", down_main, "stop what `vodst up` started"},
    {"status", status_main, "show nodes, levels and owner sets"},
    {"override", override_main, "decide by hand, for a time"},
    {"ingest", ingest_main, "encode a film, store it and make it playable"},
    {"collect", collect_main, "take away versions that nobody plays any more"},
    {"audience", audience_main, "play contents with emulated players"},
};

static void
usage(FILE *out)
{
    fputs("usage: vodst COMMAND [OPTION...] [ARGUMENT...]\n\ncommands:\n", out);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`vodst COMMAND --help` tells of each.\n", out);
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
        puts("vodst " VODST_VERSION);
        return 0;
    }
    for (size_t i = 0; argc >= 2 && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].main(argc - 1, argv + 1);
    if (argc >= 2)
        fprintf(stderr, "vodst: unknown command '%s'\n", argv[1]);
    usage(stderr);
    return 2;
}
