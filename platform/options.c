/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads options from the command line and a file by the program's table.
 * Everything is first gathered as (option, value, where), then checked, then
 * stored: nothing is used before all of it is known to be right.
 */

#include "platform/options.h"

#include "core/buffer.h"
#include "core/err.h"
#include "platform/files.h"
#include "platform/options_private.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define GIVEN_MAX 4096 /* values on the command line and in the file */

struct given {
    const struct option *option;
    const char *value; /* NULL: a flag on the command line */
    const char *path;  /* of the file; NULL: the command line */
    unsigned line;
};

struct parse {
    const struct program *program;
    struct given *given; /* the file's first, then the command line's */
    size_t given_count;
    char *error; /* OPTIONS_ERROR_SIZE */
};

union value {
    bool flag;
    int64_t integer;
    double number;
    const char *text;
};

/* ---- memory that lives with the program ---- */

struct kept {
    struct kept *next;
    max_align_t memory[];
};
static struct kept *kept;

static void *
keep(size_t size)
{
    struct kept *k = calloc(1, sizeof *k + size);
    if (k == NULL)
        return NULL;
    k->next = kept;
    kept = k;
    return k->memory;
}

static const char *
keep_text(const char *text, size_t len)
{
    char *copy = keep(len + 1);
    if (copy != NULL)
        memcpy(copy, text, len);
    return copy;
}

/* ---- errors ---- */

__attribute__((format(printf, 3, 4))) static int
fail(struct parse *parse, const struct given *given, const char *format, ...)
{
    int n = 0;
    if (given != NULL && given->path != NULL)
        n = snprintf(parse->error, OPTIONS_ERROR_SIZE,
                     "%.200s:%u: ", given->path, given->line);
    va_list arguments;
    va_start(arguments, format);
    if (n >= 0 && n < OPTIONS_ERROR_SIZE)
        vsnprintf(parse->error + n, (size_t) (OPTIONS_ERROR_SIZE - n), format,
                  arguments);
    va_end(arguments);
    return ERR_INVALID;
}

/* ---- names ---- */

static const struct option *
option_find(const struct program *program, const char *name, size_t len)
{
    for (size_t i = 0; i < program->option_count; i++)
        if (strlen(program->options[i].name) == len
            && memcmp(program->options[i].name, name, len) == 0)
            return &program->options[i];
    return NULL;
}

/* Levenshtein's distance, for names of usual length. */
static unsigned
distance(const char *a, size_t a_len, const char *b)
{
    unsigned row[64];
    const size_t b_len = strlen(b);
    if (a_len >= 64 || b_len >= 64)
        return 64;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = (unsigned) j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned) i;
        for (size_t j = 1; j <= b_len; j++) {
            const unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            if (change < row[j])
                row[j] = change;
        }
    }
    return row[b_len];
}

static const char *
name_suggest(const struct program *program, const char *name, size_t len)
{
    const char *best = NULL;
    unsigned best_distance = len < 4 ? 2 : 4; /* further is no misspelling */
    for (size_t i = 0; i < program->option_count; i++) {
        const unsigned d = distance(name, len, program->options[i].name);
        if (d < best_distance) {
            best = program->options[i].name;
            best_distance = d;
        }
    }
    return best;
}

static int
fail_unknown(struct parse *parse, const struct given *given, const char *name,
             size_t len)
{
    const char *near = name_suggest(parse->program, name, len);
    const char *dashes = given->path == NULL ? "--" : "";
    if (near == NULL)
        return fail(parse, given, "unknown option '%s%.*s'", dashes,
                    (int) (len < 60 ? len : 60), name);
    return fail(parse, given, "unknown option '%s%.*s', did you mean %s%s?",
                dashes, (int) (len < 60 ? len : 60), name, dashes, near);
}

/* ---- values ---- */

static bool
flag_read(const char *text, bool *out)
{
    static const char *const words[] = {"false", "true", "no",
                                        "yes",   "off",  "on"};
    for (size_t i = 0; i < 6; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i % 2 != 0;
            return true;
        }
    }
    return false;
}

