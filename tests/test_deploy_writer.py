"""Graphs written as .tflite: what reads them again, and what TensorFlow Lite Micro makes of them."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from deploy_harness import Engine, random_inputs, random_network
from every_operator import every_operator
from tflite_maker import Maker
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from hil_nas.baselines import ds_cnn, ds_tc_resnet, micronet_kws_s
from hil_nas.deploy.front_end_metadata import attach_front_end, read_front_end
from hil_nas.deploy.graph import QuantGraph
from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.errors import UnsupportedError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import Layer, Network
from hil_nas.operators.int8 import QuantOperator
from hil_nas.tflite.tensor import QuantTensor

KINDS = Network(
    (49, 10, 1),
    (
        Layer("conv", (-1,), 8, kernel=(5, 3), stride=(2, 1), relu=True),
        Layer("depthwise", (0,), kernel=(3, 3), relu=True),
        Layer("depthwise", (1,), kernel=(3, 3), dilation=(2, 2)),
        Layer("add", (1, 2)),
        Layer("conv", (3,), 8, kernel=(2, 2), padding="valid"),
        Layer("concatenation", (4, 4)),
        Layer("max_pool", (5,), kernel=(2, 2), stride=(2, 2)),
        Layer("average_pool", (6,), kernel=(12, 5), stride=(12, 5), padding="valid"),
        Layer("reshape", (7,), shape=(1, 16, 1)),
        Layer("fully_connected", (8,), 12),
    ),
)


def same(one: QuantGraph, other: QuantGraph) -> bool:
    """But for the constants, which are tensors in a file."""
    if one.tensors != other.tensors[: len(one.tensors)]:
        return False
    for x, y in zip(one.operators, other.operators, strict=True):
        if any(getattr(x, k.name) != getattr(y, k.name) for k in fields(x) if k.name not in ("weights", "label")):
            return False
        if x.weights is not None and y.weights is not None:
            pairs = ((getattr(x.weights, k.name), getattr(y.weights, k.name)) for k in fields(x.weights))
            if not all(np.array_equal(a, b) for a, b in pairs):
                return False
    return [x.weights is None for x in one.operators] == [x.weights is None for x in other.operators]


@pytest.mark.parametrize(
    "network", [ds_cnn(), micronet_kws_s(), ds_tc_resnet(), KINDS], ids=["ds_cnn", "micronet", "ds_tc_resnet", "kinds"]
)
def test_a_graph_survives_and_tflm_computes_the_bits_of_its_plan(engine: Engine, network: Network) -> None:
    graph = random_graph(network, 3)
    model = write_tflite(graph)
    assert same(graph, read_tflite(model))
    inputs = random_inputs(np.random.default_rng(4), 10, network.input_shape)
    ours = engine.run(lower(graph).to_bytes(), inputs, 1 << 20)
    assert np.array_equal(Tflm(model).run(inputs), ours) and len(np.unique(ours)) > 5


def test_random_networks_survive() -> None:
    written = 0
    for seed in range(60):
        network = random_network(seed)
        graph = random_graph(network, seed)
        if any(x.kind == "concatenation" for x in graph.operators):  # random graphs join what has several scales
            continue
        assert same(graph, read_tflite(write_tflite(graph)))
        written += 1
    assert written > 20


def test_a_requantisation_is_written() -> None:
    shape = (1, 4, 5, 6)
    tensors = (QuantTensor(shape, 0.5, 3), QuantTensor(shape, 0.25, -7))
    graph = QuantGraph(tensors, (QuantOperator("requantize", (0,), 1),), 0, 1)
    assert same(graph, read_tflite(write_tflite(graph)))


def test_tflms_own_accessors_find_aligned_constants() -> None:
    model = write_tflite(random_graph(ds_cnn(), 1))
    root = schema.Model.GetRootAsModel(model, 0)
    assert schema.Model.ModelBufferHasIdentifier(model, 0) and root.Version() == 3
    sizes = [root.Buffers(i).DataLength() for i in range(root.BuffersLength())]
    assert sizes[0] == 0 and all(sizes[1:])
    for index in range(1, len(sizes)):
        data = root.Buffers(index).DataAsNumpy()
        assert (data.__array_interface__["data"][0] - np.frombuffer(model, np.uint8).ctypes.data) % 16 == 0
    assert read_front_end(attach_front_end(model, Mfcc(640, 320, 40, 10))) is not None


def test_what_is_not_written_is_said() -> None:
    graph = random_graph(ds_cnn(), 1)
    other = QuantOperator("pad", (0,), 1, pad_value=graph.tensors[1].zero_point + 1)
    with pytest.raises(UnsupportedError, match="pads by another value than 0, which is not written"):
        write_tflite(QuantGraph(graph.tensors[:2], (other,), 0, 1))


@pytest.mark.parametrize(("height", "width"), [(7, 6), (4, 9), (3, 3)])
def test_operators_that_networks_do_not_have_survive_too(height: int, width: int) -> None:
    model = every_operator(height, width, 5)
    written = write_tflite(read_tflite(model))
    assert lower(read_tflite(written)).to_bytes() == lower(read_tflite(model)).to_bytes()
    inputs = random_inputs(np.random.default_rng(0), 20, (height, width, 1))
    assert np.array_equal(Tflm(written).run(inputs), Tflm(model).run(inputs))


@pytest.mark.parametrize("case", range(40))
def test_slices_and_transposes_of_any_axes_survive(case: int) -> None:
    rng, maker = np.random.default_rng(case), Maker()
    shape = (1, *(int(x) for x in rng.integers(1, 6, int(rng.integers(2, 4)))))
    source = maker.tensor(shape, 0.05, 3)
    order = [0, *(1 + rng.permutation(len(shape) - 1)).tolist()]
    turned = maker.tensor([shape[i] for i in order], 0.05, 3)
    maker.operator("TRANSPOSE", [source, maker.constant(order)], turned, "TransposeOptions")
    extents = [shape[i] for i in order]
    begins = [int(rng.integers(x)) for x in extents]
    strides = [int(rng.integers(1, 3)) for _ in extents]
    lost = int(rng.integers(1, len(extents)))
    ends = [b + 1 if i == lost else n for i, (b, n) in enumerate(zip(begins, extents, strict=True))]
    begins[0] = 0
    kept = [-(-(e - b) // s) for b, e, s in zip(begins, ends, strides, strict=True)]
    mask = int(rng.integers(2)) << lost
    cut = maker.tensor([n for i, n in enumerate(kept) if i != lost or not mask], 0.05, 3)
    bounds = [maker.constant(x) for x in (begins, ends, strides)]
    maker.operator("STRIDED_SLICE", [turned, *bounds], cut, "StridedSliceOptions", shrinkAxisMask=mask)
    model = maker.finish(source, cut)
    written = write_tflite(read_tflite(model))
    inputs = random_inputs(rng, 4, shape[1:])
    assert np.array_equal(Tflm(written).run(inputs), Tflm(model).run(inputs))
