/* SPDX-License-Identifier: MIT
 * The store: bank 2 of the internal flash (RM0432, chapter 3, FLASH program and erase operations).
 *
 * As delivered the part has two banks of 1 MiB with pages of 4 KiB (option bit DBANK = 1); code goes on running from
 * bank 1 meanwhile. With DBANK = 0 it is one bank with pages of 8 KiB at the same addresses, and the core waits.
 * Both are served, no option byte is ever changed. What was written is read back: on an emulator without a flash
 * controller the stores simply land, and the same check holds.
 */
#include "hal.h"
#include "l4r5.h"

#define BIT(n) (1u << (n))
#define CR_PG BIT(0)
#define CR_PER BIT(1)
#define CR_PNB(page) ((page) << 3)
#define CR_BKER BIT(11)
#define CR_STRT BIT(16)
#define CR_LOCK BIT(31)
#define SR_ERRORS 0x3FAu /* OPERR, PROGERR, WRPERR, PGAERR, SIZERR, PGSERR, MISERR, FASTERR */
#define SR_BSY BIT(16)
#define ACR_ICEN BIT(9)
#define ACR_DCEN BIT(10)
#define ACR_ICRST BIT(11)
#define ACR_DCRST BIT(12)
#define OPTR_DBANK BIT(22)

static bool idle(void)
{
    return wait_for(&FLASH_SR, SR_BSY, 0); /* a page takes 25 ms at most, a double word 0.1 ms */
}

/* With both caches off, as ST's own driver has it: reading one bank while the other is written may spoil what the data
 * cache holds (errata of this family), and afterwards both may hold what was in bank 2 before. */
static bool begin(void)
{
    if (!idle())
        return false;
    FLASH_ACR &= ~(ACR_ICEN | ACR_DCEN); /* FLASH: access control register */
    if ((FLASH_CR & CR_LOCK) != 0) {
        FLASH_KEYR = 0x45670123u; /* FLASH: key register */
        FLASH_KEYR = 0xCDEF89ABu;
    }
    FLASH_SR = FLASH_SR & SR_ERRORS; /* FLASH: status register; writing the set bits clears them */
    return true;
}

static void end(void)
{
    FLASH_CR = CR_LOCK; /* FLASH: control register */
    FLASH_ACR |= ACR_ICRST | ACR_DCRST; /* caches can only be emptied while they are off */
    FLASH_ACR &= ~(ACR_ICRST | ACR_DCRST);
    FLASH_ACR |= ACR_ICEN | ACR_DCEN;
}

static bool in_store(size_t offset, size_t bytes)
{
    return offset <= STORE_BYTES && bytes <= STORE_BYTES - offset;
}

static bool erase_page(uint32_t select)
{
    FLASH_CR = CR_PER | select; /* FLASH: control register */
    FLASH_CR = CR_PER | select | CR_STRT;
    return idle() && (FLASH_SR & SR_ERRORS) == 0;
}

bool hal_store_erase(size_t offset, size_t bytes)
{
    const bool dual_bank = (FLASH_OPTR & OPTR_DBANK) != 0;
    const size_t page_bytes = dual_bank ? 4096u : 8192u;
    if (!in_store(offset, bytes) || offset % HAL_STORE_UNIT != 0 || !begin())
        return false;
    bool good = true;
    for (size_t at = offset; at < offset + bytes && good; at += page_bytes)
        good = erase_page(dual_bank ? CR_BKER | CR_PNB(at / page_bytes) : CR_PNB((STORE_BYTES + at) / page_bytes));
    end();
    return good;
}

/* The double word that programming takes at once; behind the data it is left erased. */
static void program(volatile uint32_t *to, const uint8_t *from, size_t bytes)
{
    uint8_t word[8];
    for (size_t i = 0; i < sizeof word; i++)
        word[i] = i < bytes ? from[i] : 0xFFu;
    to[0] = (uint32_t)word[0] | (uint32_t)word[1] << 8 | (uint32_t)word[2] << 16 | (uint32_t)word[3] << 24;
    __asm volatile("isb" ::: "memory"); /* the two halves in this order */
    to[1] = (uint32_t)word[4] | (uint32_t)word[5] << 8 | (uint32_t)word[6] << 16 | (uint32_t)word[7] << 24;
}

static bool verified(const volatile uint8_t *written, const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (written[i] != data[i])
            return false;
    return true;
}

bool hal_store_write(size_t offset, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    const uintptr_t to = STORE_BEGIN + offset;
    if (offset % 8 != 0 || !in_store(offset, bytes) || !begin())
        return false;
    bool good = true;
    FLASH_CR = CR_PG;
    for (size_t at = 0; at < bytes && good; at += 8) {
        program((volatile uint32_t *)(to + at), from + at, bytes - at);
        good = idle() && (FLASH_SR & SR_ERRORS) == 0;
    }
    end();
    return good && verified((const volatile uint8_t *)to, from, bytes);
}
