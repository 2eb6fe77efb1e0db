/* SPDX-License-Identifier: Apache-2.0 */

#include "media/text/text_ts.h"

#include "core/err.h"
#include "media/text/text_track.h"
#include "media/ts/ts.h"

#include <assert.h>
#include <stdlib.h>

static const char stored[] = TEXT_SEGMENT_START("0");
static const char sent[] = TEXT_SEGMENT_START("900000");
static_assert(TS_TIME_START == 900000, "as in the text");

#define STORED_SIZE (sizeof stored - 1)
#define SENT_SIZE (sizeof sent - 1)

struct text_ts {
    struct transform super;
    size_t taken; /* of `stored` */
    size_t put;   /* of `sent` */
};

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void
put(struct transform_io *io, const void *bytes, size_t len)
{
    if (len > 0)
        memcpy(io->out, bytes, len);
    io->out += len;
    io->out_len -= len;
}

static int
text_ts_run(struct transform *self, struct transform_io *io)
{
    struct text_ts *t = (struct text_ts *) self;
    size_t len = least(SENT_SIZE - t->put, io->out_len);
    put(io, sent + t->put, len);
    t->put += len;

    len = least(STORED_SIZE - t->taken, io->in_len);
    if (len > 0 && memcmp(io->in, stored + t->taken, len) != 0)
        return ERR_INVALID;
    t->taken += len;
    io->in += len;
    io->in_len -= len;

    if (t->put == SENT_SIZE) {
        len = least(io->in_len, io->out_len);
        put(io, io->in, len);
        io->in += len;
        io->in_len -= len;
    }
    return 0;
}

static void
text_ts_close(struct transform *self)
{
    free(self);
}

int
text_ts_transform_open(uint64_t size, struct transform **out)
{
    if (size < STORED_SIZE)
        return ERR_INVALID;
    struct text_ts *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_MEMORY;
    t->super = (struct transform){
        .size_in = size,
        .size_out = size - STORED_SIZE + SENT_SIZE,
        .run = text_ts_run,
        .close = text_ts_close,
    };
    *out = &t->super;
    return 0;
}
