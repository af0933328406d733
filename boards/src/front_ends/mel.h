/* SPDX-License-Identifier: MIT
 * What front ends of mel bins have in common. Per frame: periodic Hann window (which also divides by 32768), zero
 * padding to fft_size, power spectrum, triangular mel filters, ln(energy + log_floor).
 *
 * Their blobs hold, behind the headers:
 *   [float window][uint16 starts][float weights][uint16 order][the kind's own]
 */
#ifndef HIL_FRONT_END_MEL_H
#define HIL_FRONT_END_MEL_H

#include "kind.h"

struct mel_header {        /* 80 bytes */
    struct front_end_header common;
    uint32_t fft_size;     /* a power of two, at least the window */
    uint32_t mel_bins;
    float log_floor;       /* added to each mel energy */
    uint32_t window_data;  /* offsets from the start of the blob */
    uint32_t starts_data;
    uint32_t weights_data;
    uint32_t order_data;
    uint32_t reserved;     /* 0 */
};

_Static_assert(sizeof(struct mel_header) == 80, "mel_header is 80 bytes");

int mel_check(const struct mel_header *h);
size_t mel_scratch_bytes(const void *blob); /* a complex spectrum and the mel energies of two frames */

/* ln of the mel energies of two frames, (mel_bins, 2 frames); they lie in scratch behind 2 * fft_size free floats. */
float *mel_logarithms(const struct mel_header *h, const int16_t *a, const int16_t *b, void *scratch);

#endif
