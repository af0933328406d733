/* SPDX-License-Identifier: MIT
 * The transforms of fft.c for a Cortex-M4 or M7 with its FPU.
 *
 *   r0 in z; r12 one word before the twiddles of a block, the end of the first pass; r1 to r10 values and twiddles
 *   r11 temporary; lr what rounds; s0 sqrt(1/2) twice, s1 the end of a block's butterflies, s2 that of z, s3 z
 *   s4 one word before all twiddles
 *
 * A butterfly of radix 8 takes 54 cycles in the first pass, 86 in others: 17 for 15 loads, 21 for seven products, 8 for
 * stores, 5 for the loop. One of radix 4 takes 31, four of radix 2 take 46. GCC takes seven times as long from C.
 * Instructions of a loop are wide, or narrow in pairs: others would be misaligned. Each transform is one piece of code,
 * so that all of its loops stay in the 1 KiB of the STM32L4's instruction cache together.
 */
#ifndef HIL_FRONT_END_FFT_CORTEX_M4_H
#define HIL_FRONT_END_FFT_CORTEX_M4_H

#include <stdint.h>

__asm(".syntax unified\n"

      /* x = x w / 2 */
      ".macro fft_turn x, w\n"
      "smlsd r11, \\x, \\w, lr\n"
      "smladx \\x, \\x, \\w, lr\n"
      "pkhtb \\x, \\x, r11, asr #16\n"
      ".endm\n"

      /* Radix 8 from inputs in r8, r1 to r7, sqrt(1/2) twice in r11; on to the next. Only r11, r12 and lr are kept. */
      ".macro fft_butterfly8 add, sub, stride, next, width\n"
      "\\add r9, r8, r4\n" /* sums of opposite inputs in r9, r8, r1, r2, differences in r4 to r7 */
      "\\sub r4, r8, r4\n"
      "\\add r8, r1, r5\n"
      "\\sub r5, r1, r5\n"
      "\\add r1, r2, r6\n"
      "\\sub r6, r2, r6\n"
      "\\add r2, r3, r7\n"
      "\\sub r7, r3, r7\n"
      "shadd16 r3, r9, r1\n"
      "shsub16 r9, r9, r1\n"
      "shadd16 r1, r8, r2\n"
      "shsub16 r8, r8, r2\n"
      "shadd16 r10, r3, r1\n" /* bin 0 */
      "shsub16 r3, r3, r1\n"  /* 4 */
      "shsax r1, r9, r8\n"    /* 2 */
      "shasx r2, r9, r8\n"    /* 6 */
      "str\\width r3, [r0, #\\stride]\n"
      "str\\width r1, [r0, #2 * \\stride]\n"
      "smuad r1, r5, r11\n"
      "smlsdx r9, r11, r5, lr\n"
      "smuad r3, r7, r11\n"
      "smlsdx r8, r11, r7, lr\n"
      "qadd r5, r1, r8\n"
      "qsub r7, r9, r3\n"
      "qadd r9, r9, r3\n"
      "qsub r8, r8, r1\n"
      "pkhtb r5, r7, r5, asr #16\n"
      "pkhtb r9, r8, r9, asr #16\n"
      "shsax r1, r4, r6\n"
      "shasx r4, r4, r6\n"
      "shadd16 r3, r1, r5\n" /* 1 */
      "shsub16 r1, r1, r5\n" /* 5 */
      "shadd16 r5, r4, r9\n" /* 3 */
      "shsub16 r4, r4, r9\n" /* 7 */
      "str\\width r2, [r0, #3 * \\stride]\n"
      "str\\width r3, [r0, #4 * \\stride]\n"
      "str\\width r1, [r0, #5 * \\stride]\n"
      "str\\width r5, [r0, #6 * \\stride]\n"
      "str\\width r4, [r0, #7 * \\stride]\n"
      "str.w r10, [r0], #\\next\n"
      ".endm\n"

      /* with twiddles; `moved` is ! where the next butterfly has others */
      ".macro fft_turned_butterfly8 stride, next, width, moved\n"
      "ldr.w r6, [r12, #4]\n"
      "ldr.w r7, [r12, #8]\n"
      "ldr.w r8, [r12, #12]\n"
      "ldr.w r9, [r12, #16]\n"
      "ldr.w r10, [r12, #20]\n"
      "ldr\\width r1, [r0, #\\stride]\n"
      "ldr\\width r2, [r0, #2 * \\stride]\n"
      "ldr\\width r3, [r0, #3 * \\stride]\n"
      "ldr\\width r4, [r0, #4 * \\stride]\n"
      "ldr.w r5, [r0, #5 * \\stride]\n"
      "fft_turn r1, r6\n"
      "fft_turn r2, r7\n"
      "fft_turn r3, r8\n"
      "fft_turn r4, r9\n"
      "fft_turn r5, r10\n"
      "ldr.w r9, [r12, #24]\n"
      "ldr.w r10, [r12, #28]\\moved\n"
      "ldr\\width r6, [r0, #6 * \\stride]\n"
      "ldr\\width r7, [r0, #7 * \\stride]\n"
      "ldr.w r8, [r0]\n"
      "fft_turn r6, r9\n"
      "fft_turn r7, r10\n"
      "mov.w r9, #0x00040004\n"
      "shadd16 r8, r8, r9\n"
      "vmov r11, s0\n"
      "fft_butterfly8 qadd16, qsub16, \\stride, \\next, \\width\n"
      ".endm\n"

      /* z in r0, twiddles in r1 */
      ".macro fft_begin points\n"
      "push {r4-r11, lr}\n"
      "sub.w r1, r1, #4\n"
      "add.w r2, r0, #4 * \\points\n"
      "vmov s3, r0\n"
      "vmov s4, r1\n"
      "vmov s2, r2\n"
      ".endm\n"

      ".macro fft_end\n"
      "pop {r4-r11, pc}\n"
      ".endm\n"

      ".macro fft_first8 stride\n"
      "movw r11, #23170\n"
      "movt r11, #23170\n"
      "mov.w lr, #0x8000\n"
      "vmov s0, r11\n"
      "add.w r12, r0, #\\stride\n"
      ".p2align 2\n"
      "1:\n"
      "ldr.w r8, [r0]\n"
      "ldr.w r1, [r0, #\\stride]\n"
      "ldr.w r2, [r0, #2 * \\stride]\n"
      "ldr.w r3, [r0, #3 * \\stride]\n"
      "ldr.w r4, [r0, #4 * \\stride]\n"
      "ldr.w r5, [r0, #5 * \\stride]\n"
      "ldr.w r6, [r0, #6 * \\stride]\n"
      "ldr.w r7, [r0, #7 * \\stride]\n"
      "fft_butterfly8 shadd16, shsub16, \\stride, 4, .w\n"
      "cmp.w r0, r12\n"
      "bne.w 1b\n"
      ".endm\n"

      /* the next block of a pass of that radix, or the end */
      ".macro fft_next_block radix, stride\n"
      "add.w r0, r0, #(\\radix - 1) * \\stride\n"
      "vmov r11, s2\n"
      "add.w r12, r12, #28\n"
      "cmp.w r0, r11\n"
      "bne.w 1b\n"
      ".endm\n"

      ".macro fft_begin_pass\n"
      "vmov r0, s3\n"
      "vmov r12, s4\n"
      ".p2align 2\n"
      ".endm\n"

      ".macro fft_middle2 stride\n"
      "fft_begin_pass\n"
      "1:\n"
      "ldr.w r5, [r12, #16]\n"
      "add.w r11, r0, #\\stride\n"
      "mov.w r10, #0x00010001\n"
      "vmov s1, r11\n"
      "2:\n"
      "ldr.w r1, [r0]\n"
      "ldr.w r2, [r0, #4]\n"
      "ldr.w r3, [r0, #8]\n"
      "ldr.w r4, [r0, #12]\n"
      "ldr.w r6, [r0, #\\stride]\n"
      "ldr.w r7, [r0, #\\stride + 4]\n"
      "ldr.w r8, [r0, #\\stride + 8]\n"
      "ldr.w r9, [r0, #\\stride + 12]\n"
      "fft_turn r6, r5\n"
      "fft_turn r7, r5\n"
      "fft_turn r8, r5\n"
      "fft_turn r9, r5\n"
      "shadd16 r1, r1, r10\n"
      "shadd16 r2, r2, r10\n"
      "shadd16 r3, r3, r10\n"
      "shadd16 r4, r4, r10\n"
      "qadd16 r11, r1, r6\n"
      "qsub16 r6, r1, r6\n"
      "qadd16 r1, r2, r7\n"
      "qsub16 r7, r2, r7\n"
      "qadd16 r2, r3, r8\n"
      "qsub16 r8, r3, r8\n"
      "qadd16 r3, r4, r9\n"
      "qsub16 r9, r4, r9\n"
      "str.w r1, [r0, #4]\n"
      "str.w r2, [r0, #8]\n"
      "str.w r3, [r0, #12]\n"
      "str.w r6, [r0, #\\stride]\n"
      "str.w r7, [r0, #\\stride + 4]\n"
      "str.w r8, [r0, #\\stride + 8]\n"
      "str.w r9, [r0, #\\stride + 12]\n"
      "str.w r11, [r0], #16\n"
      "vmov r11, s1\n"
      "cmp.w r0, r11\n"
      "bne.w 2b\n"
      "fft_next_block 2, \\stride\n"
      ".endm\n"

      ".macro fft_middle4 stride\n"
      "fft_begin_pass\n"
      "1:\n"
      "ldr.w r5, [r12, #8]\n"
      "ldr.w r6, [r12, #16]\n"
      "ldr.w r7, [r12, #24]\n"
      "add.w r10, r0, #\\stride\n"
      "mov.w r9, #0x00020002\n"
      "2:\n"
      "ldr.w r1, [r0]\n"
      "ldr.w r2, [r0, #\\stride]\n"
      "ldr.w r3, [r0, #2 * \\stride]\n"
      "ldr.w r4, [r0, #3 * \\stride]\n"
      "shadd16 r1, r1, r9\n"
      "fft_turn r2, r5\n"
      "fft_turn r3, r6\n"
      "fft_turn r4, r7\n"
      "qadd16 r8, r1, r3\n"
      "qsub16 r3, r1, r3\n"
      "qadd16 r1, r2, r4\n"
      "qsub16 r4, r2, r4\n"
      "shsub16 r2, r8, r1\n"
      "shadd16 r8, r8, r1\n"
      "shsax r1, r3, r4\n"
      "shasx r3, r3, r4\n"
      "str.w r2, [r0, #\\stride]\n"
      "str.w r1, [r0, #2 * \\stride]\n"
      "str.w r3, [r0, #3 * \\stride]\n"
      "str.w r8, [r0], #4\n"
      "cmp.w r0, r10\n"
      "bne.w 2b\n"
      "fft_next_block 4, \\stride\n"
      ".endm\n"

      ".macro fft_middle8 stride\n"
      "fft_begin_pass\n"
      "1:\n"
      "add.w r11, r0, #\\stride\n"
      "vmov s1, r11\n"
      "2:\n"
      "fft_turned_butterfly8 \\stride, 4, .w\n"
      "vmov r11, s1\n"
      "cmp.w r0, r11\n"
      "bne.w 2b\n"
      "fft_next_block 8, \\stride\n"
      ".endm\n"

      ".macro fft_last8\n"
      "fft_begin_pass\n"
      "1:\n"
      "fft_turned_butterfly8 4, 32, .n, !\n"
      "vmov r1, s2\n"
      "cmp.n r0, r1\n"
      "bne.w 1b\n"
      ".endm\n");

