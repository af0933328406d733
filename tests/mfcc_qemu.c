/* SPDX-License-Identifier: MIT
 * Runs the front end on QEMU's mps2-an386 (Cortex-M4F): reads jobs from in.bin and writes the int8 features to
 * out.bin through semihosting. A job: uint32 blob bytes, uint32 clips, blob, clips x samples int16.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "mfcc.h"

static _Alignas(16) uint8_t blob[65536], scratch[32768];
static int16_t audio[16000];
static int8_t out[131072];

extern void _start(void);
extern uint32_t __stack_top[];

void reset(void)
{
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: the FPU on */
    __asm volatile("dsb\n isb");
    _start();
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {__stack_top, (void *)reset};

int main(void)
{
    FILE *in = fopen("in.bin", "rb"), *results = fopen("out.bin", "wb");
    uint32_t sizes[2];
    while (in && results && fread(sizes, sizeof sizes, 1, in) == 1) {
        if (sizes[0] > sizeof blob || fread(blob, 1, sizes[0], in) != sizes[0])
            return 2;
        if (mfcc_check(blob, sizes[0]) != MFCC_GOOD || mfcc_scratch_bytes(blob) > sizeof scratch ||
            mfcc_output_bytes(blob) > sizeof out)
            return 3;
        for (uint32_t i = 0; i < sizes[1]; i++) {
            if (fread(audio, sizeof audio, 1, in) != 1)
                return 4;
            mfcc_run(blob, audio, scratch, out);
            fwrite(out, mfcc_output_bytes(blob), 1, results);
        }
    }
    return !in || !results || fclose(results);
}
