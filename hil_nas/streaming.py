"""A network that hears a stream: from the network of a window to the network of one step.

The network of a window reads all frames of a clip. That of a step reads the few frames that are new since the step
before, and keeps what else it needs in delay lines: layers of the kind `delay`, each of which holds the last rows of a
map. After every step it gives, to the bit, what the network of the window gives for the window that ends there.

That holds where no value depends on where a window begins: along time nothing is padded, and the new frames are a whole
number of rows of every map. A convolution or pool of reach k and stride s then reads a delay line of k - s + n rows, n
of them new, and gives n / s; what reads the whole map at once, the average at the end, reads a delay line of the whole
map. Frames at the end of a window that no layer reads are not waited for: a stream decides that much earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import lcm

from hil_nas.errors import InputError
from hil_nas.network import INPUT, Layer, Network, Operator, Shape, same_padding
from hil_nas.operators.table import layer_rules

_BY_ROW = ("add", "concatenation", "softmax")  # each row of their output from the same row of what they read

_EVEN = "give both branches kernels that reach equally far"


@dataclass(frozen=True)
class Rows:
    """How the rows of a map follow each other in a stream.

    Attributes:
        count: rows that a window has.
        apart_frames: from one row to the next; 0 for a value of the whole window, which no row of it is.
        ready_frames: of a window, after which its first row is known, or the value of the whole window.
    """

    count: int
    apart_frames: int
    ready_frames: int

    @property
    def of_window(self) -> bool:
        """Whether this is one value for the whole window: time is gone from it."""
        return self.apart_frames == 0

    def new(self, frames: int) -> int:
        """Rows that a step of so many frames adds, `frames` a multiple of `apart_frames`."""
        return frames // self.apart_frames

    def swept(self, reach: int, stride: int, count: int) -> Rows:
        """The rows that a window over `reach` of these gives, moved on by `stride`; `count` of them in a clip.

        One row in all is a value of the whole window.
        """
        if count == 1:
            return Rows(1, 0, self.ready_frames + (reach - 1) * self.apart_frames)
        # a reach below the stride waits for the rows that it leaves out
        ready = self.ready_frames + (max(reach, stride) - 1) * self.apart_frames
        return Rows(count, self.apart_frames * stride, ready)

    def gathered(self) -> Rows:
        """The value of a window that all these rows give together."""
        return self if self.of_window else self.swept(self.count, 1, 1)

    def delay_rows(self, reach: int, stride: int, count: int, frames: int) -> int:
        """Rows of the delay line that such a window reads in a step; as many as are new where it needs none.

        Raises:
            InputError: where a step brings more rows than the whole window has.
        """
        new = self.new(frames)
        if count > 1:
            return max(reach, stride) - stride + new
        if new > reach:
            raise InputError(
                f"reads {reach} rows of a window where a step of {frames} frames brings {new}",
                hint=f"take a step of at most {reach * self.apart_frames} frames",
            )
        return reach


def step_network(network: Network, frames: int) -> Network:
    """The network of one step, which gives for a stream what `network` gives for its windows.

    Args:
        network: input (frames of a window, columns, channels), time along height, output one value for the window.
        frames: that are new in each step.

    Returns:
        A network of input (frames, columns, channels) and the same output, with layers `delay` before what reads rows
        of earlier steps. Step i, counted from 1, answers for the window whose first frame is number
        i * frames - receptive_frames(network), counted from 0; before `first_whole_step` there is no such window.

    Raises:
        InputError: where the network cannot stream, or not by so many frames; the message names the layer.
    """
    flow = rows_of(network)
    check_step(flow, frames)
    layers: list[Layer] = []
    place = {INPUT: INPUT}  # of each layer of the window's network among those of the step
    lines: dict[tuple[int, int], int] = {}  # delay lines by what they read and their rows: readers share one

    def delayed(source: int, rows: int, shape: Shape) -> int:
        """The place of a layer's rows behind a delay line of so many."""
        if rows == flow[source].new(frames):
            return place[source]
        if (source, rows) not in lines:
            layers.append(Layer("delay", (place[source],), shape=(rows, *shape[1:])))
            lines[source, rows] = len(layers) - 1
        return lines[source, rows]

    for index, operator in enumerate(network.operators()):
        layer, source = operator.layer, operator.layer.inputs[0]
        inputs = tuple(place[i] for i in layer.inputs)
        if not flow[source].of_window:
            window, rows = _window_of(operator), flow[source].new(frames)
            try:
                if window is not None:
                    rows = flow[source].delay_rows(*window, frames)
                    inputs = (delayed(source, rows, operator.inputs[0]),)
                layer = _of_step(operator, flow[source].count, rows)
            except InputError as error:
                raise _named(index, layer, error) from None
        layers.append(replace(layer, inputs=inputs))
        place[index] = len(layers) - 1
    return Network((frames, *network.input_shape[1:]), tuple(layers))


def receptive_frames(network: Network) -> int:
    """Frames of a window on which its decision depends, from its first.

    A kernel below its stride counts as its stride. The window may be longer by frames that no layer reads.

    Raises:
        InputError: where the network cannot stream.
    """
    return rows_of(network)[len(network.layers) - 1].ready_frames


def smallest_step_frames(network: Network) -> int:
    """Of which every step is a multiple: the frames between two rows of the map that strides have reduced most.

    Raises:
        InputError: where the network cannot stream.
    """
    return _common_apart(rows_of(network))


