/* SPDX-License-Identifier: MIT
 * NUCLEO-L4R5ZI: UART, microseconds, memory. The UART is polled: no interrupt can come into a measurement.
 * On Renode and the virtual board the same image runs; a write to a register they do not have is ignored there.
 */
#include "hal.h"
#include "l4r5.h"

#define BIT(n) (1u << (n))
#define STORE_BEGIN 0x08100000u /* bank 2 */

#define CR1_UE BIT(0)
#define CR1_RE BIT(2)
#define CR1_TE BIT(3)
#define CR1_FIFOEN BIT(29)
#define ISR_ERRORS (BIT(0) | BIT(1) | BIT(2) | BIT(3)) /* parity, framing, noise, overrun; ICR has them alike */
#define ISR_RXFNE BIT(5)
#define ISR_TC BIT(6)
#define ISR_TXFNF BIT(7)

static uint32_t counted_hz;

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
    LPUART1_CR1 = 0; /* LPUART: the rest can only be written while it is disabled */
    LPUART1_CR2 = 0;
    LPUART1_CR3 = 0;
    LPUART1_BRR = (uint32_t)((256ull * HSI16_HZ + BOARD_BAUD / 2u) / BOARD_BAUD); /* LPUART: baud rate generation */
    LPUART1_CR1 = CR1_FIFOEN;
    LPUART1_CR1 = CR1_FIFOEN | CR1_UE | CR1_RE | CR1_TE;
}

static void micros_init(void)
{
    RCC_APB1ENR1 |= BIT(0); /* RCC: APB1 peripheral clock enable register 1, TIM2EN */
    (void)RCC_APB1ENR1;
    TIM2_PSC = BOARD_CPU_HZ / 1000000u - 1u; /* TIM: prescaler; the timer's clock is PCLK1, undivided */
    TIM2_ARR = 0xFFFFFFFFu;                  /* TIM: auto-reload register */
    TIM2_EGR = BIT(0);                       /* TIM: event generation, loads the prescaler */
    TIM2_CR1 = BIT(0);                       /* TIM: control register 1, CEN */
}

void hal_init(void)
{
    const char *fault = clock_init();
    pins_init();
    uart_init();
    if (fault != NULL)
        cortex_m_trap(fault);
    micros_init();
    if (!cortex_m_cycles_init())
        cortex_m_trap("no cycle counter: DWT CYCCNT does not count");
    counted_hz = cortex_m_counted_hz();
}

int hal_getc(void)
{
    const uint32_t status = LPUART1_ISR;
    if ((status & ISR_ERRORS) != 0)
        LPUART1_ICR = status & ISR_ERRORS; /* an overrun would stop reception; the CRC tells what was lost */
    return (status & ISR_RXFNE) != 0 ? (int)(LPUART1_RDR & 0xFFu) : -1;
}

void hal_write(const void *data, size_t bytes)
{
    for (const uint8_t *at = data; bytes > 0; bytes--) {
        if (!wait_for(&LPUART1_ISR, ISR_TXFNF, ISR_TXFNF))
            return;
        LPUART1_TDR = *at++;
    }
}

uint32_t hal_cpu_hz(void)
{
    return counted_hz;
}

uint32_t hal_micros(void)
{
    return TIM2_CNT;
}

void hal_reset(void)
{
    (void)wait_for(&LPUART1_ISR, ISR_TC, ISR_TC); /* the last byte has left */
    cortex_m_reset();
}

const struct hal_memory *hal_memory(void)
{
    static struct hal_memory memory;
    memory = (struct hal_memory){
        .pool = link_pool_begin,
        .pool_bytes = (size_t)(link_pool_end - link_pool_begin) & ~(size_t)15,
        .store = (const uint8_t *)STORE_BEGIN,
        .store_bytes = BOARD_FLASH_BYTES / 2u,
        .image_bytes = (size_t)(link_image_end - link_image_begin),
        .static_bytes = (size_t)(link_bss_end - link_data_begin) * sizeof(uint32_t),
        .stack_low = link_stack_low,
        .stack_high = link_stack_high,
    };
    return &memory;
}

const char *hal_board(void)
{
    return BOARD_NAME;
}
