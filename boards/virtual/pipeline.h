/* SPDX-License-Identifier: MIT
 * What a sequence of instructions costs on a Cortex-M4: each one's own cycles, and what neighbours do to each other.
 * Numbers in brackets are sections of the Technical Reference Manual (Arm DDI 0439).
 */
#ifndef HIL_VIRTUAL_PIPELINE_H
#define HIL_VIRTUAL_PIPELINE_H

#include "thumb.h"

/* Set `address` and clear the rest before the first instruction: nothing is known of what was before it. */
struct pipeline {
    uint32_t address;       /* of the next instruction */
    uint32_t instructions;
    uint32_t cycles;
    uint32_t misaligned;    /* wide instructions in a row that begin at an odd halfword, up to here */
    uint8_t it, condition;  /* ITSTATE, and the condition of the instruction before */
    struct thumb before;
};

/* The next instruction. What it costs more where IT does not skip it is returned, and not in `cycles`. */
uint32_t pipeline_step(struct pipeline *pipeline, const uint8_t *code);

/* What a branch to this instruction costs above any other taken branch. */
uint32_t pipeline_entry_cycles(const uint8_t *code, uint32_t address);

#endif
