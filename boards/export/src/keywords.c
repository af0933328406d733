/* SPDX-License-Identifier: MIT */
#include "keywords.h"

#include <stdbool.h>
#include <string.h>

#include "engine.h"
#include "front_end.h"
#include "listen/listen.h"

extern const struct decide_settings keywords_decisions; /* keywords_model.c */

#define CONTEXT_BYTES \
    LISTEN_BYTES(KEYWORDS_FRAME_SAMPLES, KEYWORDS_COLUMNS, KEYWORDS_ROWS, KEYWORDS_CLASSES, KEYWORDS_AVERAGED)

static struct {
    /* The network's arena. The front end's scratch memory lies in it too, beside what the network keeps. */
    _Alignas(16) uint8_t memory[KEYWORDS_RAM_BYTES];
    _Alignas(LISTEN_ALIGNMENT) uint8_t stream[CONTEXT_BYTES];
    struct engine_model network;
    keywords_callback heard;
    void *user;
    bool started;
} keywords;

static struct listen *stream_of_audio(void)
{
    return (struct listen *)(void *)keywords.stream;
}

static void decided(void *user, const struct listen_decision *decision)
{
    (void)user;
    const struct keywords_heard word = {decision->heard, decision->samples, decision->posterior};
    if (decision->heard >= 0 && keywords.heard != NULL)
        keywords.heard(keywords.user, &word);
}

const char *keywords_start(keywords_callback heard, void *user)
{
    const struct engine_fault fault = engine_load(&keywords.network, keywords_plan, sizeof keywords_plan,
                                                  keywords.memory, KEYWORDS_ARENA_BYTES);
    keywords.started = false;
    if (fault.reason != NULL)
        return fault.reason;
    const int status = front_end_check(keywords_front_end, sizeof keywords_front_end);
    if (status != FRONT_END_GOOD)
        return front_end_error(status);
    const struct listen_settings settings = {
        .front_end = keywords_front_end,
        .scratch = keywords.memory + KEYWORDS_SCRATCH_OFFSET,
        .network = &keywords.network,
        .decisions = &keywords_decisions,
        .step = KEYWORDS_STEP,
        .warm_up = KEYWORDS_WARM_UP,
    };
    const char *reason = listen_fault(&settings);
    if (reason != NULL)
        return reason;
    if (front_end_samples(keywords_front_end) != KEYWORDS_SAMPLES || listen_bytes(&settings) > CONTEXT_BYTES ||
        front_end_scratch_bytes(keywords_front_end) > KEYWORDS_SCRATCH_BYTES)
        return "front end, network and memory do not belong together";
    keywords.heard = heard;
    keywords.user = user;
    keywords.started = true;
    listen_start(stream_of_audio(), &settings, decided, NULL);
    return NULL;
}

int keywords_push(const int16_t *samples, size_t count)
{
    return keywords.started && listen_push(stream_of_audio(), samples, count) ? 0 : -1;
}

#if !KEYWORDS_STREAM
int keywords_classify(const int16_t samples[KEYWORDS_SAMPLES], int8_t scores[KEYWORDS_CLASSES])
{
    if (!keywords.started)
        return -1;
    front_end_run(keywords_front_end, samples, keywords.memory + KEYWORDS_SCRATCH_OFFSET, keywords.network.input);
    if (!engine_run(&keywords.network, NULL, NULL))
        return -1;
    memcpy(scores, keywords.network.output, KEYWORDS_CLASSES);
    int best = 0;
    for (int i = 1; i < KEYWORDS_CLASSES; i++)
        best = scores[i] > scores[best] ? i : best;
    return best;
}
#endif
