/* SPDX-License-Identifier: MIT */
#include "thumb.h"

enum { SP = 13, PC = 15, DIVIDE_CYCLES = 8, LOAD_CYCLES = 2, STORE_CYCLES = 1, DOUBLE_CYCLES = 3 };
/* "At least six cycles" for TBB and "at least five" for LDR PC (DDI 0439, 3.3.3), less the two of the taken branch. */
enum { TABLE_CYCLES = 4, LOAD_PC_CYCLES = 3 };

static uint16_t bit(uint32_t number) { return (uint16_t)(1u << number); }

/* The program counter is left out: a compare has it as its destination, a literal as its base. */
static uint16_t core(uint32_t number) { return number == PC ? 0 : bit(number); }

static struct thumb other(uint16_t made) { return (struct thumb){.cycles = 1, .made = made}; }

static struct thumb load(uint32_t to, uint16_t address)
{
    return (struct thumb){.cycles = LOAD_CYCLES, .kind = THUMB_LOAD, .made = core(to), .address = address};
}

static struct thumb store(uint16_t address, bool writes_back, bool register_offset)
{
    return (struct thumb){
        .cycles = STORE_CYCLES,
        .kind = THUMB_STORE,
        .made = writes_back ? address : 0,
        .address = address,
        .register_offset = register_offset,
    };
}

static struct thumb multiple(uint32_t words, uint32_t base)
{
    uint8_t cycles = (uint8_t)(1 + words);
    return (struct thumb){.cycles = cycles, .kind = THUMB_MULTIPLE, .address = core(base)};
}

static uint32_t ones(uint32_t value) { return (uint32_t)__builtin_popcount(value); }

/* ---- 16 bits ---- */

/* A5.2.1, A5.2.2: shifts, adds, moves and compares, with an immediate or of low registers. */
static struct thumb arithmetic16(uint32_t h)
{
    bool compare = (h & 0xF800) == 0x2800 || (h & 0xFFC0) == 0x4200 || (h & 0xFF80) == 0x4280;
    if (compare) /* CMP immediate, TST, CMP, CMN */
        return other(0);
    return other(bit((h & 0xE000) == 0x2000 ? (h >> 8) & 7 : h & 7));
}

/* A5.2.3: ADD, CMP, MOV of high registers; BX, BLX. */
static struct thumb special16(uint32_t h)
{
    bool writes = (h & 0xFF00) == 0x4400 || (h & 0xFF00) == 0x4600;
    return other(writes ? core((h & 7) | ((h >> 4) & 8)) : 0);
}

/* A5.2.5: 1011 xxxx. */
static struct thumb miscellaneous16(uint32_t h)
{
    if ((h & 0xFE00) == 0xB400 || (h & 0xFE00) == 0xBC00)
        return multiple(ones(h & 0x1FF), SP); /* PUSH, POP */
    struct thumb result = other(0);
    if ((h & 0xFF00) == 0xB000)
        result.made = bit(SP); /* ADD, SUB */
    else if ((h & 0xFF00) == 0xB200 || (h & 0xFF00) == 0xBA00)
        result.made = bit(h & 7); /* SXTH and kin, REV and kin */
    else if ((h & 0xFF00) == 0xBF00 && (h & 0xF) != 0)
        result.it = (uint8_t)h;
    return result;
}

/* A5.2.4: 0101 to 1001; the base is a low register but in 1001, where it is SP. */
static struct thumb access16(uint32_t h)
{
    bool by_register = (h >> 12) == 5, on_stack = (h >> 12) == 9;
    uint16_t address = on_stack ? bit(SP) : bit((h >> 3) & 7);
    if (by_register)
        address |= bit((h >> 6) & 7);
    bool stores = by_register ? ((h >> 9) & 7) < 3 : (h & 0x0800) == 0;
    return stores ? store(address, false, by_register) : load(on_stack ? (h >> 8) & 7 : h & 7, address);
}