struct unit {
    const char *name;
    double factor;
};
static const struct unit size_units[] = {
    {"", 1},        {"k", 1024},       {"K", 1024},       {"m", 1048576},
    {"M", 1048576}, {"g", 1073741824}, {"G", 1073741824}, {"T", 1099511627776},
};
static const struct unit duration_units[] = {
    {"", 1000},   {"ms", 1},      {"s", 1000},
    {"m", 60000}, {"h", 3600000}, {"d", 86400000},
};

static bool
scaled_read(const char *text, const struct unit *units, size_t unit_count,
            double *out)
{
    if (!isdigit((unsigned char) *text))
        return false;
    /* no exponent and no hex, which strtod would take */
    const size_t digits = strspn(text, "0123456789.");
    char *end;
    const double value = strtod(text, &end);
    if (end != text + digits)
        return false;
    for (size_t i = 0; i < unit_count; i++) {
        if (strcmp(end, units[i].name) == 0) {
            *out = value * units[i].factor;
            return true;
        }
    }
    return false;
}

static bool
number_read(const char *text, double *out)
{
    char *end;
    const char *digits = text + (*text == '-');
    if (!isdigit((unsigned char) *digits))
        return false;
    *out = strtod(text, &end);
    return *end == '\0' && isfinite(*out);
}

static bool
integer_read(const char *text, int64_t *out)
{
    char *end;
    const char *digits = text + (*text == '-');
    if (!isdigit((unsigned char) *digits))
        return false;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0;
}

static const char *
expected_text(enum option_type type)
{
    switch (type) {
    case OPTION_FLAG:
        return "true or false";
    case OPTION_INTEGER:
        return "a whole number";
    case OPTION_NUMBER:
        return "a number";
    case OPTION_SIZE:
        return "a size such as 64k, 16M or 2G";
    case OPTION_DURATION:
        return "a time such as 500ms, 10s, 5m or 1h";
    case OPTION_TEXT:
    case OPTION_LIST:
        return "a text";
    }
    return "";
}

static bool
is_in_range(const struct option *option, double value)
{
    if (option->min == 0 && option->max == 0)
        return value >= 0 && value <= 9e18;
    return value >= option->min && value <= option->max;
}

/* Reads one value by its type; *ranged is what min and max are held against,
 * and stays as it is where there is nothing to hold. */
static bool
value_read(const struct option *option, const char *text, union value *out,
           double *ranged)
{
    switch (option->type) {
    case OPTION_FLAG:
        return flag_read(text, &out->flag);
    case OPTION_INTEGER:
        if (!integer_read(text, &out->integer))
            return false;
        *ranged = (double) out->integer;
        return true;
    case OPTION_NUMBER:
        if (!number_read(text, &out->number))
            return false;
        *ranged = out->number;
        return true;
    case OPTION_SIZE:
        if (!scaled_read(text, size_units,
                         sizeof size_units / sizeof *size_units, ranged))
            return false;
        out->integer = *ranged < 9e18 ? (int64_t) *ranged : INT64_MAX;
        return true;
    case OPTION_DURATION:
        if (!scaled_read(text, duration_units,
                         sizeof duration_units / sizeof *duration_units,
                         ranged))
            return false;
        out->integer = *ranged < 9e18 ? (int64_t) llround(*ranged) : INT64_MAX;
        return true;
    case OPTION_TEXT:
    case OPTION_LIST:
        out->text = text;
        return *text != '\0' || option->type == OPTION_TEXT;
    }
    return false;
}

static int
value_check(struct parse *parse, const struct given *given, union value *out)
{
    const struct option *option = given->option;
    const char *dashes = given->path == NULL ? "--" : "";
    if (given->value == NULL) {
        out->flag = true;
        return 0;
    }
    double ranged = option->min;
    if (!value_read(option, given->value, out, &ranged))
        return fail(parse, given, "%s%s is '%.80s', expected %s", dashes,
                    option->name, given->value, expected_text(option->type));
    if (!is_in_range(option, ranged)) {
        char range[80];
        return fail(parse, given, "%s%s is %.80s, expected %s", dashes,
                    option->name, given->value,
                    option->min == 0 && option->max == 0
                        ? "no negative number"
                        : option_range_text(option, range, sizeof range));
    }
    return 0;
}

