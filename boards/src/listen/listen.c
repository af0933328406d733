/* SPDX-License-Identifier: MIT */
#include "listen.h"

#include <string.h>

#include "front_end.h"

static const struct front_end_header *header_of(const struct listen_settings *settings)
{
    return settings->front_end;
}

/* Frames that the network reads. */
static uint32_t rows_of(const struct listen_settings *settings)
{
    return settings->network->input_bytes / header_of(settings)->columns;
}

static struct decide_stream *stream_of(struct listen *context)
{
    return (struct decide_stream *)(void *)(context + 1);
}

static int16_t *audio_of(struct listen *context)
{
    return (int16_t *)(void *)((uint8_t *)stream_of(context) + decide_bytes(context->settings.decisions));
}

static int8_t *features_of(struct listen *context)
{
    return (int8_t *)(audio_of(context) + header_of(&context->settings)->window);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

const char *listen_fault(const struct listen_settings *settings)
{
    if (settings->front_end == NULL || settings->network == NULL || settings->decisions == NULL)
        return "a front end, a network and decisions are needed";
    if (settings->scratch == NULL || (uintptr_t)settings->scratch % FRONT_END_ALIGNMENT != 0)
        return "scratch memory is missing or not aligned";
    const char *fault = decide_fault(settings->decisions);
    if (fault != NULL)
        return fault;
    if (settings->decisions->classes != settings->network->output_bytes)
        return "decisions of another number of classes than the network's";
    if (settings->network->input_bytes % header_of(settings)->columns != 0)
        return "the network does not read whole frames of the front end";
    if (settings->step < 1 || settings->step > rows_of(settings))
        return "the network does not read as many frames as lie between two runs";
    return settings->warm_up <= LISTEN_MAX_WARM_UP ? NULL : "too many runs to warm up";
}

size_t listen_bytes(const struct listen_settings *settings)
{
    const struct front_end_header *h = header_of(settings);
    return LISTEN_BYTES(h->window, h->columns, rows_of(settings), settings->decisions->classes,
                        settings->decisions->averaged);
}

void listen_start(struct listen *context, const struct listen_settings *settings, listen_callback decided, void *user)
{
    const uint32_t rows = rows_of(settings), step = settings->step;
    *context = (struct listen){
        .settings = *settings,
        .decided = decided,
        .user = user,
        .until_run = (rows + step - 1) / step * step,
        .warm_up = settings->warm_up,
    };
    decide_start(settings->decisions, stream_of(context));
    engine_reset(settings->network);
}

/* The network on the rows that are kept, oldest first. */
static bool answer(struct listen *context)
{
    const struct listen_settings *s = &context->settings;
    const size_t columns = header_of(s)->columns, newer = (rows_of(s) - context->row) * columns;
    const int8_t *features = features_of(context);
    memcpy(s->network->input, features + context->row * columns, newer);
    memcpy(s->network->input + newer, features, context->row * columns);
    context->until_run = s->step;
    if (!engine_run(s->network, NULL, NULL))
        return false;
    if (context->warm_up > 0) {
        context->warm_up--;
        return true;
    }
    struct decide_stream *stream = stream_of(context);
    const int heard = decide_next(s->decisions, stream, s->network->output);
    const struct listen_decision decision = {
        .samples = header_of(s)->window + (context->frames - 1) * header_of(s)->hop,
        .outputs = s->network->output,
        .heard = heard,
        .posterior = heard < 0 ? 0 : decide_average(s->decisions, stream, (uint32_t)heard),
        .stream = stream,
    };
    context->decided(context->user, &decision);
    return true;
}

/* Makes `frames` at least 1, no more than make_most(). */
static bool make(struct listen *context, const int16_t *samples, size_t frames)
{
    const struct listen_settings *s = &context->settings;
    front_end_run_frames(s->front_end, samples, frames, s->scratch,
                         features_of(context) + context->row * header_of(s)->columns);
    context->frames += frames;
    context->until_run -= (uint32_t)frames;
    context->row += (uint32_t)frames;
    if (context->row == rows_of(s))
        context->row = 0;
    return context->until_run > 0 || answer(context);
}

/* Frames before the network runs or the kept rows begin anew. */
static size_t make_most(const struct listen *context)
{
    return least(context->until_run, rows_of(&context->settings) - context->row);
}

/* Frames are made where the samples lie; what a later call must complete is held back. */
bool listen_push(struct listen *context, const int16_t *samples, size_t count)
{
    const size_t window = header_of(&context->settings)->window, hop = header_of(&context->settings)->hop;
    int16_t *const audio = audio_of(context);
    size_t at = context->skipped;
    bool good = true;
    while (good && at < count) {
        if (context->held == 0 && count - at >= window) {
            const size_t frames = least(1 + (count - at - window) / hop, make_most(context));
            good = make(context, samples + at, frames);
            at += frames * hop;
            continue;
        }
        const size_t taken = least(window - context->held, count - at);
        memcpy(audio + context->held, samples + at, taken * sizeof *audio);
        context->held += (uint32_t)taken;
        at += taken;
        if (context->held < window)
            break;
        good = make(context, audio, 1);
        context->held = 0;
        if (at + hop >= window) {
            at = at + hop - window; /* where the next frame begins in these samples */
        } else {
            context->held = (uint32_t)(window - hop);
            memmove(audio, audio + hop, context->held * sizeof *audio);
        }
    }
    context->skipped = at > count ? (uint32_t)(at - count) : 0;
    return good;
}
