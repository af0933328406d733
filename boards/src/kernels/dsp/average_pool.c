/* SPDX-License-Identifier: MIT
 * Average pools: two channels are added at a time, as halves of a word (1.6 cycles a value), and the division is a
 * product.
 *
 * Modelled on nucleo-l4r5@virtual, in k cycles, CMSIS-NN in brackets: the whole map of 25x5x64 13 (92), of 13x1x96 3.7
 * (17); windows of 2x1 over 48x1x64 35 (72), of 3x3 over 20x10x16 152 (403).
 */
#include "dsp.h"
#include "halves.h"
#include "requantise.h"

enum {
    BLOCK = 4,
    MAX_IN_HALF = 256, /* int8 values whose sum a halfword holds */
    MAX_WINDOW = 2000  /* values, for which the division is exact */
};

/* What of a window lies inside the map. */
struct window {
    uint32_t rows, pixels; /* of each row */
    uint32_t row_bytes, pixel_bytes;
    uint32_t count, reciprocal; /* of its values; 2^31 / count, rounded up */
};

/* Sums of byte 0 and 2, and of byte 1 and 3. */
struct halves {
    uint32_t even, odd;
};

static inline struct halves with(struct halves sums, uint32_t four)
{
    return (struct halves){dsp_add_even_bytes(sums.even, four), dsp_add_odd_bytes(sums.odd, four)};
}

static inline struct halves with_run(struct halves sums, const int8_t *from, uint32_t count, uint32_t step)
{
    for (; count >= 4; count -= 4) {
        const uint32_t a = dsp_word(from), b = dsp_word(from + step);
        from += 2 * step;
        const uint32_t c = dsp_word(from), d = dsp_word(from + step);
        from += 2 * step;
        sums = with(with(with(with(sums, a), b), c), d);
    }
    for (; count > 0; count--, from += step)
        sums = with(sums, dsp_word(from));
    return sums;
}

/* sum / count, halves away from zero, as TFLite divides. n / (2 * count) rounded down is 128 more than that: it is no
 * negative number, a half can only be where the count is even, and there n is odd for a sum below 0. The reciprocal,
 * 2^32 / (2 * count), is rounded up by less than 1, so the product is too high by less than n / 2^32, and exact as long
 * as n * 2 * count < 2^32; n is at most 511 * count. */
static inline int8_t divided(int32_t sum, uint32_t count, uint32_t reciprocal)
{
    const uint32_t n = 257 * count + 2 * (uint32_t)sum + (uint32_t)(sum >> 31);
    return (int8_t)((int32_t)((uint64_t)n * reciprocal >> 32) - 128);
}

static inline void add_to(int32_t *sums, struct halves halves)
{
    sums[0] += (int16_t)(halves.even & 0xFFFF);
    sums[1] += (int16_t)(halves.odd & 0xFFFF);
    sums[2] += (int16_t)(halves.even >> 16);
    sums[3] += (int16_t)(halves.odd >> 16);
}

static inline void divide(const int32_t *sums, uint32_t count, uint32_t reciprocal, int8_t *output)
{
#pragma GCC unroll 4
    for (uint32_t i = 0; i < BLOCK; i++)
        output[i] = divided(sums[i], count, reciprocal);
}

/* Of so few values that halves have room for their sums. */
static void average_few(const struct window *window, const int8_t *input, int8_t *output)
{
    const uint32_t pixel = window->pixel_bytes, row = window->row_bytes, pixels = window->pixels;
    const uint32_t count = window->count, reciprocal = window->reciprocal;
    for (const int8_t *const end = input + pixel; input != end; input += BLOCK, output += BLOCK) {
        struct halves halves = {0, 0};
        const int8_t *from = input;
        for (uint32_t y = window->rows; y > 0; y--, from += row)
            halves = with_run(halves, from, pixels, pixel);
        int32_t sums[BLOCK] = {0};
        add_to(sums, halves);
        divide(sums, count, reciprocal, output);
    }
}