static struct thumb decode16(uint32_t h)
{
    switch (h >> 12) {
    case 0x0: case 0x1: case 0x2: case 0x3:
        return arithmetic16(h);
    case 0x4:
        if (h & 0x0800)
            return load((h >> 8) & 7, 0); /* literal */
        return h & 0x0400 ? special16(h) : arithmetic16(h);
    case 0x5: case 0x6: case 0x7: case 0x8: case 0x9:
        return access16(h);
    case 0xA:
        return other(bit((h >> 8) & 7)); /* ADR, ADD of SP */
    case 0xB:
        return miscellaneous16(h);
    case 0xC:
        return multiple(ones(h & 0xFF), (h >> 8) & 7); /* STM, LDM */
    default:
        return other(0); /* branches */
    }
}

/* ---- 32 bits ---- */

/* A5.3.6: LDRD, STRD, exclusives and table branches, 1110 100x x1xx. */
static struct thumb double_or_exclusive(uint32_t h, uint32_t l)
{
    bool writes_back_or_indexed = (h & 0x0120) != 0;
    struct thumb both = {.cycles = DOUBLE_CYCLES, .kind = THUMB_MULTIPLE, .address = core(h & 0xF)};
    if (writes_back_or_indexed)
        return both;
    bool table = (h & 0x00F0) == 0x00D0 && (l & 0x00E0) == 0;
    if (table) {
        both.cycles = TABLE_CYCLES;
        both.address |= core(l & 0xF);
        return both;
    }
    return (h & 0x10) ? load(l >> 12, core(h & 0xF)) : store(core(h & 0xF), false, false);
}

/* A5.3.7 to A5.3.10: 1111 100x xxxx. */
static struct thumb single32(uint32_t h, uint32_t l)
{
    bool literal = (h & 0xF) == PC, long_immediate = (h & 0x80) != 0;
    bool by_register = !literal && !long_immediate && (l & 0x0800) == 0;
    bool writes_back = !literal && !long_immediate && (l & 0x0900) == 0x0900;
    uint16_t address = core(h & 0xF);
    if ((h & 0x10) == 0)
        return store(by_register ? address | core(l & 0xF) : address, writes_back, by_register);
    bool to_pc = (l >> 12) == PC, word = (h & 0x60) == 0x40;
    if (to_pc && !word)
        return other(0); /* PLD, PLI and unallocated hints */
    struct thumb result = load(l >> 12, by_register ? address | core(l & 0xF) : address);
    if (writes_back)
        result.made |= address;
    if (to_pc)
        result.cycles = LOAD_PC_CYCLES;
    return result;
}

/* A5.3.1, A5.3.3, A5.3.11 to A5.3.17: what computes has its destination in bits 11 to 8, MOVW and all. */
static struct thumb arithmetic32(uint32_t h, uint32_t l)
{
    bool control = (h & 0xF800) == 0xF000 && (l & 0x8000) != 0; /* branches, MSR, barriers; MRS makes no address here */
    if (control)
        return other(0);
    bool long_multiply = (h & 0xFF80) == 0xFB80;
    bool divide = long_multiply && ((h & 0x70) == 0x10 || (h & 0x70) == 0x30) && (l & 0xF0) == 0xF0;
    struct thumb result = other(core((l >> 8) & 0xF));
    if (divide)
        result.cycles = DIVIDE_CYCLES;
    else if (long_multiply)
        result.made |= core(l >> 12);
    return result;
}

static struct thumb decode32(uint32_t h, uint32_t l)
{
    if ((h & 0xFE40) == 0xE800)
        return multiple(ones(l), h & 0xF); /* LDM, STM, PUSH.W, POP.W */
    if ((h & 0xFE40) == 0xE840)
        return double_or_exclusive(h, l);
    if ((h & 0xEC00) == 0xEC00)
        return thumb_decode_float(h, l);
    if ((h & 0xFE00) == 0xF800)
        return single32(h, l);
    return arithmetic32(h, l);
}

struct thumb thumb_decode(const uint8_t *code)
{
    uint32_t h = (uint32_t)(code[0] | code[1] << 8);
    bool wide = (h >> 11) >= 0x1D;
    struct thumb result = wide ? decode32(h, (uint32_t)(code[2] | code[3] << 8)) : decode16(h);
    result.bytes = wide ? 4 : 2;
    return result;
}
