"""What the host knows of a kernel, and of a list of them: the twin of `boards/include/kernel.h`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from hil_nas.operators.layer import Operator, Pair, Shape
from hil_nas.operators.windows import padding_of

Counts = dict[str, float]
Constants = Mapping[str, NDArray[Any]]  # of a plan's operator, by the names of `operators.description.CONSTANTS`


@dataclass(frozen=True)
class KernelCall:
    """An operator as a kernel is asked for it.

    Attributes:
        operator: its name in a plan, as in `enum plan_kind`.
        inputs, output: (height, width, channels).
        kernel, stride, dilation: (height, width).
        padding: rows above and columns left of the map.
        relu: whether outputs are cut at zero, and nowhere else.
    """

    operator: str
    inputs: tuple[Shape, ...]
    output: Shape
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Pair = (0, 0)
    relu: bool = False


@lru_cache(maxsize=65536)
def call_of(operator: Operator) -> KernelCall:
    """The call that runs a network's operator; its wiring does not matter."""
    layer = operator.layer
    window = (layer.kernel, layer.stride, layer.dilation, padding_of(layer, operator.inputs[0]))
    return KernelCall(layer.kind, operator.inputs, operator.output, *window, layer.relu)


@dataclass(frozen=True)
class Fault:
    """Why a kernel does not run a call: what follows the operator's name in a sentence, and what to do."""

    text: str
    hint: str


def _none(call: KernelCall) -> Fault | None:
    return None


def _all_fit(call: KernelCall, fields: Mapping[str, Any], constants: Constants) -> Fault | None:
    return None


def _nothing(call: KernelCall) -> int:
    return 0


def _nowhere(call: KernelCall) -> tuple[int, ...]:
    return ()


def _no_constants(call: KernelCall) -> tuple[int, ...]:
    return ()


def _operator(call: KernelCall) -> str:
    return call.operator


def _unchanged(call: KernelCall, fields: Mapping[str, Any], constants: Constants) -> Constants:
    return constants


@dataclass(frozen=True, eq=False)
class Kernel:
    """One kernel: which calls it takes, what it needs in RAM and flash, and what its cycles go by.

    Attributes:
        fault: why it does not run a call, None where it does: what its `fault` on the board would refuse, and what it
            is not made for. The next list is asked then.
        unfit: why it does not run a call with these constants (the arguments of `packed`), None where it does. A
            network without weights is priced as if they fitted: refuse only what training hardly ever gives.
        scratch_bytes: RAM that it uses while it runs, no less than its `scratch_bytes` on the board asks for.
        in_place: the inputs, by number, over which the output may be written, beginning or ending where one of these
            does: as the kernel's `in_place` on the board says.
        constant_bytes: lengths of its constants in a plan, in their order.
        packed: from the call, the other fields of the plan's operator and its constants as `boards/include/plan.h` lays
            them out to the constants as the kernel reads them; each begins at a multiple of 32 bytes.
        path: the name of the way through the kernel that a call takes, one regression each.
        counts: by path, how often each of its loops turns: the features that its cycles are linear in. Empty where no
            latency model prices the operator.
    """

    fault: Callable[[KernelCall], Fault | None] = _none
    unfit: Callable[[KernelCall, Mapping[str, Any], Constants], Fault | None] = _all_fit
    scratch_bytes: Callable[[KernelCall], int] = _nothing
    in_place: Callable[[KernelCall], tuple[int, ...]] = _nowhere
    constant_bytes: Callable[[KernelCall], tuple[int, ...]] = _no_constants
    packed: Callable[[KernelCall, Mapping[str, Any], Constants], Constants] = _unchanged
    path: Callable[[KernelCall], str] = _operator
    counts: Mapping[str, Callable[[KernelCall], Counts]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class KernelList:
    """The kernels of one folder.

    Attributes:
        name: of the folder in `boards/src/kernels`, and what its symbols begin with.
        number: as each operator of a plan names it; no two lists have the same.
        kernels: by the operator's name.
    """

    name: str
    number: int
    kernels: Mapping[str, Kernel]

    @property
    def label(self) -> str:
        """As people read and write it."""
        return self.name.replace("_", "-")
