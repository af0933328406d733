"""A .tflite as a neutral int8 graph."""

from __future__ import annotations

from hil_nas.deploy import schema
from hil_nas.deploy.graph import QuantGraph, QuantTensor
from hil_nas.deploy.metadata import attach_mfcc, read_mfcc
from hil_nas.deploy.model_file import ModelFile
from hil_nas.deploy.tflite_operators import read_operator

__all__ = ["attach_mfcc", "read_mfcc", "read_tflite"]


def read_tflite(data: bytes) -> QuantGraph:
    """Parses a fully quantised int8 model with one input, one output and a batch of 1.

    Raises:
        InputError: for bytes that are no TensorFlow Lite model, or a damaged one.
        UnsupportedError: for what is not lowered; the message names the operator, its index and the reason.
    """
    model = ModelFile.open(data)
    tables = model.subgraph.tables(schema.SUBGRAPH_OPERATORS)
    operators = tuple(read_operator(model, index, table) for index, table in enumerate(tables))
    source = model.only(schema.SUBGRAPH_INPUTS, "inputs")
    target = model.only(schema.SUBGRAPH_OUTPUTS, "outputs")
    numbers = {source, target, *(i for x in operators for i in (*x.inputs, x.output))}
    unused = QuantTensor((1,), 1.0, 0)  # constants keep their numbers, so that messages name the file's own
    tensors = (model.activation(i) if i in numbers else unused for i in range(len(model.tensors)))
    return QuantGraph(tuple(tensors), operators, source, target)
