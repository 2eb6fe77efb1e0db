/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Pictures come one a PES packet. Sound comes some frames at a time: a packet
 * each would be half stuffing. No track runs ahead of the other by more than
 * that: players wait with full queues of one for the other.
 */

#include "media/ts/ts_schedule.h"

/* One PCR a PES packet of sound alone: those must not lie more than 100 ms
 * apart (13818-1 §2.7.2). */
#define GROUP_MS 99
#define GROUP_SIZE_MAX 60000u /* bytes; of the 65535 with all headers */
#define GROUP_OVERHEAD 8u     /* bytes a frame, at most */

#define TICKS_SMALL (INT64_C(1) << 45) /* 64 bits do for these */

int64_t
ts_time(int64_t ticks, uint32_t timescale)
{
    const int64_t start = TS_TIME_START * (int64_t) timescale + timescale / 2;
    if (ticks > -TICKS_SMALL && ticks < TICKS_SMALL) {
        const int64_t n = ticks * TS_TIME_SECOND + start;
        return n / timescale - (n % timescale < 0);
    }
    const __int128 n = (__int128) ticks * TS_TIME_SECOND + start;
    return (int64_t) (n / timescale - (n % timescale < 0));
}

static int64_t
lane_time(const struct ts_inputs *inputs, size_t source)
{
    return ts_time(inputs->lanes[source].ticks,
                   inputs->sources[source].info->timescale);
}

static bool
lane_is_done(const struct ts_inputs *inputs, size_t source)
{
    return source >= inputs->count
           || inputs->lanes[source].next
                  >= inputs->sources[source].sample_count;
}

/* Whose turn it is; asked again before anything is taken it says the same. The
 * first is a picture, with the first PCR. */
static bool
turn_find(struct ts_inputs *inputs)
{
    const bool is_first_done = lane_is_done(inputs, 0);
    if (is_first_done || lane_is_done(inputs, 1)) {
        inputs->turn = is_first_done;
        return !lane_is_done(inputs, inputs->turn);
    }
    if (inputs->lanes[0].next == 0)
        return true;
    inputs->turn = lane_time(inputs, 1) <= lane_time(inputs, 0);
    return true;
}

/* How many samples from `next` on share a PES packet. */
static uint32_t
group_count(const struct ts_source *source, uint32_t next)
{
    if (source->info->kind == TRACK_VIDEO)
        return 1;
    const uint64_t ticks_max = (uint64_t) source->info->timescale * GROUP_MS;
    uint64_t ticks = 0, size = 0;
    uint32_t i = next;
    for (; i < source->sample_count; i++) {
        ticks += source->samples[i].duration;
        size += (uint64_t) source->samples[i].size + GROUP_OVERHEAD;
        if (i > next && (ticks * 1000 > ticks_max || size > GROUP_SIZE_MAX))
            break;
    }
    return i - next;
}

static void
element_take(struct ts_inputs *inputs, struct ts_element *out)
{
    const struct ts_source *source = &inputs->sources[inputs->turn];
    struct ts_lane *lane = &inputs->lanes[inputs->turn];
    *out = (struct ts_element){
        .source = inputs->turn,
        .first = lane->next,
        .count = group_count(source, lane->next),
        .ticks = lane->ticks,
    };
    for (uint32_t i = 0; i < out->count; i++) {
        const struct sample *s = &source->samples[lane->next + i];
        out->size += s->size;
        lane->ticks += s->duration;
    }
    lane->next += out->count;
    lane->offset += out->size;
}

bool
ts_element_next(struct ts_inputs *inputs, struct ts_element *out)
{
    if (!turn_find(inputs))
        return false;
    element_take(inputs, out);
    return true;
}

void
ts_inputs_begin(struct ts_inputs *inputs, const struct ts_source *sources,
                size_t count)
{
    *inputs = (struct ts_inputs){.count = count};
    for (size_t i = 0; i < count; i++) {
        inputs->sources[i] = sources[i];
        inputs->lanes[i].ticks =
            (int64_t) (sources[i].decode_time
                       - (uint64_t) sources[i].info->media_time);
    }
}

bool
ts_inputs_next(struct ts_inputs *inputs, struct ts_range *out)
{
    struct ts_element element;
    if (!turn_find(inputs))
        return false;
    const size_t source = inputs->turn;
    *out = (struct ts_range){source, inputs->lanes[source].offset, 0};
    do {
        element_take(inputs, &element);
        out->size += element.size;
    } while (turn_find(inputs) && inputs->turn == source);
    return true;
}
