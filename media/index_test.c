/* SPDX-License-Identifier: Apache-2.0 */

#include "core/err.h"
#include "media/index_format.h"
#include "media/sealed.h"
#include "media/testing/track.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct test_movie film =
    TEST_FILM(.sample_count = 255, .gop = 25, .has_b_frames = true,
              .has_edit = true, .media_time = 40);
static const struct test_movie sound = {.kind = TRACK_AUDIO,
                                        .sample_count = 441,
                                        .last_duration = 500,
                                        .has_edit = true,
                                        .media_time = 1024};

/* ---- cuts ---- */

static struct mp4_track
track_with_keys_at(struct mp4_sample *samples, const uint32_t *key_times,
                   size_t key_count, uint32_t sample_count)
{
    memset(samples, 0, sample_count * sizeof *samples);
    for (uint32_t i = 0; i < sample_count; i++) {
        samples[i].decode_time = i * 10;
        samples[i].duration = 10;
        for (size_t k = 0; k < key_count; k++)
            samples[i].is_sync |= key_times[k] == i * 10;
    }
    return (struct mp4_track){.kind = TRACK_VIDEO,
                              .timescale = 1000,
                              .samples = samples,
                              .sample_count = sample_count,
                              .duration = sample_count * 10};
}

static void
cuts_are_the_first_key_frames_after_each_multiple(void **state)
{
    static const struct {
        uint32_t keys[8];
        uint64_t cuts[8];
        uint32_t cut_count;
    } cases[] = {
        {{0, 4000, 8000}, {0, 4000, 8000}, 3},
        {{0, 2000, 4000, 6000, 8000}, {0, 4000, 8000}, 3},
        /* forced at multiples of 4 s with frames that never meet them: the
         * last two are less than 4 s apart */
        {{0, 4040, 8010, 12000}, {0, 4040, 8010, 12000}, 4},
        {{0, 3960, 7920, 11880}, {0, 7920, 11880}, 3},
        {{0, 9000, 10000}, {0, 9000}, 2},
        {{0}, {0}, 1},
    };
    struct mp4_sample *samples = malloc(1300 * sizeof *samples);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct mp4_track t =
            track_with_keys_at(samples, cases[i].keys, 8, 1300);
        uint64_t *cuts;
        uint32_t count;
        assert_int_equal(segment_cuts_of_video(&t, 4000, &cuts, &count), 0);
        assert_int_equal(count, cases[i].cut_count);
        assert_memory_equal(cuts, cases[i].cuts, count * sizeof *cuts);
        free(cuts);
    }
    free(samples);
}

/* Frames are 10 ms: a key frame within 5 of the cut is one for it. */
static void
a_cut_without_a_key_frame_is_found(void **state)
{
    static const struct {
        uint32_t keys[4];
        uint64_t cuts[4];
        uint32_t cut_count, missed;
    } cases[] = {
        {{0, 4000, 8000}, {0, 4000, 8000}, 3, 3},
        {{0, 2000, 4000, 8000}, {0, 4000, 8000}, 3, 3},
        {{0, 4000, 8000}, {0, 3995, 8005}, 3, 3},
        {{0, 4000, 8000}, {0, 3994, 8000}, 3, 1},
        {{0, 4000, 8000}, {0, 4000, 8006}, 3, 2},
        {{0, 4000}, {0, 4000, 8000}, 3, 2},
        {{0, 8000}, {0, 4000, 8000}, 3, 1},
        {{0}, {0, 4}, 2, 1}, /* the key frame before is not one once more */
        {{0}, {0}, 1, 1},
    };
    struct mp4_sample *samples = malloc(1300 * sizeof *samples);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct mp4_track t =
            track_with_keys_at(samples, cases[i].keys, 4, 1300);
        const struct track_build build = {.track = &t,
                                          .cuts = cases[i].cuts,
                                          .cut_count = cases[i].cut_count,
                                          .cut_timescale = 1000};
        assert_int_equal(segment_cuts_missed(&build), cases[i].missed);
    }
    free(samples);
}

