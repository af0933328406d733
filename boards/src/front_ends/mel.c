/* SPDX-License-Identifier: MIT
 * What may stand in the blob of a front end of mel bins.
 */
#include "mel.h"

#define MAX_FFT 2048u

static bool fft_linked(uint32_t fft_size)
{
    return fft_size >= 128 && fft_size <= MAX_FFT && (fft_size & (fft_size - 1)) == 0 &&
           (FRONT_END_FFT_SIZES & fft_size) != 0;
}

static bool shape_good(const struct mel_header *h)
{
    const uint32_t window = h->common.window;
    return window >= 16 && window <= MAX_FFT && window / 2 + window % 2 <= h->fft_size && h->mel_bins >= 1 &&
           h->mel_bins <= MEL_MAX_BINS && (h->reserved[0] | h->reserved[1]) == 0;
}

/* Sums of two products of samples and weights must not overflow. */
static bool window_good(const struct mel_header *h)
{
    const uint32_t half = (h->common.window + 1) / 2;
    if (!table_good(h, h->window_data, half, sizeof(int16_t)))
        return false;
    const int16_t *weights = table_of(h, h->window_data);
    for (uint32_t i = 0; i < half; i++)
        if (weights[i] < 0 || weights[i] > MEL_WINDOW_PEAK)
            return false;
    return true;
}

/* Twiddles may be any: what is computed with them wraps or saturates. */
static bool twiddles_good(const struct mel_header *h)
{
    const uint32_t points = h->fft_size / 2;
    return table_good(h, h->fft_data, 7 * (points / 8 - 1), 2 * sizeof(int16_t)) &&
           table_good(h, h->spectrum_data, points / 2, 2 * sizeof(int16_t));
}

/* Bins 1 to N / 2 - 1 have a power. */
static bool filters_good(const struct mel_header *h)
{
    const uint32_t intervals = h->mel_bins + 1, bins = h->fft_size / 2;
    if (!table_good(h, h->widths_data, intervals, sizeof(uint16_t)) || h->first_bin < 1 || h->first_bin > bins)
        return false;
    const uint16_t *widths = table_of(h, h->widths_data);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < intervals; i++)
        sum += widths[i];
    return sum <= bins - h->first_bin && table_good(h, h->weights_data, sum, sizeof(uint16_t));
}

int mel_check(const struct mel_header *h)
{
    if (!shape_good(h))
        return FRONT_END_BAD_SHAPE;
    if (!fft_linked(h->fft_size))
        return FRONT_END_FFT_NOT_LINKED;
    if (h->log_floor < 1 || h->log_floor > 1u << 24 || h->log_unit < 0 || h->log_unit > 48 << 16)
        return FRONT_END_BAD_SCALE;
    if (!window_good(h) || !twiddles_good(h) || !filters_good(h))
        return FRONT_END_BAD_TABLE;
    return FRONT_END_GOOD;
}

uint32_t mel_group_frames(const void *blob)
{
    return ((const struct mel_header *)blob)->fft_size <= 512 ? FRONT_END_GROUP : 2;
}

size_t mel_scratch_bytes(const void *blob)
{
    return 16 + (mel_group_frames(blob) + 1) * mel_place_bytes(blob);
}
