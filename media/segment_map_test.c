/* SPDX-License-Identifier: Apache-2.0 */

#include "core/err.h"
#include "media/sealed.h"
#include "media/segment_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define BOX_HEADER_SIZE 8

/* Runs and single values, both signs, and what is as large as it may be. */
static const struct sample samples[] = {
    {.size = 5000, .duration = 1001, .composition_offset = 0, .is_sync = true},
    {.size = 0x7fffffff, .duration = 1001, .composition_offset = 3003},
    {.size = 0, .duration = 1001, .composition_offset = INT32_MIN},
    {.size = 127, .duration = UINT32_MAX, .composition_offset = INT32_MAX},
    {.size = 128, .duration = 0, .composition_offset = -1, .is_sync = true},
    {.size = 129, .duration = 0, .composition_offset = -1},
};
static const struct subsample subsamples[] = {
    {97, 4000}, {3, 900}, {0, 0x7fffffff}, {127, 0},
    {100, 28},  {0, 0},   {64, 65},
};
static const uint16_t subsample_counts[] = {2, 1, 0, 1, 2, 1};

static const struct segment_map video = {
    .samples = samples,
    .sample_count = 6,
    .subsamples = subsamples,
    .subsample_counts = subsample_counts,
};
static const struct segment_map audio = {.samples = samples + 3,
                                         .sample_count = 3};

static struct segment
segment_of(const struct segment_map *map)
{
    struct segment s = {.sample_count = map->sample_count};
    for (uint32_t i = 0; i < map->sample_count; i++)
        s.size += map->samples[i].size;
    return s;
}

static int
decode(struct bytes box, const struct segment *segment, void **memory,
       struct segment_map *out)
{
    size_t size;
    const int err = segment_map_memory_size(box, &size);
    *memory = NULL;
    if (err != 0)
        return err;
    *memory = malloc(size);
    return segment_map_decode(box, segment, *memory, out);
}

static void
a_map_is_read_back_as_it_was(void **state)
{
    const struct segment_map *maps[] = {&video, &audio};
    for (size_t m = 0; m < 2; m++) {
        const struct segment segment = segment_of(maps[m]);
        const uint32_t count = maps[m]->sample_count;
        struct buffer box;
        struct segment_map map;
        void *memory;
        buffer_init(&box, SEGMENT_MAP_SIZE_MAX);
        segment_map_encode(maps[m], &box);
        assert_int_equal(load_be32(box.ptr), box.len);
        assert_memory_equal(box.ptr + 4, "free", 4);
        assert_int_equal(decode(buffer_bytes(&box), &segment, &memory, &map),
                         0);
        assert_int_equal(map.sample_count, count);
        for (uint32_t i = 0; i < count; i++) {
            const struct sample *a = &map.samples[i];
            const struct sample *b = &maps[m]->samples[i];
            assert_int_equal(a->size, b->size);
            assert_int_equal(a->duration, b->duration);
            assert_int_equal(a->composition_offset, b->composition_offset);
            assert_int_equal(a->is_sync, b->is_sync);
        }
        if (maps[m]->subsample_counts == NULL) {
            assert_null(map.subsample_counts);
            assert_null(map.subsamples);
        } else {
            assert_memory_equal(map.subsample_counts, subsample_counts,
                                sizeof subsample_counts);
            assert_memory_equal(map.subsamples, subsamples, sizeof subsamples);
        }
        free(memory);
        buffer_fini(&box);
    }
}

static void
the_map_of_another_segment_is_refused(void **state)
{
    struct segment segment = segment_of(&video);
    struct buffer box;
    struct segment_map map;
    void *memory;
    buffer_init(&box, SEGMENT_MAP_SIZE_MAX);
    segment_map_encode(&video, &box);
    segment.size++;
    assert_int_equal(decode(buffer_bytes(&box), &segment, &memory, &map),
                     ERR_INVALID);
    free(memory);
    segment.size--;
    segment.sample_count--;
    assert_int_equal(decode(buffer_bytes(&box), &segment, &memory, &map),
                     ERR_INVALID);
    free(memory);
    buffer_fini(&box);
}

