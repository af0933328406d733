/* SPDX-License-Identifier: MIT
 * One channel of a depthwise convolution.
 *
 * Outputs are made four below each other. A word of the plane holds two rows, and an SMLAD multiplies it by two taps:
 * outputs in even rows take the taps in pairs {0, 1}, {2, 3} and so on, those in odd rows in pairs {1, 2}, {3, 4}, and
 * a tap that is left alone takes half of a word. So every load is aligned and serves two or four outputs: a column of
 * three taps takes three loads and eight products for four outputs. With stride 2 all outputs begin in even rows.
 *
 * In C the same takes 1.3 times as long (nucleo-l4r5@virtual, 3x3 over 25x5x64: 282 k cycles, here 213 k), since GCC
 * spills: sums, weights, data and the pointer to them take all 14 registers. What else is needed waits in the FPU.
 */
#include "depthwise.h"

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FP) && __ARM_ARCH_PROFILE == 'M'

/*   r0 to r3 sums; r4 in the plane; r5 weights; r6 to r12 and lr weights and data, else temporary
 *   s0 twice the bias, s1 multiplier, s2 addend, s3 shift; s4 to s7 the first members of the layer
 *   s8 weights, s9 their end, s10 output, s11 the end of the fours
 * Weights of at most six words are resident in r6 to r11, with data in r12, lr and r5. Columns of 0 are any number in a
 * loop. Instructions of a loop are wide: narrow ones would leave others misaligned. Four outputs of 3x3: 76 cycles.
 * The sign is always corrected for (requantise.h): 4 % that the outputs of a ReLU do not need, for half the code.
 */