/* In ticks of the cuts, of 1 ms: to the tick, however long it is. */
static void
cuts_go_on_as_long_as_the_sound(void **state)
{
    static const struct {
        uint64_t last, duration;
        uint32_t timescale, target_ms;
        int err;
        uint32_t more;
    } cases[] = {
        {8000, 20000, 1000, 4000, 0, 2},
        {8000, 19999, 1000, 4000, 0, 1},
        {8000, 882000, 44100, 4000, 0, 2},
        {8000, 15999, 1000, 4000, 0, 0}, /* the odd end */
        {8000, 4000, 1000, 4000, 0, 0},
        {1ull << 53, (1ull << 53) + 7, 1000, 1, 0, 6}, /* no double */
        {8000, UINT64_MAX, 1, 4000, ERR_LIMIT, 0},
        {8000, UINT64_MAX, 48000, 4000, ERR_LIMIT, 0},
        {8000, 20000, 0, 4000, ERR_INVALID, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct mp4_track t = {.kind = TRACK_AUDIO,
                                    .timescale = cases[i].timescale,
                                    .duration = cases[i].duration};
        uint64_t *cuts = calloc(2, sizeof *cuts);
        uint32_t count = 2;
        cuts[1] = cases[i].last;
        const int err =
            segment_cuts_extend(&t, cases[i].target_ms, 1000, &cuts, &count);
        if (err != cases[i].err || count != 2 + cases[i].more)
            fail_msg("case %zu: %s, %u cuts", i, err_text(err), count);
        for (uint32_t j = 2; j < count; j++)
            assert_int_equal(cuts[j], cuts[j - 1] + cases[i].target_ms);
        free(cuts);
    }
}

static void
video_is_cut_only_where_a_key_frame_is(void **state)
{
    static const uint32_t keys[] = {0, 4000};
    struct mp4_sample samples[1000];
    struct mp4_track t = track_with_keys_at(samples, keys, 2, 1000);
    uint8_t entry[8] = {0, 0, 0, 8, 'a', 'v', 'c', '1'};
    t.sample_entry = bytes_of(entry, sizeof entry);
    memcpy(t.codecs, "avc1", 5);
    memcpy(t.language, "und", 4);
    uint64_t cuts[] = {0, 4004};
    struct bytes nothing = {0};
    const struct mp4_source source = {test_movie_read, &nothing, 0};
    struct buffer media, out;
    buffer_init(&media, TEST_MOVIE_SIZE_MAX);
    buffer_init(&out, INDEX_SIZE_MAX);
    struct track_build build = {.track = &t,
                                .source = &source,
                                .sink = test_sink(&media),
                                .cuts = cuts,
                                .cut_count = 2,
                                .cut_timescale = 1000,
                                .name = "v0"};
    assert_int_equal(track_file_build(&build, &out), 0); /* half a frame */
    out.len = 0;
    cuts[1] = 4040;
    assert_int_equal(track_file_build(&build, &out), 0); /* no key behind */
    struct track_index index;
    assert_int_equal(track_index_open(buffer_bytes(&out), &index), 0);
    assert_int_equal(index.info.segment_count, 1);
    out.len = 0;
    cuts[1] = 3900;
    assert_int_equal(track_file_build(&build, &out), ERR_INVALID);
    cuts[1] = 0;
    assert_int_equal(track_file_build(&build, &out), ERR_INVALID);
    cuts[0] = 1;
    assert_int_equal(track_file_build(&build, &out), ERR_INVALID);
    build.cut_count = 0;
    assert_int_equal(track_file_build(&build, &out), ERR_INVALID);
    assert_int_equal(out.len, 0);
    buffer_fini(&out);
    buffer_fini(&media);
}

/* ---- segments ---- */

static void
segments_follow_each_other_in_bytes_and_time(void **state)
{
    struct test_track b;
    struct segment s;
    test_track_make(&b, &film, "v0", 4000, NULL);
    const struct track_info *info = &b.index.info;
    assert_int_equal(info->segment_count, 3);
    assert_int_equal(info->duration, 255 * 40);
    assert_int_equal(info->segment_duration_max, 4000);
    assert_int_equal(info->frame_rate_num, 25);
    assert_int_equal(info->frame_rate_den, 1);
    static const uint32_t durations[] = {4000, 4000, 2200};
    static const uint32_t counts[] = {100, 100, 55};
    struct buffer init;
    buffer_init(&init, TEST_MOVIE_SIZE_MAX);
    cmaf_init_write(info, &init);
    assert_memory_equal(b.media.ptr, init.ptr, init.len);
    uint64_t offset = init.len;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(track_index_segment(&b.index, i, &s), 0);
        assert_int_equal(s.number, i);
        assert_int_equal(s.sample_count, counts[i]);
        assert_int_equal(s.decode_time, i * 4000);
        assert_int_equal(s.duration, durations[i]);
        assert_int_equal(s.offset, offset);
        assert_int_equal(segment_start(&s) % 4096, 0);
        offset = segment_start(&s) + segment_length(&s);
        void *memory;
        const struct segment_map map =
            test_map_open(buffer_bytes(&b.media), &s, &memory);
        assert_int_equal(map.sample_count, counts[i]);
        assert_int_equal(map.samples[0].size, s.key_size);
        assert_true(map.samples[0].is_sync);
        /* presented at once */
        assert_int_equal(map.samples[0].composition_offset, 0);
        free(memory);
    }
    assert_int_equal(offset, info->media_size);
    assert_int_equal(offset, b.media.len);
    buffer_fini(&init);
    assert_int_equal(track_index_segment(&b.index, 3, &s), ERR_NOT_FOUND);
    test_track_fini(&b);
}

