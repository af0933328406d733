/* SPDX-License-Identifier: MIT
 * What holds whichever kernel runs an operator: the header, places, zero points, and shapes that belong together.
 */
#include "plan_check.h"

#include "checks.h"
#include "crc32.h"
#include "kernel.h"

static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a < b + b_bytes && b < a + a_bytes;
}

static bool same_shape(const struct plan_op *op)
{
    return op->in_h == op->out_h && op->in_w == op->out_w && op->in_c == op->out_c;
}

/* One axis of a sliding window: every window begins inside the padded map and ends not before the map. */
static bool axis_good(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t dilation, int32_t pad)
{
    return in > 0 && out > 0 && kernel > 0 && stride > 0 && dilation > 0 && pad <= (kernel - 1) * (int64_t)dilation &&
           (int64_t)(out - 1) * stride - pad < in;
}

static const char *window_fault(const struct plan_op *op)
{
    const bool dilated = op->kind == PLAN_CONV || op->kind == PLAN_DEPTHWISE;
    const int32_t dilation_h = dilated ? op->dilation_h : 1, dilation_w = dilated ? op->dilation_w : 1;
    REQUIRE(axis_good(op->in_h, op->out_h, op->kernel_h, op->stride_h, dilation_h, op->pad_top) &&
                axis_good(op->in_w, op->out_w, op->kernel_w, op->stride_w, dilation_w, op->pad_left),
            "kernel, stride, padding and shapes do not fit together");
    return NULL;
}

static const char *depthwise_fault(const struct plan_op *op)
{
    REQUIRE(op->out_c % op->in_c == 0, "output channels are no multiple of the input's");
    return window_fault(op);
}

static const char *pool_fault(const struct plan_op *op)
{
    REQUIRE(op->in_c == op->out_c, "pooling that changes the channels");
    return window_fault(op);
}

static const char *fully_connected_fault(const struct plan_op *op)
{
    REQUIRE(op->out_h == 1 && op->out_w == 1, "fully connected with more than one row");
    return NULL;
}

/* Whether one extent of an input can be carried to the output's. */
static bool carried(uint16_t extent, uint16_t output)
{
    return extent == output || extent == 1;
}

static const char *pair_fault(const struct plan_op *op)
{
    REQUIRE(carried(op->in_h, op->out_h) && carried(op->in_w, op->out_w) && carried(op->in_c, op->out_c) &&
                carried(op->second_h, op->out_h) && carried(op->second_w, op->out_w) &&
                carried(op->second_c, op->out_c),
            "inputs that do not broadcast to the output's shape");
    REQUIRE(in_range(op->input_offset[0], -127, 128) && in_range(op->input_offset[1], -127, 128),
            "a zero point or an activation limit that is no int8");
    return NULL;
}

static const char *pad_fault(const struct plan_op *op)
{
    REQUIRE(op->in_c == op->out_c && op->pad_top + op->in_h <= op->out_h && op->pad_left + op->in_w <= op->out_w,
            "padding that does not fit the output");
    REQUIRE(in_range(op->input_offset[0], -128, 127), "a padding value that is no int8");
    return NULL;
}

static const char *mean_fault(const struct plan_op *op)
{
    REQUIRE(op->out_h == op->in_h && op->out_w == 1 && op->out_c == op->in_c, "a mean of another shape");
    return NULL;
}

static const char *delay_fault(const struct plan_op *op)
{
    REQUIRE(op->in_w == op->out_w && op->in_c == op->out_c && op->in_h < op->out_h,
            "a delay line that is no longer than what is new, or of another shape");
    return NULL;
}

static const char *lookup_fault(const struct plan_op *op)
{
    REQUIRE(same_shape(op), "a function of single values that changes the shape");
    return NULL;
}

static const char *softmax_fault(const struct plan_op *op)
{
    REQUIRE(same_shape(op), "softmax that changes the shape");
    return NULL;
}

