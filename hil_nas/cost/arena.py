"""Where every activation and every scratch buffer lies in the arena, and how large that makes it.

The lowering uses the same functions, so that a network's arena is known exactly before it is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from hil_nas.kernels import call_of, kernel_for
from hil_nas.network import Network
from hil_nas.operators.table import keeps, runs

ALIGNMENT_BYTES = 16  # of an arena and its size
PLACE_BYTES = 4  # of what lies in it: maps of a multiple of 4 channels so begin and end exactly where they are to
_PROMOTIONS = 24  # attempts to lower the peak by placing the highest buffer earlier


@dataclass(frozen=True)
class Buffer:
    """Bytes that must stay untouched from step `first` to step `last`, both included.

    Attributes:
        over: buffers, by their place in the order, that end with step `first` and over which this one may lie, with its
            first or its last byte in the same place.
    """

    size_bytes: int
    first: int
    last: int
    over: tuple[int, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Offsets of the buffers, in their order, and the end of the highest."""

    offsets: tuple[int, ...]
    peak_bytes: int


@dataclass(frozen=True)
class Step:
    """One operator as the planner sees it: tensors by number.

    Attributes:
        in_place: those of the inputs over which its kernel can write the output.
        keeps: whether its output is a state, which the next run of the network finds as this one left it.
    """

    inputs: tuple[int, ...]
    output: int
    scratch_bytes: int = 0
    in_place: tuple[int, ...] = ()
    keeps: bool = False


@dataclass(frozen=True)
class ArenaPlan:
    """Offsets by tensor number, the scratch offset of every step (0 where it needs none), and sizes.

    Attributes:
        state_bytes: of all states, at the beginning.
        working_bytes: the peak of all else, behind them.
    """

    tensors: dict[int, int]
    scratch: tuple[int, ...]
    state_bytes: int
    working_bytes: int

    @property
    def arena_bytes(self) -> int:
        return aligned(self.state_bytes + self.working_bytes)


def aligned(size_bytes: int) -> int:
    """The next multiple of 16."""
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def plan_buffers(buffers: Sequence[Buffer]) -> Layout:
    """Places buffers so that those alive together do not overlap, except where one may lie over another; deterministic.

    A chain of operators gets the least possible peak: the output of one that runs in place stays at the input's end of
    the arena, any other goes to the other end. Any other graph gets the best of several greedy first-fit placements,
    which may lie above the least possible.
    """
    sizes = [_rounded(x.size_bytes) for x in buffers]
    least = _live_peak(buffers, sizes)
    best = _from_both_ends(buffers, sizes, least)
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
    the first step, the output until after the last: the input's bytes are reused once they have been read. A state
    lives always: states lie one behind the other at the beginning, all else behind them. So the peak is the least
    possible wherever that of all else is.

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
    states, states_bytes = {}, 0
    for step in steps:
        if step.keeps:
            states[step.output] = states_bytes
            states_bytes += _rounded(size_bytes[step.output])
    buffers, place, scratch_place = [Buffer(size_bytes[source], 0, last[source])], {source: 0}, {}
    for index, step in enumerate(steps):
        if step.output not in states:
            over = tuple(place[x] for x in dict.fromkeys(step.in_place) if x not in states and last[x] == index)
            place[step.output] = len(buffers)
            buffers.append(Buffer(size_bytes[step.output], index, last[step.output], over))
        if step.scratch_bytes:
            scratch_place[index] = len(buffers)
            buffers.append(Buffer(step.scratch_bytes, index, index))
    layout = plan_buffers(buffers)
    offsets = [states_bytes + x for x in layout.offsets]
    tensors = {**states, **{number: offsets[i] for number, i in place.items()}}
    scratch = tuple(offsets[scratch_place[i]] if i in scratch_place else 0 for i in range(len(steps)))
    return ArenaPlan(tensors, scratch, states_bytes, layout.peak_bytes)


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
        kernel = kernel_for(call)
        over = tuple(inputs[i] for i in kernel.in_place(call))
        steps.append(Step(inputs, number, kernel.scratch_bytes(call), over, keeps(operator.layer.kind)))
    return sizes, steps, name[len(network.layers)]


