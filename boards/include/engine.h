/* SPDX-License-Identifier: MIT
 * What runs a network. Which engine it is is chosen at link time; there is one per image. No engine touches
 * the HAL or the wire, so that a product links the same sources.
 */
#ifndef HIL_ENGINE_H
#define HIL_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENGINE_ARENA_ALIGNMENT 16u
#define ENGINE_MAX_OPS 256u

struct engine_model {
    const void *blob;        /* stays where it is and unchanged while the model is used */
    uint8_t *arena;          /* the engine's alone while the model is used: delay lines are kept there from run to run */
    uint32_t op_count;
    uint32_t arena_bytes;    /* what the model uses of the arena that it was given */
    int8_t *input;           /* both inside the arena, and not kept while the network runs */
    uint32_t input_bytes;
    float input_scale;
    int32_t input_zero_point;
    int8_t *output;
    uint32_t output_bytes;
    float output_scale;
    int32_t output_zero_point;
};

/* Why a model was refused: reason is NULL where it is good, op is the operator or -1 for the whole. */
struct engine_fault {
    const char *reason;
    int32_t op;
};

/* Called after each operator of a run that is probed. */
typedef void (*engine_probe)(void *context, uint32_t op);

/* Checks every byte of the blob that anything depends on; touches nothing outside blob and arena, ever.
 * Both are 16-byte aligned. A model that passed can be run any number of times; it begins as after engine_reset(). */
struct engine_fault engine_load(struct engine_model *model, const void *blob, size_t blob_bytes, void *arena,
                                size_t arena_available);

/* Forgets the runs before: every delay line of the model holds its zero point again. A model without delay lines
 * remembers nothing. */
void engine_reset(const struct engine_model *model);

/* Runs what stands in model->input; the result is in model->output until the next run.
 * False where a kernel refused its arguments, which a loaded model never causes. */
bool engine_run(const struct engine_model *model, engine_probe probe, void *context);

const char *engine_op_name(const struct engine_model *model, uint32_t op); /* as the wire names kinds */
const char *engine_name(void); /* of a firmware, as the wire names it; no product needs it */

#endif
