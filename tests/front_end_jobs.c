/* SPDX-License-Identifier: MIT
 * Runs jobs of the front end: reads in.bin, writes out.bin. A job is uint32 blob bytes, uint32 clips, blob, clips x
 * 16000 int16; its answer is int32 front_end_check() and, where that is 0, the int8 features of each clip. Every buffer is
 * exactly as long as it is said to be, for sanitizers to watch. Builds natively and, with semihosting, for QEMU's
 * mps2-an386 (Cortex-M4F).
 */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "front_end.h"

#define CLIP_SAMPLES 16000u

#ifdef __arm__
extern void _start(void);
extern uint32_t __stack_top[];

void reset(void)
{
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: the FPU on */
    __asm volatile("dsb\n isb");
    _start();
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {__stack_top, (void *)reset};
#endif

static int run_clip(const void *blob, FILE *in, FILE *results)
{
    int16_t *audio = malloc(CLIP_SAMPLES * sizeof *audio);
    void *scratch = memalign(16, front_end_scratch_bytes(blob));
    int8_t *out = malloc(front_end_output_bytes(blob));
    const int good = audio && scratch && out && fread(audio, sizeof *audio, CLIP_SAMPLES, in) == CLIP_SAMPLES;
    if (good) {
        front_end_run(blob, audio, scratch, out);
        fwrite(out, 1, front_end_output_bytes(blob), results);
    }
    free(audio);
    free(scratch);
    free(out);
    return good;
}

static int run_job(uint32_t bytes, uint32_t clips, FILE *in, FILE *results)
{
    uint8_t *blob = malloc(bytes);
    int good = blob && fread(blob, 1, bytes, in) == bytes;
    if (good) {
        int32_t status = front_end_check(blob, bytes);
        if (status == FRONT_END_GOOD && front_end_samples(blob) > CLIP_SAMPLES)
            status = FRONT_END_BAD_SHAPE; /* more audio than a job has */
        fwrite(&status, sizeof status, 1, results);
        for (uint32_t i = 0; good && i < clips; i++)
            good = status == FRONT_END_GOOD ? run_clip(blob, in, results)
                                       : fseek(in, CLIP_SAMPLES * sizeof(int16_t), SEEK_CUR) == 0;
    }
    free(blob);
    return good;
}

int main(void)
{
    FILE *in = fopen("in.bin", "rb"), *results = fopen("out.bin", "wb");
    uint32_t sizes[2];
    int good = in && results;
    while (good && fread(sizes, sizeof sizes, 1, in) == 1)
        good = run_job(sizes[0], sizes[1], in, results);
    return !good || fclose(results) != 0;
}
