/* SPDX-License-Identifier: Apache-2.0 */
/* JSON objects, see core/token_json.h. */

#include "core/token_json.h"

#include "core/err.h"

static void
blanks_skip(struct token_json *json)
{
    while (json->at < json->end
           && (*json->at == ' ' || *json->at == '\t' || *json->at == '\n'
               || *json->at == '\r'))
        json->at++;
}

static bool
char_take(struct token_json *json, uint8_t c)
{
    if (json->at == json->end || *json->at != c)
        return false;
    json->at++;
    return true;
}

static bool
hex4_take(struct token_json *json, unsigned *out)
{
    *out = 0;
    if (json->end - json->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        uint8_t c = *json->at++;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned) c - '0'
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10u
                         : c >= 'A' && c <= 'F' ? c - 'A' + 10u
                                                : 16u;
        if (digit > 15)
            return false;
        *out = *out << 4 | digit;
    }
    return true;
}

/* Shorter in UTF-8 than the escape was. */
static uint8_t *
utf8_put(uint8_t *out, unsigned c)
{
    if (c < 0x80) {
        *out++ = (uint8_t) c;
        return out;
    }
    if (c >= 0x10000) {
        *out++ = (uint8_t) (0xf0 | c >> 18);
        *out++ = (uint8_t) (0x80 | (c >> 12 & 63));
    } else if (c >= 0x800) {
        *out++ = (uint8_t) (0xe0 | c >> 12);
    }
    *out++ = (uint8_t) (c < 0x800 ? 0xc0 | c >> 6 : 0x80 | (c >> 6 & 63));
    *out++ = (uint8_t) (0x80 | (c & 63));
    return out;
}

static bool
escape_take(struct token_json *json, uint8_t **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    unsigned c, low;

    if (json->at == json->end)
        return false;
    uint8_t kind = *json->at++;
    const char *found = kind != 0 ? strchr(from, kind) : NULL;
    if (found != NULL) {
        *(*out)++ = (uint8_t) to[found - from];
        return true;
    }
    if (kind != 'u' || !hex4_take(json, &c))
        return false;
    if (c >= 0xd800 && c < 0xe000) {
        if (c >= 0xdc00 || !char_take(json, '\\') || !char_take(json, 'u')
            || !hex4_take(json, &low) || low < 0xdc00 || low >= 0xe000)
            return false;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    *out = utf8_put(*out, c);
    return true;
}

/* A string, from its quote on. */
static bool
string_take(struct token_json *json, struct bytes *out)
{
    if (!char_take(json, '"'))
        return false;
    uint8_t *start = json->at;
    while (json->at < json->end && *json->at != '"' && *json->at != '\\'
           && *json->at >= ' ')
        json->at++;
    uint8_t *to = json->at;
    while (json->at < json->end && *json->at != '"') {
        uint8_t c = *json->at++;
        if (c == '\\') {
            if (!escape_take(json, &to))
                return false;
        } else if (c < ' ') {
            return false;
        } else {
            *to++ = c;
        }
    }
    *out = bytes_of(start, (size_t) (to - start));
    return char_take(json, '"');
}

static bool
digits_skip(struct token_json *json)
{
    const uint8_t *start = json->at;
    while (json->at < json->end && *json->at >= '0' && *json->at <= '9')
        json->at++;
    return json->at > start;
}

static bool
number_take(struct token_json *json, struct token_json_member *out)
{
    const bool is_negative = char_take(json, '-');
    const uint8_t *start = json->at;
    bool is_integer = true;

    if (!digits_skip(json) || (*start == '0' && json->at - start > 1))
        return false;
    struct bytes digits = bytes_of(start, (size_t) (json->at - start));
    if (char_take(json, '.')) {
        is_integer = false;
        if (!digits_skip(json))
            return false;
    }
    if (char_take(json, 'e') || char_take(json, 'E')) {
        is_integer = false;
        if (!char_take(json, '+'))
            char_take(json, '-');
        if (!digits_skip(json))
            return false;
    }
    if (is_integer && !is_negative && bytes_number(digits, &out->integer)
        && out->integer <= INT64_MAX)
        out->type = TOKEN_JSON_INTEGER;
    return true;
}

static bool value_take(struct token_json *json, struct token_json_member *out,
                       unsigned depth);

/* An array or an object, from behind its bracket. */
static bool
nested_skip(struct token_json *json, bool is_object, unsigned depth)
{
    const uint8_t close = is_object ? '}' : ']';
    struct token_json_member ignored;

    if (depth == TOKEN_JSON_DEPTH_MAX)
        return false;
    blanks_skip(json);
    if (char_take(json, close))
        return true;
    do {
        blanks_skip(json);
        if (is_object) {
            if (!string_take(json, &ignored.name))
                return false;
            blanks_skip(json);
            if (!char_take(json, ':'))
                return false;
        }
        if (!value_take(json, &ignored, depth + 1))
            return false;
        blanks_skip(json);
    } while (char_take(json, ','));
    return char_take(json, close);
}

static bool
word_take(struct token_json *json, struct bytes word)
{
    if ((size_t) (json->end - json->at) < word.len
        || memcmp(json->at, word.ptr, word.len) != 0)
        return false;
    json->at += word.len;
    return true;
}

static bool
value_take(struct token_json *json, struct token_json_member *out,
           unsigned depth)
{
    out->type = TOKEN_JSON_OTHER;
    blanks_skip(json);
    if (json->at == json->end)
        return false;
    switch (*json->at) {
    case '"':
        out->type = TOKEN_JSON_STRING;
        return string_take(json, &out->text);
    case '{':
    case '[':
        return nested_skip(json, *json->at++ == '{', depth);
    case 't':
        return word_take(json, BYTES_LITERAL("true"));
    case 'f':
        return word_take(json, BYTES_LITERAL("false"));
    case 'n':
        return word_take(json, BYTES_LITERAL("null"));
    default:
        return number_take(json, out);
    }
}

bool
token_json_open(struct token_json *json, uint8_t *text, size_t len)
{
    *json = (struct token_json){text, text + len, true};
    blanks_skip(json);
    return char_take(json, '{');
}

int
token_json_next(struct token_json *json, struct token_json_member *out)
{
    blanks_skip(json);
    if (char_take(json, '}')) {
        blanks_skip(json);
        return json->at == json->end ? 0 : ERR_INVALID;
    }
    if (!json->is_first && !char_take(json, ','))
        return ERR_INVALID;
    json->is_first = false;
    blanks_skip(json);
    if (!string_take(json, &out->name))
        return ERR_INVALID;
    blanks_skip(json);
    return char_take(json, ':') && value_take(json, out, 0) ? 1 : ERR_INVALID;
}
