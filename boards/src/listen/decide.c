/* SPDX-License-Identifier: MIT */
#include "decide.h"

#include <string.h>

static uint16_t *posteriors_of(const struct decide_settings *settings, struct decide_stream *stream)
{
    return (uint16_t *)(void *)(stream->sums + settings->classes);
}

const char *decide_fault(const struct decide_settings *settings)
{
    uint32_t keywords = 0;
    if (settings->classes < 1 || settings->classes > DECIDE_MAX_CLASSES)
        return "number of classes out of range";
    if (settings->averaged < 1 || settings->averaged > DECIDE_MAX_AVERAGED)
        return "number of averaged answers out of range";
    if (settings->refractory > DECIDE_MAX_REFRACTORY)
        return "refractory time out of range";
    if (settings->step_bits > DECIDE_MAX_STEP_BITS)
        return "scale of the outputs out of range";
    for (uint32_t i = 0; i < DECIDE_MAX_CLASSES; i++) {
        if (settings->thresholds[i] > (i < settings->classes ? DECIDE_ONE : 0))
            return "a threshold out of range";
        keywords += settings->thresholds[i] != 0;
    }
    return keywords != 0 ? NULL : "no class that can be heard";
}

size_t decide_bytes(const struct decide_settings *settings)
{
    return DECIDE_BYTES(settings->classes, settings->averaged);
}

void decide_start(const struct decide_settings *settings, struct decide_stream *stream)
{
    memset(stream, 0, decide_bytes(settings));
}

/* 2^-x x 2^24 of x in units of 2^-16. The fraction's power is 1 - f/2 - f(1 - f)(a - bf), right at both ends; a and b
 * make the largest error smallest, 1e-4. */
static uint32_t power(uint32_t x)
{
    const uint32_t f = x & 0xFFFFu, whole = x >> 16;
    const uint32_t bend = (f * (0x10000u - f) >> 16) * (12562u - (2597u * f >> 16)) >> 16;
    return whole > 24 ? 0 : (0x10000u - (f >> 1) - bend) << 8 >> whole;
}

/* Softmax, each in units of 1 / DECIDE_ONE. */
static void posteriors(const struct decide_settings *settings, const int8_t *outputs, uint16_t *row)
{
    uint32_t powers[DECIDE_MAX_CLASSES], sum = 0;
    int32_t highest = INT8_MIN;
    for (uint32_t i = 0; i < settings->classes; i++)
        highest = outputs[i] > highest ? outputs[i] : highest;
    for (uint32_t i = 0; i < settings->classes; i++) {
        powers[i] = power((uint32_t)(highest - outputs[i]) * settings->step_bits);
        sum += powers[i]; /* at most 64 x 2^24 */
    }
    const uint32_t divisor = sum >> 8; /* 2^16 at least, for the highest alone adds 2^24 */
    for (uint32_t i = 0; i < settings->classes; i++)
        row[i] = (uint16_t)(((powers[i] << 7) + divisor / 2) / divisor);
}

static void probabilities(const struct decide_settings *settings, const int8_t *outputs, uint16_t *row)
{
    for (uint32_t i = 0; i < settings->classes; i++)
        row[i] = (uint16_t)((outputs[i] + 128) * (int32_t)(DECIDE_ONE / 256));
}

static void average(const struct decide_settings *settings, struct decide_stream *stream, const int8_t *outputs)
{
    uint16_t *const row = posteriors_of(settings, stream) + stream->oldest * settings->classes;
    for (uint32_t i = 0; i < settings->classes; i++)
        stream->sums[i] -= row[i];
    (settings->step_bits != 0 ? posteriors : probabilities)(settings, outputs, row);
    for (uint32_t i = 0; i < settings->classes; i++)
        stream->sums[i] += row[i];
    stream->oldest = stream->oldest + 1 < settings->averaged ? stream->oldest + 1 : 0;
}

int decide_next(const struct decide_settings *settings, struct decide_stream *stream, const int8_t *outputs)
{
    int heard = -1;
    average(settings, stream, outputs);
    if (stream->waits > 0) {
        stream->waits--;
        return -1;
    }
    for (uint32_t i = 0; i < settings->classes; i++) {
        const uint32_t threshold = settings->thresholds[i];
        if (threshold != 0 && stream->sums[i] >= threshold * settings->averaged &&
            (heard < 0 || stream->sums[i] > stream->sums[heard]))
            heard = (int)i;
    }
    if (heard >= 0)
        stream->waits = settings->refractory;
    return heard;
}

uint32_t decide_average(const struct decide_settings *settings, const struct decide_stream *stream, uint32_t class)
{
    return stream->sums[class] / settings->averaged;
}

void decide_all(const struct decide_settings *settings, struct decide_stream *stream, const int8_t *outputs,
                size_t count, int16_t *heard, uint16_t *averages)
{
    for (size_t i = 0; i < count; i++) {
        heard[i] = (int16_t)decide_next(settings, stream, outputs + i * settings->classes);
        for (uint32_t j = 0; averages != NULL && j < settings->classes; j++)
            averages[i * settings->classes + j] = (uint16_t)decide_average(settings, stream, j);
    }
}
