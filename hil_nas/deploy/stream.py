"""From the quantised model of a window to that of one step of its stream: the same weights, scales and zero points.

`hil_nas.streaming` says when a network can stream and what its step is made of. Here the same is done for what a
.tflite holds, ours or another's: tensors of any rank, whose first axis longer than 1 is time, and operators that
networks of this project do not have.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hil_nas.deploy import decisions, front_end_metadata
from hil_nas.deploy.graph import QuantGraph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.errors import InputError
from hil_nas.operators.int8 import Moved, QuantOperator
from hil_nas.operators.layer import Shape
from hil_nas.operators.table import BY_NAME
from hil_nas.streaming import Rows, check_output, check_step, check_unpadded, together
from hil_nas.tflite.metadata import read_metadata, with_metadata
from hil_nas.tflite.tensor import QuantTensor

_WINDOWED = ("conv", "depthwise", "average_pool", "max_pool")
_REDUCED = ("mean", "sum", "reduce_max")
_BY_ROW = ("lookup", "add", "sub", "mul", "maximum", "minimum", "concatenation", "pad", "softmax")  # kinds of a plan
_MIXES = "mixes rows along time in a way that no delay line gives"


@dataclass(frozen=True)
class Stream:
    """The step of a window's model.

    Attributes:
        step: input of `frames` frames, output that of the window's model; its delay lines keep the rest.
        frames: new in each step.
        receptive_frames: of a window, on which its decision depends, from its first.
    """

    step: QuantGraph
    frames: int
    receptive_frames: int

    @property
    def first_whole_step(self) -> int:
        """The first step, counted from 1, whose window has begun with the stream."""
        return -(-self.receptive_frames // self.frames)

    @property
    def state_bytes(self) -> int:
        """What the delay lines hold."""
        return sum(self.step.tensors[x.output].elements for x in self.step.operators if x.kind == "delay")


def stream_of(window: QuantGraph, frames: int) -> Stream:
    """The stream of a model that reads windows.

    Args:
        window: time along the first axis of its input that is longer than 1.
        frames: that are new in each step.

    Raises:
        InputError: where the model cannot stream, or not by so many frames; the message names the operator.
    """
    flow = _rows_of(window)
    check_step(flow, frames)
    step = _Step(window, frames, flow)
    step.place[window.input] = step.tensor(window.input)
    for x in window.operators:
        try:
            step.add(x)
        except InputError as error:
            raise _named(x, error) from None
    ends = step.place[window.input], step.place[window.output]
    made = QuantGraph(tuple(step.tensors), tuple(step.operators), *ends)
    return Stream(made, frames, flow[window.output].ready_frames)


def step_tflite(model: bytes, frames: int) -> bytes:
    """A quantised .tflite of windows as that of one step, with int8 ends; its front end and decisions stay with it.

    Raises:
        InputError: for what `read_tflite` refuses, and where the model cannot stream.
    """
    step = write_tflite(stream_of(read_tflite(model), frames).step)
    for name in (front_end_metadata.NAME, decisions.NAME):
        entry = read_metadata(model, name)
        step = step if entry is None else with_metadata(step, name, entry)
    return step


def _rows_of(graph: QuantGraph) -> dict[int, Rows]:
    """How the rows of every tensor follow each other.

    Raises:
        InputError: where the model cannot stream.
    """
    source = graph.tensors[graph.input]
    flow = {graph.input: Rows(source.shape[_time_axis(source)], 1, 1)}
    for x in graph.operators:
        try:
            flow[x.output] = _rows_after(graph, x, [flow[i] for i in x.inputs])
        except InputError as error:
            raise _named(x, error) from None
    check_output(flow[graph.output])
    return flow


def _rows_after(graph: QuantGraph, x: QuantOperator, sources: list[Rows]) -> Rows:
    """Those of an operator's output.

    Raises:
        InputError: for an operator that cannot stream.
    """
    if x.kind == "delay":
        raise InputError("is a delay line: the model takes steps already")
    rows = together(sources)
    if rows.of_window:
        return rows
    source, target = graph.tensors[x.inputs[0]], graph.tensors[x.output]
    if _copies(x):
        return _taken(x, source, target, rows)[0]
    sweep = _sweep(x, source, target, rows.count)
    if sweep is None:
        _check_by_row(x, source, target, rows.count)
        return rows
    if x.kind in _WINDOWED:
        reach, stride, given = sweep
        before = x.padding[_map_axis(source)]
        behind = max(0, (given - 1) * stride + reach - rows.count - before)
        check_unpadded(rows.count, reach, stride, (before, behind))
    return rows.swept(*sweep)


def _sweep(x: QuantOperator, source: QuantTensor, target: QuantTensor, count: int) -> tuple[int, int, int] | None:
    """(reach, stride, rows given) along time where several of `count` rows become one; None for what works by row."""
    if x.kind in _WINDOWED:
        along = _map_axis(source)
        if along == 2:
            raise InputError("has time among its channels")
        return (x.kernel[along] - 1) * x.dilation[along] + 1, x.stride[along], target.map[along]
    if x.kind == "fully_connected":
        whole = _depth(x) == source.elements
    elif x.kind in _REDUCED:
        whole = x.reduced[0] == 1
    else:
        whole = x.kind == "reshape" and max(target.shape) == target.elements
    return (count, 1, 1) if whole else None


def _check_by_row(x: QuantOperator, source: QuantTensor, target: QuantTensor, count: int) -> None:
    """Whether each row of the output is made of the same row of what is read, alone.

    Raises:
        InputError: where it is not.
    """
    axis, row = _time_axis(source), source.elements // count
    if x.kind not in ("reshape", "fully_connected", *_REDUCED) and _planned(x) not in _BY_ROW:
        raise InputError("is of a kind that is not known to keep rows apart")
    if x.kind == "concatenation" and x.axis == axis:
        raise InputError("joins maps along time")
    if x.kind == "pad" and target.map[_map_axis(source)] != count:
        raise InputError(
            "pads along time, so that its output depends on where a window begins", hint="train it without that padding"
        )
    if x.kind == "softmax" and axis == len(source.shape) - 1:
        raise InputError("divides by a sum along time")
    if x.constant is not None and x.constant.values.shape[_map_axis(source)] != 1:
        raise InputError("has constants that differ along time")
    mixed = x.kind == "fully_connected" and row % _depth(x) or x.kind in _REDUCED and x.reduced[0] % count
    if mixed or target.shape[_time_axis(target)] != count:
        raise InputError(_MIXES)


def _taken(x: QuantOperator, source: QuantTensor, target: QuantTensor, rows: Rows) -> tuple[Rows, int]:
    """What a slice or a transpose takes of a map: rows, and where in each of them it begins.

    Raises:
        InputError: where rows come in another order, or values of several in one.
    """
    row = source.elements // rows.count
    first, start = divmod(x.moved.start, row)
    extents, axis = list(target.map), _map_axis(target)
    count = extents[axis] if x.moved.steps[axis] == row else 1
    if count > 1:
        extents[axis] = 1
    last = start + sum((n - 1) * step for n, step in zip(extents, x.moved.steps, strict=True))
    if last >= row:
        raise InputError(_MIXES)
    ready = rows.ready_frames + first * rows.apart_frames
    return Rows(count, 0 if count == 1 else rows.apart_frames, ready), start


@dataclass
class _Step:
    """The step as it grows.

    Attributes:
        flow: of the window's tensors.
        place: of the window's tensors among those of the step.
        lines: delay lines by what they read, of the window's tensors, and their rows: readers share one.
    """

    window: QuantGraph
    frames: int
    flow: dict[int, Rows]
    place: dict[int, int] = field(default_factory=dict)
    lines: dict[tuple[int, int], int] = field(default_factory=dict)
    tensors: list[QuantTensor] = field(default_factory=list)
    operators: list[QuantOperator] = field(default_factory=list)

    def tensor(self, number: int, rows: int | None = None) -> int:
        """A new tensor like one of the window's, with so many rows along time; None: with as many as a step adds."""
        like = self.window.tensors[number]
        if not self.flow[number].of_window:
            axis = _time_axis(like)
            rows = self.flow[number].new(self.frames) if rows is None else rows
            like = replace(like, shape=(*like.shape[:axis], rows, *like.shape[axis + 1 :]))
        self.tensors.append(like)
        return len(self.tensors) - 1

    def add(self, x: QuantOperator) -> None:
        """What a step has in place of an operator of the window's model."""
        rows, inputs = self.flow[x.inputs[0]], [self.place[i] for i in x.inputs]
        if not rows.of_window:
            source, target = self.window.tensors[x.inputs[0]], self.window.tensors[x.output]
            sweep = None if _copies(x) else _sweep(x, source, target, rows.count)
            if sweep is not None:
                inputs = [self._newest(x.inputs[0], rows.delay_rows(*sweep, self.frames))]
            else:
                ready = max(self.flow[i].ready_frames for i in x.inputs)
                inputs = [self._as_late(i, ready) for i in x.inputs]
                x = self._by_row(x)
        self.place[x.output] = self.tensor(x.output)
        self.operators.append(replace(x, inputs=tuple(inputs), output=self.place[x.output]))

    def _by_row(self, x: QuantOperator) -> QuantOperator:
        """For the rows of a step. A slice takes of all rows that come by, or the newest where it takes only one."""
        rows = self.flow[x.inputs[0]]
        new = rows.new(self.frames)
        if _copies(x):
            source, target = self.window.tensors[x.inputs[0]], self.window.tensors[x.output]
            taken, start = _taken(x, source, target, rows)
            row = source.elements // rows.count
            start += (new - 1) * row * taken.of_window
            if start == 0 and target.elements == taken.count * row and _in_order(target, x.moved.steps):
                return replace(x, kind="reshape", moved=Moved(0, (0, 0, 0)))
            return replace(x, moved=replace(x.moved, start=start))
        times, values, beside = x.reduced
        return replace(x, reduced=(times // rows.count * new, values, beside))

    def _newest(self, number: int, rows: int) -> int:
        """So many of a tensor's newest rows, by a delay line where those of a step are fewer."""
        if rows == self.flow[number].new(self.frames):
            return self.place[number]
        if (number, rows) not in self.lines:
            self.lines[number, rows] = self.tensor(number, rows)
            self.operators.append(QuantOperator("delay", (self.place[number],), self.lines[number, rows]))
        return self.lines[number, rows]

    def _as_late(self, number: int, ready_frames: int) -> int:
        """A tensor's rows as late as those that are known after so many frames of a window."""
        rows = self.flow[number]
        late = (ready_frames - rows.ready_frames) // rows.apart_frames
        if late == 0:
            return self.place[number]
        line, older = self._newest(number, rows.new(self.frames) + late), self.tensor(number)
        steps = _steps(self.tensors[older])
        self.operators.append(QuantOperator("strided_slice", (line,), older, moved=Moved(0, steps)))
        return older


def _planned(x: QuantOperator) -> str | None:
    """What runs an operator on the device, by its name in a plan."""
    plan = BY_NAME[x.kind].plan
    return plan.name if plan else None


def _copies(x: QuantOperator) -> bool:
    return _planned(x) == "copy"


def _depth(x: QuantOperator) -> int:
    """Values that a fully connected layer reads for each of its outputs."""
    assert x.weights is not None
    return int(x.weights.values.shape[-1])


def _steps(tensor: QuantTensor) -> Shape:
    """From value to value along each axis of its map."""
    _, width, channels = tensor.map
    return width * channels, channels, 1


def _in_order(tensor: QuantTensor, steps: Shape) -> bool:
    """Whether values read by these steps come as they lie in the tensor."""
    return all(n == 1 or x == y for n, x, y in zip(tensor.map, steps, _steps(tensor), strict=True))


def _time_axis(tensor: QuantTensor) -> int:
    """The first axis behind the batch that is longer than 1."""
    return next((i for i, x in enumerate(tensor.shape) if i and x > 1), len(tensor.shape) - 1)


def _map_axis(tensor: QuantTensor) -> int:
    """The same axis in `tensor.map`."""
    return _time_axis(tensor) + 3 - len(tensor.shape)


def _named(x: QuantOperator, error: InputError) -> InputError:
    return InputError(f"{x.name} cannot stream: it {error.message}", hint=error.hint)