/* ---- gathering ---- */

static int
given_add(struct parse *parse, const struct given *given)
{
    if (parse->given_count == GIVEN_MAX)
        return fail(parse, given, "more than %d options", GIVEN_MAX);
    if ((parse->given_count & (parse->given_count - 1)) == 0) {
        const size_t room =
            parse->given_count == 0 ? 1 : parse->given_count * 2;
        struct given *grown =
            realloc(parse->given, room * sizeof *parse->given);
        if (grown == NULL)
            return ERR_MEMORY;
        parse->given = grown;
    }
    parse->given[parse->given_count++] = *given;
    return 0;
}

static const char *
trim(const char *text, size_t *len)
{
    while (*len > 0 && isspace((unsigned char) *text)) {
        text++;
        --*len;
    }
    while (*len > 0 && isspace((unsigned char) text[*len - 1]))
        --*len;
    return text;
}

static int
line_read(struct parse *parse, const char *line, size_t len,
          struct given *given)
{
    if (memchr(line, '\0', len) != NULL)
        return fail(parse, given, "the line has a zero byte");
    line = trim(line, &len);
    if (len == 0 || *line == '#')
        return 0;
    const char *equals = memchr(line, '=', len);
    size_t name_len = equals == NULL ? len : (size_t) (equals - line);
    const char *name = trim(line, &name_len);
    if (equals == NULL)
        return fail(parse, given, "found '%.*s', expected 'name = value'",
                    (int) (len < 60 ? len : 60), line);
    given->option = option_find(parse->program, name, name_len);
    if (given->option == NULL)
        return fail_unknown(parse, given, name, name_len);
    size_t value_len = len - (size_t) (equals + 1 - line);
    const char *value = trim(equals + 1, &value_len);
    given->value = keep_text(value, value_len);
    return given->value == NULL ? ERR_MEMORY : given_add(parse, given);
}

static int
text_read(struct parse *parse, const char *path, const char *text, size_t len)
{
    struct given given = {.path = path};
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        const size_t line_len = end == NULL ? len : (size_t) (end - text);
        given.line++;
        int err = line_read(parse, text, line_len, &given);
        if (err != 0)
            return err;
        text += line_len;
        len -= line_len;
        if (len > 0) {
            text++;
            len--;
        }
    }
    return 0;
}

static int
file_gather(struct parse *parse, const char *path)
{
    struct buffer text;
    buffer_init(&text, OPTIONS_FILE_SIZE_MAX);
    int err = file_read(path, &text);
    if (err != 0)
        fail(parse, NULL, "--config: cannot read %.200s (%s)", path,
             err == ERR_IO ? strerror(errno) : err_text(err));
    else
        err = text_read(parse, path, (const char *) text.ptr, text.len);
    buffer_fini(&text);
    return err;
}

/* ---- storing ---- */

static int
list_store(struct option_list *list, const char *text)
{
    /* old arrays stay with the rest of what is kept: lists are short */
    const char **items = keep((list->count + 1) * sizeof *items);
    if (items == NULL)
        return ERR_MEMORY;
    if (list->count > 0)
        memcpy(items, list->items, list->count * sizeof *items);
    items[list->count] = text;
    list->items = items;
    list->count++;
    return 0;
}

static int
value_store(const struct option *option, const union value *value,
            uint8_t *config)
{
    void *field = config + option->offset;
    switch (option->type) {
    case OPTION_FLAG:
        *(bool *) field = value->flag;
        return 0;
    case OPTION_INTEGER:
    case OPTION_SIZE:
    case OPTION_DURATION:
        *(int64_t *) field = value->integer;
        return 0;
    case OPTION_NUMBER:
        *(double *) field = value->number;
        return 0;
    case OPTION_TEXT:
        *(const char **) field = value->text;
        return 0;
    case OPTION_LIST:
        return list_store(field, value->text);
    }
    return ERR_INVALID;
}

