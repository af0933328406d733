/* SPDX-License-Identifier: MIT
 * hil_run() over an engine and a clock that do what the arguments say; prints what the wire would.
 *   measure_jobs FAILS_AT SECONDS_AT: the number of the run (from 1) that fails, and of the one that takes 40 s.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front_end.h"
#include "hal.h"
#include "measure.h"
#include "slots.h"
#include "wire.h"

struct network network;
struct front_end front_end;
static uint32_t run, fails_at, slow_at, micros;
static int8_t input[4], arena[16];

bool engine_run(const struct engine_model *model, engine_probe probe, void *context)
{
    run++;
    micros += run == slow_at ? 40000000u : 1000u;
    if (run == fails_at)
        return false;
    for (uint32_t i = 0; probe != NULL && i < model->op_count; i++)
        probe(context, i);
    return true;
}

const char *engine_op_name(const struct engine_model *model, uint32_t op) { (void)model, (void)op; return "conv"; }
void hal_cycles_enable(bool on) { (void)on; }
uint32_t hal_cycles(void) { return micros * 120u; }
uint32_t hal_cycles_hz(void) { return 120000000u; }
uint32_t hal_micros(void) { return micros; }
uint32_t hal_irq_off(void) { return 0; }
void hal_irq_restore(uint32_t state) { (void)state; }
void front_end_run(const void *blob, const int16_t *audio, void *scratch, int8_t *out)
{
    (void)blob, (void)audio, (void)scratch, (void)out;
}
void front_end_run_probed(const void *blob, const int16_t *audio, void *scratch, int8_t *out, front_end_probe probe,
                          void *context)
{
    (void)blob, (void)audio, (void)scratch, (void)out, (void)probe, (void)context;
}
size_t front_end_stages(const void *blob) { (void)blob; return 0; }
const char *front_end_stage(const void *blob, size_t stage) { (void)blob, (void)stage; return ""; }
size_t front_end_samples(const void *blob) { (void)blob; return 0; }
int16_t *audio_samples(void) { return NULL; }
size_t audio_bytes(void) { return 0; }
int8_t *input_buffer(void) { return input; }
size_t input_bytes(void) { return sizeof input; }
bool same(const char *a, const char *b) { return strcmp(a, b) == 0; }
bool parse_uint(const char *word, uint32_t low, uint32_t high, uint32_t *value)
{
    (void)low, (void)high;
    *value = (uint32_t)atoi(word);
    return true;
}
void record_begin(const char *name) { printf("%s", name); }
void record_number(uint32_t value) { (void)value; }
void record_word(const char *text) { printf("-%s", text); }
void record_end(void) { printf("\n"); }
void record_busy(void) {}
void record_last(uint32_t crc) { (void)crc, printf("end\n"); }
void refuse(const char *reason) { printf("e-[%s]\n", reason); }

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    fails_at = (uint32_t)atoi(argv[1]), slow_at = (uint32_t)atoi(argv[2]);
    network.blob.data = (const uint8_t *)input;
    network.model = (struct engine_model){.op_count = 2, .input = arena, .input_bytes = sizeof input};
    hil_run(&(struct command){.words = {"hil", "run", "network", "1", "2"}, .count = 5});
    return 0;
}