static void
sound_is_cut_at_the_frame_nearest_to_the_picture(void **state)
{
    struct test_track b;
    struct segment s;
    test_track_make(&b, &sound, "v0", 4000, &film);
    assert_int_equal(b.index.info.segment_count, 3);
    uint64_t start = 0;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(track_index_segment(&b.index, i, &s), 0);
        const uint64_t cut = (uint64_t) i * 4000 * 44100 / 1000;
        const uint64_t heard =
            i == 0 ? 0 : s.decode_time - (uint64_t) b.index.info.media_time;
        assert_int_equal(heard, start);
        assert_true(llabs((long long) (heard - cut)) <= 512);
        start += s.duration;
    }
    /* what is heard: all frames but the priming */
    assert_int_equal(start, 440 * 1024 + 500 - 1024);
    assert_int_equal(b.index.info.duration, start);
    test_track_fini(&b);
}

static void
cuts_behind_the_end_of_the_sound_are_passed_over(void **state)
{
    struct test_track b;
    struct test_movie short_sound = sound;
    short_sound.sample_count = 200; /* 4.6 s of 10.2 */
    test_track_make(&b, &short_sound, "v0", 4000, &film);
    assert_int_equal(b.index.info.segment_count, 2);
    test_track_fini(&b);
}

/* Of a file whose chunks lie apart the same comes as of one in one piece. */
static void
samples_are_gathered_from_wherever_they_lie(void **state)
{
    struct test_movie movie = film;
    struct test_track whole, apart;
    test_track_make(&whole, &movie, "v0", 4000, NULL);
    movie.samples_per_chunk = 30;
    movie.chunk_gap = 4;
    test_track_make(&apart, &movie, "v0", 4000, NULL);
    assert_int_equal(whole.media.len, apart.media.len);
    assert_memory_equal(whole.media.ptr, apart.media.ptr, whole.media.len);
    assert_true(
        bytes_equal(buffer_bytes(&whole.file), buffer_bytes(&apart.file)));
    test_track_fini(&apart);
    test_track_fini(&whole);
}

