/* SPDX-License-Identifier: Apache-2.0 */

#include "core/cmcd.h"

static bool
is_separator(uint8_t c)
{
    return c == ',' || c == '=' || c == '"' || c <= ' ' || c == 0x7f;
}

/* Takes what is neither a separator nor beyond ASCII's printable ones. */
static struct bytes
word_take(struct bytes *text)
{
    size_t len = 0;
    while (len < text->len && !is_separator(text->ptr[len]))
        len++;
    const struct bytes word = bytes_of(text->ptr, len);
    *text = bytes_of(text->ptr + len, text->len - len);
    return word;
}

static bool
char_take(struct bytes *text, char c)
{
    if (text->len == 0 || text->ptr[0] != (uint8_t) c)
        return false;
    *text = bytes_of(text->ptr + 1, text->len - 1);
    return true;
}

/* Behind the first quote, and to behind the last. */
static bool
string_take(struct bytes *text, struct bytes *out)
{
    for (size_t i = 0; i < text->len; i++) {
        if (text->ptr[i] == '\\') {
            i++;
        } else if (text->ptr[i] == '"') {
            *out = bytes_of(text->ptr, i);
            *text = bytes_of(text->ptr + i + 1, text->len - i - 1);
            return true;
        }
    }
    return false;
}

static bool
value_take(struct bytes *text, struct bytes *out)
{
    if (!char_take(text, '=')) {
        *out = bytes_of_text("1");
        return true;
    }
    if (char_take(text, '"'))
        return string_take(text, out);
    *out = word_take(text);
    return out->len > 0;
}

bool
cmcd_find(struct bytes text, struct bytes key, struct bytes *value)
{
    for (;;) {
        while (char_take(&text, ' '))
            ;
        const struct bytes name = word_take(&text);
        if (name.len == 0 || !value_take(&text, value))
            return false;
        while (char_take(&text, ' '))
            ;
        if (text.len != 0 && !char_take(&text, ','))
            return false;
        if (bytes_equal(name, key))
            return true;
        if (text.len == 0)
            return false;
    }
}
