/* SPDX-License-Identifier: MIT
 * Cycle counting for a Cortex-M4 behind the flash caches of an STM32L4+, as Unicorn callbacks.
 */
#ifndef HIL_VIRTUAL_TIMING_H
#define HIL_VIRTUAL_TIMING_H

#include <stdint.h>

/* What timing.py reads. Its ctypes mirror is checked against timing_counts_bytes(). */
struct timing_counts {
    uint64_t instructions;
    uint64_t base_cycles;          /* pipeline.h: no cache, no branch but that to a misaligned wide instruction */
    uint64_t taken_branches;       /* block entries that do not follow the previous block in memory */
    uint64_t icache_sector_misses;
    uint64_t icache_line_misses;
    uint64_t dcache_sector_misses;
    uint64_t dcache_line_misses;
};

struct timing_config {
    int (*emu_stop)(void *engine); /* uc_emu_stop, uc_reg_read, uc_reg_write */
    int (*reg_read)(void *engine, int id, void *value);
    int (*reg_write)(void *engine, int id, const void *value);
    const uint8_t *flash;
    const uint8_t *ram;
    uint32_t flash_base, flash_bytes;
    uint32_t ram_base, ram_bytes;
    uint32_t icache_lines, dcache_lines, line_bytes, sector_bytes;
    uint32_t epsr;                 /* UC_ARM_REG_EPSR */
    uint32_t shadow_base;          /* where the machine has mapped timing_read_shadow(), flash_bytes long */
};

/* An instruction inside an IT block that costs more than one cycle when it is not skipped. It is found when
 * its block is first counted: the machine then stops, has it watched by timing_on_site(), and goes on.
 */
struct timing_site {
    struct timing *timing;
    uint32_t address;
    uint32_t extra_cycles;
};

struct timing_page { /* uc_tlb_entry */
    uint64_t physical;
    int permissions;
};

struct timing *timing_new(const struct timing_config *config); /* NULL: geometry not supported, or no memory */
void timing_free(struct timing *timing);
uint32_t timing_counts_bytes(void);
uint32_t timing_config_bytes(void);

/* Decoding alone: instructions and cycles of `bytes` of straight-line code at `address`, what IT covers skipped. */
void timing_decode(const uint8_t *code, uint32_t address, uint32_t bytes, uint32_t *instructions, uint32_t *cycles);
#define TIMING_SITES_LOST 0xFFFFFFFFu
uint32_t timing_new_sites(struct timing *timing, struct timing_site **sites); /* found since the last call, or LOST */

void timing_start(struct timing *timing);            /* count from the next block on */
void timing_end(struct timing *timing, uint32_t pc); /* count no further than the instruction at pc */
#define TIMING_BETWEEN_BLOCKS UINT32_MAX
void timing_at(const struct timing *timing, uint32_t pc, struct timing_counts *out); /* as `pc` executes */

void timing_stop_soon(struct timing *timing); /* from any thread: stop before the next block */
void timing_resume(struct timing *timing);
void timing_caches(struct timing *timing, uint32_t icache_on, uint32_t dcache_on);
void timing_forget(struct timing *timing, uint32_t offset, uint32_t bytes); /* this part of flash has changed */

/* Unicorn callbacks: UC_HOOK_BLOCK, UC_HOOK_CODE on a site, UC_HOOK_TLB_FILL, and the reads of the shadow. */
void timing_on_block(void *engine, uint64_t address, uint32_t size, void *timing);
void timing_on_site(void *engine, uint64_t address, uint32_t size, void *site);
_Bool timing_on_fill(void *engine, uint64_t address, int type, struct timing_page *page, void *timing);
uint64_t timing_read_shadow(void *engine, uint64_t offset, unsigned size, void *timing);
/* UC_HOOK_MEM_*_PROT on the peripherals: lets the access pass; its side effect is an exact PC. */
_Bool timing_on_peripheral(void *engine, int type, uint64_t address, int size, int64_t value, void *timing);
/* UC_HOOK_MEM_WRITE_PROT on flash: leaves the access to the next callback. */
_Bool timing_on_flash_write(void *engine, int type, uint64_t address, int size, int64_t value, void *timing);

#endif
