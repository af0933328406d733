/* SPDX-License-Identifier: MIT
 * Log-mel: the logarithms of mel energies themselves.
 */
#include "mel.h"

static int log_mel_check(const void *blob)
{
    const struct mel_header *h = blob;
    const int status = mel_check(h);
    return status == FRONT_END_GOOD && h->common.columns != h->mel_bins ? FRONT_END_BAD_SHAPE : status;
}

static void log_mel_pair(const void *blob, const int16_t *a, const int16_t *b, void *scratch, int8_t *out_a,
                         int8_t *out_b)
{
    const struct mel_header *h = blob;
    const float inverse_scale = h->common.inverse_scale, *x = mel_logarithms(h, a, b, scratch);
    const int32_t zero_point = h->common.zero_point;
    for (uint32_t i = 0; i < h->mel_bins; i++) {
        out_a[i] = quantise(x[2 * i], inverse_scale, zero_point);
        out_b[i] = quantise(x[2 * i + 1], inverse_scale, zero_point);
    }
}

const struct front_end_kind front_end_log_mel = {
    .number = FRONT_END_LOG_MEL,
    .name = "logmel",
    .header_bytes = sizeof(struct mel_header),
    .check = log_mel_check,
    .scratch_bytes = mel_scratch_bytes,
    .pair = log_mel_pair,
};
