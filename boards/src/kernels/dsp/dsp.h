/* SPDX-License-Identifier: MIT
 * Kernels of our own for cores with the DSP extension, to the bit as TFLite's reference kernels compute them; other
 * cores run the same in plain C. Their constants are packed by hil_nas/kernels/dsp.
 */
#ifndef HIL_DSP_H
#define HIL_DSP_H

#include "checks.h"
#include "kernel.h"

extern const struct kernel dsp_conv, dsp_depthwise, dsp_fully_connected, dsp_average_pool;

/* Whether the core has what the assembly is written for: the DSP extension, and registers of an FPU for what waits. */
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FP) && __ARM_ARCH_PROFILE == 'M'
#define DSP_ASSEMBLY 1
#else
#define DSP_ASSEMBLY 0
#endif

/* Positions are int32: extents below 2^15 keep all of them far from the limits. */
enum { DSP_MAX_EXTENT = 32767 };

static inline bool dsp_axis_good(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t dilation)
{
    const int32_t most = DSP_MAX_EXTENT;
    return in <= most && out <= most && kernel <= most && stride <= most && dilation <= most;
}

#endif
