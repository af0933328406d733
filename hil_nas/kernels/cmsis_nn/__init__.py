"""CMSIS-NN 4.0.0: convolutions, fully connected layers and pools."""

from __future__ import annotations

from math import prod

from hil_nas.kernels.cmsis_nn import scratch, size_limits, work
from hil_nas.kernels.kernel import Kernel, KernelCall, KernelList

SOURCE_FOLDERS = ("ConvolutionFunctions", "FullyConnectedFunctions", "NNSupportFunctions", "PoolingFunctions")
_INT32_BYTES = 4


def _conv_bytes(call: KernelCall) -> tuple[int, ...]:
    """Weights, biases, multipliers and shifts."""
    words = _INT32_BYTES * call.output[2]
    return (prod(call.kernel) * call.inputs[0][2] * call.output[2], words, words, words)


def _depthwise_bytes(call: KernelCall) -> tuple[int, ...]:
    words = _INT32_BYTES * call.output[2]
    return (prod(call.kernel) * call.output[2], words, words, words)


def _fully_connected_bytes(call: KernelCall) -> tuple[int, ...]:
    """Weights and biases."""
    return (prod(call.inputs[0]) * call.output[2], _INT32_BYTES * call.output[2])


KERNELS = KernelList(
    "cmsis_nn",
    2,
    {
        "conv": Kernel(
            fault=size_limits.conv,
            scratch_bytes=scratch.conv,
            constant_bytes=_conv_bytes,
            path=work.conv_path,
            counts={"conv_1x1": work.conv_1x1, "conv_im2col": work.conv_im2col},
        ),
        "depthwise": Kernel(
            fault=size_limits.depthwise,
            scratch_bytes=scratch.depthwise,
            constant_bytes=_depthwise_bytes,
            path=work.depthwise_path,
            counts={
                "depthwise_3x3": work.depthwise_3x3,
                "depthwise_opt": work.depthwise_opt,
                "depthwise_generic": work.depthwise_generic,
            },
        ),
        "fully_connected": Kernel(
            constant_bytes=_fully_connected_bytes, counts={"fully_connected": work.fully_connected}
        ),
        "average_pool": Kernel(
            fault=size_limits.pool, scratch_bytes=scratch.average_pool, counts={"average_pool": work.average_pool}
        ),
        "max_pool": Kernel(fault=size_limits.pool, counts={"max_pool": work.max_pool}),
    },
)
