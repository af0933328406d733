/* SPDX-License-Identifier: MIT
 * What all kinds of front end have in common: the blob's header, and the way through a clip.
 */
#include "front_end.h"

#include "crc32.h"
#include "front_ends/kind.h"

#define LINKED(kind) ((FRONT_END_KINDS & (1u << (kind))) != 0)

extern const struct front_end_kind front_end_mfcc, front_end_log_mel;

static const struct front_end_kind *const kinds[] = {
#if LINKED(FRONT_END_MFCC)
    &front_end_mfcc,
#endif
#if LINKED(FRONT_END_LOG_MEL)
    &front_end_log_mel,
#endif
};

static const struct front_end_header *header_of(const void *blob)
{
    return (const struct front_end_header *)blob;
}

static const struct front_end_kind *kind_of(const void *blob)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i]->number == header_of(blob)->kind)
            return kinds[i];
    return NULL;
}

static bool shape_good(const struct front_end_header *h)
{
    return h->sample_rate_hz >= 1 && h->window >= 1 && h->samples >= h->window &&
           h->samples <= FRONT_END_MAX_SAMPLES && h->hop >= 1 && h->hop <= FRONT_END_MAX_SAMPLES && h->columns >= 1;
}

int front_end_check(const void *blob, size_t bytes)
{
    const struct front_end_header *h = header_of(blob);
    if ((uintptr_t)blob % 4 != 0)
        return FRONT_END_MISALIGNED;
    if (bytes < sizeof *h)
        return FRONT_END_TOO_SHORT;
    if (h->magic != FRONT_END_MAGIC)
        return FRONT_END_NOT_A_BLOB;
    if (h->version != FRONT_END_VERSION)
        return FRONT_END_OTHER_VERSION;
    if (h->total_bytes > bytes || h->total_bytes < sizeof *h)
        return FRONT_END_TOO_SHORT;
    if (crc32(0, (const uint8_t *)blob + 16, h->total_bytes - 16) != h->crc32)
        return FRONT_END_DAMAGED;
    const struct front_end_kind *kind = kind_of(blob);
    if (kind == NULL)
        return FRONT_END_NO_SUCH_KIND;
    if (h->header_bytes != kind->header_bytes)
        return FRONT_END_OTHER_VERSION;
    if (h->total_bytes < h->header_bytes)
        return FRONT_END_TOO_SHORT;
    if (!shape_good(h))
        return FRONT_END_BAD_SHAPE;
    if (h->multiplier < 1 || h->shift > FRONT_END_MAX_SHIFT || h->zero_point < -128 || h->zero_point > 127)
        return FRONT_END_BAD_SCALE;
    return kind->check(blob);
}

const char *front_end_error(int status)
{
    static const char *const texts[] = {
        "good",
        "front end cut short",
        "front end not aligned",
        "not a front end",
        "front end of another version",
        "front end damaged: CRC-32 differs",
        "front end of a kind that is not in this firmware",
        "front end of an impossible shape",
        "front end's FFT size is not in this firmware",
        "front end of an impossible scale",
        "front end with a table out of bounds",
    };
    return status >= 0 && (size_t)status < sizeof texts / sizeof texts[0] ? texts[status] : "unknown";
}

const char *front_end_kind(const void *blob)
{
    return kind_of(blob)->name;
}

size_t front_end_scratch_bytes(const void *blob)
{
    return kind_of(blob)->scratch_bytes(blob);
}

size_t front_end_samples(const void *blob)
{
    return header_of(blob)->samples;
}

size_t front_end_frames(const void *blob)
{
    const struct front_end_header *h = header_of(blob);
    return 1 + (h->samples - h->window) / h->hop;
}

size_t front_end_columns(const void *blob)
{
    return header_of(blob)->columns;
}

size_t front_end_output_bytes(const void *blob)
{
    return front_end_frames(blob) * front_end_columns(blob);
}

size_t front_end_stages(const void *blob)
{
    return kind_of(blob)->stage_count;
}

const char *front_end_stage(const void *blob, size_t stage)
{
    return kind_of(blob)->stages[stage].name;
}

static void walk(const void *blob, const int16_t *samples, size_t frames, void *scratch, int8_t *out,
                 front_end_probe probe, void *context)
{
    const struct front_end_header *h = header_of(blob);
    const struct front_end_kind *kind = kind_of(blob);
    const uint32_t most = kind->group_frames(blob);
    struct front_end_group group = {.blob = blob, .samples = samples, .scratch = scratch, .out = out};
    if (probe != NULL)
        probe(context, 0);
    for (; frames > 0; frames -= group.frames) {
        group.frames = frames < most ? (uint32_t)frames : most;
        for (size_t i = 0; i < kind->stage_count; i++) {
            kind->stages[i].run(&group);
            if (probe != NULL)
                probe(context, i + 1 < kind->stage_count ? i + 1 : 0);
        }
        group.samples += group.frames * h->hop;
        group.out += group.frames * h->columns;
    }
}

void front_end_run_frames(const void *blob, const int16_t *samples, size_t frames, void *scratch, int8_t *out)
{
    walk(blob, samples, frames, scratch, out, NULL, NULL);
}

void front_end_run(const void *blob, const int16_t *samples, void *scratch, int8_t *out)
{
    walk(blob, samples, front_end_frames(blob), scratch, out, NULL, NULL);
}

void front_end_run_probed(const void *blob, const int16_t *samples, void *scratch, int8_t *out, front_end_probe probe,
                          void *context)
{
    walk(blob, samples, front_end_frames(blob), scratch, out, probe, context);
}
