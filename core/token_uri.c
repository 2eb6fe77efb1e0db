/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URIs and patterns, see core/token_uri.h. Own code instead of regcomp(): that
 * compiles for longer than a verification may take, allocates, and has no
 * bound that an issuer's mistake could not pass.
 */

#include "core/token_uri.h"

#define PATTERN_STEPS_MAX 20000
#define PATTERN_COUNT_MAX 255

/* ---- the URI ---- */

/* Of what a path is made without an escape, RFC 3986 section 3.3. */
static bool
is_path_char(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
           || (c >= '/' && c <= ';') || c == '-' || c == '.' || c == '_'
           || c == '~' || c == '!' || c == '$' || (c >= '&' && c <= ',')
           || c == '=' || c == '@';
}

static bool
is_query_char(uint8_t c)
{
    return is_path_char(c) || c == '?' || c == '%';
}

/* A host may not end early for whoever compares: no slash is in it. */
static bool
is_authority_char(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
           || (c >= '0' && c <= ':') || c == '-' || c == '.' || c == '_'
           || c == '~' || c == '[' || c == ']';
}

struct uri_writer {
    char *at;
    const char *end;
    bool is_full;
};

static struct bytes
uri_append(struct uri_writer *w, struct bytes text)
{
    char *start = w->at;
    if (text.len > (size_t) (w->end - w->at)) {
        w->is_full = true;
        return bytes_of(start, 0);
    }
    if (text.len > 0)
        memcpy(start, text.ptr, text.len);
    w->at += text.len;
    return bytes_of(start, text.len);
}

static void
authority_split(struct bytes authority, struct token_uri *uri)
{
    size_t len = authority.len;
    while (len > 0 && authority.ptr[len - 1] >= '0'
           && authority.ptr[len - 1] <= '9')
        len--;
    bool has_port = len > 0 && authority.ptr[len - 1] == ':';
    uri->host = bytes_of(authority.ptr, has_port ? len - 1 : authority.len);
    uri->port = has_port ? bytes_of(authority.ptr + len, authority.len - len)
                         : bytes_of(authority.ptr, 0);
}

bool
token_uri_make(const struct token_request *request, struct token_uri *uri)
{
    struct uri_writer w = {uri->text, uri->text + sizeof uri->text, false};

    uri->scheme = uri_append(&w, request->scheme);
    uri_append(&w, BYTES_LITERAL("://"));
    authority_split(uri_append(&w, request->authority), uri);
    uri->path.ptr = uri_append(&w, request->prefix).ptr;
    uri_append(&w, request->content);
    uri_append(&w, BYTES_LITERAL("/"));
    uri_append(&w, request->rest);
    uri->path.len = (size_t) ((const uint8_t *) w.at - uri->path.ptr);
    const char *query = w.at;
    if (request->query.len > 0) {
        uri_append(&w, BYTES_LITERAL("?"));
        uri_append(&w, request->query);
    }
    uri->all = bytes_of(uri->text, (size_t) (w.at - uri->text));
    if (w.is_full)
        return false;
    for (size_t i = 0; i < request->authority.len; i++)
        if (!is_authority_char(request->authority.ptr[i]))
            return false;
    for (size_t i = 0; i < uri->path.len; i++)
        if (!is_path_char(uri->path.ptr[i]))
            return false;
    for (; query < w.at; query++)
        if (!is_query_char((uint8_t) *query))
            return false;
    return true;
}

/* ---- the pattern ---- */

/* One atom of a pattern, and how often it may stand. */
struct atom {
    struct bytes set; /* inside the brackets, or one character */
    bool is_any, is_set, is_negated;
    unsigned least, most;
};

struct matcher {
    struct bytes pattern, text;
    unsigned steps;
    bool is_unknown; /* the pattern is not one of these */
};

static bool
number_take(struct bytes pattern, size_t *at, unsigned *out)
{
    const size_t start = *at;
    unsigned n = 0;
    while (*at < pattern.len && pattern.ptr[*at] >= '0'
           && pattern.ptr[*at] <= '9' && n <= PATTERN_COUNT_MAX)
        n = n * 10 + (unsigned) (pattern.ptr[(*at)++] - '0');
    *out = n;
    return *at > start && n <= PATTERN_COUNT_MAX;
}

/* "{m}", "{m,}" or "{m,n}", from behind the brace. */
static bool
bounds_take(struct bytes pattern, size_t *at, struct atom *atom)
{
    if (!number_take(pattern, at, &atom->least))
        return false;
    atom->most = atom->least;
    if (*at < pattern.len && pattern.ptr[*at] == ',') {
        ++*at;
        if (*at < pattern.len && pattern.ptr[*at] == '}')
            atom->most = UINT32_MAX;
        else if (!number_take(pattern, at, &atom->most)
                 || atom->most < atom->least)
            return false;
    }
    return *at < pattern.len && pattern.ptr[(*at)++] == '}';
}

