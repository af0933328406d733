"""Kernels of our own for cores with the DSP extension: `boards/src/kernels/dsp`."""

from __future__ import annotations

from hil_nas.kernels.dsp import product
from hil_nas.kernels.kernel import Kernel, KernelList

_CONV = Kernel(
    fault=product.fault,
    unfit=product.unfit,
    scratch_bytes=product.scratch_bytes,
    constant_bytes=product.constant_bytes,
    packed=product.packed,
)
KERNELS = KernelList("dsp", 3, {"conv": _CONV})