static int
sink_refuse(void *context, struct bytes bytes)
{
    uint64_t *room = context;
    if (bytes.len > *room)
        return ERR_FULL;
    *room -= bytes.len;
    return 0;
}

static void
what_cannot_be_stored_is_an_error_and_no_index(void **state)
{
    struct buffer file, media, out;
    buffer_init(&file, TEST_MOVIE_SIZE_MAX);
    buffer_init(&media, TEST_MOVIE_SIZE_MAX);
    buffer_init(&out, INDEX_SIZE_MAX);
    test_movie_write(&film, &file);
    struct bytes bytes = buffer_bytes(&file);
    struct mp4_movie movie;
    struct mp4_error error;
    assert_int_equal(test_movie_open(&bytes, &movie, &error), 0);
    const struct mp4_source source = {test_movie_read, &bytes, bytes.len};
    const uint64_t cuts[] = {0};
    struct track_build build = {.track = &movie.tracks[0],
                                .source = &source,
                                .sink = test_sink(&media),
                                .cuts = cuts,
                                .cut_count = 1,
                                .cut_timescale = 1,
                                .name = "v/0"};
    assert_int_equal(track_file_build(&build, &out), ERR_INVALID);
    build.name = "v0";
    build.label = "0123456789abcdef0123456789abcdef"
                  "0123456789abcdef0123456789abcdef"; /* one too many */
    assert_int_equal(track_file_build(&build, &out), ERR_INVALID);
    build.label = "a \"name\"";
    assert_int_equal(track_file_build(&build, &out), ERR_INVALID);
    assert_int_equal(media.len, 0);
    build.label = "日本語";
    build.language = "ja";
    assert_int_equal(track_file_build(&build, &out), 0);
    struct track_index index;
    assert_int_equal(track_index_open(buffer_bytes(&out), &index), 0);
    assert_string_equal(index.info.label, "日本語");
    assert_string_equal(index.info.language, "ja");
    out.len = 0;
    uint64_t room = media.len;
    build.sink = (struct track_sink){sink_refuse, &room};
    assert_int_equal(track_file_build(&build, &out), 0);
    for (uint64_t less = media.len; less > 0; less -= less / 3 + 1) {
        room = less - 1;
        out.len = 0;
        assert_int_equal(track_file_build(&build, &out), ERR_FULL);
        assert_int_equal(out.len, 0);
    }
    build.sink = test_sink(&media);
    bytes.len--;
    assert_int_equal(track_file_build(&build, &out), ERR_TRUNCATED);
    assert_int_equal(out.len, 0);
    mp4_close(&movie);
    buffer_fini(&out);
    buffer_fini(&media);
    buffer_fini(&file);
}

static void
a_short_last_segment_does_not_set_the_peak(void **state)
{
    struct test_movie movie = TEST_FILM(.sample_count = 101, .gop = 25);
    struct test_track b;
    test_track_make(&b, &movie, "v0", 4000,
                    NULL); /* the last is one key frame */
    struct segment s;
    assert_int_equal(track_index_segment(&b.index, 0, &s), 0);
    const uint64_t first = segment_length(&s) * 8 / 4;
    assert_int_equal(b.index.info.segment_count, 2);
    assert_int_equal(track_index_segment(&b.index, 1, &s), 0);
    assert_int_equal(s.duration, 40);
    const uint64_t last = segment_length(&s) * 8 * 25;
    assert_true(b.index.info.bandwidth_peak >= first);
    assert_true(b.index.info.bandwidth_peak < first * 11 / 10);
    assert_true(b.index.info.bandwidth_peak < last);
    assert_true(b.index.info.bandwidth_average >= first);
    test_track_fini(&b);
}

