/* SPDX-License-Identifier: MIT
 * The front end: 16-bit audio to the int8 features that the network reads, the same bits on every machine.
 * These sources are compiled into the firmware and into the host library that Python calls.
 *
 * What is computed stands in a blob ("HFRE", little-endian, at least 4-byte aligned) that is uploaded, stored in flash
 * or linked into a product: this header, that of its kind (boards/src/front_ends/), the tables, each 16-byte aligned.
 * Its only writer is hil_nas/front_ends/; the two change together.
 *
 * Frame i is samples[i*hop .. i*hop + window), and nothing else decides its features: a clip and a stream give the same
 * bits. Only integers are computed with, int8 = (sum * multiplier >> 32 + shift, halves upwards) + zero_point.
 */
#ifndef HIL_FRONT_END_H
#define HIL_FRONT_END_H

#include <stddef.h>
#include <stdint.h>

#define FRONT_END_MAGIC 0x45524648u /* "HFRE" */
#define FRONT_END_VERSION 2u
#define FRONT_END_ALIGNMENT 16u     /* of the scratch memory */
#define FRONT_END_MAX_SAMPLES 0x1000000u

#define FRONT_END_MFCC 1
#define FRONT_END_LOG_MEL 2

#define FRONT_END_MAX_STAGES 8u
#define FRONT_END_MAX_SHIFT 22u     /* 128 << 22 and half of an int32 stay in an int32 together */

/* Kinds and FFT sizes to link, as sums of powers of two (1 << kind; 128 to 2048). A product that knows its blob defines
 * one each: the code of the others is then left out. */
#ifndef FRONT_END_KINDS
#define FRONT_END_KINDS 0xFFFFFFFFu
#endif
#ifndef FRONT_END_FFT_SIZES
#define FRONT_END_FFT_SIZES (128 + 256 + 512 + 1024 + 2048)
#endif

struct front_end_header {  /* 48 bytes */
    uint32_t magic;
    uint16_t version;
    uint16_t header_bytes; /* this and the kind's own */
    uint32_t total_bytes;  /* of the whole blob */
    uint32_t crc32;        /* IEEE 802.3 (zlib) over everything behind this field */
    uint32_t kind;
    uint32_t sample_rate_hz;
    uint32_t samples;      /* of one clip */
    uint32_t window;       /* samples of a frame */
    uint32_t hop;          /* samples from one frame to the next */
    uint32_t columns;      /* features of a frame */
    int32_t multiplier;    /* above 0 */
    uint16_t shift;
    int16_t zero_point;
};

_Static_assert(sizeof(struct front_end_header) == 48, "front_end_header is 48 bytes");

enum front_end_status {
    FRONT_END_GOOD = 0,
    FRONT_END_TOO_SHORT,      /* fewer bytes than a header, or than the header says */
    FRONT_END_MISALIGNED,     /* the blob does not start at a multiple of 4 */
    FRONT_END_NOT_A_BLOB,
    FRONT_END_OTHER_VERSION,
    FRONT_END_DAMAGED,        /* CRC-32 */
    FRONT_END_NO_SUCH_KIND,   /* none, or not linked */
    FRONT_END_BAD_SHAPE,      /* window, hop, columns ... that no front end has */
    FRONT_END_FFT_NOT_LINKED,
    FRONT_END_BAD_SCALE,      /* scale, zero point or log floor */
    FRONT_END_BAD_TABLE,      /* a table outside the blob, or what it holds outside of what it is for */
};

/* Whether a blob can be run: reads no byte at or behind `bytes`. Everything below needs a blob that passed. */
int front_end_check(const void *blob, size_t bytes);
const char *front_end_error(int status);

const char *front_end_kind(const void *blob); /* its name, such as "mfcc" */
size_t front_end_scratch_bytes(const void *blob); /* exact */
size_t front_end_samples(const void *blob);
size_t front_end_frames(const void *blob);
size_t front_end_columns(const void *blob);
size_t front_end_output_bytes(const void *blob); /* frames x columns */

/* A whole clip: front_end_samples() in, int8 (frames, columns) out. scratch: front_end_scratch_bytes(), 16-byte
 * aligned. */
void front_end_run(const void *blob, const int16_t *samples, void *scratch, int8_t *out);

/* So many frames, each a hop behind the one before, for products that stream: int8 (frames, columns) out. */
void front_end_run_frames(const void *blob, const int16_t *samples, size_t frames, void *scratch, int8_t *out);

/* What a front end does with some frames before it takes the next ones, in order: all of its code is more than a flash
 * cache holds, a stage is not. */
size_t front_end_stages(const void *blob); /* 1 to FRONT_END_MAX_STAGES */
const char *front_end_stage(const void *blob, size_t stage); /* its name, such as "fft" */

/* As front_end_run(), with a call at the beginning and behind each stage, which names the stage that comes. */
typedef void (*front_end_probe)(void *context, size_t next_stage);
void front_end_run_probed(const void *blob, const int16_t *samples, void *scratch, int8_t *out, front_end_probe probe,
                          void *context);

#endif