static bool
quantifier_take(struct bytes pattern, size_t *at, struct atom *atom)
{
    atom->least = atom->most = 1;
    if (*at == pattern.len)
        return true;
    switch (pattern.ptr[*at]) {
    case '*':
        atom->least = 0;
        atom->most = UINT32_MAX;
        break;
    case '+':
        atom->most = UINT32_MAX;
        break;
    case '?':
        atom->least = 0;
        break;
    case '{':
        ++*at;
        return bounds_take(pattern, at, atom);
    default:
        return true;
    }
    ++*at;
    return true;
}

/* "[...]", from behind the bracket: "]" may stand first, and "[" begins a
 * class, which is none of these. */
static bool
set_take(struct bytes pattern, size_t *at, struct atom *atom)
{
    atom->is_set = true;
    atom->is_negated = *at < pattern.len && pattern.ptr[*at] == '^';
    *at += atom->is_negated;
    const size_t start = *at;
    while (*at < pattern.len && (pattern.ptr[*at] != ']' || *at == start)) {
        if (pattern.ptr[*at] == '[')
            return false;
        ++*at;
    }
    if (*at == pattern.len)
        return false;
    atom->set = bytes_of(pattern.ptr + start, *at - start);
    ++*at;
    return true;
}

static bool
is_special(uint8_t c)
{
    return memchr("^.[$()|*+?{\\", c, 12) != NULL;
}

/* Takes the atom at *at. */
static bool
atom_take(struct bytes pattern, size_t *at, struct atom *atom)
{
    uint8_t c = pattern.ptr[(*at)++];

    *atom = (struct atom){.set = bytes_of(&pattern.ptr[*at - 1], 1)};
    if (c == '.') {
        atom->is_any = true;
    } else if (c == '[') {
        if (!set_take(pattern, at, atom))
            return false;
    } else if (c == '\\') {
        /* what it does before any other is undefined */
        if (*at == pattern.len
            || (!is_special(pattern.ptr[*at]) && pattern.ptr[*at] != '/'
                && pattern.ptr[*at] != '-' && pattern.ptr[*at] != '}'
                && pattern.ptr[*at] != ']'))
            return false;
        atom->set = bytes_of(&pattern.ptr[(*at)++], 1);
    } else if (is_special(c)) {
        return false;
    }
    return quantifier_take(pattern, at, atom);
}

static bool
atom_has(const struct atom *atom, uint8_t c)
{
    if (atom->is_any)
        return true;
    if (!atom->is_set)
        return atom->set.ptr[0] == c;
    const uint8_t *p = atom->set.ptr, *end = p + atom->set.len;
    bool has = false;
    while (p < end && !has) {
        if (end - p >= 3 && p[1] == '-') { /* a range */
            has = p[0] <= c && c <= p[2];
            p += 3;
        } else {
            has = *p++ == c;
        }
    }
    return has != atom->is_negated;
}

/* The text from `t` on against the pattern from `p` on: as much as can be of
 * each atom first, then less. As deep as the pattern has atoms. */
static bool
pattern_match(struct matcher *m, size_t p, size_t t)
{
    struct atom atom;

    for (;;) {
        if (p == m->pattern.len)
            return t == m->text.len;
        if (m->pattern.ptr[p] == '$' && p + 1 == m->pattern.len)
            return t == m->text.len;
        if (!atom_take(m->pattern, &p, &atom)) {
            m->is_unknown = true;
            return false;
        }
        if (atom.least != 1 || atom.most != 1)
            break;
        if (++m->steps > PATTERN_STEPS_MAX || t == m->text.len
            || !atom_has(&atom, m->text.ptr[t]))
            return false;
        t++;
    }
    size_t count = 0;
    while (count < atom.most && t + count < m->text.len
           && atom_has(&atom, m->text.ptr[t + count]))
        count++;
    m->steps += (unsigned) count;
    for (;; count--) {
        if (count < atom.least || ++m->steps > PATTERN_STEPS_MAX)
            return false;
        if (pattern_match(m, p, t + count))
            return true;
        if (count == 0 || m->is_unknown)
            return false;
    }
}

bool
token_pattern_matches(struct bytes pattern, struct bytes text)
{
    struct matcher m = {.pattern = pattern, .text = text};
    size_t start = pattern.len > 0 && pattern.ptr[0] == '^';

    return pattern_match(&m, start, 0);
}
