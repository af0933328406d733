/* SPDX-License-Identifier: MIT
 * Kernels of our own for cores with the DSP extension, to the bit as TFLite's reference kernels compute them; other
 * cores run the same in plain C. Their constants are packed by hil_nas/kernels/dsp.
 */
#ifndef HIL_DSP_H
#define HIL_DSP_H

#include "checks.h"
#include "kernel.h"

#endif
