/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Writes the packets of a segment (ISO/IEC 13818-1 §2.4). All sizes come from
 * the tables of samples: how many packets a PES packet takes is known before
 * it begins, and the bytes of the samples only pass through.
 *
 *   PAT PMT | PES: header, prefix, sample ... | PES ... |
 *             `- in packets of 4 bytes, adaptation field, payload
 *
 * The first PES packet of a track takes as many packets more than it needs as
 * make the track's a multiple of 16: the last of them carry a byte each.
 */

#include "media/ts/ts_codec.h"
#include "media/ts/ts_schedule.h"

#include "core/err.h"

#include <assert.h>
#include <stdlib.h>

#define PAYLOAD_SIZE_MAX 184u /* bytes of a packet behind its 4 */
#define PCR_FIELD_SIZE 8u     /* adaptation field with nothing else */
#define PES_HEADER_SIZE_MAX 19u
#define PARAMETERS_SIZE_MAX (64u << 10)

#define PID_MAP 0x1000
#define PID_FIRST 0x100 /* of the tracks */

/* How long what comes lies in the decoder's buffer; a second is allowed
 * (§2.4.2.6). */
#define PCR_LEAD (TS_TIME_SECOND / 2)

struct lane {
    struct ts_source source;
    struct ts_codec codec;
    struct bytes prefix;      /* of a key frame: AUD, parameter sets */
    struct bytes prefix_late; /* the same, behind a sample's own AUD */
    uint64_t packet_count;
    uint32_t padding; /* packets */
    uint8_t continuity;
};

enum step {
    STEP_FIRST, /* of a sample of H.264 or HEVC: its first NAL unit */
    STEP_LATE_PREFIX,
    STEP_UNIT, /* the next NAL unit */
    STEP_FRAME /* the next frame of sound */
};

struct ts_transform {
    struct transform super;
    struct lane lanes[TS_SOURCES_MAX];
    struct ts_inputs inputs;
    struct ts_element element;

    /* the PES packet: what is to be written of it */
    uint64_t pes_left; /* bytes */
    uint64_t packets_left;
    bool is_pes_start;

    /* the packet */
    uint32_t payload_left; /* bytes of the PES packet */
    struct bytes head;     /* bytes that come before those */
    uint8_t head_memory[TS_PACKET_SIZE];

    /* where the bytes of the PES packet come from: texts, then the sample */
    struct bytes texts[2];
    size_t text, text_count;
    uint64_t copy_left;
    enum step step;
    uint32_t sample;      /* number of the one that is next */
    uint64_t sample_left; /* bytes of this one behind copy_left */
    uint8_t gathered[5];  /* bytes of the sample that have to be seen */
    uint32_t gathered_count;
    uint8_t pes_header[PES_HEADER_SIZE_MAX + TS_ADTS_SIZE];

    uint8_t tables[2 * TS_PACKET_SIZE];
    uint8_t memory[]; /* prefixes */
};

/* ---- sizes ---- */

static bool
has_decode_time(const struct ts_element *element, const struct lane *lane)
{
    const int64_t delay =
        lane->source.samples[element->first].composition_offset
        + lane->source.info->media_time;
    return lane->source.info->kind == TRACK_VIDEO && delay != 0;
}

static uint64_t
pes_size(const struct ts_element *element, const struct lane *lane)
{
    uint64_t size = has_decode_time(element, lane) ? 19 : 14;
    if (lane->codec.length_size != 0)
        size += lane->source.samples[element->first].is_sync
                    ? lane->prefix.len
                    : lane->codec.aud_size;
    return size + element->size
           + (uint64_t) element->count * lane->codec.frame_header_size;
}

static bool
has_pcr(const struct ts_element *element)
{
    return element->source == 0;
}

static uint64_t
packet_count(const struct ts_element *element, uint64_t size)
{
    const uint32_t first =
        PAYLOAD_SIZE_MAX - (has_pcr(element) ? PCR_FIELD_SIZE : 0);
    if (size <= first)
        return 1;
    return 1 + (size - first + PAYLOAD_SIZE_MAX - 1) / PAYLOAD_SIZE_MAX;
}

/* ---- tables (§2.4.4) ---- */

/* CRC-32 of MPEG: most significant bit first, neither inverted at the end. */
static uint32_t
section_checksum(const uint8_t *p, size_t len)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        crc ^= (uint32_t) p[i] << 24;
        for (int bit = 0; bit < 8; bit++)
            crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7u : 0);
    }
    return crc;
}

static uint8_t *
put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t) (v >> 8);
    p[1] = (uint8_t) v;
    return p + 2;
}

/* A packet that holds one section, whose body lies behind its header. */
static void
section_finish(uint8_t *packet, uint32_t pid, uint32_t number, uint8_t table,
               uint8_t *end)
{
    uint8_t *section = packet + 5;
    packet[0] = 0x47;
    put16(packet + 1, 0x4000 | pid);
    packet[3] = (uint8_t) (0x10 | (number & 15));
    packet[4] = 0; /* the section starts at once */
    section[0] = table;
    put16(section + 1, 0xb000 | (uint32_t) (end + 4 - (section + 3)));
    put16(section + 3, 1); /* transport stream, or program */
    section[5] = 0xc1;     /* version 0, current */
    put16(section + 6, 0); /* section 0 of 0 */
    store_be32(end, section_checksum(section, (size_t) (end - section)));
    memset(end + 4, 0xff, (size_t) (packet + TS_PACKET_SIZE - (end + 4)));
}

#define SECTION_BODY 13 /* in the packet */

static uint8_t *
registration_put(const char *registration, uint8_t *p)
{
    *p++ = 5;
    *p++ = 4;
    memcpy(p, registration, 4);
    return p + 4;
}

/* Only ISO 639-2 has a place here. */
static uint8_t *
language_put(const char *language, uint8_t *p)
{
    if (strspn(language, "abcdefghijklmnopqrstuvwxyz") != 3
        || (language[3] != 0 && language[3] != '-')
        || strncmp(language, "und", 3) == 0)
        return p;
    *p++ = 10;
    *p++ = 4;
    memcpy(p, language, 3);
    p[3] = 0;
    return p + 4;
}

static void
tables_write(struct ts_transform *t, uint32_t number)
{
    uint8_t *packet = t->tables;
    uint8_t *p = put16(packet + SECTION_BODY, 1);
    p = put16(p, 0xe000 | PID_MAP);
    section_finish(packet, 0, number, 0, p);

    packet += TS_PACKET_SIZE;
    p = put16(packet + SECTION_BODY, 0xe000 | PID_FIRST); /* PCR */
    p = put16(p, 0xf000);
    for (size_t i = 0; i < t->inputs.count; i++) {
        const struct lane *lane = &t->lanes[i];
        *p++ = lane->codec.stream_type;
        p = put16(p, 0xe000 | (PID_FIRST + (uint32_t) i));
        uint8_t *size = p;
        p += 2;
        if (lane->codec.registration != NULL)
            p = registration_put(lane->codec.registration, p);
        if (lane->source.info->kind == TRACK_AUDIO)
            p = language_put(lane->source.info->language, p);
        put16(size, 0xf000 | (uint32_t) (p - size - 2));
    }
    section_finish(packet, PID_MAP, number, 2, p);
    t->head = bytes_of(t->tables, sizeof t->tables);
}

/* ---- PES packets (§2.4.3.6) ---- */

static uint8_t *
time_put(uint8_t *p, uint8_t marker, uint64_t time)
{
    p[0] = (uint8_t) (marker << 4 | (time >> 29 & 0xe) | 1);
    p[1] = (uint8_t) (time >> 22);
    p[2] = (uint8_t) (time >> 14 | 1);
    p[3] = (uint8_t) (time >> 7);
    p[4] = (uint8_t) (time << 1 | 1);
    return p + 5;
}

static void
text_add(struct ts_transform *t, const void *ptr, size_t len)
{
    assert(t->text_count < sizeof t->texts / sizeof t->texts[0]);
    t->texts[t->text_count++] = bytes_of(ptr, len);
}

static void
pes_header_write(struct ts_transform *t, const struct lane *lane)
{
    const struct ts_element *e = &t->element;
    const struct sample *s = &lane->source.samples[e->first];
    const uint32_t timescale = lane->source.info->timescale;
    const bool is_video = lane->source.info->kind == TRACK_VIDEO;
    const bool has_dts = has_decode_time(e, lane);
    const int64_t delay =
        is_video ? s->composition_offset + lane->source.info->media_time : 0;
    const uint64_t after = t->pes_left - 6; /* bytes behind the size field */
    uint8_t *p = t->pes_header;
    store_be32(p, 0x100u | lane->codec.stream_id);
    p = put16(p + 4, after > UINT16_MAX ? 0 : (uint32_t) after);
    *p++ = 0x84; /* a sample starts behind the header */
    *p++ = has_dts ? 0xc0 : 0x80;
    *p++ = has_dts ? 10 : 5;
    p = time_put(p, has_dts ? 3 : 2,
                 (uint64_t) ts_time(e->ticks + delay, timescale));
    if (has_dts)
        p = time_put(p, 1, (uint64_t) ts_time(e->ticks, timescale));
    text_add(t, t->pes_header, (size_t) (p - t->pes_header));
}

static void
texts_clear(struct ts_transform *t)
{
    t->text = 0;
    t->text_count = 0;
}

/* False when there is none left. */
static bool
pes_begin(struct ts_transform *t)
{
    if (!ts_element_next(&t->inputs, &t->element))
        return false;
    const struct ts_element *e = &t->element;
    struct lane *lane = &t->lanes[e->source];
    t->pes_left = pes_size(e, lane);
    t->packets_left = packet_count(e, t->pes_left);
    if (e->first == 0)
        t->packets_left += lane->padding;
    assert(t->pes_left >= t->packets_left); /* 16 bytes at least, see
                                             * sample_size_min */
    t->is_pes_start = true;
    t->sample = e->first;
    texts_clear(t);
    pes_header_write(t, lane);
    if (lane->codec.length_size != 0) {
        t->step = STEP_FIRST;
        t->sample_left = lane->source.samples[e->first].size;
    } else {
        t->step = STEP_FRAME;
    }
    t->gathered_count = 0;
    return true;
}

/* ---- the bytes of a PES packet ---- */

/* False when more of the sample has to come first. */
static bool
gather(struct ts_transform *t, struct transform_io *io, uint32_t count)
{
    while (t->gathered_count < count) {
        if (io->in_len == 0)
            return false;
        t->gathered[t->gathered_count++] = *io->in++;
        io->in_len--;
        t->sample_left--;
    }
    return true;
}

/* The unit whose length is gathered, and what of it is, too; a start code takes
 * the place of the length. */
static int
unit_begin(struct ts_transform *t, const struct lane *lane)
{
    const uint32_t size = lane->codec.length_size;
    const uint32_t seen = t->gathered_count - size;
    uint32_t len = 0;
    for (uint32_t i = 0; i < size; i++) {
        len = len << 8 | t->gathered[i];
        t->gathered[i] = 0;
    }
    t->gathered[size - 1] = len > 0; /* an empty unit is zeros, which may be */
    if (len < seen || len - seen > t->sample_left)
        return ERR_INVALID;
    text_add(t, t->gathered, t->gathered_count);
    t->gathered_count = 0;
    t->copy_left = len - seen;
    t->sample_left -= len - seen;
    return 0;
}

static bool
is_key_frame(const struct ts_transform *t, const struct lane *lane)
{
    return lane->source.samples[t->element.first].is_sync;
}

/* The prefix, of which a picture between key frames has the AUD only. */
static void
prefix_add(struct ts_transform *t, const struct lane *lane, struct bytes prefix)
{
    text_add(t, prefix.ptr,
             is_key_frame(t, lane) ? prefix.len : lane->codec.aud_size);
}

/* An AUD of the sample's own stays in front, and zeros take the place of the
 * one made here. */
static int
first_step(struct ts_transform *t, const struct lane *lane)
{
    const struct ts_codec *codec = &lane->codec;
    const int type =
        t->gathered[codec->length_size] >> codec->type_shift & codec->type_mask;
    t->step = STEP_LATE_PREFIX;
    if (type != codec->aud_type) {
        prefix_add(t, lane, lane->prefix);
        t->step = STEP_UNIT;
    }
    return unit_begin(t, lane);
}

/*
 * Sets up what is written next. *is_starved: bytes of the sample have to come
 * first.
 */
static int
step_run(struct ts_transform *t, struct transform_io *io, bool *is_starved)
{
    const struct lane *lane = &t->lanes[t->element.source];
    const uint32_t length_size = lane->codec.length_size;
    const struct sample *s;
    texts_clear(t);
    switch (t->step) {
    case STEP_FIRST:
        if (!gather(t, io, length_size + 1)) /* sample_size_min */
            break;
        return first_step(t, lane);
    case STEP_LATE_PREFIX:
        prefix_add(t, lane, lane->prefix_late);
        t->step = STEP_UNIT;
        return 0;
    case STEP_UNIT:
        if (t->sample_left + t->gathered_count < length_size)
            return ERR_INVALID;
        if (!gather(t, io, length_size))
            break;
        return unit_begin(t, lane);
    case STEP_FRAME:
        s = &lane->source.samples[t->sample++];
        if (lane->codec.frame_header_size != 0) {
            uint8_t *header = t->pes_header + PES_HEADER_SIZE_MAX;
            ts_adts_write(&lane->codec, s->size, header);
            text_add(t, header, TS_ADTS_SIZE);
        }
        t->copy_left = s->size;
        return 0;
    }
    *is_starved = true;
    return 0;
}

static void
put(struct transform_io *io, const uint8_t *bytes, size_t len)
{
    memcpy(io->out, bytes, len);
    io->out += len;
    io->out_len -= len;
}

static size_t
least(uint64_t a, uint64_t b)
{
    return (size_t) (a < b ? a : b);
}

/* Fills the packet; with payload_left still there, in or out is used up. */
static int
payload_put(struct ts_transform *t, struct transform_io *io)
{
    while (t->payload_left > 0 && io->out_len > 0) {
        const size_t room = least(t->payload_left, io->out_len);
        size_t len;
        if (t->text < t->text_count) {
            struct bytes *text = &t->texts[t->text];
            len = least(text->len, room);
            put(io, text->ptr, len);
            *text = bytes_of(text->ptr + len, text->len - len);
            t->text += text->len == 0;
        } else if (t->copy_left > 0) {
            len = least(least(t->copy_left, io->in_len), room);
            if (len == 0)
                return 0;
            put(io, io->in, len);
            io->in += len;
            io->in_len -= len;
            t->copy_left -= len;
        } else {
            bool is_starved = false;
            const int err = step_run(t, io, &is_starved);
            if (err != 0 || is_starved)
                return err;
            continue;
        }
        t->payload_left -= (uint32_t) len;
    }
    return 0;
}

/* ---- packets ---- */

static uint8_t *
packet_start(struct ts_transform *t, uint8_t *p, uint32_t flags)
{
    const size_t source = t->element.source;
    struct lane *lane = &t->lanes[source];
    store_be32(p, 0x47000000u | (PID_FIRST + (uint32_t) source) << 8 | flags
                      | lane->continuity);
    lane->continuity = (lane->continuity + 1) & 15;
    return p + 4;
}

/* The adaptation field: the clock, and stuffing up to `size` bytes. */
static uint8_t *
adaptation_put(struct ts_transform *t, uint8_t *p, uint32_t size,
               bool is_with_clock)
{
    const struct lane *lane = &t->lanes[t->element.source];
    uint8_t *end = p + size;
    *p++ = (uint8_t) (size - 1);
    if (p == end)
        return end;
    *p++ = 0;
    if (is_with_clock) {
        const int64_t time =
            ts_time(t->element.ticks, lane->source.info->timescale) - PCR_LEAD;
        const uint64_t clock = (uint64_t) time & 0x1ffffffffu;
        p[-1] = is_key_frame(t, lane) ? 0x50 : 0x10;
        store_be32(p, (uint32_t) (clock >> 1));
        put16(p + 4, (uint32_t) ((clock & 1) << 15 | 0x7e00));
        p += 6;
    }
    memset(p, 0xff, (size_t) (end - p));
    return end;
}

static void
packet_begin(struct ts_transform *t)
{
    const bool is_with_clock = t->is_pes_start && has_pcr(&t->element);
    const uint32_t room =
        PAYLOAD_SIZE_MAX - (is_with_clock ? PCR_FIELD_SIZE : 0);
    /* one byte is left for each of the others at least */
    t->payload_left =
        (uint32_t) least(room, t->pes_left - (t->packets_left - 1));
    t->packets_left--;
    t->pes_left -= t->payload_left;
    const uint32_t adaptation = PAYLOAD_SIZE_MAX - t->payload_left;
    uint8_t *p = packet_start(t, t->head_memory,
                              (t->is_pes_start ? 0x400000u : 0)
                                  | (adaptation > 0 ? 0x30u : 0x10u));
    if (adaptation > 0)
        p = adaptation_put(t, p, adaptation, is_with_clock);
    t->is_pes_start = false;
    t->head = bytes_of(t->head_memory, (size_t) (p - t->head_memory));
}

/* How many packets hold nothing but the next bytes of the sample, which are
 * there: nearly all of them. */
static size_t
packets_whole(const struct ts_transform *t, const struct transform_io *io)
{
    if (t->is_pes_start || t->text < t->text_count)
        return 0;
    const size_t count =
        least(least(t->copy_left, io->in_len) / PAYLOAD_SIZE_MAX,
              io->out_len / TS_PACKET_SIZE);
    /* one byte is left for each of the others at least */
    return least(least(count, t->packets_left),
                 (t->pes_left - t->packets_left) / (PAYLOAD_SIZE_MAX - 1));
}

static void
packets_put(struct ts_transform *t, struct transform_io *io)
{
    const size_t count = packets_whole(t, io), size = count * PAYLOAD_SIZE_MAX;
    const uint8_t *in = io->in;
    uint8_t *out = io->out;
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        transform_fetch(in);
        memcpy(packet_start(t, out, 0x10), in, PAYLOAD_SIZE_MAX);
        in += PAYLOAD_SIZE_MAX;
        out += TS_PACKET_SIZE;
    }
    io->in = in;
    io->in_len -= size;
    io->out = out;
    io->out_len -= count * TS_PACKET_SIZE;
    t->copy_left -= size;
    t->pes_left -= size;
    t->packets_left -= count;
}

static int
ts_run(struct transform *self, struct transform_io *io)
{
    struct ts_transform *t = (struct ts_transform *) self;
    for (;;) {
        if (t->head.len > 0) {
            const size_t len = least(t->head.len, io->out_len);
            put(io, t->head.ptr, len);
            t->head = bytes_of(t->head.ptr + len, t->head.len - len);
            if (t->head.len > 0)
                return 0;
        }
        if (t->payload_left > 0) {
            const int err = payload_put(t, io);
            if (err != 0 || t->payload_left > 0)
                return err;
        }
        packets_put(t, io);
        if (t->packets_left == 0 && !pes_begin(t))
            return 0;
        packet_begin(t);
    }
}

static void
ts_close(struct transform *self)
{
    free(self);
}

/* ---- opening ---- */

static int
samples_check(const struct lane *lane)
{
    const struct ts_source *source = &lane->source;
    for (uint32_t i = 0; i < source->sample_count; i++) {
        const struct sample *s = &source->samples[i];
        if (s->size < lane->codec.sample_size_min)
            return ERR_INVALID;
        if (s->size > lane->codec.sample_size_max)
            return ERR_LIMIT;
        if (source->info->kind == TRACK_VIDEO
            && s->composition_offset + source->info->media_time < 0)
            return ERR_UNSUPPORTED; /* shown before it is decoded */
    }
    return 0;
}

/* Adds up what goes in and comes out. */
static void
sizes_set(struct ts_transform *t)
{
    struct ts_inputs inputs = t->inputs;
    struct ts_element e;
    t->super.size_out = sizeof t->tables;
    while (ts_element_next(&inputs, &e)) {
        struct lane *lane = &t->lanes[e.source];
        lane->packet_count += packet_count(&e, pes_size(&e, lane));
        t->super.size_in += e.size;
    }
    for (size_t i = 0; i < t->inputs.count; i++) {
        struct lane *lane = &t->lanes[i];
        lane->padding = -lane->packet_count & 15;
        t->super.size_out +=
            (lane->packet_count + lane->padding) * TS_PACKET_SIZE;
    }
}

/* [AUD, parameter sets], and the same with zeros for an AUD. */
static void
prefixes_set(struct lane *lane, struct bytes parameters, uint8_t *memory)
{
    const size_t size = lane->codec.aud_size + parameters.len;
    memcpy(memory, lane->codec.aud, lane->codec.aud_size);
    memset(memory + size, 0, lane->codec.aud_size);
    if (parameters.len > 0) {
        memcpy(memory + lane->codec.aud_size, parameters.ptr, parameters.len);
        memcpy(memory + size + lane->codec.aud_size, parameters.ptr,
               parameters.len);
    }
    lane->prefix = bytes_of(memory, size);
    lane->prefix_late = bytes_of(memory + size, size);
}

/* So that no sum of times wraps. */
#define DECODE_TIME_MAX (INT64_C(1) << 62)
#define MEDIA_TIME_MAX (INT64_C(1) << 45)
#define SAMPLES_MAX 20000000u

static int
source_check(const struct ts_source *source)
{
    const struct track_info *info = source->info;
    if (info->timescale == 0)
        return ERR_INVALID;
    if (source->decode_time > DECODE_TIME_MAX
        || source->sample_count > SAMPLES_MAX
        || info->media_time > MEDIA_TIME_MAX
        || info->media_time < -MEDIA_TIME_MAX)
        return ERR_LIMIT;
    return 0;
}

static int
sources_check(const struct ts_source *sources, size_t count)
{
    int err = 0;
    if (count < 1 || count > TS_SOURCES_MAX || sources[0].sample_count == 0)
        return ERR_INVALID;
    if (count == 2
        && (sources[0].info->kind != TRACK_VIDEO
            || sources[1].info->kind != TRACK_AUDIO))
        return ERR_INVALID;
    for (size_t i = 0; err == 0 && i < count; i++)
        err = source_check(&sources[i]);
    return err;
}

static int
transform_make(const struct ts_source *sources, size_t count, uint32_t number,
               struct buffer *parameters, struct ts_transform **out)
{
    struct ts_codec codecs[TS_SOURCES_MAX];
    int err = sources_check(sources, count);
    for (size_t i = 0; err == 0 && i < count; i++)
        err = ts_codec_open(sources[i].info, &codecs[i], parameters);
    if (err != 0)
        return err;
    /* only video has parameters, and it is the first */
    struct ts_transform *t =
        calloc(1, sizeof *t + 2 * (parameters->len + TS_AUD_SIZE_MAX));
    if (t == NULL)
        return ERR_MEMORY;
    ts_inputs_begin(&t->inputs, sources, count);
    for (size_t i = 0; err == 0 && i < count; i++) {
        t->lanes[i].source = sources[i];
        t->lanes[i].codec = codecs[i];
        err = samples_check(&t->lanes[i]);
    }
    if (err != 0) {
        free(t);
        return err;
    }
    prefixes_set(&t->lanes[0], buffer_bytes(parameters), t->memory);
    tables_write(t, number);
    sizes_set(t);
    t->super.run = ts_run;
    t->super.close = ts_close;
    *out = t;
    return 0;
}

int
ts_transform_open(const struct ts_source *sources, size_t count,
                  uint32_t number, struct transform **out)
{
    struct buffer parameters;
    struct ts_transform *t;
    buffer_init(&parameters, PARAMETERS_SIZE_MAX);
    const int err = transform_make(sources, count, number, &parameters, &t);
    buffer_fini(&parameters);
    if (err == 0)
        *out = &t->super;
    return err;
}

int
ts_track_check(const struct track_info *info)
{
    struct buffer parameters;
    struct ts_codec codec;
    buffer_init(&parameters, PARAMETERS_SIZE_MAX);
    const int err = ts_codec_open(info, &codec, &parameters);
    buffer_fini(&parameters);
    return err;
}
