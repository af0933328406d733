/* SPDX-License-Identifier: MIT
 * The product that all convolutions come down to: two columns of int16 by groups of four output channels.
 *
 * A column is what one output pixel reads, its values in steps of two: (0, 2), (1, 3), (4, 6), (5, 7) and so on, as SXTB16
 * takes them from words; two columns stand step by step beside each other. A step of a group is two words: the halves of
 * the first are 256 * w0 + w1 of output channels 0 and 1 for the step's two values, those of the second the same of 2 and 3.
 * So weights take a byte each, as before, and are used without widening them: SMLAD with the word sums
 * 256 * D0 + D1, SMLAD with SXTB16 of the same word D1, and half the difference's upper 25 bits are D0. The sums may wrap
 * around as long as D0 has at most 24 bits; hil_nas/kernels/dsp/product.py sees to that and lays groups out.
 */
#ifndef HIL_DSP_PRODUCT_H
#define HIL_DSP_PRODUCT_H

#include "requantise.h"

enum {
    DSP_MAX_COLUMN = 1024, /* values */
    DSP_GROUP_CHANNELS = 4,
    DSP_STEP_BYTES = 8,
    DSP_GROUP_BYTES = 64, /* and DSP_STEP_BYTES for each step */
};

/* Of a column that is filled up to a multiple of four values. */
static inline uint32_t dsp_steps_of(uint32_t column)
{
    return 2 * ((column + 3) / 4);
}

/* Why a plan's groups of weights for an operator cannot be used; NULL where they can. */
const char *dsp_groups_fault(const struct plan_header *plan, const struct plan_op *op, uint32_t column);

/* What dsp_product_of() makes; the assembly reads the first eight words. */
struct dsp_product {
    const uint32_t *loop_start, *loop_end; /* one word before the columns, less what its first turn skips, and their end */
    uintptr_t entry;                       /* of its loop */
    uint32_t skipped_bytes;
    const uint32_t *groups_end;
    int8_t *first, *second; /* outputs of the two pixels, four for each group: to be set before each run */
    const uint32_t *groups;
    void (*run)(const struct dsp_product *product);
    uint32_t *columns, *columns_end;
    uint32_t steps;
    bool is_signed;
};

/* `columns`: two words a step, `steps` at least 1; `is_signed`: dsp_signed(). */
struct dsp_product dsp_product_of(uint32_t *columns, uint32_t steps, const uint32_t *groups,
                                  const uint32_t *groups_end, bool is_signed);

#endif
