/* SPDX-License-Identifier: MIT
 * Operators for which the vendored CMSIS-NN has no kernel, to the bit as TFLite's reference kernels compute
 * them. They trust their arguments: plan_check() has seen them.
 */
#ifndef HIL_KERNELS_H
#define HIL_KERNELS_H

#include "plan.h"

enum { ADD_LEFT_SHIFT = 20 }; /* of the inputs of ADD and SUB: TFLite's, and the only one that is run */
/* The largest shifts to the left for which no value leaves 32 bits. */
enum { MUL_MOST_SHIFT = 14, MEAN_MOST_SHIFT = 6 };

void kernel_add(const struct plan_op *op, const int8_t *first, const int8_t *second, int8_t *output);
void kernel_sub(const struct plan_op *op, const int8_t *first, const int8_t *second, int8_t *output);
void kernel_mul(const struct plan_op *op, const int8_t *first, const int8_t *second, int8_t *output);
void kernel_lookup(const struct plan_op *op, const int8_t *table, const int8_t *input, int8_t *output);
void kernel_mean(const struct plan_op *op, const int8_t *input, int8_t *output);
/* table: {start, step_h, step_w, step_c} */
void kernel_copy(const struct plan_op *op, const uint32_t *table, const int8_t *input, int8_t *output);
void kernel_pad(const struct plan_op *op, const int8_t *input, int8_t *output);
void kernel_softmax(const struct plan_op *op, const int8_t *input, int8_t *output);
/* table: op->input_count pairs {arena offset, bytes per outer step} */
void kernel_concatenation(const struct plan_op *op, const uint32_t *table, const uint8_t *arena, int8_t *output);

#endif