static size_t
field_size(enum option_type type)
{
    switch (type) {
    case OPTION_FLAG:
        return sizeof(bool);
    case OPTION_INTEGER:
    case OPTION_SIZE:
    case OPTION_DURATION:
        return sizeof(int64_t);
    case OPTION_NUMBER:
        return sizeof(double);
    case OPTION_TEXT:
        return sizeof(const char *);
    case OPTION_LIST:
        return sizeof(struct option_list);
    }
    return 0;
}

/* The command line's values, else the file's; of a single value the last. */
static int
option_store(struct parse *parse, const struct option *option, uint8_t *config)
{
    bool from_file = true, is_set = false;
    memset(config + option->offset, 0, field_size(option->type));
    for (size_t i = 0; i < parse->given_count; i++)
        if (parse->given[i].option == option && parse->given[i].path == NULL)
            from_file = false;
    for (size_t i = 0; i < parse->given_count; i++) {
        const struct given *given = &parse->given[i];
        union value value;
        int err;
        if (given->option != option || (given->path != NULL) != from_file)
            continue;
        is_set = true;
        if ((err = value_check(parse, given, &value)) != 0
            || (err = value_store(option, &value, config)) != 0)
            return err;
    }
    if (is_set || option->default_value == NULL)
        return 0;
    const struct given standard = {.option = option,
                                   .value = option->default_value};
    union value value;
    int err = value_check(parse, &standard, &value);
    return err != 0 ? err : value_store(option, &value, config);
}

static int
check_all(struct parse *parse)
{
    union value value;
    for (size_t i = 0; i < parse->given_count; i++) {
        int err = value_check(parse, &parse->given[i], &value);
        if (err != 0)
            return err;
    }
    for (size_t i = 0; i < parse->program->option_count; i++) {
        const struct option *option = &parse->program->options[i];
        bool is_set = !option->required || option->default_value != NULL;
        for (size_t j = 0; !is_set && j < parse->given_count; j++)
            is_set = parse->given[j].option == option;
        if (!is_set)
            return fail(parse, NULL, "--%s is missing (%s)", option->name,
                        option->description);
    }
    return 0;
}

static int
check_and_store(struct parse *parse, void *config)
{
    int err = check_all(parse);
    for (size_t i = 0; err == 0 && i < parse->program->option_count; i++)
        err = option_store(parse, &parse->program->options[i], config);
    return err;
}

/* ---- the command line ---- */

__attribute__((noreturn)) static void
end_wrong(struct parse *parse, int err)
{
    fprintf(stderr, "%s: %s\nTry '%s --help'.\n", parse->program->name,
            parse->error[0] != '\0' ? parse->error : err_text(err),
            parse->program->name);
    free(parse->given);
    options_release();
    exit(2);
}

__attribute__((noreturn)) static void
end_printed(struct parse *parse)
{
    const bool is_written = fflush(stdout) == 0;
    free(parse->given);
    options_release();
    exit(is_written ? 0 : 1);
}

static void
answer_if_asked(struct parse *parse, const char *name)
{
    if (strcmp(name, "help") == 0)
        options_print_help(parse->program, stdout);
    else if (strcmp(name, "man") == 0)
        options_print_man(parse->program, stdout);
    else if (strcmp(name, "sample") == 0)
        options_print_sample(parse->program, stdout);
    else if (strcmp(name, "version") == 0)
        printf("%s %s\n", parse->program->name, VODST_VERSION);
    else
        return;
    end_printed(parse);
}

