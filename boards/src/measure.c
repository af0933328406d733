/* SPDX-License-Identifier: MIT
 * `hil run`: interrupts off and the cycle counter on in each measured run, every raw count sent. One more run,
 * behind the others, has probes between the front end's stages and the operators, so that the totals are free of them.
 */
#include "measure.h"

#include <string.h>

#include "front_end.h"
#include "hal.h"
#include "slots.h"
#include "wire.h"

#define MAX_RUNS 10000u
#define BUSY_US 1000000u
#define REFUSED_ARGUMENTS "a kernel refused its arguments"
#define TOO_LONG "a run takes longer than the cycle counter counts"

struct counts {
    uint32_t front_end_cycles, network_cycles;
};

static uint32_t op_cycles[ENGINE_MAX_OPS], stage_cycles[FRONT_END_MAX_STAGES];
static uint32_t stage; /* that is running */
static uint32_t probed_at;
static uint32_t heard_at_us; /* when the host last heard of us */

static void copy_input(const int8_t *from)
{
    memcpy(network.model.input, from, network.model.input_bytes);
}

bool infer_once(void)
{
    copy_input(input_buffer());
    network.output_valid = engine_run(&network.model, NULL, NULL);
    return network.output_valid;
}

static void probe(void *context, uint32_t op)
{
    (void)context;
    const uint32_t now = hal_cycles();
    op_cycles[op] = now - probed_at;
    probed_at = hal_cycles();
}

/* A stage runs once for each group of frames. */
static void probe_stage(void *context, size_t next_stage)
{
    (void)context;
    stage_cycles[stage] += hal_cycles() - probed_at;
    stage = (uint32_t)next_stage;
    probed_at = hal_cycles();
}

static uint32_t measured_front_end(bool with_probes)
{
    const void *blob = front_end.blob.data;
    memset(stage_cycles, 0, sizeof stage_cycles);
    stage = 0;
    const uint32_t irq = hal_irq_off();
    hal_cycles_enable(true);
    const uint32_t begin = probed_at = hal_cycles();
    if (with_probes)
        front_end_run_probed(blob, audio_samples(), front_end.scratch, front_end.features, probe_stage, NULL);
    else
        front_end_run(blob, audio_samples(), front_end.scratch, front_end.features);
    const uint32_t end = hal_cycles();
    hal_cycles_enable(false);
    hal_irq_restore(irq);
    front_end.features_valid = true;
    return end - begin;
}

static uint32_t measured_network(const int8_t *input, engine_probe with_probe)
{
    copy_input(input);
    const uint32_t irq = hal_irq_off();
    hal_cycles_enable(true);
    const uint32_t begin = probed_at = hal_cycles();
    network.output_valid = engine_run(&network.model, with_probe, NULL);
    const uint32_t end = hal_cycles();
    hal_cycles_enable(false);
    hal_irq_restore(irq);
    return end - begin;
}

/* A run longer than the 32-bit counter would come out as a small number. */
static bool counter_wrapped(uint32_t begin_us)
{
    return (hal_micros() - begin_us) / 1000000u >= UINT32_MAX / hal_cycles_hz();
}

static const char *run_once(bool with_front_end, bool with_network, struct counts *counts)
{
    const uint32_t begin_us = hal_micros();
    *counts = (struct counts){0, 0};
    if (with_front_end)
        counts->front_end_cycles = measured_front_end(false);
    if (with_network) {
        counts->network_cycles = measured_network(with_front_end ? front_end.features : input_buffer(), NULL);
        if (!network.output_valid)
            return REFUSED_ARGUMENTS;
    }
    return counter_wrapped(begin_us) ? TOO_LONG : NULL;
}

static void heartbeat(void)
{
    if (hal_micros() - heard_at_us >= BUSY_US) {
        heard_at_us = hal_micros();
        record_busy();
    }
}

/* One run more, with probes; the reason where its counts are none. */
static const char *say_stages(void)
{
    const uint32_t begin_us = hal_micros();
    (void)measured_front_end(true);
    if (counter_wrapped(begin_us))
        return TOO_LONG;
    for (uint32_t i = 0; i < front_end_stages(front_end.blob.data); i++) {
        record_begin("stage");
        record_number(i);
        record_word(front_end_stage(front_end.blob.data, i));
        record_number(stage_cycles[i]);
        record_end();
    }
    return NULL;
}

static const char *say_operators(bool with_front_end)
{
    const uint32_t begin_us = hal_micros();
    (void)measured_network(with_front_end ? front_end.features : input_buffer(), probe);
    if (!network.output_valid)
        return REFUSED_ARGUMENTS;
    if (counter_wrapped(begin_us))
        return TOO_LONG;
    for (uint32_t i = 0; i < network.model.op_count; i++) {
        record_begin("op");
        record_number(i);
        record_word(engine_op_name(&network.model, i));
        record_number(op_cycles[i]);
        record_end();
    }
    return NULL;
}

static const char *run_all(bool with_front_end, bool with_network, bool with_probes, uint32_t warmups, uint32_t runs)
{
    struct counts counts;
    heard_at_us = hal_micros();
    for (uint32_t i = 0; i < warmups; i++) {
        const char *fault = run_once(with_front_end, with_network, &counts);
        if (fault != NULL)
            return fault;
        heartbeat();
    }
    for (uint32_t i = 0; i < runs; i++) {
        const char *fault = run_once(with_front_end, with_network, &counts);
        if (fault != NULL)
            return fault;
        record_begin("run");
        record_number(i);
        record_number(counts.front_end_cycles);
        record_number(counts.network_cycles);
        record_end();
    }
    const char *fault = with_front_end ? say_stages() : NULL;
    return fault == NULL && with_network && with_probes ? say_operators(with_front_end) : fault;
}

static const char *missing(bool with_front_end, bool with_network)
{
    if (with_network && network.blob.data == NULL)
        return "no model loaded";
    if (with_front_end && front_end.blob.data == NULL)
        return "no front end loaded";
    if (with_front_end && audio_bytes() != front_end_samples(front_end.blob.data) * sizeof(int16_t))
        return "no audio of the front end's length loaded";
    if (with_front_end && with_network && front_end.features_bytes != network.model.input_bytes)
        return "the front end's output is not the network's input";
    if (with_network && !with_front_end && input_bytes() != network.model.input_bytes)
        return "no input of the network's size loaded";
    return NULL;
}

void hil_run(const struct command *command)
{
    uint32_t warmups = 0, runs = 0;
    const char *what = command->words[2];
    const bool with_front_end = same(what, "frontend") || same(what, "all");
    const bool step = same(what, "step"); /* of a stream: a run with probes would be one more */
    const bool with_network = step || same(what, "network") || same(what, "all");
    if (command->count != 5 || !(with_front_end || with_network) ||
        !parse_uint(command->words[3], 0, MAX_RUNS, &warmups) || !parse_uint(command->words[4], 1, MAX_RUNS, &runs)) {
        refuse("hil run takes network, step, frontend or all, warm-ups (0 to 10000) and runs (1 to 10000)");
        return;
    }
    const char *fault = missing(with_front_end, with_network);
    if (fault == NULL)
        fault = run_all(with_front_end, with_network, !step, warmups, runs);
    if (fault != NULL)
        refuse(fault);
    else
        record_last(command->crc);
}
