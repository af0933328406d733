/* SPDX-License-Identifier: MIT
 * Words of four int8 and of two int16, as SXTB16 and SMLAD see them.
 */
#ifndef HIL_DSP_HALVES_H
#define HIL_DSP_HALVES_H

#include <stdint.h>
#include <string.h>

/* Four bytes from any address. */
static inline uint32_t dsp_word(const int8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* Bytes 0 and 2 of a word as two int16. */
static inline uint32_t dsp_even_bytes(uint32_t word)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t halves;
    __asm("sxtb16 %0, %1" : "=r"(halves) : "r"(word));
    return halves;
#else
    return (uint32_t)(uint16_t)(int8_t)word | (uint32_t)(int8_t)(word >> 16) << 16;
#endif
}

/* Bytes 1 and 3. */
static inline uint32_t dsp_odd_bytes(uint32_t word)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t halves;
    __asm("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(word));
    return halves;
#else
    return dsp_even_bytes(word >> 8);
#endif
}

#endif