/* Takes the option at argv[*i], moves *i past it. `--config` goes to *path. */
static int
argument_read(struct parse *parse, int argc, char **argv, int *i,
              const char **path)
{
    const char *name = argv[(*i)++] + 2;
    const size_t len = strcspn(name, "=");
    struct given given = {.option = option_find(parse->program, name, len)};
    const bool is_config =
        given.option == NULL && len == 6 && memcmp(name, "config", 6) == 0;
    answer_if_asked(parse, name);
    if (given.option == NULL && !is_config)
        return fail_unknown(parse, &given, name, len);
    if (name[len] == '=') {
        given.value = name + len + 1;
    } else if (is_config || given.option->type != OPTION_FLAG) {
        if (*i >= argc)
            return fail(parse, NULL, "--%s needs a value", name);
        given.value = argv[(*i)++];
    }
    if (is_config) {
        *path = given.value;
        return 0;
    }
    return given_add(parse, &given);
}

/* Options may stand between the arguments: they are moved to the front, so
 * that the arguments are the last of argv. */
static int
command_line_read(struct parse *parse, int argc, char **argv, const char **path,
                  int *first)
{
    char **moved = calloc((size_t) argc + 1, sizeof *moved);
    if (moved == NULL)
        return ERR_MEMORY;
    int err = 0, i = 1, kept_count = 0, positional_count = 0;
    while (err == 0 && i < argc) {
        if (strcmp(argv[i], "--") == 0) {
            for (i++; i < argc; i++)
                moved[positional_count++] = argv[i];
        } else if (strcmp(argv[i], "-h") == 0) {
            answer_if_asked(parse, "help");
        } else if (strncmp(argv[i], "--", 2) == 0) {
            const int from = i;
            err = argument_read(parse, argc, argv, &i, path);
            for (int j = from; j < i; j++)
                argv[1 + kept_count++] = argv[j];
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            err = fail(parse, NULL, "unknown option '%.60s'", argv[i]);
        } else {
            moved[positional_count++] = argv[i++];
        }
    }
    *first = argc - positional_count;
    if (err == 0)
        for (int j = 0; j < positional_count; j++)
            argv[*first + j] = moved[j];
    free(moved);
    return err;
}

static int
arguments_check(struct parse *parse, int count)
{
    const struct program *program = parse->program;
    if (count < program->arguments_min)
        return fail(parse, NULL, "an argument is missing: %s",
                    program->synopsis == NULL ? "" : program->synopsis);
    if (program->arguments_max >= 0 && count > program->arguments_max)
        return fail(
            parse, NULL, "%d argument%s given, expected %s%d", count,
            count == 1 ? "" : "s",
            program->arguments_max == program->arguments_min ? "" : "at most ",
            program->arguments_max);
    return 0;
}

int
options_parse(const struct program *program, int argc, char **argv,
              void *config)
{
    char error[OPTIONS_ERROR_SIZE] = "";
    struct parse parse = {.program = program, .error = error};
    const char *path = NULL;
    int first = argc;
    int err = command_line_read(&parse, argc, argv, &path, &first);
    if (err == 0 && path != NULL)
        err = file_gather(&parse, path);
    if (err == 0)
        err = arguments_check(&parse, argc - first);
    if (err == 0)
        err = check_and_store(&parse, config);
    if (err != 0)
        end_wrong(&parse, err);
    free(parse.given);
    return first;
}

int
options_read_text(const struct program *program, const char *path,
                  const char *text, size_t text_len, void *config,
                  char error[OPTIONS_ERROR_SIZE])
{
    struct parse parse = {.program = program, .error = error};
    error[0] = '\0';
    int err = text_len > OPTIONS_FILE_SIZE_MAX
                  ? ERR_LIMIT
                  : text_read(&parse, path, text, text_len);
    if (err == 0)
        err = check_and_store(&parse, config);
    if (err != 0 && error[0] == '\0')
        snprintf(error, OPTIONS_ERROR_SIZE, "%.200s: %s", path, err_text(err));
    free(parse.given);
    return err;
}

void
options_release(void)
{
    while (kept != NULL) {
        struct kept *next = kept->next;
        free(kept);
        kept = next;
    }
}
