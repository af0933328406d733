/* SPDX-License-Identifier: MIT
 * NUCLEO-L4R5ZI: pins and UART. The UART is polled: no interrupt can come into a measurement.
 * On Renode and the virtual board the same image runs; a write to a register they do not have is ignored there.
 */
#include "hal.h"
#include "l4r5.h"

#define BIT(n) (1u << (n))

static void pins_init(void)
{
    PWR_CR2 |= BIT(9);      /* PWR: control register 2, IOSV: port G lives on VDDIO2, which is off after reset */
    RCC_AHB2ENR |= BIT(6);  /* RCC: AHB2 peripheral clock enable register, GPIOGEN */
    (void)RCC_AHB2ENR;      /* RCC: a delay of two clocks after an enable bit */
    GPIOG_AFRL = (GPIOG_AFRL & ~(15u << 28)) | 8u << 28;       /* GPIO: PG7 is AF8, LPUART1_TX */
    GPIOG_AFRH = (GPIOG_AFRH & ~15u) | 8u;                     /* GPIO: PG8 is AF8, LPUART1_RX */
    GPIOG_OSPEEDR |= 1u << 14;                                 /* GPIO: PG7 medium speed */
    GPIOG_PUPDR = (GPIOG_PUPDR & ~(3u << 16)) | 1u << 16;      /* GPIO: PG8 pulled up: quiet with nothing attached */
    GPIOG_MODER = (GPIOG_MODER & ~(15u << 14)) | 10u << 14;    /* GPIO: PG7 and PG8 alternate function */
}

static void uart_init(void)
{
    RCC_CCIPR = (RCC_CCIPR & ~(3u << 10)) | 2u << 10; /* RCC: peripherals clock selection, LPUART1SEL = HSI16 */
    RCC_APB1ENR2 |= BIT(0);                           /* RCC: APB1 peripheral clock enable register 2, LPUART1EN */
    (void)RCC_APB1ENR2;
    /* LPUART: baud rate generation, in 256ths of its clock */
    stm32_uart_init(LPUART1, (uint32_t)((256ull * HSI16_HZ + BOARD_BAUD / 2u) / BOARD_BAUD));
}

static void micros_init(void)
{
    RCC_APB1ENR1 |= BIT(0); /* RCC: APB1 peripheral clock enable register 1, TIM2EN */
    (void)RCC_APB1ENR1;
    stm32_micros_init(BOARD_CPU_HZ); /* the timer's clock is PCLK1, undivided */
}

void hal_init(void)
{
    const char *fault = clock_init();
    pins_init();
    uart_init();
    if (fault != NULL)
        cortex_m_trap(fault);
    micros_init();
    stm32_cycles_init();
}
