/* SPDX-License-Identifier: MIT */
#include "keywords.h"

#include <stdbool.h>
#include <string.h>

#include "engine.h"
#include "front_end.h"

/* The network's arena. The front end's scratch memory lies in it too, beside the network's input. */
static _Alignas(16) uint8_t memory[KEYWORDS_RAM_BYTES];
static struct engine_model model;
static bool started;

const char *keywords_start(void)
{
    const struct engine_fault fault =
        engine_load(&model, keywords_plan, sizeof keywords_plan, memory, KEYWORDS_ARENA_BYTES);
    if (fault.reason != NULL)
        return fault.reason;
    const int status = front_end_check(keywords_front_end, sizeof keywords_front_end);
    if (status != FRONT_END_GOOD)
        return front_end_error(status);
    if (front_end_samples(keywords_front_end) != KEYWORDS_SAMPLES || model.output_bytes != KEYWORDS_CLASSES ||
        front_end_output_bytes(keywords_front_end) != model.input_bytes ||
        front_end_scratch_bytes(keywords_front_end) > KEYWORDS_SCRATCH_BYTES)
        return "front end, network and memory do not belong together";
    started = true;
    return NULL;
}

int keywords_classify(const int16_t samples[KEYWORDS_SAMPLES], int8_t scores[KEYWORDS_CLASSES])
{
    if (!started)
        return -1;
    front_end_run(keywords_front_end, samples, memory + KEYWORDS_SCRATCH_OFFSET, model.input);
    if (!engine_run(&model, NULL, NULL))
        return -1;
    memcpy(scores, model.output, KEYWORDS_CLASSES);
    int best = 0;
    for (int i = 1; i < KEYWORDS_CLASSES; i++)
        best = scores[i] > scores[best] ? i : best;
    return best;
}