#define FFT static void __attribute__((naked, aligned(32)))

FFT fft_64(int16_t *z, const int16_t *twiddles)
{
    (void)z, (void)twiddles;
    __asm("fft_begin 64\n"
          "fft_first8 4 * 8\n"
          "fft_last8\n"
          "fft_end\n");
}

FFT fft_128(int16_t *z, const int16_t *twiddles)
{
    (void)z, (void)twiddles;
    __asm("fft_begin 128\n"
          "fft_first8 4 * 16\n"
          "fft_middle2 4 * 8\n"
          "fft_last8\n"
          "fft_end\n");
}

FFT fft_256(int16_t *z, const int16_t *twiddles)
{
    (void)z, (void)twiddles;
    __asm("fft_begin 256\n"
          "fft_first8 4 * 32\n"
          "fft_middle4 4 * 8\n"
          "fft_last8\n"
          "fft_end\n");
}

FFT fft_512(int16_t *z, const int16_t *twiddles)
{
    (void)z, (void)twiddles;
    __asm("fft_begin 512\n"
          "fft_first8 4 * 64\n"
          "fft_middle8 4 * 8\n"
          "fft_last8\n"
          "fft_end\n");
}

FFT fft_1024(int16_t *z, const int16_t *twiddles)
{
    (void)z, (void)twiddles;
    __asm("fft_begin 1024\n"
          "fft_first8 4 * 128\n"
          "fft_middle4 4 * 32\n"
          "fft_middle4 4 * 8\n"
          "fft_last8\n"
          "fft_end\n");
}

#endif
