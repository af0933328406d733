/* SPDX-License-Identifier: MIT
 * Unicorn calls timing_on_block() before each basic block. While it counts, loads from flash find their page
 * mapped to a shadow, a peripheral that reads flash and touches the data cache, and fetches find flash itself:
 * a callback on memory would have Unicorn take its slow path for every access and find the PC for each.
 * The machine is only ever stopped there, between two blocks: elsewhere Unicorn leaves a block right behind a
 * memory access and executes that instruction again later, which would send a byte twice.
 * A block is decoded once; entering it adds its instructions and cycles and touches the instruction cache.
 * Reading the counter in the middle of a block decodes that block's beginning.
 * Nothing is carried from one block to the next: the first ends in a branch, which no rule of pipeline.c concerns.
 * Where it ends without one (at a page's end, before a register of the system is written) a pair is missed.
 */
#include "timing.h"

#include "cache.h"
#include "pipeline.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NOTED_MISSES = 512, NO_BLOCK = 0, NOT_KNOWN = 1, FIRST_BLOCKS = 1024, MAX_SITES = 16384 };
enum { MAX_BLOCK_BYTES = 4096 }; /* Unicorn ends a block at the end of a page */

struct block {
    uint32_t bytes;
    uint32_t instructions;
    uint32_t cycles;
    uint32_t entry_cycles;       /* more, where a taken branch leads here */
};

struct timing {
    struct timing_config config;
    struct timing_counts counts;
    struct cache icache, dcache;
    atomic_int stop_soon;
    uint32_t *block_of;          /* by halfword of flash: index into blocks, NO_BLOCK where not yet decoded */
    struct block *blocks;
    uint32_t blocks_used, blocks_room;
    bool counting;
    struct timing_site *sites;
    uint32_t sites_used, sites_given;
    bool sites_lost; /* more than the table takes: from then on counts would be too low */
    struct block current;        /* being executed */
    uint32_t current_pc;
    uint32_t next_pc;            /* where the block before ended; NOT_KNOWN before the first one */
    uint32_t misses_noted;       /* instruction misses of the current block, by address */
    uint32_t missed[MAX_NOTED_MISSES];
    bool missed_line[MAX_NOTED_MISSES];
};

static void note_miss(struct timing *timing, uint32_t address, bool line)
{
    if (timing->misses_noted < MAX_NOTED_MISSES) {
        timing->missed[timing->misses_noted] = address;
        timing->missed_line[timing->misses_noted++] = line;
    }
}

static void fetch(struct timing *timing, uint32_t address, uint32_t bytes)
{
    uint32_t base = timing->config.flash_base, sector = timing->config.sector_bytes;
    uint32_t end = address + bytes;
    timing->misses_noted = 0;
    if (address - base >= timing->config.flash_bytes)
        return;
    for (uint32_t at = address & ~(sector - 1); at < end; at += sector) {
        int missed = cache_touch(&timing->icache, at - base);
        if (missed == 0)
            continue;
        timing->counts.icache_sector_misses += 1;
        timing->counts.icache_line_misses += missed == 2;
        note_miss(timing, at, missed == 2);
    }
}

/* ---- blocks ---- */

/* The alias of flash at 0 and of SRAM2 at 0x10000000 are left out: no image of ours is linked there. */
static const uint8_t *code_at(const struct timing *timing, uint32_t address, uint32_t *room)
{
    const struct timing_config *config = &timing->config;
    uint32_t offset = address - config->flash_base;
    if (offset < config->flash_bytes) {
        *room = config->flash_bytes - offset;
        return config->flash + offset;
    }
    offset = address - config->ram_base;
    *room = offset < config->ram_bytes ? config->ram_bytes - offset : 0;
    return *room ? config->ram + offset : NULL;
}

static struct block decode_code(const uint8_t *code, uint32_t address, uint32_t bytes)
{
    struct pipeline pipeline = {.address = address};
    struct block block = {.bytes = bytes};
    if (bytes != 0)
        block.entry_cycles = pipeline_entry_cycles(code, address);
    while (pipeline.address - address < bytes)
        pipeline_step(&pipeline, code + (pipeline.address - address));
    block.instructions = pipeline.instructions;
    block.cycles = pipeline.cycles;
    return block;
}

void timing_decode(const uint8_t *code, uint32_t address, uint32_t bytes, uint32_t *instructions, uint32_t *cycles)
{
    struct block block = decode_code(code, address, bytes);
    *instructions = block.instructions;
    *cycles = block.cycles;
}

static struct block decode(const struct timing *timing, uint32_t address, uint32_t bytes)
{
    uint32_t room;
    const uint8_t *code = code_at(timing, address, &room);
    return code != NULL && bytes <= room ? decode_code(code, address, bytes) : (struct block){.bytes = bytes};
}

