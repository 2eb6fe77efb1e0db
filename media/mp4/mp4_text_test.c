/* SPDX-License-Identifier: Apache-2.0 */

#include "media/mp4/mp4_text.h"
#include "media/mp4/opened.h"

/* ---- samples ---- */

#define SAMPLES_MAX 16

/* Those of one film, in memory that does not move. */
struct texts {
    struct bytes list[SAMPLES_MAX];
    uint32_t count;
    uint8_t memory[4096];
    size_t len;
};

static void
sample_begin(struct texts *t)
{
    assert_true(t->count < SAMPLES_MAX);
    t->list[t->count] = bytes_of(t->memory + t->len, 0);
}

static void
put(struct texts *t, const void *bytes, size_t len)
{
    assert_true(len <= sizeof t->memory - t->len);
    if (len > 0)
        memcpy(t->memory + t->len, bytes, len);
    t->len += len;
}

static void
word_put(struct texts *t, uint16_t word)
{
    const uint8_t bytes[2] = {(uint8_t) (word >> 8), (uint8_t) word};
    put(t, bytes, sizeof bytes);
}

static void
sample_end(struct texts *t)
{
    struct bytes *sample = &t->list[t->count++];
    sample->len = (size_t) (t->memory + t->len - sample->ptr);
}

static size_t
box_begin(struct texts *t, const char *type)
{
    const size_t start = t->len;
    put(t, "\0\0\0", 4);
    put(t, type, 4);
    return start;
}

static void
box_end(struct texts *t, size_t start)
{
    store_be32(t->memory + start, (uint32_t) (t->len - start));
}

static void
box_put(struct texts *t, const char *type, const void *bytes, size_t len)
{
    const size_t box = box_begin(t, type);
    put(t, bytes, len);
    box_end(t, box);
}

/* id 0: none. */
static void
vttc(struct texts *t, uint32_t id, const char *settings, const char *text)
{
    const size_t box = box_begin(t, "vttc");
    uint8_t bytes[4];
    store_be32(bytes, id);
    if (id != 0)
        box_put(t, "vsid", bytes, 4);
    if (settings != NULL)
        box_put(t, "sttg", settings, strlen(settings));
    if (text != NULL)
        box_put(t, "payl", text, strlen(text));
    box_end(t, box);
}

/* A sample with one cue, or with none. */
static void
wvtt(struct texts *t, uint32_t id, const char *text)
{
    sample_begin(t);
    if (text != NULL)
        vttc(t, id, NULL, text);
    else
        box_put(t, "vtte", NULL, 0);
    sample_end(t);
}

static void
tx3g_begin(struct texts *t, struct bytes text)
{
    sample_begin(t);
    word_put(t, (uint16_t) text.len);
    put(t, text.ptr, text.len);
}

static void
tx3g(struct texts *t, const char *text)
{
    tx3g_begin(t, bytes_of_text(text));
    sample_end(t);
}

/* Of characters from start to end. */
static void
style(struct texts *t, uint16_t start, uint16_t end, uint8_t faces)
{
    const uint8_t rest[8] = {[2] = faces};
    word_put(t, start);
    word_put(t, end);
    put(t, rest, sizeof rest);
}

/* ---- films ---- */

struct read {
    struct buffer file;
    struct mp4_movie movie;
    struct mp4_error error;
    struct cues cues;
    int err;
};

static void
film_write(struct read *r, const struct texts *t, struct test_movie movie)
{
    *r = (struct read){0};
    movie.kind = TRACK_TEXT;
    if (t != NULL) {
        movie.texts = t->list;
        movie.sample_count = t->count;
    }
    buffer_init(&r->file, TEST_MOVIE_SIZE_MAX);
    test_movie_write(&movie, &r->file);
    assert_int_equal(r->file.err, 0);
}

static void
film_read(struct read *r, int64_t zero_us)
{
    struct bytes file = buffer_bytes(&r->file);
    const struct mp4_source source = {test_movie_read, &file, file.len};
    r->err = mp4_open_texts(&source, &r->movie, &r->error);
    if (r->err == 0 && r->movie.text_count == 1)
        r->err = mp4_text_read(&source, &r->movie.texts[0], zero_us, &r->cues,
                               &r->error);
}

