"""Shapes that the device would not load (boards/src/engine/plan_check.c, boards/src/kernels), refused in words."""

from __future__ import annotations

from hil_nas.errors import UnsupportedError
from hil_nas.operators.int8 import QuantOperator
from hil_nas.operators.layer import Shape

LARGEST_EXTENT = 0xFFFF  # the plan's fields are 16 bits wide
_LARGEST_MAP = 0x7FFF  # CMSIS-NN computes positions in int16_t
_LARGEST_COLUMN = 0xFFFF  # and lengths of im2col columns in uint16_t
HINT_SMALLER = "pool, or use a stride, before it"


def check_extents(x: QuantOperator, source: Shape, target: Shape, most: int = LARGEST_EXTENT) -> None:
    """Raises UnsupportedError for extents beyond the engine's."""
    if max(*source, *target) <= most:
        return
    fault = f"maps {source} to {target}: no extent may be above {most}"
    if x.weights is not None and source[:2] == (1, 1) and x.weights.values.size == source[2] * target[2]:
        fault = f"is a dense layer over {source[2]} inputs, at most {most} are run"
    raise UnsupportedError(f"{x.name} {fault}", hint=HINT_SMALLER)


def check_window(x: QuantOperator, source: Shape, target: Shape, channels: int = 1) -> None:
    """Raises UnsupportedError for maps and windows beyond the engine's; a window is over `channels` of them."""
    check_extents(x, source, target, _LARGEST_MAP)
    column = x.kernel[0] * x.kernel[1] * channels
    if column > _LARGEST_COLUMN:
        raise UnsupportedError(
            f"{x.name} has windows of {column} values, at most {_LARGEST_COLUMN} are run", hint="use a smaller kernel"
        )
