"""Where every activation and every scratch buffer lies in the arena, and how large that makes it.

The lowering uses the same functions, so that a network's arena is known exactly before it is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from hil_nas.kernels import call_of, kernel_for
from hil_nas.network import Network
from hil_nas.operators.table import runs

ALIGNMENT_BYTES = 16
_PROMOTIONS = 24  # attempts to lower the peak by placing the highest buffer earlier


@dataclass(frozen=True)
class Buffer:
    """Bytes that must stay untouched from step `first` to step `last`, both included."""

    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Layout:
    """Offsets of the buffers, in their order, and the end of the highest."""

    offsets: tuple[int, ...]
    peak_bytes: int


@dataclass(frozen=True)
class Step:
    """One operator as the planner sees it: tensors by number."""

    inputs: tuple[int, ...]
    output: int
    scratch_bytes: int = 0


@dataclass(frozen=True)
class ArenaPlan:
    """Offsets by tensor number, the scratch offset of every step (0 where it needs none), and the size."""

    tensors: dict[int, int]
    scratch: tuple[int, ...]
    arena_bytes: int


def aligned(size_bytes: int) -> int:
    """The next multiple of 16."""
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def plan_buffers(buffers: Sequence[Buffer]) -> Layout:
    """Places buffers so that those alive together do not overlap; deterministic.

    A chain of operators gets the least possible peak: its tensors stand alternately at both ends. Any other
    graph gets the best of several greedy first-fit placements, which may lie above the least possible.
    """
    sizes = [aligned(x.size_bytes) for x in buffers]
    least = _live_peak(buffers, sizes)
    best = _alternating(buffers, sizes, least)
    if best is not None:
        return best
    for order in _orders(buffers, sizes):
        best = _promoted(buffers, sizes, order, least, best)
        if best.peak_bytes == least:
            break
    assert best is not None
    return best


def largest_first(buffers: Sequence[Buffer]) -> Layout:
    """The largest first, of equal ones the last, each at the lowest place that fits.

    That is what TensorFlow Lite Micro's planner does (`greedy_memory_planner.cc`).
    """
    sizes = [aligned(x.size_bytes) for x in buffers]
    offsets: dict[int, int] = {}
    for index in sorted(range(len(buffers)), key=lambda i: (-sizes[i], -i)):
        offsets[index] = _lowest_fit(index, buffers, sizes, offsets)
    return _layout(offsets, sizes)


def plan_steps(size_bytes: dict[int, int], steps: Sequence[Step], source: int, output: int) -> ArenaPlan:
    """Lifetimes of all tensors and scratch buffers, and their places.

    A tensor lives from the step that writes it to the last that reads it, the network's input from before
    the first step, the output until after the last: the input's bytes are reused once they have been read.

    Args:
        size_bytes: of every tensor by number; tensors that share memory share a number.
        steps: in the order they run.
        source, output: the network's own tensors.
    """
    last = {source: 0}
    for index, step in enumerate(steps):
        last[step.output] = index
        for tensor in step.inputs:
            last[tensor] = index
    last[output] = len(steps)
    buffers, owners = [Buffer(size_bytes[source], 0, last[source])], [("tensor", source)]
    for index, step in enumerate(steps):
        buffers.append(Buffer(size_bytes[step.output], index, last[step.output]))
        owners.append(("tensor", step.output))
        if step.scratch_bytes:
            buffers.append(Buffer(step.scratch_bytes, index, index))
            owners.append(("scratch", index))
    layout = plan_buffers(buffers)
    offset_of = dict(zip(owners, layout.offsets, strict=True))
    tensors = {number: lowest for (kind, number), lowest in offset_of.items() if kind == "tensor"}
    scratch = tuple(offset_of.get(("scratch", i), 0) for i in range(len(steps)))
    return ArenaPlan(tensors, scratch, layout.peak_bytes)


def network_steps(network: Network) -> tuple[dict[int, int], list[Step], int]:
    """(sizes, steps, output tensor) of a network; tensor 0 is its input, `i + 1` layer `i`'s output."""
    sizes, steps = {0: prod(network.input_shape)}, []
    name = {0: 0}  # a reshape's output is its input under another name
    for number, operator in enumerate(network.operators(), start=1):
        inputs = tuple(name[i + 1] for i in operator.layer.inputs)
        if not runs(operator.layer.kind):
            name[number] = inputs[0]
            continue
        name[number] = number
        sizes[number] = prod(operator.output)
        call = call_of(operator)
        steps.append(Step(inputs, number, kernel_for(call).scratch_bytes(call)))
    return sizes, steps, name[len(network.layers)]


