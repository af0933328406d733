"""Shapes that a plan cannot hold, refused in words; what a kernel cannot run it says itself (hil_nas/kernels)."""

from __future__ import annotations

from hil_nas.errors import UnsupportedError
from hil_nas.operators.int8 import QuantOperator
from hil_nas.operators.layer import Shape

LARGEST_EXTENT = 0xFFFF  # the plan's fields are 16 bits wide
HINT_SMALLER = "pool, or use a stride, before it"


def check_extents(x: QuantOperator, source: Shape, target: Shape) -> None:
    """Raises UnsupportedError for extents beyond the plan's."""
    if max(*source, *target) <= LARGEST_EXTENT:
        return
    fault = f"maps {source} to {target}: no extent may be above {LARGEST_EXTENT}"
    if x.weights is not None and source[:2] == (1, 1) and x.weights.values.size == source[2] * target[2]:
        fault = f"is a dense layer over {source[2]} inputs, at most {LARGEST_EXTENT} are run"
    raise UnsupportedError(f"{x.name} {fault}", hint=HINT_SMALLER)