static void average_many(const struct window *window, const int8_t *input, int8_t *output)
{
    const uint32_t pixel = window->pixel_bytes, count = window->count, reciprocal = window->reciprocal;
    for (const int8_t *const end = input + pixel; input != end; input += BLOCK, output += BLOCK) {
        int32_t sums[BLOCK] = {0};
        const int8_t *row = input;
        for (uint32_t y = window->rows; y > 0; y--, row += window->row_bytes)
            for (uint32_t done = 0; done < window->pixels; done += MAX_IN_HALF) {
                const uint32_t left = window->pixels - done, run = left < MAX_IN_HALF ? left : MAX_IN_HALF;
                add_to(sums, with_run((struct halves){0, 0}, row + done * pixel, run, pixel));
            }
        divide(sums, count, reciprocal, output);
    }
}

static const char *average_pool_fault(const struct plan_header *plan, const struct plan_op *op)
{
    (void)plan;
    REQUIRE(op->in_c % BLOCK == 0, "channels that are no multiple of 4");
    REQUIRE((uint32_t)op->kernel_h * op->kernel_w <= MAX_WINDOW, "a window of too many values");
    return NULL;
}

/* The part of a window inside the map, along one axis. */
struct span {
    uint32_t first, count;
};

static struct span span_of(uint32_t position, int32_t stride, int32_t pad, int32_t kernel, int32_t extent)
{
    const int32_t start = (int32_t)position * stride - pad, end = start + kernel;
    const int32_t first = start < 0 ? 0 : start, last = end > extent ? extent : end;
    return (struct span){(uint32_t)first, (uint32_t)(last - first)};
}

static bool covers(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t pad)
{
    return pad < stride && (out - 1) * stride + kernel - pad - in < stride;
}

/* With less padding than a stride, window i begins at position i or behind it, and as far before the end as it is from
 * the last: in this order, or from the last on, outputs stay behind what is still to be read. */
static bool average_pool_in_place(const struct plan_op *op)
{
    return covers(op->in_h, op->out_h, op->kernel_h, op->stride_h, op->pad_top) &&
           covers(op->in_w, op->out_w, op->kernel_w, op->stride_w, op->pad_left);
}

static bool run_average_pool(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    const uint32_t row_bytes = (uint32_t)op->in_w * op->in_c;
    const bool backward = op->output > op->input[0]; /* the output may end where the input does */
    const uint32_t output_bytes = (uint32_t)op->out_h * op->out_w * op->in_c;
    const ptrdiff_t next = backward ? -(ptrdiff_t)op->in_c : op->in_c;
    int8_t *output = backward ? call->output + output_bytes - op->in_c : call->output;
    struct window window = {.row_bytes = row_bytes, .pixel_bytes = op->in_c};
    for (uint32_t i = 0; i < op->out_h; i++) {
        const uint32_t y = backward ? op->out_h - 1u - i : i;
        const struct span rows = span_of(y, op->stride_h, op->pad_top, op->kernel_h, op->in_h);
        for (uint32_t j = 0; j < op->out_w; j++, output += next) {
            const uint32_t x = backward ? op->out_w - 1u - j : j;
            const struct span columns = span_of(x, op->stride_w, op->pad_left, op->kernel_w, op->in_w);
            const bool whole = columns.count == op->in_w; /* its rows lie behind each other */
            window.rows = whole ? 1 : rows.count;
            window.pixels = whole ? rows.count * columns.count : columns.count;
            if (window.count != rows.count * columns.count) {
                window.count = rows.count * columns.count;
                window.reciprocal = (0x80000000u + window.count - 1) / window.count;
            }
            const int8_t *first = call->input + rows.first * row_bytes + columns.first * op->in_c;
            (window.count <= MAX_IN_HALF ? average_few : average_many)(&window, first, output);
        }
    }
    dsp_clamp(op, call->output, output_bytes);
    return true;
}

const struct kernel dsp_average_pool = {
    .fault = average_pool_fault, .run = run_average_pool, .in_place = average_pool_in_place};