def arena_bytes(network: Network) -> int:
    """Peak RAM of activations and scratch: exactly `arena_bytes` of the lowered plan."""
    sizes, steps, output = network_steps(network)
    return plan_steps(sizes, steps, 0, output).arena_bytes


def _live_peak(buffers: Sequence[Buffer], sizes: Sequence[int]) -> int:
    """The largest sum of what is alive together: no layout is smaller."""
    ends = range(max((x.last for x in buffers), default=-1) + 1)
    alive = ((s for x, s in zip(buffers, sizes, strict=True) if x.first <= i <= x.last) for i in ends)
    return max((sum(x) for x in alive), default=0)


def _alternating(buffers: Sequence[Buffer], sizes: Sequence[int], peak: int) -> Layout | None:
    """Outputs of even steps at the top, of odd steps at the bottom, what lives for one step in between.

    In a chain a step's input and output so stand at opposite ends and its scratch fits between them: where no two
    overlap, none stands above `peak`, the largest sum of what lives together.

    Returns:
        None where the graph is no such chain.
    """
    offsets: dict[int, int] = {}
    for index, buffer in enumerate(buffers):
        if buffer.last > buffer.first:
            offsets[index] = peak - sizes[index] if buffer.first % 2 == 0 else 0
    for index in range(len(buffers)):
        if index not in offsets:
            offsets[index] = _lowest_fit(index, buffers, sizes, offsets)
    layout = _layout(offsets, sizes)
    return layout if _disjoint(buffers, sizes, layout.offsets) else None


def _orders(buffers: Sequence[Buffer], sizes: Sequence[int]) -> Iterator[list[int]]:
    """Orders in which first-fit does well: by size, by life, by their product, by start."""
    life = [x.last - x.first + 1 for x in buffers]
    indices = range(len(buffers))
    yield sorted(indices, key=lambda i: (-sizes[i], buffers[i].first, i))
    yield sorted(indices, key=lambda i: (-life[i], -sizes[i], i))
    yield sorted(indices, key=lambda i: (-life[i] * sizes[i], i))
    yield sorted(indices, key=lambda i: (buffers[i].first, -life[i], -sizes[i], i))


def _promoted(
    buffers: Sequence[Buffer], sizes: Sequence[int], order: list[int], least: int, best: Layout | None
) -> Layout:
    """The best of `best` and of first-fit in `order` while the highest buffer moves to the front again and again."""
    for _ in range(_PROMOTIONS):
        offsets: dict[int, int] = {}
        for index in order:
            offsets[index] = _lowest_fit(index, buffers, sizes, offsets)
        layout = _layout(offsets, sizes)
        if best is None or layout.peak_bytes < best.peak_bytes:
            best = layout
        if best.peak_bytes == least:
            break
        highest = max(order, key=lambda i: (offsets[i] + sizes[i], i))
        order = [highest, *(i for i in order if i != highest)]
    assert best is not None
    return best


def _lowest_fit(index: int, buffers: Sequence[Buffer], sizes: Sequence[int], offsets: dict[int, int]) -> int:
    """The lowest offset at which the buffer overlaps none of the placed ones that live with it."""
    taken = sorted(
        (offset, offset + sizes[other])
        for other, offset in offsets.items()
        if _live_together(buffers[index], buffers[other])
    )
    lowest = 0
    for start, end in taken:
        if start - lowest >= sizes[index]:
            break
        lowest = max(lowest, end)
    return lowest


def _layout(offsets: dict[int, int], sizes: Sequence[int]) -> Layout:
    ordered = tuple(offsets[i] for i in range(len(sizes)))
    return Layout(ordered, max((o + s for o, s in zip(ordered, sizes, strict=True)), default=0))


def _disjoint(buffers: Sequence[Buffer], sizes: Sequence[int], offsets: Sequence[int]) -> bool:
    """Whether no two buffers that live together share a byte."""
    for i, one in enumerate(buffers):
        for j in range(i):
            apart = offsets[i] + sizes[i] <= offsets[j] or offsets[j] + sizes[j] <= offsets[i]
            if not apart and _live_together(one, buffers[j]):
                return False
    return True


def _live_together(one: Buffer, other: Buffer) -> bool:
    return one.first <= other.last and other.first <= one.last
