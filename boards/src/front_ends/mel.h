/* SPDX-License-Identifier: MIT
 * What front ends of mel bins have in common. Of each frame, with full scale as 1:
 *
 *   window    Hann's, even about its middle, sin^2(pi (n + 1/2) / window). A window longer than the FFT is wrapped onto
 *             itself, z[n] = w[n] x[n] + w[n + N] x[n + N], which leaves every second bin of the spectrum as it was
 *   fft       the power spectrum of N real samples, of one complex FFT of N / 2
 *   spectrum
 *   mel       triangular filters
 *   log       log2(energy + floor), floor = 10^-6 of full scale
 *
 * A frame is first shifted up by its redundant sign bits, up to 15, and its energies are shifted down again in their
 * logarithm: a quiet frame is computed as precisely as a loud one, and the floor means the same for both.
 *
 * Their blobs hold, behind the headers:
 *   [int16 window, its first half][int16 twiddles of the FFT][int16 twiddles of the spectrum][uint16 widths]
 *   [uint16 weights][the kind's own]
 */
#ifndef HIL_FRONT_END_MEL_H
#define HIL_FRONT_END_MEL_H

#include "kind.h"

#define MEL_MAX_BINS 128u
#define MEL_WINDOW_PEAK 22500 /* 23122 at most may go into fft_q15() */
#define MEL_LOG_ONE 512       /* 1 in a logarithm to the base 2 */

struct mel_header {        /* 96 bytes */
    struct front_end_header common;
    uint32_t fft_size;     /* N, a power of two, at least half the window */
    uint32_t mel_bins;
    uint32_t log_floor;    /* of a frame that is not shifted, in 2^-24 of an energy's unit */
    int32_t log_unit;      /* log2 of full scale's 1 in 2^-16 of an energy's unit; 16 bits behind the binary point */
    uint32_t first_bin;    /* at or above the first corner of the filters */
    uint32_t reserved[2];  /* 0 */
    uint32_t window_data;  /* offsets from the start of the blob */
    uint32_t fft_data;
    uint32_t spectrum_data;
    uint32_t widths_data;  /* bins from each corner to the next */
    uint32_t weights_data;
};

_Static_assert(sizeof(struct mel_header) == 96, "mel_header is 96 bytes");

int mel_check(const struct mel_header *h);
size_t mel_scratch_bytes(const void *blob);

/* Four frames a stage save 2 to 4 % of the cycles that two take, on a Cortex-M4 with 1 KiB of instruction cache; of longer
 * ones 1 %, for which they would need 4 KiB of RAM more. */
uint32_t mel_group_frames(const void *blob);

/* The stages that all have. The last one leaves mel_logarithms(). */
void mel_window(const struct front_end_group *group);
void mel_fft(const struct front_end_group *group);
void mel_spectrum(const struct front_end_group *group);
void mel_energies(const struct front_end_group *group);
void mel_log(const struct front_end_group *group);

#define MEL_STAGES                                                                               \
    {"window", mel_window}, {"fft", mel_fft}, {"spectrum", mel_spectrum}, {"mel", mel_energies}, \
        {"log", mel_log}

/* Scratch is the shifts of a group's frames and, one more than these, places of this many bytes. Frame i stands in the
 * place i + 1 as audio and as bins, in the place i as powers, whose own place is then free, in i + 1 as energies and
 * logarithms, and its place i is free again for the kind. */
static inline size_t mel_place_bytes(const struct mel_header *h)
{
    const size_t bins = h->fft_size * sizeof(int16_t), energies = h->mel_bins * sizeof(uint64_t);
    return ((bins > energies ? bins : energies) + 15) / 16 * 16;
}

static inline uint32_t *mel_shifts(const struct front_end_group *group)
{
    return group->scratch;
}

static inline void *mel_place(const struct front_end_group *group, uint32_t i)
{
    return (uint8_t *)group->scratch + 16 + i * mel_place_bytes(group->blob);
}

static inline int16_t *mel_logarithms(const struct front_end_group *group, uint32_t frame)
{
    return mel_place(group, frame + 1);
}

_Static_assert(FRONT_END_GROUP * sizeof(uint32_t) <= 16, "shifts come first in the scratch memory");

#endif
