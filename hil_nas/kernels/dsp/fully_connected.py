"""Fully connected layers of the list `dsp`: the twin of `boards/src/kernels/dsp/fully_connected.c`.

The weights of one are those of a 1x1 convolution over one pixel, and lie in a plan like them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from hil_nas.kernels.dsp import product
from hil_nas.kernels.flash_cache import SECTOR_BYTES
from hil_nas.kernels.kernel import Constants, Counts, Fault, KernelCall


def fault(call: KernelCall) -> Fault | None:
    return product.fault(_as_conv(call))


def unfit(call: KernelCall, fields: Mapping[str, Any], constants: Constants) -> Fault | None:
    return product.unfit(_as_conv(call), fields, constants)


def constant_bytes(call: KernelCall) -> tuple[int, ...]:
    return product.constant_bytes(_as_conv(call))


def packed(call: KernelCall, fields: Mapping[str, Any], constants: Constants) -> Constants:
    return product.packed(_as_conv(call), fields, constants)


def counts(call: KernelCall) -> Counts:
    """Groups of four outputs, the loop over four inputs in each; every weight is read once."""
    x = product.sizes_of(_as_conv(call))
    return {
        "groups": x.groups,
        "outputs": call.output[2],
        "fours": x.groups * x.steps // 2,
        "flash_sectors": x.groups * x.group_bytes / SECTOR_BYTES,
    }


def _as_conv(call: KernelCall) -> KernelCall:
    return KernelCall("conv", ((1, 1, prod(call.inputs[0])),), (1, 1, call.output[2]), relu=call.relu)