static void
film_open(struct read *r, const struct texts *t, struct test_movie movie)
{
    film_write(r, t, movie);
    film_read(r, 0);
    if (r->err != 0)
        fail_msg("%s at %llu: %s", r->error.box,
                 (unsigned long long) r->error.offset, r->error.reason);
    assert_int_equal(r->movie.text_count, 1);
    assert_int_equal(r->movie.track_count, 0);
}

static void
film_close(struct read *r)
{
    if (r->err == 0)
        cues_free(&r->cues);
    mp4_close(&r->movie);
    buffer_fini(&r->file);
}

/* "1000-2000 line:0|text;..." */
static void
cues_expect(const struct read *r, const char *expected)
{
    struct buffer out;
    buffer_init(&out, 4096);
    for (uint32_t i = 0; i < r->cues.count; i++) {
        const struct cue *c = &r->cues.list[i];
        const struct bytes settings = cue_settings(&r->cues, c);
        buffer_printf(&out, "%llu-%llu", (unsigned long long) c->start_ms,
                      (unsigned long long) c->end_ms);
        if (settings.len > 0)
            buffer_append_text(&out, " ");
        buffer_append_bytes(&out, settings);
        buffer_append_text(&out, "|");
        buffer_append_bytes(&out, cue_text(&r->cues, c));
        buffer_append_text(&out, ";");
    }
    buffer_append_u8(&out, 0);
    assert_string_equal((char *) out.ptr, expected);
    buffer_fini(&out);
}

static void
samples_expect(const struct texts *t, struct test_movie movie,
               const char *expected)
{
    struct read r;
    film_open(&r, t, movie);
    cues_expect(&r, expected);
    film_close(&r);
}

#define MOVIE(...)           \
    (struct test_movie)      \
    {                        \
        .codec = __VA_ARGS__ \
    }

/* ---- WebVTT ---- */

static void
a_cue_of_several_samples_is_one(void **state)
{
    struct texts t = {0};
    wvtt(&t, 0, NULL);
    wvtt(&t, 0, "A");
    sample_begin(&t);
    vttc(&t, 0, NULL, "A");
    vttc(&t, 0, "line:0  x:1 align:left", "B");
    sample_end(&t);
    sample_begin(&t);
    vttc(&t, 0, "line:0 align:left", "B");
    vttc(&t, 0, NULL, "C");
    sample_end(&t);
    wvtt(&t, 0, "C");
    sample_begin(&t); /* of no bytes */
    sample_end(&t);
    wvtt(&t, 0, "C");
    samples_expect(&t, MOVIE("wvtt"),
                   "1000-3000|A;2000-4000 line:0 align:left|B;3000-5000|C;"
                   "6000-7000|C;");
}

static void
the_source_id_says_what_is_one_cue(void **state)
{
    struct texts t = {0};
    wvtt(&t, 1, "A");
    wvtt(&t, 2, "A");
    wvtt(&t, 2, "A");
    wvtt(&t, 0, "A");
    sample_begin(&t); /* the same text twice, and both go on */
    vttc(&t, 0, NULL, "A");
    vttc(&t, 0, NULL, "A");
    sample_end(&t);
    sample_begin(&t);
    vttc(&t, 0, NULL, "A");
    vttc(&t, 0, NULL, "A");
    sample_end(&t);
    samples_expect(&t, MOVIE("wvtt"),
                   "0-1000|A;1000-3000|A;3000-6000|A;4000-6000|A;");
}

static void
what_would_end_a_cue_does_not(void **state)
{
    struct texts t = {0};
    wvtt(&t, 0, "\r\n\r\n<i>a</i>\n\n\nb --> c\n");
    wvtt(&t, 0, "\n");
    sample_begin(&t);
    vttc(&t, 0, "line:1\n\nalign:left", NULL); /* without a text */
    vttc(&t, 0, "line:1\n\nalign:left", "d");
    sample_end(&t);
    samples_expect(&t, MOVIE("wvtt"),
                   "0-1000|<i>a</i>\nb --&gt; c;"
                   "2000-3000 line:1 align:left|d;");
}

