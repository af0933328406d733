/* SPDX-License-Identifier: MIT
 * The store: bank 2 of the internal flash (RM0433, chapter FLASH, erase and program operations).
 *
 * It has 8 sectors of 128 KiB, two of the HAL's units each, and is programmed by flash words of 32 bytes with their
 * error correction, each once after an erase. Code goes on running from bank 1 meanwhile. What was written is read
 * back: on an emulator without a flash controller the stores simply land, and the same check holds.
 */
#include "../cortex_m/cortex_m7.h"
#include "h743.h"
#include "hal.h"

#define BIT(n) (1u << (n))
#define SECTOR_BYTES 131072u
#define WORD_BYTES 32u

#define CR_LOCK BIT(0)
#define CR_PG BIT(1)
#define CR_SER BIT(2)
#define CR_PSIZE_64 (3u << 4) /* 64 bits at a time, from 1.8 V on */
#define CR_START BIT(7)
#define CR_SNB(sector) ((sector) << 8)
#define SR_BUSY 7u            /* BSY, WBNE, QW */
#define SR_ERRORS 0x07EE0000u /* WRPERR, PGSERR, STRBERR, INCERR, OPERR, RDPERR, RDSERR, SNECCERR, DBECCERR */

_Static_assert(SECTOR_BYTES % HAL_STORE_UNIT == 0, "a unit never spans two sectors");

static bool idle(void)
{
    return wait_for(&FLASH_SR2, SR_BUSY, 0); /* FLASH: status register of bank 2 */
}

static bool begin(void)
{
    if (!idle())
        return false;
    if ((FLASH_CR2 & CR_LOCK) != 0) {
        FLASH_KEYR2 = 0x45670123u; /* FLASH: key register of bank 2 */
        FLASH_KEYR2 = 0xCDEF89ABu;
    }
    FLASH_CCR2 = SR_ERRORS; /* FLASH: clear control register of bank 2 */
    return true;
}

static void end(size_t offset, size_t bytes)
{
    FLASH_CR2 = CR_LOCK; /* FLASH: control register of bank 2 */
    cortex_m7_forget(STORE_BEGIN + offset, bytes);
}

static bool in_store(size_t offset, size_t bytes)
{
    return offset <= STORE_BYTES && bytes <= STORE_BYTES - offset;
}

static bool erase_sector(size_t offset)
{
    const uint32_t select = CR_PSIZE_64 | CR_SER | CR_SNB(offset / SECTOR_BYTES);
    FLASH_CR2 = select; /* FLASH: control register of bank 2 */
    FLASH_CR2 = select | CR_START;
    return idle() && (FLASH_SR2 & SR_ERRORS) == 0;
}

/* A sector goes with its first unit, its second is blank by then: what is stored begins at sectors and is erased from its
 * beginning on. Were it not, programming would say so. */
bool hal_store_erase(size_t offset, size_t bytes)
{
    if (!in_store(offset, bytes) || offset % HAL_STORE_UNIT != 0)
        return false;
    bool good = true;
    for (size_t at = offset; at < offset + bytes && good; at += HAL_STORE_UNIT) {
        if (at % SECTOR_BYTES != 0)
            continue;
        good = begin() && erase_sector(at);
        end(at, SECTOR_BYTES);
    }
    return good;
}

/* The flash word that programming takes at once; behind the data it is left erased. */
static void program(volatile uint32_t *to, const uint8_t *from, size_t bytes)
{
    uint8_t word[WORD_BYTES];
    for (size_t i = 0; i < WORD_BYTES; i++)
        word[i] = i < bytes ? from[i] : 0xFFu;
    for (size_t i = 0; i < WORD_BYTES; i += 4)
        to[i / 4] = (uint32_t)word[i] | (uint32_t)word[i + 1] << 8 | (uint32_t)word[i + 2] << 16 |
                    (uint32_t)word[i + 3] << 24;
    __asm volatile("dsb\n\tisb" ::: "memory"); /* all of it is on its way before the status is read */
}

static bool verified(const volatile uint8_t *written, const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (written[i] != data[i])
            return false;
    return true;
}

/* Chunks of an upload begin at multiples of 1024; within a flash word none could. */
bool hal_store_write(size_t offset, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    const uintptr_t to = STORE_BEGIN + offset;
    if (offset % WORD_BYTES != 0 || !in_store(offset, bytes) || !begin())
        return false;
    bool good = true;
    FLASH_CR2 = CR_PSIZE_64 | CR_PG; /* FLASH: control register of bank 2 */
    __asm volatile("dsb\n\tisb" ::: "memory");
    for (size_t at = 0; at < bytes && good; at += WORD_BYTES) {
        program((volatile uint32_t *)(to + at), from + at, bytes - at);
        good = idle() && (FLASH_SR2 & SR_ERRORS) == 0;
    }
    end(offset, bytes);
    return good && verified((const volatile uint8_t *)to, from, bytes);
}