/* The peak of such segments, whose length is all that is read; kB each. */
static uint32_t
peak_of(const uint32_t *seconds, const uint32_t *sizes_kb, uint32_t count)
{
    struct buffer records;
    struct track_index index;
    struct track_info info = {
        .kind = TRACK_AUDIO, .timescale = 1, .segment_count = count};
    buffer_init(&records, 1 << 20);
    for (uint32_t i = 0; i < count; i++) {
        const struct segment s = {
            .number = i, .size = sizes_kb[i] * 1000, .duration = seconds[i]};
        index_segment_append(&s, &records);
        info.duration += seconds[i];
        if (seconds[i] > info.segment_duration_max)
            info.segment_duration_max = seconds[i];
    }
    index.info = info;
    index.segments = records.ptr;
    index_bandwidths_set(&info, &index);
    buffer_fini(&records);
    return info.bandwidth_peak;
}

static uint32_t
peak_by_trying_all(const uint32_t *seconds, const uint32_t *sizes_kb,
                   uint32_t count)
{
    uint64_t target = 0, peak = 0;
    for (uint32_t i = 0; i < count; i++)
        target = seconds[i] > target ? seconds[i] : target;
    for (uint32_t first = 0; first < count; first++) {
        uint64_t bits = 0, duration = 0;
        for (uint32_t last = first; last < count; last++) {
            bits += sizes_kb[last] * 8000ull;
            duration += seconds[last];
            const uint64_t rate = (bits + duration - 1) / duration;
            if (duration * 2 >= target && duration * 2 <= target * 3
                && rate > peak)
                peak = rate;
        }
    }
    return (uint32_t) peak;
}

static void
the_peak_is_that_of_the_fastest_run(void **state)
{
    /* 1, 10 and 6 Mbit/s: the second alone is too short, with the third it is
     * more than the third alone */
    static const uint32_t seconds[] = {12, 5, 8},
                          sizes_kb[] = {1500, 6250, 6000};
    assert_int_equal(peak_of(seconds, sizes_kb, 3), 7538462);
    uint32_t random = 1;
    for (uint32_t i = 0; i < 2000; i++) {
        uint32_t s[24], kb[24];
        for (uint32_t n = 0; n < 24; n++) {
            random = random * 1664525 + 1013904223;
            s[n] = 1 + (random >> 24) % (i % 2 == 0 ? 4 : 12);
            kb[n] = (random >> 8) % 5000;
        }
        assert_int_equal(peak_of(s, kb, 24), peak_by_trying_all(s, kb, 24));
    }
}

/* ---- a broken index ---- */

static void
no_changed_byte_is_taken(void **state)
{
    struct test_track b;
    struct track_index index;
    test_track_make(&b, &film, "v0", 4000, NULL);
    for (size_t i = 0; i < b.file.len; i++) {
        b.file.ptr[i] ^= 0x10;
        assert_int_not_equal(track_index_open(buffer_bytes(&b.file), &index),
                             0);
        b.file.ptr[i] ^= 0x10;
    }
    for (size_t len = 0; len < b.file.len; len++)
        assert_int_equal(track_index_open(bytes_of(b.file.ptr, len), &index),
                         ERR_TRUNCATED);
    store_le32(b.file.ptr + 8, INDEX_VERSION + 1);
    assert_int_equal(track_index_open(buffer_bytes(&b.file), &index),
                     ERR_VERSION);
    buffer_append_u8(&b.file, 0);
    store_le32(b.file.ptr + 8, INDEX_VERSION);
    assert_int_equal(track_index_open(buffer_bytes(&b.file), &index),
                     ERR_INVALID);
    test_track_fini(&b);
}

/* Sealed again, a wrong number is found by what it contradicts, or does no
 * harm to any writer. */
