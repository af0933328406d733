/* SPDX-License-Identifier: MIT
 * HSI16 -> PLL -> 120 MHz, in the order that RM0432 asks for. The UART runs on HSI16 itself, so that a board whose
 * PLL does not start can still say so.
 */
#include "l4r5.h"

#include <stddef.h>

#define BIT(n) (1u << (n))

#define CR_HSION BIT(8)
#define CR_HSIRDY BIT(10)
#define CR_PLLON BIT(24)
#define CR_PLLRDY BIT(25)
#define CFGR_SW_HSI16 1u
#define CFGR_SW_PLL 3u
#define CFGR_SW_MASK 3u
#define CFGR_SWS_MASK (3u << 2)
#define CFGR_HPRE_DIV2 (8u << 4)
#define PLL_SOURCE_HSI16 2u
#define PLL_M 2u   /* 16 MHz / 2 = 8 MHz into the PLL (2.66 to 16 MHz) */
#define PLL_N 30u  /* x 30 = 240 MHz (64 to 344 MHz); its output R divides by 2: 120 MHz */
#define PLL_REN BIT(24)
#define ACR_LATENCY 5u /* wait states for 100 to 120 MHz in range 1 boost */
#define ACR_MASK 0xFu
#define ACR_PRFTEN BIT(8)
#define ACR_ICEN BIT(9)
#define ACR_DCEN BIT(10)

_Static_assert(BOARD_CPU_HZ == HSI16_HZ / PLL_M * PLL_N / 2, "board.toml's clock is the one that is set here");

static const char *start_hsi16(void)
{
    RCC_CR |= CR_HSION; /* RCC: clock control register; HSI16 settles within 4 us */
    return wait_for(&RCC_CR, CR_HSIRDY, CR_HSIRDY) ? NULL : "HSI16 does not start";
}

/* After a debugger's restart without a reset the PLL may run already: it can only be set while it is off. */
static const char *leave_pll(void)
{
    if ((RCC_CR & CR_PLLON) == 0)
        return NULL;
    RCC_CFGR = CFGR_SW_HSI16; /* RCC: clock configuration register */
    if (!wait_for(&RCC_CFGR, CFGR_SWS_MASK, CFGR_SW_HSI16 << 2))
        return "the clock does not leave the PLL";
    RCC_CR &= ~CR_PLLON; /* RCC: clock control register */
    return wait_for(&RCC_CR, CR_PLLRDY, 0) ? NULL : "the PLL does not stop";
}

static const char *raise_voltage(void)
{
    RCC_APB1ENR1 |= BIT(28);                       /* RCC: APB1 peripheral clock enable register 1, PWREN */
    (void)RCC_APB1ENR1;                            /* RCC: a delay of two clocks after an enable bit */
    PWR_CR1 = (PWR_CR1 & ~(3u << 9)) | (1u << 9);  /* PWR: control register 1, VOS = range 1 */
    PWR_CR5 &= ~BIT(8);                            /* PWR: control register 5, R1MODE = 0 is boost, above 80 MHz */
    return wait_for(&PWR_SR2, BIT(10), 0) ? NULL : "the regulator does not reach range 1"; /* PWR: SR2, VOSF */
}

static const char *set_flash(void)
{
    /* FLASH: access control register; wait states before the clock goes up, and both caches with the prefetch */
    FLASH_ACR = ACR_LATENCY | ACR_PRFTEN | ACR_ICEN | ACR_DCEN;
    return wait_for(&FLASH_ACR, ACR_MASK, ACR_LATENCY) ? NULL : "the flash does not take its wait states";
}

static const char *start_pll(void)
{
    /* RCC: PLL configuration register */
    RCC_PLLCFGR = PLL_SOURCE_HSI16 | (PLL_M - 1u) << 4 | PLL_N << 8 | PLL_REN;
    RCC_CR |= CR_PLLON; /* RCC: clock control register */
    return wait_for(&RCC_CR, CR_PLLRDY, CR_PLLRDY) ? NULL : "the PLL does not lock";
}

static const char *switch_to_pll(void)
{
    /* RCC: clock configuration register. From below 80 MHz to above, half speed comes first, for at least 1 us
     * (PWR: dynamic voltage scaling, range 1 boost). All bus prescalers are 1. */
    RCC_CFGR = CFGR_SW_PLL | CFGR_HPRE_DIV2;
    if (!wait_for(&RCC_CFGR, CFGR_SWS_MASK, CFGR_SW_PLL << 2))
        return "the clock does not switch to the PLL";
    for (volatile int i = 0; i < 100; i++) {
    }
    RCC_CFGR = CFGR_SW_PLL;
    return NULL;
}

const char *clock_init(void)
{
    static const char *(*const steps[])(void) = {start_hsi16, leave_pll,  raise_voltage,
                                                 set_flash,   start_pll, switch_to_pll};
    const char *fault = NULL;
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0] && fault == NULL; i++)
        fault = steps[i]();
    return fault;
}