def first_whole_step(network: Network, frames: int) -> int:
    """The first step, counted from 1, whose window has begun with the stream: all delay lines are full of it.

    Raises:
        InputError: where the network cannot stream.
    """
    return -(-receptive_frames(network) // frames)


def state_bytes(step: Network) -> int:
    """What the delay lines of a step's network hold, in int8."""
    return sum(x.output[0] * x.output[1] * x.output[2] for x in step.operators() if x.layer.kind == "delay")


def rows_of(network: Network) -> dict[int, Rows]:
    """How the rows of the input, `INPUT`, and of every layer follow each other.

    Raises:
        InputError: where the network cannot stream; the message names the layer and the reason.
    """
    flow = {INPUT: Rows(network.input_shape[0], 1, 1)}
    for index, operator in enumerate(network.operators()):
        try:
            flow[index] = _rows_after(operator, [flow[i] for i in operator.layer.inputs])
        except InputError as error:
            raise _named(index, operator.layer, error) from None
    check_output(flow[len(network.layers) - 1])
    return flow


def check_step(flow: dict[int, Rows], frames: int) -> None:
    """Whether so many new frames are a whole number of rows everywhere.

    Raises:
        InputError: where they are not.
    """
    apart = _common_apart(flow)
    if frames < 1 or frames % apart:
        raise InputError(
            f"a step of {frames} frames is no whole number of rows, which strides leave {apart} frames apart",
            hint=f"take a multiple of {apart} frames, or strides that divide {frames}",
        )


def check_output(rows: Rows) -> None:
    """Whether a network's output is a value of the whole window.

    Raises:
        InputError: where it has rows for several moments.
    """
    if not rows.of_window:
        raise InputError(
            f"the output has {rows.count} rows along time, and a stream has one answer for a window",
            hint="end the network by an average or a dense layer over all rows",
        )


def check_unpadded(count: int, reach: int, stride: int, padding: tuple[int, int]) -> None:
    """Whether a window of so many rows reads only rows that are there.

    Args:
        count: rows of the map.
        padding: rows before and after the map.

    Raises:
        InputError: where it pads.
    """
    if padding != (0, 0):
        raise InputError(
            f"pads {padding[0]} and {padding[1]} rows along time to reach over {reach} of {count} by a stride of"
            f" {stride}, so that its output depends on where a window begins",
            hint="train it with padding 'valid' along time",
        )


def together(sources: Sequence[Rows]) -> Rows:
    """The rows of what joins several maps row by row: known when the last of them is.

    Raises:
        InputError: where no delay makes them known together.
    """
    last = max(sources, key=lambda x: x.ready_frames)
    for x in sources:
        early = last.ready_frames - x.ready_frames
        if x.of_window != last.of_window:
            raise InputError("joins the rows of a map with a value of the whole window, which every step changes")
        if x.apart_frames != last.apart_frames:
            raise InputError(f"joins rows {x.apart_frames} and {last.apart_frames} frames apart")
        if early if x.of_window else early % x.apart_frames:
            raise InputError(f"joins values of which one is known {early} frames before the other", hint=_EVEN)
    return last


def _rows_after(operator: Operator, sources: Sequence[Rows]) -> Rows:
    """Those of a layer's output.

    Raises:
        InputError: for a layer that cannot stream.
    """
    layer, source = operator.layer, sources[0]
    if layer.kind == "delay":
        raise InputError("is a delay line: the network takes steps already")
    if layer.kind in _BY_ROW:
        rows = together(sources)
        early = rows.ready_frames - min(x.ready_frames for x in sources)
        if early:
            raise InputError(f"joins values of which one is known {early} frames before the other", hint=_EVEN)
        return rows
    if source.of_window:
        return source
    window = _window_of(operator)
    if window is None:
        if layer.kind != "reshape" or operator.output[0] != source.count:
            raise InputError("mixes rows along time in a way that no delay line gives")
        return source
    if layer_rules(layer.kind).windowed:
        padding = (0, 0)
        if layer.padding == "same":
            padding = same_padding(source.count, layer.kernel[0], layer.stride[0], layer.dilation[0])
        check_unpadded(source.count, window[0], window[1], padding)
    return source.swept(*window)


def _window_of(operator: Operator) -> tuple[int, int, int] | None:
    """(reach, stride, rows given) along time of what reads several rows for one; None for what works by row."""
    layer, count = operator.layer, operator.inputs[0][0]
    if layer_rules(layer.kind).windowed:
        return (layer.kernel[0] - 1) * layer.dilation[0] + 1, layer.stride[0], operator.output[0]
    flattens = layer.kind == "reshape" and operator.output[0] == 1
    return (count, 1, 1) if layer.kind == "fully_connected" or flattens else None


def _of_step(operator: Operator, count: int, rows: int) -> Layer:
    """A layer as it stands in a step, its inputs apart.

    Args:
        count, rows: that it reads of a window, and in a step.

    Raises:
        InputError: where it pads along frequency and not along time, for which a layer has no word.
    """
    layer = operator.layer
    if layer.kind == "reshape" and operator.output[0] == count:
        return replace(layer, shape=(rows, *operator.output[1:]))
    if not layer_rules(layer.kind).windowed or layer.padding == "valid":
        return layer
    sizes = (rows, operator.inputs[0][1])
    along = [same_padding(x, layer.kernel[i], layer.stride[i], layer.dilation[i]) for i, x in enumerate(sizes)]
    if along[0] == (0, 0):
        return layer
    if along[1] == (0, 0):
        return replace(layer, padding="valid")
    raise InputError(
        "pads along frequency and not along time, and an operator has one word for both",
        hint="use padding 'valid', or a kernel of one row for what it does along frequency",
    )


def _common_apart(flow: dict[int, Rows]) -> int:
    return lcm(*(x.apart_frames for x in flow.values() if not x.of_window))


def _named(index: int, layer: Layer, error: InputError) -> InputError:
    return InputError(f"layer {index} ({layer.kind}) cannot stream: it {error.message}", hint=error.hint)
