/* SPDX-License-Identifier: MIT
 * What one Thumb-2 instruction costs on a Cortex-M4 (Arm DDI 0439, tables 3-1 and 7-1). Divides are data dependent (2 to 12); 8 here, as in the fit that gave the cache
 * penalties in board.toml: change one and the others no longer hold.
 */
#ifndef HIL_VIRTUAL_THUMB_H
#define HIL_VIRTUAL_THUMB_H

#include <stdbool.h>
#include <stdint.h>

struct thumb {
    uint8_t bytes;    /* 2 or 4 */
    uint8_t cycles;   /* when not skipped by IT */
    bool single;      /* a single or double load or store: a load right behind it is a cycle cheaper */
    uint8_t it_count; /* IT: how many instructions it makes conditional */
};

/* behind: the instruction before was a single or double load or store. */
struct thumb thumb_decode(const uint8_t *code, bool behind);

#endif
