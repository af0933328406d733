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

/* The stage "quantise". A logarithm is shifted up for the multiplier to keep its digits. */
static void quantise(const struct front_end_group *group)
{
    const struct mel_header *h = group->blob;
    const struct quantiser q = quantiser_of(&h->common);
    for (uint32_t i = 0; i < group->frames; i++) {
        const int16_t *logarithms = mel_logarithms(group, i);
        for (uint32_t j = 0; j < h->mel_bins; j++)
            group->out[i * h->mel_bins + j] = quantised(logarithms[j] * 32768, q);
    }
}

static const struct front_end_stage stages[] = {MEL_STAGES, {"quantise", quantise}};

const struct front_end_kind front_end_log_mel = {
    .number = FRONT_END_LOG_MEL,
    .name = "logmel",
    .header_bytes = sizeof(struct mel_header),
    .check = log_mel_check,
    .scratch_bytes = mel_scratch_bytes,
    .group_frames = mel_group_frames,
    .stages = stages,
    .stage_count = sizeof stages / sizeof stages[0],
};
