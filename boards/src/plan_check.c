/* SPDX-License-Identifier: MIT */
#include "plan_check.h"

#include "crc32.h"
#include "kernels.h"

/* CMSIS-NN computes positions in int16_t and lengths of im2col columns in uint16_t. */
enum { MAX_EXTENT = 32767, MAX_COLUMN = 65535 };
/* With more classes the reference softmax would shift by more than 31. */
enum { MAX_SOFTMAX_CLASSES = 511 };

#define REQUIRE(condition, text) \
    do { \
        if (!(condition)) \
            return text; \
    } while (0)

static uint64_t product(uint64_t a, uint64_t b, uint64_t c)
{
    return a * b * c;
}

static bool in_range(int32_t value, int32_t low, int32_t high)
{
    return value >= low && value <= high;
}

static bool fits(uint64_t offset, uint64_t bytes, uint64_t limit)
{
    return bytes <= limit && offset <= limit - bytes;
}

static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a < b + b_bytes && b < a + a_bytes;
}

static uint64_t input_bytes_of(const struct plan_op *op)
{
    return product(op->in_h, op->in_w, op->in_c);
}

static uint64_t second_bytes_of(const struct plan_op *op)
{
    return product(op->second_h, op->second_w, op->second_c);
}

static uint64_t output_bytes_of(const struct plan_op *op)
{
    return product(op->out_h, op->out_w, op->out_c);
}

/* Operators of two inputs, each in the arena or constant. */
static bool is_pair(const struct plan_op *op)
{
    return op->kind == PLAN_ADD || op->kind == PLAN_SUB || op->kind == PLAN_MUL;
}

static bool same_shape(const struct plan_op *op)
{
    return op->in_h == op->out_h && op->in_w == op->out_w && op->in_c == op->out_c;
}

static bool constants_good(const struct plan_header *plan, uint32_t offset, uint64_t bytes)
{
    const uint32_t first = (uint32_t)(sizeof(struct plan_header) + plan->op_count * sizeof(struct plan_op));
    return offset >= first && offset % PLAN_ALIGNMENT == 0 && fits(offset, bytes, plan->total_bytes);
}

static const int32_t *constants(const struct plan_header *plan, uint32_t offset)
{
    return (const int32_t *)(const void *)((const uint8_t *)plan + offset);
}

static bool scaling_good(int32_t multiplier, int32_t shift, int32_t highest_shift)
{
    return multiplier >= 0 && in_range(shift, -31, highest_shift);
}

/* One axis of a sliding window: every window begins inside the padded map and ends not before the map. */
static bool axis_good(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t dilation, int32_t pad)
{
    const int64_t reach = (int64_t)(kernel - 1) * dilation, last = (int64_t)(out - 1) * stride - pad;
    return in_range(in, 1, MAX_EXTENT) && in_range(out, 1, MAX_EXTENT) && in_range(kernel, 1, MAX_EXTENT) &&
           in_range(stride, 1, MAX_EXTENT) && in_range(dilation, 1, MAX_EXTENT) && pad <= reach && last < in &&
           last + reach <= MAX_EXTENT;
}

static const char *window_fault(const struct plan_op *op, bool dilated)
{
    const int32_t dilation_h = dilated ? op->dilation_h : 1, dilation_w = dilated ? op->dilation_w : 1;
    REQUIRE(axis_good(op->in_h, op->out_h, op->kernel_h, op->stride_h, dilation_h, op->pad_top) &&
                axis_good(op->in_w, op->out_w, op->kernel_w, op->stride_w, dilation_w, op->pad_left),
            "kernel, stride, padding and shapes do not fit together");
    return NULL;
}

static const char *per_channel_fault(const struct plan_header *plan, const struct plan_op *op, uint64_t weights)
{
    const uint64_t words = (uint64_t)op->out_c * sizeof(int32_t);
    REQUIRE(constants_good(plan, op->weights_data, weights), "weights outside the plan or unaligned");
    REQUIRE(op->bias_data == 0 || constants_good(plan, op->bias_data, words), "bias outside the plan or unaligned");
    REQUIRE(constants_good(plan, op->multipliers_data, words) && constants_good(plan, op->shifts_data, words),
            "multipliers or shifts outside the plan or unaligned");
    const int32_t *multipliers = constants(plan, op->multipliers_data), *shifts = constants(plan, op->shifts_data);
    for (uint32_t i = 0; i < op->out_c; i++)
        REQUIRE(scaling_good(multipliers[i], shifts[i], 30), "a multiplier or shift out of range");
    return NULL;
}

static const char *conv_fault(const struct plan_header *plan, const struct plan_op *op)
{
    const char *fault = window_fault(op, true);
    REQUIRE(fault == NULL, fault);
    const uint64_t column = product(op->kernel_h, op->kernel_w, op->in_c);
    REQUIRE(column <= MAX_COLUMN, "kernel too large for the engine");
    /* CMSIS-NN takes a 1x1 kernel with stride 1 as a product over the input's pixels. */
    const bool pointwise = op->kernel_h == 1 && op->kernel_w == 1 && op->stride_h == 1 && op->stride_w == 1;
    REQUIRE(!pointwise || (op->in_h == op->out_h && op->in_w == op->out_w), "1x1 kernel that changes the shape");
    return per_channel_fault(plan, op, column * op->out_c);
}

