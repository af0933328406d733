"""Ordinary Keras code, converted as people convert it, against TensorFlow Lite Micro: with a batch size and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy_harness import Engine
from test_deploy_operators import same_bits

from hil_nas.deploy.quiet import quiet
from hil_nas.deploy.tflite import read_tflite
from hil_nas.errors import UnsupportedError

CASES = Path(__file__).resolve().parents[2] / "shared" / "data" / "cases"
MAP, SEQUENCE = (25, 10, 1), (40, 10)
Build = Callable[[Any, Any], Any]  # (tf.keras.layers, the input) -> the output


@pytest.fixture(scope="module")
def tf() -> Any:
    with quiet():
        return pytest.importorskip("tensorflow")


def converted(tf: Any, shape: tuple[int, ...], build: Build, batch: int | None, ends: str = "int8") -> bytes:
    """A model with random weights, quantised; `ends` is the type of its input and output."""
    rng = np.random.default_rng(0)
    with quiet():
        source = tf.keras.Input(shape, batch_size=batch)
        model = tf.keras.Model(source, build(tf.keras.layers, source))
        for layer in model.layers:  # batch norms need positive variances, normalisations keep what they were given
            if not isinstance(layer, tf.keras.layers.Normalization):
                layer.set_weights([np.abs(rng.normal(0, 0.4, x.shape)) + (x.ndim == 1) * 0.1 if "norm" in layer.name
                                   else rng.normal(0, 0.4, x.shape) for x in layer.get_weights()])  # fmt: skip
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        samples = rng.normal(0, 1, (12, 1, *shape)).astype(np.float32)
        converter.representative_dataset = lambda: ([x] for x in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(ends)
        return bytes(converter.convert())


def two_axes(layers: Any, x: Any) -> Any:
    x = layers.ZeroPadding2D(((1, 0), (2, 1)))(x)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, use_bias=False)(x)))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.SeparableConv2D(8, 3, padding="same")(x)))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)(layers.Dropout(0.2)(x))
    x = layers.MaxPooling2D(2)(layers.AveragePooling2D(2, strides=1)(x))
    return layers.Dense(5, activation="softmax")(layers.Flatten()(x))


def one_axis(layers: Any, x: Any) -> Any:
    x = layers.Conv1D(8, 3, padding="causal", activation="relu")(x)
    x = layers.ReLU()(layers.BatchNormalization()(layers.SeparableConv1D(8, 3, padding="same")(x)))
    x = layers.MaxPooling1D(2)(layers.DepthwiseConv1D(5, padding="same")(x))
    x = layers.Conv1D(6, 3, strides=2)(layers.ZeroPadding1D((2, 0))(x))
    x = layers.Dense(7, activation="relu")(layers.GlobalAveragePooling1D()(x))
    return layers.Softmax()(layers.Dense(5)(x))


def functions(layers: Any, x: Any) -> Any:
    for name in ("leaky_relu", "hard_swish", "swish", "tanh", "hard_sigmoid"):
        x = layers.Conv2D(4, (3, 1))(x)
        x = layers.LeakyReLU(0.1)(x) if name == "leaky_relu" else layers.Activation(name)(x)
    return layers.Dense(1, activation="sigmoid")(layers.GlobalMaxPooling2D()(x))


def squeeze_and_excite(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, activation="relu")(x)
    gate = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D()(x))
    x = layers.Multiply()([x, layers.Reshape((1, 1, 8))(layers.Dense(8, activation="sigmoid")(gate))])
    gate = layers.Conv2D(4, 1, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply()([layers.Conv2D(8, 1, activation="hard_sigmoid")(gate), x])
    return layers.Dense(5)(layers.GlobalAveragePooling2D()(x))


def merging(layers: Any, x: Any) -> Any:
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(x))  # not folded: a product and a sum
    one, other = layers.Conv2D(4, 1)(x), layers.DepthwiseConv2D(3, padding="same")(x)
    parts = [layers.Add()([one, other]), layers.Subtract()([one, x]), layers.Multiply()([other, x])]
    parts += [layers.Average()([x, other]), layers.Add()([x, layers.AveragePooling2D((1, 8))(one)])]
    return layers.Dense(5)(layers.Flatten()(layers.Concatenate()(parts)))


def choosing(layers: Any, x: Any) -> Any:
    import keras

    x = layers.Conv2D(8, 3)(x)
    x = layers.Maximum()([x[..., :4], x[..., 4:]])  # as networks with max-feature-map activations do
    x = layers.Conv2D(4, 1)(layers.ReLU(max_value=3.0)(layers.DepthwiseConv2D(3)(x)))
    x = layers.Minimum()([x, layers.GlobalMaxPooling2D(keepdims=True)(layers.Conv2D(4, 1)(x))])
    return layers.Dense(5)(layers.Flatten()(keras.ops.maximum(x, -0.5)))


def moving(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(4, 3)(layers.Permute((2, 1, 3))(layers.Conv2D(4, 3)(x)))
    x = layers.Permute((3, 1, 2))(x)[:, :, 1:, ::2]
    x = layers.Cropping1D((1, 2))(layers.Reshape((-1, 10))(x))
    return layers.Dense(5)(layers.Flatten()(layers.Conv1D(4, 3)(x)))


def prepared(layers: Any, x: Any) -> Any:
    x = layers.Rescaling(0.5, offset=-0.2)(layers.Reshape((25, 10, 1))(x))
    x = layers.Normalization(axis=2, mean=np.linspace(-1, 1, 10), variance=np.linspace(1, 2, 10))(x)
    return layers.Dense(5)(layers.GlobalAveragePooling2D()(layers.Conv2D(4, (10, 4), strides=2, padding="same")(x)))


def over_time(layers: Any, x: Any) -> Any:
    x = layers.Dense(6, activation="relu")(x)
    x = layers.Conv1D(6, 3, dilation_rate=2, padding="causal")(x)
    weights = layers.Softmax(axis=1)(layers.Dense(1)(x))
    import keras

    return layers.Dense(5)(keras.ops.sum(layers.Multiply()([x, weights]), axis=1))


RUN = [
    (two_axes, MAP, None, "float32"), (two_axes, MAP, 1, "int8"), (one_axis, SEQUENCE, None, "int8"),
    (one_axis, SEQUENCE, 1, "uint8"), (functions, MAP, None, "int8"), (functions, MAP, 1, "float32"),
    (squeeze_and_excite, MAP, None, "uint8"), (squeeze_and_excite, MAP, 1, "int8"), (merging, MAP, None, "int8"),
    (merging, MAP, 1, "int8"), (choosing, MAP, None, "int8"), (choosing, MAP, 1, "int8"),
    (moving, MAP, None, "int8"), (moving, MAP, 1, "int8"),
    (prepared, (250,), None, "float32"), (over_time, SEQUENCE, 1, "int8"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "shape", "batch", "ends"), RUN, ids=[f"{x[0].__name__}-{x[2]}" for x in RUN])
def test_it_runs_to_the_bits_of_tflm(
    tf: Any, engine: Engine, build: Build, shape: tuple[int, ...], batch: int | None, ends: str
) -> None:
    model = converted(tf, shape, build, batch, ends)
    graph = read_tflite(model)
    assert (graph.input_kind, graph.output_kind) == (ends, ends)
    same_bits(engine, model)


@pytest.mark.parametrize(
    ("build", "shape", "batch", "words"),
    [
        (lambda layers, x: layers.ELU()(layers.Conv2D(4, 3)(x)), MAP, 1, r"operator 2 \(ELU\) computes in float"),
        (lambda layers, x: layers.Conv1D(4, 3, dilation_rate=2)(x), SEQUENCE, None, "a dilation, .* batch_size=1"),
        (lambda layers, x: layers.Dense(4)(x), SEQUENCE, None, r"operator 1 \(GATHER\) .* batch_size=1"),
        (lambda layers, x: layers.GRU(2, unroll=True)(x), (3, 4), 1, r"\(UNPACK\) .* convolutions over time"),
        (lambda layers, x: layers.Conv2D(4, 3, groups=2)(layers.Conv2D(4, 3)(x)), MAP, 1, "groups=1"),
        (lambda layers, x: layers.TimeDistributed(layers.Dense(3))(x), (4, 6), 1, "without TimeDistributed"),
    ],
)
def test_it_is_refused_with_what_to_write(
    tf: Any, build: Build, shape: tuple[int, ...], batch: int | None, words: str
) -> None:
    model = converted(tf, shape, build, batch)
    with pytest.raises(UnsupportedError, match=words):
        read_tflite(model)


@pytest.mark.parametrize("name", ["flatten", "gap_b1", "floatio_b1", "uint8io_b1"])
def test_the_converters_own_files_run(engine: Engine, name: str) -> None:
    path = CASES / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"needs a folder of converted models at {CASES}")
    same_bits(engine, path.read_bytes(), count=50)
