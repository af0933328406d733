/* SPDX-License-Identifier: MIT */
#include "product.h"

#include "dsp.h"

const char *dsp_groups_fault(const struct plan_header *plan, const struct plan_op *op, uint32_t column)
{
    const uint64_t groups = ((uint64_t)op->out_c + DSP_GROUP_CHANNELS - 1) / DSP_GROUP_CHANNELS;
    const uint32_t group_bytes = DSP_GROUP_BYTES + DSP_STEP_BYTES * dsp_steps_of(column);
    REQUIRE(constants_good(plan, op->weights_data, groups * group_bytes), "weights outside the plan or unaligned");
    const uint8_t *group = (const uint8_t *)plan + op->weights_data;
    for (uint32_t i = 0; i < groups; i++, group += group_bytes) {
        const struct dsp_scaling *by = (const struct dsp_scaling *)(const void *)(group + group_bytes) - 4;
        for (uint32_t j = 0; j < DSP_GROUP_CHANNELS; j++)
            REQUIRE(by[j].multiplier >= 0 && in_range(by[j].shift, 0, DSP_MAX_SHIFT),
                    "a multiplier or shift out of range");
    }
    return NULL;
}

#if DSP_ASSEMBLY

/* 15 cycles a step, which is 16 multiplications: four loads (5), two SXTB16, eight SMLAD. That takes all 14 registers: two
 * pointers, two words of columns, two of weights, eight sums; whatever else is needed waits in registers of the FPU. C
 * spills here. Eight steps in one turn, entered in the middle where the number of steps is no multiple: every
 * instruction of a step is wide, so that a step is 56 bytes. Loop, scaling and the caller's loop stay below the 1 KiB
 * of the STM32L4's instruction cache. Modelled: 15.1 cycles a step, 4.5 a turn, 86 a group with its eight outputs (94
 * where they are signed), by least squares over 45 layers on the virtual NUCLEO-L4R5ZI.
 *
 *   s0 columns less the steps that are skipped, s1 their end, each less a word; s2 where the loop is entered,
 *   s3 the bytes of a group that are skipped and a word, s4 end of groups, s5 and s6 outputs
 *   r0 columns, r1 groups, r2 and r3 of columns, r4 and r5 of weights
 *   r6 and r7: 256 * D0 + D1 of both pixels, r8 and r9: D1, r10 and r11: 256 * D2 + D3, r12 and lr: D3
 */
enum { STEPS_A_TURN = 8, STEP_CODE_BYTES = 56 };

__asm(".syntax unified\n"
      ".macro dsp_step at, moved=\n" /* pointers stand one word before what comes next */
      "ldr.w r2, [r0, #8 * \\at + 4]\n"
      "ldr.w r4, [r1, #8 * \\at + 4]\n"
      "ldr.w r3, [r0, #8 * \\at + 8]\\moved\n"
      "ldr.w r5, [r1, #8 * \\at + 8]\\moved\n"
      "smlad r6, r4, r2, r6\n"
      "smlad r7, r4, r3, r7\n"
      "sxtb16.w r4, r4\n"
      "smlad r10, r5, r2, r10\n"
      "smlad r11, r5, r3, r11\n"
      "sxtb16.w r5, r5\n"
      "smlad r8, r4, r2, r8\n"
      "smlad r9, r4, r3, r9\n"
      "smlad r12, r5, r2, r12\n"
      "smlad lr, r5, r3, lr\n"
      ".endm\n"

      /* of twice the sums of one channel: six instructions an output where they are signed, else five */
      ".macro dsp_scaled a, b, is_signed\n"
      ".if \\is_signed\n"
      "add.w r0, r3, \\a, asr #31\n"
      "smmlar \\a, \\a, r2, r0\n"
      "add.w r0, r3, \\b, asr #31\n"
      "smmlar \\b, \\b, r2, r0\n"
      ".else\n"
      "smmlar \\a, \\a, r2, r3\n"
      "smmlar \\b, \\b, r2, r3\n"
      ".endif\n"
      "asr.w \\a, \\a, r4\n"
      "asr.w \\b, \\b, r4\n"
      "ssat \\a, #8, \\a\n"
      "ssat \\b, #8, \\b\n"
      ".endm\n"

      ".macro dsp_pair a, b, lower_a, lower_b, at, is_signed\n"
      "ldm.w r1!, {r2, r3, r4}\n"
      "sub.w \\a, \\a, \\lower_a\n"
      "sub.w \\b, \\b, \\lower_b\n"
      "asr.w \\a, \\a, #7\n"
      "asr.w \\b, \\b, #7\n"
      "dsp_scaled \\a, \\b, \\is_signed\n"
      "ldm.w r1!, {r2, r3, r4}\n"
      "lsl.w \\lower_a, \\lower_a, #1\n"
      "lsl.w \\lower_b, \\lower_b, #1\n"
      "dsp_scaled \\lower_a, \\lower_b, \\is_signed\n"
      "vmov r3, s6\n"
      "strb.w \\a, [r5, #\\at]\n"
      "strb.w \\lower_a, [r5, #\\at + 1]\n"
      "strb.w \\b, [r3, #\\at]\n"
      "strb.w \\lower_b, [r3, #\\at + 1]\n"
      ".endm\n"

      ".macro dsp_product_of is_signed, steps\n"
      "push {r4-r11, lr}\n"
      "vldm r0, {s0-s6}\n"
      "ldr.w r1, [r0, #28]\n"
      ".p2align 2\n"
      "1:\n"
      "ldm.w r1!, {r6, r8, r10, r12}\n"
      "vmov r2, s3\n"
      "vmov r3, s2\n"
      "vmov r0, s0\n"
      "sub.w r1, r1, r2\n"
      "mov.w r7, r6\n"
      "mov.w r9, r8\n"
      "mov.w r11, r10\n"
      "mov.w lr, r12\n"
      "bx r3\n"
      ".p2align 3\n"
      "\\steps:\n"
      "dsp_step 0\n"
      "dsp_step 1\n"
      "dsp_step 2\n"
      "dsp_step 3\n"
      "dsp_step 4\n"
      "dsp_step 5\n"
      "dsp_step 6\n"
      "dsp_step 7, !\n"
      "vmov r2, s1\n"
      "cmp.w r0, r2\n"
      "bne.w \\steps\n"
      "add.w r1, r1, #4\n"
      "vmov r5, s5\n"
      "dsp_pair r6, r7, r8, r9, 0, \\is_signed\n"
      "dsp_pair r10, r11, r12, lr, 2, \\is_signed\n"
      "add.w r5, r5, #4\n"
      "add.w r3, r3, #4\n"
      "vmov r2, s4\n"
      "vmov s5, r5\n"
      "vmov s6, r3\n"
      "cmp.w r1, r2\n"
      "bne.w 1b\n"
      "pop {r4-r11, pc}\n"
      ".endm\n");

