/* SPDX-License-Identifier: MIT */
#include "pipeline.h"

enum { NOT_SKIPPED = 0xE0 }; /* the condition "always" where ITSTATE has it */

/* Whether an instruction is wide and begins at an odd halfword: the fetch unit reads words. */
static bool misaligned(const struct thumb *now, uint32_t address) { return now->bytes == 4 && (address & 2) != 0; }

/* Neighbouring single loads and stores overlap by a cycle, "but in some cases, such as 32-bit opcodes aligned on odd
 * halfword boundaries, they might not pipeline optimally" (table 3-1). Measured, floating-point ones do not there:
 * the same loop of arm_biquad_cascade_df2T_f32 takes 66 cycles at an even and 74 at an odd halfword (timing.md).
 */
static bool overlaps(const struct thumb *now, uint32_t address)
{
    return !(now->single_float && misaligned(now, address));
}

/* "The destination of the first LDR is not used to compute the address for the next instruction" (3.3.3). A base that
 * was written back is as late: measured, loads and stores with write-back overlap only on different bases.
 */
static bool address_is_late(const struct thumb *before, const struct thumb *now)
{
    bool access = before->kind == THUMB_LOAD || before->kind == THUMB_STORE;
    return access && (before->made & now->address) != 0;
}

/* 3.3.3: a load takes two cycles, one behind a load; behind a store nothing is pipelined. */
static uint32_t load_cycles(const struct thumb *before, const struct thumb *now, uint32_t address)
{
    bool pipelined = before->kind == THUMB_LOAD && overlaps(now, address) && !address_is_late(before, now);
    return pipelined ? now->cycles - 1u : now->cycles;
}

/* 3.3.3: a store with an immediate offset takes one cycle; with a register offset two, or one behind a load. */
static uint32_t store_cycles(const struct thumb *before, const struct thumb *now, uint32_t address)
{
    bool behind_load = before->kind == THUMB_LOAD && overlaps(now, address) && !address_is_late(before, now);
    bool slow = address_is_late(before, now) || !overlaps(now, address) || (now->register_offset && !behind_load);
    return now->cycles + slow;
}

static uint32_t own_cycles(const struct thumb *before, const struct thumb *now, uint32_t address)
{
    if (now->kind == THUMB_LOAD)
        return load_cycles(before, now, address);
    if (now->kind == THUMB_STORE)
        return store_cycles(before, now, address);
    return now->cycles; /* 3.3.3: doubles and multiples pipeline with no neighbour */
}

static uint32_t stall_cycles(const struct thumb *before, const struct thumb *now)
{
    /* 3.3.3: "any load or store that generates an address dependent on the result of a preceding data processing
     * operation stalls the pipeline for an additional cycle". */
    bool address_stalls = before->kind == THUMB_OTHER && (before->made & now->address) != 0;
    /* 7.2.3: arithmetic and conversions "take one cycle longer if their result is consumed by the following
     * instruction"; the addend of a multiply-add is consumed a cycle later. */
    bool result_stalls = (before->float_made & now->float_consumed) != 0;
    return address_stalls + result_stalls;
}

/* Measured: the third of three misaligned wide instructions in a row takes a cycle more, those behind it do not
 * (https://compendium.i-0.nl, instruction alignment, on an STM32L4; on this chip, pqm4: timing.md). */
static uint32_t fetch_stall_cycles(struct pipeline *pipeline, const struct thumb *now)
{
    pipeline->misaligned = misaligned(now, pipeline->address) ? pipeline->misaligned + 1 : 0;
    return pipeline->misaligned == 3;
}

/* The instruction before as a neighbour: in an IT block, only where both execute. */
static struct thumb neighbour(const struct pipeline *pipeline, uint8_t condition)
{
    bool both_conditional = pipeline->condition != NOT_SKIPPED && condition != NOT_SKIPPED;
    return both_conditional && pipeline->condition != condition ? (struct thumb){0} : pipeline->before;
}

static void advance_it(struct pipeline *pipeline, const struct thumb *now)
{
    if (pipeline->it != 0)
        pipeline->it = pipeline->it & 7 ? (uint8_t)((pipeline->it & 0xE0) | ((pipeline->it << 1) & 0x1F)) : 0;
    else
        pipeline->it = now->it;
}

uint32_t pipeline_step(struct pipeline *pipeline, const uint8_t *code)
{
    struct thumb now = thumb_decode(code);
    uint8_t condition = pipeline->it ? pipeline->it & 0xF0 : NOT_SKIPPED;
    struct thumb before = neighbour(pipeline, condition);
    uint32_t executed = own_cycles(&before, &now, pipeline->address) + stall_cycles(&before, &now);
    uint32_t at_least = pipeline->it ? 1 : executed;
    pipeline->cycles += at_least + fetch_stall_cycles(pipeline, &now);
    pipeline->instructions += 1;
    pipeline->address += now.bytes;
    pipeline->condition = condition;
    pipeline->before = now;
    advance_it(pipeline, &now);
    return executed - at_least;
}

/* "1 to 3 [cycles for a refill] depending on the alignment and width of the target instruction" (3.3.1). */
uint32_t pipeline_entry_cycles(const uint8_t *code, uint32_t address)
{
    struct thumb first = thumb_decode(code);
    return misaligned(&first, address);
}
