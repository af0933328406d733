/* SPDX-License-Identifier: MIT
 * NUCLEO-H743ZI: UART, microseconds, memory. The UART is polled: no interrupt can come into a measurement.
 * On Renode the same image runs; a write to a register that it does not have is ignored there.
 */
#include "../cortex_m/cortex_m7.h"
#include "h743.h"
#include "hal.h"

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

/* Revision Y of the part may read wrong data from AXI SRAM, which is all the RAM used here (ES0392, "Reading from AXI
 * SRAM may lead to data read corruption"): one read at a time is its workaround. */
static void axi_init(void)
{
    if (DBGMCU_IDC >> 16 < 0x2000u) /* DBGMCU: identity code; V and X are 0x2003 and 0x2001 */
        AXI_TARG7_FN_MOD = BIT(0);  /* AXI: target 7 issuing functionality, READ_ISS_OVERRIDE */
}

static uint32_t counted_hz;

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
    USART3_CR1 = 0; /* USART: the rest can only be written while it is disabled */
    USART3_CR2 = 0;
    USART3_CR3 = 0;
    USART3_BRR = (HSI_HZ + BOARD_BAUD / 2u) / BOARD_BAUD; /* USART: baud rate generation, oversampling by 16 */
    USART3_CR1 = CR1_FIFOEN;
    USART3_CR1 = CR1_FIFOEN | CR1_UE | CR1_RE | CR1_TE;
}

static void micros_init(void)
{
    RCC_APB1LENR |= BIT(0); /* RCC: APB1 clock register, TIM2EN */
    (void)RCC_APB1LENR;
    TIM2_PSC = BOARD_CPU_HZ / 2u / 1000000u - 1u; /* TIM: prescaler; twice APB1's clock, half the core's */
    TIM2_ARR = 0xFFFFFFFFu;                       /* TIM: auto-reload register */
    TIM2_EGR = BIT(0);                            /* TIM: event generation, loads the prescaler */
    TIM2_CR1 = BIT(0);                            /* TIM: control register 1, CEN */
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
    if (!cortex_m_cycles_init())
        cortex_m_trap("no cycle counter: DWT CYCCNT does not count");
    counted_hz = cortex_m_counted_hz();
}

int hal_getc(void)
{
    const uint32_t status = USART3_ISR;
    if ((status & ISR_ERRORS) != 0)
        USART3_ICR = status & ISR_ERRORS; /* an overrun would stop reception; the CRC tells what was lost */
    return (status & ISR_RXFNE) != 0 ? (int)(USART3_RDR & 0xFFu) : -1;
}

void hal_write(const void *data, size_t bytes)
{
    for (const uint8_t *at = data; bytes > 0; bytes--) {
        if (!wait_for(&USART3_ISR, ISR_TXFNF, ISR_TXFNF))
            return;
        USART3_TDR = *at++;
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
    (void)wait_for(&USART3_ISR, ISR_TC, ISR_TC); /* the last byte has left */
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
