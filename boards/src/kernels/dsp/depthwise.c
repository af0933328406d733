/* SPDX-License-Identifier: MIT
 * Depthwise convolutions, one channel at a time. Four channels are taken out of the map, padded and widened to 16 bits,
 * so that nothing asks where the map ends and all loads are aligned; that is 21 cycles for eight values. The window's
 * height is padded with zeros to that of one of the kernels in depthwise_outputs.c. Rows that are dilated by d are d
 * convolutions without dilation, of every d-th row, one after the other.
 *
 * Modelled on nucleo-l4r5@virtual, with a ReLU, in k cycles, CMSIS-NN in brackets: 3x3 over 25x5x64 196 (822), 5x3 269
 * (1,880), 9x3 421 (2,921), 3x3 over 49x10x32 at stride 2 143 (426), 5x1 over 25x1x96 55 (287), 9x1 over 49x1x64 80
 * (550), 15x1 105 (765), 3x3 dilated by 2 over 20x10x16 94 (1,343).
 */
#include "depthwise.h"
#include "halves.h"

enum { MAX_COLUMNS = 64, MAX_SCRATCH_BYTES = 1 << 24 };

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Where four channels are taken from and put. */
struct map {
    uint32_t first_bytes;   /* into the input */
    uint32_t channels, row_bytes;
    uint32_t rows, columns; /* as far as windows reach */
    uint32_t pad_top, pad_left;
    uint32_t column_words;  /* of the planes */
    uint32_t padding;       /* four values */
};

/* Two rows of four channels. */
static inline uint32_t *put(uint32_t *to, uint32_t above, uint32_t below)
{
    const uint32_t above02 = dsp_even_bytes(above), above13 = dsp_odd_bytes(above);
    const uint32_t below02 = dsp_even_bytes(below), below13 = dsp_odd_bytes(below);
    to[0] = dsp_lower_halves(above02, below02);
    to[1] = dsp_lower_halves(above13, below13);
    to[2] = dsp_upper_halves(above02, below02);
    to[3] = dsp_upper_halves(above13, below13);
    return to + DSP_DEPTHWISE_BLOCK;
}

/* With padding, four words at a time. */
static void fill(uint32_t *planes, const uint32_t *end, uint32_t padding)
{
    for (; planes != end; planes += DSP_DEPTHWISE_BLOCK)
        for (uint32_t i = 0; i < DSP_DEPTHWISE_BLOCK; i++)
            planes[i] = padding;
}

static __attribute__((noinline)) void spread(const struct map *map, const int8_t *input, uint32_t *planes)
{
    const uint32_t row = map->row_bytes, padding = map->padding;
    if (map->rows == 0)
        return;
    input += map->first_bytes;
    planes += map->pad_left * map->column_words + map->pad_top / 2 * DSP_DEPTHWISE_BLOCK;
    for (uint32_t x = map->columns; x > 0; x--) {
        const int8_t *from = input;
        uint32_t *to = planes, rows = map->rows;
        if (map->pad_top % 2 != 0) {
            to = put(to, padding, dsp_word(from));
            from += row;
            rows--;
        }
        for (uint32_t *const end = to + rows / 2 * DSP_DEPTHWISE_BLOCK; to != end; from += row) {
            const uint32_t above = dsp_word(from);
            from += row;
            to = put(to, above, dsp_word(from));
        }
        if (rows % 2 != 0)
            put(to, dsp_word(from), padding);
        planes += map->column_words;
        input += map->channels;
    }
}

/* The height of the window's kernel: those in between are padded with zeros. */
static uint32_t taps_of(const struct plan_op *op)
{
    return op->kernel_h <= 3 ? 3 : op->kernel_h <= 5 ? 5 : op->kernel_h <= 9 ? 9 : DSP_DEPTHWISE_MAX_TAPS;
}

/* Words of weights of one channel: as depthwise.py packs them. */
static uint32_t weights_words(const struct plan_op *op)
{
    return op->kernel_w * (op->stride_h == 1 ? taps_of(op) - 1 : taps_of(op) / 2 + 1);
}

/* Rows of outputs that see every dilation_h-th row from `phase` on. */
static uint32_t out_rows(const struct plan_op *op, uint32_t phase)
{
    return (op->out_h - phase + op->dilation_h - 1) / op->dilation_h;
}

/* Of a column of the planes: room for the most rows of a phase. */
static uint64_t column_words(const struct plan_op *op)
{
    return DSP_DEPTHWISE_BLOCK * (((out_rows(op, 0) - 1ull) * op->stride_h + taps_of(op) + 1) / 2);
}

static uint64_t columns_of(const struct plan_op *op)
{
    return (op->out_w - 1ull) * op->stride_w + (op->kernel_w - 1ull) * op->dilation_w + 1;
}

static uint64_t scratch_bytes(const struct plan_op *op)
{
    return column_words(op) * sizeof(uint32_t) * columns_of(op);
}

