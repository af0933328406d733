"""Kernels of our own for cores with the DSP extension: `boards/src/kernels/dsp`."""

from __future__ import annotations

from hil_nas.kernels.dsp import conv_work, product
from hil_nas.kernels.kernel import Kernel, KernelList

_CONV = Kernel(
    fault=product.fault,
    unfit=product.unfit,
    scratch_bytes=product.scratch_bytes,
    constant_bytes=product.constant_bytes,
    packed=product.packed,
    path=conv_work.path,
    counts={
        "dsp_1x1": conv_work.conv_1x1,
        "dsp_im2col": conv_work.im2col,
        "dsp_im2col_words": conv_work.im2col_words,
    },
)
KERNELS = KernelList("dsp", 3, {"conv": _CONV})
