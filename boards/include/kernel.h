/* SPDX-License-Identifier: MIT
 * The seam to kernels. An engine is the lists of kernels that it is linked with; a list is one folder in src/kernels/,
 * and its twin in hil_nas/kernels/ tells the host what each kernel takes, needs and costs. Each operator of a plan says
 * which list runs it.
 *
 * A kernel is called LIST_KIND, as `cmsis_nn_conv`, so that a product can be linked with those that its plan needs.
 */
#ifndef HIL_KERNEL_H
#define HIL_KERNEL_H

#include <stdbool.h>

#include "plan.h"

/* One operator of a run. */
struct kernel_call {
    const struct plan_op *op;
    const uint8_t *blob;
    uint8_t *arena;
    const int8_t *input; /* the first one */
    int8_t *output;
};

struct kernel {
    /* Gives NULL, or why it cannot run the operator. Places, zero points and shapes have been checked (plan_check.c); what the
     * kernel asks of them beyond that, its constants and its limits it checks here; NULL where there is nothing. */
    const char *(*fault)(const struct plan_header *plan, const struct plan_op *op);
    /* The least that it asks for at op->scratch of an operator without fault; NULL where that is nothing. */
    uint32_t (*scratch_bytes)(const struct plan_op *op);
    /* False where it refuses its arguments, which an operator that was checked never causes. */
    bool (*run)(const struct kernel_call *call);
    /* Of an operator without fault, whether its output may begin or end where an input does: whatever it writes there was
     * read before. NULL where it never may. Of two inputs, only over one of the output's size. */
    bool (*in_place)(const struct plan_op *op);
    bool of_two;   /* of two inputs, each in the arena or constant */
};

struct kernel_list {
    uint16_t number;                     /* plan_op.kernel_list */
    const struct kernel *const *kernels; /* by enum plan_kind; NULL where it has none */
};

/* Those that are linked, NULL behind the last. */
extern const struct kernel_list *const kernel_lists[];

/* The kernel that a plan names for an operator; NULL where it is not linked. */
static inline const struct kernel *kernel_of(const struct plan_op *op)
{
    const struct kernel_list *const *list = kernel_lists;
    while (*list != NULL && (*list)->number != op->kernel_list)
        list++;
    return *list != NULL && op->kind < PLAN_KIND_END ? (*list)->kernels[op->kind] : NULL;
}

/* Constants of an operator in the plan; NULL where it has none. */
static inline const void *kernel_constants(const struct kernel_call *call, uint32_t offset)
{
    return offset != 0 ? call->blob + offset : NULL;
}

#endif