static void
the_head_is_kept(void **state)
{
    struct texts t = {0};
    struct read r;
    wvtt(&t, 0, "A");
    film_open(&r, &t,
              MOVIE("wvtt", .text_head = "WEBVTT from afar\n\nSTYLE\n"
                                         "::cue { color: red }"));
    assert_memory_equal(r.cues.head.ptr, "STYLE\n::cue { color: red }\n\n",
                        r.cues.head.len);
    assert_int_equal(r.cues.head.len, 28);
    film_close(&r);
}

/* ---- 3GPP ---- */

static void
an_empty_text_is_a_gap(void **state)
{
    struct texts t = {0};
    tx3g(&t, "");
    tx3g(&t, "a\r\n\nb");
    sample_begin(&t);
    sample_end(&t);
    tx3g(&t, "c");
    tx3g(&t, "c");
    samples_expect(&t, MOVIE("tx3g"),
                   "1000-2000|a\nb;3000-4000|c;4000-5000|c;");
}

static void
marks_of_webvtt_are_text(void **state)
{
    struct texts t = {0};
    tx3g(&t, "1 < 2 & 3 --> 4");
    tx3g_begin(&t, BYTES_LITERAL("\xfe\xff\x00\xe9\x20\xac"));
    sample_end(&t);
    tx3g(&t, "caf\xe9"); /* whoever wrote that */
    samples_expect(&t, MOVIE("tx3g"),
                   "0-1000|1 &lt; 2 &amp; 3 --&gt; 4;1000-2000|é€;"
                   "2000-3000|café;");
}

static void
styles_are_tags(void **state)
{
    struct texts t = {0};
    tx3g_begin(&t, bytes_of_text("é1\n23"));
    size_t box = box_begin(&t, "styl");
    put(&t, "\0\3", 2);
    style(&t, 0, 1, 2);
    style(&t, 1, 4, 3);
    style(&t, 4, 9, 4);
    box_end(&t, box);
    box_put(&t, "hlit", "\0\0\0\1", 4);
    sample_end(&t);
    tx3g_begin(&t, bytes_of_text("abc"));
    box = box_begin(&t, "styl");
    put(&t, "\0\1", 2);
    style(&t, 1, 2, 0);
    box_end(&t, box);
    sample_end(&t);
    samples_expect(&t, MOVIE("tx3g", .text_faces = 2),
                   "0-1000|<i>é</i><b><i>1\n2</i></b><u>3</u>;"
                   "1000-2000|<i>a</i>b<i>c</i>;");
}

/* ---- times ---- */

static void
times_are_those_of_the_film(void **state)
{
    static const struct test_edit edits[] = {{500, -1, 0}, {2200, 700, 0}};
    struct texts t = {0};
    struct read r;
    wvtt(&t, 0, "A");
    wvtt(&t, 0, NULL);
    wvtt(&t, 0, "B");
    wvtt(&t, 0, "C");
    /* 0.7 s are cut off in front, and what is behind 2.9 s of the media */
    const struct test_movie movie =
        MOVIE("wvtt", .edits = edits, .edit_count = 2);
    samples_expect(&t, movie, "0-800|A;1800-2700|B;");
    film_write(&r, &t, movie);
    film_read(&r, 600000);
    cues_expect(&r, "0-200|A;1200-2100|B;");
    film_close(&r);
    film_write(&r, &t, movie);
    film_read(&r, -1000400); /* later, and rounded */
    cues_expect(&r, "800-1800|A;2800-3700|B;");
    film_close(&r);
    samples_expect(&t,
                   MOVIE("wvtt", .timescale = 90000, .sample_duration = 90044),
                   "0-1000|A;2001-3001|B;3001-4002|C;");
}

static void
nothing_is_seen_in_a_gap_between_fragments(void **state)
{
    struct texts t = {0};
    tx3g(&t, "a");
    tx3g(&t, "b");
    tx3g(&t, "c");
    tx3g(&t, "d");
    samples_expect(&t,
                   MOVIE("tx3g", .is_fragmented = true, .samples_per_chunk = 2,
                         .fragment_gap = 5000, .fragment_time = 100),
                   "100-1100|a;1100-2100|b;7100-8100|c;8100-9100|d;");
}

