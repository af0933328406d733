"""Operators that only compute shapes, as models without a batch size have them: here every shape is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InputError
from hil_nas.operators.moving import STRIDED_SLICE
from hil_nas.operators.node import Node, node_of
from hil_nas.operators.slicing import slices_of
from hil_nas.tflite.model_file import ModelFile
from hil_nas.tflite.tensor import array_of


def fold_shapes(model: ModelFile) -> tuple[ModelFile, frozenset[int]]:
    """The model with what SHAPE, and STRIDED_SLICE and PACK of shapes give as constants, and those operators' indices.

    Raises:
        InputError: where such an operator does not fit together.
    """
    folded: set[int] = set()
    for index, table in enumerate(model.operators):
        code = model.code(table)
        known = code == "SHAPE" or code in _FOLDS and _are_constant(model, model.inputs(index))
        if not known:
            continue
        options, fold = _FOLDS[code]
        node = node_of(model, index, code.lower(), options)
        values = fold(node)
        node.expect(values.shape)
        model = replace(model, folded={**model.folded, node.output: array_of(values, np.int32)})
        folded.add(index)
    return model, frozenset(folded)


def _are_constant(model: ModelFile, numbers: list[int]) -> bool:
    return all(x >= 0 and model.constant(model.checked(x)) is not None for x in numbers)


def _shape(node: Node) -> NDArray[Any]:
    return np.array(node.model.shape(node.model.checked(node.inputs[0])))


def _strided_slice(node: Node) -> NDArray[Any]:
    if len(node.inputs) != 4:
        raise InputError(f"{node.name} has {len(node.inputs)} inputs, expected 4")
    values = node.numbers(0)
    slices = slices_of(node, values.shape)
    taken = values[tuple(slice(x.begin, x.begin + x.count * x.step, x.step) for x in slices)]
    return taken.reshape(tuple(x.count for x in slices if not x.dropped))


def _pack(node: Node) -> NDArray[Any]:
    parts = [node.numbers(i) for i in range(len(node.inputs))]
    axis = node.option(1, "i")
    if len({x.shape for x in parts}) != 1 or not -1 - parts[0].ndim <= axis <= parts[0].ndim:
        raise InputError(f"{node.name} packs {[x.shape for x in parts]} along axis {axis}")
    return np.stack(parts, axis)


_FOLDS: dict[str, tuple[int, Callable[[Node], NDArray[Any]]]] = {  # with the member of the union of options
    "SHAPE": (0, _shape),
    "STRIDED_SLICE": (STRIDED_SLICE.options, _strided_slice),
    "PACK": (59, _pack),
}
