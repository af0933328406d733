/* SPDX-License-Identifier: MIT
 * The stages "fft", "spectrum" and "mel": powers of the bins of real frames, and what filters let through of them.
 */
#include "fft.h"
#include "mel.h"

void mel_fft(const struct front_end_group *group)
{
    const struct mel_header *h = group->blob;
    for (uint32_t i = 0; i < group->frames; i++)
        fft_q15(mel_place(group, i + 1), h->fft_size / 2, table_of(h, h->fft_data));
}

#if !defined(__ARM_FEATURE_DSP)

static uint32_t reversed_bits(uint32_t a)
{
    a = (a & 0x55555555) << 1 | (a >> 1 & 0x55555555);
    a = (a & 0x33333333) << 2 | (a >> 2 & 0x33333333);
    a = (a & 0x0F0F0F0F) << 4 | (a >> 4 & 0x0F0F0F0F);
    return __builtin_bswap32(a);
}

static uint32_t product(int16_t a, int16_t b)
{
    return (uint32_t)(a * b);
}

static int16_t rounded(uint32_t product)
{
    return (int16_t)((int32_t)(product + 0x4000) >> 15);
}

#endif

/* The FFT took samples two by two as complex numbers. With Z[k] and the conjugate Y of Z[M - k], M = N / 2, the spectrum
 * of the even samples is E = Z + Y, that of the odd ones -i D, D = Z - Y, all doubled. X[k] = E + T and
 * X[M - k] = conj(E - T) with T = V D, V = -i exp(-2 pi i k / N), so that the powers are |E|^2 + |T|^2 and twice
 * Re(E conj(T)) more or less. The bins lie in bit-reversed order. powers: (M,), of bins 1 to M - 1.
 *
 * Nothing overflows: |E| and |D| are at most 32000, twice the mean over n of w[n] |x[n]|, as the window is made, and
 * powers, being exact, are below 2^32. */
static void powers_of(const int16_t *z, uint32_t points, const int16_t *twiddles, uint32_t *powers)
{
    const uint32_t step = 1u << __builtin_clz(points - 1); /* a bin whose bits, reversed, count from 0 */
    uint32_t at = step, *low = powers + 1, *high = powers + points - 1;
#if defined(__ARM_FEATURE_DSP)
    uint32_t a, b, c, d, v;
    __asm volatile(".p2align 2\n"
                   "1:\n"
                   ".rept 2\n"
                   "rbit.w %[a], %[at]\n"
                   "rsb.w %[b], %[at], #0\n"
                   "rbit.w %[b], %[b]\n"
                   "ldr.w %[a], [%[z], %[a], lsl #2]\n"
                   "ldr.w %[b], [%[z], %[b], lsl #2]\n"
                   "ldr.w %[v], [%[twiddles]], #4\n"
                   "add.w %[at], %[at], %[step]\n"
                   "sadd16 %[c], %[a], %[b]\n"
                   "ssub16 %[d], %[a], %[b]\n"
                   "pkhbt %[a], %[c], %[d]\n" /* E */
                   "pkhbt %[b], %[d], %[c]\n" /* D */
                   "smlsd %[c], %[b], %[v], %[half]\n"
                   "smladx %[b], %[b], %[v], %[half]\n"
                   "lsl.w %[b], %[b], #1\n"
                   "pkhtb %[b], %[b], %[c], asr #15\n" /* T */
                   "smuad %[c], %[a], %[b]\n"
                   "smuad %[a], %[a], %[a]\n"
                   "smlad %[a], %[b], %[b], %[a]\n"
                   "sub.w %[d], %[a], %[c], lsl #1\n"
                   "add.w %[c], %[a], %[c], lsl #1\n"
                   "str.w %[d], [%[high]], #-4\n"
                   "str.w %[c], [%[low]], #4\n"
                   ".endr\n"
                   "cmp.w %[low], %[high]\n"
                   "bls.w 1b"
                   : [at] "+&r"(at), [twiddles] "+&r"(twiddles), [low] "+&r"(low), [high] "+&r"(high), [a] "=&r"(a),
                     [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d), [v] "=&r"(v)
                   : [z] "r"(z), [step] "r"(step), [half] "r"(0x4000)
                   : "cc", "memory");
#else
    for (; low <= high; at += step, twiddles += 2) {
        const int16_t *a = z + 2 * reversed_bits(at), *b = z + 2 * reversed_bits(0 - at);
        const int16_t e_re = (int16_t)(a[0] + b[0]), e_im = (int16_t)(a[1] - b[1]);
        const int16_t d_re = (int16_t)(a[0] - b[0]), d_im = (int16_t)(a[1] + b[1]);
        const int16_t t_re = rounded(product(d_re, twiddles[0]) - product(d_im, twiddles[1]));
        const int16_t t_im = rounded(product(d_re, twiddles[1]) + product(d_im, twiddles[0]));
        const uint32_t squares = product(e_re, e_re) + product(e_im, e_im) + product(t_re, t_re) + product(t_im, t_im);
        const uint32_t both = 2 * (product(e_re, t_re) + product(e_im, t_im));
        *high-- = squares - both;
        *low++ = squares + both;
    }
#endif
}

