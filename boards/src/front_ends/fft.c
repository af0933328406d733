/* SPDX-License-Identifier: MIT
 * Passes of radix 8 first and last, of 2, 4, 8 or twice 4 between them. A pass cuts each block of the one before into
 * as many as its radix, in bit-reversed order, and takes the twiddles before its butterflies (decimation in time, input
 * in order): all butterflies of a block then have the same, those of block b exp(-2 pi i j r / radix), j below radix,
 * where r is b with its bits reversed behind the binary point. So one table serves all passes and, from its beginning,
 * all smaller sizes. The first pass has none.
 *
 * Rounding is as the instructions of the Cortex-M4 have it: halved sums are floored (SHADD16, SHSUB16, SHASX, SHSAX),
 * halved products are rounded, halves upwards (SMLSD, SMLADX, PKHTB), other sums saturate (QADD16, QSUB16, QADD, QSUB).
 * Floors would lower the outputs of a butterfly by up to 0.44 on average: its first input is raised by as much as makes
 * up for that. This and the rounding of products are worth 5 to 6 dB, for one instruction a butterfly.
 *
 * Modelled cycles on the NUCLEO-L4R5ZI at 120 MHz, warm, code in flash (python tests/test_fft.py), and bytes where one
 * size is linked:
 *
 *     points   twiddles in RAM   in flash   code   twiddles
 *         64             1,152      1,148    568        224
 *        128             3,081      3,371    784        448
 *        256             6,561      7,145    728        896
 *        512            14,496     15,672    932      1,792
 *       1024            34,146     37,002    888      3,584
 */
#include "fft.h"

#include "front_end.h"
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FP) && __ARM_ARCH_PROFILE == 'M'
#include "fft_cortex_m4.h"
#else
#include "fft_portable.h"
#endif

#define LINKED(points) ((FRONT_END_FFT_SIZES & 2 * (points)) != 0)

void fft_q15(int16_t *z, uint32_t points, const int16_t *twiddles)
{
    if (LINKED(64) && points == 64)
        fft_64(z, twiddles);
    else if (LINKED(128) && points == 128)
        fft_128(z, twiddles);
    else if (LINKED(256) && points == 256)
        fft_256(z, twiddles);
    else if (LINKED(512) && points == 512)
        fft_512(z, twiddles);
    else if (LINKED(1024) && points == 1024)
        fft_1024(z, twiddles);
}
