/* SPDX-License-Identifier: MIT */
#ifndef HIL_FUZZ_H
#define HIL_FUZZ_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

enum { SILENCE = -1, STREAM_BYTES = 1 << 18 };

extern int16_t stream[STREAM_BYTES]; /* what comes over the wire: bytes, or SILENCE */
extern size_t stream_end;
extern jmp_buf stream_over;          /* where the firmware leaves for when all of it was read */

void stream_begin(void);

#endif
