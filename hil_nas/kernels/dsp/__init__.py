"""Kernels of our own for cores with the DSP extension: `boards/src/kernels/dsp`."""

from __future__ import annotations

from hil_nas.kernels.dsp import average_pool, conv_work, depthwise, depthwise_work, fully_connected, product
from hil_nas.kernels.kernel import Kernel, KernelList

_CONV = Kernel(
    fault=product.fault,
    unfit=product.unfit,
    scratch_bytes=product.scratch_bytes,
    in_place=lambda call: (0,) if product.sizes_of(call).in_place else (),
    constant_bytes=product.constant_bytes,
    packed=product.packed,
    path=conv_work.path,
    counts={
        "dsp_1x1": conv_work.conv_1x1,
        "dsp_im2col": conv_work.im2col,
        "dsp_im2col_words": conv_work.im2col_words,
    },
)
_DEPTHWISE = Kernel(
    fault=depthwise.fault,
    unfit=depthwise.unfit,
    scratch_bytes=depthwise.scratch_bytes,
    in_place=depthwise.in_place,
    constant_bytes=depthwise.constant_bytes,
    packed=depthwise.packed,
    path=lambda call: "dsp_depthwise",
    counts={"dsp_depthwise": depthwise_work.depthwise},
)
_FULLY_CONNECTED = Kernel(
    fault=fully_connected.fault,
    unfit=fully_connected.unfit,
    constant_bytes=fully_connected.constant_bytes,
    packed=fully_connected.packed,
    path=lambda call: "dsp_fully_connected",
    counts={"dsp_fully_connected": fully_connected.counts},
)
_AVERAGE_POOL = Kernel(
    fault=average_pool.fault,
    in_place=average_pool.in_place,
    path=lambda call: "dsp_average_pool",
    counts={"dsp_average_pool": average_pool.counts},
)
KERNELS = KernelList(
    "dsp",
    3,
    {
        "conv": _CONV,
        "depthwise": _DEPTHWISE,
        "fully_connected": _FULLY_CONNECTED,
        "average_pool": _AVERAGE_POOL,
    },
)