static void
a_padded_box_is_the_same_map(void **state)
{
    const struct segment segment = segment_of(&video);
    for (size_t padding = 0; padding < 200; padding++) {
        struct buffer box;
        struct segment_map map;
        void *memory;
        buffer_init(&box, SEGMENT_MAP_SIZE_MAX);
        segment_map_encode(&video, &box);
        const size_t size = box.len;
        segment_map_pad(&box, 0, padding);
        assert_int_equal(box.len, size + padding);
        assert_int_equal(load_be32(box.ptr), box.len);
        assert_int_equal(decode(buffer_bytes(&box), &segment, &memory, &map),
                         0);
        assert_int_equal(map.samples[1].size, samples[1].size);
        free(memory);
        buffer_fini(&box);
    }
}

static void
no_changed_byte_is_taken(void **state)
{
    const struct segment segment = segment_of(&video);
    struct buffer box;
    struct segment_map map;
    void *memory;
    buffer_init(&box, SEGMENT_MAP_SIZE_MAX);
    segment_map_encode(&video, &box);
    for (size_t i = 0; i < box.len; i++) {
        box.ptr[i] ^= 0x10;
        assert_int_not_equal(
            decode(buffer_bytes(&box), &segment, &memory, &map), 0);
        free(memory);
        box.ptr[i] ^= 0x10;
    }
    for (size_t len = 0; len < box.len; len++) {
        assert_int_not_equal(
            decode(bytes_of(box.ptr, len), &segment, &memory, &map), 0);
        free(memory);
    }
    buffer_fini(&box);
}

/* Under a right seal. `change` is one byte of the body. */
static int
decode_changed(size_t at, uint8_t value)
{
    const struct segment segment = segment_of(&video);
    struct buffer box;
    struct segment_map map;
    void *memory;
    buffer_init(&box, SEGMENT_MAP_SIZE_MAX);
    segment_map_encode(&video, &box);
    box.ptr[BOX_HEADER_SIZE + SEALED_HEADER_SIZE + at] = value;
    sealed_end(&box, BOX_HEADER_SIZE);
    const int err = decode(buffer_bytes(&box), &segment, &memory, &map);
    free(memory);
    buffer_fini(&box);
    return err;
}

static void
counts_that_contradict_the_bytes_are_refused(void **state)
{
    assert_int_equal(decode_changed(0, 6), 0); /* as it is */
    assert_int_equal(decode_changed(0, 5), ERR_INVALID);
    assert_int_equal(decode_changed(0, 7), ERR_INVALID);
    assert_int_equal(decode_changed(1, 8), 0); /* as it is: 7 subsamples */
    assert_int_equal(decode_changed(1, 7), ERR_INVALID);
    assert_int_equal(decode_changed(1, 9), ERR_INVALID);
    assert_int_equal(decode_changed(1, 0), ERR_INVALID);
    assert_int_equal(decode_changed(2, 3), 0); /* as it is: a run of 3 */
    assert_int_equal(decode_changed(2, 0), ERR_INVALID);
    assert_int_equal(decode_changed(2, 2), ERR_INVALID);
    assert_int_equal(decode_changed(2, 7), ERR_INVALID);
}

static void
more_samples_than_bytes_take_no_memory(void **state)
{
    struct buffer box;
    size_t size;
    buffer_init(&box, SEGMENT_MAP_SIZE_MAX);
    buffer_append_be32(&box, BOX_HEADER_SIZE + SEALED_HEADER_SIZE + 6);
    buffer_append_text(&box, "free");
    const size_t start = sealed_begin(&box, "VODSTmap", 1);
    buffer_append(&box, "\xff\xff\xff\xff\x0f\x00", 6);
    sealed_end(&box, start);
    assert_int_equal(segment_map_memory_size(buffer_bytes(&box), &size),
                     ERR_INVALID);
    buffer_fini(&box);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_is_read_back_as_it_was),
        cmocka_unit_test(the_map_of_another_segment_is_refused),
        cmocka_unit_test(a_padded_box_is_the_same_map),
        cmocka_unit_test(no_changed_byte_is_taken),
        cmocka_unit_test(counts_that_contradict_the_bytes_are_refused),
        cmocka_unit_test(more_samples_than_bytes_take_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
