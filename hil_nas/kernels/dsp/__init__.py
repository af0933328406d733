"""Kernels of our own for cores with the DSP extension: `boards/src/kernels/dsp`."""

from __future__ import annotations

from hil_nas.kernels.kernel import KernelList

KERNELS = KernelList("dsp", 3, {})