static void
a_lying_index_is_refused_or_harmless(void **state)
{
    static const struct test_movie movies[] = {
        TEST_FILM(.sample_count = 12, .gop = 5, .has_b_frames = true,
                  .has_edit = true, .media_time = 40, .last_duration = 7),
        {.kind = TRACK_AUDIO,
         .sample_count = 20,
         .has_edit = true,
         .media_time = 1024},
    };
    struct buffer out;
    buffer_init(&out, 1 << 20);
    for (size_t m = 0; m < 2; m++) {
        struct test_track b;
        struct track_index index;
        struct segment s;
        test_track_make(&b, &movies[m], "v0", 200, NULL);
        for (size_t i = SEALED_HEADER_SIZE; i < b.file.len; i++) {
            for (int bit = 0; bit < 8; bit++) {
                b.file.ptr[i] ^= (uint8_t) (1 << bit);
                sealed_end(&b.file, 0);
                if (track_index_open(buffer_bytes(&b.file), &index) == 0) {
                    out.len = 0;
                    cmaf_init_write(&index.info, &out);
                    hls_media_playlist_write(&index, &out);
                    for (uint32_t n = 0;
                         track_index_segment(&index, n, &s) == 0; n++)
                        assert_in_range(segment_start(&s) + segment_length(&s),
                                        1, index.info.media_size);
                }
                b.file.ptr[i] ^= (uint8_t) (1 << bit);
            }
        }
        /* offsets and sizes of segments contradict each other */
        sealed_end(&b.file, 0);
        assert_int_equal(track_index_open(buffer_bytes(&b.file), &index), 0);
        const size_t record = (size_t) (index.segments - b.file.ptr);
        for (size_t k = 0; k < INDEX_SEGMENT_SIZE; k++) {
            b.file.ptr[record + k] ^= 1;
            sealed_end(&b.file, 0);
            const int err = track_index_open(buffer_bytes(&b.file), &index);
            /* a smaller first frame and a later start contradict nothing */
            if ((k < 28 || k >= 32) && k != 8 && k != 9)
                assert_int_equal(err, ERR_INVALID);
            b.file.ptr[record + k] ^= 1;
        }
        uint8_t *start = b.file.ptr + record + 8;
        const uint64_t next = load_le64(start + INDEX_SEGMENT_SIZE);
        for (uint64_t time = next - 1; time <= next + 1; time++) {
            store_le64(start, time);
            sealed_end(&b.file, 0);
            assert_int_equal(track_index_open(buffer_bytes(&b.file), &index),
                             time <= next ? 0 : ERR_INVALID);
        }
        store_le64(start, 0);
        /* and their durations the timeline, also when the sum is right */
        uint8_t *first = b.file.ptr + record + 36;
        uint8_t *last =
            first + (b.index.info.segment_count - 1) * INDEX_SEGMENT_SIZE;
        const uint32_t duration = load_le32(first);
        assert_int_not_equal(duration, load_le32(last));
        store_le32(first, load_le32(last));
        store_le32(last, duration);
        sealed_end(&b.file, 0);
        assert_int_equal(track_index_open(buffer_bytes(&b.file), &index),
                         ERR_INVALID);
        test_track_fini(&b);
    }
    buffer_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_are_the_first_key_frames_after_each_multiple),
        cmocka_unit_test(a_cut_without_a_key_frame_is_found),
        cmocka_unit_test(cuts_go_on_as_long_as_the_sound),
        cmocka_unit_test(video_is_cut_only_where_a_key_frame_is),
        cmocka_unit_test(segments_follow_each_other_in_bytes_and_time),
        cmocka_unit_test(sound_is_cut_at_the_frame_nearest_to_the_picture),
        cmocka_unit_test(cuts_behind_the_end_of_the_sound_are_passed_over),
        cmocka_unit_test(samples_are_gathered_from_wherever_they_lie),
        cmocka_unit_test(what_cannot_be_stored_is_an_error_and_no_index),
        cmocka_unit_test(a_short_last_segment_does_not_set_the_peak),
        cmocka_unit_test(the_peak_is_that_of_the_fastest_run),
        cmocka_unit_test(no_changed_byte_is_taken),
        cmocka_unit_test(a_lying_index_is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