__asm(".syntax unified\n"

      /* registers by number: d = a + products of x and w */
      ".macro dw_mul instruction, d, x, w, a\n"
      "  \\instruction r\\d, r\\x, r\\w, r\\a\n"
      ".endm\n"
      ".macro dw_ldr d, base, offset\n"
      "  ldr.w r\\d, [\\base, #\\offset]\n"
      ".endm\n"

      /* where pair i is: dw_index in a column, dw_register of the core; odd pairs are {2i - 1, 2i} */
      ".macro dw_find i, odd\n"
      "  .if dw_stride == 2\n"
      "    .set dw_index, (\\i)\n"
      "  .elseif \\odd\n"
      "    .set dw_index, 2 * (\\i)\n"
      "    .if (\\i) == dw_last\n"
      "      .set dw_index, 2 * (\\i) - 1\n"
      "    .endif\n"
      "  .else\n"
      "    .set dw_index, 2 * (\\i) - 1\n"
      "    .if (\\i) == 0\n"
      "      .set dw_index, 0\n"
      "    .endif\n"
      "  .endif\n"
      "  .if dw_resident\n"
      "    .set dw_register, 6 + dw_column * dw_words + dw_index\n"
      "  .elseif dw_stride == 2\n"
      "    .set dw_register, 6 + (\\i) % 5\n"
      "  .else\n"
      "    .set dw_register, 6 + 2 * ((\\i) % 3) + \\odd\n"
      "  .endif\n"
      ".endm\n"
      ".macro dw_load_weight i, odd\n"
      "  dw_find \\i, \\odd\n"
      "  dw_ldr %dw_register, r5, %(4 * dw_index)\n"
      ".endm\n"

      /* dw_data: the register of word j of the plane */
      ".macro dw_find_data j\n"
      "  .set dw_data, 12 + 2 * ((\\j) % dw_batch)\n"
      "  .if dw_data == 16\n"
      "    .set dw_data, 5\n"
      "  .endif\n"
      ".endm\n"

      /* what word j of the plane adds to output p of n */
      ".macro dw_take p, j, n\n"
      "  .if dw_stride == 1\n"
      "    .set dw_i, (\\j) - (\\p) / 2\n"
      "  .else\n"
      "    .set dw_i, (\\j) - (\\p)\n"
      "  .endif\n"
      "  .if dw_i >= 0\n"
      "  .if dw_i <= dw_last\n"
      "    dw_find_data \\j\n"
      "    .set dw_sum, \\p\n"
      "    .if dw_first\n"
      "    .if dw_i == 0\n"
      "      .set dw_sum, \\n - 1\n"
      "    .endif\n"
      "    .endif\n"
      "    .if dw_stride == 2\n"
      "      dw_find dw_i, 0\n"
      "      dw_mul smlad, \\p, %dw_data, %dw_register, %dw_sum\n"
      "    .elseif \\p % 2 == 0\n"
      "      .if dw_i < dw_last\n"
      "        dw_find dw_i, 0\n"
      "        dw_mul smlad, \\p, %dw_data, %dw_register, %dw_sum\n"
      "      .else\n"
      "        dw_find dw_i, 1\n"
      "        dw_mul smlabt, \\p, %dw_data, %dw_register, %dw_sum\n"
      "      .endif\n"
      "    .elseif dw_i == 0\n"
      "      dw_find 0, 0\n"
      "      dw_mul smlatb, \\p, %dw_data, %dw_register, %dw_sum\n"
      "    .else\n"
      "      dw_find dw_i, 1\n"
      "      dw_mul smlad, \\p, %dw_data, %dw_register, %dw_sum\n"
      "    .endif\n"
      "  .endif\n"
      "  .endif\n"
      ".endm\n"

      /* one column of the window for n outputs: loads in a row, as those behind another take one cycle */
      ".macro dw_one_column n\n"
      "  .if dw_stride == 1\n"
      "    .set dw_data_words, (\\n + 1) / 2 + dw_last\n"
      "  .else\n"
      "    .set dw_data_words, \\n + dw_last\n"
      "  .endif\n"
      "  .set dw_start, 0\n"
      "  .rept (dw_data_words + dw_batch - 1) / dw_batch\n"
      "    .if dw_resident == 0\n"
      "      .set dw_j, dw_start\n"
      "      .rept dw_batch\n"
      "        .if dw_j <= dw_last\n"
      "        .if dw_stride == 2\n"
      "          dw_load_weight dw_j, 0\n"
      "        .else\n"
      "          .if dw_j < dw_last\n"
      "            dw_load_weight dw_j, 0\n"
      "          .endif\n"
      "          .if dw_j > 0\n"
      "          .if (\\n > 1) || (dw_j == dw_last)\n"
      "            dw_load_weight dw_j, 1\n"
      "          .endif\n"
      "          .endif\n"
      "        .endif\n"
      "        .endif\n"
      "        .set dw_j, dw_j + 1\n"
      "      .endr\n"
      "    .endif\n"
      "    .set dw_j, dw_start\n"
      "    .rept dw_batch\n"
      "      .if dw_j < dw_data_words\n"
      "        dw_find_data dw_j\n"
      "        dw_ldr %dw_data, r4, %(16 * dw_j)\n"
      "      .endif\n"
      "      .set dw_j, dw_j + 1\n"
      "    .endr\n"
      "    .set dw_j, dw_start\n"
      "    .rept dw_batch\n"
      "      .if dw_j == dw_data_words - 1\n"
      "      .if dw_advance\n"
      "        dw_find_data dw_j\n"
      "        .if dw_data == 12\n"
      "          vmov r14, s5\n"
      "          add.w r4, r4, r14\n"
      "        .else\n"
      "          vmov r12, s5\n"
      "          add.w r4, r4, r12\n"
      "        .endif\n"
      "      .endif\n"
      "      .endif\n"
      "      .if dw_j < dw_data_words\n"
      "        .set dw_p, 0\n"
      "        .rept \\n\n"
      "          dw_take %dw_p, dw_j, \\n\n"
      "          .set dw_p, dw_p + 1\n"
      "        .endr\n"
      "      .endif\n"
      "      .set dw_j, dw_j + 1\n"
      "    .endr\n"
      "    .set dw_start, dw_start + dw_batch\n"
      "  .endr\n"
      ".endm\n"

      /* for each of n outputs */
      ".macro dw_each n, text:vararg\n"
      "  .irp k, 0, 1, 2, 3\n"
      "    .if \\k < \\n\n"
      "      dw_do_\\text \\k\n"
      "    .endif\n"
      "  .endr\n"
      ".endm\n"
      ".macro dw_do_bias k\n"
      "  vmov r\\k, s0\n"
      ".endm\n"
      ".macro dw_do_scale k\n"
      "  add r5, r14, r\\k, asr #31\n"
      "  smmlar r\\k, r\\k, r12, r5\n"
      ".endm\n"
      ".macro dw_do_shift k\n"
      "  asr.w r\\k, r\\k, r12\n"
      ".endm\n"
      ".macro dw_do_saturate k\n"
      "  ssat r\\k, #8, r\\k\n"
      ".endm\n"
      ".macro dw_do_store k\n"
      "  strb.w r\\k, [r5]\n"
      "  add.w r5, r5, r12\n"
      ".endm\n"
      ".macro dw_bias_of n\n"
      "  dw_do_bias %(\\n - 1)\n"
      ".endm\n"

      /* n outputs below each other */
      ".macro dw_outputs n\n"
      "  LOCAL dw_next\n"
      "  .set dw_column, 0\n"
      "  .set dw_advance, 0\n"
      "  .if dw_columns == 0\n"
      "    .set dw_first, 0\n"
      "    dw_each \\n, bias\n"
      "    vmov r5, s8\n"
      "  dw_next:\n"
      "    dw_one_column \\n\n"
      "    add.w r5, r5, #4 * dw_words\n"
      "    vmov r12, s9\n"
      "    vmov r14, s5\n"
      "    add.w r4, r4, r14\n"
      "    cmp r5, r12\n"
      "    bne dw_next\n"
      "    sub.w r4, r4, r14\n"
      "  .else\n"
      "    .set dw_first, 1\n"
      "    dw_bias_of \\n\n"
      "    .if dw_resident == 0\n"
      "      vmov r5, s8\n"
      "    .endif\n"
      "    .rept dw_columns\n"
      "      .set dw_advance, dw_column < dw_columns - 1\n"
      "      dw_one_column \\n\n"
      "      .if dw_advance\n"
      "      .if dw_resident == 0\n"
      "        add.w r5, r5, #4 * dw_words\n"
      "      .endif\n"
      "      .endif\n"
      "      .set dw_first, 0\n"
      "      .set dw_column, dw_column + 1\n"
      "    .endr\n"
      "  .endif\n"
      "  vmov r12, s1\n"
      "  vmov r14, s2\n"
      "  dw_each \\n, scale\n"
      "  vmov r12, s3\n"
      "  dw_each \\n, shift\n"
      "  dw_each \\n, saturate\n"
      "  vmov r5, s10\n"
      "  vmov r12, s4\n"
      "  dw_each \\n, store\n"
      "  vmov s10, r5\n"
      "  .if \\n > 1\n"
      "    .if dw_columns == 1\n"
      "      add.w r4, r4, #8 * \\n * dw_stride\n"
      "    .else\n"
      "      vmov r12, s6\n"
      "      add.w r4, r4, r12\n"
      "    .endif\n"
      "  .endif\n"
      "  .if \\n == 2\n"
      "  .if dw_columns != 1\n"
      "    sub.w r4, r4, #16 * dw_stride\n"
      "  .endif\n"
      "  .endif\n"
      ".endm\n"

      /* a function: struct dsp_depthwise_layer *, struct dsp_depthwise_channel *, plane, output */
      ".macro dw_kernel name, taps, columns, stride\n"
      "  .set dw_last, \\taps / 2\n"
      "  .set dw_columns, \\columns\n"
      "  .set dw_stride, \\stride\n"
      "  .if \\stride == 1\n"
      "    .set dw_words, \\taps - 1\n"
      "  .else\n"
      "    .set dw_words, dw_last + 1\n"
      "  .endif\n"
      "  .set dw_resident, 0\n"
      "  .set dw_batch, 2\n"
      "  .if \\columns > 0\n"
      "  .if dw_words * \\columns <= 6\n"
      "    .set dw_resident, 1\n"
      "    .set dw_batch, 3\n"
      "  .endif\n"
      "  .endif\n"
      "  .altmacro\n"
      "  .pushsection .text.\\name, \"ax\", %progbits\n"
      "  .balign 32\n"
      "  .global \\name\n"
      "  .thumb_func\n"
      "  .type \\name, %function\n"
      "\\name:\n"
      "  push {r4-r11, lr}\n"
      "  ldr r4, [r0, #20]\n"
      "  push {r0, r2, r3, r4}\n"
      "  vldmia r1!, {s0-s3}\n"
      "  vldmia r0, {s4-s7}\n"
      "  .if dw_resident\n"
      "    .irp k, 0, 1, 2, 3, 4, 5\n"
      "      .if \\k < dw_words * dw_columns\n"
      "        dw_ldr %(6 + \\k), r1, %(4 * \\k)\n"
      "      .endif\n"
      "    .endr\n"
      "  .else\n"
      "    ldr r12, [r0, #32]\n"
      "    vmov s8, r1\n"
      "    add r1, r1, r12\n"
      "    vmov s9, r1\n"
      "  .endif\n"
      "  mov r1, r2\n"
      "  mov r2, r3\n"
      "1:\n"
      "  ldr r5, [r0, #16]\n"
      "  vmov s10, r2\n"
      "  mov r4, r1\n"
      "  adds r0, r5, r1\n"
      "  vmov s11, r0\n"
      "  cmp r0, r4\n"
      "  beq 3f\n"
      "  .balign 4\n"
      "2:  dw_outputs 4\n"
      "  vmov r12, s11\n"
      "  cmp r4, r12\n"
      "  bne 2b\n"
      "3:  vmov r12, s7\n"
      "  tst r12, #2\n"
      "  beq 4f\n"
      "  dw_outputs 2\n"
      "  vmov r12, s7\n"
      "4:  tst r12, #1\n"
      "  beq 5f\n"
      "  dw_outputs 1\n"
      "5:  ldmia sp, {r0-r3}\n"
      "  ldrd r4, r5, [r0, #24]\n"
      "  adds r2, r2, r4\n"
      "  adds r1, r1, r5\n"
      "  subs r3, r3, #1\n"
      "  strd r1, r2, [sp, #4]\n"
      "  str r3, [sp, #12]\n"
      "  bne 1b\n"
      "  add sp, sp, #16\n"
      "  pop {r4-r11, pc}\n"
      "  .size \\name, . - \\name\n"
      "  .popsection\n"
      "  .noaltmacro\n"
      ".endm\n");

