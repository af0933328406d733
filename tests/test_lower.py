"""The lowering: fixed-point parameters, the blob, and plans run by the engine against TensorFlow Lite Micro."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
import pytest
from deploy_harness import Engine, Refused, cell_network, ds_cnn, random_inputs, random_network
from keyword_model import quantised_clips

from hil_nas import kernels
from hil_nas.deploy.graph import QuantGraph
from hil_nas.deploy.lower import lower
from hil_nas.deploy.plan import Plan
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.errors import InputError, UnsupportedError
from hil_nas.network import INPUT, Layer, Network
from hil_nas.operators import requantize
from hil_nas.operators.int8 import QuantOperator
from hil_nas.tflite.tensor import QuantTensor


@pytest.mark.parametrize("name", ["reference_model", "kws_model"])
def test_mlperfs_model_and_one_of_its_shape_run_to_the_bit(
    engine: Engine, name: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    plan = lower(read_tflite(model))
    assert [x.kind for x in plan.operators] == [
        *["conv", "depthwise"] * 4, "conv", "average_pool", "fully_connected", "softmax",
    ]  # fmt: skip
    assert plan.arena_bytes == 13_472
    inputs = quantised_clips(model, 50, seed=0)
    answers = Tflm(model).run(inputs)
    assert np.array_equal(engine.run(plan.to_bytes(), inputs, plan.arena_bytes), answers)
    assert len(np.unique(answers.argmax(axis=1))) > 1


@pytest.mark.parametrize("seed", range(30))
def test_synthetic_networks_run_and_their_outputs_are_alive(engine: Engine, seed: int) -> None:
    network = random_network(seed) if seed % 2 else cell_network(seed)
    plan = lower(random_graph(network, seed))
    outputs = engine.run(plan.to_bytes(), random_inputs(np.random.default_rng(seed), 20, network.input_shape), 1 << 20)
    if network.layers[-1].kind == "softmax":
        assert np.all(outputs.astype(int).sum(axis=1) + 128 * outputs.shape[1] >= 200)  # sums to about 256
        return
    assert np.mean((outputs == -128) | (outputs == 127)) < 0.35
    assert outputs.std(axis=0).max() > 0.4  # noise averaged over a map varies little


def test_a_synthetic_graph_is_a_function_of_its_seed() -> None:
    network = ds_cnn()
    blobs = [lower(random_graph(network, seed)).to_bytes() for seed in (1, 1, 2)]
    assert blobs[0] == blobs[1] != blobs[2]


def test_a_plan_survives_its_bytes() -> None:
    for seed in range(20):
        plan = lower(random_graph(random_network(seed), seed))
        again = Plan.from_bytes(plan.to_bytes())
        assert again.to_bytes() == plan.to_bytes()
        assert again.operators == plan.operators


@pytest.mark.parametrize(("names", "least"), [(("dsp", "cmsis_nn", "plain"), 140), (("cmsis_nn", "plain"), 150)])
def test_damaged_plans_are_refused_and_crash_nothing(
    engine: Engine, names: tuple[str, ...], least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any flipped bit breaks the checksum or the header; with a good checksum the device refuses or computes."""
    monkeypatch.setattr(kernels, "LISTS", tuple(x for x in kernels.LISTS if x.name in names))
    rng, network = random.Random(7), ds_cnn(blocks=1, channels=8)
    plan = lower(random_graph(network, 0))
    good = plan.to_bytes()
    for _ in range(200):
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        with pytest.raises(InputError):
            Plan.from_bytes(bytes(bad))
    operators = range(64, 64 + 128 * len(plan.operators))
    inputs, refused = random_inputs(np.random.default_rng(0), 1, network.input_shape), 0
    for _ in range(300):
        bad = bytearray(good)
        bad[rng.choice(operators)] ^= 1 << rng.randrange(8)
        struct.pack_into("<I", bad, 12, zlib.crc32(bad[16:]))
        try:
            engine.run(bytes(bad), inputs, plan.arena_bytes)
        except Refused:
            refused += 1
    assert refused > least
    for size in (0, 63, 64, len(good) - 1):
        with pytest.raises(InputError):
            Plan.from_bytes(good[:size])