static const char *depthwise_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(op->out_c == op->in_c && op->in_c % DSP_DEPTHWISE_BLOCK == 0, "channels that are no multiple of 4");
    REQUIRE(dsp_axis_good(op->in_h, op->out_h, op->kernel_h, op->stride_h, op->dilation_h) &&
                dsp_axis_good(op->in_w, op->out_w, op->kernel_w, op->stride_w, op->dilation_w) &&
                op->kernel_h <= DSP_DEPTHWISE_MAX_TAPS && op->kernel_w <= MAX_COLUMNS && op->stride_h <= 2,
            "a window or a stride too large for the kernel");
    REQUIRE(op->dilation_h == 1 || op->stride_h == 1, "a stride of dilated rows");
    REQUIRE(in_range(op->input_offset[0], -127, 128), "an input's zero point that is no int8");
    REQUIRE(scratch_bytes(op) <= MAX_SCRATCH_BYTES, "a map too large for the kernel");
    const uint32_t words = sizeof(struct dsp_depthwise_channel) / sizeof(int32_t) + weights_words(op);
    REQUIRE(constants_good(plan, op->weights_data, (uint64_t)words * sizeof(int32_t) * op->out_c),
            "constants outside the plan or unaligned");
    const int32_t *channel = words_at(plan, op->weights_data);
    for (uint32_t c = 0; c < op->out_c; c++, channel += words)
        REQUIRE(in_range(((const struct dsp_depthwise_channel *)channel)->by.shift, 0, DSP_MAX_SHIFT),
                "a shift out of range");
    return NULL;
}

static uint32_t depthwise_scratch_bytes(const struct plan_op *op)
{
    return (uint32_t)scratch_bytes(op);
}

static struct map map_of(const struct plan_op *op, uint32_t phase)
{
    const uint32_t column = (uint32_t)column_words(op), all_rows = column / DSP_DEPTHWISE_BLOCK * 2;
    const uint32_t dilation = op->dilation_h, first = (phase + dilation - op->pad_top % dilation) % dilation;
    const uint32_t above = (first + op->pad_top) / dilation; /* rows of padding */
    const uint32_t rows = first < op->in_h ? (op->in_h - first + dilation - 1) / dilation : 0;
    return (struct map){
        .first_bytes = first * op->in_w * op->in_c,
        .channels = op->in_c,
        .row_bytes = dilation * op->in_w * op->in_c,
        .rows = above < all_rows ? smaller(rows, all_rows - above) : 0,
        .columns = smaller(op->in_w, (uint32_t)columns_of(op) - op->pad_left),
        .pad_top = above,
        .pad_left = op->pad_left,
        .column_words = column,
        .padding = ((uint32_t)-op->input_offset[0] & 0xFF) * 0x01010101u,
    };
}

static struct dsp_depthwise_layer layer_of(const struct plan_op *op, uint32_t phase)
{
    const uint32_t column_bytes = (uint32_t)(column_words(op) * sizeof(uint32_t)), out_h = out_rows(op, phase);
    const uint32_t four_bytes = 4u * op->stride_h / 2 * DSP_DEPTHWISE_BLOCK * (uint32_t)sizeof(uint32_t);
    const uint32_t out_row_bytes = (uint32_t)op->dilation_h * op->out_w * op->out_c;
    return (struct dsp_depthwise_layer){
        .out_row_bytes = out_row_bytes,
        .column_bytes = column_bytes * op->dilation_w,
        .back_bytes = four_bytes - (op->kernel_w - 1u) * column_bytes * op->dilation_w,
        .out_h = out_h,
        .fours_bytes = out_h / 4 * four_bytes,
        .step_bytes = column_bytes * op->stride_w,
        .next_bytes = op->out_c - out_h * out_row_bytes,
        .steps_bytes = op->out_w * column_bytes * op->stride_w,
        .weights_bytes = weights_words(op) * (uint32_t)sizeof(uint32_t),
        .taps = taps_of(op),
        .columns = op->kernel_w,
        .stride = op->stride_h,
    };
}

static void run_phase(const struct kernel_call *call, uint32_t phase)
{
    const struct plan_op *op = call->op;
    const struct map map = map_of(op, phase);
    const struct dsp_depthwise_layer layer = layer_of(op, phase);
    dsp_depthwise_run *const run = dsp_depthwise_run_for(layer.taps, layer.columns, layer.stride, dsp_signed(op));
    const uint8_t *channel = kernel_constants(call, op->weights_data);
    int8_t *output = call->output + phase * op->out_w * op->out_c;
    uint32_t *planes = (uint32_t *)(void *)(call->arena + op->scratch);
    fill(planes, planes + map.column_words * (uint32_t)columns_of(op), dsp_even_bytes(map.padding));
    for (uint32_t c = 0; c < op->out_c; c++) {
        if (c % DSP_DEPTHWISE_BLOCK == 0)
            spread(&map, call->input + c, planes);
        run(&layer, (const void *)channel, planes + c % DSP_DEPTHWISE_BLOCK, output + c);
        channel += sizeof(struct dsp_depthwise_channel) + layer.weights_bytes;
    }
}

/* A channel is read before it is written, and written where it was read. Of dilated rows that must hold for each phase. */
static bool depthwise_in_place(const struct plan_op *op)
{
    return op->dilation_h == 1 || (op->in_h == op->out_h && op->in_w == op->out_w && op->pad_top % op->dilation_h == 0);
}

static bool run_depthwise(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    for (uint32_t phase = 0; phase < smaller(op->dilation_h, op->out_h); phase++)
        run_phase(call, phase);
    dsp_clamp(op, call->output, (uint32_t)output_bytes_of(op));
    return true;
}

const struct kernel dsp_depthwise = {
    .fault = depthwise_fault,
    .scratch_bytes = depthwise_scratch_bytes,
    .run = run_depthwise,
    .in_place = depthwise_in_place,
};