/* A table of an entry each for the inputs; the kernel of a concatenation has only copying left. */
static const char *concatenation_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(constants_good(plan, op->weights_data, (uint64_t)op->input_count * 2 * sizeof(uint32_t)),
            "table of inputs outside the plan or unaligned");
    const uint32_t *table = (const uint32_t *)words_at(plan, op->weights_data);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < op->input_count; i++) {
        const uint64_t input = (uint64_t)table[2 * i + 1] * op->in_h;
        REQUIRE(fits(table[2 * i], input, plan->arena_bytes), "an input outside the arena");
        REQUIRE(!overlap(table[2 * i], input, op->output, output_bytes_of(op)), "output over an input");
        bytes += input;
    }
    REQUIRE(bytes == output_bytes_of(op), "inputs that are not the size of the output");
    return NULL;
}

static const char *shape_fault(const struct plan_op *op, const struct kernel *kernel)
{
    if (kernel->of_two)
        return pair_fault(op);
    switch ((enum plan_kind)op->kind) {
    case PLAN_CONV: return window_fault(op);
    case PLAN_DEPTHWISE: return depthwise_fault(op);
    case PLAN_AVERAGE_POOL:
    case PLAN_MAX_POOL: return pool_fault(op);
    case PLAN_FULLY_CONNECTED: return fully_connected_fault(op);
    case PLAN_PAD: return pad_fault(op);
    case PLAN_MEAN: return mean_fault(op);
    case PLAN_LOOKUP: return lookup_fault(op);
    case PLAN_SOFTMAX: return softmax_fault(op);
    case PLAN_DELAY: return delay_fault(op);
    default: return NULL; /* a concatenation's and a copy's stand in their tables */
    }
}

static bool is_constant(const struct plan_op *op, const struct kernel *kernel, uint32_t input)
{
    return kernel->of_two && (input == 0 ? op->weights_data : op->bias_data) != 0;
}

static const char *places_fault(const struct plan_header *plan, const struct plan_op *op,
                                const struct kernel *kernel)
{
    const uint64_t output = output_bytes_of(op), input = input_bytes_of(op);
    REQUIRE(output > 0 && fits(op->output, output, plan->arena_bytes), "output outside the arena");
    REQUIRE(fits(op->scratch, op->scratch_bytes, plan->arena_bytes) && op->scratch % 4 == 0,
            "scratch memory outside the arena or unaligned");
    REQUIRE(!overlap(op->scratch, op->scratch_bytes, op->output, output), "scratch memory over the output");
    if (op->kind == PLAN_CONCATENATION)
        return concatenation_fault(plan, op);
    for (uint32_t i = 0; i < op->input_count; i++) {
        const uint64_t bytes = i == 0 ? input : second_bytes_of(op);
        REQUIRE(bytes > 0, "an input outside the arena");
        if (is_constant(op, kernel, i))
            continue;
        REQUIRE(fits(op->input[i], bytes, plan->arena_bytes), "an input outside the arena");
        REQUIRE(!overlap(op->scratch, op->scratch_bytes, op->input[i], bytes), "scratch memory over an input");
    }
    return NULL;
}

/* Asked last, since only of an operator without another fault does a kernel say whether it may run in place. */
static const char *overlap_fault(const struct plan_op *op, const struct kernel *kernel)
{
    const uint64_t output = output_bytes_of(op), end = op->output + output;
    if (op->kind == PLAN_CONCATENATION)
        return NULL; /* seen with its table */
    for (uint32_t i = 0; i < op->input_count; i++) {
        const uint64_t bytes = i == 0 ? input_bytes_of(op) : second_bytes_of(op);
        if (is_constant(op, kernel, i) || !overlap(op->input[i], bytes, op->output, output))
            continue;
        REQUIRE(kernel->in_place != NULL && kernel->in_place(op) && (!kernel->of_two || bytes == output) &&
                    (op->input[i] == op->output || op->input[i] + bytes == end),
                "output over an input");
    }
    return NULL;
}

/* Of operators that each lie inside the arena: whether what one delay line keeps is written by anything else, be it in
 * this run or before the next. */
static const char *kept_fault(const struct plan_header *plan, const struct plan_op *ops, const struct plan_op *delay)
{
    const uint64_t bytes = output_bytes_of(delay);
    REQUIRE(!overlap(plan->input_offset, plan->input_bytes, delay->output, bytes), "the input over a delay line");
    for (uint32_t i = 0; i < plan->op_count; i++) {
        REQUIRE(!overlap(ops[i].scratch, ops[i].scratch_bytes, delay->output, bytes), "scratch memory over a delay line");
        REQUIRE(&ops[i] == delay || !overlap(ops[i].output, output_bytes_of(&ops[i]), delay->output, bytes),
                "an output over a delay line");
    }
    return NULL;
}

