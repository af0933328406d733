/* SPDX-License-Identifier: MIT */
#include "stm32.h"

#include "cortex_m.h"
#include "hal.h"

#define BIT(n) (1u << (n))

/* Registers of the UART, from its base on */
enum { CR1 = 0x00, CR2 = 0x04, CR3 = 0x08, BRR = 0x0C, ISR = 0x1C, ICR = 0x20, RDR = 0x24, TDR = 0x28 };
#define CR1_UE BIT(0)
#define CR1_RE BIT(2)
#define CR1_TE BIT(3)
#define CR1_FIFOEN BIT(29)
#define ISR_ERRORS (BIT(0) | BIT(1) | BIT(2) | BIT(3)) /* parity, framing, noise, overrun; ICR has them alike */
#define ISR_RXFNE BIT(5)
#define ISR_TC BIT(6)
#define ISR_TXFNF BIT(7)

/* General-purpose timer 2 (TIM2), 32 bits */
#define TIM2_CR1 REGISTER(0x40000000)
#define TIM2_EGR REGISTER(0x40000014)
#define TIM2_CNT REGISTER(0x40000024)
#define TIM2_PSC REGISTER(0x40000028)
#define TIM2_ARR REGISTER(0x4000002C)

static uint32_t uart, counted_hz;

bool wait_for(volatile uint32_t *address, uint32_t mask, uint32_t value)
{
    for (uint32_t polls = 0; polls < BOARD_CPU_HZ / 4u; polls++) /* a sector of flash may take four seconds to erase */
        if ((*address & mask) == value)
            return true;
    return false;
}

void stm32_uart_init(uint32_t base, uint32_t divider)
{
    uart = base;
    REGISTER(uart + CR1) = 0; /* the rest can only be written while it is disabled */
    REGISTER(uart + CR2) = 0;
    REGISTER(uart + CR3) = 0;
    REGISTER(uart + BRR) = divider;
    REGISTER(uart + CR1) = CR1_FIFOEN;
    REGISTER(uart + CR1) = CR1_FIFOEN | CR1_UE | CR1_RE | CR1_TE;
}

void stm32_micros_init(uint32_t timer_hz)
{
    TIM2_PSC = timer_hz / 1000000u - 1u; /* TIM: prescaler */
    TIM2_ARR = 0xFFFFFFFFu;              /* TIM: auto-reload register */
    TIM2_EGR = BIT(0);                   /* TIM: event generation, loads the prescaler */
    TIM2_CR1 = BIT(0);                   /* TIM: control register 1, CEN */
}

void stm32_cycles_init(void)
{
    if (!cortex_m_cycles_init())
        cortex_m_trap("no cycle counter: DWT CYCCNT does not count");
    counted_hz = cortex_m_counted_hz();
}

int hal_getc(void)
{
    const uint32_t status = REGISTER(uart + ISR);
    if ((status & ISR_ERRORS) != 0)
        REGISTER(uart + ICR) = status & ISR_ERRORS; /* an overrun would stop reception; the CRC tells what was lost */
    return (status & ISR_RXFNE) != 0 ? (int)(REGISTER(uart + RDR) & 0xFFu) : -1;
}

void hal_write(const void *data, size_t bytes)
{
    if (uart == 0)
        return; /* a fault before there was one */
    for (const uint8_t *at = data; bytes > 0; bytes--) {
        if (!wait_for(&REGISTER(uart + ISR), ISR_TXFNF, ISR_TXFNF))
            return;
        REGISTER(uart + TDR) = *at++;
    }
}

uint32_t hal_cycles_hz(void)
{
    return counted_hz;
}

uint32_t hal_micros(void)
{
    return TIM2_CNT;
}

void hal_reset(void)
{
    (void)wait_for(&REGISTER(uart + ISR), ISR_TC, ISR_TC); /* the last byte has left */
    cortex_m_reset();
}

const struct hal_memory *hal_memory(void)
{
    return cortex_m_memory((const uint8_t *)STORE_BEGIN, STORE_BYTES);
}
