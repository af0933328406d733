/* SPDX-License-Identifier: MIT
 * The floating-point unit's instructions (DDI 0403E, A6.4 to A6.7; costs: DDI 0439, table 7-1).
 */
#include "thumb.h"

enum { DIVIDE_CYCLES = 14, MULTIPLY_ADD_CYCLES = 3, TWO_REGISTERS_CYCLES = 2 };

static uint16_t core(uint32_t number) { return number == 15 ? 0 : (uint16_t)(1u << number); }

/* Single-precision registers by their fields: four bits and one below them. */
static uint32_t single_d(uint32_t h, uint32_t l) { return 1u << ((l >> 12 << 1) | ((h >> 6) & 1)); }

static uint32_t single_n(uint32_t h, uint32_t l) { return 1u << (((h & 0xF) << 1) | ((l >> 7) & 1)); }

static uint32_t single_m(uint32_t l) { return 1u << (((l & 0xF) << 1) | ((l >> 5) & 1)); }

static bool is_double(uint32_t l) { return (l & 0x0100) != 0; }

/* `words` registers from the one in field D on; those of doubles lie in pairs. */
static uint32_t list(uint32_t h, uint32_t l, uint32_t words)
{
    uint32_t first = is_double(l) ? l >> 12 << 1 : (l >> 12 << 1) | ((h >> 6) & 1);
    uint64_t ones = (UINT64_C(1) << (words < 32 ? words : 32)) - 1;
    return (uint32_t)(ones << first);
}

/* VMOV between two core registers and a double or two singles. */
static struct thumb move_two(uint32_t h, uint32_t l)
{
    struct thumb result = {.cycles = TWO_REGISTERS_CYCLES};
    if ((h & 0x10) == 0)
        return result;
    result.made = core(l >> 12) | core(h & 0xF);
    result.float_consumed = is_double(l) ? 3u << ((l & 0xF) << 1) : single_m(l) | single_m(l) << 1;
    return result;
}

/* A6.5, A6.7: 1110 110x xxxx, loads, stores and moves of two registers. */
static struct thumb access(uint32_t h, uint32_t l)
{
    if ((h & 0xFFE0) == 0xEC40)
        return move_two(h, l);
    bool one = (h & 0x0120) == 0x0100, loads = (h & 0x10) != 0;
    uint32_t words = !one ? l & 0xFF : is_double(l) ? 2 : 1;
    struct thumb result = {.kind = THUMB_MULTIPLE, .cycles = (uint8_t)(1 + words), .address = core(h & 0xF)};
    if (!loads)
        result.float_consumed = list(h, l, words);
    if (one && words == 1) {
        result.kind = loads ? THUMB_LOAD : THUMB_STORE;
        result.cycles = loads ? 2 : 1; /* table 7-1 has 2 for both: a store's second is seen where it cannot overlap */
        result.single_float = true;
    }
    return result;
}

/* A6.4, opcode 1x11: moves, conversions, compares and the square root. */
static struct thumb one_operand(uint32_t h, uint32_t l)
{
    struct thumb result = {.cycles = 1};
    uint32_t operation = h & 0xF;
    bool immediate = (l & 0x40) == 0, top = (l & 0x80) != 0;
    if (immediate)
        return result;
    bool compare = operation == 4 || operation == 5;
    bool in_place = (operation & 0xA) == 0xA; /* VCVT of fixed point */
    bool copy = operation == 0 || (operation == 1 && !top); /* VMOV, VABS, VNEG: no arithmetic (7.2.2) */
    if (operation != 5 && !in_place)
        result.float_consumed = single_m(l);
    if (compare || in_place)
        result.float_consumed |= single_d(h, l);
    if (!compare && !copy)
        result.float_made = single_d(h, l);
    if (operation == 1 && top)
        result.cycles = DIVIDE_CYCLES; /* VSQRT */
    return result;
}

/* A6.4: 1110 1110 xxxx with bit 4 of the second halfword clear. */
static struct thumb arithmetic(uint32_t h, uint32_t l)
{
    uint32_t operation = (h >> 4) & 0xB;
    if (operation == 0xB)
        return one_operand(h, l);
    struct thumb result = {.cycles = 1, .float_made = single_d(h, l)};
    result.float_consumed = single_n(h, l) | single_m(l);
    if (operation == 0x8)
        result.cycles = DIVIDE_CYCLES;
    else if (operation != 0x2 && operation != 0x3) /* neither VMUL nor VADD */
        result.cycles = MULTIPLY_ADD_CYCLES;
    return result;
}

/* A6.6: VMOV between a core register and a single, VMRS, VMSR. */
static struct thumb move_one(uint32_t h, uint32_t l)
{
    struct thumb result = {.cycles = 1};
    bool to_core = (h & 0x10) != 0, system_register = (h & 0xE0) == 0xE0;
    if (to_core)
        result.made = core(l >> 12);
    if (to_core && !system_register)
        result.float_consumed = single_n(h, l);
    return result;
}

struct thumb thumb_decode_float(uint32_t h, uint32_t l)
{
    bool floating = (l & 0x0E00) == 0x0A00;
    if (!floating)
        return (struct thumb){.cycles = 1, .made = core((l >> 8) & 0xF)}; /* none on this core */
    if ((h & 0xFE00) == 0xEC00)
        return access(h, l);
    if ((h & 0xFF00) != 0xEE00)
        return (struct thumb){.cycles = 1};
    return (l & 0x10) == 0 ? arithmetic(h, l) : move_one(h, l);
}
