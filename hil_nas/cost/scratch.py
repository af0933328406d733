"""Scratch memory of CMSIS-NN 4.0.0's kernels on a Cortex-M with DSP instructions and no MVE.

The rules are those of the `*_get_buffer_size` functions (`arm_convolve_wrapper_s8.c`, `arm_convolve_s8.c`,
`arm_depthwise_conv_wrapper_s8.c`, `arm_depthwise_conv_s8_opt.c`, `arm_avgpool_s8.c`). Builds without DSP
need less, never more.
"""

from __future__ import annotations

from hil_nas.network import Operator, Pair, Shape
from hil_nas.operators.windows import padding_of

_INT16_BYTES, _INT32_BYTES = 2, 4


def operator_scratch_bytes(operator: Operator) -> int:
    """Bytes that the operator's kernel asks for while it runs; 0 for most kinds."""
    layer, source = operator.layer, operator.inputs[0]
    padding = padding_before(operator)
    return scratch_bytes(layer.kind, source, operator.output, layer.kernel, layer.stride, layer.dilation, padding)


def padding_before(operator: Operator) -> Pair:
    """Rows and columns of padding before the map, as the kernel gets them."""
    return padding_of(operator.layer, operator.inputs[0])


def scratch_bytes(
    kind: str, source: Shape, output: Shape, kernel: Pair, stride: Pair, dilation: Pair, padding: Pair
) -> int:
    """The same for plain numbers.

    Args:
        kind: a kind of layer.
        source, output: (height, width, channels).
        padding: rows above and columns left of the map.
    """
    if kind == "conv":
        pointwise = kernel == (1, 1) and padding == (0, 0) and dilation == (1, 1)
        # im2col of two output pixels, widened to int16
        return 0 if pointwise else 2 * source[2] * kernel[0] * kernel[1] * _INT16_BYTES
    if kind == "depthwise":
        one_each = source[2] == output[2] and dilation == (1, 1)
        return source[2] * kernel[0] * kernel[1] * _INT16_BYTES if one_each else 0
    if kind == "average_pool":
        return source[2] * _INT32_BYTES  # one row of int32 sums
    return 0