@pytest.mark.parametrize("real", [0.0, 1e-12, 1e-3, 0.5, 1 - 2**-53, 1.0, 3.7, 900.0])
def test_a_multiplier_is_its_real_factor(real: float) -> None:
    multiplier = requantize.quantize_multiplier(real)
    assert multiplier.multiplier == 0 or 1 << 30 <= multiplier.multiplier < 1 << 31
    value = multiplier.multiplier * 2.0 ** (multiplier.shift - 31)
    assert value == pytest.approx(real, rel=2**-31, abs=2**-31)


@pytest.mark.parametrize("real", [-1e-9, float("nan"), float("inf"), 2.0**31])
def test_a_factor_that_is_none_is_refused(real: float) -> None:
    with pytest.raises(InputError):
        requantize.quantize_multiplier(real)


def test_activation_ranges() -> None:
    assert requantize.activation_range("none", 0.1, 3) == (-128, 127)
    assert requantize.activation_range("relu", 0.1, 3) == (3, 127)
    assert requantize.activation_range("relu6", 0.1, 3) == (3, 63)
    assert requantize.activation_range("relu_n1_to_1", 0.1, 3) == (-7, 13)
    assert requantize.activation_range("relu6", 0.01, -128) == (-128, 127)


@pytest.mark.usefixtures("cmsis_nn_first")
def test_the_inputs_memory_is_reused_after_its_last_reader() -> None:
    layers = (Layer("conv", (INPUT,), 2), Layer("conv", (0,), 2), Layer("conv", (1,), 2))
    plan = lower(random_graph(Network((10, 10, 2), layers), 0))
    assert plan.arena_bytes == 2 * 200
    assert plan.operators[1].output == plan.input_offset


def test_a_reshape_is_a_second_name() -> None:
    layers = (
        Layer("reshape", (INPUT,), shape=(20, 1, 5)),
        Layer("conv", (0,), 2),
        Layer("reshape", (1,), shape=(1, 1, 40)),
    )
    plan = lower(random_graph(Network((10, 10, 1), layers), 0))
    assert [x.kind for x in plan.operators] == ["conv"]
    assert plan.operators[0].inputs[0] == plan.input_offset
    assert plan.operators[0].output == plan.output_offset


def test_a_graph_without_operators_is_refused() -> None:
    tensors = (QuantTensor((1, 4, 4, 1), 0.1, 0), QuantTensor((1, 16), 0.1, 0))
    with pytest.raises(UnsupportedError, match="1 to 256 operators"):
        lower(QuantGraph(tensors, (QuantOperator("reshape", (0,), 1),), 0, 1))


def test_a_graph_that_reads_what_is_not_written_is_refused() -> None:
    tensors = (QuantTensor((1, 4), 0.1, 0),) * 3
    with pytest.raises(InputError, match="the softmax .* reads tensor 2 before"):
        QuantGraph(tensors, (QuantOperator("softmax", (2,), 1),), 0, 1)


@pytest.mark.parametrize(
    ("shape", "layer", "words"),
    [
        ((1, 1, 600), Layer("softmax", (INPUT,)), "operator 0 .softmax. is over 600 classes"),
        ((40_000, 1, 1), Layer("max_pool", (INPUT,)), "no extent may be above 32767"),
        ((40_000, 2, 1), Layer("conv", (INPUT,), 1, padding="valid"), "no extent may be above 32767"),
        ((300, 300, 1), Layer("conv", (INPUT,), 1, (260, 260)), "windows of 67600 values"),
    ],
)
def test_what_the_engine_would_refuse_is_refused_by_name(shape: tuple[int, int, int], layer: Layer, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        lower(random_graph(Network(shape, (layer,)), 0))
