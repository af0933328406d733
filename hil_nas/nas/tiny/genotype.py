"""Genotypes of the `tiny` space and the networks they stand for. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd
from hil_nas.nas.input_space import Arrangement, Operation, OperationKind, align_layers, head_layers
from hil_nas.network import Layer, Network, Pair, Shape

Padding = Literal["same", "valid"]


@dataclass(frozen=True)
class ChainStep:
    """An operation and the channels it gives; of a pool they are those it reads."""

    operation: Operation
    width: int


@dataclass(frozen=True)
class TinyGenotype:
    """A chosen chain, without its skips: all that decides the network but the size of the input.

    Attributes:
        padding: of all that goes along time; valid where the network can hear a stream.
    """

    arrangement: Arrangement
    align: Operation | None
    stem: ChainStep
    chain: tuple[ChainStep, ...]
    classes: int
    padding: Padding = "same"

    def build(self, config: FrontEnd) -> Network:
        """The network on the features of `config`: input (frames, coefficients, 1), output (1, 1, classes).

        Raises:
            InputError: where the chain does not fit the input.
        """
        return _build(self, (*config.shape, 1))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> TinyGenotype:
        """The inverse of `to_json`.

        Raises:
            InputError: for anything else.
        """
        try:
            values = dict(data)
            align = values.pop("align")
            genotype = cls(
                align=None if align is None else _operation(align),
                stem=_step(values.pop("stem")),
                chain=tuple(_step(x) for x in values.pop("chain")),
                **values,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"not a genotype of the tiny space: {error}") from None
        known = genotype.arrangement in get_args(Arrangement) and genotype.padding in get_args(Padding)
        if not known or type(genotype.classes) is not int:
            raise InputError(f"not a genotype of the tiny space: {values}")
        return genotype

    @classmethod
    def from_network(cls, network: Network) -> TinyGenotype:
        """The chain that builds exactly this network.

        Raises:
            InputError: where the network is not such a chain.
        """
        genotype = _parse(network)
        if genotype is None or _build(genotype, network.input_shape) != network:
            raise InputError("the network is no chain of the tiny space")
        return genotype


def step_layers(step: ChainStep, source: int, padding: Padding) -> list[Layer]:
    """The layers of one position, the first of them reading layer `source`."""
    operation = step.operation
    if operation.kind == "skip":
        return []
    window: dict[str, Any] = {"kernel": operation.kernel, "stride": operation.stride, "padding": padding}
    if operation.kind == "pool":
        return [Layer("average_pool", (source,), **window)]
    if operation.kind == "conv":
        return [Layer("conv", (source,), step.width, relu=True, **window)]
    depthwise = [Layer("depthwise", (source,), relu=True, **window)]
    before = depthwise if operation.kind == "separable" else []
    return [*before, Layer("conv", (source + len(before),), step.width, relu=True, padding=padding)]


def _build(genotype: TinyGenotype, shape: Shape) -> Network:
    layers = align_layers(genotype.arrangement, genotype.align, shape)
    for step in (genotype.stem, *genotype.chain):
        layers += step_layers(step, len(layers) - 1, genotype.padding)
    end = Network(shape, tuple(layers)).output_shape
    return Network(shape, (*layers, *head_layers(end, genotype.classes, len(layers) - 1)))


def _parse(network: Network) -> TinyGenotype | None:
    """The genotype a network would have if it were a chain; whether it is, rebuilding shows."""
    layers, shapes = list(network.layers), list(network.shapes)
    arrangement: Arrangement = "channels" if layers[0].kind == "reshape" else "plane"
    start = 1 if arrangement == "channels" else 0
    align = None
    if start < len(layers) and not layers[start].relu and layers[start].kind in ("conv", "depthwise"):
        align = Operation("conv", layers[start].kernel, layers[start].stride)
        start += 1
    steps = list(_parse_steps(layers[start:-2], shapes[start:-2]))
    if not steps or layers[-1].kind != "fully_connected":
        return None
    first = ChainStep(Operation("conv", steps[0].operation.kernel, steps[0].operation.stride), steps[0].width)
    return TinyGenotype(arrangement, align, first, tuple(steps[1:]), layers[-1].out_channels, layers[start].padding)


def _parse_steps(layers: Sequence[Layer], shapes: Sequence[Shape]) -> Iterator[ChainStep]:
    pending: Layer | None = None
    for layer, shape in zip(layers, shapes, strict=True):
        if layer.kind == "depthwise":
            pending = layer
            continue
        if layer.kind == "average_pool":
            yield ChainStep(Operation("pool", layer.kernel, layer.stride), shape[2])
        elif pending is not None:
            yield ChainStep(Operation("separable", pending.kernel, pending.stride), shape[2])
        else:
            kind: OperationKind = "pointwise" if layer.kernel == layer.stride == (1, 1) else "conv"
            yield ChainStep(Operation(kind, layer.kernel, layer.stride), shape[2])
        pending = None


def _operation(data: Any) -> Operation:
    values = dict(data)
    if set(values) != {f.name for f in fields(Operation)} or values["kind"] not in get_args(OperationKind):
        raise InputError(f"not an operation: {data!r}")
    return Operation(values["kind"], _pair(values["kernel"]), _pair(values["stride"]))


def _step(data: Any) -> ChainStep:
    values = dict(data)
    if set(values) != {"operation", "width"} or type(values["width"]) is not int:
        raise InputError(f"not a step of a chain: {data!r}")
    return ChainStep(_operation(values["operation"]), values["width"])


def _pair(data: Any) -> Pair:
    first, second = data
    if type(first) is not int or type(second) is not int:
        raise InputError(f"not a pair of whole numbers: {data!r}")
    return (first, second)
