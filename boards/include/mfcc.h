/* SPDX-License-Identifier: MIT
 * The front end: 16-bit audio to the int8 MFCC tensor that the network reads, the same bits on every machine.
 * This one source is compiled into the firmware and into the host library that Python calls.
 *
 * What is computed stands in a blob ("HMFC", little-endian, at least 4-byte aligned) that is uploaded, stored in
 * flash or linked into a product; its only writer is hil_nas/audio/tables.py, the two change together:
 *
 *   [struct mfcc_header][float window][uint16 starts][float weights][uint16 order][float dct]     each 16-byte aligned
 *
 * Frame i is samples[i*hop .. i*hop + window), zero-padded to fft_size. Per frame: periodic Hann window (which also
 * divides by 32768), power spectrum, triangular mel filters, ln(energy + log_floor), DCT-II, int8.
 */
#ifndef HIL_MFCC_H
#define HIL_MFCC_H

#include <stddef.h>
#include <stdint.h>

#define MFCC_MAGIC 0x43464D48u /* "HMFC" */
#define MFCC_VERSION 1u
#define MFCC_ALIGNMENT 16u     /* of the scratch memory */
#define MFCC_MAX_FFT 2048u
#define MFCC_MAX_MEL 128u
#define MFCC_MAX_SAMPLES 0x1000000u

/* FFT sizes to link, as a sum of powers of two (128 to 2048). A product that knows its blob defines one: the
 * twiddle tables of the others, up to 30 KB of flash, are then left out. */
#ifndef MFCC_FFT_SIZES
#define MFCC_FFT_SIZES (128 + 256 + 512 + 1024 + 2048)
#endif

struct mfcc_header {           /* 80 bytes */
    uint32_t magic;
    uint16_t version;
    uint16_t header_bytes;     /* sizeof(struct mfcc_header) */
    uint32_t total_bytes;      /* of the whole blob */
    uint32_t crc32;            /* IEEE 802.3 (zlib) over everything behind this field */
    uint32_t samples;          /* of one clip */
    uint32_t window;           /* samples of a frame */
    uint32_t hop;              /* samples from one frame to the next */
    uint32_t fft_size;         /* a power of two, at least window */
    uint32_t mel_bins;
    uint32_t coefficients;     /* at most mel_bins */
    float inverse_scale;       /* int8 = round(coefficient * inverse_scale) + zero_point */
    int32_t zero_point;
    float log_floor;           /* added to each mel energy */
    uint32_t window_data;      /* offsets from the start of the blob */
    uint32_t starts_data;
    uint32_t weights_data;
    uint32_t order_data;
    uint32_t dct_data;
    uint32_t reserved[2];      /* 0 */
};

_Static_assert(sizeof(struct mfcc_header) == 80, "mfcc_header is 80 bytes");

enum mfcc_status {
    MFCC_GOOD = 0,
    MFCC_TOO_SHORT,     /* fewer bytes than a header, or than the header says */
    MFCC_MISALIGNED,    /* the blob does not start at a multiple of 4 */
    MFCC_NOT_A_BLOB,
    MFCC_OTHER_VERSION,
    MFCC_DAMAGED,       /* CRC-32 */
    MFCC_BAD_SHAPE,     /* window, hop, mel bins ... that no front end has */
    MFCC_FFT_NOT_LINKED,
    MFCC_BAD_SCALE,     /* scale, zero point or log floor */
    MFCC_BAD_TABLE,     /* a table outside the blob, or filters outside the spectrum */
};

/* Whether a blob can be run: reads no byte at or behind `bytes`. Everything below needs a blob that passed. */
int mfcc_check(const void *blob, size_t bytes);
const char *mfcc_error(int status);

size_t mfcc_scratch_bytes(const void *blob); /* exact */
size_t mfcc_samples(const void *blob);
size_t mfcc_frames(const void *blob);
size_t mfcc_coefficients(const void *blob);
size_t mfcc_output_bytes(const void *blob);  /* frames x coefficients */

/* A whole clip: mfcc_samples() in, int8 (frames, coefficients) out. scratch: mfcc_scratch_bytes(), 16-byte aligned. */
void mfcc_run(const void *blob, const int16_t *samples, void *scratch, int8_t *out);

/* Two frames of `window` samples, for products that stream. A frame is independent of its partner up to float32's
 * rounding (some 1e-7 of the louder frame), so a coefficient that lies on the edge between two int8 values may fall to
 * either side when the partner changes; for one frame alone name it twice, as mfcc_run() does with an odd last one. */
void mfcc_pair(const void *blob, const int16_t *a, const int16_t *b, void *scratch, int8_t *out_a, int8_t *out_b);

#endif
