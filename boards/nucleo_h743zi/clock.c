/* SPDX-License-Identifier: MIT
 * HSI -> PLL1 -> 400 MHz for the core, 200 MHz for the AXI bus, 100 MHz for the peripherals, in the order that RM0433
 * asks for. The UART runs on HSI itself, so that a board whose PLL does not start can still say so.
 */
#include "h743.h"

#include <stddef.h>

#define BIT(n) (1u << (n))

#define CR_HSION BIT(0)
#define CR_HSIRDY BIT(2)
#define CR_HSIDIV (3u << 3)
#define CR_PLL1ON BIT(24)
#define CR_PLL1RDY BIT(25)
#define CFGR_SW_HSI 0u
#define CFGR_SW_PLL1 3u
#define CFGR_SWS_MASK (7u << 3)
#define CR3_BYPASS BIT(0)
#define CR3_LDOEN BIT(1)
#define CR3_SCUEN BIT(2)
#define CSR1_ACTVOSRDY BIT(13)
#define D3CR_VOS_SCALE1 (3u << 14)
#define D3CR_VOSRDY BIT(13)
#define D1CFGR_HPRE_DIV2 8u
#define PPRE_DIV2 4u
#define PLLCKSELR_SOURCE 3u /* 0 is HSI */
#define PLLCKSELR_DIVM1 (63u << 4)
#define PLLCFGR_PLL1 0xFu          /* FRACEN, VCOSEL, RGE */
#define PLLCFGR_PLL1RGE_8_16 (3u << 2) /* VCOSEL = 0: the wide VCO, 192 to 836 MHz */
#define PLLCFGR_DIVP1EN BIT(16)
#define PLL_M 4u   /* 64 MHz / 4 = 16 MHz into the PLL */
#define PLL_N 50u  /* x 50 = 800 MHz */
#define PLL_P 2u   /* / 2 = 400 MHz */
#define ACR_LATENCY 2u    /* wait states for an AXI clock of 185 to 210 MHz at VOS1 */
#define ACR_WRHIGHFREQ (2u << 4)
#define ACR_MASK 0x3Fu

_Static_assert(BOARD_CPU_HZ == HSI_HZ / PLL_M * PLL_N / PLL_P, "board.toml's clock is the one that is set here");

static const char *start_hsi(void)
{
    RCC_CR |= CR_HSION; /* RCC: source control register */
    if (!wait_for(&RCC_CR, CR_HSIRDY, CR_HSIRDY))
        return "HSI does not start";
    RCC_CR &= ~CR_HSIDIV; /* undivided: 64 MHz */
    return NULL;
}

/* After a debugger's restart without a reset the PLL may run already: it can only be set while it is off. */
static const char *leave_pll(void)
{
    if ((RCC_CR & CR_PLL1ON) == 0)
        return NULL;
    RCC_CFGR = CFGR_SW_HSI; /* RCC: clock configuration register */
    if (!wait_for(&RCC_CFGR, CFGR_SWS_MASK, CFGR_SW_HSI << 3))
        return "the clock does not leave the PLL";
    RCC_CR &= ~CR_PLL1ON; /* RCC: source control register */
    return wait_for(&RCC_CR, CR_PLL1RDY, 0) ? NULL : "the PLL does not stop";
}

static const char *raise_voltage(void)
{
    /* PWR: control register 3; this Nucleo's core runs from the LDO. VOS cannot be changed before this is written, and
     * only the first write after power-on counts. */
    PWR_CR3 = (PWR_CR3 & ~(CR3_SCUEN | CR3_BYPASS)) | CR3_LDOEN;
    if (!wait_for(&PWR_CSR1, CSR1_ACTVOSRDY, CSR1_ACTVOSRDY)) /* PWR: control status register 1 */
        return "the regulator does not start";
    PWR_D3CR |= D3CR_VOS_SCALE1; /* PWR: D3 domain control register, VOS1: up to 400 MHz */
    return wait_for(&PWR_D3CR, D3CR_VOSRDY, D3CR_VOSRDY) ? NULL : "the regulator does not reach VOS1";
}

static const char *set_flash(void)
{
    /* FLASH: access control register, before the clock goes up; the caches are the core's own */
    FLASH_ACR = ACR_LATENCY | ACR_WRHIGHFREQ;
    return wait_for(&FLASH_ACR, ACR_MASK, ACR_LATENCY | ACR_WRHIGHFREQ) ? NULL : "the flash does not take its wait states";
}

/* AXI and AHB run at half the core's clock, APB at a quarter: their limits are 240 and 120 MHz. */
static const char *set_dividers(void)
{
    RCC_D1CFGR = D1CFGR_HPRE_DIV2 | PPRE_DIV2 << 4; /* RCC: domain 1 clock configuration register, D1CPRE = 1 */
    RCC_D2CFGR = PPRE_DIV2 << 4 | PPRE_DIV2 << 8;   /* RCC: domain 2 clock configuration register */
    RCC_D3CFGR = PPRE_DIV2 << 4;                    /* RCC: domain 3 clock configuration register */
    return NULL;
}

static const char *start_pll(void)
{
    /* RCC: PLLs clock source selection register */
    RCC_PLLCKSELR = (RCC_PLLCKSELR & ~(PLLCKSELR_DIVM1 | PLLCKSELR_SOURCE)) | PLL_M << 4;
    /* RCC: PLLs configuration register; of PLL1 only the output P is on */
    RCC_PLLCFGR = (RCC_PLLCFGR & ~(7u << 16 | PLLCFGR_PLL1)) | PLLCFGR_DIVP1EN | PLLCFGR_PLL1RGE_8_16;
    /* RCC: PLL1 dividers configuration register; Q and R as after reset */
    RCC_PLL1DIVR = (PLL_N - 1u) | (PLL_P - 1u) << 9 | 1u << 16 | 1u << 24;
    RCC_CR |= CR_PLL1ON; /* RCC: source control register */
    return wait_for(&RCC_CR, CR_PLL1RDY, CR_PLL1RDY) ? NULL : "the PLL does not lock";
}

static const char *switch_to_pll(void)
{
    RCC_CFGR = CFGR_SW_PLL1; /* RCC: clock configuration register; TIMPRE = 0: timers run at twice APB */
    return wait_for(&RCC_CFGR, CFGR_SWS_MASK, CFGR_SW_PLL1 << 3) ? NULL : "the clock does not switch to the PLL";
}

const char *clock_init(void)
{
    static const char *(*const steps[])(void) = {start_hsi,    leave_pll, raise_voltage, set_flash,
                                                 set_dividers, start_pll, switch_to_pll};
    const char *fault = NULL;
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0] && fault == NULL; i++)
        fault = steps[i]();
    return fault;
}