static uint32_t new_block(struct timing *timing, struct block block)
{
    if (timing->blocks_used == timing->blocks_room) {
        uint32_t room = 2 * timing->blocks_room;
        struct block *larger = realloc(timing->blocks, room * sizeof *larger);
        if (larger == NULL)
            return NO_BLOCK;
        timing->blocks = larger;
        timing->blocks_room = room;
    }
    timing->blocks[timing->blocks_used] = block;
    return timing->blocks_used++;
}

static void add_site(struct timing *timing, uint32_t address, uint32_t extra)
{
    for (uint32_t i = 0; i < timing->sites_used; ++i)
        if (timing->sites[i].address == address)
            return;
    if (timing->sites_used == MAX_SITES) {
        timing->sites_lost = true;
        return;
    }
    timing->sites[timing->sites_used++] = (struct timing_site){timing, address, extra};
}

static void find_sites(struct timing *timing, uint32_t address, uint32_t bytes)
{
    uint32_t room;
    struct pipeline pipeline = {.address = address};
    const uint8_t *code = code_at(timing, address, &room);
    while (code != NULL && bytes <= room && pipeline.address - address < bytes) {
        uint32_t at = pipeline.address;
        uint32_t extra = pipeline_step(&pipeline, code + (at - address));
        if (extra != 0)
            add_site(timing, at, extra);
    }
}

uint32_t timing_new_sites(struct timing *timing, struct timing_site **sites)
{
    if (timing->sites_lost)
        return TIMING_SITES_LOST;
    uint32_t found = timing->sites_used - timing->sites_given;
    *sites = timing->sites + timing->sites_given;
    timing->sites_given = timing->sites_used;
    return found;
}

/* Code in RAM is decoded on every entry: it may have changed, and little of ours runs there. */
static struct block block_at(struct timing *timing, uint32_t address, uint32_t bytes)
{
    uint32_t offset = address - timing->config.flash_base;
    if (offset >= timing->config.flash_bytes)
        return decode(timing, address, bytes);
    uint32_t index = timing->block_of[offset / 2];
    if (index != NO_BLOCK && timing->blocks[index].bytes == bytes)
        return timing->blocks[index];
    struct block block = decode(timing, address, bytes);
    timing->block_of[offset / 2] = new_block(timing, block);
    find_sites(timing, address, bytes);
    return block;
}

void timing_on_block(void *engine, uint64_t address64, uint32_t size, void *user)
{
    struct timing *timing = user;
    uint32_t address = (uint32_t)address64;
    if (atomic_load_explicit(&timing->stop_soon, memory_order_relaxed)) {
        timing->config.emu_stop(engine); /* this block is not executed now: it is counted when it comes back */
        return;
    }
    if (!timing->counting)
        return;
    struct block block = block_at(timing, address, size);
    if (timing->sites_used != timing->sites_given || timing->sites_lost) {
        timing->config.emu_stop(engine);
        return;
    }
    timing->current = block;
    timing->current_pc = address;
    timing->counts.instructions += timing->current.instructions;
    timing->counts.base_cycles += timing->current.cycles;
    if (address != timing->next_pc && timing->next_pc != NOT_KNOWN) {
        timing->counts.taken_branches += 1;
        timing->counts.base_cycles += timing->current.entry_cycles;
    }
    timing->next_pc = address + size;
    fetch(timing, address, size);
}

/* Before such a callback Unicorn restores PC and IT state of that instruction. The running block never
 * clears the IT state again (its conditions are translated already), and the next one would begin with it. */
static void leave_it_block(const struct timing *timing, void *engine)
{
    const uint32_t it_state = 0x0600FC00;
    uint32_t epsr = 0;
    timing->config.reg_read(engine, (int)timing->config.epsr, &epsr);
    if ((epsr & it_state) == 0)
        return;
    epsr &= ~it_state;
    timing->config.reg_write(engine, (int)timing->config.epsr, &epsr);
}

uint64_t timing_read_shadow(void *engine, uint64_t offset64, unsigned size, void *user)
{
    struct timing *timing = user;
    uint32_t offset = (uint32_t)offset64;
    uint64_t value = 0;
    (void)engine;
    memcpy(&value, timing->config.flash + offset, size); /* aligned: Unicorn splits what is not */
    if (timing->counting) {
        int missed = cache_touch(&timing->dcache, offset);
        timing->counts.dcache_sector_misses += missed != 0;
        timing->counts.dcache_line_misses += missed == 2;
    }
    return value;
}