static void
a_track_without_samples_has_no_cues(void **state)
{
    struct read r;
    film_open(&r, NULL,
              MOVIE("wvtt", .is_fragmented = true, .without = "moof",
                    .sample_count = 1));
    assert_int_equal(r.cues.count, 0);
    film_close(&r);
}

/* ---- tracks ---- */

static bool
is_forced(struct test_movie movie)
{
    struct texts t = {0};
    struct read r;
    tx3g(&t, "");
    film_open(&r, &t, movie);
    const bool is = r.movie.texts[0].is_forced;
    film_close(&r);
    return is;
}

static void
the_track_says_that_it_is_forced(void **state)
{
    assert_false(is_forced(MOVIE("tx3g")));
    assert_false(is_forced(MOVIE("tx3g", .text_flags = 0x60000000)));
    assert_true(is_forced(MOVIE("tx3g", .text_flags = 0xc0000000)));
    assert_true(is_forced(MOVIE("tx3g", .role = "forced-subtitle")));
    assert_true(is_forced(MOVIE("tx3g", .role = "forced_subtitle")));
    assert_false(is_forced(MOVIE("tx3g", .role = "subtitle")));
}

static void
what_is_no_subtitles_is_passed_over(void **state)
{
    static const struct test_movie movies[] = {
        {.codec = "text"},
        {.codec = "stpp"},
        {.codec = "tx3g", .is_chapters = true},
        {.codec = "wvtt", .without = "stsd"},
        {.codec = "wvtt", .without = "minf"},
    };
    for (size_t i = 0; i < sizeof movies / sizeof *movies; i++) {
        struct texts t = {0};
        struct read r;
        tx3g(&t, "a");
        film_write(&r, &t, movies[i]);
        film_read(&r, 0);
        assert_int_equal(r.err, 0);
        assert_int_equal(r.movie.text_count, 0);
        film_close(&r);
    }
}

/* ---- what is no good ---- */

struct fault {
    const char *codec;
    const char *box; /* the nth of this type ... */
    unsigned nth;
    int offset;     /* ... has at this place behind its header ... */
    uint32_t value; /* ... this big-endian word */
    int err;
    const char *error_box; /* NULL: the sample of number nth */
};

static void
faults_texts(const char *codec, struct texts *t)
{
    for (int i = 0; i < 3; i++) {
        if (strcmp(codec, "tx3g") != 0) {
            wvtt(t, 7, "text");
            continue;
        }
        tx3g_begin(t, bytes_of_text("text"));
        const size_t box = box_begin(t, "styl");
        put(t, "\0\1", 2);
        style(t, 0, 1, 1);
        box_end(t, box);
        sample_end(t);
    }
}