static const char *depthwise_fault(const struct plan_header *plan, const struct plan_op *op)
{
    const char *fault = window_fault(op, true);
    REQUIRE(fault == NULL, fault);
    const uint64_t area = (uint64_t)op->kernel_h * op->kernel_w;
    REQUIRE(area <= MAX_COLUMN, "kernel too large for the engine");
    REQUIRE(op->out_c % op->in_c == 0, "output channels are no multiple of the input's");
    /* arm_depthwise_conv_3x3_s8 reads a window's middle column without looking where the row ends. */
    const int32_t last = (op->out_w - 1) * op->stride_w - op->pad_left;
    REQUIRE(op->kernel_w != 3 || op->kernel_h != 3 || last < 0 || last + 1 < op->in_w || op->dilation_w != 1,
            "3x3 kernel that begins in the last column");
    return per_channel_fault(plan, op, area * op->out_c);
}

static const char *pool_fault(const struct plan_header *plan, const struct plan_op *op)
{
    (void)plan;
    const char *fault = window_fault(op, false);
    REQUIRE(fault == NULL, fault);
    REQUIRE(op->in_c == op->out_c, "pooling that changes the channels");
    return NULL;
}

static const char *fully_connected_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(op->out_h == 1 && op->out_w == 1, "fully connected with more than one row");
    const uint64_t bias = (uint64_t)op->out_c * sizeof(int32_t);
    REQUIRE(constants_good(plan, op->weights_data, input_bytes_of(op) * op->out_c),
            "weights outside the plan or unaligned");
    REQUIRE(op->bias_data == 0 || constants_good(plan, op->bias_data, bias), "bias outside the plan or unaligned");
    REQUIRE(scaling_good(op->output_multiplier, op->output_shift, 30), "a multiplier or shift out of range");
    return NULL;
}

/* Whether one extent of an input can be carried to the output's. */
static bool carried(uint16_t extent, uint16_t output)
{
    return extent == output || extent == 1;
}

static const char *pair_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(carried(op->in_h, op->out_h) && carried(op->in_w, op->out_w) && carried(op->in_c, op->out_c) &&
                carried(op->second_h, op->out_h) && carried(op->second_w, op->out_w) &&
                carried(op->second_c, op->out_c),
            "inputs that do not broadcast to the output's shape");
    REQUIRE((op->weights_data == 0 || constants_good(plan, op->weights_data, input_bytes_of(op))) &&
                (op->bias_data == 0 || constants_good(plan, op->bias_data, second_bytes_of(op))),
            "a constant input outside the plan or unaligned");
    REQUIRE(in_range(op->input_offset[0], -127, 128) && in_range(op->input_offset[1], -127, 128),
            "a zero point or an activation limit that is no int8");
    return NULL;
}

static const char *sum_fault(const struct plan_header *plan, const struct plan_op *op)
{
    const char *fault = pair_fault(plan, op);
    REQUIRE(fault == NULL, fault);
    REQUIRE(op->left_shift == ADD_LEFT_SHIFT && scaling_good(op->input_multiplier[0], op->input_shift[0], 0) &&
                scaling_good(op->input_multiplier[1], op->input_shift[1], 0) &&
                scaling_good(op->output_multiplier, op->output_shift, 0),
            "a multiplier or shift out of range");
    return NULL;
}

static const char *mul_fault(const struct plan_header *plan, const struct plan_op *op)
{
    const char *fault = pair_fault(plan, op);
    REQUIRE(fault == NULL, fault);
    /* The inputs have no scales of their own here; their fields must not shift beyond a word either. */
    REQUIRE(scaling_good(op->input_multiplier[0], op->input_shift[0], 0) &&
                scaling_good(op->input_multiplier[1], op->input_shift[1], 0) &&
                scaling_good(op->output_multiplier, op->output_shift, MUL_MOST_SHIFT),
            "a multiplier or shift out of range");
    return NULL;
}

static const char *lookup_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(same_shape(op), "a function of single values that changes the shape");
    REQUIRE(constants_good(plan, op->weights_data, 256), "table of values outside the plan or unaligned");
    return NULL;
}

static const char *mean_fault(const struct plan_header *plan, const struct plan_op *op)
{
    (void)plan;
    REQUIRE(op->out_h == op->in_h && op->out_w == 1 && op->out_c == op->in_c, "a mean of another shape");
    REQUIRE(scaling_good(op->output_multiplier, op->output_shift, MEAN_MOST_SHIFT),
            "a multiplier or shift out of range");
    return NULL;
}

static const char *copy_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(constants_good(plan, op->weights_data, 4 * sizeof(uint32_t)), "table of steps outside the plan or unaligned");
    const uint32_t *table = (const uint32_t *)(const void *)constants(plan, op->weights_data);
    const uint64_t last = table[0] + (op->out_h - 1ull) * table[1] + (op->out_w - 1ull) * table[2] +
                          (op->out_c - 1ull) * table[3];
    REQUIRE(last < input_bytes_of(op), "a copy from beyond the input");
    return NULL;
}

