/* SPDX-License-Identifier: MIT
 * Encodings: Armv7-M Architecture Reference Manual (DDI 0403E), chapters A5 and A6.
 */
#include "thumb.h"

enum { DIVIDE_CYCLES = 8, FP_DIVIDE_CYCLES = 14, FP_MULTIPLY_ADD_CYCLES = 3, PC = 15 };

static struct thumb plain(void) { return (struct thumb){.cycles = 1}; }

static struct thumb store(void) { return (struct thumb){.cycles = 1, .single = true}; }

static struct thumb load(bool behind) { return (struct thumb){.cycles = behind ? 1 : 2, .single = true}; }

static struct thumb twice(bool behind) /* LDRD, STRD */
{
    return (struct thumb){.cycles = behind ? 2 : 3, .single = true};
}

static struct thumb multiple(uint32_t words) { return (struct thumb){.cycles = (uint8_t)(1 + words)}; }

static uint32_t ones(uint32_t value) { return (uint32_t)__builtin_popcount(value); }

/* A5.2.5: PUSH, POP, IT; CBZ, CPS, extensions and hints, 1011 xxxx. */
static struct thumb miscellaneous16(uint32_t h)
{
    if ((h & 0xFE00) == 0xB400 || (h & 0xFE00) == 0xBC00)
        return multiple(ones(h & 0x1FF)); /* PUSH, POP */
    if ((h & 0xFF00) == 0xBF00 && (h & 0xF) != 0) {
        struct thumb it = plain();
        it.it_count = (uint8_t)(4 - __builtin_ctz(h & 0xF));
        return it;
    }
    return plain();
}

/* A5.2.4: single loads and stores by register, 0101 xxx. */
static struct thumb register_offset16(uint32_t h, bool behind)
{
    uint32_t operation = (h >> 9) & 7;
    return operation < 3 ? store() : load(behind);
}

static struct thumb decode16(uint32_t h, bool behind)
{
    switch (h >> 12) {
    case 0x4:
        return (h & 0x0800) ? load(behind) : plain(); /* LDR literal */
    case 0x5:
        return register_offset16(h, behind);
    case 0x6: case 0x7: case 0x8: case 0x9:
        return (h & 0x0800) ? load(behind) : store();
    case 0xB:
        return miscellaneous16(h);
    case 0xC: /* STM, LDM */
        return multiple(ones(h & 0xFF));
    default:
        return plain();
    }
}

/* A5.3.6: LDRD, STRD, exclusives and table branches, 1110 100x x1xx. */
static struct thumb double_or_exclusive(uint32_t h, uint32_t l, bool behind)
{
    bool writes_back_or_indexed = (h & 0x0120) != 0;
    if (writes_back_or_indexed)
        return twice(behind);
    bool table = (h & 0x00F0) == 0x00D0 && (l & 0x00E0) == 0; /* TBB, TBH: counted as branches in the fit */
    if (table)
        return plain();
    return (h & 0x10) ? load(behind) : store();
}

/* A6.6: 1110 110x xxxx ... 101x, loads, stores and moves of two registers. */
static struct thumb fp_memory(uint32_t h, uint32_t l)
{
    if ((h & 0xFFE0) == 0xEC40)
        return plain(); /* VMOV between two core registers and a double */
    bool one = (h & 0x0120) == 0x0100;
    return one ? (struct thumb){.cycles = 2} : multiple(l & 0xFF); /* the immediate counts words */
}

/* A6.4: floating-point data processing, 1110 1110 ... xxx0. */
static struct thumb fp_data(uint32_t h, uint32_t l)
{
    uint32_t operation = ((h >> 4) & 0xB);
    bool square_root = operation == 0xB && (h & 0xF) == 1 && (l & 0xC0) == 0xC0;
    struct thumb result = plain();
    if (operation == 0x8 || square_root)
        result.cycles = FP_DIVIDE_CYCLES;
    else if (operation == 0x0 || operation == 0x1 || operation == 0x9 || operation == 0xA)
        result.cycles = FP_MULTIPLY_ADD_CYCLES;
    return result;
}

static struct thumb coprocessor(uint32_t h, uint32_t l)
{
    bool floating = (l & 0x0E00) == 0x0A00;
    if (!floating)
        return plain();
    if ((h & 0xFE00) == 0xEC00)
        return fp_memory(h, l);
    return (h & 0xFF00) == 0xEE00 && (l & 0x10) == 0 ? fp_data(h, l) : plain();
}

static struct thumb single32(uint32_t h, uint32_t l, bool behind) /* A5.3.7 to A5.3.10 */
{
    if ((h & 0x10) == 0)
        return store();
    bool to_pc = (l >> 12) == PC;
    bool word = (h & 0x60) == 0x40;
    if (to_pc && !word)
        return plain(); /* PLD, PLI and unallocated hints */
    return load(behind);
}

static struct thumb decode32(uint32_t h, uint32_t l, bool behind)
{
    if ((h & 0xFE40) == 0xE800)
        return multiple(ones(l)); /* LDM, STM, PUSH.W, POP.W */
    if ((h & 0xFE40) == 0xE840)
        return double_or_exclusive(h, l, behind);
    if ((h & 0xEC00) == 0xEC00)
        return coprocessor(h, l);
    if ((h & 0xFE00) == 0xF800)
        return single32(h, l, behind);
    bool divide = ((h & 0xFFF0) == 0xFB90 || (h & 0xFFF0) == 0xFBB0) && (l & 0xF0) == 0xF0;
    if (divide)
        return (struct thumb){.cycles = DIVIDE_CYCLES};
    return plain();
}

struct thumb thumb_decode(const uint8_t *code, bool behind)
{
    uint32_t h = (uint32_t)(code[0] | code[1] << 8);
    bool wide = (h >> 11) >= 0x1D;
    struct thumb result = wide ? decode32(h, (uint32_t)(code[2] | code[3] << 8), behind) : decode16(h, behind);
    result.bytes = wide ? 4 : 2;
    return result;
}
