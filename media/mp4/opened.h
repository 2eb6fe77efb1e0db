/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEDIA_MP4_OPENED_H
#define MEDIA_MP4_OPENED_H

/* For the tests of media/mp4/: films that are made, patched and parsed. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "core/err.h"
#include "media/testing/movie.h"

/* A file, where it may be patched, and what came of it. */
struct opened {
    struct buffer file;
    struct mp4_movie movie;
    struct mp4_error error;
    int err;
};

static inline void
opened_write(struct opened *o, const struct test_movie *movie)
{
    *o = (struct opened){0};
    buffer_init(&o->file, TEST_MOVIE_SIZE_MAX);
    test_movie_write(movie, &o->file);
    assert_int_equal(o->file.err, 0);
}

static inline void
opened_parse(struct opened *o)
{
    const struct bytes file = buffer_bytes(&o->file);
    memset(&o->error, 0, sizeof o->error);
    o->err = test_movie_open(&file, &o->movie, &o->error);
}

/* Only its first bytes, with nothing behind them. */
static inline void
opened_parse_cut(struct opened *o, size_t len)
{
    uint8_t *exact = malloc(len);
    memcpy(exact, o->file.ptr, len);
    const struct bytes file = {exact, len};
    o->err = test_movie_open(&file, &o->movie, &o->error);
    free(exact);
}

static inline void
opened_fini(struct opened *o)
{
    mp4_close(&o->movie);
    buffer_fini(&o->file);
}

/* The one track of a file that has to be good. */
static inline const struct mp4_track *
opened_track(struct opened *o, const struct test_movie *movie)
{
    opened_write(o, movie);
    opened_parse(o);
    if (o->err != 0)
        fail_msg("%s at %llu: %s", o->error.box,
                 (unsigned long long) o->error.offset, o->error.reason);
    assert_int_equal(o->movie.track_count, 1);
    return &o->movie.tracks[0];
}

static inline void
assert_samples_match_media(const struct opened *o,
                           const struct mp4_track *track)
{
    for (uint32_t i = 0; i < track->sample_count; i++) {
        const struct mp4_sample *s = &track->samples[i];
        for (uint32_t k = 0; k < s->size; k++)
            assert_int_equal(o->file.ptr[s->offset + k], i & 0xff);
    }
}

struct patch {
    struct test_movie movie;
    const char *box; /* the nth of this type ... */
    unsigned nth;
    uint32_t offset; /* ... has at this place behind its header ... */
    uint32_t value;  /* ... this big-endian word */
    int err;
    const char *error_box;
};

static inline void
assert_patches(const struct patch *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct patch *p = &cases[i];
        struct opened o;
        opened_write(&o, &p->movie);
        const size_t box =
            test_movie_find(buffer_bytes(&o.file), p->box, p->nth);
        store_be32(o.file.ptr + box + (8 + p->offset), p->value);
        opened_parse(&o);
        if (o.err != p->err)
            fail_msg("case %zu: %s, in %s: %s", i, err_name(o.err), o.error.box,
                     o.error.reason);
        if (p->error_box != NULL) {
            if (strcmp(o.error.box, p->error_box) != 0)
                fail_msg("case %zu: %s: %s", i, o.error.box, o.error.reason);
            assert_non_null(o.error.reason);
            /* a box that is missing has no place of its own */
            if (strcmp(p->box, p->error_box) == 0 && p->offset != -4u)
                assert_int_equal(o.error.offset, box);
        }
        opened_fini(&o);
    }
}

#endif
