/* SPDX-License-Identifier: MIT
 * A plan: an int8 network lowered for the device, as one little-endian blob that is uploaded, stored in
 * flash or linked into a product. The writer is hil_nas/deploy/plan.py; the two change together.
 *
 *   [struct plan_header][struct plan_op x op_count][constants, each 16-byte aligned]
 *
 * Constants are laid out as written here, unless the list of kernels that runs the operator has them another way.
 * Offsets named `..._data` count from the start of the blob, all other offsets from the start of the arena.
 * Nothing in a plan is trusted: plan_check() refuses offsets, shapes and sizes that do not fit before
 * anything runs.
 */
#ifndef HIL_PLAN_H
#define HIL_PLAN_H

#include <stddef.h>
#include <stdint.h>

#define PLAN_MAGIC 0x4E4C5048u /* "HPLN" */
#define PLAN_VERSION 3u
#define PLAN_MAX_OPS 256u
#define PLAN_ALIGNMENT 16u

/* Constant, name on the wire, code in a plan; hil_nas/operators has them too. */
#define PLAN_KINDS(KIND) \
    KIND(CONV, conv, 1) \
    KIND(DEPTHWISE, depthwise, 2) \
    KIND(FULLY_CONNECTED, fully_connected, 3) \
    KIND(AVERAGE_POOL, average_pool, 4) \
    KIND(MAX_POOL, max_pool, 5) \
    KIND(ADD, add, 6) \
    KIND(CONCATENATION, concatenation, 7) \
    KIND(PAD, pad, 8) \
    KIND(SOFTMAX, softmax, 9) \
    KIND(SUB, sub, 10) \
    KIND(MUL, mul, 11) \
    KIND(LOOKUP, lookup, 12) \
    KIND(MEAN, mean, 13) \
    KIND(COPY, copy, 14) \
    KIND(MAXIMUM, maximum, 15) \
    KIND(MINIMUM, minimum, 16) \
    KIND(DELAY, delay, 17)

enum plan_kind {
#define KIND(constant, name, code) PLAN_##constant = (code),
    PLAN_KINDS(KIND)
#undef KIND
    PLAN_KIND_END
};

struct plan_header {           /* 64 bytes */
    uint32_t magic;
    uint16_t version;
    uint16_t header_bytes;     /* sizeof(struct plan_header) */
    uint32_t total_bytes;      /* of the whole blob */
    uint32_t crc32;            /* IEEE 802.3 (zlib) over everything behind this field */
    uint32_t op_count;
    uint32_t arena_bytes;      /* activations and scratch, planned; a multiple of 16 */
    uint32_t input_offset;
    uint32_t input_bytes;
    uint32_t output_offset;
    uint32_t output_bytes;
    float input_scale;
    int32_t input_zero_point;
    float output_scale;
    int32_t output_zero_point;
    uint32_t reserved[2];      /* 0 */
};

struct plan_op {               /* 128 bytes; a field that a kind does not use is 0 */
    uint16_t kind;             /* enum plan_kind */
    uint16_t input_count;      /* 1; a pair: 2; CONCATENATION: entries of the table at `weights_data` */
    uint32_t input[2];         /* arena offsets; 0 for one that is constant */
    uint32_t output;           /* arena offset */
    uint32_t scratch;          /* arena offset of what the kernel asks for */
    uint32_t scratch_bytes;    /* no less; a kernel that is given more may do more at a time */
    uint16_t in_h, in_w, in_c;
    uint16_t out_h, out_w, out_c; /* DEPTHWISE: out_c = in_c * depth multiplier */
    uint16_t kernel_h, kernel_w;
    uint16_t stride_h, stride_w;
    uint16_t dilation_h, dilation_w;
    uint16_t pad_top, pad_left;   /* rows and columns before the map; those after follow from the shapes */
    int32_t input_offset[2];   /* added to an input value: minus its zero point. PAD: [0] is the pad value */
    int32_t output_offset;     /* the output's zero point */
    int32_t activation_min, activation_max;
    uint32_t weights_data;     /* CONV: OHWI, DEPTHWISE: HWC, FULLY_CONNECTED: OI (I = in_h*in_w*in_c).
                                  CONCATENATION: input_count pairs {u32 arena offset, u32 bytes per outer step}.
                                  LOOKUP: 256 x int8, the output for -128 first. A pair: the first input where it is
                                  constant. COPY: u32 {start, step_h, step_w, step_c}, in values of the input */
    uint32_t bias_data;        /* int32 per output channel, 0 where there is none.
                                  A pair: the second input where it is constant */
    uint32_t multipliers_data; /* int32 per output channel (CONV, DEPTHWISE), TFLite's convention */
    uint32_t shifts_data;      /* int32 per output channel (CONV, DEPTHWISE), TFLite's convention */
    int32_t input_multiplier[2], input_shift[2]; /* ADD, SUB: per input. SOFTMAX: [0] is beta's multiplier and shift */
    int32_t output_multiplier, output_shift;     /* FULLY_CONNECTED, ADD, SUB, MUL; MEAN: with the division in it */
    int32_t left_shift;        /* ADD, SUB: 20. SOFTMAX: diff_min */
    uint16_t second_h, second_w, second_c;       /* a pair: of the second input */
    uint16_t kernel_list;      /* whose kernel runs it: struct kernel_list (kernel.h) */
    uint32_t reserved;         /* 0 */
};

_Static_assert(sizeof(struct plan_header) == 64, "plan_header is 64 bytes");
_Static_assert(sizeof(struct plan_op) == 128, "plan_op is 128 bytes");

/* CONCATENATION has been reduced to copying: in_h outer steps, each taking its entry's bytes from every
 * input in turn; in_w * in_c is unused and out_h * out_w * out_c is the size of the output.
 * FULLY_CONNECTED with per-channel weights is written by the lowering as a 1x1 CONV. RESHAPE is no op:
 * both names are one buffer.
 * A pair (ADD, SUB, MUL, MAXIMUM, MINIMUM) has two inputs: each extent of one is the output's or 1, and then its one value
 * stands for all. MAXIMUM and MINIMUM compare bytes of one scale: offsets are 0.
 * LOOKUP is every function of one value: the host computes it for each of the 256 there are.
 * MEAN: in_h times, in_w runs of in_c values are averaged to one run (out_h = in_h, out_w = 1, out_c = in_c).
 * COPY: output (y, x, c) is the input's value number start + y * step_h + x * step_w + c * step_c.
 * DELAY: the last out_h rows of a stream, in_h of them new. The output is kept from run to run: nothing else of the plan
 * is written there, nor the network's input, and before the first run all of it is output_offset. */

#endif