static const char *concatenation_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(constants_good(plan, op->weights_data, (uint64_t)op->input_count * 2 * sizeof(uint32_t)),
            "table of inputs outside the plan or unaligned");
    const uint32_t *table = (const uint32_t *)(const void *)constants(plan, op->weights_data);
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

static const char *pad_fault(const struct plan_header *plan, const struct plan_op *op)
{
    (void)plan;
    REQUIRE(op->in_c == op->out_c && op->pad_top + op->in_h <= op->out_h && op->pad_left + op->in_w <= op->out_w,
            "padding that does not fit the output");
    REQUIRE(in_range(op->input_offset[0], -128, 127), "a padding value that is no int8");
    return NULL;
}

static const char *softmax_fault(const struct plan_header *plan, const struct plan_op *op)
{
    (void)plan;
    REQUIRE(same_shape(op), "softmax that changes the shape");
    REQUIRE(op->in_c <= MAX_SOFTMAX_CLASSES, "softmax over too many classes");
    REQUIRE(op->input_multiplier[0] >= 0 && in_range(op->input_shift[0], 0, 30) &&
                in_range(op->left_shift, -255, 0) &&
                ((int64_t)-op->left_shift << op->input_shift[0]) <= INT32_MAX,
            "a multiplier or shift out of range");
    return NULL;
}

static const char *places_fault(const struct plan_header *plan, const struct plan_op *op)
{
    const uint64_t output = output_bytes_of(op), input = input_bytes_of(op);
    const bool in_place_allowed = is_pair(op) || op->kind == PLAN_SOFTMAX || op->kind == PLAN_LOOKUP;
    REQUIRE(output > 0 && fits(op->output, output, plan->arena_bytes), "output outside the arena");
    REQUIRE(fits(op->scratch, op->scratch_bytes, plan->arena_bytes) && op->scratch % 4 == 0,
            "scratch memory outside the arena or unaligned");
    REQUIRE(!overlap(op->scratch, op->scratch_bytes, op->output, output), "scratch memory over the output");
    if (op->kind == PLAN_CONCATENATION)
        return NULL; /* its inputs stand in its table */
    for (uint32_t i = 0; i < op->input_count; i++) {
        const uint64_t bytes = i == 0 ? input : second_bytes_of(op);
        REQUIRE(bytes > 0, "an input outside the arena");
        if (is_pair(op) && (i == 0 ? op->weights_data : op->bias_data) != 0)
            continue; /* it is constant */
        REQUIRE(fits(op->input[i], bytes, plan->arena_bytes), "an input outside the arena");
        REQUIRE(!overlap(op->scratch, op->scratch_bytes, op->input[i], bytes), "scratch memory over an input");
        REQUIRE((in_place_allowed && bytes == output && op->input[i] == op->output) ||
                    !overlap(op->input[i], bytes, op->output, output),
                "output over an input");
    }
    return NULL;
}

static const char *op_fault(const struct plan_header *plan, const struct plan_op *op)
{
    static const char *(*const faults[])(const struct plan_header *, const struct plan_op *) = {
        [PLAN_CONV] = conv_fault,         [PLAN_DEPTHWISE] = depthwise_fault,
        [PLAN_ADD] = sum_fault,           [PLAN_FULLY_CONNECTED] = fully_connected_fault,
        [PLAN_AVERAGE_POOL] = pool_fault, [PLAN_MAX_POOL] = pool_fault,
        [PLAN_PAD] = pad_fault,           [PLAN_CONCATENATION] = concatenation_fault,
        [PLAN_SOFTMAX] = softmax_fault,   [PLAN_SUB] = sum_fault,
        [PLAN_MUL] = mul_fault,           [PLAN_LOOKUP] = lookup_fault,
        [PLAN_MEAN] = mean_fault,         [PLAN_COPY] = copy_fault,
    };
    REQUIRE(op->kind >= PLAN_CONV && op->kind <= PLAN_COPY, "unknown operator");
    REQUIRE(op->kind == PLAN_CONCATENATION ? op->input_count >= 1 : op->input_count == (is_pair(op) ? 2 : 1),
            "wrong number of inputs");
    REQUIRE(op->reserved_half == 0 && op->reserved == 0, "reserved fields are not 0");
    const char *fault = places_fault(plan, op);
    REQUIRE(fault == NULL, fault);
    REQUIRE(in_range(op->output_offset, -128, 127) && in_range(op->input_offset[0], -128, 128) &&
                in_range(op->activation_min, -128, 127) && in_range(op->activation_max, op->activation_min, 127),
            "a zero point or an activation limit that is no int8");
    fault = faults[op->kind](plan, op);
    REQUIRE(fault == NULL, fault);
    REQUIRE(plan_scratch_bytes(op) <= op->scratch_bytes, "less scratch memory than the kernel asks for");
    return NULL;
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
    return fault;
}
