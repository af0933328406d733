"""Scratch memory of CMSIS-NN 4.0.0's kernels on a Cortex-M with DSP instructions and no MVE.

The rules are those of the `*_get_buffer_size` functions (`arm_convolve_wrapper_s8.c`, `arm_convolve_s8.c`,
`arm_depthwise_conv_wrapper_s8.c`, `arm_depthwise_conv_s8_opt.c`, `arm_avgpool_s8.c`). Builds without DSP
need less, never more.
"""

from __future__ import annotations

from hil_nas.kernels.kernel import KernelCall

_INT16_BYTES, _INT32_BYTES = 2, 4


def conv(call: KernelCall) -> int:
    if call.kernel == (1, 1) and call.padding == (0, 0) and call.dilation == (1, 1):
        return 0
    return 2 * _column_bytes(call)  # im2col of two output pixels


def depthwise(call: KernelCall) -> int:
    one_each = call.inputs[0][2] == call.output[2] and call.dilation == (1, 1)
    return _column_bytes(call) if one_each else 0


def average_pool(call: KernelCall) -> int:
    return call.inputs[0][2] * _INT32_BYTES  # one row of int32 sums


def _column_bytes(call: KernelCall) -> int:
    """What one output pixel reads, widened to int16."""
    return call.inputs[0][2] * call.kernel[0] * call.kernel[1] * _INT16_BYTES
