/* SPDX-License-Identifier: MIT
 * The engine that walks a plan, each operator by the kernel that the plan names.
 */
#include "engine.h"

#include <string.h>

#include "checks.h"
#include "kernel.h"
#include "plan_check.h"

_Static_assert(PLAN_MAX_OPS <= ENGINE_MAX_OPS, "room for a probe of each operator");
_Static_assert(PLAN_ALIGNMENT == ENGINE_ARENA_ALIGNMENT, "one alignment for blob and arena");

static const struct plan_op *ops_of(const struct engine_model *model)
{
    return (const struct plan_op *)(const void *)((const uint8_t *)model->blob + sizeof(struct plan_header));
}

void engine_reset(const struct engine_model *model)
{
    const struct plan_op *ops = ops_of(model);
    for (uint32_t i = 0; i < model->op_count; i++)
        if (ops[i].kind == PLAN_DELAY)
            memset(model->arena + ops[i].output, ops[i].output_offset, (size_t)output_bytes_of(&ops[i]));
}

struct engine_fault engine_load(struct engine_model *model, const void *blob, size_t blob_bytes, void *arena,
                                size_t arena_available)
{
    const struct engine_fault fault = plan_check(blob, blob_bytes, arena_available);
    if (fault.reason != NULL)
        return fault;
    const struct plan_header *plan = blob;
    *model = (struct engine_model){
        .blob = blob,
        .arena = arena,
        .op_count = plan->op_count,
        .arena_bytes = plan->arena_bytes,
        .input = (int8_t *)arena + plan->input_offset,
        .input_bytes = plan->input_bytes,
        .input_scale = plan->input_scale,
        .input_zero_point = plan->input_zero_point,
        .output = (int8_t *)arena + plan->output_offset,
        .output_bytes = plan->output_bytes,
        .output_scale = plan->output_scale,
        .output_zero_point = plan->output_zero_point,
    };
    engine_reset(model);
    return fault;
}

bool engine_run(const struct engine_model *model, engine_probe probe, void *context)
{
    const struct plan_op *ops = ops_of(model);
    for (uint32_t i = 0; i < model->op_count; i++) {
        const struct kernel_call call = {
            .op = &ops[i],
            .blob = model->blob,
            .arena = model->arena,
            .input = (const int8_t *)model->arena + ops[i].input[0],
            .output = (int8_t *)model->arena + ops[i].output,
        };
        if (!kernel_of(&ops[i])->run(&call)) /* plan_check() has seen that there is one */
            return false;
        if (probe != NULL)
            probe(context, i);
    }
    return true;
}

const char *engine_op_name(const struct engine_model *model, uint32_t op)
{
    static const char *const names[] = {
#define KIND(constant, name, code) [code] = #name,
        PLAN_KINDS(KIND)
#undef KIND
    };
    return names[ops_of(model)[op].kind];
}