extern const char dsp_steps_of_signed[], dsp_steps_of_unsigned[]; /* labels in the assembly */

static void __attribute__((naked)) run_signed(const struct dsp_product *product)
{
    (void)product;
    __asm("dsp_product_of 1, dsp_steps_of_signed");
}

static void __attribute__((naked)) run_unsigned(const struct dsp_product *product)
{
    (void)product;
    __asm("dsp_product_of 0, dsp_steps_of_unsigned");
}

struct dsp_product dsp_product_of(uint32_t *columns, uint32_t steps, const uint32_t *groups,
                                  const uint32_t *groups_end, bool is_signed)
{
    const uint32_t skipped = (0u - steps) % STEPS_A_TURN;
    const char *loop = is_signed ? dsp_steps_of_signed : dsp_steps_of_unsigned;
    return (struct dsp_product){
        .columns = columns,
        .columns_end = columns + 2 * steps,
        .loop_start = columns - 2 * skipped - 1,
        .loop_end = columns + 2 * steps - 1,
        .entry = ((uintptr_t)loop + STEP_CODE_BYTES * skipped) | 1, /* Thumb */
        .skipped_bytes = DSP_STEP_BYTES * skipped + 4,
        .groups = groups,
        .groups_end = groups_end,
        .run = is_signed ? run_signed : run_unsigned,
        .steps = steps,
        .is_signed = is_signed,
    };
}

#else

#include "halves.h"

/* Two output channels of both pixels; `weights` at the pair's word of the first step. Gives what scales the next. */
static const struct dsp_scaling *put_pair(const struct dsp_product *product, const uint32_t *start,
                                          const uint32_t *weights, const struct dsp_scaling *by, int8_t *first, int8_t *second)
{
    uint32_t both[2] = {start[0], start[0]}, lower[2] = {start[1], start[1]};
    int8_t *const output[2] = {first, second};
    for (uint32_t i = 0; i < product->steps; i++)
        for (uint32_t pixel = 0; pixel < 2; pixel++) {
            both[pixel] = dsp_products(weights[2 * i], product->columns[2 * i + pixel], both[pixel]);
            lower[pixel] = dsp_products(dsp_even_bytes(weights[2 * i]), product->columns[2 * i + pixel], lower[pixel]);
        }
    for (uint32_t pixel = 0; pixel < 2; pixel++) {
        output[pixel][0] = dsp_requantised((int32_t)(both[pixel] - lower[pixel]) >> 7, &by[0], product->is_signed);
        output[pixel][1] = dsp_requantised((int32_t)(lower[pixel] << 1), &by[1], product->is_signed);
    }
    return by + 2;
}

static void run(const struct dsp_product *product)
{
    int8_t *first = product->first, *second = product->second;
    for (const uint32_t *group = product->groups; group != product->groups_end; first += 4, second += 4) {
        const uint32_t *weights = group + 4;
        const struct dsp_scaling *by = (const struct dsp_scaling *)(const void *)(weights + 2 * product->steps);
        by = put_pair(product, group, weights, by, first, second);
        by = put_pair(product, group + 2, weights + 1, by, first + 2, second + 2);
        group = (const uint32_t *)(const void *)by;
    }
}

struct dsp_product dsp_product_of(uint32_t *columns, uint32_t steps, const uint32_t *groups,
                                  const uint32_t *groups_end, bool is_signed)
{
    return (struct dsp_product){.columns = columns,
                                .columns_end = columns + 2 * steps,
                                .groups = groups,
                                .groups_end = groups_end,
                                .run = run,
                                .steps = steps,
                                .is_signed = is_signed};
}

#endif