void mel_spectrum(const struct front_end_group *group)
{
    const struct mel_header *h = group->blob;
    for (uint32_t i = 0; i < group->frames; i++)
        powers_of(mel_place(group, i + 1), h->fft_size / 2, table_of(h, h->spectrum_data), mel_place(group, i));
}

/* Each bin's power goes to the filter that rises at it with the weight w, and with 1 - w to the one that falls. widths:
 * bins from each corner to the next. energies: (mel_bins,), in 2^-16 of a power, of all of which Parseval's theorem says
 * that they are below 2^32 together. */
static void filter(const uint32_t *power, const uint16_t *widths, const uint16_t *weight, uint32_t mel_bins,
                   uint64_t *energies)
{
#if defined(__ARM_FEATURE_DSP)
    const uint16_t *end = widths + mel_bins + 1;
    uint64_t rising = 0, falling;
    uint32_t count, p, q, v, w;
    __asm volatile("ldrh.w %[count], [%[widths]], #2\n"
                   "cbz %[count], 2f\n"
                   "1:\n"
                   "ldr.w %[p], [%[power]], #4\n"
                   "ldrh.w %[v], [%[weight]], #2\n"
                   "umlal %Q[rising], %R[rising], %[p], %[v]\n"
                   "subs.w %[count], #1\n"
                   "bne.w 1b\n"
                   "2:\n" /* a filter: it falls where the next one rises */
                   "ldrh.w %[count], [%[widths]], #2\n"
                   "mov.w %Q[falling], %Q[rising]\n"
                   "mov.w %R[falling], %R[rising]\n"
                   "mov.w %Q[rising], #0\n"
                   "mov.w %R[rising], #0\n"
                   "subs.w %[count], #2\n"
                   "blo.w 4f\n"
                   ".p2align 2\n"
                   "3:\n"
                   "ldr.w %[q], [%[power], #4]\n"
                   "ldr.w %[p], [%[power]], #8\n"
                   "ldrh.w %[w], [%[weight], #2]\n"
                   "ldrh.w %[v], [%[weight]], #4\n"
                   "umlal %Q[rising], %R[rising], %[q], %[w]\n"
                   "rsb.w %[w], %[w], #65536\n"
                   "umlal %Q[rising], %R[rising], %[p], %[v]\n"
                   "rsb.w %[v], %[v], #65536\n"
                   "umlal %Q[falling], %R[falling], %[q], %[w]\n"
                   "umlal %Q[falling], %R[falling], %[p], %[v]\n"
                   "subs.w %[count], #2\n"
                   "bhs.w 3b\n"
                   "4:\n"
                   "tst.w %[count], #1\n"
                   "beq.w 5f\n"
                   "ldrh.w %[v], [%[weight]], #2\n"
                   "ldr.w %[p], [%[power]], #4\n"
                   "rsb.w %[w], %[v], #65536\n"
                   "umlal %Q[rising], %R[rising], %[p], %[v]\n"
                   "umlal %Q[falling], %R[falling], %[p], %[w]\n"
                   "5:\n"
                   "cmp.w %[widths], %[end]\n"
                   "strd %Q[falling], %R[falling], [%[energies]], #8\n"
                   "bne.w 2b"
                   : [power] "+&r"(power), [widths] "+&r"(widths), [weight] "+&r"(weight), [energies] "+&r"(energies),
                     [rising] "+&r"(rising), [falling] "=&r"(falling), [count] "=&l"(count), [p] "=&r"(p),
                     [q] "=&r"(q), [v] "=&r"(v), [w] "=&r"(w)
                   : [end] "r"(end)
                   : "cc", "memory");
#else
    uint64_t before = 0;
    for (uint32_t j = 0; j <= mel_bins; j++) {
        uint64_t rising = 0, falling = before;
        for (uint32_t count = widths[j]; count > 0; count--, power++, weight++) {
            rising += (uint64_t)*power * *weight;
            falling += (uint64_t)*power * (65536u - *weight);
        }
        if (j > 0)
            energies[j - 1] = falling;
        before = rising;
    }
#endif
}

void mel_energies(const struct front_end_group *group)
{
    const struct mel_header *h = group->blob;
    for (uint32_t i = group->frames; i-- > 0;) { /* the last place is free, then that of the powers before */
        const uint32_t *powers = mel_place(group, i);
        filter(powers + h->first_bin, table_of(h, h->widths_data), table_of(h, h->weights_data), h->mel_bins,
               mel_place(group, i + 1));
    }
}
