/* SPDX-License-Identifier: MIT
 * `hil listen`: the audio that was uploaded goes on with the stream, in pieces of a period as a product hears it, with
 * interrupts off and the cycle counter on. A decision's cycles are all that were counted since the one before it: the
 * front end's new frames, the network, the decision.
 */
#include "listening.h"

#include "front_end.h"
#include "hal.h"
#include "slots.h"
#include "wire.h"

static struct {
    struct listen_decision decision;
    bool made;         /* in the piece that is being heard */
    uint32_t cycles;   /* up to the decision, since the one before */
    uint32_t counted;  /* since the last decision, in the pieces before */
    uint32_t begin;    /* where the counter stood when counting went on */
} heard;

static void decided(void *user, const struct listen_decision *decision)
{
    (void)user;
    const uint32_t now = hal_cycles();
    heard.decision = *decision;
    heard.made = true;
    heard.cycles = heard.counted + (now - heard.begin);
    heard.counted = 0;
    heard.begin = hal_cycles();
}

void listening_begin(void)
{
    heard.counted = 0;
    network.output_valid = false;
    listen_start(listening.context, &listening.settings, decided, NULL);
}

/* The reason where the stream cannot go on. More than the counter counts would come out as a small number; up to four
 * pieces are one decision's. */
static const char *push(const int16_t *samples, size_t count)
{
    const uint32_t begin_us = hal_micros();
    heard.made = false;
    const uint32_t irq = hal_irq_off();
    hal_cycles_enable(true);
    heard.begin = hal_cycles();
    const bool good = listen_push(listening.context, samples, count);
    heard.counted += hal_cycles() - heard.begin;
    hal_cycles_enable(false);
    hal_irq_restore(irq);
    if (!good)
        return "a kernel refused its arguments";
    return (hal_micros() - begin_us) / 1000000u >= UINT32_MAX / 4 / hal_cycles_hz()
               ? "a decision takes longer than the cycle counter counts"
               : NULL;
}

/* The network's answer stands where it was made until the next piece. */
static void say_decision(void)
{
    const struct listen_decision *decision = &heard.decision;
    record_begin("decision");
    record_number((uint32_t)decision->samples);
    record_number(heard.cycles);
    record_number((uint32_t)(decision->heard + 1));
    record_number(decision->posterior);
    wire_text("-");
    wire_hex(decision->outputs, network.model.output_bytes);
    record_end();
}

static const char *missing(void)
{
    if (listening.bytes == 0)
        return "nothing loaded to listen by";
    if (audio_bytes() == 0)
        return "no audio loaded";
    if (network.output_valid) /* a run in between has used the network's memory */
        return "the network has run since it listened: load anew what listens";
    return NULL;
}

void hil_listen(const struct command *command)
{
    const char *fault = missing();
    if (fault != NULL) {
        refuse(fault);
        return;
    }
    const struct front_end_header *header = listening.settings.front_end;
    const size_t count = audio_bytes() / sizeof(int16_t), period = listening.settings.step * header->hop;
    for (size_t at = 0; fault == NULL && at < count; at += period) {
        fault = push(audio_samples() + at, count - at < period ? count - at : period);
        if (fault == NULL && heard.made)
            say_decision();
    }
    if (fault != NULL)
        refuse(fault);
    else
        record_last(command->crc);
}
