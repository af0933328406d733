/* SPDX-License-Identifier: MIT
 * Listens with many shapes of front end and network and many ways to cut the audio, every buffer exactly as long as it
 * is said to be. The front end's features are sums over a frame, the network's answer is sums over its rows, so that a
 * few lines tell what each answer must be. Prints how many were compared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front_end.h"
#include "listen/listen.h"

enum { SAMPLES = 3000 };
static int16_t audio[SAMPLES];
static struct front_end_header header;
static struct engine_model network;
static uint32_t rows, answers, made, resets; /* made: frames */

static int8_t feature(const int16_t *frame, uint32_t column)
{
    uint32_t sum = column;
    for (uint32_t i = 0; i < header.window; i++)
        sum = sum * 31 + (uint16_t)frame[i];
    return (int8_t)(sum >> 7);
}

void front_end_run_frames(const void *blob, const int16_t *samples, size_t frames, void *scratch, int8_t *out)
{
    (void)blob;
    memset(scratch, 0xA5, 16);
    for (size_t i = 0; i < frames; i++)
        for (uint32_t j = 0; j < header.columns; j++)
            out[i * header.columns + j] = feature(samples + i * header.hop, j);
    made += (uint32_t)frames;
}

static void infer(const int8_t *features, int8_t *outputs)
{
    uint32_t sum = 1;
    for (uint32_t i = 0; i < rows * header.columns; i++)
        sum = sum * 17 + (uint8_t)features[i];
    outputs[0] = (int8_t)(sum >> 5);
    outputs[1] = (int8_t)(sum >> 9);
}

bool engine_run(const struct engine_model *model, engine_probe probe, void *context)
{
    (void)probe;
    (void)context;
    infer(model->input, model->output);
    memset(model->input, 0x5A, model->input_bytes); /* not kept */
    return true;
}

void engine_reset(const struct engine_model *model)
{
    resets += model == &network;
}

struct check {
    uint32_t step, warm_up, count;
};

static void fail(const char *what)
{
    printf("%s: window %u hop %u columns %u rows %u\n", what, header.window, header.hop, header.columns, rows);
    exit(1);
}

static void decided(void *user, const struct listen_decision *decision)
{
    struct check *check = user;
    const uint32_t frames = ((rows + check->step - 1) / check->step + check->warm_up + check->count) * check->step;
    int8_t expected[2], *features = malloc((size_t)rows * header.columns);
    for (uint32_t i = 0; i < rows; i++)
        for (uint32_t j = 0; j < header.columns; j++)
            features[i * header.columns + j] = feature(audio + (frames - rows + i) * header.hop, j);
    infer(features, expected);
    free(features);
    if (decision->samples != (frames - 1) * header.hop + header.window || made != frames)
        fail("time");
    if (memcmp(decision->outputs, expected, 2) != 0)
        fail("answer");
    check->count++;
    answers++;
}

static uint32_t from(uint32_t low, uint32_t high)
{
    return low + (uint32_t)rand() % (high - low + 1);
}

static void listen_once(uint32_t longest)
{
    header = (struct front_end_header){.window = from(1, 60), .hop = from(1, 80), .columns = from(1, 5)};
    rows = from(1, 20);
    const struct decide_settings decisions = {2, from(1, 4), 1, 0, {DECIDE_ONE, 1}};
    int8_t output[2];
    network = (struct engine_model){.input_bytes = rows * header.columns, .output = output, .output_bytes = 2};
    network.input = malloc(network.input_bytes);
    void *scratch = aligned_alloc(16, 16);
    const struct listen_settings settings = {&header, scratch, &network, &decisions, from(1, rows), from(0, 3)};
    if (listen_fault(&settings) != NULL)
        fail(listen_fault(&settings));
    struct listen *context = malloc(listen_bytes(&settings));
    struct check check = {settings.step, settings.warm_up, 0};
    made = resets = 0;
    listen_start(context, &settings, decided, &check);
    if (resets != 1)
        fail("reset");
    for (uint32_t at = 0; at < SAMPLES;) {
        const uint32_t count = from(1, longest), used = count < SAMPLES - at ? count : SAMPLES - at;
        int16_t *piece = malloc(used * sizeof *piece);
        memcpy(piece, audio + at, used * sizeof *piece);
        if (!listen_push(context, piece, used))
            fail("push");
        free(piece);
        at += used;
    }
    if (made != (SAMPLES - header.window) / header.hop + 1)
        fail("frames");
    free(context);
    free(scratch);
    free(network.input);
}

int main(void)
{
    for (int i = 0; i < SAMPLES; i++)
        audio[i] = (int16_t)rand();
    for (int i = 0; i < 900; i++)
        listen_once(i % 3 == 0 ? 5 : i % 3 == 1 ? 120 : SAMPLES);
    printf("%u\n", answers);
    return 0;
}