static const char *op_fault(const struct plan_header *plan, const struct plan_op *op)
{
    const struct kernel *kernel = kernel_of(op);
    REQUIRE(op->kind >= PLAN_CONV && op->kind < PLAN_KIND_END, "unknown operator");
    REQUIRE(kernel != NULL, "this firmware has no such kernel");
    REQUIRE(op->kind == PLAN_CONCATENATION ? op->input_count >= 1 : op->input_count == (kernel->of_two ? 2 : 1),
            "wrong number of inputs");
    REQUIRE(op->reserved == 0, "reserved fields are not 0");
    const char *fault = places_fault(plan, op, kernel);
    REQUIRE(fault == NULL, fault);
    REQUIRE(in_range(op->output_offset, -128, 127) && in_range(op->input_offset[0], -128, 128) &&
                in_range(op->activation_min, -128, 127) && in_range(op->activation_max, op->activation_min, 127),
            "a zero point or an activation limit that is no int8");
    fault = shape_fault(op, kernel);
    REQUIRE(fault == NULL, fault);
    fault = kernel->fault != NULL ? kernel->fault(plan, op) : NULL;
    REQUIRE(fault == NULL, fault);
    REQUIRE(kernel->scratch_bytes == NULL || kernel->scratch_bytes(op) <= op->scratch_bytes,
            "less scratch memory than the kernel asks for");
    return overlap_fault(op, kernel);
}

static const char *header_fault(const struct plan_header *plan, size_t blob_bytes, size_t arena_available)
{
    REQUIRE((uintptr_t)plan % PLAN_ALIGNMENT == 0, "the plan is not aligned");
    REQUIRE(blob_bytes >= sizeof *plan, "shorter than a plan's header");
    REQUIRE(plan->magic == PLAN_MAGIC, "not a plan");
    REQUIRE(plan->version == PLAN_VERSION && plan->header_bytes == sizeof *plan, "a plan of another version");
    REQUIRE(plan->total_bytes == blob_bytes, "not the size that the plan says");
    REQUIRE(plan->op_count >= 1 && plan->op_count <= PLAN_MAX_OPS, "no operators, or too many");
    REQUIRE(sizeof *plan + plan->op_count * sizeof(struct plan_op) <= blob_bytes, "operators behind the end");
    REQUIRE(crc32(0, &plan->op_count, blob_bytes - offsetof(struct plan_header, op_count)) == plan->crc32,
            "the plan's CRC is wrong");
    REQUIRE(plan->reserved[0] == 0 && plan->reserved[1] == 0, "reserved fields are not 0");
    REQUIRE(plan->arena_bytes % PLAN_ALIGNMENT == 0, "an arena that is no multiple of 16 bytes");
    REQUIRE(plan->arena_bytes <= arena_available, "the arena does not fit in RAM");
    REQUIRE(plan->input_bytes > 0 && fits(plan->input_offset, plan->input_bytes, plan->arena_bytes),
            "the input is outside the arena");
    REQUIRE(plan->output_bytes > 0 && fits(plan->output_offset, plan->output_bytes, plan->arena_bytes),
            "the output is outside the arena");
    return NULL;
}

struct engine_fault plan_check(const void *blob, size_t blob_bytes, size_t arena_available)
{
    const struct plan_header *plan = blob;
    struct engine_fault fault = {header_fault(plan, blob_bytes, arena_available), -1};
    if (fault.reason != NULL)
        return fault;
    const struct plan_op *ops = (const struct plan_op *)(plan + 1);
    for (uint32_t i = 0; i < plan->op_count && fault.reason == NULL; i++)
        fault = (struct engine_fault){op_fault(plan, &ops[i]), (int32_t)i};
    for (uint32_t i = 0; i < plan->op_count && fault.reason == NULL; i++)
        if (ops[i].kind == PLAN_DELAY)
            fault = (struct engine_fault){kept_fault(plan, ops, &ops[i]), (int32_t)i};
    return fault;
}