def network_plan(network: Network) -> ArenaPlan:
    """The arena of a network, exactly that of its lowered plan."""
    sizes, steps, output = network_steps(network)
    return plan_steps(sizes, steps, 0, output)


def arena_bytes(network: Network) -> int:
    """Peak RAM of activations, states and scratch: exactly `arena_bytes` of the lowered plan."""
    return network_plan(network).arena_bytes


def _rounded(size_bytes: int) -> int:
    return -(-size_bytes // PLACE_BYTES) * PLACE_BYTES


def _live_peak(buffers: Sequence[Buffer], sizes: Sequence[int]) -> int:
    """The largest sum of what is alive together, what can lie over another counted once: no layout is smaller."""
    alive = [0] * (max((x.last for x in buffers), default=-1) + 1)
    for buffer, size in zip(buffers, sizes, strict=True):
        for i in range(buffer.first, buffer.last + 1):
            alive[i] += size
        alive[buffer.first] -= max((min(size, sizes[i]) for i in buffer.over), default=0)
    return max(alive, default=0)


def _from_both_ends(buffers: Sequence[Buffer], sizes: Sequence[int], peak: int) -> Layout | None:
    """Each output at the end of the arena where its input is not, or over it; what lives for one step in between.

    In a chain a step's input and output so stand at opposite ends, or at one, and its scratch fits between them: where
    none is in another's way, none stands above `peak`, the largest sum of what lives together.

    Returns:
        None where the graph is no such chain.
    """
    offsets, at_top = {0: 0} if buffers else {}, False
    for index, buffer in enumerate(buffers[1:], start=1):
        if buffer.last > buffer.first:
            at_top = at_top if buffer.over else not at_top
            offsets[index] = peak - sizes[index] if at_top else 0
    for index in range(len(buffers)):
        if index not in offsets:
            offsets[index] = _lowest_fit(index, buffers, sizes, offsets)
    layout = _layout(offsets, sizes)
    return layout if layout.peak_bytes <= peak and _disjoint(buffers, layout.offsets) else None


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
    """The lowest offset at which the buffer is in the way of none of the placed ones that live with it."""
    own = buffers[index]
    taken = sorted((offset, other) for other, offset in offsets.items() if _live_together(own, buffers[other]))
    lowest = 0
    for start, other in taken:
        if start - lowest >= sizes[index]:
            break
        lowest = max(lowest, start + sizes[other])
    for start, other in taken:
        if _may_share(buffers, index, other):
            for place in (start, start + buffers[other].size_bytes - own.size_bytes):
                good = 0 <= place < lowest and place % PLACE_BYTES == 0
                if good and all(_apart(buffers, (index, place), (x, at)) for at, x in taken):
                    lowest = place
    return lowest


def _layout(offsets: dict[int, int], sizes: Sequence[int]) -> Layout:
    ordered = tuple(offsets[i] for i in range(len(sizes)))
    return Layout(ordered, max((o + s for o, s in zip(ordered, sizes, strict=True)), default=0))


def _disjoint(buffers: Sequence[Buffer], offsets: Sequence[int]) -> bool:
    """Whether no two buffers that live together are in each other's way."""
    placed = list(enumerate(offsets))
    return all(
        _apart(buffers, one, other)
        for one in placed
        for other in placed[: one[0]]
        if _live_together(buffers[one[0]], buffers[other[0]])
    )


def _apart(buffers: Sequence[Buffer], one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two buffers at their offsets share no byte, or lie over each other as one of them may."""
    (i, start), (j, other_start) = one, other
    end, other_end = start + buffers[i].size_bytes, other_start + buffers[j].size_bytes
    if end <= other_start or other_end <= start:
        return True
    return (start == other_start or end == other_end) and _may_share(buffers, i, j)


def _may_share(buffers: Sequence[Buffer], one: int, other: int) -> bool:
    return one in buffers[other].over or other in buffers[one].over


def _live_together(one: Buffer, other: Buffer) -> bool:
    return one.first <= other.last and other.first <= one.last
