/* SPDX-License-Identifier: MIT
 * NUCLEO-H743ZI: pins, UART, caches. The UART is polled: no interrupt can come into a measurement.
 * On Renode the same image runs; a write to a register that it does not have is ignored there.
 */
#include "../cortex_m/cortex_m7.h"
#include "h743.h"
#include "hal.h"

#define BIT(n) (1u << (n))

/* Revision Y of the part may read wrong data from AXI SRAM, which is all the RAM used here (ES0392, "Reading from AXI
 * SRAM may lead to data read corruption"): one read at a time is its workaround. */
static void axi_init(void)
{
    if (DBGMCU_IDC >> 16 < 0x2000u) /* DBGMCU: identity code; V and X are 0x2003 and 0x2001 */
        AXI_TARG7_FN_MOD = BIT(0);  /* AXI: target 7 issuing functionality, READ_ISS_OVERRIDE */
}

static void pins_init(void)
{
    RCC_AHB4ENR |= BIT(3); /* RCC: AHB4 clock register, GPIODEN */
    (void)RCC_AHB4ENR;     /* RCC: a delay of two clocks after an enable bit */
    GPIOD_AFRH = (GPIOD_AFRH & ~0xFFu) | 0x77u;             /* GPIO: PD8 and PD9 are AF7, USART3_TX and _RX */
    GPIOD_OSPEEDR |= 1u << 16;                              /* GPIO: PD8 medium speed */
    GPIOD_PUPDR = (GPIOD_PUPDR & ~(3u << 18)) | 1u << 18;   /* GPIO: PD9 pulled up: quiet with nothing attached */
    GPIOD_MODER = (GPIOD_MODER & ~(15u << 16)) | 10u << 16; /* GPIO: PD8 and PD9 alternate function */
}

static void uart_init(void)
{
    RCC_D2CCIP2R = (RCC_D2CCIP2R & ~7u) | 3u; /* RCC: domain 2 kernel clock configuration, USART234578SEL = HSI */
    RCC_APB1LENR |= BIT(18);                  /* RCC: APB1 clock register, USART3EN */
    (void)RCC_APB1LENR;
    /* USART: baud rate generation, oversampling by 16 */
    stm32_uart_init(USART3, (HSI_HZ + BOARD_BAUD / 2u) / BOARD_BAUD);
}

static void micros_init(void)
{
    RCC_APB1LENR |= BIT(0); /* RCC: APB1 clock register, TIM2EN */
    (void)RCC_APB1LENR;
    stm32_micros_init(BOARD_CPU_HZ / 2u); /* twice APB1's clock, half the core's */
}

void hal_init(void)
{
    axi_init();
    const char *fault = clock_init();
    pins_init();
    uart_init();
    if (fault != NULL)
        cortex_m_trap(fault);
    micros_init();
    cortex_m7_caches_enable();
    cortex_m7_unlock_trace();
    stm32_cycles_init();
}