bool timing_on_fill(void *engine, uint64_t address64, int type, struct timing_page *page, void *user)
{
    enum { READ = 1, WRITE = 2, EXECUTE = 4, ON_FETCH = 18, ON_WRITE = 17 };
    struct timing *timing = user;
    const struct timing_config *config = &timing->config;
    uint32_t address = (uint32_t)address64;
    uint32_t offset = address < config->flash_bytes ? address : address - config->flash_base; /* alias at 0 */
    if (type != ON_FETCH)
        leave_it_block(timing, engine);
    *page = (struct timing_page){address, READ | WRITE | EXECUTE};
    if (offset >= config->flash_bytes)
        return address - config->shadow_base >= config->flash_bytes;
    if (type == ON_WRITE)
        page->permissions = WRITE;
    else if (!timing->counting)
        page->permissions = READ | EXECUTE;
    else if (type == ON_FETCH)
        page->permissions = EXECUTE;
    else
        *page = (struct timing_page){config->shadow_base + offset, READ};
    return true;
}

void timing_on_site(void *engine, uint64_t address, uint32_t size, void *user)
{
    struct timing_site *site = user;
    (void)engine, (void)address, (void)size;
    if (site->timing->counting)
        site->timing->counts.base_cycles += site->extra_cycles;
}

bool timing_on_peripheral(void *engine, int type, uint64_t address, int size, int64_t value, void *user)
{
    (void)type, (void)address, (void)size, (void)value;
    leave_it_block(user, engine);
    return true;
}

bool timing_on_flash_write(void *engine, int type, uint64_t address, int size, int64_t value, void *user)
{
    return !timing_on_peripheral(engine, type, address, size, value, user);
}

/* ---- the counter in the middle of a block ---- */

void timing_start(struct timing *timing)
{
    if (!timing->counting)
        timing->next_pc = NOT_KNOWN;
    timing->counting = true;
}

void timing_at(const struct timing *timing, uint32_t pc, struct timing_counts *out)
{
    *out = timing->counts;
    if (!timing->counting || pc == TIMING_BETWEEN_BLOCKS)
        return;
    uint32_t bytes = pc - timing->current_pc;
    struct block before = decode(timing, timing->current_pc, bytes < timing->current.bytes ? bytes : 0);
    out->instructions -= timing->current.instructions; /* added as a whole on entry */
    out->instructions += before.instructions;
    out->base_cycles -= timing->current.cycles;
    out->base_cycles += before.cycles;
    for (uint32_t i = 0; i < timing->misses_noted; ++i) {
        bool later = timing->missed[i] > pc;
        out->icache_sector_misses -= later;
        out->icache_line_misses -= later && timing->missed_line[i];
    }
}

void timing_end(struct timing *timing, uint32_t pc)
{
    struct timing_counts counts;
    timing_at(timing, pc, &counts);
    timing->counts = counts;
    timing->counting = false;
    timing->misses_noted = 0;
}

/* ---- life ---- */

static bool set_up(struct timing *timing)
{
    const struct timing_config *config = &timing->config;
    timing->block_of = calloc(config->flash_bytes / 2, sizeof *timing->block_of);
    timing->sites = calloc(MAX_SITES, sizeof *timing->sites);
    timing->blocks = malloc(FIRST_BLOCKS * sizeof *timing->blocks);
    timing->blocks_room = FIRST_BLOCKS;
    timing->blocks_used = NO_BLOCK + 1;
    bool caches = cache_init(&timing->icache, config->icache_lines, config->line_bytes, config->sector_bytes) &&
                  cache_init(&timing->dcache, config->dcache_lines, config->line_bytes, config->sector_bytes);
    return caches && timing->block_of != NULL && timing->blocks != NULL && timing->sites != NULL;
}

struct timing *timing_new(const struct timing_config *config)
{
    struct timing *timing = calloc(1, sizeof *timing);
    if (timing == NULL)
        return NULL;
    timing->config = *config;
    if (!set_up(timing)) {
        timing_free(timing);
        return NULL;
    }
    return timing;
}

void timing_free(struct timing *timing)
{
    free(timing->block_of);
    free(timing->blocks);
    free(timing->sites);
    free(timing);
}

uint32_t timing_counts_bytes(void) { return sizeof(struct timing_counts); }

uint32_t timing_config_bytes(void) { return sizeof(struct timing_config); }

void timing_stop_soon(struct timing *timing) { atomic_store(&timing->stop_soon, 1); }

void timing_resume(struct timing *timing) { atomic_store(&timing->stop_soon, 0); }

void timing_caches(struct timing *timing, uint32_t icache_on, uint32_t dcache_on)
{
    timing->icache.on = icache_on != 0;
    timing->dcache.on = dcache_on != 0;
}

void timing_forget(struct timing *timing, uint32_t offset, uint32_t bytes)
{
    uint32_t first = offset < MAX_BLOCK_BYTES ? 0 : offset - MAX_BLOCK_BYTES;
    memset(timing->block_of + first / 2, 0, (offset + bytes - first) / 2 * sizeof *timing->block_of);
    cache_clear(&timing->icache);
    cache_clear(&timing->dcache);
}
