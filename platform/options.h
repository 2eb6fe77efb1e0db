/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLATFORM_OPTIONS_H
#define PLATFORM_OPTIONS_H

/*
 * Options of a program from one table: the command line, the configuration
 * file, --help, the man page and the sample file all come from it.
 *
 * Command line: --name value, --name=value, --flag, -- ends options.
 * File (--config FILE): "name = value" lines, '#' comments on lines of their
 * own; a flag is true or false, a list is one line for each item. The command
 * line wins over the file, the file over the defaults. Every error names the
 * file and line or the option, what was found and what is allowed; all of it
 * is checked before anything is used.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_type {
    OPTION_FLAG,     /* bool */
    OPTION_INTEGER,  /* int64_t */
    OPTION_NUMBER,   /* double */
    OPTION_SIZE,     /* int64_t, bytes: 64k 16M 2G */
    OPTION_DURATION, /* int64_t, ms: 500ms 10s 5m 1h; a bare number is s */
    OPTION_TEXT,     /* const char * */
    OPTION_LIST,     /* struct option_list, may be given often */
};

struct option_list {
    const char **items;
    size_t count;
};

struct option {
    const char *name;
    enum option_type type;
    size_t offset;             /* of the field in the program's struct */
    const char *default_value; /* as in the file; NULL: required for TEXT when
                                * `required`, else NULL/0/false/empty */
    double min, max;           /* in the field's unit (bytes, ms), inclusive;
                                * both 0: any that is not negative */
    bool required;
    const char *unit;        /* "req/s", "ms"; NULL */
    const char *description; /* one or two sentences */
};

struct program {
    const char *name;     /* "vodst-manager", "vodst ingest" */
    const char *summary;  /* one line, for the man page's NAME */
    const char *synopsis; /* arguments after the options: "FILE", or "" */
    const char *details;  /* paragraphs for --help and DESCRIPTION, or NULL */
    const struct option *options;
    size_t option_count;
    int arguments_min, arguments_max; /* positional; -1: any number */
};

/* The longest message of options_read_text(), with its end. */
#define OPTIONS_ERROR_SIZE 512
#define OPTIONS_FILE_SIZE_MAX (1u << 20) /* bytes */

#define OPTION_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/*
 * Fills `config` (zeroed first). Texts live until the program ends. Handles
 * --help, --version, --man (roff) and --sample (a configuration file with
 * every default) by printing and exiting 0; wrong use prints the error and the
 * remedy to standard error and exits 2. Returns the index in argv of the first
 * positional argument.
 */
int options_parse(const struct program *program, int argc, char **argv,
                  void *config);

/*
 * The same for a file's text alone, for a reload: `path` only names it in the
 * message. All or nothing: on failure `config` is untouched and the message
 * ("FILE:LINE: ...") is in `error`. Defaults fill what the file does not set.
 * ERR_INVALID, ERR_LIMIT, ERR_MEMORY.
 */
int options_read_text(const struct program *program, const char *path,
                      const char *text, size_t text_len, void *config,
                      char error[OPTIONS_ERROR_SIZE]);

/* The texts and lists that options_parse() and options_read_text() gave out
 * live until the program ends, or until this is called. */
void options_release(void);

#endif
