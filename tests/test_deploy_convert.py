"""Networks and other people's Keras models through TensorFlow's converter, our lowering and the engine, to the bit.

The oracle is TensorFlow Lite Micro's reference kernels (tflite_micro).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from deploy_harness import Engine, cell_network, ds_cnn, random_inputs, random_network, random_weights

from hil_nas.cost import arena_bytes, plan_bytes, without_duplicates
from hil_nas.deploy.convert import to_tflite
from hil_nas.deploy.lower import lower
from hil_nas.deploy.plan import Plan
from hil_nas.deploy.quiet import quiet
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.tflite import read_tflite
from hil_nas.errors import InputError
from hil_nas.network import INPUT, Layer, Network


@pytest.fixture(scope="module")
def tf() -> Any:
    """TensorFlow, imported once: it takes some 5 s."""
    with quiet():
        import tensorflow

        tensorflow.keras.utils.set_random_seed(0)
    return tensorflow


def converted(network: Network, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    representative = rng.normal(0, 1, (8, *network.input_shape)).astype(np.float32)
    return to_tflite(network, random_weights(network, rng), representative)


def same_bits(engine: Engine, model: bytes, count: int = 20) -> Plan:
    """Compares the engine with TFLM on random inputs and gives the plan."""
    graph = read_tflite(model)
    plan, shape = lower(graph), graph.tensors[graph.input].shape[1:]
    inputs = random_inputs(np.random.default_rng(9), count, shape)
    expected = Tflm(model).run(inputs)
    assert np.array_equal(engine.run(plan.to_bytes(), inputs, plan.arena_bytes), expected)
    assert len(np.unique(expected)) > 3
    return plan


@pytest.mark.parametrize("make", [random_network, cell_network])
@pytest.mark.parametrize("seed", range(5))
def test_a_converted_network_costs_what_was_priced_and_runs_to_the_bit(
    tf: Any, engine: Engine, make: Callable[[int], Network], seed: int
) -> None:
    network, _ = without_duplicates(make(seed))
    plan = same_bits(engine, converted(network, seed))
    assert plan.arena_bytes == arena_bytes(network)
    assert plan.total_bytes == plan_bytes(network)
    assert [x.kind for x in plan.operators] == [x.kind for x in network.layers if x.kind != "reshape"]


def test_conversion_keeps_the_networks_meaning_and_its_order(tf: Any) -> None:
    """Two branches that the converter lists the other way round, against the same network in numpy."""
    layers = (
        Layer("conv", (INPUT,), 2),
        Layer("conv", (INPUT,), 2),
        Layer("max_pool", (1,), kernel=(3, 3)),
        Layer("conv", (0,), 2, relu=True),
        Layer("add", (2, 3)),
        Layer("fully_connected", (4,), 3),
    )
    network, rng = Network((6, 5, 1), layers), np.random.default_rng(0)
    weights, x = random_weights(network, rng), rng.normal(0, 1, (64, 6, 5, 1)).astype(np.float32)
    model = to_tflite(network, weights, x)
    graph = read_tflite(model)
    assert [y.kind for y in lower(graph).operators] == ["conv", "conv", "max_pool", "conv", "add", "fully_connected"]
    first, second = (x * w[0][0, 0] + w[1] for w in weights[:2] if w)
    assert weights[3] and weights[5]
    third = np.maximum(first @ weights[3][0][0, 0] + weights[3][1], 0)
    padded = np.pad(second, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    pooled = np.max([padded[:, i : i + 6, j : j + 5] for i in range(3) for j in range(3)], axis=0)
    exact = (pooled + third).reshape(64, -1) @ weights[5][0] + weights[5][1]
    source, target = graph.tensors[graph.input], graph.tensors[graph.output]
    quantised = np.clip(np.rint(x / source.scale) + source.zero_point, -128, 127).astype(np.int8)
    answers = (Tflm(model).run(quantised).astype(float) - target.zero_point) * target.scale
    assert np.abs(answers - exact).max() < 0.06 * np.abs(exact).max()


def test_the_same_arguments_give_the_same_bytes(tf: Any) -> None:
    network = cell_network(1)
    assert converted(network, 0) == converted(network, 0)


def test_a_dense_layer_within_a_network(tf: Any, engine: Engine) -> None:
    layers = (
        Layer("fully_connected", (INPUT,), 8, relu=True),
        Layer("conv", (0,), 6),
        Layer("add", (1, 1)),
        Layer("fully_connected", (2,), 5),
    )
    network = Network((4, 3, 2), (*layers, Layer("fully_connected", (3,), 12), Layer("softmax", (4,))))
    plan = same_bits(engine, converted(network, 0))
    assert plan.arena_bytes == arena_bytes(network)


def test_duplicates_are_merged_as_priced(tf: Any, engine: Engine) -> None:
    pools = (Layer("max_pool", (0,), kernel=(3, 3)),) * 2
    layers = (
        Layer("conv", (INPUT,), 4),
        *pools,
        Layer("conv", (2,), 4),
        Layer("concatenation", (1, 3)),
        Layer("fully_connected", (4,), 12),
    )
    network = Network((8, 8, 1), layers)
    plan = same_bits(engine, converted(network, 0))
    assert plan.arena_bytes == arena_bytes(without_duplicates(network)[0])


def test_nothing_is_written_on_the_terminal(tf: Any, capfd: pytest.CaptureFixture[str]) -> None:
    Tflm(converted(ds_cnn(channels=4, blocks=1), 0)).run(np.zeros((1, 49, 10, 1), np.int8))
    assert capfd.readouterr() == ("", "")


def bad_arguments() -> list[tuple[str, Any]]:
    network = ds_cnn(channels=4, blocks=1)
    rng = np.random.default_rng(0)
    weights, data = random_weights(network, rng), rng.normal(0, 1, (2, 49, 10, 1)).astype(np.float32)
    assert weights[0]
    wrong = [(weights[0][0][:9], weights[0][1]), *weights[1:]]
    infinite = [(weights[0][0], weights[0][1] * np.inf), *weights[1:]]
    dead = Network((49, 10, 1), (Layer("conv", (INPUT,), 2), Layer("conv", (INPUT,), 2)))
    pool = Network((49, 10, 1), (Layer("max_pool", (INPUT,), relu=True), Layer("fully_connected", (0,), 2)))
    return [
        ("weights for 4 layers, the network has 5", (network, weights[1:], data)),
        (r"layer 0 \(conv\) has a kernel and a bias of shapes \(\(9, 4, 1, 4\)", (network, wrong, data)),
        (r"layer 0 \(conv\) has weights that are not finite", (network, infinite, data)),
        ("representative data of", (network, weights, data[:, :5])),
        ("representative data holds values", (network, weights, data / 0)),
        (r"layer 0 \(conv\) is read by no other layer", (dead, random_weights(dead, rng), data)),
        (r"layer 0 \(max_pool\) has a ReLU", (pool, random_weights(pool, rng), data)),
    ]


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("index", range(7))
def test_arguments_that_do_not_fit_are_refused(index: int) -> None:
    words, arguments = bad_arguments()[index]
    with pytest.raises(InputError, match=words):
        to_tflite(*arguments)


def keras_model(tf: Any, shape: tuple[int, ...], build: Callable[[Any, Any], Any], per_channel: bool = False) -> bytes:
    """What `build(layers, input)` makes, as an int8 .tflite the way others convert theirs."""
    rng = np.random.default_rng(0)
    with quiet():
        source = tf.keras.Input(shape, batch_size=1)
        model = tf.keras.Model(source, build(tf.keras.layers, source))
        model.set_weights([rng.normal(0, 0.4, x.shape).astype(np.float32) for x in model.get_weights()])
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        samples = rng.normal(0, 1, (8, 1, *shape)).astype(np.float32)
        converter.representative_dataset = lambda: ([x] for x in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        converter._experimental_disable_per_channel_quantization_for_dense_layers = not per_channel
        return bytes(converter.convert())


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((1, 1), 1, "same"),
        ((1, 1), 2, "valid"),
        ((3, 3), 1, "valid"),
        ((3, 3), 2, "same"),
        ((3, 3), 3, "same"),
        ((10, 4), 2, "same"),
        ((1, 5), 1, "same"),
        ((2, 2), 3, "valid"),
    ],
)
def test_depthwise_with_multiplier_after_a_conv(
    tf: Any, engine: Engine, kernel: tuple[int, int], stride: int, padding: str
) -> None:
    def build(layers: Any, x: Any) -> Any:
        x = layers.Conv2D(5, kernel, strides=stride, padding=padding, activation="relu6")(x)
        multiplier = 1 + (kernel[0] + stride) % 3
        return layers.DepthwiseConv2D((2, 1), depth_multiplier=multiplier, padding="same", activation="relu")(x)

    same_bits(engine, keras_model(tf, (23, 11, 3), build))


@pytest.mark.parametrize("shape", [(1, 16, 8), (1, 15, 8), (16, 1, 3)])
def test_conv_along_one_axis(tf: Any, engine: Engine, shape: tuple[int, int, int]) -> None:
    kernel = (1, 3) if shape[0] == 1 else (3, 1)

    def build(layers: Any, x: Any) -> Any:
        x = layers.Conv2D(7, kernel, padding="same")(x)
        return layers.Conv2D(4, kernel, padding="same", dilation_rate=(1, 2) if shape[0] == 1 else (2, 1))(x)

    same_bits(engine, keras_model(tf, shape, build))


def test_pools_with_activations_and_windows_over_the_edge(tf: Any, engine: Engine) -> None:
    def build(layers: Any, x: Any) -> Any:
        x = layers.ReLU()(layers.MaxPooling2D((5, 3), (2, 1), padding="same")(x))
        return layers.ReLU(6)(layers.AveragePooling2D((4, 4), (3, 2), padding="same")(x))

    same_bits(engine, keras_model(tf, (17, 6, 5), build))


def test_padding_layers(tf: Any, engine: Engine) -> None:
    def build(layers: Any, x: Any) -> Any:
        x = layers.ZeroPadding2D(((1, 2), (3, 0)))(x)
        x = layers.Lambda(lambda y: tf.pad(y, [[0, 0], [2, 1], [0, 1], [0, 0]], constant_values=0.5))(x)
        return layers.AveragePooling2D(2)(x)

    model = keras_model(tf, (9, 6, 5), build)
    assert "pad" in {x.kind for x in same_bits(engine, model).operators}


def test_additions_with_every_activation_and_concatenations_along_every_axis(tf: Any, engine: Engine) -> None:
    def build(layers: Any, x: Any) -> Any:
        one, other = layers.Conv2D(4, 3, padding="same")(x), layers.DepthwiseConv2D(3, padding="same")(x)
        for activation in (None, "relu", "relu6"):
            total = layers.Add()([one, other])
            other = layers.Activation(activation)(total) if activation else total
        other = layers.Lambda(lambda y: tf.clip_by_value(y, -1.0, 1.0))(layers.Add()([other, one]))
        for axis in (1, 2, 3):
            pair = [layers.Conv2D(4, 1)(other), layers.MaxPooling2D(3, 1, padding="same")(other)]
            other = layers.Conv2D(4, 1)(layers.Concatenate(axis)(pair))
        return other

    kinds = [x.kind for x in same_bits(engine, keras_model(tf, (7, 6, 4), build)).operators]
    assert kinds.count("concatenation") == 3
    assert kinds.count("add") >= 4


@pytest.mark.parametrize("per_channel", [False, True])
def test_fully_connected_layers_with_one_scale_or_many(tf: Any, engine: Engine, per_channel: bool) -> None:
    def build(layers: Any, x: Any) -> Any:
        x = layers.Dense(20, activation="relu")(layers.Flatten()(x))
        x = layers.Dense(9, use_bias=False)(x)
        return layers.Softmax()(layers.Dense(6)(x))

    kinds = [x.kind for x in same_bits(engine, keras_model(tf, (5, 4, 3), build, per_channel)).operators]
    assert kinds == ["conv" if per_channel else "fully_connected"] * 3 + ["softmax"]


def test_a_fully_connected_layer_over_rows(tf: Any, engine: Engine) -> None:
    def build(layers: Any, x: Any) -> Any:
        return layers.Dense(6)(layers.Dense(5, activation="relu")(x))

    same_bits(engine, keras_model(tf, (7, 3, 4), build))


def test_softmax_over_a_map(tf: Any, engine: Engine) -> None:
    same_bits(engine, keras_model(tf, (7, 3, 40), lambda layers, x: layers.Softmax()(layers.Conv2D(11, 1)(x))))


def test_a_change_of_scale_between_int8_tensors(tf: Any, engine: Engine) -> None:
    """The converter writes QUANTIZE where two maps are joined in both orders."""
    convolutions = (Layer("conv", (INPUT,), 14, (2, 3), (2, 1), relu=True), Layer("depthwise", (0,), kernel=(4, 1)))
    joins = (Layer("concatenation", (1, 0)), Layer("concatenation", (0, 1)), Layer("add", (3, 2), relu=True))
    model = converted(Network((21, 9, 3), (*convolutions, *joins, Layer("fully_connected", (4,), 12))), 17)
    assert "requantize" in {x.kind for x in read_tflite(model).operators}
    same_bits(engine, model)


def test_what_the_converter_makes_of_maps_of_one_pixel(tf: Any, engine: Engine) -> None:
    pool = Layer("average_pool", (INPUT,), kernel=(6, 5), stride=(6, 5), padding="valid")
    layers = (pool, Layer("conv", (0,), 4, relu=True), Layer("conv", (1,), 4), Layer("add", (1, 2)))
    network = Network((6, 5, 8), (*layers, Layer("fully_connected", (3,), 12)))
    assert same_bits(engine, converted(network, 0)).arena_bytes == arena_bytes(network)


@pytest.mark.parametrize("kind", ["conv", "depthwise"])
def test_two_dilated_convolutions_of_one_map(tf: Any, engine: Engine, kind: Any) -> None:
    """Through Keras' own layers they would share a SPACE_TO_BATCH_ND."""
    channels = 4 if kind == "conv" else 0
    twins = tuple(Layer(kind, (INPUT,), channels, (3, 3), dilation=(2, 2), relu=x) for x in (True, False))
    network = Network((16, 12, 4), (*twins, Layer("add", (0, 1)), Layer("fully_connected", (2,), 12)))
    assert same_bits(engine, converted(network, 0)).arena_bytes == arena_bytes(network)