static void
a_bad_sample_is_named_with_its_offset(void **state)
{
    static const struct fault faults[] = {
        {"wvtt", "vttc", 1, -8, 12, ERR_TRUNCATED, "vttc"},
        {"wvtt", "vttc", 2, -8, 99, ERR_TRUNCATED, "vttc"},
        {"wvtt", "payl", 1, -8, 13, ERR_TRUNCATED, "payl"},
        {"wvtt", "payl", 1, -8, 7, ERR_INVALID, "payl"},
        {"wvtt", "vsid", 2, -4, 0x7061796c, ERR_INVALID, "payl"}, /* twice */
        {"wvtt", "vttC", 0, 0, 0x57454255, ERR_INVALID, "vttC"},
        {"wvtt", "vttC", 0, -4, 0, ERR_INVALID, "vttC"},
        {"tx3g", "styl", 1, 0, 0x00020000, ERR_TRUNCATED, "styl"},
        {"tx3g", "styl", 0, -8, 99, ERR_TRUNCATED, "styl"},
        {"tx3g", "styl", 1, -14, 0x7fff7465, ERR_TRUNCATED, NULL},
        {"tx3g", "stco", 0, 4, 0x7fffffff, ERR_TRUNCATED, "stco"},
        {"tx3g", "stsz", 0, 12, 0x7fffffff, ERR_TRUNCATED, "stco"},
        {"tx3g", "tx3g", 0, -8, 45, ERR_TRUNCATED, "tx3g"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const struct fault *f = &faults[i];
        struct texts t = {0};
        struct read r;
        faults_texts(f->codec, &t);
        film_write(&r, &t, (struct test_movie){.codec = f->codec});
        const size_t box =
            test_movie_find(buffer_bytes(&r.file), f->box, f->nth);
        store_be32(r.file.ptr + box + 8 + f->offset, f->value);
        film_read(&r, 0);
        if (r.err != f->err)
            fail_msg("case %zu: %s, in %s: %s", i, err_name(r.err), r.error.box,
                     r.error.reason);
        const char *error_box = f->error_box == NULL ? f->codec : f->error_box;
        if (strcmp(r.error.box, error_box) != 0)
            fail_msg("case %zu: %s: %s", i, r.error.box, r.error.reason);
        /* a box that is missing has no place of its own */
        if (strcmp(f->box, error_box) == 0 && f->offset != -4)
            assert_int_equal(r.error.offset, box);
        if (f->error_box == NULL)
            assert_int_equal(r.error.offset, box - 6);
        film_close(&r);
    }
}

static void
a_head_that_cannot_be_is_refused(void **state)
{
    static const char *const heads[] = {"", "WEBVT", "WEBVTT\n\nno times",
                                        "WEBVTT\n\n00:01.000 --> 00:02.000\na"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct texts t = {0};
        struct read r;
        wvtt(&t, 0, "a");
        film_write(&r, &t, MOVIE("wvtt", .text_head = heads[i]));
        film_read(&r, 0);
        assert_int_equal(r.err, ERR_INVALID);
        assert_string_equal(r.error.box, "vttC");
        assert_int_equal(r.error.offset,
                         test_movie_find(buffer_bytes(&r.file), "vttC", 0));
        film_close(&r);
    }
}

static void
too_many_cues_at_once_are_refused(void **state)
{
    struct texts t = {0};
    struct read r;
    char text[2] = "";
    sample_begin(&t);
    for (int i = 0; i < 65; i++) {
        text[0] = (char) ('!' + i);
        vttc(&t, 0, NULL, text);
    }
    sample_end(&t);
    film_write(&r, &t, MOVIE("wvtt"));
    film_read(&r, 0);
    assert_int_equal(r.err, ERR_LIMIT);
    assert_string_equal(r.error.box, "wvtt");
    film_close(&r);
}

static void
a_sample_that_is_too_large_is_refused(void **state)
{
    struct read r;
    film_write(&r, NULL, MOVIE("tx3g", .sample_size = 300000));
    film_read(&r, 0);
    assert_int_equal(r.err, ERR_LIMIT);
    assert_string_equal(r.error.box, "tx3g");
    assert_int_equal(r.error.offset, r.file.len - 300000);
    film_close(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cue_of_several_samples_is_one),
        cmocka_unit_test(the_source_id_says_what_is_one_cue),
        cmocka_unit_test(what_would_end_a_cue_does_not),
        cmocka_unit_test(the_head_is_kept),
        cmocka_unit_test(an_empty_text_is_a_gap),
        cmocka_unit_test(marks_of_webvtt_are_text),
        cmocka_unit_test(styles_are_tags),
        cmocka_unit_test(times_are_those_of_the_film),
        cmocka_unit_test(nothing_is_seen_in_a_gap_between_fragments),
        cmocka_unit_test(a_track_without_samples_has_no_cues),
        cmocka_unit_test(the_track_says_that_it_is_forced),
        cmocka_unit_test(what_is_no_subtitles_is_passed_over),
        cmocka_unit_test(a_bad_sample_is_named_with_its_offset),
        cmocka_unit_test(a_head_that_cannot_be_is_refused),
        cmocka_unit_test(too_many_cues_at_once_are_refused),
        cmocka_unit_test(a_sample_that_is_too_large_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
