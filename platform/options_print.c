/* SPDX-License-Identifier: Apache-2.0 */
/* --help, --man (roff) and --sample from the table of options. */

#include "platform/options_private.h"

#include <ctype.h>
#include <string.h>

#define WIDTH 80
#define COLUMN_MAX 28 /* where descriptions begin, at most */

const char *
option_placeholder(const struct option *option)
{
    switch (option->type) {
    case OPTION_FLAG:
        return NULL;
    case OPTION_INTEGER:
    case OPTION_NUMBER:
        return "N";
    case OPTION_SIZE:
        return "SIZE";
    case OPTION_DURATION:
        return "TIME";
    case OPTION_TEXT:
    case OPTION_LIST:
        return option->unit != NULL ? option->unit : "TEXT";
    }
    return NULL;
}

/* A bound the way a user would write it. */
static void
bound_text(const struct option *option, double v, char *out, size_t size)
{
    static const struct {
        double factor;
        const char *name;
    } sizes[] = {{1099511627776, "T"},
                 {1073741824, "G"},
                 {1048576, "M"},
                 {1024, "k"}},
      times[] = {{3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    for (size_t i = 0; i < 4 && v > 0; i++) {
        const double factor =
            option->type == OPTION_SIZE ? sizes[i].factor : times[i].factor;
        const char *name =
            option->type == OPTION_SIZE ? sizes[i].name : times[i].name;
        if (option->type != OPTION_SIZE && option->type != OPTION_DURATION)
            break;
        if (v >= factor && v / factor == (double) (long long) (v / factor)) {
            snprintf(out, size, "%.15g%s", v / factor, name);
            return;
        }
    }
    snprintf(out, size, "%.15g", v);
}

const char *
option_range_text(const struct option *option, char *out, size_t size)
{
    char low[32], high[32];
    out[0] = '\0';
    if ((option->min == 0 && option->max == 0) || option->type == OPTION_TEXT
        || option->type == OPTION_LIST || option->type == OPTION_FLAG)
        return out;
    bound_text(option, option->min, low, sizeof low);
    bound_text(option, option->max, high, sizeof high);
    snprintf(out, size, "%s to %s", low, high);
    return out;
}

/* "description (1 to 9 req/s; default: 3)" into out. */
static void
full_text(const struct option *option, char *out, size_t size)
{
    char range[80], facts[256] = "";
    size_t len = 0;
    option_range_text(option, range, sizeof range);
    const bool has_unit = option->unit != NULL && option->type != OPTION_TEXT
                          && option->type != OPTION_LIST;
    const char *parts[4];
    char unit[160], standard[160];
    size_t count = 0;
    if (range[0] != '\0' || has_unit) {
        snprintf(unit, sizeof unit, "%s%s%s", range,
                 range[0] != '\0' && has_unit ? " " : "",
                 has_unit ? option->unit : "");
        parts[count++] = unit;
    }
    if (option->type == OPTION_LIST)
        parts[count++] = "may be given often";
    if (option->required && option->default_value == NULL)
        parts[count++] = "required";
    if (option->default_value != NULL && option->default_value[0] != '\0') {
        snprintf(standard, sizeof standard, "default: %s",
                 option->default_value);
        parts[count++] = standard;
    }
    for (size_t i = 0; i < count && len < sizeof facts; i++)
        len += (size_t) snprintf(facts + len, sizeof facts - len, "%s%s",
                                 i == 0 ? " (" : "; ", parts[i]);
    snprintf(out, size, "%s%s%s", option->description, facts,
             count > 0 ? ")" : "");
}

/* Prints words from column `at`, with every line after the first begun by
 * `prefix` and indented. A newline in the text is kept. */
static void
print_wrapped(FILE *out, const char *text, size_t at, size_t indent,
              const char *prefix)
{
    bool is_first = true;
    while (*text != '\0') {
        if (*text == '\n') {
            fprintf(out, "\n%s%*s", prefix, (int) indent, "");
            at = indent + strlen(prefix);
            is_first = true;
            text++;
            continue;
        }
        if (*text == ' ') {
            text++;
            continue;
        }
        const size_t len = strcspn(text, " \n");
        if (!is_first && at + 1 + len > WIDTH) {
            fprintf(out, "\n%s%*s", prefix, (int) indent, "");
            at = indent + strlen(prefix);
            is_first = true;
        }
        fprintf(out, "%s%.*s", is_first ? "" : " ", (int) len, text);
        at += len + !is_first;
        is_first = false;
        text += len;
    }
    fputc('\n', out);
}

static size_t
left_text(const struct option *option, char *out, size_t size)
{
    const char *placeholder = option_placeholder(option);
    const int n = snprintf(out, size, "  --%s%s%s", option->name,
                           placeholder == NULL ? "" : " ",
                           placeholder == NULL ? "" : placeholder);
    return n < 0 ? 0 : (size_t) n;
}

static void
print_row(FILE *out, const char *left, size_t column, const char *text)
{
    fputs(left, out);
    size_t at = strlen(left);
    if (at + 2 > column) {
        fputc('\n', out);
        at = 0;
    }
    fprintf(out, "%*s", (int) (column - at), "");
    print_wrapped(out, text, column, column, "");
}

static size_t
column_of(const struct program *program)
{
    size_t column = strlen("  --config FILE") + 2;
    for (size_t i = 0; i < program->option_count; i++) {
        char left[128];
        const size_t len =
            left_text(&program->options[i], left, sizeof left) + 2;
        if (len > column && len <= COLUMN_MAX)
            column = len;
    }
    return column;
}

static const struct {
    const char *left, *text;
} common[] = {
    {"  --config FILE", "Read options from FILE too, as name = value lines; "
                        "the command line wins."},
    {"  --help", "Show this."},
    {"  --man", "Print the manual page."},
    {"  --sample", "Print a configuration file with every default."},
    {"  --version", "Print the version."},
};

void
options_print_help(const struct program *program, FILE *out)
{
    const bool has_arguments =
        program->synopsis != NULL && program->synopsis[0] != '\0';
    fprintf(out, "usage: %s [OPTION...]%s%s\n\n", program->name,
            has_arguments ? " " : "", has_arguments ? program->synopsis : "");
    char summary[256];
    snprintf(summary, sizeof summary, "%s", program->summary);
    summary[0] = (char) toupper((unsigned char) summary[0]);
    print_wrapped(out, summary, 0, 0, "");
    if (program->details != NULL) {
        fputc('\n', out);
        print_wrapped(out, program->details, 0, 0, "");
    }
    fputs("\noptions:\n", out);
    const size_t column = column_of(program);
    for (size_t i = 0; i < program->option_count; i++) {
        char left[128], text[1024];
        left_text(&program->options[i], left, sizeof left);
        full_text(&program->options[i], text, sizeof text);
        print_row(out, left, column, text);
    }
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        print_row(out, common[i].left, column, common[i].text);
}

/* Text for roff: no request at a line's start, no hyphenated dashes. */
static void
print_roff(FILE *out, const char *text)
{
    bool at_start = true;
    for (; *text != '\0'; text++) {
        if (at_start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        at_start = *text == '\n';
        if (*text == '\n' && text[1] == '\n') {
            fputs("\n.PP\n", out);
            text++;
        } else if (*text == '-') {
            fputs("\\-", out);
        } else if (*text == '\\') {
            fputs("\\e", out);
        } else {
            fputc(*text, out);
        }
    }
    fputc('\n', out);
}

static void
print_roff_option(FILE *out, const char *name, const char *placeholder,
                  const char *text)
{
    fputs(".TP\n\\fB\\-\\-", out);
    for (const char *p = name; *p != '\0'; p++)
        fprintf(out, "%s%c", *p == '-' ? "\\" : "", *p);
    fputs("\\fR", out);
    if (placeholder != NULL)
        fprintf(out, " \\fI%s\\fR", placeholder);
    fputc('\n', out);
    print_roff(out, text);
}

void
options_print_man(const struct program *program, FILE *out)
{
    char page[128];
    snprintf(page, sizeof page, "%s", program->name);
    for (char *p = page; *p != '\0'; p++)
        *p = *p == ' ' ? '-' : *p;
    fputs(".TH \"", out);
    for (const char *p = page; *p != '\0'; p++)
        fputc(toupper((unsigned char) *p), out);
    fprintf(out, "\" 1 \"\" \"VODST %s\" \"VODST\"\n.SH NAME\n", VODST_VERSION);
    for (const char *p = page; *p != '\0'; p++)
        fprintf(out, "%s%c", *p == '-' ? "\\" : "", *p);
    fputs(" \\- ", out);
    print_roff(out, program->summary);
    fputs(".SH SYNOPSIS\n.B ", out);
    print_roff(out, program->name);
    fputs("[\\fIOPTION\\fR...]", out);
    if (program->synopsis != NULL && program->synopsis[0] != '\0')
        fprintf(out, " \\fI%s\\fR", program->synopsis);
    fputs("\n.SH DESCRIPTION\n", out);
    print_roff(out,
               program->details != NULL ? program->details : program->summary);
    fputs(".SH OPTIONS\n", out);
    for (size_t i = 0; i < program->option_count; i++) {
        char text[1024];
        full_text(&program->options[i], text, sizeof text);
        print_roff_option(out, program->options[i].name,
                          option_placeholder(&program->options[i]), text);
    }
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        print_roff_option(out, common[i].left + strlen("  --"), NULL,
                          common[i].text);
    fputs(".SH EXIT STATUS\n.TP\n0\nIt did what it was asked to, or was told "
          "to stop.\n.TP\n1\nIt could not; the reason is on standard error."
          "\n.TP\n2\nWrong use or configuration.\n",
          out);
}

void
options_print_sample(const struct program *program, FILE *out)
{
    fprintf(out, "# %s: %s\n# Use: %s --config FILE\n", program->name,
            program->summary, program->name);
    for (size_t i = 0; i < program->option_count; i++) {
        const struct option *option = &program->options[i];
        char text[1024];
        full_text(option, text, sizeof text);
        fputs("\n# ", out);
        print_wrapped(out, text, 2, 0, "# ");
        if (option->default_value != NULL)
            fprintf(out, "%s = %s\n", option->name, option->default_value);
        else if (option->type == OPTION_FLAG)
            fprintf(out, "%s = false\n", option->name);
        else
            fprintf(out, "# %s = \n", option->name);
    }
}
