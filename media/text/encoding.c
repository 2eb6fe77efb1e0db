/* SPDX-License-Identifier: Apache-2.0 */

#include "media/text/encoding.h"

#include "core/err.h"

#define REPLACEMENT 0xfffd

/* Takes a character off the front of `rest`, which is not empty; false when
 * none is there. */
typedef bool take_function(struct bytes *rest, uint32_t *out);

static struct bytes
bytes_after(struct bytes bytes, size_t len)
{
    return bytes_of(bytes.ptr + len, bytes.len - len);
}

static bool
utf8_take(struct bytes *rest, uint32_t *out)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const uint8_t first = rest->ptr[0];
    const size_t tail = first < 0x80             ? 0
                        : (first & 0xe0) == 0xc0 ? 1
                        : (first & 0xf0) == 0xe0 ? 2
                        : (first & 0xf8) == 0xf0 ? 3
                                                 : SIZE_MAX;
    if (tail >= rest->len)
        return false;
    uint32_t c = tail == 0 ? first : first & (0x3fu >> tail);
    for (size_t i = 1; i <= tail; i++) {
        if ((rest->ptr[i] & 0xc0) != 0x80)
            return false;
        c = c << 6 | (rest->ptr[i] & 0x3f);
    }
    if (c < least[tail] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return false;
    *out = c;
    *rest = bytes_after(*rest, 1 + tail);
    return true;
}

static bool
utf16_take(struct bytes *rest, bool is_big, uint32_t *out)
{
    uint32_t units[2] = {0};
    for (size_t i = 0; i < 2 && rest->len >= 2 * i + 2; i++) {
        const uint8_t *p = rest->ptr + 2 * i;
        units[i] = is_big ? load_be16(p) : load_le16(p);
    }
    const bool is_pair = units[0] >= 0xd800 && units[0] < 0xdc00
                         && units[1] >= 0xdc00 && units[1] < 0xe000;
    if (rest->len < 2 || (!is_pair && units[0] >= 0xd800 && units[0] < 0xe000))
        return false;
    *out = is_pair ? 0x10000 + ((units[0] - 0xd800) << 10) + units[1] - 0xdc00
                   : units[0];
    *rest = bytes_after(*rest, is_pair ? 4 : 2);
    return true;
}

static bool
utf16le_take(struct bytes *rest, uint32_t *out)
{
    return utf16_take(rest, false, out);
}

static bool
utf16be_take(struct bytes *rest, uint32_t *out)
{
    return utf16_take(rest, true, out);
}

/* The five bytes without a character are controls, as browsers have it. */
static bool
windows1252_take(struct bytes *rest, uint32_t *out)
{
    static const uint16_t high[32] = {
        0x20ac, 0x0081, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021,
        0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x008d, 0x017d, 0x008f,
        0x0090, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
        0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x009d, 0x017e, 0x0178,
    };
    const uint8_t byte = rest->ptr[0];
    *out = byte >= 0x80 && byte < 0xa0 ? high[byte - 0x80] : byte;
    *rest = bytes_after(*rest, 1);
    return true;
}

static void
utf8_append(uint32_t c, struct buffer *out)
{
    if (c < 0x80) {
        buffer_append_u8(out, (uint8_t) c);
        return;
    }
    const unsigned tail = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t marks[] = {0, 0xc0, 0xe0, 0xf0};
    buffer_append_u8(out, (uint8_t) (marks[tail] | c >> 6 * tail));
    for (unsigned i = tail; i-- > 0;)
        buffer_append_u8(out, (uint8_t) (0x80 | (c >> 6 * i & 0x3f)));
}

static bool
is_utf8(struct bytes text)
{
    uint32_t c;
    while (text.len > 0 && utf8_take(&text, &c))
        ;
    return text.len == 0;
}

static bool
mark_take(struct bytes *file, const char *mark)
{
    const struct bytes m = bytes_of_text(mark);
    if (file->len < m.len || memcmp(file->ptr, m.ptr, m.len) != 0)
        return false;
    *file = bytes_after(*file, m.len);
    return true;
}

static take_function *
encoding_find(struct bytes *file)
{
    if (mark_take(file, "\xef\xbb\xbf"))
        return utf8_take;
    if (mark_take(file, "\xff\xfe"))
        return utf16le_take;
    if (mark_take(file, "\xfe\xff"))
        return utf16be_take;
    return is_utf8(*file) ? utf8_take : windows1252_take;
}

int
text_as_utf8(struct bytes file, struct buffer *out, uint32_t *line)
{
    take_function *take = encoding_find(&file);
    uint32_t c, before = 0;
    for (uint32_t number = 1; file.len > 0; before = c) {
        if (!take(&file, &c)) {
            *line = number;
            return ERR_INVALID;
        }
        if (c == '\n' && before == '\r')
            continue;
        number += c == '\n' || c == '\r';
        utf8_append(c == '\r' ? '\n' : c == 0 ? REPLACEMENT : c, out);
    }
    return out->err;
}
