/* SPDX-License-Identifier: MIT
 * What one Thumb-2 instruction is to a Cortex-M4's pipeline: its own cost, and what its neighbours need to know of it.
 * Encodings: Armv7-M Architecture Reference Manual (DDI 0403E), chapters A5 and A6.
 * Costs: Cortex-M4 Technical Reference Manual (Arm DDI 0439), tables 3-1 and 7-1. Divides are data dependent
 * (2 to 12); 8 here, as in the counts behind the penalties in board.toml: change one and the others no longer hold.
 */
#ifndef HIL_VIRTUAL_THUMB_H
#define HIL_VIRTUAL_THUMB_H

#include <stdbool.h>
#include <stdint.h>

enum thumb_kind {
    THUMB_OTHER,    /* no memory: `made` are the core registers that it computes */
    THUMB_LOAD,     /* one register: LDR and kin, VLDR of a single */
    THUMB_STORE,    /* one register: STR and kin, VSTR of a single */
    THUMB_MULTIPLE, /* two or more, or a table branch: pipelines with no neighbour */
};

struct thumb {
    uint8_t bytes;  /* 2 or 4 */
    uint8_t cycles; /* alone, where it is not skipped by IT */
    uint8_t kind;   /* enum thumb_kind */
    bool single_float;       /* VLDR, VSTR */
    bool register_offset;    /* a store */
    uint8_t it;              /* IT: the ITSTATE that it sets */
    uint16_t made;           /* core registers written, a bit each; of an access: what it loads, and a base written back */
    uint16_t address;        /* core registers that the address is made of */
    uint32_t float_made;     /* single-precision registers with a result of floating-point arithmetic */
    uint32_t float_consumed; /* and those read; the addend of a multiply-add is not among them: it is needed later */
};

struct thumb thumb_decode(const uint8_t *code);

/* thumb_float.c: 111x 11xx, what has to do with the floating-point unit. h and l: its two halfwords. */
struct thumb thumb_decode_float(uint32_t h, uint32_t l);

#endif