#define KERNEL(taps, columns, stride) \
    extern dsp_depthwise_run dsp_depthwise_##taps##x##columns##_by_##stride; \
    __asm("dw_kernel dsp_depthwise_" #taps "x" #columns "_by_" #stride ", " #taps ", " #columns ", " #stride);
#define BOTH_STRIDES(taps, columns) KERNEL(taps, columns, 1) KERNEL(taps, columns, 2)
/* 10 to 19 % faster than columns in a loop, 12 % where there are three of five taps. More than that the instruction
 * cache does not hold: 9x3 gains 2 %, 5x3 by 2 loses where all of fours, twos and ones are left. */
#define KERNELS \
    BOTH_STRIDES(3, 1) BOTH_STRIDES(5, 1) BOTH_STRIDES(9, 1) BOTH_STRIDES(15, 1) BOTH_STRIDES(3, 3) KERNEL(5, 3, 1) \
    BOTH_STRIDES(3, 0) BOTH_STRIDES(5, 0) BOTH_STRIDES(9, 0) BOTH_STRIDES(15, 0)
KERNELS
#undef KERNEL

dsp_depthwise_run *dsp_depthwise_run_for(uint32_t taps, uint32_t columns, uint32_t stride)
{
#define KERNEL(taps, columns, stride) {taps, columns, stride, dsp_depthwise_##taps##x##columns##_by_##stride},
    static const struct {
        uint8_t taps, columns, stride;
        dsp_depthwise_run *run;
    } kernels[] = {KERNELS};
    uint32_t i = 0;
    while (kernels[i].taps != taps || kernels[i].stride != stride ||
           (kernels[i].columns != columns && kernels[i].columns != 0))
        i++;
    return kernels[i].run;
}

#else

static int32_t half_of(uint32_t word, uint32_t index)
{
    return (int16_t)(index % 2 != 0 ? word >> 16 : word);
}

/* Tap t of a column of the window. */
static int32_t tap_of(const struct dsp_depthwise_layer *layer, const uint32_t *words, uint32_t t)
{
    if (layer->stride == 2 || t < 2)
        return half_of(words[t / 2], t);
    return t == layer->taps - 1 ? half_of(words[t - 1], 1) : half_of(words[t / 2 * 2 - 1], t);
}

static int32_t sum_of(const struct dsp_depthwise_layer *layer, const struct dsp_depthwise_channel *channel,
                      const uint32_t *plane, uint32_t row)
{
    const uint32_t words = layer->weights_bytes / 4 / layer->columns;
    int32_t sum = channel->twice_bias;
    for (uint32_t c = 0; c < layer->columns; c++)
        for (uint32_t t = 0; t < layer->taps; t++) {
            const uint32_t two = plane[c * (layer->column_bytes / 4) + (row + t) / 2 * DSP_DEPTHWISE_BLOCK];
            sum = dsp_sum(sum, half_of(two, row + t) * tap_of(layer, channel->weights + c * words, t));
        }
    return sum;
}

static void run(const struct dsp_depthwise_layer *layer, const struct dsp_depthwise_channel *channel,
                const uint32_t *plane, int8_t *output)
{
    for (uint32_t x = 0; x < layer->out_w; x++)
        for (uint32_t y = 0; y < layer->out_h; y++) {
            const int32_t twice = sum_of(layer, channel, plane + x * (layer->step_bytes / 4), y * layer->stride);
            output[y * layer->out_row_bytes + x * layer->out_pixel_bytes] = dsp_requantised(twice, &channel->by, true);
        }
}

dsp_depthwise_run *dsp_depthwise_run_for(uint32_t taps, uint32_t columns, uint32_t stride)
{
    (void)taps, (void)columns, (void)stride;
    return run;
}

#endif
