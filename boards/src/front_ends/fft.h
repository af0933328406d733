/* SPDX-License-Identifier: MIT
 * A complex FFT of int16, to the bit on every machine.
 *
 * Z[k] = 1 / points * sum over n of z[n] exp(-2 pi i k n / points), with every step rounded as fft.c says.
 * Bin k stands where its number's bits are reversed: hil_nas/front_ends/fft.py has the order and makes the twiddles.
 *
 * Any int16 may be given: what does not fit is saturated. Nothing is where every |z[n]| = sqrt(re^2 + im^2) is at most
 * 32,700, as it is where re and im are at most 23,122. For then each step, an average, a turn or half a turned value to
 * which another is added, keeps below the largest of what it reads, but for its rounding: 2.2 in the first pass and 5.4
 * in each of the three others that there are at most (a floor or a rounding moves a value by 0.71, what is raised by
 * 2.83, a twiddle is up to 1 + 2.2e-5 long).
 *
 * Against an exact transform, errors are 0.6 of an output's unit (root mean square, complex), where rounding the result
 * alone is 0.41, and below 3 in re and im: of white noise that fills the disc, 73.4, 70.5, 67.7, 64.8 and 61.7 dB lie
 * above them (64 to 1024 points), of a tone 94 dB in its bin.
 */
#ifndef HIL_FRONT_END_FFT_H
#define HIL_FRONT_END_FFT_H

#include <stdint.h>

/* In place, over (re, im) pairs, 4-byte aligned as are the twiddles. points: 64, 128, 256, 512 or 1024, where twice as
 * many real samples are in FRONT_END_FFT_SIZES; else nothing is done. */
void fft_q15(int16_t *z, uint32_t points, const int16_t *twiddles);

#endif
